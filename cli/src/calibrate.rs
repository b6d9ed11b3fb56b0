//! `sverka calibrate`: scores to probabilities, and the threshold, from labelled pairs; written into the bundle.

use std::str::FromStr;

use clap::ValueEnum;
use serde::Serialize;
use sverka::Error;
use sverka::bundle::Bundle;
use sverka::calibrate::{Calibration, Method, Refit, Threshold, ThresholdObjective, too_few};
use sverka::eval::{Report, report_decided};

use crate::args::Resolved;
use crate::failure::Outcome;
use crate::labelled::{DataArgs, Unseen, described, keep_scorable, scores};
use crate::output::Output;

const EXAMPLE: &str = "\
Examples:
  sverka calibrate runs/shop/model my-pairs.csv
  sverka calibrate runs/shop/model shop/ --method isotonic --goal precision=0.95
  sverka calibrate runs/shop/model shop/ --goal cost=5:1     # a wrong pair costs 5, a missed one 1

Use pairs that the model was not trained on, at least ten of each label and better some hundreds. What is better than before on pairs
left out of the fit (cross-validation) is written into MODEL/sverka.json; the rest stays as it was.";

/// Fit probabilities and the threshold of a model to labelled pairs
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE, mut_arg("split", |split| split.default_value("valid")))]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// How a score becomes a probability
    #[arg(long, value_enum, default_value_t = MethodArg::Beta)]
    method: MethodArg,
    /// What the threshold is chosen for: f1, precision=SHARE, or cost=WRONG:MISSED
    #[arg(long, default_value = "f1", value_parser = GoalArg::from_str)]
    goal: GoalArg,
    /// Seed of the cross-validation and of the threshold's bootstrap interval
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Store calibration and threshold even if the pairs are few or the new ones are not better for certain
    #[arg(long)]
    force: bool,
}

/// `--method`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum MethodArg {
    /// one divisor
    Temperature,
    /// slope and intercept
    Platt,
    /// the best non-decreasing map; wants a thousand pairs or more
    Isotonic,
    /// three parameters, the tails apart
    Beta,
}

/// `--goal`.
#[derive(Debug, Clone, Copy)]
struct GoalArg(ThresholdObjective);

impl FromStr for GoalArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |t: &str| t.parse::<f32>().map_err(|_| format!("`{t}` is not a number"));
        match text.split_once('=') {
            None if text == "f1" => Ok(GoalArg(ThresholdObjective::F1)),
            Some(("precision", share)) => Ok(GoalArg(ThresholdObjective::Precision(number(share)?))),
            Some(("cost", costs)) => {
                let (wrong, missed) = costs.split_once(':').ok_or("cost=WRONG:MISSED, for example cost=5:1")?;
                Ok(GoalArg(ThresholdObjective::Cost {
                    false_positive: number(wrong)?,
                    false_negative: number(missed)?,
                }))
            }
            _ => Err("f1, precision=SHARE or cost=WRONG:MISSED".into()),
        }
    }
}

#[derive(Serialize)]
struct CalibrateOutput {
    #[serde(flatten)]
    unseen: Unseen,
    /// The bundle's calibration from now on.
    calibration: Option<Calibration>,
    /// The bundle's threshold from now on.
    threshold: Option<Threshold>,
    stored: Stored,
    /// The model as it was, on all pairs.
    before: Report,
    /// The new calibration and threshold, on pairs that they were not fitted to (cross-validation).
    after: Report,
}

/// What was written into the bundle.
#[derive(Serialize)]
struct Stored {
    calibration: bool,
    threshold: bool,
}

pub fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    let model = &args.data.model;
    let mut bundle = Bundle::open(model, global.dtype, global.device)?;
    if bundle.is_plain() {
        let what = "a plain Hugging Face directory, not a bundle";
        return Err(Error::model(model, "sverka.json", what, "train with it first, then calibrate the result").into());
    }
    let mut labelled = args.data.read(output)?;
    keep_scorable(&mut labelled, &bundle, output)?;
    let labels = &labelled.labels;
    let few = too_few(labels);
    if let Some(what) = &few {
        let then = if args.force { "" } else { "; nothing is stored without --force" };
        output.warn(format_args!("{}: {what}{then}", args.data.data.display()));
    }
    let all = scores(&labelled, &bundle, output)?;
    let unseen = Unseen::of(&all);
    unseen.lines().iter().for_each(|line| output.note(line));
    let scores: Vec<f32> = all.iter().map(|score| score.value).collect();
    let method = match args.method {
        MethodArg::Temperature => Method::Temperature,
        MethodArg::Platt => Method::Platt,
        MethodArg::Isotonic => Method::Isotonic,
        MethodArg::Beta => Method::Beta,
    };
    let (probabilities, accepted): (Vec<f32>, Vec<bool>) = all.iter().map(|score| bundle.decide(score)).unzip();
    let before = report_decided(&probabilities, &accepted, labels, bundle.threshold())?;
    let refit = Refit::new((method, args.goal.0), &scores, labels, (&probabilities, &accepted), args.seed)?;
    let after = report_decided(&refit.probabilities, &refit.accepted, labels, refit.threshold.value)?;
    let stored = match few {
        Some(_) if !args.force => [false, false],
        _ => bundle.manifest.take(&refit, &scores, labels, args.force, args.seed)?,
    };
    if stored.contains(&true) {
        bundle.write_manifest()?;
    }
    let stored = Stored { calibration: stored[0], threshold: stored[1] };
    let threshold = bundle.manifest.threshold;
    let mut text = format!("{}\n", output.strong(format!("{}: {method} on {}", model.display(), described(&labelled))));
    text += &table(&before, &after, output);
    let new = &refit.threshold;
    text += &format!("  threshold  {:.4}, 95% interval {:.4} to {:.4}\n", new.value, new.low, new.high);
    if !stored.calibration {
        text += "  the calibration is kept as it was: the new one is not better for certain (--force stores it)\n";
    }
    if !stored.threshold {
        text += "  pairs are accepted as before: the new threshold is not better for certain (--force stores it)\n";
    }
    let calibration = bundle.manifest.calibration.clone();
    output.summary(&CalibrateOutput { unseen, calibration, threshold, stored, before, after }, &text)?;
    Ok(())
}

/// Before and after, for people.
fn table(before: &Report, after: &Report, output: &Output) -> String {
    let line = |name: &str, b: f64, a: f64| format!("  {name:10} {b:>8.4} {a:>8.4}\n");
    let mut text = output.dim("  after: each pair measured with what was fitted without it (cross-validation)\n");
    text += &format!("  {:10} {:>8} {:>8}\n", "", "before", "after");
    text += &line("F1", before.f1, after.f1);
    text += &line("precision", before.precision, after.precision);
    text += &line("recall", before.recall, after.recall);
    text += &line("ECE", before.ece, after.ece);
    text += &line("Brier", before.brier, after.brier);
    text + &line("NLL", before.nll, after.nll)
}
