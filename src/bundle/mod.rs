//! A model on disk.
//!
//! A **bundle** is an ordinary Hugging Face directory plus `sverka.json` ([`Manifest`]): how records become text, what a score
//! means, from which probability a pair is accepted. One folder is all that serving needs. Weights may be stored as f32, bf16
//! or int8; [`export`] writes the plain f32 directory that Python's transformers loads with the same numbers. A directory
//! without `sverka.json` is read as well ([`read_directory`] lists the spellings), with defaults in the manifest's place.
//!
//! A folder is written beside its final name, flushed and renamed: whoever sees the name sees the whole. Weights carry their
//! SHA-256 in the manifest, because a calibration holds for exactly those weights.
//!
//! Refused: one file with everything in it (no other tool could read the tokenizer and the weights).
mod directory;
mod folder;
mod manifest;
mod surgery;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

pub use directory::read_directory;
pub use manifest::{ARCHITECTURES, Manifest, Quantized, VERSION};
pub use surgery::{grow_segments, prune_embeddings, take_layers};

pub use crate::nn::weights::Storage;

use crate::calibrate::sigmoid;
use crate::models::bert::Config;
use crate::models::cross_encoder::Scorer;
use crate::nn::weights::write_safetensors;
use crate::nn::{Device, Dtype, Weights};
use crate::text::prune::Pruned;
use crate::text::{Batch, Encoding, TextConfig, TextEncoder};
use crate::{Error, Input, Ranker, Result};

/// Tokens given to the scorer at once: enough for all cores, little memory.
const TOKENS: usize = 16 << 10;

/// A model ready to score. A clone shares the weights.
#[derive(Clone)]
pub struct Bundle {
    dir: PathBuf,
    /// How it reads records and what its scores mean.
    pub manifest: Manifest,
    config: Config,
    matcher: Matcher,
    plain: bool,
}

impl Bundle {
    /// Opens a bundle, or a plain Hugging Face directory that has a classifier. Computes on `device` in `dtype`, else in what
    /// [`Device::dtype`] makes of the manifest's.
    ///
    /// # Errors
    /// What [`read_directory`] and [`Manifest::read`] refuse; files that do not belong together; a model without a head.
    pub fn open(dir: &Path, dtype: Option<Dtype>, device: Device) -> Result<Self> {
        let found = Manifest::read(dir)?;
        let plain = found.is_none();
        let (config, weights) = read_directory(dir)?;
        let mut manifest = found.unwrap_or_default();
        let path = dir.join(directory::WEIGHTS);
        if !directory::complete(&weights) {
            let what = "is missing, or bert.pooler is: this model has not learned to score pairs";
            return Err(Error::model(&path, "classifier.weight", what, "train with it first: sverka train"));
        }
        if plain {
            manifest.rendering.max_tokens = manifest.rendering.max_tokens.min(config.max_position_embeddings);
        } else if manifest.weights_sha256 != sha256(&path)? {
            let what = match &manifest.quantised {
                None => "is another than sverka.json was written for, so calibration and threshold do not hold".into(),
                Some(q) => format!("is not the int8 that sverka.json describes, made from {}", q.from_weights_sha256),
            };
            let remedy = "copy the bundle anew, or delete sverka.json to use the rest as a plain directory";
            return Err(Error::model(&path, "SHA-256", what, remedy));
        }
        let tokenizer = open_tokenizer(dir, &config, &manifest)?;
        let scorer = Scorer::new(config.clone(), &weights, device.dtype(dtype, manifest.dtype), device)?;
        let matcher = Matcher { tokenizer, scorer: Arc::new(scorer), cut: Arc::default() };
        Ok(Bundle { dir: dir.into(), manifest, config, matcher, plain })
    }

    /// Scores pairs; a score is a raw logit.
    pub fn ranker(&self) -> &dyn Ranker {
        &self.matcher
    }
    /// A score as the probability of a match, and whether the pair is accepted.
    pub fn decide(&self, score: f32) -> (f32, bool) {
        let probability = match &self.manifest.calibration {
            Some(calibration) => calibration.probability(score),
            None => sigmoid(f64::from(score)) as f32,
        };
        (probability, probability >= self.threshold())
    }
    /// The probability from which a pair is accepted.
    pub fn threshold(&self) -> f32 {
        self.manifest.threshold.map_or(0.5, |t| t.value)
    }
    /// How records become tokens.
    pub fn tokenizer(&self) -> &TextEncoder {
        &self.matcher.tokenizer
    }
    /// How many of the pairs scored so far, by clones too, were longer than the model reads and lost their ends.
    pub fn cut_pairs(&self) -> u64 {
        self.matcher.cut.load(Ordering::Relaxed)
    }
    /// For a table whose columns have other names than those of training; no name: all but the id, in order.
    pub fn with_fields(mut self, fields: Vec<String>) -> Self {
        self.matcher.tokenizer = self.matcher.tokenizer.with_fields(fields);
        self
    }
    /// Sizes of the network.
    pub fn config(&self) -> &Config {
        &self.config
    }
    /// True for a Hugging Face directory without `sverka.json`.
    pub fn is_plain(&self) -> bool {
        self.plain
    }
    /// SHA-256 of the weights, in hexadecimal.
    pub fn weights_sha256(&self) -> Result<String> {
        match self.plain {
            true => sha256(&self.dir.join(directory::WEIGHTS)),
            false => Ok(self.manifest.weights_sha256.clone()),
        }
    }
    /// Writes `sverka.json` anew: for a changed calibration or threshold. Makes a bundle of a plain directory.
    pub fn write_manifest(&self) -> Result<()> {
        Manifest { weights_sha256: self.weights_sha256()?, ..self.manifest.clone() }.write(&self.dir)
    }
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
    if rendering.segment_count() > config.type_vocab_size {
        let (needed, has) = (rendering.segment_count(), config.type_vocab_size);
        let what = format!("pairs take {needed} segments, and the model has {has}");
        return Err(wrong(directory::CONFIG, "type_vocab_size", what));
    }
    let tokenizer = TextEncoder::open(dir, rendering.clone())?;
    if tokenizer.vocab_size() > config.vocab_size {
        let what = format!("is {}, and the tokenizer has {} tokens", config.vocab_size, tokenizer.vocab_size());
        return Err(wrong(directory::CONFIG, "vocab_size", what));
    }
    Ok(tokenizer)
}

/// Text to score: tokenizer and network.
#[derive(Clone)]
struct Matcher {
    tokenizer: TextEncoder,
    scorer: Arc<Scorer>,
    /// Pairs that lost tokens.
    cut: Arc<AtomicU64>,
}

impl Matcher {
    fn logits(&self, encodings: &[Encoding]) -> Result<Vec<f32>> {
        let mut scores = Vec::with_capacity(encodings.len());
        self.cut.fetch_add(encodings.iter().filter(|e| e.truncated > 0).count() as u64, Ordering::Relaxed);
        let mut batch = Batch::default();
        for encoding in encodings {
            if !batch.is_empty() && batch.tokens() + encoding.ids.len() > TOKENS {
                scores.extend(self.scorer.logits(&std::mem::take(&mut batch))?);
            }
            batch.push(encoding);
        }
        if !batch.is_empty() {
            scores.extend(self.scorer.logits(&batch)?);
        }
        Ok(scores)
    }
}

impl Ranker for Matcher {
    fn score(&self, query: Input, candidates: &[Input]) -> Result<Vec<f32>> {
        let left = self.tokenizer.prepare(query)?;
        let pair = |c: &Input| Ok(self.tokenizer.pair_prepared(&left, &self.tokenizer.prepare(*c)?));
        let encodings: Result<Vec<Encoding>> = candidates.par_iter().map(pair).collect();
        self.logits(&encodings?)
    }

    fn score_pairs(&self, pairs: &[(Input, Input)]) -> Result<Vec<f32>> {
        let encodings: Result<Vec<Encoding>> = pairs.par_iter().map(|(l, r)| self.tokenizer.pair(*l, *r)).collect();
        self.logits(&encodings?)
    }
}

/// Writes a bundle into a new folder `dir`, with the tokenizer of the model folder `tokenizer_from`. `force` replaces a model
/// that stands there.
///
/// # Errors
/// [`Error::Exists`]; a manifest that does not fit the network or the tokenizer; the system's. Nothing is left behind.
pub fn save(
    dir: &Path,
    manifest: &Manifest,
    config: &Config,
    weights: &Weights,
    tokenizer_from: &Path,
    storage: Storage,
    force: bool,
) -> Result<()> {
    let tokenizer = open_tokenizer(tokenizer_from, config, manifest)?;
    folder::write(dir, force, |out| {
        tokenizer.save(out)?;
        write_model(out, Some(manifest), config, weights, storage)
    })
}

/// Writes a bundle or plain directory as the plain f32 directory that transformers loads as `BertForSequenceClassification`
/// (`BertModel` where there is no classifier). `force` replaces a model that stands there.
///
/// # Errors
/// [`Error::Exists`]; what [`read_directory`] refuses; the system's. Nothing is left behind.
pub fn export(bundle: &Path, dir: &Path, force: bool) -> Result<()> {
    Manifest::read(bundle)?;
    let (config, weights) = read_directory(bundle)?;
    let tokenizer = TextEncoder::open(bundle, TextConfig::default())?;
    folder::write(dir, force, |out| {
        tokenizer.save(out)?;
        write_model(out, None, &config, &weights, Storage::F32)
    })
}

/// Writes the model in `from` with another vocabulary, made of its own by [`crate::text::prune`]. Gives the rows before and
/// after.
///
/// # Errors
/// [`Error::Exists`]; a vocabulary of another model; the system's. Nothing is left behind.
pub fn prune(from: &Path, pruned: &Pruned, dir: &Path) -> Result<(usize, usize)> {
    let manifest = Manifest::read(from)?;
    let (mut config, mut weights) = read_directory(from)?;
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
    let path = out.join(directory::WEIGHTS);
    let text =
        |name: &str, text: String| std::fs::write(out.join(name), text).map_err(Error::io("write", &out.join(name)));
    text(directory::CONFIG, directory::config_json(config, weights)?)?;
    write_safetensors(&path, weights, storage)?;
    // the safetensors crate lets nobody but the owner read its file, and a model is for whoever may read its folder
    let ordinary = std::fs::metadata(out.join(directory::CONFIG)).map(|m| m.permissions());
    ordinary.and_then(|p| std::fs::set_permissions(&path, p)).map_err(Error::io("write", &path))?;
    if let Some(manifest) = manifest {
        let weights_sha256 = sha256(&path)?;
        let manifest = Manifest { version: VERSION, storage, weights_sha256, ..manifest.clone() };
        text("README.md", card(&manifest, config, weights))?;
        manifest.write(out)?;
    }
    Ok(())
}

fn sha256(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path).map_err(Error::io("read", path))?;
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece).map_err(Error::io("read", path))? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            n => hash.update(&piece[..n]),
        }
    }
}

/// The model card that every bundle begins with; a person may write more.
fn card(manifest: &Manifest, config: &Config, weights: &Weights) -> String {
    let parameters: usize = weights.0.values().map(|a| a.data.len()).sum();
    let fields = match manifest.rendering.fields.as_slice() {
        [] => "all fields but the id".to_string(),
        fields => fields.join(", "),
    };
    let mut text = format!(
        "# A product matcher\n\nCross-encoder: BERT of {} layers, {} wide, {} words, {:.1} million parameters.\n\
         Reads {fields}; pairs of up to {} tokens.\n",
        config.num_hidden_layers,
        config.hidden_size,
        config.vocab_size,
        parameters as f64 / 1e6,
        manifest.rendering.max_tokens
    );
    if let Some(trained_on) = &manifest.trained_on {
        text += &format!("Trained on data with the fingerprint {trained_on}.\n");
    }
    text += "\nUse it with `sverka match`, or `sverka export` it for Python's transformers.\n";
    text
}

#[cfg(test)]
mod tests;
