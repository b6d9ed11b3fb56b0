//! Tiles in silicon: Sapphire Rapids and later. Linux gives them to a process that asks.
//!
//! Intrinsics and detection of AMX are not stable in Rust yet; assembly is.
use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

use super::gemm::{BF16, Product};
use super::lanes::Lanes;
use super::tiles::{self, Config, Operands, STEP_BYTES, Sums, Tiles, program};

#[derive(Default)]
struct Silicon;

/// Assembly after which tiles hold other values.
macro_rules! tile_asm {
    ($($part:tt)*) => {
        asm!($($part)*, out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _,
            out("tmm6") _, out("tmm7") _, options(nostack))
    };
}

// SAFETY: the text reads and writes what `Operands` names and `Config` shapes, and compiled code uses no tiles of its own, so
// that their values stay from one piece of it to the next.
unsafe impl Tiles for Silicon {
    #[inline(always)]
    unsafe fn configure(&mut self, config: &Config) {
        // SAFETY: 64 bytes that `Config::of` made.
        unsafe { tile_asm!("ldtilecfg [{}]", in(reg) &raw const *config) }
    }
    #[inline(always)]
    unsafe fn begin(&mut self) {
        // SAFETY: the caller has configured the tiles.
        unsafe { tile_asm!(program!(begin)) }
    }
    #[inline(always)]
    unsafe fn steps<const KIND: u8>(&mut self, operands: &Operands) {
        let Operands { left, below, stride, panel } = *operands;
        macro_rules! go {
            ($dot:literal) => {
                tile_asm!(program!(steps $dot), left = in(reg) left, below = in(reg) below, panel = in(reg) panel,
                    stride = in(reg) stride, width = in(reg) STEP_BYTES)
            };
        }
        // SAFETY: the caller vouches for the pointers, and has configured the tiles.
        unsafe { if KIND == BF16 { go!("tdpbf16ps") } else { go!("tdpbusd") } }
    }
    #[inline(always)]
    unsafe fn end(&mut self, sums: *mut Sums) {
        // SAFETY: as in `steps`.
        unsafe { tile_asm!(program!(end), width = in(reg) STEP_BYTES, sums = in(reg) sums) }
    }
    #[inline(always)]
    unsafe fn release(&mut self) {
        // SAFETY: nothing is kept in tiles past a product.
        unsafe { tile_asm!("tilerelease") }
    }
}

/// # Safety
/// As [`tiles::product`], after [`granted`].
#[inline(always)]
pub(super) unsafe fn product<L: Lanes, const KIND: u8>(p: &Product) {
    // SAFETY: the caller's promise
    unsafe { tiles::product::<L, Silicon, KIND>(p) }
}

/// Whether the CPU has tiles with bf16 and int8, the system keeps their state, and this process may use them, which it asks
/// for and all its threads then may. Only for a CPU where AVX-512 was found.
pub(super) fn granted() -> bool {
    /// AMX-BF16, AMX-TILE and AMX-INT8 in EDX.
    const UNITS: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    /// Configuration and data of tiles in XCR0.
    const STATES: u64 = 1 << 17 | 1 << 18;
    #[target_feature(enable = "xsave")]
    fn states() -> u64 {
        // SAFETY: switched on by the attribute.
        unsafe { _xgetbv(0) }
    }
    // SAFETY: systems that let AVX-512 be found have switched XGETBV on.
    __cpuid(0).eax >= 7
        && __cpuid_count(7, 0).edx & UNITS == UNITS
        && unsafe { states() } & STATES == STATES
        && permitted()
}

/// Asks the kernel (5.16 or later) for the tiles' data.
fn permitted() -> bool {
    #[cfg(target_os = "linux")]
    {
        const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
        const TILE_DATA: libc::c_long = 18;
        // SAFETY: the call takes two numbers and touches no memory of ours.
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
    }
    #[cfg(not(target_os = "linux"))]
    false
}
