//! A folder's arrays under the names of `BertForSequenceClassification`, from one file or from shards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{modular, sentence};
use crate::models::bert::{Family, WORDS};
use crate::nn::Weights;
use crate::nn::weights::read_safetensors;
use crate::{Error, Result};

/// The file of all arrays.
pub(super) const WEIGHTS: &str = "model.safetensors";
/// Which array is in which shard.
const INDEX: &str = "model.safetensors.index.json";
/// ModernBERT's name of the table of words.
const MODERNBERT_WORDS: &str = "embeddings.tok_embeddings.weight";
/// Weights in other forms, as people have them.
const OTHERS: [&str; 9] = [
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "tf_model.h5",
    "flax_model.msgpack",
    "model.onnx",
    "onnx/model.onnx",
    "bert_model.ckpt.index",
    "adapter_model.safetensors",
    "openvino/openvino_model.xml",
];

/// The file that says where the arrays are: for errors.
pub(super) fn weights_path(dir: &Path) -> PathBuf {
    let (whole, index) = (dir.join(WEIGHTS), dir.join(INDEX));
    if !whole.exists() && index.exists() { index } else { whole }
}

/// All files with arrays, in a fixed order: the network's, and those of a head or of linear layers in modules.
///
/// # Errors
/// No such file: what is there in its place, and what to do with it. A damaged index; a shard that is not there.
pub(super) fn weight_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = network_files(&crate::text::folder_of_network(dir))?;
    files.extend(modular::files(dir)?);
    files.extend(sentence::files(dir)?);
    Ok(files)
}

/// [`weight_files`] of the network alone.
fn network_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let path = weights_path(dir);
    if path.ends_with(INDEX) {
        return Ok(shards(dir, &path)?.into_keys().collect());
    }
    if std::fs::symlink_metadata(&path).is_ok() {
        return Ok(vec![path]);
    }
    let Some(other) = OTHERS.iter().find(|name| dir.join(name).exists()) else {
        return Err(Error::io("read", &path)(std::io::ErrorKind::NotFound.into()));
    };
    let (what, remedy) = match *other {
        "adapter_model.safetensors" => {
            ("has an adapter (LoRA) alone", "join it with its base in Python: merge_and_unload().save_pretrained(DIR)")
        }
        name if name.starts_with("pytorch_model") => (
            "is a pickle, which can run code; only model.safetensors is read",
            "convert it where you trust it: python -c 'import transformers as t; \
             t.AutoModelForSequenceClassification.from_pretrained(\"DIR\").save_pretrained(\"DIR\")'",
        ),
        name if name.ends_with("onnx") || name.ends_with("xml") => (
            "is a graph without the model's own arrays; only model.safetensors is read",
            "fetch model.safetensors from where this file is from",
        ),
        _ => (
            "is another program's form; only model.safetensors is read",
            "convert it with transformers: from_pretrained, then save_pretrained",
        ),
    };
    Err(Error::model(&dir.join(other), WEIGHTS, what, remedy))
}

/// The files of an index, and which arrays each should have.
fn shards(dir: &Path, path: &Path) -> Result<BTreeMap<PathBuf, BTreeSet<String>>> {
    let damaged = |what: String| Error::model(path, "weight_map", what, "the file is damaged; fetch it again");
    let bytes = super::directory::read(path)?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    let map = value.get("weight_map").and_then(Value::as_object);
    let map = map.filter(|map| !map.is_empty()).ok_or_else(|| damaged("names no array".into()))?;
    let mut files: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    for (name, file) in map {
        let file = file.as_str().filter(|f| !f.contains(['/', '\\']) && f.ends_with(".safetensors"));
        let file = file.ok_or_else(|| damaged(format!("{name} is in no safetensors file of this folder")))?;
        files.entry(dir.join(file)).or_default().insert(name.clone());
    }
    for (number, file) in files.keys().enumerate() {
        if std::fs::symlink_metadata(file).is_err() {
            let what = format!("is missing: shard {} of {} that {INDEX} names", number + 1, files.len());
            return Err(Error::model(file, "shard", what, "fetch it from where the others are from"));
        }
    }
    Ok(files)
}

/// Reads all arrays.
///
/// # Errors
/// What [`network_files`] and [`read_safetensors`] refuse; a shard without an array that the index puts there; an array that is there twice.
pub(super) fn read_arrays(dir: &Path, family: Family) -> Result<Weights> {
    let path = weights_path(dir);
    let mut found = Weights::default();
    if path.ends_with(INDEX) {
        for (file, names) in shards(dir, &path)? {
            let arrays = read_safetensors(&file)?;
            // buffers are passed over, and are no arrays
            let is_array = |name: &&String| !crate::nn::weights::is_buffer(name);
            if let Some(name) = names.iter().filter(is_array).find(|name| !arrays.0.contains_key(*name)) {
                let what = "is not in this shard, where the index puts it";
                return Err(Error::model(&file, name, what, "the shards are of two models; fetch all of them again"));
            }
            found.0.extend(arrays.0);
        }
    } else {
        network_files(dir)?;
        found = read_safetensors(&path)?;
    }
    let outer = outer_prefix(&found, family);
    // the family's own pooler is no part of a head with a layer of its own
    let heads = found.0.keys().any(|name| name.contains("classifier.dense.") || name.contains("pre_classifier."));
    let mut weights = Weights::default();
    for (name, array) in found.0 {
        let new = normalized(name.strip_prefix(&outer).unwrap_or(&name), family);
        if heads && name.contains("pooler.dense.") {
            continue;
        }
        if weights.0.insert(new.clone(), array).is_some() {
            let what = format!("is in the file twice, once as {name}");
            return Err(Error::model(&path, new, what, "remove one of them"));
        }
    }
    Ok(weights)
}

/// What a wrapper put before all names: `module.` (DataParallel), `_orig_mod.` (compiled), `model.`, `0.auto_model.` and the like.
fn outer_prefix(weights: &Weights, family: Family) -> String {
    let words = if family == Family::Modernbert { MODERNBERT_WORDS } else { WORDS };
    let before = weights.0.keys().filter_map(|name| name.strip_suffix(words));
    let shortest = before.min_by_key(|prefix| prefix.len()).unwrap_or("");
    shortest.strip_suffix(family.prefix()).unwrap_or(shortest).to_string()
}

/// The name in `BertForSequenceClassification`.
fn normalized(name: &str, family: Family) -> String {
    let name = match name.rsplit_once('.') {
        Some((rest, "gamma")) => format!("{rest}.weight"),
        Some((rest, "beta")) => format!("{rest}.bias"),
        _ => name.to_string(),
    };
    family.read_name(&name)
}
