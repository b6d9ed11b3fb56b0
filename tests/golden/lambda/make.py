#!/usr/bin/env python3
"""LambdaLoss, NDCG-Loss2 (Wang et al., CIKM 2018), by PyTorch, as the paper writes it.

    python tests/golden/lambda/make.py            (torch)
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from lists import write  # noqa: E402

def loss(s, y):
    places = torch.arange(1, len(s) + 2, dtype=s.dtype)
    inverse = 1 / torch.log2(1 + places)
    ideal = ((2 ** torch.sort(y, descending=True).values - 1) * inverse[: len(s)]).sum()
    rank = torch.empty(len(s), dtype=torch.long)
    rank[torch.sort(s.detach(), descending=True, stable=True).indices] = torch.arange(len(s))
    total = 0.0 * s.sum()
    for i in range(len(s)):
        for j in range(len(s)):
            if y[i] > y[j]:
                apart = abs(rank[i] - rank[j]).item()
                delta = abs(inverse[apart - 1] - inverse[apart])
                weight = delta * abs(2 ** y[i] - 2 ** y[j]) / ideal
                total = total - weight * torch.nn.functional.logsigmoid(s[i] - s[j])
    return total


if __name__ == "__main__":
    write(Path(__file__).resolve().parent / "expected.json", loss)
