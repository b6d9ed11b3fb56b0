//! The probability from which a pair is accepted.
//!
//! A threshold is chosen on validation pairs by trying every place between two neighbouring probabilities and counting.
//! It is set half-way between them, so that a pair of tomorrow with nearly the same probability falls on the same side.
//! How much it depends on the pairs one happened to have is what its bootstrap interval says (Efron 1979): the same choice
//! on 1,000 resamples of the pairs, from a seed, so that it comes out the same every time.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{check, pairs_error};
use crate::{Error, Result};

/// What a threshold is chosen for. In TOML: `"f1"`, `{ precision = 0.95 }`,
/// `{ cost = { false_positive = 5.0, false_negative = 1.0 } }`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum ThresholdObjective {
    /// The highest F1.
    #[default]
    F1,
    /// The highest recall at this precision (a share, above 0 and up to 1) or better.
    Precision(f32),
    /// The least total cost.
    Cost {
        /// What accepting a wrong pair costs.
        false_positive: f32,
        /// What missing a right pair costs.
        false_negative: f32,
    },
}

/// A pair is accepted where its probability is at or above `value`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// The threshold, a probability; just above 1 where accepting nothing was best.
    pub value: f32,
    /// What it was chosen for.
    pub goal: ThresholdObjective,
    /// Lower end of the 95% bootstrap interval of `value`.
    pub low: f32,
    /// Upper end of the interval.
    pub high: f32,
}

impl Threshold {
    /// Whether a pair of this probability is accepted.
    pub fn accepts(&self, probability: f32) -> bool {
        probability >= self.value
    }
}

/// Resamples of [`Threshold::low`] and [`Threshold::high`].
const ROUNDS: usize = 1000;

/// Chooses the threshold that serves the goal best on these pairs; of equally good ones the highest. The seed is that of
/// the interval's resamples; the order of the pairs makes no difference.
///
/// # Errors
/// What [`Calibration::fit`](super::Calibration::fit) refuses; a probability outside 0..=1; a goal that makes no sense;
/// a precision that no threshold reaches on these pairs.
pub fn choose_threshold(
    probabilities: &[f32],
    labels: &[bool],
    goal: ThresholdObjective,
    seed: u64,
) -> Result<Threshold> {
    check(probabilities, labels)?;
    goal.check()?;
    if let Some(p) = probabilities.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return Err(pairs_error(format!("{p} is not a probability"), "calibrate the scores first"));
    }
    let pairs = falling(probabilities, labels);
    let mut counts = vec![1u32; pairs.len()];
    let (value, quality) = sweep(&pairs, &counts, goal);
    if let ThresholdObjective::Precision(wanted) = goal
        && quality < 0.0
    {
        let best = sweep(&pairs, &counts, ThresholdObjective::F1).0;
        let accepted = || pairs.iter().filter(|p| p.0 >= best);
        let precision = accepted().filter(|p| p.1).count() as f64 / accepted().count() as f64;
        let what = format!("no threshold reaches precision {wanted}");
        let remedy = format!("ask for less (at the best F1 it is {precision:.3}) or train a better model");
        return Err(pairs_error(what, &remedy));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut values: Vec<f32> = (0..ROUNDS)
        .map(|_| {
            counts.fill(0);
            (0..pairs.len()).for_each(|_| counts[rng.random_range(0..pairs.len())] += 1);
            sweep(&pairs, &counts, goal).0
        })
        .collect();
    values.sort_by(f32::total_cmp);
    let at = |share: f64| values[((ROUNDS - 1) as f64 * share).round() as usize];
    Ok(Threshold { value, goal, low: at(0.025), high: at(0.975) })
}

impl ThresholdObjective {
    fn check(self) -> Result<()> {
        match self {
            ThresholdObjective::Precision(wanted) if !(wanted > 0.0 && wanted <= 1.0) => {
                Err(Error::setting("goal.precision", wanted, "a share above 0 and up to 1, such as 0.95"))
            }
            ThresholdObjective::Cost { false_positive: fp, false_negative: fn_ }
                if !(fp.is_finite() && fn_.is_finite() && fp >= 0.0 && fn_ >= 0.0 && fp + fn_ > 0.0) =>
            {
                Err(Error::setting("goal.cost", format!("{fp}:{fn_}"), "two costs of at least 0, not both 0"))
            }
            _ => Ok(()),
        }
    }

    /// How good it is to accept `right` of `positives` matches and `wrong` others; below 0 (but for a cost): not allowed.
    pub(super) fn quality(self, right: u64, wrong: u64, positives: u64) -> f64 {
        let (r, w, p) = (right as f64, wrong as f64, positives as f64);
        match self {
            // Without a match there is nothing to find, and accepting nothing (0 of nothing) is best.
            ThresholdObjective::F1 => 2.0 * r / (r + w + p).max(1.0),
            // The share is compared as the f32 it was given in, so that 0.9 is reached by 9 of 10.
            ThresholdObjective::Precision(wanted) if right + wrong > 0 && ((r / (r + w)) as f32) < wanted => -1.0,
            ThresholdObjective::Precision(_) if right == 0 => -1.0,
            ThresholdObjective::Precision(_) => r,
            ThresholdObjective::Cost { false_positive, false_negative } => {
                -(w * f64::from(false_positive) + (p - r) * f64::from(false_negative))
            }
        }
    }
}

/// Pairs by falling probability.
fn falling(probabilities: &[f32], labels: &[bool]) -> Vec<(f32, bool)> {
    let mut pairs: Vec<(f32, bool)> = probabilities.iter().copied().zip(labels.iter().copied()).collect();
    pairs.sort_by(|x, y| y.0.total_cmp(&x.0).then(y.1.cmp(&x.1)));
    pairs
}

/// The value of [`choose_threshold`], without its interval; of pairs that were checked.
pub(super) fn best(probabilities: &[f32], labels: &[bool], goal: ThresholdObjective) -> f32 {
    sweep(&falling(probabilities, labels), &vec![1; labels.len()], goal).0
}

/// The best threshold and its quality over pairs by falling probability, each standing for `counts` of itself.
fn sweep(pairs: &[(f32, bool)], counts: &[u32], goal: ThresholdObjective) -> (f32, f64) {
    let drawn = || pairs.iter().zip(counts).filter(|(_, c)| **c > 0).map(|(&(p, label), &c)| (p, label, u64::from(c)));
    let positives = drawn().filter(|d| d.1).map(|d| d.2).sum();
    // Accepting nothing: above every probability there can be.
    let (mut value, mut quality) = (1f32.next_up(), goal.quality(0, 0, positives));
    let (mut right, mut wrong) = (0, 0);
    let mut rest = drawn().peekable();
    while let Some((p, label, count)) = rest.next() {
        *(if label { &mut right } else { &mut wrong }) += count;
        let below = rest.peek().map(|next| next.0);
        if below == Some(p) {
            continue;
        }
        let at = goal.quality(right, wrong, positives);
        if at > quality {
            quality = at;
            let middle = below.map_or(p, |below| below + (p - below) / 2.0);
            value = if below.is_some_and(|below| middle <= below) { p } else { middle };
        }
    }
    (value, quality)
}
