//! ColBERT's index: documents found by the vectors of their tokens, without another first stage (Santhanam et al., "ColBERTv2", NAACL 2022, and
//! "PLAID", CIKM 2022).
//!
//! | file | what is in it |
//! | --- | --- |
//! | `centroids` | f16 `[k, dim]`, about `16 sqrt(vectors)` of them |
//! | `codes` | the centroid of each vector, u16, or u32 where there are more |
//! | `residuals` | what is left over of each vector, 2 or 4 bits a value |
//! | `ends` | where each document's vectors start, u64 `[n + 1]` |
//! | `lists`, `list_ends` | the documents of each centroid as gaps, and the byte at which each list starts, u64 `[k + 1]` |
//! | `colbert.json` | sizes, and what the bits stand for |
//!
//! At 96 values of 4 bits a vector takes 48 + 2 bytes, one or two in the lists, and its share of the centroids (3 of a million vectors). Files are
//! mapped: a search reads the lists and codes of its candidates and the residuals of the best. Refused: `next-plaid`, whose codes of 8 bytes and merged
//! copies make 126 bytes a token at 96 values (`benches/next_plaid`), whose building keeps all vectors in memory, and whose threshold drops candidates
//! unseen.
mod build;
pub(super) mod codec;
mod lists;
mod pooling;
mod search;
mod tuning;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use super::answers::Quality;
pub use build::ColbertBuilder;
pub(super) use search::Scratch;
pub use search::{ColbertIndex, ColbertSearch, Effort};
pub use tuning::{ByLength, Tried, Tuning, TuningReport, tune_colbert};

use crate::ranker::{Input, LateEncoder};
use crate::{Error, Result};

/// The newest layout.
const VERSION: u32 = 2;
/// The file that says what the others are.
const NAME: &str = "colbert.json";

/// Names of the files.
mod names {
    pub(super) const CENTROIDS: &str = "centroids";
    pub(super) const CODES: &str = "codes";
    pub(super) const RESIDUALS: &str = "residuals";
    pub(super) const ENDS: &str = "ends";
    pub(super) const LISTS: &str = "lists";
    pub(super) const LIST_ENDS: &str = "list_ends";
}

/// How an index is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColbertSettings {
    /// Bits of a value: 2 or 4.
    pub bits: usize,
    /// Centroids; 0: 16 times the root of the number of vectors, 65,000 at most.
    pub centroids: usize,
    /// One vector is kept of so many of a document; 1: all.
    pub pool_factor: usize,
    /// Seed of the sample and of the centroids.
    pub seed: u64,
}

impl Default for ColbertSettings {
    fn default() -> Self {
        ColbertSettings { bits: 4, centroids: 0, pool_factor: 1, seed: 1 }
    }
}

impl ColbertSettings {
    fn check(&self) -> Result<()> {
        if ![2, 4].contains(&self.bits) {
            return Err(Error::setting("bits", self.bits, "must be 2 or 4"));
        }
        if !(1..=64).contains(&self.pool_factor) {
            return Err(Error::setting("pool_factor", self.pool_factor, "must be 1 to 64"));
        }
        if self.centroids > 1 << 24 {
            return Err(Error::setting("centroids", self.centroids, format!("must be at most {}", 1 << 24)));
        }
        Ok(())
    }
}

/// `colbert.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Layout {
    version: u32,
    dim: usize,
    bits: usize,
    documents: u64,
    vectors: u64,
    centroids: u64,
    list_bytes: u64,
    pool_factor: usize,
    cuts: Vec<f32>,
    values: Vec<f32>,
}

/// Documents that are encoded at once.
const TEXTS: usize = 256;

/// Encodes documents and writes their index into an empty folder. `progress` gets documents encoded.
///
/// # Errors
/// What the model refuses; settings that make no index; the system's.
pub fn write_colbert(
    dir: &Path,
    encoder: &dyn LateEncoder,
    documents: impl Iterator<Item = Result<String>>,
    settings: ColbertSettings,
    progress: &dyn Fn(u64),
) -> Result<()> {
    let mut builder = ColbertBuilder::new(dir, encoder.dim(), settings)?;
    let (mut texts, mut done) = (Vec::with_capacity(TEXTS), 0);
    let mut documents = documents.peekable();
    while documents.peek().is_some() {
        texts.clear();
        for text in documents.by_ref().take(TEXTS) {
            texts.push(text?);
        }
        let inputs: Vec<Input> = texts.iter().map(|text| Input::Text(text)).collect();
        builder.add(&encoder.encode_documents(&inputs)?)?;
        done += texts.len() as u64;
        progress(done);
    }
    builder.finish(&|_, _| ())
}

#[cfg(test)]
mod tests;
