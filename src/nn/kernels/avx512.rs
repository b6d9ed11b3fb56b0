//! AVX-512 with VNNI and BF16: Zen 4 and later, Cooper Lake, Sapphire Rapids and later.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each is the body of an unsafe fn, which hands its own contract on"
)]
use std::arch::x86_64::*;

use super::lanes::Lanes;

pub(super) struct Avx512;

#[inline(always)]
fn mask(n: usize) -> __mmask16 {
    if n >= 16 { 0xffff } else { (1u16 << n) - 1 }
}
#[inline(always)]
fn f(v: __m512i) -> __m512 {
    unsafe { std::mem::transmute(v) }
}
#[inline(always)]
fn i(v: __m512) -> __m512i {
    unsafe { std::mem::transmute(v) }
}

/// The trait's own tree of sixteen lanes, in registers.
macro_rules! tree {
    ($name:ident, $eight:ident, $four:ident) => {
        #[inline(always)]
        unsafe fn $name(v: __m512i) -> f32 {
            unsafe {
                let x = $eight(_mm512_castps512_ps256(f(v)), _mm512_extractf32x8_ps::<1>(f(v)));
                let x = $four(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
                let x = $four(x, _mm_movehl_ps(x, x));
                _mm_cvtss_f32($four(x, _mm_movehdup_ps(x)))
            }
        }
    };
}

// SAFETY: callers hold a CPU with avx512f, bw, dq, vl, vnni and bf16 (checked once by `unit`), and masked loads and stores
// touch the named lanes only.
unsafe impl Lanes for Avx512 {
    type V = __m512i;
    const ROWS: usize = 12;
    const COLS: usize = 2;

    #[inline(always)]
    unsafe fn prefetch(p: *const u32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512i {
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn load_n(p: *const f32, n: usize) -> __m512i {
        unsafe { _mm512_maskz_loadu_epi32(mask(n), p.cast()) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m512i) {
        unsafe { _mm512_storeu_si512(p.cast(), v) }
    }
    #[inline(always)]
    unsafe fn store_n(p: *mut f32, v: __m512i, n: usize) {
        unsafe { _mm512_mask_storeu_epi32(p.cast(), mask(n), v) }
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512i {
        unsafe { i(_mm512_set1_ps(x)) }
    }
    #[inline(always)]
    unsafe fn splat_u32(x: u32) -> __m512i {
        unsafe { _mm512_set1_epi32(x as i32) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512i, b: __m512i) -> __m512i {
        unsafe { i(_mm512_add_ps(f(a), f(b))) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512i, b: __m512i) -> __m512i {
        unsafe { i(_mm512_sub_ps(f(a), f(b))) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512i, b: __m512i) -> __m512i {
        unsafe { i(_mm512_mul_ps(f(a), f(b))) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        unsafe { i(_mm512_fmadd_ps(f(a), f(b), f(c))) }
    }
    #[inline(always)]
    unsafe fn max(a: __m512i, b: __m512i) -> __m512i {
        unsafe { i(_mm512_max_ps(f(a), f(b))) }
    }
    #[inline(always)]
    unsafe fn min(a: __m512i, b: __m512i) -> __m512i {
        unsafe { i(_mm512_min_ps(f(a), f(b))) }
    }
    #[inline(always)]
    unsafe fn div(a: __m512i, b: __m512i) -> __m512i {
        unsafe { i(_mm512_div_ps(f(a), f(b))) }
    }
    #[inline(always)]
    unsafe fn sqrt(a: __m512i) -> __m512i {
        unsafe { i(_mm512_sqrt_ps(f(a))) }
    }
    #[inline(always)]
    unsafe fn abs(a: __m512i) -> __m512i {
        unsafe { i(_mm512_abs_ps(f(a))) }
    }
    #[inline(always)]
    unsafe fn round_i32(a: __m512i) -> __m512i {
        unsafe { _mm512_cvt_roundps_epi32::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(f(a)) }
    }
    #[inline(always)]
    unsafe fn i32_to_f32(a: __m512i) -> __m512i {
        unsafe { i(_mm512_cvtepi32_ps(a)) }
    }
    #[inline(always)]
    unsafe fn add_i32(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn sub_i32(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_sub_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn mul_u32(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_mullo_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn xor(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_xor_si512(a, b) }
    }
    #[inline(always)]
    unsafe fn or(a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    unsafe fn shl<const N: u32>(a: __m512i) -> __m512i {
        unsafe { _mm512_slli_epi32::<N>(a) }
    }
    #[inline(always)]
    unsafe fn shr<const N: u32>(a: __m512i) -> __m512i {
        unsafe { _mm512_srli_epi32::<N>(a) }
    }
    #[inline(always)]
    unsafe fn keep_ge_u32(a: __m512i, b: __m512i, v: __m512i) -> __m512i {
        unsafe { _mm512_maskz_mov_epi32(_mm512_cmpge_epu32_mask(a, b), v) }
    }
    #[inline(always)]
    unsafe fn to_bf16(a: __m512i) -> __m512i {
        unsafe { _mm512_cvtepu16_epi32(std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(f(a)))) }
    }
    #[inline(always)]
    unsafe fn store_u16(p: *mut u16, v: __m512i, n: usize) {
        unsafe { _mm256_mask_storeu_epi16(p.cast(), mask(n), _mm512_cvtepi32_epi16(v)) }
    }
    #[inline(always)]
    unsafe fn load_u16(p: *const u16, n: usize) -> __m512i {
        unsafe { _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask(n), p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_u8(p: *mut u8, v: __m512i, n: usize) {
        // a whole vector without the masked form, which is slow
        unsafe {
            if n >= 16 {
                _mm_storeu_si128(p.cast(), _mm512_cvtepi32_epi8(v))
            } else {
                _mm512_mask_cvtepi32_storeu_epi8(p.cast(), mask(n), v)
            }
        }
    }
    // No closure here: one would be a function of its own, without the instructions.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    unsafe fn transpose(from: *const u32, from_stride: usize, to: *mut u32, to_stride: usize) {
        unsafe {
            // fours[group][c] holds columns c, c + 4, c + 8 and c + 12 of rows 4 * group to 4 * group + 3
            let mut fours = [[_mm512_setzero_si512(); 4]; 4];
            for group in 0..4 {
                let row = from.add(4 * group * from_stride);
                let a = _mm512_loadu_si512(row.cast());
                let b = _mm512_loadu_si512(row.add(from_stride).cast());
                let c = _mm512_loadu_si512(row.add(2 * from_stride).cast());
                let d = _mm512_loadu_si512(row.add(3 * from_stride).cast());
                let (low, high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
                let (low2, high2) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
                fours[group][0] = _mm512_unpacklo_epi64(low, low2);
                fours[group][1] = _mm512_unpackhi_epi64(low, low2);
                fours[group][2] = _mm512_unpacklo_epi64(high, high2);
                fours[group][3] = _mm512_unpackhi_epi64(high, high2);
            }
            for c in 0..4 {
                let even = _mm512_shuffle_i32x4::<0x88>(fours[0][c], fours[1][c]);
                let odd = _mm512_shuffle_i32x4::<0xdd>(fours[0][c], fours[1][c]);
                let even2 = _mm512_shuffle_i32x4::<0x88>(fours[2][c], fours[3][c]);
                let odd2 = _mm512_shuffle_i32x4::<0xdd>(fours[2][c], fours[3][c]);
                let column = to.add(c * to_stride);
                _mm512_storeu_si512(column.cast(), _mm512_shuffle_i32x4::<0x88>(even, even2));
                _mm512_storeu_si512(column.add(4 * to_stride).cast(), _mm512_shuffle_i32x4::<0x88>(odd, odd2));
                _mm512_storeu_si512(column.add(8 * to_stride).cast(), _mm512_shuffle_i32x4::<0xdd>(even, even2));
                _mm512_storeu_si512(column.add(12 * to_stride).cast(), _mm512_shuffle_i32x4::<0xdd>(odd, odd2));
            }
        }
    }
    #[inline(always)]
    unsafe fn dot_bf16(acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
        let pairs = |v| unsafe { std::mem::transmute::<__m512i, __m512bh>(v) };
        unsafe { i(_mm512_dpbf16_ps(f(acc), pairs(a), pairs(b))) }
    }
    #[inline(always)]
    unsafe fn dot_i8(acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(acc, a, b) }
    }
    tree!(sum, _mm256_add_ps, _mm_add_ps);
    tree!(largest, _mm256_max_ps, _mm_max_ps);
}
