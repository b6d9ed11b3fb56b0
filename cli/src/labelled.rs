//! Labelled pairs for the verbs that measure: where they come from, which part is used, how the model scores them.

use std::path::PathBuf;

use clap::ValueEnum;
use sverka::bundle::Bundle;
use sverka::data::{self, ReadOptions};
use sverka::train::Recipe;
use sverka::train::corpus::{LabelledSource, read_part, read_source};
use sverka::{Error, Input, PairSet, Record, Result, Split};

use crate::output::{Output, counted};

/// A model and labelled pairs, as eval, calibrate and quantize are given them. Which split is meant where none is named
/// differs: calibrate sets another default.
#[derive(Debug, Clone, clap::Args)]
pub struct Given {
    /// The model's folder
    pub model: PathBuf,
    /// A folder or file of labelled pairs (DeepMatcher, Ditto, WDC, joined CSV), or a recipe whose [data] is meant
    pub data: PathBuf,
    /// The part of the pairs that is used
    #[arg(long, value_enum, default_value_t = SplitArg::Test)]
    pub split: SplitArg,
    /// Only this one of the recipe's sources
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Columns to compare [default: the recipe's, else those of the model's training; all but the id where there are none]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub fields: Vec<String>,
    /// The id column of the tables [default: id, else the first]
    #[arg(long, value_name = "COLUMN")]
    pub id: Option<String>,
    /// Leave out rows that can't be read, and count them
    #[arg(long)]
    pub skip_bad_rows: bool,
}

impl Given {
    /// `MODEL on DATA, split SPLIT`.
    pub fn title(&self) -> String {
        format!("{} on {}, split {}", self.model.display(), self.data.display(), self.split)
    }
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
    /// The part that is meant; `None`: all of them.
    pub fn part(self) -> Option<Split> {
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

/// The pairs of one source.
pub struct Set {
    /// Records, and the chosen pairs, each with a label.
    pub set: PairSet,
    /// The fields to show, where the recipe says so for this source.
    fields: Option<Vec<String>>,
    /// Whether the right records are a table, and not one side of a line each.
    pub has_tables: bool,
}

impl Set {
    /// The model, reading this source's fields.
    pub fn reader(&self, bundle: &Bundle) -> Bundle {
        match &self.fields {
            Some(fields) => bundle.clone().with_fields(fields.clone()),
            None => bundle.clone(),
        }
    }
}

/// Pairs with labels.
pub struct Labelled {
    /// By source.
    pub sets: Vec<Set>,
    /// One per pair.
    pub labels: Vec<bool>,
    /// How many pairs of the split had no label and were left out.
    pub unlabelled: u64,
}

impl Labelled {
    /// Reads the pairs of the split that is meant. A source without splits gives all of its pairs, and a note says so; a
    /// recipe has them as its training has them, made non-matches included.
    pub fn read(from: &Given, output: &Output) -> Result<Self> {
        Self::read_split(from, from.split, output)
    }

    fn read_split(from: &Given, split: SplitArg, output: &Output) -> Result<Self> {
        let is_recipe = from.data.extension().is_some_and(|e| e == "toml");
        let (mut sets, unlabelled) =
            if is_recipe { of_recipe(from, split, output)? } else { of_files(from, split, output)? };
        if !from.fields.is_empty() {
            sets.iter_mut().for_each(|set| set.fields = Some(from.fields.clone()));
        }
        let pairs = sets.iter().flat_map(|s| &s.set.pairs);
        let labels: Vec<bool> = pairs.map(|p| p.label == Some(true)).collect();
        if labels.is_empty() {
            let what = format!("no labelled pairs in split {split}");
            return Err(Error::data(&from.data, None, what, "name another --split or a file that has labels"));
        }
        let labelled = Labelled { sets, labels, unlabelled };
        let has = |field: &String| labelled.records().any(|(l, r)| [l, r].iter().any(|x| x.columns.contains(field)));
        match from.fields.iter().find(|field| !has(field)) {
            None => Ok(labelled),
            Some(field) => {
                let columns = labelled.records().next().map(|(l, _)| l.columns.join(", ")).unwrap_or_default();
                Err(Error::setting("--fields", field, format!("no such column; the left records have {columns}")))
            }
        }
    }

    /// Up to `count` pairs, evenly spread, to be looked at without their labels: of training and validation, whichever are not
    /// these pairs; where there are none, taken out of these, half of them at most.
    pub fn sample(&mut self, from: &Given, count: usize, output: &Output) -> Vec<(Record, Record)> {
        let pair = |(left, right): (&Record, &Record)| (left.clone(), right.clone());
        let split = from.split;
        let divided = split.part().is_some() && self.sets.iter().all(|s| s.set.pairs.iter().all(|p| p.split.is_some()));
        let splits = [SplitArg::Train, SplitArg::Valid].into_iter().filter(|s| divided && *s != split);
        // a split without labelled pairs is no error here
        let others: Vec<Labelled> = splits.filter_map(|other| Self::read_split(from, other, output).ok()).collect();
        let total: usize = others.iter().map(Labelled::len).sum();
        if total > 0 {
            let chosen = evenly(count, total);
            let records = others.iter().flat_map(Labelled::records).zip(&chosen);
            return records.filter(|(_, chosen)| **chosen).map(|(records, _)| pair(records)).collect();
        }
        let chosen = evenly(count.min(self.len() / 2), self.len());
        let sample = self.records().zip(&chosen).filter(|(_, chosen)| **chosen).map(|(records, _)| pair(records));
        let sample = sample.collect();
        let mut places = chosen.iter();
        self.labels.retain(|_| places.next() == Some(&false));
        let mut places = chosen.iter();
        for set in &mut self.sets {
            set.set.pairs.retain(|_| places.next() == Some(&false));
        }
        sample
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The two records of each pair.
    pub fn records(&self) -> impl Iterator<Item = (&Record, &Record)> {
        self.sets.iter().flat_map(|s| s.set.pairs.iter().map(|pair| s.set.sides(pair))).map(|(l, r, _)| (l, r))
    }

    /// One score per pair, behind a bar.
    pub fn scores(&self, bundle: &Bundle, output: &Output) -> Result<Vec<f32>> {
        let bar = output.bar(self.len() as u64, "scoring {bar:30} {pos}/{len} pairs, {per_sec}, {eta} left");
        let mut scores = Vec::with_capacity(self.len());
        for set in &self.sets {
            let reader = set.reader(bundle);
            for piece in set.set.pairs.chunks(512) {
                let sides = piece.iter().map(|pair| set.set.sides(pair));
                let pairs: Vec<(Input, Input)> = sides.map(|(l, r, _)| (l.into(), r.into())).collect();
                scores.extend(reader.ranker().score_pairs(&pairs)?);
                bar.inc(piece.len() as u64);
            }
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

/// `count` of `total` places, or all, evenly spread.
fn evenly(count: usize, total: usize) -> Vec<bool> {
    let count = count.min(total);
    let mut places = vec![false; total];
    (0..count).for_each(|i| places[i * total / count] = true);
    places
}

/// The sources of a recipe, or one of them.
fn of_recipe(from: &Given, split: SplitArg, output: &Output) -> Result<(Vec<Set>, u64)> {
    if let Some(id) = &from.id {
        return Err(Error::setting("--id", id, "a recipe names the id columns itself; leave it out"));
    }
    let mut recipe = Recipe::read(&from.data, &[])?;
    recipe.data.skip_bad_rows |= from.skip_bad_rows;
    let sources = &recipe.data.sources;
    let chosen = |name: &str| from.source.as_ref().is_none_or(|wanted| wanted == name);
    if let Some(wanted) = from.source.as_ref().filter(|_| !sources.iter().any(|s| chosen(&s.name))) {
        let names = sources.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Error::setting("--source", wanted, format!("no such source in the recipe; there are {names}")));
    }
    // all sources, since what one holds out is not learnt from another
    let parts: Vec<Option<LabelledSource>> = match split.part() {
        Some(part @ (Split::Train | Split::Valid)) => read_part(&recipe, part)?.into_iter().map(Some).collect(),
        _ => sources.iter().map(|_| None).collect(),
    };
    let (mut sets, mut unlabelled) = (Vec::new(), 0);
    for (i, (source, part)) in sources.iter().zip(parts).enumerate().filter(|(_, (s, _))| chosen(&s.name)) {
        let mut read = part.map_or_else(|| read_source(&recipe, i), Ok)?;
        crate::matching::note_skipped(output, &from.data, &read.skipped);
        read.set.pairs.retain(|p| split.part().is_none_or(|part| source.role(p) == Some(part)));
        unlabelled += read.unlabelled;
        sets.push(Set { set: read.set, fields: source.fields.clone(), has_tables: has_tables(&source.from) });
    }
    Ok((sets, unlabelled))
}

/// What a folder or file looks like.
fn of_files(from: &Given, split: SplitArg, output: &Output) -> Result<(Vec<Set>, u64)> {
    if let Some(name) = &from.source {
        return Err(Error::setting("--source", name, "only a recipe has sources with names; leave it out"));
    }
    let source = data::detect(&from.data)?;
    let options = ReadOptions { id: from.id.clone(), skip_bad_rows: from.skip_bad_rows };
    let (mut set, skipped) = data::read_pairs(&source, &options)?;
    crate::matching::note_skipped(output, &from.data, &skipped);
    let divided = set.pairs.iter().any(|p| p.split.is_some());
    if split.part().is_some() && !divided {
        output.note(format_args!("{}: has no splits, all of its pairs are used", from.data.display()));
    }
    set.pairs.retain(|p| !divided || split.part().is_none() || p.split == split.part());
    let all = set.pairs.len();
    set.pairs.retain(|p| p.label.is_some());
    let unlabelled = (all - set.pairs.len()) as u64;
    Ok((vec![Set { set, fields: None, has_tables: has_tables(&source) }], unlabelled))
}

fn has_tables(source: &data::Source) -> bool {
    matches!(source, data::Source::Deepmatcher { .. } | data::Source::Links { .. })
}
