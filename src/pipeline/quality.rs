//! What the end of the pipeline is worth, measured against what somebody knows.
//!
//! Nobody labels a million pairs. An accepted pair without a label is neither right nor wrong: it is left out of precision
//! and counted. A true match is lost wherever it is lost: not proposed, scored low, or given away by the assignment.

use std::collections::{HashMap, HashSet};

use super::Scored;
use crate::records::{PairSet, Part, Table};
use crate::{Error, Result};

/// Known answers, by the ids of the two lists. With one list, `(a, b)` also answers for `(b, a)`.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    /// `(left id, right id)`: is it the same thing?
    pub pairs: HashMap<(String, String), bool>,
    /// Measure only pairs of these left ids (of either side with one list); `None` measures all.
    pub left: Option<HashSet<String>>,
}

impl Labels {
    /// The labelled pairs of one part, measured on the left records of that part alone; every labelled pair and record where
    /// `part` is `None`.
    pub fn of(set: &PairSet, part: Option<Part>) -> Self {
        let mut pairs = HashMap::new();
        for pair in set.pairs.iter().filter(|pair| part.is_none() || pair.part == part) {
            if let (left, right, Some(label)) = set.sides(pair) {
                pairs.insert((left.id.clone(), right.id.clone()), label);
            }
        }
        let left = part.map(|_| pairs.keys().map(|(left, _)| left.clone()).collect());
        Labels { pairs, left }
    }

    /// Ids to rows.
    pub(crate) fn resolve(&self, left: &Table, right: Option<&Table>) -> Result<Truth> {
        let rows = |table: &Table| -> HashMap<String, u32> {
            table.records.iter().map(|record| record.id.clone()).zip(0..).collect()
        };
        let lefts = rows(left);
        let rights = right.map(rows);
        let row = |rows: &HashMap<String, u32>, table: &Table, id: &str| {
            let what = || {
                format!(
                    "no record of {} has this id; correct the labels or take them from the same lists",
                    table.path.display()
                )
            };
            rows.get(id).copied().ok_or_else(|| Error::setting("labels", id, what()))
        };
        let mut pairs = HashMap::with_capacity(self.pairs.len());
        for ((l, r), label) in &self.pairs {
            let l = row(&lefts, left, l)?;
            let pair = match (&rights, right) {
                (Some(rights), Some(right)) => (l, row(rights, right, r)?),
                _ => {
                    let r = row(&lefts, left, r)?;
                    (l.min(r), l.max(r))
                }
            };
            if pairs.insert(pair, *label).is_some_and(|other| other != *label) {
                return Err(Error::setting(
                    "labels",
                    format!("{l}, {r}"),
                    "labelled both as a match and as none; keep one",
                ));
            }
        }
        let measured = match &self.left {
            None => None,
            Some(ids) => Some(ids.iter().map(|id| row(&lefts, left, id)).collect::<Result<HashSet<u32>>>()?),
        };
        Ok(Truth { pairs, measured, one_list: right.is_none() })
    }
}

/// [`Labels`] by rows.
pub(crate) struct Truth {
    pairs: HashMap<(u32, u32), bool>,
    measured: Option<HashSet<u32>>,
    one_list: bool,
}

/// The pipeline against the labels.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct MatchQuality {
    /// Labelled matches.
    pub positives: usize,
    /// Share of them among the candidates.
    pub candidate_recall: f64,
    /// Share of matches among the accepted labelled pairs; 0 without one.
    pub precision: f64,
    /// Share of labelled matches accepted; 0 without one.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Accepted pairs without a label, left out of the shares.
    pub unlabelled: usize,
}

impl Truth {
    fn measures(&self, left: u32, right: u32) -> bool {
        let is = |row| self.measured.as_ref().is_none_or(|rows| rows.contains(&row));
        is(left) || (self.one_list && is(right))
    }

    /// Every candidate, each pair once.
    pub(crate) fn measure(&self, scored: &[Scored]) -> MatchQuality {
        let positives = self.pairs.iter().filter(|((l, r), label)| **label && self.measures(*l, *r)).count();
        let (mut proposed, mut right, mut wrong, mut unlabelled) = (0, 0, 0, 0);
        for s in scored.iter().filter(|s| self.measures(s.left, s.right)) {
            match self.pairs.get(&(s.left, s.right)) {
                Some(true) => {
                    proposed += 1;
                    right += s.accepted as usize;
                }
                Some(false) => wrong += s.accepted as usize,
                None => unlabelled += s.accepted as usize,
            }
        }
        let share = |of: usize, all: usize| if all == 0 { 0.0 } else { of as f64 / all as f64 };
        MatchQuality {
            positives,
            candidate_recall: share(proposed, positives),
            precision: share(right, right + wrong),
            recall: share(right, positives),
            f1: share(2 * right, right + wrong + positives),
            unlabelled,
        }
    }
}
