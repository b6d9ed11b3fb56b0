//! PACRR: small convolutions find patterns in the similarity matrix, and each query token keeps its strongest ones (Hui et al., "PACRR: A Position-Aware
//! Neural IR Model for Relevance Matching", EMNLP 2017; the combination of CEDR's code, MacAvaney et al., SIGIR 2019).
//!
//! ```text
//! cosines  ->  themselves, and the largest of 32 filters over 2x2 and 3x3, ReLU  ->  the 2 largest of each query token's row
//!          ->  the rows of 32 query tokens, one after the other  ->  32, ReLU  ->  32, ReLU  ->  one logit
//! ```
//!
//! A query of more tokens is read to the 32nd; a shorter one has zeros. A pattern past the matrix's end sees zeros there. Refused: the recurrent layer of
//! the first paper, which its authors replaced, and IDF as a feature (a switch of [`drmm`](super::drmm) is the place to learn what a term weighs).

use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};

use super::PairModel;
use super::interaction::{Interaction, VectorSource};
use super::net::{Inputs, Module, Pass};
use crate::Result;
use crate::text::Batch;

/// Its settings.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where a token's vector comes from.
    pub vectors: VectorSource,
}

/// The model.
pub struct Pacrr(pub Config);

/// Query tokens that are read.
const QUERY: usize = 32;
/// Values kept of a row.
const KEPT: usize = 2;
/// Convolutions by their side.
const PATTERNS: [(usize, &str); 2] = [(2, "pacrr.conv2"), (3, "pacrr.conv3")];
const FILTERS: [usize; 1] = [32];
const HIDDEN: [&str; 2] = ["pacrr.hidden1", "pacrr.hidden2"];
const OUTPUT: &str = "pacrr.output";

impl PairModel for Pacrr {
    fn modules(&self) -> Vec<Module> {
        let mut modules = self.0.vectors.modules();
        for (side, name) in PATTERNS {
            modules.push(Module::Affine { name, outputs: &FILTERS, inputs: Inputs::features(side * side) });
        }
        let features = QUERY * KEPT * (1 + PATTERNS.len());
        for (name, inputs) in HIDDEN.into_iter().zip([features, 32]) {
            modules.push(Module::Affine { name, outputs: &[32], inputs: Inputs::features(inputs) });
        }
        modules.push(Module::Affine { name: OUTPUT, outputs: &[1], inputs: Inputs::features(32) });
        modules
    }
    fn logits(&self, pass: &Pass, batch: &Batch) -> Result<Tensor> {
        let matrices = Interaction::new(pass, batch, self.0.vectors)?;
        let cosines = matrices.cosines()?;
        let mut kept = vec![matrices.largest(&cosines, QUERY, KEPT)?];
        for (side, name) in PATTERNS {
            // no query token, or none of a document, in the whole batch: nothing to look for
            let found = match cosines.elem_count() {
                0 => cosines.clone(),
                _ => pass.affine(name, &matrices.patches(&cosines, side)?)?.max(D::Minus1)?.relu()?,
            };
            kept.push(matrices.largest(&found, QUERY, KEPT)?);
        }
        // [b, query tokens, kept values of all patterns]
        let mut x = Tensor::cat(&kept, 2)?.flatten_from(1)?;
        for name in HIDDEN {
            x = pass.affine(name, &x)?.relu()?;
        }
        Ok(pass.affine(OUTPUT, &x)?.squeeze(1)?)
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
            assert_gradient(&Pacrr(Config { vectors }), &examples.iter().collect::<Vec<_>>());
        }
    }
}
