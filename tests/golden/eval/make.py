"""Golden numbers of src/eval: scikit-learn's measures, numpy's bins, scipy's tests.

Run: python make.py  (writes expected.json into its folder). Made with scikit-learn 1.9.1, scipy 1.17.1, numpy 2.
"""

import json
import pathlib

import numpy as np
from scipy.stats import binomtest, chi2
from sklearn import metrics

BINS = 15


def gaps(groups, p, y):
    return float(sum(len(g) * abs(p[g].mean() - y[g].mean()) for g in groups if len(g)) / len(p))


def case(p, y, threshold):
    p32 = p.astype(np.float32)
    p = p32.astype(np.float64)
    accepted = p32 >= np.float32(threshold)
    # Without drop_intermediate every distinct probability is a point; the last one (recall 0) is sklearn's own.
    precision, recall, _ = metrics.precision_recall_curve(y, p)
    precision, recall = precision[:-1], recall[:-1]
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    which = np.searchsorted(np.arange(1, BINS) / BINS, p)
    width = [np.flatnonzero(which == i) for i in range(BINS)]
    # Equal mass: cut the sorted list into 15 parts, then move each cut past its ties.
    order, cuts = np.argsort(p, kind="stable"), [0]
    for i in range(1, BINS + 1):
        cut = -(-len(p) * i // BINS)
        while 0 < cut < len(p) and p[order[cut]] == p[order[cut - 1]]:
            cut += 1
        cuts.append(max(cut, cuts[-1]))
    mass = [order[a:b] for a, b in zip(cuts, cuts[1:])]
    return {
        "probabilities": p.tolist(),
        "labels": y.astype(int).tolist(),
        "threshold": threshold,
        "f1": metrics.f1_score(y, accepted, zero_division=0),
        "precision": metrics.precision_score(y, accepted, zero_division=0),
        "recall": metrics.recall_score(y, accepted, zero_division=0),
        "best_f1": float(f1.max()),
        "pr_auc": metrics.average_precision_score(y, p),
        "brier": metrics.brier_score_loss(y, p),
        "nll": metrics.log_loss(y, np.clip(p, np.finfo(np.float32).eps, 1 - np.finfo(np.float32).eps)),
        "ece": gaps(width, p, y),
        "ece_mass": gaps(mass, p, y),
        "precision_at_recall": {f"{r:.2f}": float(max(precision[recall >= r], default=0)) for r in (0.5, 0.8, 0.9, 0.95)},
        "recall_at_precision": {f"{q:.2f}": float(max(recall[precision >= q], default=0)) for q in (0.8, 0.9, 0.95, 0.99)},
        "width": [[len(g), float(p[g].mean()) if len(g) else 0.0, float(y[g].mean()) if len(g) else 0.0] for g in width],
    }


def mcnemar(only_first, only_second):
    n = only_first + only_second
    stat = max(abs(only_first - only_second) - 1, 0) ** 2 / n
    exact = binomtest(min(only_first, only_second), n, 0.5).pvalue
    return {"only_first": only_first, "only_second": only_second, "exact_p": exact, "chi2": stat, "chi2_p": float(chi2.sf(stat, 1))}


def main():
    rng = np.random.default_rng(9)
    y = rng.random(500) < 0.2
    p = 1 / (1 + np.exp(-rng.normal(np.where(y, 1.5, -2.5), 2.0)))
    tied = np.round(p, 1)
    out = {
        "cases": {
            "distinct": case(p, y, 0.4),
            "tied": case(tied, y, 0.5),
            "certain": case((p > 0.3).astype(float), y, 0.5),
            "nothing accepted": case(p * 0.5, y, 0.9),
        },
        "mcnemar": [mcnemar(*pair) for pair in ((10, 3), (3, 10), (7, 7), (1, 0), (0, 40), (620, 541), (4000, 3000))],
    }
    pathlib.Path(__file__).with_name("expected.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")


main()
