//! `sverka train`: a recipe to a model.

use std::path::{Path, PathBuf};

use sverka::train::Recipe;

use crate::args::Resolved;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::training::{Bar, Words};

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
    let words =
        Words { measure: "f1", shown: "validation F1", held_out: "validation", items: "examples", in_epochs: true };
    let bar = Bar::new(output, words, false)?;
    bar.finish(sverka::train::train(recipe, run, resume, &bar))
}
