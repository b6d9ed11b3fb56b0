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

use super::arrays::WEIGHTS;
use super::directory::read_json;
use super::labels::Refusal;
use super::modules::{self, MODULES, Module, SETTINGS, VECTOR, nothing_else, take};
use super::sentence;
use crate::Result;
use crate::models::bert::{ClassifierPooling, Config, Family, POOLER, POOLER_NORM};
use crate::models::dssm::{Activation, Pooling};
use crate::nn::Weights;
use crate::nn::weights::{Array, read_safetensors};

/// What is known besides a Transformer alone.
const KNOWN: [&str; 5] = ["Transformer", "Pooling", "Dense", "LayerNorm", "Dense"];
/// What torch's LayerNorm adds to a variance; the module's settings do not say it.
const EPSILON: f32 = 1e-5;
/// Where the last module leaves the score.
const SCORES: &str = "scores";

/// A cross-encoder's modules, if it is more than a network.
fn head_modules(dir: &Path) -> Result<Vec<Module>> {
    let settings = read_json(&dir.join(SETTINGS))?.unwrap_or_default();
    if settings["model_type"] != "CrossEncoder" {
        return Ok(Vec::new());
    }
    let modules = modules::listed(dir)?;
    let is_network = matches!(modules.as_slice(), [only] if only.kind() == KNOWN[0]);
    Ok(if is_network { Vec::new() } else { modules })
}

/// The files of their arrays, besides the network's.
///
/// # Errors
/// A damaged list.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let modules = head_modules(dir)?;
    Ok(modules::files(dir, modules.get(1..).unwrap_or_default()))
}

/// Puts the arrays of modules into `weights` under the names of ModernBERT's head, and their pooling into `config`. Gives why they can't be
/// used, if so, and then changes nothing; nor where there are none.
///
/// # Errors
/// A file that is damaged or not there.
pub(super) fn read(dir: &Path, config: &mut Config, weights: &mut Weights) -> Result<Refusal> {
    let modules = head_modules(dir)?;
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
    for (module, activation, (output, width)) in
        [(dense, Activation::Gelu, (VECTOR, h)), (last, Activation::Identity, (SCORES, 1))]
    {
        let what = match modules::dense(&dir.join(&module.folder), |own| own == activation, output)? {
            Ok((layer, _)) if layer.outputs.get() == width => continue,
            Ok((layer, _)) => format!("has {} outputs; known there is {width}", layer.outputs),
            Err(what) => what,
        };
        return Ok(Err(format!("{} {what}", module.folder)));
    }
    if (config.layer_norm_eps - EPSILON).abs() > 1e-8 {
        let what =
            format!("{} adds {EPSILON:e} to a variance, and norm_eps is {:e}", norm.folder, config.layer_norm_eps);
        return Ok(Err(what));
    }
    let mut arrays = Weights::default();
    let mut put = |name: String, array: Array| arrays.0.insert(name, array);

    let (weight, bias) = modules::linear(&dir.join(&dense.folder), [h, h])?;
    if bias.is_some() {
        return Ok(Err(format!("{} has a bias, and ModernBERT's head has none", dense.folder)));
    }
    put(format!("{POOLER}.weight"), weight);
    put(format!("{POOLER}.bias"), Array::new(vec![h], vec![0.0; h]));

    let path = dir.join(&norm.folder).join(WEIGHTS);
    let mut found = read_safetensors(&path)?;
    put(POOLER_NORM.into(), take(&mut found, &path, "norm.weight", &[h])?);
    let shift = take(&mut found, &path, "norm.bias", &[h])?;
    nothing_else(&found, &path)?;

    let (weight, bias) = modules::linear(&dir.join(&last.folder), [1, h])?;
    let bias = bias.map_or(0.0, |bias| bias.into_values()[0]);
    let shifted: f64 =
        weight.values().iter().zip(shift.values().iter()).map(|(w, s)| f64::from(*w) * f64::from(*s)).sum();
    put("classifier.weight".into(), weight);
    put("classifier.bias".into(), Array::new(vec![1], vec![(f64::from(bias) + shifted) as f32]));
    Ok(Ok((seen, arrays)))
}
