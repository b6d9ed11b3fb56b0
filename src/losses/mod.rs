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

use crate::Result;

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
