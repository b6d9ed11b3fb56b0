//! A cross-encoder over the passages of a long document. Scores of passages are joined (FirstP, MaxP, AvgP: Dai and Callan, "Deeper Text
//! Understanding for IR with Contextual Neural Language Modeling", SIGIR 2019), or their representations before the one classifier
//! (PARADE: Li et al., "PARADE: Passage Representation Aggregation for Document Reranking", arXiv 2008.09093).
//!
//! ```text
//! [CLS] query [SEP] passage i [SEP]  ->  all layers  ->  [CLS] i  ->  pooler, classifier  ->  first | max | mean of the logits
//!                                                                ->  mean | weights by a linear layer, softmax  ->  pooler, classifier
//! ```
//!
//! A pair that fits one sequence has the cross-encoder's score. It starts from a cross-encoder; the linear layer of `attention` is drawn.

use std::num::NonZeroUsize;

use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};

use super::PairModel;
use super::bert::PREFIX;
use super::cross_encoder::{self, classified};
use super::net::{Inputs, Module, Pass};
use crate::Result;
use crate::nn::encoder::Rows;
use crate::nn::groups;
use crate::text::{Batch, Passages};

/// Its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How passages become one score.
    pub aggregation: Aggregation,
    /// Passages of a document at most.
    pub passages: NonZeroUsize,
    /// Tokens that a passage shares with the one before.
    pub overlap: usize,
}

/// How passages become one score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aggregation {
    /// The first passage's logit; the others are not read.
    First,
    /// The largest logit.
    Max,
    /// The mean of the logits.
    Mean,
    /// The mean of the first tokens' states.
    Cls,
    /// The first tokens' states, each weighed by what a trained layer makes of it.
    Attention,
}

impl Default for Config {
    fn default() -> Self {
        let four = const { NonZeroUsize::new(4).expect("not zero") };
        Config { aggregation: Aggregation::Attention, passages: four, overlap: 0 }
    }
}

/// The model.
pub struct Parade(pub Config);

const ATTENTION: &str = "parade.attention";

impl PairModel for Parade {
    fn modules(&self) -> Vec<Module> {
        let mut modules = cross_encoder::modules();
        if self.0.aggregation == Aggregation::Attention {
            modules.push(Module::Affine { name: ATTENTION, outputs: &[1], inputs: Inputs::STATE });
        }
        modules
    }
    fn passages(&self) -> Option<Passages> {
        let most = if self.0.aggregation == Aggregation::First { NonZeroUsize::MIN } else { self.0.passages };
        Passages::new(most, self.0.overlap)
    }
    fn logits(&self, pass: &Pass, batch: &Batch) -> Result<Tensor> {
        match self.0.aggregation {
            Aggregation::First => cross_encoder::logits(pass, batch),
            Aggregation::Mean => groups::mean(&cross_encoder::logits(pass, batch)?, batch.passage_offsets()),
            Aggregation::Max => groups::max(&cross_encoder::logits(pass, batch)?, &batch.passage_offsets()),
            Aggregation::Cls => {
                let states = pass.states(PREFIX, batch, Rows::First)?;
                classified(pass, &pass.pooler(&groups::mean(&states, batch.passage_offsets())?)?)
            }
            Aggregation::Attention => {
                let (states, passages) = (pass.states(PREFIX, batch, Rows::First)?, batch.passage_offsets());
                let weights = groups::softmax(&pass.affine(ATTENTION, &states)?.squeeze(D::Minus1)?, &passages)?;
                let joined = groups::sum(&states.broadcast_mul(&weights.unsqueeze(1)?)?, &passages)?;
                classified(pass, &pass.pooler(&joined)?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_gradient_but, pair_examples};
    use super::*;
    use crate::losses::Loss;

    #[test]
    fn gradients_equal_finite_differences_through_every_aggregation() {
        let mut examples = pair_examples();
        // three passages, one, two
        let others = examples.split_off(2);
        examples[0].texts[0].more = others.iter().map(|other| other.texts[0].clone()).collect();
        examples.push(others[1].clone());
        examples[2].texts[0].more = vec![others[0].texts[0].clone()];
        for aggregation in [Aggregation::Max, Aggregation::Mean, Aggregation::Cls, Aggregation::Attention] {
            let config = Config { aggregation, ..Config::default() };
            assert_gradient_but(
                &Parade(config),
                &examples.iter().collect::<Vec<_>>(),
                Loss::Bce,
                &["parade.attention.bias"],
            );
        }
    }

    #[test]
    fn one_passage_is_truncation() {
        let of = |aggregation| Parade(Config { aggregation, ..Config::default() }).passages();
        assert_eq!(of(Aggregation::First), None);
        assert_eq!(of(Aggregation::Max).unwrap().most.get(), 4);
    }
}
