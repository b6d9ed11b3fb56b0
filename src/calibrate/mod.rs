//! Score to probability to decision.
//!
//! A ranker's score orders candidates; a shop needs to know how often it will be wrong. Here a map from score (a raw
//! logit) to probability is fitted on the validation part, and a threshold on that probability is chosen for what the
//! user wants: the best F1, a precision, or the least cost. The test part takes no part in either.
//!
//! | method | parameters | good for |
//! | --- | --- | --- |
//! | temperature | 1 | an over-confident network whose balance of classes is right; few validation pairs |
//! | Platt | 2 | scale and base rate at once |
//! | beta | 3 | the default: the two tails may need different corrections; with equal slopes it is Platt |
//! | isotonic | as many as the data ask for | many validation pairs (a thousand and more); makes ties |
//!
//! Every map is non-decreasing, so calibration never changes a ranking, except that it may tie neighbours. A model whose
//! scores fall as labels rise therefore gets a flat map, the best of the non-decreasing ones, and not a reversed one.
//!
//! All four fit Platt's smoothed targets, `(n1 + 1) / (n1 + 2)` for a match and `1 / (n0 + 2)` for the rest, in place of
//! 1 and 0 (isotonic: its values stay within the two). That is what keeps them finite on perfectly separable data, and
//! keeps a validation set from promising a certainty that its size can't support.
//!
//! Refused: a separate map per category (a few dozen pairs each; `eval` shows where a common map fails), histogram binning
//! (jumps at borders nobody chose), the closed-form threshold `cost / (cost + cost)` (right only if the map is perfect;
//! [`choose_threshold`] counts the cost on data instead).

mod isotonic;
mod logistic;
mod refit;
mod threshold;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use refit::{Refit, carried, too_few};
pub use threshold::{Threshold, ThresholdObjective, choose_threshold};

use crate::{Error, Result};

/// How a score becomes a probability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// One divisor (Guo et al. 2017, On Calibration of Modern Neural Networks).
    Temperature,
    /// Slope and intercept (Platt 1999, Probabilistic Outputs for Support Vector Machines).
    Platt,
    /// The best non-decreasing map, by pooling adjacent violators (Zadrozny and Elkan 2002).
    Isotonic,
    /// Slopes of `ln p` and `-ln(1 - p)` and an intercept (Kull, Silva Filho and Flach 2017, Beta calibration).
    #[default]
    Beta,
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Method::Temperature => "temperature",
            Method::Platt => "platt",
            Method::Isotonic => "isotonic",
            Method::Beta => "beta",
        })
    }
}

/// A fitted map from a raw score (logit) to a probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "lowercase")]
pub enum Calibration {
    /// `sigmoid(score / temperature)`.
    Temperature {
        /// The divisor, above 0.
        temperature: f64,
    },
    /// `sigmoid(slope * score + intercept)`.
    Platt {
        /// At least 0.
        slope: f64,
        /// The log odds at score 0.
        intercept: f64,
    },
    /// Straight lines between the points, level beyond the first and the last.
    Isotonic {
        /// Ascending scores.
        scores: Vec<f64>,
        /// The probability at each of them, non-decreasing.
        probabilities: Vec<f64>,
    },
    /// `sigmoid(a * ln s - b * ln(1 - s) + c)` with `s = sigmoid(score)`.
    Beta {
        /// Slope at the low end, at least 0.
        a: f64,
        /// Slope at the high end, at least 0.
        b: f64,
        /// Intercept.
        c: f64,
    },
}

impl Calibration {
    /// Fits a map to the scores (logits) and labels of the validation part.
    ///
    /// # Errors
    /// No pairs, labels of one class only, a score that is not finite, lists of different lengths.
    pub fn fit(method: Method, scores: &[f32], labels: &[bool]) -> Result<Self> {
        check(scores, labels)?;
        let positives = labels.iter().filter(|&&l| l).count() as f64;
        let negatives = labels.len() as f64 - positives;
        let (low, high) = (1.0 / (negatives + 2.0), (positives + 1.0) / (positives + 2.0));
        let targets: Vec<f64> = labels.iter().map(|&l| if l { high } else { low }).collect();
        let scores = || scores.iter().map(|&s| f64::from(s));
        Ok(match method {
            Method::Temperature => {
                // In units of the scores' own spread; the floor keeps the temperature finite for a hopeless model.
                let rms = (scores().map(|s| s * s).sum::<f64>() / labels.len() as f64).sqrt();
                let rms = if rms > 0.0 { rms } else { 1.0 };
                let rows: Vec<_> = scores().map(|s| [s / rms]).collect();
                let [inverse] = logistic::fit(&rows, &targets, [Some(1e-6)]);
                Calibration::Temperature { temperature: rms / inverse }
            }
            Method::Platt => {
                let rows: Vec<_> = scores().map(|s| [s, 1.0]).collect();
                let [slope, intercept] = fit_scaled(rows, &targets, [Some(0.0), None]);
                Calibration::Platt { slope, intercept }
            }
            Method::Isotonic => {
                let (scores, mut probabilities) = isotonic::fit(&scores().collect::<Vec<_>>(), labels);
                probabilities.iter_mut().for_each(|p| *p = p.clamp(low, high));
                Calibration::Isotonic { scores, probabilities }
            }
            Method::Beta => {
                let rows: Vec<_> = scores().map(beta_features).map(|[f, g]| [f, g, 1.0]).collect();
                let [a, b, c] = fit_scaled(rows, &targets, [Some(0.0), Some(0.0), None]);
                Calibration::Beta { a, b, c }
            }
        })
    }

    /// The probability of a match, 0 to 1; NaN for a NaN score.
    pub fn probability(&self, score: f32) -> f32 {
        // Infinite scores are taken as the largest finite ones: `0 * inf` would be NaN.
        let score = f64::from(score.clamp(f32::MIN, f32::MAX));
        (match self {
            Calibration::Temperature { temperature } => sigmoid(score / temperature),
            Calibration::Platt { slope, intercept } => sigmoid(slope * score + intercept),
            Calibration::Isotonic { scores, probabilities } => isotonic::interpolate(scores, probabilities, score),
            Calibration::Beta { a, b, c } => {
                let [f, g] = beta_features(score);
                sigmoid(a * f + b * g + c)
            }
        }) as f32
    }

    /// What is wrong with a map that was read from a file, if anything: the key and the fault.
    pub fn fault(&self) -> Option<(&'static str, String)> {
        let slopes: &[(&'static str, f64)] = match self {
            Calibration::Temperature { temperature } if !(temperature.is_finite() && *temperature > 0.0) => {
                return Some(("temperature", format!("{temperature} is not above 0")));
            }
            Calibration::Temperature { .. } => &[],
            Calibration::Platt { slope, intercept } => &[("slope", *slope), ("intercept", intercept.abs())],
            Calibration::Beta { a, b, c } => &[("a", *a), ("b", *b), ("c", c.abs())],
            Calibration::Isotonic { scores, probabilities } => {
                if scores.is_empty() || scores.len() != probabilities.len() {
                    let (n, m) = (scores.len(), probabilities.len());
                    return Some(("scores", format!("{n} scores for {m} probabilities")));
                }
                if !scores.is_sorted_by(|x, y| x < y) || !scores.iter().all(|s| s.is_finite()) {
                    return Some(("scores", "not ascending".into()));
                }
                if !probabilities.is_sorted() || !probabilities.iter().all(|p| (0.0..=1.0).contains(p)) {
                    return Some(("probabilities", "not ascending from 0 to 1".into()));
                }
                &[]
            }
        };
        let (key, value) = slopes.iter().find(|(_, v)| !(v.is_finite() && *v >= 0.0))?;
        Some((key, format!("{value} is not a finite number of at least 0")))
    }
}

pub use logistic::softplus;

/// `1 / (1 + exp(-x))`, the probability of an uncalibrated logit.
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `[ln s, -ln(1 - s)]` of `s = sigmoid(score)`, computed from the score so that neither tail is rounded away.
fn beta_features(score: f64) -> [f64; 2] {
    [-logistic::softplus(-score), logistic::softplus(score)]
}

/// [`logistic::fit`] after bringing every column but the last (the intercept's) to mean 0 and deviation 1. Floors must
/// be 0, which scaling leaves in place.
fn fit_scaled<const K: usize>(mut rows: Vec<[f64; K]>, targets: &[f64], floors: [Option<f64>; K]) -> [f64; K] {
    let n = rows.len() as f64;
    let (mut mean, mut deviation) = ([0.0; K], [1.0; K]);
    for k in 0..K - 1 {
        mean[k] = rows.iter().map(|r| r[k]).sum::<f64>() / n;
        let variance = rows.iter().map(|r| (r[k] - mean[k]).powi(2)).sum::<f64>() / n;
        if variance.sqrt() > 1e-12 * mean[k].abs() {
            deviation[k] = variance.sqrt();
        }
        rows.iter_mut().for_each(|r| r[k] = (r[k] - mean[k]) / deviation[k]);
    }
    let mut weights = logistic::fit(&rows, targets, floors);
    for k in 0..K - 1 {
        weights[k] /= deviation[k];
        weights[K - 1] -= weights[k] * mean[k];
    }
    weights
}

/// A fault of the pairs that calibration and thresholds are chosen on.
fn pairs_error(what: impl Into<String>, remedy: &str) -> Error {
    Error::data(Path::new("validation pairs"), None, what, remedy)
}

/// As many finite values as labels, and both classes among them.
fn check(values: &[f32], labels: &[bool]) -> Result<()> {
    if values.len() != labels.len() {
        let (expected, got) = (format!("{} labels", values.len()), format!("{}", labels.len()));
        return Err(Error::Shape { op: "calibrate", expected, got });
    }
    if let Some(i) = values.iter().position(|v| !v.is_finite()) {
        let what = format!("score {} of {} is {}", i + 1, values.len(), values[i]);
        return Err(pairs_error(what, "the model is broken or its training diverged: train with a lower rate"));
    }
    let positives = labels.iter().filter(|&&l| l).count();
    if positives == 0 || positives == labels.len() {
        let what = match labels.first() {
            None => "no labelled pairs".to_owned(),
            Some(&l) => format!("all {} labels are {}", labels.len(), u8::from(l)),
        };
        return Err(pairs_error(what, "give pairs of both labels, 0 and 1"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
