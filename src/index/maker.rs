//! What makes the vectors of an index: a model in a folder, or a file of word vectors.

use std::path::{Path, PathBuf};

use super::mean_vectors::MeanVectors;
use super::store::ModelOptions;
use crate::bundle::{Bundle, checksums};
use crate::data::WordVectors;
use crate::ranker::{DualEncoder, LateEncoder};
use crate::text::TextConfig;
use crate::{Error, Result};

/// A model of vectors.
#[derive(Clone)]
pub(super) enum Maker {
    /// Two towers, a sentence encoder or a ColBERT.
    Bundle(Box<Bundle>),
    /// The mean of a text's word vectors, and the file that they are from.
    Words(MeanVectors, PathBuf),
}

impl Maker {
    /// Opens a folder or a file.
    pub(super) fn open(path: &Path, options: &ModelOptions) -> Result<Self> {
        if path.is_file() {
            return Ok(Maker::Words(MeanVectors::new(WordVectors::read(path, None)?)?, path.into()));
        }
        Ok(Maker::Bundle(Box::new(Bundle::open_encoder(path, options.dtype, options.device)?)))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        match self {
            Maker::Bundle(bundle) => bundle.dir(),
            Maker::Words(_, path) => path,
        }
    }

    /// What it is: vectors of another one can't be compared with its.
    pub(super) fn fingerprint(&self) -> Result<String> {
        match self {
            Maker::Bundle(bundle) => bundle.fingerprint(),
            Maker::Words(_, path) => checksums::sha256(std::slice::from_ref(path)),
        }
    }

    /// Reading those fields; its own if there are none.
    pub(super) fn with_fields(self, fields: &[String]) -> Self {
        match self {
            _ if fields.is_empty() => self,
            Maker::Bundle(bundle) => Maker::Bundle(Box::new(bundle.with_fields(fields.to_vec()))),
            Maker::Words(words, path) => Maker::Words(words.with_fields(fields), path),
        }
    }

    /// As one that has one vector a text.
    pub(super) fn dual(&self) -> Option<Box<dyn DualEncoder + '_>> {
        match self {
            Maker::Bundle(bundle) => bundle.dual_encoder().map(|encoder| Box::new(encoder) as _),
            Maker::Words(words, _) => Some(Box::new(words.clone())),
        }
    }

    /// As one that has several vectors a text, and how records become its texts.
    pub(super) fn late(&self) -> Option<(Box<dyn LateEncoder + '_>, &TextConfig)> {
        match self {
            Maker::Bundle(bundle) => {
                let encoder = bundle.late_encoder()?;
                Some((Box::new(encoder), bundle.tokenizer().rendering()))
            }
            Maker::Words(..) => None,
        }
    }

    /// Values of the one vector of a text.
    pub(super) fn dim(&self) -> usize {
        match self {
            Maker::Bundle(bundle) => bundle.vector_width(),
            Maker::Words(words, _) => words.dim(),
        }
    }
}

/// A model that is there.
pub(super) fn needed(maker: Option<&Maker>) -> Result<&Maker> {
    maker.ok_or(Error::Internal { op: "vectors", what: "an index of vectors has no model".into() })
}
