#!/usr/bin/env python3
"""Focal loss with gamma 2 (Lin et al., ICCV 2017), by PyTorch's autograd in double precision.

    python tests/golden/focal/make.py            (torch)
"""

import json
from pathlib import Path

import torch

CASES = [
    ([0.0, 1.5, -2.0, 4.0], [1, 1, 0, 0], [0.25] * 4),
    ([30.0, -30.0, 80.0, -80.0, 0.3], [0, 1, 1, 0, 0.25], [0.1, 0.2, 0.3, 0.2, 0.2]),
]


def main():
    out = []
    for logits, targets, weights in CASES:
        z = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
        y, w = torch.tensor(targets, dtype=torch.float64), torch.tensor(weights, dtype=torch.float64)
        p, log = torch.sigmoid(z), torch.nn.functional.logsigmoid
        loss = -(w * (y * torch.sigmoid(-z) ** 2 * log(z) + (1 - y) * p**2 * log(-z))).sum()
        loss.backward()
        number = lambda v: float(f"{v:.9g}")  # noqa: E731
        case = {"logits": logits, "targets": targets, "weights": weights, "loss": number(loss.item())}
        out.append({**case, "grad": [number(g) for g in z.grad.tolist()]})
    text = ",\n".join(json.dumps(c) for c in out)
    (Path(__file__).resolve().parent / "expected.json").write_text("[\n" + text + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
