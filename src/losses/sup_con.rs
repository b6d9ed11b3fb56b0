//! Supervised contrastive loss over clusters of offers: every two offers of a product attract each other, all others of the batch repel (Khosla et al.,
//! "Supervised Contrastive Learning", NeurIPS 2020; for products R-SupCon, Peeters and Bizer, "Supervised Contrastive Learning for Product Matching",
//! WWW Companion 2022). A warm-up of an encoder before a matcher is tuned.

use candle_core::{D, Tensor};

use super::list::FAR;
use crate::{Error, Result};

/// The weighted sum over vectors `i` that share their cluster with others `P(i)` of `-1 / |P(i)| sum_{p in P(i)} log softmax_{a != i}(scale v_i . v_a)[p]`.
///
/// `vectors` is `[n, h]`, `clusters` says which cluster each belongs to; `weights` have length `n` and divide by the number of vectors. A vector without a
/// partner in the batch attracts nothing, and repels all.
///
/// # Errors
/// Lengths that differ, and whatever the tensor library refuses.
pub fn sup_con(vectors: &Tensor, clusters: &[u32], scale: f32, weights: &[f32]) -> Result<Tensor> {
    let (n, _) = vectors.dims2()?;
    if clusters.len() != n || weights.len() != n {
        let got = format!("[{n}, h], {} clusters, {} weights", clusters.len(), weights.len());
        return Err(Error::Shape { op: "sup_con", expected: "[n, h], n clusters, n weights".into(), got });
    }
    let device = vectors.device();
    let places = || (0..n).flat_map(|i| (0..n).map(move |j| (i, j)));
    let own: Vec<f32> = places().map(|(i, j)| if i == j { FAR } else { 0.0 }).collect();
    let partner = |i: usize, j: usize| j != i && clusters[j] == clusters[i];
    let counts: Vec<f32> = (0..n).map(|i| (0..n).filter(|j| partner(i, *j)).count().max(1) as f32).collect();
    let shares: Vec<f32> = places().map(|(i, j)| if partner(i, j) { weights[i] / counts[i] } else { 0.0 }).collect();
    let scores = vectors.matmul(&vectors.t()?)?.affine(f64::from(scale), 0.0)?;
    let scores = (scores + Tensor::from_vec(own, (n, n), device)?)?;
    // the largest score cancels out and needs no gradient
    let scores = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?;
    let logs = scores.broadcast_sub(&scores.exp()?.sum_keepdim(D::Minus1)?.log()?)?;
    Ok((logs * Tensor::from_vec(shares, (n, n), device)?)?.sum_all()?.neg()?)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[derive(serde::Deserialize)]
    struct Golden {
        shape: [usize; 2],
        scale: f32,
        vectors: Vec<f32>,
        clusters: Vec<u32>,
        weights: Vec<f32>,
        loss: f32,
        grad: Vec<f32>,
    }

    #[test]
    fn equals_pytorch_in_value_and_gradient() {
        let text = include_str!("../../tests/golden/sup_con/expected.json");
        for case in serde_json::from_str::<Vec<Golden>>(text).unwrap() {
            let [n, h] = case.shape;
            let vectors = Var::from_slice(&case.vectors, (n, h), &Device::Cpu).unwrap();
            let loss = sup_con(&vectors, &case.clusters, case.scale, &case.weights).unwrap();
            let value = loss.to_scalar::<f32>().unwrap();
            assert!((value - case.loss).abs() <= 1e-5 * case.loss.abs().max(1.0), "{value} {}", case.loss);
            let grads = loss.backward().unwrap();
            let got = grads.get(vectors.as_tensor()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for (got, want) in got.iter().zip(&case.grad) {
                assert!((got - want).abs() <= 2e-5, "{got} {want}");
            }
            assert!(sup_con(&vectors, &case.clusters[1..], 1.0, &case.weights).is_err());
        }
    }
}
