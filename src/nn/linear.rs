//! A linear layer: the only module that knows how its weights are packed.

use rayon::prelude::*;

use super::Dtype;
use super::kernels::{self, Buffer, Left, Out, Panels, SpinPool};
use super::quantized::Matrix;

/// Multiplications that are not worth a second thread.
const SMALL: usize = 1 << 20;

/// `y = x W^T + b`, packed for products with rows of `k` values, or transposed, for gradients with rows of `n`.
#[derive(Default)]
pub struct Linear {
    /// Outputs.
    pub n: usize,
    /// Inputs.
    pub k: usize,
    bias: Vec<f32>,
    panels: Panels,
    transposed: bool,
}

impl Linear {
    /// A linear layer whose packed weights will be in this memory.
    pub fn within(memory: Buffer<u32>) -> Self {
        Linear { panels: Panels::within(memory), ..Self::default() }
    }
    /// Packs weights `[n, k]` for [`Linear::forward`]; several matrices are stacked.
    pub fn pack(&mut self, dtype: Dtype, weights: &[Matrix], biases: &[&[f32]]) {
        self.bias.clear();
        biases.iter().for_each(|bias| self.bias.extend_from_slice(bias));
        self.n = self.bias.len();
        (self.k, self.transposed) = (weights.iter().map(|w| w.len()).sum::<usize>() / self.n.max(1), false);
        self.panels.pack(dtype, weights, self.k);
    }
    /// Packs weights `[n, k]` for [`Linear::backward`], into the same memory.
    pub fn pack_transposed(&mut self, dtype: Dtype, weights: &[&[f32]], n: usize) {
        (self.n, self.k, self.transposed) = (n, weights.iter().map(|w| w.len()).sum::<usize>() / n.max(1), true);
        self.panels.pack_transposed(dtype, weights, self.k);
    }
    /// `[rows, k]` to `[rows, n]`, rows of the result `stride` apart; a `spin` pool shares the columns.
    pub fn forward(&self, left: Left, out: Out, stride: usize, spin: Option<&SpinPool>) {
        assert!(!self.transposed, "packed for gradients");
        match spin {
            Some(spin) => kernels::product_shared(spin, left, &self.panels, Some(&self.bias), out, stride),
            None => kernels::product(left, &self.panels, Some(&self.bias), out, stride),
        }
    }
    /// Rows of f32 through an f32 layer, shared among threads: `[rows, k]` to `[rows, n]`. A row's values do not depend on the others.
    pub fn rows(&self, x: &[f32]) -> Vec<f32> {
        let rows = x.len() / self.k;
        let mut out = vec![0.0; rows * self.n];
        let product = |x: &[f32], out: &mut [f32]| {
            let left = Left { packed: bytemuck::cast_slice(x), stride: self.k, rows: x.len() / self.k, scale: &[] };
            self.forward(left, Out::Write(out), self.n, None);
        };
        match rows * self.n * self.k < SMALL {
            true => product(x, &mut out),
            false => {
                let share = rows.div_ceil(rayon::current_num_threads());
                let parts = x.par_chunks(share * self.k).zip(out.par_chunks_mut(share * self.n));
                parts.for_each(|(x, out)| product(x, out));
            }
        }
        out
    }
    /// Gradient of the input, `[rows, n]` to `[rows, k]`.
    pub fn backward(&self, left: Left, out: Out) {
        assert!(self.transposed, "packed for products");
        kernels::product(left, &self.panels, None, out, self.k);
    }
}
