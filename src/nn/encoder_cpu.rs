//! The encoder on this machine's cores, in serving: each thread takes groups of sequences through all layers.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::Dtype;
use super::embedding::Embedding;
use super::encoder::{Request, Rows, Start, States};
use super::global::Global;
use super::kernels::{self, SpinPool, Unit};
use super::layer::{Group, Layer, LayerShape, Run};
use super::layer_weights::{LayerArrays, Norm};
use super::plan::{Plan, with_workspace};
use super::relative::RelativeBias;
use crate::Result;

/// Rows of first tokens that a thread finishes at once.
const ROWS: usize = 128;

/// Embedding and layers with packed weights.
pub struct CpuEncoder {
    /// The input.
    pub embedding: Embedding,
    /// From the input up.
    pub layers: Vec<Layer>,
    /// The norm after the last layer.
    pub final_norm: Option<Norm>,
}

/// Where a group's results go.
struct Places<'a> {
    /// Its rows of the last layer.
    out: &'a mut [f32],
    /// What the last layer's context is added to, if all groups' rows are finished together; else empty.
    residual: &'a mut [f32],
    /// Its rows of each state that is kept.
    kept: Vec<&'a mut [f32]>,
}

/// A run of the encoder, the same for all groups.
#[derive(Clone, Copy)]
struct Job<'a> {
    start: Start<'a>,
    layers: (usize, usize),
    first_only: bool,
    keep: &'a [usize],
}

impl CpuEncoder {
    /// Packs layers for `dtype` and the unit at hand.
    ///
    /// # Errors
    /// `SVERKA_CPU` names a unit that this CPU does not have.
    pub fn new(
        dtype: Dtype,
        shape: LayerShape,
        embedding: Embedding,
        layers: &[LayerArrays],
        bias: Option<Arc<RelativeBias>>,
        globals: &[Arc<Global>],
        final_norm: Option<Norm>,
    ) -> Result<Self> {
        Unit::choose()?;
        let layer = |(i, arrays)| {
            let global = globals.get(i).cloned();
            Layer { bias: bias.clone(), global, ..Layer::new(dtype, shape.at(i), arrays) }
        };
        Ok(CpuEncoder { embedding, layers: layers.iter().enumerate().map(layer).collect(), final_norm })
    }

    /// Width, `h`.
    pub fn hidden(&self) -> usize {
        self.embedding.hidden
    }

    /// A checked request. No value depends on what else is in the batch, nor on the number of threads.
    pub fn run(&self, request: &Request) -> Result<States> {
        if let Start::Tokens(batch) = request.start {
            self.embedding.check(batch)?;
        }
        let Range { start, end } = request.layers;
        let (h, offsets) = (self.hidden(), request.start.offsets());
        let (b, t) = (offsets.len() - 1, offsets[offsets.len() - 1] as usize);
        // a last state that is kept needs all of its rows
        let first_only = request.rows == Rows::First && !request.keep.contains(&end) && start < end;
        let job = Job { start: request.start, layers: (start, end), first_only, keep: request.keep };
        let threads = rayon::current_num_threads();
        let plan = Plan::balanced(offsets, threads).with_keys(request.start.keys());
        let groups: Vec<Group> = plan.groups().collect();
        let mut out = vec![0f32; if first_only { b } else { t } * h];
        // Few rows cost a product nearly as much as many: the first tokens' rows of all groups go through the last layer together.
        let together = first_only && groups.len() > 1;
        let mut residual = vec![0f32; if together { out.len() } else { 0 }];
        let mut kept = vec![vec![0f32; t * h]; request.keep.len()];
        let tasks = {
            let (mut rest, mut rest_of_residual) = (&mut out[..], &mut residual[..]);
            let mut rest_of_kept: Vec<&mut [f32]> = kept.iter_mut().map(|state| &mut state[..]).collect();
            let mut tasks = Vec::with_capacity(groups.len());
            for group in groups {
                let size = group.rows(first_only) * h;
                let out = cut(&mut rest, size);
                let residual = cut(&mut rest_of_residual, if together { size } else { 0 });
                let kept = rest_of_kept.iter_mut().map(|rest| cut(rest, group.tokens() * h)).collect();
                tasks.push((group, Places { out, residual, kept }));
            }
            tasks
        };
        let group = |(group, places)| match threads {
            1 => self.group(job, group, None, places),
            // a thread without a group of its own helps with another's
            _ => SpinPool::scope(|spin| self.group(job, group, Some(spin), places)),
        };
        tasks.into_par_iter().for_each(group);
        if together {
            let size = b.div_ceil(threads).min(ROWS) * h;
            let rows = out.par_chunks_mut(size).zip(residual.par_chunks(size));
            rows.for_each(|(out, residual)| self.finish(end, out, residual));
        }
        if let Some(Norm { gamma, beta }) = self.final_norm.as_ref().filter(|_| end == self.layers.len()) {
            let last = request.keep.iter().zip(&mut kept).filter(|(asked, _)| **asked == end).map(|(_, state)| state);
            for rows in last.chain([&mut out]) {
                rows.par_chunks_mut(h).for_each(|row| {
                    let mut x = row.to_vec();
                    kernels::layer_norm(&mut x, None, gamma, beta, self.embedding.eps, row, &mut [0.0], false);
                });
            }
        }
        let rows = match request.rows {
            Rows::First if !first_only => first_rows(&out, offsets, h),
            _ => out,
        };
        Ok(States { rows, kept })
    }

    /// Takes a group through the layers; with a place for the residual, through the last one's attention only: its context to `out` and
    /// what is added to it to `residual`.
    fn group(&self, job: Job, group: Group, spin: Option<&SpinPool>, mut places: Places) {
        let h = self.hidden();
        let size = group.tokens() * h;
        let (first, end) = job.layers;
        with_workspace(|w| {
            let [mut x, mut y] = std::mem::take(&mut w.states);
            x.reserve(size);
            y.reserve(size);
            match job.start {
                Start::Tokens(batch) => self.embedding.group(w, batch, group, &mut x[..size]),
                Start::States { states, .. } => x[..size].copy_from_slice(&states[group.first_token * h..][..size]),
            }
            let mut keep = |number: usize, x: &[f32]| {
                let asked = job.keep.iter().zip(&mut places.kept).filter(|(asked, _)| **asked == number);
                asked.for_each(|(_, place)| place.copy_from_slice(x));
            };
            keep(first, &x[..size]);
            for i in first..end {
                let (layer, is_last) = (&self.layers[i], i + 1 == end);
                let run = Run { first_only: job.first_only && is_last, seed: None, spin };
                if is_last && !places.residual.is_empty() {
                    layer.attend(w, group, run, &x[..size], None);
                    places.out.copy_from_slice(&w.context[..places.out.len()]);
                    places.residual.copy_from_slice(&w.residual[..places.out.len()]);
                } else if is_last {
                    layer.forward(w, group, run, &x[..size], places.out, None);
                    if !run.first_only {
                        keep(end, places.out);
                    }
                } else {
                    layer.forward(w, group, run, &x[..size], &mut y[..size], None);
                    keep(i + 1, &y[..size]);
                }
                std::mem::swap(&mut x, &mut y);
            }
            if first == end {
                places.out.copy_from_slice(&x[..size]);
            }
            w.states = [x, y];
        });
    }

    /// The rest of the layer before `end`: contexts in `out` become its rows.
    fn finish(&self, end: usize, out: &mut [f32], residual: &[f32]) {
        let layer = &self.layers[end - 1];
        with_workspace(|w| {
            w.context.reserve(out.len());
            w.context[..out.len()].copy_from_slice(out);
            layer.finish(w, 0, Run { first_only: true, seed: None, spin: None }, residual, out, None);
        });
    }
}

/// Takes the first `n` values off a slice.
fn cut<'a>(rest: &mut &'a mut [f32], n: usize) -> &'a mut [f32] {
    let (part, tail) = std::mem::take(rest).split_at_mut(n);
    *rest = tail;
    part
}

/// The rows of first tokens: `[t, h]` to `[b, h]`.
pub(super) fn first_rows(states: &[f32], offsets: &[u32], h: usize) -> Vec<f32> {
    offsets[..offsets.len() - 1].iter().flat_map(|&at| &states[at as usize * h..][..h]).copied().collect()
}
