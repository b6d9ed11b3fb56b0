//! AdamW (Loshchilov & Hutter, "Decoupled Weight Decay Regularization", ICLR 2019) over a network's parameters.
//!
//! Two groups: weight decay applies to matrices and tables, not to LayerNorm and bias ([`Parameter::decay`]). The work is
//! cut into pieces of a fixed length, so that the result has the same bits on 1 or n threads: the update is elementwise,
//! and the norm's partial sums are added in a fixed order. Refused: Adam with L2 in the gradient (it decays the wrong
//! arrays the most), and a trait over optimisers while there is one.
//!
//! [`Parameter::decay`]: crate::nn::Parameter::decay

use rayon::prelude::*;

use crate::nn::Parameters;
use crate::nn::kernels::{self, AdamStep};

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
}

/// The optimiser's state.
#[derive(Debug, Clone)]
pub struct AdamW {
    settings: Settings,
    /// Updates made so far.
    pub steps: u64,
    /// First moments, one array per parameter.
    pub m: Vec<Vec<f32>>,
    /// Second moments, one array per parameter.
    pub v: Vec<Vec<f32>>,
}

impl AdamW {
    /// Moments of zero for every parameter.
    pub fn new(parameters: &Parameters, settings: Settings) -> Self {
        let zeros = || parameters.list.iter().map(|p| vec![0.0; p.value.len()]).collect();
        AdamW { settings, steps: 0, m: zeros(), v: zeros() }
    }

    /// One update with the gradients as they stand, each multiplied by `scale`, at learning rate `rate`.
    pub fn step(&mut self, parameters: &mut Parameters, rate: f32, scale: f32) {
        self.steps += 1;
        let t = self.steps as f64;
        let Settings { beta1, beta2, epsilon, weight_decay } = self.settings;
        let correction = |beta: f32| (1.0 - f64::from(beta).powf(t)) as f32;
        for ((p, m), v) in parameters.list.iter_mut().zip(&mut self.m).zip(&mut self.v) {
            let step = AdamStep {
                lr: rate,
                beta1,
                beta2,
                eps: epsilon,
                decay: if p.decay { weight_decay } else { 0.0 },
                correction1: correction(beta1),
                correction2: correction(beta2),
                grad_scale: scale,
            };
            let grad = p.grad.lock().expect("no panic holds a gradient");
            let pieces = p.value.par_chunks_mut(PIECE).zip(grad.par_chunks(PIECE));
            let pieces = pieces.zip(m.par_chunks_mut(PIECE)).zip(v.par_chunks_mut(PIECE));
            pieces.for_each(|(((value, grad), m), v)| kernels::adamw(value, grad, m, v, &step));
        }
    }
}

/// The Euclidean norm of all gradients together, summed in a fixed order. Not finite where a gradient is not.
pub fn global_norm(parameters: &Parameters) -> f64 {
    let sum = |p: &crate::nn::Parameter| -> f64 {
        let grad = p.grad.lock().expect("no panic holds a gradient");
        let pieces: Vec<f64> = grad.par_chunks(PIECE).map(|piece| f64::from(kernels::squares(piece))).collect();
        pieces.iter().sum()
    };
    parameters.list.iter().map(sum).sum::<f64>().sqrt()
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
        start: Values,
        weight_decay: f32,
        clip: f32,
        steps: Vec<Step>,
    }
    #[derive(serde::Deserialize)]
    struct Values {
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
            ("bias".to_string(), Array { shape: vec![3], data: golden.start.bias }),
            ("matrix".to_string(), Array { shape: vec![3, 4], data: golden.start.matrix }),
        ];
        let mut parameters = Parameters::new(Weights(arrays.into()));
        let settings = Settings { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: golden.weight_decay };
        let mut optimizer = AdamW::new(&parameters, settings);
        for step in golden.steps {
            *parameters.list[0].grad.lock().unwrap() = step.bias_grad;
            *parameters.list[1].grad.lock().unwrap() = step.matrix_grad;
            let norm = global_norm(&parameters);
            assert!((norm - step.norm).abs() < 1e-5 * norm);
            optimizer.step(&mut parameters, step.lr, clip_scale(norm, golden.clip));
            let want = step.bias.iter().chain(&step.matrix);
            let got = parameters.list[0].value.iter().chain(&parameters.list[1].value);
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
                let weights = Weights([("w".to_string(), Array { shape: vec![1, n], data })].into());
                let mut parameters = Parameters::new(weights);
                let settings = Settings { beta1: 0.9, beta2: 0.98, epsilon: 1e-6, weight_decay: 0.01 };
                let mut optimizer = AdamW::new(&parameters, settings);
                let grad = (0..n).map(|i| (i as f32 * 0.11).cos()).collect();
                *parameters.list[0].grad.lock().unwrap() = grad;
                let norm = global_norm(&parameters);
                optimizer.step(&mut parameters, 1e-3, clip_scale(norm, 1.0));
                (norm.to_bits(), parameters.list.remove(0).value)
            })
        };
        assert_eq!(run(1), run(4));
    }

    #[test]
    fn a_gradient_that_is_not_a_number_shows_in_the_norm() {
        let weights = Weights([("w".to_string(), Array { shape: vec![2], data: vec![0.0; 2] })].into());
        let parameters = Parameters::new(weights);
        parameters.list[0].grad.lock().unwrap()[1] = f32::NAN;
        assert!(!global_norm(&parameters).is_finite());
    }
}
