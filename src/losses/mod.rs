//! One loss, one file. A loss is a plain function from tensors to a scalar tensor with its graph; it knows no
//! model and no optimizer. Refused: a trait over losses (they share no arguments worth a common shape).
pub mod bce;
pub mod focal;
pub mod in_batch_softmax;
pub mod lambda;
pub mod list;
pub mod list_mle;
pub mod list_softmax;
pub mod pairwise_hinge;
pub mod ranknet;
pub mod score_softmax;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

pub use bce::bce_with_logits;
pub use focal::focal;
pub use in_batch_softmax::in_batch_softmax;
pub use lambda::lambda;
pub use list::ScoredLists;
pub use list_mle::list_mle;
pub use list_softmax::list_softmax;
pub use pairwise_hinge::pairwise_hinge;
pub use ranknet::ranknet;
pub use score_softmax::score_softmax;

use crate::{Error, Result};

/// The loss of a ranker that reads pairs, by its name in a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Binary cross-entropy of each pair.
    #[default]
    Bce,
    /// Focal loss of each pair.
    Focal,
    /// Hinge over the pairs of a list.
    Hinge,
    /// Logistic loss over the pairs of a list.
    Ranknet,
    /// Softmax cross-entropy over a list.
    Softmax,
    /// Likelihood of a list's order.
    ListMle,
    /// RankNet weighed by nDCG.
    Lambda,
}

impl Loss {
    /// Whether it compares the candidates of a query, and so wants lists.
    pub fn of_lists(self) -> bool {
        !matches!(self, Loss::Bce | Loss::Focal)
    }
    /// The loss of pairs, each by itself: logits `[b]` against targets, with label smoothing where the loss knows it.
    ///
    /// # Errors
    /// Lengths that differ, a loss over lists.
    pub fn of_pairs(self, logits: &Tensor, targets: &[f32], weights: &[f32], smoothing: f32) -> Result<Tensor> {
        match self {
            Loss::Focal => focal(logits, targets, weights),
            _ => bce_with_logits(logits, targets, weights, smoothing),
        }
    }
    /// The loss of lists.
    ///
    /// # Errors
    /// Parts that do not fit each other.
    pub fn over_lists(self, lists: &ScoredLists) -> Result<Tensor> {
        match self {
            Loss::Hinge => pairwise_hinge(lists),
            Loss::Ranknet => ranknet(lists),
            Loss::ListMle => list_mle(lists),
            Loss::Lambda => lambda(lists),
            Loss::Softmax | Loss::Bce | Loss::Focal => list_softmax(lists),
        }
    }
}

/// `log(1 + e^x)`: the larger exponent is taken out as a constant, so that nothing overflows and the slope is exactly the logistic function.
fn softplus(x: &Tensor) -> Result<Tensor> {
    let top = x.relu()?.detach();
    Ok(((top.neg()?.exp()? + (x - &top)?.exp()?)?.log()? + &top)?)
}

/// The number of pairs `b`; logits `[b]`, targets and weights of other lengths are refused.
fn pair_count(op: &'static str, logits: &Tensor, targets: &[f32], weights: &[f32]) -> Result<usize> {
    let b = logits.elem_count();
    if logits.rank() == 1 && targets.len() == b && weights.len() == b {
        return Ok(b);
    }
    let got = format!("{:?}, {} targets, {} weights", logits.dims(), targets.len(), weights.len());
    Err(Error::Shape { op, expected: "[b], b targets, b weights".into(), got })
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Var};

    use super::*;

    #[derive(Deserialize)]
    pub struct Golden {
        logits: Vec<f32>,
        pub targets: Vec<f32>,
        pub weights: Vec<f32>,
        #[serde(default)]
        pub smoothing: f32,
        loss: f32,
        grad: Vec<f32>,
    }

    /// The value and the gradient of a loss of pairs against PyTorch's, whose numbers are `text`.
    pub fn assert_golden(text: &str, tolerance: f32, loss: impl Fn(&Tensor, &Golden) -> Result<Tensor>) {
        for case in serde_json::from_str::<Vec<Golden>>(text).unwrap() {
            let z = Var::from_slice(&case.logits, case.logits.len(), &Device::Cpu).unwrap();
            let out = loss(z.as_tensor(), &case).unwrap();
            let value = out.to_scalar::<f32>().unwrap();
            assert!((value - case.loss).abs() <= tolerance * case.loss.abs().max(1.0), "{value} {}", case.loss);
            let grad = out.backward().unwrap().get(z.as_tensor()).unwrap().to_vec1::<f32>().unwrap();
            for (got, want) in grad.iter().zip(&case.grad) {
                assert!((got - want).abs() <= tolerance, "{got} {want}");
            }
        }
    }

    #[test]
    fn lengths_that_differ_are_refused() {
        let z = Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap();
        assert!(matches!(bce_with_logits(&z, &[1.0; 2], &[1.0; 3], 0.0), Err(Error::Shape { .. })));
        assert!(matches!(focal(&z, &[1.0; 2], &[1.0; 3]), Err(Error::Shape { .. })));
    }
}
