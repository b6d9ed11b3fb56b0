//! ModernBERT's files: names, settings of two kinds of layers, one matrix for queries, keys and values, no biases.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{MODERNBERT, MODERNBERT_HEAD, MODERNBERT_OUTER, MODERNBERT_SETTINGS, QKV, rename_in_layer};
use crate::models::bert::{Config, EMBEDDING_NAMES, FINAL_NORM, LAYER, LAYER_NAMES, POOLER, PREFIX, layer_array};
use crate::nn::Weights;
use crate::nn::weights::Array;
use crate::{Error, Result};

const KINDS: [(&str, &str, &str, f64); 2] = [
    ("global_rope_theta", "full_attention", "rope_theta", 160_000.0),
    ("local_rope_theta", "sliding_attention", "rope_theta", 10_000.0),
];

/// How often a layer sees everything, by the list of their kinds or by its own key.
fn global_every(config: &Value) -> Option<u64> {
    let Some(kinds) = config.get("layer_types").and_then(Value::as_array) else {
        let every = config.get("global_attn_every_n_layers").filter(|v| !v.is_null());
        return every.map_or(Some(3), Value::as_u64).filter(|n| *n > 0);
    };
    let is_global: Vec<bool> = kinds.iter().map(|kind| kind == "full_attention").collect();
    let known = kinds.iter().all(|kind| kind == "full_attention" || kind == "sliding_attention");
    let every = is_global.iter().skip(1).position(|global| *global).map_or(is_global.len().max(1), |at| at + 1);
    let regular = is_global.iter().enumerate().all(|(i, global)| *global == i.is_multiple_of(every));
    (known && regular).then_some(every as u64)
}

/// What a `config.json` says that is not followed here.
///
/// # Errors
/// Biases, angles that are scaled, kinds of layers in no regular order.
pub(super) fn check(config: &Value, path: &Path) -> Result<()> {
    let remedy = "give a ModernBERT with the settings that it was published with";
    for key in ["attention_bias", "mlp_bias", "norm_bias", "classifier_bias"] {
        if config.get(key) == Some(&Value::Bool(true)) {
            return Err(Error::model(path, key, "is true; only a ModernBERT without biases is read", remedy));
        }
    }
    if config.get("classifier_activation").is_some_and(|v| v != "gelu") {
        return Err(Error::model(path, "classifier_activation", "is not gelu, the only one that is known", remedy));
    }
    if global_every(config).is_none() {
        let what = "layers that see everything do not come at equal distances from the first on";
        return Err(Error::model(path, "layer_types", what, remedy));
    }
    let scaled = |kind: &str| config.pointer(&format!("/rope_parameters/{kind}/rope_type"));
    if config.get("rope_scaling").is_some_and(|v| !v.is_null())
        || KINDS.iter().any(|(_, kind, ..)| scaled(kind).is_some_and(|v| v != "default"))
    {
        return Err(Error::model(path, "rope_parameters", "scales its angles, which is not known here", remedy));
    }
    let window = config.get("local_attention").filter(|v| !v.is_null());
    if window.is_some_and(|v| v.as_u64().is_none_or(|n| n < 2)) {
        return Err(Error::model(path, "local_attention", "is not a width of 2 tokens or more", remedy));
    }
    Ok(())
}

/// Settings as BERT calls them, those of both kinds of layers in the names of the first version.
pub(super) fn read_settings(value: &mut Value) {
    for (ours, theirs) in MODERNBERT_SETTINGS {
        let default = match ours {
            "layer_norm_eps" => json!(1e-5),
            "hidden_act" => json!("gelu"),
            _ => json!(0.0),
        };
        value[ours] = value.get(theirs).filter(|v| !v.is_null()).cloned().unwrap_or(default);
    }
    value["global_attn_every_n_layers"] = global_every(value).unwrap_or(3).into();
    for (key, kind, theta, default) in KINDS {
        let nested = value.pointer(&format!("/rope_parameters/{kind}/{theta}")).cloned();
        let theta = nested.or_else(|| value.get(key).filter(|v| !v.is_null()).cloned());
        value[key] = theta.unwrap_or_else(|| default.into());
    }
    for (key, default) in [("local_attention", json!(128)), ("classifier_pooling", json!("cls"))] {
        if value.get(key).is_none_or(Value::is_null) {
            value[key] = default;
        }
    }
    // "sans_pos" or "absolute": transformers reads neither, positions are rotary
    if let Some(map) = value.as_object_mut() {
        map.remove("position_embedding_type");
    }
}

/// Settings as ModernBERT calls them.
pub(super) fn write_settings(map: &mut Map<String, Value>) {
    for (ours, theirs) in MODERNBERT_SETTINGS {
        if let Some(setting) = map.remove(ours) {
            map.insert(theirs.into(), setting);
        }
    }
    map.remove("position_embedding_type");
}

/// BERT's name of an array.
pub(super) fn read_name(name: &str) -> String {
    if let Some((ours, rest)) = MODERNBERT_HEAD.iter().find_map(|(o, t)| Some((o, name.strip_prefix(t)?))) {
        return format!("{ours}{rest}");
    }
    const PARTS: [&str; 3] = ["layers.", "embeddings.", "final_norm."];
    let Some(at) = PARTS.iter().filter_map(|part| name.find(part)).min() else { return name.to_string() };
    let (outer, inner) = (name[..at].strip_suffix("model.").unwrap_or(&name[..at]), &name[at..]);
    if let Some(rest) = inner.strip_prefix("layers.") {
        return rename_in_layer(&format!("{outer}{PREFIX}{LAYER}{rest}"), MODERNBERT.iter().map(|(o, t)| (*t, *o)));
    }
    match MODERNBERT_OUTER.iter().find_map(|(o, t)| Some((o, inner.strip_prefix(t)?))) {
        Some((ours, rest)) => format!("{outer}{PREFIX}{ours}{rest}"),
        None => format!("{outer}{PREFIX}{inner}"),
    }
}

/// ModernBERT's name of an array.
pub(super) fn write_name(name: &str) -> String {
    if let Some((theirs, rest)) = MODERNBERT_HEAD.iter().find_map(|(o, t)| Some((t, name.strip_prefix(o)?))) {
        return format!("{theirs}{rest}");
    }
    let name = rename_in_layer(name, MODERNBERT.iter().copied());
    let Some((outer, inner)) = name.find(PREFIX).map(|at| (&name[..at], &name[at + PREFIX.len()..])) else {
        return name;
    };
    let inner = match inner.strip_prefix(LAYER) {
        Some(rest) => format!("layers.{rest}"),
        None => match MODERNBERT_OUTER.iter().find_map(|(o, t)| Some((t, inner.strip_prefix(o)?))) {
            Some((theirs, rest)) => format!("{theirs}{rest}"),
            None => inner.to_string(),
        },
    };
    format!("{outer}model.{inner}")
}

/// Cuts queries, keys and values apart, and adds what BERT has and ModernBERT does not: biases and shifts of zeros, a scale of ones for
/// the first layer's norm, a table of no positions.
pub(super) fn read_arrays(config: &Config, weights: &mut Weights) {
    let h = config.hidden_size;
    let prefixes: Vec<String> =
        weights.0.keys().filter_map(|n| n.strip_suffix(EMBEDDING_NAMES.words)).map(Into::into).collect();
    for prefix in prefixes {
        for layer in 0..config.num_hidden_layers {
            let Some(joined) = weights.0.remove(&layer_array(&prefix, layer, &format!("{QKV}weight"))) else {
                continue;
            };
            for (part, name) in [LAYER_NAMES.query, LAYER_NAMES.key, LAYER_NAMES.value].into_iter().enumerate() {
                if joined.shape == [3 * h, h] {
                    let rows = joined.select_rows(&(part * h..(part + 1) * h).collect::<Vec<_>>());
                    weights.0.insert(layer_array(&prefix, layer, name.weight), rows);
                }
            }
        }
        let first_norm = layer_array(&prefix, 0, LAYER_NAMES.attention_norm.gamma);
        for (name, shape) in config.arrays(&prefix) {
            let values = match shape.iter().product() {
                n if name == first_norm => vec![1.0; n],
                n if name.ends_with(".bias") || n == 0 => vec![0.0; n],
                _ => continue,
            };
            weights.0.entry(name).or_insert(Array::new(shape, values));
        }
    }
    if weights.0.contains_key(&format!("{POOLER}.weight")) {
        weights.0.entry(format!("{POOLER}.bias")).or_insert(Array::new(vec![h], vec![0.0; h]));
    }
}

/// The arrays that ModernBERT's files have: queries, keys and values in one matrix, nothing that was added by [`read_arrays`].
pub(super) fn joined(weights: &Weights) -> Weights {
    let mut written = Weights::default();
    let first_norm = layer_array("", 0, LAYER_NAMES.attention_norm.gamma);
    let is_added = |name: &str, array: &Array| {
        let head = name == "classifier.bias" || !(name.contains(PREFIX));
        array.shape.first() == Some(&0) || (name.ends_with(".bias") && !head) || name.ends_with(&first_norm)
    };
    let [query, key, value] = [LAYER_NAMES.query, LAYER_NAMES.key, LAYER_NAMES.value].map(|affine| affine.weight);
    for (name, array) in &weights.0 {
        if let Some(start) = name.strip_suffix(query) {
            let parts = [key, value].map(|part| weights.0.get(&format!("{start}{part}")));
            if let [Some(key), Some(value)] = parts {
                written.0.insert(format!("{start}{QKV}weight"), Array::stacked(&[array, key, value]));
                continue;
            }
        }
        if !is_added(name, array) && !name.ends_with(key) && !name.ends_with(value) {
            written.0.insert(name.clone(), array.clone());
        }
    }
    debug_assert!(written.0.keys().all(|name| !name.ends_with(FINAL_NORM.beta)));
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::net::draw_encoder;
    use crate::nn::quantized::QuantizedMatrix;

    #[test]
    fn int8_matrices_are_joined_and_cut_apart_to_the_bit() {
        let mut value = json!({"model_type": "modernbert", "vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 32});
        read_settings(&mut value);
        let config: Config = serde_json::from_value(value).unwrap();
        let mut weights = draw_encoder(PREFIX, &config, 3);
        for (name, array) in &mut weights.0 {
            if name.contains("attention.self") && name.ends_with(".weight") {
                *array = QuantizedMatrix::quantize(&array.values(), 16).into();
            }
        }
        let mut again = joined(&weights);
        assert!(again.0.len() < weights.0.len());
        read_arrays(&config, &mut again);
        for (name, array) in &weights.0 {
            assert_eq!(again.0.get(name), Some(array), "{name}");
        }
    }
}
