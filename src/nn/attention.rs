//! Self-attention over packed sequences (Vaswani et al., NeurIPS 2017): one head of one sequence at a time, scores of at
//! most [`BLOCK`] queries in memory, all in the cache. The backward pass computes the probabilities again.

use std::cell::RefCell;
use std::ops::Range;

use super::Dtype;
use super::hashed::Hashed;
use super::kernels::{self, Buffer, Left, Out, Panels, SpinPool};
use super::relative::RelativeBias;

/// Queries whose scores are held at once.
const BLOCK: usize = 64;

/// Shapes and settings of one call.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// Width, `h`.
    pub hidden: usize,
    /// Heads, `n`; each is `h / n` wide.
    pub heads: usize,
    /// Of queries, keys and values, and of the products: f32, or bf16 where `h / n` is even.
    pub dtype: Dtype,
    /// Dropout of probabilities: rate and seed.
    pub dropout: Option<(f32, u64)>,
    /// What scores get by distance.
    pub bias: Option<&'a RelativeBias>,
    /// Tokens on each side that a token sees; `None`: all.
    pub window: Option<usize>,
    /// The first token is seen by all, and asks elsewhere (`global.rs`): its row is not computed.
    pub global: bool,
    /// Who sees whom is found by hashing, and keys are queries (`hashed.rs`); no dropout, bias or window then.
    pub hashed: Option<Hashed>,
}

/// The score of a key outside the window, before it is scaled.
const UNSEEN: f32 = -1e9;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Buffers of a thread, reused from call to call.
#[derive(Default)]
struct Scratch {
    /// Packed words of the left side.
    left: Buffer<u32>,
    transposed: Buffer<u32>,
    right: Panels,
    right2: Panels,
    scores: Buffer<f32>,
    /// One over each row's sum of exponentials.
    inverse: Buffer<f32>,
    dropped: Buffer<f32>,
    grads: Buffer<f32>,
    /// A head's keys or values where they do not lie together.
    gathered: Buffer<u32>,
}

/// The keys that a block of queries may see: some that follow one another, and before them the first one, where they begin later.
#[derive(Debug, Clone, PartialEq)]
struct Keys {
    range: Range<usize>,
    first_too: bool,
}

impl Keys {
    fn len(&self) -> usize {
        self.range.len() + usize::from(self.first_too)
    }
}

impl Attention<'_> {
    fn dim(&self) -> usize {
        self.hidden / self.heads
    }
    fn scale(&self) -> f32 {
        1.0 / (self.dim() as f32).sqrt()
    }
    /// Mask of one head of sequence `sequence` (its number in the batch); value `(row, key)` is counted from `row * 2^13`.
    pub(super) fn mask(
        &self,
        x: &mut [f32],
        stride: usize,
        rows: Range<usize>,
        sequence: usize,
        head: usize,
        keys: usize,
    ) {
        if let Some((p, seed)) = self.dropout {
            let seed = seed ^ ((sequence as u64 * 64 + head as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            for (i, row) in rows.enumerate() {
                kernels::dropout(&mut x[i * stride..][..keys], seed, (row as u32) << 13, p);
            }
        }
    }
    /// Packed words from one token to the next.
    fn stride(&self) -> usize {
        kernels::packed_len(self.dtype, 3 * self.hidden)
    }
    /// A head's queries (`part` 0), keys (1) or values (2) from token `first` on.
    fn part<'q>(&self, qkv: &'q [u32], first: usize, part: usize, head: usize) -> &'q [u32] {
        &qkv[first * self.stride() + kernels::packed_len(self.dtype, part * self.hidden + head * self.dim())..]
    }
    /// The keys that a block of queries may see, of `t`. Dropout's mask is counted from the first of them.
    fn keys(&self, rows: &Range<usize>, t: usize) -> Keys {
        let range = match self.window {
            Some(window) => rows.start.saturating_sub(window).min(t.saturating_sub(1))..(rows.end + window).min(t),
            None => 0..t,
        };
        Keys { first_too: self.global && range.start > 0, range }
    }
    /// A head's keys (`part` 1) or values (2), packed words and the stride from one token to the next: as they lie, or gathered.
    fn some<'q>(
        &self,
        qkv: &'q [u32],
        keys: &Keys,
        part: usize,
        head: usize,
        gathered: &'q mut Buffer<u32>,
    ) -> (&'q [u32], usize) {
        if !keys.first_too {
            return (self.part(qkv, keys.range.start, part, head), self.stride());
        }
        let wide = kernels::packed_len(self.dtype, self.dim());
        gathered.reserve(keys.len() * wide);
        for (to, token) in gathered.chunks_exact_mut(wide).zip(std::iter::once(0).chain(keys.range.clone())) {
            to.copy_from_slice(&self.part(qkv, token, part, head)[..wide]);
        }
        (gathered, wide)
    }
    /// A head's queries (`part` 0) or values (2) of the first `t` tokens, `[t, d]`.
    fn unpacked(&self, qkv: &[u32], t: usize, part: usize, head: usize) -> Vec<f32> {
        let (d, wide) = (self.dim(), kernels::packed_len(self.dtype, self.dim()));
        let mut out = vec![0f32; t * d];
        for (token, row) in out.chunks_exact_mut(d).enumerate() {
            kernels::unpack_rows(self.dtype, &self.part(qkv, token, part, head)[..wide], 1, d, row);
        }
        out
    }
    /// Scores of one block of queries before scaling, `[rows, keys]` with the stride that is given back, into `scratch.scores`.
    fn scores(&self, s: &mut Scratch, qkv: &[u32], rows: Range<usize>, keys: &Keys, head: usize) -> usize {
        let (m, n, stride) = (rows.len(), keys.len(), keys.len().next_multiple_of(16));
        s.scores.reserve(m * stride);
        let left = Left { packed: self.part(qkv, rows.start, 0, head), stride: self.stride(), rows: m, scale: &[] };
        kernels::product(left, &s.right, None, Out::Write(&mut s.scores), stride);
        if let Some(bias) = self.bias {
            for (row, query) in s.scores.chunks_mut(stride).zip(rows.clone()) {
                kernels::add(&mut row[..n], bias.row(head, query, n));
            }
        }
        if let Some(window) = self.window {
            for (row, query) in s.scores.chunks_mut(stride).zip(rows) {
                let Range { start, end } = keys.range;
                let seen = query.saturating_sub(window).clamp(start, end)..(query + window + 1).min(end);
                let place = |key: usize| key - start + usize::from(keys.first_too);
                let always = usize::from(self.global);
                row[always.min(place(seen.start))..place(seen.start)].fill(UNSEEN);
                row[place(seen.end)..n].fill(UNSEEN);
            }
        }
        stride
    }

    /// Packed words of `qkv` of one sequence to `out [queries, h]`: the first `queries` tokens ask, and the first `t` are asked; a `spin` pool shares the heads, whose
    /// results are in `apart` before they are put next to each other.
    pub fn forward(
        &self,
        qkv: &[u32],
        t: usize,
        queries: usize,
        sequence: usize,
        out: &mut [f32],
        spin: Option<(&SpinPool, &mut Buffer<f32>)>,
    ) {
        let (h, d) = (self.hidden, self.dim());
        let Some((spin, apart)) = spin else {
            return SCRATCH.with_borrow_mut(|s| {
                (0..self.heads).for_each(|head| self.head(s, qkv, t, queries, sequence, head, &mut out[head * d..], h));
            });
        };
        apart.reserve(queries * h);
        spin.chunks(&mut apart[..queries * h], queries * d, |head, out| {
            SCRATCH.with_borrow_mut(|s| self.head(s, qkv, t, queries, sequence, head, out, d));
        });
        for (head, rows) in apart[..queries * h].chunks_exact(queries * d).enumerate() {
            for (row, values) in rows.chunks_exact(d).enumerate() {
                out[row * h + head * d..][..d].copy_from_slice(values);
            }
        }
    }

    /// One head to rows of `out`, `out_stride` apart.
    fn head(
        &self,
        s: &mut Scratch,
        qkv: &[u32],
        t: usize,
        queries: usize,
        sequence: usize,
        head: usize,
        out: &mut [f32],
        out_stride: usize,
    ) {
        let d = self.dim();
        if let Some(hashed) = self.hashed {
            let [q, v] = [0, 2].map(|part| self.unpacked(qkv, t, part, head));
            let rows = hashed.forward(head, &q, &v, queries, d);
            let outs = out.chunks_mut(out_stride).zip(rows.chunks_exact(d));
            return outs.for_each(|(out, row)| out[..d].copy_from_slice(row));
        }
        let mut packed = None;
        for start in (usize::from(self.global)..queries).step_by(BLOCK) {
            let rows = start..(start + BLOCK).min(queries);
            let (m, keys) = (rows.len(), self.keys(&rows, t));
            if packed.as_ref() != Some(&keys) {
                let (key, apart) = self.some(qkv, &keys, 1, head, &mut s.gathered);
                s.right.from_packed_rows(self.dtype, key, apart, keys.len(), d);
                let (value, apart) = self.some(qkv, &keys, 2, head, &mut s.gathered);
                s.right2.from_packed_columns(self.dtype, value, apart, keys.len(), d);
                packed = Some(keys.clone());
            }
            let t = keys.len();
            let stride = self.scores(s, qkv, rows.clone(), &keys, head);
            let (depth, out) = (kernels::packed_len(self.dtype, t), &mut out[start * out_stride..]);
            s.left.reserve(m * depth);
            s.inverse.reserve(m);
            if self.dropout.is_none() {
                let by = self.scale();
                kernels::softmax_packed(self.dtype, &mut s.scores, stride, m, t, by, &mut s.left, &mut s.inverse);
            } else {
                kernels::softmax(&mut s.scores, stride, m, t, self.scale());
                self.mask(&mut s.scores, stride, rows, sequence, head, t);
                kernels::pack_rows(self.dtype, &s.scores, stride, m, t, &mut s.left, &mut []);
            }
            let left = Left { packed: &s.left, stride: depth, rows: m, scale: &[] };
            kernels::product(left, &s.right2, None, Out::Write(out), out_stride);
            if self.dropout.is_none() {
                kernels::scale_rows(out, out_stride, m, d, &s.inverse);
            }
        }
    }

    /// Gradients of `qkv` (packed words) into `d_qkv` (rows of `3h`, added to) from `d_out [queries, h]`; that of the table of a bias is
    /// added to `d_bias`.
    pub fn backward(
        &self,
        qkv: &[u32],
        d_out: &[f32],
        t: usize,
        queries: usize,
        sequence: usize,
        d_qkv: &mut [f32],
        d_bias: &mut [f32],
    ) {
        SCRATCH.with_borrow_mut(|s| self.backward_with(s, qkv, d_out, t, queries, sequence, d_qkv, d_bias));
    }
    fn backward_with(
        &self,
        s: &mut Scratch,
        qkv: &[u32],
        d_out: &[f32],
        t: usize,
        queries: usize,
        sequence: usize,
        d_qkv: &mut [f32],
        d_bias: &mut [f32],
    ) {
        let (h, d, dtype) = (self.hidden, self.dim(), self.dtype);
        let wide = kernels::packed_len(dtype, d);
        for head in 0..self.heads {
            if let Some(hashed) = self.hashed {
                let [q, v] = [0, 2].map(|part| self.unpacked(qkv, t, part, head));
                let rows = d_out.chunks_exact(h).take(queries);
                let d_rows: Vec<f32> = rows.flat_map(|row| row[head * d..][..d].iter().copied()).collect();
                for (part, grad) in [0, 2].into_iter().zip(hashed.backward(head, &q, &v, &d_rows, d)) {
                    let tokens = d_qkv.chunks_exact_mut(3 * h).zip(grad.chunks_exact(d));
                    tokens.for_each(|(to, grad)| kernels::add(&mut to[part * h + head * d..][..d], grad));
                }
                continue;
            }
            for start in (usize::from(self.global)..queries).step_by(BLOCK) {
                let rows = start..(start + BLOCK).min(queries);
                let (m, seen) = (rows.len(), self.keys(&rows, t));
                let t = seen.len();
                let (keys, deep) = (kernels::packed_len(dtype, t), kernels::packed_len(dtype, m));
                let (key, apart) = self.some(qkv, &seen, 1, head, &mut s.gathered);
                s.right.from_packed_rows(dtype, key, apart, t, d);
                let stride = self.scores(s, qkv, rows.clone(), &seen, head);
                kernels::softmax(&mut s.scores, stride, m, t, self.scale());
                let d_rows = &d_out[start * h + head * d..];
                // d_v = dropped probabilities, transposed, times d_out
                s.dropped.reserve(m * stride);
                s.dropped[..m * stride].copy_from_slice(&s.scores[..m * stride]);
                self.mask(&mut s.dropped, stride, rows.clone(), sequence, head, t);
                s.left.reserve(m * keys.max(wide));
                s.transposed.reserve(t * deep);
                kernels::pack_rows(dtype, &s.dropped, stride, m, t, &mut s.left, &mut []);
                kernels::transpose_packed(dtype, &s.left, m, t, 0, t, &mut s.transposed);
                s.right2.from_columns(dtype, d_rows, h, m, d);
                self.add_by_key(&s.transposed, deep, &s.right2, &seen, &mut d_qkv[2 * h + head * d..]);
                // gradient of the probabilities, then of the scores
                kernels::pack_rows(dtype, d_rows, h, m, d, &mut s.left, &mut []);
                let (value, apart) = self.some(qkv, &seen, 2, head, &mut s.gathered);
                s.right2.from_packed_rows(dtype, value, apart, t, d);
                s.grads.reserve(m * stride);
                let left = Left { packed: &s.left, stride: wide, rows: m, scale: &[] };
                kernels::product(left, &s.right2, None, Out::Write(&mut s.grads), stride);
                self.mask(&mut s.grads, stride, rows.clone(), sequence, head, t);
                kernels::softmax_backward(&mut s.grads, &s.scores, stride, m, t, self.scale());
                if let Some(bias) = self.bias {
                    for (row, query) in s.grads.chunks(stride).zip(rows.clone()) {
                        bias.add_gradient(head, query, &row[..t], d_bias);
                    }
                }
                // d_q and d_k
                kernels::pack_rows(dtype, &s.grads, stride, m, t, &mut s.left, &mut []);
                let (key, apart) = self.some(qkv, &seen, 1, head, &mut s.gathered);
                s.right2.from_packed_columns(dtype, key, apart, t, d);
                let left = Left { packed: &s.left, stride: keys, rows: m, scale: &[] };
                kernels::product(left, &s.right2, None, Out::Add(&mut d_qkv[start * 3 * h + head * d..]), 3 * h);
                kernels::transpose_packed(dtype, &s.left, m, t, 0, t, &mut s.transposed);
                s.right2.from_packed_columns(dtype, self.part(qkv, start, 0, head), self.stride(), m, d);
                self.add_by_key(&s.transposed, deep, &s.right2, &seen, &mut d_qkv[h + head * d..]);
            }
        }
    }

    /// Adds the product of packed words `[keys, queries]` and panels to the rows of `to` that the keys have, `3h` apart.
    fn add_by_key(&self, left: &[u32], stride: usize, right: &Panels, keys: &Keys, to: &mut [f32]) {
        let (apart, before) = (3 * self.hidden, usize::from(keys.first_too));
        let rows = |first: usize, rows: usize| Left { packed: &left[first * stride..], stride, rows, scale: &[] };
        if keys.first_too {
            kernels::product(rows(0, 1), right, None, Out::Add(&mut *to), apart);
        }
        let to = &mut to[keys.range.start * apart..];
        kernels::product(rows(before, keys.range.len()), right, None, Out::Add(to), apart);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Illustrated Transformer's numbers: scores 112 and 96 over sqrt(64) are 14 and 12, whose softmax is 0.88 and 0.12.
    #[test]
    fn attention_gives_the_textbooks_example() {
        let (h, mut qkv) = (64, vec![0f32; 2 * 3 * 64]);
        // the first token asks with 8; keys are 14 and 12; values are one-hot, so that the output shows the probabilities
        (qkv[0], qkv[h], qkv[3 * h + h]) = (8.0, 14.0, 12.0);
        (qkv[2 * h], qkv[3 * h + 2 * h + 1]) = (1.0, 1.0);
        for (dtype, tolerance) in [(Dtype::F32, 1e-6), (Dtype::Bf16, 4e-3)] {
            let attention = Attention {
                hidden: h,
                heads: 1,
                dtype,
                dropout: None,
                bias: None,
                window: None,
                global: false,
                hashed: None,
            };
            let mut out = vec![f32::NAN; h];
            let mut stored = vec![0; 2 * kernels::packed_len(dtype, 3 * h)];
            kernels::pack_rows(dtype, &qkv, 3 * h, 2, 3 * h, &mut stored, &mut []);
            attention.forward(&stored, 2, 1, 0, &mut out, None);
            assert!(
                (out[0] - 0.880_797).abs() < tolerance && (out[1] - 0.119_203).abs() < tolerance,
                "{dtype:?} {out:?}"
            );
            assert!(out[2..].iter().all(|&x| x == 0.0), "{dtype:?} {out:?}");
        }
    }
}
