//! A model on disk.
//!
//! A **bundle** is an ordinary Hugging Face directory plus `sverka.json` ([`Manifest`]): how records become text, what a score
//! means, from which probability a pair is accepted. One folder is all that serving needs. Weights may be stored as f32, bf16
//! or int8; [`export`] writes the plain f32 directory that Python's transformers loads with the same numbers. A directory
//! without `sverka.json` is read as well ([`Checkpoint`] knows the spellings), with defaults in the manifest's place.
//!
//! A folder is written beside its final name, flushed and renamed: whoever sees the name sees the whole. Weights carry their
//! SHA-256 in the manifest, because a calibration holds for exactly those weights.
//!
//! Refused: one file with everything in it (no other tool could read the tokenizer and the weights).
mod architecture;
mod card;
mod directory;
mod folder;
mod manifest;
mod matcher;
mod recalibrate;
mod surgery;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

pub use architecture::Architecture;
pub use directory::{Checkpoint, Purpose};
pub use manifest::{Manifest, Quantized, VERSION};
pub use surgery::{grow_segments, prune_embeddings, take_layers};

pub use crate::nn::weights::Storage;

use crate::models::bert::Config;
use crate::models::{Net, Reads};
use crate::nn::weights::write_safetensors;
use crate::nn::{Device, Dtype, Weights};
use crate::ranker::{DualEncoder, List, Score};
use crate::text::prune::Pruned;
use crate::text::{TextConfig, TextEncoder};
use crate::{Error, Ranker, Result};
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
        let mut checkpoint = Checkpoint::read(dir)?;
        let architecture = checkpoint.architecture();
        let model = architecture.model();
        checkpoint.select(&*model, Purpose::Score)?;
        let Checkpoint { manifest: found, config, weights, .. } = checkpoint;
        let plain = found.is_none();
        let mut manifest = found.unwrap_or_default();
        let path = dir.join(directory::WEIGHTS);
        if plain {
            manifest.rendering.max_tokens = manifest.rendering.max_tokens.min(config.max_position_embeddings);
        } else if manifest.weights_sha256 != sha256(&path)? {
            let what = match &manifest.quantised {
                None => "is another than sverka.json was written for, so calibration and threshold do not apply".into(),
                Some(q) => format!("is not the int8 that sverka.json describes, made from {}", q.from_weights_sha256),
            };
            let remedy = "copy the bundle again, or delete sverka.json to use the rest as a plain directory";
            return Err(Error::model(&path, "SHA-256", what, remedy));
        }
        let text = open_tokenizer(dir, &config, &manifest)?;
        let dtype = device.dtype(dtype, manifest.dtype);
        let net = Net::serving(config, &model.modules(), &weights, dtype, device)?;
        Ok(Bundle { dir: dir.into(), manifest, text, network: Arc::new(Network { model, net }), plain })
    }

    fn matcher(&self) -> Matcher<'_> {
        Matcher { text: &self.text, network: &self.network }
    }
    /// Its scores as a ranker whose documents are encoded before any query is known; `None` where query and document meet in the
    /// encoder.
    pub fn dual_encoder(&self) -> Option<impl DualEncoder> {
        (self.network.model.reads() == Reads::Towers).then(|| self.matcher())
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
            true => sha256(&self.dir.join(directory::WEIGHTS)),
            false => Ok(self.manifest.weights_sha256.clone()),
        }
    }
    /// Writes `sverka.json` again: for a changed calibration or threshold. Makes a bundle of a plain directory.
    pub fn write_manifest(&self) -> Result<()> {
        Manifest { weights_sha256: self.weights_sha256()?, ..self.manifest.clone() }.write(&self.dir)
    }
}

/// Scores are raw: logits of a cross-encoder, similarities of two towers, shares of won comparisons of a duo.
impl Ranker for Bundle {
    fn score(&self, lists: &[List]) -> Result<Vec<Vec<Score>>> {
        self.matcher().score(lists)
    }
    fn is_listwise(&self) -> bool {
        self.matcher().is_listwise()
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
    let needed = rendering.segment_count(manifest.architecture.model().reads().texts());
    if needed > config.type_vocab_size {
        let what = format!("its texts take {needed} segments, and the model has {}", config.type_vocab_size);
        return Err(wrong(directory::CONFIG, "type_vocab_size", what));
    }
    let tokenizer = TextEncoder::open(dir, rendering.clone())?;
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

/// Writes a bundle or plain directory as the plain f32 directory that transformers loads as `BertForSequenceClassification`
/// (`BertModel` where there is no classifier). `force` replaces a model that is there.
///
/// # Errors
/// [`Error::Exists`]; what [`Checkpoint::read`] and [`Checkpoint::select`] refuse; the system's. Nothing is left over.
pub fn export(bundle: &Path, dir: &Path, force: bool) -> Result<()> {
    let mut checkpoint = Checkpoint::read(bundle)?;
    let model = checkpoint.architecture().model();
    checkpoint.select(&*model, Purpose::Start)?;
    let Checkpoint { config, weights, .. } = checkpoint;
    let tokenizer = TextEncoder::open(bundle, TextConfig::default())?;
    folder::write(dir, force, |out| {
        tokenizer.save(out)?;
        write_model(out, None, &config, &weights, Storage::F32)
    })
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
        text("README.md", card::card(&manifest, config, weights))?;
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

#[cfg(test)]
mod tests;
