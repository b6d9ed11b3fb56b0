//! Plain arrays: compiles everywhere, and says what the other units must compute.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each is the body of an unsafe fn, which hands its own contract on"
)]
use super::lanes::Lanes;

pub(super) struct Portable;

type V = [u32; 16];

#[inline(always)]
fn f(a: V, op: impl Fn(f32) -> f32) -> V {
    std::array::from_fn(|i| op(f32::from_bits(a[i])).to_bits())
}
#[inline(always)]
fn ff(a: V, b: V, op: impl Fn(f32, f32) -> f32) -> V {
    std::array::from_fn(|i| op(f32::from_bits(a[i]), f32::from_bits(b[i])).to_bits())
}
#[inline(always)]
fn ii(a: V, b: V, op: impl Fn(u32, u32) -> u32) -> V {
    std::array::from_fn(|i| op(a[i], b[i]))
}
#[inline(always)]
pub(super) fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0.0f32.copysign(x) } else { x }
}
#[inline(always)]
pub(super) fn fma_flush(a: f32, b: f32, c: f32) -> f32 {
    flush(flush(a).mul_add(flush(b), flush(c)))
}

// SAFETY: only plain Rust; pointers are read and written within the lanes that the caller vouches for.
unsafe impl Lanes for Portable {
    type V = V;
    const ROWS: usize = 4;
    const COLS: usize = 2;

    unsafe fn prefetch(_: *const u32) {}
    #[inline(always)]
    unsafe fn load(p: *const f32) -> V {
        unsafe { p.cast::<V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_n(p: *const f32, n: usize) -> V {
        std::array::from_fn(|i| if i < n { unsafe { p.add(i).cast::<u32>().read_unaligned() } } else { 0 })
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: V) {
        unsafe { p.cast::<V>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn store_n(p: *mut f32, v: V, n: usize) {
        for (i, x) in v.into_iter().enumerate().take(n) {
            unsafe { p.add(i).cast::<u32>().write_unaligned(x) }
        }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> V {
        [x.to_bits(); 16]
    }
    #[inline(always)]
    unsafe fn splat_u32(x: u32) -> V {
        [x; 16]
    }
    #[inline(always)]
    unsafe fn add(a: V, b: V) -> V {
        ff(a, b, |x, y| x + y)
    }
    #[inline(always)]
    unsafe fn sub(a: V, b: V) -> V {
        ff(a, b, |x, y| x - y)
    }
    #[inline(always)]
    unsafe fn mul(a: V, b: V) -> V {
        ff(a, b, |x, y| x * y)
    }
    #[inline(always)]
    unsafe fn fma(a: V, b: V, c: V) -> V {
        std::array::from_fn(|i| f32::from_bits(a[i]).mul_add(f32::from_bits(b[i]), f32::from_bits(c[i])).to_bits())
    }
    #[inline(always)]
    unsafe fn max(a: V, b: V) -> V {
        ff(a, b, |x, y| if x > y { x } else { y })
    }
    #[inline(always)]
    unsafe fn min(a: V, b: V) -> V {
        ff(a, b, |x, y| if x < y { x } else { y })
    }
    #[inline(always)]
    unsafe fn div(a: V, b: V) -> V {
        ff(a, b, |x, y| x / y)
    }
    #[inline(always)]
    unsafe fn sqrt(a: V) -> V {
        f(a, f32::sqrt)
    }
    #[inline(always)]
    unsafe fn abs(a: V) -> V {
        f(a, f32::abs)
    }
    #[inline(always)]
    unsafe fn round_i32(a: V) -> V {
        a.map(|x| f32::from_bits(x).round_ties_even() as i32 as u32)
    }
    #[inline(always)]
    unsafe fn i32_to_f32(a: V) -> V {
        a.map(|x| (x as i32 as f32).to_bits())
    }
    #[inline(always)]
    unsafe fn add_i32(a: V, b: V) -> V {
        ii(a, b, u32::wrapping_add)
    }
    #[inline(always)]
    unsafe fn sub_i32(a: V, b: V) -> V {
        ii(a, b, u32::wrapping_sub)
    }
    #[inline(always)]
    unsafe fn mul_u32(a: V, b: V) -> V {
        ii(a, b, u32::wrapping_mul)
    }
    #[inline(always)]
    unsafe fn xor(a: V, b: V) -> V {
        ii(a, b, |x, y| x ^ y)
    }
    #[inline(always)]
    unsafe fn or(a: V, b: V) -> V {
        ii(a, b, |x, y| x | y)
    }
    #[inline(always)]
    unsafe fn shl<const N: u32>(a: V) -> V {
        a.map(|x| x << N)
    }
    #[inline(always)]
    unsafe fn shr<const N: u32>(a: V) -> V {
        a.map(|x| x >> N)
    }
    #[inline(always)]
    unsafe fn keep_ge_u32(a: V, b: V, v: V) -> V {
        std::array::from_fn(|i| if a[i] >= b[i] { v[i] } else { 0 })
    }
    #[inline(always)]
    unsafe fn to_bf16(a: V) -> V {
        a.map(|x| {
            let x = flush(f32::from_bits(x)).to_bits();
            if f32::from_bits(x).is_nan() { (x >> 16) | 0x40 } else { (x + 0x7fff + ((x >> 16) & 1)) >> 16 }
        })
    }
    #[inline(always)]
    unsafe fn store_u16(p: *mut u16, v: V, n: usize) {
        for (i, x) in v.into_iter().enumerate().take(n) {
            unsafe { p.add(i).write_unaligned(x as u16) }
        }
    }
    #[inline(always)]
    unsafe fn load_u16(p: *const u16, n: usize) -> V {
        std::array::from_fn(|i| if i < n { unsafe { u32::from(p.add(i).read_unaligned()) } } else { 0 })
    }
    #[inline(always)]
    unsafe fn store_u8(p: *mut u8, v: V, n: usize) {
        for (i, x) in v.into_iter().enumerate().take(n) {
            unsafe { p.add(i).write(x as u8) }
        }
    }
    #[inline(always)]
    unsafe fn dot_bf16(acc: V, a: V, b: V) -> V {
        std::array::from_fn(|i| {
            let (hi, lo) = (|x: u32| f32::from_bits(x & 0xffff_0000), |x: u32| f32::from_bits(x << 16));
            let sum = fma_flush(hi(a[i]), hi(b[i]), f32::from_bits(acc[i]));
            fma_flush(lo(a[i]), lo(b[i]), sum).to_bits()
        })
    }
    #[inline(always)]
    unsafe fn dot_i8(acc: V, a: V, b: V) -> V {
        std::array::from_fn(|i| {
            let (x, y) = (a[i].to_le_bytes(), b[i].to_le_bytes());
            let dot: i32 = (0..4).map(|j| i32::from(x[j]) * i32::from(y[j] as i8)).sum();
            acc[i].wrapping_add(dot as u32)
        })
    }
}
