//! Cross-encoder (mono): query and document meet at layer 0 (Nogueira and Cho, arXiv 1901.04085).
//!
//! ```text
//! [CLS] query [SEP] document [SEP]  ->  all layers  ->  [CLS]  ->  tanh pooler  ->  one logit
//! ```
//!
//! The last layer computes the first token's row alone. Refused: mean pooling (no gain on product pairs, and the published heads
//! expect [CLS]).

use std::sync::{Arc, Mutex};

use candle_core::{D, Tensor};
use rand::{RngExt, SeedableRng};

use super::bert::{self, Config, POOLER};
use super::{Mode, Network};
use crate::nn::device::Pooled;
use crate::nn::encoder::Encoder;
use crate::nn::kernels::{self, Unit};
use crate::nn::layer_grad::Pool;
use crate::nn::linear::Linear;
use crate::nn::{Array, Device, Dtype, Parameters, Weights};
use crate::text::Batch;
use crate::{Error, Result};

const CLASSIFIER: [&str; 2] = ["classifier.weight", "classifier.bias"];

/// The arrays of the head, `[h, h] [h] [classes, h] [classes]`; missing ones are drawn from `seed`.
fn complete(config: &Config, weights: &mut Weights, seed: u64) {
    let h = config.hidden_size;
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut normal = |n: usize| -> Vec<f32> {
        let mut unit = || -> f32 { rng.random::<f32>().max(1e-7) };
        let gauss = |a: f32, b: f32| (-2.0 * a.ln()).sqrt() * (std::f32::consts::TAU * b).cos();
        (0..n).map(|_| gauss(unit(), unit()) * config.initializer_range).collect()
    };
    for (name, shape) in [(POOLER[0], vec![h, h]), (CLASSIFIER[0], vec![1, h])] {
        let drawn = normal(shape.iter().product());
        weights.0.entry(name.into()).or_insert(Array { shape, data: drawn });
    }
    let classes = weights.0[CLASSIFIER[0]].shape[0];
    for (name, n) in [(POOLER[1], h), (CLASSIFIER[1], classes)] {
        weights.0.entry(name.into()).or_insert(Array { shape: vec![n], data: vec![0.0; n] });
    }
}

fn check(config: &Config, weights: &Weights) -> Result<()> {
    for (name, shape) in config.arrays() {
        let got = weights.0.get(&name).map(|a| a.shape.clone());
        if got.as_ref() != Some(&shape) {
            let got = got.map_or("nothing".into(), |s| format!("{name} {s:?}"));
            return Err(Error::Shape { op: "cross_encoder", expected: format!("{name} {shape:?}"), got });
        }
    }
    Ok(())
}

/// The network that training sees.
pub struct CrossEncoder {
    config: Config,
    dtype: Dtype,
    parameters: Parameters,
    /// Memory of training steps.
    pool: Arc<Pool>,
    /// Packed weights for scoring, made when it is asked for and dropped when parameters change.
    scoring: Mutex<Option<Arc<Encoder>>>,
}

impl CrossEncoder {
    /// From weights named as `BertForSequenceClassification` names them (`bert.*`, `classifier.*`); a head that is not
    /// there is drawn from `seed`. `dtype`: F32 or Bf16.
    ///
    /// # Errors
    /// A missing array or another shape than the config says; int8; `SVERKA_CPU` names a unit that this CPU has not.
    pub fn new(config: Config, mut weights: Weights, dtype: Dtype, seed: u64) -> Result<Self> {
        if dtype == Dtype::Int8 {
            return Err(Error::setting("dtype", "int8", "training runs in f32 or bf16; int8 is for scoring"));
        }
        check(&config, &weights)?;
        let heads = [POOLER, CLASSIFIER].concat();
        let names: std::collections::BTreeSet<String> = config.arrays().into_iter().map(|(name, _)| name).collect();
        weights.0.retain(|name, _| names.contains(name) || heads.contains(&name.as_str()));
        complete(&config, &mut weights, seed);
        Unit::choose()?;
        let mut parameters = Parameters::new(weights);
        parameters.by_rows(bert::WORDS)?;
        Ok(CrossEncoder { config, dtype, parameters, pool: Arc::default(), scoring: Mutex::default() })
    }
    /// The encoder's settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Packed weights; steps and scoring take turns, and so do their buffers.
    fn scoring(&self) -> Result<Arc<Encoder>> {
        let mut scoring = self.scoring.lock().expect("no panic holds the packed weights");
        if let Some(encoder) = &*scoring {
            return Ok(encoder.clone());
        }
        self.pool.clear();
        let encoder = Arc::new(bert::encoder(&self.config, &self.parameters, self.dtype)?);
        Ok(scoring.insert(encoder).clone())
    }

    /// `[b, h]` to `[b]`: the pooler and the classifier; two classes give the difference of their logits.
    fn head(&self, first: &Tensor, mode: Mode) -> Result<Tensor> {
        let p = &self.parameters;
        let pooled = first.matmul(&p.var(POOLER[0])?.t()?)?.broadcast_add(&p.var(POOLER[1])?)?.tanh()?;
        let pooled = match mode {
            Mode::Train { seed } => {
                let mut mask = vec![1f32; pooled.elem_count()];
                kernels::dropout(&mut mask, seed ^ 0x5bd1_e995_0000_0005, 0, self.config.hidden_dropout_prob);
                (&pooled * Tensor::from_vec(mask, pooled.shape(), pooled.device())?)?
            }
            Mode::Infer => pooled,
        };
        let logits = pooled.matmul(&p.var(CLASSIFIER[0])?.t()?)?.broadcast_add(&p.var(CLASSIFIER[1])?)?;
        match logits.dim(D::Minus1)? {
            1 => Ok(logits.squeeze(1)?),
            2 => Ok((logits.narrow(1, 1, 1)? - logits.narrow(1, 0, 1)?)?.squeeze(1)?),
            n => Err(Error::Shape { op: "cross_encoder", expected: "1 or 2 classes".into(), got: n.to_string() }),
        }
    }
}

impl Network for CrossEncoder {
    fn forward(&self, batch: &Batch, mode: Mode) -> Result<Tensor> {
        match mode {
            Mode::Train { seed } => {
                let graph = bert::graph(&self.config, &self.parameters, self.dtype)?;
                let states = graph.states(batch, true, seed, &self.pool)?;
                self.head(&states[states.len() - 1], mode)
            }
            Mode::Infer => {
                let encoder = self.scoring()?;
                let shape = (batch.len(), encoder.hidden());
                let first = Tensor::from_vec(encoder.encode(batch, true)?, shape, &candle_core::Device::Cpu)?;
                let logits = self.head(&first, mode)?.detach();
                self.parameters.forget();
                Ok(logits)
            }
        }
    }
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }
    fn parameters_mut(&mut self) -> &mut Parameters {
        self.scoring = Mutex::default();
        &mut self.parameters
    }
}

/// The scorer that the rest of the world sees: packed weights only.
pub struct Scorer {
    body: Pooled,
    classifier: Linear,
}

impl Scorer {
    /// Packs weights for the device, and on a CPU for the unit at hand.
    ///
    /// # Errors
    /// A missing array or another shape than the config says; a head of more than two classes; what [`bert::pooled`] refuses.
    pub fn new(config: Config, weights: &Weights, dtype: Dtype, device: Device) -> Result<Self> {
        check(&config, weights)?;
        let h = config.hidden_size;
        let [weight, bias] =
            [bert::Source::values(weights, CLASSIFIER[0])?, bert::Source::values(weights, CLASSIFIER[1])?];
        if weight.len() != bias.len() * h || !(1..=2).contains(&bias.len()) {
            let expected = format!("{} of 1 or 2 classes, [n, {h}]", CLASSIFIER[0]);
            let got = format!("{} values and {} of its bias", weight.len(), bias.len());
            return Err(Error::Shape { op: "cross_encoder", expected, got });
        }
        let mut classifier = Linear::default();
        classifier.pack(Dtype::F32, &[weight], &[bias]);
        Ok(Scorer { body: bert::pooled(&config, weights, dtype, device)?, classifier })
    }
    /// One logit per sequence, `[b]`; on a CPU the same bits whatever else is in the batch.
    ///
    /// # Errors
    /// Ids, segments or lengths past the model's tables; a sequence without a token; what a device refuses.
    pub fn logits(&self, batch: &Batch) -> Result<Vec<f32>> {
        let logits = self.classifier.rows(&self.body.rows(batch)?);
        Ok(match self.classifier.n {
            2 => logits.chunks_exact(2).map(|two| two[1] - two[0]).collect(),
            _ => logits,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Values;
    use crate::text::Encoding;

    fn config(dropout: f32) -> Config {
        let json = format!(
            r#"{{"vocab_size":50,"hidden_size":30,"num_hidden_layers":2,"num_attention_heads":3,"intermediate_size":37,
            "max_position_embeddings":300,"type_vocab_size":3,"initializer_range":0.4,
            "hidden_dropout_prob":{dropout},"attention_probs_dropout_prob":{dropout}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    fn weights(config: &Config) -> Weights {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let arrays = config.arrays().into_iter().map(|(name, shape)| {
            let centre = if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 };
            let data = (0..shape.iter().product()).map(|_| centre + rng.random_range(-0.4..0.4)).collect();
            (name, Array { shape, data })
        });
        Weights(arrays.collect())
    }

    fn batch(lengths: &[u32]) -> Batch {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(4);
        let encodings: Vec<Encoding> = lengths
            .iter()
            .map(|&t| Encoding {
                ids: (0..t).map(|_| rng.random_range(0..50)).collect(),
                segments: (0..t).map(|i| i * 3 / t).collect(),
                ..Encoding::default()
            })
            .collect();
        encodings.iter().collect()
    }

    fn loss(net: &CrossEncoder, batch: &Batch) -> Tensor {
        let logits = net.forward(batch, Mode::Train { seed: 9 }).unwrap();
        let wanted: Vec<f32> = (0..batch.len()).map(|i| i as f32 - 1.0).collect();
        let wanted = Tensor::from_vec(wanted, batch.len(), &candle_core::Device::Cpu).unwrap();
        (logits - wanted).unwrap().sqr().unwrap().sum_all().unwrap()
    }

    #[test]
    fn gradients_equal_finite_differences() {
        for dropout in [0.0, 0.2] {
            let config = config(dropout);
            let mut net = CrossEncoder::new(config.clone(), weights(&config), Dtype::F32, 5).unwrap();
            // sequences of one token, of more than one block of queries, and in several groups
            let batch = batch(&[7, 1, 150, 20, 131]);
            let store = loss(&net, &batch).backward().unwrap();
            net.collect(&store).unwrap();
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(6);
            for index in 0..net.parameters().list.len() {
                let name = net.parameters().list[index].name.clone();
                let grad = net.parameters().list[index].grad.lock().unwrap().to_vec();
                // along the gradient itself, mixed with a random direction: every value takes part
                let mut along: Vec<f32> = grad.iter().map(|g| g + 0.1 * rng.random_range(-1.0..1.0f32)).collect();
                let norm = along.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32;
                along.iter_mut().for_each(|x| *x /= norm);
                let analytic: f64 = grad.iter().zip(&along).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
                let step = 2e-3f32;
                let mut at = |by: f32| -> f64 {
                    let moved = |net: &mut CrossEncoder, by: f32| {
                        let values = Arc::make_mut(&mut net.parameters_mut().list[index].value);
                        values.iter_mut().zip(&along).for_each(|(x, d)| *x += by * d);
                    };
                    moved(&mut net, by);
                    let value = f64::from(loss(&net, &batch).to_scalar::<f32>().unwrap());
                    net.parameters().forget();
                    moved(&mut net, -by);
                    value
                };
                let numeric = (at(step) - at(-step)) / (2.0 * f64::from(step));
                let error = (numeric - analytic).abs();
                assert!(
                    error <= 0.02 * analytic.abs() + 0.02,
                    "{name}, dropout {dropout}: {numeric} against {analytic}"
                );
            }
        }
    }

    #[test]
    fn gradients_of_passes_add_up_until_they_are_forgotten() {
        let config = config(0.0);
        let net = CrossEncoder::new(config.clone(), weights(&config), Dtype::F32, 5).unwrap();
        let batches = [batch(&[7, 1, 150]), batch(&[20, 131])];
        let sum_of = |batches: &[Batch]| {
            net.parameters().zero_grad();
            let there = |p: &crate::nn::Parameter| matches!(*p.grad.lock().unwrap(), Values::Whole(_));
            assert!(!net.parameters().list.iter().any(there), "no gradient takes memory before its pass");
            for batch in batches {
                net.collect(&loss(&net, batch).backward().unwrap()).unwrap();
            }
            net.parameters().list.iter().flat_map(|p| p.grad.lock().unwrap().to_vec()).collect::<Vec<_>>()
        };
        let (one, other, both) = (sum_of(&batches[..1]), sum_of(&batches[1..]), sum_of(&batches));
        assert!(both.iter().any(|g| g.abs() > 0.1));
        for ((a, b), both) in one.iter().zip(&other).zip(&both) {
            assert!((a + b - both).abs() <= 1e-4 * (a.abs() + b.abs()).max(1.0), "{a} + {b} = {both}");
        }
    }

    #[test]
    fn bf16_gradients_point_the_same_way() {
        // heads of 10 values, and of 15, which are no whole units of bf16
        for heads in [3, 2] {
            let config = Config { num_attention_heads: heads, ..config(0.1) };
            let (a, b) = [Dtype::F32, Dtype::Bf16]
                .map(|dtype| {
                    let net = CrossEncoder::new(config.clone(), weights(&config), dtype, 5).unwrap();
                    let store = loss(&net, &batch(&[7, 1, 150, 20])).backward().unwrap();
                    net.collect(&store).unwrap();
                    net.parameters().list.iter().map(|p| p.grad.lock().unwrap().to_vec()).collect::<Vec<_>>().concat()
                })
                .into();
            let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
            let cosine = dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt();
            assert!(cosine > 0.999, "{heads} heads: {cosine}");
        }
    }

    #[test]
    fn heads_of_an_odd_width_have_the_same_scores_in_every_precision() {
        let config = Config { num_attention_heads: 2, ..config(0.0) };
        let net = CrossEncoder::new(config.clone(), weights(&config), Dtype::F32, 5).unwrap();
        let batch = batch(&[7, 1, 150, 20]);
        let [f32, bf16, int8] = [Dtype::F32, Dtype::Bf16, Dtype::Int8].map(|dtype| {
            Scorer::new(config.clone(), &net.parameters().weights(), dtype, Device::Cpu)
                .unwrap()
                .logits(&batch)
                .unwrap()
        });
        for ((f32, bf16), int8) in f32.iter().zip(&bf16).zip(&int8) {
            assert!((f32 - bf16).abs() < 0.03 && (f32 - int8).abs() < 0.06, "{f32} {bf16} {int8}");
        }
    }

    #[test]
    fn int8_does_not_train() {
        let config = config(0.0);
        let refused = CrossEncoder::new(config.clone(), weights(&config), Dtype::Int8, 5).err().unwrap();
        assert!(refused.is_user_error() && refused.to_string().contains("f32 or bf16"), "{refused}");
    }

    #[test]
    fn no_sequences_have_no_scores_and_an_empty_one_is_an_error() {
        let config = config(0.0);
        let net = CrossEncoder::new(config.clone(), weights(&config), Dtype::F32, 5).unwrap();
        for dtype in [Dtype::F32, Dtype::Bf16, Dtype::Int8] {
            let scorer = Scorer::new(config.clone(), &net.parameters().weights(), dtype, Device::Cpu).unwrap();
            assert!(scorer.logits(&Batch::default()).unwrap().is_empty());
            let mut batch = batch(&[3]);
            batch.push(&Encoding::default());
            assert!(scorer.logits(&batch).unwrap_err().to_string().contains("a sequence without a token"));
            let long = self::batch(&[301]);
            assert!(
                scorer.logits(&long).unwrap_err().to_string().contains("301: sequence of tokens past the table of 300")
            );
        }
    }

    #[test]
    fn training_and_serving_agree() {
        let config = config(0.0);
        let net = CrossEncoder::new(config.clone(), weights(&config), Dtype::F32, 5).unwrap();
        let batch = batch(&[5, 64, 1, 200]);
        let train = net.forward(&batch, Mode::Train { seed: 1 }).unwrap().to_vec1::<f32>().unwrap();
        net.parameters().forget();
        let infer = net.forward(&batch, Mode::Infer).unwrap().to_vec1::<f32>().unwrap();
        let serve =
            Scorer::new(config, &net.parameters().weights(), Dtype::F32, Device::Cpu).unwrap().logits(&batch).unwrap();
        for ((a, b), c) in train.iter().zip(&infer).zip(&serve) {
            assert!((a - b).abs() < 1e-5 && (a - c).abs() < 1e-5, "{a} {b} {c}");
        }
    }

    /// 1,000 random batches in every precision on every unit: each sequence has one score per precision, whatever stands
    /// around it, on 1 or 3 threads, and the units agree: tiles, where all but f32 has products of bf16, with themselves.
    #[test]
    fn one_score_whatever_the_batch() {
        let config = config(0.0);
        let net = CrossEncoder::new(config.clone(), weights(&config), Dtype::F32, 5).unwrap();
        let weights = net.parameters().weights();
        let lengths: Vec<u32> = (0..40).map(|i| [3, 17, 32, 64, 1, 90, 150][i % 7] + i as u32 % 3).collect();
        let all = batch(&lengths);
        let pick = |i: usize| {
            let (a, b) = (all.offsets[i] as usize, all.offsets[i + 1] as usize);
            Encoding { ids: all.ids[a..b].to_vec(), segments: all.segments[a..b].to_vec(), ..Encoding::default() }
        };
        for dtype in [Dtype::F32, Dtype::Bf16, Dtype::Int8] {
            let scorer = Scorer::new(config.clone(), &weights, dtype, Device::Cpu).unwrap();
            let one = |i: usize| scorer.logits(&[pick(i)].iter().collect()).unwrap()[0].to_bits();
            let every = || (0..40).map(one).collect::<Vec<u32>>();
            let best = every();
            for unit in kernels::units_to_test() {
                let forced = move |_| kernels::force(Some(unit));
                let pools = [1, 3]
                    .map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).start_handler(forced).build().unwrap());
                let tiles = dtype != Dtype::F32 && unit.lanes() != unit;
                let alone = if tiles { pools[0].install(every) } else { best.clone() };
                let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
                for round in 0..1000 {
                    let chosen: Vec<usize> = (0..rng.random_range(1..8)).map(|_| rng.random_range(0..40)).collect();
                    let batch: Batch = chosen.iter().map(|&i| pick(i)).collect::<Vec<_>>().iter().collect();
                    let scores = pools[round % 2].install(|| scorer.logits(&batch)).unwrap();
                    for (i, score) in chosen.iter().zip(scores) {
                        assert_eq!(score.to_bits(), alone[*i], "{unit:?} {dtype:?}, sequence {i} in {chosen:?}");
                    }
                }
            }
        }
    }
}
