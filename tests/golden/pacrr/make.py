#!/usr/bin/env python3
"""Scores of PACRR by PyTorch's Conv2d over vectors of the random checkpoint tests/golden/bert/rubert.

    python tests/golden/pacrr/make.py            (torch, transformers)

The combination of CEDR's code (MacAvaney et al., SIGIR 2019) of Hui et al., EMNLP 2017: the matrix itself and filters over 2x2 and 3x3, the largest filter,
the 2 largest values of a query token, 32 query tokens, 32-32-1.
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from matrices import cosines, head, pair, write  # noqa: E402

QUERY, KEPT = 32, 2


def largest(matrix):
    """[QUERY, KEPT]"""
    out = torch.zeros(QUERY, KEPT)
    for row, values in enumerate(matrix[:QUERY]):
        top = values.topk(min(KEPT, len(values))).values
        out[row, : len(top)] = top
    return out


@torch.no_grad()
def score(query, document, settings):
    _, _, q, d, _ = pair(query, document, settings["vectors"])
    matrix = cosines(q[-1], d[-1])
    kept = [largest(matrix)]
    for n in (2, 3):
        found = matrix
        if matrix.numel() > 0:
            padded = torch.nn.functional.pad(matrix[None, None], (0, n - 1, 0, n - 1))
            filters = torch.nn.functional.conv2d(padded, head(32, n * n).reshape(32, 1, n, n), head(32))
            found = torch.relu(filters).max(1).values[0]
        kept.append(largest(found))
    x = torch.cat(kept, 1).flatten()
    for inputs in (QUERY * KEPT * 3, 32):
        x = torch.relu(head(32, inputs) @ x + head(32))
    return (head(1, 32)[0] @ x + head(1)[0]).item()


SETTINGS = [{"vectors": v} for v in ["static", "joint", "apart"]]

if __name__ == "__main__":
    write(Path(__file__).resolve().parent, SETTINGS, score)
