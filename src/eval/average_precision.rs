//! AP@k: the mean of the precisions at each relevant document, 0 for one that is not among the first k. Its mean over queries
//! is MAP.

use super::ranking::{Ranking, is_relevant};

/// AP@k; 0 without a relevant document.
pub fn average_precision(ranking: &Ranking, k: usize) -> f64 {
    let (mut found, mut sum) = (0, 0.0);
    for (i, _) in ranking.ranked.iter().take(k).enumerate().filter(|(_, grade)| is_relevant(**grade)) {
        found += 1;
        sum += f64::from(found) / (i + 1) as f64;
    }
    sum / ranking.relevant().max(1) as f64
}
