//! `sverka search`: the best documents of an index for a query, or for a file of them.

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};
use sverka::data::{read_queries_of_any_kind, write_run};
use sverka::eval::{Measure, measure_run};
use sverka::index::colbert::Effort;
use sverka::index::{Index, Method};
use sverka::records::Run;
use sverka::text::{TextConfig, plain_text};
use sverka::{Error, Hit, Input, Record, Result};

use crate::args::Resolved;
use crate::eval::runs::{MeasureArgs, read_judgements};
use crate::failure::Outcome;
use crate::labelled::SplitArg;
use crate::output::{Output, counted, cut, grouped};
use crate::tables::TableArgs;

const EXAMPLE: &str = "\
Examples:
  sverka search shop.index lamp
  sverka search scifact.index --queries ../shared/data/scifact -k 100 --out run.trec
  sverka search scifact.index --queries ../shared/data/scifact --qrels ../shared/data/scifact
  sverka search tokens.index lamp --probes 8 --decoded 256

Queries are a BEIR folder or its JSON lines, TREC's topics, SQuAD's JSON, a table, lines of an id, a tab and
a text, or plain lines. --out is a TREC run (gzipped if it ends in .gz). With --qrels each judged query is
also searched alone and timed.";

/// Texts are given in parts to an index.
const QUERIES: usize = 256;
/// Characters of a document that a person sees.
const SHOWN: usize = 90;
/// What is measured where nothing else is asked for.
const USUAL: &str = "nDCG@10 R@100";

/// Find the best documents of an index for a query, or for a file of queries
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The index
    index: PathBuf,
    /// One query
    #[arg(required_unless_present = "queries", conflicts_with = "queries")]
    query: Option<String>,
    /// A file of queries
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// Documents a query [default: 10 for one query, 100 for a file]
    #[arg(short, long, value_name = "N", alias = "top-k")]
    k: Option<usize>,
    /// The run to be written
    #[arg(long, value_name = "FILE", requires = "queries")]
    out: Option<PathBuf>,
    /// Judgements: how good is what was found, and how long does a query take?
    #[arg(long, value_name = "FILE", requires = "queries")]
    qrels: Option<PathBuf>,
    /// The judgements of a BEIR folder that count
    #[arg(long, value_enum, default_value_t = SplitArg::Test, requires = "qrels")]
    split: SplitArg,
    #[command(flatten)]
    measures: MeasureArgs,
    /// Where a ColBERT is searched: centroids whose lists are read for each token of a query [default: 32]
    #[arg(long, value_name = "N")]
    probes: Option<usize>,
    /// Where a ColBERT is searched: documents scored by their decoded vectors, at least [default: 1024]
    #[arg(long, value_name = "N")]
    decoded: Option<usize>,
    /// The model's folder, where it was moved since the index was built
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    #[command(flatten)]
    tables: TableArgs,
}

pub fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    let k = args.k.unwrap_or(if args.query.is_some() { 10 } else { 100 });
    if k == 0 {
        return Err(Error::setting("-k", k, "give at least 1 document").into());
    }
    let index = Index::open(&args.index, &crate::index::options(args.model.clone(), global))?;
    let effort = effort(&args, &index)?;
    let index = index.with_effort(effort);
    match (&args.query, &args.queries) {
        (Some(query), _) => one(&index, query, k, output),
        (None, Some(_)) => many(&args, &index, k, output),
        (None, None) => Err(Error::setting("--queries", "(not given)", "give a query, or a file of queries").into()),
    }
}

/// How thoroughly a ColBERT's vectors are searched.
fn effort(args: &Args, index: &Index) -> Result<Effort> {
    let settings = &index.manifest().settings;
    for (flag, value) in [("--probes", args.probes), ("--decoded", args.decoded)] {
        let Some(value) = value else { continue };
        if !settings.methods.contains(&Method::Colbert) {
            let what = format!("is for an index with colbert, and this one is {}: leave it out", settings.kind());
            return Err(Error::setting(flag, value, what));
        }
        if value == 0 {
            return Err(Error::setting(flag, value, "give a number of at least 1"));
        }
    }
    let usual = Effort::default();
    Ok(Effort { probes: args.probes.unwrap_or(usual.probes), decoded: args.decoded.unwrap_or(usual.decoded) })
}

#[derive(Serialize)]
struct Found {
    rank: usize,
    score: f32,
    id: String,
    document: Value,
}

/// One query, for people.
fn one(index: &Index, query: &str, k: usize, output: &Output) -> Outcome {
    let start = Instant::now();
    let hits = index.search(&[Input::Text(query)], k)?.remove(0);
    let ms = 1000.0 * start.elapsed().as_secs_f64();
    let config = TextConfig { fields: index.manifest().settings.fields.clone(), ..TextConfig::default() };
    let documents = counted(index.len() as u64, "document", "documents");
    let mut text =
        format!("{}  {}\n", output.strong(cut(query, SHOWN)), output.dim(format!("{documents}, {ms:.1} ms")));
    if hits.is_empty() {
        text += "  nothing in common with any document\n";
    }
    let mut found = Vec::new();
    for (place, hit) in hits.iter().enumerate() {
        let record = index.record(hit.document)?;
        let shown = cut(&plain_text(&config, (&record).into()), SHOWN);
        text += &format!("  {:>3}  {:>9.4}  {:16} {shown}\n", place + 1, hit.score, output.strong(cut(&record.id, 24)));
        let document = record.fields().map(|(name, value)| (name.to_string(), Value::from(value))).collect();
        found.push(Found { rank: place + 1, score: hit.score, id: record.id, document: Value::Object(document) });
    }
    output.result(&json!({ "query": query, "hits": found, "milliseconds": ms }), &text)?;
    Ok(())
}

/// A file of queries: a run, and perhaps its measures.
fn many(args: &Args, index: &Index, k: usize, output: &Output) -> Outcome {
    let start = Instant::now();
    let path = args.queries.as_ref().expect("asked for");
    if args.out.is_none() && args.qrels.is_none() && !output.is_json() {
        let what = "name the run to be written, or judgements with --qrels, or ask for --json";
        return Err(Error::setting("--out", "(not given)", what).into());
    }
    let measures = args.measures.measures(USUAL)?;
    crate::signals::end_without_a_trace("nothing is written");
    let (queries, report) = read_queries_of_any_kind(path, &args.tables.options()?)?;
    crate::tables::report(output, path, &report);
    let judgements = args.qrels.as_ref().map(|qrels| read_judgements(qrels, args.split, output)).transpose()?;
    let (run, empty) = searched(index, &queries, k, output)?;
    if let Some(out) = &args.out {
        write_run(out, &run, "sverka")?;
    }
    let mut answer = json!({
        "index": args.index, "kind": index.manifest().settings.kind(), "documents": index.len(),
        "queries": queries.len(), "queries_without_hits": empty, "k": k, "out": args.out,
    });
    let mut text = format!(
        "{}: {}, {}, k = {k}\n",
        output.strong(args.index.display()),
        index.manifest().settings.kind(),
        counted(queries.len() as u64, "query", "queries"),
    );
    if empty > 0 {
        text += &format!("  {} found nothing\n", counted(empty, "query", "queries"));
    }
    if let (Some(judgements), Some(qrels)) = (&judgements, &args.qrels) {
        if !judgements.iter().any(|judgement| queries.iter().any(|query| query.id == judgement.query)) {
            let what = format!("no query in common with {}", path.display());
            return Err(Error::data(qrels, None, what, "give judgements of the same queries").into());
        }
        let measured = measure_run(&measures, judgements, &run, args.measures.only_common);
        for (measure, mean) in measures.iter().map(Measure::to_string).zip(measured.means()) {
            text += &format!("  {measure:14} {}\n", output.strong(format_args!("{mean:.4}")));
            answer[measure] = mean.into();
        }
        answer["judged_queries"] = measured.queries.len().into();
        let judged: std::collections::BTreeSet<&str> = judgements.iter().map(|j| j.query.as_str()).collect();
        let judged: Vec<&Record> = queries.iter().filter(|query| judged.contains(query.id.as_str())).collect();
        let [p50, p95] = latencies(index, &judged, k)?;
        let bytes = index.manifest().bytes();
        let each = bytes as f64 / index.len().max(1) as f64;
        text += &format!("  {:14} {p50:.1} p50, {p95:.1} p95, one query at a time\n", "ms a query");
        text += &format!("  {:14} {each:.0} a document, {} in all\n", "bytes", grouped(bytes));
        (answer["ms_p50"], answer["ms_p95"]) = (p50.into(), p95.into());
        (answer["bytes"], answer["bytes_per_document"]) = (bytes.into(), each.into());
    } else if output.is_json() && args.out.is_none() {
        answer["run"] = serde_json::to_value(&run.scores).unwrap_or_default();
    }
    answer["seconds"] = start.elapsed().as_secs_f64().into();
    if let Some(out) = &args.out {
        text += &format!("  written to {}\n", out.display());
    }
    output.summary(&answer, &text)?;
    Ok(())
}

/// All queries, and how many of them found nothing.
fn searched(index: &Index, queries: &[Record], k: usize, output: &Output) -> Result<(Run, u64)> {
    let bar = output.bar(queries.len() as u64, "searching {bar:30} {pos}/{len} queries, {per_sec}, {eta} left");
    let (mut run, mut empty) = (Run::default(), 0);
    for some in queries.chunks(QUERIES) {
        let inputs: Vec<Input> = some.iter().map(Input::from).collect();
        for (query, hits) in some.iter().zip(index.search(&inputs, k)?) {
            empty += u64::from(hits.is_empty());
            let score = |hit: Hit| Ok((index.id(hit.document)?.to_string(), hit.score));
            run.scores.insert(query.id.clone(), hits.into_iter().map(score).collect::<Result<_>>()?);
        }
        bar.inc(some.len() as u64);
    }
    bar.finish_and_clear();
    Ok((run, empty))
}

/// Milliseconds of each query alone: the middle, and what 95 of 100 stay below.
fn latencies(index: &Index, queries: &[&Record], k: usize) -> Result<[f64; 2]> {
    let mut times = Vec::new();
    for query in queries {
        let start = Instant::now();
        index.search(&[(*query).into()], k)?;
        times.push(1000.0 * start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1)));
    Ok([0.5, 0.95].map(|share| at(share).copied().unwrap_or(f64::NAN)))
}
