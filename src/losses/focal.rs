//! Focal loss: cross-entropy in which a pair counts less the surer it is right (Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017).

use candle_core::Tensor;

use super::list::softplus;
use crate::{Error, Result};

/// The power by which sure pairs count less, as published.
const GAMMA: i32 = 2;

/// The weighted sum over pairs of `-(y (1 - p)^2 log p + (1 - y) p^2 log(1 - p))`, `p` the logistic function of the logit `[b]`. `targets` are 0, 1, or
/// between, and `weights` divide by the number of pairs.
///
/// # Errors
/// Lengths that differ, and whatever the tensor library refuses.
pub fn focal(logits: &Tensor, targets: &[f32], weights: &[f32]) -> Result<Tensor> {
    let b = logits.elem_count();
    if logits.rank() != 1 || targets.len() != b || weights.len() != b {
        let got = format!("{:?}, {} targets, {} weights", logits.dims(), targets.len(), weights.len());
        return Err(Error::Shape { op: "focal", expected: "[b], b targets, b weights".into(), got });
    }
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
    use candle_core::{Device, Var};

    use super::*;

    #[derive(serde::Deserialize)]
    struct Golden {
        logits: Vec<f32>,
        targets: Vec<f32>,
        weights: Vec<f32>,
        loss: f32,
        grad: Vec<f32>,
    }

    #[test]
    fn equals_pytorch_in_value_and_gradient() {
        let cases: Vec<Golden> = serde_json::from_str(include_str!("../../tests/golden/focal/expected.json")).unwrap();
        for case in cases {
            let z = Var::from_slice(&case.logits, case.logits.len(), &Device::Cpu).unwrap();
            let loss = focal(z.as_tensor(), &case.targets, &case.weights).unwrap();
            let value = loss.to_scalar::<f32>().unwrap();
            assert!((value - case.loss).abs() <= 2e-6 * case.loss.abs().max(1.0), "{value} {}", case.loss);
            let grad = loss.backward().unwrap().get(z.as_tensor()).unwrap().to_vec1::<f32>().unwrap();
            for (got, want) in grad.iter().zip(&case.grad) {
                assert!((got - want).abs() <= 2e-6, "{got} {want}");
            }
        }
    }

    #[test]
    fn lengths_that_differ_are_refused() {
        let z = Tensor::zeros(3, candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(matches!(focal(&z, &[1.0; 2], &[1.0; 3]), Err(Error::Shape { .. })));
    }
}
