//! `sverka rank`: does each left record find its match first, among the best of the whole right table?

use sverka::Error;
use sverka::bundle::Bundle;
use sverka::index::{Bm25, Bm25Settings};
use sverka::pipeline::{RankingOptions, RetrievalReport, Stage, evaluate_ranking};

use crate::args::Resolved;
use crate::failure::Outcome;
use crate::labelled::DataArgs;
use crate::output::{Output, counted};

const EXAMPLE: &str = "\
Examples:
  sverka rank models/matcher ../shared/data/products/abt-buy --split test
  sverka rank models/matcher recipes/matcher.toml --source prosept --top-k 20 --bm25-weight 0.2

JSON keys: queries k recall_at_k accuracy_at_1 first_stage_accuracy_at_1 mrr map ndcg; means
over the left records that have a match, as in ir-measures (R@k, Success@1, RR@k, AP@k, nDCG@k).";

/// Measure how well left records find their match in the right table
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    ranking: RankArgs,
}

/// How candidates are ranked.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct RankArgs {
    /// Candidates that the model looks at, for each left record
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub top_k: usize,
    /// What BM25's score weighs, if the model's weighs 1, in the order of candidates; choose it on validation
    #[arg(long, value_name = "WEIGHT", alias = "bm25", default_value_t = 0.0, allow_negative_numbers = true)]
    pub bm25_weight: f32,
}

pub fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    rank(&args.data, args.ranking, "--top-k", global, output)
}

/// `flag` is what the number of candidates is called.
pub fn rank(data: &DataArgs, args: RankArgs, flag: &str, global: &Resolved, output: &Output) -> Outcome {
    let k = args.top_k;
    if k == 0 {
        return Err(Error::setting(flag, k, "give at least 1 candidate").into());
    }
    let labelled = data.read(output)?;
    let [of] = &labelled.sets[..] else {
        return Err(Error::setting(flag, k, "works on one source at a time; name it with --source").into());
    };
    if !of.has_tables {
        return Err(Error::setting(flag, k, "needs two tables; these pairs hold both records in one line").into());
    }
    let reader = of.reader(&Bundle::open(&data.model, global.dtype, global.device)?);
    let retriever = Bm25::of_records(&of.set.right, &Bm25Settings::default(), reader.tokenizer().rendering())?;
    let bar = output.bar(0, "ranking {bar:30} {pos}/{len} pairs, {per_sec}, {eta} left");
    let progress = |done: u64, total: u64| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let options = RankingOptions { split: None, top_k: k, retriever_weight: args.bm25_weight };
    let stages = [Stage { ranker: &reader, keep: usize::MAX }];
    let report = evaluate_ranking(&of.set, &retriever, &stages, &options, &progress)?;
    bar.finish_and_clear();
    output.result(&report, &render(&data.title(), &report, output))?;
    Ok(())
}

fn render(title: &str, r: &RetrievalReport, output: &Output) -> String {
    let percent = |share: f64| format!("{:5.1}%", 100.0 * share);
    let records = counted(r.queries, "left record with a match", "left records with a match");
    let mut text = format!("{}\n  {records}, {} candidates each\n\n", output.strong(title), r.k);
    text += &format!("    recall@{:<4} {}   of the matches are among the candidates\n", r.k, percent(r.recall_at_k));
    let first = output.strong(percent(r.accuracy_at_1));
    text += &format!("    accuracy@1  {first}   have a match first; one that is no candidate counts as wrong\n");
    text += &format!("    before      {}   have it first by BM25 alone\n", percent(r.first_stage_accuracy_at_1));
    text += &format!("    MRR         {:6.4}\n    MAP         {:6.4}\n    nDCG        {:6.4}\n", r.mrr, r.map, r.ndcg);
    text
}
