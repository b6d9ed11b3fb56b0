//! The encoder layer in training: one custom operation of candle's graph, with a hand-written backward pass.
//!
//! Finer operations were measured and refused: candle copies every gradient that crosses an operation, which cost 18 to 28 %
//! of a step (5 to 7 % this way). Weight gradients go to the parameters' own buffers. Two passes: gradients of activations
//! group by group, then each weight's gradient over all tokens in fixed blocks, shared between threads by output rows; so
//! the sums do not depend on the number of threads.
//!
//! Memory: a layer keeps packed words of queries, keys, values, context, both normalised sums and the feed-forward's inner rows (in
//! bf16 20 `h` bytes a token), and candle its input (4 `h`). Everything else is computed again. What a layer keeps goes when its
//! backward pass ends, and the gradients of the layer before take its memory. Packed weights and the gradients of activations
//! are one layer's, whichever is at work: weights are packed when a pass comes by, as they had to be once a step anyway.

mod group;
mod modern;
mod saved;

use std::sync::{Arc, Mutex, MutexGuard};

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rayon::prelude::*;

pub use self::modern::FinalNorm;
use self::saved::{ActivationGrads, BiasGrads, SavedActivations, parts};
use super::global::GlobalParam;
use super::kernels::{self, BlockPool, Buffer, Left, Out, Panels};
use super::layer::{Group, GroupActivations, Layer, LayerShape, Run};
use super::layer_weights::LayerWeights;
use super::plan::{Plan, with_workspace};
use super::quantized::Matrix;
use super::relative::RelativeParam;
use super::{Dtype, GradBuffer};

/// Tokens whose share of a weight's gradient is summed in registers.
const BLOCK: usize = 1024;
/// Rows of a weight's gradient that one task computes.
const CHUNK: usize = 96;

/// An array in training: values that the graph shares until it is dropped, and where the gradient goes.
#[derive(Clone)]
pub struct ParamRef {
    /// Its values.
    pub value: Arc<Vec<f32>>,
    /// Its gradient.
    pub grad: Arc<Mutex<GradBuffer>>,
}

impl ParamRef {
    fn values(&self) -> &[f32] {
        &self.value
    }
    fn grad(&self) -> MutexGuard<'_, GradBuffer> {
        self.grad.lock().expect("no panic holds a gradient")
    }
}

/// Memory that the layers of a network lend each other and take again in the next step.
#[derive(Default)]
pub struct Arena {
    layer: Mutex<Option<Layer>>,
    deltas: Mutex<ActivationGrads>,
    /// A layer's `SavedActivations` or its gradients.
    blocks: Mutex<BlockPool>,
    /// The right side of a weight gradient's products.
    panels: Mutex<Panels>,
}

impl Arena {
    /// Gives the memory up.
    pub fn clear(&self) {
        *self.layer.lock().expect("no panic holds the arena") = None;
        *self.deltas.lock().expect("no panic holds the arena") = ActivationGrads::default();
        *self.blocks.lock().expect("no panic holds the arena") = BlockPool::default();
        *self.panels.lock().expect("no panic holds the arena") = Panels::default();
    }
}

/// A layer as an operation on `[t, h]`, giving `[t, h]`, or `[b, h]` where only first tokens are wanted.
pub struct LayerOp {
    shape: LayerShape,
    dtype: Dtype,
    params: LayerWeights<ParamRef>,
    plan: Arc<Plan>,
    run: Run<'static>,
    arena: Arc<Arena>,
    bias: Option<RelativeParam>,
    global: Option<GlobalParam>,
    /// Filled by the forward pass, taken by the backward pass.
    state: Mutex<Option<SavedActivations>>,
}

fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else { candle_core::bail!("layer: input is not contiguous") };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

impl LayerOp {
    /// A layer over the groups of `plan`. f32 or bf16.
    pub fn new(
        (dtype, shape): (Dtype, LayerShape),
        params: LayerWeights<ParamRef>,
        plan: Arc<Plan>,
        run: Run<'static>,
        arena: Arc<Arena>,
        bias: Option<RelativeParam>,
        global: Option<GlobalParam>,
    ) -> Self {
        LayerOp { shape, dtype, params, plan, run, arena, bias, global, state: Mutex::default() }
    }
}

impl CustomOp1 for LayerOp {
    fn name(&self) -> &'static str {
        "bert-layer"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = floats(storage, layout)?;
        let h = self.shape.hidden;
        let (groups, tokens, rows) = self.groups();
        let (t, m) = (tokens.iter().sum::<usize>(), rows.iter().sum::<usize>());
        let layer = self.packed(|layer, params| {
            layer.pack(&params.as_ref().map(|matrix| Matrix::F32(&matrix.value), ParamRef::values))
        });
        let mut saved =
            SavedActivations { all: self.block(t, m), widths: SavedActivations::widths(self.dtype, self.shape) };
        let mut out = vec![0f32; m * h];
        let outs = parts(&mut out, &rows, h);
        groups.par_iter().zip(saved.parts(&tokens, &rows)).zip(outs).for_each(|((group, keep), out)| {
            let x = &x[group.first_token * h..];
            with_workspace(|w| layer.forward(w, *group, self.run, x, out, Some(keep)));
        });
        self.give_back(layer);
        *self.state.lock().expect("no panic holds the state") = Some(saved);
        Ok((CpuStorage::F32(out), Shape::from((m, h))))
    }

    fn bwd(&self, arg: &Tensor, _res: &Tensor, grad_res: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let Some(mut saved) = self.state.lock().expect("no panic holds the state").take() else {
            candle_core::bail!("bert-layer: backward needs a forward pass before it, once")
        };
        let (x, layout) = arg.storage_and_layout();
        let candle_core::Storage::Cpu(x) = &*x else { candle_core::bail!("bert-layer: CPU only") };
        let grad = grad_res.contiguous()?;
        let (storage, grad_layout) = grad.storage_and_layout();
        let candle_core::Storage::Cpu(storage) = &*storage else { candle_core::bail!("bert-layer: CPU only") };
        let layer = self
            .packed(|layer, params| layer.pack_transposed(&params.as_ref().map(ParamRef::values, ParamRef::values)));
        let mut deltas = std::mem::take(&mut *self.arena.deltas.lock().expect("no panic holds the arena"));
        let d_x = self.backward(&layer, &mut saved, floats(x, layout)?, floats(storage, grad_layout)?, &mut deltas);
        *self.arena.deltas.lock().expect("no panic holds the arena") = deltas;
        self.give_back(layer);
        Ok(Some(Tensor::from_vec(d_x, arg.shape(), arg.device())?))
    }
}

impl LayerOp {
    /// The groups, and of each its tokens and the rows that the layer computes.
    fn groups(&self) -> (Vec<Group<'_>>, Vec<usize>, Vec<usize>) {
        let groups: Vec<Group> = self.plan.groups().collect();
        let tokens = groups.iter().map(Group::tokens).collect();
        let rows = groups.iter().map(|g| g.rows(self.run.first_only)).collect();
        (groups, tokens, rows)
    }

    /// The layer, packed for one of the passes.
    fn packed(&self, pack: impl FnOnce(&mut Layer, &LayerWeights<ParamRef>)) -> Layer {
        let lent = self.arena.layer.lock().expect("no panic holds the arena").take();
        let mut layer = lent.unwrap_or_else(|| Layer::empty(self.dtype, self.shape));
        layer.shape = self.shape;
        layer.bias = self.bias.as_ref().map(|bias| bias.bias.clone());
        layer.global = self.global.as_ref().map(|global| global.global.clone());
        pack(&mut layer, &self.params);
        layer
    }
    fn give_back(&self, layer: Layer) {
        *self.arena.layer.lock().expect("no panic holds the arena") = Some(layer);
    }

    /// Memory for what the layer saves of `t` tokens and `m` rows, or for its gradients.
    fn block(&self, t: usize, m: usize) -> Buffer<u32> {
        let [qkv, others @ ..] = SavedActivations::widths(self.dtype, self.shape);
        let saved = t * qkv + m * others.iter().sum::<usize>();
        let grads = kernels::padded_len(&self.params.each().map(|param| param.value.len()));
        self.arena.blocks.lock().expect("no panic holds the arena").take(saved.max(grads))
    }

    /// Makes room for the gradients where none is there, and says whether it did: the matrices' are to be written, if a row is.
    fn make_room(&self, t: usize, m: usize) -> bool {
        let mut grads = self.params.each().map(ParamRef::grad);
        let fresh = grads.iter().all(|grad| matches!(**grad, GradBuffer::Zero(_)));
        if fresh {
            let sizes = self.params.each().map(|param| param.value.len());
            let is_matrix = self.params.as_ref().map(|_| true, |_| false).into_array();
            for ((grad, mut part), is_matrix) in grads.iter_mut().zip(self.block(t, m).split(&sizes)).zip(is_matrix) {
                if m == 0 || !is_matrix {
                    part.fill(0.0);
                }
                **grad = GradBuffer::Dense(part);
            }
        }
        fresh
    }

    /// `[rows, h]` to `[t, h]`; weight gradients are added to the parameters'. `x [t, h]` is what the layer was given.
    fn backward(
        &self,
        layer: &Layer,
        saved: &mut SavedActivations,
        x: &[f32],
        grad: &[f32],
        deltas: &mut ActivationGrads,
    ) -> Vec<f32> {
        let (h, f, up, dtype) = (self.shape.hidden, self.shape.ff, self.shape.up(), self.dtype);
        let (groups, tokens, rows) = self.groups();
        let (t, m) = (tokens.iter().sum::<usize>(), rows.iter().sum::<usize>());
        let (wide, deep) = (kernels::packed_len(dtype, h), kernels::packed_len(dtype, up));
        let twice = kernels::packed_len(dtype, 2 * h);
        let first_alone = self.shape.first_asks_alone(self.run.first_only);
        let (asking, asking_rows) = if first_alone { (m, &rows) } else { (t, &tokens) };
        deltas.x.reserve(t * wide);
        deltas.query.reserve(asking * wide);
        deltas.key_value.reserve(t * twice);
        deltas.attention_output.reserve(m * wide);
        deltas.up.reserve(m * deep);
        let mut d_x = vec![0f32; t * h];
        let small: Vec<BiasGrads> = {
            let outs = parts(&mut d_x, &tokens, h).into_iter();
            let x_packed = parts(&mut deltas.x, &tokens, wide);
            let query = parts(&mut deltas.query, asking_rows, wide);
            let key_value = parts(&mut deltas.key_value, &tokens, twice);
            let out = parts(&mut deltas.attention_output, &rows, wide);
            let up = parts(&mut deltas.up, &rows, deep);
            let deltas = outs.zip(x_packed).zip(query).zip(key_value).zip(out).zip(up);
            let mut row = 0;
            let tasks: Vec<_> = groups
                .iter()
                .zip(deltas)
                .zip(saved.parts(&tokens, &rows))
                .map(|((group, (((((d_x, x_packed), query), key_value), out), up)), kept)| {
                    let start = row;
                    row += group.rows(self.run.first_only);
                    (*group, &grad[start * h..row * h], kept, d_x, [x_packed, query, key_value, out, up])
                })
                .collect();
            let run = |(group, grad, kept, d_x, deltas)| {
                with_workspace(|w| match &self.shape.modern {
                    None => self.group_backward(layer, w, group, x, grad, kept, d_x, deltas),
                    Some(modern) => self.group_backward_modern(modern, layer, w, group, x, grad, kept, d_x, deltas),
                })
            };
            tasks.into_par_iter().map(run).collect()
        };
        let Some(GroupActivations { context, attention_normalized, u, output_normalized, .. }) =
            saved.parts(&[t], &[m]).pop()
        else {
            unreachable!("one group has one part")
        };
        // queries: x of the rows that asked
        let first_x: Vec<u32>;
        let query_x = if first_alone {
            first_x = groups
                .iter()
                .flat_map(|g| g.sequences().map(|(start, _, _)| g.first_token + start))
                .flat_map(|token| deltas.x[token * wide..][..wide].iter().copied())
                .collect();
            &first_x
        } else {
            &deltas.x[..]
        };
        let fresh = self.make_room(t, m);
        let p = &self.params;
        self.weight_grad(&deltas.query, (query_x, wide), asking, h, h, &[&p.query.weight], fresh);
        self.weight_grad(&deltas.key_value, (&deltas.x, wide), t, 2 * h, h, &[&p.key.weight, &p.value.weight], fresh);
        self.weight_grad(&deltas.attention_output, (context, wide), m, h, h, &[&p.attention_output.weight], fresh);
        self.weight_grad(&deltas.up, (attention_normalized, wide), m, up, h, &[&p.up.weight], fresh);
        self.weight_grad(output_normalized, (u, deep), m, h, f, &[&p.down.weight], fresh);
        for s in &small {
            if self.shape.modern.is_some() {
                // no biases
                kernels::add(p.attention_norm.gamma.grad().dense_mut(), &s.attention_norm.gamma);
                kernels::add(p.output_norm.gamma.grad().dense_mut(), &s.output_norm.gamma);
                continue;
            }
            for (param, values) in [
                (&p.query.bias, &s.qkv[..h]),
                (&p.key.bias, &s.qkv[h..2 * h]),
                (&p.value.bias, &s.qkv[2 * h..]),
                (&p.attention_output.bias, &s.attention_output),
                (&p.attention_norm.gamma, &s.attention_norm.gamma),
                (&p.attention_norm.beta, &s.attention_norm.beta),
                (&p.up.bias, &s.up),
                (&p.down.bias, &s.down),
                (&p.output_norm.gamma, &s.output_norm.gamma),
                (&p.output_norm.beta, &s.output_norm.beta),
            ] {
                kernels::add(param.grad().dense_mut(), values);
            }
            if let Some(bias) = &self.bias {
                let mut grad = bias.grad().lock().expect("no panic holds a gradient");
                kernels::add(&mut grad.dense_mut()[..s.relative.len()], &s.relative);
            }
            if let Some(global) = &self.global {
                s.global.iter().for_each(|grads| grads.add_to(&global.grads));
            }
        }
        d_x
    }

    /// Adds `delta^T x` to the gradient of a weight `[n, k]`, or of several stacked ones: packed words `[rows, n]` and `[rows, k]`, the
    /// latter's rows so many words apart. What is `fresh` is written.
    fn weight_grad(
        &self,
        delta: &[u32],
        (x, k_steps): (&[u32], usize),
        rows: usize,
        n: usize,
        k: usize,
        params: &[&ParamRef],
        fresh: bool,
    ) {
        let dtype = self.dtype;
        let n_steps = kernels::packed_len(dtype, n);
        let share = n / params.len();
        let mut grads: Vec<_> = params.iter().map(|param| param.grad()).collect();
        let mut chunks: Vec<(usize, &mut [f32])> = Vec::new();
        for (array, grad) in grads.iter_mut().enumerate() {
            let numbered = grad.dense_mut().chunks_mut(CHUNK * k).enumerate();
            chunks.extend(numbered.map(|(i, chunk)| (array * share + i * CHUNK, chunk)));
        }
        let mut panels = self.arena.panels.lock().expect("no panic holds the arena");
        for start in (0..rows).step_by(BLOCK) {
            let tokens = (rows - start).min(BLOCK);
            let depth = kernels::packed_len(dtype, tokens);
            let (delta, x) = (&delta[start * n_steps..], &x[start * k_steps..]);
            panels.pack_packed_columns(dtype, x, k_steps, tokens, k);
            let (panels, add) = (&*panels, !(fresh && start == 0));
            chunks.par_iter_mut().for_each(|(first, out)| {
                let count = out.len() / k;
                with_workspace(|w| {
                    w.packed.reserve(count * depth);
                    kernels::transpose_packed(dtype, delta, tokens, n, *first, count, &mut w.packed);
                    let left = Left { packed: &w.packed, stride: depth, rows: count, scale: &[] };
                    kernels::product(left, panels, None, if add { Out::Add(out) } else { Out::Write(out) }, k);
                });
            });
        }
    }
}
