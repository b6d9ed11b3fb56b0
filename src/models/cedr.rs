//! CEDR: a kernel or histogram ranker over the similarity matrices of the joint encoder's states, its features joined by `[CLS]` (MacAvaney et
//! al., "CEDR: Contextualized Embeddings for Document Ranking", SIGIR 2019).
//!
//! ```text
//! [CLS] query [SEP] document [SEP]  ->  a matrix for every state  ->  kernels     [11 a state]               + [CLS]  ->  linear  ->  one logit
//!                                                                 ->  histograms  [bins a state, query token] + [CLS]  ->  5 units, ReLU  ->  one value;
//!                                                                     summed over the query, or weighed by a gate
//! ```
//!
//! The defaults are the paper's: every state, that of the embedding included. The other form in use, a single matrix of 10 bins and a gate for each term, is
//! `head = "drmm"`, `states = "last"`, `bins = 10`, `exact_bin = false`, `gating = "vector"`. The paper reads a long document in `passages`.
//! Counts have no gradient: with histograms the encoder learns through `[CLS]` and the gate. It starts from a fine-tuned cross-encoder, and its
//! head wants a higher rate (`learning_rates = { cedr = 50.0 }`).

use std::num::NonZeroUsize;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::PairModel;
use super::bert::PREFIX;
use super::drmm::Gating;
use super::interaction::{Interaction, first_tokens};
use super::knrm::{CENTRES, WIDTHS};
use super::net::{ENCODER, Inputs, Module, Pass};
use crate::Result;
use crate::nn::histogram::{Bins, Counting, LastBin};
use crate::nn::kernel_pooling::Floor;
use crate::text::{Batch, Passages};

/// Its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What is made of the matrices.
    pub head: Head,
    /// Which states have a matrix.
    pub states: States,
    /// Bins of a histogram, from 2 to 64.
    pub bins: BinCount,
    /// Whether the last bin is for a cosine of 1 alone.
    pub exact_bin: bool,
    /// What a query token weighs among histograms.
    pub gating: Gating,
    /// Passages of a document at most: their tokens are one document, and `[CLS]` is the mean of theirs.
    pub passages: NonZeroUsize,
    /// Tokens that a passage shares with the one before.
    pub overlap: usize,
}

/// What is made of the matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Head {
    /// Kernels, whose centres and widths are trained.
    Knrm,
    /// Histograms of the logarithms of counts.
    Drmm,
}

/// Which states have a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum States {
    /// All, that of the embedding included.
    All,
    /// The last.
    Last,
}

/// A number of bins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "usize", into = "usize")]
pub struct BinCount(usize);

impl TryFrom<usize> for BinCount {
    type Error = String;

    fn try_from(bins: usize) -> std::result::Result<Self, String> {
        if (2..=64).contains(&bins) { Ok(BinCount(bins)) } else { Err(format!("bins = {bins}: give 2 to 64")) }
    }
}

impl From<BinCount> for usize {
    fn from(bins: BinCount) -> usize {
        bins.0
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            head: Head::Knrm,
            states: States::All,
            bins: BinCount(11),
            exact_bin: true,
            gating: Gating::None,
            passages: NonZeroUsize::MIN,
            overlap: 0,
        }
    }
}

/// The model.
pub struct Cedr(pub Config);

const DENSE: &str = "cedr.dense";
const MU: &str = "cedr.mu";
const SIGMA: &str = "cedr.sigma";
const HIDDEN: &str = "cedr.hidden";
const OUTPUT: &str = "cedr.output";
const GATE: &str = "cedr.gate";
const IDF: &str = "cedr.idf";

impl Cedr {
    fn bins(&self) -> Bins {
        let last = if self.0.exact_bin { LastBin::Cosine } else { LastBin::Wide };
        Bins { count: self.0.bins.0, last, counting: Counting::Log(1e-5) }
    }
    /// A state and so many features of every matrix.
    fn inputs(&self, features: usize) -> Inputs {
        match self.0.states {
            States::All => Inputs { states: 1, layers: features, features: 0 },
            States::Last => Inputs { states: 1, layers: 0, features },
        }
    }
}

impl PairModel for Cedr {
    fn modules(&self) -> Vec<Module> {
        let one = |name, inputs| Module::Affine { name, outputs: &[1], inputs };
        let mut modules = vec![ENCODER];
        match self.0.head {
            Head::Knrm => modules.extend([
                Module::Values { name: MU, init: CENTRES.into() },
                Module::Values { name: SIGMA, init: WIDTHS.into() },
                one(DENSE, self.inputs(CENTRES.len())),
            ]),
            Head::Drmm => {
                modules.push(Module::Affine { name: HIDDEN, outputs: &[5], inputs: self.inputs(self.0.bins.0) });
                modules.push(one(OUTPUT, Inputs::features(5)));
                modules.extend(self.0.gating.modules(GATE, IDF));
            }
        }
        modules
    }
    fn passages(&self) -> Option<Passages> {
        Passages::new(self.0.passages, self.0.overlap)
    }
    fn logits(&self, pass: &Pass, batch: &Batch) -> Result<Tensor> {
        let last = pass.last_layer();
        let keep: Vec<usize> = match self.0.states {
            States::All => (0..=last).collect(),
            States::Last => vec![last],
        };
        let states = pass.layers(PREFIX, batch, &keep)?;
        let cls = first_tokens(batch, &states[states.len() - 1])?;
        let matrices = Interaction::of_states(batch, states)?;
        match self.0.head {
            Head::Knrm => {
                let kernels = matrices.kernels(&pass.values(MU)?, &pass.values(SIGMA)?, Floor::Added(1e-6), 1.0)?;
                Ok(pass.affine(DENSE, &Tensor::cat(&[&kernels, &cls], 1)?)?.squeeze(1)?)
            }
            Head::Drmm => {
                let features = [matrices.histograms(&self.bins())?, matrices.to_query_tokens(&cls)?];
                let hidden = pass.affine(HIDDEN, &Tensor::cat(&features, 1)?)?.relu()?;
                let values = pass.affine(OUTPUT, &hidden)?.squeeze(1)?;
                match self.0.gating.weights(pass, &matrices, GATE, IDF)? {
                    None => matrices.sum(&values),
                    Some(gate) => matrices.sum(&(matrices.softmax(&gate)? * values)?),
                }
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
    fn gradients_equal_finite_differences_through_kernels_and_through_cls_and_gate() {
        let examples = pair_examples();
        for states in [States::All, States::Last] {
            for (head, gating) in [
                (Head::Knrm, Gating::None),
                (Head::Drmm, Gating::None),
                (Head::Drmm, Gating::Vector),
                (Head::Drmm, Gating::Idf),
            ] {
                let config = Config { head, states, gating, ..Config::default() };
                assert_gradient_but(&Cedr(config), &examples.iter().collect::<Vec<_>>(), Loss::Bce, &[".idf"]);
            }
        }
    }

    #[test]
    fn numbers_of_bins_that_make_no_histogram_are_refused() {
        let read = |text: &str| toml::from_str::<Config>(text);
        assert_eq!(read("bins = 10").unwrap().bins, BinCount(10));
        for wrong in ["bins = 1", "bins = 65", "bins = 0"] {
            assert!(read(wrong).unwrap_err().message().contains("give 2 to 64"), "{wrong}");
        }
    }
}
