#!/usr/bin/env python3
"""Scores exported folders with sentence-transformers and compares with expected.json: check.py NAME=DIR...

Exit code 77 where it is not installed. `tests/golden_checkpoints.rs` runs it.
"""

import json
import sys
from pathlib import Path

try:
    import torch
    from sentence_transformers import CrossEncoder
except ImportError:
    sys.exit(77)

EXPECTED = json.loads((Path(__file__).parent / "expected.json").read_text(encoding="utf-8"))
for argument in sys.argv[1:]:
    name, folder = argument.split("=", 1)
    model = CrossEncoder(folder)
    got = model.predict(EXPECTED["pairs"], activation_fn=torch.nn.Identity(), convert_to_tensor=True, batch_size=1)
    got = got[:, 1] - got[:, 0] if got.ndim == 2 else got
    wanted = torch.tensor(EXPECTED["cases"][name]["scores"])
    torch.testing.assert_close(got.cpu(), wanted, rtol=0, atol=1e-4, msg=lambda text: f"{name}: {text}")
