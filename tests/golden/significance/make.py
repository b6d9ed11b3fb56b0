"""Golden p values of paired tests and intervals, from scipy.
Use: pip install scipy && python make.py > expected.json

The numbers are not stored: `draw` is the same as in src/eval/significance/tests.rs."""
import json
import math
import numpy as np
from scipy import stats

CASES = 40


class Draws:
    """Knuth's MMIX generator, the upper bits."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % n


def draw(seed):
    """2 to 5 rankers over 5 to 124 queries; queries differ more than rankers; every other case has many ties and zeros."""
    draws = Draws(seed)
    rankers, queries = 2 + draws.below(4), 5 + draws.below([8, 120][seed // 2 % 2])
    rows = []
    for _ in range(queries):
        hard = draws.below(600)
        if seed % 2:
            rows.append([(draws.below(4) + draws.below(j + 1)) / 8 for j in range(rankers)])
        else:
            rows.append([(hard + draws.below(401) + 25 * j) / 1100 for j in range(rankers)])
    return np.array(rows).T


def blocked_tukey(x):
    """Tukey's HSD with the queries as blocks."""
    k, n = x.shape
    residual = x - x.mean(axis=1, keepdims=True) - x.mean(axis=0, keepdims=True) + x.mean()
    error = (residual**2).sum() / ((k - 1) * (n - 1))
    q = [abs(x[i].mean() - x[j].mean()) / math.sqrt(error / n) for i, j in pairs(k)]
    return [float(stats.studentized_range.sf(v, k, (k - 1) * (n - 1))) if v else 1.0 for v in q]


def pairs(k):
    return [(i, j) for i in range(k) for j in range(i + 1, k)]


def wilcoxon(d):
    """scipy's choice between exact and approximate: exact to 50 differences without ties and zeros."""
    moved = np.abs(d[d != 0])
    if not len(moved):
        return 1.0
    exact = len(d) <= 50 and len(np.unique(moved)) == len(d)
    return stats.wilcoxon(d, correction=False, method="exact" if exact else "approx").pvalue


def fisher(d):
    """The exact test where all signs are few enough, else 200,000 draws."""
    def mean(x, axis):
        return np.mean(x, axis=axis)
    exact = 2 ** len(d) <= 5000
    result = stats.permutation_test((d,), mean, permutation_type="samples", vectorized=True, batch=1000,
                                    n_resamples=math.inf if exact else 200_000, rng=np.random.default_rng(1))
    return bool(exact), result.pvalue


def holm(p):
    order = np.argsort(p)
    out, least = [0.0] * len(p), 0.0
    for place, i in enumerate(order):
        least = max(least, min(1.0, p[i] * (len(p) - place)))
        out[i] = least
    return out


rows = []
for seed in range(CASES):
    x = draw(seed)
    differences = [x[j] - x[i] for i, j in pairs(len(x))]
    t = [float(stats.ttest_rel(x[j], x[i]).pvalue) for i, j in pairs(len(x))]
    independent = stats.tukey_hsd(*x).pvalue
    exact, p = fisher(differences[0])
    boot = stats.bootstrap((differences[0],), np.mean, method="percentile", n_resamples=50_000, batch=5000, rng=np.random.default_rng(1))
    rows.append({"t": t, "holm": holm(t), "wilcoxon": [float(wilcoxon(d)) for d in differences], "tukey": blocked_tukey(x),
                 "tukey_independent": [float(independent[i, j]) for i, j in pairs(len(x))],
                 "fisher_is_exact": exact, "fisher": float(p),
                 "interval": [float(boot.confidence_interval.low), float(boot.confidence_interval.high)]})
ranges = [[q, k, v, float(stats.studentized_range.sf(q, k, v))] for q in (0.1, 1.0, 3.0, 5.0, 9.0) for k in (2, 3, 10, 40)
          for v in (1, 2, 5, 30, 400, 20000)]
print(json.dumps({"ranges": ranges, "cases": rows}).replace("}, {", "},\n{"))
