#!/usr/bin/env python3
"""Kullback-Leibler divergence of a student's softmax from its teacher's, by PyTorch's kl_div.

    python tests/golden/kl_lists/make.py            (torch)
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from lists import write  # noqa: E402


def loss(s, y, t):
    return torch.nn.functional.kl_div(s.log_softmax(0), t.softmax(0), reduction="sum")


if __name__ == "__main__":
    write(Path(__file__).resolve().parent / "expected.json", loss, taught=True)
