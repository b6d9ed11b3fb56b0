//! Kernel pooling over similarity matrices: how many document tokens are about as similar to a query token as each kernel's centre (Xiong et
//! al., K-NRM, SIGIR 2017), as an operation of candle's graph.
//!
//! ```text
//! K_k(row) = sum over the document's tokens of exp(-(cosine - mu_k)^2 / (2 sigma_k^2))
//! out_k    = scale * sum over the query's tokens of log(K_k, kept from 0)
//! ```

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::similarity::MatrixLayout;

/// What keeps a logarithm from 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Floor {
    /// The smallest sum; a smaller one counts as this and has no gradient.
    Least(f32),
    /// Added to every sum.
    Added(f32),
}

impl Floor {
    fn log(self, sum: f32) -> f32 {
        match self {
            Floor::Least(least) => sum.max(least).ln(),
            Floor::Added(more) => (sum + more).ln(),
        }
    }
    fn slope(self, sum: f32) -> f32 {
        match self {
            Floor::Least(least) if sum < least => 0.0,
            Floor::Least(_) => 1.0 / sum,
            Floor::Added(more) => 1.0 / (sum + more),
        }
    }
}

/// Cosines `[cells]`, centres `[k]` and widths `[k]` to `[b, k]`; a pair without a query token has zeros.
pub struct KernelPooling {
    /// Where the matrices are.
    pub layout: Arc<MatrixLayout>,
    /// What keeps logarithms from 0.
    pub floor: Floor,
    /// What the result is multiplied by.
    pub scale: f32,
}

const LANES: usize = 16;

/// `exp(x)` for `x` from -87 to 0 (below counts as -87), by Cody and Waite; relative error below 3e-7. Plain arithmetic that a compiler makes vectors of, with
/// the same bits on every machine.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Adding it puts the whole part into the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.max(-87.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4f32;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + c;
    }
    let p = p * (r * r) + r + 1.0;
    f32::from_bits(p.to_bits().wrapping_add(rounded.to_bits() << 23))
}

/// The kernel's values of a row of cosines.
fn kernel(row: &[f32], mu: f32, sigma: f32, out: &mut [f32]) {
    let by = -0.5 / (sigma * sigma);
    out.iter_mut().zip(row).for_each(|(out, x)| *out = exp((x - mu) * (x - mu) * by));
}

/// A sum in a fixed order.
fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane += x);
    }
    lanes.iter().chain(rest).sum()
}

impl KernelPooling {
    fn forward(&self, cosines: &[f32], mu: &[f32], sigma: &[f32]) -> Vec<f32> {
        let k = mu.len();
        let mut out = vec![0f32; self.layout.pairs.len() * k];
        out.par_chunks_mut(k.max(1)).enumerate().for_each_init(Vec::new, |values, (pair, out)| {
            let n = self.layout.pairs[pair].document.len();
            values.resize(n, 0f32);
            for row in self.rows(cosines, pair) {
                for ((out, &mu), &sigma) in out.iter_mut().zip(mu).zip(sigma) {
                    kernel(row, mu, sigma, values);
                    *out += self.floor.log(sum(values));
                }
            }
            out.iter_mut().for_each(|out| *out *= self.scale);
        });
        out
    }

    /// The rows of a pair's matrix; rows without a document token too.
    fn rows<'a>(&self, cosines: &'a [f32], pair: usize) -> impl Iterator<Item = &'a [f32]> + use<'a> {
        let (cells, n) = (self.layout.matrix(pair), self.layout.pairs[pair].document.len());
        (0..self.layout.pairs[pair].query.len()).map(move |i| &cosines[cells.start + i * n..][..n])
    }

    /// Gradients of a pair's cosines, of centres and of widths.
    fn backward(&self, cosines: &[f32], mu: &[f32], sigma: &[f32], grad: &[f32], pair: usize) -> [Vec<f32>; 3] {
        let n = self.layout.pairs[pair].document.len();
        let mut values = vec![0f32; n];
        let mut grads = [vec![0f32; self.layout.matrix(pair).len()], vec![0f32; mu.len()], vec![0f32; mu.len()]];
        let [of_cosines, of_mu, of_sigma] = &mut grads;
        for (i, row) in self.rows(cosines, pair).enumerate() {
            let to = &mut of_cosines[i * n..][..n];
            for k in 0..mu.len() {
                kernel(row, mu[k], sigma[k], &mut values);
                let slope = self.scale * grad[k] * self.floor.slope(sum(&values));
                let narrow = 1.0 / (sigma[k] * sigma[k]);
                let (mut first, mut second) = (0f32, 0f32);
                for ((to, x), value) in to.iter_mut().zip(row).zip(&values) {
                    let d = x - mu[k];
                    *to -= slope * value * d * narrow;
                    first += value * d;
                    second += value * d * d;
                }
                of_mu[k] += slope * first * narrow;
                of_sigma[k] += slope * second * narrow / sigma[k];
            }
        }
        grads
    }
}

impl CustomOp3 for KernelPooling {
    fn name(&self) -> &'static str {
        "kernel-pooling"
    }

    fn cpu_fwd(
        &self,
        cosines: &CpuStorage,
        cells: &Layout,
        mu: &CpuStorage,
        of_mu: &Layout,
        sigma: &CpuStorage,
        of_sigma: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (Some(cells), Some(of_mu), Some(of_sigma)) =
            (cells.contiguous_offsets(), of_mu.contiguous_offsets(), of_sigma.contiguous_offsets())
        else {
            candle_core::bail!("kernel-pooling: an input is not contiguous")
        };
        let cosines = &cosines.as_slice::<f32>()?[cells.0..cells.1];
        let (mu, sigma) = (&mu.as_slice::<f32>()?[of_mu.0..of_mu.1], &sigma.as_slice::<f32>()?[of_sigma.0..of_sigma.1]);
        if cosines.len() != self.layout.cells() || mu.len() != sigma.len() {
            let (n, cells) = (cosines.len(), self.layout.cells());
            candle_core::bail!("kernel-pooling: {n} of {cells} cosines, {} centres, {} widths", mu.len(), sigma.len());
        }
        Ok((CpuStorage::F32(self.forward(cosines, mu, sigma)), Shape::from((self.layout.pairs.len(), mu.len()))))
    }

    fn bwd(
        &self,
        cosines: &Tensor,
        mu: &Tensor,
        sigma: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let values = |x: &Tensor| x.flatten_all()?.to_vec1::<f32>();
        let (values, mus, sigmas, grads) = (values(cosines)?, values(mu)?, values(sigma)?, values(grad)?);
        let k = mus.len();
        let pairs = (0..self.layout.pairs.len()).into_par_iter();
        let pairs: Vec<[Vec<f32>; 3]> =
            pairs.map(|pair| self.backward(&values, &mus, &sigmas, &grads[pair * k..][..k], pair)).collect();
        let (mut of_mu, mut of_sigma, mut of_cosines) =
            (vec![0f32; k], vec![0f32; k], Vec::with_capacity(values.len()));
        for [cells, centres, widths] in &pairs {
            of_cosines.extend_from_slice(cells);
            of_mu.iter_mut().zip(centres).for_each(|(sum, x)| *sum += x);
            of_sigma.iter_mut().zip(widths).for_each(|(sum, x)| *sum += x);
        }
        let tensor = |values: Vec<f32>, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device());
        Ok((Some(tensor(of_cosines, cosines)?), Some(tensor(of_mu, mu)?), Some(tensor(of_sigma, sigma)?)))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::similarity::tests::{assert_gradient, layout, random};

    const MU: [f32; 3] = [1.0, 0.1, -0.5];
    const SIGMA: [f32; 3] = [0.3, 0.1, 0.2];

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::from_slice(values, values.len(), &Device::Cpu).unwrap()
    }

    fn op(floor: Floor) -> KernelPooling {
        KernelPooling { layout: layout(), floor, scale: 0.5 }
    }

    #[test]
    fn the_exponential_is_one() {
        for i in 0..=8700 {
            let x = -(i as f32) / 100.0;
            let wanted = f64::from(x).exp();
            assert!((f64::from(exp(x)) - wanted).abs() <= 5e-7 * wanted, "{x}: {} {wanted}", exp(x));
        }
        assert_eq!(exp(-1e6), exp(-87.0));
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn sums_are_those_of_the_definition() {
        let layout = layout();
        let cosines = random(layout.cells(), 3);
        for floor in [Floor::Least(1e-10), Floor::Least(0.5), Floor::Added(1e-6)] {
            let out = tensor(&cosines).apply_op3(&tensor(&MU), &tensor(&SIGMA), op(floor)).unwrap();
            let out = out.to_vec2::<f32>().unwrap();
            for (pair, (rows, out)) in layout.pairs.iter().zip(&out).enumerate() {
                for k in 0..3 {
                    let kernel = |x: &f32| (-f64::from((x - MU[k]).powi(2) / (2.0 * SIGMA[k] * SIGMA[k]))).exp();
                    let (cells, n) = (&cosines[layout.matrix(pair)], rows.document.len());
                    let sums = (0..rows.query.len()).map(|i| cells[i * n..][..n].iter().map(kernel).sum::<f64>());
                    let log = |sum: f64| match floor {
                        Floor::Least(least) => sum.max(least.into()).ln(),
                        Floor::Added(more) => (sum + f64::from(more)).ln(),
                    };
                    let wanted = 0.5 * sums.map(log).sum::<f64>();
                    assert!((f64::from(out[k]) - wanted).abs() < 1e-4, "pair {pair}, kernel {k}: {} {wanted}", out[k]);
                }
            }
        }
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let cosines = random(layout().cells(), 4);
        for floor in [Floor::Least(1e-10), Floor::Least(0.2), Floor::Added(0.1)] {
            let (mu, sigma, x) = (tensor(&MU), tensor(&SIGMA), tensor(&cosines));
            assert_gradient(&cosines, cosines.len(), |x| x.apply_op3(&mu, &sigma, op(floor)).unwrap());
            assert_gradient(&MU, 3, |mu| x.apply_op3(mu, &sigma, op(floor)).unwrap());
            assert_gradient(&SIGMA, 3, |sigma| x.apply_op3(&mu, sigma, op(floor)).unwrap());
        }
    }
}
