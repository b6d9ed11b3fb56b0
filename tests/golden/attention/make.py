#!/usr/bin/env python3
"""Attention, states and their sums as transformers computes them, of a tiny random MPNet and of checkpoints that are here anyway.

    python tests/golden/attention/make.py            (torch, transformers; run scripts/weights before)

Writes expected.json: by name the folder from the repository's root, texts, ids, the attention of every layer and head (of a real
checkpoint: of the tokens in ROWS), and by layer the mean distance within the texts, the mean entropy, the share that goes to tokens
around the texts, the mean cosine of a token's state and its embedding, and of the first text token of each layer the first cells of
the feed-forward block. The random MPNet is that of tests/golden/checkpoints, whose files lie in its folder `shared`.
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PAIR = ["Monitor LENTA 24 inch", "lenta monitor 24 black"]
ANIMAL = ["The animal didn't cross the street because it was too tired"]
# name: texts, folder, rows of attention that are kept (None: all)
CASES = {
    "rubert": (PAIR, "tests/golden/bert/rubert", None),
    "mpnet": (PAIR, "tests/golden/checkpoints/cases/mpnet", None),
    "bert-tiny": (ANIMAL, "weights/bert-tiny", [0, 10]),
    "minilm": (ANIMAL, "weights/minilm", [10]),
}


def short(tensor):
    return [float(f"{v:.7g}") for v in tensor.flatten().tolist()]


def whole(folder):
    """A folder of tests/golden/checkpoints with its shared files."""
    cases = json.loads((ROOT / "tests/golden/checkpoints/expected.json").read_text())["cases"]
    files = cases.get(folder.name, {}).get("files") if folder.parent.name == "cases" else None
    if files is None:
        return folder
    out = Path(tempfile.mkdtemp())
    for file in folder.iterdir():
        shutil.copy(file, out)
    for name, shared in files.items():
        shutil.copy(ROOT / "tests/golden/checkpoints/shared" / shared, out / name)
    return out


@torch.no_grad()
def case(texts, folder, rows):
    path = whole(ROOT / folder)
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModel.from_pretrained(path, attn_implementation="eager", dtype=torch.float32).eval()
    cells = []
    for name, module in model.named_modules():
        if name.endswith("intermediate"):
            module.register_forward_hook(lambda _, __, out: cells.append(out[0]))
    read = tokenizer(*texts, return_tensors="pt")
    out = model(**read, output_attentions=True, output_hidden_states=True)
    ids = read["input_ids"][0]
    special = torch.tensor(tokenizer.get_special_tokens_mask(ids.tolist(), already_has_special_tokens=True)).bool()
    inside = ~special
    place = torch.arange(len(ids)).float()
    apart = (place[:, None] - place[None, :]).abs()
    layers = []
    for number, attention in enumerate(out.attentions):
        a = attention[0].double()
        words = a[:, inside][:, :, inside]
        distance = (words * apart[inside][:, inside]).sum((1, 2)) / words.sum((1, 2))
        entropy = -(a * a.clamp_min(1e-300).log()).sum(-1).mean(-1)
        state, start = out.hidden_states[number + 1][0], out.hidden_states[0][0]
        cosine = torch.nn.functional.cosine_similarity(state[inside].double(), start[inside].double(), dim=-1)
        layers.append({
            "distance": distance.mean().item(),
            "entropy": entropy.mean().item(),
            "to_special": a[:, inside][:, :, special].sum(-1).mean().item(),
            "similarity_to_input": cosine.mean().item(),
            "cells": short(cells[number][inside.nonzero()[0, 0]][:16]),
        })
    kept = range(len(ids)) if rows is None else rows
    attention = [[[short(a[0, head, row]) for row in kept] for head in range(a.shape[1])] for a in out.attentions]
    return {"folder": folder, "texts": texts, "ids": ids.tolist(), "rows": list(kept), "attention": attention, "layers": layers}


expected = {name: case(*of) for name, of in CASES.items()}
(HERE / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")
