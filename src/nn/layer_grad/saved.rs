//! What a layer's passes keep: the forward pass for the backward pass, and that for the weights' gradients.

use super::super::Dtype;
use super::super::global::GlobalGrads;
use super::super::kernels::{self, Buffer};
use super::super::layer::{GroupActivations, LayerShape};
use super::super::layer_weights::Norm;
use super::super::relative::BUCKETS;

/// What the forward pass keeps for the backward pass, for all tokens of a batch, in one piece of memory that comes and goes:
/// packed words of `qkv`, `context`, `attention_normalized`, `u` and `output_normalized`, then both `rstd`. The backward pass reads `attention_normalized`, `u` and `output_normalized` once and
/// leaves in their places the feed-forward's input, its inner rows after GELU and the gradient of its output, which the
/// weights' gradients need.
pub(super) struct SavedActivations {
    pub(super) all: Buffer<u32>,
    pub(super) widths: [usize; 7],
}

impl SavedActivations {
    /// Values of each array in a row.
    pub(super) fn widths(dtype: Dtype, shape: LayerShape) -> [usize; 7] {
        let [wide, deep] = [shape.hidden, shape.up()].map(|k| kernels::packed_len(dtype, k));
        let triple = kernels::packed_len(shape.attention_dtype(dtype), 3 * shape.hidden);
        [triple, wide, wide, deep, wide, 1, 1]
    }
    /// A part for each group, of so many `tokens` and `rows`.
    pub(super) fn parts(&mut self, tokens: &[usize], rows: &[usize]) -> Vec<GroupActivations<'_>> {
        let mut rest = &mut self.all[..];
        let mut cut = |array: usize, counts: &[usize]| {
            let width = self.widths[array];
            let (part, after) = std::mem::take(&mut rest).split_at_mut(width * counts.iter().sum::<usize>());
            rest = after;
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

/// Gradients of one kind of row, kept for the second pass, and the inputs that meet them there, as packed words: `[rows, n]`.
#[derive(Default)]
pub(super) struct ActivationGrads {
    pub(super) x: Buffer<u32>,
    pub(super) query: Buffer<u32>,
    pub(super) key_value: Buffer<u32>,
    pub(super) attention_output: Buffer<u32>,
    pub(super) up: Buffer<u32>,
}

/// Gradients of biases and norms, summed over one group.
pub(super) struct BiasGrads {
    /// Of queries, keys and values, `[3h]`.
    pub(super) qkv: Vec<f32>,
    pub(super) attention_output: Vec<f32>,
    pub(super) attention_norm: Norm,
    pub(super) up: Vec<f32>,
    pub(super) down: Vec<f32>,
    pub(super) output_norm: Norm,
    /// Of the used rows of the relative bias, `[buckets, n]`; empty where there is none.
    pub(super) relative: Vec<f32>,
    /// Of each sequence's global token.
    pub(super) global: Vec<GlobalGrads>,
}

impl BiasGrads {
    pub(super) fn zeros(shape: &LayerShape, relative: bool) -> Self {
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

/// Cuts a buffer into one part per group.
pub(super) fn parts<'a, T: Copy>(mut buffer: &'a mut [T], rows: &[usize], width: usize) -> Vec<&'a mut [T]> {
    let mut out = Vec::with_capacity(rows.len());
    for n in rows {
        let (part, rest) = buffer.split_at_mut(n * width);
        out.push(part);
        buffer = rest;
    }
    out
}
