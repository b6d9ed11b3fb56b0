//! Margin-MSE: a student learns by how much its teacher prefers a match to a non-match, whatever the scale of either's scores (Hofstätter et al., "Improving
//! Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation", arXiv 2010.02666).

use candle_core::Tensor;

use super::list::{ScoredLists, taught};
use crate::Result;

/// The weighted sum over lists of the mean over pairs with grades `y_i > y_j` of `((s_i - s_j) - (t_i - t_j))^2`, `t` the teacher's scores `[n]`. A list of
/// equal grades adds nothing.
///
/// # Errors
/// Parts that do not fit each other, and whatever the tensor library refuses.
pub fn margin_mse(lists: &ScoredLists, teacher: &[f32]) -> Result<Tensor> {
    let teacher = taught("margin_mse", lists, teacher)?;
    let apart = (lists.scores - teacher)?;
    let lists = ScoredLists { scores: &apart, ..*lists };
    lists.sum_of(&lists.preferences(ScoredLists::even), |difference| Ok(difference.sqr()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::list::tests::assert_taught_golden;

    #[test]
    fn equals_pytorch_in_value_and_gradient() {
        assert_taught_golden(include_str!("../../tests/golden/margin_mse/expected.json"), margin_mse);
    }
}
