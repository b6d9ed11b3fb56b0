//! Are two runs on the same pairs different, or was one lucky? Only the pairs on which exactly one of them is right
//! say anything (McNemar 1947). The exact test asks how likely so uneven a split of them is under a fair coin; the chi
//! square with Edwards' continuity correction (1948) is its old approximation, given because papers report it.

use serde::{Deserialize, Serialize};

use super::same_length;
use crate::Result;

/// The outcome of [`mcnemar`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// Pairs that only the first run decided rightly.
    pub only_first: u64,
    /// Pairs that only the second run decided rightly.
    pub only_second: u64,
    /// Two-sided p of the exact binomial test; 1 where the runs never differ.
    pub exact_p: f64,
    /// `(|first - second| - 1)^2 / (first + second)`, not below 0.
    pub chi2: f64,
    /// The probability of a chi square (1 degree of freedom) at least as large.
    pub chi2_p: f64,
}

/// Compares the decisions of two runs on the same pairs.
///
/// # Errors
/// Lists of different lengths.
pub fn mcnemar(first: &[bool], second: &[bool], labels: &[bool]) -> Result<McNemar> {
    same_length("first run", labels.len(), first.len())?;
    same_length("second run", labels.len(), second.len())?;
    let (mut only_first, mut only_second) = (0, 0);
    for ((&a, &b), &label) in first.iter().zip(second).zip(labels) {
        only_first += u64::from(a == label && b != label);
        only_second += u64::from(a != label && b == label);
    }
    let n = only_first + only_second;
    let gap = (only_first.abs_diff(only_second) as f64 - 1.0).max(0.0);
    let chi2 = if n == 0 { 0.0 } else { gap * gap / n as f64 };
    let exact_p = exact(only_first.min(only_second), n);
    Ok(McNemar { only_first, only_second, exact_p, chi2, chi2_p: libm::erfc((chi2 / 2.0).sqrt()) })
}

/// `min(1, 2 P(X <= k))` for `X` of `n` fair coins, summed in logarithms so that no `n` overflows.
fn exact(k: u64, n: u64) -> f64 {
    if 2 * k >= n {
        return 1.0;
    }
    let mut term = -(n as f64) * std::f64::consts::LN_2;
    let mut sum = term.exp();
    for i in 0..k {
        term += ((n - i) as f64 / (i + 1) as f64).ln();
        sum += term.exp();
    }
    (2.0 * sum).min(1.0)
}
