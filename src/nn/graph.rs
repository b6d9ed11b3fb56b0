//! A stack of layers after an embedding, in training: states as tensors of candle's graph.

use std::sync::Arc;

use candle_core::{Device, Tensor, Var};

use super::Dtype;
use super::embedding::{Embedding, EmbeddingGrads, EmbeddingOp};
use super::layer::{LayerShape, Run};
use super::layer_grad::{Arena, LayerOp, ParamRef};
use super::layer_weights::LayerWeights;
use super::plan::Plan;
use super::relative::RelativeParam;
use crate::Result;
use crate::text::Batch;

/// An encoder's arrays in training, borrowed from the parameters for one graph.
pub struct Graph {
    /// The input.
    pub embedding: Embedding,
    /// Where its gradients go.
    pub grads: EmbeddingGrads,
    /// Each layer's arrays.
    pub layers: Vec<LayerWeights<ParamRef>>,
    /// What attention scores get by distance.
    pub bias: Option<RelativeParam>,
    /// Shape of the layers.
    pub shape: LayerShape,
    /// f32 or bf16.
    pub dtype: Dtype,
}

impl Graph {
    /// States after the embedding, `[t, h]`, and after each layer; the last is `[b, h]` where only first tokens are wanted.
    pub fn states(self, batch: &Batch, first_only: bool, seed: u64, arena: &Arc<Arena>) -> Result<Vec<Tensor>> {
        self.embedding.check(batch)?;
        let plan = Arc::new(Plan::fixed(&batch.offsets).with_keys(&batch.keys));
        let tie = Var::zeros((), candle_core::DType::F32, &Device::Cpu)?;
        let op = EmbeddingOp::new(self.embedding, batch.clone(), plan.clone(), seed, self.grads);
        let mut states = vec![tie.apply_op1(op)?];
        let last = self.layers.len().saturating_sub(1);
        for (i, params) in self.layers.into_iter().enumerate() {
            let seed = seed.wrapping_add((i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let run = Run { first_only: first_only && i == last, seed: Some(seed), spin: None };
            let op =
                LayerOp::new((self.dtype, self.shape), params, plan.clone(), run, arena.clone(), self.bias.clone());
            states.push(states[i].apply_op1(op)?);
        }
        Ok(states)
    }
}
