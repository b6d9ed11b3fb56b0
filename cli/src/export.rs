//! `sverka export`: a bundle as the plain f32 directory that Python's transformers loads.

use std::path::PathBuf;

use sverka::bundle::Export;

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
    /// Write a model whose scores Python can't give too (overlap_segments, ditto_markers, segments of fields), with a note in its card
    #[arg(long)]
    anyway: bool,
}

pub fn run(args: Args, output: &Output) -> Outcome {
    let options = Export { force: false, anyway: args.anyway };
    let lacking = sverka::bundle::export(&args.bundle, &args.dir, options)?;
    lacking.iter().for_each(|line| output.note(format!("not the same scores in Python: {line}")));
    let text = format!("{} written to {}", args.bundle.display(), args.dir.display());
    output.summary(&serde_json::json!({ "bundle": args.bundle, "dir": args.dir, "lacking": lacking }), &text)?;
    Ok(())
}
