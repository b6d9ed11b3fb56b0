//! R@k: the share of the relevant documents that are among the first k.

use super::ranking::Ranking;

/// R@k; 0 without a relevant document.
pub fn recall(ranking: &Ranking, k: usize) -> f64 {
    ranking.found(k) as f64 / ranking.relevant().max(1) as f64
}
