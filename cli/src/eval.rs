//! `sverka eval`: how good are the decisions of a model on labelled pairs, or any tool's ranked lists on judged queries?
//! A folder is a model; a file is a run ([`runs`]).

pub mod runs;

use std::path::PathBuf;

use serde::Serialize;
use sverka::bundle::Bundle;
use sverka::calibrate::sigmoid;
use sverka::eval::{BINS, Bin, Bins, McNemar, Report, mcnemar, reliability, report, report_by_category};
use sverka::train::Labelled;
use sverka::{Error, Score};

use crate::args::Resolved;
use crate::failure::Outcome;
use crate::labelled::{DataArgs, Unseen, described, keep_scorable, scores};
use crate::output::{Output, cut};
use crate::rank::{RankArgs, rank};

const EXAMPLE: &str = "\
Examples:
  sverka eval models/matcher ../shared/data/products/abt-buy --split test
  sverka eval runs/new/model pairs.csv --compare models/matcher --json
  sverka eval models/matcher recipes/matcher.toml --source prosept
  sverka eval bm25.run.gz qrels.txt -m nDCG@10 AP 'P(rel=2)@5' --per-query

If the first argument is a file it is a run of any tool, TREC's six columns or MS MARCO's three, and
the second its judgements: TREC's qrels, BEIR's tsv, or a BEIR folder with --split. Values are
trec_eval's; a judged query that the run lacks counts with 0. JSON keys are the measures' names.

JSON keys of a model: f1 precision recall threshold ece, and more; shares of one. `best_f1` has seen the
answers; `uncalibrated` holds ece, ece_mass, brier and nll of the bare scores (a sigmoid).";

const DATA: &str = "For a model: a folder or file of labelled pairs (DeepMatcher, Ditto, WDC, joined CSV), or a recipe whose \
                    `[data]` is read. For a run: judgements (qrels)";

/// Measure a model on labelled pairs, or a run of any tool on judgements
#[derive(Debug, clap::Args)]
#[command(
    after_help = EXAMPLE,
    mut_arg("model", |a| a.value_name("MODEL|RUN").help("The model's folder, or a run: a file of ranked lists")),
    mut_arg("data", |a| a.help(DATA)),
)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Also measure each value of this field on its own
    #[arg(long, value_name = "FIELD")]
    category: Option<String>,
    /// Also show how often pairs of each probability are matches
    #[arg(long)]
    reliability: bool,
    /// Another model, measured on the same pairs: are the two different, or lucky (McNemar's test)?
    #[arg(long, value_name = "MODEL", alias = "against")]
    compare: Option<PathBuf>,
    #[command(flatten)]
    runs: runs::RunArgs,
    /// The verb `rank`, by its old name
    #[arg(long, hide = true, value_name = "N", conflicts_with_all = ["category", "compare", "reliability"])]
    rank: Option<usize>,
    /// For `--rank`
    #[arg(long, hide = true, alias = "bm25", requires = "rank", default_value_t = 0.0, allow_negative_numbers = true)]
    bm25_weight: f32,
}

#[derive(Serialize)]
struct EvalOutput {
    #[serde(flatten)]
    report: Report,
    uncalibrated: CalibrationError,
    unlabelled: u64,
    #[serde(flatten)]
    unseen: Unseen,
    #[serde(skip_serializing_if = "Option::is_none")]
    reliability: Option<Vec<Bin>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "against")]
    compared: Option<Compared>,
}

/// How far probabilities are from the truth.
#[derive(Serialize)]
struct CalibrationError {
    ece: f64,
    ece_mass: f64,
    brier: f64,
    nll: f64,
}

impl From<&Report> for CalibrationError {
    fn from(r: &Report) -> Self {
        CalibrationError { ece: r.ece, ece_mass: r.ece_mass, brier: r.brier, nll: r.nll }
    }
}

#[derive(Serialize)]
struct Compared {
    model: PathBuf,
    #[serde(flatten)]
    report: Report,
    mcnemar: McNemar,
}

pub fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    if args.runs.is_meant(&args.data.model) {
        let of_models = [("--category", args.category.is_some()), ("--compare", args.compare.is_some())];
        let of_models =
            of_models.into_iter().chain([("--reliability", args.reliability), ("--rank", args.rank.is_some())]);
        if let Some((flag, _)) = of_models.into_iter().find(|(_, is_given)| *is_given) {
            let what = "is for a model's folder, and this is a run; `sverka compare` compares runs";
            return Err(Error::setting(flag, args.data.model.display(), what).into());
        }
        return runs::run(&args.data, &args.runs, output);
    }
    args.runs.refuse()?;
    if let Some(top_k) = args.rank {
        let ranking = RankArgs { top_k, bm25_weight: args.bm25_weight };
        return rank(&args.data, ranking, "--rank", global, output);
    }
    let mut labelled = args.data.read(output)?;
    let bundle = Bundle::open(&args.data.model, global.dtype, global.device)?;
    keep_scorable(&mut labelled, &bundle, output)?;
    let other = args.compare.as_ref().map(|model| Bundle::open(model, global.dtype, global.device)).transpose()?;
    // both are measured on the same pairs
    other.iter().try_for_each(|other| keep_scorable(&mut labelled, other, output))?;
    let run = decide(&bundle, &labelled, output)?;
    let (labels, threshold) = (&labelled.labels, run.threshold);
    let report = match &args.category {
        None => report(&run.probabilities, labels, threshold)?,
        Some(field) => report_by_category(&run.probabilities, labels, &labelled.categories(field)?, threshold)?,
    };
    let bare: Vec<f32> = run.scores.iter().map(|s| sigmoid(f64::from(s.value)) as f32).collect();
    let uncalibrated = CalibrationError::from(&sverka::eval::report(&bare, labels, threshold)?);
    let compared = match args.compare.zip(other) {
        None => None,
        Some((model, other)) => {
            let other = decide(&other, &labelled, output)?;
            let report = sverka::eval::report(&other.probabilities, labels, other.threshold)?;
            let mcnemar = mcnemar(&run.decisions, &other.decisions, labels)?;
            Some(Compared { model, report, mcnemar })
        }
    };
    let table = args.reliability.then(|| reliability(&run.probabilities, labels, BINS, Bins::Width));
    let (unlabelled, unseen) = (labelled.unlabelled, Unseen::of(&run.scores));
    let answer = EvalOutput { report, uncalibrated, unlabelled, unseen, reliability: table, compared };
    output.result(&answer, &render(&args.data.title(), &answer, &labelled, output))?;
    Ok(())
}

/// A model's scores, probabilities and decisions.
struct Decided {
    scores: Vec<Score>,
    probabilities: Vec<f32>,
    decisions: Vec<bool>,
    threshold: f32,
}

fn decide(bundle: &Bundle, labelled: &Labelled, output: &Output) -> sverka::Result<Decided> {
    let scores = scores(labelled, bundle, output)?;
    let (probabilities, decisions) = scores.iter().map(|score| bundle.decide(score)).unzip();
    Ok(Decided { scores, probabilities, decisions, threshold: bundle.threshold() })
}

fn render(title: &str, answer: &EvalOutput, labelled: &Labelled, output: &Output) -> String {
    let r = &answer.report;
    let percent = |share: f64| format!("{:5.1}%", 100.0 * share);
    let mut text = format!("{}\n  {}\n", output.strong(title), described(labelled));
    answer.unseen.lines().iter().for_each(|line| text += &format!("  {line}\n"));
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
    if let Some(other) = &answer.compared {
        let m = &other.mcnemar;
        text += &format!("\n  compared with {}: F1 {}\n", other.model.display(), percent(other.report.f1).trim());
        text += &format!(
            "    right where the other is wrong {}, wrong where it is right {}, ",
            m.only_first, m.only_second
        );
        text += &format!("p = {:.4} ({})\n", m.exact_p, if m.exact_p < 0.05 { "different" } else { "may be luck" });
    }
    text
}
