//! What the trainer steps over: items of any kind, with a loss and measures of their own.

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::Result;
use crate::nn::Parameters;

/// Named measures of a validation. Names that end in `loss` are better when lower, all others when higher.
pub type Measures = BTreeMap<String, f64>;

/// Whether a higher value of a measure is better.
pub fn higher_is_better(measure: &str) -> bool {
    !measure.ends_with("loss")
}

/// What a loss needs to know of its step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Seed of this piece's dropout.
    pub seed: u64,
    /// Items of the whole step, of which a piece holds some: divide by it, so that the pieces' losses add up to a mean.
    pub items: usize,
    /// What they weigh together ([`Objective::weight`]).
    pub weight: f64,
}

/// Something to learn: pairs with labels, triples, masked text, texts with a teacher's scores.
pub trait Objective: Send {
    /// One of the things that a loss is summed over.
    type Item: Send + Sync;

    /// The trained arrays.
    fn parameters(&self) -> &Parameters;
    /// The trained arrays, to be changed.
    fn parameters_mut(&mut self) -> &mut Parameters;
    /// The items of an epoch, a function of its number alone.
    ///
    /// # Errors
    /// Nothing to learn from.
    fn epoch(&self, epoch: u64) -> Result<Vec<Self::Item>>;
    /// Which items come in an epoch; some may come several times.
    fn order(&self, items: &[Self::Item], _epoch: u64) -> Vec<u32> {
        (0..items.len() as u32).collect()
    }
    /// Tokens that an item puts through the network.
    fn tokens(&self, item: &Self::Item) -> usize;
    /// What an item weighs among those of its step, known before its loss: the number of its masked tokens, for example.
    fn weight(&self, _item: &Self::Item) -> f64 {
        1.0
    }
    /// Whether a batch may be cut into pieces that fit memory; not where its items are each other's negatives.
    fn is_divisible(&self) -> bool {
        true
    }
    /// The loss of a piece of a step: its share of the step's mean, with its graph.
    ///
    /// # Errors
    /// What the network refuses.
    fn loss(&self, items: &[&Self::Item], step: &Step) -> Result<Tensor>;
    /// Names of what [`Objective::validate`] measures.
    fn measures(&self) -> &'static [&'static str];
    /// Measures the parameters on held-out data.
    ///
    /// # Errors
    /// What the network refuses.
    fn validate(&self) -> Result<Measures>;
}
