//! A model as the plain f32 folder that Python loads, with the same scores.
//!
//! The tokenizer is written as it is used: `tokenizer.json` alone decides there (`PreTrainedTokenizerFast`), with the bundle's frame, token
//! types and length. What no tokenizer of Python's makes (segments of shared words and of fields, marks between fields, three texts) would
//! change scores in silence, so such a model is refused, or written with a note in its card.

use std::path::Path;

use serde_json::json;

use super::arrays::WEIGHTS;
use super::manifest::Manifest;
use super::{Architecture, Checkpoint, Purpose, as_in_python, directory, family, folder, late_interaction, sentence};
use crate::models::bert::Family;
use crate::nn::Weights;
use crate::nn::weights::{Storage, write_safetensors};
use crate::text::{TextConfig, TextEncoder};
use crate::{Error, Result};

/// How an export is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Export {
    /// Replace a model that is there.
    pub force: bool,
    /// Write a model whose scores Python can't give too, with a note in its card.
    pub anyway: bool,
}

/// Writes a bundle or plain folder as the plain f32 folder that transformers loads as `BertForSequenceClassification` (`BertModel`
/// where there is no classifier), and sentence-transformers with the bundle's scores. Gives what scores will lack there: nothing,
/// unless `anyway` is set.
///
/// # Errors
/// [`Error::Exists`]; a setting that Python can't follow; what [`Checkpoint::read`] and [`Checkpoint::select`] refuse; the system's.
/// Nothing is left over.
pub fn export(bundle: &Path, dir: &Path, options: Export) -> Result<Vec<String>> {
    let mut checkpoint = Checkpoint::read(bundle)?;
    let has_head = checkpoint.weights.0.contains_key("classifier.weight");
    let (purpose, plain) = (Purpose::Start, checkpoint.manifest.is_none());
    let is_encoder = plain && !has_head && checkpoint.late.is_none() && sentence::is_encoder(bundle)?;
    let architecture = match is_encoder {
        true => sentence::architecture(bundle, &checkpoint.config, &mut checkpoint.weights)?,
        false => checkpoint.architecture(),
    };
    checkpoint.select(&*architecture.model(), purpose)?;
    let document_length = checkpoint.late.as_ref().and_then(|late| late.document_length);
    let Checkpoint { manifest, config, mut weights, .. } = checkpoint;
    let rendering = match &manifest {
        Some(manifest) => manifest.rendering.clone(),
        None => {
            let own = as_in_python(bundle, &config)?;
            let max_tokens = document_length.unwrap_or(own.max_tokens).min(config.max_position_embeddings);
            TextConfig { max_tokens, ..own }
        }
    };
    let mut lacking = lacking(&architecture, &rendering);
    if !config.family.has_segments() && family::is_segmented(&weights) && !rendering.one_segment {
        let what = format!("{} has no segments in Python", config.family);
        lacking.push(("text.one_segment".into(), "false".into(), what));
    }
    if let Some(hashed) = config.hashed_attention {
        let what = "transformers' BERT attends to all tokens".to_string();
        lacking.push(("hashed_attention".into(), format!("chunks of {}", hashed.chunk), what));
    }
    if config.family == Family::Longformer && !has_head {
        let what = "without a classifier Python gives no token global attention".to_string();
        lacking.push(("model_type".into(), "longformer".into(), what));
    }
    if let Some((name, value, what)) = lacking.first().filter(|_| !options.anyway) {
        let what = format!("{what}, so scores would be others; --anyway writes the model with a note");
        return Err(Error::setting(name.clone(), value, what));
    }
    let lacking: Vec<String> =
        lacking.into_iter().map(|(name, value, what)| format!("{name} = {value}: {what}")).collect();
    let mut tokenizer = TextEncoder::open(bundle, rendering.clone())?;
    let linear = weights.0.remove_entry(&late_interaction::weight_name());
    if let Some(towers) = architecture.model().towers() {
        tokenizer = tokenizer.with_towers(&towers)?;
    }
    folder::write(dir, options.force, |out| {
        let put = |name: &str, text: String| {
            let path = out.join(name);
            std::fs::write(&path, text).map_err(Error::io("write", &path))
        };
        tokenizer.save_for_python(out, config.pad_token_id)?;
        let mut value = directory::config_value(&config, &weights)?;
        if has_head && !plain {
            value["sentence_transformers"] = json!({"activation_fn": "torch.nn.modules.linear.Identity"});
        }
        put(directory::CONFIG, format!("{value:#}\n"))?;
        if let Some(towers) = architecture.towers() {
            sentence::write(out, towers, config.hidden_size, rendering.max_tokens, &mut weights)?;
        }
        if let (Some(settings), Some(linear)) = (architecture.late_interaction(), linear) {
            let linear = Weights([linear].into());
            late_interaction::write(out, settings, tokenizer.tower_markers(), rendering.max_tokens, linear)?;
        }
        put("README.md", card(manifest.as_ref(), &rendering, &lacking))?;
        write_safetensors(&out.join(WEIGHTS), &family::as_written(&config, &weights), Storage::F32)?;
        super::as_readable_as(&out.join(WEIGHTS), &out.join(directory::CONFIG))
    })?;
    Ok(lacking)
}

/// What Python's tokenizers and classes can't do: setting, value, what is missing.
fn lacking(architecture: &Architecture, rendering: &TextConfig) -> Vec<(String, String, String)> {
    let mut list = Vec::new();
    let mut add = |name: &str, value: String, what: &str| list.push((name.to_string(), value, what.to_string()));
    if rendering.overlap_segments {
        add("text.overlap_segments", "true".into(), "segments of shared words are made by no Python tokenizer");
    }
    if !rendering.segments.is_empty() {
        let names: Vec<&str> = rendering.segments.keys().map(String::as_str).collect();
        add("text.segments", names.join(", "), "segments of fields are made by no Python tokenizer");
    }
    if rendering.ditto_markers {
        add("text.ditto_markers", "true".into(), "`COL name VAL value` is written by no Python tokenizer");
    }
    if let Some((name, value, what)) = architecture.lacking_in_python() {
        add(name, value, what);
    }
    list
}

/// The card of an exported model.
fn card(manifest: Option<&Manifest>, rendering: &TextConfig, lacking: &[String]) -> String {
    let mut text = String::from("# A model for Python, written by `sverka export`\n");
    if !lacking.is_empty() {
        text += "\n**Its scores in Python are not those it has in Sverka**, and may be worth nothing. What it was trained with and \
                 does not get there:\n\n";
        lacking.iter().for_each(|line| text += &format!("- {line}\n"));
    }
    let fields = match rendering.fields.as_slice() {
        [] => "all of a record's values but the id".to_string(),
        fields => format!("a record's values of {}", fields.join(", ")),
    };
    text += &format!(
        "\nA text is {fields}, in that order, with single spaces between words and values. Pairs are cut at {} tokens.\n",
        rendering.max_tokens
    );
    if manifest.is_some_and(|m| m.calibration.is_some()) {
        text +=
            "\nScores are logits; the calibration and the threshold that the bundle has are not part of this folder.\n";
    }
    text
}
