//! Where a model computes, and an encoder with its pooler there.

use std::str::FromStr;

use super::Dtype;
use super::embedding::Embedding;
use super::encoder::Encoder;
use super::layer::{LayerArrays, LayerShape};
use super::linear::Linear;
#[cfg(not(feature = "cuda"))]
use crate::Error;
use crate::Result;
use crate::text::Batch;

/// Where a model computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// This machine's cores.
    #[default]
    Cpu,
    /// An NVIDIA GPU, by its number. Needs the feature `cuda`.
    Cuda(usize),
}

impl FromStr for Device {
    type Err = String;

    /// `cpu`, `cuda` (the first) or `cuda:1`.
    fn from_str(name: &str) -> Result<Self, String> {
        let number = |n: &str| n.parse().map_err(|_| format!("{n} is no number of a GPU"));
        match name.split_once(':') {
            None if name == "cpu" => Ok(Device::Cpu),
            None if name == "cuda" => Ok(Device::Cuda(0)),
            Some(("cuda", n)) => number(n).map(Device::Cuda),
            _ => Err("give cpu, cuda or cuda:N".into()),
        }
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Device::Cpu => write!(f, "cpu"),
            Device::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

impl Device {
    /// The precision asked for, or else the one that a model is stored for; a GPU computes int8 models in bf16.
    pub fn dtype(self, asked: Option<Dtype>, stored: Option<Dtype>) -> Dtype {
        match (self, asked.or(stored).unwrap_or(Dtype::F32)) {
            (Device::Cuda(_), Dtype::Int8) if asked.is_none() => Dtype::Bf16,
            (_, dtype) => dtype,
        }
    }
}

/// An encoder and BERT's pooler, a linear map of the first token's state and `tanh`.
#[allow(clippy::large_enum_variant)] // one a model, moved once
pub enum Pooled {
    /// On this machine's cores; the pooler in f32.
    Cpu {
        /// Embedding and layers.
        encoder: Encoder,
        /// `[h]` to `[h]`.
        pooler: Linear,
    },
    /// On a GPU.
    #[cfg(feature = "cuda")]
    Cuda(super::cuda::Encoder),
}

impl Pooled {
    /// Brings a model's arrays to a device; `pooler` is its weight `[h, h]` and bias.
    ///
    /// # Errors
    /// A device that is not there, or does not compute in `dtype`.
    pub fn new(
        device: Device,
        dtype: Dtype,
        shape: LayerShape,
        embedding: Embedding,
        layers: &[LayerArrays],
        pooler: [&[f32]; 2],
    ) -> Result<Self> {
        match device {
            Device::Cpu => {
                let mut packed = Linear::default();
                packed.pack(Dtype::F32, &pooler[..1], &pooler[1..]);
                Ok(Pooled::Cpu { encoder: Encoder::new(dtype, shape, embedding, layers)?, pooler: packed })
            }
            #[cfg(feature = "cuda")]
            Device::Cuda(ordinal) => {
                Ok(Pooled::Cuda(super::cuda::Encoder::new(ordinal, dtype, shape, &embedding, layers, pooler)?))
            }
            #[cfg(not(feature = "cuda"))]
            Device::Cuda(_) => {
                let what = "this sverka computes on a CPU only: build it with --features cuda, or leave --device out";
                Err(Error::setting("--device", device, what))
            }
        }
    }
    /// Pooled states, `[b, h]`.
    ///
    /// # Errors
    /// Ids, segments or lengths past the model's tables; a sequence without a token; what a device refuses.
    pub fn rows(&self, batch: &Batch) -> Result<Vec<f32>> {
        match self {
            Pooled::Cpu { encoder, pooler } => {
                let mut pooled = pooler.rows(&encoder.encode(batch, true)?);
                pooled.iter_mut().for_each(|x| *x = x.tanh());
                Ok(pooled)
            }
            #[cfg(feature = "cuda")]
            Pooled::Cuda(encoder) => encoder.pooled(batch),
        }
    }
    /// Last states of all tokens, `[t, h]`.
    ///
    /// # Errors
    /// As [`Pooled::rows`].
    pub fn encode(&self, batch: &Batch) -> Result<Vec<f32>> {
        match self {
            Pooled::Cpu { encoder, .. } => encoder.encode(batch, false),
            #[cfg(feature = "cuda")]
            Pooled::Cuda(encoder) => encoder.encode(batch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_the_names_that_people_know() {
        for (name, device) in [("cpu", Device::Cpu), ("cuda", Device::Cuda(0)), ("cuda:3", Device::Cuda(3))] {
            assert_eq!(name.parse(), Ok(device));
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        for wrong in ["gpu", "cuda:", "cuda:x", "cpu:1", ""] {
            assert!(wrong.parse::<Device>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_gpu_takes_int8_models_in_bf16_unless_told_otherwise() {
        let gpu = Device::Cuda(0);
        assert_eq!(gpu.dtype(None, Some(Dtype::Int8)), Dtype::Bf16);
        assert_eq!(gpu.dtype(Some(Dtype::Int8), None), Dtype::Int8, "which it then refuses by name");
        assert_eq!(gpu.dtype(Some(Dtype::F32), Some(Dtype::Int8)), Dtype::F32);
        assert_eq!(Device::Cpu.dtype(None, Some(Dtype::Int8)), Dtype::Int8);
        assert_eq!(Device::Cpu.dtype(None, None), Dtype::F32);
    }
}
