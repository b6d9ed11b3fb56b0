//! Cross-encoder (mono).

use super::bert::Config;
use super::{Mode, Network};
use crate::Result;
use crate::nn::{Dtype, Parameters, Weights};
use crate::text::Batch;
use candle_core::Tensor;

/// The network that training sees.
pub struct CrossEncoder {
    _parameters: Parameters,
}

impl CrossEncoder {
    /// From weights named as `BertForSequenceClassification` names them (`bert.*`, `classifier.*`); a head that is not
    /// there is drawn from `seed`. `dtype`: F32 or Bf16.
    pub fn new(config: Config, weights: Weights, dtype: Dtype, seed: u64) -> Result<Self> {
        let _ = (config, weights, dtype, seed);
        todo!()
    }
}

impl Network for CrossEncoder {
    fn forward(&self, _batch: &Batch, _mode: Mode) -> Result<Tensor> {
        todo!()
    }
    fn parameters(&self) -> &Parameters {
        todo!()
    }
    fn parameters_mut(&mut self) -> &mut Parameters {
        todo!()
    }
    fn updated(&mut self) -> Result<()> {
        todo!()
    }
}

/// The scorer that the rest of the world sees: packed weights only.
pub struct Scorer;

impl Scorer {
    /// Packs weights for the unit at hand.
    pub fn new(config: Config, weights: &Weights, dtype: Dtype) -> Result<Self> {
        let _ = (config, weights, dtype);
        todo!()
    }
    /// One logit per sequence, `[b]`; the same bits whatever else is in the batch.
    pub fn logits(&self, _batch: &Batch) -> Result<Vec<f32>> {
        todo!()
    }
}
