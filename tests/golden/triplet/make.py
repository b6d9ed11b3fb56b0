#!/usr/bin/env python3
"""Triplet loss on squared Euclidean distances by PyTorch: python tests/golden/triplet/make.py (torch)."""

import json
from pathlib import Path

import torch

torch.manual_seed(5)
numbers = lambda t: [float(f"{v:.8g}") for v in t.detach().flatten().tolist()]  # noqa: E731
cases = []
for b, h, margin in [(1, 3, 0.2), (5, 4, 0.2), (4, 6, 1.5)]:
    vectors = [torch.nn.functional.normalize(torch.randn(b, h), dim=1).requires_grad_() for _ in range(3)]
    weights = torch.rand(b)
    apart = lambda x, y: ((x - y) ** 2).sum(1)  # noqa: E731
    each = torch.nn.functional.triplet_margin_with_distance_loss(*vectors, distance_function=apart, margin=margin, reduction="none")
    loss = (each * weights).sum()
    loss.backward()
    cases.append(
        {
            "shape": [b, h],
            "margin": margin,
            "vectors": [numbers(v) for v in vectors],
            "weights": numbers(weights),
            "loss": float(loss),
            "grads": [numbers(v.grad) for v in vectors],
        }
    )
Path(__file__).with_name("expected.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
