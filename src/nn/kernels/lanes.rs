//! Sixteen 32-bit lanes: the one vector every unit offers, whatever its registers are.
//!
//! Each row operation is written once, generic over [`Lanes`], with a fixed order of every sum (sixteen running sums, then
//! a fixed tree). So all units give the same bits, and a unit is a short file of wrappers. Refused: one copy of each
//! operation per instruction set, and automatic vectorisation, which may change with the compiler.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each is the body of an unsafe fn, which hands its own contract on"
)]

use super::gemm::transpose_some;

/// Sixteen lanes of 32 bits, read as `f32`, `i32` or `u32` as the operation says.
///
/// # Safety
/// Every method needs a CPU with the unit's instructions; pointers must be good for the lanes they name.
pub(super) unsafe trait Lanes {
    /// The register(s).
    type V: Copy;
    /// Rows of a product computed at once.
    const ROWS: usize;
    /// Vectors of columns computed at once: 1 or 2.
    const COLS: usize;

    /// Fetches a cache line into the first level; any address will do.
    unsafe fn prefetch(p: *const u32);
    unsafe fn load(p: *const f32) -> Self::V;
    /// The first `n <= 16` lanes; the rest are zero.
    unsafe fn load_n(p: *const f32, n: usize) -> Self::V;
    unsafe fn store(p: *mut f32, v: Self::V);
    unsafe fn store_n(p: *mut f32, v: Self::V, n: usize);
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn splat_u32(x: u32) -> Self::V;

    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sqrt(a: Self::V) -> Self::V;
    unsafe fn abs(a: Self::V) -> Self::V;

    /// Nearest integer, ties to even.
    unsafe fn round_i32(a: Self::V) -> Self::V;
    unsafe fn i32_to_f32(a: Self::V) -> Self::V;
    unsafe fn add_i32(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub_i32(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul_u32(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn xor(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn or(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn shl<const N: u32>(a: Self::V) -> Self::V;
    unsafe fn shr<const N: u32>(a: Self::V) -> Self::V;
    /// `v` where `a >= b` as unsigned integers, else 0.
    unsafe fn keep_ge_u32(a: Self::V, b: Self::V, v: Self::V) -> Self::V;

    /// bfloat16 of each lane in its low half (nearest, ties to even; subnormals become 0).
    unsafe fn to_bf16(a: Self::V) -> Self::V;
    /// The low halves of the first `n` lanes, 16 bits each.
    unsafe fn store_u16(p: *mut u16, v: Self::V, n: usize);
    /// Lanes from 16-bit values, zero-extended; the first `n`.
    unsafe fn load_u16(p: *const u16, n: usize) -> Self::V;
    /// The low bytes of the first `n` lanes.
    unsafe fn store_u8(p: *mut u8, v: Self::V, n: usize);

    /// Sixteen rows of sixteen units to sixteen columns, strides in units.
    #[inline(always)]
    unsafe fn transpose(from: *const u32, from_stride: usize, to: *mut u32, to_stride: usize) {
        unsafe { transpose_some(from, from_stride, 16, 16, to, to_stride) }
    }

    /// `acc + a * b` in f32.
    #[inline(always)]
    unsafe fn dot_f32(acc: Self::V, a: Self::V, b: Self::V) -> Self::V {
        unsafe { Self::fma(a, b, acc) }
    }
    /// `acc + a.lo * b.lo + a.hi * b.hi` with bfloat16 halves and f32 sums.
    unsafe fn dot_bf16(acc: Self::V, a: Self::V, b: Self::V) -> Self::V;
    /// `acc + sum of four products`, unsigned bytes of `a` with signed bytes of `b`, exact in i32.
    unsafe fn dot_i8(acc: Self::V, a: Self::V, b: Self::V) -> Self::V;

    /// Sum of all lanes in a fixed tree: the upper half is added to the lower one, down to one lane.
    #[inline(always)]
    unsafe fn sum(v: Self::V) -> f32 {
        unsafe { fold::<Self>(v, |a, b| a + b) }
    }
    /// Largest lane, by the same tree.
    #[inline(always)]
    unsafe fn largest(v: Self::V) -> f32 {
        unsafe { fold::<Self>(v, |a, b| if a > b { a } else { b }) }
    }
}

#[inline(always)]
unsafe fn fold<L: Lanes + ?Sized>(v: L::V, join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut x = [0f32; 16];
    unsafe { L::store(x.as_mut_ptr(), v) };
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            x[i] = join(x[i], x[i + half]);
        }
    }
    x[0]
}

/// Runs the block for every sixteen lanes of `k` values, at most 16 of them at the end: `i` is the first, `n` how many. A whole
/// sixteen has an `n` that the compiler sees, and so no mask.
macro_rules! sixteens {
    ($k:expr, |$i:ident, $n:ident| $run:block) => {{
        let mut at = 0;
        while at + 16 <= $k {
            let ($i, $n) = (at, 16);
            $run
            at += 16;
        }
        if at < $k {
            let ($i, $n) = (at, $k - at);
            $run
        }
    }};
}
pub(super) use sixteens;
