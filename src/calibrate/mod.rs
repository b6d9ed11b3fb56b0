//! Score to probability to decision.
use serde::{Deserialize, Serialize};

/// A fitted map from a raw score (logit) to a probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "lowercase")]
pub enum Calibration {
    /// `sigmoid(score / temperature)`.
    Temperature {
        /// The divisor.
        temperature: f64,
    },
}

impl Calibration {
    /// The probability of a match.
    pub fn probability(&self, _score: f32) -> f32 {
        todo!()
    }
}
