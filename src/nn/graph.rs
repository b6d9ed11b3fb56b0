//! A stack of layers after an embedding, in training: states as tensors of candle's graph.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Tensor, Var};

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
#[derive(Clone)]
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
        let tie = Var::zeros((), candle_core::DType::F32, &Device::Cpu)?;
        self.states_over(&tie, batch, first_only, seed, arena)
    }

    /// The same of words' vectors `[t, h]`, to which gradients go on; the batch's ids are their numbers.
    pub fn states_of(
        mut self,
        words: &Tensor,
        batch: &Batch,
        first_only: bool,
        seed: u64,
        arena: &Arc<Arena>,
    ) -> Result<Vec<Tensor>> {
        self.embedding.weights.words = Arc::new(words.flatten_all()?.to_vec1()?);
        self.states_over(words, batch, first_only, seed, arena)
    }

    /// States over the argument of [`EmbeddingOp`].
    fn states_over(
        self,
        input: &Tensor,
        batch: &Batch,
        first_only: bool,
        seed: u64,
        arena: &Arc<Arena>,
    ) -> Result<Vec<Tensor>> {
        self.embedding.check(batch)?;
        let plan = Arc::new(Plan::fixed(&batch.offsets).with_keys(&batch.keys));
        let op = EmbeddingOp::new(self.embedding, batch.clone(), plan.clone(), seed, self.grads);
        let mut states = vec![input.apply_op1(op)?];
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

    /// The last states, `[t, h]` or `[b, h]`, by passes of at most so many tokens, each computed a second time in the backward pass: no more is kept
    /// in between than these states (Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", RepL4NLP 2021).
    pub fn cached(
        self,
        batch: &Batch,
        first_only: bool,
        seed: u64,
        arena: &Arc<Arena>,
        tokens: usize,
    ) -> Result<Tensor> {
        self.embedding.check(batch)?;
        let parts = batch.parts(tokens);
        let tie = Var::zeros((), candle_core::DType::F32, &Device::Cpu)?;
        Ok(tie.apply_op1(Cached { graph: self, parts, first_only, seed, arena: arena.clone() })?)
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

/// States by parts of a batch: its argument is a scalar variable that only ties it to the graph.
struct Cached {
    graph: Graph,
    parts: Vec<Batch>,
    first_only: bool,
    seed: u64,
    arena: Arc<Arena>,
}

impl Cached {
    /// A part's states with their graph.
    fn states(&self, part: usize) -> candle_core::Result<Tensor> {
        let seed = self.seed.wrapping_add((part as u64).wrapping_mul(0xd1b5_4a32_d192_ed03));
        let states = self.graph.clone().states(&self.parts[part], self.first_only, seed, &self.arena);
        let last = states.map_err(candle_core::Error::wrap)?.pop();
        last.ok_or_else(|| candle_core::Error::Msg("encoder: no states".into()))
    }
}

impl CustomOp1 for Cached {
    fn name(&self) -> &'static str {
        "bert-cached"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let mut out = Vec::new();
        for part in 0..self.parts.len() {
            out.extend(self.states(part)?.flatten_all()?.to_vec1::<f32>()?);
        }
        let (h, values) = (self.graph.shape.hidden, out.len());
        Ok((CpuStorage::F32(out), Shape::from((values / h, h))))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let mut start = 0;
        for part in 0..self.parts.len() {
            let states = self.states(part)?;
            let rows = states.dim(0)?;
            (states * grad.narrow(0, start, rows)?)?.sum_all()?.backward()?;
            start += rows;
        }
        Ok(None)
    }
}

/// The seed of a layer's dropout.
fn of_layer(seed: u64, layer: usize) -> u64 {
    seed.wrapping_add((layer as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
