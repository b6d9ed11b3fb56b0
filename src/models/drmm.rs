//! DRMM: each query term has a histogram of its similarities to the document's terms, a small network scores it, and a gate says how much the
//! term weighs (Guo et al., "A Deep Relevance Matching Model for Ad-hoc Retrieval", CIKM 2016).
//!
//! ```text
//! cosines of a query token  ->  histogram  ->  5 units, tanh  ->  one value z
//! score = sum over query tokens of softmax(gate) z
//! ```
//!
//! Counts have no gradient, so vectors learn through the gate alone. A query without a token has a score of 0. Refused: the paper's `tanh` after
//! the last layer, which keeps a score within -1 and 1 and is no logit.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::PairModel;
use super::interaction::{Interaction, VectorSource};
use super::net::{Inputs, Module, Pass};
use crate::Result;
use crate::nn::histogram::{Bins, Counting, LastBin};
use crate::text::Batch;

/// Its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where a token's vector comes from.
    pub vectors: VectorSource,
    /// What is made of a bin's count.
    pub histogram: Histogram,
    /// Whether the last of the 30 bins is for the same token alone.
    pub exact_bin: bool,
    /// What a query term weighs.
    pub gating: Gating,
}

/// What is made of a bin's count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Histogram {
    /// The count (the paper's CH).
    Count,
    /// Its share of the document's tokens (NH).
    Normalized,
    /// `log(1 + count)` (LCH).
    LogCount,
}

/// What a query term weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gating {
    /// The softmax of a learned product with the term's vector (the paper's TV).
    Vector,
    /// The same for each term of a query.
    None,
}

impl Default for Config {
    fn default() -> Self {
        let vectors = VectorSource::default();
        Config { vectors, histogram: Histogram::LogCount, exact_bin: true, gating: Gating::Vector }
    }
}

/// The model.
pub struct Drmm(pub Config);

const BINS: usize = 30;
const HIDDEN: &str = "drmm.hidden";
const OUTPUT: &str = "drmm.output";
const GATE: &str = "drmm.gate";

impl Drmm {
    fn bins(&self) -> Bins {
        let last = if self.0.exact_bin { LastBin::Token } else { LastBin::Wide };
        let counting = match self.0.histogram {
            Histogram::Count => Counting::Count,
            Histogram::Normalized => Counting::Share,
            Histogram::LogCount => Counting::Log(1.0),
        };
        Bins { count: BINS, last, counting }
    }
}

impl PairModel for Drmm {
    fn modules(&self) -> Vec<Module> {
        let mut modules = self.0.vectors.modules();
        modules.push(Module::Affine { name: HIDDEN, outputs: &[5], inputs: Inputs::features(BINS) });
        modules.push(Module::Affine { name: OUTPUT, outputs: &[1], inputs: Inputs::features(5) });
        if self.0.gating == Gating::Vector {
            modules.push(Module::Affine { name: GATE, outputs: &[1], inputs: Inputs::STATE });
        }
        modules
    }
    fn logits(&self, pass: &Pass, batch: &Batch) -> Result<Tensor> {
        let matrices = Interaction::new(pass, batch, self.0.vectors)?;
        let hidden = pass.affine(HIDDEN, &matrices.histograms(&self.bins())?)?.tanh()?;
        let values = pass.affine(OUTPUT, &hidden)?.squeeze(1)?;
        let gate = match self.0.gating {
            Gating::Vector => pass.affine(GATE, &matrices.query_vectors()?)?.squeeze(1)?,
            Gating::None => values.zeros_like()?,
        };
        matrices.sum(&(matrices.softmax(&gate)? * values)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_gradient, pair_examples};
    use super::*;

    #[test]
    fn gradients_equal_finite_differences_through_the_gate() {
        let examples = pair_examples();
        for vectors in [VectorSource::Static, VectorSource::Joint, VectorSource::Apart] {
            let config = Config { vectors, ..Config::default() };
            assert_gradient(&Drmm(config), &examples.iter().collect::<Vec<_>>());
        }
    }
}
