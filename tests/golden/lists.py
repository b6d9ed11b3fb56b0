"""What the programs of losses over lists share: lists of scores and grades, and value and gradient by PyTorch's autograd in double precision."""

import json
import math

import torch

# scores, lengths, grades, weights
CASES = [
    ([0.5, -1.25, 2.0, 0.0, 0.75], [5], [1, 0, 0, 0, 0], [1.0]),
    ([0.5, -1.25, 2.0, 0.1, 0.75, -0.3, 1.5, 40.0, -40.0], [3, 1, 5], [1, 0, 2, 1, 0, 1, 3, 0, 1], [0.5, 0.25, 0.25]),
    ([3.0, 1.0, 2.5, -2.0], [2, 2], [0, 0, 0, 1], [0.5, 0.5]),
    ([math.sin(3.7 * i) for i in range(12)], [4, 4, 4], [i % 3 for i in range(12)], [1 / 3] * 3),
]


def write(path, loss, taught=False):
    """`loss(scores, grades)` is a list's own; with `taught`, `loss(scores, grades, teacher)`."""
    cases = []
    for scores, lengths, grades, weights in CASES:
        z = torch.tensor(scores, dtype=torch.float64, requires_grad=True)
        y = torch.tensor(grades, dtype=torch.float64)
        teacher = [3.0 * math.cos(2.3 * i) for i in range(len(scores))]
        columns = [z, y] + ([torch.tensor(teacher, dtype=torch.float64)] if taught else [])
        parts = zip(*(column.split(lengths) for column in columns))
        total = sum(w * loss(*part) for part, w in zip(parts, weights)) + 0.0 * z.sum()
        total.backward()
        number = lambda v: float(f"{v:.9g}")  # noqa: E731
        cases.append(
            {
                "scores": [number(s) for s in scores],
                "lengths": lengths,
                "grades": grades,
                "weights": [number(w) for w in weights],
                **({"teacher": [number(t) for t in teacher]} if taught else {}),
                "loss": number(total.item()),
                "grad": [number(g) for g in z.grad.tolist()],
            }
        )
    text = ",\n".join(json.dumps(c) for c in cases)
    path.write_text("[\n" + text + "\n]\n", encoding="utf-8")
