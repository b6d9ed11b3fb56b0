//! `sverka init`: looks at two lists and their labelled pairs, and writes a recipe that trains at once.
//!
//! What it saw stands in the recipe as comments (fill rate, length, an example of each column), so that the person who
//! edits it needs no second look at the data.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sverka::data::{self, ReadOptions, Source};
use sverka::text::{TextConfig, TextEncoder};
use sverka::train::Recipe;
use sverka::{Error, Pair, PairSet, Record, Result};

use crate::failure::Outcome;
use crate::output::{Output, counted, cut};

const EXAMPLE: &str = "\
Examples:
  sverka init left.csv right.csv pairs.csv --out shop.toml && sverka train shop.toml
  sverka init ../shared/data/products/abt-buy    # a folder or file that holds both sides

PAIRS: a table with an id of LEFT, an id of RIGHT, and perhaps a label (1, 0) and a split (train, valid, test).";

/// Look at your lists and write a recipe that trains at once
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The left list, or a folder or file of labelled pairs that holds both sides
    left: PathBuf,
    /// The right list
    #[arg(requires = "pairs")]
    right: Option<PathBuf>,
    /// The labelled pairs
    pairs: Option<PathBuf>,
    /// The recipe to be written; it must not exist
    #[arg(long, value_name = "FILE", default_value = "recipe.toml")]
    out: PathBuf,
    /// The weights to begin with, a Hugging Face directory or a bundle [default: weights/minilm where it is and the lists are
    /// not Cyrillic, else the bundled models/matcher]
    #[arg(long, value_name = "DIR")]
    start: Option<PathBuf>,
    /// The id column of the tables [default: id, else the first]
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
}

/// What a column looks like.
#[derive(Serialize)]
struct Column {
    name: String,
    side: &'static str,
    /// Share of rows with a value.
    filled: f64,
    /// Characters of a value, on average.
    length: f64,
    distinct: usize,
    example: String,
    /// Why it is left out, where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<&'static str>,
}

#[derive(Serialize)]
struct Answer {
    recipe: PathBuf,
    source: Source,
    pairs: usize,
    matches: usize,
    #[serde(flatten)]
    seen: Seen,
}

/// What the lists look like.
#[derive(Serialize)]
struct Seen {
    fields: Vec<String>,
    max_tokens: usize,
    only_matches: bool,
    /// Whether the pairs are divided into parts.
    divided: bool,
    /// Whether a good part of the texts is in Cyrillic letters.
    cyrillic: bool,
    columns: Vec<Column>,
}

pub fn run(args: Args, output: &Output) -> Outcome {
    if args.out.exists() {
        return Err(Error::setting("--out", args.out.display(), "already exists; give another name").into());
    }
    let mut source = match (&args.right, &args.pairs) {
        (Some(right), Some(pairs)) => data::guess_links(&args.left, right, pairs)?,
        _ => data::detect(&args.left)?,
    };
    if let Source::Joined(files) | Source::Ditto(files) | Source::Wdc(files) = &source
        && files.train.is_none()
    {
        let remedy = "call the files train.*, valid.* and test.*, and name their folder";
        return Err(Error::data(&args.left, None, "no training pairs here", remedy).into());
    }
    if let Source::Links { left_id, right_id, .. } = &mut source {
        (*left_id, *right_id) = (args.id.clone(), args.id.clone());
    }
    let options = ReadOptions { id: args.id.clone(), skip_bad_rows: false };
    let (set, _) = data::read_pairs(&source, &options)?;
    let mut columns = looked_at("left", &set.left);
    columns.extend(looked_at("right", &set.right));
    let mut fields: Vec<String> = Vec::new();
    for column in columns.iter().filter(|c| c.left_out.is_none()) {
        if !fields.contains(&column.name) {
            fields.push(column.name.clone());
        }
    }
    let cyrillic = cyrillic(&set);
    let start = args.start.unwrap_or_else(|| beginning(cyrillic));
    let labelled = |wanted: bool| set.pairs.iter().filter(|p| p.label == Some(wanted)).count();
    let (matches, others) = (labelled(true), labelled(false));
    let seen = Seen {
        max_tokens: tokens(&set, &fields, &start),
        only_matches: others == 0,
        divided: set.pairs.iter().any(|p| p.split.is_some()),
        cyrillic,
        columns,
        fields,
    };
    let name = args.out.file_stem().map_or("recipe".into(), |s| s.to_string_lossy().into_owned());
    // Paths in a recipe count from its folder first, then from the working directory, which is where these were typed.
    let recipe = recipe_text(&name, &start, &source, &seen)?;
    data::write_beside(&args.out, |file| file.write_all(recipe.as_bytes()).map_err(Error::io("write", &args.out)))?;
    Recipe::read(&args.out, &[])?; // what is written must be what training reads
    let mut text = format!("{}\n", output.strong(format!("{} written", args.out.display())));
    text += &format!(
        "  {} and {}, {}, {}\n",
        counted(set.left.len() as u64, "left record", "left records"),
        counted(set.right.len() as u64, "right record", "right records"),
        counted(set.pairs.len() as u64, "pair", "pairs"),
        counted(matches as u64, "match", "matches"),
    );
    for c in &seen.columns {
        text += &format!("  {}\n", told(c));
    }
    if seen.only_matches {
        text += "  no pair is labelled 0: non-matches will be made from similar records\n";
    }
    text += &format!("  the weights to begin with: {}\n", start.display());
    if !start.is_dir() {
        text += &format!("  {} is not there yet: run scripts/weights\n", start.display());
    }
    text += &format!("next: sverka train {}", args.out.display());
    let answer = Answer { recipe: args.out, source, pairs: set.pairs.len(), matches, seen };
    output.summary(&answer, &text)?;
    Ok(())
}

/// The weights to begin with, so that the recipe trains at once: MiniLM knows English best and has to be brought first; the
/// bundled matcher knows Russian too and is always there.
fn beginning(cyrillic: bool) -> PathBuf {
    let minilm = PathBuf::from("weights/minilm");
    if minilm.is_dir() && !cyrillic {
        return minilm;
    }
    crate::model::locate(None).unwrap_or(minilm)
}

/// Statistics of each column of one side.
fn looked_at(side: &'static str, records: &[Record]) -> Vec<Column> {
    let Some(first) = records.first() else { return Vec::new() };
    let column = |name: &String| {
        let values: Vec<&str> = records.iter().filter_map(|r| r.get(name)).filter(|v| !v.trim().is_empty()).collect();
        let filled = values.len() as f64 / records.len() as f64;
        let letters: usize = values.iter().map(|v| v.chars().count()).sum();
        let distinct = values.iter().collect::<HashSet<_>>().len();
        let links = values.iter().filter(|v| v.starts_with("http://") || v.starts_with("https://")).count();
        let left_out = if filled < 0.02 {
            Some("almost empty")
        } else if distinct == 1 && records.len() > 1 {
            Some("the same in every row")
        } else if 2 * links > values.len() {
            Some("links")
        } else {
            None
        };
        Column {
            name: name.clone(),
            side,
            filled,
            length: letters as f64 / values.len().max(1) as f64,
            distinct,
            example: cut(values.first().unwrap_or(&""), 60),
            left_out,
        }
    };
    first.columns.iter().map(column).collect()
}

fn told(c: &Column) -> String {
    let out = c.left_out.map_or(String::new(), |why| format!(" (left out: {why})"));
    format!(
        "{:5} {:20} {:>4.0}% filled, {:>4.0} characters: {}{out}",
        c.side,
        cut(&c.name, 20),
        100.0 * c.filled,
        c.length,
        c.example
    )
}

/// Tokens that most pairs fit into, as the weights to begin with count them. Without these: about three characters a token.
fn tokens(set: &PairSet, fields: &[String], start: &Path) -> usize {
    const LOOKED_AT: usize = 2000;
    let whole = TextConfig { fields: fields.to_vec(), max_tokens: 512, ..TextConfig::default() };
    let tokenizer = TextEncoder::open(start, whole).ok();
    let letters = |r: &Record| fields.iter().filter_map(|f| r.get(f)).map(|v| v.chars().count() + 1).sum::<usize>();
    let length = |pair: &Pair| {
        let (left, right, _) = set.sides(pair);
        let counted = tokenizer.as_ref().and_then(|t| t.pair(left.into(), right.into()).ok());
        counted.map_or_else(|| (letters(left) + letters(right)) / 3 + 3, |encoding| encoding.ids.len())
    };
    let every = set.pairs.len().div_ceil(LOOKED_AT).max(1);
    let mut lengths: Vec<usize> = set.pairs.iter().step_by(every).map(length).collect();
    lengths.sort_unstable();
    let most = lengths.get(lengths.len() * 95 / 100).copied().unwrap_or(0);
    [64, 96, 128, 192].into_iter().find(|t| *t >= most).unwrap_or(256)
}

/// Whether a good part of the texts is in Cyrillic letters.
fn cyrillic(set: &PairSet) -> bool {
    let (mut cyrillic, mut letters) = (0usize, 0usize);
    for c in set.left.iter().chain(&set.right).take(2000).flat_map(|r| r.values.iter()).flat_map(|v| v.chars()) {
        letters += usize::from(c.is_alphabetic());
        cyrillic += usize::from(('\u{400}'..'\u{530}').contains(&c));
    }
    10 * cyrillic > letters
}

/// The recipe, with what was seen as comments.
fn recipe_text(name: &str, start: &Path, source: &Source, seen: &Seen) -> Result<String> {
    let failed = |e: toml::ser::Error| Error::Internal { op: "write recipe", what: e.to_string() };
    let mut text =
        String::from("# Written by `sverka init` for `sverka train`. Every key has a default: see docs/recipes.md.\n");
    text += &format!("name = {}\n\n[start]\n", quoted(name));
    text += "# Other starts: weights/minilm (`scripts/weights`) knows English, weights/e5-small (`scripts/weights --e5`) a hundred\n\
             # languages; models/matcher knows product texts in English and Russian.\n";
    text += &format!("dir = {}\n\n", quoted(&start.to_string_lossy()));
    text += &format!("[[data.sources]]\nname = {}\n\n", quoted(name));
    if seen.only_matches {
        text += "# No pair is labelled 0: for each match so many non-matches are made, similar ones and random ones.\n";
        text += "[data.sources.negatives]\nhard = 4\nrandom = 2\n\n";
    }
    text += &format!("[data.sources.from]\n{}\n", toml::to_string(source).map_err(failed)?);
    if !seen.divided {
        text += "# The pairs have no split: these shares of the left records are kept for validation and test.\n";
        text += "[data.split]\nvalid = 0.2\ntest = 0.2\n\n";
    }
    text += "# The columns as they were seen:\n";
    for c in &seen.columns {
        text += &format!("#   {}\n", told(c).replace(char::is_control, " "));
    }
    let list = seen.fields.iter().map(|f| quoted(f)).collect::<Vec<_>>().join(", ");
    text += &format!("[text]\nfields = [{list}]\nmax_tokens = {}\n", seen.max_tokens);
    text += "mark_shared = true    # tells the model which words the other side has too: better than without, a little slower\n\n";
    text += "[train]\nepochs = 10\nbatch = 32\nlr = 5e-5\nearly_stopping = 3\n";
    Ok(text)
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.into()).to_string()
}
