//! Binary cross-entropy on logits: the loss of a matcher whose pairs are labelled match or no match.
//!
//! For a logit `z` and a target `y` it is `softplus(z) - y z`, computed without overflow for any finite `z`, with the
//! exact gradient `sigmoid(z) - y` (also at `z = 0`, where a loss built of `max(z, 0)` and `|z|` depends on what the
//! tensor library thinks the slope of `|z|` is there).

use candle_core::{Device, Tensor};

use super::{pair_count, softplus};
use crate::Result;

/// The weighted sum over pairs `i` of `w_i (softplus(z_i) - y_i z_i)`: a scalar tensor with its graph.
///
/// `logits` is `[b]`; `targets` (shares of one: 0, 1, or between for soft labels) and `weights` have length `b`. It is a
/// sum, not a mean, so that gradients of the pieces of one batch add up to the gradient of the whole: put the division
/// into the weights. `smoothing` `s` moves targets towards one half, `y (1 - s) + s / 2` (Szegedy et al., "Rethinking the
/// Inception Architecture", CVPR 2016).
///
/// # Errors
/// Lengths that differ, and whatever the tensor library refuses.
pub fn bce_with_logits(logits: &Tensor, targets: &[f32], weights: &[f32], smoothing: f32) -> Result<Tensor> {
    let b = pair_count("bce_with_logits", logits, targets, weights)?;
    let device: &Device = logits.device();
    let smoothed: Vec<f32> = targets.iter().map(|y| y * (1.0 - smoothing) + 0.5 * smoothing).collect();
    let targets = Tensor::from_vec(smoothed, b, device)?;
    let weights = Tensor::from_slice(weights, b, device)?;
    Ok(((softplus(logits)? - (targets * logits)?)? * weights)?.sum_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::tests::assert_golden;

    #[test]
    fn equals_pytorch_in_value_and_gradient() {
        let numbers = include_str!("../../tests/golden/bce/expected.json");
        assert_golden(numbers, 1e-6, |z, case| bce_with_logits(z, &case.targets, &case.weights, case.smoothing));
    }
}
