//! `sverka index compare`: ways of finding documents next to each other.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sverka::bundle::Bundle;
use sverka::data::{WordVectors, read_beir, read_squad};
use sverka::index::{Bm25Settings, ColbertSettings, Comparison, MeanVectors, Way, compare};
use sverka::{Error, Result};

use crate::args::Resolved;
use crate::failure::Outcome;
use crate::labelled::SplitArg;
use crate::output::{Output, counted, grouped};

const EXAMPLE: &str = "\
Examples:
  sverka index compare ../shared/data/scifact --kind bm25 --kind dense:weights/minilm
  sverka index compare ../shared/data/xquad/xquad.en.json --split all --kind bm25 --kind dense:words.vec
  sverka index compare ../shared/data/scifact --kind bm25 --kind colbert:runs/scifact-colbert/model --json
  sverka index compare ../shared/data/scifact ../shared/data/xquad/xquad.{en,ru}.json --kind bm25 --kind dense:weights/e5-small

Vectors are searched exactly, a ColBERT through its index. Times are of one query, its encoding included; building
includes the encoding of the documents. Static vectors (.vec, .bin) count as the mean of a text's words. JSON keys:
documents queries ways (name ndcg_at_10 recall_at_100 p50_ms p95_ms bytes_per_document build_seconds); of several DATA
a list of these, each with its data, as collections.";

/// Compare ways of finding documents: quality, time a query, bytes a document, time of building
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// BEIR folders (corpus.jsonl, queries.jsonl, qrels/) or SQuAD's JSON
    #[arg(required = true)]
    data: Vec<PathBuf>,
    /// What is compared: bm25, dense:MODEL (two towers, a sentence encoder, or a file of word vectors), colbert:MODEL
    #[arg(long = "kind", required = true, value_name = "KIND[:MODEL]")]
    kinds: Vec<String>,
    /// Whose judgements count; those of SQuAD's JSON have no split
    #[arg(long, value_enum, default_value_t = SplitArg::Test)]
    split: SplitArg,
    /// Queries at most
    #[arg(long, default_value_t = 300, value_name = "N")]
    queries: usize,
    /// Documents at most, the first ones (judged documents past them are not found)
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// A kind with its model.
enum Model {
    Bm25,
    Towers(Box<Bundle>),
    Words(Box<MeanVectors>),
    Colbert(Box<Bundle>),
}

impl Model {
    fn open(kind: &str, global: &Resolved) -> Result<Self> {
        let wrong = |what: &str| Error::setting("--kind", kind, what);
        match kind.split_once(':').map_or((kind, None), |(name, path)| (name, Some(Path::new(path)))) {
            ("bm25", None) => Ok(Model::Bm25),
            ("bm25", Some(_)) => Err(wrong("bm25 has no model: leave the part after the colon out")),
            ("dense" | "colbert", None) => Err(wrong("name the model: dense:DIR, dense:words.vec or colbert:DIR")),
            ("dense", Some(path)) if path.is_file() => {
                Ok(Model::Words(Box::new(MeanVectors::new(WordVectors::read(path, None)?)?)))
            }
            (name @ ("dense" | "colbert"), Some(path)) => {
                let bundle = Box::new(Bundle::open_encoder(path, global.dtype, global.device)?);
                let (is_dual, is_late) = (bundle.dual_encoder().is_some(), bundle.late_encoder().is_some());
                match name {
                    "dense" if is_dual => Ok(Model::Towers(bundle)),
                    "dense" => Err(wrong("has several vectors a text: give colbert:DIR")),
                    _ if is_late => Ok(Model::Colbert(bundle)),
                    _ => Err(wrong("has one vector a text: give dense:DIR, or a ColBERT")),
                }
            }
            _ => Err(wrong("give bm25, dense:MODEL or colbert:MODEL")),
        }
    }
}

/// A collection, and what was measured on it.
#[derive(Serialize)]
struct Compared {
    data: PathBuf,
    #[serde(flatten)]
    comparison: Comparison,
}

#[derive(Serialize)]
struct Collections {
    collections: Vec<Compared>,
}

pub(super) fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    if args.queries == 0 {
        return Err(Error::setting("--queries", 0, "give at least 1 query").into());
    }
    let models = args.kinds.iter().map(|kind| Model::open(kind, global)).collect::<Result<Vec<_>>>()?;
    crate::signals::end_without_a_trace("nothing is written");
    let compared = |data: &PathBuf| {
        let comparison = compare_on(data, &args, &models, output)?;
        Ok(Compared { data: data.clone(), comparison })
    };
    let mut all = args.data.iter().map(compared).collect::<Result<Vec<_>>>()?;
    let text = all.iter().map(|one| render(&one.data, &one.comparison, output)).collect::<Vec<_>>().join("\n");
    match all.len() {
        1 => output.result(&all.remove(0).comparison, &text)?,
        _ => output.result(&Collections { collections: all }, &text)?,
    }
    Ok(())
}

/// All ways on one collection.
fn compare_on(data: &Path, args: &Args, models: &[Model], output: &Output) -> Result<Comparison> {
    let (mut collection, report) = match data.is_dir() {
        true => read_beir(data)?,
        false => read_squad(&[(data, None)])?,
    };
    crate::tables::report(output, data, &report);
    if let Some(limit) = args.limit {
        collection.documents.truncate(limit);
    }
    // SQuAD's JSON says of no split
    let split = args.split.split().filter(|_| collection.judgements.iter().any(|(_, split)| split.is_some()));
    let judgements = collection.of_split(split);
    let dense: Vec<_> = models
        .iter()
        .map(|model| if let Model::Towers(bundle) = model { bundle.dual_encoder() } else { None })
        .collect();
    let late: Vec<_> = models
        .iter()
        .map(|model| if let Model::Colbert(bundle) = model { bundle.late_encoder() } else { None })
        .collect();
    let way = |at: usize| -> Result<(String, Way)> {
        let of = match (&models[at], &dense[at], &late[at]) {
            (Model::Bm25, ..) => Way::Bm25(Bm25Settings::text()),
            (Model::Colbert(bundle), _, Some(encoder)) => {
                Way::Colbert(encoder, bundle.tokenizer().rendering(), ColbertSettings::default())
            }
            (Model::Words(words), ..) => Way::Dense(&**words),
            (_, Some(encoder), _) => Way::Dense(encoder),
            _ => return Err(Error::Internal { op: "compare", what: "a model without vectors".into() }),
        };
        Ok((args.kinds[at].clone(), of))
    };
    let ways = (0..models.len()).map(way).collect::<Result<Vec<_>>>()?;
    let bar = output.bar(0, "{msg} {bar:30} {pos}/{len} documents, {eta} left");
    let progress = |done: u64, total: u64, name: &str| {
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(name.to_string());
    };
    let comparison = compare(&ways, &collection, &judgements, args.queries, &progress)?;
    bar.finish_and_clear();
    Ok(comparison)
}

fn render(data: &Path, comparison: &Comparison, output: &Output) -> String {
    let documents = counted(comparison.documents, "document", "documents");
    let queries = grouped(comparison.queries);
    let mut text = output.strong(format!("{}: {documents}, {queries} queries\n\n", data.display()));
    let width = comparison.ways.iter().map(|way| way.name.chars().count()).max().unwrap_or(0).max(4);
    text += &format!("  {:width$}  nDCG@10   R@100   ms p50   p95  bytes a document  built in\n", "kind");
    for way in &comparison.ways {
        let q = &way.quality;
        text += &format!(
            "  {:width$}  {:7.4}  {:6.4}  {:7.1} {:5.1}  {:16.0}  {:6.1} s\n",
            way.name, q.ndcg_at_10, q.recall_at_100, q.p50_ms, q.p95_ms, way.bytes_per_document, way.build_seconds
        );
    }
    text
}
