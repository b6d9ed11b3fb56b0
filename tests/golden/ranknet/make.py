#!/usr/bin/env python3
"""RankNet over lists (Burges et al., ICML 2005): the mean logistic loss of a list's pairs, by PyTorch.

    python tests/golden/ranknet/make.py            (torch)
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from lists import write  # noqa: E402

def loss(s, y):
    i, j = torch.nonzero(y[:, None] > y[None, :], as_tuple=True)
    return torch.nn.functional.softplus(s[j] - s[i]).mean() if len(i) else 0.0 * s.sum()


if __name__ == "__main__":
    write(Path(__file__).resolve().parent / "expected.json", loss)
