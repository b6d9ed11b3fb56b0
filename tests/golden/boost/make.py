#!/usr/bin/env python3
"""XGBoost's own model file and predictions, and its predictions by a model file of ours.

    python tests/golden/boost/make.py            (xgboost, numpy)

`theirs.json` was trained by xgboost here; `ours.json`, if it is there, was written by `cargo test boost` with SVERKA_WRITE_GOLDEN=1. Rows have missing
values; margins are of both models on the same rows.
"""

import json
from pathlib import Path

import numpy as np
import xgboost as xgb

HERE = Path(__file__).resolve().parent
rng = np.random.default_rng(7)
x = rng.normal(size=(120, 5)).astype(np.float32)
logit = 2.0 * x[:, 0] - 1.5 * np.abs(x[:, 1]) + x[:, 2] * x[:, 3]
y = (logit + rng.normal(size=120) > 0).astype(int)
x[rng.random(x.shape) < 0.15] = np.nan
x[:, 4] = np.round(x[:, 4])

matrix = xgb.DMatrix(x, label=y, feature_names=[f"f{i}" for i in range(5)])
params = {"objective": "binary:logistic", "max_depth": 3, "eta": 0.3, "seed": 1, "nthread": 1}
theirs = xgb.train(params, matrix, num_boost_round=12)
theirs.save_model(HERE / "theirs.json")
out = {
    "rows": [[None if np.isnan(v) else float(f"{v:.9g}") for v in row] for row in x],
    "labels": y.tolist(),
    "theirs": [float(f"{v:.9g}") for v in theirs.predict(matrix, output_margin=True)],
}
if (HERE / "ours.json").exists():
    ours = xgb.Booster(model_file=HERE / "ours.json")
    out["ours"] = [float(f"{v:.9g}") for v in ours.predict(matrix, output_margin=True)]
(HERE / "expected.json").write_text(json.dumps(out) + "\n")
