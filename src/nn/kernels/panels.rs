//! The right sides of products, and the ways to them: from weights, from values, from packed words.

use std::ops::Range;

use rayon::prelude::*;

use super::gemm::WIDTH;
use super::*;
use crate::nn::quantized::Matrix;

/// The right side of a product, packed once: `n` columns in panels of 32, `steps` packed words deep.
#[derive(Default)]
pub struct Panels {
    pub(super) dtype: Option<Dtype>,
    /// Columns.
    pub n: usize,
    pub(super) steps: usize,
    pub(super) packed: Buffer<u32>,
    pub(super) scale: Vec<f32>,
    pub(super) offset: Vec<i32>,
}

/// Packed words of the panels of a matrix `[n, k]`.
pub fn panels_len(dtype: Dtype, n: usize, k: usize) -> usize {
    n.div_ceil(WIDTH) * packed_len(dtype, k) * WIDTH
}

impl Panels {
    /// Panels that will use this memory, where it is enough.
    pub fn within(packed: Buffer<u32>) -> Self {
        Panels { packed, ..Self::default() }
    }
    fn shape(&mut self, dtype: Dtype, n: usize, k: usize) {
        (self.dtype, self.n, self.steps) = (Some(dtype), n, packed_len(dtype, k));
        self.packed.reserve(panels_len(dtype, n, k));
        self.scale.resize(n.next_multiple_of(WIDTH), 0.0);
        self.offset.resize(n.next_multiple_of(WIDTH), 0);
    }
    /// Packed words of one panel; at least 1, so that a buffer can be cut by it.
    fn panel(&self) -> usize {
        (self.steps * WIDTH).max(1)
    }
    /// From values `[k, n]` with `stride`: the summed axis runs over rows. f32 or bf16.
    pub fn from_columns(&mut self, dtype: Dtype, x: &[f32], stride: usize, k: usize, n: usize) {
        self.shape(dtype, n, k);
        panels_of_columns(dtype, x, stride, k, n, &mut self.packed);
    }
    /// A matrix `[n, k]` for products with rows of `k`, by all threads. Its rows are those of `parts`, one after the other. For
    /// int8 an f32 row is rounded with a scale of its own.
    pub fn pack(&mut self, dtype: Dtype, parts: &[Matrix], k: usize) {
        let n = parts.iter().map(Matrix::len).sum::<usize>() / k;
        self.shape(dtype, n, k);
        let (panel, panels) = (self.panel(), n.div_ceil(WIDTH));
        let lines = self.scale.par_chunks_mut(WIDTH).zip(self.offset.par_chunks_mut(WIDTH));
        let outs = self.packed.par_chunks_exact_mut(panel).zip(lines).take(panels).enumerate();
        outs.for_each_init(Buffer::default, |rows, (i, (out, line))| {
            let first = i * WIDTH;
            panel_of_rows(dtype, parts, first..(first + WIDTH).min(n), k, out, line, rows);
        });
    }
    /// A matrix `[k, n]` for products with rows of `k`, by all threads. Its rows are those of `parts`. f32 or bf16.
    pub fn pack_transposed(&mut self, dtype: Dtype, parts: &[&[f32]], n: usize) {
        // a unit of bf16 holds two rows, which must not be of two parts
        let before = &parts[..parts.len().saturating_sub(1)];
        let whole = before.iter().any(|part| !(part.len() / n).is_multiple_of(2)).then(|| parts.concat());
        let whole = whole.as_deref().map(|whole| [whole]);
        let parts = whole.as_ref().map_or(parts, |whole| &whole[..]);
        let k = parts.iter().map(|part| part.len()).sum::<usize>() / n;
        self.shape(dtype, n, k);
        let (panel, panels) = (self.panel(), n.div_ceil(WIDTH));
        self.packed.par_chunks_exact_mut(panel).take(panels).enumerate().for_each(|(i, mut out)| {
            for part in parts {
                let (k, first) = (part.len() / n, i * WIDTH);
                panels_of_columns(dtype, &part[first..], n, k, (n - first).min(WIDTH), out);
                out = &mut out[packed_len(dtype, k) * WIDTH..];
            }
        });
    }
    /// As [`Panels::from_columns`], from packed words with `stride`.
    pub fn from_packed_columns(&mut self, dtype: Dtype, x: &[u32], stride: usize, k: usize, n: usize) {
        self.shape(dtype, n, k);
        panels_of_packed(dtype, x, stride, k, n, &mut self.packed);
    }
    /// As [`Panels::from_packed_columns`], by all threads.
    pub fn pack_packed_columns(&mut self, dtype: Dtype, x: &[u32], stride: usize, k: usize, n: usize) {
        self.shape(dtype, n, k);
        let (panel, panels) = (self.panel(), n.div_ceil(WIDTH));
        self.packed.par_chunks_exact_mut(panel).take(panels).enumerate().for_each(|(i, out)| {
            let first = i * WIDTH;
            panels_of_packed(dtype, &x[packed_len(dtype, first)..], stride, k, (n - first).min(WIDTH), out);
        });
    }
    /// From packed words `[n, k]` with `stride`: columns of the product are their rows. f32 or bf16.
    pub fn from_packed_rows(&mut self, dtype: Dtype, x: &[u32], stride: usize, n: usize, k: usize) {
        self.shape(dtype, n, k);
        assert!(dtype != Dtype::Int8);
        panels_of_rows(x, stride, n, self.steps, &mut self.packed);
    }
}

/// Panels from packed words `[k, n]` with `stride`. f32 or bf16.
fn panels_of_packed(dtype: Dtype, x: &[u32], stride: usize, k: usize, n: usize, to: &mut [u32]) {
    let depth = packed_len(dtype, k);
    assert!(dtype != Dtype::Int8 && (k == 0 || x.len() >= (k - 1) * stride + packed_len(dtype, n)));
    assert!(to.len() >= panels_len(dtype, n, k));
    let (x, to) = (x.as_ptr(), to.as_mut_ptr());
    match dtype {
        Dtype::F32 => {
            run!(gemm::panels_of_packed[F32](x: *const u32 = x, s: usize = stride, k: usize = k, n: usize = n,
            to: *mut u32 = to, depth: usize = depth))
        }
        _ => run!(gemm::panels_of_packed[BF16](x: *const u32 = x, s: usize = stride, k: usize = k, n: usize = n,
            to: *mut u32 = to, depth: usize = depth)),
    }
}

/// Panels whose columns are rows of packed words, `[n, steps]` with `stride`.
fn panels_of_rows(x: &[u32], stride: usize, n: usize, steps: usize, to: &mut [u32]) {
    assert!(n == 0 || x.len() >= (n - 1) * stride + steps);
    assert!(to.len() >= n.div_ceil(WIDTH) * steps * WIDTH);
    let (x, to) = (x.as_ptr(), to.as_mut_ptr());
    run!(gemm::panels_of_rows[](x: *const u32 = x, s: usize = stride, n: usize = n, d: usize = steps, to: *mut u32 = to));
}

/// Which part a row of stacked matrices is in, and its number there.
fn place<'a>(parts: &[Matrix<'a>], mut row: usize, k: usize) -> (Matrix<'a>, usize) {
    for part in parts {
        match part.len() / k {
            rows if row < rows => return (*part, row),
            rows => row -= rows,
        }
    }
    unreachable!("the parts have this row")
}

/// A panel from up to 32 rows of stacked matrices; `scale` and `offset` of its columns are int8's. `buffer` is scratch.
fn panel_of_rows(
    dtype: Dtype,
    parts: &[Matrix],
    rows: Range<usize>,
    k: usize,
    out: &mut [u32],
    (scale, offset): (&mut [f32], &mut [i32]),
    buffer: &mut Buffer<u32>,
) {
    let (n, steps) = (rows.len(), packed_len(dtype, k));
    buffer.reserve(n * steps);
    if dtype == Dtype::Int8 {
        let mut numbers: Vec<i8> = Vec::with_capacity(k);
        for ((row, packed), at) in rows.zip(buffer.chunks_exact_mut(steps.max(1))).zip(0..) {
            let (part, row) = place(parts, row, k);
            numbers.clear();
            scale[at] = part.quantized_row(row, k, &mut numbers);
            offset[at] = 128 * numbers.iter().map(|&q| i32::from(q)).sum::<i32>();
            for (unit, four) in packed.iter_mut().zip(numbers.chunks(4)) {
                *unit = four.iter().rev().fold(0, |u, &q| (u << 8) | u32::from(q as u8));
            }
        }
    } else {
        // as many rows at once as lie in one part
        let mut at = rows.start;
        while at < rows.end {
            let (part, row) = place(parts, at, k);
            let count = (part.len() / k - row).min(rows.end - at);
            let to = &mut buffer[(at - rows.start) * steps..];
            pack_rows(dtype, &part.values_of_rows(row, count, k), k, count, k, to, &mut []);
            at += count;
        }
    }
    panels_of_rows(buffer, steps, n, steps, out);
}

/// Panels from values `[k, n]` with `stride`.
fn panels_of_columns(dtype: Dtype, x: &[f32], stride: usize, k: usize, n: usize, to: &mut [u32]) {
    let depth = packed_len(dtype, k);
    assert!(dtype != Dtype::Int8 && (k == 0 || x.len() >= (k - 1) * stride + n));
    assert!(to.len() >= panels_len(dtype, n, k));
    let (x, to) = (x.as_ptr(), to.as_mut_ptr());
    match dtype {
        Dtype::F32 => run!(gemm::panels_kn[F32](x: *const f32 = x, s: usize = stride, k: usize = k, n: usize = n,
            to: *mut u32 = to, depth: usize = depth)),
        _ => run!(gemm::panels_kn[BF16](x: *const f32 = x, s: usize = stride, k: usize = k, n: usize = n,
            to: *mut u32 = to, depth: usize = depth)),
    }
}
