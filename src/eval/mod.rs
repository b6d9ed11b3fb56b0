//! Judgements and runs to numbers, with no model in sight: any tool's probabilities can be measured.
//!
//! One measure, one file: [`counts`] (F1, precision, recall of decisions), [`curve`] (everything that tries all
//! thresholds), [`mod@reliability`] (calibration error and its table), [`scoring_rules`] (Brier score, log loss), [`mod@mcnemar`] (are
//! two runs different, or lucky?). [`report`] takes them together. Ranked lists are measured by [`mod@ndcg`],
//! [`mod@reciprocal_rank`], [`mod@average_precision`], [`mod@recall`], [`mod@precision`], [`mod@success`],
//! [`mod@expected_reciprocal_rank`], [`mod@r_precision`], [`mod@bpref`], [`mod@rank_biased_precision`] and [`mod@judged`], over
//! the [`rankings`] of judgements and a run. A [`Measure`] is one of them by its name in ir-measures, and [`measure_run`]
//! takes several over a whole run. [`significance`] tests differences, and
//! [`comparison`] compares runs.
//!
//! Two F1s are easily confused. [`Report::f1`] is at a threshold that was chosen elsewhere (validation) and is what a user
//! gets. [`Report::best_f1`] is the highest over all thresholds *of the measured pairs themselves*: it has seen the answers,
//! and is printed only under that name, next to the honest one.
//!
//! Undefined shares (the recall of no matches, the precision of no accepted pairs) are 0, as in scikit-learn; `pairs` and
//! `positives` say how many there are. Refused: ROC AUC and accuracy, which look excellent on candidate lists where one pair in
//! fifty is a match.

pub mod average_precision;
pub mod bpref;
pub mod comparison;
pub mod counts;
pub mod curve;
pub mod expected_reciprocal_rank;
pub mod judged;
pub mod mcnemar;
pub mod measure;
mod measure_name;
pub mod measured;
pub mod ndcg;
pub mod precision;
pub mod r_precision;
pub mod rank_biased_precision;
pub mod ranking;
pub mod recall;
pub mod reciprocal_rank;
pub mod reliability;
pub mod scoring_rules;
pub mod significance;
pub mod success;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use average_precision::average_precision;
pub use bpref::bpref;
pub use comparison::{ComparedMeasure, Comparison, ComparisonOptions, compare};
pub use counts::Counts;
pub use curve::Curve;
pub use expected_reciprocal_rank::expected_reciprocal_rank;
pub use judged::judged;
pub use mcnemar::{McNemar, mcnemar};
pub use measure::Measure;
pub use measured::{Measured, measure_run};
pub use ndcg::{Gain, ndcg};
pub use precision::precision;
pub use r_precision::r_precision;
pub use rank_biased_precision::rank_biased_precision;
pub use ranking::{Ranking, mean, rankings};
pub use recall::recall;
pub use reciprocal_rank::reciprocal_rank;
pub use reliability::{BINS, Bin, Bins, ece, reliability};
pub use scoring_rules::{brier, nll};
pub use success::success;

use crate::{Error, Result};

/// The recalls at which [`Report::precision_at_recall`] is given.
pub const RECALLS: [f64; 4] = [0.5, 0.8, 0.9, 0.95];
/// The precisions at which [`Report::recall_at_precision`] is given.
pub const PRECISIONS: [f64; 4] = [0.8, 0.9, 0.95, 0.99];

/// All measures of one run. Shares of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// F1 at the stored threshold.
    pub f1: f64,
    /// Precision at the stored threshold.
    pub precision: f64,
    /// Recall at the stored threshold.
    pub recall: f64,
    /// The stored threshold: a pair is accepted at or above it.
    pub threshold: f64,
    /// Expected calibration error over 15 bins of equal width.
    pub ece: f64,
    /// The same over 15 bins of equal mass.
    pub ece_mass: f64,
    /// Brier score.
    pub brier: f64,
    /// Negative log likelihood, in nats a pair.
    pub nll: f64,
    /// The highest F1 over all thresholds, chosen on these very pairs: an upper bound, not a result.
    pub best_f1: f64,
    /// The threshold of `best_f1`.
    pub best_f1_threshold: f64,
    /// Area under the precision-recall curve (average precision).
    pub pr_auc: f64,
    /// The highest precision at this recall or more, by recall ([`RECALLS`]).
    pub precision_at_recall: BTreeMap<String, f64>,
    /// The highest recall at this precision or more, by precision ([`PRECISIONS`]); 0 where no threshold reaches it.
    pub recall_at_precision: BTreeMap<String, f64>,
    /// How many pairs were measured.
    pub pairs: u64,
    /// How many of them are matches.
    pub positives: u64,
    /// The same for each category, where categories were given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub categories: BTreeMap<String, Report>,
}

/// Measures probabilities against labels, with decisions at `threshold`.
///
/// # Errors
/// No pairs, a probability outside 0..=1 or NaN, lists of different lengths.
pub fn report(probabilities: &[f32], labels: &[bool], threshold: f32) -> Result<Report> {
    let accepted: Vec<bool> = probabilities.iter().map(|&p| p >= threshold).collect();
    report_decided(probabilities, &accepted, labels, threshold)
}

/// [`report`] of decisions that were made pair by pair, as in cross-validation, where each fold has its own threshold; `threshold` is
/// only named.
///
/// # Errors
/// As [`report`].
pub fn report_decided(probabilities: &[f32], accepted: &[bool], labels: &[bool], threshold: f32) -> Result<Report> {
    check(probabilities, labels)?;
    same_length("decisions", labels.len(), accepted.len())?;
    let counts = Counts::of(accepted, labels);
    let curve = Curve::new(probabilities, labels);
    let best = curve.best_f1();
    let name = |level: &f64| format!("{level:.2}");
    Ok(Report {
        f1: counts.f1(),
        precision: counts.precision(),
        recall: counts.recall(),
        threshold: shown(threshold),
        ece: ece(&reliability(probabilities, labels, BINS, Bins::Width)),
        ece_mass: ece(&reliability(probabilities, labels, BINS, Bins::Mass)),
        brier: brier(probabilities, labels),
        nll: nll(probabilities, labels),
        best_f1: best.f1(),
        best_f1_threshold: shown(best.threshold),
        pr_auc: curve.average_precision(),
        precision_at_recall: RECALLS.iter().map(|r| (name(r), curve.precision_at_recall(*r))).collect(),
        recall_at_precision: PRECISIONS.iter().map(|p| (name(p), curve.recall_at_precision(*p))).collect(),
        pairs: labels.len() as u64,
        positives: labels.iter().filter(|&&l| l).count() as u64,
        categories: BTreeMap::new(),
    })
}

/// [`report`], and one more for the pairs of each category, all at the same threshold.
///
/// # Errors
/// As [`report`].
pub fn report_by_category<S: AsRef<str>>(
    probabilities: &[f32],
    labels: &[bool],
    categories: &[S],
    threshold: f32,
) -> Result<Report> {
    let mut whole = report(probabilities, labels, threshold)?;
    same_length("categories", labels.len(), categories.len())?;
    let mut parts: BTreeMap<&str, (Vec<f32>, Vec<bool>)> = BTreeMap::new();
    for ((category, &p), &label) in categories.iter().zip(probabilities).zip(labels) {
        let part = parts.entry(category.as_ref()).or_default();
        part.0.push(p);
        part.1.push(label);
    }
    for (category, (probabilities, labels)) in parts {
        whole.categories.insert(category.to_owned(), report(&probabilities, &labels, threshold)?);
    }
    Ok(whole)
}

/// The f64 that prints as the f32 does: 0.3 and not 0.30000001192092896.
fn shown(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

fn same_length(op: &'static str, expected: usize, got: usize) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(Error::Shape { op, expected: format!("{expected} values, one a pair"), got: format!("{got}") })
}

fn check(probabilities: &[f32], labels: &[bool]) -> Result<()> {
    same_length("labels", probabilities.len(), labels.len())?;
    let place = Path::new("measured pairs");
    if labels.is_empty() {
        return Err(Error::data(place, None, "no labelled pairs", "name a part or a file that has labels"));
    }
    if let Some(i) = probabilities.iter().position(|p| !(0.0..=1.0).contains(p)) {
        let what = format!("probability {} of {} is {}", i + 1, labels.len(), probabilities[i]);
        return Err(Error::data(place, None, what, "give probabilities of 0 to 1 (calibrated scores)"));
    }
    Ok(())
}

#[cfg(test)]
mod list_tests;
#[cfg(test)]
mod measure_tests;
#[cfg(test)]
mod tests;
