//! What `train` and `pretrain` show while they run, and how a signal ends them.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use indicatif::ProgressBar;
use sverka::Error;
use sverka::train::{Progress, StepReport, Validation};

use crate::failure::Failure;
use crate::output::Output;
use crate::signals::Stop;

const STEPS: u64 = 10_000;

/// The words of a kind of training.
pub struct Words {
    /// The measure in the bar, by its name.
    pub measure: &'static str,
    /// What the bar calls it.
    pub shown: &'static str,
    /// What the held-out items are called.
    pub held_out: &'static str,
    /// What a step takes several of.
    pub items: &'static str,
    /// Whether a run is counted in epochs, not in steps.
    pub in_epochs: bool,
}

/// Draws what a run reports, and stops it after a signal.
pub struct Bar<'a> {
    output: &'a Output,
    bar: ProgressBar,
    words: Words,
    latest: Mutex<Option<f64>>,
    stop: Arc<Stop>,
}

impl<'a> Bar<'a> {
    /// A bar, or none where `is_hidden`; signals are listened to from here on.
    pub fn new(output: &'a Output, words: Words, is_hidden: bool) -> Result<Self, Error> {
        let stop = Stop::listen().map_err(|e| Error::Internal { op: "listen to signals", what: e.to_string() })?;
        let bar = if is_hidden { ProgressBar::hidden() } else { output.bar(STEPS, "{bar:24} {percent:>3}% {msg}") };
        Ok(Bar { output, bar, words, latest: Mutex::new(None), stop })
    }

    /// The run's result; an error after a signal is a stop.
    pub fn finish<T>(&self, result: Result<T, Error>) -> Result<T, Failure> {
        let value = result.map_err(|e| match self.stop.signal() {
            Some(signal) => Failure::Stopped(signal, e.to_string()),
            None => e.into(),
        })?;
        self.bar.finish_and_clear();
        Ok(value)
    }
}

impl Progress for Bar<'_> {
    fn step(&self, report: &StepReport) -> ControlFlow<()> {
        self.bar.set_position((report.done * STEPS as f64) as u64);
        let Words { shown, items, in_epochs, .. } = self.words;
        let at = if in_epochs { format!("epoch {}", report.epoch + 1) } else { format!("step {}", report.step) };
        let latest =
            self.latest.lock().ok().and_then(|b| *b).map_or("-".into(), |value| format!("{:.1}%", 100.0 * value));
        let (speed, left) = (report.items_per_second, clock(report.seconds_left));
        let loss = report.loss;
        self.bar.set_message(format!("{at} loss {loss:.4}, {shown} {latest}, {speed:.0} {items}/s, {left} left"));
        if self.stop.after_step().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn validated(&self, v: &Validation) {
        let Words { measure, held_out, in_epochs, .. } = self.words;
        if (v.best || !in_epochs)
            && let Ok(mut latest) = self.latest.lock()
        {
            *latest = v.measures.get(measure).copied();
        }
        let at = if in_epochs { format!("after {:.1} epochs", v.epochs) } else { format!("step {}", v.step) };
        let measures = v.measures.iter().map(|(name, value)| format!("{name} {value:.4}"));
        let measures = measures.collect::<Vec<_>>().join(", ");
        let mark = if v.best && in_epochs { ", the best so far" } else { "" };
        self.note(&format!("{at}: {held_out} {measures}{mark}"));
    }

    fn note(&self, message: &str) {
        self.bar.suspend(|| self.output.note(message));
    }
}

/// Seconds as `1:02:03` or `2:03`.
fn clock(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    if s >= 3600 {
        format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
    } else {
        format!("{}:{:02}", s / 60, s % 60)
    }
}
