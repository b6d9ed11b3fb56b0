//! Decisions counted: precision, recall, F1.

use serde::{Deserialize, Serialize};

/// Accepted and rejected pairs, right and wrong. Missed matches that were never scored (no candidate) belong to
/// `false_negatives` too: whoever counts adds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Accepted matches.
    pub true_positives: u64,
    /// Accepted pairs that are none.
    pub false_positives: u64,
    /// Matches that were not accepted.
    pub false_negatives: u64,
    /// The rest.
    pub true_negatives: u64,
}

impl Counts {
    /// Adds one pair.
    pub fn add(&mut self, accepted: bool, label: bool) {
        *match (accepted, label) {
            (true, true) => &mut self.true_positives,
            (true, false) => &mut self.false_positives,
            (false, true) => &mut self.false_negatives,
            (false, false) => &mut self.true_negatives,
        } += 1;
    }

    /// Counts decisions.
    pub fn of(accepted: &[bool], labels: &[bool]) -> Self {
        let mut counts = Counts::default();
        accepted.iter().zip(labels).for_each(|(&accepted, &label)| counts.add(accepted, label));
        counts
    }

    /// The share of accepted pairs that are matches; 0 if none is accepted.
    pub fn precision(&self) -> f64 {
        share(self.true_positives, self.true_positives + self.false_positives)
    }

    /// The share of matches that are accepted; 0 if there are none.
    pub fn recall(&self) -> f64 {
        share(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// The harmonic mean of the two; 0 if there is nothing to find and nothing was accepted.
    pub fn f1(&self) -> f64 {
        share(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
