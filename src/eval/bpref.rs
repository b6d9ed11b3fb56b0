//! Bpref: how few of the documents that were judged not relevant are above the relevant ones; documents without a judgement
//! play no part (Buckley and Voorhees, SIGIR 2004, as trec_eval computes it). A negative grade is not in the pool.

use super::ranking::{Ranking, is_relevant};

/// Bpref; 0 without a relevant document.
pub fn bpref(ranking: &Ranking) -> f64 {
    let relevant = ranking.relevant();
    let is_bad = |grade: f32| grade >= 0.0 && !is_relevant(grade);
    let most = relevant.min(ranking.judged.iter().filter(|grade| is_bad(**grade)).count());
    let (mut above, mut sum) = (0, 0.0);
    for grade in ranking.ranked.iter().flatten() {
        if is_relevant(*grade) {
            sum += if above > 0 { 1.0 - above.min(relevant) as f64 / most as f64 } else { 1.0 };
        } else if is_bad(*grade) {
            above += 1;
        }
    }
    sum / relevant.max(1) as f64
}
