//! `sverka export`: a bundle as the plain f32 directory that Python's transformers loads.

use std::path::PathBuf;

use crate::failure::Outcome;
use crate::output::Output;

const EXAMPLE: &str = "\
Example:
  sverka export models/matcher hf
  python -c 'import transformers as t; t.BertForSequenceClassification.from_pretrained(\"hf\")'";

/// Write a bundle as a plain Hugging Face directory (f32)
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The model's folder
    bundle: PathBuf,
    /// The folder to be made; it must not exist
    dir: PathBuf,
}

pub fn run(args: Args, output: &Output) -> Outcome {
    sverka::bundle::export(&args.bundle, &args.dir, false)?;
    let text = format!("{} written to {}", args.bundle.display(), args.dir.display());
    output.summary(&serde_json::json!({ "bundle": args.bundle, "dir": args.dir }), &text)?;
    Ok(())
}
