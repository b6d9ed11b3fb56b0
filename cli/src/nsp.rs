//! `sverka nsp`: does one text follow another?

use std::path::PathBuf;

use sverka::bundle::LanguageModel;

use crate::args::Resolved;
use crate::failure::Outcome;
use crate::output::Output;

const EXAMPLE: &str = "\
Examples:
  sverka nsp runs/pretrain-products/model powershot-a590 canon-a590
  sverka nsp runs/pretrain-products/model \"$TITLE\" \"$OTHER\" --json

The text-book pair: \"The man went to the store.\" and \"He bought milk.\", against any other sentence. The model is a BERT's folder with its head of next texts: one that `pretrain` wrote by a recipe with [next],
or a published BertForPreTraining.";

/// Say how likely a text is the next one after another
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The model's folder
    model: PathBuf,
    /// The first text
    first: String,
    /// The second text
    second: String,
}

pub fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    global.on_cpu("telling next texts")?;
    let probability = LanguageModel::open(&args.model, true, global.dtype)?.next(&args.first, &args.second)?;
    let word = if probability >= 0.5 { "IsNext" } else { "NotNext" };
    let answer = serde_json::json!({ "first": args.first, "second": args.second, "next": probability, "label": word });
    output.result(&answer, &format!("{word}: {:.1}% next", 100.0 * probability))?;
    Ok(())
}
