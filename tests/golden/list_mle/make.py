#!/usr/bin/env python3
"""ListMLE (Xia et al., ICML 2008), by PyTorch's logcumsumexp.

    python tests/golden/list_mle/make.py            (torch)
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from lists import write  # noqa: E402

def loss(s, y):
    s = s[torch.sort(y, descending=True, stable=True).indices]
    return (torch.logcumsumexp(s.flip(0), 0).flip(0) - s).sum()


if __name__ == "__main__":
    write(Path(__file__).resolve().parent / "expected.json", loss)
