//! MaxSim: for each token of a query the largest of its products with a document's tokens. Lanes are query tokens, so that sums run over a
//! vector's values one after the other: a score depends on nothing but the two texts, and all units give the same bits.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each is the body of an unsafe fn, which hands its own contract on"
)]

use super::lanes::Lanes;

/// Query tokens that are compared at once: two vectors of lanes.
pub(super) const TOKENS: usize = 32;

/// Products of `B` document tokens with the query's, and the larger of these and of `top`.
#[inline(always)]
unsafe fn block<L: Lanes, const B: usize>(q: *const f32, d: *const f32, dim: usize, top: &mut [L::V; 2]) {
    unsafe {
        let mut sums = [[L::splat(0.0); 2]; B];
        for k in 0..dim {
            let (low, high) = (L::load(q.add(k * TOKENS)), L::load(q.add(k * TOKENS + 16)));
            for (token, sums) in sums.iter_mut().enumerate() {
                let x = L::splat(*d.add(token * dim + k));
                sums[0] = L::fma(low, x, sums[0]);
                sums[1] = L::fma(high, x, sums[1]);
            }
        }
        for sums in sums {
            top[0] = L::max(top[0], sums[0]);
            top[1] = L::max(top[1], sums[1]);
        }
    }
}

/// Largest products of [`TOKENS`] query tokens, `q [dim, TOKENS]`, with `n > 0` document tokens, `d [n, dim]`, to `out [TOKENS]`.
#[inline(always)]
pub(super) unsafe fn maxima<L: Lanes>(q: *const f32, d: *const f32, dim: usize, n: usize, out: *mut f32) {
    unsafe {
        let mut top = [L::splat(f32::MIN); 2];
        let mut at = 0;
        // as many as the unit has registers for
        if L::COLS == 2 {
            while at + 8 <= n {
                block::<L, 8>(q, d.add(at * dim), dim, &mut top);
                at += 8;
            }
        }
        while at + 2 <= n {
            block::<L, 2>(q, d.add(at * dim), dim, &mut top);
            at += 2;
        }
        if at < n {
            block::<L, 1>(q, d.add(at * dim), dim, &mut top);
        }
        L::store(out, top[0]);
        L::store(out.add(16), top[1]);
    }
}

/// The largest values of `n > 0` rows of a table in each of its first [`TOKENS`] columns.
#[inline(always)]
pub(super) unsafe fn largest_rows<L: Lanes>(
    table: *const f32,
    stride: usize,
    rows: *const u32,
    n: usize,
    out: *mut f32,
) {
    unsafe {
        let mut top = [L::splat(f32::MIN); 2];
        for at in 0..n {
            let row = table.add(*rows.add(at) as usize * stride);
            top[0] = L::max(top[0], L::load(row));
            top[1] = L::max(top[1], L::load(row.add(16)));
        }
        L::store(out, top[0]);
        L::store(out.add(16), top[1]);
    }
}

/// `n` values of 16 bits to f32: bfloat16, or IEEE's half (`HALF`), subnormal ones included; neither infinite nor no number.
#[inline(always)]
pub(super) unsafe fn widen<L: Lanes, const HALF: bool>(from: *const u16, to: *mut f32, n: usize) {
    unsafe {
        super::lanes::sixteens!(n, |i, some| {
            let x = L::load_u16(from.add(i), some);
            let x = if HALF {
                // the exponent's bias by a product, which a subnormal number takes as well
                let sign = L::shl::<31>(L::shr::<15>(x));
                let size = L::mul(L::shr::<4>(L::shl::<17>(x)), L::splat(5.192_297e33));
                L::or(sign, size)
            } else {
                L::shl::<16>(x)
            };
            L::store_n(to.add(i), x, some);
        });
    }
}
