"""Golden values of measures by their names, from ir-measures: trec_eval (pytrec-eval-terrier), gdeval.pl, msmarco and cwl.
Use: pip install ir-measures[cwl_eval] && python make.py > expected.json   (gdeval needs perl)

The runs are those of `draw` in ../eval_lists/make.py with numbers for the queries' names (gdeval takes no others), which
src/eval/list_tests.rs draws too. A line of the result is one run's means over all judged queries, a query that the run lacks
counts as 0. trec_eval orders equal scores by id, descending; the other programs do not all do so, so ties are
broken before any program sees them."""
import json
import pathlib
import ir_measures

lists = pathlib.Path(__file__).parent.parent / "eval_lists" / "make.py"
source = lists.read_text().split("\nlines = []")[0]
scope = {}
exec(compile(source, str(lists), "exec"), scope)

MEASURES = """nDCG nDCG@10 nDCG(dcg='exp-log2')@5 nDCG(dcg='exp-log2')@10 nDCG(gains={1:0,2:1,3:9})@10 nDCG(judged_only=True)@5 RR RR@3
RR(rel=2)@5 RR(judged_only=True) AP AP@5 AP(rel=2)@10 AP(judged_only=True) P@5 P(rel=3)@5 R@5 R(rel=2)@10 Success@1 Success(rel=2)@3
ERR@5 ERR@20 Judged@5 Judged@10 Rprec Rprec(rel=2) Bpref Bpref(rel=2) RBP(rel=1) RBP(rel=2,p=0.5)""".split()
RUNS = 1000


def untied(run):
    """trec_eval's order of each query, as scores without ties."""
    order = {q: sorted(scores, key=lambda d: (scores[d], d)) for q, scores in run.items()}
    return {q: {d: float(i + 1) for i, d in enumerate(documents)} for q, documents in order.items()}


def main():
    measures = [ir_measures.parse_measure(name) for name in MEASURES]
    runs = [scope["draw"](seed) for seed in range(RUNS)]
    # gdeval is a process a call: all runs at once, their queries renamed to numbers
    sums = [[0.0] * len(measures) for _ in runs]
    qrels, run, owner = {}, {}, {}
    for i, (of, lists) in enumerate(runs):
        lists = untied(lists)
        for query in of:
            name = str(len(owner))
            owner[name] = i
            qrels[name] = of[query]
            if query in lists:
                run[name] = lists[query]
    # first against trec_eval itself with the ties left in: the order is the same
    tied = {name: runs[owner[name]][1][q] for name, q in names(runs, owner) if q in runs[owner[name]][1]}
    plain = [m for m in measures if str(m) in ("nDCG", "AP", "Rprec", "Bpref", "P@5", "nDCG@10")]
    both = [{(m.query_id, str(m.measure)): m.value for m in ir_measures.pytrec_eval.iter_calc(plain, qrels, r)} for r in (run, tied)]
    assert both[0] == both[1]
    for metric in ir_measures.iter_calc(measures, qrels, run):
        sums[owner[metric.query_id]][measures.index(metric.measure)] += metric.value
    rows = [[round(v / len(of), 5) + 0.0 for v in row] for row, (of, _) in zip(sums, runs)]
    lines = [json.dumps(row, separators=(",", ":")) for row in rows]
    print(json.dumps({"measures": MEASURES})[:-1] + ',"means":[' + ",\n".join(lines) + "]}")


def names(runs, owner):
    number = 0
    for of, _ in runs:
        for query in of:
            yield str(number), query
            number += 1


if __name__ == "__main__":
    main()
