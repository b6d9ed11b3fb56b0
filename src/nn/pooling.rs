//! Mean pooling over packed sequences, as an operation of candle's graph.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

/// The mean of each sequence's rows: `[t, h]` to `[b, h]`. Sums run in the order of tokens, so a sequence's mean does not depend on
/// what else is in the batch.
pub struct Mean {
    /// Where each sequence starts, and the end: `[b + 1]`.
    pub offsets: Vec<u32>,
}

impl CustomOp1 for Mean {
    fn name(&self) -> &'static str {
        "mean-pooling"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("mean: input is not contiguous")
        };
        let (x, (t, h)) = (&storage.as_slice::<f32>()?[start..end], layout.shape().dims2()?);
        if self.offsets.last().is_none_or(|last| *last as usize != t) {
            candle_core::bail!("mean: {t} rows, and offsets {:?}", self.offsets.last());
        }
        let mut out = Vec::with_capacity(self.offsets.len() * h);
        for w in self.offsets.windows(2) {
            let rows = &x[w[0] as usize * h..w[1] as usize * h];
            let share = 1.0 / (w[1] - w[0]).max(1) as f32;
            let at = out.len();
            out.resize(at + h, 0f32);
            rows.chunks_exact(h).for_each(|row| out[at..].iter_mut().zip(row).for_each(|(sum, x)| *sum += x));
            out[at..].iter_mut().for_each(|sum| *sum *= share);
        }
        Ok((CpuStorage::F32(out), Shape::from((self.offsets.len() - 1, h))))
    }

    fn bwd(&self, arg: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let (t, h) = arg.dims2()?;
        let grad = grad.flatten_all()?.to_vec1::<f32>()?;
        let mut out = Vec::with_capacity(t * h);
        for (w, row) in self.offsets.windows(2).zip(grad.chunks_exact(h)) {
            let share = 1.0 / (w[1] - w[0]).max(1) as f32;
            for _ in w[0]..w[1] {
                out.extend(row.iter().map(|g| g * share));
            }
        }
        Ok(Some(Tensor::from_vec(out, (t, h), arg.device())?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn means_and_their_gradients() {
        let x = Var::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0], (3, 2), &Device::Cpu).unwrap();
        let mean = x.as_tensor().apply_op1(Mean { offsets: vec![0, 1, 3] }).unwrap();
        assert_eq!(mean.to_vec2::<f32>().unwrap(), [[1.0, 2.0], [4.0, 5.0]]);
        let weights = Tensor::new(&[[1f32, 2.0], [4.0, 8.0]], &Device::Cpu).unwrap();
        let grads = (mean * weights).unwrap().sum_all().unwrap().backward().unwrap();
        let grad = grads.get(x.as_tensor()).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(grad, [[1.0, 2.0], [2.0, 4.0], [2.0, 4.0]]);
        let short = Tensor::zeros((2, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(short.apply_op1(Mean { offsets: vec![0, 1] }).is_err(), "offsets of another batch");
    }
}
