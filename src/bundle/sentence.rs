//! How a plain folder's sentence encoder makes one vector of a text: the modules that sentence-transformers lists.

use std::path::Path;

use serde_json::Value;

use super::Architecture;
use super::directory::read_json;
use crate::models::dssm::{Config, Pooling, Similarity};
use crate::{Error, Result};

const MODULES: &str = "modules.json";

/// The two towers that a folder is.
///
/// # Errors
/// Those of [`towers`].
pub(super) fn architecture(dir: &Path) -> Result<Architecture> {
    towers(dir).map(Architecture::Dssm)
}

/// Pooling and similarity of a folder; without `modules.json` the mean and the cosine.
///
/// # Errors
/// A module or a pooling that is not known here.
fn towers(dir: &Path) -> Result<Config> {
    let path = dir.join(MODULES);
    let mut config = Config::default();
    let unknown = |path: &Path, key: &str, what: String| {
        Error::model(path, key, what, "give a sentence encoder with mean or [CLS] pooling alone")
    };
    for module in read_json(&path)?.as_ref().and_then(Value::as_array).into_iter().flatten() {
        let of = |key: &str| module.get(key).and_then(Value::as_str).unwrap_or_default();
        match of("type").rsplit('.').next().unwrap_or_default() {
            "Transformer" | "Normalize" => {}
            "Pooling" => {
                let path = dir.join(of("path")).join("config.json");
                let settings = read_json(&path)?.unwrap_or_default();
                let modes = settings.as_object().into_iter().flatten();
                let modes = modes.filter(|(key, on)| key.starts_with("pooling_mode_") && **on == Value::Bool(true));
                config.pooling = match modes.map(|(key, _)| key.as_str()).collect::<Vec<_>>()[..] {
                    ["pooling_mode_mean_tokens"] => Pooling::Mean,
                    ["pooling_mode_cls_token"] => Pooling::Cls,
                    ref others => return Err(unknown(&path, "pooling_mode", format!("is {}", others.join(", ")))),
                };
            }
            other => return Err(unknown(&path, "type", format!("{other} is not known"))),
        }
    }
    let settings = read_json(&dir.join("config_sentence_transformers.json"))?.unwrap_or_default();
    if settings.get("similarity_fn_name").and_then(Value::as_str) == Some("dot") {
        config.similarity = Similarity::Dot;
    }
    Ok(config)
}
