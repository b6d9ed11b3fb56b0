//! How large is a difference? The interval in which the mean lies when the queries are drawn again (Efron 1979): percentiles of
//! the means of samples of the same size, with replacement.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{Resampling, mean};

/// A mean with its 95% interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// The mean of the values.
    pub mean: f64,
    /// The 2.5th percentile of the samples' means.
    pub low: f64,
    /// The 97.5th.
    pub high: f64,
}

impl Interval {
    /// Whether 0 is in it.
    pub fn holds_zero(&self) -> bool {
        self.low <= 0.0 && self.high >= 0.0
    }
}

/// The interval of the mean of some values, one a query.
pub fn bootstrap(values: &[f64], resampling: Resampling) -> Interval {
    let mut rng = ChaCha8Rng::seed_from_u64(resampling.seed);
    let n = values.len();
    let mut means: Vec<f64> = (0..resampling.rounds.max(1))
        .map(|_| (0..n).fold(0.0, |sum, _| sum + values[rng.random_range(0..n)]) / n.max(1) as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    let percentile = |share: f64| {
        let at = share * (means.len() - 1) as f64;
        let (low, high) = (means[at.floor() as usize], means[at.ceil() as usize]);
        low + (high - low) * at.fract()
    };
    Interval { mean: mean(values), low: percentile(0.025), high: percentile(0.975) }
}
