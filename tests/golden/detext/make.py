#!/usr/bin/env python3
"""Scores of DeText by PyTorch over the random checkpoint tests/golden/bert/rubert, for plain texts: numbers and categories are missing.

    python tests/golden/detext/make.py            (torch, transformers)
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from matrices import BERT, TOKENIZER, head, ids_of, write  # noqa: E402

WIDTH = 8


@torch.no_grad()
def vector(text, pooling):
    ids = [TOKENIZER.cls_token_id, *ids_of(text), TOKENIZER.sep_token_id]
    states = BERT(input_ids=torch.tensor([ids]), token_type_ids=torch.zeros(1, len(ids), dtype=torch.long)).last_hidden_state[0]
    return states[0] if pooling == "cls" else states.mean(0)


@torch.no_grad()
def score(query, document, settings):
    q, d = vector(query, settings["pooling"]), vector(document, settings["pooling"])
    parts = []
    for interaction in settings["interactions"]:
        if interaction == "cosine":
            parts.append(torch.nn.functional.cosine_similarity(q, d, dim=0, eps=1e-12)[None])
        elif interaction == "hadamard":
            parts.append(q * d)
        else:
            parts += [q, d]
    known = settings.get("known", [])
    rows = sum(len(k["category"]["values"]) + 2 for k in known if "category" in k)
    table, start = head(rows, WIDTH), 0
    for k in known:
        if "vector" in k:  # missing in a plain text
            parts += [torch.tensor([0.0, 1.0, 1.0, 1.0]), torch.zeros(k["vector"]["width"])]
        elif "number" in k:
            parts.append(torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]))
        else:
            parts += [table[start] * table[start], torch.tensor([0.0, 1.0, 1.0])]
            start += len(k["category"]["values"]) + 2
    x = torch.cat(parts)
    hidden = torch.relu(head(64, len(x)) @ x + head(64))
    return (head(1, 64)[0] @ hidden + head(1)[0]).item()


SETTINGS = [
    {"pooling": "mean", "interactions": ["cosine", "hadamard"]},
    {
        "pooling": "cls",
        "interactions": ["hadamard", "concat", "cosine"],
        "numbers": ["price"],
        "categories": ["maker", "kind"],
        "vectors": ["picture"],
        "known": [
            {"number": {"mean": 1.0, "deviation": 2.0}},
            {"category": {"values": ["lg", "sony"]}},
            {"category": {"values": ["tea"]}},
            {"vector": {"width": 6}},
        ],
    },
]

if __name__ == "__main__":
    write(Path(__file__).resolve().parent, SETTINGS, score)
