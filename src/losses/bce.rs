//! Binary cross-entropy on logits: the loss of a matcher whose pairs are labelled match or no match.
//!
//! For a logit `z` and a target `y` it is `softplus(z) - y z`, computed without overflow for any finite `z`, with the
//! exact gradient `sigmoid(z) - y` (also at `z = 0`, where a loss built of `max(z, 0)` and `|z|` depends on what the
//! tensor library thinks the slope of `|z|` is there).

use candle_core::{Device, Tensor};

use crate::{Error, Result};

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
    let b = logits.elem_count();
    if logits.rank() != 1 || targets.len() != b || weights.len() != b {
        let got = format!("{:?}, {} targets, {} weights", logits.dims(), targets.len(), weights.len());
        return Err(Error::Shape { op: "bce_with_logits", expected: "[b], b targets, b weights".into(), got });
    }
    let device: &Device = logits.device();
    let smoothed: Vec<f32> = targets.iter().map(|y| y * (1.0 - smoothing) + 0.5 * smoothing).collect();
    let targets = Tensor::from_vec(smoothed, b, device)?;
    let weights = Tensor::from_slice(weights, b, device)?;
    // log(e^0 + e^z) with the larger exponent taken out; taken out as a constant, so that the slope is exactly sigmoid(z).
    let top = logits.relu()?.detach();
    let softplus = ((top.neg()?.exp()? + (logits - &top)?.exp()?)?.log()? + &top)?;
    Ok(((softplus - (targets * logits)?)? * weights)?.sum_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;

    #[derive(serde::Deserialize)]
    struct Golden {
        logits: Vec<f32>,
        targets: Vec<f32>,
        weights: Vec<f32>,
        smoothing: f32,
        loss: f32,
        grad: Vec<f32>,
    }

    #[test]
    fn equals_pytorch_in_value_and_gradient() {
        let cases: Vec<Golden> = serde_json::from_str(include_str!("../../tests/golden/bce/expected.json")).unwrap();
        for case in cases {
            let z = Var::from_slice(&case.logits, case.logits.len(), &Device::Cpu).unwrap();
            let loss = bce_with_logits(z.as_tensor(), &case.targets, &case.weights, case.smoothing).unwrap();
            let value = loss.to_scalar::<f32>().unwrap();
            assert!((value - case.loss).abs() <= 1e-6 * case.loss.abs().max(1.0), "{value} {}", case.loss);
            let grad = loss.backward().unwrap().get(z.as_tensor()).unwrap().to_vec1::<f32>().unwrap();
            for (got, want) in grad.iter().zip(&case.grad) {
                assert!((got - want).abs() <= 1e-6, "{got} {want}");
            }
        }
    }

    #[test]
    fn lengths_that_differ_are_refused() {
        let z = Tensor::zeros(3, candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(matches!(bce_with_logits(&z, &[1.0; 2], &[1.0; 3], 0.0), Err(Error::Shape { .. })));
    }
}
