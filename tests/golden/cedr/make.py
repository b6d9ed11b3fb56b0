#!/usr/bin/env python3
"""Scores of CEDR over the random checkpoint of tests/golden/bert/rubert, by PyTorch (tests/golden/matrices.py has what is shared).

    python tests/golden/cedr/make.py            (torch, transformers, safetensors)

Both heads as in the authors' code (MacAvaney et al., SIGIR 2019), and the form with one matrix, 10 bins and a gate.
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from matrices import cosines, head, passages, pair, write  # noqa: E402

MU = torch.tensor([1.0, 0.9, 0.7, 0.5, 0.3, 0.1, -0.1, -0.3, -0.5, -0.7, -0.9])
SIGMA = torch.tensor([0.001] + [0.1] * 10)


def histogram(row, bins, exact):
    counts = torch.zeros(bins)
    even = bins - 1 if exact else bins
    for cosine in row.tolist():
        counts[min(int((cosine + 1.000001) / 2 * even), bins - 1)] += 1
    return torch.log(counts + 1e-5)


@torch.no_grad()
def score(query, document, settings):
    if "passages" in settings:
        # the paper's long documents: the query's states of the first passage, the document's of all, [CLS] averaged
        q_ids, parts = passages(query, document, settings["passages"], settings.get("overlap", 0))
        q, d = parts[0][0], torch.cat([part[1] for part in parts], 1)
        cls = torch.stack([part[2] for part in parts]).mean(0)
    else:
        q_ids, _, q, d, cls = pair(query, document, "joint")
    if settings["states"] == "last":
        q, d = q[-1:], d[-1:]
    matrices, cls = cosines(q, d), cls[-1]
    if settings["head"] == "knrm":
        kernels = torch.exp(-((matrices[..., None] - MU) ** 2) / (2 * SIGMA**2)).sum(2)
        features = torch.cat([torch.log(kernels + 1e-6).sum(1).flatten(), cls])
        return (head(1, len(features))[0] @ features + head(1)[0]).item()
    total, gates = [], []
    for token in range(q.shape[1]):
        bins = [histogram(matrix[token], settings["bins"], settings["exact_bin"]) for matrix in matrices]
        features = torch.cat([*bins, cls])
        hidden = torch.relu(head(5, len(features)) @ features + head(5))
        total.append(head(1, 5)[0] @ hidden + head(1)[0])
        if settings["gating"] == "idf":
            gates.append(head(1, 1)[0, 0] * head(q_ids[token] + 1)[-1])
        else:
            gates.append(q[-1, token] @ head(1, len(cls))[0])
    if not total:
        return 0.0
    total = torch.stack(total)
    return (total.sum() if settings["gating"] == "none" else torch.softmax(torch.stack(gates), 0) @ total).item()


SETTINGS = [
    {"head": "knrm", "states": "all"},
    {"head": "knrm", "states": "last"},
    {"head": "drmm", "states": "all", "bins": 11, "exact_bin": True, "gating": "none"},
    {"head": "drmm", "states": "last", "bins": 10, "exact_bin": False, "gating": "vector"},
    {"head": "drmm", "states": "all", "bins": 11, "exact_bin": True, "gating": "idf"},
    {"head": "knrm", "states": "all", "passages": 9},
    {"head": "drmm", "states": "last", "bins": 10, "exact_bin": False, "gating": "vector", "passages": 2, "overlap": 3},
]

if __name__ == "__main__":
    write(Path(__file__).resolve().parent, SETTINGS, score, lambda s: {"max_tokens": 16} if "passages" in s else {})
