//! Small random models for tests, of this library and of what is built on it. No part of the library's interface.

use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::bundle::{self, Checkpoint, Contents, Manifest, Purpose};
use crate::models::bert::{Config, Family};
use crate::models::{Model, net};
use crate::nn::weights::{Storage, write_safetensors};
use crate::nn::{Array, Weights};
use crate::{Error, Result};

/// A BERT of two layers, 32 wide, with two heads and two segments.
pub fn config(vocab_size: usize) -> Config {
    Config {
        vocab_size,
        hidden_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 64,
        max_position_embeddings: 128,
        type_vocab_size: 2,
        layer_norm_eps: 1e-12,
        hidden_dropout_prob: 0.1,
        attention_probs_dropout_prob: 0.1,
        hidden_act: "gelu".into(),
        initializer_range: 0.02,
        pad_token_id: 0,
        family: Family::Bert,
        relative_attention_num_buckets: None,
        attention_window: None,
        hashed_attention: None,
        modern: None,
    }
}

/// Every array of a model, uniform within `spread` of 0, or of 1 for the weights of a LayerNorm.
pub fn weights(config: &Config, model: &dyn Model, spread: f32, seed: u64) -> Weights {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let arrays = net::arrays(&model.modules(), config, &Weights::default()).into_iter().map(|(name, shape)| {
        let center = if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 };
        let data = (0..shape.iter().product()).map(|_| center + rng.random_range(-spread..spread)).collect();
        (name, Array::new(shape, data))
    });
    Weights(arrays.collect())
}

/// Writes `config.json` and `model.safetensors` as Hugging Face names them; the tokenizer's files are the caller's.
///
/// # Errors
/// A disk that refuses.
pub fn write_checkpoint(dir: &Path, config: &Config, weights: &Weights) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
    let value =
        serde_json::to_value(config).map_err(|e| Error::Internal { op: "write config", what: e.to_string() })?;
    let path = dir.join("config.json");
    std::fs::write(&path, value.to_string()).map_err(Error::io("write", &path))?;
    write_safetensors(&dir.join("model.safetensors"), weights, Storage::F32)
}

/// Writes a bundle over the checkpoint in `from`, whose tokenizer it takes: what its architecture wants and the checkpoint lacks is drawn.
///
/// # Errors
/// A checkpoint that is none; a disk that refuses.
pub fn write_bundle(out: &Path, from: &Path, manifest: &Manifest) -> Result<()> {
    let model = manifest.architecture.model();
    let mut checkpoint = Checkpoint::read(from)?;
    checkpoint.select(&*model, Purpose::Start)?;
    let Checkpoint { mut config, mut weights, .. } = checkpoint;
    let rows = manifest.rendering.segment_count(model.reads().texts()).max(config.type_vocab_size);
    bundle::grow_segments(&mut config, &mut weights, rows, model.reads())?;
    net::complete(&model.modules(), &config, &mut weights, 1);
    let contents =
        Contents { manifest, config: &config, weights: &weights, tokenizer_from: from, storage: Storage::F32 };
    bundle::save(out, &contents, false)
}
