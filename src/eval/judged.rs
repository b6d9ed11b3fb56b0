//! Judged@k: the share of the first k documents that somebody judged. Where it is low, the other measures say little: a
//! document without a judgement counts as not relevant.

use super::ranking::Ranking;

/// Judged@k, over the places that the run fills; 0 for an empty list.
pub fn judged(ranking: &Ranking, k: usize) -> f64 {
    let first = &ranking.ranked[..k.min(ranking.ranked.len())];
    first.iter().flatten().count() as f64 / first.len().max(1) as f64
}
