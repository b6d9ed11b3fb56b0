//! Duo: is the first of two documents more relevant to the query than the second? (Pradeep, Nogueira and Lin, arXiv 2101.05667.)
//!
//! ```text
//! [CLS] query [SEP] d_i [SEP] d_j [SEP]  ->  all layers  ->  [CLS]  ->  tanh pooler  ->  one logit:  p_ij
//! score of d_i = sum over j of p_ij
//! ```
//!
//! Three segments. It starts from a trained mono model, whose pooler and classifier it keeps, and ranks a short list that mono has
//! ranked before: a list of n candidates costs n (n - 1) sequences. Scores are shares of won comparisons, (1/(n-1)) of the paper's SUM, so that
//! lists of different lengths are comparable.

use candle_core::Tensor;

use super::cross_encoder::{logits, modules};
use super::net::{Module, Pass};
use super::{Example, LossSettings, Model, Reads, Scorer, TokenizedList};
use crate::{Error, Result};

/// The model.
pub struct Duo;

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
            let (n, rivals) = (list.candidates.len(), list.candidates.len().saturating_sub(1));
            let pairs = (0..n).flat_map(|i| (0..n).filter(move |j| *j != i).map(move |j| (i, j)));
            let triples: Vec<_> =
                pairs.map(|(i, j)| vec![list.query, list.candidates[i], list.candidates[j]]).collect();
            let won = scorer.rows(&scorer.join(&triples), 1, |pass, batch| {
                Ok(logits(pass, batch)?.neg()?.exp()?.affine(1.0, 1.0)?.recip()?)
            })?;
            scores.push(won.chunks_exact(rivals.max(1)).map(|won| won.iter().sum::<f32>() / rivals as f32).collect());
        }
        Ok(scores)
    }
}
