//! RR@k: 1 / place of the first relevant document, 0 if none is among the first k. Its mean over queries is MRR (Voorhees,
//! TREC-8, 1999).

use super::ranking::Ranking;

/// RR@k.
pub fn reciprocal_rank(ranking: &Ranking, k: usize) -> f64 {
    ranking.places(k).next().map_or(0.0, |place| 1.0 / place as f64)
}
