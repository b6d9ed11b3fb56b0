//! An encoder in serving, on a CPU or a GPU: one request says what is wanted of it.
//!
//! A cross-encoder wants the first tokens of the last layer, a tower the mean of all tokens, CEDR the states after every layer, a split
//! encoder the lower layers now and the upper ones later. All of these are one [`Request`]; a device has no other method.

use std::ops::Range;

use super::embedding::Embedding;
use super::encoder_cpu::CpuEncoder;
use super::layer::{LayerArrays, LayerShape};
use super::{Device, Dtype};
use crate::text::Batch;
use crate::{Error, Result};

/// What a run starts from.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    /// Token ids, segments and positions.
    Tokens(&'a Batch),
    /// States from before.
    States {
        /// `[t, h]`, packed as a batch is.
        states: &'a [f32],
        /// Where each sequence starts, and the end: `[b + 1]`.
        offsets: &'a [u32],
    },
}

/// Which rows of the last state are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Every token's, `[t, h]`.
    All,
    /// The first token's of each sequence, `[b, h]`.
    First,
}

/// What is wanted of an encoder.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// What goes in.
    pub start: Start<'a>,
    /// The layers that it goes through. State 0 is the embedding, state `i + 1` comes after layer `i`; states that go in are those before
    /// the first layer of the range.
    pub layers: Range<usize>,
    /// Which rows of the last state are wanted.
    pub rows: Rows,
    /// Numbers of states of which all rows are kept, from the range's start to its end.
    pub keep: &'a [usize],
}

/// What an encoder gives.
#[derive(Debug, Clone, PartialEq)]
pub struct States {
    /// Rows of the last state, as [`Rows`] says.
    pub rows: Vec<f32>,
    /// The kept states, `[t, h]` each, in the order of [`Request::keep`].
    pub kept: Vec<Vec<f32>>,
}

impl<'a> Start<'a> {
    /// Where each sequence starts, and the end.
    pub fn offsets(&self) -> &'a [u32] {
        match self {
            Start::Tokens(batch) => &batch.offsets,
            Start::States { offsets, .. } => offsets,
        }
    }
}

/// An encoder, packed for a device.
pub struct Encoder {
    hidden: usize,
    layers: usize,
    on: On,
}

#[allow(clippy::large_enum_variant)] // one an encoder, moved once
enum On {
    Cpu(CpuEncoder),
    #[cfg(feature = "cuda")]
    Cuda(super::cuda::CudaEncoder),
}

impl Encoder {
    /// Brings an encoder's arrays to a device.
    ///
    /// # Errors
    /// A device that is not there, or does not compute in `dtype`; `SVERKA_CPU` names a unit that this CPU does not have.
    pub fn new(
        device: Device,
        dtype: Dtype,
        shape: LayerShape,
        embedding: Embedding,
        layers: &[LayerArrays],
    ) -> Result<Self> {
        let (hidden, count) = (shape.hidden, layers.len());
        let on = match device {
            Device::Cpu => On::Cpu(CpuEncoder::new(dtype, shape, embedding, layers)?),
            #[cfg(feature = "cuda")]
            Device::Cuda(ordinal) => {
                On::Cuda(super::cuda::CudaEncoder::new(ordinal, dtype, shape, &embedding, layers)?)
            }
            #[cfg(not(feature = "cuda"))]
            Device::Cuda(_) => {
                let what = "this sverka computes on a CPU only: build it with --features cuda, or leave --device out";
                return Err(Error::setting("--device", device, what));
            }
        };
        Ok(Encoder { hidden, layers: count, on })
    }
    /// Width of a state, `h`.
    pub fn hidden(&self) -> usize {
        self.hidden
    }
    /// Number of layers, `l`.
    pub fn layers(&self) -> usize {
        self.layers
    }
    /// The packed layers, if they are on a CPU.
    pub fn on_cpu(&self) -> Option<&CpuEncoder> {
        match &self.on {
            On::Cpu(encoder) => Some(encoder),
            #[cfg(feature = "cuda")]
            On::Cuda(_) => None,
        }
    }
    /// Runs some layers. On a CPU no value depends on what else is in the batch, nor on the number of threads.
    ///
    /// # Errors
    /// Ids, segments, positions or lengths past the model's tables; a sequence without a token; layers or states that are not there; what
    /// a device refuses.
    pub fn run(&self, request: &Request) -> Result<States> {
        self.check(request)?;
        match &self.on {
            On::Cpu(encoder) => encoder.run(request),
            #[cfg(feature = "cuda")]
            On::Cuda(encoder) => encoder.run(request),
        }
    }

    fn check(&self, request: &Request) -> Result<()> {
        let Range { start, end } = request.layers;
        let wrong = |expected: String, got: String| Err(Error::Shape { op: "encoder", expected, got });
        if start > end || end > self.layers {
            return wrong(format!("layers within 0..{}", self.layers), format!("{start}..{end}"));
        }
        if let Some(state) = request.keep.iter().find(|state| !(start..=end).contains(*state)) {
            return wrong(format!("states from {start} to {end} to keep"), state.to_string());
        }
        match request.start {
            Start::Tokens(_) if start > 0 => wrong("states before a layer past the first".into(), "tokens".into()),
            Start::Tokens(_) => Ok(()),
            Start::States { states, offsets } => {
                let tokens = offsets.last().map_or(0, |&t| t as usize);
                if offsets.first() != Some(&0) || states.len() != tokens * self.hidden {
                    let expected = format!("offsets from 0 and {} values a token", self.hidden);
                    return wrong(expected, format!("offsets {:?}.., {} values", offsets.first(), states.len()));
                }
                match offsets.windows(2).find(|w| w[0] >= w[1]) {
                    Some(_) => wrong("sequences of at least one token".into(), "one without".into()),
                    None => Ok(()),
                }
            }
        }
    }
}
