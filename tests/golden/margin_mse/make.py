#!/usr/bin/env python3
"""Margin-MSE over lists (Hofstätter et al., arXiv 2010.02666), by PyTorch's mse_loss.

    python tests/golden/margin_mse/make.py            (torch)
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from lists import write  # noqa: E402


def loss(s, y, t):
    better, worse = torch.nonzero(y[:, None] > y[None, :], as_tuple=True)
    if len(better) == 0:
        return 0.0 * s.sum()
    return torch.nn.functional.mse_loss(s[better] - s[worse], t[better] - t[worse])


if __name__ == "__main__":
    write(Path(__file__).resolve().parent / "expected.json", loss, taught=True)
