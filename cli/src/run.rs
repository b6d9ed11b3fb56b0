//! `sverka run`: a file of queries through a pipeline of stages.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use serde::Serialize;
use sverka::data::{read_queries_of_any_kind, write_run};
use sverka::eval::measure_run;
use sverka::pipeline::{Pipeline, Plan, QueryRun};
use sverka::records::{Judgement, Run};
use sverka::{Error, Input};

use crate::args::Resolved;
use crate::eval::runs::{MeasureArgs, read_judgements};
use crate::failure::Outcome;
use crate::labelled::SplitArg;
use crate::output::{Output, counted};
use crate::tables::TableArgs;

const EXAMPLE: &str = "\
Example:
  sverka run examples/pipelines/scifact-yati.toml ../shared/data/scifact --out run.trec --qrels ../shared/data/scifact

A pipeline is a TOML file; paths in it are relative to it:

  collection = \"../shared/data/scifact\"   # a BEIR folder, its JSON lines, or a table
  budget_ms = 800                         # of a query; past it, the last stage that was done counts
  [[stages]]
  kind = \"bm25\"                           # or dense (model), hybrid (parts = [{ kind = ... }, ...])
  k = 1000                                # documents that are left after it
  [[stages]]
  kind = \"yati\"                           # or cross_encoder, duo, dense, colbert, boosting, model (any)
  model = \"runs/scifact-yati-1/model\"
  store = \"scifact.states\"                # of `sverka states build`; only yati
  k = 20
  fuse = true                             # its order and that of the stage before, by reciprocal ranks

Queries are a BEIR folder or its JSON lines, TREC's topics, a table, lines of an id, a tab and a text, or plain
lines. A later dense or colbert reads the documents' vectors in index = \"DIR\", if it is given. Each query goes through the stages alone and is timed. With judgements the report says what share of
the relevant documents is left after each stage.";

/// What is measured where nothing else is asked for.
const USUAL: &str = "nDCG@10 RR@10 R@100";

/// Run queries through a pipeline of stages: find, score, compare
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The pipeline's file
    pipeline: PathBuf,
    /// The queries
    queries: PathBuf,
    /// The TREC run to be written (gzipped if it ends in .gz)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Judgements; only queries that have some are run, unless --all
    #[arg(long, value_name = "FILE")]
    qrels: Option<PathBuf>,
    /// The judgements of a BEIR folder that count
    #[arg(long, value_enum, default_value_t = SplitArg::Test, requires = "qrels")]
    split: SplitArg,
    /// With judgements: run the other queries too
    #[arg(long, requires = "qrels")]
    all: bool,
    /// Milliseconds that a query may take, in place of the file's
    #[arg(long, value_name = "MS")]
    budget_ms: Option<f64>,
    #[command(flatten)]
    measures: MeasureArgs,
    #[command(flatten)]
    tables: TableArgs,
}

/// One stage over all queries.
#[derive(Serialize)]
struct StageReport {
    kind: String,
    k: usize,
    /// Queries whose budget let it end.
    queries: u64,
    ms_p50: f64,
    ms_p95: f64,
    /// Documents that it was given and left, in the mean.
    given: f64,
    kept: f64,
    /// Documents that it does not have.
    gone: u64,
    /// Share of the relevant documents that are left, in the mean over judged queries.
    recall: Option<f64>,
}

#[derive(Serialize)]
struct Report {
    queries: u64,
    /// Queries whose budget ended before the stages did.
    over_budget: u64,
    without_documents: u64,
    ms_p50: f64,
    ms_p95: f64,
    stages: Vec<StageReport>,
    measures: serde_json::Map<String, serde_json::Value>,
}

pub fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    if args.out.is_none() && args.qrels.is_none() {
        return Err(Error::setting("--out", "(not given)", "give a run to write, or --qrels to measure with").into());
    }
    let mut plan = Plan::read(&args.pipeline)?;
    if let Some(budget) = args.budget_ms {
        if !(budget.is_finite() && budget > 0.0) {
            return Err(Error::setting("--budget-ms", budget, "a number of milliseconds above 0").into());
        }
        plan.budget_ms = Some(budget);
    }
    let measures = args.measures.measures(USUAL)?;
    let judgements = args.qrels.as_ref().map(|path| read_judgements(path, args.split, output)).transpose()?;
    let (mut queries, report) = read_queries_of_any_kind(&args.queries, &args.tables.options()?)?;
    crate::tables::report(output, &args.queries, &report);
    if let Some(judgements) = judgements.as_ref().filter(|_| !args.all) {
        let judged: HashSet<&str> = judgements.iter().map(|j| j.query.as_str()).collect();
        queries.retain(|query| judged.contains(query.id.as_str()));
    }
    if queries.is_empty() {
        let remedy = "give queries; with --qrels, such whose ids are written as there";
        return Err(Error::data(&args.queries, None, "has no query to run", remedy).into());
    }
    let (pipeline, report) = Pipeline::open(plan, global.dtype, global.device, &|line| output.note(line))?;
    let collection = pipeline.plan().collection.clone().unwrap_or_default();
    crate::tables::report(output, &collection, &report);
    crate::signals::end_without_a_trace("no run is written");
    let bar = output.bar(queries.len() as u64, "running {bar:30} {pos}/{len} queries, {per_sec}, {eta} left");
    let (mut run, mut ran) = (Run::default(), Vec::with_capacity(queries.len()));
    for query in &queries {
        let one = pipeline.run(Input::Record(query))?;
        run.scores.insert(query.id.clone(), falling(&pipeline, &one));
        ran.push(one);
        bar.inc(1);
    }
    bar.finish_and_clear();
    if let Some(out) = &args.out {
        write_run(out, &run, "sverka")?;
    }
    let mut report = Report {
        queries: ran.len() as u64,
        over_budget: ran.iter().filter(|one| one.over_budget).count() as u64,
        without_documents: ran.iter().filter(|one| one.hits.is_empty()).count() as u64,
        ms_p50: 0.0,
        ms_p95: 0.0,
        stages: Vec::new(),
        measures: serde_json::Map::new(),
    };
    [report.ms_p50, report.ms_p95] = percentiles(ran.iter().map(|one| one.time.as_secs_f64()));
    let relevant = judgements.as_ref().map(|judgements| relevant(judgements));
    for (number, stage) in pipeline.plan().stages.iter().enumerate() {
        let done: Vec<_> = ran.iter().filter_map(|one| one.stages.get(number)).collect();
        let mean = |sum: usize| sum as f64 / done.len().max(1) as f64;
        let [ms_p50, ms_p95] = percentiles(done.iter().map(|stage| stage.time.as_secs_f64()));
        let alive = relevant.as_ref().map(|relevant| {
            let of = |(query, one): (&sverka::Record, &QueryRun)| {
                let wanted = relevant.get(query.id.as_str())?;
                let kept = &one.stages[number.min(one.stages.len() - 1)].kept;
                let left = kept.iter().filter(|at| wanted.contains(pipeline.id(**at)));
                Some(left.count() as f64 / wanted.len() as f64)
            };
            let shares: Vec<f64> = queries.iter().zip(&ran).filter_map(of).collect();
            shares.iter().sum::<f64>() / shares.len().max(1) as f64
        });
        report.stages.push(StageReport {
            kind: stage.kind.to_string(),
            k: stage.k,
            queries: done.len() as u64,
            ms_p50,
            ms_p95,
            given: mean(done.iter().map(|stage| stage.given).sum()),
            kept: mean(done.iter().map(|stage| stage.kept.len()).sum()),
            gone: done.iter().map(|stage| stage.gone as u64).sum(),
            recall: alive,
        });
    }
    if let Some(judgements) = &judgements {
        let measured = measure_run(&measures, judgements, &run, args.measures.only_common);
        let named = measures.iter().map(ToString::to_string).zip(measured.means().into_iter().map(Into::into));
        report.measures = named.collect();
    }
    output.result(&report, &described(&report, args.out.as_deref(), output))?;
    Ok(())
}

/// Scores of a query's documents as a run has them: of equal ones the later gets the next lower number, since readers of runs order equal scores by
/// id.
fn falling(pipeline: &Pipeline, one: &QueryRun) -> std::collections::BTreeMap<String, f32> {
    let mut before = f32::INFINITY;
    let scores = one.hits.iter().map(|hit| {
        before = hit.score.min(before.next_down());
        (pipeline.id(hit.document).to_string(), before)
    });
    scores.collect()
}

/// Relevant documents of each query that has some.
fn relevant(judgements: &[Judgement]) -> HashMap<&str, HashSet<&str>> {
    let mut of: HashMap<&str, HashSet<&str>> = HashMap::new();
    for judgement in judgements.iter().filter(|judgement| judgement.grade > 0.0) {
        of.entry(&judgement.query).or_default().insert(&judgement.document);
    }
    of
}

/// Median and 95th percentile in milliseconds.
fn percentiles(seconds: impl Iterator<Item = f64>) -> [f64; 2] {
    let mut ms: Vec<f64> = seconds.map(|s| 1000.0 * s).collect();
    ms.sort_by(f64::total_cmp);
    [0.5, 0.95]
        .map(|share| ms.get(((ms.len() as f64 * share) as usize).min(ms.len().max(1) - 1)).copied().unwrap_or(0.0))
}

fn described(report: &Report, out: Option<&std::path::Path>, output: &Output) -> String {
    let mut text = format!(
        "{}{}\n\n  {:14} {:>6} {:>9} {:>9} {:>9} {:>9} {:>8}\n",
        counted(report.queries, "query", "queries"),
        out.map_or(String::new(), |out| format!(" in {}", out.display())),
        "stage",
        "k",
        "given",
        "kept",
        "ms p50",
        "ms p95",
        "recall",
    );
    for stage in &report.stages {
        let recall = stage.recall.map_or("".into(), |recall| format!("{recall:.4}"));
        let (given, kept, p50, p95) = (stage.given, stage.kept, stage.ms_p50, stage.ms_p95);
        text +=
            &format!("  {:14} {:>6} {given:>9.1} {kept:>9.1} {p50:>9.1} {p95:>9.1} {recall:>8}", stage.kind, stage.k);
        if stage.queries < report.queries {
            text += &output.yellow(format!("  not done for {} of the queries", report.queries - stage.queries));
        }
        if stage.gone > 0 {
            text += &output.yellow(format!("  {} that it does not have", counted(stage.gone, "document", "documents")));
        }
        text += "\n";
    }
    text += &format!("  {:14} {:>6} {:>9} {:>9} {:>9.1} {:>9.1}\n", "all", "", "", "", report.ms_p50, report.ms_p95);
    if report.over_budget > 0 {
        let many = "queries went past the budget: they have the order of their last full stage";
        let one = "query went past the budget: it has the order of its last full stage";
        text += &output.yellow(format!("\n  {}\n", counted(report.over_budget, one, many)));
    }
    if report.without_documents > 0 {
        text += &format!("\n  {} no document\n", counted(report.without_documents, "query has", "queries have"));
    }
    for (name, value) in &report.measures {
        text += &format!("\n  {name:10} {:.4}", value.as_f64().unwrap_or(0.0));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_milliseconds() {
        assert_eq!(percentiles((1..=100).map(f64::from)), [51_000.0, 96_000.0]);
        assert_eq!(percentiles([0.25].into_iter()), [250.0, 250.0]);
        assert_eq!(percentiles(std::iter::empty()), [0.0, 0.0]);
    }
}
