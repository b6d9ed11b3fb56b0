//! Softmax over a matrix of scores: each query's match, on the diagonal, against every other document of the batch. What [`super::in_batch_softmax()`]
//! is for vectors, for scores of any kind (ColBERT's sums: Khattab and Zaharia, SIGIR 2020; Santhanam et al., "ColBERTv2", NAACL 2022, section 3.2).

use candle_core::{D, Device, Tensor};

use crate::{Error, Result};

/// The weighted sum over queries `i` of `-log softmax_j(scale s_ij)[i]`: a scalar tensor with its graph.
///
/// `scores` is `[b, n]` with `n >= b`: document `i` is query `i`'s match. `left_out`, `[b, n]` row by row: documents that are not to count
/// against a query (copies of its match). `weights` has length `b`; divide by the number of queries there.
///
/// # Errors
/// Shapes that do not fit, and whatever the tensor library refuses.
pub fn score_softmax(scores: &Tensor, left_out: &[bool], scale: f32, weights: &[f32]) -> Result<Tensor> {
    let (b, n) = scores.dims2()?;
    if n < b || left_out.len() != b * n || weights.len() != b {
        let got = format!("[{b}, {n}], {} left out, {} weights", left_out.len(), weights.len());
        return Err(Error::Shape { op: "score_softmax", expected: "[b, n], b * n, b".into(), got });
    }
    let device: &Device = scores.device();
    let mask: Vec<f32> = left_out.iter().map(|&out| if out { f32::MIN / 2.0 } else { 0.0 }).collect();
    let scores = (scores.affine(f64::from(scale), 0.0)? + Tensor::from_vec(mask, (b, n), device)?)?;
    // the largest score cancels out and needs no gradient
    let scores = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?;
    let total = scores.exp()?.sum(D::Minus1)?.log()?;
    let own: Vec<f32> = (0..b * n).map(|at| f32::from(u8::from(at / n == at % n))).collect();
    let own = (&scores * Tensor::from_vec(own, (b, n), device)?)?.sum(D::Minus1)?;
    Ok(((total - own)? * Tensor::from_slice(weights, b, device)?)?.sum_all()?)
}
