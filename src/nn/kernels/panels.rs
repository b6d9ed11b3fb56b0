//! The right sides of products, and the ways to them: from weights, from values, from stored units.

use std::borrow::Cow;

use rayon::prelude::*;

use super::gemm::WIDTH;
use super::*;

/// The right side of a product, packed once: `n` columns in panels of 32, `steps` units deep.
#[derive(Default)]
pub struct Panels {
    pub(super) dtype: Option<Dtype>,
    /// Columns.
    pub n: usize,
    pub(super) steps: usize,
    pub(super) units: Buffer<u32>,
    pub(super) scale: Vec<f32>,
    pub(super) offset: Vec<i32>,
}

/// Units of the panels of a matrix `[n, k]`.
pub fn panels_len(dtype: Dtype, n: usize, k: usize) -> usize {
    n.div_ceil(WIDTH) * steps(dtype, k) * WIDTH
}

impl Panels {
    /// Panels that will use this memory, where it is enough.
    pub fn within(units: Buffer<u32>) -> Self {
        Panels { units, ..Self::default() }
    }
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.units.len() * 4 + self.scale.len() * 8
    }
    fn shape(&mut self, dtype: Dtype, n: usize, k: usize) {
        (self.dtype, self.n, self.steps) = (Some(dtype), n, steps(dtype, k));
        self.units.reserve(panels_len(dtype, n, k));
        self.scale.resize(n.next_multiple_of(WIDTH), 0.0);
        self.offset.resize(n.next_multiple_of(WIDTH), 0);
    }
    /// Units of one panel; at least 1, so that a buffer can be cut by it.
    fn panel(&self) -> usize {
        (self.steps * WIDTH).max(1)
    }
    /// From values `[k, n]` with `stride`: the summed axis runs over rows. f32 or bf16.
    pub fn from_columns(&mut self, dtype: Dtype, x: &[f32], stride: usize, k: usize, n: usize) {
        self.shape(dtype, n, k);
        panels_of_columns(dtype, x, stride, k, n, &mut self.units);
    }
    /// A matrix `[n, k]` for products with rows of `k`, by all threads. int8 takes one scale per row. Its rows are those of
    /// `parts`, one behind the other.
    pub fn pack(&mut self, dtype: Dtype, parts: &[&[f32]], k: usize) {
        let n = parts.iter().map(|part| part.len()).sum::<usize>() / k;
        self.shape(dtype, n, k);
        let (panel, panels) = (self.panel(), n.div_ceil(WIDTH));
        let lines = self.scale.par_chunks_mut(WIDTH).zip(self.offset.par_chunks_mut(WIDTH));
        let outs = self.units.par_chunks_exact_mut(panel).zip(lines).take(panels).enumerate();
        outs.for_each_init(Buffer::default, |rows, (i, (out, line))| {
            let count = (n - i * WIDTH).min(WIDTH);
            panel_of_rows(dtype, &values(parts, i * WIDTH * k, count * k), count, k, out, line, rows);
        });
    }
    /// A matrix `[k, n]` for products with rows of `k`, by all threads. Its rows are those of `parts`. f32 or bf16.
    pub fn pack_turned(&mut self, dtype: Dtype, parts: &[&[f32]], n: usize) {
        // a unit of bf16 holds two rows, which must not be of two parts
        let before = &parts[..parts.len().saturating_sub(1)];
        let whole = before.iter().any(|part| !(part.len() / n).is_multiple_of(2)).then(|| parts.concat());
        let whole = whole.as_deref().map(|whole| [whole]);
        let parts = whole.as_ref().map_or(parts, |whole| &whole[..]);
        let k = parts.iter().map(|part| part.len()).sum::<usize>() / n;
        self.shape(dtype, n, k);
        let (panel, panels) = (self.panel(), n.div_ceil(WIDTH));
        self.units.par_chunks_exact_mut(panel).take(panels).enumerate().for_each(|(i, mut out)| {
            for part in parts {
                let (k, first) = (part.len() / n, i * WIDTH);
                panels_of_columns(dtype, &part[first..], n, k, (n - first).min(WIDTH), out);
                out = &mut out[steps(dtype, k) * WIDTH..];
            }
        });
    }
    /// As [`Panels::from_columns`], from stored units with `stride`.
    pub fn from_stored_columns(&mut self, dtype: Dtype, x: &[u32], stride: usize, k: usize, n: usize) {
        self.shape(dtype, n, k);
        panels_of_stored(dtype, x, stride, k, n, &mut self.units);
    }
    /// As [`Panels::from_stored_columns`], by all threads.
    pub fn pack_stored_columns(&mut self, dtype: Dtype, x: &[u32], stride: usize, k: usize, n: usize) {
        self.shape(dtype, n, k);
        let (panel, panels) = (self.panel(), n.div_ceil(WIDTH));
        self.units.par_chunks_exact_mut(panel).take(panels).enumerate().for_each(|(i, out)| {
            let first = i * WIDTH;
            panels_of_stored(dtype, &x[steps(dtype, first)..], stride, k, (n - first).min(WIDTH), out);
        });
    }
    /// From stored units `[n, k]` with `stride`: columns of the product are their rows. f32 or bf16.
    pub fn from_stored_rows(&mut self, dtype: Dtype, x: &[u32], stride: usize, n: usize, k: usize) {
        self.shape(dtype, n, k);
        assert!(dtype != Dtype::Int8);
        panels_of_rows(x, stride, n, self.steps, &mut self.units);
    }
}

/// Panels from stored units `[k, n]` with `stride`. f32 or bf16.
fn panels_of_stored(dtype: Dtype, x: &[u32], stride: usize, k: usize, n: usize, to: &mut [u32]) {
    let depth = steps(dtype, k);
    assert!(dtype != Dtype::Int8 && (k == 0 || x.len() >= (k - 1) * stride + steps(dtype, n)));
    assert!(to.len() >= panels_len(dtype, n, k));
    let (x, to) = (x.as_ptr(), to.as_mut_ptr());
    match dtype {
        Dtype::F32 => {
            run!(gemm::panels_of_stored[F32](x: *const u32 = x, s: usize = stride, k: usize = k, n: usize = n,
            to: *mut u32 = to, depth: usize = depth))
        }
        _ => run!(gemm::panels_of_stored[BF16](x: *const u32 = x, s: usize = stride, k: usize = k, n: usize = n,
            to: *mut u32 = to, depth: usize = depth)),
    }
}

/// Panels whose columns are rows of units, `[n, steps]` with `stride`.
fn panels_of_rows(x: &[u32], stride: usize, n: usize, steps: usize, to: &mut [u32]) {
    assert!(n == 0 || x.len() >= (n - 1) * stride + steps);
    assert!(to.len() >= n.div_ceil(WIDTH) * steps * WIDTH);
    let (x, to) = (x.as_ptr(), to.as_mut_ptr());
    run!(gemm::panels_of_rows[](x: *const u32 = x, s: usize = stride, n: usize = n, d: usize = steps, to: *mut u32 = to));
}

/// `len` values from `first` on, of arrays that are thought of as one behind the other.
fn values<'a>(parts: &[&'a [f32]], first: usize, len: usize) -> Cow<'a, [f32]> {
    let mut start = first;
    for part in parts {
        if start + len <= part.len() {
            return Cow::Borrowed(&part[start..][..len]);
        }
        if start < part.len() {
            break;
        }
        start -= part.len();
    }
    parts.iter().copied().flatten().skip(first).take(len).copied().collect()
}

/// A panel from up to 32 rows of `w`; `scale` and `offset` of its columns are int8's. `rows` is scratch.
fn panel_of_rows(
    dtype: Dtype,
    w: &[f32],
    n: usize,
    k: usize,
    out: &mut [u32],
    (scale, offset): (&mut [f32], &mut [i32]),
    rows: &mut Buffer<u32>,
) {
    let steps = steps(dtype, k);
    rows.reserve(n * steps);
    if dtype == Dtype::Int8 {
        for (row, units) in rows.chunks_exact_mut(steps.max(1)).enumerate().take(n) {
            let (bytes, by) = quantise_row(&w[row * k..][..k]);
            scale[row] = by;
            offset[row] = 128 * bytes.iter().map(|&b| i32::from(b)).sum::<i32>();
            for (unit, four) in units.iter_mut().zip(bytes.chunks(4)) {
                *unit = four.iter().rev().fold(0, |u, &b| (u << 8) | u32::from(b as u8));
            }
        }
    } else {
        units(dtype, w, k, n, k, rows, &mut []);
    }
    panels_of_rows(rows, steps, n, steps, out);
}

/// Panels from values `[k, n]` with `stride`.
fn panels_of_columns(dtype: Dtype, x: &[f32], stride: usize, k: usize, n: usize, to: &mut [u32]) {
    let depth = steps(dtype, k);
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

/// A row of weights as signed bytes: `round(w / scale)`, scale = largest magnitude / 127.
pub fn quantise_row(w: &[f32]) -> (Vec<i8>, f32) {
    let largest = w.iter().fold(0f32, |m, x| m.max(x.abs()));
    let by = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    // to even at a tie, as `round_ties_even`, which is a call for each value where the compiler may not use SSE4.1
    const MIDDLE: f32 = 12_582_912.0; // 1.5 * 2^23: there the steps of f32 are whole numbers
    (w.iter().map(|x| (x * by + MIDDLE - MIDDLE) as i8).collect(), largest / 127.0)
}
