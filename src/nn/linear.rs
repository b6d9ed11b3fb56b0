//! A linear layer: the only brick that knows what its weights are made of.

use super::Dtype;
use super::kernels::{self, Buffer, Left, Panels};

/// `y = x W^T + b`, packed for products with rows of `k` values.
#[derive(Default)]
pub struct Linear {
    /// Outputs.
    pub n: usize,
    /// Inputs.
    pub k: usize,
    bias: Vec<f32>,
    forward: Panels,
    backward: Option<Panels>,
}

impl Linear {
    /// Packs weights `[n, k]`; `train` keeps a second copy for gradients of the input.
    pub fn pack(&mut self, dtype: Dtype, weight: &[f32], bias: &[f32], train: bool, scratch: &mut Buffer<u32>) {
        (self.n, self.k) = (bias.len(), weight.len() / bias.len().max(1));
        self.bias = bias.to_vec();
        self.forward.from_rows(dtype, weight, self.k, self.n, self.k, scratch);
        if train {
            self.backward.get_or_insert_default().from_columns(dtype, weight, self.k, self.n, self.k);
        }
    }
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.forward.bytes() + self.backward.as_ref().map_or(0, Panels::bytes) + self.bias.len() * 4
    }
    /// `[rows, k]` to `[rows, n]`, rows of the result `stride` apart; `split` shares the columns between threads.
    pub fn forward(&self, left: Left, out: &mut [f32], stride: usize, split: bool) {
        if split {
            kernels::product_split(left, &self.forward, Some(&self.bias), out, stride);
        } else {
            kernels::product(left, &self.forward, Some(&self.bias), out, stride, false);
        }
    }
    /// Rows of f32 through an f32 layer: `[rows, k]` to `[rows, n]`.
    pub fn rows(&self, x: &[f32]) -> Vec<f32> {
        let rows = x.len() / self.k;
        let mut out = vec![0.0; rows * self.n];
        let left = Left { units: bytemuck::cast_slice(x), stride: self.k, rows, scale: &[] };
        self.forward(left, &mut out, self.n, false);
        out
    }
    /// Gradient of the input, `[rows, n]` to `[rows, k]`, written or added.
    pub fn backward(&self, left: Left, out: &mut [f32], accumulate: bool) {
        let panels = self.backward.as_ref().expect("packed for training");
        kernels::product(left, panels, None, out, self.k, accumulate);
    }
}
