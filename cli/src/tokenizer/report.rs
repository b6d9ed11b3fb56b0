//! `sverka tokenizer report`: is the vocabulary too large?

use std::path::PathBuf;

use serde_json::json;
use sverka::Error;
use sverka::files::write_beside;
use sverka::text::TextConfig;
use sverka::text::tokenizers::{Meter, Recommendation, TokenizerReport, WordCounts, grow_sizes, recommend};

use super::corpus::{self, Reading};
use super::train::Growing;
use super::{page, show};
use crate::failure::{Failure, Outcome};
use crate::output::{Output, grouped};

const EXAMPLE: &str = "\
Examples:
  sverka tokenizer report tokenizers/shop --corpus titles.csv --held-out new.csv --max-single-token-codes 0.05
  sverka tokenizer report --sizes 1000,2000,4000,8000 --corpus titles.csv --held-out new.csv --html sizes.html

A code is an unbroken run of letters and digits that has both and at least three characters, but no number
with its unit (256gb), or a run of five or more digits. With --sizes a vocabulary of --kind is grown on the
corpus for each, and one is advised: the largest with at most so many one-token codes and rare pieces.
Exit code 3: a tokenizer of DIR, or the advised one, has more one-token codes than --max-single-token-codes.";

/// Measure how much of a corpus a vocabulary learnt by heart
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// Folders with a tokenizer
    #[arg(value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// Files with the texts that they were grown on
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    corpus: Vec<PathBuf>,
    /// Files with texts that they have not seen
    #[arg(long, num_args = 1.., value_name = "FILE")]
    held_out: Vec<PathBuf>,
    #[command(flatten)]
    reading: Reading,
    /// Grow a vocabulary of each of these sizes on the corpus, and advise one
    #[arg(long, value_delimiter = ',', value_name = "N")]
    sizes: Vec<usize>,
    #[command(flatten)]
    grown: Growing,
    /// Exit with 3 if a greater share of the corpus' codes are one token; of the advised size [0.05] if there are sizes
    #[arg(long, value_name = "SHARE")]
    max_single_token_codes: Option<f64>,
    /// A piece is rare if fewer texts of the corpus have it
    #[arg(long, default_value_t = 5, value_name = "N")]
    rare: u64,
    /// The greatest share of rare pieces of a size that is advised
    #[arg(long, default_value_t = 0.25, value_name = "SHARE")]
    max_rare: f64,
    /// Also write a page with tables and a plot
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub fn run(args: Args, output: &Output) -> Outcome {
    if args.dirs.is_empty() && args.sizes.is_empty() {
        return Err(Error::setting("DIR", "", "name folders with a tokenizer, or sizes to grow with --sizes").into());
    }
    for (name, share) in
        [("--max-single-token-codes", args.max_single_token_codes.unwrap_or(0.0)), ("--max-rare", args.max_rare)]
    {
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::setting(name, share, "give a share from 0 to 1").into());
        }
    }
    let mut encoders = args.dirs.iter().map(|dir| show::open(dir)).collect::<sverka::Result<Vec<_>>>()?;
    let mut grown_sizes = args.sizes.clone();
    grown_sizes.sort_unstable();
    grown_sizes.dedup();
    if let Some(&largest) = grown_sizes.last() {
        for &size in &grown_sizes {
            args.grown.settings(size)?;
        }
        let mut counts = WordCounts::new(&args.grown.settings(largest)?)?;
        corpus::read(&args.corpus, &args.reading, output, |texts| counts.add(texts))?;
        let bar = output.bar(grown_sizes.len() as u64, "growing {bar:30} {pos}/{len} vocabularies");
        for &size in &grown_sizes {
            let grown = grow_sizes(&counts, size)?;
            grown.notes.iter().for_each(|note| output.warn(note));
            encoders.push((format!("{size}"), grown.encoder(TextConfig::default())?));
            bar.inc(1);
            if grown.size < size {
                break; // the larger ones are the same
            }
        }
        bar.finish_and_clear();
    }
    let mut meter = Meter::new(encoders);
    corpus::read(&args.corpus, &args.reading, output, |texts| meter.training(texts))?;
    corpus::read(&args.held_out, &args.reading, output, |texts| meter.held_out(texts))?;
    let reports = meter.reports(args.rare);
    if reports.iter().any(|r| r.training.texts == 0) {
        return Err(Error::setting("--corpus", "", "has no text: nothing to measure; give files with texts").into());
    }
    let (given, sizes) = reports.split_at(args.dirs.len());
    let advised = recommend(sizes, args.max_single_token_codes.unwrap_or(0.05), args.max_rare);
    let mut text = table(&reports, output);
    if let Some(advised) = &advised {
        text += &format!("\nadvised: {} pieces, {}\n", grouped(advised.vocabulary as u64), advised.reason);
    }
    if let Some(path) = &args.html {
        let page = page::report(&reports, sizes, advised.as_ref());
        write_beside(path, |file| std::io::Write::write_all(file, page.as_bytes()).map_err(Error::io("write", path)))?;
        text += &format!("written to {}\n", path.display());
    }
    let over = args.max_single_token_codes.and_then(|most| over(given, sizes, advised.as_ref(), most));
    let answer = json!({ "tokenizers": reports, "advised": advised, "html": args.html, "passed": over.is_none() });
    output.result(&answer, &text)?;
    match over {
        Some(what) => Err(if output.is_json() { Failure::Gated(what) } else { Failure::Gate(what) }),
        None => Ok(()),
    }
}

/// What is wrong with a tokenizer that was given, or with the advised one.
fn over(
    given: &[TokenizerReport],
    sizes: &[TokenizerReport],
    advised: Option<&Recommendation>,
    most: f64,
) -> Option<String> {
    let advised = sizes.iter().filter(|r| advised.is_some_and(|a| a.name == r.name));
    let bad = given.iter().chain(advised).find(|r| r.single_token_codes > most)?;
    Some(format!(
        "{}: {:.4} of the corpus' {} codes are one token, more than --max-single-token-codes {most}",
        bad.name, bad.single_token_codes, bad.training.codes
    ))
}

/// Rows of numbers.
pub const ROWS: [&str; 14] = [
    "vocabulary",
    "codes (training)",
    "one token, training",
    "one token, held out",
    "one token, held out and new",
    "gap",
    "gap to new ones",
    "pieces a code",
    "letters a code piece",
    "letters a piece",
    "tokens a word",
    "unknown tokens",
    "rare pieces",
    "Rényi efficiency",
];

/// The cells of [`ROWS`] for one tokenizer.
pub fn cells(r: &TokenizerReport) -> [String; ROWS.len()] {
    let percent = |x: f64| format!("{:.2}%", 100.0 * x);
    let maybe = |x: Option<f64>| x.map_or_else(|| "-".into(), percent);
    [
        grouped(r.vocabulary as u64),
        grouped(r.training.codes),
        percent(r.single_token_codes),
        maybe(r.single_token_codes_held_out),
        maybe(r.single_token_codes_fresh),
        maybe(r.gap),
        maybe(r.gap_fresh),
        format!("{:.2}", r.pieces_per_code),
        format!("{:.2}", r.letters_per_code_piece),
        format!("{:.2}", r.letters_per_piece),
        format!("{:.2}", r.fertility),
        percent(r.unknown_rate),
        percent(r.rare_share),
        format!("{:.3}", r.renyi_efficiency),
    ]
}

fn table(reports: &[TokenizerReport], output: &Output) -> String {
    let name = |r: &TokenizerReport| r.name.rsplit('/').next().unwrap_or_default().to_string();
    let columns: Vec<(String, [String; ROWS.len()])> = reports.iter().map(|r| (name(r), cells(r))).collect();
    let width =
        |c: &(String, [String; ROWS.len()])| c.1.iter().chain([&c.0]).map(|s| s.chars().count()).max().unwrap_or(0);
    let mut text = format!("{:28}", "");
    columns.iter().for_each(|c| text += &format!("  {}", output.strong(format!("{:>w$}", c.0, w = width(c)))));
    for (i, row) in ROWS.iter().enumerate() {
        text += &format!("\n{row:28}");
        columns.iter().for_each(|c| text += &format!("  {:>w$}", c.1[i], w = width(c)));
    }
    text + "\n"
}
