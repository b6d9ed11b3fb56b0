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

mod modern;

use std::sync::{Arc, Mutex, MutexGuard};

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rayon::prelude::*;

pub use self::modern::FinalNorm;
use super::global::{GlobalGrads, GlobalParam};
use super::kernels::{self, BlockPool, Buffer, Left, Out, Panels};
use super::layer::{AFTER_ATTENTION, AFTER_FEED_FORWARD, Group, GroupActivations, Layer, LayerShape, Run, Workspace};
use super::layer_weights::{LayerWeights, Norm};
use super::plan::{Plan, with_workspace};
use super::quantized::Matrix;
use super::relative::{BUCKETS, RelativeParam};
use super::{Dtype, GradBuffer};

/// Tokens whose share of a weight's gradient is summed in registers.
const BLOCK: usize = 1024;
/// Rows of a weight's gradient that one task computes.
const CHUNK: usize = 96;

/// What the forward pass keeps for the backward pass, for all tokens of a batch, in one piece of memory that comes and goes:
/// packed words of `qkv`, `context`, `attention_normalized`, `u` and `output_normalized`, then both `rstd`. The backward pass reads `attention_normalized`, `u` and `output_normalized` once and
/// leaves in their places the feed-forward's input, its inner rows after GELU and the gradient of its output, which the
/// weights' gradients need.
struct SavedActivations {
    all: Buffer<u32>,
    widths: [usize; 7],
}

impl SavedActivations {
    /// Values of each array in a row.
    fn widths(dtype: Dtype, shape: LayerShape) -> [usize; 7] {
        let [wide, deep] = [shape.hidden, shape.up()].map(|k| kernels::packed_len(dtype, k));
        let triple = kernels::packed_len(shape.attention_dtype(dtype), 3 * shape.hidden);
        [triple, wide, wide, deep, wide, 1, 1]
    }
    /// A part for each group, of so many `tokens` and `rows`.
    fn parts(&mut self, tokens: &[usize], rows: &[usize]) -> Vec<GroupActivations<'_>> {
        let mut rest = &mut self.all[..];
        let mut cut = |array: usize, counts: &[usize]| {
            let width = self.widths[array];
            let (part, behind) = std::mem::take(&mut rest).split_at_mut(width * counts.iter().sum::<usize>());
            rest = behind;
            parts(part, counts, width).into_iter()
        };
        let qkv = cut(0, tokens);
        let [context, attention_normalized, u, output_normalized, attention_rstd, output_rstd] =
            [1, 2, 3, 4, 5, 6].map(|array| cut(array, rows));
        let zipped = qkv
            .zip(context)
            .zip(attention_normalized)
            .zip(u)
            .zip(output_normalized)
            .zip(attention_rstd)
            .zip(output_rstd);
        let keep =
            |((((((qkv, context), attention_normalized), u), output_normalized), attention_rstd), output_rstd)| {
                let [attention_rstd, output_rstd]: [&mut [u32]; 2] = [attention_rstd, output_rstd];
                let (attention_rstd, output_rstd) =
                    (bytemuck::cast_slice_mut(attention_rstd), bytemuck::cast_slice_mut(output_rstd));
                GroupActivations {
                    qkv,
                    context,
                    attention_normalized,
                    attention_rstd,
                    u,
                    output_normalized,
                    output_rstd,
                }
            };
        zipped.map(keep).collect()
    }
}

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

/// Cuts a buffer into one part per group.
fn parts<'a, T: Copy>(mut buffer: &'a mut [T], rows: &[usize], width: usize) -> Vec<&'a mut [T]> {
    let mut out = Vec::with_capacity(rows.len());
    for n in rows {
        let (part, rest) = buffer.split_at_mut(n * width);
        out.push(part);
        buffer = rest;
    }
    out
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

/// Gradients of one kind of row, kept for the second pass, and the inputs that meet them there, as packed words: `[rows, n]`.
#[derive(Default)]
struct ActivationGrads {
    x: Buffer<u32>,
    query: Buffer<u32>,
    key_value: Buffer<u32>,
    attention_output: Buffer<u32>,
    up: Buffer<u32>,
}

/// Gradients of biases and norms, summed over one group.
struct BiasGrads {
    /// Of queries, keys and values, `[3h]`.
    qkv: Vec<f32>,
    attention_output: Vec<f32>,
    attention_norm: Norm,
    up: Vec<f32>,
    down: Vec<f32>,
    output_norm: Norm,
    /// Of the used rows of the relative bias, `[buckets, n]`; empty where there is none.
    relative: Vec<f32>,
    /// Of each sequence's global token.
    global: Vec<GlobalGrads>,
}

impl BiasGrads {
    fn zeros(shape: &LayerShape, relative: bool) -> Self {
        let h = shape.hidden;
        let norm = || Norm { gamma: vec![0.0; h], beta: vec![0.0; h] };
        BiasGrads {
            qkv: vec![0.0; 3 * h],
            attention_output: vec![0.0; h],
            attention_norm: norm(),
            up: vec![0.0; shape.up()],
            down: vec![0.0; h],
            output_norm: norm(),
            relative: vec![0.0; if relative { BUCKETS * shape.heads } else { 0 }],
            global: Vec::new(),
        }
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

    /// Gradients of a group's activations; fills its `deltas` and `d_x`, and `kept` again.
    fn group_backward(
        &self,
        layer: &Layer,
        w: &mut Workspace,
        group: Group,
        x: &[f32],
        grad: &[f32],
        kept: GroupActivations,
        d_x: &mut [f32],
        deltas: [&mut [u32]; 5],
    ) -> BiasGrads {
        let [x_packed, d_query, d_key_value, d_out, d_up] = deltas;
        let (h, f, dtype, run) = (self.shape.hidden, self.shape.ff, self.dtype, self.run);
        let (t, m) = (group.tokens(), group.rows(run.first_only));
        let (wide, deep) = (kernels::packed_len(dtype, h), kernels::packed_len(dtype, f));
        let mut small = BiasGrads::zeros(&self.shape, self.bias.is_some());
        w.y.reserve(m * h);
        w.x1.reserve(m * h);
        w.context.reserve(m * h);
        w.residual.reserve((m * f).max(t * 3 * h));

        kernels::pack_rows(dtype, &x[group.first_token * h..], h, t, h, x_packed, &mut []);
        // second norm: y holds the gradient of its input, also the residual's
        let y = &mut w.y[..m * h];
        y.copy_from_slice(grad);
        let normalized = &mut w.x1[..m * h];
        kernels::unpack_rows(dtype, kept.output_normalized, m, h, normalized);
        let Norm { gamma: d_gamma, beta: d_beta } = &mut small.output_norm;
        kernels::layer_norm_backward(y, normalized, kept.output_rstd, &layer.output_norm.gamma, d_gamma, d_beta);
        // feed-forward
        let dropped = &mut w.context[..m * h];
        dropped.copy_from_slice(y);
        layer.drop(dropped, run, group.first_row(run.first_only), AFTER_FEED_FORWARD);
        kernels::column_sums(dropped, &mut small.down);
        kernels::pack_rows(dtype, dropped, h, m, h, kept.output_normalized, &mut []);
        let d_u = &mut w.residual[..m * f];
        layer
            .down
            .backward(Left { packed: kept.output_normalized, stride: wide, rows: m, scale: &[] }, Out::Write(d_u));
        // row by row, in the first cache
        w.packed.reserve(deep);
        for (row, d_u) in d_u.chunks_exact_mut(f).enumerate() {
            let (u, d_up) = (&mut kept.u[row * deep..][..deep], &mut d_up[row * deep..][..deep]);
            kernels::gelu_backward(dtype, u, d_u);
            kernels::gelu_packed(dtype, u, 1, f, &mut w.packed, &mut [], &mut w.line);
            u.copy_from_slice(&w.packed[..deep]);
            kernels::column_sums(d_u, &mut small.up);
            kernels::pack_rows(dtype, d_u, f, 1, f, d_up, &mut []);
        }
        layer.up.backward(Left { packed: d_up, stride: deep, rows: m, scale: &[] }, Out::Add(y));
        // first norm
        kernels::unpack_rows(dtype, kept.attention_normalized, m, h, normalized);
        let x1 = &mut w.context[..m * h];
        for (x1, normalized) in x1.chunks_exact_mut(h).zip(normalized.chunks_exact(h)) {
            for (((x, &normalized), &g), &b) in
                x1.iter_mut().zip(normalized).zip(&layer.attention_norm.gamma).zip(&layer.attention_norm.beta)
            {
                *x = normalized * g + b;
            }
        }
        kernels::pack_rows(dtype, x1, h, m, h, kept.attention_normalized, &mut []);
        let Norm { gamma: d_gamma, beta: d_beta } = &mut small.attention_norm;
        kernels::layer_norm_backward(y, normalized, kept.attention_rstd, &layer.attention_norm.gamma, d_gamma, d_beta);
        let x = &x[group.first_token * h..][..t * h];
        self.attention_backward(layer, w, group, (x, kept.qkv), d_x, [d_query, d_key_value, d_out], &mut small);
        small
    }

    /// Attention and what was added to it: `w.y [rows, h]`, the gradient after the block, to `d_x [t, h]`. With a norm before
    /// attention the residual's share alone goes to `d_x`, and that of the normed input to `w.normed`, `[t, h]`.
    fn attention_backward(
        &self,
        layer: &Layer,
        w: &mut Workspace,
        group: Group,
        (x, qkv): (&[f32], &[u32]),
        d_x: &mut [f32],
        [d_query, d_key_value, d_out]: [&mut [u32]; 3],
        small: &mut BiasGrads,
    ) {
        let (h, dtype, run) = (self.shape.hidden, self.dtype, self.run);
        let (t, m) = (group.tokens(), group.rows(run.first_only));
        let [wide, twice] = [h, 2 * h].map(|k| kernels::packed_len(dtype, k));
        w.context.reserve(m * h);
        w.residual.reserve(t * 3 * h);
        let y = &mut w.y[..m * h];
        if run.first_only {
            d_x.fill(0.0);
            for (row, (start, _, _)) in group.sequences().enumerate() {
                d_x[start * h..][..h].copy_from_slice(&y[row * h..][..h]);
            }
        } else {
            d_x.copy_from_slice(y);
        }
        layer.drop(y, run, group.first_row(run.first_only), AFTER_ATTENTION);
        kernels::column_sums(y, &mut small.attention_output);
        kernels::pack_rows(dtype, y, h, m, h, d_out, &mut []);
        let d_context = &mut w.context[..m * h];
        let left = Left { packed: d_out, stride: wide, rows: m, scale: &[] };
        layer.attention_output.backward(left, Out::Write(d_context));
        let d_qkv = &mut w.residual[..t * 3 * h];
        let attention = layer.attention(run);
        let triple = kernels::packed_len(attention.dtype, 3 * h);
        let angles = self.shape.modern.as_ref().map(|modern| {
            let longest = group.sequences().map(|(_, t, _)| t).max().unwrap_or(0);
            modern.angles(longest, h / self.shape.heads)
        });
        let mut row = 0;
        for ((start, tokens, number), &keys) in group.sequences().zip(group.keys) {
            let asked = if run.first_only { 1 } else { tokens };
            let (qkv, d_qkv) = (&qkv[start * triple..], &mut d_qkv[start * 3 * h..(start + tokens) * 3 * h]);
            d_qkv.fill(0.0);
            let seen = keys as usize;
            attention.backward(qkv, &d_context[row * h..], seen, asked, number, d_qkv, &mut small.relative);
            if let Some(global) = &layer.global {
                let drop = Layer::drop_global(attention, number, seen);
                let (x, d_x) = (&x[start * h..][..seen * h], &mut d_x[start * h..]);
                small.global.push(global.backward(x, &d_context[row * h..][..h], d_x, &drop));
            }
            for (place, d_token) in d_qkv.chunks_exact_mut(3 * h).enumerate() {
                if let Some(angles) = &angles {
                    angles.turn(&mut d_token[..2 * h], place, true);
                }
            }
            row += asked;
        }
        kernels::column_sums(d_qkv, &mut small.qkv);
        kernels::pack_rows(dtype, &d_qkv[h..], 3 * h, t, 2 * h, d_key_value, &mut []);
        // of the sum with the residual, or of the norm's output, which has none yet
        let d_input = if self.shape.modern.is_some() {
            w.normed.reserve(t * h);
            w.normed[..t * h].fill(0.0);
            &mut w.normed[..t * h]
        } else {
            d_x
        };
        layer.key_value.backward(Left { packed: d_key_value, stride: twice, rows: t, scale: &[] }, Out::Add(d_input));
        if self.shape.first_asks_alone(run.first_only) {
            for (row, (start, _, _)) in group.sequences().enumerate() {
                let packed = &mut d_query[row * wide..][..wide];
                kernels::pack_rows(dtype, &d_qkv[start * 3 * h..], 3 * h, 1, h, packed, &mut []);
                let left = Left { packed, stride: wide, rows: 1, scale: &[] };
                layer.query.backward(left, Out::Add(&mut d_input[start * h..][..h]));
            }
        } else {
            kernels::pack_rows(dtype, d_qkv, 3 * h, t, h, d_query, &mut []);
            layer.query.backward(Left { packed: d_query, stride: wide, rows: t, scale: &[] }, Out::Add(d_input));
        }
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
