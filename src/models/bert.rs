//! BERT as published (Devlin et al., NAACL 2019): token + segment + position embeddings, LayerNorm, `l` post-norm layers.
//!
//! Not a ranker: the encoder that rankers stand on. Names and shapes are those of Hugging Face's `BertModel` behind the prefix
//! `bert.`, so a directory loads in Python as it is.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::nn::embedding::Embedding;
use crate::nn::encoder::Encoder;
use crate::nn::graph::Graph;
use crate::nn::layer::{LayerArrays, LayerShape, NAMES, Norm};
use crate::nn::layer_grad::Leaf;
use crate::nn::{Device, Dtype, Parameters, Weights};
use crate::{Error, Result};

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

/// The table of words, `[vocab_size, h]`, after an encoder's prefix.
pub const WORDS: &str = "embeddings.word_embeddings.weight";
/// The table of segments, `[type_vocab_size, h]`, after an encoder's prefix.
pub const SEGMENTS: &str = "embeddings.token_type_embeddings.weight";
/// What a layer's names begin with after an encoder's prefix, before its number.
pub const LAYER: &str = "encoder.layer.";

/// Names of the embedding's arrays after an encoder's prefix.
const EMBEDDING: [&str; 5] = [
    WORDS,
    SEGMENTS,
    "embeddings.position_embeddings.weight",
    "embeddings.LayerNorm.weight",
    "embeddings.LayerNorm.bias",
];

/// The pooler's name: `.weight [h, h]` and `.bias [h]`.
pub const POOLER: &str = "bert.pooler.dense";

/// The prefix of encoder arrays, as `BertForSequenceClassification` names them.
pub const PREFIX: &str = "bert.";

impl Config {
    /// Names and shapes of an encoder's arrays, prefix included, without pooler and heads.
    pub fn arrays(&self, prefix: &str) -> Vec<(String, Vec<usize>)> {
        let (h, f) = (self.hidden_size, self.intermediate_size);
        let tables = [self.vocab_size, self.type_vocab_size, self.max_position_embeddings];
        let mut list: Vec<(String, Vec<usize>)> =
            tables.iter().zip(EMBEDDING).map(|(&rows, name)| (format!("{prefix}{name}"), vec![rows, h])).collect();
        list.extend(EMBEDDING[3..].iter().map(|name| (format!("{prefix}{name}"), vec![h])));
        for layer in 0..self.num_hidden_layers {
            for name in NAMES {
                let shape = match name {
                    "intermediate.dense.weight" => vec![f, h],
                    "intermediate.dense.bias" => vec![f],
                    "output.dense.weight" => vec![h, f],
                    _ if name.ends_with("bias") || name.contains("LayerNorm") => vec![h],
                    _ => vec![h, h],
                };
                list.push((layer_array(prefix, layer, name), shape));
            }
        }
        list
    }
    fn shape(&self) -> LayerShape {
        LayerShape {
            hidden: self.hidden_size,
            heads: self.num_attention_heads,
            ff: self.intermediate_size,
            eps: self.layer_norm_eps,
            hidden_dropout: self.hidden_dropout_prob,
            attention_dropout: self.attention_probs_dropout_prob,
        }
    }
}

/// The full name of one of layer `layer`'s arrays, named as in [`NAMES`].
pub fn layer_array(prefix: &str, layer: usize, name: &str) -> String {
    format!("{prefix}{LAYER}{layer}.{name}")
}

/// Where an encoder's arrays come from: loaded weights or parameters in training.
pub trait Source {
    /// Values of an array.
    fn values(&self, name: &str) -> Result<&[f32]>;
    /// Values of an array to be kept.
    fn kept(&self, name: &str) -> Result<Arc<Vec<f32>>> {
        Ok(Arc::new(self.values(name)?.to_vec()))
    }
}

impl Source for Weights {
    fn values(&self, name: &str) -> Result<&[f32]> {
        let found = self.0.get(name).map(|a| a.data.as_slice());
        found.ok_or_else(|| Error::Internal { op: "weights", what: format!("no array {name}") })
    }
}

impl Source for Parameters {
    fn values(&self, name: &str) -> Result<&[f32]> {
        Ok(&self.get(name)?.value)
    }
    fn kept(&self, name: &str) -> Result<Arc<Vec<f32>>> {
        Ok(self.get(name)?.value.clone())
    }
}

fn embedding(config: &Config, prefix: &str, source: &dyn Source) -> Result<Embedding> {
    let name = |i: usize| format!("{prefix}{}", EMBEDDING[i]);
    Ok(Embedding {
        hidden: config.hidden_size,
        eps: config.layer_norm_eps,
        dropout: config.hidden_dropout_prob,
        tables: [source.kept(&name(0))?, source.kept(&name(1))?, source.kept(&name(2))?],
        norm: Norm::new(source.values(&name(3))?, source.values(&name(4))?),
    })
}

/// An encoder's arrays, packed for `dtype` on a device.
///
/// # Errors
/// A missing array; `SVERKA_CPU` names a unit that this CPU does not have; a device that is not there, or does not compute in `dtype`.
pub fn encoder(config: &Config, prefix: &str, source: &dyn Source, dtype: Dtype, device: Device) -> Result<Encoder> {
    let arrays = |layer: usize| {
        let mut arrays: LayerArrays = [&[]; 16];
        for (array, name) in arrays.iter_mut().zip(NAMES) {
            *array = source.values(&layer_array(prefix, layer, name))?;
        }
        Ok(arrays)
    };
    let layers: Vec<LayerArrays> = (0..config.num_hidden_layers).map(arrays).collect::<Result<_>>()?;
    Encoder::new(device, dtype, config.shape(), embedding(config, prefix, source)?, &layers)
}

/// An encoder's arrays for one training graph. It shares the parameters' values while it lives.
pub fn graph(config: &Config, prefix: &str, parameters: &Parameters, dtype: Dtype) -> Result<Graph> {
    let leaf = |name: &str| -> Result<Leaf> {
        let p = parameters.get(name)?;
        Ok(Leaf { value: p.value.clone(), grad: p.grad.clone() })
    };
    let leaves = |names: &mut dyn Iterator<Item = String>| names.map(|name| leaf(&name)).collect::<Result<Vec<_>>>();
    let grads = leaves(&mut EMBEDDING.iter().map(|name| format!("{prefix}{name}")))?;
    let Ok(grads) = <[Leaf; 5]>::try_from(grads) else { unreachable!("five names give five leaves") };
    let layer = |i: usize| -> Result<[Leaf; 16]> {
        let leaves = leaves(&mut NAMES.iter().map(|name| layer_array(prefix, i, name)))?;
        Ok(leaves.try_into().unwrap_or_else(|_| unreachable!("sixteen names give sixteen leaves")))
    };
    Ok(Graph {
        embedding: embedding(config, prefix, parameters)?,
        grads: grads.map(|leaf| leaf.grad),
        layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
        shape: config.shape(),
        dtype,
    })
}
