//! A stack of layers behind an embedding, in serving: each thread takes groups of sequences through all layers.

use rayon::prelude::*;

use super::Dtype;
use super::embedding::Embedding;
use super::kernels::{Team, Unit};
use super::layer::{Group, Layer, LayerArrays, LayerShape, Run};
use super::plan::{Plan, with_workspace};
use crate::Result;
use crate::text::Batch;

/// Embedding and layers with packed weights.
pub struct Encoder {
    /// The input.
    pub embedding: Embedding,
    /// From the input up.
    pub layers: Vec<Layer>,
}

impl Encoder {
    /// Packs layers for `dtype` and the unit at hand.
    ///
    /// # Errors
    /// `SVERKA_CPU` names a unit that this CPU has not.
    pub fn new(dtype: Dtype, shape: LayerShape, embedding: Embedding, layers: &[LayerArrays]) -> Result<Self> {
        Unit::choose()?;
        Ok(Encoder { embedding, layers: layers.iter().map(|arrays| Layer::new(dtype, shape, arrays)).collect() })
    }

    /// Width, `h`.
    pub fn hidden(&self) -> usize {
        self.embedding.hidden
    }
    /// Last states of all tokens, `[t, h]`, or of each sequence's first token, `[b, h]`. No value depends on what else is in
    /// the batch, nor on the number of threads.
    pub fn encode(&self, batch: &Batch, first_only: bool) -> Result<Vec<f32>> {
        self.embedding.check(batch)?;
        let h = self.hidden();
        let threads = rayon::current_num_threads();
        let plan = Plan::balanced(batch, threads);
        let groups: Vec<Group> = plan.groups().collect();
        let mut out = vec![0f32; if first_only { batch.len() } else { batch.tokens() } * h];
        let mut rest = &mut out[..];
        let mut tasks = Vec::with_capacity(groups.len());
        for group in groups {
            let (part, tail) = rest.split_at_mut(group.rows(first_only) * h);
            tasks.push((group, part));
            rest = tail;
        }
        let group = |(group, out)| match threads {
            1 => self.group(batch, group, first_only, None, out),
            // a thread without a group of its own helps with another's
            _ => Team::gather(|team| self.group(batch, group, first_only, Some(team), out)),
        };
        tasks.into_par_iter().for_each(group);
        Ok(out)
    }

    fn group(&self, batch: &Batch, group: Group, first_only: bool, team: Option<&Team>, out: &mut [f32]) {
        let size = group.tokens() * self.hidden();
        let last = self.layers.len().saturating_sub(1);
        with_workspace(|w| {
            let [mut x, mut y] = std::mem::take(&mut w.states);
            x.reserve(size);
            y.reserve(size);
            self.embedding.group(w, batch, group, &mut x[..size]);
            for (i, layer) in self.layers.iter().enumerate() {
                let run = Run { first_only: first_only && i == last, seed: None, team };
                let to = if i == last { &mut *out } else { &mut y[..size] };
                layer.forward(w, group, run, &x[..size], to, None);
                std::mem::swap(&mut x, &mut y);
            }
            if self.layers.is_empty() {
                out.copy_from_slice(&x[..out.len()]);
            }
            w.states = [x, y];
        });
    }
}
