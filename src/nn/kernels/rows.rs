//! Everything of an encoder that is not a matrix product, one row of tokens after another, in f32.
//!
//! GELU's normal distribution function is a polynomial on [-5, 5] (largest error of `x * cdf(x)`: 5e-6; before rounding to
//! bytes a shorter one on [-3.95, 3.95], 1.7e-4), the exponential Cody and Waite's reduction with a polynomial of degree 6 (relative error below 2e-7).
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each is the body of an unsafe fn, which hands its own contract on"
)]

use super::gemm::{BF16, F32, INT8, load_packed, row_bytes, store_packed};
use super::lanes::{Lanes, sixteens};

/// `exp(x)`, for `x` up to 87; what is below -87 counts as -87.
#[inline(always)]
unsafe fn exp<L: Lanes>(x: L::V) -> L::V {
    unsafe {
        let x = L::max(x, L::splat(-87.0));
        let n = L::round_i32(L::mul(x, L::splat(std::f32::consts::LOG2_E)));
        let m = L::i32_to_f32(n);
        let r = L::fma(m, L::splat(-0.693_359_4), x);
        let r = L::fma(m, L::splat(2.121_944_4e-4), r);
        let mut p = L::splat(1.987_569_1e-4);
        for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
            p = L::fma(p, r, L::splat(c));
        }
        let p = L::add(L::fma(p, L::mul(r, r), r), L::splat(1.0));
        // by a power of two, which is a sum of exponents
        L::add_i32(p, L::shl::<23>(n))
    }
}

/// `2^x` on [-0.5, 0.5], highest power first.
const EXP2: [f32; 4] = [0.055_171_67, 0.242_611_13, 0.693_261, 0.999_928_07];

/// `2^x` for what becomes bfloat16, `x` up to 126 and what is below -125 as -125: a polynomial of degree 3 for the fraction,
/// relative error 7.5e-5.
#[inline(always)]
unsafe fn exp2_short<L: Lanes>(x: L::V) -> L::V {
    unsafe {
        let x = L::max(x, L::splat(-125.0));
        let n = L::round_i32(x);
        let r = L::sub(x, L::i32_to_f32(n));
        let mut p = L::splat(EXP2[0]);
        for c in &EXP2[1..] {
            p = L::fma(p, r, L::splat(*c));
        }
        L::add_i32(p, L::shl::<23>(n))
    }
}

/// `(cdf(x) - 0.5) / x` on [-limit, limit] as a polynomial of `2 (x / limit)^2 - 1`, highest power first.
struct Cdf<const N: usize> {
    limit: f32,
    powers: [f32; N],
}

const CDF: Cdf<12> = Cdf {
    limit: 5.0,
    powers: [
        -0.001_096_038_3,
        0.003_194_173_8,
        -0.003_887_543_6,
        0.005_113_849_3,
        -0.010_164_957,
        0.016_909_727,
        -0.023_625_106,
        0.031_356_839,
        -0.040_391_966,
        0.051_525_386,
        -0.070_298_23,
        0.141_363_75,
    ],
};

/// Short, for results that become bytes: steps of those are wider than 0.004 where a row's largest value is 0.5 or more.
const SHORT: Cdf<7> = Cdf {
    limit: 3.95,
    powers: [0.005_515_549, -0.015_529_703, 0.023_265_948, -0.035_074_636, 0.055_405_91, -0.085_098_535, 0.178_098_29],
};

/// The standard normal's distribution function.
#[inline(always)]
unsafe fn normal_cdf<L: Lanes, const N: usize>(x: L::V, cdf: &Cdf<N>) -> L::V {
    unsafe {
        let x = L::max(L::min(x, L::splat(cdf.limit)), L::splat(-cdf.limit));
        let u = L::fma(L::mul(x, x), L::splat(2.0 / (cdf.limit * cdf.limit)), L::splat(-1.0));
        let mut p = L::splat(cdf.powers[0]);
        for c in &cdf.powers[1..] {
            p = L::fma(p, u, L::splat(*c));
        }
        L::fma(x, p, L::splat(0.5))
    }
}

/// GELU, as exact as its result is stored.
#[inline(always)]
unsafe fn gelu<L: Lanes, const KIND: u8>(x: L::V) -> L::V {
    unsafe { L::mul(x, if KIND == INT8 { normal_cdf::<L, 7>(x, &SHORT) } else { normal_cdf::<L, 12>(x, &CDF) }) }
}

/// GELU over packed words `[m, k]`, f32 or else bf16, as the rows' packed words for the next product. `line` is scratch for `k` values.
#[inline(always)]
pub(super) unsafe fn gelu_packed<L: Lanes, const KIND: u8>(
    x: *const u32,
    row_steps: usize,
    m: usize,
    k: usize,
    to: *mut u32,
    steps: usize,
    scale: *mut f32,
    line: *mut f32,
) {
    unsafe {
        for row in 0..m {
            let (x, y) = (x.add(row * row_steps), to.add(row * steps));
            if KIND == INT8 {
                let mut largest = L::splat(0.0);
                sixteens!(k, |i, n| {
                    let v = gelu::<L, INT8>(load_packed::<L, BF16>(x, i, n));
                    L::store_n(line.add(i), v, n);
                    largest = L::max(largest, L::abs(v));
                });
                row_bytes::<L>(line, k, largest, y, steps, scale.add(row));
                continue;
            }
            sixteens!(k, |i, n| {
                store_packed::<L, KIND>(y, i, gelu::<L, KIND>(load_packed::<L, KIND>(x, i, n)), n);
            });
        }
    }
}

/// `grad *= gelu'(x)` over `n` values; `x` are packed words.
#[inline(always)]
pub(super) unsafe fn gelu_backward<L: Lanes, const KIND: u8>(x: *const u32, grad: *mut f32, n: usize) {
    unsafe {
        sixteens!(n, |i, lanes| {
            let v = load_packed::<L, KIND>(x, i, lanes);
            let density = L::mul(exp::<L>(L::mul(L::mul(v, v), L::splat(-0.5))), L::splat(0.398_942_3));
            let slope = L::fma(v, density, normal_cdf::<L, 12>(v, &CDF));
            L::store_n(grad.add(i), L::mul(L::load_n(grad.add(i), lanes), slope), lanes);
        });
    }
}

/// `a += b`.
#[inline(always)]
pub(super) unsafe fn add<L: Lanes>(a: *mut f32, b: *const f32, n: usize) {
    unsafe {
        sixteens!(n, |i, lanes| {
            L::store_n(a.add(i), L::add(L::load_n(a.add(i), lanes), L::load_n(b.add(i), lanes)), lanes);
        });
    }
}

/// LayerNorm of `x + residual` (`residual` may be null) over rows of `h`: `out` is the result, `rstd` one reciprocal deviation per
/// row. `x` is used up, or, where `normalized`, becomes the normalised rows before scale and shift.
#[inline(always)]
pub(super) unsafe fn layer_norm<L: Lanes>(
    x: *mut f32,
    residual: *const f32,
    m: usize,
    h: usize,
    gamma: *const f32,
    beta: *const f32,
    eps: f32,
    out: *mut f32,
    rstd: *mut f32,
    normalized: bool,
) {
    unsafe {
        for row in 0..m {
            let (x, out) = (x.add(row * h), out.add(row * h));
            let mut sum = L::splat(0.0);
            sixteens!(h, |i, n| {
                let mut v = L::load_n(x.add(i), n);
                if !residual.is_null() {
                    v = L::add(v, L::load_n(residual.add(row * h + i), n));
                    L::store_n(x.add(i), v, n);
                }
                sum = L::add(sum, v);
            });
            let mean = L::sum(sum) / h as f32;
            let middle = L::splat(mean);
            let mut squares = L::splat(0.0);
            sixteens!(h, |i, n| {
                let mut d = L::sub(L::load_n(x.add(i), n), middle);
                if n < 16 {
                    // lanes past the row hold -mean: bring them back to zero
                    let mut lanes = [0f32; 16];
                    L::store_n(lanes.as_mut_ptr(), d, n);
                    d = L::load(lanes.as_ptr());
                }
                squares = L::fma(d, d, squares);
            });
            let r = 1.0 / (L::sum(squares) / h as f32 + eps).sqrt();
            *rstd.add(row) = r;
            let scale = L::splat(r);
            sixteens!(h, |i, n| {
                let v = L::mul(L::sub(L::load_n(x.add(i), n), middle), scale);
                if normalized {
                    L::store_n(x.add(i), v, n);
                }
                L::store_n(out.add(i), L::fma(v, L::load_n(gamma.add(i), n), L::load_n(beta.add(i), n)), n);
            });
        }
    }
}

/// Backward of [`layer_norm`]: `grad` (of the result) becomes the gradient of the input; sums for scale and shift are
/// added to `d_gamma` and `d_beta`.
#[inline(always)]
pub(super) unsafe fn layer_norm_backward<L: Lanes>(
    grad: *mut f32,
    normalized: *const f32,
    rstd: *const f32,
    m: usize,
    h: usize,
    gamma: *const f32,
    d_gamma: *mut f32,
    d_beta: *mut f32,
) {
    unsafe {
        for row in 0..m {
            let (g, normalized) = (grad.add(row * h), normalized.add(row * h));
            let (mut sum, mut dot) = (L::splat(0.0), L::splat(0.0));
            sixteens!(h, |i, n| {
                let (dy, x) = (L::load_n(g.add(i), n), L::load_n(normalized.add(i), n));
                L::store_n(d_gamma.add(i), L::fma(dy, x, L::load_n(d_gamma.add(i), n)), n);
                L::store_n(d_beta.add(i), L::add(dy, L::load_n(d_beta.add(i), n)), n);
                let dx = L::mul(dy, L::load_n(gamma.add(i), n));
                sum = L::add(sum, dx);
                dot = L::fma(dx, x, dot);
                L::store_n(g.add(i), dx, n);
            });
            let mean = L::splat(-L::sum(sum) / h as f32);
            let along = L::splat(-L::sum(dot) / h as f32);
            let scale = L::splat(*rstd.add(row));
            sixteens!(h, |i, n| {
                let dx = L::add(L::load_n(g.add(i), n), mean);
                let dx = L::fma(L::load_n(normalized.add(i), n), along, dx);
                L::store_n(g.add(i), L::mul(dx, scale), n);
            });
        }
    }
}

/// `exp((x - max) * by)` of the first `k` values as packed words (f32 or bf16) to `y`, which may be `x`; gives their sum. The last
/// values go through `x`.
#[inline(always)]
unsafe fn exponentials<L: Lanes, const KIND: u8>(x: *mut f32, k: usize, by: f32, y: *mut u32) -> f32 {
    unsafe {
        let binary = L::splat(by * std::f32::consts::LOG2_E);
        let mut top = f32::NEG_INFINITY;
        if k >= 16 {
            let mut largest = L::load(x.add(k - 16));
            let mut i = 0;
            while i + 16 < k {
                largest = L::max(L::load(x.add(i)), largest);
                i += 16;
            }
            top = L::largest(largest);
        } else {
            for i in 0..k {
                let v = *x.add(i);
                top = if v > top { v } else { top };
            }
        }
        let shift = L::splat(top);
        let mut sum = L::splat(0.0);
        sixteens!(k, |i, n| {
            let x = x.add(i);
            let v = L::sub(L::load_n(x, n), shift);
            let mut e =
                if KIND == F32 { exp::<L>(L::mul(v, L::splat(by))) } else { exp2_short::<L>(L::mul(v, binary)) };
            if n < 16 {
                L::store_n(x, e, n);
                e = L::load_n(x, n);
            }
            sum = L::add(sum, e);
            store_packed::<L, KIND>(y, i, e, n);
        });
        L::sum(sum)
    }
}

/// Softmax of `x * by` in place over the first `k` of each of `m` rows of `stride` values, `by` above 0.
#[inline(always)]
pub(super) unsafe fn softmax<L: Lanes>(x: *mut f32, stride: usize, m: usize, k: usize, by: f32) {
    unsafe {
        for row in 0..m {
            let x = x.add(row * stride);
            let sum = exponentials::<L, F32>(x, k, by, x.cast());
            scale::<L>(x, k, 1.0 / sum);
        }
    }
}

/// [`softmax`] before it is divided by its sums, as packed words `[m, steps]`; `inverse` gets one over each row's sum. `x` is used up.
#[inline(always)]
pub(super) unsafe fn softmax_packed<L: Lanes, const KIND: u8>(
    x: *mut f32,
    stride: usize,
    m: usize,
    k: usize,
    by: f32,
    to: *mut u32,
    steps: usize,
    inverse: *mut f32,
) {
    unsafe {
        for row in 0..m {
            let sum = exponentials::<L, KIND>(x.add(row * stride), k, by, to.add(row * steps));
            *inverse.add(row) = 1.0 / sum;
        }
    }
}

/// Each of `m` rows of `k` values, `stride` apart, times its own factor.
#[inline(always)]
pub(super) unsafe fn scale_rows<L: Lanes>(x: *mut f32, stride: usize, m: usize, k: usize, by: *const f32) {
    unsafe {
        for row in 0..m {
            scale::<L>(x.add(row * stride), k, *by.add(row));
        }
    }
}

#[inline(always)]
unsafe fn scale<L: Lanes>(x: *mut f32, k: usize, by: f32) {
    unsafe {
        let by = L::splat(by);
        sixteens!(k, |i, n| {
            L::store_n(x.add(i), L::mul(L::load_n(x.add(i), n), by), n);
        });
    }
}

/// Backward of [`softmax`] in place: `grad = p * (grad - sum(grad * p)) * by` over the first `k` of each row.
#[inline(always)]
pub(super) unsafe fn softmax_backward<L: Lanes>(
    grad: *mut f32,
    p: *const f32,
    stride: usize,
    m: usize,
    k: usize,
    by: f32,
) {
    unsafe {
        let by = L::splat(by);
        for row in 0..m {
            let (g, p) = (grad.add(row * stride), p.add(row * stride));
            let mut dot = L::splat(0.0);
            sixteens!(k, |i, n| {
                dot = L::fma(L::load_n(g.add(i), n), L::load_n(p.add(i), n), dot);
            });
            let dot = L::splat(L::sum(dot));
            sixteens!(k, |i, n| {
                let d = L::mul(L::load_n(p.add(i), n), L::sub(L::load_n(g.add(i), n), dot));
                L::store_n(g.add(i), L::mul(d, by), n);
            });
        }
    }
}

/// Dropout in place over `n` values: value `i` is kept where a hash of (`seed`, `first + i`) reaches `p` of its range, and
/// then divided by `1 - p`. The same arguments give the same mask, so the backward pass keeps none.
#[inline(always)]
pub(super) unsafe fn dropout<L: Lanes>(x: *mut f32, n: usize, seed: u64, first: u32, p: f32) {
    unsafe {
        let limit = L::splat_u32((f64::from(p) * 4_294_967_296.0) as u32);
        let by = L::splat(1.0 / (1.0 - p));
        let mut lane = [0u32; 16];
        for (i, l) in lane.iter_mut().enumerate() {
            *l = i as u32;
        }
        let lane = L::load(lane.as_ptr().cast());
        let (low, high) = (L::splat_u32(seed as u32), L::splat_u32((seed >> 32) as u32));
        sixteens!(n, |i, lanes| {
            let mut z = L::add_i32(lane, L::splat_u32(first.wrapping_add(i as u32)));
            z = L::xor(L::mul_u32(z, L::splat_u32(0x9e37_79b1)), low);
            z = L::mul_u32(L::xor(z, L::shr::<16>(z)), L::splat_u32(0x85eb_ca6b));
            z = L::add_i32(z, high);
            z = L::mul_u32(L::xor(z, L::shr::<13>(z)), L::splat_u32(0xc2b2_ae35));
            z = L::xor(z, L::shr::<16>(z));
            let v = L::mul(L::load_n(x.add(i), lanes), by);
            L::store_n(x.add(i), L::keep_ge_u32(z, limit, v), lanes);
        });
    }
}

/// Sums of columns over rows `[m, n]`, added to `to`.
#[inline(always)]
pub(super) unsafe fn column_sums<L: Lanes>(x: *const f32, m: usize, n: usize, to: *mut f32) {
    unsafe {
        for row in 0..m {
            add::<L>(to, x.add(row * n), n);
        }
    }
}

/// Sum of squares of `n` values into `to`.
#[inline(always)]
pub(super) unsafe fn squares<L: Lanes>(x: *const f32, n: usize, to: *mut f32) {
    unsafe {
        let mut sum = L::splat(0.0);
        sixteens!(n, |i, lanes| {
            let v = L::load_n(x.add(i), lanes);
            sum = L::fma(v, v, sum);
        });
        *to = L::sum(sum);
    }
}

/// One AdamW step over `n` values (Loshchilov and Hutter, ICLR 2019): decoupled decay, bias-corrected moments. `first` points
/// to f32, or to bfloat16 where `IS_BF16`, which is rounded when it is stored and not before.
#[inline(always)]
pub(super) unsafe fn adamw<L: Lanes, const IS_BF16: bool>(
    value: *mut f32,
    grad: *const f32,
    first: *mut u8,
    second: *mut f32,
    n: usize,
    step: &super::AdamStep,
) {
    unsafe {
        let (b1, b2) = (L::splat(step.beta1), L::splat(step.beta2));
        let (a1, a2) = (L::splat(1.0 - step.beta1), L::splat(1.0 - step.beta2));
        let by = L::splat(step.grad_scale);
        let keep = L::splat(1.0 - step.lr * step.decay);
        let rate = L::splat(-step.lr / step.correction1);
        let root = L::splat(1.0 / step.correction2);
        let eps = L::splat(step.eps);
        sixteens!(n, |i, lanes| {
            let g = L::mul(L::load_n(grad.add(i), lanes), by);
            let (halves, floats) = (first.cast::<u16>().add(i), first.cast::<f32>().add(i));
            let m = if IS_BF16 { L::shl::<16>(L::load_u16(halves, lanes)) } else { L::load_n(floats, lanes) };
            let m = L::fma(m, b1, L::mul(g, a1));
            let v = L::fma(L::load_n(second.add(i), lanes), b2, L::mul(L::mul(g, g), a2));
            if IS_BF16 {
                L::store_u16(halves, L::to_bf16(m), lanes);
            } else {
                L::store_n(floats, m, lanes);
            }
            L::store_n(second.add(i), v, lanes);
            let size = L::add(L::sqrt(L::mul(v, root)), eps);
            let x = L::mul(L::load_n(value.add(i), lanes), keep);
            L::store_n(value.add(i), L::fma(rate, L::div(m, size), x), lanes);
        });
    }
}
