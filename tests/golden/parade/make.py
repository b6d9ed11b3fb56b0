#!/usr/bin/env python3
"""Scores of a cross-encoder over passages, by PyTorch, over the random checkpoint of tests/golden/bert/rubert (tests/golden/matrices.py has what is
shared): scores of passages joined, and PARADE's mean and attention over their [CLS].

    python tests/golden/parade/make.py            (torch, transformers, safetensors)
"""

import sys
from pathlib import Path

import torch
from transformers import BertForSequenceClassification

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from matrices import FROM, head, passages, write  # noqa: E402

MODEL = BertForSequenceClassification.from_pretrained(FROM, attn_implementation="eager").eval()


def logit(cls):
    logits = MODEL.classifier(MODEL.bert.pooler(cls[None, None]))[0]
    return logits[0] if len(logits) == 1 else logits[1] - logits[0]


@torch.no_grad()
def score(query, document, settings):
    _, parts = passages(query, document, settings["passages"], settings["overlap"])
    cls = torch.stack([part[2][-1] for part in parts])
    how = settings["aggregation"]
    if how in ("max", "mean"):
        logits = torch.stack([logit(one) for one in cls])
        return (logits.max() if how == "max" else logits.mean()).item()
    weights = torch.full((len(cls),), 1 / len(cls))
    if how == "attention":
        weights = torch.softmax(cls @ head(1, cls.shape[1])[0] + head(1)[0], 0)
    return logit(weights @ cls).item()


SETTINGS = [
    {"aggregation": how, "passages": most, "overlap": overlap}
    for how in ("max", "mean", "cls", "attention")
    for most, overlap in ((9, 0), (3, 2))
]

if __name__ == "__main__":
    write(Path(__file__).resolve().parent, SETTINGS, score, lambda _: {"max_tokens": 16})
