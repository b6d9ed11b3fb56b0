//! Softmax over the documents of a batch: each query's match against the matches of the other queries and against hard negatives
//! (Henderson et al., arXiv 1705.00652; sentence-transformers calls it MultipleNegativesRankingLoss).

use candle_core::Tensor;

use super::score_softmax;
use crate::{Error, Result};

/// The weighted sum over queries `i` of `-log softmax_j(scale q_i . d_j)[i]`: a scalar tensor with its graph.
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
    score_softmax(&queries.matmul(&documents.t()?)?, left_out, scale, weights)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[derive(serde::Deserialize)]
    struct Golden {
        shape: [usize; 3],
        scale: f32,
        queries: Vec<f32>,
        documents: Vec<f32>,
        weights: Vec<f32>,
        left_out: Vec<bool>,
        loss: f32,
        query_grad: Vec<f32>,
        document_grad: Vec<f32>,
    }

    #[test]
    fn equals_pytorch_in_value_and_gradient() {
        let text = include_str!("../../tests/golden/in_batch_softmax/expected.json");
        for case in serde_json::from_str::<Vec<Golden>>(text).unwrap() {
            let [b, n, h] = case.shape;
            let queries = Var::from_slice(&case.queries, (b, h), &Device::Cpu).unwrap();
            let documents = Var::from_slice(&case.documents, (n, h), &Device::Cpu).unwrap();
            let loss = in_batch_softmax(&queries, &documents, &case.left_out, case.scale, &case.weights).unwrap();
            let value = loss.to_scalar::<f32>().unwrap();
            assert!((value - case.loss).abs() <= 1e-5 * case.loss.abs().max(1.0), "{value} {}", case.loss);
            let grads = loss.backward().unwrap();
            for (var, expected) in [(&queries, &case.query_grad), (&documents, &case.document_grad)] {
                let got = grads.get(var.as_tensor()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
                for (got, want) in got.iter().zip(expected) {
                    assert!((got - want).abs() <= 1e-5, "{got} {want}");
                }
            }
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let zeros = |rows: usize| Tensor::zeros((rows, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
        let refused = |n: usize, out: usize, weights: usize| {
            in_batch_softmax(&zeros(3), &zeros(n), &vec![false; out], 1.0, &vec![1.0; weights]).is_err()
        };
        assert!(!refused(3, 9, 3) && refused(2, 6, 3) && refused(3, 8, 3) && refused(3, 9, 2));
    }
}
