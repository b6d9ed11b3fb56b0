//! One architecture, one file. The order of the field is where the query meets the document:
//!
//! | model file | where they meet | document half computable beforehand | trait |
//! | --- | --- | --- | --- |
//! | `cross_encoder` (mono) | at layer 0 | no | [`Ranker`](crate::Ranker) |
pub mod bert;
pub mod cross_encoder;

use candle_core::Tensor;

use crate::Result;
use crate::nn::Parameters;
use crate::text::Batch;

/// How a forward pass runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// No dropout; the result carries no graph.
    Infer,
    /// Dropout drawn from this seed alone (counter based: the same seed gives the same masks).
    Train {
        /// Step's seed.
        seed: u64,
    },
}

/// What training sees of a model.
pub trait Network: Send {
    /// Logits of a batch, `[b]`. In [`Mode::Train`] with a graph behind it; call `loss.backward()` and hand the result to
    /// [`Network::collect`].
    fn forward(&self, batch: &Batch, mode: Mode) -> Result<Tensor>;
    /// Takes the gradients of heads out of candle's store; the encoder's own operations have already written theirs.
    fn collect(&self, grads: &candle_core::backprop::GradStore) -> Result<()> {
        self.parameters().collect(grads)
    }
    /// The trained arrays.
    fn parameters(&self) -> &Parameters;
    /// The trained arrays, to be changed: whatever was made of them is forgotten.
    fn parameters_mut(&mut self) -> &mut Parameters;
}
