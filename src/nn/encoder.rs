//! A stack of layers behind an embedding, in serving: each thread takes groups of sequences through all layers.

use candle_core::{Tensor, Var};
use rayon::prelude::*;
use std::sync::{Arc, Mutex};

use super::embedding::{Embedding, EmbeddingOp, embed_group};
use super::layer::{Group, Layer, Run};
use super::layer_grad::{LayerGrads, LayerOp};
use super::plan::{Plan, with_workspace};
use crate::Result;
use crate::text::Batch;

/// Embedding and layers with packed weights.
pub struct Encoder {
    /// The input.
    pub embedding: Arc<Embedding>,
    /// From the input up.
    pub layers: Vec<Arc<Layer>>,
}

impl Encoder {
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
        let alone = groups.len() == 1 && threads > 1;
        let mut out = vec![0f32; if first_only { batch.len() } else { batch.tokens() } * h];
        let mut rest = &mut out[..];
        let mut tasks = Vec::with_capacity(groups.len());
        for group in groups {
            let (part, tail) = rest.split_at_mut(group.rows(first_only) * h);
            tasks.push((group, part));
            rest = tail;
        }
        if alone {
            tasks.into_iter().for_each(|(group, out)| self.group(batch, group, first_only, true, out));
        } else {
            tasks.into_par_iter().for_each(|(group, out)| self.group(batch, group, first_only, false, out));
        }
        Ok(out)
    }

    fn group(&self, batch: &Batch, group: Group, first_only: bool, split: bool, out: &mut [f32]) {
        let size = group.tokens() * self.hidden();
        let (mut x, mut y) = (vec![0f32; size], vec![0f32; size]);
        embed_group(&self.embedding, batch, group.first_token, group.lengths, &mut x);
        let last = self.layers.len().saturating_sub(1);
        for (i, layer) in self.layers.iter().enumerate() {
            let run = Run { first_only: first_only && i == last, seed: None, split };
            let y = if i == last { &mut *out } else { &mut y[..] };
            with_workspace(|w| layer.forward(w, group, run, &x, y, None));
            if i != last {
                x.copy_from_slice(y);
            }
        }
        if self.layers.is_empty() {
            out.copy_from_slice(&x[..out.len()]);
        }
    }

    /// States as tensors of candle's graph for training: after the embedding `[t, h]` and after each layer; the last is
    /// `[b, h]` where only first tokens are wanted. `grads` are the buffers of the embedding and of each layer.
    pub fn graph(&self, batch: &Arc<Batch>, first_only: bool, seed: u64, grads: &EncoderGrads) -> Result<Vec<Tensor>> {
        self.embedding.check(batch)?;
        let plan = Arc::new(Plan::fixed(batch));
        let tie = Var::zeros((), candle_core::DType::F32, &candle_core::Device::Cpu)?;
        let op = EmbeddingOp {
            embedding: self.embedding.clone(),
            batch: batch.clone(),
            plan: plan.clone(),
            seed,
            grads: grads.embedding.clone(),
            saved: Mutex::default(),
        };
        let mut states = vec![tie.apply_op1(op)?];
        for (i, (layer, grads)) in self.layers.iter().zip(&grads.layers).enumerate() {
            let first_only = first_only && i + 1 == self.layers.len();
            let seed = seed.wrapping_add((i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let op = LayerOp {
                layer: layer.clone(),
                plan: plan.clone(),
                run: Run { first_only, seed: Some(seed), split: false },
                grads: grads.clone(),
                saved: Mutex::default(),
            };
            states.push(states[i].apply_op1(op)?);
        }
        Ok(states)
    }
}

/// Gradient buffers of an encoder's arrays.
pub struct EncoderGrads {
    /// Word, segment, position, norm's scale and shift.
    pub embedding: [Arc<Mutex<Vec<f32>>>; 5],
    /// Each layer's sixteen.
    pub layers: Vec<LayerGrads>,
}
