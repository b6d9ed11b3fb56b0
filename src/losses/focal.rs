//! Focal loss: cross-entropy in which a pair counts less the surer it is right (Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017).

use candle_core::Tensor;

use super::{pair_count, softplus};
use crate::Result;

/// The power by which sure pairs count less, as published.
const GAMMA: i32 = 2;

/// The weighted sum over pairs of `-(y (1 - p)^2 log p + (1 - y) p^2 log(1 - p))`, `p` the logistic function of the logit `[b]`. `targets` are 0, 1, or
/// between, and `weights` divide by the number of pairs.
///
/// # Errors
/// Lengths that differ, and whatever the tensor library refuses.
pub fn focal(logits: &Tensor, targets: &[f32], weights: &[f32]) -> Result<Tensor> {
    let b = pair_count("focal", logits, targets, weights)?;
    let of = |share: &dyn Fn(f32) -> f32| {
        let values: Vec<f32> = targets.iter().zip(weights).map(|(y, w)| share(*y) * w).collect();
        Tensor::from_vec(values, b, logits.device())
    };
    // -log p = softplus(-z), 1 - p = exp(-softplus(z))
    let (up, down) = (softplus(logits)?, softplus(&logits.neg()?)?);
    let power = |x: &Tensor| x.affine(-f64::from(GAMMA), 0.0)?.exp();
    let yes = ((power(&up)? * &down)? * of(&|y| y)?)?;
    let no = ((power(&down)? * &up)? * of(&|y| 1.0 - y)?)?;
    Ok((yes + no)?.sum_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::tests::assert_golden;

    #[test]
    fn equals_pytorch_in_value_and_gradient() {
        let numbers = include_str!("../../tests/golden/focal/expected.json");
        assert_golden(numbers, 2e-6, |z, case| focal(z, &case.targets, &case.weights));
    }
}
