//! A model on disk.
//!
//! A **bundle** is an ordinary Hugging Face directory plus `sverka.json` ([`Manifest`]): how records become text, what a score
//! means, from which probability a pair is accepted. One folder is all that serving needs. Weights may be stored as f32, bf16
//! or int8; [`export`] writes the plain f32 directory that Python's transformers loads with the same numbers. A directory
//! without `sverka.json` is read as well ([`Checkpoint`] knows the spellings), with defaults in the manifest's place.
//!
//! A folder is written next to its final name, flushed and renamed: whoever sees the name sees the whole. Weights carry their
//! SHA-256 in the manifest, because a calibration holds for exactly those weights.
//!
//! Refused: one file with everything in it (no other tool could read the tokenizer and the weights).
mod architecture;
mod arrays;
mod card;
pub(crate) mod checksums;
mod directory;
mod export;
mod family;
mod folder;
mod labels;
mod language_model;
mod late_interaction;
mod manifest;
mod matcher;
mod modular;
mod modules;
mod recalibrate;
mod sentence;
mod split;
mod surgery;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use architecture::Architecture;
pub use directory::{Checkpoint, Purpose};
pub use export::{Export, export};
pub use language_model::{LanguageModel, LanguageStart, Prediction, save_language_model};
pub use manifest::{Manifest, Quantized, VERSION};
pub use split::{EncodedQuery, Halves, SplitEncoder};
pub use surgery::{NewSegments, grow_segments, level_segments, prune_embeddings, take_layers};
pub use words::WordStart;

pub use crate::nn::weights::Storage;

use crate::models::bert::Config;
use crate::models::{Net, Reads, duo, framed};
use crate::nn::weights::write_safetensors;
use crate::nn::{Device, Dtype, Weights};
use crate::ranker::{DualEncoder, LateEncoder, List, Score};
use crate::text::prune::Pruned;
use crate::text::{TextConfig, TextEncoder};
use crate::{Error, Input, Ranker, Result};
use matcher::{Matcher, Network};

/// A model ready to score. A clone shares the weights.
#[derive(Clone)]
pub struct Bundle {
    dir: PathBuf,
    /// How it reads records and what its scores mean.
    pub manifest: Manifest,
    text: TextEncoder,
    network: Arc<Network>,
    plain: bool,
}

impl Bundle {
    /// Opens a bundle, or a plain Hugging Face directory that has a classifier. Computes on `device` in `dtype`, else in what
    /// [`Device::dtype`] makes of the manifest's.
    ///
    /// # Errors
    /// What [`Checkpoint::read`] and [`Checkpoint::select`] refuse; files that do not belong together; a model without a head.
    pub fn open(dir: &Path, dtype: Option<Dtype>, device: Device) -> Result<Self> {
        let checkpoint = Checkpoint::read(dir)?;
        let architecture = checkpoint.architecture();
        Self::of(dir, checkpoint, architecture, Purpose::Score, dtype, device)
    }

    /// Opens a model that encodes texts one at a time: a bundle of two towers, or a plain directory of a sentence encoder, pooled as
    /// its `1_Pooling` says, else by the mean, and compared by the cosine.
    ///
    /// # Errors
    /// What [`Bundle::open`] refuses; a model in which query and document meet; modules of sentence-transformers that are not known.
    pub fn open_encoder(dir: &Path, dtype: Option<Dtype>, device: Device) -> Result<Self> {
        let mut checkpoint = Checkpoint::read(dir)?;
        if checkpoint.manifest.is_none() && checkpoint.config.attention_window.is_some() {
            let what = "is longformer, which has no global token in Python unless each call asks for it: its vectors would be others here";
            return Err(Error::model(
                dir,
                "model_type",
                what,
                "train it first (sverka train), or give another encoder",
            ));
        }
        let (architecture, purpose) = match &checkpoint.manifest {
            Some(manifest) => (manifest.architecture.clone(), Purpose::Score),
            None if checkpoint.late.is_some() => (checkpoint.architecture(), Purpose::Start),
            // heads of pre-training and a pooler are no part of it
            None => {
                let towers = sentence::architecture(dir, &checkpoint.config, &mut checkpoint.weights)?;
                (towers, Purpose::Start)
            }
        };
        if architecture.model().reads() != Reads::Towers {
            let what = format!("a {} reads query and document together and has no vectors", architecture.name());
            let remedy = "give a model of two towers (dssm) or the folder of a sentence encoder";
            return Err(Error::model(&dir.join(manifest::NAME), "architecture", what, remedy));
        }
        Self::of(dir, checkpoint, architecture, purpose, dtype, device)
    }

    fn of(
        dir: &Path,
        mut checkpoint: Checkpoint,
        architecture: Architecture,
        purpose: Purpose,
        dtype: Option<Dtype>,
        device: Device,
    ) -> Result<Self> {
        let model = architecture.model();
        checkpoint.select(&*model, purpose)?;
        let document_length = checkpoint.late.as_ref().and_then(|late| late.document_length);
        let Checkpoint { manifest: found, config, weights, .. } = checkpoint;
        let plain = found.is_none();
        let mut manifest = found.unwrap_or_default();
        if plain {
            manifest.rendering = as_in_python(dir, &config)?;
            manifest.rendering.max_tokens =
                document_length.unwrap_or(manifest.rendering.max_tokens).min(config.max_position_embeddings);
            manifest.architecture = architecture;
        }
        let text = open_tokenizer(dir, &config, &manifest)?;
        let dtype = device.dtype(dtype, manifest.dtype);
        let net = Net::serving(config, &model.modules(), &weights, dtype, device)?;
        let bundle =
            Bundle { dir: dir.into(), manifest, text, network: Arc::new(Network { model, net: Arc::new(net) }), plain };
        // weights of which each is a number may still give none
        let probe = List { query: Input::Text("a 1"), candidates: vec![Input::Text("b 2"), Input::Text("a 1")] };
        bundle.score(&[probe])?;
        Ok(bundle)
    }

    fn matcher(&self) -> Matcher<'_> {
        Matcher { text: &self.text, network: &self.network }
    }
    /// Its scores as a ranker whose documents are encoded before any query is known; `None` where query and document meet in the
    /// encoder.
    pub fn dual_encoder(&self) -> Option<impl DualEncoder> {
        let has_vectors = self.network.model.vectors(&self.matcher().scorer(), &[], true).is_some();
        has_vectors.then(|| self.matcher())
    }
    /// Its scores as a ranker that has several vectors a text; `None` where it has one, or query and document meet in the encoder.
    pub fn late_encoder(&self) -> Option<impl LateEncoder> {
        (self.network.model.reads() == Reads::Towers && self.network.model.towers().is_some()).then(|| self.matcher())
    }
    /// A score as the probability of a match, and whether the pair is accepted: not without something to go by in both texts.
    pub fn decide(&self, score: &Score) -> (f32, bool) {
        let probability = self.manifest.probability(score.value);
        (probability, score.readable && probability >= self.threshold())
    }
    /// The probability from which a pair is accepted.
    pub fn threshold(&self) -> f32 {
        self.manifest.threshold.map_or(0.5, |t| t.value)
    }
    /// How records become tokens.
    pub fn tokenizer(&self) -> &TextEncoder {
        &self.text
    }
    /// For a table whose columns have other names than those of training; no name: all but the id, in order.
    pub fn with_fields(mut self, fields: Vec<String>) -> Self {
        self.text = self.text.with_fields(fields);
        self
    }
    /// A duo that compares and counts otherwise than its manifest says. Any other model stays what it is.
    pub fn with_duo(mut self, config: duo::Config) -> Self {
        if let Architecture::Duo(_) = self.manifest.architecture {
            self.manifest.architecture = Architecture::Duo(config);
            let (model, net) = (self.manifest.architecture.model(), self.network.net.clone());
            self.network = Arc::new(Network { model, net });
        }
        self
    }
    /// Width of the one vector of a text, where it has one.
    pub fn vector_width(&self) -> usize {
        self.network.model.vector_width(self.config().hidden_size)
    }
    /// Sizes of the network.
    pub fn config(&self) -> &Config {
        self.network.net.config()
    }
    /// True for a Hugging Face directory without `sverka.json`.
    pub fn is_plain(&self) -> bool {
        self.plain
    }
    /// SHA-256 of the weights, in hexadecimal.
    pub fn weights_sha256(&self) -> Result<String> {
        match self.plain {
            true => checksums::sha256(&arrays::weight_files(&self.dir)?),
            false => Ok(self.manifest.weights_sha256.clone()),
        }
    }
    /// What decides the vectors and scores of a text, in hexadecimal: weights, configuration, tokenizer, and how records become text. Two
    /// models of one fingerprint are the same.
    ///
    /// # Errors
    /// The system's.
    pub fn fingerprint(&self) -> Result<String> {
        let failed = |e: serde_json::Error| Error::Internal { op: "fingerprint", what: e.to_string() };
        Ok(checksums::of_json(&serde_json::json!({
            "weights": self.weights_sha256()?,
            "files": checksums::of_files(&crate::text::folder_of_network(&self.dir))?,
            "architecture": serde_json::to_value(&self.manifest.architecture).map_err(failed)?,
            "rendering": serde_json::to_value(&self.manifest.rendering).map_err(failed)?,
        })))
    }
    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    /// Writes `sverka.json` again: for a changed calibration or threshold. Makes a bundle of a plain directory, whose
    /// `tokenizer.json` then says all that the other files said.
    pub fn write_manifest(&self) -> Result<()> {
        if self.plain {
            self.text.save(&self.dir)?;
        }
        Manifest { weights_sha256: self.weights_sha256()?, ..self.manifest.clone() }.write(&self.dir)
    }
}

/// Scores are raw: logits of a cross-encoder, similarities of two towers, shares of won comparisons of a duo.
impl Ranker for Bundle {
    fn score(&self, lists: &[List]) -> Result<Vec<Vec<Score>>> {
        let scores = self.matcher().score(lists)?;
        if scores.iter().flatten().any(|score| !score.value.is_finite()) {
            let what = "are not finite numbers: its training diverged, or the file is damaged";
            return Err(Error::model(
                &arrays::weights_path(&self.dir),
                "scores",
                what,
                "train it again at a lower rate, or copy it again",
            ));
        }
        Ok(scores)
    }
    fn is_listwise(&self) -> bool {
        self.matcher().is_listwise()
    }
}

/// How the model in a folder turns texts into tokens: as its manifest says, or as Python reads a plain folder.
///
/// # Errors
/// Files that are missing, damaged, or do not belong together.
pub fn text_encoder(dir: &Path, checkpoint: &Checkpoint) -> Result<TextEncoder> {
    let mut manifest = checkpoint.manifest.clone().unwrap_or_default();
    if checkpoint.manifest.is_none() {
        let read = as_in_python(dir, &checkpoint.config)?;
        let max_tokens = read.max_tokens.min(checkpoint.config.max_position_embeddings);
        manifest.rendering = TextConfig { max_tokens, ..read };
    }
    open_tokenizer(dir, &checkpoint.config, &manifest)
}

/// How a plain folder reads pairs in Python: token types and length as its tokenizer's files say.
fn as_in_python(dir: &Path, config: &Config) -> Result<TextConfig> {
    let rendering = TextConfig::default();
    let Some(python) = TextEncoder::open(dir, rendering.clone())?.in_python()? else { return Ok(rendering) };
    let most = config.max_position_embeddings;
    let max_tokens = python.max_tokens.map_or(most, |tokens| tokens.min(most));
    Ok(TextConfig { max_tokens, one_segment: python.one_segment || config.type_vocab_size == 1, ..rendering })
}

fn open_tokenizer(dir: &Path, config: &Config, manifest: &Manifest) -> Result<TextEncoder> {
    let rendering = &manifest.rendering;
    let wrong = |file: &str, key: &str, what: String| {
        Error::model(&dir.join(file), key, what, "give files that belong together")
    };
    if rendering.max_tokens > config.max_position_embeddings {
        let what =
            format!("is {}, and the model has {} positions", rendering.max_tokens, config.max_position_embeddings);
        let file = if dir.join(manifest::NAME).exists() { manifest::NAME } else { directory::CONFIG };
        return Err(wrong(file, "rendering.max_tokens", what));
    }
    let needed = rendering.segment_count(manifest.architecture.model().reads().texts());
    if needed > config.type_vocab_size {
        let what = format!("its texts take {needed} segments, and the model has {}", config.type_vocab_size);
        let remedy = format!("train it with model.segments = {needed} in the recipe, or text.one_segment = true");
        return Err(Error::model(&dir.join(directory::CONFIG), "type_vocab_size", what, remedy));
    }
    let model = manifest.architecture.model();
    if let Some(towers) = model.towers().filter(|towers| towers.query_length > config.max_position_embeddings) {
        let what =
            format!("is {}, and the model has {} positions", towers.query_length, config.max_position_embeddings);
        return Err(wrong(manifest::NAME, "query_length", what));
    }
    let tokenizer = framed(TextEncoder::open(dir, rendering.clone())?, &*model)?;
    if tokenizer.vocab_size() > config.vocab_size {
        let what = format!("is {}, and the tokenizer has {} tokens", config.vocab_size, tokenizer.vocab_size());
        return Err(wrong(directory::CONFIG, "vocab_size", what));
    }
    Ok(tokenizer)
}

/// What a bundle is made of.
#[derive(Clone, Copy)]
pub struct Contents<'a> {
    /// `sverka.json`; its version, storage and fingerprint are set when it is written.
    pub manifest: &'a Manifest,
    /// `config.json`.
    pub config: &'a Config,
    /// The arrays.
    pub weights: &'a Weights,
    /// The model folder whose tokenizer is taken.
    pub tokenizer_from: &'a Path,
    /// How matrices are stored.
    pub storage: Storage,
}

/// Writes a bundle into a new folder `dir`. `force` replaces a model that is there.
///
/// # Errors
/// [`Error::Exists`]; a manifest that does not fit the network or the tokenizer; the system's. Nothing is left over.
pub fn save(dir: &Path, contents: &Contents, force: bool) -> Result<()> {
    open_tokenizer(contents.tokenizer_from, contents.config, contents.manifest)?;
    folder::write(dir, force, |out| fill(out, contents))
}

/// Writes a bundle's files into an empty folder.
pub(crate) fn fill(out: &Path, contents: &Contents) -> Result<()> {
    let Contents { manifest, config, weights, tokenizer_from, storage } = *contents;
    open_tokenizer(tokenizer_from, config, manifest)?.save(out)?;
    write_model(out, Some(manifest), config, weights, storage)
}

/// Writes the model in `from` with another vocabulary, made of its own by [`crate::text::prune()`]. Gives the rows before and
/// after.
///
/// # Errors
/// [`Error::Exists`]; a vocabulary of another model; the system's. Nothing is left over.
pub fn prune(from: &Path, pruned: &Pruned, dir: &Path) -> Result<(usize, usize)> {
    let Checkpoint { manifest, mut config, mut weights, .. } = Checkpoint::read(from)?;
    let before = config.vocab_size;
    prune_embeddings(&mut config, &mut weights, pruned.kept())?;
    folder::write(dir, false, |out| {
        pruned.save(out)?;
        let storage = manifest.as_ref().map_or(Storage::F32, |m| m.storage);
        write_model(out, manifest.as_ref(), &config, &weights, storage)
    })?;
    Ok((before, config.vocab_size))
}

/// All files but the tokenizer's.
fn write_model(
    out: &Path,
    manifest: Option<&Manifest>,
    config: &Config,
    weights: &Weights,
    storage: Storage,
) -> Result<()> {
    let path = out.join(arrays::WEIGHTS);
    let text =
        |name: &str, text: String| std::fs::write(out.join(name), text).map_err(Error::io("write", &out.join(name)));
    let config_text = match manifest {
        Some(_) => directory::bundle_config(config, weights)?,
        None => format!("{:#}\n", directory::config_value(config, weights)?),
    };
    text(directory::CONFIG, config_text)?;
    write_safetensors(&path, &family::as_written(config, weights), storage)?;
    as_readable_as(&path, &out.join(directory::CONFIG))?;
    if let Some(manifest) = manifest {
        let weights_sha256 = checksums::sha256(&[path])?;
        let manifest = Manifest { storage, weights_sha256, ..manifest.clone() };
        text("README.md", card::card(&manifest, config, weights))?;
        manifest.write(out)?;
    }
    Ok(())
}

/// Gives one file the permissions of another: the safetensors crate lets nobody but the owner read its file, and a model is for
/// whoever may read its folder.
fn as_readable_as(path: &Path, other: &Path) -> Result<()> {
    let ordinary = std::fs::metadata(other).map(|m| m.permissions());
    ordinary.and_then(|p| std::fs::set_permissions(path, p)).map_err(Error::io("write", path))
}

#[cfg(test)]
mod tests;
