#!/usr/bin/env python3
"""Scores of K-NRM over the random checkpoint of tests/golden/bert/rubert, by PyTorch (tests/golden/matrices.py has what is shared).

    python tests/golden/knrm/make.py            (torch, transformers, safetensors)

Kernels, clamp and factor are those of the authors' code (Xiong et al., SIGIR 2017); its last tanh is left out.
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from matrices import cosines, head, pair, write  # noqa: E402

MU = torch.tensor([1.0, 0.9, 0.7, 0.5, 0.3, 0.1, -0.1, -0.3, -0.5, -0.7, -0.9])
SIGMA = torch.tensor([0.001] + [0.1] * 10)


@torch.no_grad()
def score(query, document, settings):
    _, _, q, d, _ = pair(query, document, settings["vectors"])
    matrix = cosines(q[-1], d[-1])
    kernels = torch.exp(-((matrix[..., None] - MU) ** 2) / (2 * SIGMA**2)).sum(1)
    features = (torch.log(torch.clamp(kernels, min=1e-10)) * 0.01).sum(0)
    return (head(1, 11)[0] @ features + head(1)[0]).item()


SETTINGS = [{"vectors": v, "train_kernels": t} for v in ["static", "joint", "apart"] for t in [False, True]]

if __name__ == "__main__":
    write(Path(__file__).resolve().parent, SETTINGS, score)
