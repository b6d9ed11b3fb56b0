//! An encoder's weights for int8, fitted to a sample of its own data (`nn::int8` says how).
//!
//! Layer by layer: the sample runs through the f32 encoder, each linear layer's inputs are kept, and its weights become the
//! whole numbers whose outputs are nearest to f32's. What comes out are int8 arrays of the same names. Labels are not looked at.
//! Calibration and threshold stay those of f32, so that a loss is the weights' doing alone; `sverka calibrate` fits them again.
//!
//! Embeddings and the pooler are stored as int8 with the plain step of each row, and computed in f32. Refused: training with
//! rounding in the graph (epochs, where a sample takes seconds).

use crate::models::bert::{self, Config, GLOBAL_NAMES, LAYER_NAMES, layer_array};
use crate::nn::int8::{Fitted, Sample, fit, smooth};
use crate::nn::layer_weights::Affine;
use crate::nn::{Array, Device, Dtype, Weights};
use crate::text::Batch;
use crate::{Error, Result};

/// How near int8 outputs are to f32's, for one matrix on the sample.
#[derive(Debug, Clone)]
pub struct Fit {
    /// The matrix.
    pub name: String,
    /// Squared error of its outputs in shares of their squares, without a sample: each row's step from its largest weight.
    pub plain: f64,
    /// The same, fitted.
    pub fitted: f64,
}

/// Fits the matrices of the encoder with this prefix to the sample, in place. `first_only`: of the last states those of first tokens are
/// looked at, as a classifier does.
///
/// # Errors
/// An empty sample, or one that was encoded for another model; an array that is missing.
pub fn quantize(
    config: &Config,
    prefix: &str,
    weights: &mut Weights,
    sample: &Batch,
    first_only: bool,
) -> Result<Vec<Fit>> {
    if sample.is_empty() {
        return Err(Error::setting("sample", 0, "give at least one pair to fit int8 on"));
    }
    let encoder = bert::encoder(config, prefix, &*weights, Dtype::F32, Device::Cpu)?;
    let Some(encoder) = encoder.on_cpu() else { unreachable!("it was made for the CPU") };
    let mut passing = Sample::new(encoder, sample)?;
    let (h, f) = (config.hidden_size, config.intermediate_size);
    let mut fits = Vec::new();
    for (i, layer) in encoder.layers.iter().enumerate() {
        let inputs = passing.through(layer, first_only && i + 1 == encoder.layers.len());
        let mut model = Layer { weights, prefix, layer: i, fits: &mut fits };
        // before the value projection is rounded: its rows take the factors
        let out = model.values(LAYER_NAMES.attention_output.weight)?;
        let (fitted, factors) = smooth(&out, h, &inputs.context);
        model.divide_rows(LAYER_NAMES.value, &factors)?;
        if config.attention_window.is_some() {
            model.divide_rows(GLOBAL_NAMES.value, &factors)?;
        }
        model.put(LAYER_NAMES.attention_output.weight, fitted)?;
        for (linear, k, x) in [
            (LAYER_NAMES.query, h, &inputs.asking),
            (LAYER_NAMES.key, h, &inputs.states),
            (LAYER_NAMES.value, h, &inputs.states),
            (LAYER_NAMES.up, h, &inputs.normed),
            (LAYER_NAMES.down, f, &inputs.inner),
        ] {
            let fitted = fit(&model.values(linear.weight)?, k, x);
            model.put(linear.weight, fitted)?;
        }
    }
    Ok(fits)
}

/// A layer's arrays by their short names.
struct Layer<'a> {
    weights: &'a mut Weights,
    prefix: &'a str,
    layer: usize,
    fits: &'a mut Vec<Fit>,
}

impl Layer<'_> {
    fn array(&mut self, name: &str) -> Result<&mut Array> {
        let name = layer_array(self.prefix, self.layer, name);
        match self.weights.0.get_mut(&name) {
            Some(array) => Ok(array),
            None => Err(Error::Internal { op: "quantize", what: format!("no array {name}") }),
        }
    }
    fn values(&mut self, name: &str) -> Result<Vec<f32>> {
        Ok(self.array(name)?.values().into_owned())
    }
    /// Divides the outputs of a linear layer by `factors`, one per output.
    fn divide_rows(&mut self, linear: Affine<&str>, factors: &[f32]) -> Result<()> {
        let weight = self.array(linear.weight)?.values_mut();
        let columns = weight.len() / factors.len();
        for (row, factor) in weight.chunks_exact_mut(columns).zip(factors) {
            row.iter_mut().for_each(|w| *w /= factor);
        }
        let bias = self.array(linear.bias)?.values_mut();
        bias.iter_mut().zip(factors).for_each(|(b, factor)| *b /= factor);
        Ok(())
    }
    fn put(&mut self, name: &str, fitted: Fitted) -> Result<()> {
        *self.array(name)? = fitted.matrix.into();
        let name = layer_array(self.prefix, self.layer, name);
        log::debug!("{name}: squared error {:.2e}, fitted {:.2e}", fitted.plain, fitted.error);
        self.fits.push(Fit { name, plain: fitted.plain, fitted: fitted.error });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::models::cross_encoder::{CrossEncoder, logits as cross_encoder_logits};
    use crate::models::{Mode, Model as _, Net};
    use crate::nn::weights::{Storage, read_safetensors, write_safetensors};
    use crate::text::Encoding;

    fn config() -> Config {
        let json = r#"{"vocab_size":50,"hidden_size":32,"num_hidden_layers":3,"num_attention_heads":2,"intermediate_size":64,
            "max_position_embeddings":100}"#;
        serde_json::from_str(json).unwrap()
    }

    /// Heavy-tailed matrices, and values of which a few channels tower above the others.
    fn weights() -> Weights {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let head = [("bert.pooler.dense", 32), ("classifier", 1)]
            .into_iter()
            .flat_map(|(name, n)| [(format!("{name}.weight"), vec![n, 32]), (format!("{name}.bias"), vec![n])]);
        let arrays = config().arrays("bert.").into_iter().chain(head).map(|(name, shape)| {
            let centre = if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 };
            let mut draw = || centre + rng.random_range(-1.0..1.0f32).powi(3);
            let mut data: Vec<f32> = (0..shape.iter().product()).map(|_| draw()).collect();
            if name.ends_with("value.weight") {
                data.chunks_mut(32).step_by(11).for_each(|row| row.iter_mut().for_each(|w| *w *= 20.0));
            }
            if name.ends_with("attention.output.dense.weight") {
                data.chunks_mut(32).flat_map(|row| row.iter_mut().step_by(11)).for_each(|w| *w /= 20.0);
            }
            (name, Array::new(shape, data))
        });
        Weights(arrays.collect())
    }

    fn batch(sequences: u64, seed: u64) -> Batch {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let mut encoding = |t: u64| Encoding {
            ids: (0..t).map(|_| rng.random_range(0..50)).collect(),
            segments: (0..t).map(|i| u32::from(2 * i > t)).collect(),
            ..Encoding::default()
        };
        (0..sequences).map(|i| encoding(3 + i * 7 % 60)).collect::<Vec<_>>().iter().collect()
    }

    fn logits(weights: &Weights, dtype: Dtype, batch: &Batch) -> Vec<f32> {
        let net = Net::serving(config(), &CrossEncoder.modules(), weights, dtype, Device::Cpu).unwrap();
        cross_encoder_logits(&net.pass(Mode::Infer), batch).unwrap().to_vec1().unwrap()
    }

    fn distance(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt()
    }

    #[test]
    fn fitted_weights_score_nearer_to_f32_on_texts_outside_the_sample() {
        let (mut fitted, held_out) = (weights(), batch(200, 5));
        let fits = quantize(&config(), "bert.", &mut fitted, &batch(60, 4), true).unwrap();
        assert_eq!(fits.len(), 3 * 6);
        for fit in &fits {
            assert!(fit.fitted <= fit.plain && fit.plain > 0.0 && fit.plain < 0.1, "{fit:?}");
        }
        let folded = fits.iter().filter(|f| f.name.ends_with("attention.output.dense.weight"));
        assert!(folded.into_iter().all(|f| f.fitted < 0.5 * f.plain), "{fits:?}");
        let exact = logits(&weights(), Dtype::F32, &held_out);
        let plain = distance(&logits(&weights(), Dtype::Int8, &held_out), &exact);
        let found = distance(&logits(&fitted, Dtype::Int8, &held_out), &exact);
        assert!(found < 0.8 * plain, "{found} against {plain}");
    }

    #[test]
    fn the_stored_artefact_scores_the_same_bits() {
        let (mut fitted, batch) = (weights(), batch(30, 6));
        quantize(&config(), "bert.", &mut fitted, &batch, true).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        write_safetensors(&path, &fitted, Storage::Int8).unwrap();
        let read = read_safetensors(&path).unwrap();
        for (name, array) in &fitted.0 {
            // tables and the pooler are rounded by storing them
            if name.contains("encoder") {
                assert_eq!(array, &read.0[name], "{name}");
            }
        }
        let mut tables = read.clone();
        tables.0.extend(fitted.0.into_iter().filter(|(name, _)| name.contains("encoder")));
        let bits = |w: &Weights| logits(w, Dtype::Int8, &batch).iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read), bits(&tables));
        let again = dir.path().join("again.safetensors");
        write_safetensors(&again, &read, Storage::Int8).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), std::fs::read(again).unwrap());
    }

    #[test]
    fn folding_leaves_every_bit_of_the_scores() {
        let (mut folded, batch) = (weights(), batch(40, 7));
        let factors: Vec<f32> = (0..32).map(|i| ((i % 9) as f32 - 4.0).exp2()).collect();
        for layer in 0..3 {
            let mut model = Layer { weights: &mut folded, prefix: "bert.", layer, fits: &mut Vec::new() };
            model.divide_rows(LAYER_NAMES.value, &factors).unwrap();
            let out = model.array(LAYER_NAMES.attention_output.weight).unwrap().values_mut();
            out.iter_mut().zip(factors.iter().cycle()).for_each(|(w, factor)| *w *= factor);
        }
        assert_ne!(folded.0, weights().0);
        for dtype in [Dtype::F32, Dtype::Bf16] {
            assert_eq!(logits(&folded, dtype, &batch), logits(&weights(), dtype, &batch), "{dtype:?}");
        }
    }

    /// ModernBERT: norms before the blocks, a gated block, one stored matrix for queries, keys and values.
    #[test]
    fn a_modern_encoder_is_fitted_and_its_artefact_scores_the_same_bits() {
        assert_fitted(
            r#"{"model_type":"modernbert","vocab_size":50,"hidden_size":32,"num_hidden_layers":4,"num_attention_heads":2,
            "intermediate_size":48,"max_position_embeddings":100,"global_rope_theta":160000.0,"local_rope_theta":10000.0,
            "local_attention":8,"global_attn_every_n_layers":3,"classifier_pooling":"cls","hidden_dropout_prob":0.0,
            "attention_probs_dropout_prob":0.0,"layer_norm_eps":1e-5}"#,
        );
    }

    /// Longformer: the values of the global token meet the same output matrix as the others.
    #[test]
    fn a_longformer_is_fitted_and_its_artefact_scores_the_same_bits() {
        assert_fitted(
            r#"{"model_type":"longformer","vocab_size":50,"hidden_size":32,"num_hidden_layers":4,"num_attention_heads":2,
            "intermediate_size":48,"max_position_embeddings":100,"attention_window":[4,8,4,8],"hidden_dropout_prob":0.0,
            "attention_probs_dropout_prob":0.0,"layer_norm_eps":1e-5}"#,
        );
    }

    /// Of random weights: fitting lowers each matrix's error and that of the scores.
    fn assert_fitted(json: &str) {
        let config: Config = serde_json::from_str(json).unwrap();
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(9);
        let arrays = crate::models::net::arrays(&CrossEncoder.modules(), &config, &Weights::default());
        let array = |(name, shape): (String, Vec<usize>)| {
            let is_norm = name.to_lowercase().ends_with("norm.weight");
            let n = shape.iter().product();
            let mut draw = || f32::from(u8::from(is_norm)) + 0.4 * rng.random_range(-1.0..1.0f32).powi(3);
            let data = if name.ends_with(".bias") { vec![0.0; n] } else { (0..n).map(|_| draw()).collect() };
            (name, Array::new(shape, data))
        };
        let whole = Weights(arrays.into_iter().map(array).collect());
        let scores = |weights: &Weights, dtype: Dtype, batch: &Batch| -> Vec<f32> {
            let net = Net::serving(config.clone(), &CrossEncoder.modules(), weights, dtype, Device::Cpu).unwrap();
            cross_encoder_logits(&net.pass(Mode::Infer), batch).unwrap().to_vec1().unwrap()
        };
        let (mut fitted, held_out) = (whole.clone(), batch(200, 5));
        let fits = quantize(&config, "bert.", &mut fitted, &batch(60, 4), true).unwrap();
        assert_eq!(fits.len(), 4 * 6);
        assert!(fits.iter().all(|f| f.fitted <= f.plain && f.plain > 0.0 && f.plain < 0.1), "{fits:?}");
        let exact = scores(&whole, Dtype::F32, &held_out);
        let plain = distance(&scores(&whole, Dtype::Int8, &held_out), &exact);
        let found = distance(&scores(&fitted, Dtype::Int8, &held_out), &exact);
        assert!(found < plain, "{found} against {plain}");
    }

    #[test]
    fn a_sample_must_be_there_and_of_this_model() {
        let refused = |batch: &Batch| quantize(&config(), "bert.", &mut weights(), batch, true).unwrap_err();
        assert!(refused(&Batch::default()).to_string().contains("at least one pair"));
        let mut other = batch(3, 8);
        other.ids[5] = 50;
        assert!(refused(&other).is_user_error() && refused(&other).to_string().contains("another model"));
    }
}
