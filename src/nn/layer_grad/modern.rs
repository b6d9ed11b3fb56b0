//! The backward pass of a layer of ModernBERT (`nn/modern.rs` has the forward pass), and the norm after the last layer.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use super::super::kernels::{self, Left, Out};
use super::super::layer::{AFTER_FEED_FORWARD, Group, GroupActivations, Layer, Workspace};
use super::super::layer_weights::Norm;
use super::super::modern::Modern;
use super::saved::BiasGrads;
use super::{LayerOp, ParamRef, floats};

impl LayerOp {
    /// What `group_backward` is to a layer of BERT.
    pub(super) fn group_backward_modern(
        &self,
        modern: &Modern,
        layer: &Layer,
        w: &mut Workspace,
        group: Group,
        x: &[f32],
        grad: &[f32],
        kept: GroupActivations,
        d_x: &mut [f32],
        deltas: [&mut [u32]; 5],
    ) -> BiasGrads {
        let [x_packed, d_query, d_key_value, d_out, d_up] = deltas;
        let (h, f, dtype, run) = (self.shape.hidden, self.shape.ff, self.dtype, self.run);
        let (t, m) = (group.tokens(), group.rows(run.first_only));
        let [wide, deep] = [h, 2 * f].map(|k| kernels::packed_len(dtype, k));
        let product = kernels::packed_len(dtype, f);
        let mut small = BiasGrads::zeros(&self.shape, false);
        let x = &x[group.first_token * h..][..t * h];
        let mut y = grad.to_vec();

        // feed-forward
        let mut dropped = y.clone();
        layer.drop(&mut dropped, run, group.first_row(run.first_only), AFTER_FEED_FORWARD);
        kernels::pack_rows(dtype, &dropped, h, m, h, kept.output_normalized, &mut []);
        let mut d_product = vec![0f32; m * f];
        let left = Left { packed: kept.output_normalized, stride: wide, rows: m, scale: &[] };
        layer.down.backward(left, Out::Write(&mut d_product));
        let mut d_u = vec![0f32; 2 * f];
        for (row, d_product) in d_product.chunks_exact(f).enumerate() {
            let u = &mut kept.u[row * deep..][..deep];
            w.gate.open(dtype, u, f);
            let act: &[f32] = bytemuck::cast_slice(&w.gate.act[..f]);
            let (d_value, d_gate) = d_u.split_at_mut(f);
            for i in 0..f {
                (d_value[i], d_gate[i]) = (d_product[i] * w.gate.line[f + i], d_product[i] * act[i]);
            }
            kernels::gelu_backward(super::Dtype::F32, bytemuck::cast_slice(&w.gate.line[..f]), d_value);
            // the block's product takes the place of what it was made of
            let values = w.gate.close(f);
            kernels::pack_rows(dtype, values, f, 1, f, &mut u[..product], &mut []);
            kernels::pack_rows(dtype, &d_u, 2 * f, 1, 2 * f, &mut d_up[row * deep..][..deep], &mut []);
        }
        let mut d_normed = vec![0f32; m * h];
        layer.up.backward(Left { packed: d_up, stride: deep, rows: m, scale: &[] }, Out::Write(&mut d_normed));
        // the norm before it
        let mut normalized = vec![0f32; m * h];
        kernels::unpack_rows(dtype, kept.attention_normalized, m, h, &mut normalized);
        let normed = scaled(&normalized, &layer.output_norm);
        kernels::pack_rows(dtype, &normed, h, m, h, kept.attention_normalized, &mut []);
        let Norm { gamma: d_gamma, beta: d_beta } = &mut small.output_norm;
        let gamma = &layer.output_norm.gamma;
        kernels::layer_norm_backward(&mut d_normed, &normalized, kept.attention_rstd, gamma, d_gamma, d_beta);
        kernels::add(&mut y, &d_normed);

        w.y.reserve(m * h);
        w.y[..m * h].copy_from_slice(&y);
        self.attention_backward(layer, w, group, (x, kept.qkv), d_x, [d_query, d_key_value, d_out], &mut small);
        let d_normed = &mut w.normed[..t * h];
        // the norm before it, computed again
        if modern.has_attention_norm() {
            let (mut normalized, mut normed, mut rstd) = (x.to_vec(), vec![0f32; t * h], vec![0f32; t]);
            let Norm { gamma, beta } = &layer.attention_norm;
            kernels::layer_norm(&mut normalized, None, gamma, beta, self.shape.eps, &mut normed, &mut rstd, true);
            kernels::pack_rows(dtype, &normed, h, t, h, x_packed, &mut []);
            let Norm { gamma: d_gamma, beta: d_beta } = &mut small.attention_norm;
            kernels::layer_norm_backward(d_normed, &normalized, &rstd, gamma, d_gamma, d_beta);
        } else {
            kernels::pack_rows(dtype, x, h, t, h, x_packed, &mut []);
        }
        kernels::add(d_x, d_normed);
        small
    }
}

/// Rows of a norm after scale and shift.
fn scaled(normalized: &[f32], norm: &Norm) -> Vec<f32> {
    let rows = normalized.chunks_exact(norm.gamma.len());
    let row =
        |row: &[f32]| row.iter().zip(&norm.gamma).zip(&norm.beta).map(|((x, g), b)| x * g + b).collect::<Vec<_>>();
    rows.flat_map(row).collect()
}

/// The norm after the last layer as an operation on `[rows, h]`; its shift is not trained.
pub struct FinalNorm {
    /// Scale and shift.
    pub norm: Norm<ParamRef>,
    /// LayerNorm's epsilon.
    pub eps: f32,
    /// Normalized rows and reciprocal deviations, from the forward pass.
    saved: Mutex<Option<(Vec<f32>, Vec<f32>)>>,
}

impl FinalNorm {
    /// Of these arrays.
    pub fn new(norm: Norm<ParamRef>, eps: f32) -> Self {
        FinalNorm { norm, eps, saved: Mutex::default() }
    }
}

impl CustomOp1 for FinalNorm {
    fn name(&self) -> &'static str {
        "final-norm"
    }
    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (gamma, beta) = (self.norm.gamma.values(), self.norm.beta.values());
        let mut x = floats(storage, layout)?.to_vec();
        let (mut out, mut rstd) = (vec![0f32; x.len()], vec![0f32; x.len() / gamma.len()]);
        kernels::layer_norm(&mut x, None, gamma, beta, self.eps, &mut out, &mut rstd, true);
        *self.saved.lock().expect("no panic holds the state") = Some((x, rstd));
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
    fn bwd(&self, _: &Tensor, _: &Tensor, grad_res: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let Some((normalized, rstd)) = self.saved.lock().expect("no panic holds the state").take() else {
            candle_core::bail!("final-norm: backward needs a forward pass before it, once")
        };
        let mut grad = grad_res.flatten_all()?.to_vec1::<f32>()?;
        let gamma = self.norm.gamma.values();
        let mut no_shift = vec![0.0; gamma.len()];
        let mut d_gamma = self.norm.gamma.grad();
        kernels::layer_norm_backward(&mut grad, &normalized, &rstd, gamma, d_gamma.dense_mut(), &mut no_shift);
        Ok(Some(Tensor::from_vec(grad, grad_res.shape(), grad_res.device())?))
    }
}
