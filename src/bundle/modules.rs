//! The modules that sentence-transformers lists in `modules.json`, and the one with arrays that several kinds of models have: `Dense`.
//!
//! ```text
//! modules.json            2_Dense/config.json                                        2_Dense/model.safetensors
//! [.., {"path": "2_Dense",  {"in_features": 768, "out_features": 512, "bias": true,    linear.weight [512, 768]
//!  "type": "..Dense"}, ..]   "activation_function": "torch.nn.modules.activation.Tanh"}  linear.bias [512]
//! ```
//!
//! Refused: `use_residual`, and `pytorch_model.bin` (a pickle runs code).

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::arrays::WEIGHTS;
use super::directory::{CONFIG, read_json};
use crate::models::Projection;
use crate::models::dssm::{Activation, Dense};
use crate::nn::Weights;
use crate::nn::weights::{Array, Storage, read_safetensors, write_safetensors};
use crate::{Error, Result};

/// The list of a folder's modules.
pub(super) const MODULES: &str = "modules.json";
/// What they make together, among other settings.
pub(super) const SETTINGS: &str = "config_sentence_transformers.json";
/// Where modules pass a vector on.
pub(super) const VECTOR: &str = "sentence_embedding";
/// Names of a linear layer's arrays.
pub(super) const LINEAR: [&str; 2] = ["linear.weight", "linear.bias"];
const PICKLE: &str = "pytorch_model.bin";
/// What helps where a module's files contradict each other.
pub(super) const REMEDY: &str = "the folder is of two models, or damaged; fetch it again";

/// Activations by torch's names.
const ACTIVATIONS: [(&str, Activation); 5] = [
    ("torch.nn.modules.activation.Tanh", Activation::Tanh),
    ("torch.nn.modules.linear.Identity", Activation::Identity),
    ("torch.nn.modules.activation.ReLU", Activation::Relu),
    ("torch.nn.modules.activation.GELU", Activation::Gelu),
    ("torch.nn.modules.activation.Sigmoid", Activation::Sigmoid),
];

/// The class of a path in Python.
fn class_of(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or_default()
}

/// One of the list: its class, and its folder's name.
pub(super) struct Module {
    pub(super) class: String,
    pub(super) folder: String,
}

impl Module {
    /// The class without what it is in.
    pub(super) fn kind(&self) -> &str {
        class_of(&self.class)
    }
}

/// A folder's modules in their order; none without a list.
///
/// # Errors
/// A damaged list.
pub(super) fn listed(dir: &Path) -> Result<Vec<Module>> {
    let list = read_json(&dir.join(MODULES))?.unwrap_or_default();
    let text = |module: &Value, key: &str| module[key].as_str().unwrap_or_default().to_string();
    let module = |module: &Value| Module { class: text(module, "type"), folder: text(module, "path") };
    Ok(list.as_array().into_iter().flatten().map(module).collect())
}

/// The files of these modules' arrays, as far as they have some.
pub(super) fn files(dir: &Path, modules: &[Module]) -> Vec<PathBuf> {
    modules.iter().map(|m| dir.join(&m.folder).join(WEIGHTS)).filter(|file| file.exists()).collect()
}

/// The settings of the `Dense` in a folder, and its number of inputs; else in words what of it is not known. `is_known` says
/// which activations it may have, `output` is the name of what it may make of the vector.
///
/// # Errors
/// A damaged file.
pub(super) fn dense(
    folder: &Path,
    is_known: impl Fn(Activation) -> bool,
    output: &str,
) -> Result<std::result::Result<(Dense, usize), String>> {
    let settings = read_json(&folder.join(CONFIG))?.unwrap_or_default();
    let text = |key: &str, or: &str| settings[key].as_str().unwrap_or(or).to_string();
    let number = |key: &str| settings[key].as_u64().and_then(|n| NonZeroUsize::new(n as usize));
    // without a key it is Tanh in Python
    let own = text("activation_function", ACTIVATIONS[0].0);
    let is_own = |name: &str| own.starts_with("torch.nn.") && class_of(&own) == class_of(name);
    let allowed = || ACTIVATIONS.iter().filter(|(_, activation)| is_known(*activation));
    let Some((_, activation)) = allowed().find(|(name, _)| is_own(name)) else {
        let names: Vec<&str> = allowed().map(|(name, _)| class_of(name)).collect();
        return Ok(Err(format!("has the activation {own}; known there: {}", names.join(", "))));
    };
    if settings["use_residual"] == true {
        return Ok(Err("adds its input to its output (use_residual)".into()));
    }
    let from = text("module_input_name", VECTOR);
    let to = text("module_output_name", &from);
    if from != VECTOR || to != output {
        return Ok(Err(format!("goes from {from} to {to}; known there is from {VECTOR} to {output}")));
    }
    let (Some(inputs), Some(outputs)) = (number("in_features"), number("out_features")) else {
        return Ok(Err("says no in_features and out_features above 0".into()));
    };
    Ok(Ok((Dense { outputs, bias: settings["bias"] != false, activation: *activation }, inputs.get())))
}

/// The weight `[outputs, inputs]` of the `Dense` in a folder, and the bias `[outputs]` if the file has one.
///
/// # Errors
/// A file that is damaged, not there, or a pickle; an array that is missing, of another shape, or left over.
pub(super) fn linear(folder: &Path, [outputs, inputs]: [usize; 2]) -> Result<(Array, Option<Array>)> {
    let path = folder.join(WEIGHTS);
    if !path.exists() && folder.join(PICKLE).exists() {
        let what = format!("is a pickle, which can run code; only {WEIGHTS} is read");
        let remedy = "convert the whole folder where you trust it: python -c 'from sentence_transformers import \
                      SentenceTransformer as S; S(\"DIR\").save(\"NEW_DIR\")'";
        return Err(Error::model(&folder.join(PICKLE), WEIGHTS, what, remedy));
    }
    let mut arrays = read_safetensors(&path)?;
    let [weight, bias] = LINEAR;
    let weight = take(&mut arrays, &path, weight, &[outputs, inputs])?;
    let bias = match arrays.0.contains_key(bias) {
        true => Some(take(&mut arrays, &path, bias, &[outputs])?),
        false => None,
    };
    nothing_else(&arrays, &path)?;
    Ok((weight, bias))
}

/// Takes an array out of a module's.
///
/// # Errors
/// It is not there, or has another shape.
pub(super) fn take(arrays: &mut Weights, path: &Path, name: &str, shape: &[usize]) -> Result<Array> {
    let what = match arrays.0.remove(name) {
        Some(array) if array.shape == shape => return Ok(array),
        Some(array) => format!("has shape {:?}, and the network asks for {shape:?}", array.shape),
        None => format!("is missing; the network asks for it with shape {shape:?}"),
    };
    Err(Error::model(path, name, what, REMEDY))
}

/// # Errors
/// An array that is left over.
pub(super) fn nothing_else(arrays: &Weights, path: &Path) -> Result<()> {
    let Some(name) = arrays.0.keys().next() else { return Ok(()) };
    Err(Error::model(path, name, "is no part of this module", REMEDY))
}

/// The settings of a `Dense` as sentence-transformers writes them.
pub(super) fn dense_settings(layer: Projection, activation: Activation, inputs: usize) -> Value {
    let name = ACTIVATIONS.iter().find(|(_, known)| *known == activation).map(|(name, _)| *name);
    json!({"in_features": inputs, "out_features": layer.outputs, "bias": layer.bias, "activation_function": name})
}

/// Writes a file of JSON.
///
/// # Errors
/// The system's.
pub(super) fn put(path: &Path, value: &Value) -> Result<()> {
    std::fs::write(path, format!("{value:#}\n")).map_err(Error::io("write", path))
}

/// Writes a module into a new folder: settings, and its arrays if it has some.
///
/// # Errors
/// The system's.
pub(super) fn write(folder: &Path, settings: &Value, arrays: Option<&Weights>) -> Result<()> {
    std::fs::create_dir(folder).map_err(Error::io("create", folder))?;
    let (path, config) = (folder.join(WEIGHTS), folder.join(CONFIG));
    put(&config, settings)?;
    let Some(arrays) = arrays else { return Ok(()) };
    write_safetensors(&path, arrays, Storage::F32)?;
    super::as_readable_as(&path, &config)
}
