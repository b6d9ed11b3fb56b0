//! Retrieve, score, decide: two lists in, matches out.
//!
//! ```text
//! left record -> retriever: k candidates -> stages: a score each -> decision: probability, yes or no -> at most one each
//! ```
//! Everything above a pair is counted here and reported: how many candidates a record had, how many were accepted and, if
//! labels are given, how much of them the candidates kept and the decisions found ([`quality`]).
//!
//! Only numbers of rows and scores are in memory (about a hundred bytes a pair), so 100,000 records with ten candidates each
//! need little in addition to the lists; texts are rendered by the caller when a match is written. Longer lists stay on disk, and
//! are matched in parts ([`parts`]).
//!
//! A model's answer for `(a, b)` is not its answer for `(b, a)`: it learned which side is whose. In two lists the sides say
//! something (my list, the supplier's), so the left record is the query, and [`MatchOptions::both_orders`] averages the two
//! where they do not. Within one list they say nothing: every pair is scored in both orders, at twice the time, and the mean
//! is its score, so that the order of the rows changes neither pairs nor probabilities.
//!
//! Refused: an index of its own kind for one list against itself (each record looks for its neighbours and the unordered
//! pairs are taken once), and duplicates merged into clusters (a chain of likely pairs is not a likely cluster).
pub mod assignment;
pub mod candidates;
pub mod cascade;
pub mod model;
pub mod parts;
pub mod plan;
pub mod quality;
pub mod ranking;
pub mod rows;
pub mod stages;
pub mod work;

pub use cascade::{Pipeline, QueryRun, StageRun};
pub use model::StageModel;
pub use parts::{ListMatching, PART, parts_done, run_lists};
pub use plan::Plan;
pub use quality::{Labels, MatchQuality, Shares};
pub use ranking::{RankingOptions, RetrievalReport, evaluate_ranking};
pub use rows::{IndexedList, RowIndex};
pub use stages::Stage;
pub use work::{WorkFolder, WorkState, fingerprint, tidy_up};

use stages::{Candidate, Sides};

use crate::ranker::{Retriever, Score};
use crate::records::{Match, Record, Table};
use crate::{Error, Result};

/// How `match` goes about it.
#[derive(Debug, Clone)]
pub struct MatchOptions {
    /// Candidates per record.
    pub top_k: usize,
    /// Each record of either list is matched at most once: the accepted pairs with the largest sum of probabilities.
    pub one_to_one: bool,
    /// Hands every candidate to the sink, not only the accepted ones.
    pub all: bool,
    /// What the retriever's score weighs where candidates are put in order ([`fused`]); decisions are the ranker's alone. Two
    /// lists only.
    pub retriever_weight: f32,
    /// Scores each pair in both orders and takes the mean. One list always does.
    pub both_orders: bool,
}

impl Default for MatchOptions {
    fn default() -> Self {
        MatchOptions { top_k: 10, one_to_one: false, all: false, retriever_weight: 0.0, both_orders: false }
    }
}

/// What is matched, and with what.
#[derive(Clone, Copy)]
pub struct Matching<'a> {
    /// The left (or only) list.
    pub left: &'a Table,
    /// The right list; `None`: duplicates within the left one.
    pub right: Option<&'a Table>,
    /// Finds candidates in the right (or only) list.
    pub retriever: &'a dyn Retriever,
    /// Score them, one after the other; the last one's score is decided on.
    pub stages: &'a [Stage<'a>],
    /// A score as a probability, and whether the pair is accepted.
    pub decide: &'a dyn Fn(&Score) -> (f32, bool),
    /// Known pairs. They are only measured against and change nothing.
    pub labels: Option<&'a Labels>,
    /// How.
    pub options: &'a MatchOptions,
    /// Gets the pairs done and the pairs in all.
    pub progress: &'a dyn Fn(u64, u64),
}

/// What happened in [`run_match`].
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct MatchReport {
    /// Records of the left (or only) list.
    pub left: u64,
    /// Records of the right list, or of the only one.
    pub right: u64,
    /// Candidates per left record.
    pub candidates: Spread,
    /// Left records without a candidate.
    pub without_candidates: u64,
    /// Pairs that were scored.
    pub pairs: u64,
    /// Accepted pairs.
    pub accepted: u64,
    /// Left records in no accepted pair; with one list, records in none on either side.
    pub unmatched: u64,
    /// Accepted pairs that the one-to-one assignment did not look at (see [`assignment`]); 0 unless lists are very ambiguous.
    pub not_assigned: u64,
    /// Pairs longer than the model reads, whose ends it did not see.
    pub truncated_pairs: u64,
    /// Pairs with a text that the model can't read (no word, or mostly unknown ones). None of them is accepted.
    pub unreadable_pairs: u64,
    /// Measured against labels, if they were given.
    pub labels: Option<MatchQuality>,
}

/// Mean and extremes of a count.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The smallest.
    pub min: u64,
    /// The largest.
    pub max: u64,
}

/// One candidate on its way through the pipeline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scored {
    pub left: u32,
    pub right: u32,
    pub probability: f32,
    pub accepted: bool,
}

/// Matches two lists, or one against itself: then each unordered pair comes once, the lower id on the left, and no record is
/// compared with itself.
///
/// `sink` gets the matches with their two records, by left row, then by rank; the rank counts from 1 down the probabilities of
/// the left record (ties by score, then by the retriever), or down the fused scores if the retriever has a weight.
///
/// # Errors
/// Options that do not go together; what the retriever, a ranker or the sink refuses.
pub fn run_match(
    matching: &Matching,
    sink: &mut dyn FnMut(&Match, &Record, &Record) -> Result<()>,
) -> Result<MatchReport> {
    let &Matching { left, right, options, labels, .. } = matching;
    let one_list = right.is_none();
    check(options, one_list)?;
    let unordered = labels.filter(|_| one_list).map(Labels::unordered).transpose()?;
    let labels = unordered.as_ref().or(labels);
    let (lefts, rights) = (&left.records[..], &right.unwrap_or(left).records[..]);
    let found = match one_list {
        false => candidates::between(matching.retriever, lefts, rights.len(), options.top_k)?,
        true => candidates::within(matching.retriever, lefts, options.top_k)?,
    };
    let sides = match (one_list, options.both_orders) {
        (true, _) => Sides::OneList,
        (false, true) => Sides::Both,
        (false, false) => Sides::Given,
    };
    let pool = stages::run(matching.stages, lefts, rights, &found, sides, matching.progress)?;
    let count = |of: fn(&Candidate) -> bool| pool.iter().filter(|c| of(c)).count() as u64;
    let (truncated_pairs, unreadable_pairs) = (count(|c| c.score.truncated), count(|c| !c.score.readable));
    let mut scored = ranked(&pool, options.retriever_weight, matching.decide);
    let not_assigned = if options.one_to_one { assignment::one_to_one(&mut scored) as u64 } else { 0 };

    let mut matched = vec![false; lefts.len()];
    for s in scored.iter().filter(|s| s.accepted) {
        matched[s.left as usize] = true;
        if one_list {
            matched[s.right as usize] = true;
        }
    }
    let mut rank = 0;
    for (i, s) in scored.iter().enumerate() {
        rank = if i > 0 && scored[i - 1].left == s.left { rank + 1 } else { 1 };
        if s.accepted || options.all {
            let (l, r) = (&lefts[s.left as usize], &rights[s.right as usize]);
            let (left_id, right_id) = (l.id.clone(), r.id.clone());
            sink(&Match { left_id, right_id, probability: s.probability, decision: s.accepted, rank }, l, r)?;
        }
    }
    Ok(MatchReport {
        left: lefts.len() as u64,
        right: rights.len() as u64,
        candidates: found.per_record,
        without_candidates: found.without,
        pairs: scored.len() as u64,
        accepted: scored.iter().filter(|s| s.accepted).count() as u64,
        unmatched: matched.iter().filter(|m| !**m).count() as u64,
        not_assigned,
        truncated_pairs,
        unreadable_pairs,
        labels: labels.map(|labels| labels.measure(&scored, one_list)),
    })
}

fn check(options: &MatchOptions, one_list: bool) -> Result<()> {
    let needs_two = "needs two lists; leave it out, or give a second list";
    if options.top_k == 0 {
        return Err(Error::setting("top-k", 0, "a record needs at least one candidate; 10 is usual"));
    }
    if options.one_to_one && one_list {
        return Err(Error::setting("one-to-one", "true", needs_two));
    }
    if options.retriever_weight != 0.0 && one_list {
        return Err(Error::setting("bm25-weight", options.retriever_weight, needs_two));
    }
    check_weight(options.retriever_weight)
}

/// Candidates sorted by left row, each row's now by probability, then score, best first.
fn ranked(pool: &[Candidate], weight: f32, decide: &dyn Fn(&Score) -> (f32, bool)) -> Vec<Scored> {
    let mut order: Vec<(Scored, f32, f32)> = Vec::with_capacity(pool.len());
    for c in pool {
        let (probability, accepted) = decide(&c.score);
        let first_by = if weight > 0.0 { fused(c, weight) } else { probability };
        order.push((Scored { left: c.left, right: c.right, probability, accepted }, first_by, c.score.value));
    }
    // Stable: what is equal stays in the retriever's order.
    order.sort_by(|(a, x, s), (b, y, t)| a.left.cmp(&b.left).then(y.total_cmp(x)).then(t.total_cmp(s)));
    order.into_iter().map(|(scored, ..)| scored).collect()
}

/// The ranker's score and the retriever's in one sum. A cross-encoder reads a pair by itself; how rare the shared words are in
/// the whole list only the index knows (interpolation as in Wang, Zhuang and Zuccon, ICTIR 2021, there for dense retrievers).
fn fused(candidate: &Candidate, weight: f32) -> f32 {
    candidate.score.value + weight * candidate.retrieved
}

fn check_weight(weight: f32) -> Result<()> {
    match weight.is_finite() && weight >= 0.0 {
        true => Ok(()),
        false => Err(Error::setting("bm25-weight", weight, "a weight, 0 or more")),
    }
}

#[cfg(test)]
mod tests;
