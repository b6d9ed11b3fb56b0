//! Masked tokens and next texts as something that the trainer steps over.

use std::collections::BTreeMap;

use candle_core::Tensor;
use rayon::prelude::*;

use super::items::{Item, Items};
use super::mask::Masking;
use super::recipe::PretrainRecipe;
use crate::Result;
use crate::calibrate::softplus;
use crate::models::masked_lm::{MaskedLm, Targets};
use crate::models::{Mode, Net};
use crate::nn::Parameters;
use crate::text::{Batch, Encoding, TextEncoder};
use crate::train::objective::{Measures, Objective, Step};
use crate::train::seed::{Purpose, generator};

/// Tokens of held-out sequences given to the network at once.
const TOKENS: usize = 4096;

/// A language model over its parameters and a corpus.
pub(super) struct LanguageObjective<'a> {
    pub model: MaskedLm,
    pub net: Net,
    pub text: &'a TextEncoder,
    pub items: Items<'a>,
    pub held_out: Vec<Item>,
    pub masking: Masking,
    pub recipe: &'a PretrainRecipe,
}

/// A masked sequence: what was masked, by its place.
type Masked = (Encoding, Vec<(u32, u32)>);

impl LanguageObjective<'_> {
    /// Tokens of an item that are no special ones.
    fn open(&self, item: &Item) -> usize {
        let texts = 1 + usize::from(item.second.is_some());
        item.tokens as usize - self.text.frame_length(texts).0
    }

    /// A sequence with some tokens masked.
    fn masked(&self, item: &Item) -> Result<Masked> {
        let store = self.items.store;
        let first = store.pieces(item.first)?;
        let second = item.second.map(|(second, _)| store.pieces(second)).transpose()?;
        let texts: Vec<&[u32]> = std::iter::once(&first).chain(&second).map(|pieces| &pieces.ids[..]).collect();
        let mut encoding = self.text.frame(&texts);
        let (_, prefix, separator) = self.text.frame_length(texts.len());
        let mut open: Vec<(u32, bool)> = Vec::with_capacity(encoding.ids.len());
        let mut start = prefix as u32;
        for pieces in std::iter::once(&first).chain(&second) {
            open.extend((start..).zip(pieces.continues.iter().copied()));
            start += pieces.ids.len() as u32 + separator as u32;
        }
        let masked = self.masking.apply(
            &mut encoding.ids,
            &open,
            &mut generator(&[Purpose::Mask as u64, item.draw[0], item.draw[1], item.draw[2]]),
        );
        Ok((encoding, masked))
    }

    /// A batch of masked sequences, and what is to be guessed.
    fn batch(&self, sequences: &[(&Item, Masked)]) -> (Batch, Targets) {
        let (mut batch, mut targets) = (Batch::default(), Targets::default());
        for (item, (encoding, masked)) in sequences {
            let start = batch.tokens() as u32;
            targets.rows.extend(masked.iter().map(|(at, _)| start + at));
            targets.ids.extend(masked.iter().map(|(_, id)| *id));
            targets.next.push(item.second.map(|(_, is_next)| is_next));
            batch.push(encoding);
        }
        (batch, targets)
    }

    /// Measures what was guessed of one batch.
    fn measure(&self, sequences: &[(&Item, Masked)], sums: &mut Sums) -> Result<()> {
        let (batch, targets) = self.batch(sequences);
        let (logits, next) = self.model.logits(&self.net.pass(Mode::Infer), &batch, &targets.rows)?;
        let vocabulary = self.net.config().vocab_size;
        let rows = logits.par_chunks_exact(vocabulary).zip(&targets.ids).map(|(row, &id)| {
            let (top, largest) =
                (0u32..).zip(row).fold((0, f32::NEG_INFINITY), |best, (i, &z)| if z > best.1 { (i, z) } else { best });
            let sum: f64 = row.iter().map(|z| f64::from(z - largest).exp()).sum();
            (sum.ln() + f64::from(largest - row[id as usize]), top == id)
        });
        let guessed: Vec<(f64, bool)> = rows.collect();
        let mut guessed = guessed.into_iter();
        for (i, (item, (_, masked))) in sequences.iter().enumerate() {
            for (loss, right) in guessed.by_ref().take(masked.len()) {
                sums.loss += loss;
                let of_source = sums.right.entry(item.source).or_default();
                *of_source = (of_source.0 + u64::from(right), of_source.1 + 1);
            }
            if let (Some((_, is_next)), Some(&z)) = (item.second, next.get(i)) {
                let z = f64::from(z);
                sums.next_loss += softplus(if is_next { -z } else { z });
                sums.next = (sums.next.0 + u64::from((z > 0.0) == is_next), sums.next.1 + 1);
            }
        }
        Ok(())
    }
}

/// Sums over held-out sequences.
#[derive(Default)]
struct Sums {
    loss: f64,
    /// Right guesses and all, by source.
    right: BTreeMap<u32, (u64, u64)>,
    next_loss: f64,
    next: (u64, u64),
}

impl Objective for LanguageObjective<'_> {
    type Item = Item;

    fn parameters(&self) -> &Parameters {
        self.net.parameters()
    }
    fn parameters_mut(&mut self) -> &mut Parameters {
        self.net.parameters_mut()
    }
    fn epoch(&self, epoch: u64) -> Result<Vec<Item>> {
        let s = &self.recipe.train;
        let steps = (epoch * s.validate_every).min(s.steps)..((epoch + 1) * s.validate_every).min(s.steps);
        Ok(self.items.range(steps.start * s.step_items(), steps.end * s.step_items()))
    }
    fn tokens(&self, item: &Item) -> usize {
        item.tokens as usize
    }
    fn weight(&self, item: &Item) -> f64 {
        self.masking.count(self.open(item)) as f64
    }
    fn loss(&self, items: &[&Item], step: &Step) -> Result<Tensor> {
        let masked = items.par_iter().map(|item| self.masked(item)).collect::<Result<Vec<_>>>()?;
        let sequences: Vec<(&Item, Masked)> = items.iter().copied().zip(masked).collect();
        let (batch, mut targets) = self.batch(&sequences);
        targets.weight = (1.0 / step.weight) as f32;
        let weight = self.recipe.next.as_ref().map_or(0.0, |next| next.weight);
        targets.next_weight = (weight / step.items as f64) as f32;
        self.model.loss(&self.net.pass(Mode::Train { seed: step.seed }), &batch, &targets)
    }
    fn measures(&self) -> &'static [&'static str] {
        &["loss", "masked_loss", "perplexity", "accuracy", "next_accuracy"]
    }
    fn validate(&self) -> Result<Measures> {
        let mut sums = Sums::default();
        let (mut some, mut tokens): (Vec<(&Item, Masked)>, usize) = (Vec::new(), 0);
        for item in &self.held_out {
            if !some.is_empty() && tokens + item.tokens as usize > TOKENS {
                self.measure(&some, &mut sums)?;
                (some, tokens) = (Vec::new(), 0);
            }
            tokens += item.tokens as usize;
            some.push((item, self.masked(item)?));
        }
        self.measure(&some, &mut sums)?;
        let (right, all) = sums.right.values().fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        let masked_loss = sums.loss / all.max(1) as f64;
        let mut loss = masked_loss;
        let mut measures = Measures::new();
        if let Some(next) = self.recipe.next.as_ref().filter(|_| sums.next.1 > 0) {
            loss += next.weight * sums.next_loss / sums.next.1 as f64;
            measures.insert("next_accuracy".into(), sums.next.0 as f64 / sums.next.1 as f64);
        }
        let named = [
            ("loss", loss),
            ("masked_loss", masked_loss),
            ("perplexity", masked_loss.exp()),
            ("accuracy", right as f64 / all.max(1) as f64),
        ];
        measures.extend(named.map(|(name, value)| (name.to_string(), value)));
        if sums.right.len() > 1 {
            let names = &self.recipe.data.sources;
            let of = |(source, (right, all)): (&u32, &(u64, u64))| {
                (format!("accuracy/{}", names[*source as usize].name), *right as f64 / *all as f64)
            };
            measures.extend(sums.right.iter().map(of));
        }
        Ok(measures)
    }
}
