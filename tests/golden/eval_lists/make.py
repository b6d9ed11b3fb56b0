"""Golden values of the measures of ranked lists, from ir-measures and pytrec-eval-terrier.
Use: pip install ir-measures pytrec-eval-terrier && python make.py > expected.json

The runs are not stored: `draw` is the same generator as in src/eval/list_tests.rs. A line of the result is one run's means, in
the order of MEASURES; of exponential gains nDCG is that of linear ones over the grades 2^grade - 1."""
import json
import ir_measures
from ir_measures import AP, P, R, RR, Success, nDCG

MEASURES = [nDCG @ 5, nDCG @ 10, RR, AP @ 10, R @ 5, P @ 5, Success @ 1]
RUNS = 1000


class Draws:
    """Knuth's MMIX generator, the upper bits."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % n


def draw(seed):
    """Judgements and a run: ties, documents without a judgement, queries without a run, runs without judgements."""
    draws = Draws(seed)
    qrels, run = {}, {}
    for query in range(1 + draws.below(6)):
        name, documents = f"q{query}", 1 + draws.below(20)
        if draws.below(8) > 0:
            qrels[name] = {f"d{d}": draws.below(4) for d in range(documents) if draws.below(3) > 0} or {"d0": 1}
        if draws.below(8) > 0:
            run[name] = {f"d{d}": draws.below(6) / 4 for d in range(documents) if draws.below(4) > 0} or {"d0": 0.5}
    return qrels or {"q0": {"d0": 1}}, run


def means(measures, qrels, run):
    """A judged query that the run lacks counts as 0. RR is cut at 5 here: RR@5 of ir_measures is msmarco's, with other ties."""
    sums = dict.fromkeys(measures, 0.0)
    for metric in ir_measures.pytrec_eval.iter_calc(measures, qrels, run):
        if metric.query_id in qrels:
            sums[metric.measure] += metric.value if metric.measure != RR or metric.value >= 1 / 5 else 0.0
    return [sums[m] / len(qrels) for m in measures]


lines = []
for seed in range(RUNS):
    qrels, run = draw(seed)
    exponential = {q: {d: 2**grade - 1 for d, grade in of.items()} for q, of in qrels.items()}
    row = means(MEASURES, qrels, run) + means([nDCG @ 10], exponential, run)
    lines.append(json.dumps([round(v, 5) for v in row], separators=(",", ":")))
print("[" + ",\n".join(lines) + "]")
