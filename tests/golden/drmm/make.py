#!/usr/bin/env python3
"""Scores of DRMM over the random checkpoint of tests/golden/bert/rubert, by PyTorch (tests/golden/matrices.py has what is shared).

    python tests/golden/drmm/make.py            (torch, transformers, safetensors)

Histograms are those of the paper (Guo et al., CIKM 2016) in 30 bins, the logarithm of 1 + count; the last tanh of its network is left out.
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from matrices import cosines, head, pair, write  # noqa: E402

BINS = 30


def histogram(row, same, kind, exact):
    counts = torch.zeros(BINS)
    even = BINS - 1 if exact else BINS
    for cosine, is_same in zip(row.tolist(), same):
        if exact and is_same:
            counts[-1] += 1
        else:
            counts[min(int((cosine + 1.000001) / 2 * even), even - 1)] += 1
    if kind == "normalized":
        return counts / max(len(same), 1)
    return torch.log(1 + counts) if kind == "log_count" else counts


@torch.no_grad()
def score(query, document, settings):
    q_ids, d_ids, q, d, _ = pair(query, document, settings["vectors"])
    if not q_ids:
        return 0.0
    matrix = cosines(q[-1], d[-1])
    rows = zip(matrix, q_ids)
    bins = torch.stack([histogram(r, [i == j for j in d_ids], settings["histogram"], settings["exact_bin"]) for r, i in rows])
    z = torch.tanh(bins @ head(5, BINS).T + head(5)) @ head(1, 5)[0] + head(1)[0]
    gate = torch.zeros(len(q_ids))
    if settings["gating"] == "vector":
        gate = q[-1] @ head(1, q.shape[-1])[0]
    if settings["gating"] == "idf":  # a value a token, as a head's array; a shift of all changes nothing
        gate = head(1, 1)[0] * head(max(q_ids) + 1)[torch.tensor(q_ids)]
    return (torch.softmax(gate, 0) @ z).item()


SETTINGS = [
    {"vectors": vectors, "histogram": histogram, "exact_bin": exact, "gating": gating}
    for vectors in ["static", "joint", "apart"]
    for histogram, exact, gating in [("log_count", True, "vector"), ("count", False, "none"), ("normalized", True, "none"), ("log_count", True, "idf")]
]

if __name__ == "__main__":
    write(Path(__file__).resolve().parent, SETTINGS, score)
