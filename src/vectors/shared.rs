//! A matrix that several threads read and change without locks (Recht et al., Hogwild!, NeurIPS 2011).
//!
//! Values are 32-bit atomics read and written one by one with relaxed order: on x86 and ARM plain loads and stores, so nothing is
//! undefined when two threads meet in a row; one of the two changes may be lost, which such training bears.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A matrix `[rows, dim]`.
pub struct Shared {
    dim: usize,
    values: Vec<AtomicU32>,
}

impl Shared {
    /// A matrix of these values.
    pub fn new(dim: usize, values: impl Iterator<Item = f32>) -> Self {
        Shared { dim, values: values.map(|v| AtomicU32::new(v.to_bits())).collect() }
    }
    /// Copies a row, `[dim]`.
    #[inline]
    pub fn load(&self, row: usize, to: &mut [f32]) {
        let from = &self.values[row * self.dim..][..self.dim];
        to.iter_mut().zip(from).for_each(|(to, from)| *to = f32::from_bits(from.load(Relaxed)));
    }
    /// Adds a row to `to`.
    #[inline]
    pub fn add_to(&self, row: usize, to: &mut [f32]) {
        let from = &self.values[row * self.dim..][..self.dim];
        to.iter_mut().zip(from).for_each(|(to, from)| *to += f32::from_bits(from.load(Relaxed)));
    }
    /// Adds values to a row.
    #[inline]
    pub fn add(&self, row: usize, values: &[f32]) {
        let to = &self.values[row * self.dim..][..self.dim];
        for (to, value) in to.iter().zip(values) {
            to.store((f32::from_bits(to.load(Relaxed)) + value).to_bits(), Relaxed);
        }
    }
    /// All values.
    pub fn into_values(self) -> Vec<f32> {
        self.values.into_iter().map(|v| f32::from_bits(v.into_inner())).collect()
    }
}
