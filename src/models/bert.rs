//! BERT as published (Devlin et al., NAACL 2019): token + segment + position embeddings, LayerNorm, `l` post-norm layers.
//!
//! Not a ranker: the encoder that rankers use. Names and shapes are those of Hugging Face's `BertModel` after the prefix
//! `bert.`, so a directory loads in Python as it is.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::nn::embedding::Embedding;
use crate::nn::encoder::Encoder;
use crate::nn::global::{Global, GlobalParam, GlobalWeights};
use crate::nn::graph::Graph;
use crate::nn::hashed::Hashed;
use crate::nn::layer::LayerShape;
use crate::nn::layer_grad::ParamRef;
use crate::nn::layer_weights::{Affine, EmbeddingWeights, LayerArrays, LayerWeights, Norm};
use crate::nn::modern::Modern;
use crate::nn::quantized::Matrix;
use crate::nn::relative::{RelativeBias, RelativeParam};
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
    /// Whose names and head the files have; `model_type` there.
    #[serde(default, rename = "model_type")]
    pub family: Family,
    /// Rows of MPNet's relative attention bias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative_attention_num_buckets: Option<usize>,
    /// Longformer: tokens that a token sees in each layer, half of them on each side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_window: Option<Vec<usize>>,
    /// Attention by hashing, of an encoder that was trained here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashed_attention: Option<Hashed>,
    /// What ModernBERT has besides.
    #[serde(default, flatten, skip_serializing_if = "Option::is_none")]
    pub modern: Option<ModernSettings>,
}

/// ModernBERT's settings, as its `config.json` has them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ModernSettings {
    /// Base of the rotary angles in layers that see every token.
    pub global_rope_theta: f32,
    /// The same in layers that see a window.
    pub local_rope_theta: f32,
    /// Width of the window.
    pub local_attention: usize,
    /// Of so many layers the first sees every token.
    pub global_attn_every_n_layers: usize,
    /// What the head sees.
    pub classifier_pooling: ClassifierPooling,
}

/// What ModernBERT's head sees of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassifierPooling {
    /// The first token's state.
    Cls,
    /// The mean of all states.
    Mean,
}

/// Networks of the same layer that differ in their files' names and in little else. Here all have BERT's names; positions that a family
/// does not use are left out, and a segment table that it does not have is one of zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Devlin et al., NAACL 2019.
    #[default]
    Bert,
    /// A bias by distance (Song et al., NeurIPS 2020).
    Mpnet,
    /// Liu et al., arXiv 1907.11692.
    Roberta,
    /// Conneau et al., ACL 2020.
    XlmRoberta,
    /// Half the layers, no segments (Sanh et al., arXiv 1910.01108).
    Distilbert,
    /// Norms before the blocks, rotary positions, windows (Warner et al., arXiv 2412.13663).
    Modernbert,
    /// RoBERTa with windows and a global first token (Beltagy et al., arXiv 2004.05150).
    Longformer,
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Family::Bert => "BERT",
            Family::Mpnet => "MPNet",
            Family::Roberta => "RoBERTa",
            Family::XlmRoberta => "XLM-RoBERTa",
            Family::Distilbert => "DistilBERT",
            Family::Modernbert => "ModernBERT",
            Family::Longformer => "Longformer",
        })
    }
}

impl Family {
    /// All, by the names that `config.json` has for them.
    pub const NAMES: [(&str, Family); 7] = [
        ("bert", Family::Bert),
        ("mpnet", Family::Mpnet),
        ("roberta", Family::Roberta),
        ("xlm-roberta", Family::XlmRoberta),
        ("distilbert", Family::Distilbert),
        ("modernbert", Family::Modernbert),
        ("longformer", Family::Longformer),
    ];
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
/// The table of what attention scores get by distance, `[buckets, n]`, after an encoder's prefix.
pub const RELATIVE: &str = "encoder.relative_attention_bias.weight";
/// The norm after ModernBERT's last layer, after an encoder's prefix.
pub const FINAL_NORM: Norm<&str> = Norm { gamma: "encoder.final_norm.weight", beta: "encoder.final_norm.bias" };
/// What a layer's names begin with after an encoder's prefix, before its number.
pub const LAYER: &str = "encoder.layer.";

/// Names of the embedding's arrays after an encoder's prefix.
pub const EMBEDDING_NAMES: EmbeddingWeights<&str> = EmbeddingWeights {
    words: WORDS,
    segments: SEGMENTS,
    positions: "embeddings.position_embeddings.weight",
    norm: Norm { gamma: "embeddings.LayerNorm.weight", beta: "embeddings.LayerNorm.bias" },
};

/// Names of a layer's arrays after [`LAYER`], its number and a dot.
pub const LAYER_NAMES: LayerWeights<&str> = LayerWeights {
    query: Affine { weight: "attention.self.query.weight", bias: "attention.self.query.bias" },
    key: Affine { weight: "attention.self.key.weight", bias: "attention.self.key.bias" },
    value: Affine { weight: "attention.self.value.weight", bias: "attention.self.value.bias" },
    attention_output: Affine { weight: "attention.output.dense.weight", bias: "attention.output.dense.bias" },
    attention_norm: Norm { gamma: "attention.output.LayerNorm.weight", beta: "attention.output.LayerNorm.bias" },
    up: Affine { weight: "intermediate.dense.weight", bias: "intermediate.dense.bias" },
    down: Affine { weight: "output.dense.weight", bias: "output.dense.bias" },
    output_norm: Norm { gamma: "output.LayerNorm.weight", beta: "output.LayerNorm.bias" },
};

/// Names of the arrays of a Longformer's global token, as those of a layer.
pub const GLOBAL_NAMES: GlobalWeights<&str> = GlobalWeights {
    query: Affine { weight: "attention.self.query_global.weight", bias: "attention.self.query_global.bias" },
    key: Affine { weight: "attention.self.key_global.weight", bias: "attention.self.key_global.bias" },
    value: Affine { weight: "attention.self.value_global.weight", bias: "attention.self.value_global.bias" },
};

/// The pooler's name: `.weight [h, h]` and `.bias [h]`.
pub const POOLER: &str = "bert.pooler.dense";
/// The scale of the norm after ModernBERT's pooler, `[h]`.
pub const POOLER_NORM: &str = "bert.pooler.norm.weight";

/// The linear layer of the head of masked tokens.
pub const TRANSFORM: &str = "cls.predictions.transform.dense";
/// The LayerNorm after it: scale and shift, `[h]`.
pub const TRANSFORM_NORM: [&str; 2] =
    ["cls.predictions.transform.LayerNorm.weight", "cls.predictions.transform.LayerNorm.bias"];
/// The bias of the decoder that is tied to the table of words, `[vocab_size]`.
pub const DECODER_BIAS: &str = "cls.predictions.bias";
/// The classifier of next sentences: logits of "is next" and "is not", `[2, h]`.
pub const NEXT: &str = "cls.seq_relationship";

/// The prefix of encoder arrays, as `BertForSequenceClassification` names them.
pub const PREFIX: &str = "bert.";

impl Config {
    /// Names and shapes of an encoder's arrays, prefix included, without pooler and heads.
    pub fn arrays(&self, prefix: &str) -> Vec<(String, Vec<usize>)> {
        let h = self.hidden_size;
        let table = |rows: usize| vec![rows, h];
        let embedding = EmbeddingWeights {
            words: table(self.vocab_size),
            segments: table(self.type_vocab_size),
            positions: table(if self.modern.is_some() { 0 } else { self.max_position_embeddings }),
            norm: Norm { gamma: vec![h], beta: vec![h] },
        };
        let names = EMBEDDING_NAMES.into_array().map(|name| format!("{prefix}{name}"));
        let mut list: Vec<(String, Vec<usize>)> = names.into_iter().zip(embedding.into_array()).collect();
        for layer in 0..self.num_hidden_layers {
            let names = LAYER_NAMES.into_array().map(|name| layer_array(prefix, layer, name));
            list.extend(names.into_iter().zip(self.shape().arrays().into_array()));
            if self.attention_window.is_some() {
                let GlobalWeights { query, key, value } = GLOBAL_NAMES;
                for Affine { weight, bias } in [query, key, value] {
                    list.push((layer_array(prefix, layer, weight), vec![h, h]));
                    list.push((layer_array(prefix, layer, bias), vec![h]));
                }
            }
        }
        if self.modern.is_some() {
            list.extend([FINAL_NORM.gamma, FINAL_NORM.beta].map(|name| (format!("{prefix}{name}"), vec![h])));
        }
        let buckets = self.relative_attention_num_buckets;
        list.extend(buckets.map(|buckets| (format!("{prefix}{RELATIVE}"), vec![buckets, self.num_attention_heads])));
        list
    }
    /// A table laid out for this encoder.
    fn relative(&self, table: &[f32]) -> Arc<RelativeBias> {
        let dim = self.hidden_size / self.num_attention_heads;
        Arc::new(RelativeBias::new(table, self.num_attention_heads, self.max_position_embeddings, dim))
    }
    /// The windows and global tokens of a Longformer's layers; none of other families.
    fn globals(&self, prefix: &str, source: &dyn Source) -> Result<Vec<Arc<Global>>> {
        let windows = self.attention_window.iter().flatten().enumerate();
        let global = |(layer, window): (usize, &usize)| {
            let weights = GLOBAL_NAMES.try_map(|name| source.kept(&layer_array(prefix, layer, name)))?;
            Ok(Arc::new(Global { window: window / 2, heads: self.num_attention_heads, weights }))
        };
        windows.map(global).collect()
    }
    fn shape(&self) -> LayerShape {
        LayerShape {
            hidden: self.hidden_size,
            heads: self.num_attention_heads,
            ff: self.intermediate_size,
            eps: self.layer_norm_eps,
            hidden_dropout: self.hidden_dropout_prob,
            attention_dropout: self.attention_probs_dropout_prob,
            hashed: self.hashed_attention,
            modern: self.modern.map(|modern| Modern {
                global_theta: modern.global_rope_theta,
                local_theta: modern.local_rope_theta,
                window: modern.local_attention / 2,
                global_every: modern.global_attn_every_n_layers,
                layer: 0,
            }),
        }
    }
}

/// The full name of one of layer `layer`'s arrays, named as in [`LAYER_NAMES`].
pub fn layer_array(prefix: &str, layer: usize, name: &str) -> String {
    format!("{prefix}{LAYER}{layer}.{name}")
}

/// Where an encoder's arrays come from: loaded weights or parameters in training.
pub trait Source {
    /// An array.
    ///
    /// # Errors
    /// It is not there.
    fn matrix(&self, name: &str) -> Result<Matrix<'_>>;
    /// An f32 array.
    ///
    /// # Errors
    /// It is not there, or int8.
    fn vector(&self, name: &str) -> Result<&[f32]> {
        match self.matrix(name)? {
            Matrix::F32(values) => Ok(values),
            Matrix::Int8(_) => Err(Error::Internal { op: "weights", what: format!("{name} is int8") }),
        }
    }
    /// Values of an array, to be kept.
    ///
    /// # Errors
    /// It is not there.
    fn kept(&self, name: &str) -> Result<Arc<Vec<f32>>> {
        Ok(Arc::new(self.matrix(name)?.values().into_owned()))
    }
}

impl Source for Weights {
    fn matrix(&self, name: &str) -> Result<Matrix<'_>> {
        let missing = || Error::Internal { op: "weights", what: format!("no array {name}") };
        self.0.get(name).map(|array| array.matrix()).ok_or_else(missing)
    }
}

impl Source for Parameters {
    fn matrix(&self, name: &str) -> Result<Matrix<'_>> {
        Ok(Matrix::F32(&self.get(name)?.value))
    }
    fn kept(&self, name: &str) -> Result<Arc<Vec<f32>>> {
        Ok(self.get(name)?.value.clone())
    }
}

fn embedding(config: &Config, prefix: &str, source: &dyn Source) -> Result<Embedding> {
    Ok(Embedding {
        hidden: config.hidden_size,
        eps: config.layer_norm_eps,
        dropout: config.hidden_dropout_prob,
        rotary: config.modern.map(|_| config.max_position_embeddings),
        weights: EMBEDDING_NAMES.try_map(|name| source.kept(&format!("{prefix}{name}")))?,
    })
}

/// An encoder's arrays, packed for `dtype` on a device.
///
/// # Errors
/// A missing array; `SVERKA_CPU` names a unit that this CPU does not have; a device that is not there, or does not compute in `dtype`.
pub fn encoder(config: &Config, prefix: &str, source: &dyn Source, dtype: Dtype, device: Device) -> Result<Encoder> {
    let arrays = |layer: usize| {
        let name = |name: &str| layer_array(prefix, layer, name);
        LAYER_NAMES.try_map(|matrix| source.matrix(&name(matrix)), |vector| source.vector(&name(vector)))
    };
    let layers: Vec<LayerArrays> = (0..config.num_hidden_layers).map(arrays).collect::<Result<_>>()?;
    let bias = match config.relative_attention_num_buckets {
        Some(_) => Some(config.relative(&source.kept(&format!("{prefix}{RELATIVE}"))?)),
        None => None,
    };
    let vector = |name: &str| source.vector(&format!("{prefix}{name}"));
    let final_norm = match config.modern {
        Some(_) => Some(Norm::new(vector(FINAL_NORM.gamma)?, vector(FINAL_NORM.beta)?)),
        None => None,
    };
    let (globals, embedding) = (config.globals(prefix, source)?, embedding(config, prefix, source)?);
    Encoder::new(device, dtype, config.shape(), embedding, &layers, bias, &globals, final_norm)
}

/// An encoder's arrays for one training graph. It shares the parameters' values while it lives.
///
/// # Errors
/// A missing array.
pub fn graph(config: &Config, prefix: &str, parameters: &Parameters, dtype: Dtype) -> Result<Graph> {
    let param = |name: &str| -> Result<ParamRef> {
        let p = parameters.get(name)?;
        Ok(ParamRef { value: p.value.clone(), grad: p.grad.clone() })
    };
    let layer = |layer: usize| {
        let param = |name: &str| param(&layer_array(prefix, layer, name));
        LAYER_NAMES.try_map(param, param)
    };
    let final_norm = match config.modern {
        Some(_) => {
            let [gamma, beta] = [FINAL_NORM.gamma, FINAL_NORM.beta].map(|name| param(&format!("{prefix}{name}")));
            Some(Norm { gamma: gamma?, beta: beta? })
        }
        None => None,
    };
    let bias = match config.relative_attention_num_buckets {
        Some(_) => {
            let p = parameters.get(&format!("{prefix}{RELATIVE}"))?;
            let param = ParamRef { value: p.value.clone(), grad: p.grad.clone() };
            Some(RelativeParam { bias: config.relative(&p.value), param })
        }
        None => None,
    };
    let global = |(layer, global): (usize, Arc<Global>)| {
        let grads = GLOBAL_NAMES.try_map(|name| {
            let parameter = parameters.get(&layer_array(prefix, layer, name))?;
            Ok::<_, Error>(parameter.grad.clone())
        })?;
        Ok(GlobalParam { global, grads })
    };
    Ok(Graph {
        globals: config.globals(prefix, parameters)?.into_iter().enumerate().map(global).collect::<Result<_>>()?,
        bias,
        final_norm,
        embedding: embedding(config, prefix, parameters)?,
        grads: EMBEDDING_NAMES
            .try_map(|name| Ok::<_, Error>(parameters.get(&format!("{prefix}{name}"))?.grad.clone()))?,
        layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
        shape: config.shape(),
        dtype,
    })
}
