//! How good the matches of a pipeline are, measured against labels.
//!
//! Nobody labels a million pairs. An accepted pair without a label is neither right nor wrong: it is left out of precision
//! and counted. A true match is lost wherever it is lost: not proposed, scored low, or given away by the assignment.
//!
//! Labels of matches alone can call nothing wrong. Then precision is unknown, and not 100 %: what can be said is what it would
//! be if they were *every* match ([`MatchQuality::assuming_complete`]).

use std::collections::{HashMap, HashSet};

use super::Scored;
use crate::records::{Pair, Split};
use crate::{Error, Result};

/// Known answers, by rows of the two lists. With one list, `(a, b)` also answers for `(b, a)`.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    pairs: HashMap<(u32, u32), bool>,
    left: Option<HashSet<u32>>,
}

impl Labels {
    /// The labelled pairs of one part, measured on the left records of that part alone (so that matches of other parts, which
    /// a model was trained on, are not counted); every labelled pair and every record where `part` is `None`. A pair labelled
    /// twice with different answers is an error.
    pub fn of(pairs: &[Pair], part: Option<Split>) -> Result<Self> {
        let mut labels = Labels::default();
        for pair in pairs.iter().filter(|pair| part.is_none() || pair.split == part) {
            let Some(label) = pair.label() else { continue };
            labels.insert((pair.left, pair.right), label)?;
        }
        labels.left = part.map(|_| labels.pairs.keys().map(|pair| pair.0).collect());
        Ok(labels)
    }

    fn insert(&mut self, pair: (u32, u32), label: bool) -> Result<()> {
        if self.pairs.insert(pair, label).is_some_and(|other| other != label) {
            let rows = format!("rows {} and {}", pair.0 + 1, pair.1 + 1);
            return Err(Error::setting("labels", rows, "labelled as a match and as none; keep one of the two"));
        }
        Ok(())
    }

    /// The same for one list against itself, the earlier row first. Pairs of a row with itself say nothing.
    pub(crate) fn unordered(&self) -> Result<Self> {
        let mut labels = Labels { pairs: HashMap::new(), left: self.left.clone() };
        for (&(l, r), &label) in self.pairs.iter().filter(|((l, r), _)| l != r) {
            labels.insert(unordered((l, r)), label)?;
        }
        Ok(labels)
    }
}

/// A pair of one list with the earlier row first.
fn unordered((a, b): (u32, u32)) -> (u32, u32) {
    (a.min(b), a.max(b))
}

/// The pipeline against the labels.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct MatchQuality {
    /// Labelled matches.
    pub positives: u64,
    /// Pairs labelled as no match.
    pub negatives: u64,
    /// Share of the labelled matches among the candidates.
    pub candidate_recall: f64,
    /// Share of matches among the accepted labelled pairs, 0 without one; `None` where no pair is labelled as no match.
    pub precision: Option<f64>,
    /// Share of labelled matches accepted; 0 without one.
    pub recall: f64,
    /// Harmonic mean of the two; `None` where there is no precision.
    pub f1: Option<f64>,
    /// Accepted pairs without a label, left out of the shares.
    pub unlabelled: u64,
    /// Precision and F1 if the labels were every match there is, so that accepted pairs without a label were wrong.
    pub assuming_complete: Shares,
}

/// Precision and F1.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Shares {
    /// Share of matches among the accepted pairs; 0 without one.
    pub precision: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
}

impl Labels {
    /// Measures all candidates, each pair once; with one list a pair counts where either side is measured.
    pub(crate) fn measure(&self, scored: &[Scored], one_list: bool) -> MatchQuality {
        let is = |row| self.left.as_ref().is_none_or(|rows| rows.contains(&row));
        let measures = |left, right| is(left) || (one_list && is(right));
        let labelled =
            |label: bool| self.pairs.iter().filter(|((l, r), is)| **is == label && measures(*l, *r)).count() as u64;
        let (positives, negatives) = (labelled(true), labelled(false));
        let (mut proposed, mut right, mut wrong, mut unlabelled) = (0, 0, 0, 0);
        for s in scored.iter().filter(|s| measures(s.left, s.right)) {
            let pair = if one_list { unordered((s.left, s.right)) } else { (s.left, s.right) };
            match self.pairs.get(&pair) {
                Some(true) => {
                    proposed += 1;
                    right += u64::from(s.accepted);
                }
                Some(false) => wrong += u64::from(s.accepted),
                None => unlabelled += u64::from(s.accepted),
            }
        }
        let share = |of: u64, all: u64| if all == 0 { 0.0 } else { of as f64 / all as f64 };
        let shares = |wrong: u64| Shares {
            precision: share(right, right + wrong),
            f1: share(2 * right, right + wrong + positives),
        };
        let known = (negatives > 0).then(|| shares(wrong));
        MatchQuality {
            positives,
            negatives,
            candidate_recall: share(proposed, positives),
            precision: known.map(|s| s.precision),
            recall: share(right, positives),
            f1: known.map(|s| s.f1),
            unlabelled,
            assuming_complete: shares(wrong + unlabelled),
        }
    }
}
