//! Pairwise hinge: a better candidate's score is to be 1 above a worse one's (Herbrich et al., "Large Margin Rank Boundaries for Ordinal
//! Regression", 2000; the loss of DRMM and K-NRM).

use candle_core::Tensor;

use super::list::ScoredLists;
use crate::Result;

/// The weighted sum over lists of the mean over pairs with grades `y_i > y_j` of `max(0, 1 - s_i + s_j)`. A list of equal grades adds nothing.
///
/// # Errors
/// Parts that do not fit each other, and whatever the tensor library refuses.
pub fn pairwise_hinge(lists: &ScoredLists) -> Result<Tensor> {
    lists.check("pairwise_hinge")?;
    lists.sum_of(&lists.preferences(ScoredLists::even), |difference| Ok(difference.affine(-1.0, 1.0)?.relu()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::list::tests::assert_golden;

    #[test]
    fn equals_pytorch_in_value_and_gradient() {
        assert_golden(include_str!("../../tests/golden/pairwise_hinge/expected.json"), pairwise_hinge);
    }
}
