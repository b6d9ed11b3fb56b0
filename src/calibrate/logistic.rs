//! Logistic regression with a handful of weights, some of which may not fall below a floor: the whole of temperature,
//! Platt and beta calibration. Newton's method with a line search on a convex loss; no library in the tree fits soft
//! targets under bounds, and three weights need none.

/// `ln(1 + exp(x))` without overflow.
pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The weights that minimise the mean cross-entropy of `targets` (in 0..1) under `sigmoid(rows x weights)`, each weight
/// at or above its floor. `rows`: `[n, K]`.
///
/// A convex problem under bounds has its minimum where some bounded weights sit on their floors and the others are free,
/// so with at most two floors every such choice is tried, the free one first.
pub(super) fn fit<const K: usize>(rows: &[[f64; K]], targets: &[f64], floors: [Option<f64>; K]) -> [f64; K] {
    let mut best: Option<(f64, [f64; K])> = None;
    for pinned in 0..1usize << K {
        if (0..K).any(|k| pinned >> k & 1 == 1 && floors[k].is_none()) {
            continue;
        }
        let start = std::array::from_fn(|k| floors[k].filter(|_| pinned >> k & 1 == 1).unwrap_or(0.0));
        let weights = newton(rows, targets, start, pinned);
        if (0..K).any(|k| floors[k].is_some_and(|floor| weights[k] < floor)) {
            continue;
        }
        if pinned == 0 {
            return weights;
        }
        let loss = loss(rows, targets, &weights);
        if best.is_none_or(|(least, _)| loss < least) {
            best = Some((loss, weights));
        }
    }
    // All bounded weights on their floors is always allowed, so there is a best one.
    best.map_or([0.0; K], |(_, weights)| weights)
}

fn dot<const K: usize>(row: &[f64; K], weights: &[f64; K]) -> f64 {
    row.iter().zip(weights).map(|(x, w)| x * w).sum()
}

fn loss<const K: usize>(rows: &[[f64; K]], targets: &[f64], weights: &[f64; K]) -> f64 {
    let one = |(row, target): (&[f64; K], &f64)| {
        let x = dot(row, weights);
        softplus(x) - target * x
    };
    rows.iter().zip(targets).map(one).sum::<f64>() / rows.len() as f64
}

/// Damped Newton steps from `start`; weights whose bit is set in `pinned` stay where they are.
fn newton<const K: usize>(rows: &[[f64; K]], targets: &[f64], start: [f64; K], pinned: usize) -> [f64; K] {
    let mut weights = start;
    let mut value = loss(rows, targets, &weights);
    for _ in 0..200 {
        let (mut gradient, mut hessian) = ([0.0; K], [[0.0; K]; K]);
        for (row, target) in rows.iter().zip(targets) {
            let p = super::sigmoid(dot(row, &weights));
            for i in 0..K {
                gradient[i] += (p - target) * row[i] / rows.len() as f64;
                for j in 0..K {
                    hessian[i][j] += p * (1.0 - p) * row[i] * row[j] / rows.len() as f64;
                }
            }
        }
        for k in 0..K {
            if pinned >> k & 1 == 1 {
                gradient[k] = 0.0;
                (0..K).for_each(|j| (hessian[k][j], hessian[j][k]) = (0.0, 0.0));
                hessian[k][k] = 1.0;
            }
            hessian[k][k] += 1e-12;
        }
        let step = solve(hessian, gradient);
        let slope: f64 = step.iter().zip(gradient).map(|(s, g)| s * g).sum();
        if slope.is_nan() || slope < 1e-24 {
            break;
        }
        // Halve until the loss falls by a fair part of what the slope promises; stop where rounding hides any fall.
        let mut length = 1.0;
        let next = loop {
            let next: [f64; K] = std::array::from_fn(|k| weights[k] - length * step[k]);
            let at = loss(rows, targets, &next);
            if at <= value - 1e-4 * length * slope {
                break Some((at, next));
            }
            length /= 2.0;
            if length < 1e-10 {
                break None;
            }
        };
        let Some(next) = next else { break };
        (value, weights) = next;
    }
    weights
}

/// Gaussian elimination with pivoting of a positive definite `[K, K]` system.
fn solve<const K: usize>(mut a: [[f64; K]; K], mut b: [f64; K]) -> [f64; K] {
    for i in 0..K {
        let pivot = (i..K).max_by(|&x, &y| a[x][i].abs().total_cmp(&a[y][i].abs())).unwrap_or(i);
        a.swap(i, pivot);
        b.swap(i, pivot);
        for j in i + 1..K {
            let factor = a[j][i] / a[i][i];
            let row = a[i];
            (i..K).for_each(|k| a[j][k] -= factor * row[k]);
            b[j] -= factor * b[i];
        }
    }
    for i in (0..K).rev() {
        let rest: f64 = (i + 1..K).map(|k| a[i][k] * b[k]).sum();
        b[i] = (b[i] - rest) / a[i][i];
    }
    b
}
