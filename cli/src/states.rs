//! `sverka states`: documents' states of a split encoder, computed once and kept in a store.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use serde::Serialize;
use sverka::bundle::Bundle;
use sverka::data::{StoredTable, store_documents};
use sverka::files::nearest_folder;
use sverka::index::states::{Added, Estimate, RowStorage, StateStore, StateWriter, estimate};
use sverka::ranker::Rows;
use sverka::{Error, Result};

use crate::args::Resolved;
use crate::failure::Outcome;
use crate::output::{Output, counted, grouped};
use crate::tables::TableArgs;

const EXAMPLE: &str = "\
Examples:
  sverka states build runs/scifact-yati-1/model ../shared/data/scifact --out scifact.states --storage f16
  sverka states append runs/scifact-yati-1/model new.csv --out scifact.states
  sverka states delete scifact.states --id 4983 --id 5836
  sverka states compact scifact.states
  sverka states check scifact.states

The model is one that was trained with architecture = \"yati\"; a store is good for that model only. A build
that was killed goes on where it was when it is started again. `sverka run` scores from a store.";

/// Store documents' states of a split encoder (YATI), so that a query costs its own tokens and the joint layers
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Compute the states of documents into a new store, or go on with one that was begun
    #[command(after_help = EXAMPLE)]
    Build(Build),
    /// Add documents to a store; one whose id is there and whose text differs takes the old one's place
    #[command(after_help = EXAMPLE)]
    Append(Documents),
    /// Delete documents from a store
    #[command(after_help = EXAMPLE)]
    Delete(Delete),
    /// Write a store again without its deleted documents
    #[command(after_help = EXAMPLE)]
    Compact(One),
    /// Show what a store is, and compare all checksums
    #[command(after_help = EXAMPLE)]
    Check(One),
}

/// A model and documents.
#[derive(Debug, clap::Args)]
struct Documents {
    /// The model's folder
    model: PathBuf,
    /// The documents: a BEIR folder or its JSON lines, or a table
    documents: PathBuf,
    /// The store
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Columns that are the text [default: those of the model's training; all but the id if there are none]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    fields: Vec<String>,
    #[command(flatten)]
    tables: TableArgs,
}

#[derive(Debug, clap::Args)]
struct Build {
    #[command(flatten)]
    documents: Documents,
    /// How a token's values are stored; scores from f32 are those of the joint model to the bit
    #[arg(long, value_enum, default_value_t = Storage::F16)]
    storage: Storage,
}

#[derive(Debug, clap::Args)]
struct Delete {
    /// The store
    store: PathBuf,
    /// The id of a document; may be given more than once
    #[arg(long, value_name = "ID", required_unless_present = "ids")]
    id: Vec<String>,
    /// A file with an id a line
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct One {
    /// The store
    store: PathBuf,
}

/// `--storage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Storage {
    /// 4 bytes a value
    F32,
    /// 2 bytes a value
    F16,
    /// 1 byte a value and a scale a token
    Int8,
}

impl From<Storage> for RowStorage {
    fn from(storage: Storage) -> Self {
        match storage {
            Storage::F32 => RowStorage::F32,
            Storage::F16 => RowStorage::F16,
            Storage::Int8 => RowStorage::Int8,
        }
    }
}

/// What became of documents.
#[derive(Serialize)]
struct Changed {
    store: PathBuf,
    documents: u64,
    #[serde(flatten)]
    added: Added,
    estimate: Estimate,
    seconds: f64,
}

pub fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    match args.verb {
        Verb::Build(args) => build(&args, global, output),
        Verb::Append(args) => append(&args, global, output),
        Verb::Delete(args) => delete(&args, output),
        Verb::Compact(args) => compact(&args.store, output),
        Verb::Check(args) => check(&args.store, output),
    }
}

fn build(args: &Build, global: &Resolved, output: &Output) -> Outcome {
    let (bundle, documents) = read(&args.documents, global, output)?;
    let storage = args.storage.into();
    let writer = StateWriter::build(&args.documents.out, &bundle.split_encoder()?, storage)?;
    if !writer.is_empty() {
        let there = counted(writer.len() as u64, "document is", "documents are");
        output.note(format_args!("{}: {there} stored already, going on", args.documents.out.display()));
    }
    add(writer, &bundle, &documents, &args.documents.out, output)
}

fn append(args: &Documents, global: &Resolved, output: &Output) -> Outcome {
    let (bundle, documents) = read(args, global, output)?;
    let writer = StateWriter::open(&args.out)?;
    writer.check_model(&bundle.split_encoder()?)?;
    if !writer.manifest().complete {
        let what = "was interrupted while it was built: run the same `sverka states build` again first";
        return Err(Error::setting("--out", args.out.display(), what).into());
    }
    add(writer, &bundle, &documents, &args.out, output)
}

/// The model and the documents, which are read into a temporary file on the store's disk.
fn read(args: &Documents, global: &Resolved, output: &Output) -> Result<(Bundle, StoredTable)> {
    let mut bundle = Bundle::open(&args.model, global.dtype, global.device)?;
    if !args.fields.is_empty() {
        bundle = bundle.with_fields(args.fields.clone());
    }
    bundle.split_encoder()?;
    let (documents, report) = store_documents(&args.documents, &args.tables.options()?, nearest_folder(&args.out))?;
    crate::tables::report(output, &args.documents, &report);
    let columns = documents.records.head().columns;
    if let Some(missing) = args.fields.iter().find(|field| !columns.contains(field)) {
        let what = format!("is no column; there are {}", columns.join(", "));
        return Err(Error::setting("--fields", missing, what));
    }
    Ok((bundle, documents.records))
}

fn add(mut writer: StateWriter, bundle: &Bundle, documents: &StoredTable, out: &Path, output: &Output) -> Outcome {
    let encoder = bundle.split_encoder()?;
    let storage = writer.manifest().storage;
    let estimate = estimate(&encoder, documents, storage)?;
    output.note(format_args!(
        "{}: {:.1} tokens and {:.0} bytes a document ({storage}, {} values a token), {:.1} MB in all",
        counted(estimate.documents, "document", "documents"),
        estimate.tokens_a_document,
        estimate.bytes_a_document,
        encoder.width(),
        estimate.bytes as f64 / 1e6,
    ));
    crate::signals::end_without_a_trace("what was committed stays; the same command goes on from there");
    let start = std::time::Instant::now();
    let bar = output.bar(documents.len() as u64, "encoding {bar:30} {pos}/{len} documents, {per_sec}, {eta} left");
    let progress = |done: u64, _: u64| bar.set_position(done);
    let added = writer.add(&encoder, bundle.tokenizer().rendering(), documents, &progress)?;
    if !writer.manifest().complete {
        writer.complete()?;
    }
    bar.finish_and_clear();
    let (seconds, all) = (start.elapsed().as_secs_f64(), writer.len() as u64);
    let text = format!(
        "{}  {}: {} added, {} replaced, {} unchanged, in {seconds:.1} s",
        output.strong(out.display()),
        counted(all, "document", "documents"),
        grouped(added.added - added.replaced),
        grouped(added.replaced),
        grouped(added.unchanged),
    );
    output.summary(&Changed { store: out.into(), documents: all, added, estimate, seconds }, &text)?;
    Ok(())
}

fn delete(args: &Delete, output: &Output) -> Outcome {
    let mut ids = args.id.clone();
    if let Some(path) = &args.ids {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        ids.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from));
    }
    let mut writer = StateWriter::open(&args.store)?;
    let deleted = writer.delete(&ids)?;
    let asked = ids.iter().collect::<std::collections::HashSet<_>>().len() as u64;
    if deleted < asked {
        let many = "ids are not in the store";
        output.warn(format_args!(
            "{}: {}",
            args.store.display(),
            counted(asked - deleted, "id is not in the store", many)
        ));
    }
    let value = serde_json::json!({ "store": args.store, "deleted": deleted, "documents": writer.len() });
    let left = counted(writer.len() as u64, "document", "documents");
    output.summary(&value, &format!("{deleted} deleted, {left} left; `sverka states compact` frees their bytes"))?;
    Ok(())
}

fn compact(store: &Path, output: &Output) -> Outcome {
    let mut writer = StateWriter::open(store)?;
    crate::signals::end_without_a_trace("the store is as it was");
    let bar = output.bar(writer.len() as u64, "writing {bar:30} {pos}/{len} documents, {eta} left");
    let freed = writer.compact(&|done, _| bar.set_position(done))?;
    bar.finish_and_clear();
    let value = serde_json::json!({ "store": store, "freed_bytes": freed, "documents": writer.len() });
    let documents = counted(writer.len() as u64, "document", "documents");
    output.summary(&value, &format!("{documents}, {:.1} MB freed", freed as f64 / 1e6))?;
    Ok(())
}

fn check(path: &Path, output: &Output) -> Outcome {
    let store = StateStore::open_any(path)?;
    let bar = output.bar(store.bytes(), "checking {bar:30} {bytes}/{total_bytes}, {eta} left");
    store.check(&|done, _| bar.set_position(done))?;
    bar.finish_and_clear();
    let manifest = store.manifest();
    let value = serde_json::json!({
        "store": path, "documents": store.len(), "tokens": store.tokens(), "bytes": store.bytes(),
        "segments": manifest.segments.len(), "storage": manifest.storage, "width": manifest.width,
        "complete": manifest.complete, "fingerprint": manifest.fingerprint,
    });
    let mut text = format!("{}\n", output.strong(path.display()));
    let mut line = |name: &str, value: String| text += &format!("  {name:12} {value}\n");
    line("documents", grouped(store.len() as u64));
    line("tokens", grouped(store.tokens()));
    line(
        "on disk",
        format!(
            "{:.1} MB in {}",
            store.bytes() as f64 / 1e6,
            counted(manifest.segments.len() as u64, "segment", "segments")
        ),
    );
    line("a token", format!("{} values in {}", manifest.width, manifest.storage));
    line("complete", if manifest.complete { "yes" } else { "no: run the same build again" }.into());
    line("model", manifest.fingerprint[..16].to_string());
    line("checksums", "as written".into());
    output.result(&value, &text)?;
    Ok(())
}
