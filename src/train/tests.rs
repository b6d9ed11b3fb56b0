//! The loop, on a network small enough to read: a bag of embeddings and a linear head, with dropout.

mod corpus;
mod run;
mod teacher;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use candle_core::{Device, Tensor};
use rand::RngExt;

use super::batches;
use super::checkpoint::State;
use super::objective::{Measures, Objective, Step};
use super::progress::{Progress, Silent, StepReport};
use super::recipe::TrainSettings;
use super::seed::generator;
use super::trainer::fit;
use crate::losses::bce_with_logits;
use crate::nn::{Array, Dtype, Parameters, Weights};
use crate::{Error, Result};

const VOCABULARY: usize = 24;
const HIDDEN: usize = 8;

/// Token ids, and whether they are a match.
type Item = (Vec<u32>, bool);

struct Bag {
    parameters: Parameters,
    settings: TrainSettings,
    dropout: f64,
    divisible: bool,
    /// Training passes after which the loss is not a number.
    breaks_after: u64,
    passes: AtomicU64,
    /// Items of the largest piece so far.
    largest: AtomicU64,
}

impl Bag {
    fn new() -> Self {
        let mut rng = generator(&[42]);
        let mut array = |shape: &[usize]| {
            let data = (0..shape.iter().product()).map(|_| rng.random_range(-0.1..0.1f32)).collect();
            Array::new(shape.to_vec(), data)
        };
        let arrays = [
            ("embed".to_string(), array(&[VOCABULARY, HIDDEN])),
            ("head.bias".to_string(), array(&[1])),
            ("head.weight".to_string(), array(&[HIDDEN, 1])),
        ];
        Bag {
            parameters: Parameters::new(Weights(arrays.into())),
            settings: settings(),
            dropout: 0.2,
            divisible: true,
            breaks_after: u64::MAX,
            passes: AtomicU64::new(0),
            largest: AtomicU64::new(0),
        }
    }
    fn bits(&self) -> Vec<u32> {
        self.parameters.list.iter().flat_map(|p| p.value.iter()).map(|v| v.to_bits()).collect()
    }
    fn values(&self, name: &str) -> Vec<f32> {
        self.parameters.get(name).unwrap().value.to_vec()
    }

    /// One score an item; with a seed, tokens are dropped.
    fn scores(&self, items: &[&Item], seed: Option<u64>) -> Result<Tensor> {
        let (b, t) = (items.len(), items.iter().map(|item| item.0.len()).sum::<usize>());
        let mut pool = vec![0.0f32; b * t];
        let mut at = 0;
        for (i, (ids, _)) in items.iter().enumerate() {
            pool[i * t + at..][..ids.len()].fill(1.0 / ids.len() as f32);
            at += ids.len();
        }
        if let Some(seed) = seed {
            let mut rng = generator(&[seed]);
            pool.iter_mut().filter(|_| rng.random_bool(self.dropout)).for_each(|p| *p = 0.0);
        }
        let ids: Vec<u32> = items.iter().flat_map(|item| item.0.iter().copied()).collect();
        let tokens = self.parameters.var("embed")?.index_select(&Tensor::from_vec(ids, t, &Device::Cpu)?, 0)?;
        let pooled = Tensor::from_vec(pool, (b, t), &Device::Cpu)?.matmul(&tokens)?.tanh()?;
        let scores = pooled.matmul(&self.parameters.var("head.weight")?)?.squeeze(1)?;
        Ok(scores.broadcast_add(&self.parameters.var("head.bias")?)?)
    }
}

impl Objective for Bag {
    type Item = Item;

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }
    fn parameters_mut(&mut self) -> &mut Parameters {
        &mut self.parameters
    }
    fn epoch(&self, epoch: u64) -> Result<Vec<Item>> {
        Ok(items(200, 100 + epoch))
    }
    fn order(&self, items: &[Item], epoch: u64) -> Vec<u32> {
        let is_match: Vec<bool> = items.iter().map(|item| item.1).collect();
        batches::oversampled(&is_match, 0.5, self.settings.seed, epoch)
    }
    fn tokens(&self, item: &Item) -> usize {
        item.0.len()
    }
    fn is_divisible(&self) -> bool {
        self.divisible
    }
    fn loss(&self, items: &[&Item], step: &Step) -> Result<Tensor> {
        self.largest.fetch_max(items.len() as u64, Ordering::Relaxed);
        let targets: Vec<f32> = items.iter().map(|item| f32::from(u8::from(item.1))).collect();
        let weights = vec![1.0 / step.items as f32; items.len()];
        let scores = self.scores(items, Some(step.seed))?;
        let loss = bce_with_logits(&scores, &targets, &weights, self.settings.label_smoothing)?;
        let breaks = self.passes.fetch_add(1, Ordering::Relaxed) >= self.breaks_after;
        Ok((loss + if breaks { f64::NAN } else { 0.0 })?)
    }
    fn measures(&self) -> &'static [&'static str] {
        &["accuracy", "surprise_loss"]
    }
    fn validate(&self) -> Result<Measures> {
        let valid = items(120, 7);
        let scores: Vec<f32> = self.scores(&valid.iter().collect::<Vec<_>>(), None)?.to_vec1()?;
        self.parameters.clear_graph();
        let mean = |of: &dyn Fn(f32, bool) -> f64| {
            scores.iter().zip(&valid).map(|(&z, item)| of(z, item.1)).sum::<f64>() / valid.len() as f64
        };
        let accuracy = mean(&|z, y| f64::from(u8::from((z > 0.0) == y)));
        let loss = mean(&|z, y| f64::from(if y { -z } else { z }).exp().ln_1p());
        Ok([("accuracy".to_string(), accuracy), ("surprise_loss".to_string(), loss)].into())
    }
}

/// A match holds more of the first six tokens than of the next six.
fn items(count: usize, seed: u64) -> Vec<Item> {
    let mut rng = generator(&[seed]);
    let mut one = || {
        let ids: Vec<u32> = (0..rng.random_range(5..20)).map(|_| rng.random_range(0..VOCABULARY as u32)).collect();
        let votes: i32 = ids.iter().map(|&id| i32::from(id < 6) - i32::from((6..12).contains(&id))).sum();
        (ids, votes > 1)
    };
    (0..count).map(|_| one()).collect()
}

fn settings() -> TrainSettings {
    TrainSettings {
        seed: 11,
        epochs: 4,
        batch: 8,
        gradient_accumulation: 2,
        max_tokens_per_pass: 70,
        lr: 0.03,
        metric: "accuracy".into(),
        label_smoothing: 0.05,
        ema_decay: Some(0.9),
        checkpoint_every: 8,
        ..TrainSettings::default()
    }
}

fn run(bag: &mut Bag, settings: &TrainSettings, dir: &Path, resume: bool, p: &dyn Progress) -> Result<State> {
    bag.settings = settings.clone();
    fit(bag, settings, dir, resume, p)
}

/// The log without what depends on the clock.
fn log(dir: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(dir.join("log.jsonl")).unwrap();
    let line = |line: &str| {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        value.as_object_mut().unwrap().retain(|key, _| !key.contains("second"));
        value
    };
    text.lines().map(line).collect()
}

/// Stops at a step, or copies the run folder there as a kill would leave it.
struct At {
    step: u64,
    copy: Option<(PathBuf, PathBuf)>,
    done: AtomicBool,
}

impl Progress for At {
    fn step(&self, report: &StepReport) -> ControlFlow<()> {
        if report.step != self.step || self.done.swap(true, Ordering::Relaxed) {
            return ControlFlow::Continue(());
        }
        let Some((from, to)) = &self.copy else { return ControlFlow::Break(()) };
        std::fs::create_dir(to.join("checkpoint")).unwrap();
        std::fs::copy(from.join("log.jsonl"), to.join("log.jsonl")).unwrap();
        for entry in from.join("checkpoint").read_dir().unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join("checkpoint").join(entry.file_name())).unwrap();
        }
        std::fs::write(to.join("checkpoint/step-99.safetensors.part"), b"half").unwrap();
        ControlFlow::Continue(())
    }
}

#[test]
fn it_learns_and_keeps_the_best_weights() {
    let dir = tempfile::tempdir().unwrap();
    let mut network = Bag::new();
    let state = run(&mut network, &settings(), dir.path(), false, &Silent).unwrap();
    let (best, step) = state.best.unwrap();
    assert!(best > 0.8, "best accuracy {best}");
    assert!(state.finished && state.validations.len() == 4);
    assert!(state.validations.iter().any(|v| v.step == step && v.best && v.measures["accuracy"] as f32 == best));
    // what is in the network now measures as the best validation did
    assert_eq!(network.validate().unwrap()["accuracy"] as f32, best);
    let lines = log(dir.path());
    assert_eq!(lines.iter().filter(|l| l["kind"] == "step").count() as u64, state.step);
    let loss = |l: &serde_json::Value| l["loss"].as_f64().unwrap();
    assert!(loss(&lines[lines.len() - 2]) < loss(&lines[0]));
}

#[test]
fn a_resumed_run_gives_the_same_bits() {
    // bf16 keeps first moments in 16 bits
    for dtype in [Dtype::F32, Dtype::Bf16] {
        resumed_equals_whole(&TrainSettings { dtype, ..settings() });
    }
}

fn resumed_equals_whole(settings: &TrainSettings) {
    let whole_dir = tempfile::tempdir().unwrap();
    let killed_dir = tempfile::tempdir().unwrap();
    let copy = Some((whole_dir.path().to_path_buf(), killed_dir.path().to_path_buf()));
    let mut whole = Bag::new();
    let kill = At { step: 29, copy, done: AtomicBool::new(false) };
    let whole_state = run(&mut whole, settings, whole_dir.path(), false, &kill).unwrap();
    assert!(whole_state.step > 40, "the kill must fall into the middle");

    let stopped_dir = tempfile::tempdir().unwrap();
    let stop = At { step: 21, copy: None, done: AtomicBool::new(false) };
    let error = run(&mut Bag::new(), settings, stopped_dir.path(), false, &stop).unwrap_err();
    assert!(error.to_string().contains("step 21") && error.to_string().contains("--resume"), "{error}");

    for dir in [killed_dir.path(), stopped_dir.path()] {
        let mut network = Bag::new();
        let state = run(&mut network, settings, dir, true, &Silent).unwrap();
        assert_eq!(network.bits(), whole.bits());
        assert_eq!((state.best, state.validations.len()), (whole_state.best, whole_state.validations.len()));
        assert_eq!(log(dir), log(whole_dir.path()));
        let arrays = |dir: &Path| std::fs::read(dir.join("checkpoint").join(&state.arrays)).unwrap();
        assert!(arrays(dir) == arrays(whole_dir.path()), "moments and averages differ");
        // A finished run has nothing left to do.
        let mut again = Bag::new();
        assert_eq!(run(&mut again, settings, dir, true, &Silent).unwrap().step, state.step);
        assert_eq!(again.bits(), whole.bits());
    }
}

#[test]
fn another_seed_gives_other_bits_and_cannot_resume() {
    let dir = tempfile::tempdir().unwrap();
    let other_dir = tempfile::tempdir().unwrap();
    let (mut one, mut other) = (Bag::new(), Bag::new());
    run(&mut one, &settings(), dir.path(), false, &Silent).unwrap();
    let changed = TrainSettings { seed: 12, ..settings() };
    run(&mut other, &changed, other_dir.path(), false, &Silent).unwrap();
    assert_ne!(one.bits(), other.bits());
    let error = run(&mut Bag::new(), &changed, dir.path(), true, &Silent).unwrap_err();
    assert!(error.is_user_error() && error.to_string().contains("train.seed"), "{error}");
}

#[test]
fn the_bound_on_tokens_limits_memory_and_not_the_mathematics() {
    let train = |tokens: usize| {
        let dir = tempfile::tempdir().unwrap();
        let mut bag = Bag { dropout: 0.0, ..Bag::new() };
        let one = TrainSettings { epochs: 1, max_tokens_per_pass: tokens, ..settings() };
        run(&mut bag, &one, dir.path(), false, &Silent).unwrap();
        (bag.parameters.list.iter().flat_map(|p| p.value.iter().copied()).collect::<Vec<f32>>(), bag.largest)
    };
    let (cut, whole) = (train(25), train(100_000));
    for (a, b) in cut.0.iter().zip(whole.0) {
        assert!((a - b).abs() < 1e-3, "{a} {b}");
    }
    assert_eq!((cut.1.into_inner(), whole.1.into_inner()), (5, 8), "25 tokens are five items at most");
}

#[test]
fn a_batch_whose_items_see_each_other_is_never_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mut bag = Bag { divisible: false, ..Bag::new() };
    run(&mut bag, &TrainSettings { epochs: 1, max_tokens_per_pass: 25, ..settings() }, dir.path(), false, &Silent)
        .unwrap();
    assert_eq!(bag.largest.into_inner(), 8);
}

#[test]
fn the_metric_is_one_that_the_objective_measures_and_a_loss_is_better_when_lower() {
    let dir = tempfile::tempdir().unwrap();
    let with = |metric: &str| TrainSettings { metric: metric.into(), ..settings() };
    let error = run(&mut Bag::new(), &with("f1"), dir.path(), false, &Silent).unwrap_err().to_string();
    assert!(error.contains("train.metric = f1") && error.contains("accuracy, surprise_loss"), "{error}");
    let state = run(&mut Bag::new(), &with("surprise_loss"), dir.path(), false, &Silent).unwrap();
    let lowest =
        state.validations.iter().min_by(|a, b| a.measures["surprise_loss"].total_cmp(&b.measures["surprise_loss"]));
    assert_eq!(state.best.unwrap().1, lowest.unwrap().step);
}

#[test]
fn a_loss_that_is_not_a_number_stops_and_keeps_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let simple = TrainSettings { gradient_accumulation: 1, max_tokens_per_pass: 1000, ..settings() };
    let mut network = Bag { breaks_after: 19, ..Bag::new() };
    let error = run(&mut network, &simple, dir.path(), false, &Silent).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Setting { .. }) && text.contains("at step 20"), "{text}");
    assert!(text.contains("the checkpoint of step 16 is kept"), "{text}");
    assert!(network.parameters.list.iter().flat_map(|p| p.value.iter()).all(|v| v.is_finite()));
    let state = super::checkpoint::state(&dir.path().join("checkpoint")).unwrap().unwrap();
    assert_eq!(state.step, 16);
}

#[test]
fn a_log_that_lost_its_end_goes_on_after_its_last_whole_line() {
    for left in [0, 1000] {
        let dir = tempfile::tempdir().unwrap();
        let stop = At { step: 21, copy: None, done: AtomicBool::new(false) };
        run(&mut Bag::new(), &settings(), dir.path(), false, &stop).unwrap_err();
        let path = dir.path().join("log.jsonl");
        let before = std::fs::read(&path).unwrap();
        assert!(before.len() > 1000 && before[999] != b'\n', "the cut falls into a line");
        match left {
            0 => std::fs::remove_file(&path).unwrap(),
            _ => std::fs::write(&path, &before[..left]).unwrap(),
        }
        run(&mut Bag::new(), &settings(), dir.path(), true, &Silent).unwrap();
        let lines = log(dir.path());
        let kept = before[..left].iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(lines[kept]["step"], 22, "every line is JSON, and the next step follows");
    }
}

#[test]
fn parameters_of_a_name_have_a_rate_of_their_own() {
    let train = |rates: &[(&str, f32)]| {
        let dir = tempfile::tempdir().unwrap();
        let learning_rates = rates.iter().map(|(name, rate)| (name.to_string(), *rate)).collect();
        let mut bag = Bag::new();
        run(&mut bag, &TrainSettings { epochs: 1, learning_rates, ..settings() }, dir.path(), false, &Silent)
            .map(|_| bag)
    };
    let start = Bag::new();
    let frozen = train(&[("head", 0.0)]).unwrap();
    assert_eq!(frozen.values("head.weight"), start.values("head.weight"));
    assert_ne!(frozen.values("embed"), start.values("embed"));
    let split = train(&[("head", 0.0), ("head.bias", 1.0)]).unwrap();
    assert_eq!(split.values("head.weight"), start.values("head.weight"));
    assert_ne!(split.values("head.bias"), start.values("head.bias"), "the longest beginning counts");
    assert_eq!(train(&[("", 1.0)]).unwrap().bits(), train(&[]).unwrap().bits());
    let error = train(&[("classifier", 2.0)]).err().unwrap().to_string();
    assert!(error.starts_with("train.learning_rates.classifier = 2"), "{error}");
}

#[test]
fn early_stopping_counts_validations_without_a_new_best() {
    let dir = tempfile::tempdir().unwrap();
    let still =
        TrainSettings { lr: 1e-30, early_stopping: Some(2), validate_every: Some(5), ema_decay: None, ..settings() };
    let state = run(&mut Bag::new(), &still, dir.path(), false, &Silent).unwrap();
    assert_eq!((state.step, state.validations.len()), (15, 3));
    assert_eq!(state.best.map(|(_, step)| step), Some(5));
}
