#!/usr/bin/env python3
"""Scores of Conv-KNRM by PyTorch's Conv1d over vectors of the random checkpoint tests/golden/bert/rubert.

    python tests/golden/conv_knrm/make.py            (torch, transformers)

As published (Dai et al., WSDM 2018); its last tanh is left out.
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from matrices import cosines, head, pair, write  # noqa: E402

MU = torch.tensor([1.0, 0.9, 0.7, 0.5, 0.3, 0.1, -0.1, -0.3, -0.5, -0.7, -0.9])
SIGMA = torch.tensor([0.001] + [0.1] * 10)


def grams(x, n):
    """[tokens, 128]: a convolution over n tokens, zeros past the end."""
    if len(x) == 0:
        return torch.zeros(0, 128)
    h = x.shape[1]
    # a linear layer's row is n vectors one after the other; Conv1d wants [filters, h, n]
    weight = head(128, n * h).reshape(128, n, h).transpose(1, 2)
    padded = torch.nn.functional.pad(x.T[None], (0, n - 1))
    return torch.relu(torch.nn.functional.conv1d(padded, weight, head(128)))[0].T


@torch.no_grad()
def score(query, document, settings):
    _, _, q, d, _ = pair(query, document, settings["vectors"])
    features = []
    for i in (1, 2, 3):
        for j in (1, 2, 3):
            matrix = cosines(grams(q[-1], i), grams(d[-1], j))
            kernels = torch.exp(-((matrix[..., None] - MU) ** 2) / (2 * SIGMA**2)).sum(1)
            features.append((torch.log(torch.clamp(kernels, min=1e-10)) * 0.01).sum(0))
    return (head(1, 99)[0] @ torch.cat(features) + head(1)[0]).item()


SETTINGS = [{"vectors": v} for v in ["static", "joint", "apart"]]

if __name__ == "__main__":
    write(Path(__file__).resolve().parent, SETTINGS, score)
