//! `sverka boost`: boosted trees on top of rankers: train, eval, score, features.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use serde::Serialize;
use sverka::boost::{Booster, Goal, Growth, Scorer, Trained, features_of};
use sverka::data::{ReadOptions, stream_pairs, write_features};
use sverka::eval::{Report, report};
use sverka::ranker::score_rows;
use sverka::train::{Labelled, LabelledOptions, LabelledSet};
use sverka::{Error, List, Ranker, Record};

use crate::args::Resolved;
use crate::failure::Outcome;
use crate::labelled::{SplitArg, Unseen, described};
use crate::output::{Output, counted, cut};
use crate::tables::{TableArgs, TextArgs};

const EXAMPLE: &str = "\
Examples:
  sverka boost train ../shared/data/products/abt-buy --model models/matcher --out runs/abt-buy-boost
  sverka boost eval runs/abt-buy-boost ../shared/data/products/abt-buy --split test
  sverka boost features ../shared/data/products/abt-buy --model models/matcher --split all --out features.parquet

A booster weighs rankers' scores with BM25, equal codes, edit distances and numbers of a pair. Its folder is whole: the trees
(model.json, which xgboost's load_model reads), what each column is, and a copy of each ranker.";

/// Boosted trees over rankers' scores and features of a pair
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Train(Train),
    Eval(Eval),
    Score(Score),
    Features(FeaturesArgs),
}

/// The labelled pairs that are used.
#[derive(Debug, clap::Args)]
struct Pairs {
    /// A folder or file of labelled pairs (DeepMatcher, Ditto, WDC, joined CSV), or a recipe whose `[data]` is read
    data: PathBuf,
    /// Only this one of the recipe's sources
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// The column of labels, 1 or 0; `none`: every row is a match [default: label, or a column that says yes and no]
    #[arg(long, value_name = "COLUMN")]
    label_column: Option<String>,
    #[command(flatten)]
    tables: TableArgs,
}

impl Pairs {
    fn read(&self, split: SplitArg, output: &Output) -> sverka::Result<Labelled> {
        let options = LabelledOptions {
            data: self.data.clone(),
            split: split.split(),
            source: self.source.clone(),
            fields: Vec::new(),
            read: ReadOptions { label_column: self.label_column.clone(), ..self.tables.options()? },
        };
        let labelled = crate::labelled::read(&options, output)?;
        if labelled.sets.len() != 1 {
            let what = "a booster works on one source at a time; name it with --source";
            return Err(Error::setting("--source", "(not given)", what));
        }
        Ok(labelled)
    }
}

fn only(labelled: &Labelled) -> &LabelledSet {
    &labelled.sets[0] // `Pairs::read` refuses any other number
}

const TRAIN: &str = "\
Examples:
  sverka boost train ../shared/data/products/abt-buy --model models/matcher --out runs/abt-buy-boost
  sverka boost train ../shared/data/products/abt-buy --out runs/abt-buy-features

Pairs that a ranker was trained on flatter it, so with --model the booster learns from the validation split, and without one
from the training split (--split says otherwise). Folds over left records choose the number of trees and fit calibration
and threshold. A higher score of a ranker never lowers the booster's.";

/// Train boosted trees and write their folder
#[derive(Debug, clap::Args)]
#[command(after_help = TRAIN)]
struct Train {
    #[command(flatten)]
    pairs: Pairs,
    /// A ranker's folder whose scores are a feature; may be repeated, or left out for features alone
    #[arg(long, value_name = "DIR")]
    model: Vec<PathBuf>,
    /// The pairs that are learnt from [default: valid with a model, train without one]
    #[arg(long, value_enum)]
    split: Option<SplitArg>,
    /// Columns to compare [default: all that both sides have]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    fields: Vec<String>,
    /// What trees are grown for
    #[arg(long, value_enum, default_value_t = GoalArg::Match)]
    goal: GoalArg,
    /// Trees at most
    #[arg(long, default_value_t = 500, value_name = "N")]
    rounds: usize,
    /// Splits from root to leaf
    #[arg(long, default_value_t = 4, value_name = "N")]
    depth: usize,
    /// What a tree's answer is multiplied by
    #[arg(long, default_value_t = 0.05, value_name = "SHARE")]
    rate: f64,
    /// Seed of folds and samples
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// The folder to be made; it must not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// `--goal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GoalArg {
    /// Probabilities of matches (logistic loss)
    Match,
    /// The order of a left record's candidates (LambdaMART)
    Order,
}

const EVAL: &str = "\
Example:
  sverka boost eval runs/abt-buy-boost ../shared/data/products/abt-buy --split test --json";

/// Measure a booster's decisions on labelled pairs
#[derive(Debug, clap::Args)]
#[command(after_help = EVAL)]
struct Eval {
    /// The booster's folder
    booster: PathBuf,
    #[command(flatten)]
    pairs: Pairs,
    /// The pairs that are used
    #[arg(long, value_enum, default_value_t = SplitArg::Test)]
    split: SplitArg,
}

const SCORE: &str = r#"Example:
  echo '{"left":{"name":"Sony DSC-W120"},"right":{"name":"sony dscw120/b"}}' | sverka boost score runs/abt-buy-boost -

Answer: one JSON line a pair, {"score", "probability", "decision"}; the score is the trees' sum."#;

/// Score pairs as they come, one JSON line each
#[derive(Debug, clap::Args)]
#[command(after_help = SCORE)]
struct Score {
    /// The booster's folder
    booster: PathBuf,
    /// A file of pairs, or - for standard input
    pairs: PathBuf,
    #[command(flatten)]
    text: TextArgs,
}

const FEATURES: &str = "\
Examples:
  sverka boost features ../shared/data/products/abt-buy --model models/matcher --split all --out features.parquet
  sverka boost features ../shared/data/products/abt-buy --booster runs/abt-buy-boost --out features.csv

Columns: left_id, right_id, label, then the features. With --booster the columns are those of its trees.";

/// Write features of labelled pairs for other tools of boosting (Parquet or CSV)
#[derive(Debug, clap::Args)]
#[command(after_help = FEATURES)]
struct FeaturesArgs {
    #[command(flatten)]
    pairs: Pairs,
    /// A ranker's folder whose scores are a feature; may be repeated
    #[arg(long, value_name = "DIR", conflicts_with = "booster")]
    model: Vec<PathBuf>,
    /// A booster's folder whose features are written
    #[arg(long, value_name = "DIR")]
    booster: Option<PathBuf>,
    /// Columns to compare [default: all that both sides have]
    #[arg(long, value_name = "A,B", value_delimiter = ',', conflicts_with = "booster")]
    fields: Vec<String>,
    /// The pairs that are used
    #[arg(long, value_enum, default_value_t = SplitArg::All)]
    split: SplitArg,
    /// The file to be written (.parquet, .csv)
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    match args.verb {
        Verb::Train(args) => train(args, global, output),
        Verb::Eval(args) => eval(&args, global, output),
        Verb::Score(args) => score(&args, global, output),
        Verb::Features(args) => features(&args, global, output),
    }
}

const BAR: &str = "scoring {bar:30} {pos}/{len} pairs, {per_sec}, {eta} left";

/// The columns named by `--fields` are there.
fn check_fields(fields: &[String], labelled: &Labelled) -> sverka::Result<()> {
    let has = |field: &String| labelled.records().any(|(l, r)| [l, r].iter().any(|x| x.columns.contains(field)));
    let Some(field) = fields.iter().find(|field| !has(field)) else { return Ok(()) };
    let columns = labelled.records().next().map(|(l, _)| l.columns.join(", ")).unwrap_or_default();
    Err(Error::setting("--fields", field, format!("no such column; the left records have {columns}")))
}

#[derive(Serialize)]
struct TrainOutput {
    out: PathBuf,
    split: String,
    rankers: Vec<String>,
    #[serde(flatten)]
    trained: Trained,
}

fn train(args: Train, global: &Resolved, output: &Output) -> Outcome {
    if args.out.exists() {
        return Err(Error::Exists(args.out).into()); // before models are read
    }
    let split = args.split.unwrap_or(if args.model.is_empty() { SplitArg::Train } else { SplitArg::Valid });
    let labelled = args.pairs.read(split, output)?;
    check_fields(&args.fields, &labelled)?;
    if split == SplitArg::Train && !args.model.is_empty() {
        output.warn("if a model was trained on these pairs, its scores flatter it: --split valid");
    }
    let scorers = Scorer::open_all(&args.model, global.dtype, global.device)?;
    let rankers: Vec<String> = scorers.iter().map(|scorer| scorer.name.clone()).collect();
    let goal = if args.goal == GoalArg::Match { Goal::Match } else { Goal::Order };
    let growth = Growth { goal, rounds: args.rounds, depth: args.depth, rate: args.rate, seed: args.seed };
    let bar = output.bar((labelled.len() * scorers.len()) as u64, BAR);
    let progress = |done| bar.set_position(done);
    let (booster, trained) = Booster::train(&only(&labelled).set, &args.fields, scorers, &growth, &progress)?;
    bar.finish_and_clear();
    booster.save(&args.out)?;
    let r = &trained.held_out;
    let mut text = format!(
        "{}\n  {} of {}\n  {} trees; on folds that they did not see: F1 {:.1}%, precision {:.1}%, recall {:.1}%\n\n",
        output.strong(format!("written to {}", args.out.display())),
        described(&labelled),
        split,
        trained.rounds,
        100.0 * r.f1,
        100.0 * r.precision,
        100.0 * r.recall
    );
    text += "  share of the loss that a feature saved\n";
    for (name, share) in trained.importance.iter().take(12) {
        text += &format!("    {:32} {:5.1}%\n", cut(name, 32), 100.0 * share);
    }
    output.summary(&TrainOutput { out: args.out, split: split.to_string(), rankers, trained }, &text)?;
    Ok(())
}

#[derive(Serialize)]
struct EvalOutput {
    #[serde(flatten)]
    report: Report,
    unlabelled: u64,
    #[serde(flatten)]
    unseen: Unseen,
}

fn eval(args: &Eval, global: &Resolved, output: &Output) -> Outcome {
    let booster = Booster::open(&args.booster, global.dtype, global.device)?;
    let labelled = args.pairs.read(args.split, output)?;
    let set = &only(&labelled).set;
    let places: Vec<(u32, u32)> = set.pairs.iter().map(|pair| (pair.left, pair.right)).collect();
    let bar = output.bar(places.len() as u64, BAR);
    let scores = score_rows(&booster, &set.left, &set.right, &places, &|done, _| bar.set_position(done))?;
    bar.finish_and_clear();
    let probabilities: Vec<f32> = scores.iter().map(|score| booster.decide(score).0).collect();
    let report = report(&probabilities, &labelled.labels, booster.threshold())?;
    let answer = EvalOutput { report, unlabelled: labelled.unlabelled, unseen: Unseen::of(&scores) };
    let r = &answer.report;
    let title = format!("{} on {}, split {}", args.booster.display(), args.pairs.data.display(), args.split);
    let mut text = format!("{}\n  {}\n", output.strong(title), described(&labelled));
    answer.unseen.lines().iter().for_each(|line| text += &format!("  {line}\n"));
    text += &format!(
        "\n    F1        {:5.1}%   at the stored threshold {:.3}\n    precision {:5.1}%\n    recall    {:5.1}%\n    \
         PR-AUC    {:5.1}%\n    ECE       {:7.4}\n",
        100.0 * r.f1,
        r.threshold,
        100.0 * r.precision,
        100.0 * r.recall,
        100.0 * r.pr_auc,
        r.ece
    );
    output.result(&answer, &text)?;
    Ok(())
}

/// Pairs scored at once.
const BATCH: usize = 256;

fn score(args: &Score, global: &Resolved, output: &Output) -> Outcome {
    let booster = Booster::open(&args.booster, global.dtype, global.device)?;
    let mut stream = stream_pairs(&args.pairs, &args.text.options()?)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let failed = || Error::io("write", Path::new("-"));
    let mut unseen = Unseen::default();
    let mut ended = false;
    while !ended {
        let (mut batch, mut broken): (Vec<Option<(Record, Record)>>, _) = (Vec::with_capacity(BATCH), None);
        while batch.len() < BATCH && !ended {
            let skipped = stream.skipped();
            let next = stream.next();
            // a row that was left out has an answer too
            batch.extend((skipped..stream.skipped()).map(|_| None));
            match next {
                Some(Ok((left, right, _))) => batch.push(Some((left, right))),
                Some(Err(e)) => (broken, ended) = (Some(e), true),
                None => ended = true,
            }
        }
        let pairs = batch.iter().flatten();
        let lists: Vec<List> = pairs.map(|(left, right)| List::pair(left.into(), right.into())).collect();
        let mut scores = booster.score(&lists)?.into_iter().flatten();
        for pair in &batch {
            let Some(score) = pair.as_ref().and_then(|_| scores.next()) else {
                writeln!(out, r#"{{"score":null,"probability":null,"decision":null}}"#).map_err(failed())?;
                continue;
            };
            unseen.add(&score);
            let (probability, decision) = booster.decide(&score);
            let mut line = serde_json::json!({"score": score.value, "probability": probability, "decision": decision});
            if score.truncated {
                line["truncated"] = true.into();
            }
            if !score.readable {
                line["unreadable"] = true.into();
            }
            writeln!(out, "{line}").map_err(failed())?;
        }
        out.flush().map_err(failed())?;
        if let Some(e) = broken {
            return Err(e.into());
        }
    }
    unseen.lines().iter().for_each(|line| output.note(line));
    crate::tables::report(output, &args.pairs, &stream.report());
    Ok(())
}

fn features(args: &FeaturesArgs, global: &Resolved, output: &Output) -> Outcome {
    let labelled = args.pairs.read(args.split, output)?;
    check_fields(&args.fields, &labelled)?;
    let set = &only(&labelled).set;
    let (names, rows) = match &args.booster {
        Some(dir) => {
            let booster = Booster::open(dir, global.dtype, global.device)?;
            let bar = output.bar((labelled.len() * booster.scorers().len()) as u64, BAR);
            let rows = booster.rows(set, &|done| bar.set_position(done))?;
            bar.finish_and_clear();
            (booster.names(), rows)
        }
        None => {
            let scorers = Scorer::open_all(&args.model, global.dtype, global.device)?;
            let bar = output.bar((labelled.len() * scorers.len()) as u64, BAR);
            let (features, rows) = features_of(set, &args.fields, &scorers, &|done| bar.set_position(done))?;
            bar.finish_and_clear();
            (features.names(), rows)
        }
    };
    write_features(&args.out, set, &names, &rows)?;
    let features = counted(names.len() as u64, "feature", "features");
    let text = format!("{} of {} written to {}", features, described(&labelled), args.out.display());
    let answer = serde_json::json!({"out": args.out, "pairs": labelled.len(), "features": names});
    output.summary(&answer, &text)?;
    Ok(())
}
