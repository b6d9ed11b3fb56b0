//! The backward pass of a group through a layer of BERT. That of attention is ModernBERT's too (`modern.rs`).

use super::super::kernels::{self, Left, Out};
use super::super::layer::{AFTER_ATTENTION, AFTER_FEED_FORWARD, Group, GroupActivations, Layer, Workspace};
use super::super::layer_weights::Norm;
use super::LayerOp;
use super::saved::BiasGrads;

impl LayerOp {
    /// Gradients of a group's activations; fills its `deltas` and `d_x`, and `kept` again.
    pub(super) fn group_backward(
        &self,
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
        let (wide, deep) = (kernels::packed_len(dtype, h), kernels::packed_len(dtype, f));
        let mut small = BiasGrads::zeros(&self.shape, self.bias.is_some());
        w.y.reserve(m * h);
        w.x1.reserve(m * h);
        w.context.reserve(m * h);
        w.residual.reserve((m * f).max(t * 3 * h));

        kernels::pack_rows(dtype, &x[group.first_token * h..], h, t, h, x_packed, &mut []);
        // second norm: y holds the gradient of its input, also the residual's
        let y = &mut w.y[..m * h];
        y.copy_from_slice(grad);
        let normalized = &mut w.x1[..m * h];
        kernels::unpack_rows(dtype, kept.output_normalized, m, h, normalized);
        let Norm { gamma: d_gamma, beta: d_beta } = &mut small.output_norm;
        kernels::layer_norm_backward(y, normalized, kept.output_rstd, &layer.output_norm.gamma, d_gamma, d_beta);
        // feed-forward
        let dropped = &mut w.context[..m * h];
        dropped.copy_from_slice(y);
        layer.drop(dropped, run, group.first_row(run.first_only), AFTER_FEED_FORWARD);
        kernels::column_sums(dropped, &mut small.down);
        kernels::pack_rows(dtype, dropped, h, m, h, kept.output_normalized, &mut []);
        let d_u = &mut w.residual[..m * f];
        layer
            .down
            .backward(Left { packed: kept.output_normalized, stride: wide, rows: m, scale: &[] }, Out::Write(d_u));
        // row by row, in the first cache
        w.packed.reserve(deep);
        for (row, d_u) in d_u.chunks_exact_mut(f).enumerate() {
            let (u, d_up) = (&mut kept.u[row * deep..][..deep], &mut d_up[row * deep..][..deep]);
            kernels::gelu_backward(dtype, u, d_u);
            kernels::gelu_packed(dtype, u, 1, f, &mut w.packed, &mut [], &mut w.line);
            u.copy_from_slice(&w.packed[..deep]);
            kernels::column_sums(d_u, &mut small.up);
            kernels::pack_rows(dtype, d_u, f, 1, f, d_up, &mut []);
        }
        layer.up.backward(Left { packed: d_up, stride: deep, rows: m, scale: &[] }, Out::Add(y));
        // first norm
        kernels::unpack_rows(dtype, kept.attention_normalized, m, h, normalized);
        let x1 = &mut w.context[..m * h];
        for (x1, normalized) in x1.chunks_exact_mut(h).zip(normalized.chunks_exact(h)) {
            for (((x, &normalized), &g), &b) in
                x1.iter_mut().zip(normalized).zip(&layer.attention_norm.gamma).zip(&layer.attention_norm.beta)
            {
                *x = normalized * g + b;
            }
        }
        kernels::pack_rows(dtype, x1, h, m, h, kept.attention_normalized, &mut []);
        let Norm { gamma: d_gamma, beta: d_beta } = &mut small.attention_norm;
        kernels::layer_norm_backward(y, normalized, kept.attention_rstd, &layer.attention_norm.gamma, d_gamma, d_beta);
        let x = &x[group.first_token * h..][..t * h];
        self.attention_backward(layer, w, group, (x, kept.qkv), d_x, [d_query, d_key_value, d_out], &mut small);
        small
    }

    /// Attention and what was added to it: `w.y [rows, h]`, the gradient after the block, to `d_x [t, h]`. With a norm before
    /// attention the residual's share alone goes to `d_x`, and that of the normed input to `w.normed`, `[t, h]`.
    pub(super) fn attention_backward(
        &self,
        layer: &Layer,
        w: &mut Workspace,
        group: Group,
        (x, qkv): (&[f32], &[u32]),
        d_x: &mut [f32],
        [d_query, d_key_value, d_out]: [&mut [u32]; 3],
        small: &mut BiasGrads,
    ) {
        let (h, dtype, run) = (self.shape.hidden, self.dtype, self.run);
        let (t, m) = (group.tokens(), group.rows(run.first_only));
        let [wide, twice] = [h, 2 * h].map(|k| kernels::packed_len(dtype, k));
        w.context.reserve(m * h);
        w.residual.reserve(t * 3 * h);
        let y = &mut w.y[..m * h];
        if run.first_only {
            d_x.fill(0.0);
            for (row, (start, _, _)) in group.sequences().enumerate() {
                d_x[start * h..][..h].copy_from_slice(&y[row * h..][..h]);
            }
        } else {
            d_x.copy_from_slice(y);
        }
        layer.drop(y, run, group.first_row(run.first_only), AFTER_ATTENTION);
        kernels::column_sums(y, &mut small.attention_output);
        kernels::pack_rows(dtype, y, h, m, h, d_out, &mut []);
        let d_context = &mut w.context[..m * h];
        let left = Left { packed: d_out, stride: wide, rows: m, scale: &[] };
        layer.attention_output.backward(left, Out::Write(d_context));
        let d_qkv = &mut w.residual[..t * 3 * h];
        let attention = layer.attention(run);
        let triple = kernels::packed_len(attention.dtype, 3 * h);
        let angles = self.shape.modern.as_ref().map(|modern| {
            let longest = group.sequences().map(|(_, t, _)| t).max().unwrap_or(0);
            modern.angles(longest, h / self.shape.heads)
        });
        let mut row = 0;
        for ((start, tokens, number), &keys) in group.sequences().zip(group.keys) {
            let asked = if run.first_only { 1 } else { tokens };
            let (qkv, d_qkv) = (&qkv[start * triple..], &mut d_qkv[start * 3 * h..(start + tokens) * 3 * h]);
            d_qkv.fill(0.0);
            let seen = keys as usize;
            attention.backward(qkv, &d_context[row * h..], seen, asked, number, d_qkv, &mut small.relative);
            if let Some(global) = &layer.global {
                let drop = Layer::drop_global(attention, number, seen);
                let (x, d_x) = (&x[start * h..][..seen * h], &mut d_x[start * h..]);
                small.global.push(global.backward(x, &d_context[row * h..][..h], d_x, &drop));
            }
            for (place, d_token) in d_qkv.chunks_exact_mut(3 * h).enumerate() {
                if let Some(angles) = &angles {
                    angles.turn(&mut d_token[..2 * h], place, true);
                }
            }
            row += asked;
        }
        kernels::column_sums(d_qkv, &mut small.qkv);
        kernels::pack_rows(dtype, &d_qkv[h..], 3 * h, t, 2 * h, d_key_value, &mut []);
        // of the sum with the residual, or of the norm's output, which has none yet
        let d_input = if self.shape.modern.is_some() {
            w.normed.reserve(t * h);
            w.normed[..t * h].fill(0.0);
            &mut w.normed[..t * h]
        } else {
            d_x
        };
        layer.key_value.backward(Left { packed: d_key_value, stride: twice, rows: t, scale: &[] }, Out::Add(d_input));
        if self.shape.first_asks_alone(run.first_only) {
            for (row, (start, _, _)) in group.sequences().enumerate() {
                let packed = &mut d_query[row * wide..][..wide];
                kernels::pack_rows(dtype, &d_qkv[start * 3 * h..], 3 * h, 1, h, packed, &mut []);
                let left = Left { packed, stride: wide, rows: 1, scale: &[] };
                layer.query.backward(left, Out::Add(&mut d_input[start * h..][..h]));
            }
        } else {
            kernels::pack_rows(dtype, d_qkv, 3 * h, t, h, d_query, &mut []);
            layer.query.backward(Left { packed: d_query, stride: wide, rows: t, scale: &[] }, Out::Add(d_input));
        }
    }
}
