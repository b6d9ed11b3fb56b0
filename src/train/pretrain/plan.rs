//! What a run of pre-training would take, before it starts: measured on this machine, computed for others.
//!
//! Some steps of the very run (its model, its texts, its batches) are timed; time, energy and money follow. For another machine only its
//! price and the floating-point operations that it sustains are known, so what it would take is computed from the operations of a token:
//! `6 n` for `n` weights that a token meets (Kaplan et al., arXiv 2001.08361), the decoder's for masked tokens alone, and attention's.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::recipe::PretrainRecipe;
use super::run::Start;
use super::store::Store;
use crate::models::bert::Config;
use crate::train::objective::{Objective, Step};
use crate::train::optimizer::AdamW;
use crate::train::progress::Progress;
use crate::train::{batches, environment, optimizer};
use crate::{Error, Result};

/// Documents of a source that are read to measure.
const DOCUMENTS: u64 = 50_000;
/// Steps that are timed at least, after one that warms up.
const LEAST: u32 = 3;

/// Prices of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Prices {
    /// Of an hour.
    pub per_hour: Option<f64>,
    /// What it draws, in watts.
    pub watts: Option<f64>,
    /// Of a kilowatt-hour.
    pub per_kwh: Option<f64>,
}

/// A machine to be rented.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// Peak of its half-precision units together, in 10^12 operations a second.
    pub tflops: f64,
    /// Share of the peak that training sustains.
    pub sustained: f64,
    /// What an hour costs, from and to.
    pub per_hour: (f64, f64),
    /// Hours that are rented.
    pub hours: f64,
}

impl Machine {
    /// Four V100 for four days: the usual price of a BERT from nothing.
    pub fn four_v100() -> Self {
        Machine { name: "4 x V100".into(), tflops: 500.0, sustained: 0.3, per_hour: (12.0, 15.0), hours: 96.0 }
    }
}

/// What another machine would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Elsewhere {
    /// Its name.
    pub machine: String,
    /// What was assumed that it sustains, in 10^12 operations a second.
    pub sustained_tflops: f64,
    /// What its whole budget costs, from and to.
    pub budget: (f64, f64),
    /// Hours that it is rented for.
    pub budget_hours: f64,
    /// Hours that this run would take there.
    pub hours: f64,
    /// What this run would cost there, from and to.
    pub price: (f64, f64),
    /// How many runs like this the budget would buy.
    pub runs: f64,
    /// Tokens that the budget would buy for this model.
    pub tokens: f64,
    /// Tokens that the budget would buy for a BERT-base (12 layers of 768, 30,522 words).
    pub bert_base_tokens: f64,
}

/// What a run would take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Trained values.
    pub parameters: u64,
    /// Steps of the run.
    pub steps: u64,
    /// Tokens of a step, special ones included; a mean.
    pub tokens_per_step: f64,
    /// Tokens of the run.
    pub tokens: f64,
    /// Passes over the sources; none where only a part of them was read.
    pub passes: Option<f64>,
    /// Tokens a second, measured here.
    pub tokens_per_second: f64,
    /// Seconds that were measured.
    pub measured_seconds: f64,
    /// Operations of a token.
    pub operations_per_token: f64,
    /// Operations a second that this machine sustains, in 10^9.
    pub gflops: f64,
    /// Hours of the run, without validation.
    pub hours: f64,
    /// Memory in use at most, in bytes; where the system says it.
    pub memory: Option<u64>,
    /// Disk for checkpoints and the model, in bytes.
    pub disk: u64,
    /// Kilowatt-hours, at the watts given.
    pub kwh: Option<f64>,
    /// Money, at the prices given.
    pub price: Option<f64>,
    /// What other machines would do.
    pub elsewhere: Vec<Elsewhere>,
}

/// Operations of a token of a sequence of so many, in training; `masked` is the share of tokens that reach the decoder.
fn operations(config: &Config, sequence: f64, masked: f64) -> f64 {
    let [h, f, l, v] =
        [config.hidden_size, config.intermediate_size, config.num_hidden_layers, config.vocab_size].map(|n| n as f64);
    let layer = 4.0 * h * h + 2.0 * h * f;
    6.0 * (l * layer + masked * (h * h + h * v)) + 12.0 * l * h * sequence
}

/// Measures some steps for about `seconds`, and computes the rest.
///
/// # Errors
/// What the run itself would refuse.
pub fn plan(
    recipe: &PretrainRecipe,
    prices: &Prices,
    machines: &[Machine],
    seconds: f64,
    progress: &dyn Progress,
) -> Result<Plan> {
    let start = Start::read(recipe, progress)?;
    let folder = tempfile::tempdir().map_err(Error::io("create", &std::env::temp_dir()))?;
    let store = Store::of_some(&folder.path().join("corpus"), recipe, &start.text, DOCUMENTS)?;
    let mut objective = start.objective(recipe, &store)?;
    let s = &recipe.train;
    let settings = s.trainer();
    // as many items as the longest measurement may take, in the order of a run
    let items = objective.items.range(0, 64 * s.step_items());
    let lengths: Vec<u32> = items.iter().map(|item| item.tokens).collect();
    let order: Vec<u32> = (0..items.len() as u32).collect();
    let steps = batches::plan(&order, &lengths, s.batch, s.gradient_accumulation, s.max_tokens_per_pass, s.seed, 0);
    let mut optimizer = AdamW::new(objective.parameters(), settings.adamw());
    let (mut tokens, mut measured, mut timed) = (0u64, Duration::ZERO, 0);
    for (number, step) in steps.iter().cycle().enumerate() {
        let began = Instant::now();
        let members = || step.iter().flatten().map(|&i| &items[i as usize]);
        let weight = members().map(|item| objective.weight(item)).sum();
        objective.parameters().zero_grad();
        for (k, piece) in step.iter().enumerate() {
            let members: Vec<_> = piece.iter().map(|&i| &items[i as usize]).collect();
            let seed = crate::train::seed::mix(&[s.seed, number as u64, k as u64]);
            let loss = objective.loss(&members, &Step { seed, items: step.iter().map(Vec::len).sum(), weight })?;
            objective.parameters().accumulate_grads(&loss.backward()?)?;
        }
        let of_step: u64 = members().map(|item| u64::from(item.tokens)).sum();
        let scale = optimizer::clip_scale(optimizer::global_norm(objective.parameters()), s.max_grad_norm);
        optimizer.step(objective.parameters_mut(), 0.0, scale);
        // the first step makes room for everything
        if number > 0 {
            (tokens, measured, timed) = (tokens + of_step, measured + began.elapsed(), timed + 1);
        }
        if timed >= LEAST && measured.as_secs_f64() >= seconds {
            break;
        }
    }
    let measured_seconds = measured.as_secs_f64();
    let tokens_per_second = tokens as f64 / measured_seconds;
    let tokens_per_step =
        lengths.iter().map(|&n| f64::from(n)).sum::<f64>() / lengths.len() as f64 * s.step_items() as f64;
    let all = tokens_per_step * s.steps as f64;
    let hours = all / tokens_per_second / 3600.0;
    let of_token = operations(&start.config, tokens_per_step / s.step_items() as f64, recipe.mask.share);
    let parameters: u64 = objective.parameters().list.iter().map(|p| p.value.len() as u64).sum();
    let kwh = prices.watts.map(|watts| watts * hours / 1000.0);
    let costs = [prices.per_hour.map(|price| price * hours), prices.per_kwh.zip(kwh).map(|(price, kwh)| price * kwh)];
    let known = costs.iter().any(Option::is_some);
    let complete = store.sources().iter().all(|source| source.documents < DOCUMENTS);
    let pass = objective.items.pass() as f64;
    let base: Config = serde_json::from_value(serde_json::json!({
        "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "max_position_embeddings": 512
    }))
    .map_err(|e| Error::Internal { op: "plan", what: e.to_string() })?;
    let elsewhere = machines.iter().map(|machine| {
        let sustained = machine.tflops * machine.sustained * 1e12;
        let hours = all * of_token / sustained / 3600.0;
        let bought = sustained * machine.hours * 3600.0;
        let (low, high) = machine.per_hour;
        Elsewhere {
            machine: machine.name.clone(),
            sustained_tflops: sustained / 1e12,
            budget: (low * machine.hours, high * machine.hours),
            budget_hours: machine.hours,
            hours,
            price: (low * hours, high * hours),
            runs: machine.hours / hours.max(1e-12),
            tokens: bought / of_token,
            bert_base_tokens: bought / operations(&base, 128.0, 0.15),
        }
    });
    Ok(Plan {
        parameters,
        steps: s.steps,
        tokens_per_step,
        tokens: all,
        passes: complete.then(|| (s.steps * s.step_items()) as f64 / pass),
        tokens_per_second,
        measured_seconds,
        operations_per_token: of_token,
        gflops: of_token * tokens_per_second / 1e9,
        hours,
        memory: environment::memory("VmHWM"),
        // two checkpoints and two best ones at a time, and the model
        disk: parameters * (2 * 12 + 2 * 4 + 4),
        kwh,
        price: known.then(|| costs.iter().flatten().sum()),
        elsewhere: elsewhere.collect(),
    })
}
