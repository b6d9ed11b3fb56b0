//! Labelled pairs for the verbs that measure: where they come from, which part is used, how the model scores them.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use sverka::bundle::Bundle;
use sverka::data::{self, ReadOptions};
use sverka::{Error, Input, Pair, PairSet, Part, Record, Result};

use crate::output::{Output, counted};

/// What eval, calibrate and quantize read.
#[derive(Debug, Clone, clap::Args)]
pub struct Data {
    /// A folder or file of labelled pairs (DeepMatcher, Ditto, WDC, joined CSV), or a recipe whose [data] is meant
    pub data: PathBuf,
    /// The id column of the tables [default: id, else the first]
    #[arg(long, value_name = "COLUMN")]
    pub id: Option<String>,
    /// Leave out rows that can't be read, and count them
    #[arg(long)]
    pub skip_bad_rows: bool,
}

/// `--split`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Split {
    /// The pairs that weights are fitted on
    Train,
    /// The pairs for thresholds and calibration
    Valid,
    /// The pairs that are only measured on
    Test,
    /// Every pair
    All,
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Split::Train => "train",
            Split::Valid => "valid",
            Split::Test => "test",
            Split::All => "all",
        })
    }
}

/// Pairs with labels.
pub struct Labelled {
    set: PairSet,
    pairs: Vec<Pair>,
    /// The pairs of other splits, labelled or not.
    others: Vec<Pair>,
    /// One per pair.
    pub labels: Vec<bool>,
    /// How many pairs of the split had no label and were left out.
    pub unlabelled: u64,
}

impl Labelled {
    /// Reads the pairs of one split. A source without splits gives all of its pairs, and a note says so.
    pub fn read(from: &Data, split: Split, output: &Output) -> Result<Self> {
        let options = ReadOptions { id: from.id.clone(), skip_bad_rows: from.skip_bad_rows };
        let mut set = PairSet::default();
        for source in sources(&from.data)? {
            let (more, skipped) = data::read_pairs(&source, &options)?;
            crate::matching::note_skipped(output, &from.data, &skipped);
            append(&mut set, more);
        }
        let wanted = match split {
            Split::Train => Some(Part::Train),
            Split::Valid => Some(Part::Valid),
            Split::Test => Some(Part::Test),
            Split::All => None,
        };
        let divided = set.pairs.iter().any(|p| p.part.is_some());
        if wanted.is_some() && !divided {
            output.note(format_args!("{}: has no splits, all of its pairs are used", from.data.display()));
        }
        let (chosen, others): (Vec<Pair>, Vec<Pair>) =
            set.pairs.iter().partition(|p| !divided || wanted.is_none() || p.part == wanted);
        let (pairs, bare): (Vec<Pair>, Vec<Pair>) = chosen.iter().partition(|p| p.label.is_some());
        if pairs.is_empty() {
            let what = format!("no labelled pairs in split {split}");
            return Err(Error::data(&from.data, None, what, "name another --split or a file that has labels"));
        }
        let labels = pairs.iter().map(|p| p.label == Some(true)).collect();
        Ok(Labelled { set, pairs, others, labels, unlabelled: bare.len() as u64 })
    }

    /// Up to `count` pairs, evenly spread, to be looked at without their labels: of the other splits, else taken out of these
    /// (half of them at most).
    pub fn sample(&mut self, count: usize) -> Vec<(&Record, &Record)> {
        let own = self.others.is_empty();
        let total = if own { self.pairs.len() } else { self.others.len() };
        let count = count.min(if own { total / 2 } else { total });
        let chosen: Vec<usize> = (0..count).map(|i| i * total / count).collect();
        let from = if own { &self.pairs } else { &self.others };
        let sample: Vec<Pair> = chosen.iter().map(|&i| from[i]).collect();
        if own {
            let left = |i: &usize| chosen.binary_search(i).is_err();
            let left: Vec<usize> = (0..total).filter(left).collect();
            self.pairs = left.iter().map(|&i| self.pairs[i]).collect();
            self.labels = left.iter().map(|&i| self.labels[i]).collect();
        }
        let sides = |pair: Pair| {
            let (left, right, _) = self.set.sides(&pair);
            (left, right)
        };
        sample.into_iter().map(sides).collect()
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// The two records of each pair.
    pub fn records(&self) -> impl Iterator<Item = (&Record, &Record)> {
        self.pairs.iter().map(|pair| {
            let (left, right, _) = self.set.sides(pair);
            (left, right)
        })
    }

    /// One score per pair, behind a bar.
    pub fn scores(&self, bundle: &Bundle, output: &Output) -> Result<Vec<f32>> {
        let bar = output.bar(self.len() as u64, "scoring {bar:30} {pos}/{len} pairs, {per_sec}, {eta} left");
        let pairs: Vec<(Input, Input)> = self.records().map(|(l, r)| (l.into(), r.into())).collect();
        let mut scores = Vec::with_capacity(pairs.len());
        for piece in pairs.chunks(512) {
            scores.extend(bundle.ranker().score_pairs(piece)?);
            bar.inc(piece.len() as u64);
        }
        bar.finish_and_clear();
        Ok(scores)
    }

    /// The value of `field` of each pair: the left record's, else the right one's.
    pub fn categories(&self, field: &str) -> Result<Vec<&str>> {
        let value = |record: &'_ Record| record.columns.iter().position(|c| c == field);
        self.records()
            .map(|(left, right)| {
                let found = value(left).map(|i| left.values[i].as_str());
                found.filter(|v| !v.is_empty()).or(value(right).map(|i| right.values[i].as_str())).ok_or_else(|| {
                    let columns = left.columns.join(", ");
                    Error::setting("--category", field, format!("no such field; there are {columns}"))
                })
            })
            .collect()
    }

    /// `Pairs, of which matches`, as a person says it.
    pub fn said(&self) -> String {
        let matches = self.labels.iter().filter(|l| **l).count() as u64;
        let mut said =
            format!("{}, {}", counted(self.len() as u64, "pair", "pairs"), counted(matches, "match", "matches"));
        if self.unlabelled > 0 {
            said += &format!(" ({} without a label left out)", crate::output::grouped(self.unlabelled));
        }
        said
    }
}

/// The sources behind a path: a recipe's, or what the folder or file looks like.
fn sources(path: &Path) -> Result<Vec<data::Source>> {
    if path.extension().is_some_and(|e| e == "toml") {
        let recipe = sverka::train::Recipe::read(path, &[])?;
        return Ok(recipe.data.sources.into_iter().map(|s| s.from).collect());
    }
    Ok(vec![data::detect(path)?])
}

/// Puts one set behind another.
fn append(set: &mut PairSet, more: PairSet) {
    let (left, right) = (set.left.len() as u32, set.right.len() as u32);
    set.left.extend(more.left);
    set.right.extend(more.right);
    set.pairs.extend(more.pairs.into_iter().map(|p| Pair { left: p.left + left, right: p.right + right, ..p }));
}
