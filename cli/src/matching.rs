//! `sverka match`: two lists in, calibrated matches out; or one list in, its duplicates out.

mod summary;

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use sverka::bundle::Bundle;
use sverka::data::{self, MatchWriter, ReadOptions, Skipped, read_folder_pairs};
use sverka::pipeline::{Labels, MatchOptions, MatchReport, run_match};
use sverka::text::{differing_tokens, shown};
use sverka::{Error, Match, Pair, Record, Result, Table};

use crate::args::Resolved;
use crate::failure::Outcome;
use crate::labelled::SplitArg;
use crate::output::{Output, counted};
use summary::{Told, summary};

const EXAMPLE: &str = "\
Examples:
  sverka match examples/left.csv examples/right.csv --out matches.csv
  sverka match ours.csv theirs.parquet --fields name,price --one-to-one --texts --out m.csv
  sverka match list.csv --out duplicates.jsonl          # duplicates within one list
  sverka match abt-buy/tableA.csv abt-buy/tableB.csv --labels abt-buy --split test --out m.csv
  sverka match examples/left.csv examples/right.csv --labels examples/truth.csv --out m.csv

Lists are CSV, TSV, JSONL or Parquet with a header, and any columns. --out ends in .csv, .jsonl
or .parquet and gets the columns left_id, right_id, probability, decision, rank.";

/// Find the records of two lists that are the same thing (or the duplicates of one list)
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The left list
    left: PathBuf,
    /// The right list; without it: duplicates within the left one
    right: Option<PathBuf>,
    /// The file of matches to be written
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The model's folder [default: SVERKA_MODEL, else the bundled models/matcher]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Columns to compare [default: those of the model's training, else all but the id]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    fields: Vec<String>,
    /// The id column [default: id, else the first]
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
    /// Candidates that the model looks at, for each left record
    #[arg(long, default_value_t = 10, value_name = "N")]
    k: usize,
    /// Match each record once at most
    #[arg(long)]
    one_to_one: bool,
    /// Write all candidates, not only accepted pairs
    #[arg(long)]
    all: bool,
    /// What BM25's score weighs beside the model's in the order of candidates; choose it with `eval --rank` on validation
    #[arg(long, value_name = "WEIGHT", default_value_t = 0.0, allow_negative_numbers = true)]
    bm25: f32,
    /// Also write both texts
    #[arg(long)]
    texts: bool,
    /// Also write the words in which the two differ
    #[arg(long)]
    why: bool,
    /// Known pairs (two ids, perhaps a label and a split; or a DeepMatcher folder): says how many were found
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Only the known pairs of this split count, and only for the left records in them
    #[arg(long, value_enum, requires = "labels")]
    split: Option<SplitArg>,
    /// Leave out rows that can't be read, and count them
    #[arg(long)]
    skip_bad_rows: bool,
}

/// What was read.
struct Lists {
    left: Table,
    right: Option<Table>,
    labels: Option<Labels>,
    skipped: u64,
}

#[derive(Serialize)]
struct Answer {
    out: PathBuf,
    model: PathBuf,
    #[serde(flatten)]
    report: MatchReport,
    /// Sum of the accepted pairs' probabilities: so many of them should be right.
    expected_right: f64,
    /// Accepted pairs of probability .99 and more, of .9 to .99, and below.
    sure: [u64; 3],
    skipped_rows: u64,
    /// Pairs longer than the model reads, whose ends it did not see.
    cut_pairs: u64,
    seconds: f64,
}

pub fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    let start = Instant::now();
    if args.k == 0 {
        return Err(Error::setting("--k", 0, "give at least 1 candidate").into());
    }
    if args.one_to_one && args.right.is_none() {
        return Err(Error::setting("--one-to-one", true, "needs two lists; leave it out, or give a second list").into());
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
    let model = crate::model::locate(args.model.clone())?;
    let mut lists = read(&args, output)?;
    let mut writer = MatchWriter::create(&args.out, args.texts, args.why)?;
    let bundle = Bundle::open(&model, global.dtype, global.device)?;
    let fields = arrange(&mut lists, &bundle.manifest.rendering.fields, &args.fields)?;
    let bundle = bundle.with_fields(fields);
    let rendering = bundle.tokenizer().rendering().clone();
    let text = |record: &Record| shown(&rendering, record.into());

    let options = MatchOptions { k: args.k, one_to_one: args.one_to_one, all: args.all, bm25: args.bm25 };
    let bar = output.bar(0, "matching {bar:30} {pos}/{len} pairs, {per_sec}, {eta} left");
    let progress = |done: u64, total: u64| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let (left, right) = (&lists.left, lists.right.as_ref());
    let mut told = Told::default();
    let mut sink = |found: &Match, left: &Record, right: &Record| -> Result<()> {
        told.add(found, left, right, &rendering);
        let texts = (args.texts || args.why).then(|| (text(left), text(right)));
        let why = texts.as_ref().filter(|_| args.why).map(|(l, r)| reason(l, r));
        let texts = texts.as_ref().filter(|_| args.texts).map(|(l, r)| (l.as_str(), r.as_str()));
        writer.write(found, texts, why.as_deref())
    };
    let decide = |score: f32| bundle.decide(score);
    let labels = lists.labels.as_ref();
    let report = run_match(left, right, bundle.ranker(), &decide, &text, &options, labels, &progress, &mut sink)?;
    bar.finish_and_clear();
    writer.finish()?;
    let answer = Answer {
        out: args.out,
        model,
        report,
        expected_right: told.expected,
        sure: told.sure,
        skipped_rows: lists.skipped,
        cut_pairs: bundle.cut_pairs(),
        seconds: start.elapsed().as_secs_f64(),
    };
    output.summary(&answer, &summary(&answer, &lists, &told, output))?;
    Ok(())
}

/// Reads the lists, and the known pairs. With labels the lists come with them, so that nothing is held twice.
fn read(args: &Args, output: &Output) -> Result<Lists> {
    let options = ReadOptions { id: args.id.clone(), skip_bad_rows: args.skip_bad_rows };
    let right_path = args.right.as_deref().unwrap_or(&args.left);
    if let Some(labels) = args.labels.as_ref().filter(|path| !path.is_dir()) {
        let source = data::guess_links(&args.left, right_path, labels)?;
        let (set, skipped) = data::read_pairs(&source, &options)?;
        note_skipped(output, labels, &skipped);
        let table = |path: &Path, records: Vec<Record>| Table {
            path: path.into(),
            columns: records.first().map(|r| r.columns.clone()).unwrap_or_default(),
            records,
        };
        let labels = Some(known(&set.pairs, args, labels)?);
        let right = args.right.as_ref().map(|path| table(path, set.right));
        return Ok(Lists { left: table(&args.left, set.left), right, labels, skipped: skipped.count });
    }
    let mut dropped = 0;
    let mut table = |path: &Path| -> Result<Table> {
        let (table, skipped) = data::read_table(path, &options)?;
        note_skipped(output, path, &skipped);
        dropped += skipped.count;
        Ok(table)
    };
    let left = table(&args.left)?;
    let right = args.right.as_deref().map(&mut table).transpose()?;
    let labels = args.labels.as_ref().map(|folder| {
        let (pairs, skipped) = read_folder_pairs(folder, &left, right.as_ref().unwrap_or(&left), &options)?;
        note_skipped(output, folder, &skipped);
        dropped += skipped.count;
        known(&pairs, args, folder)
    });
    Ok(Lists { labels: labels.transpose()?, left, right, skipped: dropped })
}

/// The known pairs that count.
fn known(pairs: &[Pair], args: &Args, path: &Path) -> Result<Labels> {
    let part = args.split.and_then(SplitArg::part);
    if let (Some(split), Some(_)) = (args.split, part)
        && !pairs.iter().any(|p| p.split == part && p.label.is_some())
    {
        let what = format!("no labelled pairs in split {split}");
        return Err(Error::data(path, None, what, "name another --split, or leave it out"));
    }
    Labels::of(pairs, part)
}

/// Says what `--skip-bad-rows` left out.
pub fn note_skipped(output: &Output, path: &Path, skipped: &Skipped) {
    if skipped.count > 0 {
        output.note(format_args!("{}: {} left out", path.display(), counted(skipped.count, "bad row", "bad rows")));
        skipped.examples.iter().for_each(|e| output.note(format_args!("  {e}")));
    }
}

/// Decides what the model reads of each list, and gives the fields to render (empty: all columns, in order).
///
/// `--fields` where given. Else each list with all the columns that the model was trained on is cut to them, and one
/// with other names is read whole. Two lists that have them all together, and neither alone, are lists like those of the
/// training, whose two sides had other names: then each shows what it has of them.
fn arrange(lists: &mut Lists, trained: &[String], wanted: &[String]) -> Result<Vec<String>> {
    let tables = std::iter::once(&mut lists.left).chain(&mut lists.right);
    if !wanted.is_empty() {
        let mut missing: Vec<&String> = wanted.iter().collect();
        for table in tables {
            let columns = table.columns.join(", ");
            if !wanted.iter().any(|f| table.columns.contains(f)) {
                let what = format!("none of them is a column of {}; it has {columns}", table.path.display());
                return Err(Error::setting("--fields", wanted.join(","), what));
            }
            missing.retain(|f| !table.columns.contains(f));
        }
        if let Some(field) = missing.first() {
            let columns = lists.left.columns.join(", ");
            return Err(Error::setting(
                "--fields",
                field,
                format!("no list has this column; the left one has {columns}"),
            ));
        }
        return Ok(wanted.to_vec());
    }
    let tables: Vec<&mut Table> = tables.collect();
    let fits = |table: &Table| trained.iter().all(|f| table.columns.contains(f));
    let share = |table: &Table| trained.iter().any(|f| table.columns.contains(f));
    let together = trained.iter().all(|f| tables.iter().any(|t| t.columns.contains(f)));
    let as_trained = together && tables.iter().all(|t| share(t) && !fits(t));
    if as_trained || tables.iter().all(|t| fits(t)) {
        return Ok(trained.to_vec());
    }
    for table in tables {
        if fits(table) && !trained.is_empty() {
            keep(table, trained);
        }
    }
    Ok(Vec::new())
}

/// Cuts a table to some of its columns.
fn keep(table: &mut Table, columns: &[String]) {
    let places: Vec<usize> = columns.iter().filter_map(|f| table.columns.iter().position(|c| c == f)).collect();
    let columns: std::sync::Arc<[String]> = columns.into();
    for record in &mut table.records {
        record.values = places.iter().map(|&i| std::mem::take(&mut record.values[i])).collect();
        record.columns = columns.clone();
    }
    table.columns = columns;
}

/// The words in which two texts differ, for people.
fn reason(left: &str, right: &str) -> String {
    let (left, right) = differing_tokens(left, right);
    match (left.is_empty(), right.is_empty()) {
        (true, true) => "same words".into(),
        _ => format!("{} | {}", left.join(" "), right.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(path: &str, columns: &[&str]) -> Table {
        let columns: std::sync::Arc<[String]> = columns.iter().map(|c| c.to_string()).collect();
        let values = columns.iter().map(|c| format!("a {c}")).collect();
        Table { path: path.into(), records: vec![Record { id: "1".into(), columns: columns.clone(), values }], columns }
    }
    fn lists(left: &[&str], right: &[&str]) -> Lists {
        Lists { left: table("l.csv", left), right: Some(table("r.csv", right)), labels: None, skipped: 0 }
    }
    fn strings(all: &[&str]) -> Vec<String> {
        all.iter().map(|s| s.to_string()).collect()
    }

    #[test]
    fn lists_with_the_training_columns_are_read_by_them() {
        let mut lists = lists(&["url", "name", "price"], &["price", "name"]);
        let trained = strings(&["name", "price"]);
        assert_eq!(arrange(&mut lists, &trained, &[]).unwrap(), trained);
    }

    #[test]
    fn a_list_with_other_columns_is_read_whole_beside_one_that_fits() {
        let mut lists = lists(&["url", "name", "price"], &["price", "title"]);
        assert!(arrange(&mut lists, &strings(&["name", "price"]), &[]).unwrap().is_empty());
        assert_eq!(lists.left.records[0].values, ["a name", "a price"]);
        assert_eq!(lists.left.records[0].get("price"), Some("a price"));
        assert_eq!(lists.right.unwrap().records[0].values, ["a price", "a title"]);
    }

    #[test]
    fn lists_whose_names_differ_as_in_training_show_what_was_trained_on() {
        let mut two = lists(&["url", "name", "brand"], &["title", "vendor", "stock"]);
        let trained = strings(&["name", "brand", "title", "vendor"]);
        assert_eq!(arrange(&mut two, &trained, &[]).unwrap(), trained);
        // a column of the training that neither list has: other lists, read whole
        let mut others = lists(&["url", "name", "brand"], &["title", "stock"]);
        assert!(arrange(&mut others, &trained, &[]).unwrap().is_empty());
        // nothing of the training on one side
        let mut others = lists(&["name", "brand"], &["stock"]);
        assert!(arrange(&mut others, &strings(&["name", "brand"]), &[]).unwrap().is_empty());
    }

    #[test]
    fn fields_must_be_columns() {
        let mut lists = lists(&["name"], &["title", "cost"]);
        assert_eq!(arrange(&mut lists, &[], &strings(&["name", "title"])).unwrap(), ["name", "title"]);
        let error = arrange(&mut lists, &[], &strings(&["name"])).unwrap_err().to_string();
        assert!(error.contains("--fields = name") && error.contains("r.csv; it has title, cost"), "{error}");
        let error = arrange(&mut lists, &[], &strings(&["name", "title", "x"])).unwrap_err().to_string();
        assert!(error.contains("--fields = x: no list has this column"), "{error}");
    }
}
