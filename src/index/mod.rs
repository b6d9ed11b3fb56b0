//! First stages: which documents of a collection are worth a model's time.
pub mod analyse;
mod array;
pub mod bm25;

pub use analyse::Analysis;
pub use bm25::{Bm25, Bm25Settings};
