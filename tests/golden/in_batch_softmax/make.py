#!/usr/bin/env python3
"""Values and gradients of the in-batch softmax by PyTorch: python tests/golden/in_batch_softmax/make.py (torch)."""

import json
from pathlib import Path

import torch

torch.manual_seed(11)
cases = []
for b, n, h, scale in [(1, 1, 3, 1.0), (3, 3, 4, 20.0), (4, 7, 5, 2.5)]:
    queries = torch.nn.functional.normalize(torch.randn(b, h), dim=1).requires_grad_()
    documents = torch.nn.functional.normalize(torch.randn(n, h), dim=1).requires_grad_()
    weights = torch.rand(b)
    left_out = torch.rand(b, n) < 0.2
    left_out[torch.arange(b), torch.arange(b)] = False
    scores = (scale * queries @ documents.T).masked_fill(left_out, -torch.inf)
    loss = (torch.nn.functional.cross_entropy(scores, torch.arange(b), reduction="none") * weights).sum()
    loss.backward()
    numbers = lambda t: [float(f"{v:.8g}") for v in t.detach().flatten().tolist()]
    cases.append(
        {
            "shape": [b, n, h],
            "scale": scale,
            "queries": numbers(queries),
            "documents": numbers(documents),
            "weights": numbers(weights),
            "left_out": left_out.flatten().tolist(),
            "loss": float(loss),
            "query_grad": numbers(queries.grad),
            "document_grad": numbers(documents.grad),
        }
    )
out = Path(__file__).with_name("expected.json")
out.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
