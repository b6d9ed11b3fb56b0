//! First stages: which documents of a collection are worth a model's time.
pub mod analyse;
pub mod bm25;
pub mod colbert;

pub use bm25::Bm25;
pub use colbert::{ColbertIndex, ColbertSettings, write_colbert};
