//! This engine's side of `benches/peers`: one JSON command a line on stdin, one JSON answer a line on stdout.
//!
//! The script keeps one such process next to those of the peers and sends each a short piece of work in turn, so that all of them are
//! measured under the same load. Every answer to a measurement is a list of milliseconds; the script makes figures of them.
//! Threads: `RAYON_NUM_THREADS`. Unit: `SVERKA_CPU`. `SVERKA_BENCH_DEVICE=cuda`: scoring on a GPU.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};
use sverka::bundle::{Architecture, Checkpoint, Purpose};
use sverka::losses::bce_with_logits;
use sverka::models::cross_encoder::logits;
use sverka::models::{Mode, Net};
use sverka::nn::kernels::{self, Left, Out, Panels, Unit};
use sverka::nn::{Device, Dtype, Matrix};
use sverka::text::{Batch, Encoding, TextConfig, TextEncoder};
use sverka::train::environment::memory;
use sverka::train::optimizer::{AdamW, Settings};
use sverka::{Error, Input, Result};

/// What the script asks for.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
enum Command {
    /// Who is there.
    Hello,
    /// The best product of each precision, in GFLOP/s of all threads.
    Peak { seconds: f64 },
    /// A model under a name.
    Load { key: String, model: PathBuf, setting: Dtype, train: bool },
    /// Forgets all models.
    Drop,
    /// Texts of a stream: a file of JSON lines `[left, right, label]`.
    Texts { file: PathBuf, model: PathBuf, max_tokens: usize },
    /// Scores `batch` drawn sequences of `tokens` again and again.
    Shape { key: String, batch: usize, tokens: usize, seconds: f64 },
    /// Tokenizes and scores the first `pairs` texts in batches, in the order they come.
    Stream { key: String, batch: usize, pairs: usize },
    /// Training steps on drawn sequences.
    Train { key: String, batch: usize, tokens: usize, seconds: f64 },
    /// A training step on each batch of the first `pairs` texts, tokenized before.
    TrainStream { key: String, batch: usize, pairs: usize },
    /// Resident bytes, now and at most since the last `reset`.
    Memory { reset: bool },
}

/// A cross-encoder with its optimizer.
struct Trained {
    net: Net,
    optimizer: AdamW,
}

#[derive(Default)]
struct Worker {
    scorers: HashMap<String, Net>,
    trained: HashMap<String, Trained>,
    texts: Vec<(String, String, f32)>,
    tokenizer: Option<TextEncoder>,
    warm: HashSet<(String, usize, usize)>,
}

fn missing(what: &str) -> Error {
    Error::Internal { op: "bench_worker", what: format!("{what} is not loaded") }
}

/// Where scoring is done.
fn device() -> Result<Device> {
    let name = std::env::var("SVERKA_BENCH_DEVICE").unwrap_or("cpu".into());
    name.parse().map_err(|what: String| Error::setting("SVERKA_BENCH_DEVICE", name, what))
}

/// Sequences of ordinary ids by a rule that the peers follow too; the right half is segment 1.
fn drawn(vocabulary: usize, batch: usize, tokens: usize) -> Batch {
    let id = |i: usize, j: usize| (1000 + (i * 977 + j * 131) % (vocabulary - 1000)) as u32;
    let sequence = |i: usize| Encoding {
        ids: (0..tokens).map(|j| id(i, j)).collect(),
        segments: (0..tokens).map(|j| u32::from(j >= tokens / 2)).collect(),
        ..Encoding::default()
    };
    (0..batch).map(sequence).collect::<Vec<_>>().iter().collect()
}

/// Milliseconds of each run; at least one run.
fn timed(seconds: f64, mut run: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let began = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || began.elapsed() < Duration::from_secs_f64(seconds) {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

impl Trained {
    fn new(net: Net, dtype: Dtype) -> Self {
        let half = dtype == Dtype::Bf16;
        let settings = Settings { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01, half };
        let optimizer = AdamW::new(net.parameters(), settings);
        Trained { net, optimizer }
    }

    /// Forward, backward and AdamW, as the trainer does it, but for the clipping that the peer's loop has not.
    fn step(&mut self, batch: &Batch, labels: &[f32]) -> Result<()> {
        self.net.parameters().zero_grad();
        let logits = logits(&self.net.pass(Mode::Train { seed: self.optimizer.steps }), batch)?;
        let loss = bce_with_logits(&logits, labels, &vec![1.0 / labels.len() as f32; labels.len()], 0.0)?;
        self.net.parameters().accumulate_grads(&loss.backward()?)?;
        drop((logits, loss)); // the graph shares the parameters, which are about to change
        self.optimizer.step(self.net.parameters_mut(), 2e-5, 1.0);
        Ok(())
    }
}

/// Logits of a cross-encoder.
fn score(net: &Net, batch: &Batch) -> Result<Vec<f32>> {
    Ok(logits(&net.pass(Mode::Infer), batch)?.to_vec1()?)
}

/// The fastest product of a precision over small shapes whose both sides stay in the first two caches.
fn best_product(dtype: Dtype, seconds: f64) -> f64 {
    let shapes = [(12, 32, 160), (24, 32, 160), (96, 32, 96), (96, 64, 96), (192, 96, 96)];
    let speed = |(rows, n, depth): (usize, usize, usize)| -> f64 {
        let k = depth
            * match dtype {
                Dtype::F32 => 1,
                Dtype::Bf16 => 2,
                Dtype::Int8 => 4,
            };
        let each = rayon::broadcast(|_| {
            let x: Vec<f32> = (0..rows * k).map(|i| (i % 17) as f32 / 16.0 - 0.5).collect();
            let w: Vec<f32> = (0..n * k).map(|i| (i % 19) as f32 / 18.0 - 0.5).collect();
            let (mut packed, mut scale, mut out) = (vec![0; rows * depth], vec![0.0; rows], vec![0.0; rows * n]);
            let mut panels = Panels::default();
            panels.pack(dtype, &[Matrix::F32(&w)], k);
            kernels::pack_rows(dtype, &x, k, rows, k, &mut packed, &mut scale);
            let left = Left { packed: &packed, stride: depth, rows, scale: &scale };
            // the fastest hundred in a row: whatever else runs here does not count
            let (began, mut fastest) = (Instant::now(), f64::MAX);
            while began.elapsed().as_secs_f64() < seconds {
                let start = Instant::now();
                (0..100).for_each(|_| kernels::product(left, &panels, None, Out::Write(&mut out), n));
                fastest = fastest.min(start.elapsed().as_secs_f64() / 100.0);
            }
            (2 * rows * n * k) as f64 / fastest / 1e9
        });
        each.iter().sum()
    };
    shapes.into_iter().map(speed).fold(0.0, f64::max)
}

/// This process's memory in MiB; null where the system does not say.
fn mebibytes(name: &str) -> Option<f64> {
    memory(name).map(|bytes| bytes as f64 / f64::from(1 << 20))
}

fn read_texts(file: &Path) -> Result<Vec<(String, String, f32)>> {
    let text = std::fs::read_to_string(file).map_err(Error::io("read", file))?;
    let line =
        |line| serde_json::from_str(line).map_err(|e| Error::Internal { op: "bench_worker", what: format!("{e}") });
    text.lines().map(line).collect()
}

impl Worker {
    fn encode(&self, texts: &[(String, String, f32)]) -> Result<Vec<Encoding>> {
        let tokenizer = self.tokenizer.as_ref().ok_or_else(|| missing("a tokenizer"))?;
        texts.par_iter().map(|(left, right, _)| tokenizer.encode(&[Input::Text(left), Input::Text(right)])).collect()
    }

    fn answer(&mut self, command: Command) -> Result<Value> {
        match command {
            Command::Hello => Ok(json!({
                "version": env!("CARGO_PKG_VERSION"),
                "unit": Unit::choose()?.name(),
                "threads": rayon::current_num_threads(),
                "resident_mb": mebibytes("VmRSS"),
            })),
            Command::Peak { seconds } => {
                let speeds = [Dtype::F32, Dtype::Bf16, Dtype::Int8].map(|dtype| best_product(dtype, seconds));
                Ok(json!({ "f32": speeds[0], "bf16": speeds[1], "int8": speeds[2] }))
            }
            Command::Load { key, model, setting, train } => {
                let began = Instant::now();
                let model_kind = Architecture::CrossEncoder.model();
                let mut checkpoint = Checkpoint::read(&model)?;
                checkpoint.select(&*model_kind, if train { Purpose::Start } else { Purpose::Score })?;
                let (Checkpoint { mut config, weights, .. }, modules) = (checkpoint, model_kind.modules());
                if train {
                    (config.hidden_dropout_prob, config.attention_probs_dropout_prob) = (0.0, 0.0);
                    let net = Net::training(config, &modules, weights, setting, 1)?;
                    self.trained.insert(key, Trained::new(net, setting));
                } else {
                    self.scorers.insert(key, Net::serving(config, &modules, &weights, setting, device()?)?);
                }
                Ok(json!({ "seconds": began.elapsed().as_secs_f64() }))
            }
            Command::Drop => {
                self.scorers.clear();
                self.trained.clear();
                self.warm.clear();
                Ok(json!({}))
            }
            Command::Texts { file, model, max_tokens } => {
                self.texts = read_texts(&file)?;
                self.tokenizer = Some(TextEncoder::open(&model, TextConfig { max_tokens, ..TextConfig::default() })?);
                let encoded = self.encode(&self.texts)?;
                let tokens: Vec<usize> = encoded.iter().map(|e| e.ids.len()).collect();
                Ok(json!({ "tokens": tokens }))
            }
            Command::Shape { key, batch, tokens, seconds } => {
                let net = self.scorers.get(&key).ok_or_else(|| missing(&key))?;
                let drawn = drawn(net.config().vocab_size, batch, tokens);
                if self.warm.insert((key, batch, tokens)) {
                    score(net, &drawn)?;
                }
                let mut scores = Vec::new();
                let ms = timed(seconds, || {
                    scores = score(net, &drawn)?;
                    Ok(())
                })?;
                Ok(json!({ "ms": ms, "logit": scores[0] }))
            }
            Command::Stream { key, batch, pairs } => {
                let net = self.scorers.get(&key).ok_or_else(|| missing(&key))?;
                let texts = &self.texts[..pairs.min(self.texts.len())];
                let (began, mut ms, mut first) = (Instant::now(), Vec::new(), None);
                for texts in texts.chunks(batch) {
                    let start = Instant::now();
                    let scores = score(net, &self.encode(texts)?.iter().collect())?;
                    ms.push(start.elapsed().as_secs_f64() * 1e3);
                    first = first.or(scores.first().copied());
                }
                Ok(json!({ "ms": ms, "seconds": began.elapsed().as_secs_f64(), "logit": first }))
            }
            Command::Train { key, batch, tokens, seconds } => {
                let trained = self.trained.get_mut(&key).ok_or_else(|| missing(&key))?;
                let drawn = drawn(trained.net.config().vocab_size, batch, tokens);
                let labels: Vec<f32> = (0..batch).map(|i| (i % 2) as f32).collect();
                if self.warm.insert((key, batch, tokens)) {
                    trained.step(&drawn, &labels)?;
                }
                Ok(json!({ "ms": timed(seconds, || trained.step(&drawn, &labels))? }))
            }
            Command::TrainStream { key, batch, pairs } => {
                let texts = &self.texts[..pairs.min(self.texts.len())];
                let encoded = self.encode(texts)?;
                let trained = self.trained.get_mut(&key).ok_or_else(|| missing(&key))?;
                let steps = encoded.chunks(batch).zip(texts.chunks(batch));
                let steps = steps.map(|(e, t)| (e.iter().collect(), t.iter().map(|t| t.2).collect()));
                let steps: Vec<(Batch, Vec<f32>)> = steps.collect();
                if self.warm.insert((key, batch, 0)) {
                    trained.step(&steps[0].0, &steps[0].1)?;
                }
                let (began, mut ms) = (Instant::now(), Vec::new());
                for (batch, labels) in &steps {
                    let start = Instant::now();
                    trained.step(batch, labels)?;
                    ms.push(start.elapsed().as_secs_f64() * 1e3);
                }
                Ok(json!({ "ms": ms, "seconds": began.elapsed().as_secs_f64() }))
            }
            Command::Memory { reset } => {
                if reset {
                    // 5 sets the highest resident size back to the present one (man proc); elsewhere there is none to set.
                    std::fs::write("/proc/self/clear_refs", "5").ok();
                }
                Ok(json!({ "peak_mb": mebibytes("VmHWM"), "resident_mb": mebibytes("VmRSS") }))
            }
        }
    }
}

fn main() -> std::io::Result<()> {
    let mut worker = Worker::default();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = match serde_json::from_str::<Command>(&line?) {
            Ok(command) => worker.answer(command).unwrap_or_else(|e| json!({ "error": e.to_string() })),
            Err(e) => json!({ "error": e.to_string() }),
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}
