//! A linear layer: the only brick that knows what its weights are made of.

use super::Dtype;
use super::kernels::{self, Left, Panels, Team};

/// `y = x W^T + b`, packed for products with rows of `k` values, or turned, for gradients with rows of `n`.
#[derive(Default)]
pub struct Linear {
    /// Outputs.
    pub n: usize,
    /// Inputs.
    pub k: usize,
    bias: Vec<f32>,
    panels: Panels,
    turned: bool,
}

impl Linear {
    /// Packs weights `[n, k]` for [`Linear::forward`].
    pub fn pack(&mut self, dtype: Dtype, weight: &[f32], bias: &[f32]) {
        (self.n, self.k, self.turned) = (bias.len(), weight.len() / bias.len().max(1), false);
        self.bias.clear();
        self.bias.extend_from_slice(bias);
        self.panels.pack(dtype, weight, self.n, self.k);
    }
    /// Packs weights `[n, k]` for [`Linear::backward`], into the same memory.
    pub fn pack_turned(&mut self, dtype: Dtype, weight: &[f32], n: usize) {
        (self.n, self.k, self.turned) = (n, weight.len() / n.max(1), true);
        self.panels.pack_turned(dtype, weight, self.n, self.k);
    }
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.panels.bytes() + self.bias.len() * 4
    }
    /// `[rows, k]` to `[rows, n]`, rows of the result `stride` apart; a `team` shares the columns.
    pub fn forward(&self, left: Left, out: &mut [f32], stride: usize, team: Option<&Team>) {
        assert!(!self.turned, "packed for gradients");
        match team {
            Some(team) => kernels::product_shared(team, left, &self.panels, Some(&self.bias), out, stride),
            None => kernels::product(left, &self.panels, Some(&self.bias), out, stride, false),
        }
    }
    /// Rows of f32 through an f32 layer: `[rows, k]` to `[rows, n]`.
    pub fn rows(&self, x: &[f32]) -> Vec<f32> {
        let rows = x.len() / self.k;
        let mut out = vec![0.0; rows * self.n];
        let left = Left { units: bytemuck::cast_slice(x), stride: self.k, rows, scale: &[] };
        self.forward(left, &mut out, self.n, None);
        out
    }
    /// Gradient of the input, `[rows, n]` to `[rows, k]`, written or added.
    pub fn backward(&self, left: Left, out: &mut [f32], accumulate: bool) {
        assert!(self.turned, "packed for products");
        kernels::product(left, &self.panels, None, out, self.k, accumulate);
    }
}
