//! RBP: the relevance that a reader sees who goes on to the next document with a fixed probability, the persistence (Moffat
//! and Zobel, TOIS 2008).

use super::ranking::Ranking;

/// RBP of the first `k` documents.
pub fn rank_biased_precision(ranking: &Ranking, k: usize, persistence: f64) -> f64 {
    let seen = |place: usize| (1.0 - persistence) * persistence.powf((place - 1) as f64);
    ranking.places(k).map(seen).sum()
}
