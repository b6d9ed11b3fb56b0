//! Mean squared error between a score and a teacher's: the plainest distillation of a ranker.

use candle_core::Tensor;

use super::pair_count;
use crate::Result;

/// The weighted sum over pairs of `w_i (s_i - t_i)^2`: scores `[b]` with their graph against a teacher's of the same length; `weights` divide by the
/// number of pairs.
///
/// # Errors
/// Lengths that differ, and whatever the tensor library refuses.
pub fn mse(scores: &Tensor, teacher: &[f32], weights: &[f32]) -> Result<Tensor> {
    let b = pair_count("mse", scores, teacher, weights)?;
    let device = scores.device();
    let difference = (scores - Tensor::from_slice(teacher, b, device)?)?;
    Ok((difference.sqr()? * Tensor::from_slice(weights, b, device)?)?.sum_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::tests::assert_golden;

    #[test]
    fn equals_pytorch_in_value_and_gradient() {
        let numbers = include_str!("../../tests/golden/mse/expected.json");
        assert_golden(numbers, 2e-6, |z, case| mse(z, &case.targets, &case.weights));
    }
}
