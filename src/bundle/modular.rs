//! Rerankers whose head is a list of sentence-transformers' modules, as its versions from 5.4 on publish them (the Ettin rerankers).
//!
//! ```text
//! Transformer  ->  Pooling (cls or mean)  ->  Dense (GELU, no bias)  ->  LayerNorm  ->  Dense (one score)
//! ```
//!
//! That is what ModernBERT's own head computes, so the arrays get its names and all that follows knows nothing of modules. Its norm has no
//! shift: that of the module goes through the last layer and is added to its bias, which changes no score. Refused: another order,
//! another activation, a network of another family. The module is named, and training may still begin with the network.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::arrays::WEIGHTS;
use super::directory::{CONFIG, read_json};
use super::labels::Refusal;
use super::sentence;
use crate::models::bert::{ClassifierPooling, Config, Family, POOLER, POOLER_NORM};
use crate::models::dssm::Pooling;
use crate::nn::Weights;
use crate::nn::weights::{Array, read_safetensors};
use crate::{Error, Result};

const MODULES: &str = "modules.json";
/// What is known besides a Transformer alone.
const KNOWN: [&str; 5] = ["Transformer", "Pooling", "Dense", "LayerNorm", "Dense"];
/// What torch's LayerNorm adds to a variance; the module's settings do not say it.
const EPSILON: f32 = 1e-5;
/// Where modules pass a vector on, and where the last one leaves the score.
const VECTOR: &str = "sentence_embedding";
const SCORES: &str = "scores";

/// One of the list: its class, and its folder's name.
struct Module {
    class: String,
    folder: String,
}

impl Module {
    /// The class without what it is in.
    fn kind(&self) -> &str {
        self.class.rsplit('.').next().unwrap_or_default()
    }
}

/// A cross-encoder's modules, if it is more than a network.
fn modules(dir: &Path) -> Result<Vec<Module>> {
    let settings = read_json(&dir.join("config_sentence_transformers.json"))?.unwrap_or_default();
    if settings["model_type"] != "CrossEncoder" {
        return Ok(Vec::new());
    }
    let list = read_json(&dir.join(MODULES))?.unwrap_or_default();
    let text = |module: &Value, key: &str| module[key].as_str().unwrap_or_default().to_string();
    let module = |module: &Value| Module { class: text(module, "type"), folder: text(module, "path") };
    let modules: Vec<Module> = list.as_array().into_iter().flatten().map(module).collect();
    let is_network = matches!(modules.as_slice(), [only] if only.kind() == KNOWN[0]);
    Ok(if is_network { Vec::new() } else { modules })
}

/// The files of their arrays, besides the network's.
///
/// # Errors
/// A damaged list.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let files = modules(dir)?.into_iter().skip(1).map(|module| dir.join(module.folder).join(WEIGHTS));
    Ok(files.filter(|file| file.exists()).collect())
}

/// Puts the arrays of modules into `weights` under the names of ModernBERT's head, and their pooling into `config`. Gives why they can't be
/// used, if so, and then changes nothing; nor where there are none.
///
/// # Errors
/// A file that is damaged or not there.
pub(super) fn read(dir: &Path, config: &mut Config, weights: &mut Weights) -> Result<Refusal> {
    let modules = modules(dir)?;
    if modules.is_empty() {
        return Ok(None);
    }
    match head(dir, &modules, config)? {
        Ok((pooling, arrays)) => {
            if let Some(modern) = &mut config.modern {
                modern.classifier_pooling = pooling;
            }
            weights.0.extend(arrays.0);
            Ok(None)
        }
        Err(what) => {
            let remedy = "give a model whose classifier is the network's own, or let training start from this one";
            Ok(Some((MODULES, "type", what, remedy)))
        }
    }
}

/// What the head sees, and its arrays; else the module that is not known, in words.
fn head(dir: &Path, modules: &[Module], config: &Config) -> Result<Result<(ClassifierPooling, Weights), String>> {
    let differs = |at: usize| modules.get(at).map(Module::kind) != KNOWN.get(at).copied();
    if let Some(at) = (0..modules.len().max(KNOWN.len())).find(|at| differs(*at)) {
        let known = format!("known are a {} alone, and {}", KNOWN[0], KNOWN.join(", "));
        return Ok(Err(match modules.get(at) {
            Some(module) => format!("module {at} is a {}; {known}", module.class),
            None => format!("ends without a {}; {known}", KNOWN[at]),
        }));
    }
    let [_, pooling, dense, norm, last] = modules else { return Ok(Err(String::new())) };
    if config.family != Family::Modernbert {
        let what =
            format!("has a {}, which is known after ModernBERT alone, and not after {}", dense.class, config.family);
        return Ok(Err(what));
    }
    let seen = match sentence::pooling(&dir.join(&pooling.folder))? {
        Ok(Pooling::Cls) => ClassifierPooling::Cls,
        Ok(Pooling::Mean) => ClassifierPooling::Mean,
        Err(modes) => return Ok(Err(format!("{} is {modes}; known are cls and mean", pooling.folder))),
    };
    let h = config.hidden_size;
    for (module, activation, output) in [(dense, "GELU", (VECTOR, h)), (last, "Identity", (SCORES, 1))] {
        if let Some(what) = other_dense(&dir.join(&module.folder), activation, output)? {
            return Ok(Err(format!("{} {what}", module.folder)));
        }
    }
    if (config.layer_norm_eps - EPSILON).abs() > 1e-8 {
        let what =
            format!("{} adds {EPSILON:e} to a variance, and norm_eps is {:e}", norm.folder, config.layer_norm_eps);
        return Ok(Err(what));
    }
    let arrays_of = |module: &Module| -> Result<(PathBuf, Weights)> {
        let path = dir.join(&module.folder).join(WEIGHTS);
        Ok((path.clone(), read_safetensors(&path)?))
    };
    let mut arrays = Weights::default();
    let mut put = |name: String, array: Array| arrays.0.insert(name, array);

    let (path, mut found) = arrays_of(dense)?;
    put(format!("{POOLER}.weight"), take(&mut found, &path, "linear.weight", &[h, h])?);
    put(format!("{POOLER}.bias"), Array::new(vec![h], vec![0.0; h]));
    if found.0.contains_key("linear.bias") {
        return Ok(Err(format!("{} has a bias, and ModernBERT's head has none", dense.folder)));
    }
    nothing_else(&found, &path)?;

    let (path, mut found) = arrays_of(norm)?;
    put(POOLER_NORM.into(), take(&mut found, &path, "norm.weight", &[h])?);
    let shift = take(&mut found, &path, "norm.bias", &[h])?;
    nothing_else(&found, &path)?;

    let (path, mut found) = arrays_of(last)?;
    let weight = take(&mut found, &path, "linear.weight", &[1, h])?;
    let bias = match found.0.contains_key("linear.bias") {
        true => take(&mut found, &path, "linear.bias", &[1])?.into_values()[0],
        false => 0.0,
    };
    nothing_else(&found, &path)?;
    let shifted: f64 =
        weight.values().iter().zip(shift.values().iter()).map(|(w, s)| f64::from(*w) * f64::from(*s)).sum();
    put("classifier.weight".into(), weight);
    put("classifier.bias".into(), Array::new(vec![1], vec![(f64::from(bias) + shifted) as f32]));
    Ok(Ok((seen, arrays)))
}

/// In what a linear layer is another than the one that is known in its place, by its settings.
fn other_dense(folder: &Path, activation: &str, (output, width): (&str, usize)) -> Result<Option<String>> {
    let settings = read_json(&folder.join(CONFIG))?.unwrap_or_default();
    let text = |key: &str, or: &str| settings[key].as_str().unwrap_or(or).to_string();
    // without a key it is Tanh in Python
    let own = text("activation_function", "torch.nn.modules.activation.Tanh");
    let (from, to) = (text("module_input_name", VECTOR), text("module_output_name", VECTOR));
    Ok(match () {
        () if !own.starts_with("torch.") || !own.ends_with(&format!(".{activation}")) => {
            Some(format!("has the activation {own}; {activation} is known there"))
        }
        () if settings["use_residual"] == true => Some("adds its input to its output (use_residual)".into()),
        () if from != VECTOR || to != output => {
            Some(format!("goes from {from} to {to}; known there is from {VECTOR} to {output}"))
        }
        () if settings["out_features"] != width => {
            Some(format!("has {} outputs; known there is {width}", settings["out_features"]))
        }
        () => None,
    })
}

const REMEDY: &str = "the folder is of two models, or damaged; fetch it again";

/// Takes an array out of a module's.
///
/// # Errors
/// It is not there, or has another shape.
fn take(arrays: &mut Weights, path: &Path, name: &str, shape: &[usize]) -> Result<Array> {
    let what = match arrays.0.remove(name) {
        Some(array) if array.shape == shape => return Ok(array),
        Some(array) => format!("has shape {:?}, and the network asks for {shape:?}", array.shape),
        None => format!("is missing; the network asks for it with shape {shape:?}"),
    };
    Err(Error::model(path, name, what, REMEDY))
}

/// # Errors
/// An array that is left over.
fn nothing_else(arrays: &Weights, path: &Path) -> Result<()> {
    let Some(name) = arrays.0.keys().next() else { return Ok(()) };
    Err(Error::model(path, name, "is no part of this module", REMEDY))
}
