//! `sverka compare`: is one run better than another, or was it lucky with these queries?

mod html;
mod marked;
mod report;

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use sverka::Error;
use sverka::data::read_query_texts;
use sverka::eval::significance::{Resampling, Test};
use sverka::eval::{ComparisonOptions, compare};
use sverka::files::write_beside;

use crate::eval::runs::{self, MeasureArgs};
use crate::failure::{Failure, Outcome};
use crate::labelled::SplitArg;
use crate::output::Output;
use report::Report;

const EXAMPLE: &str = "\
Examples:
  sverka compare bm25.run mono.run duo.run qrels.txt -m nDCG@10 AP
  sverka compare bm25.run mono.run qrels.txt --queries queries.jsonl --out report.html

A letter after a mean: significantly better than the run of that letter (--test, Holm's correction,
5 %). Exit code 3: the 95 % bootstrap interval of some run's gain over the first run, in the first
measure, is not above 0. JSON keys: queries measures runs; by measure: means gains p better_than.";
const USUAL: &str = "nDCG@10";
/// A letter a run.
const MOST: usize = 26;

/// Compare runs of any tools on the same judgements: means, intervals, significance
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE, override_usage = "sverka compare [OPTIONS] <RUN> <RUN>... <QRELS>")]
pub struct Args {
    /// Runs, the baseline first (TREC's six columns or MS MARCO's three), and last the judgements (qrels, or a BEIR folder)
    #[arg(num_args = 3.., required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    measures: MeasureArgs,
    /// The test that decides about letters
    #[arg(long, value_name = "TEST", default_value = "t", value_parser = ["t", "fisher", "wilcoxon", "tukey"])]
    test: String,
    /// Texts of the queries: JSON lines (BEIR), TREC's topics, or lines of id, tab, text
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// Show so many queries that each run wins and loses most
    #[arg(long, value_name = "N", default_value_t = 5)]
    top: usize,
    /// How the comparison is written [default: by the ending of --out, else text]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write it to this file; text goes to stdout all the same
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Draws of the intervals and of the randomisation test
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    resamples: usize,
    /// The seed of the draws
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The part of a BEIR folder's judgements
    #[arg(long, value_enum, default_value_t = SplitArg::Test)]
    split: SplitArg,
}

/// How a comparison is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a terminal
    Text,
    /// A table of Markdown
    Markdown,
    /// A table of LaTeX (booktabs)
    Latex,
    /// A page with plots, complete in itself
    Html,
}

impl Format {
    fn of(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()? {
            "md" => Some(Format::Markdown),
            "tex" => Some(Format::Latex),
            "html" | "htm" => Some(Format::Html),
            "txt" => Some(Format::Text),
            _ => None,
        }
    }
}

pub fn run(args: Args, output: &Output) -> Outcome {
    let (files, judged) = (&args.files[..args.files.len() - 1], &args.files[args.files.len() - 1]);
    if files.len() > MOST {
        return Err(Error::setting("runs", files.len(), format!("at most {MOST}, a letter each")).into());
    }
    if !(1..=10_000_000).contains(&args.resamples) {
        return Err(Error::setting("--resamples", args.resamples, "give 1 to 10,000,000; 10,000 is usual").into());
    }
    let format = args.format.or_else(|| args.out.as_deref().and_then(Format::of));
    let format = match (&args.out, format) {
        (Some(out), None) => {
            let what = "has an ending that says no format; end it in .md, .tex, .html or .txt, or give --format";
            return Err(Error::setting("--out", out.display(), what).into());
        }
        (_, format) => format.unwrap_or(Format::Text),
    };
    let measures = args.measures.measures(USUAL)?;
    let only_common = args.measures.only_common;
    let judgements = runs::read_judgements(judged, args.split, output)?;
    let mut read = Vec::new();
    for path in files {
        let run = runs::read(path, output)?;
        runs::measured((path, judged), &measures, &judgements, &run, only_common, output)?;
        read.push(run);
    }
    let texts: HashMap<String, String> = match &args.queries {
        None => HashMap::new(),
        Some(path) => {
            let (queries, report) = read_query_texts(path)?;
            report.notes.iter().for_each(|note| output.warn(note));
            queries.into_iter().map(|query| (query.id, query.text)).collect()
        }
    };
    let test: Test = args.test.parse()?;
    let resampling = Resampling { rounds: args.resamples, seed: args.seed };
    let options = ComparisonOptions { measures, test, level: 0.05, resampling, only_common };
    let comparison = compare(&read, &judgements, &options)?;
    let report = Report::new(files, judged, comparison, &options, texts, args.top);
    if let Some(out) = &args.out {
        let text = report.written(format, None);
        write_beside(out, |file| file.write_all(text.as_bytes()).map_err(Error::io("write", out)))?;
    }
    let shown = if args.out.is_some() { Format::Text } else { format };
    output.result(&report.json(), &report.written(shown, Some(output)))?;
    report.missed().map_or(Ok(()), |missed| Err(Failure::Gated(missed)))
}
