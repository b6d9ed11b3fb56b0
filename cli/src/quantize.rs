//! `sverka quantize`: a bundle with int8 weights, refused where it loses more than it may.
//!
//! The new bundle is written beside, scored on held-out pairs against the old one's f32, and renamed only where the loss
//! of F1 stays within `--max-loss`.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sverka::Error;
use sverka::bundle::{self, Bundle};
use sverka::eval::{Report, report};
use sverka::nn::Dtype;
use sverka::nn::weights::Storage;

use crate::args::Resolved;
use crate::failure::{Failure, Outcome};
use crate::labelled::{Data, Labelled, Split};
use crate::output::Output;

const EXAMPLE: &str = "\
Example:
  sverka quantize runs/abt-buy/model shared/data/products/abt-buy --max-loss 0.005 --out runs/abt-buy/int8

Exit code 3: F1 fell by more than --max-loss; nothing is written.";

/// Write a bundle with int8 weights, if it stays good enough
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The model's folder (a bundle)
    model: PathBuf,
    #[command(flatten)]
    data: Data,
    /// The part of the pairs that is measured
    #[arg(long, value_enum, default_value_t = Split::Test)]
    split: Split,
    /// How much F1 may fall against f32, a share of one
    #[arg(long, default_value_t = 0.005, value_name = "SHARE")]
    max_loss: f64,
    /// The folder to be made; it must not exist [default: MODEL-int8]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Answer {
    out: PathBuf,
    loss: f64,
    max_loss: f64,
    f32: Report,
    int8: Report,
}

pub fn run(args: Args, _global: &Resolved, output: &Output) -> Outcome {
    let out = args.out.unwrap_or_else(|| {
        let mut name = args.model.components().as_path().as_os_str().to_owned();
        name.push("-int8");
        name.into()
    });
    if out.exists() {
        return Err(Error::Exists(out).into());
    }
    if !(args.max_loss >= 0.0 && args.max_loss <= 1.0) {
        return Err(Error::setting("--max-loss", args.max_loss, "a share of one, from 0 to 1").into());
    }
    let labelled = Labelled::read(&args.data, args.split, output)?;
    let mut name = out.as_os_str().to_owned();
    name.push(".tmp");
    let beside = PathBuf::from(name);
    if beside.exists() {
        std::fs::remove_dir_all(&beside).map_err(Error::io("remove", &beside))?;
    }
    let whole = measured(&args.model, Dtype::F32, &labelled, output)?;
    let (config, weights) = bundle::read_directory(&args.model)?;
    let mut manifest = Bundle::open(&args.model, Some(Dtype::F32))?.manifest;
    manifest.dtype = Some(Dtype::Int8);
    bundle::save(&beside, &manifest, &config, &weights, &args.model, Storage::Int8, false)?;
    drop(weights);
    let measured = measured(&beside, Dtype::Int8, &labelled, output);
    let small = match measured {
        Ok(small) => small,
        Err(e) => {
            let _ = std::fs::remove_dir_all(&beside);
            return Err(e.into());
        }
    };
    let loss = whole.f1 - small.f1;
    if loss > args.max_loss {
        std::fs::remove_dir_all(&beside).map_err(Error::io("remove", &beside))?;
        return Err(Failure::Gate(format!(
            "int8 loses {loss:.4} of F1 ({:.4} to {:.4}), more than --max-loss {}: nothing is written",
            whole.f1, small.f1, args.max_loss
        )));
    }
    std::fs::rename(&beside, &out).map_err(Error::io("rename", &out))?;
    let text = format!(
        "{}\n  F1 {:.2}% in f32, {:.2}% in int8 on {}\n",
        output.strong(format!("written to {}", out.display())),
        100.0 * whole.f1,
        100.0 * small.f1,
        labelled.said()
    );
    output.summary(&Answer { out, loss, max_loss: args.max_loss, f32: whole, int8: small }, &text)?;
    Ok(())
}

fn measured(model: &Path, dtype: Dtype, labelled: &Labelled, output: &Output) -> sverka::Result<Report> {
    let bundle = Bundle::open(model, Some(dtype))?;
    let scores = labelled.scores(&bundle, output)?;
    let probabilities: Vec<f32> = scores.iter().map(|s| bundle.decide(*s).0).collect();
    report(&probabilities, &labelled.labels, bundle.threshold())
}
