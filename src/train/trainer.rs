//! The loop: steps, validation, early stopping, checkpoints.
//!
//! It sees an [`Objective`] and settings, and knows neither records nor losses nor measures: whatever has a loss over items trains here. A run
//! that was killed and resumed gives the same bits as one that was not, since a step is a function of the parameters, the optimizer's
//! state and `(seed, epoch, place in it)` alone; time is only reported. Refused: threads that prepare batches ahead (an epoch's tokens are
//! made at once, in parallel, and cost less than a step), and a global seed.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;

use super::batches;
use super::checkpoint::{self, Floats, State};
use super::objective::{Objective, Step, higher_is_better};
use super::optimizer::{self, AdamW};
use super::progress::{Progress, StepReport, Validation};
use super::recipe::TrainSettings;
use super::schedule::Schedule;
use super::seed::mix;
use crate::nn::{GradBuffer, Parameters};
use crate::{Error, Result};

/// Trains until the epochs are over or validation no longer improves, and leaves the best weights in the network. Writes
/// `log.jsonl` and `checkpoint/` into `dir`; with `resume` it goes on from the checkpoint there, if there is one.
///
/// # Errors
/// A loss that is not a number, a full disk (both keep the last checkpoint), a checkpoint of another network, and a stop
/// asked for by `progress`.
pub fn fit(
    objective: &mut impl Objective,
    settings: &TrainSettings,
    dir: &Path,
    resume: bool,
    progress: &dyn Progress,
) -> Result<State> {
    let measures = objective.measures();
    if !measures.contains(&settings.metric.as_str()) {
        let what = format!("is not measured here; there are {}", measures.join(", "));
        return Err(Error::setting("train.metric", &settings.metric, what));
    }
    let mut run = Run::begin(objective, settings, dir, resume, progress)?;
    while !run.state.finished {
        run.epoch()?;
    }
    run.keep_best();
    Ok(run.state)
}

struct Run<'a, O: Objective> {
    objective: &'a mut O,
    settings: &'a TrainSettings,
    progress: &'a dyn Progress,
    optimizer: AdamW,
    /// Moving average of the values, one array per parameter.
    average: Option<Vec<Arc<Vec<f32>>>>,
    /// The best weights so far.
    best: Option<Vec<Arc<Vec<f32>>>>,
    state: State,
    folder: PathBuf,
    log_path: PathBuf,
    log: File,
    began: Instant,
    /// Seconds of earlier runs, and the share of the work they did.
    before: (f64, f64),
    items_per_second: f64,
}

impl<'a, O: Objective> Run<'a, O> {
    fn begin(
        objective: &'a mut O,
        settings: &'a TrainSettings,
        dir: &Path,
        resume: bool,
        progress: &'a dyn Progress,
    ) -> Result<Self> {
        let folder = dir.join("checkpoint");
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let log_path = dir.join("log.jsonl");
        let found = if resume { checkpoint::state(&folder)? } else { None };
        let log = OpenOptions::new().create(true).append(true).open(&log_path).map_err(Error::io("open", &log_path))?;
        cut_log(&log, &log_path, found.as_ref().map_or(0, |state| state.log_bytes), progress)?;
        set_rates(objective.parameters_mut(), &settings.learning_rates)?;
        let parameters = objective.parameters();
        let mut run = Run {
            optimizer: AdamW::new(parameters, settings.adamw()),
            average: settings.ema_decay.map(|_| parameters.list.iter().map(|p| p.value.clone()).collect()),
            best: None,
            state: State { version: checkpoint::VERSION, seed: settings.seed, ..State::default() },
            objective,
            settings,
            progress,
            folder,
            log_path,
            log,
            began: Instant::now(),
            before: (0.0, 0.0),
            items_per_second: 0.0,
        };
        if let Some(state) = found {
            run.restore(state)?;
            progress.note(&format!("going on from step {} (epoch {})", run.state.step, run.state.epoch + 1));
        }
        Ok(run)
    }

    /// Reads what [`Run::save`] wrote.
    fn restore(&mut self, state: State) -> Result<()> {
        if state.seed != self.settings.seed {
            let what = format!("the run began with {}; a run keeps its seed", state.seed);
            return Err(Error::setting("train.seed", self.settings.seed, what));
        }
        let path = self.folder.join(&state.arrays);
        let mut arrays = checkpoint::read_arrays(&self.folder, &state, &state.arrays)?;
        for (i, p) in self.objective.parameters_mut().list.iter_mut().enumerate() {
            let mut take =
                |kind: &str| checkpoint::take(&mut arrays, &path, &format!("{kind}/{}", p.name), p.value.len());
            self.optimizer.m[i].set(take("m")?)?;
            self.optimizer.v[i].set(take("v")?)?;
            if let Some(average) = &mut self.average {
                average[i] = Arc::new(take("average")?);
            }
            p.value = Arc::new(take("value")?);
        }
        if let Some(name) = &state.best_arrays {
            let path = self.folder.join(name);
            let mut arrays = checkpoint::read_arrays(&self.folder, &state, name)?;
            let list = &self.objective.parameters().list;
            let best = list.iter().map(|p| checkpoint::take(&mut arrays, &path, &p.name, p.value.len()).map(Arc::new));
            self.best = Some(best.collect::<Result<_>>()?);
        }
        self.optimizer.steps = state.updates;
        self.before = (state.seconds, state.done(self.settings.epochs));
        self.state = state;
        Ok(())
    }

    /// The rest of the current epoch.
    fn epoch(&mut self) -> Result<()> {
        let s = self.settings;
        let epoch = self.state.epoch;
        let items = self.objective.epoch(epoch)?;
        if items.is_empty() {
            let what = "nothing to train on is left; see the counts of dropped pairs";
            return Err(Error::setting("data.sources", "[]", what));
        }
        let lengths: Vec<u32> = items.iter().map(|item| self.objective.tokens(item) as u32).collect();
        let order = self.objective.order(&items, epoch);
        let tokens = if self.objective.is_divisible() { s.max_tokens_per_pass } else { usize::MAX };
        let steps = batches::plan(&order, &lengths, s.batch, s.gradient_accumulation, tokens, s.seed, epoch);
        self.state.epoch_steps = steps.len() as u64;
        for step in steps.iter().skip(self.state.position as usize) {
            let stop = self.step(&items, step)?;
            let last = self.state.position == steps.len() as u64;
            let end = last && epoch + 1 == s.epochs;
            if last {
                self.state.epoch += 1;
                self.state.position = 0;
            }
            let due = s.validate_every.map_or(last, |n| end || self.state.step.is_multiple_of(n));
            if due {
                self.validate()?;
            }
            self.state.finished |= end;
            if stop.is_break() || due || self.state.finished || self.state.step.is_multiple_of(s.checkpoint_every) {
                self.save()?;
            }
            if stop.is_break() && !self.state.finished {
                let what = format!("stopped at step {} as asked; go on with --resume", self.state.step);
                return Err(Error::Internal { op: "train", what });
            }
            if self.state.finished {
                break;
            }
        }
        Ok(())
    }

    /// One update from all pieces of a step.
    fn step(&mut self, items: &[O::Item], step: &[Vec<u32>]) -> Result<ControlFlow<()>> {
        let s = self.settings;
        let started = Instant::now();
        let count: usize = step.iter().map(Vec::len).sum();
        let weight = step.iter().flatten().map(|&i| self.objective.weight(&items[i as usize])).sum();
        self.objective.parameters().zero_grad();
        let mut loss = 0.0;
        for (k, piece) in step.iter().enumerate() {
            let members: Vec<&O::Item> = piece.iter().map(|&i| &items[i as usize]).collect();
            let seed = mix(&[s.seed, self.state.step, k as u64]);
            let part = self.objective.loss(&members, &Step { seed, items: count, weight })?;
            loss += part.to_scalar::<f32>()?;
            self.objective.parameters().accumulate_grads(&part.backward()?)?;
        }
        let norm = optimizer::global_norm(self.objective.parameters());
        if !loss.is_finite() || !norm.is_finite() {
            return Err(self.diverged(if loss.is_finite() { "a gradient" } else { "the loss" }));
        }
        let middle = self.state.done_at(0.5, s.epochs);
        let lr = s.lr * Schedule { warmup: s.warmup, floor: s.min_lr_ratio }.factor(middle);
        let scale = optimizer::clip_scale(norm, s.max_grad_norm);
        self.optimizer.step(self.objective.parameters_mut(), lr as f32, scale);
        self.state.step += 1;
        self.state.position += 1;
        self.state.items += count as u64;
        self.follow();
        self.report(loss, lr, norm, count as f64 / started.elapsed().as_secs_f64().max(1e-9))
    }

    /// Moves the average towards the values: `a <- d a + (1 - d) v`, with a short memory while the run is young.
    fn follow(&mut self) {
        let (Some(average), Some(decay)) = (&mut self.average, self.settings.ema_decay) else { return };
        let t = self.state.step as f32;
        let d = decay.min((1.0 + t) / (10.0 + t));
        for (average, p) in average.iter_mut().zip(&self.objective.parameters().list) {
            Arc::make_mut(average).par_iter_mut().zip(&*p.value).for_each(|(a, v)| *a = d * *a + (1.0 - d) * v);
        }
    }

    fn report(&mut self, loss: f32, lr: f64, norm: f64, now: f64) -> Result<ControlFlow<()>> {
        let kept = if self.items_per_second > 0.0 { 0.95 } else { 0.0 };
        self.items_per_second = kept * self.items_per_second + (1.0 - kept) * now;
        let done = self.state.done(self.settings.epochs);
        let seconds = self.began.elapsed().as_secs_f64();
        let seconds_left = seconds / (done - self.before.1).max(1e-9) * (1.0 - done).max(0.0);
        let items_per_second = self.items_per_second;
        let (step, epoch) = (self.state.step, self.state.epoch);
        let report = StepReport { step, epoch, done, loss, lr: lr as f32, norm, items_per_second, seconds_left };
        self.write_log("step", &report)?;
        Ok(self.progress.step(&report))
    }

    /// Measures on held-out data, with the averaged weights if there are any.
    fn validate(&mut self) -> Result<()> {
        self.swap_average();
        let measures = self.objective.validate()?;
        let metric = &self.settings.metric;
        let value = measures.get(metric).copied().unwrap_or(f64::NAN);
        if let Some((name, _)) = measures.iter().find(|(_, value)| !value.is_finite()) {
            return Err(self.diverged(&format!("the validation's {name}")));
        }
        let value = if higher_is_better(metric) { value } else { -value } as f32;
        let best = self.state.best.is_none_or(|(so_far, _)| value > so_far);
        if best {
            self.state.best = Some((value, self.state.step));
            self.state.stale = 0;
            self.best = Some(self.objective.parameters().list.iter().map(|p| p.value.clone()).collect());
        } else {
            self.state.stale += 1;
        }
        self.swap_average();
        self.state.finished |= self.settings.early_stopping.is_some_and(|patience| self.state.stale >= patience);
        let epochs = self.state.done(self.settings.epochs) * self.settings.epochs as f64;
        let validation = Validation { step: self.state.step, epochs, measures, best };
        self.write_log("validation", &validation)?;
        self.progress.validated(&validation);
        self.state.validations.push(validation);
        Ok(())
    }

    /// Exchanges values and averages; a second call undoes it.
    fn swap_average(&mut self) {
        let Some(average) = &mut self.average else { return };
        for (p, average) in self.objective.parameters_mut().list.iter_mut().zip(average) {
            std::mem::swap(&mut p.value, average);
        }
    }

    fn save(&mut self) -> Result<()> {
        self.log.sync_data().map_err(Error::io("write", &self.log_path))?;
        self.state.log_bytes = self.log.metadata().map_err(Error::io("read", &self.log_path))?.len();
        self.state.updates = self.optimizer.steps;
        self.state.seconds = self.before.0 + self.began.elapsed().as_secs_f64();
        let list = &self.objective.parameters().list;
        if let (Some(best), Some((_, step))) = (&self.best, self.state.best) {
            let name = format!("best-{step}.safetensors");
            if self.state.best_arrays.as_ref() != Some(&name) {
                let arrays = list.iter().zip(best).map(|(p, best)| (p.name.clone(), Floats::of(&p.shape, best)));
                let sum = checkpoint::write_arrays(&self.folder, &name, &arrays.collect::<Vec<_>>())?;
                self.state.checksums.insert(name.clone(), sum);
                self.state.best_arrays = Some(name);
            }
        }
        let mut arrays = Vec::with_capacity(4 * list.len());
        for (i, p) in list.iter().enumerate() {
            let mut add = |kind: &str, floats| arrays.push((format!("{kind}/{}", p.name), floats));
            let moment = |values| {
                let half = matches!(values, &GradBuffer::Bf16(_));
                Floats { shape: &p.shape, half, data: values.pieces() }
            };
            add("value", Floats::of(&p.shape, &p.value));
            add("m", moment(&self.optimizer.m[i]));
            add("v", moment(&self.optimizer.v[i]));
            if let Some(average) = &self.average {
                add("average", Floats::of(&p.shape, &average[i]));
            }
        }
        self.state.arrays = format!("step-{}.safetensors", self.state.step);
        let sum = checkpoint::write_arrays(&self.folder, &self.state.arrays, &arrays)?;
        let State { arrays, best_arrays, checksums, .. } = &mut self.state;
        checksums.insert(arrays.clone(), sum);
        checksums.retain(|name, _| name == arrays || best_arrays.as_ref() == Some(name));
        checkpoint::commit(&self.folder, &self.state)
    }

    fn keep_best(&mut self) {
        let Some(best) = self.best.take() else { return };
        for (p, value) in self.objective.parameters_mut().list.iter_mut().zip(best) {
            p.value = value;
        }
    }

    fn write_log<T: serde::Serialize>(&mut self, kind: &str, entry: &T) -> Result<()> {
        #[derive(serde::Serialize)]
        struct Line<'a, T> {
            kind: &'a str,
            #[serde(flatten)]
            entry: &'a T,
        }
        let line = serde_json::to_string(&Line { kind, entry })
            .map_err(|e| Error::Internal { op: "write log", what: e.to_string() })?;
        writeln!(self.log, "{line}").map_err(Error::io("write", &self.log_path))
    }

    fn diverged(&self, what: &str) -> Error {
        let step = self.state.step + 1;
        let kept = match checkpoint::state(&self.folder) {
            Ok(Some(state)) => format!("the checkpoint of step {} is kept", state.step),
            _ => "there is no checkpoint yet".to_string(),
        };
        let what = format!("{what} is not a finite number at step {step}; lower the rate or train in f32; {kept}");
        Error::setting("train.lr", self.settings.lr, what)
    }
}

/// Cuts the log to what the checkpoint knows of it. Of a log that lost its end, or all of it, the whole lines stay.
fn cut_log(log: &File, path: &Path, bytes: u64, progress: &dyn Progress) -> Result<()> {
    let mut keep = bytes;
    let found = log.metadata().map_err(Error::io("read", path))?.len();
    if found < bytes {
        let text = std::fs::read(path).map_err(Error::io("read", path))?;
        keep = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at as u64 + 1);
        progress.note(&format!("the log has lost {} of {bytes} bytes; it goes on after what is left", bytes - keep));
    }
    log.set_len(keep).map_err(Error::io("write", path))
}

/// Gives each parameter the factor of its learning rate.
fn set_rates(parameters: &mut Parameters, rates: &BTreeMap<String, f32>) -> Result<()> {
    for (prefix, rate) in rates {
        // sorted, so a longer prefix comes after the shorter ones that it begins with
        let mut of_prefix = parameters.list.iter_mut().filter(|p| p.name.starts_with(prefix)).peekable();
        if of_prefix.peek().is_none() {
            let what = "no parameter's name begins so; `sverka info` lists them";
            return Err(Error::setting(format!("train.learning_rates.{prefix}"), rate, what));
        }
        of_prefix.for_each(|p| p.lr_scale = *rate);
    }
    Ok(())
}

impl State {
    /// Share of the planned epochs that is done, `0..=1`.
    fn done(&self, epochs: u64) -> f64 {
        self.done_at(0.0, epochs)
    }
    /// The same, some steps later.
    fn done_at(&self, later: f64, epochs: u64) -> f64 {
        let within = (self.position as f64 + later) / self.epoch_steps.max(1) as f64;
        ((self.epoch as f64 + within) / epochs.max(1) as f64).min(1.0)
    }
}
