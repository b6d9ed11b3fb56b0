//! `sverka tune`: what a ColBERT's index loses and takes, by bits and effort.

use std::path::PathBuf;

use sverka::bundle::Bundle;
use sverka::data::read_beir;
use sverka::index::colbert::{ByLength, Quality, Tuning, TuningReport, tune_colbert};
use sverka::records::Split;
use sverka::{Error, Result};

use crate::args::Resolved;
use crate::failure::Outcome;
use crate::output::{Output, grouped};

const EXAMPLE: &str = "\
Examples:
  sverka tune runs/scifact-colbert/model ../shared/data/scifact
  sverka tune runs/scifact-colbert/model ../shared/data/scifact --bits 4 --probes 8,32 --pool 1,2 --json

of exact is the share of the 100 best documents by exact scores that the index finds too, of all and of each third of the collection by
the vectors of a document. Times are of one query, without its encoding. `sverka index` takes the same --bits, --pool and --centroids,
`sverka search` the same --probes and --decoded. JSON keys: documents vectors dim lengths queries encoded_per_second exact tried.";

/// Measure what a ColBERT's index loses, and its time and size, on a collection with judgements
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The model's folder: a ColBERT
    model: PathBuf,
    /// A BEIR folder: corpus.jsonl, queries.jsonl, qrels/
    data: PathBuf,
    /// Whose judgements count: train, valid, test or all
    #[arg(long, default_value = "test", value_name = "SPLIT", value_parser = ["train", "valid", "test", "all"])]
    split: String,
    /// Bits of a value to try: 2, 4
    #[arg(long, default_value = "2,4", value_delimiter = ',', value_name = "BITS")]
    bits: Vec<usize>,
    /// Centroids whose lists are read for each token of a query, to try
    #[arg(long, default_value = "4,8,16,32", value_delimiter = ',', value_name = "N")]
    probes: Vec<usize>,
    /// Documents scored by their decoded vectors, to try
    #[arg(long, default_value = "1024", value_delimiter = ',', value_name = "N")]
    decoded: Vec<usize>,
    /// Centroids to try; 0: 16 times the square root of the number of vectors
    #[arg(long, default_value = "0", value_delimiter = ',', value_name = "N")]
    centroids: Vec<usize>,
    /// Token pooling to try: one vector is kept of so many
    #[arg(long, default_value = "1", value_delimiter = ',', value_name = "N")]
    pool: Vec<usize>,
    /// Queries at most
    #[arg(long, default_value_t = 300, value_name = "N")]
    queries: usize,
    /// Documents at most, the first ones (judged documents past them are not found)
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

pub fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    let lists =
        [("--bits", &args.bits), ("--probes", &args.probes), ("--decoded", &args.decoded), ("--pool", &args.pool)];
    for (flag, values) in lists {
        if values.is_empty() || values.contains(&0) {
            return Err(Error::setting(flag, format!("{values:?}"), "give numbers of at least 1").into());
        }
    }
    let bundle = Bundle::open(&args.model, global.dtype, global.device)?;
    let Some(encoder) = bundle.late_encoder() else {
        let what =
            "is no ColBERT: train one with architecture = \"colbert\", or give a folder of PyLate's or Stanford's";
        return Err(Error::setting("MODEL", args.model.display(), what).into());
    };
    let (mut collection, report) = read_beir(&args.data)?;
    report.notes.iter().for_each(|note| output.warn(note));
    if let Some(limit) = args.limit {
        collection.documents.truncate(limit);
    }
    let judgements = collection.of_split(split(&args.split)?);
    let bar = output.bar(0, "{msg} {bar:30} {pos}/{len}, {eta} left");
    let progress = |done: u64, total: u64, what: &str| {
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(what.to_string());
    };
    let tuning = Tuning {
        bits: args.bits,
        probes: args.probes,
        decoded: args.decoded,
        centroids: args.centroids,
        pool_factors: args.pool,
        queries: args.queries,
    };
    let report = tune_colbert(&encoder, &collection, &judgements, &tuning, &progress)?;
    bar.finish_and_clear();
    output.result(&report, &render(&report, output))?;
    Ok(())
}

fn split(name: &str) -> Result<Option<Split>> {
    Ok(match name {
        "train" => Some(Split::Train),
        "valid" => Some(Split::Valid),
        "test" => Some(Split::Test),
        _ => None,
    })
}

fn render(report: &TuningReport, output: &Output) -> String {
    let (documents, vectors) = (grouped(report.documents), grouped(report.vectors));
    let mut text = output.strong(format!("{documents} documents, {vectors} vectors of {} values", report.dim));
    text +=
        &format!("\n  {} queries; {} vectors encoded a second\n\n", report.queries, report.encoded_per_second as u64);
    text += "  bits  pool  centroids  probes  decoded  of exact  nDCG@10   R@100   p50 ms  p95 ms  bytes a token  coded a second\n";
    let quality =
        |q: &Quality| format!("{:7.4} {:7.4} {:8.1} {:7.1}", q.ndcg_at_10, q.recall_at_100, q.p50_ms, q.p95_ms);
    text += &format!(
        "  exact, f32                                   1.000  {}  {:13}\n",
        quality(&report.exact),
        4 * report.dim
    );
    for t in &report.tried {
        let (bits, pool, centroids, exact) = (t.bits, t.pool_factor, t.centroids, t.recall_of_exact);
        let (probes, decoded) = (t.probes, t.decoded);
        let (bytes, built) = (t.bytes_per_token, t.built_per_second);
        text += &format!(
            "  {bits:4}  {pool:4}  {centroids:9}  {probes:6}  {decoded:7}  {exact:8.3}  {}  {bytes:13.1}  {built:14.0}\n",
            quality(&t.quality)
        );
    }
    let [middle, long] = report.lengths;
    text += &format!(
        "\n  of exact by vectors of a document: short (fewer than {}), middle, long ({} and more)\n",
        grouped(middle),
        grouped(long)
    );
    text += "  bits  pool  centroids  probes  decoded   short  middle    long\n";
    let share = |share: Option<f64>| share.map_or("-".into(), |share| format!("{share:.3}"));
    for t in &report.tried {
        let (bits, pool, centroids, probes, decoded) = (t.bits, t.pool_factor, t.centroids, t.probes, t.decoded);
        let ByLength { short, middle, long } = t.recall_by_length;
        let [short, middle, long] = [short, middle, long].map(share);
        text += &format!(
            "  {bits:4}  {pool:4}  {centroids:9}  {probes:6}  {decoded:7}  {short:>6}  {middle:>6}  {long:>6}\n"
        );
    }
    text
}
