//! `sverka index`: documents on disk, to be searched; and what becomes of them later.

mod compare;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Subcommand, ValueEnum};
use serde::Serialize;
use sverka::data::{Documents, StoredTable, store_documents};
use sverka::files::nearest_folder;
use sverka::index::{
    self, Bm25Settings, Changes, ColbertSettings, IndexManifest, Method, ModelOptions, Nearest, NearestReport,
    Settings, Stored,
};
use sverka::ranker::Rows;
use sverka::{Error, Record, Result};

use crate::args::Resolved;
use crate::failure::Outcome;
use crate::output::{Output, counted, grouped};
use crate::tables::TableArgs;

const EXAMPLE: &str = "\
Examples:
  sverka index ../shared/data/scifact --out scifact.index
  sverka index products.csv --kind hybrid --model weights/minilm --fields name --out shop.index
  sverka index products.csv --kind dense --model words.vec --out words.index
  sverka index ../shared/data/scifact --kind colbert --model runs/scifact-colbert/model --pool 2 --out tokens.index
  sverka index update shop.index --add new.csv --delete gone.txt
  sverka index compact shop.index
  sverka index compare ../shared/data/scifact --kind bm25 --kind dense:weights/minilm
  sverka search shop.index lamp

DATA is a BEIR folder, BEIR's or any JSON lines, SQuAD's JSON, or a table (CSV, TSV, Parquet). An index is
a folder. Each commit is one rename: whatever happens, the last commit stays, and searches go on. More than
200,000 vectors are divided into lists, of which a query reads the nearest; how much of the exact search that
finds is measured and reported. What a ColBERT's settings lose and take `sverka tune` says.";

const UPDATE: &str = "\
Example:
  sverka index update shop.index --add new.csv --delete gone.txt

A document whose id is there already replaces the old one. All of it is one commit.";

const COMPACT: &str = "\
Example:
  sverka index compact shop.index";

const CHECK: &str = "\
Example:
  sverka index check shop.index";

/// Index documents on disk, to be searched
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    build: Build,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Update(Update),
    Compact(Compact),
    Check(Check),
    Compare(compare::Args),
}

/// Documents in.
#[derive(Debug, clap::Args)]
struct Build {
    /// The documents
    #[arg(required = true)]
    data: Option<PathBuf>,
    /// The index's folder, to be made
    #[arg(long, required = true, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How documents are found
    #[arg(long, value_enum, default_value_t = Kind::Bm25)]
    kind: Kind,
    /// The model that makes vectors: two towers (dssm), the folder of a sentence encoder, a ColBERT, or a file of word
    /// vectors (.vec, .bin), whose mean is a text's vector
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Columns that are indexed [default: those of the model's training, else all but the id]
    #[arg(long, value_name = "A,B", value_delimiter = ',', alias = "field")]
    fields: Vec<String>,
    /// What of a text BM25 counts [default: text for collections (BEIR, SQuAD), products for tables]
    #[arg(long, value_enum, value_name = "WHAT")]
    analysis: Option<AnalysisArg>,
    /// BM25's k1: how much it counts that a document has a word again [default: 0.9 for text, 1.2 for products]
    #[arg(long, value_name = "K1", allow_negative_numbers = true)]
    k1: Option<f32>,
    /// BM25's b: how much it counts that a document is long, 0 to 1 [default: 0.4 for text, 0.75 for products]
    #[arg(long, value_name = "B", allow_negative_numbers = true)]
    b: Option<f32>,
    /// How the values of vectors are stored
    #[arg(long, value_enum, default_value_t = StoredArg::F16)]
    vectors: StoredArg,
    /// For dense and hybrid: which vectors a query is compared with
    #[arg(long, value_enum, default_value_t = NearestArg::Auto)]
    nearest: NearestArg,
    /// For colbert: bits of a value, 2 or 4
    #[arg(long, value_name = "BITS", default_value_t = 4)]
    bits: usize,
    /// For colbert: centroids; 0: 16 times the square root of the number of vectors, 65,000 at most
    #[arg(long, value_name = "N", default_value_t = 0)]
    centroids: usize,
    /// For colbert: one vector is kept of so many of a document, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 1)]
    pool: usize,
    /// For hybrid: what each way of searching weighs in the fusion of ranks [default: 1,1]
    #[arg(long, value_name = "BM25,DENSE", value_delimiter = ',', allow_negative_numbers = true)]
    weights: Vec<f32>,
    /// For hybrid: the constant of reciprocal rank fusion, 1 / (k + rank)
    #[arg(long, value_name = "K", default_value_t = index::fusion::K, allow_negative_numbers = true)]
    rrf_k: f32,
    /// Where there is an index already: make these documents its next commit, in place of all that it has
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    tables: TableArgs,
}

/// `--kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// by words in common
    Bm25,
    /// by the vectors of a model, one a document
    Dense,
    /// by the vectors of all tokens: late interaction
    Colbert,
    /// by words and by the model's vectors, fused by ranks
    Hybrid,
}

/// `--analysis`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum AnalysisArg {
    /// words, numbers and codes split, and trigrams
    Products,
    /// stems of words, Russian and English
    Text,
}

/// `--vectors`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum StoredArg {
    /// 4 bytes a value
    F32,
    /// 2 bytes a value
    F16,
}

/// `--nearest`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum NearestArg {
    /// all of them to 200,000, past that those of the nearest lists
    Auto,
    /// all of them
    Exact,
    /// those of the nearest lists
    Lists,
}

/// Add, change and delete documents of an index
#[derive(Debug, clap::Args)]
#[command(after_help = UPDATE)]
struct Update {
    /// The index
    index: PathBuf,
    /// Documents to be added, or to replace those of the same ids
    #[arg(long, value_name = "DATA", required_unless_present = "delete")]
    add: Option<PathBuf>,
    /// A file of ids to be deleted, one a line
    #[arg(long, value_name = "FILE")]
    delete: Option<PathBuf>,
    /// The model's folder, where it was moved since the index was built
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    #[command(flatten)]
    tables: TableArgs,
}

/// Make one generation of an index's updates, without what was deleted
#[derive(Debug, clap::Args)]
#[command(after_help = COMPACT)]
struct Compact {
    /// The index
    index: PathBuf,
    /// The model's folder, where it was moved since the index was built
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
}

/// Read all of an index and compare its checksums
#[derive(Debug, clap::Args)]
#[command(after_help = CHECK)]
struct Check {
    /// The index
    index: PathBuf,
}

#[derive(Serialize)]
struct Answer {
    index: PathBuf,
    kind: String,
    documents: u64,
    hidden: u64,
    generations: usize,
    bytes: u64,
    seconds: f64,
    /// How vectors are searched, and what that finds of an exact search, by generation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nearest: Vec<(String, NearestReport)>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    changes: Option<Changes>,
}

pub fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    let start = Instant::now();
    let (path, manifest, changes, done) = match args.verb {
        None => {
            let (path, manifest) = build(args.build, global, output)?;
            (path, manifest, None, "indexed")
        }
        Some(Verb::Compare(args)) => return compare::run(args, global, output),
        Some(Verb::Update(args)) => {
            crate::signals::end_without_a_trace("the index is as it was");
            let (manifest, changes) = update(&args, global, output)?;
            (args.index, manifest, Some(changes), "updated")
        }
        Some(Verb::Compact(Compact { index, model })) => {
            crate::signals::end_without_a_trace("the index is as it was");
            let bar = Bar::new(output, "compacting");
            let manifest = index::compact_index(&index, &options(model, global), &|done, all| bar.set(done, all))?;
            bar.clear();
            (index, manifest, None, "compacted")
        }
        Some(Verb::Check(Check { index })) => {
            let manifest = index::check_index(&index)?;
            (index, manifest, None, "whole")
        }
    };
    let answer = Answer {
        kind: manifest.settings.kind(),
        documents: manifest.documents,
        hidden: manifest.hidden,
        generations: manifest.generations.len(),
        bytes: manifest.bytes(),
        seconds: start.elapsed().as_secs_f64(),
        nearest: index::nearest_reports(&path, &manifest)?,
        index: path,
        changes,
    };
    output.summary(&answer, &render(&answer, done, output))?;
    Ok(())
}

fn build(args: Build, global: &Resolved, output: &Output) -> Result<(PathBuf, IndexManifest)> {
    let (Some(data), Some(out)) = (args.data, args.out) else {
        return Err(Error::setting("DATA", "(not given)", "name the documents, and the index with --out"));
    };
    if out.exists() && !(args.force && IndexManifest::is_in(&out)) {
        return Err(Error::Exists(out)); // before the documents are read, which may take long
    }
    let methods: &[Method] = match args.kind {
        Kind::Bm25 => &[Method::Bm25],
        Kind::Dense => &[Method::Dense],
        Kind::Colbert => &[Method::Colbert],
        Kind::Hybrid => &[Method::Bm25, Method::Dense],
    };
    if args.kind == Kind::Bm25 && args.model.is_some() {
        return Err(Error::setting(
            "--model",
            "(given)",
            "--kind bm25 has no model: leave it out, or give --kind dense",
        ));
    }
    let vectors = match args.vectors {
        StoredArg::F32 => Stored::F32,
        StoredArg::F16 => Stored::F16,
    };
    let nearest = match args.nearest {
        NearestArg::Auto => Nearest::Auto,
        NearestArg::Exact => Nearest::Exact,
        NearestArg::Lists => Nearest::Lists,
    };
    crate::signals::end_without_a_trace("nothing is written");
    let documents = read(&data, &args.tables, &out, output)?;
    check_fields(&data, &args.fields, &documents.records)?;
    let of = match args.analysis {
        Some(AnalysisArg::Text) => Bm25Settings::text(),
        Some(AnalysisArg::Products) => Bm25Settings::default(),
        None => Bm25Settings::of(&documents),
    };
    let bm25 = Bm25Settings { k1: args.k1.unwrap_or(of.k1), b: args.b.unwrap_or(of.b), ..of };
    let (bits, centroids, pool_factor) = (args.bits, args.centroids, args.pool);
    let colbert = ColbertSettings { bits, centroids, pool_factor, ..ColbertSettings::default() };
    let (fields, weights, rrf_k) = (args.fields, args.weights, args.rrf_k);
    let settings = Settings { bm25, colbert, fields, vectors, nearest, weights, rrf_k, ..Settings::new(methods) };
    let bar = Bar::new(output, "indexing");
    let progress = |done: u64, total: u64| bar.set(done, total);
    let manifest =
        index::build_index(&out, &documents.records, &settings, &options(args.model, global), args.force, &progress)?;
    bar.clear();
    Ok((out, manifest))
}

fn update(args: &Update, global: &Resolved, output: &Output) -> Result<(IndexManifest, Changes)> {
    let fields = IndexManifest::read(&args.index)?.settings.fields;
    let add: Box<dyn Rows> = match &args.add {
        Some(data) => {
            let documents = read(data, &args.tables, &args.index, output)?.records;
            check_fields(data, &fields, &documents)?;
            Box::new(documents)
        }
        None => Box::new(Vec::<Record>::new()),
    };
    let delete = args.delete.as_deref().map(read_ids).transpose()?.unwrap_or_default();
    let bar = Bar::new(output, "indexing");
    let options = options(args.model.clone(), global);
    let (manifest, changes) =
        index::update_index(&args.index, &*add, &delete, &options, &|done, all| bar.set(done, all))?;
    bar.clear();
    if changes.unknown > 0 {
        let what = counted(changes.unknown, "id to be deleted is", "ids to be deleted are");
        output.warn(format_args!("{what} not in the index"));
    }
    Ok((manifest, changes))
}

/// Reads documents into a temporary file on the index's disk and says what was left out.
fn read(data: &Path, tables: &TableArgs, index: &Path, output: &Output) -> Result<Documents> {
    let (documents, report) = store_documents(data, &tables.options()?, nearest_folder(index))?;
    crate::tables::report(output, data, &report);
    Ok(documents)
}

/// Every field is a column of the documents.
fn check_fields(data: &Path, fields: &[String], documents: &StoredTable) -> Result<()> {
    if documents.is_empty() {
        return Err(Error::data(data, None, "no documents", "give a file with documents"));
    }
    let columns = documents.head().columns;
    match fields.iter().find(|field| !columns.contains(field)) {
        None => Ok(()),
        Some(field) => {
            let what = format!("{} has no such column; it has {}", data.display(), columns.join(", "));
            Err(Error::setting("--fields", field, what))
        }
    }
}

/// Ids, one a line.
fn read_ids(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let ids: BTreeSet<&str> = text.lines().map(str::trim).filter(|id| !id.is_empty()).collect();
    Ok(ids.into_iter().map(String::from).collect())
}

/// Where a model is, and how it computes.
pub fn options(path: Option<PathBuf>, global: &Resolved) -> ModelOptions {
    ModelOptions { path, dtype: global.dtype, device: global.device }
}

/// A bar that comes with the first document.
struct Bar<'a> {
    output: &'a Output,
    what: &'static str,
    bar: Cell<Option<indicatif::ProgressBar>>,
}

impl<'a> Bar<'a> {
    fn new(output: &'a Output, what: &'static str) -> Self {
        Bar { output, what, bar: Cell::new(None) }
    }
    fn set(&self, done: u64, total: u64) {
        let template = format!("{} {{bar:30}} {{pos}}/{{len}} documents, {{per_sec}}, {{eta}} left", self.what);
        let bar = self.bar.take().unwrap_or_else(|| self.output.bar(total, &template));
        bar.set_position(done);
        self.bar.set(Some(bar));
    }
    fn clear(&self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn render(answer: &Answer, done: &str, output: &Output) -> String {
    let documents = counted(answer.documents, "document", "documents");
    let mut text = format!("{}: {done}, {}, {documents}\n", output.strong(answer.index.display()), answer.kind);
    if let Some(Changes { added, changed, deleted, .. }) = answer.changes {
        text += &format!("  {} added, {} changed, {} deleted\n", grouped(added), grouped(changed), grouped(deleted));
    }
    let each = answer.bytes as f64 / (answer.documents.max(1)) as f64;
    let megabytes = answer.bytes as f64 / 1e6;
    text += &format!("  {megabytes:.1} MB, {each:.0} bytes a document, in {:.1} s\n", answer.seconds);
    for (generation, report) in &answer.nearest {
        text += &format!("  {generation}: {}\n", vectors(report));
    }
    if answer.generations > 1 {
        let generations = counted(answer.generations as u64, "generation", "generations");
        let hidden = counted(answer.hidden, "deleted or replaced document", "deleted or replaced documents");
        text += &format!("  {generations}, {hidden} in them: `sverka index compact` makes one of them\n");
    }
    text
}

/// How vectors are searched, and what that loses.
fn vectors(report: &NearestReport) -> String {
    let NearestReport { lists, probes, queries, recall_at_10, recall_at_100 } = *report;
    if lists == 0 {
        return "every vector is compared (exact)".into();
    }
    format!(
        "{} of {} lists of vectors are read; recall@10 {recall_at_10:.3}, recall@100 {recall_at_100:.3} against the exact search ({queries} vectors as queries)",
        grouped(u64::from(probes)),
        grouped(u64::from(lists)),
    )
}

/// What an index is, for `sverka info`.
pub fn describe(path: PathBuf, output: &Output) -> Outcome {
    let manifest = IndexManifest::read(&path)?;
    let mut text = format!("{}\n", output.strong(path.display()));
    let mut line = |name: &str, value: String| text += &format!("  {name:14} {value}\n");
    line("index", manifest.settings.kind());
    line("documents", grouped(manifest.documents));
    if manifest.settings.methods.contains(&Method::Bm25) {
        let Bm25Settings { k1, b, analysis } = manifest.settings.bm25;
        line("bm25", format!("k1 {k1}, b {b}, of {}", format!("{analysis:?}").to_lowercase()));
    }
    if manifest.settings.methods.contains(&Method::Colbert) {
        let ColbertSettings { bits, centroids, pool_factor, .. } = manifest.settings.colbert;
        let centroids =
            if centroids == 0 { "centroids by themselves".into() } else { format!("{centroids} centroids") };
        line("colbert", format!("{bits} bits a value, {centroids}, one vector kept of {pool_factor}"));
    }
    let fields = &manifest.settings.fields;
    line("fields", if fields.is_empty() { "all but the id, or those of the model".into() } else { fields.join(", ") });
    if let Some(model) = &manifest.model {
        line("model", format!("{} (fingerprint {})", model.path.display(), model.fingerprint.get(..12).unwrap_or("")));
    }
    let nearest = index::nearest_reports(&path, &manifest)?;
    nearest.iter().for_each(|(generation, report)| line("vectors", format!("{generation}: {}", vectors(report))));
    line(
        "generations",
        format!("{}, {} deleted or replaced in them", manifest.generations.len(), grouped(manifest.hidden)),
    );
    line("on disk", format!("{:.1} MB", manifest.bytes() as f64 / 1e6));
    #[derive(Serialize)]
    struct Described {
        index: PathBuf,
        bytes: u64,
        nearest: Vec<(String, NearestReport)>,
        manifest: IndexManifest,
    }
    let bytes = manifest.bytes();
    output.result(&Described { index: path, bytes, nearest, manifest }, &text)?;
    Ok(())
}
