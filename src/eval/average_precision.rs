//! AP@k: the mean of the precisions at each relevant document, 0 for one that is not among the first k. Its mean over queries
//! is MAP.

use super::ranking::Ranking;

/// AP@k; 0 without a relevant document.
pub fn average_precision(ranking: &Ranking, k: usize) -> f64 {
    let precisions = ranking.places(k).enumerate().map(|(found, place)| (found + 1) as f64 / place as f64);
    precisions.sum::<f64>() / ranking.relevant().max(1) as f64
}
