//! How a plain folder's sentence encoder makes one vector of a text: the modules that sentence-transformers lists.

use std::path::Path;

use serde_json::Value;

use super::Architecture;
use super::directory::{CONFIG, read_json};
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
                let folder = dir.join(of("path"));
                config.pooling = pooling(&folder)?
                    .map_err(|modes| unknown(&folder.join(CONFIG), "pooling_mode", format!("is {modes}")))?;
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
