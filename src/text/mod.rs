//! Raw text to token ids, one way for training and serving.
pub mod batch;
pub use batch::{Batch, Encoding};
