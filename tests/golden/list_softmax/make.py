#!/usr/bin/env python3
"""Softmax cross-entropy over lists (Cao et al., ICML 2007), by PyTorch's cross_entropy.

    python tests/golden/list_softmax/make.py            (torch)
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from lists import write  # noqa: E402

def loss(s, y):
    return torch.nn.functional.cross_entropy(s, y / y.sum()) if y.sum() > 0 else 0.0 * s.sum()


if __name__ == "__main__":
    write(Path(__file__).resolve().parent / "expected.json", loss)
