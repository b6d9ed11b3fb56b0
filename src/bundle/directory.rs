//! An ordinary Hugging Face directory: `config.json`, `model.safetensors`, `tokenizer.json` or `vocab.txt`.
//!
//! Checkpoints spell the same network in several ways. All of them come out under the names of
//! `BertForSequenceClassification` (`bert.embeddings.*`, `bert.encoder.layer.N.*`, `bert.pooler.*`, `classifier.*`):
//!
//! | saved as | spelling | what happens |
//! | --- | --- | --- |
//! | `BertModel` (sentence-transformers) | no `bert.` before the names | it is put there; there is no `classifier` |
//! | TensorFlow's first checkpoints | `LayerNorm.gamma`, `.beta` | `.weight`, `.bias` |
//! | `BertForMaskedLM`, `BertForPreTraining` | `cls.*` | heads of another task, left out with a note |
//! | `BertForSequenceClassification` | one or two rows of `classifier` | kept; with two, score = logit 1 - logit 0 |
//!
//! Every array is checked against `config.json` and against what the architecture is made of, so that a wrong pair of files is
//! found here, by name. Heads may be absent from a start (training draws them); nothing else may. An array that the architecture does not
//! take is an error in a model that is to score, and a note in a start.
//!
//! Names may have a wrapper's prefix (`module.`, `model.`), and arrays may be in shards ([`super::arrays`]). What a classifier's labels
//! mean is read from all files that say so ([`super::labels`]), and a head may be in modules of its own ([`super::modular`]).
//!
//! Refused: `pytorch_model.bin` (a pickle runs code).

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::arrays::{WEIGHTS, read_arrays, weight_files, weights_path};
use super::labels::{self, Refusal};
use super::late_interaction::{self, Found};
use super::manifest::{self, Manifest};
use super::{Architecture, checksums, family, modular};
use crate::models::bert::{Config, LAYER, PREFIX};
use crate::models::{Model, Module, net};
use crate::nn::Weights;
use crate::{Error, Result};

pub(super) const CONFIG: &str = "config.json";
/// The key of `config.json` that says that the folder is a bundle's.
const MARK: &str = "sverka";
/// Whole numbers of `config.json`.
const SIZES: [&str; 7] = [
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
];
const REMEDY: &str = "weights and config.json are of two models, or damaged; fetch both again";

/// What a model folder holds, but for its tokenizer.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// The folder.
    pub dir: PathBuf,
    /// `sverka.json`; `None` for a plain Hugging Face directory.
    pub manifest: Option<Manifest>,
    /// `config.json`.
    pub config: Config,
    /// All arrays, under the names of `BertForSequenceClassification`.
    pub weights: Weights,
    /// What a plain folder says of late interaction.
    pub(super) late: Option<Found>,
    /// Why the classifier does not score as it is.
    refusal: Refusal,
}

/// What a checkpoint is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It scores as it is: every array is there, and no other.
    Score,
    /// Training begins with it: heads may be missing, and what the model does not take is left out.
    Start,
}

impl Checkpoint {
    /// Reads a plain Hugging Face directory or a bundle.
    ///
    /// # Errors
    /// A file that is missing or damaged, another network than BERT, fewer layers than the configuration says: file and key are
    /// named.
    pub fn read(dir: &Path) -> Result<Self> {
        let manifest = Manifest::read(dir)?;
        let whole = dir;
        let dir = &crate::text::folder_of_network(dir);
        let (value, mut config) = read_config(&dir.join(CONFIG))?;
        match &manifest {
            None => refuse_torn_bundle(dir, &value)?,
            Some(manifest) => {
                checksums::check_files(dir, &manifest.files)?;
                check_weights(whole, manifest)?;
            }
        }
        let mut weights = read_arrays(dir, config.family)?;
        family::read_tables(&mut config, &mut weights, &dir.join(CONFIG))?;
        let has_layer = weights.0.contains_key(&late_interaction::weight_name());
        let late = match manifest.is_none() || !has_layer {
            true => late_interaction::read(whole, &value, &mut weights)?,
            false => None,
        };
        if late.is_some() {
            // BERT's own pooler, which transformers writes whether or not it was trained
            weights.0.retain(|name, _| !name.starts_with("bert.pooler."));
        }
        let mut refusal = labels::order(&value, &mut weights);
        if late.is_none() {
            refusal = refusal.or(modular::read(whole, &mut config, &mut weights)?);
        }
        if manifest.is_none() && refusal.is_none() && late.is_none() {
            refusal = labels::cross_encoder(dir, &value)?;
        }
        let checkpoint = Checkpoint { dir: dir.into(), manifest, config, weights, late, refusal };
        checkpoint.check_layers()?;
        Ok(checkpoint)
    }

    /// Arrays that were made for a start, `of` a file or folder.
    pub(crate) fn made(of: &Path, config: Config, weights: Weights) -> Self {
        Checkpoint { dir: of.into(), manifest: None, config, weights, late: None, refusal: None }
    }

    /// The architecture that its manifest names; a plain directory is a ColBERT's if it says so, else a cross-encoder's.
    pub fn architecture(&self) -> Architecture {
        let plain = || self.late.as_ref().map(|late| Architecture::Colbert(late.config.clone()));
        self.manifest.as_ref().map(|m| m.architecture.clone()).or_else(plain).unwrap_or_default()
    }

    /// Leaves the arrays of a model alone, and says what was left out (one line each).
    ///
    /// # Errors
    /// An array that is missing or has another shape than `config.json` says; to score, an array that the model does not take, and a
    /// head that is not there.
    pub fn select(&mut self, model: &dyn Model, purpose: Purpose) -> Result<Vec<String>> {
        if model.split().is_some() && self.config.modern.is_some() {
            let what = "modernbert: its layers count positions themselves, and those of a split encoder's document begin at a fixed one";
            let remedy = "start from a BERT, MPNet, RoBERTa, XLM-R or DistilBERT";
            return Err(Error::model(&self.dir.join("config.json"), "model_type", what, remedy));
        }
        self.select_modules(&model.modules(), purpose)
    }

    /// [`Checkpoint::select`] for what is no ranker.
    ///
    /// # Errors
    /// The same.
    pub fn select_modules(&mut self, modules: &[Module], purpose: Purpose) -> Result<Vec<String>> {
        let path = weights_path(&self.dir);
        let mut notes = Vec::new();
        let classifies = modules.iter().any(|m| matches!(m, Module::Affine { name: "classifier", .. }));
        match purpose {
            Purpose::Start => notes.extend(self.drop_heads(modules)),
            Purpose::Score if classifies => labels::refused(&self.dir, &self.refusal)?,
            Purpose::Score => {}
        }
        for module in modules {
            self.check(&path, module, purpose)?;
        }
        let expected = net::arrays(modules, &self.config, &self.weights);
        let known: BTreeSet<&String> = expected.iter().map(|(name, _)| name).collect();
        let mut others: Vec<String> = self.weights.0.keys().filter(|name| !known.contains(name)).cloned().collect();
        let of_encoder = |name: &str| name.starts_with("bert.encoder.") || name.starts_with("bert.embeddings.");
        if !has_encoder(modules) && purpose == Purpose::Start && others.iter().any(|name| of_encoder(name)) {
            let what = "all of the encoder but its table of words is left out: vectors are static";
            notes.push(format!("{}: {what}", path.display()));
            others.retain(|name| !of_encoder(name));
        }
        if let Some(name) = others.iter().find(|name| of_encoder(name)) {
            return Err(Error::model(&path, name, "is no part of the network that config.json describes", REMEDY));
        }
        self.weights.0.retain(|name, _| known.contains(name));
        others.retain(|name| purpose == Purpose::Start || !is_pretraining_head(name));
        if purpose == Purpose::Score
            && let Some(name) = others.first()
        {
            let kind = self.architecture().name();
            let what = format!("is no part of a {kind}: these weights are of another architecture");
            let remedy = "give a model of this kind; a bundle's sverka.json names its own";
            return Err(Error::model(&path, name, what, remedy));
        }
        let mut groups: Vec<&str> =
            others.iter().map(|name| name.rsplit_once('.').map_or(name.as_str(), |n| n.0)).collect();
        groups.dedup();
        notes.extend(
            groups.iter().map(|group| format!("{}: {group} is left out: the model does not take it", path.display())),
        );
        Ok(notes)
    }

    /// Every array of a module has its shape, and is there if it must be.
    fn check(&self, path: &Path, module: &Module, purpose: Purpose) -> Result<()> {
        let arrays = net::arrays(std::slice::from_ref(module), &self.config, &self.weights);
        let is_there = arrays.iter().any(|(name, _)| self.weights.0.contains_key(name));
        // training draws heads, and copies a second encoder from the first
        let may_be_absent = match module {
            Module::Encoder { copy_of, .. } => copy_of.is_some(),
            Module::Words { prefix } => *prefix != PREFIX,
            Module::Pooler
            | Module::MaskedHead
            | Module::Restore { .. }
            | Module::Projection(_)
            | Module::Affine { .. }
            | Module::Marks { .. }
            | Module::TokenValues { .. }
            | Module::Values { .. } => true,
        };
        if purpose == Purpose::Start && may_be_absent && !is_there {
            return Ok(());
        }
        for (name, shape) in &arrays {
            let (what, remedy) = match self.weights.0.get(name) {
                Some(array) if array.shape == *shape => continue,
                Some(array) if matches!(module, Module::Affine { .. }) && array.shape.get(1) == shape.get(1) => {
                    let what = format!("has {} labels; a matcher has one, or two (no match, match)", array.shape[0]);
                    (what, "give a model of one or two labels, or let training start from this one")
                }
                Some(array) => (format!("has shape {:?}, and config.json asks for {shape:?}", array.shape), REMEDY),
                None if !is_there => (
                    "is missing: this model has not learned to score pairs".into(),
                    "train with it first: sverka train",
                ),
                None => (format!("is missing; config.json asks for it with shape {shape:?}"), REMEDY),
            };
            return Err(Error::model(path, name, what, remedy));
        }
        Ok(())
    }

    /// Takes out heads with a number of labels that the model can't have, for a start.
    fn drop_heads(&mut self, modules: &[Module]) -> Vec<String> {
        let mut notes = Vec::new();
        for module in modules {
            let (name, outputs) = match module {
                Module::Affine { name, outputs, .. } => (name, *outputs),
                Module::Projection(layer) => (&layer.name, std::slice::from_ref(&layer.outputs)),
                _ => continue,
            };
            let rows = self.weights.0.get(&format!("{name}.weight")).and_then(|a| a.shape.first()).copied();
            if let Some(rows) = rows.filter(|rows| !outputs.contains(rows)) {
                self.weights.0.retain(|array, _| !array.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')));
                notes.push(format!(
                    "{}: {name} has {rows} outputs and is not used: training draws a new one",
                    self.dir.display()
                ));
            }
        }
        notes
    }

    /// Refuses a configuration that claims more layers than there are, before all of their names are listed.
    fn check_layers(&self) -> Result<()> {
        if !has_encoder(&self.architecture().model().modules()) {
            return Ok(());
        }
        let layer =
            |name: &str| name.strip_prefix(PREFIX)?.strip_prefix(LAYER)?.split_once('.')?.0.parse::<usize>().ok();
        let layers = self.weights.0.keys().filter_map(|n| layer(n)).max().map_or(0, |last| last.saturating_add(1));
        if self.config.num_hidden_layers <= layers {
            return Ok(());
        }
        let what = format!("is missing; config.json asks for {} layers", self.config.num_hidden_layers);
        Err(Error::model(&self.dir.join(WEIGHTS), format!("{PREFIX}{LAYER}{layers}"), what, REMEDY))
    }
}

/// Whether a model has layers, and not only a table of words.
fn has_encoder(modules: &[Module]) -> bool {
    modules.iter().any(|module| matches!(module, Module::Encoder { .. }))
}

/// Heads of masked-language and next-sentence pre-training.
fn is_pretraining_head(name: &str) -> bool {
    ["cls.", "lm_head.", "vocab_"].iter().any(|head| name.starts_with(head))
}

/// A file's bytes.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    crate::files::open(path)?.read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    Ok(bytes)
}

/// A JSON file; none if it is not there.
pub(super) fn read_json(path: &Path) -> Result<Option<Value>> {
    if std::fs::symlink_metadata(path).is_err() {
        return Ok(None);
    }
    let damaged = "the file is damaged; fetch it again";
    let value = serde_json::from_slice(&read(path)?);
    value.map(Some).map_err(|e| Error::model(path, "JSON", e.to_string(), damaged))
}

/// The weights are those that a manifest was written for.
fn check_weights(dir: &Path, manifest: &Manifest) -> Result<()> {
    let path = weights_path(&crate::text::folder_of_network(dir));
    if manifest.weights_sha256 == checksums::sha256(&weight_files(dir)?)? {
        return Ok(());
    }
    let what = match &manifest.quantised {
        None => "is another than sverka.json was written for, so calibration and threshold do not apply".into(),
        Some(q) => format!("is not the int8 that sverka.json describes, made from {}", q.from_weights_sha256),
    };
    Err(Error::model(&path, "SHA-256", what, "copy the bundle again"))
}

/// Tells a bundle that lost its manifest from a plain folder.
fn refuse_torn_bundle(dir: &Path, config: &Value) -> Result<()> {
    let card = "Use it with `sverka match`";
    let says = |text: String| text.starts_with("# A product matcher") && text.contains(card);
    let carded = || std::fs::read_to_string(dir.join("README.md")).is_ok_and(says);
    if config.get(MARK).is_none() && !carded() {
        return Ok(());
    }
    let what = "is missing: the other files are a bundle's, and say neither how it reads nor what its scores mean";
    let remedy = "copy the bundle again; for a plain folder use `sverka export` on a whole one";
    Err(Error::model(&dir.join(manifest::NAME), "file", what, remedy))
}

fn read_config(path: &Path) -> Result<(Value, Config)> {
    let bytes = read(path)?;
    let wrong = |key: &str, what: String, remedy: &str| Error::model(path, key, what, remedy);
    let damaged = "the file is damaged or no BERT's; fetch it again";
    let mut value: Value = serde_json::from_slice(&bytes).map_err(|e| wrong("JSON", e.to_string(), damaged))?;
    let family = family::of(&value, path)?;
    family.read_settings(&mut value);
    for (key, wanted) in [("hidden_act", "gelu"), ("position_embedding_type", "absolute")] {
        match value.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::String(is)) if is == wanted => {}
            Some(other) => {
                return Err(wrong(key, format!("is {other}, only {wanted} is known"), "give a BERT's directory"));
            }
        }
    }
    for key in ["is_decoder", "add_cross_attention"] {
        if value.get(key) == Some(&Value::Bool(true)) {
            return Err(wrong(key, "is true; only an encoder can be used".into(), "give a BERT encoder's directory"));
        }
    }
    if let Some(map) = value.as_object_mut() {
        map.retain(|_, v| !v.is_null()); // to transformers, null is "not given"
    }
    for key in SIZES {
        match value.get(key) {
            Some(v) if v.as_u64().is_some_and(|v| v > 0) => {}
            Some(v) => return Err(wrong(key, format!("is {v}, not a whole number above 0"), damaged)),
            None if key == "type_vocab_size" => {}
            None => return Err(wrong(key, "is missing".into(), damaged)),
        }
    }
    for key in ["hidden_dropout_prob", "attention_probs_dropout_prob"] {
        if let Some(v) = value.get(key)
            && !v.as_f64().is_some_and(|v| (0.0..1.0).contains(&v))
        {
            return Err(wrong(key, format!("is {v}, not a share from 0 to below 1"), damaged));
        }
    }
    if let Some(v) = value.get("layer_norm_eps")
        && !v.as_f64().is_some_and(|v| v > 0.0 && v < 1.0)
    {
        return Err(wrong("layer_norm_eps", format!("is {v}, not a small number above 0"), damaged));
    }
    let config: Config = serde_json::from_value(value.clone()).map_err(|e| {
        let key = e.to_string().split('`').nth(1).unwrap_or("JSON").to_string();
        wrong(&key, e.to_string(), damaged)
    })?;
    if !config.hidden_size.is_multiple_of(config.num_attention_heads) {
        let what = format!("{} do not divide a hidden_size of {}", config.num_attention_heads, config.hidden_size);
        return Err(wrong("num_attention_heads", what, damaged));
    }
    Ok((value, config))
}

/// `config.json` as transformers reads it.
pub(super) fn config_value(config: &Config, weights: &Weights) -> Result<Value> {
    let failed = |e: serde_json::Error| Error::Internal { op: "write config.json", what: e.to_string() };
    let labels = weights.0.get("classifier.weight").and_then(|head| head.shape.first().copied());
    let class = config.family.class();
    let class = if labels.is_some() { format!("{class}ForSequenceClassification") } else { format!("{class}Model") };
    let mut value = json!({"architectures": [class], "position_embedding_type": "absolute"});
    // by way of text, which keeps 0.1 as 0.1 where a value would hold the f64 next to the f32
    let fields: Value = serde_json::to_string(config).and_then(|text| serde_json::from_str(&text)).map_err(failed)?;
    if let (Value::Object(value), Value::Object(mut fields)) = (&mut value, fields) {
        value.append(&mut fields);
        if let Some(labels) = labels {
            let names: Vec<String> = (0..labels).map(|i| format!("LABEL_{i}")).collect();
            let to_name = names.iter().enumerate().map(|(i, n)| (i.to_string(), Value::from(n.as_str()))).collect();
            let to_id = names.iter().enumerate().map(|(i, n)| (n.clone(), Value::from(i))).collect();
            value.insert("id2label".into(), Value::Object(to_name));
            value.insert("label2id".into(), Value::Object(to_id));
        }
    }
    config.family.write_settings(&mut value, weights);
    Ok(value)
}

/// The same for a bundle, marked as one, so that a torn one is not taken for a plain folder.
pub(super) fn bundle_config(config: &Config, weights: &Weights) -> Result<String> {
    let mut value = config_value(config, weights)?;
    value[MARK] = "part of a bundle: see sverka.json".into();
    Ok(format!("{value:#}\n"))
}
