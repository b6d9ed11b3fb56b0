//! Cross-entropy of masked tokens over the vocabulary, by a decoder tied to the table of words (Devlin et al., NAACL 2019; the tied table:
//! Press & Wolf, EACL 2017).
//!
//! One operation of candle's graph. Logits are made of the masked rows alone, `[m, v]`, become probabilities and then their gradient in the
//! same memory: a batch's `[t, v]` is never there. The table's gradient is summed in fixed blocks, so the bits do not depend on the number
//! of threads. Refused: a sampled softmax (vocabularies of products have some ten thousand pieces, and the exact one costs a fifth of a step).

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rayon::prelude::*;

use crate::nn::Dtype;
use crate::nn::kernels::{self, Left, Out, Panels};
use crate::nn::layer_grad::ParamRef;
use crate::nn::linear::Linear;
use crate::nn::quantized::Matrix;
use crate::{Error, Result};

/// Rows whose share of the table's gradient is summed in registers.
const BLOCK: usize = 1024;
/// Rows of the table's gradient that one task computes.
const CHUNK: usize = 96;

/// The weighted sum over masked tokens `i` of `-log softmax(W x_i + b)[target_i]`: a scalar tensor with its graph.
///
/// `states` is `[m, h]`; `decoder` is the table of words `W [v, h]` and the bias `b [v]`, whose gradients are added to their own buffers;
/// `targets` (ids below `v`) and `weights` have length `m`: put the division into the weights. `dtype`, f32 or bf16, is that of the products.
///
/// # Errors
/// Shapes that do not fit, a target past the table.
pub fn masked_tokens(
    states: &Tensor,
    decoder: (ParamRef, ParamRef),
    dtype: Dtype,
    targets: &[u32],
    weights: &[f32],
) -> Result<Tensor> {
    let (table, bias) = decoder;
    let (m, h) = states.dims2()?;
    let v = bias.value.len();
    if targets.len() != m || weights.len() != m || table.value.len() != v * h || m == 0 {
        let got = format!("[{m}, {h}], {} targets, {} weights", targets.len(), weights.len());
        return Err(Error::Shape { op: "masked_tokens", expected: format!("[m, h], m, m, [{v}, h]"), got });
    }
    if let Some(target) = targets.iter().find(|&&t| t as usize >= v) {
        let what = format!("token id past the table of {v}: this text was encoded for another model");
        return Err(Error::setting("batch", target, what));
    }
    let (targets, weights) = (targets.to_vec(), weights.to_vec());
    let op = MaskedTokens { table, bias, dtype, hidden: h, targets, weights, saved: Mutex::default() };
    Ok(states.contiguous()?.apply_op1(op)?)
}

struct MaskedTokens {
    table: ParamRef,
    bias: ParamRef,
    dtype: Dtype,
    hidden: usize,
    targets: Vec<u32>,
    weights: Vec<f32>,
    /// The gradient of the logits `[m, v]`, from the forward pass.
    saved: Mutex<Option<Vec<f32>>>,
}

/// Rows `[m, k]` as packed words.
fn packed(dtype: Dtype, x: &[f32], k: usize) -> Vec<u32> {
    let (m, depth) = (x.len() / k, kernels::packed_len(dtype, k));
    let mut out = vec![0; m * depth];
    let rows = x.par_chunks(k).zip(out.par_chunks_mut(depth));
    rows.with_min_len(16).for_each(|(x, out)| kernels::pack_rows(dtype, x, k, 1, k, out, &mut []));
    out
}

/// Rows `[m, k]` become packed words in the memory that they are in: there may be as many of them as of masked tokens and words.
fn pack_in_place(dtype: Dtype, x: &mut [f32], k: usize) -> &[u32] {
    let (m, depth) = (x.len() / k, kernels::packed_len(dtype, k));
    if dtype != Dtype::F32 {
        let mut row = vec![0; depth];
        for i in 0..m {
            kernels::pack_rows(dtype, &x[i * k..][..k], k, 1, k, &mut row, &mut []);
            // at the row's own place or before
            x[i * depth..][..depth].copy_from_slice(bytemuck::cast_slice(&row));
        }
    }
    &bytemuck::cast_slice(x)[..m * depth]
}

impl MaskedTokens {
    fn rows(&self) -> usize {
        self.targets.len()
    }
    fn vocabulary(&self) -> usize {
        self.bias.value.len()
    }
    /// Rows of a product shared among threads: `[m, depth]` packed words to `[m, n]`.
    fn product(&self, left: &[u32], depth: usize, n: usize, run: impl Fn(Left, Out) + Sync) -> Vec<f32> {
        let m = self.rows();
        let mut out = vec![0f32; m * n];
        let share = m.div_ceil(rayon::current_num_threads());
        out.par_chunks_mut(share * n).zip(left.par_chunks(share * depth)).for_each(|(out, packed)| {
            let left = Left { packed, stride: depth, rows: packed.len() / depth, scale: &[] };
            run(left, Out::Write(out));
        });
        out
    }

    /// Logits become the gradient of the weighted losses, whose sum comes back.
    fn losses(&self, logits: &mut [f32]) -> f32 {
        let v = self.vocabulary();
        let rows = logits.par_chunks_mut(v).zip(self.targets.par_iter().zip(&self.weights));
        let losses: Vec<f64> = rows
            .map(|(row, (&target, &weight))| {
                let target = target as usize;
                let own = row[target];
                let top = (0..v).fold(0, |top, i| if row[i] > row[top] { i } else { top });
                let largest = row[top];
                kernels::softmax(row, v, 1, v, 1.0);
                // the largest probability is one over the sum of the exponents
                let loss = f64::from(largest) - f64::from(row[top]).ln() - f64::from(own);
                row[target] -= 1.0;
                row.iter_mut().for_each(|p| *p *= weight);
                f64::from(weight) * loss
            })
            .collect();
        losses.iter().sum::<f64>() as f32
    }

    /// Adds `delta^T x` to the table's gradient: packed words `[m, v]` and `[m, h]`.
    fn table_grad(&self, delta: &[u32], x: &[u32]) {
        let (dtype, m, n, k) = (self.dtype, self.rows(), self.vocabulary(), self.hidden);
        let (n_steps, k_steps) = (kernels::packed_len(dtype, n), kernels::packed_len(dtype, k));
        let mut grad = self.table.grad.lock().expect("no panic holds a gradient");
        let grad = grad.dense_mut();
        let mut panels = Panels::default();
        for start in (0..m).step_by(BLOCK) {
            let rows = (m - start).min(BLOCK);
            let depth = kernels::packed_len(dtype, rows);
            let (delta, x) = (&delta[start * n_steps..], &x[start * k_steps..]);
            panels.pack_packed_columns(dtype, x, k_steps, rows, k);
            let chunks = grad.par_chunks_mut(CHUNK * k).enumerate();
            chunks.for_each_init(Vec::new, |memory, (i, out)| {
                let count = out.len() / k;
                memory.resize(count * depth, 0u32);
                kernels::transpose_packed(dtype, delta, rows, n, i * CHUNK, count, memory);
                let left = Left { packed: memory, stride: depth, rows: count, scale: &[] };
                kernels::product(left, &panels, None, Out::Add(out), k);
            });
        }
    }
}

impl CustomOp1 for MaskedTokens {
    fn name(&self) -> &'static str {
        "masked-tokens"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("masked-tokens: input is not contiguous")
        };
        let x = &storage.as_slice::<f32>()?[start..end];
        let (h, v) = (self.hidden, self.vocabulary());
        let mut decoder = Linear::default();
        decoder.pack(self.dtype, &[Matrix::F32(&self.table.value)], &[&self.bias.value]);
        let depth = kernels::packed_len(self.dtype, h);
        let left = packed(self.dtype, x, h);
        let mut logits = self.product(&left, depth, v, |left, out| decoder.forward(left, out, v, None));
        let loss = self.losses(&mut logits);
        *self.saved.lock().expect("no panic holds the state") = Some(logits);
        Ok((CpuStorage::F32(vec![loss]), Shape::from(())))
    }

    fn bwd(&self, arg: &Tensor, _: &Tensor, grad_res: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let Some(mut delta) = self.saved.lock().expect("no panic holds the state").take() else {
            candle_core::bail!("masked-tokens: backward needs a forward pass before it, once")
        };
        let (h, v, dtype) = (self.hidden, self.vocabulary(), self.dtype);
        let by = grad_res.to_scalar::<f32>()?;
        if by != 1.0 {
            delta.par_iter_mut().for_each(|d| *d *= by);
        }
        let mut bias = self.bias.grad.lock().expect("no panic holds a gradient");
        kernels::column_sums(&delta, bias.dense_mut());
        let delta = pack_in_place(dtype, &mut delta, v);
        let x = packed(dtype, &arg.flatten_all()?.to_vec1::<f32>()?, h);
        self.table_grad(delta, &x);
        let mut decoder = Linear::default();
        decoder.pack_transposed(dtype, &[&self.table.value], v);
        let depth = kernels::packed_len(dtype, v);
        let d_x = self.product(delta, depth, h, |left, out| decoder.backward(left, out));
        Ok(Some(Tensor::from_vec(d_x, arg.shape(), arg.device())?))
    }
}
