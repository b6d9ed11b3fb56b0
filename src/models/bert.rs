//! BERT as published (Devlin et al., NAACL 2019).

use serde::{Deserialize, Serialize};

/// `config.json` of a Hugging Face BERT directory; unknown keys are kept out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Rows of the word embedding table.
    pub vocab_size: usize,
    /// Width of a token's state, `h`.
    pub hidden_size: usize,
    /// Layers, `l`.
    pub num_hidden_layers: usize,
    /// Heads, `n`.
    pub num_attention_heads: usize,
    /// Width inside the feed-forward block.
    pub intermediate_size: usize,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Rows of the segment table.
    #[serde(default = "two")]
    pub type_vocab_size: usize,
    /// LayerNorm's epsilon.
    #[serde(default = "epsilon")]
    pub layer_norm_eps: f32,
    /// Dropout after embeddings, attention output and feed-forward.
    #[serde(default = "tenth")]
    pub hidden_dropout_prob: f32,
    /// Dropout of attention probabilities.
    #[serde(default = "tenth")]
    pub attention_probs_dropout_prob: f32,
    /// `gelu` is the only one.
    #[serde(default = "gelu")]
    pub hidden_act: String,
    /// Spread of freshly drawn weights.
    #[serde(default = "spread")]
    pub initializer_range: f32,
    /// Id of the padding token.
    #[serde(default)]
    pub pad_token_id: u32,
}

fn two() -> usize {
    2
}
fn epsilon() -> f32 {
    1e-12
}
fn tenth() -> f32 {
    0.1
}
fn spread() -> f32 {
    0.02
}
fn gelu() -> String {
    "gelu".into()
}
