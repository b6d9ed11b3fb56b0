//! `sverka tokenizer`: a vocabulary grown on a corpus, cuts of a text side by side, a report on how much was learnt by heart, and `prune`,
//! a vocabulary cut to what a corpus needs and the embeddings with it.

mod corpus;
mod page;
mod report;
mod show;
mod train;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use sverka::bundle;
use sverka::data::{self, ReadOptions};
use sverka::text::prune::{Characters, Keep};
use sverka::{Error, Result};

use crate::failure::Outcome;
use crate::output::{Output, grouped};

const EXAMPLES: &str = "\
Examples:
  sverka tokenizer train titles.csv --column title --kind wordpiece --vocab-size 8000 --out tokenizers/shop
  sverka tokenizer show \"Monitor E2282HS-B1\" --with tokenizers/shop,weights/bert-tiny
  sverka tokenizer report tokenizers/shop --corpus titles.csv --held-out new.csv
  sverka tokenizer prune weights/e5-small --corpus left.csv right.csv --out weights/e5-shop";
const EXAMPLE: &str = "\
Example:
  sverka tokenizer prune weights/e5-small --corpus left.csv right.csv --out weights/e5-shop

Scores stay the same on texts that the corpus covers. Corpus files: tables (CSV, TSV, JSONL,
Parquet), else lines of text.";

/// Grow, look at, measure or cut a vocabulary
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Train(train::Args),
    Show(show::Args),
    Report(report::Args),
    Prune(Prune),
}

/// Cut the vocabulary to what a corpus needs
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
struct Prune {
    /// The model's folder
    model: PathBuf,
    /// Files whose texts must stay as they are
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    corpus: Vec<PathBuf>,
    /// How often the corpus must use a piece
    #[arg(long, default_value_t = 1, value_name = "N")]
    min_count: u64,
    /// Single characters that stay whether the corpus has them or not
    #[arg(long, value_enum, default_value_t = Stay::All)]
    characters: Stay,
    /// The folder to be made; it must not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// `--characters`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Stay {
    /// all that the vocabulary has
    All,
    /// Latin, Greek, Cyrillic, digits, punctuation and symbols
    European,
}

pub fn run(args: Args, output: &Output) -> Outcome {
    match args.verb {
        Verb::Train(args) => train::run(args, output),
        Verb::Show(args) => show::run(args, output),
        Verb::Report(args) => report::run(args, output),
        Verb::Prune(args) => prune(args, output),
    }
}

fn prune(args: Prune, output: &Output) -> Outcome {
    if args.out.exists() {
        return Err(Error::Exists(args.out).into()); // before the corpus is read, which may take long
    }
    let mut texts = Vec::new();
    for path in &args.corpus {
        read_texts(path, &mut texts)?;
    }
    let characters = match args.characters {
        Stay::All => Characters::All,
        Stay::European => Characters::European,
    };
    let keep = Keep { min_count: args.min_count, characters };
    let bar = output.bar(texts.len() as u64, "reading {bar:30} {pos}/{len} texts, {eta} left");
    let pruned = sverka::text::prune(&args.model, bar.wrap_iter(texts.iter()), keep)?;
    bar.finish_and_clear();
    let (before, after) = bundle::prune(&args.model, &pruned, &args.out)?;
    let text = format!(
        "{}: {} of {} pieces kept\nwritten to {}",
        args.model.display(),
        grouped(after as u64),
        grouped(before as u64),
        args.out.display()
    );
    let answer = serde_json::json!({ "before": before, "after": after, "texts": texts.len(), "out": args.out });
    output.summary(&answer, &text)?;
    Ok(())
}

/// Every value of a table, or every line of a text.
fn read_texts(path: &Path, texts: &mut Vec<String>) -> Result<()> {
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    if [".csv", ".tsv", ".jsonl", ".parquet"].iter().any(|e| name.ends_with(e)) {
        let (table, _) = data::read_table(path, &ReadOptions::default())?;
        texts.extend(table.records.into_iter().flat_map(|r| r.values).filter(|v| !v.is_empty()));
        return Ok(());
    }
    let file = File::open(path).map_err(Error::io("read", path))?;
    for (i, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|e| {
            let what = format!("not a line of UTF-8 text ({e})");
            Error::data(path, Some(i as u64 + 1), what, "save the file as UTF-8")
        })?;
        texts.extend(Some(line).filter(|l| !l.trim().is_empty()));
    }
    Ok(())
}
