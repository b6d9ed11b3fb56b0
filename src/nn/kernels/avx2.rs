//! AVX2 with FMA: two registers of eight lanes stand for sixteen. Integer and bfloat16 products are emulated exactly.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each is the body of an unsafe fn, which hands its own contract on"
)]
use std::arch::x86_64::*;

use super::lanes::Lanes;

pub(super) struct Avx2;

type V = [__m256i; 2];

#[inline(always)]
fn f(v: __m256i) -> __m256 {
    unsafe { std::mem::transmute(v) }
}
#[inline(always)]
fn i(v: __m256) -> __m256i {
    unsafe { std::mem::transmute(v) }
}

macro_rules! float2 {
    ($name:ident, $op:ident) => {
        #[inline(always)]
        unsafe fn $name(a: V, b: V) -> V {
            unsafe { [i($op(f(a[0]), f(b[0]))), i($op(f(a[1]), f(b[1])))] }
        }
    };
}
macro_rules! int2 {
    ($name:ident, $op:ident) => {
        #[inline(always)]
        unsafe fn $name(a: V, b: V) -> V {
            unsafe { [$op(a[0], b[0]), $op(a[1], b[1])] }
        }
    };
}

/// Through memory, for the few operations AVX2 has no good instruction for.
#[inline(always)]
unsafe fn array(v: V) -> [u32; 16] {
    unsafe { std::mem::transmute(v) }
}

#[inline(always)]
unsafe fn flush(a: __m256i) -> __m256i {
    unsafe {
        let exponent = _mm256_and_si256(a, _mm256_set1_epi32(0x7f80_0000));
        let tiny = _mm256_cmpeq_epi32(exponent, _mm256_setzero_si256());
        _mm256_andnot_si256(_mm256_andnot_si256(_mm256_set1_epi32(i32::MIN), tiny), a)
    }
}

#[inline(always)]
unsafe fn dot_bf16(acc: __m256i, a: __m256i, b: __m256i) -> __m256i {
    unsafe {
        let high = _mm256_set1_epi32(0xffff_0000u32 as i32);
        let lo = |x| f(flush(_mm256_slli_epi32::<16>(x)));
        let hi = |x| f(flush(_mm256_and_si256(x, high)));
        let sum = flush(i(_mm256_fmadd_ps(hi(a), hi(b), f(flush(acc)))));
        flush(i(_mm256_fmadd_ps(lo(a), lo(b), f(sum))))
    }
}

#[inline(always)]
unsafe fn dot_i8(acc: __m256i, a: __m256i, b: __m256i) -> __m256i {
    unsafe {
        let a_even = _mm256_and_si256(a, _mm256_set1_epi32(0x00ff_00ff));
        let a_odd = _mm256_srli_epi16::<8>(a);
        let b_even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(b));
        let b_odd = _mm256_srai_epi16::<8>(b);
        let sum = _mm256_add_epi32(_mm256_madd_epi16(a_even, b_even), _mm256_madd_epi16(a_odd, b_odd));
        _mm256_add_epi32(acc, sum)
    }
}

// SAFETY: callers hold a CPU with avx2 and fma (checked once by `unit`); partial loads and stores go through an array and
// touch the named lanes only.
unsafe impl Lanes for Avx2 {
    type V = V;
    const ROWS: usize = 4;
    const COLS: usize = 1;

    #[inline(always)]
    unsafe fn prefetch(p: *const u32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> V {
        unsafe { [_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(8).cast())] }
    }
    #[inline(always)]
    unsafe fn load_n(p: *const f32, n: usize) -> V {
        if n >= 16 {
            return unsafe { Self::load(p) };
        }
        let mut x = [0f32; 16];
        unsafe {
            std::ptr::copy_nonoverlapping(p, x.as_mut_ptr(), n);
            Self::load(x.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: V) {
        unsafe {
            _mm256_storeu_si256(p.cast(), v[0]);
            _mm256_storeu_si256(p.add(8).cast(), v[1]);
        }
    }
    #[inline(always)]
    unsafe fn store_n(p: *mut f32, v: V, n: usize) {
        unsafe {
            if n >= 16 {
                return Self::store(p, v);
            }
            std::ptr::copy_nonoverlapping(array(v).as_ptr().cast(), p, n);
        }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> V {
        unsafe { [i(_mm256_set1_ps(x)); 2] }
    }
    #[inline(always)]
    unsafe fn splat_u32(x: u32) -> V {
        unsafe { [_mm256_set1_epi32(x as i32); 2] }
    }
    float2!(add, _mm256_add_ps);
    float2!(sub, _mm256_sub_ps);
    float2!(mul, _mm256_mul_ps);
    float2!(max, _mm256_max_ps);
    float2!(min, _mm256_min_ps);
    float2!(div, _mm256_div_ps);
    int2!(add_i32, _mm256_add_epi32);
    int2!(sub_i32, _mm256_sub_epi32);
    int2!(mul_u32, _mm256_mullo_epi32);
    int2!(xor, _mm256_xor_si256);
    int2!(or, _mm256_or_si256);

    #[inline(always)]
    unsafe fn fma(a: V, b: V, c: V) -> V {
        unsafe { [i(_mm256_fmadd_ps(f(a[0]), f(b[0]), f(c[0]))), i(_mm256_fmadd_ps(f(a[1]), f(b[1]), f(c[1])))] }
    }
    #[inline(always)]
    unsafe fn sqrt(a: V) -> V {
        unsafe { [i(_mm256_sqrt_ps(f(a[0]))), i(_mm256_sqrt_ps(f(a[1])))] }
    }
    #[inline(always)]
    unsafe fn abs(a: V) -> V {
        unsafe {
            let bits = _mm256_set1_epi32(i32::MAX);
            [_mm256_and_si256(a[0], bits), _mm256_and_si256(a[1], bits)]
        }
    }
    #[inline(always)]
    unsafe fn round_i32(a: V) -> V {
        unsafe { [_mm256_cvtps_epi32(f(a[0])), _mm256_cvtps_epi32(f(a[1]))] }
    }
    #[inline(always)]
    unsafe fn i32_to_f32(a: V) -> V {
        unsafe { [i(_mm256_cvtepi32_ps(a[0])), i(_mm256_cvtepi32_ps(a[1]))] }
    }
    #[inline(always)]
    unsafe fn shl<const N: u32>(a: V) -> V {
        unsafe {
            let n = _mm_cvtsi32_si128(N as i32);
            [_mm256_sll_epi32(a[0], n), _mm256_sll_epi32(a[1], n)]
        }
    }
    #[inline(always)]
    unsafe fn shr<const N: u32>(a: V) -> V {
        unsafe {
            let n = _mm_cvtsi32_si128(N as i32);
            [_mm256_srl_epi32(a[0], n), _mm256_srl_epi32(a[1], n)]
        }
    }
    #[inline(always)]
    unsafe fn keep_ge_u32(a: V, b: V, v: V) -> V {
        unsafe {
            let keep = |a, b, v| _mm256_and_si256(_mm256_cmpeq_epi32(_mm256_max_epu32(a, b), a), v);
            [keep(a[0], b[0], v[0]), keep(a[1], b[1], v[1])]
        }
    }
    #[inline(always)]
    unsafe fn to_bf16(a: V) -> V {
        unsafe {
            let round = |a: __m256i| {
                let a = flush(a);
                let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(a), _mm256_set1_epi32(1));
                let sum = _mm256_add_epi32(_mm256_add_epi32(a, _mm256_set1_epi32(0x7fff)), odd);
                let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(f(a), f(a)));
                let quiet = _mm256_or_si256(_mm256_srli_epi32::<16>(a), _mm256_set1_epi32(0x40));
                _mm256_blendv_epi8(_mm256_srli_epi32::<16>(sum), quiet, nan)
            };
            [round(a[0]), round(a[1])]
        }
    }
    #[inline(always)]
    unsafe fn store_u16(p: *mut u16, v: V, n: usize) {
        let x = unsafe { array(v) };
        for (j, x) in x.into_iter().enumerate().take(n) {
            unsafe { p.add(j).write_unaligned(x as u16) }
        }
    }
    #[inline(always)]
    unsafe fn load_u16(p: *const u16, n: usize) -> V {
        let mut x = [0u32; 16];
        for (j, x) in x.iter_mut().enumerate().take(n) {
            *x = u32::from(unsafe { p.add(j).read_unaligned() });
        }
        unsafe { std::mem::transmute(x) }
    }
    #[inline(always)]
    unsafe fn store_u8(p: *mut u8, v: V, n: usize) {
        let x = unsafe { array(v) };
        for (j, x) in x.into_iter().enumerate().take(n) {
            unsafe { p.add(j).write(x as u8) }
        }
    }
    #[inline(always)]
    unsafe fn dot_bf16(acc: V, a: V, b: V) -> V {
        unsafe { [dot_bf16(acc[0], a[0], b[0]), dot_bf16(acc[1], a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn dot_i8(acc: V, a: V, b: V) -> V {
        unsafe { [dot_i8(acc[0], a[0], b[0]), dot_i8(acc[1], a[1], b[1])] }
    }
}
