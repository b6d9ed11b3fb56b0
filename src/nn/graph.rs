//! A stack of layers after an embedding, in training: states as tensors of candle's graph.

use std::sync::Arc;

use candle_core::{Device, Tensor, Var};

use super::Dtype;
use super::embedding::{Embedding, EmbeddingGrads, EmbeddingOp};
use super::global::GlobalParam;
use super::layer::{LayerShape, Run};
use super::layer_grad::{Arena, FinalNorm, LayerOp, ParamRef};
use super::layer_weights::{LayerWeights, Norm};
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
    /// Each layer's window and global token, in a Longformer; else empty.
    pub globals: Vec<GlobalParam>,
    /// The norm after the last layer.
    pub final_norm: Option<Norm<ParamRef>>,
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
        let eps = self.shape.eps;
        for (i, params) in self.layers.into_iter().enumerate() {
            let run = Run { first_only: first_only && i == last, seed: Some(of_layer(seed, i)), spin: None };
            let shape = self.shape.at(i);
            let (bias, global) = (self.bias.clone(), self.globals.get(i).cloned());
            let op = LayerOp::new((self.dtype, shape), params, plan.clone(), run, arena.clone(), bias, global);
            states.push(states[i].apply_op1(op)?);
        }
        if let (Some(norm), Some(state)) = (self.final_norm, states.last_mut()) {
            *state = state.apply_op1(FinalNorm::new(norm, eps))?;
        }
        Ok(states)
    }

    /// First tokens' last states, `[b, h]`, of a network whose layers below `at` see the sequences of `apart`, and the others those between `joint`
    /// offsets over the same tokens. `between` gets all states `[t, h]` after layer `at - 1` and gives what goes on.
    pub fn split(
        self,
        (apart, joint): (&Batch, &[u32]),
        at: usize,
        seed: u64,
        arena: &Arc<Arena>,
        between: &dyn Fn(Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        self.embedding.check(apart)?;
        let (below, above) = (Arc::new(Plan::fixed(&apart.offsets)), Arc::new(Plan::fixed(joint)));
        let tie = Var::zeros((), candle_core::DType::F32, &Device::Cpu)?;
        let op = EmbeddingOp::new(self.embedding, apart.clone(), below.clone(), seed, self.grads);
        let mut x = tie.apply_op1(op)?;
        let layers = self.layers.len();
        for (i, params) in self.layers.into_iter().enumerate() {
            if i == at {
                x = between(x)?;
            }
            let first_only = i >= at && i + 1 == layers;
            let run = Run { first_only, seed: Some(of_layer(seed, i)), spin: None };
            let plan = if i < at { &below } else { &above };
            let shape = self.shape.at(i);
            let (bias, global) = (self.bias.clone(), self.globals.get(i).cloned());
            let op = LayerOp::new((self.dtype, shape), params, plan.clone(), run, arena.clone(), bias, global);
            x = x.apply_op1(op)?;
        }
        if at < layers {
            return Ok(x);
        }
        let first = Tensor::new(&joint[..joint.len() - 1], &Device::Cpu)?;
        Ok(between(x)?.index_select(&first, 0)?)
    }
}

/// The seed of a layer's dropout.
fn of_layer(seed: u64, layer: usize) -> u64 {
    seed.wrapping_add((layer as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
