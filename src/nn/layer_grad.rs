//! The encoder layer in training: one custom operation of candle's graph, with a hand-written backward pass.
//!
//! Finer operations were measured and refused: candle copies every gradient that crosses an operation, which cost 18 to 28 %
//! of a step (5 to 7 % this way). Weight gradients go to the parameters' own buffers. Two passes: gradients of activations
//! group by group, then each weight's gradient over all tokens in fixed blocks, shared between threads by output rows; so
//! the sums do not depend on the number of threads.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::kernels::{self, Buffer, Left, Panels};
use super::layer::{AFTER_ATTENTION, AFTER_FEED_FORWARD, Group, Keep, Layer, Run, Workspace};
use super::plan::{Plan, with_workspace};

/// Tokens whose share of a weight's gradient is summed in registers.
const BLOCK: usize = 1024;
/// Rows of a weight's gradient that one task computes.
const CHUNK: usize = 96;

/// What the forward pass keeps for the backward pass, for all tokens of a batch, as units.
#[derive(Default)]
pub struct Saved {
    x: Buffer<u32>,
    qkv: Buffer<u32>,
    context: Buffer<u32>,
    hat1: Buffer<u32>,
    rstd1: Buffer<f32>,
    u: Buffer<u32>,
    hat2: Buffer<u32>,
    rstd2: Buffer<f32>,
}

/// Gradient buffers of the sixteen arrays, in the order of [`super::layer::NAMES`].
pub type LayerGrads = Vec<Arc<Mutex<Vec<f32>>>>;

/// A layer as an operation on `[t, h]`, giving `[t, h]`, or `[b, h]` where only first tokens are wanted.
pub struct LayerOp {
    /// Weights.
    pub layer: Arc<Layer>,
    /// The batch's sequences in groups.
    pub plan: Arc<Plan>,
    /// How it runs.
    pub run: Run,
    /// Where weight gradients go.
    pub grads: LayerGrads,
    /// Filled by the forward pass, taken by the backward pass.
    pub saved: Mutex<Option<Saved>>,
}

/// Cuts a buffer into one part per group.
fn parts<'a, T: Copy>(mut buffer: &'a mut [T], rows: &[usize], width: usize) -> Vec<&'a mut [T]> {
    let mut out = Vec::with_capacity(rows.len());
    for n in rows {
        let (part, rest) = buffer.split_at_mut(n * width);
        out.push(part);
        buffer = rest;
    }
    out
}

fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else { candle_core::bail!("layer: input is not contiguous") };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

impl CustomOp1 for LayerOp {
    fn name(&self) -> &'static str {
        "bert-layer"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = floats(storage, layout)?;
        let (h, f) = (self.layer.shape.hidden, self.layer.shape.ff);
        let dtype = self.layer.dtype;
        let (groups, tokens, rows) = self.groups();
        let (t, m) = (tokens.iter().sum::<usize>(), rows.iter().sum::<usize>());
        let mut s = self.layer.pool.lock().expect("no panic holds the pool").pop().unwrap_or_default();
        let (wide, triple, deep) = (kernels::steps(dtype, h), kernels::steps(dtype, 3 * h), kernels::steps(dtype, f));
        s.x.reserve(t * wide);
        s.qkv.reserve(t * triple);
        s.context.reserve(m * wide);
        s.hat1.reserve(m * wide);
        s.rstd1.reserve(m);
        s.u.reserve(m * deep);
        s.hat2.reserve(m * wide);
        s.rstd2.reserve(m);
        let mut out = vec![0f32; m * h];
        {
            let mut keeps: Vec<Keep> = Vec::with_capacity(groups.len());
            let mut input = parts(&mut s.x, &tokens, wide).into_iter();
            let mut qkv = parts(&mut s.qkv, &tokens, triple).into_iter();
            let mut context = parts(&mut s.context, &rows, wide).into_iter();
            let mut hat1 = parts(&mut s.hat1, &rows, wide).into_iter();
            let mut rstd1 = parts(&mut s.rstd1, &rows, 1).into_iter();
            let mut u = parts(&mut s.u, &rows, deep).into_iter();
            let mut hat2 = parts(&mut s.hat2, &rows, wide).into_iter();
            let mut rstd2 = parts(&mut s.rstd2, &rows, 1).into_iter();
            while let (Some(x), Some(qkv), Some(context), Some(hat1), Some(rstd1), Some(u), Some(hat2), Some(rstd2)) = (
                input.next(),
                qkv.next(),
                context.next(),
                hat1.next(),
                rstd1.next(),
                u.next(),
                hat2.next(),
                rstd2.next(),
            ) {
                keeps.push(Keep { x, qkv, context, hat1, rstd1, u, hat2, rstd2 });
            }
            let outs = parts(&mut out, &rows, h);
            groups.par_iter().zip(keeps).zip(outs).for_each(|((group, keep), out)| {
                let x = &x[group.first_token * h..];
                with_workspace(|w| self.layer.forward(w, *group, self.run, x, out, Some(keep)));
            });
        }
        *self.saved.lock().expect("no panic holds the state") = Some(s);
        Ok((CpuStorage::F32(out), Shape::from((m, h))))
    }

    fn bwd(&self, arg: &Tensor, _res: &Tensor, grad_res: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let Some(saved) = self.saved.lock().expect("no panic holds the state").take() else {
            candle_core::bail!("bert-layer: backward needs a forward pass before it, once")
        };
        let grad = grad_res.contiguous()?;
        let (storage, layout) = grad.storage_and_layout();
        let candle_core::Storage::Cpu(storage) = &*storage else { candle_core::bail!("bert-layer: CPU only") };
        let d_x = self.backward(&saved, floats(storage, layout)?);
        self.layer.pool.lock().expect("no panic holds the pool").push(saved);
        Ok(Some(Tensor::from_vec(d_x, arg.shape(), arg.device())?))
    }
}

/// Gradients of one kind of row, kept for the second pass, as units: `[rows, n]`.
#[derive(Default)]
struct Deltas {
    query: Buffer<u32>,
    key_value: Buffer<u32>,
    out: Buffer<u32>,
    x1: Buffer<u32>,
    up: Buffer<u32>,
    gelu: Buffer<u32>,
    down: Buffer<u32>,
}

thread_local! {
    static DELTAS: std::cell::RefCell<Deltas> = std::cell::RefCell::default();
}

/// Sums of one group for the small arrays: biases of query, key and value, out, up, down; scale and shift of both norms.
struct Small {
    qkv: Vec<f32>,
    out: Vec<f32>,
    up: Vec<f32>,
    down: Vec<f32>,
    norm1: [Vec<f32>; 2],
    norm2: [Vec<f32>; 2],
}

impl LayerOp {
    /// The groups, and of each its tokens and the rows that the layer computes.
    fn groups(&self) -> (Vec<Group<'_>>, Vec<usize>, Vec<usize>) {
        let groups: Vec<Group> = self.plan.groups().collect();
        let tokens = groups.iter().map(Group::tokens).collect();
        let rows = groups.iter().map(|g| g.rows(self.run.first_only)).collect();
        (groups, tokens, rows)
    }

    /// `[rows, h]` to `[t, h]`; weight gradients are added to the parameters'.
    fn backward(&self, saved: &Saved, grad: &[f32]) -> Vec<f32> {
        DELTAS.with_borrow_mut(|deltas| self.backward_with(saved, grad, deltas))
    }

    fn backward_with(&self, saved: &Saved, grad: &[f32], deltas: &mut Deltas) -> Vec<f32> {
        let (h, f) = (self.layer.shape.hidden, self.layer.shape.ff);
        let dtype = self.layer.dtype;
        let (groups, tokens, rows) = self.groups();
        let (t, m) = (tokens.iter().sum::<usize>(), rows.iter().sum::<usize>());
        let (wide, twice, deep) = (kernels::steps(dtype, h), kernels::steps(dtype, 2 * h), kernels::steps(dtype, f));
        deltas.query.reserve(m * wide);
        deltas.key_value.reserve(t * twice);
        deltas.out.reserve(m * wide);
        deltas.x1.reserve(m * wide);
        deltas.up.reserve(m * deep);
        deltas.gelu.reserve(m * deep);
        deltas.down.reserve(m * wide);
        let mut d_x = vec![0f32; t * h];
        let small: Vec<Small> = {
            let outs = parts(&mut d_x, &tokens, h).into_iter();
            let query = parts(&mut deltas.query, &rows, wide).into_iter();
            let key_value = parts(&mut deltas.key_value, &tokens, twice).into_iter();
            let out = parts(&mut deltas.out, &rows, wide).into_iter();
            let x1 = parts(&mut deltas.x1, &rows, wide).into_iter();
            let up = parts(&mut deltas.up, &rows, deep).into_iter();
            let gelu = parts(&mut deltas.gelu, &rows, deep).into_iter();
            let down = parts(&mut deltas.down, &rows, wide).into_iter();
            let zipped = outs.zip(query).zip(key_value).zip(out).zip(x1).zip(up).zip(gelu).zip(down);
            let mut row = 0;
            let tasks: Vec<_> = groups
                .iter()
                .zip(zipped)
                .map(|(group, (((((((d_x, query), key_value), out), x1), up), gelu), down))| {
                    let first_row = row;
                    row += group.rows(self.run.first_only);
                    (*group, first_row, d_x, [query, key_value, out, x1, up, gelu, down])
                })
                .collect();
            let run = |(group, first_row, d_x, deltas): (Group, usize, &mut [f32], [&mut [u32]; 7])| {
                with_workspace(|w| self.group_backward(w, group, first_row, saved, grad, d_x, deltas))
            };
            tasks.into_par_iter().map(run).collect()
        };
        // queries: x of the rows that asked
        let first_x: Vec<u32>;
        let query_x = if self.run.first_only {
            first_x = groups
                .iter()
                .flat_map(|g| g.sequences().map(|(start, _, _)| g.first_token + start))
                .flat_map(|token| saved.x[token * wide..][..wide].iter().copied())
                .collect();
            &first_x
        } else {
            &saved.x[..]
        };
        self.weight_grad(&deltas.query, query_x, m, h, h, &[0]);
        self.weight_grad(&deltas.key_value, &saved.x, t, 2 * h, h, &[2, 4]);
        self.weight_grad(&deltas.out, &saved.context, m, h, h, &[6]);
        self.weight_grad(&deltas.up, &deltas.x1, m, f, h, &[10]);
        self.weight_grad(&deltas.down, &deltas.gelu, m, h, f, &[12]);
        for s in &small {
            for (index, values) in [
                (1, &s.qkv[..h]),
                (3, &s.qkv[h..2 * h]),
                (5, &s.qkv[2 * h..]),
                (7, &s.out),
                (8, &s.norm1[0]),
                (9, &s.norm1[1]),
                (11, &s.up),
                (13, &s.down),
                (14, &s.norm2[0]),
                (15, &s.norm2[1]),
            ] {
                kernels::add(&mut self.grads[index].lock().expect("no panic holds a gradient"), values);
            }
        }
        d_x
    }

    /// Gradients of a group's activations; fills its `deltas` and `d_x`.
    fn group_backward(
        &self,
        w: &mut Workspace,
        group: Group,
        first_row: usize,
        saved: &Saved,
        grad: &[f32],
        d_x: &mut [f32],
        deltas: [&mut [u32]; 7],
    ) -> Small {
        let [d_query, d_key_value, d_out, x1_units, d_up, gelu, d_down] = deltas;
        let (layer, run) = (&*self.layer, self.run);
        let (h, f, dtype) = (layer.shape.hidden, layer.shape.ff, layer.dtype);
        let (t, m) = (group.tokens(), group.rows(run.first_only));
        let (wide, triple, deep) = (kernels::steps(dtype, h), kernels::steps(dtype, 3 * h), kernels::steps(dtype, f));
        let twice = kernels::steps(dtype, 2 * h);
        let mut small = Small {
            qkv: vec![0.0; 3 * h],
            out: vec![0.0; h],
            up: vec![0.0; f],
            down: vec![0.0; h],
            norm1: [vec![0.0; h], vec![0.0; h]],
            norm2: [vec![0.0; h], vec![0.0; h]],
        };
        w.y.reserve(m * h);
        w.x1.reserve(m * h);
        w.context.reserve(m * h);
        w.u.reserve(m * f);
        w.residual.reserve((m * f).max(t * 3 * h));
        w.qkv.reserve(t * 3 * h);
        w.units.reserve(t * triple);

        // second norm: y holds the gradient of its input, also the residual's
        let y = &mut w.y[..m * h];
        y.copy_from_slice(&grad[first_row * h..][..m * h]);
        let hat = &mut w.x1[..m * h];
        kernels::rows_of_units(dtype, &saved.hat2[first_row * wide..], m, h, hat);
        let [d_gamma, d_beta] = &mut small.norm2;
        let rstd = &saved.rstd2[first_row..first_row + m];
        kernels::layer_norm_backward(y, hat, rstd, &layer.norm2.gamma, d_gamma, d_beta);
        // feed-forward
        let dropped = &mut w.context[..m * h];
        dropped.copy_from_slice(y);
        layer.drop(dropped, run, group, AFTER_FEED_FORWARD);
        kernels::column_sums(dropped, &mut small.down);
        kernels::units(dtype, dropped, h, m, h, d_down, &mut []);
        let d_u = &mut w.residual[..m * f];
        layer.down.backward(Left { units: d_down, stride: wide, rows: m, scale: &[] }, d_u, false);
        let u = &mut w.u[..m * f];
        kernels::rows_of_units(dtype, &saved.u[first_row * deep..], m, f, u);
        kernels::gelu_backward(u, d_u);
        kernels::gelu_units(dtype, u, m, f, gelu, &mut []);
        kernels::column_sums(d_u, &mut small.up);
        kernels::units(dtype, d_u, f, m, f, d_up, &mut []);
        layer.up.backward(Left { units: d_up, stride: deep, rows: m, scale: &[] }, y, true);
        // first norm
        kernels::rows_of_units(dtype, &saved.hat1[first_row * wide..], m, h, hat);
        let x1 = &mut w.context[..m * h];
        for (x1, hat) in x1.chunks_exact_mut(h).zip(hat.chunks_exact(h)) {
            for (((x, &hat), &g), &b) in x1.iter_mut().zip(hat).zip(&layer.norm1.gamma).zip(&layer.norm1.beta) {
                *x = hat * g + b;
            }
        }
        kernels::units(dtype, x1, h, m, h, x1_units, &mut []);
        let [d_gamma, d_beta] = &mut small.norm1;
        let rstd = &saved.rstd1[first_row..first_row + m];
        kernels::layer_norm_backward(y, hat, rstd, &layer.norm1.gamma, d_gamma, d_beta);
        // the residual's share of d_x
        if run.first_only {
            d_x.fill(0.0);
            for (row, (start, _, _)) in group.sequences().enumerate() {
                d_x[start * h..][..h].copy_from_slice(&y[row * h..][..h]);
            }
        } else {
            d_x.copy_from_slice(y);
        }
        // attention
        layer.drop(y, run, group, AFTER_ATTENTION);
        kernels::column_sums(y, &mut small.out);
        kernels::units(dtype, y, h, m, h, d_out, &mut []);
        let d_context = &mut w.context[..m * h];
        layer.out.backward(Left { units: d_out, stride: wide, rows: m, scale: &[] }, d_context, false);
        let qkv = &mut w.qkv[..t * 3 * h];
        kernels::rows_of_units(dtype, &saved.qkv[group.first_token * triple..], t, 3 * h, qkv);
        let d_qkv = &mut w.residual[..t * 3 * h];
        let attention = layer.attention(run);
        let mut row = 0;
        for (start, tokens, number) in group.sequences() {
            let asked = if run.first_only { 1 } else { tokens };
            let (qkv, d_qkv) = (&qkv[start * 3 * h..], &mut d_qkv[start * 3 * h..]);
            attention.backward(&mut w.attention, qkv, &d_context[row * h..], tokens, asked, number, d_qkv);
            row += asked;
        }
        kernels::column_sums(d_qkv, &mut small.qkv);
        kernels::units(dtype, &d_qkv[h..], 3 * h, t, 2 * h, d_key_value, &mut []);
        layer.key_value.backward(Left { units: d_key_value, stride: twice, rows: t, scale: &[] }, d_x, true);
        if run.first_only {
            for (row, (start, _, _)) in group.sequences().enumerate() {
                let units = &mut d_query[row * wide..][..wide];
                kernels::units(dtype, &d_qkv[start * 3 * h..], 3 * h, 1, h, units, &mut []);
                let left = Left { units, stride: wide, rows: 1, scale: &[] };
                layer.query.backward(left, &mut d_x[start * h..][..h], true);
            }
        } else {
            kernels::units(dtype, d_qkv, 3 * h, t, h, d_query, &mut []);
            layer.query.backward(Left { units: d_query, stride: wide, rows: t, scale: &[] }, d_x, true);
        }
        small
    }

    /// Adds `delta^T x` to the gradient of a weight `[n, k]`, or of several stacked ones: units `[rows, n]` and `[rows, k]`.
    fn weight_grad(&self, delta: &[u32], x: &[u32], rows: usize, n: usize, k: usize, arrays: &[usize]) {
        let dtype = self.layer.dtype;
        let (n_steps, k_steps) = (kernels::steps(dtype, n), kernels::steps(dtype, k));
        let share = n / arrays.len();
        let mut grads: Vec<_> =
            arrays.iter().map(|&i| self.grads[i].lock().expect("no panic holds a gradient")).collect();
        let mut chunks: Vec<(usize, &mut [f32])> = Vec::new();
        for (array, grad) in grads.iter_mut().enumerate() {
            let numbered = grad.chunks_mut(CHUNK * k).enumerate();
            chunks.extend(numbered.map(|(i, chunk)| (array * share + i * CHUNK, chunk)));
        }
        for start in (0..rows).step_by(BLOCK) {
            let tokens = (rows - start).min(BLOCK);
            let depth = kernels::steps(dtype, tokens);
            let (delta, x) = (&delta[start * n_steps..], &x[start * k_steps..]);
            // panels of x once, one task per run of columns
            let width = 128;
            let starts: Vec<usize> = (0..k).step_by(width).collect();
            let panels: Vec<Panels> = starts
                .par_iter()
                .map(|&first| {
                    let mut panels = Panels::default();
                    panels.from_stored(dtype, x, tokens, k, first, (first + width).min(k));
                    panels
                })
                .collect();
            chunks.par_iter_mut().for_each(|(first, out)| {
                let count = out.len() / k;
                with_workspace(|w| {
                    w.units.reserve(count * depth);
                    kernels::transposed_stored(dtype, delta, tokens, n, *first, count, &mut w.units);
                    let left = Left { units: &w.units, stride: depth, rows: count, scale: &[] };
                    for (column, panels) in starts.iter().zip(&panels) {
                        kernels::product(left, panels, None, &mut out[*column..], k, true);
                    }
                });
            });
        }
    }
}
