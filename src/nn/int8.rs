//! Which whole numbers stand for a matrix? int8 weights fitted to a sample of what the layer is really given.
//!
//! The kernels multiply `round(x / a) * round(w / s)`: one step `a` per token, found at run time, and one step `s` per output
//! channel, chosen here. Two things lower the error of a product, and both are kept only where they do so on the sample:
//!
//! - **clipping** ([`fit`]): a channel's step may be smaller than its largest weight / 127. The few weights beyond are cut, all
//!   others are rounded more finely. Steps of 0.7 to 1 of the largest are tried with the kernels' own int8 product, and each
//!   channel takes the one whose outputs are nearest to f32's, in squares.
//! - **folding** ([`smooth`], SmoothQuant: Xiao et al., ICML 2023): a channel of the input that is far larger than the others
//!   spoils the step of every token. It may be divided by a factor that the weights are multiplied by, where what comes before
//!   can take the factor. In BERT that is the attention's output alone: its input is a mean of values, and the value
//!   projection's rows take the factor. Factors are powers of two, so f32 and bf16 scores stay the same to the bit.
//!
//! Refused: folding into LayerNorm, as SmoothQuant does. A post-norm layer adds the norm's output to the next sublayer's, so
//! the factor would be in the residual, and nothing undoes it there. GELU lets no factor through either. Moving an output's mean error into the bias (Nagel et al., ICCV 2019) made scores
//! worse on Abt-Buy (root mean square against f32 0.0227 with it, 0.0207 without).
//!
//! What comes out is stored and packed as it is.

use rayon::prelude::*;

use super::Dtype;
use super::encoder_cpu::CpuEncoder;
use super::kernels::{self, Left, Out, Panels};
use super::layer::{Group, Layer, Run};
use super::plan::{Plan, with_workspace};
use super::quantized::{Matrix, QuantizedMatrix};
use crate::Result;
use crate::text::Batch;

/// Rows of each input that are kept to fit on; evenly spread over the sample's tokens.
const ROWS: usize = 4096;
/// Steps that are tried, in shares of the largest weight / 127. The first is what is used without a sample.
const CLIPS: [f32; 11] = [1.0, 0.97, 0.94, 0.91, 0.88, 0.85, 0.82, 0.79, 0.76, 0.73, 0.7];
/// Exponents of folding that are tried: how much of a channel's size goes into the weights.
const ALPHAS: [f32; 3] = [0.25, 0.5, 0.75];
/// Output channels that one task fits.
const CHANNELS: usize = 64;

/// A sample on its way through the layers, in f32.
pub struct Sample {
    plan: Plan,
    /// `[t, h]`, what the next layer is given.
    states: Vec<f32>,
    hidden: usize,
    every: usize,
}

/// What a layer's linear layers are given: rows of the sample.
#[derive(Debug, Default)]
pub struct Inputs {
    /// Of key and value, `[r, h]`.
    pub states: Vec<f32>,
    /// Of query, `[q, h]`.
    pub asking: Vec<f32>,
    /// Of the attention's output, `[q, h]`.
    pub context: Vec<f32>,
    /// Of the feed-forward block, `[q, h]`.
    pub normed: Vec<f32>,
    /// Of its second half, `[q, f]`.
    pub inner: Vec<f32>,
}

impl Sample {
    /// The sample after the embedding.
    ///
    /// # Errors
    /// Ids, segments or lengths past the model's tables; a sequence without a token.
    pub fn new(encoder: &CpuEncoder, batch: &Batch) -> Result<Self> {
        encoder.embedding.check(batch)?;
        let (plan, hidden) = (Plan::fixed(&batch.offsets), encoder.hidden());
        let embed = |group: Group| {
            let mut x = vec![0f32; group.tokens() * hidden];
            with_workspace(|w| encoder.embedding.group(w, batch, group, &mut x));
            x
        };
        let groups: Vec<Group> = plan.groups().collect();
        let states = groups.into_par_iter().map(embed).collect::<Vec<_>>().concat();
        Ok(Sample { plan, states, hidden, every: batch.tokens().div_ceil(ROWS).max(1) })
    }

    /// Takes the sample through an f32 layer and gives the inputs of its linear layers. With `first_only`, as the last layer is served, all
    /// but key and value (by hashing, query too) see first tokens alone, and the sample ends there.
    pub fn through(&mut self, layer: &Layer, first_only: bool) -> Inputs {
        let (h, f, every) = (self.hidden, layer.shape.ff, self.every);
        let run = Run { first_only, seed: None, spin: None };
        let groups: Vec<Group> = self.plan.groups().collect();
        let pass = |group: Group| {
            let x = &self.states[group.first_token * h..][..group.tokens() * h];
            let rows = group.rows(first_only);
            let mut out = vec![0f32; rows * h];
            let thinned = |values: &[f32], width: usize, every: usize, first: usize| -> Vec<f32> {
                let rows = values.chunks_exact(width).zip(first..);
                rows.filter(|(_, row)| row.is_multiple_of(every)).flat_map(|(row, _)| row).copied().collect()
            };
            let mut inputs = Inputs::default();
            let mut normed = Vec::new();
            with_workspace(|w| {
                if layer.norm_before(w, x, group.tokens()) {
                    normed = w.x1[..x.len()].to_vec();
                }
                layer.forward(w, group, run, x, &mut out, None);
                // first tokens are few: all of them stay
                let every = if first_only { 1 } else { every };
                let kept =
                    |values: &[f32], width: usize| thinned(&values[..rows * width], width, every, group.first_token);
                inputs.context = kept(&w.context, h);
                inputs.normed = kept(&w.x1, h);
                inputs.inner = kept(bytemuck::cast_slice(&w.packed), f);
            });
            let x = if normed.is_empty() { x } else { &normed };
            inputs.states = thinned(x, h, every, group.first_token);
            inputs.asking = match layer.shape.first_asks_alone(first_only) {
                true => group.sequences().flat_map(|(start, _, _)| &x[start * h..][..h]).copied().collect(),
                false => inputs.states.clone(),
            };
            (inputs, out)
        };
        let parts: Vec<(Inputs, Vec<f32>)> = groups.into_par_iter().map(pass).collect();
        let join =
            |part: fn(&Inputs) -> &Vec<f32>| parts.iter().flat_map(|(i, _)| part(i)).copied().collect::<Vec<_>>();
        let inputs = Inputs {
            states: join(|i| &i.states),
            asking: join(|i| &i.asking),
            context: join(|i| &i.context),
            normed: join(|i| &i.normed),
            inner: join(|i| &i.inner),
        };
        self.states = parts.into_iter().flat_map(|(_, out)| out).collect();
        inputs
    }
}

/// A fitted matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// `[n, k]`.
    pub matrix: QuantizedMatrix,
    /// Squared error of the outputs on the sample, in shares of the outputs' squares.
    pub error: f64,
    /// The same without a sample: nothing cut.
    pub plain: f64,
}

/// Whole numbers for weights `[n, k]` whose inputs look like `x [rows, k]`.
pub fn fit(weight: &[f32], k: usize, x: &[f32]) -> Fitted {
    let rows = x.len() / k;
    let depth = kernels::packed_len(Dtype::Int8, k);
    let (mut packed, mut scale) = (vec![0u32; rows * depth], vec![0f32; rows]);
    kernels::pack_rows(Dtype::Int8, x, k, rows, k, &mut packed, &mut scale);
    let left = Left { packed: &packed, stride: depth, rows, scale: &scale };
    let exact = Left { packed: bytemuck::cast_slice(x), stride: k, rows, scale: &[] };
    let parts: Vec<Channels> = weight.par_chunks(CHANNELS * k).map(|part| channels(part, k, left, exact)).collect();
    let size: f64 = parts.iter().map(|part| part.size).sum::<f64>().max(f64::MIN_POSITIVE);
    let sum = |of: fn(&Channels) -> f64| parts.iter().map(of).sum::<f64>() / size;
    let (error, plain) = (sum(|part| part.error), sum(|part| part.plain));
    let values = parts.iter().flat_map(|part| part.matrix.values()).copied().collect();
    let scales = parts.iter().flat_map(|part| part.matrix.scales()).copied().collect();
    Fitted { matrix: QuantizedMatrix::new(k, values, scales), error, plain }
}

/// A few output channels, fitted.
struct Channels {
    matrix: QuantizedMatrix,
    /// Squared errors of the outputs, fitted and without a sample.
    error: f64,
    plain: f64,
    /// The outputs' squares.
    size: f64,
}

/// [`fit`] for a few channels.
fn channels(weight: &[f32], k: usize, left: Left, exact: Left) -> Channels {
    let (rows, n) = (left.rows, weight.len() / k);
    let mut panels = Panels::default();
    let (mut want, mut got) = (vec![0f32; rows * n], vec![0f32; rows * n]);
    panels.pack(Dtype::F32, &[Matrix::F32(weight)], k);
    kernels::product(exact, &panels, None, Out::Write(&mut want), n);
    let size = want.iter().map(|y| f64::from(*y).powi(2)).sum();
    let mut best = QuantizedMatrix::quantize(weight, k);
    let (mut plain, mut errors) = (0.0, vec![f64::INFINITY; n]);
    for clip in CLIPS {
        let matrix = QuantizedMatrix::clipped(weight, k, clip);
        panels.pack(Dtype::Int8, &[Matrix::Int8(&matrix)], k);
        kernels::product(left, &panels, None, Out::Write(&mut got), n);
        let mut squares = vec![0f64; n];
        for (want, got) in want.chunks_exact(n).zip(got.chunks_exact(n)) {
            for (sum, (w, g)) in squares.iter_mut().zip(want.iter().zip(got)) {
                *sum += f64::from(w - g).powi(2);
            }
        }
        if clip == 1.0 {
            plain = squares.iter().sum();
        }
        for (i, (least, error)) in errors.iter_mut().zip(squares).enumerate() {
            if error < *least {
                *least = error;
                best.set_row(i, matrix.row(i));
            }
        }
    }
    Channels { matrix: best, error: errors.iter().sum(), plain, size }
}

/// [`fit`] where the `k` channels of the input may be divided by factors: gives the factors too, powers of two, all 1 where
/// folding does not help. The weights are already multiplied.
pub fn smooth(weight: &[f32], k: usize, x: &[f32]) -> (Fitted, Vec<f32>) {
    let largest = |values: &[f32]| {
        let mut most = vec![0f32; k];
        for row in values.chunks_exact(k) {
            most.iter_mut().zip(row).for_each(|(m, v)| *m = m.max(v.abs()));
        }
        most
    };
    let (of_x, of_w) = (largest(x), largest(weight));
    let plain = fit(weight, k, x);
    let without = plain.plain;
    let mut best = (plain, vec![1f32; k]);
    for alpha in ALPHAS {
        let factor = |(x, w): (&f32, &f32)| match *x > 0.0 && *w > 0.0 {
            true => (alpha * x.log2() - (1.0 - alpha) * w.log2()).round().clamp(-20.0, 20.0).exp2(),
            false => 1.0,
        };
        let factors: Vec<f32> = of_x.iter().zip(&of_w).map(factor).collect();
        let scaled = |values: &[f32], by: fn(f32, f32) -> f32| -> Vec<f32> {
            values.iter().zip(factors.iter().cycle()).map(|(v, f)| by(*v, *f)).collect()
        };
        let fitted = fit(&scaled(weight, |w, f| w * f), k, &scaled(x, |x, f| x / f));
        if fitted.error < best.0.error {
            best = (fitted, factors);
        }
    }
    best.0.plain = without;
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Heavy-tailed values: cubes of even ones.
    fn draw(n: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        (0..n).map(|_| next().powi(3)).collect()
    }

    /// Squared error of the int8 product against f64, in shares of the outputs' squares.
    fn measured(weight: &[f32], fitted: &[f32], k: usize, x: &[f32]) -> f64 {
        let (mut off, mut size) = (0.0, 0.0);
        for x in x.chunks_exact(k) {
            let step = f64::from(x.iter().fold(0f32, |m, v| m.max(v.abs()))) / 127.0;
            for (w, q) in weight.chunks_exact(k).zip(fitted.chunks_exact(k)) {
                let want: f64 = x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
                let got: f64 =
                    x.iter().zip(q).map(|(x, q)| (f64::from(*x) / step).round() * step * f64::from(*q)).sum();
                off += (want - got).powi(2);
                size += want * want;
            }
        }
        off / size
    }

    #[test]
    fn fitting_lowers_the_error_and_says_by_how_much() {
        let (n, k, rows) = (70, 53, 300);
        let mut weight = draw(n * k, 1);
        // one far weight per row that meets inputs of almost nothing
        weight.chunks_exact_mut(k).for_each(|row| row[0] = 3.0);
        let mut x = draw(rows * k, 2);
        x.chunks_exact_mut(k).for_each(|row| row[0] *= 1e-3);
        let fitted = fit(&weight, k, &x);
        assert!(fitted.error < 0.8 * fitted.plain, "{} {}", fitted.error, fitted.plain);
        let error = measured(&weight, &fitted.matrix.to_f32(), k, &x);
        assert!((error / fitted.error - 1.0).abs() < 0.02, "{error} {}", fitted.error);
        let plain = QuantizedMatrix::quantize(&weight, k).to_f32();
        let error = measured(&weight, &plain, k, &x);
        assert!((error / fitted.plain - 1.0).abs() < 0.02, "{error} {}", fitted.plain);
        // on other inputs of the same kind too
        let mut other = draw(rows * k, 3);
        other.chunks_exact_mut(k).for_each(|row| row[0] *= 1e-3);
        let chosen = measured(&weight, &fitted.matrix.to_f32(), k, &other);
        assert!(chosen < 0.85 * measured(&weight, &plain, k, &other), "{chosen}");
    }

    #[test]
    fn channels_are_cut_where_their_largest_weights_meet_small_inputs_and_zeros_stay_zeros() {
        let (n, k) = (40, 19);
        let (mut weight, mut x) = (draw(n * k, 4), draw(200 * k, 5));
        weight.chunks_exact_mut(k).for_each(|row| row[0] = 3.0);
        x.chunks_exact_mut(k).for_each(|row| row[0] *= 1e-3);
        weight[..k].fill(0.0);
        weight[k..2 * k].fill(1e-41);
        let fitted = fit(&weight, k, &x).matrix;
        assert!((0..2).all(|row| fitted.row(row) == (&[0; 19][..], 0.0)));
        let is_cut = |row: usize| {
            let (numbers, scale) = fitted.row(row);
            assert!(numbers.contains(&127), "the largest value takes the whole range");
            scale * 127.0 < 0.98 * 3.0
        };
        assert!((2..n).any(is_cut), "no channel was cut: the test shows nothing");
    }

    #[test]
    fn folding_helps_where_one_channel_towers() {
        let (n, k, rows) = (33, 32, 200);
        let (weight, mut x) = (draw(n * k, 6), draw(rows * k, 7));
        x.chunks_exact_mut(k).for_each(|row| row[5] *= 60.0);
        let (fitted, factors) = smooth(&weight, k, &x);
        assert!(fitted.error < 0.5 * fit(&weight, k, &x).error, "{}", fitted.error);
        assert!(factors[5] >= 4.0 * factors[6], "{factors:?}");
        assert!(factors.iter().all(|f| f.log2().fract() == 0.0), "powers of two: {factors:?}");
        let inputs: Vec<f32> = x.iter().zip(factors.iter().cycle()).map(|(x, f)| x / f).collect();
        let weights: Vec<f32> = weight.iter().zip(factors.iter().cycle()).map(|(w, f)| w * f).collect();
        let error = measured(&weights, &fitted.matrix.to_f32(), k, &inputs);
        assert!((error / fitted.error - 1.0).abs() < 0.02, "{error} {}", fitted.error);
    }

    #[test]
    fn a_sample_without_rows_leaves_plain_rounding() {
        let weight = draw(3 * 8, 8);
        let fitted = fit(&weight, 8, &[]);
        assert_eq!((fitted.matrix, fitted.error), (QuantizedMatrix::quantize(&weight, 8), 0.0));
    }
}
