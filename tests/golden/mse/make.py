#!/usr/bin/env python3
"""Squared error of scores against a teacher's by PyTorch: python tests/golden/mse/make.py (torch)."""

import json
import math
from pathlib import Path

import torch

number = lambda v: float(f"{v:.9g}")  # noqa: E731
cases = []
for n in [1, 4, 9]:
    z = torch.tensor([2.0 * math.sin(1.9 * i + n) for i in range(n)], dtype=torch.float64, requires_grad=True)
    t = torch.tensor([3.0 * math.cos(0.7 * i) for i in range(n)], dtype=torch.float64)
    w = torch.tensor([(1 + i % 3) / n for i in range(n)], dtype=torch.float64)
    loss = (torch.nn.functional.mse_loss(z, t, reduction="none") * w).sum()
    loss.backward()
    lists = {"logits": z.detach(), "targets": t, "weights": w, "grad": z.grad}
    cases.append({**{k: [number(x) for x in v.tolist()] for k, v in lists.items()}, "loss": number(loss.item())})
Path(__file__).with_name("expected.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
