//! RankNet: the logistic loss of every pair of candidates of which one is better (Burges et al., "Learning to Rank using Gradient Descent", ICML
//! 2005).

use candle_core::Tensor;

use super::list::ScoredLists;
use super::softplus;
use crate::Result;

/// The weighted sum over lists of the mean over pairs with grades `y_i > y_j` of `log(1 + exp(s_j - s_i))`. A list of equal grades adds nothing.
///
/// # Errors
/// Parts that do not fit each other, and whatever the tensor library refuses.
pub fn ranknet(lists: &ScoredLists) -> Result<Tensor> {
    lists.check("ranknet")?;
    lists.sum_of(&lists.preferences(ScoredLists::even), |difference| softplus(&difference.neg()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::list::tests::assert_golden;

    #[test]
    fn equals_pytorch_in_value_and_gradient() {
        assert_golden(include_str!("../../tests/golden/ranknet/expected.json"), ranknet);
    }
}
