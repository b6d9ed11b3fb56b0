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
    /// The softmax of the term's inverse document frequency among training's records, times a learned factor (the paper's IDF).
    Idf,
    /// The same for each term of a query.
    None,
}

impl Gating {
    /// What a gate is made of: a linear layer of this name, and the tokens' inverse document frequencies.
    pub(super) fn modules(self, gate: &'static str, idf: &'static str) -> Vec<Module> {
        let layer = |inputs| Module::Affine { name: gate, outputs: &[1], inputs };
        match self {
            Gating::Vector => vec![layer(Inputs::STATE)],
            Gating::Idf => vec![layer(Inputs::features(1)), Module::TokenValues { name: idf }],
            Gating::None => Vec::new(),
        }
    }
    /// What the softmax over a query's tokens is made of, `[query tokens]`; none where all weigh the same.
    pub(super) fn weights(
        self,
        pass: &Pass,
        matrices: &Interaction,
        gate: &'static str,
        idf: &'static str,
    ) -> Result<Option<Tensor>> {
        match self {
            Gating::None => Ok(None),
            Gating::Vector => Ok(Some(matrices.of_query_vectors(|x| pass.affine(gate, x))?)),
            Gating::Idf => {
                let terms = matrices.query_values(&pass.token_values(idf)?)?;
                Ok(Some(pass.affine(gate, &terms.unsqueeze(1)?)?.squeeze(1)?))
            }
        }
    }
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
const IDF: &str = "drmm.idf";

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
        modules.extend(self.0.gating.modules(GATE, IDF));
        modules
    }
    fn logits(&self, pass: &Pass, batch: &Batch) -> Result<Tensor> {
        let matrices = Interaction::new(pass, batch, self.0.vectors)?;
        let hidden = pass.affine(HIDDEN, &matrices.histograms(&self.bins())?)?.tanh()?;
        let values = pass.affine(OUTPUT, &hidden)?.squeeze(1)?;
        let gate = match self.0.gating.weights(pass, &matrices, GATE, IDF)? {
            Some(gate) => gate,
            None => values.zeros_like()?,
        };
        matrices.sum(&(matrices.softmax(&gate)? * values)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_gradient, assert_gradient_but, pair_examples};
    use super::*;
    use crate::losses::Loss;

    #[test]
    fn gradients_equal_finite_differences_through_the_gate() {
        let examples = pair_examples();
        for vectors in [VectorSource::Static, VectorSource::Joint, VectorSource::Apart] {
            let config = Config { vectors, ..Config::default() };
            assert_gradient(&Drmm(config), &examples.iter().collect::<Vec<_>>());
            // without a gate of vectors, counts alone are between them and the score
            let model = Drmm(Config { gating: Gating::Idf, ..config });
            assert_gradient_but(&model, &examples.iter().collect::<Vec<_>>(), Loss::Bce, &["bert.", ".idf"]);
        }
    }
}
