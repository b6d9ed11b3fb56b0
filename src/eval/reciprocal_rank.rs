//! RR@k: 1 / place of the first relevant document, 0 if none is among the first k. Its mean over queries is MRR (Voorhees,
//! TREC-8, 1999).

use super::ranking::{Ranking, is_relevant};

/// RR@k.
pub fn reciprocal_rank(ranking: &Ranking, k: usize) -> f64 {
    let place = ranking.ranked.iter().take(k).position(|grade| is_relevant(*grade));
    place.map_or(0.0, |place| 1.0 / (place + 1) as f64)
}
