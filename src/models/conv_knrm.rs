//! Conv-KNRM: kernels over similarities of n-grams, every length of the query's with every length of the document's (Dai et al., "Convolutional Neural
//! Networks for Soft-Matching N-Grams in Ad-hoc Search", WSDM 2018).
//!
//! ```text
//! vectors of tokens  ->  convolutions over 1, 2 and 3 tokens, 128 filters, ReLU  ->  9 matrices of cosines  ->  11 kernels each
//!                    ->  0.01 sum over the query of log(sum over the document, at least 1e-10)  ->  linear  ->  one logit
//! ```
//!
//! So `red lamp` may meet `lamp, red` and `lamp`. An n-gram past a text's end has zeros there. Refused, as in [`knrm`](super::knrm): the paper's `tanh` after
//! the linear layer.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::PairModel;
use super::interaction::{Interaction, VectorSource};
use super::knrm::{CENTRES, WIDTHS};
use super::net::{Inputs, Module, Pass};
use crate::Result;
use crate::nn::kernel_pooling::Floor;
use crate::text::Batch;

/// Its settings.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where a token's vector comes from.
    pub vectors: VectorSource,
}

/// The model.
pub struct ConvKnrm(pub Config);

const HEAD: &str = "conv_knrm.dense";
/// Convolutions by the number of tokens that they see, from 1.
const GRAMS: [&str; 3] = ["conv_knrm.gram1", "conv_knrm.gram2", "conv_knrm.gram3"];
/// Filters of each, the first number as published.
const FILTERS: [usize; 1] = [128];

impl PairModel for ConvKnrm {
    fn modules(&self) -> Vec<Module> {
        let mut modules = self.0.vectors.modules();
        for (at, name) in GRAMS.into_iter().enumerate() {
            let inputs = Inputs { states: at + 1, layers: 0, features: 0 };
            modules.push(Module::Affine { name, outputs: &FILTERS, inputs });
        }
        let features = GRAMS.len() * GRAMS.len() * CENTRES.len();
        modules.push(Module::Affine { name: HEAD, outputs: &[1], inputs: Inputs::features(features) });
        modules
    }
    fn logits(&self, pass: &Pass, batch: &Batch) -> Result<Tensor> {
        let (mu, sigma) = (pass.constant(&CENTRES)?, pass.constant(&WIDTHS)?);
        let matrices = Interaction::new(pass, batch, self.0.vectors)?;
        let gram = |(at, name): (usize, &'static str)| -> Result<Tensor> {
            Ok(pass.affine(name, &matrices.windows(at + 1)?)?.relu()?)
        };
        let grams = GRAMS.into_iter().enumerate().map(gram).collect::<Result<Vec<_>>>()?;
        let mut features = Vec::with_capacity(grams.len() * grams.len());
        for query in &grams {
            for document in &grams {
                features.push(matrices.crossed(query, document)?.kernels(&mu, &sigma, Floor::Least(1e-10), 0.01)?);
            }
        }
        Ok(pass.affine(HEAD, &Tensor::cat(&features, 1)?)?.squeeze(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_gradient, pair_examples};
    use super::*;

    #[test]
    fn gradients_equal_finite_differences_over_vectors_of_every_kind() {
        let examples = pair_examples();
        for vectors in [VectorSource::Static, VectorSource::Joint, VectorSource::Apart] {
            assert_gradient(&ConvKnrm(Config { vectors }), &examples.iter().collect::<Vec<_>>());
        }
    }
}
