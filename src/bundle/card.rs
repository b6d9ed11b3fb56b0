//! The model card of a bundle.

use super::manifest::Manifest;
use crate::models::bert::Config;
use crate::nn::Weights;

/// The model card that every bundle begins with; a person may write more.
pub(super) fn card(manifest: &Manifest, config: &Config, weights: &Weights) -> String {
    let parameters: usize = weights.0.values().map(|a| a.len()).sum();
    let fields = match manifest.rendering.fields.as_slice() {
        [] => "all fields but the id".to_string(),
        fields => fields.join(", "),
    };
    let mut text = format!(
        "# A product matcher\n\nArchitecture `{}`: {} of {} layers, {} wide, {} words, {:.1} million parameters.\n\
         Reads {fields}; pairs of up to {} tokens.\n",
        manifest.architecture.name(),
        config.family,
        config.num_hidden_layers,
        config.hidden_size,
        config.vocab_size,
        parameters as f64 / 1e6,
        manifest.rendering.max_tokens
    );
    if let Some(trained_on) = &manifest.trained_on {
        text += &format!("Trained on data with the fingerprint {trained_on}.\n");
    }
    text += "\nUse it with `sverka match`, or `sverka export` it for Python's transformers.\n";
    text
}
