//! `sverka quantize`: a bundle with int8 weights, fitted to the model's own data, refused if it loses more than it may.

use std::path::PathBuf;

use serde::Serialize;
use sverka::Error;
use sverka::train::{Int8Options, Int8Report, quantize_bundle};

use crate::args::Resolved;
use crate::failure::{Failure, Outcome};
use crate::labelled::{DataArgs, described};
use crate::output::{Output, counted};

const EXAMPLE: &str = "\
Example:
  sverka quantize runs/abt-buy/model ../shared/data/products/abt-buy --out runs/abt-buy/int8

MODEL is a cross-encoder, two towers (dssm over an encoder) or a duo.

Calibration and threshold stay those of MODEL. The sample is taken from training and validation, but for the split that is
measured; where there are none, it is left out of the measured pairs.

Exit code 3: F1 fell by more than --max-loss; nothing is written.";

/// Write a bundle with int8 weights, if it stays good enough
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// How much F1 may fall against f32, a share of one
    #[arg(long, default_value_t = 0.005, value_name = "SHARE")]
    max_loss: f64,
    /// How many pairs the weights are fitted to; their labels are not looked at
    #[arg(long, default_value_t = 256, value_name = "PAIRS", alias = "calibrate")]
    samples: usize,
    /// The folder to be made; it must not exist [default: MODEL-int8]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct QuantizeOutput {
    out: PathBuf,
    #[serde(flatten)]
    report: Int8Report,
}

pub fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    global.on_cpu("int8")?;
    let model = &args.data.model;
    let out = args.out.unwrap_or_else(|| {
        let mut name = model.components().as_path().as_os_str().to_owned();
        name.push("-int8");
        name.into()
    });
    if out.exists() {
        return Err(Error::Exists(out).into()); // before the pairs are read, which may take long
    }
    let mut labelled = args.data.read(output)?;
    let options = Int8Options { samples: args.samples, max_loss: args.max_loss };
    let bar = output.bar(2 * labelled.len() as u64, "scoring {bar:30} {pos}/{len} pairs, {per_sec}, {eta} left");
    let report = quantize_bundle(model, &out, &mut labelled, &options, &|done| bar.set_position(done))?;
    bar.finish_and_clear();
    let q = &report.quantized;
    if report.is_refused() {
        return Err(Failure::Gate(format!(
            "int8 loses {:.4} of F1 ({:.4} to {:.4}), more than --max-loss {}: nothing is written",
            q.loss, q.f1_f32, q.f1_int8, q.max_loss
        )));
    }
    let text = format!(
        "{}\n  fitted to {}: squared error of the layers' outputs {:.2e}, unfitted {:.2e}\n  \
         F1 {:.2}% in f32, {:.2}% in int8 on {}; scores differ by {:.4}\n",
        output.strong(format!("written to {}", out.display())),
        counted(q.sample_pairs, "pair", "pairs"),
        report.output_error,
        report.output_error_unfitted,
        100.0 * q.f1_f32,
        100.0 * q.f1_int8,
        described(&labelled),
        report.score_rms,
    );
    output.summary(&QuantizeOutput { out, report }, &text)?;
    Ok(())
}
