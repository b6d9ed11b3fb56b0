//! Linking to a catalogue: each left record has its product on the right, and the question is whether it comes first.

use std::collections::{BTreeMap, HashSet};

use super::{candidates, check_weight, fused, score};
use crate::records::{PairSet, Record, Split};
use crate::{Error, Ranker, Result};

/// How well left records find their right ones.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct LinkReport {
    /// Left records that have a match.
    pub queries: u64,
    /// Candidates per record.
    pub k: u64,
    /// Share of them with a match among the `k` candidates.
    pub recall_at_k: f64,
    /// Share with a match first after the ranker; a match that was not proposed is an error.
    pub accuracy_at_1: f64,
    /// Share with a match first before the ranker.
    pub index_accuracy_at_1: f64,
    /// Mean of 1 / place of the first match after the ranker, 0 where it was not proposed.
    pub mrr: f64,
}

/// Ranks `k` candidates from the whole right list for each left record with a labelled match in `part` (in any, where
/// `None`), by the ranker's scores and `bm25` times the index's. Of equal scores the index's better one comes first.
pub fn rank_links(
    set: &PairSet,
    part: Option<Split>,
    ranker: &dyn Ranker,
    text: &(dyn Fn(&Record) -> String + Sync),
    k: usize,
    bm25: f32,
    progress: &dyn Fn(u64, u64),
) -> Result<LinkReport> {
    check_weight(bm25)?;
    let mut matches: BTreeMap<u32, HashSet<u32>> = BTreeMap::new();
    for pair in set.pairs.iter().filter(|p| p.label == Some(true) && (part.is_none() || p.split == part)) {
        matches.entry(pair.left).or_default().insert(pair.right);
    }
    if matches.is_empty() {
        return Err(Error::setting("part", format!("{part:?}"), "no labelled match there; name another part"));
    }
    let queries: Vec<Record> = matches.keys().map(|&row| set.left[row as usize].clone()).collect();
    let found = candidates::between(&queries, &set.right, text, k)?;
    let scores = score(ranker, &queries, &set.right, &found.pairs, progress)?;

    let (mut proposed, mut first, mut first_before, mut mrr) = (0, 0, 0, 0.0);
    let matches: Vec<&HashSet<u32>> = matches.values().collect();
    let mut start = 0;
    for of_query in found.pairs.chunk_by(|a, b| a.0 == b.0) {
        let both = scores[start..].iter().zip(&found.scores[start..]);
        let sums = both.map(|(&score, &lexical)| fused(score, bm25, lexical));
        let mut ranked: Vec<(u32, f32)> = of_query.iter().map(|p| p.1).zip(sums).collect();
        start += of_query.len();
        let is_match = |row: u32| matches[of_query[0].0 as usize].contains(&row);
        first_before += is_match(ranked[0].0) as usize;
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        if let Some(place) = ranked.iter().position(|&(row, _)| is_match(row)) {
            proposed += 1;
            first += (place == 0) as usize;
            mrr += 1.0 / (place + 1) as f64;
        }
    }
    let share = |of: usize| of as f64 / queries.len() as f64;
    Ok(LinkReport {
        queries: queries.len() as u64,
        k: k as u64,
        recall_at_k: share(proposed),
        accuracy_at_1: share(first),
        index_accuracy_at_1: share(first_before),
        mrr: mrr / queries.len() as f64,
    })
}
