#!/usr/bin/env python3
"""Vectors, scores, loss and gradients of two towers of convolutions over characters, by PyTorch's own convolution, in float64.

    python tests/golden/char_cnn/make.py            (torch)

Writes expected.json. Arrays are a formula of their number and place (`array`), here as in the test. src/models/char_cnn.rs reads it.
"""

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
VOCABULARY, H, TEMPERATURE = 40, 12, 0.5
FILTERS = [25, 50, 75, 100, 125, 150]
ALL = sum(FILTERS)
# a query, its match, and documents that are no match; 2 and 3 begin and end a text
EXAMPLES = [
    [[2, 7, 9, 11, 5, 7, 9, 11, 3], [2, 7, 9, 12, 5, 30, 31, 32, 33, 34, 35, 3], [2, 20, 21, 3]],
    [[2, 3], [2, 14, 3]],
    [[2, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 3], [2, *range(5, 40), 3], [2, 8, 8, 9, 3], [2, 39, 38, 37, 36, 35, 34, 33, 3]],
]


def array(number, *shape, is_table=False, centre=0.0):
    scale = 1.5 / math.sqrt(shape[1]) if len(shape) == 2 and not is_table else 0.5
    values = [centre + scale * (2 * ((31 * i * i + 7919 * i + 104729 * number) % 10007) / 10007 - 1) for i in range(math.prod(shape))]
    # 32-bit values, as the model has them
    return torch.tensor(values, dtype=torch.float32).double().reshape(shape).requires_grad_()


def arrays():
    out, number = {}, 0

    def add(name, *shape, **settings):
        nonlocal number
        out[name] = array(number, *shape, **settings)
        number += 1

    add("bert.embeddings.word_embeddings.weight", VOCABULARY, H, is_table=True)
    for n, filters in enumerate(FILTERS, 1):
        add(f"char_cnn.gram{n}.weight", filters, n * H)
        add(f"char_cnn.gram{n}.bias", filters)
    for name in ["char_cnn.highway", "char_cnn.highway_gate"]:
        add(f"{name}.weight", ALL, ALL)
        add(f"{name}.bias", ALL)
    add("char_cnn.out.dense.weight", H, ALL)
    add("char_cnn.out.dense.bias", H)
    add("char_cnn.out.LayerNorm.weight", H, centre=1.0)
    add("char_cnn.out.LayerNorm.bias", H)
    return out


def vector(a, ids):
    x = a["bert.embeddings.word_embeddings.weight"][torch.tensor(ids)].T[None]  # [1, h, t]
    found = []
    for n, filters in enumerate(FILTERS, 1):
        # rows are [character, h]; a convolution has [h, character]
        kernel = a[f"char_cnn.gram{n}.weight"].reshape(filters, n, H).transpose(1, 2)
        y = F.conv1d(F.pad(x, (0, n - 1)), kernel, a[f"char_cnn.gram{n}.bias"])
        found.append(torch.relu(y)[0].max(dim=1).values)
    x = torch.cat(found)
    gate = torch.sigmoid(F.linear(x, a["char_cnn.highway_gate.weight"], a["char_cnn.highway_gate.bias"]) - 2)
    changed = torch.relu(F.linear(x, a["char_cnn.highway.weight"], a["char_cnn.highway.bias"]))
    x = gate * changed + (1 - gate) * x
    x = F.linear(x, a["char_cnn.out.dense.weight"], a["char_cnn.out.dense.bias"])
    return F.layer_norm(x, (H,), a["char_cnn.out.LayerNorm.weight"], a["char_cnn.out.LayerNorm.bias"], 1e-12)


def main():
    a = arrays()
    vectors = [[vector(a, ids) for ids in example] for example in EXAMPLES]
    unit = [[F.normalize(v, dim=0) for v in example] for example in vectors]
    queries = torch.stack([example[0] for example in unit])
    # every match, then every other document: all are negatives of every other query
    documents = torch.stack([e[1] for e in unit] + [d for e in unit for d in e[2:]])
    logits = queries @ documents.T / TEMPERATURE
    loss = F.cross_entropy(logits, torch.arange(len(EXAMPLES)))
    loss.backward()

    def number(x):
        return float(f"{float(x.detach()):.9g}")

    gradients = {}
    for name, value in a.items():
        g = value.grad.flatten()
        fixed = torch.cos(0.9 * torch.arange(len(g)))
        gradients[name] = [number(g.norm()), number(g @ fixed), [number(x) for x in g[:8]]]
    out = {
        "examples": EXAMPLES,
        "vectors": [[number(x) for x in v] for example in vectors for v in example],
        "scores": [[number(e[0] @ d) for d in e[1:]] for e in unit],
        "loss": number(loss),
        "gradients": gradients,
    }
    (Path(__file__).resolve().parent / "expected.json").write_text(json.dumps(out) + "\n")
    print(number(loss), out["scores"])


if __name__ == "__main__":
    main()
