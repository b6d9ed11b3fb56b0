#!/usr/bin/env python3
"""Pairwise hinge over lists, by PyTorch's margin_ranking_loss.

    python tests/golden/pairwise_hinge/make.py            (torch)
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from lists import write  # noqa: E402

def loss(s, y):
    i, j = torch.nonzero(y[:, None] > y[None, :], as_tuple=True)
    ones = torch.ones(len(i), dtype=s.dtype)
    return torch.nn.functional.margin_ranking_loss(s[i], s[j], ones, margin=1.0) if len(i) else 0.0 * s.sum()


if __name__ == "__main__":
    write(Path(__file__).resolve().parent / "expected.json", loss)
