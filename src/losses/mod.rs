//! One loss, one file. A loss is a plain function from tensors to a scalar tensor with a graph behind it; it knows no
//! model and no optimizer. Refused: a trait over losses (they share no arguments worth a common shape).
pub mod bce;
pub mod in_batch_softmax;

pub use bce::bce_with_logits;
pub use in_batch_softmax::in_batch_softmax;
