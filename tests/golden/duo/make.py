#!/usr/bin/env python3
"""Scores of a duo over the random checkpoint of tests/golden/bert/rubert, by transformers and PyTorch.

    python tests/golden/duo/make.py            (torch, transformers, safetensors, scipy)

The segment table gets a third row, a copy of the second. A triple is [CLS] q [SEP] d_i [SEP] d_j [SEP] with segments 0, 1, 2; the score of d_i is the
mean over j of the sigmoid of its logit, or what another aggregation makes of these. Writes expected.json: the logits of all ordered pairs and the
scores, for each query. Strengths (Bradley and Terry) are found by scipy's minimizer, each candidate with half a game won and half lost against a
strength of 1.
"""

import json
from pathlib import Path

import numpy
import scipy.optimize
import torch
from transformers import BertForSequenceClassification, BertTokenizer

HERE = Path(__file__).resolve().parent
FROM = HERE.parent / "bert" / "rubert"
QUERIES = ["Монитор игровой Acer 27 дюймов", "Чай чёрный 100 пакетиков", ""]
DOCUMENTS = ["монитор LG 27", "Чай зелёный, 25 пакетов по 2 г", "Ёлка № 5, 250мл/100г", "чай"]


def aggregated(p):
    """Every aggregation of a matrix of probabilities, whose diagonal does not count."""
    n = len(p)
    others = [[j for j in range(n) if j != i] for i in range(n)]
    rows = [p[i, others[i]] for i in range(n)]
    both = (p + 1 - p.T) / 2  # either order of a pair
    wins = [sum(1.0 if both[i, j] > 0.5 else 0.5 if both[i, j] == 0.5 else 0.0 for j in others[i]) for i in range(n)]

    def unlikely(log_strengths):
        s = log_strengths
        games = sum(2 * both[i, j] * numpy.logaddexp(0, s[j] - s[i]) for i in range(n) for j in others[i])
        return games + 0.5 * sum(numpy.logaddexp(0, -s) + numpy.logaddexp(0, s))

    strengths = scipy.optimize.minimize(unlikely, numpy.zeros(n), tol=1e-12).x
    return {
        "sum": [row.mean() for row in rows],
        "binary": [(row > 0.5).mean() for row in rows],
        "min": [row.min() for row in rows],
        "max": [row.max() for row in rows],
        "log_odds": [1 / (1 + numpy.exp(-numpy.log(row / (1 - row)).mean())) for row in rows],
        "copeland": [won / (n - 1) for won in wins],
        "bradley_terry": list(1 / (1 + numpy.exp(-strengths))),
    }


@torch.no_grad()
def main():
    torch.set_num_threads(2)
    tokenizer = BertTokenizer(str(FROM / "vocab.txt"), do_lower_case=False)
    model = BertForSequenceClassification.from_pretrained(FROM, attn_implementation="eager").eval()
    table = model.bert.embeddings.token_type_embeddings.weight
    grown = torch.nn.Embedding.from_pretrained(torch.cat([table, table[1:2]]))
    model.bert.embeddings.token_type_embeddings = grown
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    ids = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]
    cases = []
    for query in QUERIES:
        logits, p = [], numpy.zeros((len(DOCUMENTS), len(DOCUMENTS)))
        for i, first in enumerate(DOCUMENTS):
            for j, second in enumerate(DOCUMENTS):
                if i == j:
                    continue
                parts = [[cls, *ids(query), sep], [*ids(first), sep], [*ids(second), sep]]
                segments = [n for n, part in enumerate(parts) for _ in part]
                out = model(input_ids=torch.tensor([sum(parts, [])]), token_type_ids=torch.tensor([segments]))
                logits.append(float(f"{out.logits[0, 0].item():.8g}"))
                p[i, j] = torch.sigmoid(out.logits[0, 0]).item()
        scores = {name: [float(f"{score:.8g}") for score in of] for name, of in aggregated(p).items()}
        cases.append({"query": query, "logits": logits, "scores": scores})
    lines = ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases)
    documents = json.dumps(DOCUMENTS, ensure_ascii=False)
    (HERE / "expected.json").write_text(f'{{"documents": {documents}, "cases": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
