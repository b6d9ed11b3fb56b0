//! Which unit computes: what this CPU has, and which one of it was chosen.

use std::sync::OnceLock;

use crate::{Error, Result};

/// A set of instructions that kernels are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Plain Rust.
    Portable,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 F, BW, DQ, VL, VNNI and BF16.
    Avx512,
    /// AMX tiles with BF16 and INT8, next to AVX-512.
    Amx,
    /// Tiles in plain Rust, next to the best lanes.
    #[cfg(test)]
    Emulated,
}

impl Unit {
    /// Its name in `SVERKA_CPU`.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Portable => "portable",
            Unit::Avx2 => "avx2",
            Unit::Avx512 => "avx512",
            Unit::Amx => "amx",
            #[cfg(test)]
            Unit::Emulated => "emulated tiles",
        }
    }
    /// The units this CPU has, best last.
    pub fn available() -> Vec<Unit> {
        #[allow(unused_mut)] // for other processors
        let mut units = Unit::of_lanes();
        #[cfg(target_arch = "x86_64")]
        if units.contains(&Unit::Avx512) && super::amx::granted() {
            units.push(Unit::Amx);
        }
        units
    }
    /// Those without tiles, best last.
    fn of_lanes() -> Vec<Unit> {
        let mut units = vec![Unit::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni")
                && is_x86_feature_detected!("avx512bf16");
            if avx2 {
                units.push(Unit::Avx2);
            }
            if avx2 && avx512 {
                units.push(Unit::Avx512);
            }
        }
        units
    }
    /// The unit whose lanes do everything but products on tiles; itself where it has none.
    pub(crate) fn lanes(self) -> Unit {
        match self {
            Unit::Amx => Unit::Avx512,
            #[cfg(test)]
            Unit::Emulated => Unit::of_lanes().pop().unwrap_or(Unit::Portable),
            unit => unit,
        }
    }
    /// Chooses the unit: the one `SVERKA_CPU` names, else the best there is. Call it before the first kernel to report a
    /// bad name or an absent unit as an error.
    pub fn choose() -> Result<Unit> {
        if let Some(unit) = CHOSEN.get() {
            return Ok(*unit);
        }
        let unit = match std::env::var("SVERKA_CPU") {
            Ok(name) if !name.is_empty() => {
                let units = Unit::available();
                *units.iter().find(|u| u.name() == name).ok_or_else(|| {
                    let has: Vec<&str> = units.iter().map(|u| u.name()).collect();
                    Error::setting("SVERKA_CPU", &name, format!("this CPU has no such unit; it has {}", has.join(", ")))
                })?
            }
            _ => Unit::available().pop().unwrap_or(Unit::Portable),
        };
        Ok(*CHOSEN.get_or_init(|| unit))
    }
}

static CHOSEN: OnceLock<Unit> = OnceLock::new();

thread_local! {
    /// Lets tests run one unit after another in a process.
    #[cfg(test)]
    static FORCED: std::cell::Cell<Option<Unit>> = const { std::cell::Cell::new(None) };
}

/// Forces a unit on the calling thread; `None` undoes it.
#[cfg(test)]
pub(crate) fn force(unit: Option<Unit>) {
    FORCED.set(unit);
}

/// The unit of the calling thread's kernels.
pub(super) fn unit() -> Unit {
    #[cfg(test)]
    if let Some(unit) = FORCED.get() {
        return unit;
    }
    match CHOSEN.get() {
        Some(unit) => *unit,
        None => Unit::choose().unwrap_or(Unit::Portable),
    }
}

/// Whether products of bf16 and int8 are on tiles.
pub(crate) fn on_tiles() -> bool {
    unit() != unit().lanes()
}
