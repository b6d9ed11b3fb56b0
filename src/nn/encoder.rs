//! A stack of layers behind an embedding, in serving: each thread takes groups of sequences through all layers.

use rayon::prelude::*;

use super::Dtype;
use super::embedding::Embedding;
use super::kernels::{Team, Unit};
use super::layer::{Group, Layer, LayerArrays, LayerShape, Run};
use super::plan::{Plan, with_workspace};
use crate::Result;
use crate::text::Batch;

/// Rows of first tokens that a thread finishes at once.
const ROWS: usize = 128;

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
        // Few rows cost a product nearly as much as many: where the last layer's are of first tokens, all groups' are finished together.
        let together = first_only && groups.len() > 1 && !self.layers.is_empty();
        let mut residual = vec![0f32; if together { out.len() } else { 0 }];
        let (mut rest, mut rest_of_residual) = (&mut out[..], &mut residual[..]);
        let mut tasks = Vec::with_capacity(groups.len());
        for group in groups {
            let size = group.rows(first_only) * h;
            let (part, tail) = rest.split_at_mut(size);
            let (beside, tail_of_residual) = rest_of_residual.split_at_mut(if together { size } else { 0 });
            tasks.push((group, part, beside));
            (rest, rest_of_residual) = (tail, tail_of_residual);
        }
        let group = |(group, out, residual)| match threads {
            1 => self.group(batch, group, first_only, None, out, residual),
            // a thread without a group of its own helps with another's
            _ => Team::gather(|team| self.group(batch, group, first_only, Some(team), out, residual)),
        };
        tasks.into_par_iter().for_each(group);
        if together {
            let size = batch.len().div_ceil(threads).min(ROWS) * h;
            let rows = out.par_chunks_mut(size).zip(residual.par_chunks(size));
            rows.for_each(|(out, residual)| self.finish(out, residual));
        }
        Ok(out)
    }

    /// Takes a group through all layers to `out`; with a place for `residual`, through the last one's attention only: its context to
    /// `out` and what is added to it to `residual`.
    fn group(
        &self,
        batch: &Batch,
        group: Group,
        first_only: bool,
        team: Option<&Team>,
        out: &mut [f32],
        residual: &mut [f32],
    ) {
        let size = group.tokens() * self.hidden();
        let last = self.layers.len().saturating_sub(1);
        with_workspace(|w| {
            let [mut x, mut y] = std::mem::take(&mut w.states);
            x.reserve(size);
            y.reserve(size);
            self.embedding.group(w, batch, group, &mut x[..size]);
            for (i, layer) in self.layers.iter().enumerate() {
                let run = Run { first_only: first_only && i == last, seed: None, team };
                if i == last && !residual.is_empty() {
                    layer.attend(w, group, run, &x[..size], None);
                    out.copy_from_slice(&w.context[..out.len()]);
                    residual.copy_from_slice(&w.residual[..out.len()]);
                } else {
                    let to = if i == last { &mut *out } else { &mut y[..size] };
                    layer.forward(w, group, run, &x[..size], to, None);
                }
                std::mem::swap(&mut x, &mut y);
            }
            if self.layers.is_empty() {
                out.copy_from_slice(&x[..out.len()]);
            }
            w.states = [x, y];
        });
    }

    /// The rest of the last layer: contexts in `out` become its rows.
    fn finish(&self, out: &mut [f32], residual: &[f32]) {
        let Some(layer) = self.layers.last() else { return };
        with_workspace(|w| {
            w.context.reserve(out.len());
            w.context[..out.len()].copy_from_slice(out);
            layer.finish(w, 0, Run { first_only: true, seed: None, team: None }, residual, out, None);
        });
    }
}
