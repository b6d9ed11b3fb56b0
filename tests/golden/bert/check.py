#!/usr/bin/env python3
"""Loads exported directories with transformers and holds their numbers against expected.json: check.py NAME=DIR...

Exit code 77 where transformers is not installed. `tests/golden_bert.rs` runs it.
"""

import json
import sys
from pathlib import Path

try:
    import torch
    from transformers import BertForSequenceClassification, BertModel
except ImportError:
    sys.exit(77)

EXPECTED = json.loads((Path(__file__).parent / "expected.json").read_text(encoding="utf-8"))


@torch.no_grad()
def check(name, folder):
    cases = EXPECTED[name]
    kind = BertForSequenceClassification if "logits" in cases[0] else BertModel
    model, info = kind.from_pretrained(folder, output_loading_info=True)
    missing = {key for key in info["missing_keys"] if "pooler" not in key or "pooled" in cases[0]}
    assert not missing and not info["unexpected_keys"] and not info["mismatched_keys"], info
    for case in cases:
        inputs = {"input_ids": torch.tensor([case["ids"]]), "token_type_ids": torch.tensor([case["segments"]])}
        bert = getattr(model.eval(), "bert", model)
        got = {"last": bert(**inputs).last_hidden_state[0, 0]}
        wanted = {"last": case["hidden"][-1][0]}
        if "logits" in case:
            got["logits"], wanted["logits"] = model(**inputs).logits[0], case["logits"]
        for what, values in wanted.items():
            values = torch.tensor(values)
            torch.testing.assert_close(got[what][: len(values)], values, rtol=1e-5, atol=1e-5, msg=f"{name}: {what}")


for argument in sys.argv[1:]:
    check(*argument.split("=", 1))
