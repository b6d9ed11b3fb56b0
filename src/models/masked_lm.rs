//! A language model: BERT with the heads of its pre-training (Devlin et al., NAACL 2019). Not a ranker: what rankers begin with.
//!
//! ```text
//! [CLS] a [MASK] b [SEP]            ->  all layers  ->  masked rows  ->  linear, GELU, LayerNorm  ->  table of words^T + bias
//! [CLS] text [SEP] next text [SEP]  ->  all layers  ->  [CLS]  ->  tanh pooler  ->  is next, is not next
//! ```
//!
//! Only masked rows reach the decoder. The next-sentence head is there where pairs are learnt. Names are those of
//! `BertForPreTraining`, so Python loads it as it is. Refused: a decoder of its own weights (it doubles a small model, and the tied one is
//! better: Press & Wolf, EACL 2017).

use candle_core::{Device, Tensor};

use super::bert::{NEXT, PREFIX};
use super::net::{ENCODER, Inputs, Module, Pass};
use crate::Result;
use crate::losses::bce_with_logits;
use crate::nn::encoder::Rows;
use crate::text::Batch;

/// The model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskedLm {
    /// Whether it tells next texts from others.
    pub next: bool,
}

/// What is learnt of a batch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Targets {
    /// Masked tokens, counted over the whole batch, `[m]`.
    pub rows: Vec<u32>,
    /// What they were, `[m]`.
    pub ids: Vec<u32>,
    /// What each weighs: one over the number of masked tokens of the step.
    pub weight: f32,
    /// Whether each sequence's second text is the next one; `None` where it has none, `[b]`.
    pub next: Vec<Option<bool>>,
    /// What a sequence weighs in the loss of next texts.
    pub next_weight: f32,
}

/// Some rows of `[t, h]`.
fn rows(states: &Tensor, rows: &[u32]) -> Result<Tensor> {
    Ok(states.index_select(&Tensor::from_slice(rows, rows.len(), &Device::Cpu)?, 0)?)
}

impl MaskedLm {
    /// What it is made of.
    pub fn modules(self) -> Vec<Module> {
        let next = [Module::Pooler, Module::Affine { name: NEXT, outputs: &[2], inputs: Inputs::STATE }];
        let next = next.into_iter().filter(|_| self.next);
        [ENCODER, Module::MaskedHead].into_iter().chain(next).collect()
    }
    /// The weighted loss of masked tokens, and of next texts if it learns them: a scalar with its graph.
    ///
    /// # Errors
    /// Ids, segments or lengths past the model's tables.
    pub fn loss(self, pass: &Pass, batch: &Batch, targets: &Targets) -> Result<Tensor> {
        let states = pass.states(PREFIX, batch, Rows::All)?;
        let masked = pass.masked_transform(&rows(&states, &targets.rows)?)?;
        let loss = pass.masked_loss(&masked, &targets.ids, &vec![targets.weight; targets.rows.len()])?;
        if !self.next || targets.next.iter().all(Option::is_none) {
            return Ok(loss);
        }
        let logits = self.next_logits(pass, &states, batch)?;
        let target: Vec<f32> = targets.next.iter().map(|next| f32::from(u8::from(*next == Some(true)))).collect();
        let weights: Vec<f32> =
            targets.next.iter().map(|next| if next.is_some() { targets.next_weight } else { 0.0 }).collect();
        Ok((loss + bce_with_logits(&logits, &target, &weights, 0.0)?)?)
    }
    /// Logits of the whole vocabulary at some tokens of a batch, row by row `[m, vocab_size]`; and `[b]` of next texts if it learns them
    /// (the logit of "is next" less that of "is not").
    ///
    /// # Errors
    /// Ids, segments or lengths past the model's tables.
    pub fn logits(self, pass: &Pass, batch: &Batch, at: &[u32]) -> Result<(Vec<f32>, Vec<f32>)> {
        let states = pass.states(PREFIX, batch, Rows::All)?;
        let words = match at {
            [] => Vec::new(),
            at => pass.vocabulary_logits(&pass.masked_transform(&rows(&states, at)?)?)?,
        };
        let next = if self.next { self.next_logits(pass, &states, batch)?.to_vec1::<f32>()? } else { Vec::new() };
        Ok((words, next))
    }
    fn next_logits(self, pass: &Pass, states: &Tensor, batch: &Batch) -> Result<Tensor> {
        let first = rows(states, &batch.offsets[..batch.len()])?;
        let logits = pass.affine(NEXT, &pass.pooler(&first)?)?;
        Ok((logits.narrow(1, 0, 1)? - logits.narrow(1, 1, 1)?)?.squeeze(1)?)
    }
}
