//! Retrieve, score, decide: two lists in, matches out.
//!
//! ```text
//! left record -> index: k candidates -> ranker: a score each -> decision: probability, yes or no -> at most one each
//! ```
//! Everything above a pair is counted here and reported: how many candidates a record had, how many were accepted and, where
//! somebody knows the truth, how much of it the candidates kept and the decisions found ([`quality`]).
//!
//! Only numbers of rows and scores are held in memory (some 40 bytes a pair), so 100,000 records with ten candidates each need
//! little beside the lists themselves; texts are rendered by the caller when a match is written.
//!
//! Refused: an index of its own kind for one list against itself (each record asks for its neighbours and the unordered
//! pairs are taken once), and duplicates merged into clusters (a chain of likely pairs is not a likely cluster).
pub mod assignment;
pub mod candidates;
pub mod links;
pub mod quality;

pub use links::{LinkReport, rank_links};
pub use quality::{Labels, MatchQuality, Shares};

use candidates::Candidates;

use crate::records::{Match, Record, Table};
use crate::{Error, List, Ranker, Result};

/// Pairs handed to the ranker at once.
const PAIRS_AT_ONCE: usize = 256;

/// How `match` goes about it.
#[derive(Debug, Clone)]
pub struct MatchOptions {
    /// Candidates per record.
    pub k: usize,
    /// Each record of either list is matched at most once: the accepted pairs with the largest sum of probabilities.
    pub one_to_one: bool,
    /// Hands every candidate to the sink, not only the accepted ones.
    pub all: bool,
    /// What BM25's score weighs beside the ranker's where candidates are put in order ([`fused`]); decisions are the ranker's
    /// alone. Two lists only.
    pub bm25: f32,
}

impl Default for MatchOptions {
    fn default() -> Self {
        MatchOptions { k: 10, one_to_one: false, all: false, bm25: 0.0 }
    }
}

/// What happened in [`run_match`].
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct MatchReport {
    /// Records of the left (or only) list.
    pub left: u64,
    /// Records of the right list; of the only list where there is one.
    pub right: u64,
    /// Candidates the index proposed per left record.
    pub candidates: Spread,
    /// Pairs the ranker scored.
    pub pairs: u64,
    /// Accepted pairs.
    pub accepted: u64,
    /// Left records in no accepted pair; with one list, records in none on either side.
    pub unmatched: u64,
    /// Accepted pairs that the one-to-one assignment did not look at (see [`assignment`]); 0 unless lists are very ambiguous.
    pub not_assigned: u64,
    /// Measured against labels, where they were given.
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

/// Matches `left` against `right`, or one list against itself where `right` is `None`: then each unordered pair comes once,
/// the earlier record on the left, and no record meets itself.
///
/// `decide` turns a score into a probability and a decision, `text` is what the index sees of a record, `progress` is called
/// with pairs done and pairs in all. `sink` gets the matches with their two records, by left row, then by rank; the
/// rank counts from 1 down the probabilities of the left record (ties by score, then by the index), or down the fused scores
/// where BM25 has a weight. `labels` are only measured against and change nothing.
pub fn run_match(
    left: &Table,
    right: Option<&Table>,
    ranker: &dyn Ranker,
    decide: &dyn Fn(f32) -> (f32, bool),
    text: &(dyn Fn(&Record) -> String + Sync),
    options: &MatchOptions,
    labels: Option<&Labels>,
    progress: &dyn Fn(u64, u64),
    sink: &mut dyn FnMut(&Match, &Record, &Record) -> Result<()>,
) -> Result<MatchReport> {
    if options.k == 0 {
        return Err(Error::setting("k", 0, "a record needs at least one candidate; 10 is usual"));
    }
    if options.one_to_one && right.is_none() {
        return Err(Error::setting("one-to-one", "true", "needs two lists; leave it out, or give a second list"));
    }
    if options.bm25 != 0.0 && right.is_none() {
        return Err(Error::setting("bm25", options.bm25, "needs two lists; leave it out, or give a second list"));
    }
    check_weight(options.bm25)?;
    let unordered = labels.filter(|_| right.is_none()).map(Labels::unordered).transpose()?;
    let labels = unordered.as_ref().or(labels);
    let (lefts, rights) = (&left.records[..], &right.unwrap_or(left).records[..]);
    let found = match right {
        Some(_) => candidates::between(lefts, rights, text, options.k)?,
        None => candidates::within(lefts, text, options.k)?,
    };
    let scores = score(ranker, lefts, rights, &found.pairs, progress)?;
    let mut scored = ranked(&found, &scores, options.bm25, decide);
    let not_assigned = if options.one_to_one { assignment::one_to_one(&mut scored) as u64 } else { 0 };

    let mut matched = vec![false; lefts.len()];
    for s in scored.iter().filter(|s| s.accepted) {
        matched[s.left as usize] = true;
        if right.is_none() {
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
        pairs: scored.len() as u64,
        accepted: scored.iter().filter(|s| s.accepted).count() as u64,
        unmatched: matched.iter().filter(|m| !**m).count() as u64,
        not_assigned,
        labels: labels.map(|labels| labels.measure(&scored, right.is_none())),
    })
}

/// One score per pair of rows, in the order given.
pub(crate) fn score(
    ranker: &dyn Ranker,
    left: &[Record],
    right: &[Record],
    pairs: &[(u32, u32)],
    progress: &dyn Fn(u64, u64),
) -> Result<Vec<f32>> {
    let mut scores = Vec::with_capacity(pairs.len());
    let total = pairs.len() as u64;
    progress(0, total);
    for some in pairs.chunks(PAIRS_AT_ONCE) {
        let lists: Vec<List> = some
            .chunk_by(|a, b| a.0 == b.0)
            .map(|of| List {
                query: (&left[of[0].0 as usize]).into(),
                candidates: of.iter().map(|&(_, r)| (&right[r as usize]).into()).collect(),
            })
            .collect();
        let new: Vec<f32> = ranker.score(&lists)?.into_iter().flatten().map(|score| score.value).collect();
        if new.len() != some.len() {
            let (expected, got) = (format!("{} scores", some.len()), new.len().to_string());
            return Err(Error::Shape { op: "score", expected, got });
        }
        if let Some(i) = new.iter().position(|s| s.is_nan()) {
            let (l, r) = (&left[some[i].0 as usize].id, &right[some[i].1 as usize].id);
            return Err(Error::Internal { op: "score", what: format!("not a number for the pair {l}, {r}") });
        }
        scores.extend(new);
        progress(scores.len() as u64, total);
    }
    Ok(scores)
}

/// Pairs that come sorted by left row, each left record's candidates now by probability, then score, best first.
fn ranked(found: &Candidates, scores: &[f32], bm25: f32, decide: &dyn Fn(f32) -> (f32, bool)) -> Vec<Scored> {
    let mut order: Vec<(Scored, f32, f32)> = Vec::with_capacity(scores.len());
    for ((&(left, right), &lexical), &score) in found.pairs.iter().zip(&found.scores).zip(scores) {
        let (probability, accepted) = decide(score);
        let first_by = if bm25 > 0.0 { fused(score, bm25, lexical) } else { probability };
        order.push((Scored { left, right, probability, accepted }, first_by, score));
    }
    // Stable: what is equal stays in the index's order.
    order.sort_by(|(a, x, s), (b, y, t)| a.left.cmp(&b.left).then(y.total_cmp(x)).then(t.total_cmp(s)));
    order.into_iter().map(|(scored, ..)| scored).collect()
}

/// The ranker's score and BM25's in one sum. A cross-encoder reads a pair by itself; how rare the shared words are in the whole
/// list only the index knows (interpolation as in Wang, Zhuang and Zuccon, ICTIR 2021, there for dense retrievers).
fn fused(score: f32, bm25: f32, lexical: f32) -> f32 {
    score + bm25 * lexical
}

fn check_weight(bm25: f32) -> Result<()> {
    match bm25.is_finite() && bm25 >= 0.0 {
        true => Ok(()),
        false => Err(Error::setting("bm25", bm25, "a weight, 0 or more")),
    }
}

#[cfg(test)]
mod tests;
