//! An ordinary Hugging Face directory: `config.json`, `model.safetensors`, `tokenizer.json` or `vocab.txt`.
//!
//! Checkpoints spell the same network in several ways. All of them come out under the names of
//! `BertForSequenceClassification` (`bert.embeddings.*`, `bert.encoder.layer.N.*`, `bert.pooler.*`, `classifier.*`):
//!
//! | saved as | spelling | what happens |
//! | --- | --- | --- |
//! | `BertModel` (sentence-transformers) | no `bert.` before the names | it is put there; there is no `classifier` |
//! | TensorFlow's first checkpoints | `LayerNorm.gamma`, `.beta` | `.weight`, `.bias` |
//! | `BertForMaskedLM`, `BertForPreTraining` | `cls.*` | left out; there is no `classifier`, often no pooler |
//! | `BertForSequenceClassification` | one or two rows of `classifier` | kept; with two, score = logit 1 - logit 0 |
//!
//! Every array is checked against `config.json`, so that a wrong pair of files is found here, by name. The pooler and the
//! classifier may be absent (training draws them); nothing else may. What lies outside `bert.` and `classifier.` belongs to
//! other heads and is left out.
//!
//! Refused: `pytorch_model.bin` (a pickle runs code), shards (nothing that fits a CPU needs them).

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::models::bert::{Config, POOLER};
use crate::nn::Weights;
use crate::nn::weights::read_safetensors;
use crate::{Error, Result};

pub(super) const CONFIG: &str = "config.json";
pub(super) const WEIGHTS: &str = "model.safetensors";
/// The table of words, `[vocab_size, h]`.
pub(super) const WORDS: &str = "bert.embeddings.word_embeddings.weight";
/// The table of segments, `[type_vocab_size, h]`.
pub(super) const SEGMENTS: &str = "bert.embeddings.token_type_embeddings.weight";
/// What a layer's names begin with, before its number.
pub(super) const LAYER: &str = "bert.encoder.layer.";
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
const HEAD: [&str; 2] = ["classifier.weight", "classifier.bias"];

/// Reads a plain Hugging Face directory or a bundle: its configuration, and its weights under the names of
/// `BertForSequenceClassification`, with a `classifier` of one or two rows if any.
///
/// # Errors
/// A file that is missing or damaged, another network than BERT, an array that is missing or has another shape than the
/// configuration says: file and key are named.
pub fn read_directory(dir: &Path) -> Result<(Config, Weights)> {
    let config = read_config(&dir.join(CONFIG))?;
    let path = dir.join(WEIGHTS);
    let mut weights = Weights::default();
    for (name, array) in read_safetensors(&path)?.0 {
        let Some(new) = normalised(&name) else { continue };
        if weights.0.insert(new.clone(), array).is_some() {
            let what = format!("stands in the file twice, once as {name}");
            return Err(Error::model(&path, new, what, "remove one of them"));
        }
    }
    check(&path, &config, &weights)?;
    Ok((config, weights))
}

/// The name in `BertForSequenceClassification`; `None` for what belongs to other heads.
fn normalised(name: &str) -> Option<String> {
    let name = match name.rsplit_once('.') {
        Some((rest, "gamma")) => format!("{rest}.weight"),
        Some((rest, "beta")) => format!("{rest}.bias"),
        _ => name.to_string(),
    };
    let bare = ["embeddings.", "encoder.", "pooler."].iter().any(|prefix| name.starts_with(prefix));
    match bare {
        true => Some(format!("bert.{name}")),
        false => ["bert.", "classifier."].iter().any(|prefix| name.starts_with(prefix)).then_some(name),
    }
}

fn read_config(path: &Path) -> Result<Config> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let wrong = |key: &str, what: String, remedy: &str| Error::model(path, key, what, remedy);
    let damaged = "the file is damaged or no BERT's; fetch it anew";
    let mut value: Value = serde_json::from_slice(&bytes).map_err(|e| wrong("JSON", e.to_string(), damaged))?;
    for (key, wanted) in [("model_type", "bert"), ("hidden_act", "gelu"), ("position_embedding_type", "absolute")] {
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
    let config: Config = serde_json::from_value(value).map_err(|e| {
        let key = e.to_string().split('`').nth(1).unwrap_or("JSON").to_string();
        wrong(&key, e.to_string(), damaged)
    })?;
    if !config.hidden_size.is_multiple_of(config.num_attention_heads) {
        let what = format!("{} do not divide a hidden_size of {}", config.num_attention_heads, config.hidden_size);
        return Err(wrong("num_attention_heads", what, damaged));
    }
    Ok(config)
}

/// Every array that the configuration asks for is there in its shape, and no other.
fn check(path: &Path, config: &Config, weights: &Weights) -> Result<()> {
    let remedy = "weights and config.json are of two models, or damaged; fetch both anew";
    let mut known = BTreeSet::new();
    let mut expect = |name: &str, shape: &[usize]| {
        let what = match weights.0.get(name) {
            Some(array) if array.shape == shape => {
                known.insert(name.to_string());
                return Ok(());
            }
            Some(array) => format!("has shape {:?}, and config.json asks for {shape:?}", array.shape),
            None => format!("is missing; config.json asks for it with shape {shape:?}"),
        };
        Err(Error::model(path, name, what, remedy))
    };
    // Before all names are listed: a configuration may claim any number of layers.
    let numbers = weights.0.keys().filter_map(|n| n.strip_prefix(LAYER)?.split_once('.')?.0.parse::<usize>().ok());
    let layers = numbers.max().map_or(0, |last| last.saturating_add(1));
    if config.num_hidden_layers > layers {
        let what = format!("is missing; config.json asks for {} layers", config.num_hidden_layers);
        return Err(Error::model(path, format!("{LAYER}{layers}"), what, remedy));
    }
    for (name, shape) in config.arrays() {
        expect(&name, &shape)?;
    }
    let h = config.hidden_size;
    let any = |names: [&str; 2]| names.iter().any(|name| weights.0.contains_key(*name));
    if any(POOLER) {
        expect(POOLER[0], &[h, h])?;
        expect(POOLER[1], &[h])?;
    }
    if any(HEAD) {
        let rows = weights.0.get(HEAD[0]).and_then(|w| w.shape.first()).copied().unwrap_or(1);
        if !(1..=2).contains(&rows) {
            let what = format!("has {rows} labels; a matcher has one, or two (no match, match)");
            return Err(Error::model(
                path,
                HEAD[0],
                what,
                "give a model of one or two labels, or one without a classifier",
            ));
        }
        expect(HEAD[0], &[rows, h])?;
        expect(HEAD[1], &[rows])?;
    }
    match weights.0.keys().find(|name| !known.contains(*name)) {
        None => Ok(()),
        Some(name) => Err(Error::model(path, name, "is no part of the network that config.json describes", remedy)),
    }
}

/// True with a pooler and a classifier: the model can score.
pub(super) fn complete(weights: &Weights) -> bool {
    POOLER.iter().chain(&HEAD).all(|name| weights.0.contains_key(*name))
}

/// `config.json` as transformers reads it.
pub(super) fn config_json(config: &Config, weights: &Weights) -> Result<String> {
    let failed = |e: serde_json::Error| Error::Internal { op: "write config.json", what: e.to_string() };
    let labels = weights.0.get(HEAD[0]).and_then(|head| head.shape.first().copied());
    let class = if labels.is_some() { "BertForSequenceClassification" } else { "BertModel" };
    let mut value = json!({"architectures": [class], "model_type": "bert", "position_embedding_type": "absolute"});
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
    Ok(serde_json::to_string_pretty(&value).map_err(failed)? + "\n")
}
