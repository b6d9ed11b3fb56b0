//! Success@k: 1 if a relevant document is among the first k, else 0. Success@1 is the accuracy of a linking task.

use super::ranking::Ranking;

/// Success@k.
pub fn success(ranking: &Ranking, k: usize) -> f64 {
    if ranking.found(k) > 0 { 1.0 } else { 0.0 }
}
