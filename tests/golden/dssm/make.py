#!/usr/bin/env python3
"""Scores of two towers over the random checkpoint of tests/golden/bert/rubert, by transformers and PyTorch.

    python tests/golden/dssm/make.py            (torch, transformers, safetensors)

Writes expected.json: for each setting of pooling, similarity and one or two encoders the score of every query with every document.
The document encoder of its own has the values of the query's, times 0.9.
"""

import json
from pathlib import Path

import torch
from transformers import BertForSequenceClassification, BertTokenizer

HERE = Path(__file__).resolve().parent
FROM = HERE.parent / "bert" / "rubert"
QUERIES = ["Монитор игровой Acer 27 дюймов", "Чай чёрный 100 пакетиков", ""]
DOCUMENTS = ["монитор LG 27", "Чай зелёный, 25 пакетов по 2 г", "Ёлка № 5, 250мл/100г", "чай", " ".join(["Монитор 27"] * 12)]


@torch.no_grad()
def vector(model, tokenizer, text, pooling):
    encoded = tokenizer([text], return_tensors="pt")
    states = model(**encoded).last_hidden_state[0]
    return states.mean(0) if pooling == "mean" else states[0]


def main():
    torch.set_num_threads(2)
    tokenizer = BertTokenizer(str(FROM / "vocab.txt"), do_lower_case=False)
    query = BertForSequenceClassification.from_pretrained(FROM, attn_implementation="eager").bert.eval()
    document = BertForSequenceClassification.from_pretrained(FROM, attn_implementation="eager").bert.eval()
    with torch.no_grad():
        for p in document.parameters():
            p.mul_(0.9)
    cases = []
    for pooling in ["mean", "cls"]:
        for similarity in ["cosine", "dot"]:
            for shared in [True, False]:
                of_documents = query if shared else document
                q = torch.stack([vector(query, tokenizer, t, pooling) for t in QUERIES])
                d = torch.stack([vector(of_documents, tokenizer, t, pooling) for t in DOCUMENTS])
                if similarity == "cosine":
                    q, d = [torch.nn.functional.normalize(x, dim=1) for x in (q, d)]
                scores = [[float(f"{v:.8g}") for v in row] for row in (q @ d.T).tolist()]
                cases.append({"pooling": pooling, "similarity": similarity, "shared": shared, "scores": scores})
    lines = ",\n".join(json.dumps(c) for c in cases)
    texts = json.dumps({"queries": QUERIES, "documents": DOCUMENTS}, ensure_ascii=False)[1:-1]
    (HERE / "expected.json").write_text("{" + texts + ', "cases": [\n' + lines + "\n]}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
