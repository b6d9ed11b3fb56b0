//! K-NRM: kernels count how many of a document's tokens are about as similar to each query token as their centres (Xiong et al., "End-to-End
//! Neural Ad-hoc Ranking with Kernel Pooling", SIGIR 2017).
//!
//! ```text
//! cosines of all tokens  ->  11 kernels  ->  0.01 sum over the query of log(sum over the document, at least 1e-10)  ->  linear  ->  one logit
//! ```
//!
//! A kernel at 1.0, 0.001 wide, counts exact matches; ten from -0.9 to 0.9, 0.1 wide, count soft ones. A query without a token has the bias as its score.
//! Refused: the paper's `tanh` after the linear layer, which changes no order and is no logit.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::PairModel;
use super::interaction::{Interaction, VectorSource};
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
    /// Whether centres and widths of the kernels are trained too.
    pub train_kernels: bool,
}

/// Centres of the kernels.
pub const CENTRES: [f32; 11] = [1.0, 0.9, 0.7, 0.5, 0.3, 0.1, -0.1, -0.3, -0.5, -0.7, -0.9];
/// Their widths.
pub const WIDTHS: [f32; 11] = [0.001, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1];

/// The model.
pub struct Knrm(pub Config);

const HEAD: &str = "knrm.dense";
const MU: &str = "knrm.mu";
const SIGMA: &str = "knrm.sigma";

impl PairModel for Knrm {
    fn modules(&self) -> Vec<Module> {
        let mut modules = self.0.vectors.modules();
        if self.0.train_kernels {
            modules.push(Module::Values { name: MU, init: CENTRES.into() });
            modules.push(Module::Values { name: SIGMA, init: WIDTHS.into() });
        }
        modules.push(Module::Affine { name: HEAD, outputs: &[1], inputs: Inputs::features(CENTRES.len()) });
        modules
    }
    fn logits(&self, pass: &Pass, batch: &Batch) -> Result<Tensor> {
        let (mu, sigma) = match self.0.train_kernels {
            true => (pass.values(MU)?, pass.values(SIGMA)?),
            false => (pass.constant(&CENTRES)?, pass.constant(&WIDTHS)?),
        };
        let matrices = Interaction::new(pass, batch, self.0.vectors)?;
        let features = matrices.kernels(&mu, &sigma, Floor::Least(1e-10), 0.01)?;
        Ok(pass.affine(HEAD, &features)?.squeeze(1)?)
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
            for train_kernels in [false, true] {
                assert_gradient(&Knrm(Config { vectors, train_kernels }), &examples.iter().collect::<Vec<_>>());
            }
        }
    }
}
