//! First stages: which documents of a collection are worth a model's time.
//!
//! An engine ([`Engine`]) finds documents by one method and knows only their numbers. [`Index`] is one or several of them on disk: it
//! knows ids, commits, updates and deleted documents, and fuses what several methods found.
pub mod analyse;
mod answers;
mod array;
pub mod bm25;
pub mod colbert;
pub mod compare;
mod documents;
pub mod engine;
pub mod fusion;
mod maker;
mod manifest;
pub mod mean_vectors;
mod nearest;
mod parts;
pub mod states;
mod store;
mod strings;
#[cfg(test)]
mod tests;
mod vectors;
mod writer;

pub use analyse::Analysis;
pub use bm25::{Bm25, Bm25Settings};
pub use colbert::{ColbertIndex, ColbertSettings, write_colbert};
pub use compare::{Compared, Comparison, Way, compare};
pub use engine::Engine;
pub use manifest::{FileEntry, Generation, IndexManifest, Method, ModelTie, Nearest, Settings, Stored};
pub use mean_vectors::MeanVectors;
pub use nearest::{NearestReport, nearest_reports};
pub use store::{Index, ModelOptions};
pub use writer::{Changes, build_index, check_index, compact_index, update_index};
