//! The encoder in training and serving, through the cross-encoder and the two towers.

use std::sync::Arc;

use candle_core::Tensor;
use rand::{RngExt, SeedableRng};

use super::bert::Config;
use super::cross_encoder::{CrossEncoder, logits};
use super::{Example, LossSettings, Mode, Model, Net, dssm};
use crate::Result;
use crate::losses::Loss;
use crate::nn::{Array, Device, Dtype, GradBuffer, Weights, kernels};
use crate::text::{Batch, Encoding, TokenSpan};

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
    let arrays = config.arrays("bert.").into_iter().map(|(name, shape)| {
        let centre = if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 };
        let data = (0..shape.iter().product()).map(|_| centre + rng.random_range(-0.4..0.4)).collect();
        (name, Array::new(shape, data))
    });
    Weights(arrays.collect())
}

fn training(config: &Config, dtype: Dtype) -> Result<Net> {
    Net::training(config.clone(), &CrossEncoder.modules(), weights(config), dtype, 5)
}

fn serving(config: &Config, weights: &Weights, dtype: Dtype) -> Net {
    Net::serving(config.clone(), &CrossEncoder.modules(), weights, dtype, Device::Cpu).unwrap()
}

fn scores(net: &Net, batch: &Batch) -> Result<Vec<f32>> {
    Ok(logits(&net.pass(Mode::Infer), batch)?.to_vec1()?)
}

fn encodings(lengths: &[u32]) -> Vec<Encoding> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(4);
    let of = |&t: &u32| Encoding {
        ids: (0..t).map(|_| rng.random_range(0..50)).collect(),
        segments: (0..t).map(|i| i * 3 / t).collect(),
        ..Encoding::default()
    };
    lengths.iter().map(of).collect()
}

fn batch(lengths: &[u32]) -> Batch {
    encodings(lengths).iter().collect()
}

fn loss(net: &Net, batch: &Batch) -> Tensor {
    let logits = logits(&net.pass(Mode::Train { seed: 9 }), batch).unwrap();
    let wanted: Vec<f32> = (0..batch.len()).map(|i| i as f32 - 1.0).collect();
    let wanted = Tensor::from_vec(wanted, batch.len(), &candle_core::Device::Cpu).unwrap();
    (logits - wanted).unwrap().sqr().unwrap().sum_all().unwrap()
}

#[test]
fn gradients_equal_finite_differences() {
    for (dropout, cached) in [(0.0, None), (0.2, None), (0.2, Some(30))] {
        let config = config(dropout);
        let mut net = training(&config, Dtype::F32).unwrap();
        if let Some(tokens) = cached {
            net.cache_gradients(tokens);
        }
        // sequences of one token, of more than one block of queries, and in several groups
        let batch = batch(&[7, 1, 150, 20, 131]);
        let store = loss(&net, &batch).backward().unwrap();
        net.parameters().accumulate_grads(&store).unwrap();
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
                let moved = |net: &mut Net, by: f32| {
                    let values = Arc::make_mut(&mut net.parameters_mut().list[index].value);
                    values.iter_mut().zip(&along).for_each(|(x, d)| *x += by * d);
                };
                moved(&mut net, by);
                let value = f64::from(loss(&net, &batch).to_scalar::<f32>().unwrap());
                net.parameters().clear_graph();
                moved(&mut net, -by);
                value
            };
            let numeric = (at(step) - at(-step)) / (2.0 * f64::from(step));
            let error = (numeric - analytic).abs();
            assert!(error <= 0.02 * analytic.abs() + 0.02, "{name}, dropout {dropout}: {numeric} against {analytic}");
        }
    }
}

#[test]
fn cached_gradients_are_those_of_the_whole_batch() {
    let towers = dssm::Dssm(dssm::Config { pooling: dssm::Pooling::Mean, ..dssm::Config::default() });
    let examples: Vec<Example> = encodings(&[3, 8, 13, 18, 3, 8, 13, 18, 5, 5, 1, 30])
        .chunks(2)
        .map(|pair| Example { texts: pair.to_vec(), target: 1.0, ..Example::default() })
        .collect();
    let examples: Vec<&Example> = examples.iter().collect();
    let settings = LossSettings { weights: &[1.0 / 6.0; 6], label_smoothing: 0.0, loss: Loss::Bce };
    let gradients = |cached: Option<usize>| {
        let config = config(0.0);
        let mut net = Net::training(config.clone(), &towers.modules(), weights(&config), Dtype::F32, 5).unwrap();
        if let Some(tokens) = cached {
            net.cache_gradients(tokens);
        }
        let loss = towers.loss(&net.pass(Mode::Train { seed: 9 }), &examples, &settings).unwrap();
        net.parameters().accumulate_grads(&loss.backward().unwrap()).unwrap();
        let all = net.parameters().list.iter().map(|p| p.grad.lock().unwrap().to_vec()).collect::<Vec<_>>().concat();
        (loss.to_scalar::<f32>().unwrap(), all)
    };
    let (loss, whole) = gradients(None);
    assert!(whole.iter().any(|g| g.abs() > 1e-3));
    for tokens in [1, 25, 40] {
        let (cached_loss, cached) = gradients(Some(tokens));
        assert!((cached_loss - loss).abs() < 1e-6);
        for (a, b) in whole.iter().zip(&cached) {
            assert!((a - b).abs() <= 1e-5 + 1e-4 * a.abs(), "{tokens} tokens: {b}, at once {a}");
        }
    }
}

#[test]
fn gradients_of_passes_add_up_until_they_are_forgotten() {
    let config = config(0.0);
    let net = training(&config, Dtype::F32).unwrap();
    let batches = [batch(&[7, 1, 150]), batch(&[20, 131])];
    let sum_of = |batches: &[Batch]| {
        net.parameters().zero_grad();
        let there = |p: &crate::nn::Parameter| matches!(*p.grad.lock().unwrap(), GradBuffer::Dense(_));
        assert!(!net.parameters().list.iter().any(there), "no gradient takes memory before its pass");
        for batch in batches {
            net.parameters().accumulate_grads(&loss(&net, batch).backward().unwrap()).unwrap();
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
                let net = training(&config, dtype).unwrap();
                let store = loss(&net, &batch(&[7, 1, 150, 20])).backward().unwrap();
                net.parameters().accumulate_grads(&store).unwrap();
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
    let net = training(&config, Dtype::F32).unwrap();
    let batch = batch(&[7, 1, 150, 20]);
    let [f32, bf16, int8] = [Dtype::F32, Dtype::Bf16, Dtype::Int8]
        .map(|dtype| scores(&serving(&config, &net.parameters().weights(), dtype), &batch).unwrap());
    for ((f32, bf16), int8) in f32.iter().zip(&bf16).zip(&int8) {
        assert!((f32 - bf16).abs() < 0.03 && (f32 - int8).abs() < 0.06, "{f32} {bf16} {int8}");
    }
}

#[test]
fn int8_does_not_train() {
    let config = config(0.0);
    let refused = training(&config, Dtype::Int8).err().unwrap();
    assert!(refused.is_user_error() && refused.to_string().contains("f32 or bf16"), "{refused}");
}

#[test]
fn no_sequences_have_no_scores_and_an_empty_one_is_an_error() {
    let config = config(0.0);
    let net = training(&config, Dtype::F32).unwrap();
    for dtype in [Dtype::F32, Dtype::Bf16, Dtype::Int8] {
        let scorer = serving(&config, &net.parameters().weights(), dtype);
        assert!(scores(&scorer, &Batch::default()).unwrap().is_empty());
        let mut batch = batch(&[3]);
        batch.push(&Encoding::default());
        assert!(scores(&scorer, &batch).unwrap_err().to_string().contains("a sequence without a token"));
        let long = self::batch(&[301]);
        assert!(
            scores(&scorer, &long).unwrap_err().to_string().contains("301: sequence of tokens past the table of 300")
        );
    }
}

#[test]
fn training_and_serving_agree() {
    let config = config(0.0);
    let net = training(&config, Dtype::F32).unwrap();
    let batch = batch(&[5, 64, 1, 200]);
    let train = logits(&net.pass(Mode::Train { seed: 1 }), &batch).unwrap().to_vec1::<f32>().unwrap();
    net.parameters().clear_graph();
    let infer = scores(&net, &batch).unwrap();
    let serve = scores(&serving(&config, &net.parameters().weights(), Dtype::F32), &batch).unwrap();
    for ((a, b), c) in train.iter().zip(&infer).zip(&serve) {
        assert!((a - b).abs() < 1e-5 && (a - c).abs() < 1e-5, "{a} {b} {c}");
    }
}

/// 1,000 random batches in every precision on every unit: each sequence has one score per precision, whatever comes
/// around it, on 1 or 3 threads, and the units agree: tiles, where all but f32 has products of bf16, with themselves.
#[test]
fn one_score_whatever_the_batch() {
    let config = config(0.0);
    let net = training(&config, Dtype::F32).unwrap();
    let weights = net.parameters().weights();
    let lengths: Vec<u32> = (0..40).map(|i| [3, 17, 32, 64, 1, 90, 150][i % 7] + i as u32 % 3).collect();
    let all = batch(&lengths);
    let pick = |i: usize| {
        let (a, b) = (all.offsets[i] as usize, all.offsets[i + 1] as usize);
        Encoding { ids: all.ids[a..b].to_vec(), segments: all.segments[a..b].to_vec(), ..Encoding::default() }
    };
    for dtype in [Dtype::F32, Dtype::Bf16, Dtype::Int8] {
        let scorer = serving(&config, &weights, dtype);
        let one = |i: usize| scores(&scorer, &[pick(i)].iter().collect()).unwrap()[0].to_bits();
        let every = || (0..40).map(one).collect::<Vec<u32>>();
        let pool = |unit, threads| {
            let forced = move |_| kernels::force(Some(unit));
            rayon::ThreadPoolBuilder::new().num_threads(threads).start_handler(forced).build().unwrap()
        };
        let on_lanes = pool(kernels::Unit::Portable, 1).install(every);
        for unit in kernels::units_to_test() {
            let pools = [1, 3].map(|threads| pool(unit, threads));
            let tiles = dtype != Dtype::F32 && unit.lanes() != unit;
            let alone = if tiles { pools[0].install(every) } else { on_lanes.clone() };
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
            for round in 0..1000 {
                let chosen: Vec<usize> = (0..rng.random_range(1..8)).map(|_| rng.random_range(0..40)).collect();
                let batch: Batch = chosen.iter().map(|&i| pick(i)).collect::<Vec<_>>().iter().collect();
                let scores = pools[round % 2].install(|| scores(&scorer, &batch)).unwrap();
                for (i, score) in chosen.iter().zip(scores) {
                    assert_eq!(score.to_bits(), alone[*i], "{unit:?} {dtype:?}, sequence {i} in {chosen:?}");
                }
            }
        }
    }
}

/// Two towers, each a run through the encoder, hard negatives and a copy of a match among them.
#[test]
fn gradients_of_two_towers_equal_finite_differences() {
    use dssm::Activation::{Gelu, Identity, Relu, Sigmoid, Tanh};
    let layers = |activations: [dssm::Activation; 3]| {
        let layer = |(at, activation)| dssm::Dense {
            outputs: std::num::NonZeroUsize::new(7 + 2 * at).unwrap(),
            bias: at < 2,
            activation,
        };
        let layers: Vec<dssm::Dense> = activations.into_iter().enumerate().map(layer).collect();
        dssm::DenseLayers::try_from(layers).unwrap()
    };
    for settings in [
        dssm::Config { temperature: 0.5, ..dssm::Config::default() },
        dssm::Config {
            vectors: dssm::TextVectors::Encoder,
            margin: 0.2,
            pooling: dssm::Pooling::Cls,
            dense: dssm::DenseLayers::default(),
            similarity: dssm::Similarity::Dot,
            shared: false,
            temperature: 4.0,
        },
        dssm::Config { dense: layers([Tanh, Gelu, Identity]), temperature: 0.5, ..dssm::Config::default() },
        dssm::Config { dense: layers([Relu, Sigmoid, Tanh]), temperature: 0.5, ..dssm::Config::default() },
    ] {
        let model = dssm::Dssm(settings);
        let texts = batch(&[4, 9, 150, 7, 30, 2, 12]);
        let text = |i: usize| {
            let (a, b) = (texts.offsets[i] as usize, texts.offsets[i + 1] as usize);
            Encoding { ids: texts.ids[a..b].to_vec(), segments: vec![0; b - a], ..Encoding::default() }
        };
        let examples = [vec![0, 1, 2], vec![3, 4], vec![5, 6, 1]];
        let examples = examples.map(|texts| Example {
            texts: texts.into_iter().map(text).collect(),
            target: 1.0,
            ..Example::default()
        });
        let examples: Vec<&Example> = examples.iter().collect();
        assert_gradient(&model, &examples);
    }
}

/// Pairs `[1] query [2] document [2]` with their spans, some without a query token or a document token, for [`assert_gradient`].
pub(super) fn pair_examples() -> Vec<Example> {
    let pairs: [(&[u32], &[u32]); 4] =
        [(&[10, 11, 12], &[20, 11, 30, 40, 12]), (&[10, 11, 12], &[41]), (&[], &[42, 11]), (&[13], &[])];
    let example = |(number, (query, document)): (usize, (&[u32], &[u32]))| {
        let (q, d) = (query.len() as u32, document.len() as u32);
        let span = |input, start, end| TokenSpan { input, field: None, start, end };
        let ids = [&[1], query, &[2], document, &[2]].concat();
        let segments = (0..ids.len() as u32).map(|at| u32::from(at > q + 1)).collect();
        let spans = vec![span(0, 1, 1 + q), span(1, 2 + q, 2 + q + d)];
        Example {
            texts: vec![Encoding { ids, segments, spans, ..Encoding::default() }],
            target: (number % 2) as f32,
            ..Example::default()
        }
    };
    pairs.into_iter().enumerate().map(example).collect()
}

/// Checks a model's gradient, over all of its arrays, against finite differences along itself.
pub(super) fn assert_gradient(model: &dyn Model, examples: &[&Example]) {
    assert_gradient_of(model, examples, Loss::Bce);
}

/// [`assert_gradient`] of a loss.
pub(super) fn assert_gradient_of(model: &dyn Model, examples: &[&Example], loss: Loss) {
    assert_gradient_but(model, examples, loss, &[]);
}

/// The same of a model in which parameters of these names, or a part of them, do not learn.
pub(super) fn assert_gradient_but(model: &dyn Model, examples: &[&Example], loss: Loss, constant: &[&str]) {
    let config = config(0.2);
    let mut net = Net::training(config.clone(), &model.modules(), weights(&config), Dtype::F32, 5).unwrap();
    for p in net.parameters_mut().list.iter_mut().filter(|p| p.name.ends_with(".idf")) {
        Arc::make_mut(&mut p.value).iter_mut().enumerate().for_each(|(i, x)| *x = (i as f32 * 1.1).sin());
    }
    let weights = vec![1.0 / examples.len() as f32; examples.len()];
    let settings = LossSettings { weights: &weights, label_smoothing: 0.0, loss };
    let loss = |net: &Net| model.loss(&net.pass(Mode::Train { seed: 9 }), examples, &settings).unwrap();
    net.parameters().accumulate_grads(&loss(&net).backward().unwrap()).unwrap();
    let list = net.parameters().list.iter();
    let grads: Vec<Vec<f32>> = list.map(|p| p.grad.lock().unwrap().to_vec()).collect();
    let norm = grads.iter().flatten().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    for (p, grad) in net.parameters().list.iter().zip(&grads) {
        // a constant under a softmax has no gradient
        let is_constant = p.name.ends_with("gate.bias") || constant.iter().any(|part| p.name.contains(part));
        assert!(is_constant || grad.iter().any(|g| *g != 0.0), "{} takes no part", p.name);
    }
    assert!(norm > 0.01, "{norm}");
    let at = |net: &mut Net, by: f64| {
        let move_by = |net: &mut Net, by: f64| {
            for (p, grad) in net.parameters_mut().list.iter_mut().zip(&grads) {
                let values = Arc::make_mut(&mut p.value).iter_mut();
                values.zip(grad).for_each(|(x, g)| *x += (by * f64::from(*g) / norm) as f32);
            }
        };
        move_by(net, by);
        let value = f64::from(loss(net).to_scalar::<f32>().unwrap());
        move_by(net, -by);
        value
    };
    // small compared with the narrowest kernel
    let step = 1e-4;
    let numeric = (at(&mut net, step) - at(&mut net, -step)) / (2.0 * step);
    assert!((numeric - norm).abs() < 0.03 * norm + 0.01, "{numeric} against {norm}");
}
