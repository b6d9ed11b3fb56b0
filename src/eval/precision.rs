//! P@k: the share of the first k places with a relevant document. Places that the run leaves empty count as not relevant.

use super::ranking::Ranking;

/// P@k.
pub fn precision(ranking: &Ranking, k: usize) -> f64 {
    ranking.found(k) as f64 / k.max(1) as f64
}
