//! BERT against Python's transformers: the numbers in `tests/golden/bert/expected.json`, made by the `make.py` in its folder.

mod require;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{IndexOp, Tensor, Var};
use serde::Deserialize;
use sverka::Input;
use sverka::bundle::{Architecture, Checkpoint, Export, Purpose, export};
use sverka::models::bert::{self, Config};
use sverka::models::cross_encoder::{CrossEncoder, logits};
use sverka::models::{Mode, Model, Net};
use sverka::nn::encoder::{Request, Rows, Start};
use sverka::nn::reference::{Reference, tensors};
use sverka::nn::{Device, Dtype, Weights};
use sverka::text::{Batch, Encoding, TextConfig, TextEncoder};

/// How far a number may be from transformers', and from a large one in relation to it.
const TOLERANCE: f32 = 1e-4;
/// Random checkpoints, in the repository.
const RANDOM: [&str; 4] = ["one-segment", "three-segments", "five-segments", "rubert"];
/// Real ones, which `scripts/weights` brings.
const REAL: [&str; 2] = ["minilm", "bert-tiny"];
/// Those that score pairs.
const WITH_HEAD: [&str; 3] = ["one-segment", "three-segments", "rubert"];

/// One sequence; values are the first 16 of a row.
#[derive(Deserialize)]
struct Case {
    ids: Vec<u32>,
    segments: Vec<u32>,
    texts: Option<[String; 2]>,
    /// By layer, embeddings first: first token, last token, mean over tokens.
    hidden: Vec<[Vec<f32>; 3]>,
    /// By layer: of the first token in the first head, of the last token in the last head.
    attention: Vec<[Vec<f32>; 2]>,
    pooled: Option<Vec<f32>>,
    /// One per label.
    logits: Option<Vec<f32>>,
}

impl Case {
    /// What a matcher makes of one or two labels.
    fn score(&self) -> Option<f32> {
        self.logits.as_ref().map(|l| if l.len() == 2 { l[1] - l[0] } else { l[0] })
    }
}

fn read_directory(dir: &Path) -> sverka::Result<(Config, Weights)> {
    let mut checkpoint = Checkpoint::read(dir)?;
    checkpoint.select(&*Architecture::CrossEncoder.model(), Purpose::Start)?;
    Ok((checkpoint.config, checkpoint.weights))
}

fn score(config: Config, weights: &Weights, batch: &Batch, device: Device) -> Vec<f32> {
    let net = Net::serving(config, &CrossEncoder.modules(), weights, Dtype::F32, device).unwrap();
    logits(&net.pass(Mode::Infer), batch).unwrap().to_vec1().unwrap()
}

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bert")
}

/// A checkpoint's folder, if it is there, and its cases.
fn checkpoint(name: &str) -> Option<(PathBuf, Vec<Case>)> {
    let text = std::fs::read_to_string(golden().join("expected.json")).unwrap();
    let cases = serde_json::from_str::<BTreeMap<String, Vec<Case>>>(&text).unwrap().remove(name).unwrap();
    let real = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("weights").join(name);
    let dir = [golden().join(name), real].into_iter().find(|dir| dir.is_dir());
    if dir.is_none() {
        require::skipped("weights", &format!("weights/{name} is not there; run scripts/weights"));
    }
    Some((dir?, cases))
}

fn batch(cases: &[Case]) -> Batch {
    let encodings =
        cases.iter().map(|c| Encoding { ids: c.ids.clone(), segments: c.segments.clone(), ..Encoding::default() });
    encodings.collect::<Vec<_>>().iter().collect()
}

fn assert_near(what: &str, got: &[f32], expected: &[f32]) {
    assert!(got.len() >= expected.len(), "{what}: {} values for {}", got.len(), expected.len());
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!((g - e).abs() <= TOLERANCE * e.abs().max(1.0), "{what}, value {i}: {g}, transformers {e}");
    }
}

/// Holds packed states, `l + 1` of `[t, h]`, against the expected ones.
fn assert_states(name: &str, hidden: &[Vec<Vec<f32>>], cases: &[Case]) {
    let batch = batch(cases);
    for (s, case) in cases.iter().enumerate() {
        assert_eq!(hidden.len(), case.hidden.len(), "{name}: layers");
        let range = batch.offsets[s] as usize..batch.offsets[s + 1] as usize;
        for (layer, (states, [first, last, mean])) in hidden.iter().zip(&case.hidden).enumerate() {
            let rows = &states[range.clone()];
            let what = |which: &str| format!("{name}, sequence {s}, state {layer}, {which}");
            assert_near(&what("first token"), &rows[0], first);
            assert_near(&what("last token"), &rows[rows.len() - 1], last);
            let average = |i: usize| rows.iter().map(|r| f64::from(r[i])).sum::<f64>() / rows.len() as f64;
            let means: Vec<f32> = (0..mean.len()).map(|i| average(i) as f32).collect();
            assert_near(&what("mean"), &means, mean);
        }
    }
}

/// Holds a scorer's logits against the expected ones; true if the checkpoint has a head.
fn assert_logits(name: &str, score: impl Fn(Config, &Weights, &Batch) -> Vec<f32>) -> bool {
    let Some((dir, cases)) = checkpoint(name) else { return false };
    let Some(expected) = cases.iter().map(Case::score).collect::<Option<Vec<f32>>>() else { return false };
    let (config, weights) = read_directory(&dir).unwrap();
    assert_near(&format!("{name}, logits"), &score(config, &weights, &batch(&cases)), &expected);
    true
}

fn reference_of(config: &Config) -> Reference {
    let (layers, heads) = (config.num_hidden_layers, config.num_attention_heads);
    Reference { layers, heads, epsilon: f64::from(config.layer_norm_eps) }
}

fn reference_states(name: &str) {
    let Some((dir, cases)) = checkpoint(name) else { return };
    let (config, weights) = read_directory(&dir).unwrap();
    let (reference, parameters) = (reference_of(&config), tensors(&weights, &candle_core::Device::Cpu).unwrap());
    let states = reference.forward(&parameters, &batch(&cases), true).unwrap();
    let hidden: Vec<Vec<Vec<f32>>> = states.hidden.iter().map(|h| h.to_vec2().unwrap()).collect();
    assert_states(name, &hidden, &cases);
    for (s, case) in cases.iter().enumerate() {
        for (layer, [first, last]) in case.attention.iter().enumerate() {
            let map = states.attention[layer].i(s).unwrap();
            let row = |head: usize, query: usize| map.i((head, query)).unwrap().to_vec1::<f32>().unwrap();
            let what = format!("{name}, sequence {s}, attention {layer}");
            assert_near(&what, &row(0, 0), first);
            let query = row(config.num_attention_heads - 1, case.ids.len() - 1);
            assert_near(&what, &query, last);
            assert!(query[case.ids.len()..].iter().all(|p| *p == 0.0), "{what}: padding is looked at");
        }
        if let Some(expected) = &case.pooled {
            let pooled = reference.pool(&parameters, &states.first).unwrap().i(s).unwrap().to_vec1::<f32>().unwrap();
            assert_near(&format!("{name}, sequence {s}, pooled"), &pooled, expected);
        }
    }
}

fn reference_logits(config: Config, weights: &Weights, batch: &Batch) -> Vec<f32> {
    let (reference, parameters) = (reference_of(&config), tensors(weights, &candle_core::Device::Cpu).unwrap());
    let first = reference.forward(&parameters, batch, false).unwrap().first;
    let pooled = reference.pool(&parameters, &first).unwrap();
    let logits = reference.classify(&parameters, &pooled).unwrap().to_vec2::<f32>().unwrap();
    logits.into_iter().map(|l| if l.len() == 2 { l[1] - l[0] } else { l[0] }).collect()
}

#[test]
fn reference_has_the_states_of_random_checkpoints() {
    RANDOM.into_iter().for_each(reference_states);
}

#[test]
fn reference_has_the_states_of_real_checkpoints() {
    REAL.into_iter().for_each(reference_states);
}

#[test]
fn reference_has_the_logits() {
    for name in WITH_HEAD {
        assert!(assert_logits(name, reference_logits), "{name} has a head");
    }
}

#[test]
fn reference_has_the_gradients_of_pytorch() {
    let (dir, cases) = checkpoint("three-segments").unwrap();
    let (config, weights) = read_directory(&dir).unwrap();
    let leaves: BTreeMap<String, Var> = tensors(&weights, &candle_core::Device::Cpu)
        .unwrap()
        .into_iter()
        .map(|(name, t)| (name, Var::from_tensor(&t).unwrap()))
        .collect();
    let parameters: BTreeMap<String, Tensor> = leaves.iter().map(|(n, v)| (n.clone(), v.as_tensor().clone())).collect();
    let reference = reference_of(&config);
    let first = reference.forward(&parameters, &batch(&cases), false).unwrap().first;
    let pooled = reference.pool(&parameters, &first).unwrap();
    let logits = reference.classify(&parameters, &pooled).unwrap();
    let loss = (logits.i((.., 1)).unwrap() - logits.i((.., 0)).unwrap()).unwrap().sum_all().unwrap();
    let gradients = loss.backward().unwrap();
    let text = std::fs::read_to_string(golden().join("gradients.json")).unwrap();
    let expected: BTreeMap<String, Vec<f32>> = serde_json::from_str(&text).unwrap();
    assert_eq!(expected.len(), parameters.len());
    for (name, values) in expected {
        let gradient = gradients.get(&parameters[&name]).unwrap_or_else(|| panic!("{name} has no gradient"));
        let gradient = gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let spread: Vec<f32> = gradient.iter().copied().step_by((gradient.len() / 16).max(1)).collect();
        assert_near(&name, &spread, &values);
    }
}

fn scorer_logits(config: Config, weights: &Weights, batch: &Batch) -> Vec<f32> {
    score(config, weights, batch, Device::Cpu)
}

/// All states of an encoder against the expected ones, embeddings first.
fn fast_states(name: &str, device: Device) {
    let Some((dir, cases)) = checkpoint(name) else { return };
    let (config, weights) = read_directory(&dir).unwrap();
    let encoder = bert::encoder(&config, bert::PREFIX, &weights, Dtype::F32, device).unwrap();
    let (batch, layers) = (batch(&cases), config.num_hidden_layers);
    let keep: Vec<usize> = (0..=layers).collect();
    let request = Request { start: Start::Tokens(&batch), layers: 0..layers, rows: Rows::All, keep: &keep };
    let states = encoder.run(&request).unwrap();
    assert_eq!(states.rows, states.kept[layers]);
    let rows = |state: &Vec<f32>| state.chunks(config.hidden_size).map(<[f32]>::to_vec).collect();
    assert_states(name, &states.kept.iter().map(rows).collect::<Vec<_>>(), &cases);
}

#[test]
fn the_fast_encoder_has_the_states() {
    RANDOM.into_iter().chain(REAL).for_each(|name| fast_states(name, Device::Cpu));
}

#[test]
fn the_fast_scorer_has_the_logits() {
    for name in WITH_HEAD {
        assert!(assert_logits(name, scorer_logits), "{name} has a head");
    }
}

/// Needs `--features cuda` and an NVIDIA GPU.
#[test]
fn a_gpu_has_the_states_and_logits() {
    let gpu = Device::Cuda(0);
    let (config, weights) = read_directory(&golden().join(WITH_HEAD[0])).unwrap();
    if let Err(e) = bert::encoder(&config, bert::PREFIX, &weights, Dtype::F32, gpu) {
        assert!(e.is_user_error(), "{e}");
        require::skipped("gpu", &e.to_string());
        return;
    }
    RANDOM.into_iter().chain(REAL).for_each(|name| fast_states(name, gpu));
    for name in WITH_HEAD {
        let logits = |config, weights: &Weights, batch: &Batch| score(config, weights, batch, gpu);
        assert!(assert_logits(name, logits), "{name} has a head");
    }
}

#[test]
fn tokens_are_those_of_transformers() {
    for name in ["rubert", "minilm", "bert-tiny"] {
        let Some((dir, cases)) = checkpoint(name) else { continue };
        let tokenizer = TextEncoder::open(&dir, TextConfig { max_tokens: 512, ..TextConfig::default() }).unwrap();
        for case in &cases {
            let Some([left, right]) = &case.texts else { continue };
            let encoding = tokenizer.encode(&[Input::Text(left), Input::Text(right)]).unwrap();
            assert_eq!((&encoding.ids, &encoding.segments), (&case.ids, &case.segments), "{name}: {left} | {right}");
        }
    }
}

/// Needs a Python with torch and transformers: `python3`, or the one that `SVERKA_PYTHON` names.
#[test]
fn transformers_loads_what_is_exported_with_the_same_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let python = std::env::var_os("SVERKA_PYTHON").unwrap_or("python3".into());
    let mut check = std::process::Command::new(python);
    check.arg(golden().join("check.py"));
    for name in RANDOM.into_iter().chain(REAL) {
        let Some((from, _)) = checkpoint(name) else { continue };
        let to = dir.path().join(name);
        export(&from, &to, Export::default()).unwrap();
        check.arg(format!("{name}={}", to.display()));
    }
    match check.output() {
        Ok(out) if out.status.code() == Some(77) => {
            require::skipped("python", "Python has no transformers; set SVERKA_PYTHON")
        }
        Ok(out) => assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr)),
        Err(e) => require::skipped("python", &format!("no Python ({e}); set SVERKA_PYTHON")),
    }
}
