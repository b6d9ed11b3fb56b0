//! One encoder layer of BERT (post-norm: attention, add, LayerNorm, feed-forward, add, LayerNorm) over packed sequences; what ModernBERT
//! does in its place is in `modern.rs`.
//!
//! A *group* is a run of whole sequences of a few hundred tokens: one thread takes it through the layer (in serving: through
//! all layers) with every intermediate in its cache. Training keeps what the backward pass needs, as packed words of the layer's
//! precision, in `SavedActivations` (`layer_grad/saved.rs`). A layer whose output is wanted for the first token of each sequence only
//! computes queries, feed-forward and norms for those rows alone (by hashing, queries of all: they are keys too).

use std::sync::Arc;

use super::Dtype;
use super::attention::Attention;
use super::global::Global;
use super::hashed::Hashed;
use super::kernels::{self, Buffer, Left, Out, SpinPool};
use super::layer_weights::{Affine, LayerArrays, LayerWeights, Norm};
use super::linear::Linear;
use super::modern::{GateBuffers, Modern};
use super::relative::RelativeBias;

/// Shape and settings of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerShape {
    /// Width of a token's state, `h`.
    pub hidden: usize,
    /// Heads, `n`.
    pub heads: usize,
    /// Width inside the feed-forward block, `f`.
    pub ff: usize,
    /// LayerNorm's epsilon.
    pub eps: f32,
    /// Dropout after attention and feed-forward, in training.
    pub hidden_dropout: f32,
    /// Dropout of attention probabilities, in training.
    pub attention_dropout: f32,
    /// A layer of ModernBERT.
    pub modern: Option<Modern>,
    /// Attention by hashing.
    pub hashed: Option<Hashed>,
}

impl LayerShape {
    /// The shapes of a layer's arrays.
    pub fn arrays(&self) -> LayerWeights<Vec<usize>> {
        let (h, f) = (self.hidden, self.ff);
        let affine = |inputs: usize, outputs: usize| Affine { weight: vec![outputs, inputs], bias: vec![outputs] };
        let norm = || Norm { gamma: vec![h], beta: vec![h] };
        LayerWeights {
            query: affine(h, h),
            key: affine(h, h),
            value: affine(h, h),
            attention_output: affine(h, h),
            attention_norm: norm(),
            up: affine(h, self.up()),
            down: affine(f, h),
            output_norm: norm(),
        }
    }
    /// Outputs of the feed-forward block's first half: `f`, or `2f` where it is gated.
    pub fn up(&self) -> usize {
        if self.modern.is_some() { 2 * self.ff } else { self.ff }
    }
    /// That of layer number `layer`.
    pub fn at(self, layer: usize) -> Self {
        let modern = self.modern.map(|modern| Modern { layer, ..modern });
        LayerShape { modern, hashed: self.hashed.map(|hashed| hashed.at(layer)), ..self }
    }
    /// Whether queries of first tokens alone are computed. By hashing, tokens are found by their queries: those of all are.
    pub(super) fn first_asks_alone(&self, first_only: bool) -> bool {
        first_only && self.hashed.is_none()
    }
    /// What queries, keys and values are stored in and attention computes with: bf16 in bf16 and int8 layers, where each head
    /// is whole packed words.
    pub(super) fn attention_dtype(&self, dtype: Dtype) -> Dtype {
        let whole = (self.hidden / self.heads).is_multiple_of(2);
        if whole { kernels::activation_dtype(dtype) } else { Dtype::F32 }
    }
}

/// A layer with packed weights.
pub struct Layer {
    /// Its shape.
    pub shape: LayerShape,
    pub(super) dtype: Dtype,
    pub(super) query: Linear,
    pub(super) key_value: Linear,
    pub(super) attention_output: Linear,
    pub(super) attention_norm: Norm,
    pub(super) up: Linear,
    pub(super) down: Linear,
    pub(super) output_norm: Norm,
    /// What attention scores get by distance.
    pub(super) bias: Option<Arc<RelativeBias>>,
    /// Its window and global token, in a Longformer.
    pub(super) global: Option<Arc<Global>>,
}

/// Buffers of one thread, reused from group to group.
#[derive(Default)]
pub struct Workspace {
    pub(super) packed: Buffer<u32>,
    pub(super) scale: Buffer<f32>,
    /// Packed words of `[t, 3h]`.
    pub(super) qkv: Buffer<u32>,
    pub(super) context: Buffer<f32>,
    pub(super) y: Buffer<f32>,
    pub(super) x1: Buffer<f32>,
    /// Packed words of `[rows, f]`.
    pub(super) u: Buffer<u32>,
    pub(super) line: Buffer<f32>,
    pub(super) residual: Buffer<f32>,
    pub(super) rstd: Buffer<f32>,
    /// Heads of a sequence, each by itself.
    pub(super) heads: Buffer<f32>,
    pub(super) gate: GateBuffers,
    /// The gradient of a normed input, `[t, h]`.
    pub(super) normed: Buffer<f32>,
    /// A group's states between two layers, in serving.
    pub(super) states: [Buffer<f32>; 2],
}

/// Whole sequences that one thread takes through a layer.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    /// Tokens of each sequence; none is 0.
    pub lengths: &'a [u32],
    /// How many of them are looked at, from the first on.
    pub keys: &'a [u32],
    /// Number of the first sequence in the batch.
    pub first_sequence: usize,
    /// Number of the first token in the batch.
    pub first_token: usize,
}

impl Group<'_> {
    /// Tokens in all.
    pub fn tokens(&self) -> usize {
        self.lengths.iter().map(|&t| t as usize).sum()
    }
    /// Rows of the output.
    pub fn rows(&self, first_only: bool) -> usize {
        if first_only { self.lengths.len() } else { self.tokens() }
    }
    /// Number of the output's first row in that of the batch.
    pub(super) fn first_row(&self, first_only: bool) -> usize {
        if first_only { self.first_sequence } else { self.first_token }
    }
    /// Start, tokens and number of each sequence.
    pub(super) fn sequences(&self) -> impl Iterator<Item = (usize, usize, usize)> + Clone {
        let numbered = self.lengths.iter().zip(self.first_sequence..);
        numbered.scan(0, |start, (&t, number)| {
            *start += t as usize;
            Some((*start - t as usize, t as usize, number))
        })
    }
}

/// How a layer runs.
#[derive(Clone, Copy, Default)]
pub struct Run<'a> {
    /// The output holds the first token of each sequence only.
    pub first_only: bool,
    /// Seed of this layer's dropout in this step; `None` in serving.
    pub seed: Option<u64>,
    /// Threads that may help within the layer.
    pub spin: Option<&'a SpinPool>,
}

/// Places a group's rows go to while training.
pub struct GroupActivations<'a> {
    pub(super) qkv: &'a mut [u32],
    pub(super) context: &'a mut [u32],
    pub(super) attention_normalized: &'a mut [u32],
    pub(super) attention_rstd: &'a mut [f32],
    pub(super) u: &'a mut [u32],
    pub(super) output_normalized: &'a mut [u32],
    pub(super) output_rstd: &'a mut [f32],
}

/// Sites of dropout within a layer.
pub(super) const AFTER_ATTENTION: u64 = 0x5bd1_e995_0000_0001;
pub(super) const AFTER_FEED_FORWARD: u64 = 0x5bd1_e995_0000_0002;
const IN_ATTENTION: u64 = 0x5bd1_e995_0000_0003;

impl Layer {
    /// Packs a layer's arrays.
    pub fn new(dtype: Dtype, shape: LayerShape, arrays: &LayerArrays) -> Self {
        let mut layer = Self::empty(dtype, shape);
        layer.pack(arrays);
        layer
    }
    /// A layer without weights, to be packed. Its matrices share one piece of memory, as big pages want it.
    pub(super) fn empty(dtype: Dtype, shape: LayerShape) -> Self {
        let (h, f, up) = (shape.hidden, shape.ff, shape.up());
        let sizes = [(h, h), (2 * h, h), (h, h), (up, h), (h, f)]
            .map(|(n, k)| kernels::panels_len(dtype, n, k).max(kernels::panels_len(dtype, k, n)));
        let mut parts = Buffer::<u32>::new(kernels::padded_len(&sizes)).split(&sizes).into_iter();
        let [query, key_value, attention_output, up, down] =
            std::array::from_fn(|_| Linear::within(parts.next().expect("there are five")));
        let (attention_norm, output_norm) = (Norm::default(), Norm::default());
        let (bias, global) = (None, None);
        Layer { shape, dtype, query, key_value, attention_output, attention_norm, up, down, output_norm, bias, global }
    }
    /// Packs arrays for the forward pass into the buffers at hand.
    pub(super) fn pack(&mut self, a: &LayerArrays) {
        self.query.pack(self.dtype, &[a.query.weight], &[a.query.bias]);
        self.key_value.pack(self.dtype, &[a.key.weight, a.value.weight], &[a.key.bias, a.value.bias]);
        self.attention_output.pack(self.dtype, &[a.attention_output.weight], &[a.attention_output.bias]);
        self.attention_norm = a.attention_norm.to_owned();
        self.up.pack(self.dtype, &[a.up.weight], &[a.up.bias]);
        self.down.pack(self.dtype, &[a.down.weight], &[a.down.bias]);
        self.output_norm = a.output_norm.to_owned();
    }
    /// Packs arrays for the backward pass into the same buffers. f32 or bf16.
    pub(super) fn pack_transposed(&mut self, a: &LayerWeights<&[f32]>) {
        let (h, up) = (self.shape.hidden, self.shape.up());
        self.query.pack_transposed(self.dtype, &[a.query.weight], h);
        self.key_value.pack_transposed(self.dtype, &[a.key.weight, a.value.weight], 2 * h);
        self.attention_output.pack_transposed(self.dtype, &[a.attention_output.weight], h);
        self.attention_norm = a.attention_norm.to_owned();
        self.up.pack_transposed(self.dtype, &[a.up.weight], up);
        self.down.pack_transposed(self.dtype, &[a.down.weight], h);
        self.output_norm = a.output_norm.to_owned();
    }
    pub(super) fn attention(&self, run: Run) -> Attention<'_> {
        let dtype = self.shape.attention_dtype(self.dtype);
        let rate = self.shape.attention_dropout;
        let dropout = run.seed.filter(|_| rate > 0.0).map(|seed| (rate, seed ^ IN_ATTENTION));
        let (bias, global) = (self.bias.as_deref(), self.global.as_ref());
        let window = self.shape.modern.and_then(|modern| modern.window()).or(global.map(|global| global.window));
        let (hidden, heads, global) = (self.shape.hidden, self.shape.heads, global.is_some());
        Attention { hidden, heads, dtype, dropout, bias, window, global, hashed: self.shape.hashed }
    }
    /// Dropout of the probabilities of a sequence's global token.
    pub(super) fn drop_global(attention: Attention, sequence: usize, t: usize) -> impl Fn(&mut [f32], usize) {
        move |x, stride| {
            for (head, row) in x.chunks_exact_mut(stride).enumerate() {
                attention.mask(row, stride, 0..1, sequence, head, t);
            }
        }
    }
    /// Dropout after a sublayer, in place over rows of `h`, of which the first has the number `first`.
    pub(super) fn drop(&self, x: &mut [f32], run: Run, first: usize, site: u64) {
        if let Some(seed) = run.seed {
            kernels::dropout(x, seed ^ site, (first * self.shape.hidden) as u32, self.shape.hidden_dropout);
        }
    }

    /// A group through the layer: `x [t, h]`, or more rows, to `out [rows, h]`.
    pub fn forward(
        &self,
        w: &mut Workspace,
        group: Group,
        run: Run,
        x: &[f32],
        out: &mut [f32],
        mut keep: Option<GroupActivations>,
    ) {
        self.attend(w, group, run, x, keep.as_mut());
        let first_rows = std::mem::take(&mut w.residual);
        let residual = if run.first_only { &first_rows[..] } else { x };
        let residual = &residual[..group.rows(run.first_only) * self.shape.hidden];
        self.finish(w, group.first_row(run.first_only), run, residual, out, keep);
        w.residual = first_rows;
    }

    /// What attention gives for a group: `x [t, h]` to `w.context [rows, h]`, and where only first tokens ask, their rows of `x` to
    /// `w.residual`.
    pub(super) fn attend(
        &self,
        w: &mut Workspace,
        group: Group,
        run: Run,
        x: &[f32],
        mut keep: Option<&mut GroupActivations>,
    ) {
        let (h, dtype) = (self.shape.hidden, self.dtype);
        let (t, m, wide) = (group.tokens(), group.rows(run.first_only), kernels::packed_len(dtype, h));
        let attention = self.attention(run);
        let spin = || run.spin.and_then(SpinPool::ready);
        let triple = kernels::packed_len(attention.dtype, 3 * h);
        let normed = self.norm_before(w, x, t);
        w.packed.reserve(t * wide);
        w.scale.reserve(t);
        w.context.reserve(m * h);
        let qkv = match &mut keep {
            Some(k) => &mut *k.qkv,
            None => {
                w.qkv.reserve(t * triple);
                &mut w.qkv
            }
        };

        kernels::pack_rows(dtype, if normed { &w.x1 } else { x }, h, t, h, &mut w.packed, &mut w.scale);
        let left = Left { packed: &w.packed, stride: wide, rows: t, scale: &w.scale };
        let key = kernels::packed_len(attention.dtype, h);
        // a global token asks by projections of its own
        let asks = !(attention.global && run.first_only);
        if asks {
            self.key_value.forward(left, Out::packed(attention.dtype, &mut qkv[key..]), 3 * h, spin());
        }
        if run.first_only {
            w.residual.reserve(m * h);
            for (row, (start, _, _)) in w.residual.chunks_exact_mut(h).zip(group.sequences()) {
                row.copy_from_slice(&x[start * h..][..h]);
            }
        }
        let first_alone = self.shape.first_asks_alone(run.first_only);
        if !first_alone {
            self.query.forward(left, Out::packed(attention.dtype, qkv), 3 * h, spin());
        } else if asks {
            // each query at its token's place
            for (start, _, _) in group.sequences() {
                let (packed, scale) = (&w.packed[start * wide..], &w.scale[start..start + 1]);
                let out = Out::packed(attention.dtype, &mut qkv[start * triple..]);
                self.query.forward(Left { packed, stride: wide, rows: 1, scale }, out, 3 * h, None);
            }
        }
        if let Some(modern) = &self.shape.modern {
            self.turn(modern, attention.dtype, qkv, group.sequences(), first_alone, &mut w.line);
        }
        let mut row = 0;
        for ((start, tokens, number), &keys) in group.sequences().zip(group.keys) {
            let asked = if run.first_only { 1 } else { tokens };
            let context = &mut w.context[row * h..(row + asked) * h];
            let qkv = &qkv[start * triple..(start + tokens) * triple];
            let seen = keys as usize;
            attention.forward(qkv, seen, asked, number, context, spin().map(|spin| (spin, &mut w.heads)));
            if let Some(global) = &self.global {
                let drop = Self::drop_global(attention, number, seen);
                global.forward(&x[start * h..][..seen * h], &mut context[..h], &drop);
            }
            row += asked;
        }
    }

    /// `w.context` of `m` rows, of which the first has the number `first`, through attention's output and its dropout to `w.y [m, h]`;
    /// makes room for the rest of the layer.
    pub(super) fn attended(
        &self,
        w: &mut Workspace,
        (first, m): (usize, usize),
        run: Run,
        keep: Option<&mut GroupActivations>,
    ) {
        let (h, dtype) = (self.shape.hidden, self.dtype);
        let [wide, deep] = [h, self.shape.ff].map(|k| kernels::packed_len(dtype, k));
        w.packed.reserve(m * wide.max(deep));
        w.scale.reserve(m);
        w.y.reserve(m * h);
        w.x1.reserve(m * h);
        w.rstd.reserve(m);
        kernels::pack_rows(dtype, &w.context, h, m, h, &mut w.packed, &mut w.scale);
        if let Some(k) = keep {
            k.context.copy_from_slice(&w.packed[..m * wide]);
        }
        let left = Left { packed: &w.packed, stride: wide, rows: m, scale: &w.scale };
        self.attention_output.forward(left, Out::Write(&mut w.y), h, run.spin.and_then(SpinPool::ready));
        self.drop(&mut w.y[..m * h], run, first, AFTER_ATTENTION);
    }

    /// The rest of the layer for rows that know their context: `w.context` and `residual [rows, h]` to `out [rows, h]`. `first`: the
    /// number of the first row, as dropout counts them.
    pub(super) fn finish(
        &self,
        w: &mut Workspace,
        first: usize,
        run: Run,
        residual: &[f32],
        out: &mut [f32],
        mut keep: Option<GroupActivations>,
    ) {
        if self.shape.modern.is_some() {
            return self.finish_modern(w, first, run, residual, out, keep);
        }
        let (h, f, dtype) = (self.shape.hidden, self.shape.ff, self.dtype);
        let (m, wide, deep) = (residual.len() / h, kernels::packed_len(dtype, h), kernels::packed_len(dtype, f));
        let spin = || run.spin.and_then(SpinPool::ready);
        self.attended(w, (first, m), run, keep.as_mut());
        let Norm { gamma, beta } = &self.attention_norm;
        kernels::layer_norm(
            &mut w.y,
            Some(residual),
            gamma,
            beta,
            self.shape.eps,
            &mut w.x1,
            &mut w.rstd[..m],
            keep.is_some(),
        );
        if let Some(k) = &mut keep {
            kernels::pack_rows(dtype, &w.y, h, m, h, k.attention_normalized, &mut []);
            k.attention_rstd.copy_from_slice(&w.rstd[..m]);
        }

        kernels::pack_rows(dtype, &w.x1, h, m, h, &mut w.packed, &mut w.scale);
        let left = Left { packed: &w.packed, stride: wide, rows: m, scale: &w.scale };
        let stored = kernels::activation_dtype(dtype);
        let row = kernels::packed_len(stored, f);
        let u = match &mut keep {
            Some(k) => &mut *k.u,
            None => {
                w.u.reserve(m * row);
                &mut w.u
            }
        };
        let apart = if stored == Dtype::F32 { f } else { 2 * row };
        self.up.forward(left, Out::packed(stored, u), apart, spin());
        kernels::gelu_packed(dtype, u, m, f, &mut w.packed, &mut w.scale, &mut w.line);
        let left = Left { packed: &w.packed, stride: deep, rows: m, scale: &w.scale };
        self.down.forward(left, Out::Write(&mut w.y), h, spin());
        self.drop(&mut w.y[..m * h], run, first, AFTER_FEED_FORWARD);
        let Norm { gamma, beta } = &self.output_norm;
        kernels::layer_norm(&mut w.y, Some(&w.x1), gamma, beta, self.shape.eps, out, &mut w.rstd[..m], keep.is_some());
        if let Some(k) = &mut keep {
            kernels::pack_rows(dtype, &w.y, h, m, h, k.output_normalized, &mut []);
            k.output_rstd.copy_from_slice(&w.rstd[..m]);
        }
    }
}
