#!/usr/bin/env python3
"""Supervised contrastive loss (Khosla et al., NeurIPS 2020, L_out), pair by pair, by PyTorch: python tests/golden/sup_con/make.py (torch)."""

import json
from pathlib import Path

import torch

torch.manual_seed(3)
numbers = lambda t: [float(f"{v:.8g}") for v in t.detach().flatten().tolist()]  # noqa: E731
cases = []
for clusters, h, scale in [([0, 0], 3, 1.0), ([0, 1, 0, 2, 1, 0], 4, 14.0), ([3, 1, 2], 5, 2.0), ([7] * 4 + [1] * 3, 6, 5.0)]:
    n = len(clusters)
    vectors = torch.nn.functional.normalize(torch.randn(n, h), dim=1).requires_grad_()
    weights = torch.rand(n)
    loss = 0.0 * vectors.sum()
    for i in range(n):
        others = [a for a in range(n) if a != i]
        logs = torch.stack([scale * vectors[i] @ vectors[a] for a in others]).log_softmax(0)
        partners = [at for at, a in enumerate(others) if clusters[a] == clusters[i]]
        if partners:
            loss = loss - weights[i] * logs[partners].mean()
    loss.backward()
    cases.append(
        {
            "shape": [n, h],
            "scale": scale,
            "vectors": numbers(vectors),
            "clusters": clusters,
            "weights": numbers(weights),
            "loss": float(loss),
            "grad": numbers(vectors.grad),
        }
    )
Path(__file__).with_name("expected.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
