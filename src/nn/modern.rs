//! What a layer of ModernBERT has in place of BERT's (Warner et al., arXiv 2412.13663): norms before attention and feed-forward, rotary
//! positions (Su et al., arXiv 2104.09864), a gated feed-forward block (Shazeer, arXiv 2002.05202), attention within a window in most
//! layers, and no biases.
//!
//! Its arrays have the names of BERT's: [`LayerWeights::attention_norm`](super::layer_weights::LayerWeights) is the norm before attention (the
//! first layer has none), `output_norm` the one before the feed-forward block, `up` has `2f` rows (values, then gates). Biases are
//! zeros and stay so in training.

use super::Dtype;
use super::kernels::{self, Buffer, Left, Out, SpinPool};
use super::layer::{AFTER_FEED_FORWARD, GroupActivations, Layer, Run, Workspace};
use super::layer_weights::Norm;

/// How the layers of a network differ from BERT's, and from each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Modern {
    /// Base of the rotary angles in layers that see every token.
    pub global_theta: f32,
    /// The same in layers that see a window.
    pub local_theta: f32,
    /// Tokens on each side that a token of a windowed layer sees.
    pub window: usize,
    /// Of so many layers the first sees every token.
    pub global_every: usize,
    /// Number of this layer.
    pub layer: usize,
}

impl Modern {
    fn is_global(&self) -> bool {
        self.layer.is_multiple_of(self.global_every)
    }
    /// Tokens on each side that a token sees; `None`: all.
    pub(super) fn window(&self) -> Option<usize> {
        (!self.is_global()).then_some(self.window)
    }
    /// Whether there is a norm before attention.
    pub(super) fn has_attention_norm(&self) -> bool {
        self.layer > 0
    }
    /// Angles of the first `t` places, for heads of width `dim`.
    pub(super) fn angles(&self, t: usize, dim: usize) -> Angles {
        let theta = if self.is_global() { self.global_theta } else { self.local_theta };
        let turns: Vec<f32> = (0..dim / 2).map(|i| 1.0 / theta.powf((2 * i) as f32 / dim as f32)).collect();
        let sin_cos = (0..t).flat_map(|place| turns.iter().map(move |turn| (place as f32 * turn).sin_cos()));
        Angles { half: dim / 2, sin_cos: sin_cos.collect() }
    }
}

/// Sine and cosine by place and pair of a head's values.
pub(super) struct Angles {
    half: usize,
    /// `[t, dim / 2]`.
    sin_cos: Vec<(f32, f32)>,
}

impl Angles {
    /// Turns the heads in `row`, whose token is at `place`; `back`: the other way round.
    pub(super) fn turn(&self, row: &mut [f32], place: usize, back: bool) {
        let angles = &self.sin_cos[place * self.half..][..self.half];
        for head in row.chunks_exact_mut(2 * self.half) {
            let (first, second) = head.split_at_mut(self.half);
            for ((a, b), &(sin, cos)) in first.iter_mut().zip(second).zip(angles) {
                let sin = if back { -sin } else { sin };
                (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
            }
        }
    }
    /// Turns queries and keys of one sequence's `qkv`, packed words of `[t, 3h]`; with `keys_only`, keys alone (the first token's
    /// query has the angle 0).
    fn turn_packed(&self, dtype: Dtype, qkv: &mut [u32], t: usize, h: usize, keys_only: bool, line: &mut Buffer<f32>) {
        let (row, part) = (kernels::packed_len(dtype, 3 * h), kernels::packed_len(dtype, h));
        let (from, width) = if keys_only { (part, h) } else { (0, 2 * h) };
        line.reserve(width);
        for place in 1..t {
            let words = &mut qkv[place * row + from..][..kernels::packed_len(dtype, width)];
            kernels::unpack_rows(dtype, words, 1, width, line);
            self.turn(&mut line[..width], place, false);
            kernels::pack_rows(dtype, line, width, 1, width, words, &mut []);
        }
    }
}

/// Buffers of the gated block.
#[derive(Default)]
pub(super) struct GateBuffers {
    /// `[2f]`.
    pub(super) line: Buffer<f32>,
    /// GELU of the first half, f32 words, `[f]`.
    pub(super) act: Buffer<u32>,
    scratch: Buffer<f32>,
    /// What the feed-forward block is added to, `[m, h]`.
    sum: Buffer<f32>,
}

impl GateBuffers {
    /// A row of `u`, packed words of `[2f]`: values and gates to `line`, GELU of the values to `act`.
    pub(super) fn open(&mut self, stored: Dtype, u: &[u32], f: usize) {
        self.line.reserve(2 * f);
        self.act.reserve(f);
        kernels::unpack_rows(stored, u, 1, 2 * f, &mut self.line);
        let values = bytemuck::cast_slice(&self.line[..f]);
        kernels::gelu_packed(Dtype::F32, values, 1, f, &mut self.act, &mut [], &mut self.scratch);
    }
    /// The product of an opened row, into `act`: `[f]`.
    pub(super) fn close(&mut self, f: usize) -> &[f32] {
        let act: &mut [f32] = bytemuck::cast_slice_mut(&mut self.act[..f]);
        act.iter_mut().zip(&self.line[f..]).for_each(|(act, gate)| *act *= gate);
        act
    }
}

impl Layer {
    /// The norm before attention: `x [t, h]` to `w.x1`. False where there is none.
    pub(super) fn norm_before(&self, w: &mut Workspace, x: &[f32], t: usize) -> bool {
        let h = self.shape.hidden;
        if !self.shape.modern.is_some_and(|modern| modern.has_attention_norm()) {
            return false;
        }
        w.y.reserve(t * h);
        w.x1.reserve(t * h);
        w.rstd.reserve(t);
        w.y[..t * h].copy_from_slice(&x[..t * h]);
        let Norm { gamma, beta } = &self.attention_norm;
        kernels::layer_norm(&mut w.y, None, gamma, beta, self.shape.eps, &mut w.x1, &mut w.rstd[..t], false);
        true
    }

    /// Turns the queries and keys of a group's sequences.
    pub(super) fn turn(
        &self,
        modern: &Modern,
        dtype: Dtype,
        qkv: &mut [u32],
        sequences: impl Iterator<Item = (usize, usize, usize)> + Clone,
        keys_only: bool,
        line: &mut Buffer<f32>,
    ) {
        let (h, row) = (self.shape.hidden, kernels::packed_len(dtype, 3 * self.shape.hidden));
        let longest = sequences.clone().map(|(_, t, _)| t).max().unwrap_or(0);
        let angles = modern.angles(longest, h / self.shape.heads);
        for (start, t, _) in sequences {
            angles.turn_packed(dtype, &mut qkv[start * row..(start + t) * row], t, h, keys_only, line);
        }
    }

    /// What [`Layer::finish`] is to a layer of BERT.
    pub(super) fn finish_modern(
        &self,
        w: &mut Workspace,
        first: usize,
        run: Run,
        residual: &[f32],
        out: &mut [f32],
        mut keep: Option<GroupActivations>,
    ) {
        let (h, f, dtype) = (self.shape.hidden, self.shape.ff, self.dtype);
        let (m, wide, deep) = (residual.len() / h, kernels::packed_len(dtype, h), kernels::packed_len(dtype, f));
        let spin = || run.spin.and_then(SpinPool::ready);
        w.gate.sum.reserve(m * h);
        self.attended(w, (first, m), run, keep.as_mut());
        kernels::add(&mut w.y[..m * h], residual);
        w.gate.sum[..m * h].copy_from_slice(&w.y[..m * h]);
        let Norm { gamma, beta } = &self.output_norm;
        kernels::layer_norm(&mut w.y, None, gamma, beta, self.shape.eps, &mut w.x1, &mut w.rstd[..m], keep.is_some());
        if let Some(k) = &mut keep {
            kernels::pack_rows(dtype, &w.y, h, m, h, k.attention_normalized, &mut []);
            k.attention_rstd.copy_from_slice(&w.rstd[..m]);
        }

        kernels::pack_rows(dtype, &w.x1, h, m, h, &mut w.packed, &mut w.scale);
        let left = Left { packed: &w.packed, stride: wide, rows: m, scale: &w.scale };
        let stored = kernels::activation_dtype(dtype);
        let row = kernels::packed_len(stored, 2 * f);
        let u = match &mut keep {
            Some(k) => &mut *k.u,
            None => {
                w.u.reserve(m * row);
                &mut w.u
            }
        };
        self.up.forward(left, Out::packed(stored, u), 2 * f, spin());
        for (i, u) in u.chunks_exact(row).take(m).enumerate() {
            w.gate.open(stored, u, f);
            let product = w.gate.close(f);
            let scale = if dtype == Dtype::Int8 { &mut w.scale[i..=i] } else { &mut [][..] };
            kernels::pack_rows(dtype, product, f, 1, f, &mut w.packed[i * deep..], scale);
        }
        let left = Left { packed: &w.packed, stride: deep, rows: m, scale: &w.scale };
        self.down.forward(left, Out::Write(&mut w.y), h, spin());
        self.drop(&mut w.y[..m * h], run, first, AFTER_FEED_FORWARD);
        kernels::add(&mut w.y[..m * h], &w.gate.sum[..m * h]);
        out[..m * h].copy_from_slice(&w.y[..m * h]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODERN: Modern =
        Modern { global_theta: 160_000.0, local_theta: 10_000.0, window: 4, global_every: 3, layer: 1 };

    #[test]
    fn turning_back_undoes_a_turn_and_angles_depend_on_distance_alone() {
        let angles = MODERN.angles(40, 8);
        let row: Vec<f32> = (0..16).map(|i| (i as f32 * 0.7).sin()).collect();
        let at = |place| {
            let mut turned = row.clone();
            angles.turn(&mut turned, place, false);
            turned
        };
        assert_eq!(at(0), row);
        let mut back = at(7);
        angles.turn(&mut back, 7, true);
        assert!(back.iter().zip(&row).all(|(a, b)| (a - b).abs() < 1e-6));
        let product = |a: &[f32], b: &[f32]| a[..8].iter().zip(&b[..8]).map(|(a, b)| a * b).sum::<f32>();
        assert!((product(&at(3), &at(9)) - product(&at(30), &at(36))).abs() < 1e-5);
        assert!((product(&at(3), &at(9)) - product(&at(3), &at(10))).abs() > 1e-3);
    }

    #[test]
    fn every_third_layer_sees_everything() {
        let windows = (0..7).map(|layer| Modern { layer, ..MODERN }.window()).collect::<Vec<_>>();
        assert_eq!(windows, [None, Some(4), Some(4), None, Some(4), Some(4), None]);
    }
}
