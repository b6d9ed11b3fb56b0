//! How the families' files differ: keys of `config.json`, names of arrays, rows that are there for padding, a head's layout.
//!
//! | family | head | positions | segments | also |
//! | --- | --- | --- | --- | --- |
//! | BERT | pooler (tanh), `classifier` | from 0 | a table | |
//! | RoBERTa, XLM-R | `classifier.dense` (tanh), `classifier.out_proj` | from pad + 1 | a table of one row | |
//! | MPNet | the same | from 2 | none | `relative_attention_bias`, shared by the layers |
//! | DistilBERT | `pre_classifier` (ReLU), `classifier` | from 0 | none | other keys in `config.json` |
//! | Longformer | as RoBERTa's | from pad + 1 | a table of one row | windows; queries, keys and values of the global token |
//! | ModernBERT | `head.dense` (GELU), `head.norm`, `classifier` | none | none | no biases, queries, keys and values in one matrix |
//!
//! Read, all have BERT's names and count positions from 0; written, they have their own again.

mod modern;

use std::borrow::Cow;
use std::path::Path;

use serde_json::Value;

use crate::models::bert::{Config, EMBEDDING_NAMES, Family, LAYER, PREFIX, SEGMENTS};
use crate::nn::Weights;
use crate::nn::relative::BUCKETS;
use crate::nn::weights::Array;
use crate::{Error, Result};

/// DistilBERT's names of settings, after BERT's.
const SETTINGS: [(&str, &str); 7] = [
    ("hidden_size", "dim"),
    ("num_hidden_layers", "n_layers"),
    ("num_attention_heads", "n_heads"),
    ("intermediate_size", "hidden_dim"),
    ("hidden_dropout_prob", "dropout"),
    ("attention_probs_dropout_prob", "attention_dropout"),
    ("hidden_act", "activation"),
];
/// Names within a layer, after BERT's.
const MPNET: [(&str, &str); 5] = [
    ("attention.self.query.", "attention.attn.q."),
    ("attention.self.key.", "attention.attn.k."),
    ("attention.self.value.", "attention.attn.v."),
    ("attention.output.dense.", "attention.attn.o."),
    ("attention.output.LayerNorm.", "attention.LayerNorm."),
];
const DISTILBERT: [(&str, &str); 8] = [
    ("attention.self.query.", "attention.q_lin."),
    ("attention.self.key.", "attention.k_lin."),
    ("attention.self.value.", "attention.v_lin."),
    ("attention.output.dense.", "attention.out_lin."),
    ("attention.output.LayerNorm.", "sa_layer_norm."),
    ("intermediate.dense.", "ffn.lin1."),
    ("output.dense.", "ffn.lin2."),
    ("output.LayerNorm.", "output_layer_norm."),
];
/// Names of heads, after BERT's.
const HEAD: [(&str, &str); 2] = [("bert.pooler.dense.", "classifier.dense."), ("classifier.", "classifier.out_proj.")];
const DISTILBERT_HEAD: [(&str, &str); 1] = [("bert.pooler.dense.", "pre_classifier.")];
const MODERNBERT_HEAD: [(&str, &str); 2] = [("bert.pooler.dense.", "head.dense."), ("bert.pooler.norm.", "head.norm.")];
/// Queries, keys and values in one matrix `[3h, h]`, under BERT's names: they are cut apart when a folder is read.
const QKV: &str = "attention.self.qkv.";
const MODERNBERT: [(&str, &str); 6] = [
    (QKV, "attn.Wqkv."),
    ("attention.output.dense.", "attn.Wo."),
    ("attention.output.LayerNorm.", "attn_norm."),
    ("intermediate.dense.", "mlp.Wi."),
    ("output.dense.", "mlp.Wo."),
    ("output.LayerNorm.", "mlp_norm."),
];
/// Names outside layers, after an encoder's prefix.
const MODERNBERT_OUTER: [(&str, &str); 3] = [
    ("embeddings.word_embeddings.", "embeddings.tok_embeddings."),
    ("embeddings.LayerNorm.", "embeddings.norm."),
    ("encoder.final_norm.", "final_norm."),
];
/// ModernBERT's names of settings, after BERT's.
const MODERNBERT_SETTINGS: [(&str, &str); 4] = [
    ("layer_norm_eps", "norm_eps"),
    ("hidden_act", "hidden_activation"),
    ("hidden_dropout_prob", "mlp_dropout"),
    ("attention_probs_dropout_prob", "attention_dropout"),
];

/// The family that a `config.json` names.
///
/// # Errors
/// One that is not known: which ones are.
pub(super) fn of(config: &Value, path: &Path) -> Result<Family> {
    let Some(name) = config.get("model_type").filter(|v| !v.is_null()) else { return Ok(Family::Bert) };
    let known = Family::NAMES.iter().find(|(known, _)| name == known);
    if let Some((_, Family::Modernbert)) = known {
        modern::check(config, path)?;
    }
    if let Some((_, Family::Longformer)) = known {
        check_windows(config, path)?;
    }
    known.map(|(_, family)| *family).ok_or_else(|| {
        let what = format!("is {name}; known are {}", Family::NAMES.map(|(name, _)| name).join(", "));
        Error::model(path, "model_type", what, "give a folder of one of these families")
    })
}

/// A Longformer's window if its `config.json` has none.
const WINDOW: u64 = 512;

/// # Errors
/// Windows that are not even numbers of tokens, one for all layers or one for each.
fn check_windows(config: &Value, path: &Path) -> Result<()> {
    let even = |window: &Value| window.as_u64().is_some_and(|n| n >= 2 && n % 2 == 0);
    let fits = match config.get("attention_window").filter(|v| !v.is_null()) {
        None => true,
        Some(Value::Array(windows)) => {
            let layers = config.get("num_hidden_layers").and_then(Value::as_u64);
            windows.iter().all(even) && layers.is_none_or(|n| n == windows.len() as u64)
        }
        Some(window) => even(window),
    };
    if !fits {
        let what = "is not an even number of tokens, for all layers or in a list with one for each";
        return Err(Error::model(path, "attention_window", what, "the file is damaged; fetch it again"));
    }
    Ok(())
}

impl Family {
    /// What begins an encoder's names.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Family::Bert => PREFIX,
            Family::Mpnet => "mpnet.",
            Family::Roberta | Family::XlmRoberta => "roberta.",
            Family::Distilbert => "distilbert.",
            Family::Modernbert => "model.",
            Family::Longformer => "longformer.",
        }
    }
    /// What begins the names of transformers' classes.
    pub(super) fn class(self) -> &'static str {
        match self {
            Family::Bert => "Bert",
            Family::Mpnet => "MPNet",
            Family::Roberta => "Roberta",
            Family::XlmRoberta => "XLMRoberta",
            Family::Distilbert => "DistilBert",
            Family::Modernbert => "ModernBert",
            Family::Longformer => "Longformer",
        }
    }
    fn layer(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Family::Mpnet => &MPNET,
            Family::Distilbert => &DISTILBERT,
            Family::Modernbert => &MODERNBERT,
            _ => &[],
        }
    }
    fn head(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Family::Bert => &[],
            Family::Distilbert => &DISTILBERT_HEAD,
            Family::Modernbert => &MODERNBERT_HEAD,
            _ => &HEAD,
        }
    }
    /// Whether its files have a table of segments.
    pub(super) fn has_segments(self) -> bool {
        !matches!(self, Family::Mpnet | Family::Distilbert | Family::Modernbert)
    }
    /// Rows of the position table before the first token's.
    fn unused_positions(self, padding: u32) -> usize {
        match self {
            Family::Bert | Family::Distilbert | Family::Modernbert => 0,
            Family::Mpnet => 2,
            Family::Roberta | Family::XlmRoberta | Family::Longformer => padding as usize + 1,
        }
    }

    /// Settings as BERT calls them.
    pub(super) fn read_settings(self, value: &mut Value) {
        if self == Family::Distilbert {
            for (ours, theirs) in SETTINGS {
                if let Some(setting) = value.get(theirs).cloned() {
                    value[ours] = setting;
                }
            }
        }
        if self == Family::Modernbert {
            modern::read_settings(value);
        }
        let from_one = matches!(self, Family::Mpnet | Family::Roberta | Family::XlmRoberta | Family::Longformer);
        if from_one && value.get("pad_token_id").is_none() {
            value["pad_token_id"] = 1.into();
        }
        let layers = value.get("num_hidden_layers").and_then(Value::as_u64).unwrap_or_default() as usize;
        match (self, value.get("attention_window")) {
            (Family::Longformer, None | Some(Value::Null)) => value["attention_window"] = vec![WINDOW; layers].into(),
            (Family::Longformer, Some(Value::Number(one))) => {
                value["attention_window"] = vec![one.clone(); layers].into_iter().map(Value::Number).collect();
            }
            (Family::Longformer, _) | (_, None) => {}
            // a key of another network
            _ => value["attention_window"] = Value::Null,
        }
        if self == Family::Mpnet && value.get("relative_attention_num_buckets").is_none() {
            value["relative_attention_num_buckets"] = BUCKETS.into();
        }
    }
    /// Settings as the family calls them.
    pub(super) fn write_settings(self, value: &mut Value, weights: &Weights) {
        let padding = value["pad_token_id"].as_u64().unwrap_or_default() as u32;
        let positions = value["max_position_embeddings"].as_u64().unwrap_or_default();
        value["max_position_embeddings"] = (positions + self.unused_positions(padding) as u64).into();
        let Some(map) = value.as_object_mut() else { return };
        if self == Family::Distilbert {
            for (ours, theirs) in SETTINGS {
                if let Some(setting) = map.remove(ours) {
                    map.insert(theirs.into(), setting);
                }
            }
        }
        if self == Family::Modernbert {
            modern::write_settings(map);
        }
        if !self.has_segments() && !is_segmented(weights) {
            map.remove("type_vocab_size");
        }
    }

    /// BERT's name of an array.
    pub(super) fn read_name(self, name: &str) -> String {
        let base = self.prefix();
        if self == Family::Modernbert {
            return modern::read_name(name);
        }
        let inner = ["embeddings.", "encoder.", "pooler.", "transformer."].iter().any(|p| name.starts_with(p));
        let name = match name.strip_prefix(base) {
            Some(rest) => format!("{PREFIX}{rest}"),
            None if inner => format!("{PREFIX}{name}"),
            None => name.to_string(),
        };
        if let Some((ours, rest)) = self.head().iter().find_map(|(o, t)| Some((o, name.strip_prefix(t)?))) {
            return format!("{ours}{rest}");
        }
        let name = match name.strip_prefix("bert.transformer.layer.") {
            Some(rest) if self == Family::Distilbert => format!("{PREFIX}{LAYER}{rest}"),
            _ => name,
        };
        rename_in_layer(&name, self.layer().iter().map(|(ours, theirs)| (*theirs, *ours)))
    }
    /// The family's name of an array; a pooler is part of a head, if there is one.
    fn write_name(self, name: &str, has_head: bool) -> String {
        let head = if has_head { self.head() } else { &[] };
        if let Some((theirs, rest)) = head.iter().find_map(|(o, t)| Some((t, name.strip_prefix(o)?))) {
            return format!("{theirs}{rest}");
        }
        if self == Family::Modernbert {
            return modern::write_name(name);
        }
        let name = rename_in_layer(name, self.layer().iter().copied());
        let Some((outer, inner)) = name.find(PREFIX).map(|at| (&name[..at], &name[at + PREFIX.len()..])) else {
            return name;
        };
        let inner = match inner.strip_prefix(LAYER) {
            Some(rest) if self == Family::Distilbert => format!("transformer.layer.{rest}"),
            _ => inner.to_string(),
        };
        format!("{outer}{}{inner}", self.prefix())
    }
}

/// Another name for the first part of what follows a layer's number.
fn rename_in_layer<'a>(name: &str, names: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let inside = || -> Option<(usize, &str)> {
        let from = name.find(LAYER)? + LAYER.len();
        let dot = name[from..].find('.')?;
        Some((from + dot + 1, &name[from + dot + 1..]))
    };
    let Some((start, rest)) = inside() else { return name.to_string() };
    let mut names = names;
    match names.find_map(|(from, to)| Some((to, rest.strip_prefix(from)?))) {
        Some((to, tail)) => format!("{}{to}{tail}", &name[..start]),
        None => name.to_string(),
    }
}

/// Positions from 0, and a segment table for a family without one. Gives the configuration's number of positions.
///
/// # Errors
/// Fewer positions than a family leaves out.
pub(super) fn read_tables(config: &mut Config, weights: &mut Weights, path: &Path) -> Result<()> {
    let unused = config.family.unused_positions(config.pad_token_id);
    if config.max_position_embeddings <= unused {
        let what = format!("is {}, and this family's begin at {unused}", config.max_position_embeddings);
        return Err(Error::model(path, "max_position_embeddings", what, "the file is damaged; fetch it again"));
    }
    if config.relative_attention_num_buckets.is_some_and(|n| n < BUCKETS) {
        let what = format!("is less than {BUCKETS}, which transformers uses");
        return Err(Error::model(path, "relative_attention_num_buckets", what, "the file is damaged; fetch it again"));
    }
    let whole = config.max_position_embeddings;
    config.max_position_embeddings = whole - unused;
    let (h, rows) = (config.hidden_size, config.type_vocab_size);
    if config.family == Family::Modernbert {
        modern::read_arrays(config, weights);
    }
    let mut tables = Vec::new();
    for (name, array) in &mut weights.0 {
        if name.ends_with(EMBEDDING_NAMES.positions) && array.shape == [whole, h] && unused > 0 {
            *array = array.select_rows(&(unused..whole).collect::<Vec<_>>());
        }
        tables.extend(name.strip_suffix(EMBEDDING_NAMES.words).map(|prefix| format!("{prefix}{SEGMENTS}")));
    }
    if !config.family.has_segments() {
        for name in tables {
            weights.0.entry(name).or_insert_with(|| Array::new(vec![rows, h], vec![0.0; rows * h]));
        }
    }
    Ok(())
}

/// Whether a segment table has other values than zeros.
pub(super) fn is_segmented(weights: &Weights) -> bool {
    weights.0.iter().any(|(name, array)| name.ends_with(SEGMENTS) && array.values().iter().any(|v| *v != 0.0))
}

/// Arrays as the family's files have them.
///
/// Queries, keys and values of ModernBERT are one matrix there.
pub(super) fn as_written<'a>(config: &Config, weights: &'a Weights) -> Cow<'a, Weights> {
    let family = config.family;
    if family == Family::Bert {
        return Cow::Borrowed(weights);
    }
    let (unused, h, segmented) =
        (family.unused_positions(config.pad_token_id), config.hidden_size, is_segmented(weights));
    let has_head = weights.0.contains_key("classifier.weight");
    let mut written = Weights::default();
    let joined = if family == Family::Modernbert { Some(modern::joined(weights)) } else { None };
    let weights = joined.as_ref().unwrap_or(weights);
    for (name, array) in &weights.0 {
        if name.ends_with(SEGMENTS) && !family.has_segments() && !segmented {
            continue;
        }
        let array = if name.ends_with(EMBEDDING_NAMES.positions) && unused > 0 {
            let values = [&vec![0.0; unused * h], &*array.values()].concat();
            Array::new(vec![array.shape[0] + unused, h], values)
        } else {
            array.clone()
        };
        written.0.insert(family.write_name(name, has_head), array);
    }
    Cow::Owned(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for (_, family) in Family::NAMES {
            for ours in [
                "bert.embeddings.word_embeddings.weight",
                "bert.encoder.layer.11.attention.self.key.bias",
                "bert.encoder.layer.0.attention.output.dense.weight",
                "bert.encoder.layer.0.attention.output.LayerNorm.bias",
                "bert.encoder.layer.0.output.dense.weight",
                "bert.encoder.layer.0.output.LayerNorm.weight",
                "bert.encoder.layer.0.intermediate.dense.weight",
                "bert.pooler.dense.weight",
                "classifier.bias",
            ] {
                assert_eq!(family.read_name(&family.write_name(ours, true)), ours, "{family:?}");
            }
        }
        let theirs = [
            (
                Family::Mpnet,
                "mpnet.encoder.layer.3.attention.attn.o.weight",
                "bert.encoder.layer.3.attention.output.dense.weight",
            ),
            (Family::Distilbert, "transformer.layer.1.ffn.lin2.bias", "bert.encoder.layer.1.output.dense.bias"),
            (Family::Roberta, "classifier.dense.weight", "bert.pooler.dense.weight"),
            (Family::XlmRoberta, "encoder.layer.0.output.dense.weight", "bert.encoder.layer.0.output.dense.weight"),
        ];
        for (family, theirs, ours) in theirs {
            assert_eq!(family.read_name(theirs), ours);
        }
    }
}
