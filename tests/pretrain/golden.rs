//! The heads of masked tokens and next texts against transformers: `tests/golden/masked_lm/make.py` made the numbers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sverka::bundle::{LanguageModel, LanguageStart};
use sverka::models::masked_lm::{MaskedLm, Targets};
use sverka::models::{Mode, Net};
use sverka::nn::Dtype;
use sverka::text::{Batch, Encoding};

use crate::require;

#[derive(Deserialize)]
struct Golden {
    random: Random,
    #[serde(rename = "bert-tiny")]
    published: Published,
}
#[derive(Deserialize)]
struct Random {
    ids: Vec<Vec<u32>>,
    segments: Vec<Vec<u32>>,
    /// Sequence, place, what it was.
    masked: Vec<(usize, u32, u32)>,
    is_next: Vec<bool>,
    masked_loss: f32,
    next_loss: f32,
    logits: Vec<Vec<f32>>,
    next_logits: Vec<f32>,
    gradients: BTreeMap<String, Gradient>,
}
#[derive(Deserialize)]
struct Gradient {
    norm: f32,
    step: usize,
    values: Vec<f32>,
}
#[derive(Deserialize)]
struct Published {
    cases: Vec<Case>,
    loss: f64,
}
#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
    places: Vec<u32>,
    targets: Vec<u32>,
    stride: usize,
    logits: Vec<Vec<f32>>,
    best: Vec<Vec<String>>,
    probabilities: Vec<Vec<f32>>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/masked_lm")
}

fn golden() -> Golden {
    serde_json::from_str(&std::fs::read_to_string(folder().join("expected.json")).unwrap()).unwrap()
}

fn net(next: bool, dtype: Dtype) -> (MaskedLm, Net) {
    let model = MaskedLm { next };
    let LanguageStart { config, weights, notes, .. } = LanguageStart::read(&folder().join("model"), model).unwrap();
    assert!(!next || notes.is_empty(), "{notes:?}");
    (model, Net::training(config, &model.modules(), weights, dtype, 1).unwrap())
}

impl Random {
    /// Some of the sequences, packed, and their targets, weighed as part of the whole batch.
    fn batch(&self, some: &[usize]) -> (Batch, Targets) {
        let (mut batch, mut targets) = (Batch::default(), Targets::default());
        for &i in some {
            let start = batch.tokens() as u32;
            for (_, place, was) in self.masked.iter().filter(|m| m.0 == i) {
                targets.rows.push(start + place);
                targets.ids.push(*was);
            }
            targets.next.push(Some(self.is_next[i]));
            batch.push(&Encoding {
                ids: self.ids[i].clone(),
                segments: self.segments[i].clone(),
                ..Encoding::default()
            });
        }
        (targets.weight, targets.next_weight) = (1.0 / self.masked.len() as f32, 1.0 / self.ids.len() as f32);
        (batch, targets)
    }
    fn all(&self) -> (Batch, Targets) {
        self.batch(&(0..self.ids.len()).collect::<Vec<_>>())
    }
}

/// The loss, and each parameter's gradient.
fn loss((model, net): &(MaskedLm, Net), batch: &Batch, targets: &Targets) -> (f32, BTreeMap<String, Vec<f32>>) {
    net.parameters().zero_grad();
    let loss = model.loss(&net.pass(Mode::Train { seed: 1 }), batch, targets).unwrap();
    net.parameters().accumulate_grads(&loss.backward().unwrap()).unwrap();
    let grads = net.parameters().list.iter().map(|p| (p.name.clone(), p.grad.lock().unwrap().to_vec()));
    (loss.to_scalar().unwrap(), grads.collect())
}

#[test]
fn packed_losses_and_gradients_are_those_of_a_padded_batch_in_transformers() {
    let golden = golden().random;
    let (batch, targets) = golden.all();
    let both = net(true, Dtype::F32);
    let (value, grads) = loss(&both, &batch, &targets);
    let expected = golden.masked_loss + golden.next_loss;
    assert!((value - expected).abs() < 1e-5 * expected, "{value} {expected}");
    for (name, expected) in &golden.gradients {
        let got = &grads[name];
        let norm = got.iter().map(|v| v * v).sum::<f32>().sqrt();
        assert!((norm - expected.norm).abs() < 1e-4 * expected.norm.max(1e-3), "{name}: {norm} {}", expected.norm);
        for (got, want) in got.iter().step_by(expected.step).zip(&expected.values) {
            assert!((got - want).abs() < 1e-4 * expected.norm.max(1e-3), "{name}: {got} {want}");
        }
    }
    assert_eq!(grads.len(), golden.gradients.len());
    let (alone, _) = loss(&net(false, Dtype::F32), &batch, &targets);
    assert!((alone - golden.masked_loss).abs() < 1e-5 * alone, "{alone} {}", golden.masked_loss);
    // logits without a graph
    let (logits, next) = both.0.logits(&both.1.pass(Mode::Infer), &batch, &targets.rows).unwrap();
    let vocabulary = both.1.config().vocab_size;
    for (got, want) in logits.chunks_exact(vocabulary).zip(&golden.logits) {
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-4), "{got:?} {want:?}");
    }
    for (got, want) in next.iter().zip(golden.next_logits.chunks_exact(2)) {
        assert!((got - (want[0] - want[1])).abs() < 1e-4, "{got} {want:?}");
    }
}

#[test]
fn pieces_of_a_batch_add_up_and_half_precision_is_near() {
    let golden = golden().random;
    let both = net(true, Dtype::F32);
    let (batch, targets) = golden.all();
    let (whole, whole_grads) = loss(&both, &batch, &targets);
    let mut sum = 0.0;
    let mut grads: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    for i in 0..golden.ids.len() {
        let (batch, targets) = golden.batch(&[i]);
        let (part, of_part) = loss(&both, &batch, &targets);
        sum += part;
        for (name, values) in of_part {
            let to = grads.entry(name).or_insert_with(|| vec![0.0; values.len()]);
            to.iter_mut().zip(values).for_each(|(to, v)| *to += v);
        }
    }
    assert!((sum - whole).abs() < 1e-5 * whole, "{sum} {whole}");
    for (name, values) in &grads {
        assert!(values.iter().zip(&whole_grads[name]).all(|(a, b)| (a - b).abs() < 1e-4), "{name}");
    }
    let (half, half_grads) = loss(&net(true, Dtype::Bf16), &batch, &targets);
    assert!((half - whole).abs() < 2e-2 * whole, "{half} {whole}");
    let name = "bert.embeddings.word_embeddings.weight";
    let squares = |values: &[f32]| values.iter().map(|v| v * v).sum::<f32>();
    let difference: Vec<f32> = half_grads[name].iter().zip(&whole_grads[name]).map(|(a, b)| a - b).collect();
    assert!(squares(&difference) < 1e-3 * squares(&whole_grads[name]));
}

#[test]
fn the_gradient_is_the_slope_of_the_loss() {
    let golden = golden().random;
    let (batch, targets) = golden.all();
    let mut both = net(true, Dtype::F32);
    let (_, grads) = loss(&both, &batch, &targets);
    for name in
        ["cls.predictions.transform.dense.weight", "cls.predictions.bias", "bert.embeddings.word_embeddings.weight"]
    {
        let at = both.1.parameters().index(name).unwrap();
        // along the gradient itself the slope is its square
        let square: f32 = grads[name].iter().map(|g| g * g).sum();
        let mut shifted = |by: f32| {
            let before = both.1.parameters().list[at].value.clone();
            let value = std::sync::Arc::make_mut(&mut both.1.parameters_mut().list[at].value);
            value.iter_mut().zip(&grads[name]).for_each(|(v, g)| *v += by * g);
            let (loss, _) = loss(&both, &batch, &targets);
            both.1.parameters_mut().list[at].value = before;
            f64::from(loss)
        };
        let h = 1e-2 / square.sqrt();
        let slope = (shifted(h) - shifted(-h)) / (2.0 * f64::from(h));
        assert!((slope / f64::from(square) - 1.0).abs() < 0.02, "{name}: {slope} {square}");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let golden = golden().random;
    let (batch, targets) = golden.all();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (value, grads) = loss(&net(true, Dtype::Bf16), &batch, &targets);
            let bits: Vec<u32> = grads.values().flatten().map(|v| v.to_bits()).collect();
            (value.to_bits(), bits)
        })
    };
    assert!(run(1) == run(3));
}

#[test]
fn a_published_model_says_what_it_says_in_python() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/bert-tiny");
    if !dir.is_dir() {
        require::skipped("weights", "weights/bert-tiny is not there; run scripts/weights");
        return;
    }
    let golden = golden().published;
    let model = LanguageModel::open(&dir, false, None).unwrap();
    let (mut sum, mut count) = (0.0, 0);
    for case in golden.cases {
        let encoding = Encoding { segments: vec![0; case.ids.len()], ids: case.ids.clone(), ..Encoding::default() };
        let (logits, _) = model.logits(&encoding, &case.places).unwrap();
        let rows = logits.chunks_exact(logits.len() / case.places.len());
        for ((row, want), &target) in rows.zip(&case.logits).zip(&case.targets) {
            for (got, want) in row.iter().step_by(case.stride).zip(want) {
                assert!((got - want).abs() < 1e-4 * want.abs().max(1.0), "{got} {want}");
            }
            let largest = row.iter().copied().fold(f32::MIN, f32::max);
            let total: f64 = row.iter().map(|z| f64::from(z - largest).exp()).sum();
            sum += total.ln() + f64::from(largest - row[target as usize]);
            count += 1;
        }
        let filled = model.fill(&case.text, 5).unwrap();
        for ((got, best), probabilities) in filled.iter().zip(&case.best).zip(&case.probabilities) {
            assert!(got.iter().map(|p| &p.token).eq(best), "{got:?} {best:?}");
            assert!(got.iter().zip(probabilities).all(|(p, want)| (p.probability - want).abs() < 1e-4), "{got:?}");
        }
    }
    let loss = sum / f64::from(count);
    assert!((loss - golden.loss).abs() < 1e-4 * golden.loss, "{loss} {}", golden.loss);
}
