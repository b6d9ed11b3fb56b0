//! `sverka fill-mask`: what a language model would put in a gap.

use std::path::PathBuf;

use sverka::bundle::{LanguageModel, Prediction};
use sverka::{Error, Result};

use crate::args::Resolved;
use crate::failure::Outcome;
use crate::output::Output;

const EXAMPLE: &str = "\
Examples:
  sverka fill-mask weights/bert-tiny \"the capital of france is [MASK].\"
  sverka fill-mask runs/pretrain-products/model \"canon [MASK] digital camera\" \"краска [MASK] 5 л\" --top 3 --json

Each [MASK] of a text gets its own list, best first, with probabilities. The model is a BERT's folder with its
head of masked tokens: one that `pretrain` wrote, or a published one.";

/// Show what a language model puts in place of [MASK]
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The model's folder
    model: PathBuf,
    /// Texts with [MASK] where a token is missing
    #[arg(required = true)]
    text: Vec<String>,
    /// Tokens to show for each mask
    #[arg(long, default_value_t = 5, value_name = "N")]
    top: usize,
}

pub fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    global.on_cpu("filling masks")?;
    if args.top == 0 {
        return Err(Error::setting("--top", 0, "must be at least 1").into());
    }
    let model = LanguageModel::open(&args.model, false, global.dtype)?;
    let filled: Vec<Vec<Vec<Prediction>>> =
        args.text.iter().map(|text| model.fill(text, args.top)).collect::<Result<_>>()?;
    let texts = args.text.iter().zip(&filled);
    let json: Vec<_> = texts.clone().map(|(text, masks)| serde_json::json!({"text": text, "masks": masks})).collect();
    let line = |p: &Prediction| format!("  {:>6.2}%  {}", 100.0 * p.probability, output.strong(&p.token));
    let shown = texts.map(|(text, masks)| {
        let masks = masks.iter().map(|mask| mask.iter().map(line).collect::<Vec<_>>().join("\n"));
        format!("{text}\n{}", masks.collect::<Vec<_>>().join("\n\n"))
    });
    output.result(&serde_json::json!({ "texts": json }), &shown.collect::<Vec<_>>().join("\n\n"))?;
    Ok(())
}
