//! `sverka init`: looks at two lists and their labelled pairs, and writes a recipe that trains at once.

use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;
use sverka::Error;
use sverka::data::{self, ReadOptions, Reading, Source};
use sverka::files::write_beside;
use sverka::train::Recipe;
use sverka::train::draft::{Draft, is_cyrillic};

use crate::failure::Outcome;
use crate::output::{Output, counted};
use crate::tables::TableArgs;

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
    /// not Cyrillic, else the built-in matcher]
    #[arg(long, value_name = "DIR")]
    start: Option<PathBuf>,
    /// The column of labels, 1 or 0; `none`: every row is a match [default: label, or a column that says yes and no]
    #[arg(long, value_name = "COLUMN", requires = "pairs")]
    label_column: Option<String>,
    #[command(flatten)]
    tables: TableArgs,
}

#[derive(Serialize)]
struct InitOutput {
    recipe: PathBuf,
    source: Source,
    pairs: usize,
    matches: usize,
    cyrillic: bool,
    #[serde(flatten)]
    draft: Draft,
}

pub fn run(args: Args, output: &Output) -> Outcome {
    if args.out.exists() {
        return Err(Error::setting("--out", args.out.display(), "already exists; give another name").into());
    }
    let mut read = Reading { label_column: args.label_column.clone(), ..args.tables.reading() };
    let options = ReadOptions { label_column: args.label_column.clone(), ..args.tables.options()? };
    let mut source = match (&args.right, &args.pairs) {
        (Some(right), Some(pairs)) => {
            let (source, guessed) = data::guess_links(&args.left, right, pairs, &options)?;
            crate::tables::report(output, pairs, &guessed);
            source
        }
        _ => data::detect(&args.left, &options)?,
    };
    if let Source::Joined(files) | Source::Ditto(files) | Source::Wdc(files) = &source
        && files.train.is_none()
        && files.pairs.is_none()
    {
        let remedy = "call the files train.*, valid.* and test.*, and name their folder";
        return Err(Error::data(&args.left, None, "no training pairs here", remedy).into());
    }
    if let Source::Links { left_id, right_id, .. } = &mut source {
        // the format has keys of its own for these
        (*left_id, *right_id) = (read.id.first().cloned(), read.id.last().cloned());
        (read.id, read.label_column) = (Vec::new(), None);
    }
    let (set, report) = data::read_pairs(&source, &options)?;
    crate::tables::report(output, &args.left, &report);
    let cyrillic = is_cyrillic(&set);
    let init = args.start.unwrap_or_else(|| beginning(cyrillic));
    let matches = set.pairs.iter().filter(|p| p.is_match()).count();
    let name = args.out.file_stem().map_or("recipe".into(), |s| s.to_string_lossy().into_owned());
    // Paths in a recipe count from its folder first, then from the working directory, which is where these were typed.
    let (draft, recipe) = Recipe::draft(&name, &init, &source, &read, options.skip_bad_rows, &set)?;
    write_beside(&args.out, |file| file.write_all(recipe.as_bytes()).map_err(Error::io("write", &args.out)))?;
    Recipe::read(&args.out, &[])?; // what is written must be what training reads
    let mut text = format!("{}\n", output.strong(format!("{} written", args.out.display())));
    text += &format!(
        "  {} and {}, {}, {}\n",
        counted(set.left.len() as u64, "left record", "left records"),
        counted(set.right.len() as u64, "right record", "right records"),
        counted(set.pairs.len() as u64, "pair", "pairs"),
        counted(matches as u64, "match", "matches"),
    );
    for column in &draft.columns {
        text += &format!("  {column}\n");
    }
    if draft.only_matches {
        text += "  no pair is labelled 0: non-matches will be made from similar records\n";
    }
    text += &format!("  the weights to begin with: {}\n", init.display());
    if !init.is_dir() {
        text += &format!("  {} is not there yet: run scripts/weights\n", init.display());
    }
    text += &format!("next: sverka train {}", args.out.display());
    let answer = InitOutput { recipe: args.out, source, pairs: set.pairs.len(), matches, cyrillic, draft };
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
