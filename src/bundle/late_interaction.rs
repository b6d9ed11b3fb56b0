//! ColBERT's folders of other programs: what they say besides `config.json`, and where the linear layer is.
//!
//! | written by | known by | linear layer | settings |
//! | --- | --- | --- | --- |
//! | Stanford | `HF_ColBERT` in `architectures`, `artifact.metadata` | `linear.weight` among the others | `artifact.metadata` |
//! | PyLate | `model_type` `ColBERT` | `1_Dense/` | `config_sentence_transformers.json` |
//! | sentence-transformers 6 | `model_type` `MultiVectorEncoder` | `1_Dense/` | `sentence_bert_config.json`, `prompts`, `MultiVectorMask` |
//!
//! Written is PyLate's form, which both libraries read.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::directory::read_json;
use super::modules::{self, MODULES, SETTINGS};
use crate::models::colbert::{Config, PROJECTION};
use crate::nn::Weights;
use crate::nn::weights::read_safetensors;
use crate::{Error, Result};

const STANFORD: &str = "artifact.metadata";
/// Tokens of a document where nothing says how many, as each program has it.
const STANFORD_LENGTH: usize = 220;
const PYLATE_LENGTH: usize = 180;

/// What a folder says of late interaction.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) config: Config,
    /// Tokens of a document.
    pub(super) document_length: Option<usize>,
}

/// The linear layer's full name.
pub(super) fn weight_name() -> String {
    format!("{PROJECTION}.weight")
}

fn number(from: &Value, key: &str) -> Option<usize> {
    from.get(key).and_then(Value::as_u64).filter(|n| *n > 0).map(|n| n as usize)
}

fn text(from: &Value, key: &str) -> Option<String> {
    from.get(key).and_then(Value::as_str).map(str::to_string)
}

fn words(from: &Value, key: &str) -> Option<Vec<String>> {
    let list = from.get(key)?.as_array()?;
    Some(list.iter().filter_map(|word| word.as_str().map(str::to_string)).collect())
}

/// Reads what `dir` has besides the network; the linear layer is added to `weights` where it has a file of its own. `None`: no ColBERT's folder.
///
/// # Errors
/// A layer after the encoder that is more than one linear layer without bias and activation.
pub(super) fn read(dir: &Path, network: &Value, weights: &mut Weights) -> Result<Option<Found>> {
    let stanford = read_json(&dir.join(STANFORD))?;
    let is_stanford = network["architectures"][0] == "HF_ColBERT" || stanford.is_some();
    let found = match is_stanford {
        true => of_stanford(&stanford.unwrap_or_default()),
        false => match of_sentence_transformers(dir)? {
            Some((found, layer)) => {
                weights.0.extend(linear(&layer)?.0);
                found
            }
            None => return Ok(None),
        },
    };
    let dim = weights.0.get(&weight_name()).and_then(|array| array.shape.first()).copied();
    Ok(Some(Found { config: Config { dim: dim.unwrap_or(found.config.dim), ..found.config }, ..found }))
}

fn of_stanford(settings: &Value) -> Found {
    let default = Config::default();
    let marker = |key: &str, or: &str| Some(text(settings, key).unwrap_or_else(|| or.into()));
    let skips = settings.get("mask_punctuation").and_then(Value::as_bool).unwrap_or(true);
    let config = Config {
        query_length: number(settings, "query_maxlen").unwrap_or(default.query_length),
        attend_to_expansion: settings["attend_to_mask_tokens"] == true,
        query_marker: marker("query_token_id", "[unused0]"),
        document_marker: marker("doc_token_id", "[unused1]"),
        skip: if skips { default.skip.clone() } else { Vec::new() },
        ..default
    };
    Found { config, document_length: Some(number(settings, "doc_maxlen").unwrap_or(STANFORD_LENGTH)) }
}

/// PyLate's settings, or sentence-transformers' own, and the folder of the linear layer.
fn of_sentence_transformers(dir: &Path) -> Result<Option<(Found, PathBuf)>> {
    let (settings, modules) = (read_json(&dir.join(SETTINGS))?, read_json(&dir.join(MODULES))?);
    let (Some(settings), Some(modules)) = (settings, modules) else { return Ok(None) };
    let is_late = ["ColBERT", "MultiVectorEncoder"].iter().any(|kind| settings["model_type"] == *kind);
    if !is_late && settings.get("query_prefix").is_none() {
        return Ok(None);
    }
    let modules: Vec<(String, PathBuf)> = modules.as_array().map_or(Vec::new(), |list| {
        let part = |m: &Value| Some((text(m, "type")?, dir.join(text(m, "path")?)));
        list.iter().filter_map(part).collect()
    });
    let of = |kind: &str| -> Vec<&PathBuf> {
        modules.iter().filter(|(name, _)| name.ends_with(kind)).map(|(_, path)| path).collect()
    };
    let &[layer] = of(".Dense").as_slice() else {
        let what = format!("names {} linear layers; one is known", of(".Dense").len());
        return Err(Error::model(&dir.join(MODULES), "Dense", what, "give a model of one"));
    };
    let default = Config::default();
    let mask = of(".MultiVectorMask").first().copied();
    let Some(mask) = mask else {
        let config = Config {
            query_length: number(&settings, "query_length").unwrap_or(default.query_length),
            query_expansion: settings["do_query_expansion"] != false,
            attend_to_expansion: settings["attend_to_expansion_tokens"] == true,
            query_marker: Some(text(&settings, "query_prefix").unwrap_or_else(|| "[Q] ".into())),
            document_marker: Some(text(&settings, "document_prefix").unwrap_or_else(|| "[D] ".into())),
            skip: words(&settings, "skiplist_words").unwrap_or(default.skip.clone()),
            ..default
        };
        let document_length = number(&settings, "document_length").unwrap_or(PYLATE_LENGTH);
        return Ok(Some((Found { config, document_length: Some(document_length) }, layer.clone())));
    };
    let refuse = |file: &str, what: &str, remedy: &str| Err(Error::model(&dir.join(file), "modules", what, remedy));
    if of(".Normalize").is_empty() {
        return refuse(MODULES, "has no Normalize: scores would be products of any length", "add it in Python");
    }
    let transformer = read_json(&dir.join("sentence_bert_config.json"))?.unwrap_or_default();
    let mask = read_json(&mask.join("config.json"))?.unwrap_or_default();
    if mask["skiplist_tasks"].as_array().is_some_and(|tasks| tasks.iter().any(|task| task != "document")) {
        return refuse(MODULES, "skips tokens of queries too, which is not known here", "give a model that does not");
    }
    let expansion = &transformer["query_expansion"];
    let strategy = expansion.get("strategy").and_then(Value::as_str);
    if strategy.is_some_and(|strategy| strategy != "fixed") || expansion["token"].is_string() {
        return refuse(
            "sentence_bert_config.json",
            "fills queries up in a way that is not known: known are masks to a fixed length",
            "give a model of this kind",
        );
    }
    let length = number(expansion, "length").or_else(|| number(&transformer, "query_length"));
    let config = Config {
        query_length: length.unwrap_or(default.query_length),
        query_expansion: expansion.is_object(),
        attend_to_expansion: expansion["attend"] == true,
        query_marker: Some(text(&settings["prompts"], "query").unwrap_or_default()),
        document_marker: Some(text(&settings["prompts"], "document").unwrap_or_default()),
        skip: words(&mask, "skiplist_words").unwrap_or_default(),
        ..default
    };
    Ok(Some((Found { config, document_length: number(&transformer, "document_length") }, layer.clone())))
}

/// The linear layer in a folder of its own.
fn linear(dir: &Path) -> Result<Weights> {
    let path = dir.join("config.json");
    let config = read_json(&path)?.unwrap_or_default();
    let activation = text(&config, "activation_function").unwrap_or_default();
    let fault = match () {
        () if config["bias"] == true => Some(("bias", "is true")),
        () if config["use_residual"] == true => Some(("use_residual", "is true")),
        () if !activation.is_empty() && !activation.ends_with("Identity") => {
            Some(("activation_function", "is another than Identity"))
        }
        () => None,
    };
    if let Some((key, what)) = fault {
        let what = format!("{what}; known is a linear layer without bias and activation");
        return Err(Error::model(&path, key, what, "give a model of one"));
    }
    read_safetensors(&dir.join("model.safetensors"))
}

/// Writes PyLate's files, which sentence-transformers reads as well. `markers`: the tokens of queries and documents, empty ones for none.
pub(super) fn write(
    out: &Path,
    config: &Config,
    markers: [String; 2],
    document_length: usize,
    linear: Weights,
) -> Result<()> {
    let put = |name: &str, value: Value| modules::put(&out.join(name), &value);
    let shape = linear.0.get(&weight_name()).map(|array| array.shape.clone()).unwrap_or_default();
    let [outputs, inputs] = shape.as_slice() else {
        return Err(Error::Shape { op: "export", expected: "a matrix".into(), got: format!("{shape:?}") });
    };
    put(
        MODULES,
        json!([{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
               {"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"}]),
    )?;
    put("sentence_bert_config.json", json!({"max_seq_length": document_length, "do_lower_case": false}))?;
    let [query, document] = markers;
    put(
        SETTINGS,
        json!({"model_type": "ColBERT", "__version__": {}, "prompts": {"query": "", "document": ""}, "default_prompt_name": null,
               "similarity_fn_name": "MaxSim", "query_prefix": query, "document_prefix": document,
               "query_length": config.query_length, "document_length": document_length,
               "attend_to_expansion_tokens": config.attend_to_expansion, "skiplist_words": config.skip,
               "do_query_expansion": config.query_expansion}),
    )?;
    let settings = json!({"in_features": inputs, "out_features": outputs, "bias": false,
                          "activation_function": "torch.nn.modules.linear.Identity", "use_residual": false});
    modules::write(&out.join("1_Dense"), &settings, Some(&linear))?;
    // markers are written as text there, and must stay whole
    let path = out.join("tokenizer_config.json");
    if let Some(mut settings) = read_json(&path)? {
        if let Some(map) = settings.as_object_mut() {
            map.remove("split_special_tokens");
        }
        put("tokenizer_config.json", settings)?;
    }
    Ok(())
}
