//! ERR@k: the reciprocal of the place where a reader stops, who looks from the top and stops at a document with a probability
//! that grows with its grade (Chapelle et al., CIKM 2009). As gdeval.pl of TREC's Web track counts it: a document of grade
//! `g` satisfies with `(2^g - 1) / 2^4`. gdeval refuses grades above 4; here they count as 4.

use super::ranking::Ranking;

/// The highest grade.
const HIGHEST: f32 = 4.0;

/// ERR@k.
pub fn expected_reciprocal_rank(ranking: &Ranking, k: usize) -> f64 {
    let (mut looks_on, mut sum) = (1.0, 0.0);
    for (i, grade) in ranking.ranked.iter().take(k).enumerate() {
        let grade = grade.unwrap_or_default().clamp(0.0, HIGHEST);
        let stops = (f64::from(grade).exp2() - 1.0) / f64::from(HIGHEST).exp2();
        sum += looks_on * stops / (i + 1) as f64;
        looks_on *= 1.0 - stops;
    }
    sum
}
