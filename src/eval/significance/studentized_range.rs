//! The distribution of the range of `k` normal draws over an estimate of their deviation with `freedom` degrees: no crate has
//! it. Two integrals, both by Gauss and Legendre's rule over short pieces: over the deviation's estimate `s`, and of the range
//! `w = q s` over the highest draw. Equal to scipy's `studentized_range` to 1e-8 (golden test).

use std::f64::consts::{LN_2, PI, SQRT_2};

/// Nodes and weights of the rule of eight points, for the upper half of -1 to 1.
const RULE: [(f64, f64); 4] = [
    (0.183_434_642_495_649_8, 0.362_683_783_378_362),
    (0.525_532_409_916_329, 0.313_706_645_877_887_3),
    (0.796_666_477_413_626_7, 0.222_381_034_453_374_5),
    (0.960_289_856_497_536_2, 0.101_228_536_290_376_3),
];
/// Pieces of the integral over `s`, and of that over the highest draw.
const PIECES: [usize; 2] = [72, 24];
/// Standard deviations beyond which a normal density is nothing.
const FAR: f64 = 8.5;

/// The probability of a studentized range above `q`.
pub fn above(q: f64, k: usize, freedom: f64) -> f64 {
    // ln of the density of s: chi with `freedom` degrees over its root
    let half = freedom / 2.0;
    let constant = LN_2 + half * half.ln() - libm::lgamma(half);
    let density = |s: f64| (constant + (freedom - 1.0) * s.ln() - half * s * s).exp();
    let spread = FAR / (2.0 * freedom).sqrt();
    // chi falls off at least as fast as a normal density of deviation 1 / sqrt(freedom) above 1
    let (low, high) = ((1.0 - 1.5 * spread).max(0.0), 1.0 + 1.5 * spread);
    integral(low, high, PIECES[0], |s| density(s) * range_above(q * s, k)).clamp(0.0, 1.0)
}

/// The probability that the range of `k` normal draws is above `w`.
fn range_above(w: f64, k: usize) -> f64 {
    let normal = |z: f64| (-z * z / 2.0).exp() / (2.0 * PI).sqrt();
    let below = |z: f64| libm::erfc(-z / SQRT_2) / 2.0;
    // the highest draw is at z, and not all others are within w below it
    let others = (k - 1) as i32;
    let tail = |z: f64| k as f64 * normal(z) * (below(z).powi(others) - (below(z) - below(z - w)).powi(others));
    integral(-FAR, FAR, PIECES[1], tail)
}

fn integral(low: f64, high: f64, pieces: usize, of: impl Fn(f64) -> f64) -> f64 {
    let half = (high - low) / (2 * pieces) as f64;
    let piece = |i: usize| {
        let center = low + (2 * i + 1) as f64 * half;
        let points = RULE.iter().map(|(x, weight)| weight * (of(center - x * half) + of(center + x * half)));
        points.sum::<f64>() * half
    };
    (0..pieces).map(piece).sum()
}
