//! The one module with `unsafe`: kernels for this CPU's unit, chosen once, called through entries that check every length.
//!
//! A kernel is written once, generic over [`lanes::Lanes`]; a unit is a file that implements it. Units: AVX-512 with VNNI
//! and BF16, AVX2 with FMA, and plain Rust; AMX adds tiles for products of bf16 and int8 to AVX-512.
//! `SVERKA_CPU=amx|avx512|avx2|portable` forces one. All sums have a fixed order, so results are the same bits on every
//! unit, but for products of bf16 on tiles (int8 models have some in attention), whose order is another; tests compare them.

mod gemm;
mod lanes;
mod mapped;
mod maxsim;
mod memory;
mod portable;
mod rows;
mod spin_pool;
#[cfg(any(test, target_arch = "x86_64"))]
mod tiles;
mod unit;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(test)]
mod emulator;
#[cfg(test)]
mod tests;

use gemm::{ADD, BF16, BF16_OUT, F32, INT8, Product, WIDTH, WRITE};
pub use mapped::Mapped;
pub use memory::{BlockPool, Buffer, padded_len};
use spin_pool::Shared;
pub use spin_pool::SpinPool;
#[cfg(test)]
pub(crate) use tests::units_to_test;
pub use unit::Unit;
#[cfg(test)]
pub(crate) use unit::force;
pub(crate) use unit::on_tiles;
use unit::unit;

use super::Dtype;

/// Runs a generic kernel on the chosen unit's lanes with their instructions switched on.
macro_rules! run {
    ($kernel:ident :: $name:ident [$($kind:expr)?] ($($arg:ident : $ty:ty = $value:expr),* $(,)?)) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,avx2,fma")]
        unsafe fn wide($($arg: $ty),*) {
            // SAFETY: the caller's promise
            unsafe { $kernel::$name::<avx512::Avx512 $(, { $kind })?>($($arg),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn middle($($arg: $ty),*) {
            // SAFETY: the caller's promise
            unsafe { $kernel::$name::<avx2::Avx2 $(, { $kind })?>($($arg),*) }
        }
        #[inline(never)]
        unsafe fn plain($($arg: $ty),*) {
            // SAFETY: the caller's promise
            unsafe { $kernel::$name::<portable::Portable $(, { $kind })?>($($arg),*) }
        }
        // SAFETY: the unit was found on this CPU, and the entry around has checked the lengths that the pointers lead to.
        unsafe {
            match unit().lanes() {
                #[cfg(target_arch = "x86_64")]
                Unit::Avx512 => wide($($value),*),
                #[cfg(target_arch = "x86_64")]
                Unit::Avx2 => middle($($value),*),
                _ => plain($($value),*),
            }
        }
    }};
}

// after the macro, which it uses
mod panels;
pub use panels::{Panels, panels_len};

/// Packed words of 32 bits that hold `k` values.
pub fn packed_len(dtype: Dtype, k: usize) -> usize {
    match dtype {
        Dtype::F32 => k,
        Dtype::Bf16 => k.div_ceil(2),
        Dtype::Int8 => k.div_ceil(4),
    }
}

/// What activations that are no left side are stored as: bf16 in int8 layers, whose rows of bytes would want a scale each.
pub fn activation_dtype(dtype: Dtype) -> Dtype {
    if dtype == Dtype::F32 { Dtype::F32 } else { Dtype::Bf16 }
}

/// The left side of products: `[m, k]` with `stride` to packed words `[m, steps]`; int8 fills one `scale` per row.
pub fn pack_rows(dtype: Dtype, x: &[f32], stride: usize, m: usize, k: usize, to: &mut [u32], scale: &mut [f32]) {
    let depth = packed_len(dtype, k);
    assert!(m == 0 || (x.len() >= (m - 1) * stride + k && to.len() >= m * depth));
    assert!(dtype != Dtype::Int8 || scale.len() >= m);
    if k == 0 {
        return;
    }
    let (x, to, scale) = (x.as_ptr(), to.as_mut_ptr(), scale.as_mut_ptr());
    macro_rules! go {
        ($kind:ident) => {
            run!(gemm::pack_rows[$kind](x: *const f32 = x, s: usize = stride, m: usize = m, k: usize = k,
                to: *mut u32 = to, depth: usize = depth, scale: *mut f32 = scale))
        };
    }
    match dtype {
        Dtype::F32 => go!(F32),
        Dtype::Bf16 => go!(BF16),
        Dtype::Int8 => go!(INT8),
    }
}

/// Packed words `[m, k]` back to f32. f32 or bf16.
pub fn unpack_rows(dtype: Dtype, from: &[u32], m: usize, k: usize, to: &mut [f32]) {
    let depth = packed_len(dtype, k);
    assert!(dtype != Dtype::Int8 && from.len() >= m * depth && to.len() >= m * k);
    let (from, to) = (from.as_ptr(), to.as_mut_ptr());
    match dtype {
        Dtype::F32 => run!(gemm::unpack_rows[F32](f: *const u32 = from, d: usize = depth, m: usize = m, k: usize = k,
            to: *mut f32 = to)),
        _ => run!(gemm::unpack_rows[BF16](f: *const u32 = from, d: usize = depth, m: usize = m, k: usize = k,
            to: *mut f32 = to)),
    }
}

/// Packed words `[k, n]`, columns `first..first + rows`, to left packed words `[rows, steps of k]`. f32 or bf16.
pub fn transpose_packed(dtype: Dtype, x: &[u32], k: usize, n: usize, first: usize, rows: usize, to: &mut [u32]) {
    let (depth, row) = (packed_len(dtype, k), packed_len(dtype, n));
    assert!(dtype != Dtype::Int8 && first + rows <= n && x.len() >= k * row && to.len() >= rows * depth);
    let (x, to) = (x.as_ptr(), to.as_mut_ptr());
    match dtype {
        Dtype::F32 => run!(gemm::transpose_packed[F32](x: *const u32 = x, r: usize = row, k: usize = k,
            first: usize = first, rows: usize = rows, to: *mut u32 = to, depth: usize = depth)),
        _ => run!(gemm::transpose_packed[BF16](x: *const u32 = x, r: usize = row, k: usize = k,
            first: usize = first, rows: usize = rows, to: *mut u32 = to, depth: usize = depth)),
    }
}

/// Left rows of a product: packed words `[rows, stride]` and, for int8, their scales.
#[derive(Clone, Copy)]
pub struct Left<'a> {
    /// The packed words.
    pub packed: &'a [u32],
    /// Packed words from one row to the next.
    pub stride: usize,
    /// Rows.
    pub rows: usize,
    /// One per row; int8 only.
    pub scale: &'a [f32],
}

/// Where the values of a product go.
#[derive(Debug)]
pub enum Out<'a> {
    /// Written.
    Write(&'a mut [f32]),
    /// Added to what is there.
    Add(&'a mut [f32]),
    /// Written as bfloat16.
    Bf16(&'a mut [u16]),
}

impl<'a> Out<'a> {
    /// As packed words. f32 or bf16, whose rows are an even number of values apart.
    pub fn packed(dtype: Dtype, packed: &'a mut [u32]) -> Self {
        match dtype {
            Dtype::F32 => Out::Write(bytemuck::cast_slice_mut(packed)),
            _ => Out::Bf16(bytemuck::cast_slice_mut(packed)),
        }
    }
    /// Its place, how many values it has, of so many bytes, and how they are stored.
    fn parts(self) -> (*mut u8, usize, usize, u8) {
        match self {
            Out::Write(out) => (out.as_mut_ptr().cast(), out.len(), 4, WRITE),
            Out::Add(out) => (out.as_mut_ptr().cast(), out.len(), 4, ADD),
            Out::Bf16(out) => (out.as_mut_ptr().cast(), out.len(), 2, BF16_OUT),
        }
    }
}

/// `left * panels + bias`, `[rows, n]`, rows of `out` `stride` values apart.
pub fn product(left: Left, right: &Panels, bias: Option<&[f32]>, out: Out, stride: usize) {
    let (out, len, size, how) = out.parts();
    assert!(left.rows == 0 || len >= (left.rows - 1) * stride + right.n);
    // SAFETY: `out` is borrowed mutably and long enough for all columns.
    unsafe { product_columns(left, right, 0, right.n, bias, (out, size, how), stride) }
}

/// [`product`] with the columns of the panels shared by a spin pool, for few rows.
pub fn product_shared(spin: &SpinPool, left: Left, right: &Panels, bias: Option<&[f32]>, out: Out, stride: usize) {
    let panels = right.n.div_ceil(WIDTH);
    let parts = panels.min(2 * rayon::current_num_threads());
    let (out, len, size, how) = out.parts();
    assert!(left.rows == 0 || len >= (left.rows - 1) * stride + right.n);
    let shared = Shared(out);
    spin.run(parts, &|part| {
        let (a, b) = (panels * part / parts * WIDTH, (panels * (part + 1) / parts * WIDTH).min(right.n));
        // SAFETY: as in `product`, and no other part touches columns a..b.
        unsafe { product_columns(left, right, a, b, bias, (shared.get(), size, how), stride) }
    });
}

/// # Safety
/// `out` is good for `left.rows` rows of `right.n` values of `size` bytes, `stride` values apart, and nobody else uses columns
/// `a..b`.
unsafe fn product_columns(
    left: Left,
    right: &Panels,
    a: usize,
    b: usize,
    bias: Option<&[f32]>,
    (out, size, how): (*mut u8, usize, u8),
    stride: usize,
) {
    let dtype = right.dtype.expect("panels are packed before use");
    let depth = right.steps;
    assert!(depth > 0, "a product sums over something");
    assert!(left.rows == 0 || left.packed.len() >= (left.rows - 1) * left.stride + depth);
    assert!(bias.is_none_or(|b| b.len() >= right.n));
    assert!(dtype != Dtype::Int8 || left.scale.len() >= left.rows);
    assert!(
        right.packed.len() >= right.n.div_ceil(WIDTH) * depth * WIDTH
            && a.is_multiple_of(WIDTH)
            && a <= b
            && b <= right.n
    );
    // SAFETY: offsets stay inside the lengths checked above.
    let p = &unsafe {
        Product {
            left: left.packed.as_ptr(),
            stride: left.stride,
            rows: left.rows,
            steps: depth,
            panels: right.packed.as_ptr().add(a * depth),
            cols: b - a,
            row_scale: left.scale.as_ptr(),
            col_scale: right.scale.as_ptr().wrapping_add(a),
            col_offset: right.offset.as_ptr().wrapping_add(a),
            bias: bias.map_or(std::ptr::null(), |bias| bias.as_ptr().add(a)),
            out: out.wrapping_add(a * size),
            out_stride: stride,
            how,
        }
    };
    macro_rules! go {
        ($kernel:ident) => {
            match dtype {
                Dtype::Bf16 => run!($kernel::product[BF16](p: &Product = p)),
                _ => run!($kernel::product[INT8](p: &Product = p)),
            }
        };
    }
    match unit() {
        _ if dtype == Dtype::F32 => run!(gemm::product[F32](p: &Product = p)),
        #[cfg(target_arch = "x86_64")]
        Unit::Amx => go!(amx),
        #[cfg(test)]
        Unit::Emulated => go!(emulator),
        _ => go!(gemm),
    }
}

/// Packed words of GELU over [`activation_dtype`] packed words `[m, k]`, with a scale per row for int8. `line` is scratch.
pub fn gelu_packed(
    dtype: Dtype,
    x: &[u32],
    m: usize,
    k: usize,
    to: &mut [u32],
    scale: &mut [f32],
    line: &mut Buffer<f32>,
) {
    let (row, depth) = (packed_len(activation_dtype(dtype), k), packed_len(dtype, k));
    assert!(k > 0 && x.len() >= m * row && to.len() >= m * depth && (dtype != Dtype::Int8 || scale.len() >= m));
    line.reserve(k);
    let (x, to, scale, line) = (x.as_ptr(), to.as_mut_ptr(), scale.as_mut_ptr(), line.as_mut_ptr());
    macro_rules! go {
        ($kind:ident) => {
            run!(rows::gelu_packed[$kind](x: *const u32 = x, row: usize = row, m: usize = m, k: usize = k,
                to: *mut u32 = to, depth: usize = depth, scale: *mut f32 = scale, line: *mut f32 = line))
        };
    }
    match dtype {
        Dtype::F32 => go!(F32),
        Dtype::Bf16 => go!(BF16),
        Dtype::Int8 => go!(INT8),
    }
}

/// `grad *= gelu'(x)` for a row of packed words. f32 or bf16.
pub fn gelu_backward(dtype: Dtype, x: &[u32], grad: &mut [f32]) {
    let n = grad.len();
    assert!(dtype != Dtype::Int8 && x.len() >= packed_len(dtype, n));
    let (x, grad) = (x.as_ptr(), grad.as_mut_ptr());
    match dtype {
        Dtype::F32 => run!(rows::gelu_backward[F32](x: *const u32 = x, g: *mut f32 = grad, n: usize = n)),
        _ => run!(rows::gelu_backward[BF16](x: *const u32 = x, g: *mut f32 = grad, n: usize = n)),
    }
}

/// Query tokens that [`maxima`] compares at once.
pub const QUERY_TOKENS: usize = maxsim::TOKENS;

/// The largest products of query tokens, `query [dim, QUERY_TOKENS]`, with a document's, `document [n, dim]`, `n > 0`.
pub fn maxima(query: &[f32], document: &[f32], dim: usize, out: &mut [f32; QUERY_TOKENS]) {
    assert!(dim > 0 && query.len() == dim * QUERY_TOKENS && !document.is_empty() && document.len().is_multiple_of(dim));
    run!(maxsim::maxima[](q: *const f32 = query.as_ptr(), d: *const f32 = document.as_ptr(), dim: usize = dim,
        n: usize = document.len() / dim, out: *mut f32 = out.as_mut_ptr()));
}

/// The largest values of some rows of a table, `stride` apart, in each of the first `QUERY_TOKENS` columns; `out` stays without a row.
pub fn largest_rows(table: &[f32], stride: usize, rows: &[u32], out: &mut [f32; QUERY_TOKENS]) {
    let last = rows.iter().max().map_or(0, |row| *row as usize * stride + QUERY_TOKENS);
    assert!(table.len() >= last);
    if rows.is_empty() {
        return;
    }
    run!(maxsim::largest_rows[](t: *const f32 = table.as_ptr(), stride: usize = stride, rows: *const u32 = rows.as_ptr(),
        n: usize = rows.len(), out: *mut f32 = out.as_mut_ptr()));
}

/// Values of 16 bits, bfloat16 or IEEE's half, to f32; none of them infinite.
pub fn widen(half: bool, from: &[u16], to: &mut [f32]) {
    assert_eq!(from.len(), to.len());
    let (from, to, n) = (from.as_ptr(), to.as_mut_ptr(), to.len());
    match half {
        true => run!(maxsim::widen[true](f: *const u16 = from, t: *mut f32 = to, n: usize = n)),
        false => run!(maxsim::widen[false](f: *const u16 = from, t: *mut f32 = to, n: usize = n)),
    }
}

/// `a += b`.
pub fn add(a: &mut [f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    run!(rows::add[](a: *mut f32 = a.as_mut_ptr(), b: *const f32 = b.as_ptr(), n: usize = b.len()));
}

/// LayerNorm of `x + residual` over rows of `gamma.len()`: `out` gets the result, `rstd` one reciprocal deviation per row. `x` is
/// used up, or, where `normalized`, becomes the rows before scale and shift.
pub fn layer_norm(
    x: &mut [f32],
    residual: Option<&[f32]>,
    gamma: &[f32],
    beta: &[f32],
    eps: f32,
    out: &mut [f32],
    rstd: &mut [f32],
    normalized: bool,
) {
    let (h, m) = (gamma.len(), rstd.len());
    assert!(x.len() >= m * h && out.len() >= m * h && beta.len() >= h && residual.is_none_or(|r| r.len() >= m * h));
    let residual = residual.map_or(std::ptr::null(), <[f32]>::as_ptr);
    run!(rows::layer_norm[](x: *mut f32 = x.as_mut_ptr(), r: *const f32 = residual, m: usize = m, h: usize = h,
        gamma: *const f32 = gamma.as_ptr(), beta: *const f32 = beta.as_ptr(), eps: f32 = eps,
        out: *mut f32 = out.as_mut_ptr(), rstd: *mut f32 = rstd.as_mut_ptr(), normalized: bool = normalized));
}

/// Backward of [`layer_norm`]: `grad` of the result becomes that of the input; scale's and shift's are added to.
pub fn layer_norm_backward(
    grad: &mut [f32],
    normalized: &[f32],
    rstd: &[f32],
    gamma: &[f32],
    d_gamma: &mut [f32],
    d_beta: &mut [f32],
) {
    let (h, m) = (gamma.len(), rstd.len());
    assert!(grad.len() >= m * h && normalized.len() >= m * h && d_gamma.len() >= h && d_beta.len() >= h);
    run!(rows::layer_norm_backward[](g: *mut f32 = grad.as_mut_ptr(), normalized: *const f32 = normalized.as_ptr(),
        rstd: *const f32 = rstd.as_ptr(), m: usize = m, h: usize = h, gamma: *const f32 = gamma.as_ptr(),
        dg: *mut f32 = d_gamma.as_mut_ptr(), db: *mut f32 = d_beta.as_mut_ptr()));
}

/// Softmax of `x * by` in place over the first `k` values of rows `stride` apart; `by` above 0.
pub fn softmax(x: &mut [f32], stride: usize, m: usize, k: usize, by: f32) {
    assert!(k > 0 && k <= stride && by > 0.0 && (m == 0 || x.len() >= (m - 1) * stride + k));
    run!(rows::softmax[](x: *mut f32 = x.as_mut_ptr(), stride: usize = stride, m: usize = m, k: usize = k,
        by: f32 = by));
}

/// [`softmax`] before it is divided by its sums, as packed words `[m, steps]`; `inverse` gets one over each row's sum, for
/// [`scale_rows`] after the product. `x` is used up. f32 or bf16.
pub fn softmax_packed(
    dtype: Dtype,
    x: &mut [f32],
    stride: usize,
    m: usize,
    k: usize,
    by: f32,
    to: &mut [u32],
    inverse: &mut [f32],
) {
    let depth = packed_len(dtype, k);
    assert!(k > 0 && k <= stride && by > 0.0 && (m == 0 || x.len() >= (m - 1) * stride + k));
    assert!(dtype != Dtype::Int8 && to.len() >= m * depth && inverse.len() >= m);
    let (x, to, inverse) = (x.as_mut_ptr(), to.as_mut_ptr(), inverse.as_mut_ptr());
    macro_rules! go {
        ($kind:ident) => {
            run!(rows::softmax_packed[$kind](x: *mut f32 = x, stride: usize = stride, m: usize = m, k: usize = k,
                by: f32 = by, to: *mut u32 = to, depth: usize = depth, inverse: *mut f32 = inverse))
        };
    }
    match dtype {
        Dtype::F32 => go!(F32),
        _ => go!(BF16),
    }
}

/// Each of `m` rows of `k` values, `stride` apart, times its own factor.
pub fn scale_rows(x: &mut [f32], stride: usize, m: usize, k: usize, by: &[f32]) {
    assert!(k <= stride && by.len() >= m && (m == 0 || x.len() >= (m - 1) * stride + k));
    run!(rows::scale_rows[](x: *mut f32 = x.as_mut_ptr(), stride: usize = stride, m: usize = m, k: usize = k,
        by: *const f32 = by.as_ptr()));
}

/// Backward of [`softmax`] in place, times `by`.
pub fn softmax_backward(grad: &mut [f32], p: &[f32], stride: usize, m: usize, k: usize, by: f32) {
    let needed = if m == 0 { 0 } else { (m - 1) * stride + k };
    assert!(k <= stride && grad.len() >= needed && p.len() >= needed);
    run!(rows::softmax_backward[](g: *mut f32 = grad.as_mut_ptr(), p: *const f32 = p.as_ptr(), stride: usize = stride,
        m: usize = m, k: usize = k, by: f32 = by));
}

/// Dropout in place; value `i` depends on (`seed`, `first + i`) alone. `p` in [0, 1).
pub fn dropout(x: &mut [f32], seed: u64, first: u32, p: f32) {
    if p > 0.0 {
        let n = x.len();
        run!(rows::dropout[](x: *mut f32 = x.as_mut_ptr(), n: usize = n, seed: u64 = seed, first: u32 = first,
            p: f32 = p));
    }
}

/// Sums of the columns of `[m, n]`, added to `to` of `n` values.
pub fn column_sums(x: &[f32], to: &mut [f32]) {
    let n = to.len();
    assert!(n > 0 && x.len().is_multiple_of(n));
    let m = x.len() / n;
    run!(rows::column_sums[](x: *const f32 = x.as_ptr(), m: usize = m, n: usize = n, to: *mut f32 = to.as_mut_ptr()));
}

/// Sum of the squares.
pub fn squares(x: &[f32]) -> f32 {
    let mut sum = 0f32;
    run!(rows::squares[](x: *const f32 = x.as_ptr(), n: usize = x.len(), to: *mut f32 = &mut sum));
    sum
}

/// Settings of one AdamW step.
#[derive(Debug, Clone, Copy)]
pub struct AdamStep {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay.
    pub decay: f32,
    /// `1 - beta1^t`.
    pub correction1: f32,
    /// `1 - beta2^t`.
    pub correction2: f32,
    /// Gradients are multiplied by it first (clipping, accumulation).
    pub grad_scale: f32,
}

/// First moments of an AdamW step.
#[derive(Debug)]
pub enum First<'a> {
    /// f32.
    F32(&'a mut [f32]),
    /// bfloat16.
    Bf16(&'a mut [u16]),
}

/// One AdamW step over a slice of values.
pub fn adamw(value: &mut [f32], grad: &[f32], first: First, second: &mut [f32], step: &AdamStep) {
    let n = value.len();
    assert!(grad.len() == n && second.len() == n);
    macro_rules! go {
        ($is_bf16:literal, $first:ident) => {{
            assert!($first.len() == n);
            run!(rows::adamw[$is_bf16](v: *mut f32 = value.as_mut_ptr(), g: *const f32 = grad.as_ptr(),
                m: *mut u8 = $first.as_mut_ptr().cast(), s: *mut f32 = second.as_mut_ptr(), n: usize = n,
                step: &AdamStep = step))
        }};
    }
    match first {
        First::F32(first) => go!(false, first),
        First::Bf16(first) => go!(true, first),
    }
}
