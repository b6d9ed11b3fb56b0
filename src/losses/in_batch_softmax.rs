//! Softmax over the documents of a batch: each query's match against the matches of the other queries and against hard negatives
//! (Henderson et al., arXiv 1705.00652; sentence-transformers calls it MultipleNegativesRankingLoss).

use candle_core::{D, Device, Tensor};

use crate::{Error, Result};

/// The weighted sum over queries `i` of `-log softmax_j(scale q_i . d_j)[i]`: a scalar with a graph behind it.
///
/// `queries` is `[b, h]`, `documents` `[n, h]` with `n >= b`: document `i` is query `i`'s match, those from `b` on are hard negatives of any
/// query. `left_out`, `[b, n]` row by row: documents that are not to count against a query (copies of its match). `weights` has
/// length `b`; divide by the number of queries there.
///
/// # Errors
/// Shapes that do not fit, and whatever the tensor library refuses.
pub fn in_batch_softmax(
    queries: &Tensor,
    documents: &Tensor,
    left_out: &[bool],
    scale: f32,
    weights: &[f32],
) -> Result<Tensor> {
    let ((b, h), (n, width)) = (queries.dims2()?, documents.dims2()?);
    if n < b || h != width || left_out.len() != b * n || weights.len() != b {
        let got = format!("[{b}, {h}], [{n}, {width}], {} left out, {} weights", left_out.len(), weights.len());
        return Err(Error::Shape { op: "in_batch_softmax", expected: "[b, h], [n, h], b * n, b".into(), got });
    }
    let device: &Device = queries.device();
    let mask: Vec<f32> = left_out.iter().map(|&out| if out { f32::MIN / 2.0 } else { 0.0 }).collect();
    let scores =
        (queries.matmul(&documents.t()?)?.affine(f64::from(scale), 0.0)? + Tensor::from_vec(mask, (b, n), device)?)?;
    // the largest score cancels out and needs no gradient
    let scores = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?;
    let total = scores.exp()?.sum(D::Minus1)?.log()?;
    let own: Vec<f32> = (0..b * n).map(|at| f32::from(u8::from(at / n == at % n))).collect();
    let own = (&scores * Tensor::from_vec(own, (b, n), device)?)?.sum(D::Minus1)?;
    Ok(((total - own)? * Tensor::from_slice(weights, b, device)?)?.sum_all()?)
}
