//! `sverka eval`: how good are the decisions of a model on labelled pairs?

use std::path::{Path, PathBuf};

use serde::Serialize;
use sverka::bundle::Bundle;
use sverka::calibrate::sigmoid;
use sverka::eval::{BINS, Bin, Bins, McNemar, Report, mcnemar, reliability, report, report_by_category};
use sverka::pipeline::{LinkReport, rank_links};
use sverka::text::shown;
use sverka::{Error, Record};

use crate::args::Resolved;
use crate::failure::Outcome;
use crate::labelled::{Given, Labelled};
use crate::output::{Output, counted, cut};

const EXAMPLE: &str = "\
Examples:
  sverka eval models/matcher ../shared/data/products/abt-buy --split test
  sverka eval runs/new/model pairs.csv --against models/matcher --json
  sverka eval models/matcher recipes/matcher.toml --source prosept --rank 10

JSON keys: f1 precision recall threshold ece, and more; shares of one. `best_f1` has seen the
answers; `uncalibrated` holds ece, ece_mass, brier and nll of the bare scores (a sigmoid).
With --rank: queries k recall_at_k accuracy_at_1 index_accuracy_at_1 mrr.";

/// Measure a model on labelled pairs
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(flatten)]
    given: Given,
    /// Also measure each value of this field on its own
    #[arg(long, value_name = "FIELD")]
    category: Option<String>,
    /// Also show how often pairs of each probability are matches
    #[arg(long)]
    reliability: bool,
    /// Another model, measured on the same pairs: are the two different, or lucky (McNemar's test)?
    #[arg(long, value_name = "MODEL")]
    against: Option<PathBuf>,
    /// Instead: does each left record find its match first, among the N best of the whole right table?
    #[arg(long, value_name = "N", conflicts_with_all = ["category", "against", "reliability"])]
    rank: Option<usize>,
    /// With --rank: what BM25's score weighs beside the model's, in the order of candidates; choose it on validation
    #[arg(long, value_name = "WEIGHT", requires = "rank", default_value_t = 0.0, allow_negative_numbers = true)]
    bm25: f32,
}

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    report: Report,
    uncalibrated: Trust,
    unlabelled: u64,
    cut_pairs: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reliability: Option<Vec<Bin>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Against>,
}

/// How far probabilities are from the truth.
#[derive(Serialize)]
struct Trust {
    ece: f64,
    ece_mass: f64,
    brier: f64,
    nll: f64,
}

impl From<&Report> for Trust {
    fn from(r: &Report) -> Self {
        Trust { ece: r.ece, ece_mass: r.ece_mass, brier: r.brier, nll: r.nll }
    }
}

#[derive(Serialize)]
struct Against {
    model: PathBuf,
    #[serde(flatten)]
    report: Report,
    mcnemar: McNemar,
}

pub fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    let labelled = Labelled::read(&args.given, output)?;
    if let Some(k) = args.rank {
        let report = rank(&args.given.model, k, args.bm25, &labelled, global, output)?;
        return Ok(output.result(&report, &told_links(&args.given.title(), &report, output))?);
    }
    let run = decide(&args.given.model, &labelled, global, output)?;
    let (labels, threshold) = (&labelled.labels, run.threshold);
    let report = match &args.category {
        None => report(&run.probabilities, labels, threshold)?,
        Some(field) => report_by_category(&run.probabilities, labels, &labelled.categories(field)?, threshold)?,
    };
    let bare: Vec<f32> = run.scores.iter().map(|s| sigmoid(f64::from(*s)) as f32).collect();
    let uncalibrated = Trust::from(&sverka::eval::report(&bare, labels, threshold)?);
    let against = match args.against {
        None => None,
        Some(model) => {
            let other = decide(&model, &labelled, global, output)?;
            let report = sverka::eval::report(&other.probabilities, labels, other.threshold)?;
            let mcnemar = mcnemar(&run.decisions, &other.decisions, labels)?;
            Some(Against { model, report, mcnemar })
        }
    };
    let table = args.reliability.then(|| reliability(&run.probabilities, labels, BINS, Bins::Width));
    let (unlabelled, cut_pairs) = (labelled.unlabelled, run.cut_pairs);
    let answer = Answer { report, uncalibrated, unlabelled, cut_pairs, reliability: table, against };
    output.result(&answer, &told(&args.given.title(), &answer, &labelled, output))?;
    Ok(())
}

/// A model's scores, probabilities and decisions.
struct Run {
    scores: Vec<f32>,
    probabilities: Vec<f32>,
    decisions: Vec<bool>,
    threshold: f32,
    cut_pairs: u64,
}

fn decide(model: &Path, labelled: &Labelled, global: &Resolved, output: &Output) -> sverka::Result<Run> {
    let bundle = Bundle::open(model, global.dtype, global.device)?;
    let scores = labelled.scores(&bundle, output)?;
    let (probabilities, decisions) = scores.iter().map(|s| bundle.decide(*s)).unzip();
    Ok(Run { scores, probabilities, decisions, threshold: bundle.threshold(), cut_pairs: bundle.cut_pairs() })
}

/// Ranks the right table for each left record that has a match.
fn rank(
    model: &Path,
    k: usize,
    bm25: f32,
    labelled: &Labelled,
    global: &Resolved,
    output: &Output,
) -> sverka::Result<LinkReport> {
    if k == 0 {
        return Err(Error::setting("--rank", k, "give at least 1 candidate"));
    }
    let [of] = &labelled.sets[..] else {
        return Err(Error::setting("--rank", k, "works on one source at a time; name it with --source"));
    };
    if !of.has_tables {
        return Err(Error::setting("--rank", k, "needs two tables; these pairs hold both records in one line"));
    }
    let reader = of.reader(&Bundle::open(model, global.dtype, global.device)?);
    let rendering = reader.tokenizer().rendering();
    let text = |record: &Record| shown(rendering, record.into());
    let bar = output.bar(0, "ranking {bar:30} {pos}/{len} pairs, {per_sec}, {eta} left");
    let progress = |done: u64, total: u64| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let report = rank_links(&of.set, None, reader.ranker(), &text, k, bm25, &progress)?;
    bar.finish_and_clear();
    Ok(report)
}

fn told_links(title: &str, r: &LinkReport, output: &Output) -> String {
    let percent = |share: f64| format!("{:5.1}%", 100.0 * share);
    let records = counted(r.queries, "left record with a match", "left records with a match");
    let mut text = format!("{}\n  {records}, {} candidates each\n\n", output.strong(title), r.k);
    text += &format!("    recall@{:<4} {}   of them have a match among the candidates\n", r.k, percent(r.recall_at_k));
    let first = output.strong(percent(r.accuracy_at_1));
    text += &format!("    accuracy@1  {first}   have it first; a match that is no candidate is an error\n");
    text += &format!("    before      {}   have it first by BM25 alone\n", percent(r.index_accuracy_at_1));
    text += &format!("    MRR         {:6.4}\n", r.mrr);
    text
}

fn told(title: &str, answer: &Answer, labelled: &Labelled, output: &Output) -> String {
    let r = &answer.report;
    let percent = |share: f64| format!("{:5.1}%", 100.0 * share);
    let mut text = format!("{}\n  {}\n", output.strong(title), labelled.said());
    if answer.cut_pairs > 0 {
        let pairs = counted(answer.cut_pairs, "pair is", "pairs are");
        text += &format!("  {pairs} longer than the model reads, and lost the ends\n");
    }
    text += "\n";
    text += &format!("  at the stored threshold {:.3}\n", r.threshold);
    text += &format!("    F1        {}\n", output.strong(percent(r.f1)));
    text += &format!("    precision {}   of the pairs it accepts, so many are right\n", percent(r.precision));
    text += &format!("    recall    {}   of the matches there are, so many are accepted\n", percent(r.recall));
    text += "  over all thresholds\n";
    text += &format!("    PR-AUC    {}\n", percent(r.pr_auc));
    let note = output.dim(format!("at {:.3}, chosen on these very pairs: an upper bound", r.best_f1_threshold));
    text += &format!("    best F1   {}   {note}\n", percent(r.best_f1));
    for (recall, precision) in &r.precision_at_recall {
        text += &format!("    precision {}   at recall {recall}\n", percent(*precision));
    }
    for (precision, recall) in &r.recall_at_precision {
        text += &format!("    recall    {}   at precision {precision}\n", percent(*recall));
    }
    let u = &answer.uncalibrated;
    text += &format!("  are its probabilities true?   {:>10} {:>12}\n", "calibrated", "uncalibrated");
    let mut line =
        |name: &str, with: String, without: String| text += &format!("    {name:26}{with:>10} {without:>12}\n");
    line("ECE, bins of equal width", percent(r.ece), percent(u.ece));
    line("ECE, bins of equal mass", percent(r.ece_mass), percent(u.ece_mass));
    line("Brier", format!("{:.4}", r.brier), format!("{:.4}", u.brier));
    line("NLL", format!("{:.4}", r.nll), format!("{:.4}", u.nll));
    if let Some(table) = &answer.reliability {
        text += &format!("\n  {:>12} {:>7} {:>18} {:>11}\n", "probability", "pairs", "mean probability", "are matches");
        for bin in table.iter().filter(|bin| bin.count > 0) {
            let bounds = format!("{:.2} to {:.2}", bin.low, bin.high);
            let (mean, matches) = (percent(bin.confidence), percent(bin.accuracy));
            text += &format!("  {bounds:>12} {:>7} {mean:>18} {matches:>11}\n", bin.count);
        }
    }
    if !r.categories.is_empty() {
        text += &format!(
            "\n  {:24} {:>7} {:>7} {:>7} {:>9} {:>7}\n",
            "category", "pairs", "matches", "F1", "precision", "recall"
        );
        for (name, c) in &r.categories {
            let (f1, precision, recall) = (percent(c.f1), percent(c.precision), percent(c.recall));
            text += &format!(
                "  {:24} {:>7} {:>7} {f1:>7} {precision:>9} {recall:>7}\n",
                cut(name, 24),
                c.pairs,
                c.positives
            );
        }
    }
    if let Some(other) = &answer.against {
        let m = &other.mcnemar;
        text += &format!("\n  against {}: F1 {}\n", other.model.display(), percent(other.report.f1).trim());
        text += &format!(
            "    right where the other is wrong {}, wrong where it is right {}, ",
            m.only_first, m.only_second
        );
        text += &format!("p = {:.4} ({})\n", m.exact_p, if m.exact_p < 0.05 { "different" } else { "may be luck" });
    }
    text
}
