//! Duo: is the first of two documents more relevant to the query than the second? (Pradeep, Nogueira and Lin, arXiv 2101.05667.)
//!
//! ```text
//! [CLS] query [SEP] d_i [SEP] d_j [SEP]  ->  all layers  ->  [CLS]  ->  tanh pooler  ->  one logit:  p_ij
//! score of d_i: `aggregation` of the p_ij, by default their mean
//! ```
//!
//! Three segments. It starts from a trained mono model, whose pooler and classifier it keeps, and ranks a short list that mono has
//! ranked before: a list of n candidates costs n (n - 1) sequences, or what `pairs` says. [`Aggregation`] has the ways of making one score a document of
//! the comparisons, and neither it nor `pairs` matters in training.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::cross_encoder::{logits, modules};
use super::net::{Module, Pass};
use super::tournament::{Aggregation, comparisons};
use super::{Example, LossSettings, Model, Reads, Scorer, TokenizedList};
use crate::{Error, Result};

/// Its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How comparisons become a score.
    pub aggregation: Aggregation,
    /// Comparisons of a list at most; all of them where it is not said. A list has one for each candidate at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairs: Option<usize>,
}

/// The model.
pub struct Duo(pub Config);

impl Model for Duo {
    fn modules(&self) -> Vec<Module> {
        modules()
    }
    fn reads(&self) -> Reads {
        Reads::Triple
    }
    fn loss(&self, pass: &Pass, examples: &[&Example], settings: &LossSettings) -> Result<Tensor> {
        settings.of_pairs(examples, |batch| logits(pass, batch))
    }
    /// # Errors
    /// A list of a single candidate, which has nothing to be compared with.
    fn score(&self, scorer: &Scorer, lists: &[TokenizedList]) -> Result<Vec<Vec<f32>>> {
        if lists.iter().any(|list| list.candidates.len() == 1) {
            let what = "a duo model compares candidates with each other: give at least 2, or score single pairs with a cross-encoder";
            return Err(Error::setting("candidates", 1, what));
        }
        let mut scores = Vec::with_capacity(lists.len());
        for list in lists {
            let n = list.candidates.len();
            let pairs = comparisons(n, self.0.pairs);
            let triples: Vec<_> =
                pairs.iter().map(|(i, j)| vec![list.query, list.candidates[*i], list.candidates[*j]]).collect();
            let won = scorer.rows(&scorer.join(&triples), 1, |pass, batch| {
                Ok(logits(pass, batch)?.neg()?.exp()?.affine(1.0, 1.0)?.recip()?)
            })?;
            scores.push(self.0.aggregation.scores(n, &pairs, &won));
        }
        Ok(scores)
    }
}
