//! Rprec: the precision at R, the number of relevant documents.

use super::ranking::Ranking;

/// Rprec; 0 without a relevant document.
pub fn r_precision(ranking: &Ranking) -> f64 {
    let relevant = ranking.relevant();
    ranking.found(relevant) as f64 / relevant.max(1) as f64
}
