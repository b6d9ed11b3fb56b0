//! AdamW (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", ICLR 2019) over a network's parameters.
//!
//! Two groups: weight decay applies to matrices and tables, not to LayerNorm and bias ([`Parameter::decay`]). The work is
//! cut into pieces of a fixed length, so that the result has the same bits on 1 or n threads: the update is elementwise,
//! and the norm's partial sums are added in a fixed order. A row that never had a gradient has no moments and only decays,
//! which is what the whole update does to it, to the bit. In bf16 training the first moment is kept as bfloat16 (DeepSeek-V3,
//! arXiv 2412.19437, section 3.3): it forgets a tenth a step, far more than the two thousandth that rounding costs it. The
//! second one forgets a thousandth and would stand still, so it stays f32. Refused: Adam with L2 in the gradient (it decays
//! the wrong arrays the most), and a trait over optimizers while there is one.
//!
//! [`Parameter::decay`]: crate::nn::Parameter::decay

use std::sync::Arc;

use rayon::prelude::*;

use crate::nn::grad_buffer::SparseRows;
use crate::nn::kernels::{self, AdamStep, Buffer, First};
use crate::nn::{GradBuffer, Parameters};

/// Values handled by one task; a constant, so that sums do not depend on the number of threads.
const PIECE: usize = 1 << 15;

/// What is fixed over a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Decoupled decay, times the learning rate, where [`crate::nn::Parameter::decay`] says so.
    pub weight_decay: f32,
    /// First moments as bfloat16 (tables by rows keep theirs, which are few, in f32).
    pub half: bool,
}

/// The optimizer's state.
#[derive(Debug, Clone)]
pub struct AdamW {
    settings: Settings,
    /// Updates made so far.
    pub steps: u64,
    /// First moments, one array per parameter: by rows where its gradient is.
    pub m: Vec<GradBuffer>,
    /// Second moments.
    pub v: Vec<GradBuffer>,
}

impl AdamW {
    /// Moments of zero for every parameter.
    pub fn new(parameters: &Parameters, settings: Settings) -> Self {
        let zeros = |half: bool| {
            let grads = parameters.list.iter().map(|p| p.grad.lock().expect("no panic holds a gradient"));
            let zero = grads.map(|grad| match &*grad {
                GradBuffer::SparseRows(rows) => GradBuffer::SparseRows(SparseRows::new(rows.list.len(), rows.width())),
                grad if half => GradBuffer::Bf16(Buffer::new(grad.count())),
                grad => GradBuffer::Dense(Buffer::new(grad.count())),
            });
            zero.collect()
        };
        AdamW { settings, steps: 0, m: zeros(settings.half), v: zeros(false) }
    }

    /// One update with the gradients as they stand, each multiplied by `scale`, at learning rate `rate`.
    pub fn step(&mut self, parameters: &mut Parameters, rate: f32, scale: f32) {
        self.steps += 1;
        let t = self.steps as f64;
        let Settings { beta1, beta2, epsilon, weight_decay, .. } = self.settings;
        let correction = |beta: f32| (1.0 - f64::from(beta).powf(t)) as f32;
        for ((p, m), v) in parameters.list.iter_mut().zip(&mut self.m).zip(&mut self.v) {
            let step = AdamStep {
                lr: rate * p.lr_scale,
                beta1,
                beta2,
                eps: epsilon,
                decay: if p.decay { weight_decay } else { 0.0 },
                correction1: correction(beta1),
                correction2: correction(beta2),
                grad_scale: scale,
            };
            let mut grad = p.grad.lock().expect("no panic holds a gradient");
            let value = Arc::make_mut(&mut p.value);
            match (&mut *grad, m, v) {
                (GradBuffer::SparseRows(grad), GradBuffer::SparseRows(m), GradBuffer::SparseRows(v)) => {
                    by_rows(value, grad, m, v, &step)
                }
                (grad, m, GradBuffer::Dense(v)) => {
                    let pieces = value.par_chunks_mut(PIECE).zip(grad.dense_mut().par_chunks(PIECE));
                    let pieces = pieces.zip(firsts(m)).zip(v.par_chunks_mut(PIECE));
                    pieces.for_each(|(((value, grad), m), v)| kernels::adamw(value, grad, m, v, &step));
                }
                _ => unreachable!("moments are by rows where the gradient is"),
            }
        }
    }
}

/// Pieces of a first moment.
fn firsts(m: &mut GradBuffer) -> rayon::vec::IntoIter<First<'_>> {
    let pieces: Vec<First> = match m {
        GradBuffer::Dense(m) => m.chunks_mut(PIECE).map(First::F32).collect(),
        GradBuffer::Bf16(m) => m.chunks_mut(PIECE).map(First::Bf16).collect(),
        GradBuffer::Zero(_) | GradBuffer::SparseRows(_) => unreachable!("a moment for a whole gradient is there"),
    };
    pieces.into_par_iter()
}

/// The update of a table, row by row.
fn by_rows(value: &mut [f32], grad: &SparseRows, m: &mut SparseRows, v: &mut SparseRows, step: &AdamStep) {
    let width = grad.width();
    let keep = 1.0 - step.lr * step.decay;
    let zeros = || vec![0.0; width].into_boxed_slice();
    let zero = zeros();
    let rows = value.par_chunks_exact_mut(width).zip(&grad.list).zip(m.list.par_iter_mut().zip(&mut v.list));
    rows.with_min_len(PIECE.div_ceil(width)).for_each(|((value, grad), (m, v))| {
        if grad.is_none() && m.is_none() && v.is_none() {
            value.iter_mut().for_each(|x| *x *= keep);
            return;
        }
        let (m, v) = (m.get_or_insert_with(zeros), v.get_or_insert_with(zeros));
        kernels::adamw(value, grad.as_ref().unwrap_or(&zero), First::F32(m), v, step);
    });
}

/// The Euclidean norm of all gradients together, summed in a fixed order. Not finite where a gradient is not.
pub fn global_norm(parameters: &Parameters) -> f64 {
    let sum = |p: &crate::nn::Parameter| -> f64 {
        let grad = p.grad.lock().expect("no panic holds a gradient");
        let squares = |piece: &[f32]| f64::from(kernels::squares(piece));
        let pieces: Vec<f64> = match &*grad {
            GradBuffer::Zero(_) => Vec::new(),
            GradBuffer::Dense(grad) => grad.par_chunks(PIECE).map(squares).collect(),
            GradBuffer::Bf16(_) => unreachable!("gradients are f32"),
            GradBuffer::SparseRows(rows) => {
                let starts = (0..p.value.len()).into_par_iter().step_by(PIECE);
                starts.map_init(Vec::new, |piece, start| squares(piece_of(rows, start, piece))).collect()
            }
        };
        pieces.iter().sum()
    };
    parameters.list.iter().map(sum).sum::<f64>().sqrt()
}

/// Values `start..start + PIECE` of a table, put together in `piece`; none where all are zero.
fn piece_of<'a>(rows: &SparseRows, start: usize, piece: &'a mut Vec<f32>) -> &'a [f32] {
    let width = rows.width();
    let end = (start + PIECE).min(rows.list.len() * width);
    let range = start / width..end.div_ceil(width);
    piece.clear();
    if rows.list[range.clone()].iter().any(Option::is_some) {
        range.for_each(|row| piece.extend_from_slice(rows.row(row)));
        piece.truncate(end - start / width * width);
        piece.drain(..start % width);
    }
    piece
}

/// What gradients are multiplied by so that their global norm is at most `limit` (Pascanu et al., ICML 2013); 0 means no
/// limit.
pub fn clip_scale(norm: f64, limit: f32) -> f32 {
    if limit > 0.0 && norm > f64::from(limit) { (f64::from(limit) / norm) as f32 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Array, Weights};

    #[derive(serde::Deserialize)]
    struct Golden {
        start: Start,
        weight_decay: f32,
        clip: f32,
        steps: Vec<Step>,
    }
    #[derive(serde::Deserialize)]
    struct Start {
        matrix: Vec<f32>,
        bias: Vec<f32>,
    }
    #[derive(serde::Deserialize)]
    struct Step {
        lr: f32,
        norm: f64,
        matrix: Vec<f32>,
        bias: Vec<f32>,
        matrix_grad: Vec<f32>,
        bias_grad: Vec<f32>,
    }

    #[test]
    fn equals_pytorch_with_groups_and_clipping() {
        let golden: Golden = serde_json::from_str(include_str!("../../tests/golden/adamw/expected.json")).unwrap();
        let arrays = [
            ("bias".to_string(), Array::new(vec![3], golden.start.bias)),
            ("matrix".to_string(), Array::new(vec![3, 4], golden.start.matrix)),
        ];
        let mut parameters = Parameters::new(Weights(arrays.into()));
        let settings =
            Settings { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: golden.weight_decay, half: false };
        let mut optimizer = AdamW::new(&parameters, settings);
        for step in golden.steps {
            parameters.list[0].grad.lock().unwrap().set(step.bias_grad).unwrap();
            parameters.list[1].grad.lock().unwrap().set(step.matrix_grad).unwrap();
            let norm = global_norm(&parameters);
            assert!((norm - step.norm).abs() < 1e-5 * norm);
            optimizer.step(&mut parameters, step.lr, clip_scale(norm, golden.clip));
            let want = step.bias.iter().chain(&step.matrix);
            let got = parameters.list[0].value.iter().chain(parameters.list[1].value.iter());
            for (got, want) in got.zip(want) {
                assert!((got - want).abs() < 2e-6, "{got} {want}");
            }
        }
    }

    #[test]
    fn threads_do_not_change_the_bits() {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let n = 3 * PIECE + 17;
                let data = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
                let weights = Weights([("w".to_string(), Array::new(vec![1, n], data))].into());
                let mut parameters = Parameters::new(weights);
                let settings = Settings { beta1: 0.9, beta2: 0.98, epsilon: 1e-6, weight_decay: 0.01, half: false };
                let mut optimizer = AdamW::new(&parameters, settings);
                let grad = (0..n).map(|i| (i as f32 * 0.11).cos()).collect();
                parameters.list[0].grad.lock().unwrap().set(grad).unwrap();
                let norm = global_norm(&parameters);
                optimizer.step(&mut parameters, 1e-3, clip_scale(norm, 1.0));
                (norm.to_bits(), parameters.list.remove(0).value)
            })
        };
        assert_eq!(run(1), run(4));
    }

    #[test]
    fn a_gradient_that_is_not_a_number_shows_in_the_norm() {
        let weights = Weights([("w".to_string(), Array::new(vec![2], vec![0.0; 2]))].into());
        let parameters = Parameters::new(weights);
        parameters.list[0].grad.lock().unwrap().dense_mut()[1] = f32::NAN;
        assert!(!global_norm(&parameters).is_finite());
    }

    /// Rows that come, stay away and come back, at widths that cut pieces anywhere.
    #[test]
    fn a_table_by_rows_has_the_bits_of_a_whole_one() {
        for width in [16, 30, 384] {
            let rows = 2 * PIECE / width + 3;
            let data: Vec<f32> = (0..rows * width).map(|i| (i as f32 * 0.37).sin()).collect();
            let array = Array::new(vec![rows, width], data);
            let make = || Parameters::new(Weights([("table".to_string(), array.clone())].into()));
            let (mut whole, mut by_rows) = (make(), make());
            by_rows.mark_sparse("table").unwrap();
            let settings = Settings { beta1: 0.9, beta2: 0.98, epsilon: 1e-6, weight_decay: 0.01, half: false };
            let mut optimizers = [AdamW::new(&whole, settings), AdamW::new(&by_rows, settings)];
            for step in 0..5usize {
                let touched = (0..rows).filter(|row| row % 7 == step % 3 || (row % 50 == 1 && step > 2));
                let mut grad = vec![0.0; rows * width];
                for row in touched {
                    let values = grad[row * width..][..width].iter_mut().enumerate();
                    values.for_each(|(i, g)| *g = ((row * width + i + step) as f32 * 0.11).cos());
                }
                let mut norms = [0, 0];
                for ((p, optimizer), norm) in
                    [&mut whole, &mut by_rows].into_iter().zip(&mut optimizers).zip(&mut norms)
                {
                    p.list[0].grad.lock().unwrap().set(grad.clone()).unwrap();
                    let n = global_norm(p);
                    optimizer.step(p, 1e-3, clip_scale(n, 1.0));
                    *norm = n.to_bits();
                }
                assert_eq!(norms[0], norms[1], "norm of step {step}, width {width}");
                let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(
                    bits(&whole.list[0].value),
                    bits(&by_rows.list[0].value),
                    "values of step {step}, width {width}"
                );
                let [a, b] = &optimizers;
                assert_eq!(bits(&a.m[0].to_vec()), bits(&b.m[0].to_vec()), "first moments of step {step}");
                assert_eq!(bits(&a.v[0].to_vec()), bits(&b.v[0].to_vec()), "second moments of step {step}");
            }
            let GradBuffer::SparseRows(m) = &optimizers[1].m[0] else { panic!("moments by rows") };
            assert!(m.list.iter().filter(|row| row.is_some()).count() < rows / 2, "most rows hold nothing");
        }
    }
}
