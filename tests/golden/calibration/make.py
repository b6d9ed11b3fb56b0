"""Golden numbers of src/calibrate: scikit-learn (Platt, isotonic) and scipy (temperature, beta, separable data).

Run: python make.py  (writes expected.json into its folder). Made with scikit-learn 1.9.1, scipy 1.17.1, numpy 2.
"""

import json
import pathlib

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from sklearn.calibration import _sigmoid_calibration
from sklearn.isotonic import IsotonicRegression


def softplus(x):
    return np.logaddexp(0.0, x)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def targets(labels):
    n1, n0 = labels.sum(), (~labels).sum()
    return np.where(labels, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))


def loss(x, t):
    return np.mean(softplus(x) - t * x)


def temperature(scores, labels):
    t = targets(labels)
    found = minimize_scalar(lambda k: loss(np.exp(k) * scores, t), bounds=(-15, 15), options={"xatol": 1e-13})
    return 1.0 / np.exp(found.x)


def bounded(columns, labels, bounds):
    """The best weights of three very different methods from several starts, so that none of them is trusted alone."""
    t = targets(labels)
    f = lambda w: loss(columns @ w, t)
    g = lambda w: columns.T @ (sigmoid(columns @ w) - t) / len(t)
    best = None
    for start in (0.0, 0.5, 2.0):
        w = np.full(columns.shape[1], start)
        for method, options in (("L-BFGS-B", {"ftol": 1e-16, "gtol": 1e-12}), ("SLSQP", {"ftol": 1e-16, "maxiter": 2000}), ("TNC", {"gtol": 1e-12})):
            w = np.clip(w, [b[0] for b in bounds], [b[1] for b in bounds])
            w = minimize(f, w, jac=g, bounds=bounds, method=method, options=options).x
        if best is None or f(w) < f(best):
            best = w
    return best


def beta(scores, labels):
    columns = np.stack([-softplus(-scores), softplus(scores), np.ones_like(scores)], 1)
    inf = np.inf
    return bounded(columns, labels, [(0, inf), (0, inf), (-inf, inf)])


def platt(scores, labels):
    columns = np.stack([scores, np.ones_like(scores)], 1)
    return bounded(columns, labels, [(0, np.inf), (-np.inf, np.inf)])


def case(scores, labels):
    scores = scores.astype(np.float32).astype(np.float64)
    grid = np.linspace(scores.min() - 2, scores.max() + 2, 41).astype(np.float32).astype(np.float64)
    n1, n0 = int(labels.sum()), int((~labels).sum())
    isotonic = IsotonicRegression(y_min=1 / (n0 + 2), y_max=(n1 + 1) / (n1 + 2), out_of_bounds="clip").fit(scores, labels)
    t, (slope, intercept), (a, b, c) = temperature(scores, labels), platt(scores, labels), beta(scores, labels)
    sk = _sigmoid_calibration(scores, labels.astype(int))
    return {
        "scores": scores.tolist(),
        "labels": labels.astype(int).tolist(),
        "grid": grid.tolist(),
        "temperature": {"parameters": [t], "grid": sigmoid(grid / t).tolist()},
        "platt": {"parameters": [slope, intercept], "grid": sigmoid(slope * grid + intercept).tolist()},
        "platt_sklearn": [-sk[0], -sk[1]],
        "beta": {"parameters": [a, b, c], "grid": sigmoid(-a * softplus(-grid) + b * softplus(grid) + c).tolist()},
        "isotonic": {"grid": isotonic.predict(grid).tolist()},
    }


def main():
    rng = np.random.default_rng(4)
    labels = rng.random(300) < 0.3
    logits = rng.normal(np.where(labels, 3.0, -4.0), 4.0)
    tied = np.round(logits)
    skewed = np.where(logits > 0, 4 * logits, logits)
    separable = np.where(labels, 5 + rng.random(300), -5 - rng.random(300))
    cases = {
        "overlapping": case(logits, labels),
        "tied": case(tied, labels),
        "skewed": case(skewed, labels),
        "separable": case(separable, labels),
        "low_tail_only": case(np.minimum(logits, 0.0) * 2 + rng.normal(0, 0.1, 300), labels),
    }
    # Scores that fall as labels rise: Platt's slope and beta's ends must stop at 0.
    cases["reversed"] = case(-logits, labels)
    out = pathlib.Path(__file__).with_name("expected.json")
    out.write_text(json.dumps(cases, separators=(",", ":")) + "\n")
    for name, c in cases.items():
        print(name, c["temperature"]["parameters"], c["platt"]["parameters"], c["platt_sklearn"], c["beta"]["parameters"])


main()
