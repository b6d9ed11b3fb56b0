//! `sverka train`: a recipe to a model.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use indicatif::ProgressBar;
use sverka::Error;
use sverka::train::{Progress, Recipe, StepReport, Validation};

use crate::args::Resolved;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::signals::Stop;

const EXAMPLE: &str = "\
Examples:
  sverka train recipes/abt-buy.toml
  sverka train recipes/abt-buy.toml --set train.epochs=5 --set train.seed=2 --run runs/short
  sverka train recipes/abt-buy.toml --run runs/short --resume

The run folder holds the recipe, a log (JSON lines), metrics, the environment, checkpoints and the model.
`init` writes a recipe for your own lists. Exit code 3: the result is below the recipe's [expect].
Ctrl-C (or SIGTERM) writes a checkpoint and ends with 130 (143); a second one ends at once.";

/// Train a model with a recipe
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The recipe (TOML)
    recipe: PathBuf,
    /// Set a key of the recipe, for example train.epochs=5; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The run's folder [default: runs/ and the recipe's name]
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Go on where the run in this folder stopped
    #[arg(long)]
    resume: bool,
}

/// Draws what a run reports.
struct Bar<'a> {
    output: &'a Output,
    bar: ProgressBar,
    best: Mutex<Option<f64>>,
    stop: Arc<Stop>,
}

const STEPS: u64 = 10_000;

impl Progress for Bar<'_> {
    fn step(&self, report: &StepReport) -> ControlFlow<()> {
        self.bar.set_position((report.done * STEPS as f64) as u64);
        let best = self.best.lock().ok().and_then(|b| *b).map_or("-".into(), |f1| format!("{:.1}%", 100.0 * f1));
        self.bar.set_message(format!(
            "epoch {} loss {:.4}, validation F1 {best}, {:.0} examples/s, {} left",
            report.epoch + 1,
            report.loss,
            report.items_per_second,
            clock(report.seconds_left)
        ));
        if self.stop.after_step().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
    fn validated(&self, v: &Validation) {
        if v.best
            && let Ok(mut best) = self.best.lock()
        {
            *best = v.measures.get("f1").copied();
        }
        let mark = if v.best { ", the best so far" } else { "" };
        let measures = v.measures.iter().map(|(name, value)| format!("{name} {value:.4}"));
        let measures = measures.collect::<Vec<_>>().join(", ");
        self.say(&format!("after {:.1} epochs: validation {measures}{mark}", v.epochs));
    }
    fn note(&self, message: &str) {
        self.say(message);
    }
}

impl Bar<'_> {
    fn say(&self, line: &str) {
        self.bar.suspend(|| self.output.note(line));
    }
}

/// Seconds as `1:02:03` or `2:03`.
pub fn clock(seconds: f64) -> String {
    let s = seconds.max(0.0).round() as u64;
    if s >= 3600 {
        format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
    } else {
        format!("{}:{:02}", s / 60, s % 60)
    }
}

pub fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    global.on_cpu("training")?;
    let mut sets = args.set;
    if let Some(dtype) = global.dtype {
        sets.push(format!("train.dtype={}", format!("{dtype:?}").to_lowercase()));
    }
    let recipe = Recipe::read(&args.recipe, &sets)?;
    let run = args.run.unwrap_or_else(|| PathBuf::from("runs").join(&recipe.name));
    let outcome = train_recipe(&recipe, &run, args.resume, output)?;
    output.summary(&outcome, &outcome.to_string())?;
    match outcome.missed() {
        Some(missed) => Err(Failure::Gate(missed)),
        None => Ok(()),
    }
}

/// Trains into a run folder, with a bar, until it is done or a signal comes.
pub fn train_recipe(
    recipe: &Recipe,
    run: &Path,
    resume: bool,
    output: &Output,
) -> Result<sverka::train::Outcome, Failure> {
    let bar = output.bar(STEPS, "{bar:24} {percent:>3}% {msg}");
    let stop = Stop::listen().map_err(|e| Error::Internal { op: "listen to signals", what: e.to_string() })?;
    let progress = Bar { output, bar, best: Mutex::new(None), stop };
    let outcome = sverka::train::train(recipe, run, resume, &progress).map_err(|e| match progress.stop.signal() {
        Some(signal) => Failure::Stopped(signal, e.to_string()),
        None => e.into(),
    })?;
    progress.bar.finish_and_clear();
    Ok(outcome)
}
