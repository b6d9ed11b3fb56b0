//! `sverka match`: two lists in, calibrated matches out; or one list in, its duplicates out.

mod chain;
mod lists;
mod summary;

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use sverka::data::{self, MatchWriter, ReadOptions, read_folder_pairs};
use sverka::index::{Bm25, Bm25Settings};
use sverka::pipeline::{Labels, MatchOptions, MatchReport, Matching, Stage, StageModel, run_match};
use sverka::text::{FieldSelection, TextConfig, differing_tokens, plain_text};
use sverka::{Error, Match, Pair, Record, Result, Table};

use crate::args::Resolved;
use crate::failure::Outcome;
use crate::labelled::{SplitArg, Unseen};
use crate::output::Output;
use crate::tables::TableArgs;
use summary::Summary;

const EXAMPLE: &str = "\
Examples:
  sverka match examples/left.csv examples/right.csv --out matches.csv
  sverka match ours.csv theirs.parquet --fields name,price --one-to-one --texts --out m.csv
  sverka match list.csv --out duplicates.jsonl          # duplicates within one list
  sverka match new.csv --against shop.index --out m.csv # an index of `sverka index theirs.csv`
  sverka match ours.csv theirs.csv --pipeline stages.toml --out m.csv
  sverka match abt-buy/tableA.csv abt-buy/tableB.csv --labels abt-buy --split test --out m.csv
  sverka match examples/left.csv examples/right.csv --labels examples/truth.csv --out m.csv

Lists are CSV, TSV, JSONL or Parquet with a header, and any columns. --out ends in .csv, .jsonl
or .parquet and gets the columns left_id, right_id, probability, decision, rank.

Two lists may be of any length: they are indexed on disk and matched in parts, in the folder FILE.work
next to --out, which goes when the output is there. A run that was stopped or killed goes on where it
was when the same command is given again.

With --against the right list is the documents of an index: a few new records are matched without reading
the list again. Index it with the --fields that the model compares, and candidates are the same.

A pipeline is the file of `sverka run`, whose collection, budget_ms and stores are not used. Its first stage
finds candidates (bm25; dense and hybrid with a model; or index = \"DIR\", then without RIGHT), the last one
decides. The model, or the last stage's, may be the folder of a booster (`sverka boost train`).";

/// Find the records of two lists that are the same thing (or the duplicates of one list)
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The left list
    left: PathBuf,
    /// The right list; without it: duplicates within the left one
    right: Option<PathBuf>,
    /// The right list as an index of `sverka index`, of any kind
    #[arg(long, value_name = "INDEX", conflicts_with_all = ["right", "labels"])]
    against: Option<PathBuf>,
    /// Find and score candidates by the stages of this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "top_k"])]
    pipeline: Option<PathBuf>,
    /// The file of matches to be written
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The folder of a model or of a booster [default: SVERKA_MODEL, else models/matcher here, else the built-in matcher]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Columns to compare [default: those of the model's training, else all but the id]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    fields: Vec<String>,
    /// Candidates that the model looks at, for each left record
    #[arg(long, default_value_t = 10, value_name = "N", alias = "k")]
    top_k: usize,
    /// Match each record once at most
    #[arg(long)]
    one_to_one: bool,
    /// Write all candidates, not only accepted pairs
    #[arg(long)]
    all: bool,
    /// What BM25's score weighs, if the model's weighs 1, in the order of candidates; choose it with `rank` on validation
    #[arg(long, value_name = "WEIGHT", alias = "bm25", default_value_t = 0.0, allow_negative_numbers = true)]
    bm25_weight: f32,
    /// Score each pair in both orders and take the mean: twice the time, and neither list is the query's side. One list
    /// against itself always does
    #[arg(long)]
    both_orders: bool,
    /// Also write both texts
    #[arg(long)]
    texts: bool,
    /// Also write the words in which the two differ
    #[arg(long, alias = "why")]
    explain: bool,
    /// Known pairs (two ids, perhaps a label and a split; or a DeepMatcher folder): says how many were found
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Only the known pairs of this split count, and only for the left records in them
    #[arg(long, value_enum, requires = "labels")]
    split: Option<SplitArg>,
    /// The known pairs' column of labels, 1 or 0; `none`: every row is a match
    #[arg(long, value_name = "COLUMN", requires = "labels")]
    label_column: Option<String>,
    /// With --texts and --explain: leave cells that a spreadsheet takes for a formula as they are
    #[arg(long)]
    raw_texts: bool,
    /// Left records that are done at once, and again after a kill
    #[arg(long, hide = true, default_value_t = sverka::pipeline::PART, value_name = "N")]
    part: usize,
    #[command(flatten)]
    tables: TableArgs,
}

/// What was read.
struct Lists {
    left: Table,
    right: Option<Table>,
    labels: Option<Labels>,
    skipped: u64,
}

/// Where a list was read from, and its number of records.
struct Size {
    path: PathBuf,
    records: usize,
}

impl Size {
    fn of(table: &Table) -> Self {
        Size { path: table.path.clone(), records: table.records.len() }
    }
}

#[derive(Serialize)]
struct MatchOutput {
    out: PathBuf,
    model: PathBuf,
    #[serde(flatten)]
    report: MatchReport,
    /// Sum of the accepted pairs' probabilities: so many of them should be right.
    expected_true_positives: f64,
    /// Accepted pairs of probability .99 and more, of .9 to .99, and below.
    by_confidence: [u64; 3],
    skipped_rows: u64,
    /// What a person should know before trusting the result.
    notes: Vec<String>,
    seconds: f64,
}

pub fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    let start = Instant::now();
    if args.top_k == 0 {
        return Err(Error::setting("--top-k", 0, "give at least 1 candidate").into());
    }
    let plan = chain::pipeline(&args, output)?;
    let first = plan.as_ref().map(|plan| &plan.stages[0]);
    let two_lists = args.right.is_some() || args.against.is_some() || first.is_some_and(|stage| stage.index.is_some());
    for (flag, is_given) in [("--one-to-one", args.one_to_one), ("--both-orders", args.both_orders)] {
        if is_given && !two_lists {
            return Err(Error::setting(flag, true, "needs two lists; leave it out, or give a second list").into());
        }
    }
    if plan.is_some() && !two_lists {
        let what = "needs two lists: give RIGHT, --against or an index in its first stage";
        return Err(Error::setting("--pipeline", "(given)", what).into());
    }
    let file = |path: &Path| path.canonicalize().ok();
    if let Some(out) = file(&args.out)
        && [Some(&args.left), args.right.as_ref(), args.labels.as_ref()]
            .into_iter()
            .flatten()
            .any(|p| file(p).as_ref() == Some(&out))
    {
        let what = "is one of the files that are read and would be lost; give another name";
        return Err(Error::setting("--out", args.out.display(), what).into());
    }
    let decides = plan.as_ref().and_then(|plan| plan.stages.last()?.model.clone());
    let model = decides.map_or_else(|| crate::model::locate(args.model.clone()), Ok)?;
    let options = MatchOptions {
        top_k: first.map_or(args.top_k, |stage| stage.k),
        one_to_one: args.one_to_one,
        all: args.all,
        retriever_weight: args.bm25_weight,
        both_orders: args.both_orders,
    };
    let (writing, sizes, config, report, skipped) = match two_lists {
        true => lists::run(&args, chain::Chain::open(plan.as_ref(), &model, global)?, &options, global, output)?,
        false => duplicates(&args, &model, &options, global, output)?,
    };
    let Writing { summary, .. } = writing;
    let notes = notes(&report, &config);
    notes.iter().for_each(|note| output.note(output.yellow(format_args!("note: {note}"))));
    let answer = MatchOutput {
        out: args.out,
        model,
        report,
        expected_true_positives: summary.expected_true_positives,
        by_confidence: summary.by_confidence,
        skipped_rows: skipped,
        notes,
        seconds: start.elapsed().as_secs_f64(),
    };
    output.summary(&answer, &summary.render(&answer, &sizes, output))?;
    Ok(())
}

/// What a run gives: what was written, the lists, how texts were rendered, the counts, and the rows left out.
type Done = (Writing, Vec<Size>, TextConfig, MatchReport, u64);

/// Where matches go: the file and the summary.
struct Writing {
    writer: Option<MatchWriter>,
    summary: Summary,
}

impl Writing {
    fn begin(args: &Args) -> Result<Self> {
        let writer = MatchWriter::create(&args.out, args.texts, args.explain)?.raw_texts(args.raw_texts);
        Ok(Writing { writer: Some(writer), summary: Summary::default() })
    }

    fn add(&mut self, args: &Args, config: &TextConfig, found: &Match, left: &Record, right: &Record) -> Result<()> {
        self.summary.add(found, left, right, config);
        let text = |record: &Record| plain_text(config, record.into());
        let texts = (args.texts || args.explain).then(|| (text(left), text(right)));
        let why = texts.as_ref().filter(|_| args.explain).map(|(l, r)| reason(l, r));
        let texts = texts.as_ref().filter(|_| args.texts).map(|(l, r)| (l.as_str(), r.as_str()));
        match &mut self.writer {
            Some(writer) => writer.write(found, texts, why.as_deref()),
            None => Ok(()),
        }
    }

    /// The file is under its name when this returns.
    fn finish(&mut self) -> Result<()> {
        self.writer.take().map_or(Ok(()), MatchWriter::finish)
    }
}

/// The duplicates within one list, which is in memory.
fn duplicates(args: &Args, model: &Path, options: &MatchOptions, global: &Resolved, output: &Output) -> Outcome<Done> {
    crate::signals::end_without_a_trace("nothing is written");
    let mut lists = read(args, output)?;
    let mut writing = Writing::begin(args)?;
    let model = StageModel::open(model, global.dtype, global.device)?;
    let selection = selection(args, &model, &lists.left, None)?;
    selection.apply(&mut lists.left, None);
    let config = model.rendering(selection.fields.clone());
    let model = model.with_fields(&selection.fields);
    let bar = output.bar(0, "matching {bar:30} {pos}/{len} pairs, {per_sec}, {eta} left");
    let progress = |done: u64, total: u64| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let matching = Matching {
        left: &lists.left,
        right: None,
        retriever: &Bm25::of_records(&lists.left.records, &Bm25Settings::default(), &config)?,
        stages: &[Stage { ranker: &model, keep: usize::MAX }],
        decide: &|score| model.decide(score),
        labels: lists.labels.as_ref(),
        options,
        progress: &progress,
    };
    let report = run_match(&matching, &mut |found, left, right| writing.add(args, &config, found, left, right))?;
    bar.finish_and_clear();
    writing.finish()?;
    Ok((writing, vec![Size::of(&lists.left)], config, report, lists.skipped))
}

/// Which columns are read.
fn selection(args: &Args, model: &StageModel, left: &Table, right: Option<&Table>) -> Result<FieldSelection> {
    match args.fields.as_slice() {
        [first, ..] if model.bundle().is_none() => {
            let what = "boosted trees look at the columns that they were trained on: leave it out";
            Err(Error::setting("--fields", first, what))
        }
        [] => {
            let right = right.map(|table| &table.columns[..]);
            Ok(FieldSelection::resolve(&model.fields(), &left.columns, right))
        }
        wanted => FieldSelection::named(wanted, left, right),
    }
}

/// What a person should know before trusting a result: records that nothing was compared with, pairs that nobody read.
fn notes(report: &MatchReport, config: &TextConfig) -> Vec<String> {
    let mut notes = Vec::new();
    if report.left > 0 && report.pairs == 0 {
        let fields = if config.fields.is_empty() { "all columns".into() } else { config.fields.join(", ") };
        let remedy = "check that these are the columns that say what a thing is (--fields A,B)";
        notes.push(format!("no record has a word in common with another one, compared by {fields}: {remedy}"));
    }
    let unseen = Unseen { truncated_pairs: report.truncated_pairs, unreadable_pairs: report.unreadable_pairs };
    notes.extend(unseen.lines());
    notes
}

/// Reads the lists, and the known pairs. With labels the lists come with them, so that nothing is held twice.
fn read(args: &Args, output: &Output) -> Result<Lists> {
    let options = ReadOptions { label_column: args.label_column.clone(), ..args.tables.options()? };
    let right_path = args.right.as_deref().unwrap_or(&args.left);
    if let Some(labels) = args.labels.as_ref().filter(|path| !path.is_dir()) {
        let (source, mut report) = data::guess_links(&args.left, right_path, labels, &options)?;
        let (set, more) = data::read_pairs(&source, &options)?;
        report.add(more);
        crate::tables::report(output, labels, &report);
        let table = |path: &Path, records: Vec<Record>| Table {
            path: path.into(),
            columns: records.first().map(|r| r.columns.clone()).unwrap_or_default(),
            records,
        };
        let labels = Some(known(&set.pairs, args, labels)?);
        let right = args.right.as_ref().map(|path| table(path, set.right));
        return Ok(Lists { left: table(&args.left, set.left), right, labels, skipped: report.skipped });
    }
    let mut dropped = 0;
    let mut table = |path: &Path, options: &ReadOptions| -> Result<Table> {
        let (table, report) = data::read_table(path, options)?;
        crate::tables::report(output, path, &report);
        dropped += report.skipped;
        Ok(table)
    };
    let left = table(&args.left, &options)?;
    let of_right = options.right.as_deref().unwrap_or(&options);
    let right = args.right.as_deref().map(|path| table(path, of_right)).transpose()?;
    let labels = args.labels.as_ref().map(|folder| {
        let (pairs, skipped) = read_folder_pairs(folder, &left, right.as_ref().unwrap_or(&left), &options)?;
        crate::tables::report(output, folder, &skipped);
        dropped += skipped.skipped;
        known(&pairs, args, folder)
    });
    Ok(Lists { labels: labels.transpose()?, left, right, skipped: dropped })
}

/// The known pairs that count.
fn known(pairs: &[Pair], args: &Args, path: &Path) -> Result<Labels> {
    let wanted = args.split.and_then(SplitArg::split);
    if let (Some(split), Some(_)) = (args.split, wanted)
        && !pairs.iter().any(|p| p.split == wanted && p.grade.is_some())
    {
        let what = format!("no labelled pairs in split {split}");
        return Err(Error::data(path, None, what, "name another --split, or leave it out"));
    }
    Labels::of(pairs, wanted)
}

/// The words in which two texts differ, for people.
fn reason(left: &str, right: &str) -> String {
    let (left, right) = differing_tokens(left, right);
    match (left.is_empty(), right.is_empty()) {
        (true, true) => "same words".into(),
        _ => format!("{} | {}", left.join(" "), right.join(" ")),
    }
}
