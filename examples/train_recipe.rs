//! Train from a recipe and read what came out.
//!
//!     scripts/weights && scripts/data --to ../shared/data
//!     cargo run --release --example train_recipe -- recipes/abt-buy.toml runs/abt-buy-1 train.seed=1
use std::path::Path;

use sverka::train::{Progress, Recipe, Validation, train};

/// What a run says while it goes on. Every method has a default that does nothing.
struct Printer;

impl Progress for Printer {
    fn validated(&self, validation: &Validation) {
        println!("{validation:?}");
    }
    fn note(&self, message: &str) {
        println!("{message}");
    }
}

fn main() -> sverka::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [recipe, run, sets @ ..] = &arguments[..] else {
        println!("usage: train_recipe RECIPE RUN_FOLDER [KEY=VALUE ...]");
        return Ok(());
    };
    // A recipe says everything about a run: data, text, model, optimizer, calibration. `KEY=VALUE` replaces one of its values.
    let recipe = Recipe::read(Path::new(recipe), sets)?;

    // The run folder must be new. With `true` in place of `false`, a run that was killed goes on, to the same bits.
    let outcome = train(&recipe, Path::new(run), false, &Printer)?;

    // Calibration and threshold were chosen on validation; the test split was looked at once, after that.
    println!("{} steps, the weights of step {} were kept", outcome.steps, outcome.best_step);
    for (source, report) in &outcome.test {
        println!(
            "{source}: F1 {:.3} (precision {:.3}, recall {:.3}), average precision {:.3}, calibration error {:.3}",
            report.f1, report.precision, report.recall, report.pr_auc, report.ece
        );
    }
    // The recipe's own `[expect]`: a run that stays below it is worth a look.
    if let Some(missed) = outcome.missed() {
        println!("below what the recipe expects: {missed}");
    }
    Ok(())
}
