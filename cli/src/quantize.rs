//! `sverka quantize`: a bundle with int8 weights, fitted to the model's own data, refused where it loses more than it may.
//!
//! The new bundle is written beside, scored on held-out pairs as it will be served, held against f32 on the same pairs, and
//! renamed only where the loss of F1 stays within `--max-loss`. What was found goes into its `sverka.json`.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sverka::Error;
use sverka::bundle::{self, Bundle, Quantized, Storage};
use sverka::eval::{Report, report};
use sverka::nn::{Device, Dtype};
use sverka::text::Batch;

use crate::args::Resolved;
use crate::failure::{Failure, Outcome};
use crate::labelled::{Given, Labelled};
use crate::output::Output;

const EXAMPLE: &str = "\
Example:
  sverka quantize runs/abt-buy/model ../shared/data/products/abt-buy --out runs/abt-buy/int8

Calibration and threshold stay those of MODEL. The sample is taken from training and validation, but for the split that is
measured; where there are none, it is left out of the measured pairs.

Exit code 3: F1 fell by more than --max-loss; nothing is written.";

/// Write a bundle with int8 weights, if it stays good enough
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(flatten)]
    given: Given,
    /// How much F1 may fall against f32, a share of one
    #[arg(long, default_value_t = 0.005, value_name = "SHARE")]
    max_loss: f64,
    /// How many pairs the weights are fitted on; their labels are not looked at
    #[arg(long, default_value_t = 256, value_name = "PAIRS")]
    calibrate: usize,
    /// The folder to be made; it must not exist [default: MODEL-int8]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Answer {
    out: PathBuf,
    #[serde(flatten)]
    quantised: Quantized,
    /// Root of the mean squared difference of the scores (logits).
    score_rms: f64,
    /// Squared error of the matrices' outputs on the sample in shares of their squares, mean: fitted, and not.
    output_error: f64,
    output_error_unfitted: f64,
    f32: Report,
    int8: Report,
}

pub fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    global.on_cpu("int8")?;
    let model = &args.given.model;
    let out = args.out.unwrap_or_else(|| {
        let mut name = model.components().as_path().as_os_str().to_owned();
        name.push("-int8");
        name.into()
    });
    if out.exists() {
        return Err(Error::Exists(out).into());
    }
    if !(0.0..=1.0).contains(&args.max_loss) {
        return Err(Error::setting("--max-loss", args.max_loss, "a share of one, from 0 to 1").into());
    }
    let whole = Bundle::open(model, Some(Dtype::F32), Device::Cpu)?;
    if whole.manifest.storage == Storage::Int8 {
        let from = whole.manifest.quantised.as_ref().map_or(String::new(), |q| format!(" ({})", q.from_weights_sha256));
        let remedy = format!("give the model that it was made from{from}");
        return Err(Error::model(&model.join("sverka.json"), "storage", "is int8 already", remedy).into());
    }
    let mut labelled = Labelled::read(&args.given, output)?;
    let sample = labelled.sample(&args.given, args.calibrate, output);
    let sample_pairs = sample.len() as u64;
    if sample.is_empty() {
        return Err(Error::setting("--calibrate", args.calibrate, "no pairs to fit the weights on; give more").into());
    }
    let mut batch = Batch::default();
    for (left, right) in &sample {
        batch.push(&whole.tokenizer().pair(left.into(), right.into())?);
    }
    let (scores, before) = measured(&whole, &labelled, output)?;

    let (config, mut weights) = bundle::read_directory(model)?;
    let fits = sverka::train::quantize(&config, &mut weights, &batch)?;
    let beside = Beside::new(&out)?;
    let mut manifest = whole.manifest.clone();
    manifest.dtype = Some(Dtype::Int8);
    bundle::save(&beside.0, &manifest, &config, &weights, model, Storage::Int8, false)
        .map_err(|e| e.with_path(&beside.0, &out))?;
    drop(weights);
    let mut small = Bundle::open(&beside.0, Some(Dtype::Int8), Device::Cpu)?;
    let (small_scores, after) = measured(&small, &labelled, output)?;
    let loss = before.f1 - after.f1;
    if loss > args.max_loss {
        return Err(Failure::Gate(format!(
            "int8 loses {loss:.4} of F1 ({:.4} to {:.4}), more than --max-loss {}: nothing is written",
            before.f1, after.f1, args.max_loss
        )));
    }
    let quantised = Quantized {
        from_weights_sha256: whole.weights_sha256()?,
        sample_pairs,
        measured_pairs: labelled.len() as u64,
        f1_f32: before.f1,
        f1_int8: after.f1,
        loss,
        max_loss: args.max_loss,
    };
    small.manifest.quantised = Some(quantised.clone());
    small.write_manifest().map_err(|e| e.with_path(&beside.0, &out))?;
    std::fs::rename(&beside.0, &out).map_err(Error::io("rename", &out))?;

    let squares = scores.iter().zip(&small_scores).map(|(a, b)| f64::from(a - b).powi(2));
    let score_rms = (squares.sum::<f64>() / scores.len() as f64).sqrt();
    let mean = |of: fn(&sverka::train::Fit) -> f64| fits.iter().map(of).sum::<f64>() / fits.len().max(1) as f64;
    let (output_error, output_error_unfitted) = (mean(|f| f.fitted), mean(|f| f.plain));
    let text = format!(
        "{}\n  fitted on {sample_pairs} pairs: squared error of the layers' outputs {output_error:.2e}, unfitted {output_error_unfitted:.2e}\n  \
         F1 {:.2}% in f32, {:.2}% in int8 on {}; scores differ by {score_rms:.4}\n",
        output.strong(format!("written to {}", out.display())),
        100.0 * before.f1,
        100.0 * after.f1,
        labelled.said()
    );
    let answer = Answer { out, quantised, score_rms, output_error, output_error_unfitted, f32: before, int8: after };
    output.summary(&answer, &text)?;
    Ok(())
}

/// Scores, and how good the decisions are.
fn measured(bundle: &Bundle, labelled: &Labelled, output: &Output) -> sverka::Result<(Vec<f32>, Report)> {
    let scores = labelled.scores(bundle, output)?;
    let probabilities: Vec<f32> = scores.iter().map(|s| bundle.decide(*s).0).collect();
    let report = report(&probabilities, &labelled.labels, bundle.threshold())?;
    Ok((scores, report))
}

/// A folder beside the final one, removed when dropped unless it has been renamed.
struct Beside(PathBuf);

impl Beside {
    fn new(out: &Path) -> sverka::Result<Self> {
        let Some(name) = out.file_name() else {
            return Err(Error::setting("--out", out.display(), "give the name of a folder to be made"));
        };
        Ok(Beside(out.with_file_name(format!(".{}.{}.int8", name.to_string_lossy(), std::process::id()))))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
