//! Labelled pairs as eval, rank, calibrate and quantize are given them.

use std::path::PathBuf;

use clap::ValueEnum;
use sverka::bundle::Bundle;
use sverka::data::ReadOptions;
use sverka::train::{Labelled, LabelledOptions};
use sverka::{Ranker, Result, Score, Split};

use crate::output::{Output, counted, grouped};
use crate::tables::TableArgs;

/// A model and labelled pairs. The default split is `test`; `calibrate` sets it to `valid`.
#[derive(Debug, Clone, clap::Args)]
pub struct DataArgs {
    /// The model's folder
    pub model: PathBuf,
    /// A folder or file of labelled pairs (DeepMatcher, Ditto, WDC, joined CSV), or a recipe whose `[data]` is read
    pub data: PathBuf,
    /// The pairs that are used
    #[arg(long, value_enum, default_value_t = SplitArg::Test)]
    pub split: SplitArg,
    /// Only this one of the recipe's sources
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Columns to compare [default: the recipe's, else those of the model's training; all but the id if there are none]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub fields: Vec<String>,
    /// The column of labels, 1 or 0; `none`: every row is a match [default: label, or a column that says yes and no]
    #[arg(long, value_name = "COLUMN")]
    pub label_column: Option<String>,
    #[command(flatten)]
    pub tables: TableArgs,
}

impl DataArgs {
    /// `MODEL on DATA, split SPLIT`.
    pub fn title(&self) -> String {
        format!("{} on {}, split {}", self.model.display(), self.data.display(), self.split)
    }

    /// Reads the pairs, with notes on what was left out.
    pub fn read(&self, output: &Output) -> Result<Labelled> {
        let options = LabelledOptions {
            data: self.data.clone(),
            split: self.split.split(),
            source: self.source.clone(),
            fields: self.fields.clone(),
            read: ReadOptions { label_column: self.label_column.clone(), ..self.tables.options()? },
        };
        read(&options, output)
    }
}

/// Reads labelled pairs, with notes on what was left out.
pub fn read(options: &LabelledOptions, output: &Output) -> Result<Labelled> {
    let labelled = Labelled::read(options)?;
    crate::tables::report(output, &options.data, &labelled.report);
    if labelled.is_undivided {
        output.warn(format_args!("{}: has no splits, all of its pairs are used", options.data.display()));
    }
    Ok(labelled)
}

/// `--split`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SplitArg {
    /// The pairs that weights are fitted on
    Train,
    /// The pairs for thresholds and calibration
    Valid,
    /// The pairs that are only measured on
    Test,
    /// Every pair
    All,
}

impl SplitArg {
    /// The split; `None`: all of them.
    pub fn split(self) -> Option<Split> {
        match self {
            SplitArg::Train => Some(Split::Train),
            SplitArg::Valid => Some(Split::Valid),
            SplitArg::Test => Some(Split::Test),
            SplitArg::All => None,
        }
    }
}

impl std::fmt::Display for SplitArg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            SplitArg::Train => "train",
            SplitArg::Valid => "valid",
            SplitArg::Test => "test",
            SplitArg::All => "all",
        })
    }
}

/// Leaves out what a model that compares a query's candidates has nothing to say of, and says how many pairs are left.
pub fn keep_scorable(labelled: &mut Labelled, bundle: &Bundle, output: &Output) -> Result<()> {
    if !bundle.is_listwise() {
        return Ok(());
    }
    let all = labelled.len() as u64;
    labelled.keep_lists()?;
    if (labelled.len() as u64) < all {
        let kept = grouped(labelled.len() as u64);
        let of = counted(all, "pair is", "pairs are");
        output.note(format_args!(
            "{kept} of {of} scored: a duo model compares candidates, and the other queries have one"
        ));
    }
    Ok(())
}

/// One score per pair, with a bar.
pub fn scores(labelled: &Labelled, bundle: &Bundle, output: &Output) -> Result<Vec<Score>> {
    let bar = output.bar(labelled.len() as u64, "scoring {bar:30} {pos}/{len} pairs, {per_sec}, {eta} left");
    let scores = labelled.scores(bundle, &|done| bar.set_position(done))?;
    bar.finish_and_clear();
    Ok(scores)
}

/// How many pairs a model did not see whole.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct Unseen {
    /// Pairs longer than the model reads, whose ends it did not see.
    pub truncated_pairs: u64,
    /// Pairs with a text that the model can't read; none of them is accepted.
    pub unreadable_pairs: u64,
}

impl Unseen {
    /// Counts some scores.
    pub fn of(scores: &[Score]) -> Self {
        let mut unseen = Unseen::default();
        scores.iter().for_each(|score| unseen.add(score));
        unseen
    }
    /// Counts one more.
    pub fn add(&mut self, score: &Score) {
        self.truncated_pairs += u64::from(score.truncated);
        self.unreadable_pairs += u64::from(!score.readable);
    }
    /// A sentence for each kind that there is.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.truncated_pairs > 0 {
            let pairs = counted(self.truncated_pairs, "pair is", "pairs are");
            lines.push(format!("{pairs} longer than the model reads: it did not see the ends"));
        }
        if self.unreadable_pairs > 0 {
            let pairs = counted(self.unreadable_pairs, "pair has", "pairs have");
            lines.push(format!("{pairs} a text that the model can't read (no word, or mostly unknown): not accepted"));
        }
        lines
    }
}

/// How many pairs there are and how many of them are matches, for people.
pub fn described(labelled: &Labelled) -> String {
    let matches = labelled.labels.iter().filter(|l| **l).count() as u64;
    let pairs = counted(labelled.len() as u64, "pair", "pairs");
    let mut text = format!("{pairs}, {}", counted(matches, "match", "matches"));
    if labelled.unlabelled > 0 {
        text += &format!(" ({} without a label left out)", crate::output::grouped(labelled.unlabelled));
    }
    text
}
