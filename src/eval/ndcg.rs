//! nDCG@k: gains discounted by the logarithm of the place, as a share of the best order's (Järvelin and Kekäläinen, TOIS
//! 2002). trec_eval takes the grade itself as the gain, most papers on learning to rank `2^grade - 1` (Burges et al., ICML
//! 2005).

use super::ranking::Ranking;

/// What a document of a grade is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gain {
    /// The grade: trec_eval's `ndcg_cut`.
    Linear,
    /// `2^grade - 1`.
    Exponential,
}

impl Gain {
    fn of(self, grade: f32) -> f64 {
        match (grade > 0.0, self) {
            (false, _) => 0.0,
            (true, Gain::Linear) => f64::from(grade),
            (true, Gain::Exponential) => f64::from(grade).exp2() - 1.0,
        }
    }
}

/// nDCG@k; 0 without a relevant document.
pub fn ndcg(ranking: &Ranking, k: usize, gain: Gain) -> f64 {
    let dcg = |grades: &mut dyn Iterator<Item = f32>| -> f64 {
        let discounted = |(i, grade): (usize, f32)| gain.of(grade) / ((i + 2) as f64).log2();
        grades.take(k).enumerate().map(discounted).sum()
    };
    let best = dcg(&mut ranking.judged.iter().copied());
    let got = dcg(&mut ranking.ranked.iter().map(|grade| grade.unwrap_or_default()));
    if best > 0.0 { got / best } else { 0.0 }
}
