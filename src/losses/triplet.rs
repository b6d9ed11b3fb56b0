//! Triplet loss: a match is nearer to its query than a non-match, by a margin (Schroff et al., "FaceNet: A Unified Embedding for Face Recognition and
//! Clustering", CVPR 2015).

use candle_core::{D, Tensor};

use crate::{Error, Result};

/// The weighted sum over triples of `max(0, |a - m|^2 - |a - o|^2 + margin)`: vectors `[b, h]` of anchors, their matches and others; `weights` have length
/// `b` and divide by the number of triples.
///
/// # Errors
/// Shapes that differ, and whatever the tensor library refuses.
pub fn triplet(anchors: &Tensor, matches: &Tensor, others: &Tensor, margin: f32, weights: &[f32]) -> Result<Tensor> {
    let (b, _) = anchors.dims2()?;
    if anchors.dims() != matches.dims() || anchors.dims() != others.dims() || weights.len() != b {
        let got = format!("{:?}, {:?}, {:?}, {} weights", anchors.dims(), matches.dims(), others.dims(), weights.len());
        return Err(Error::Shape { op: "triplet", expected: "[b, h] three times, b weights".into(), got });
    }
    let apart = |x: &Tensor| -> Result<Tensor> { Ok((anchors - x)?.sqr()?.sum(D::Minus1)?) };
    let loss = ((apart(matches)? - apart(others)?)? + f64::from(margin))?.relu()?;
    Ok((loss * Tensor::from_slice(weights, b, anchors.device())?)?.sum_all()?)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[derive(serde::Deserialize)]
    struct Golden {
        shape: [usize; 2],
        margin: f32,
        vectors: [Vec<f32>; 3],
        weights: Vec<f32>,
        loss: f32,
        grads: [Vec<f32>; 3],
    }

    #[test]
    fn equals_pytorch_in_value_and_gradient() {
        let text = include_str!("../../tests/golden/triplet/expected.json");
        for case in serde_json::from_str::<Vec<Golden>>(text).unwrap() {
            let [b, h] = case.shape;
            let vars = case.vectors.each_ref().map(|v| Var::from_slice(v, (b, h), &Device::Cpu).unwrap());
            let loss = triplet(&vars[0], &vars[1], &vars[2], case.margin, &case.weights).unwrap();
            let value = loss.to_scalar::<f32>().unwrap();
            assert!((value - case.loss).abs() <= 1e-5 * case.loss.abs().max(1.0), "{value} {}", case.loss);
            let grads = loss.backward().unwrap();
            for (var, expected) in vars.iter().zip(&case.grads) {
                let got = grads.get(var.as_tensor()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
                for (got, want) in got.iter().zip(expected) {
                    assert!((got - want).abs() <= 1e-5, "{got} {want}");
                }
            }
            assert!(triplet(&vars[0], &vars[1], &vars[2], case.margin, &[]).is_err());
        }
    }
}
