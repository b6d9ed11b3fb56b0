//! YATI, published as PreTTR: a cross-encoder whose lower layers read query and document apart (MacAvaney et al., "Efficient Document Re-Ranking for
//! Transformers by Precomputing Term Representations", SIGIR 2020).
//!
//! ```text
//! [CLS] query [SEP]  ->  layers below split_at  \
//!                                                 (->  compress to n, restore)  ->  layers from split_at  ->  [CLS]  ->  tanh pooler  ->  one logit
//! document [SEP]     ->  layers below split_at  /
//! ```
//!
//! Below the split it is the joint model under a mask, so it starts from any cross-encoder. A document's positions begin at `query_tokens`, whatever the
//! query's length, so its states can be computed and stored before any query is known; the states of both, end to end, are what the joint
//! model has there, to the bit. Words marked as shared, differing and so on depend on both texts: they are marked where the two meet, and not below, by
//! rows of a table that begins with what their segments did to the cross-encoder's embedding. Compression is a linear map to `compress` values
//! a token and one back with LayerNorm. Before fine-tuning it can learn alone ([`Yati::attention_error`]): all else is frozen, and attention above
//! the split shall be what it is without compression. In fine-tuning its error, the mean square between a state and what comes back, is a part of the loss. At `split_at =
//! layers` query and document never meet, and the score says nothing of the document.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::bert::PREFIX;
use super::cross_encoder::classified;
pub use super::halves::Above;
use super::net::{ENCODER, Inputs, Module, Pass};
use super::{Example, LossSettings, Model, Reads, Scorer, TokenizedList};
use crate::text::Batch;
use crate::{Error, Result};

/// Its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Layers that read query and document apart, from 0 to all; half of them where it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_at: Option<usize>,
    /// Tokens of the query's half, special tokens included; half of `text.max_tokens` where it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_tokens: Option<usize>,
    /// Values that a token's state is compressed to; 0: it is not.
    pub compress: Width,
    /// What the compression's error weighs in the loss.
    pub restore_loss: f32,
}

impl Default for Config {
    fn default() -> Self {
        Config { split_at: None, query_tokens: None, compress: Width(0), restore_loss: 1.0 }
    }
}

/// A number of values to compress to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "usize", into = "usize")]
pub struct Width(usize);

/// The widths that there are.
static WIDTHS: [usize; 12] = [8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];

impl TryFrom<usize> for Width {
    type Error = String;

    fn try_from(width: usize) -> std::result::Result<Self, String> {
        match width == 0 || WIDTHS.contains(&width) {
            true => Ok(Width(width)),
            false => Err(format!("compress = {width}: give 0 (not at all) or one of {WIDTHS:?}")),
        }
    }
}

impl From<Width> for usize {
    fn from(width: Width) -> usize {
        width.0
    }
}

/// The model.
pub struct Yati(pub Config);

const COMPRESS: &str = "yati.compress";
const RESTORE: &str = "yati.restore";
const MARKS: &str = "yati.marks";
/// Tokens that are joined at once.
const TOKENS: usize = 16 << 10;

/// Documents whose rows are stored, as [`Yati::join`] asks for them.
pub struct Stored<'a> {
    /// Tokens of each.
    pub lengths: &'a [u32],
    /// Writes the rows of one of them, `[t, width]`.
    pub fill: &'a (dyn Fn(usize, &mut [f32]) + Sync),
    /// Marks of the joint sequence with one of them; none where words are not marked.
    pub marks: &'a (dyn Fn(usize) -> Vec<u32> + Sync),
}

impl Yati {
    /// Tokens of the query's half in sequences of so many.
    pub fn query_room(&self, max_tokens: usize) -> usize {
        self.0.query_tokens.unwrap_or(max_tokens / 2)
    }
    /// The first layer that sees both.
    ///
    /// # Errors
    /// More layers than there are.
    pub fn split_at(&self, layers: usize) -> Result<usize> {
        match self.0.split_at {
            None => Ok(layers / 2),
            Some(at) if at <= layers => Ok(at),
            Some(at) => {
                Err(Error::setting("model.split_at", at, format!("the model has {layers} layers: give 0 to {layers}")))
            }
        }
    }
    /// Values of a token that are stored, for an encoder of this width.
    pub fn width(&self, hidden: usize) -> usize {
        if self.0.compress.0 > 0 { self.0.compress.0 } else { hidden }
    }

    /// The compression alone: what learns while all else is frozen. Empty where nothing is compressed.
    pub fn compression(&self) -> Vec<Module> {
        let Some(at) = WIDTHS.iter().position(|width| *width == self.0.compress.0) else { return Vec::new() };
        let compress = Module::Affine { name: COMPRESS, outputs: &WIDTHS[at..=at], inputs: Inputs::STATE };
        vec![compress, Module::Restore { name: RESTORE, inputs: WIDTHS[at] }]
    }

    /// How far compression moves the attention of the layers above the split: for each sequence the mean square, over layers, heads and pairs of
    /// tokens, of the difference between attention with compression and without; summed over the sequences, a scalar (MacAvaney et al., SIGIR 2020).
    /// `joint` computes the states below the split in inference, `above` has the layers over it, and `compression` is a pass over
    /// [`Yati::compression`], in training with a graph.
    ///
    /// # Errors
    /// Ids, segments, positions or marks past the tables; no sequence, or one without a token.
    pub fn attention_error(&self, joint: &Pass, above: &Above, compression: &Pass, batch: &Batch) -> Result<Tensor> {
        let at = self.split_at(joint.last_layer())?;
        let states = joint.layers(PREFIX, &batch.apart(), &[at])?.remove(0);
        let marks = joint.mark(MARKS, states.zeros_like()?, &batch.marks)?;
        let back = compression.restore(RESTORE, self.0.compress.0, &compression.affine(COMPRESS, &states)?)?;
        let (plain, met) = ((&states + &marks)?, (back + marks)?);
        let mut errors = Vec::new();
        for ends in batch.offsets.windows(2) {
            let maps = |x: &Tensor| above.attention(&x.narrow(0, ends[0] as usize, (ends[1] - ends[0]) as usize)?);
            let (wanted, got) = (maps(&plain)?, maps(&met)?);
            let layers = got.len() as f64;
            for (wanted, got) in wanted.iter().zip(&got) {
                errors.push(((got - wanted)?.sqr()?.mean_all()? / layers)?);
            }
        }
        Ok(Tensor::stack(&errors, 0)?.sum_all()?)
    }

    /// States of joint sequences where the halves meet, `[t, h]`, and what compression lost on the way.
    fn met(&self, pass: &Pass, states: Tensor, marks: &[u32]) -> Result<(Tensor, Option<Tensor>)> {
        let (mut met, mut lost) = (states.clone(), None);
        if self.0.compress.0 > 0 {
            met = pass.restore(RESTORE, self.0.compress.0, &pass.affine(COMPRESS, &states)?)?;
            lost = Some((&met - states.detach())?.sqr()?.mean_all()?);
        }
        Ok((pass.mark(MARKS, met, marks)?, lost))
    }

    /// Logits `[b]` of joint sequences by the masked joint model, and what compression lost.
    fn forward(&self, pass: &Pass, batch: &Batch) -> Result<(Tensor, Option<Tensor>)> {
        let lost = std::cell::RefCell::new(None);
        let at = self.split_at(pass.last_layer())?;
        let first = pass.split(batch, at, &|states| {
            let (met, error) = self.met(pass, states, &batch.marks)?;
            *lost.borrow_mut() = error;
            Ok(met)
        })?;
        Ok((classified(pass, &pass.pooler(&first)?)?, lost.into_inner()))
    }

    /// What is stored of halves, one row a token: `[t, width]`. In serving.
    ///
    /// # Errors
    /// Ids, segments or positions past the tables; a half without a token.
    pub fn encode(&self, pass: &Pass, halves: &Batch) -> Result<Vec<f32>> {
        let at = self.split_at(pass.last_layer())?;
        let states = pass.layers(PREFIX, halves, &[at])?.remove(0);
        let rows = if self.0.compress.0 > 0 { pass.affine(COMPRESS, &states)? } else { states };
        Ok(rows.flatten_all()?.to_vec1()?)
    }

    /// One logit a document for a query's rows `[q, width]`, as [`Yati::encode`] gave them. In serving.
    ///
    /// # Errors
    /// Rows of another width.
    pub fn join(&self, pass: &Pass, query: &[f32], documents: &Stored) -> Result<Vec<f32>> {
        let (h, width, at) = (pass.hidden(), self.width(pass.hidden()), self.split_at(pass.last_layer())?);
        let compressed = self.0.compress.0 > 0;
        let restored;
        let query = if compressed {
            restored = pass.restored(RESTORE, width, query)?;
            &restored[..]
        } else {
            query
        };
        let (q, mut scores, mut next) = (query.len() / h, Vec::with_capacity(documents.lengths.len()), 0);
        while next < documents.lengths.len() {
            let (first, mut offsets) = (next, vec![0u32]);
            while let Some(&d) = documents.lengths.get(next) {
                let end = offsets[offsets.len() - 1] + q as u32 + d;
                if offsets.len() > 1 && end as usize > TOKENS {
                    break;
                }
                offsets.push(end);
                next += 1;
            }
            let lengths = &documents.lengths[first..next];
            let rows = fill(lengths, width, &|i, rows| (documents.fill)(first + i, rows));
            let rows = if compressed { pass.restored(RESTORE, width, &rows)? } else { rows };
            let mut states = Vec::with_capacity(offsets[offsets.len() - 1] as usize * h);
            let (mut rest, mut marks) = (&rows[..], Vec::new());
            for (i, d) in lengths.iter().enumerate() {
                let (own, others) = rest.split_at(*d as usize * h);
                rest = others;
                states.extend_from_slice(query);
                states.extend_from_slice(own);
                marks.extend((documents.marks)(first + i));
            }
            if marks.iter().any(|mark| *mark > 0) {
                pass.add_marks(MARKS, &mut states, &marks)?;
            }
            let pooled = pass.pooler(&pass.upper(&states, &offsets, at)?)?;
            scores.extend(classified(pass, &pooled)?.to_vec1::<f32>()?);
        }
        Ok(scores)
    }
}

/// Rows of some documents, end to end, written by several threads.
fn fill(lengths: &[u32], width: usize, one: &(dyn Fn(usize, &mut [f32]) + Sync)) -> Vec<f32> {
    let mut rows = vec![0f32; lengths.iter().map(|d| *d as usize).sum::<usize>() * width];
    let (mut parts, mut rest) = (Vec::with_capacity(lengths.len()), &mut rows[..]);
    for d in lengths {
        let (part, after) = rest.split_at_mut(*d as usize * width);
        parts.push(part);
        rest = after;
    }
    use rayon::prelude::*;
    parts.into_par_iter().enumerate().for_each(|(i, part)| one(i, part));
    rows
}

impl Model for Yati {
    fn modules(&self) -> Vec<Module> {
        let mut modules = vec![ENCODER, Module::Marks { name: MARKS }, Module::Pooler];
        modules.push(Module::Affine { name: "classifier", outputs: &[1, 2], inputs: Inputs::STATE });
        modules.extend(self.compression());
        modules
    }
    fn reads(&self) -> Reads {
        Reads::Pair
    }
    fn loss(&self, pass: &Pass, examples: &[&Example], settings: &LossSettings) -> Result<Tensor> {
        let mut lost = None;
        let loss = settings.of_pairs(examples, |batch| {
            let (logits, error) = self.forward(pass, batch)?;
            lost = error;
            Ok(logits)
        })?;
        match lost {
            Some(lost) => {
                let weight = settings.weights.iter().sum::<f32>() * self.0.restore_loss;
                Ok((loss + (lost * f64::from(weight))?)?)
            }
            None => Ok(loss),
        }
    }
    fn score(&self, scorer: &Scorer, lists: &[TokenizedList]) -> Result<Vec<Vec<f32>>> {
        scorer.pairs(lists, |pass, batch| Ok(self.forward(pass, batch)?.0))
    }
    fn split(&self) -> Option<&Yati> {
        Some(self)
    }
}

#[cfg(test)]
mod tests;
