//! Cross-encoder (mono): query and document meet at layer 0 (Nogueira and Cho, arXiv 1901.04085).
//!
//! ```text
//! [CLS] query [SEP] document [SEP]  ->  all layers  ->  [CLS]  ->  tanh pooler  ->  one logit
//! ```
//!
//! The last layer computes the first token's row alone. Refused: mean pooling (no gain on product pairs, and the published heads
//! expect `[CLS]`).

use candle_core::{D, Tensor};

use super::PairModel;
use super::net::{ENCODER, Inputs, Module, Pass};
use crate::Result;
use crate::text::Batch;

/// The model.
pub struct CrossEncoder;

/// The pooler and a classifier of one label, or of two (no match, match).
pub(super) fn modules() -> Vec<Module> {
    vec![ENCODER, Module::Pooler, Module::Affine { name: "classifier", outputs: &[1, 2], inputs: Inputs::STATE }]
}

/// Logits `[b]` of joint sequences; two labels give the difference of their logits.
///
/// # Errors
/// Ids, segments or lengths past the model's tables; a sequence without a token.
pub fn logits(pass: &Pass, batch: &Batch) -> Result<Tensor> {
    classified(pass, &pass.pooled(batch)?)
}

/// Logits `[b]` of pooled first tokens `[b, h]`.
pub(super) fn classified(pass: &Pass, pooled: &Tensor) -> Result<Tensor> {
    let pooled = pass.dropout(pooled)?;
    let logits = pass.affine("classifier", &pooled)?;
    match logits.dim(D::Minus1)? {
        1 => Ok(logits.squeeze(1)?),
        _ => Ok((logits.narrow(1, 1, 1)? - logits.narrow(1, 0, 1)?)?.squeeze(1)?),
    }
}

impl PairModel for CrossEncoder {
    fn modules(&self) -> Vec<Module> {
        modules()
    }
    fn logits(&self, pass: &Pass, batch: &Batch) -> Result<Tensor> {
        logits(pass, batch)
    }
}
