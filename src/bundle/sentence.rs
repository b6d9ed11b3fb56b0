//! How a plain folder's sentence encoder makes one vector of a text: the modules that sentence-transformers lists.
//!
//! ```text
//! Transformer  ->  Pooling (cls or mean)  ->  Dense (with its activation), up to four  ->  Normalize, or not
//! ```
//!
//! The linear layers' arrays get the names that two towers have for them. After Normalize a dot product is the cosine.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Architecture;
use super::arrays::WEIGHTS;
use super::directory::{CONFIG, read_json};
use super::modules::{self, LINEAR, MODULES, Module, SETTINGS, VECTOR};
use crate::models::bert;
use crate::models::dssm::{Config, DenseLayers, Pooling, Similarity};
use crate::nn::Weights;
use crate::{Error, Result};

/// The two towers that a folder is; without `modules.json` with the mean and the cosine. Arrays of linear layers are added to those of the
/// network.
///
/// # Errors
/// A module or a pooling that is not known here, or not in this place; what [`dense`] refuses.
pub(super) fn architecture(dir: &Path, network: &bert::Config, weights: &mut Weights) -> Result<Architecture> {
    let path = dir.join(MODULES);
    let mut config = Config::default();
    let unknown = |path: &Path, key: &str, what: String| {
        let remedy = "give a sentence encoder with mean or [CLS] pooling, and linear layers after it or none";
        Error::model(path, key, what, remedy)
    };
    let settings = read_json(&dir.join(SETTINGS))?.unwrap_or_default();
    if settings["similarity_fn_name"] == "dot" {
        config.similarity = Similarity::Dot;
    }
    let modules = modules::listed(dir)?;
    for module in &modules {
        match module.kind() {
            "Transformer" | "Dense" => {}
            "Normalize" => config.similarity = Similarity::Cosine,
            "Pooling" => {
                let folder = dir.join(&module.folder);
                config.pooling = pooling(&folder)?
                    .map_err(|modes| unknown(&folder.join(CONFIG), "pooling_mode", format!("is {modes}")))?;
            }
            other => return Err(unknown(&path, "type", format!("{other} is not known"))),
        }
    }
    config.dense = layers(dir, &modules, network.hidden_size, weights)?;
    Ok(Architecture::Dssm(config))
}

/// The modules of a folder, if they are a sentence encoder's.
fn of_encoder(dir: &Path) -> Result<Vec<Module>> {
    let settings = read_json(&dir.join(SETTINGS))?.unwrap_or_default();
    let kind = settings["model_type"].as_str().unwrap_or("SentenceTransformer");
    // PyLate's older folders do not say what they are
    let is_late = settings.get("query_prefix").is_some();
    if kind == "SentenceTransformer" && !is_late { modules::listed(dir) } else { Ok(Vec::new()) }
}

/// Whether a folder says in modules how it makes a vector of a text.
///
/// # Errors
/// A damaged file.
pub(super) fn is_encoder(dir: &Path) -> Result<bool> {
    Ok(!of_encoder(dir)?.is_empty())
}

/// The files of a sentence encoder's linear layers.
///
/// # Errors
/// A damaged list.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let modules: Vec<Module> = of_encoder(dir)?.into_iter().filter(|module| module.kind() == "Dense").collect();
    Ok(modules::files(dir, &modules))
}

/// The linear layers of a sentence encoder, whose arrays are added to the network's; none where the folder is something else.
///
/// # Errors
/// A layer that is not known here, or whose arrays do not fit.
pub(super) fn dense(dir: &Path, network: &bert::Config, weights: &mut Weights) -> Result<DenseLayers> {
    layers(dir, &of_encoder(dir)?, network.hidden_size, weights)
}

/// The linear layers among modules, the first with `width` inputs.
fn layers(dir: &Path, modules: &[Module], mut width: usize, weights: &mut Weights) -> Result<DenseLayers> {
    const REMEDY: &str = "give another encoder, or start from the network alone: take the module out of modules.json";
    let listed = |what: String| Error::model(&dir.join(MODULES), "Dense", what, REMEDY);
    let (mut layers, mut folders, mut before) = (Vec::new(), Vec::new(), "nothing");
    for module in modules {
        if module.kind() == "Dense" {
            if !matches!(before, "Pooling" | "Dense") {
                return Err(listed(format!("{} comes after {before}; known is after Pooling", module.folder)));
            }
            let folder = dir.join(&module.folder);
            let config = |what: String| Error::model(&folder.join(CONFIG), "Dense", what, REMEDY);
            let (layer, inputs) = modules::dense(&folder, |_| true, VECTOR)?.map_err(config)?;
            if inputs != width {
                return Err(config(format!("has {inputs} inputs, and {before} before it gives {width}")));
            }
            width = layer.outputs.get();
            layers.push(layer);
            folders.push((folder, inputs));
        }
        before = module.kind();
    }
    let layers = DenseLayers::try_from(layers).map_err(listed)?;
    for ((layer, _), (folder, inputs)) in layers.projections().zip(&folders) {
        let (weight, bias) = modules::linear(folder, [layer.outputs, *inputs])?;
        if bias.is_some() != layer.bias {
            let what = if layer.bias { "is missing" } else { "is there" };
            let what = format!("{what}, and config.json says bias = {}", layer.bias);
            return Err(Error::model(&folder.join(WEIGHTS), LINEAR[1], what, modules::REMEDY));
        }
        weights.0.insert(format!("{}.weight", layer.name), weight);
        weights.0.extend(bias.map(|bias| (format!("{}.bias", layer.name), bias)));
    }
    Ok(layers)
}

/// Writes the modules of two towers, and takes the arrays of their linear layers out of `weights`; the encoder is `hidden` wide.
///
/// # Errors
/// An array that is not there; the system's.
pub(super) fn write(
    out: &Path,
    towers: &Config,
    hidden: usize,
    max_tokens: usize,
    weights: &mut Weights,
) -> Result<()> {
    let put = |name: &str, value: Value| modules::put(&out.join(name), &value);
    let (cls, mean) = (towers.pooling == Pooling::Cls, towers.pooling == Pooling::Mean);
    let pooling =
        json!({"word_embedding_dimension": hidden, "pooling_mode_cls_token": cls, "pooling_mode_mean_tokens": mean});
    let mut modules = vec![(String::new(), "Transformer"), ("1_Pooling".into(), "Pooling")];
    modules::write(&out.join("1_Pooling"), &pooling, None)?;
    let mut inputs = hidden;
    for (layer, activation) in towers.dense.projections() {
        let name = format!("{}_Dense", modules.len());
        let mut arrays = Weights::default();
        for (kind, theirs) in ["weight", "bias"].into_iter().zip(LINEAR).take(if layer.bias { 2 } else { 1 }) {
            let ours = format!("{}.{kind}", layer.name);
            let missing = || Error::Internal { op: "export", what: format!("no array {ours}") };
            arrays.0.insert(theirs.into(), weights.0.remove(&ours).ok_or_else(missing)?);
        }
        let settings = modules::dense_settings(layer, activation, inputs);
        modules::write(&out.join(&name), &settings, Some(&arrays))?;
        modules.push((name, "Dense"));
        inputs = layer.outputs;
    }
    let similarity = match towers.similarity {
        Similarity::Cosine => "cosine",
        Similarity::Dot => "dot",
    };
    if towers.similarity == Similarity::Cosine {
        let name = format!("{}_Normalize", modules.len());
        modules::write(&out.join(&name), &json!({}), None)?;
        modules.push((name, "Normalize"));
    }
    let module = |(at, (path, kind)): (usize, &(String, &str))| {
        let class = format!("sentence_transformers.models.{kind}");
        json!({"idx": at, "name": at.to_string(), "path": path, "type": class})
    };
    put(MODULES, modules.iter().enumerate().map(module).collect())?;
    put("sentence_bert_config.json", json!({"max_seq_length": max_tokens, "do_lower_case": false}))?;
    put(SETTINGS, json!({"prompts": {}, "default_prompt_name": null, "similarity_fn_name": similarity}))
}

/// What a Pooling module makes of a text's states, by `pooling_mode` or, as older versions write it, by a key for each mode; else the modes
/// that are not known here.
///
/// # Errors
/// A damaged file.
pub(super) fn pooling(folder: &Path) -> Result<Result<Pooling, String>> {
    let settings = read_json(&folder.join(CONFIG))?.unwrap_or_default();
    let older = || {
        let keys = settings.as_object().into_iter().flatten();
        let on = keys.filter(|(key, on)| key.starts_with("pooling_mode_") && **on == Value::Bool(true));
        on.map(|(key, _)| key.as_str()).collect()
    };
    let modes: Vec<&str> = match settings.get("pooling_mode") {
        None | Some(Value::Null) => older(),
        Some(Value::Array(modes)) => modes.iter().filter_map(Value::as_str).collect(),
        Some(mode) => mode.as_str().into_iter().collect(),
    };
    Ok(match modes.as_slice() {
        ["mean" | "pooling_mode_mean_tokens"] => Ok(Pooling::Mean),
        ["cls" | "pooling_mode_cls_token"] => Ok(Pooling::Cls),
        others => Err(others.join(", ")),
    })
}
