//! Labelled pairs to measure a model on, or to fit something to: where they come from, which split is used, how a model
//! scores them.

use std::collections::HashMap;
use std::path::PathBuf;

use super::recipe::Recipe;
use super::sources::{LoadedSource, read_split};
use crate::bundle::Bundle;
use crate::data::{self, ReadOptions, ReadReport};
use crate::ranker::{Score, score_rows};
use crate::records::{PairSet, Record, Split};
use crate::{Error, Result};

/// Which pairs.
#[derive(Debug, Clone, Default)]
pub struct LabelledOptions {
    /// A folder or file of labelled pairs, or a recipe (`.toml`) whose `[data]` is read as its training reads it.
    pub data: PathBuf,
    /// The split; `None`: all pairs.
    pub split: Option<Split>,
    /// Only this one of the recipe's sources.
    pub source: Option<String>,
    /// The fields to show instead of the recipe's or the model's.
    pub fields: Vec<String>,
    /// How tables are read. A recipe names its id columns itself.
    pub read: ReadOptions,
}

/// The pairs of one source.
pub struct LabelledSet {
    /// Records, and the chosen pairs, each with a label.
    pub set: PairSet,
    /// The fields to show, if the recipe says so for this source.
    fields: Option<Vec<String>>,
    /// Whether the right records are a table, and not one side of a line each.
    pub has_tables: bool,
}

impl LabelledSet {
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
    pub sets: Vec<LabelledSet>,
    /// One per pair.
    pub labels: Vec<bool>,
    /// How many pairs of the split had no label and were left out.
    pub unlabelled: u64,
    /// What reading left out, changed and guessed.
    pub report: ReadReport,
    /// Whether a split was wanted and the files have none, so that all pairs are used.
    pub is_undivided: bool,
    options: LabelledOptions,
}

impl Labelled {
    /// Reads the pairs of the split. A source without splits gives all of its pairs; a recipe has them as its training has
    /// them, made non-matches included.
    ///
    /// # Errors
    /// What reading refuses; a split without labelled pairs; a field that no record has.
    pub fn read(options: &LabelledOptions) -> Result<Self> {
        let is_recipe = options.data.extension().is_some_and(|e| e == "toml");
        let mut labelled = if is_recipe { Self::of_recipe(options)? } else { Self::of_files(options)? };
        if !options.fields.is_empty() {
            labelled.sets.iter_mut().for_each(|set| set.fields = Some(options.fields.clone()));
        }
        labelled.labels = labelled.sets.iter().flat_map(|s| &s.set.pairs).map(|p| p.is_match()).collect();
        if labelled.labels.is_empty() {
            let split = options.split.map_or("all".into(), |split| format!("{split:?}").to_lowercase());
            let what = format!("no labelled pairs in split {split}");
            return Err(Error::data(&options.data, None, what, "name another --split or a file that has labels"));
        }
        let has = |field: &String| labelled.records().any(|(l, r)| [l, r].iter().any(|x| x.columns.contains(field)));
        if let Some(field) = options.fields.iter().find(|field| !has(field)) {
            let columns = labelled.records().next().map(|(l, _)| l.columns.join(", ")).unwrap_or_default();
            let what = format!("no such column; the left records have {columns}");
            return Err(Error::setting("--fields", field, what));
        }
        Ok(labelled)
    }

    fn with(options: &LabelledOptions, sets: Vec<LabelledSet>, unlabelled: u64, report: ReadReport) -> Self {
        Labelled { sets, labels: Vec::new(), unlabelled, report, is_undivided: false, options: options.clone() }
    }

    /// The sources of a recipe, or one of them.
    fn of_recipe(options: &LabelledOptions) -> Result<Self> {
        if let Some(id) = &options.read.id {
            return Err(Error::setting("--id", id, "a recipe names the id columns itself; leave it out"));
        }
        let mut recipe = Recipe::read(&options.data, &[])?;
        recipe.data.skip_bad_rows |= options.read.skip_bad_rows;
        let chosen = |name: &str| options.source.as_ref().is_none_or(|wanted| wanted == name);
        let sources = &recipe.data.sources;
        if let Some(wanted) = options.source.as_ref().filter(|_| !sources.iter().any(|s| chosen(&s.name))) {
            let names = sources.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Error::setting("--source", wanted, format!("no such source in the recipe; there are {names}")));
        }
        let all = match options.split {
            // all sources, since what one holds out is not learned from another
            Some(split @ (Split::Train | Split::Valid)) => read_split(&recipe, split)?,
            _ => {
                let places = (0..sources.len()).filter(|i| chosen(&sources[*i].name));
                places.map(|i| LoadedSource::read(&recipe, i)).collect::<Result<_>>()?
            }
        };
        let (mut sets, mut unlabelled, mut report) = (Vec::new(), 0, ReadReport::default());
        for mut read in all.into_iter().filter(|read| chosen(&read.source.name)) {
            read.set.pairs.retain(|p| options.split.is_none_or(|split| read.source.role(p) == Some(split)));
            unlabelled += read.unlabelled;
            report.add(read.skipped);
            let has_tables = has_tables(&read.source.from);
            sets.push(LabelledSet { set: read.set, fields: read.source.fields, has_tables });
        }
        Ok(Self::with(options, sets, unlabelled, report))
    }

    /// What a folder or file looks like.
    fn of_files(options: &LabelledOptions) -> Result<Self> {
        if let Some(name) = &options.source {
            return Err(Error::setting("--source", name, "only a recipe has sources with names; leave it out"));
        }
        let source = data::detect(&options.data, &options.read)?;
        let (mut set, report) = data::read_pairs(&source, &options.read)?;
        let divided = set.pairs.iter().any(|p| p.split.is_some());
        set.pairs.retain(|p| !divided || options.split.is_none() || p.split == options.split);
        let all = set.pairs.len();
        set.pairs.retain(|p| p.grade.is_some());
        let unlabelled = (all - set.pairs.len()) as u64;
        let sets = vec![LabelledSet { set, fields: None, has_tables: has_tables(&source) }];
        let labelled = Self::with(options, sets, unlabelled, report);
        Ok(Labelled { is_undivided: options.split.is_some() && !divided, ..labelled })
    }

    /// Up to `count` pairs, evenly spread, to be looked at without their labels: of training and validation, whichever are not
    /// these pairs; if there are none, taken out of these, half of them at most.
    pub fn sample(&mut self, count: usize) -> Vec<(Record, Record)> {
        let pair = |(left, right): (&Record, &Record)| (left.clone(), right.clone());
        let split = self.options.split;
        let divided = split.is_some() && self.sets.iter().all(|s| s.set.pairs.iter().all(|p| p.split.is_some()));
        let splits = [Split::Train, Split::Valid].into_iter().filter(|s| divided && Some(*s) != split);
        // a split without labelled pairs is no error here
        let other = |split| Self::read(&LabelledOptions { split: Some(split), ..self.options.clone() }).ok();
        let others: Vec<Labelled> = splits.filter_map(other).collect();
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

    /// For a model that compares a query's candidates: pairs whose left records are equal become one list, and those that are left alone go.
    ///
    /// # Errors
    /// No pair is left.
    pub fn keep_lists(&mut self) -> Result<()> {
        let mut kept = Vec::with_capacity(self.labels.len());
        for set in self.sets.iter_mut().map(|s| &mut s.set) {
            let mut firsts = HashMap::new();
            let mut counts = HashMap::<u32, usize>::new();
            for pair in &mut set.pairs {
                let values = &set.left[pair.left as usize].values;
                pair.left = *firsts.entry(values).or_insert(pair.left);
                *counts.entry(pair.left).or_default() += 1;
            }
            let start = kept.len();
            kept.extend(set.pairs.iter().map(|pair| counts[&pair.left] > 1));
            let mut places = kept[start..].iter();
            set.pairs.retain(|_| places.next() == Some(&true));
        }
        let mut places = kept.iter();
        self.labels.retain(|_| places.next() == Some(&true));
        if self.is_empty() {
            let what = "no query has two candidates or more, which a duo model compares";
            return Err(Error::setting("labels", 0, what));
        }
        Ok(())
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// True without a pair.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The two records of each pair.
    pub fn records(&self) -> impl Iterator<Item = (&Record, &Record)> {
        self.sets.iter().flat_map(|s| s.set.pairs.iter().map(|pair| s.set.sides(pair))).map(|(l, r, _)| (l, r))
    }

    /// One score per pair. `progress` gets the pairs done.
    ///
    /// # Errors
    /// What the model refuses.
    pub fn scores(&self, bundle: &Bundle, progress: &dyn Fn(u64)) -> Result<Vec<Score>> {
        let mut scores = Vec::with_capacity(self.len());
        for labelled in &self.sets {
            let set = &labelled.set;
            let pairs: Vec<(u32, u32)> = set.pairs.iter().map(|pair| (pair.left, pair.right)).collect();
            let before = scores.len() as u64;
            let report = |done, _| progress(before + done);
            let reader = labelled.reader(bundle);
            scores.extend(score_rows(&reader, &set.left, &set.right, &pairs, &report)?);
        }
        Ok(scores)
    }

    /// The value of `field` of each pair: the left record's, else the right one's.
    ///
    /// # Errors
    /// A pair that has no such field.
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
}

/// `count` of `total` places, or all, evenly spread.
fn evenly(count: usize, total: usize) -> Vec<bool> {
    let count = count.min(total);
    let mut places = vec![false; total];
    (0..count).for_each(|i| places[i * total / count] = true);
    places
}

fn has_tables(source: &data::Source) -> bool {
    use data::Source::{Beir, Cedr, Deepmatcher, Links, MsMarco, Squad};
    matches!(source, Deepmatcher { .. } | Links { .. } | Beir { .. } | Squad(_) | MsMarco { .. } | Cedr(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &std::path::Path, name: &str, rows: usize) -> PathBuf {
        let mut text = String::from("left_name,right_name,label\n");
        (0..rows).for_each(|i| text += &format!("lamp {i} {name},red lamp {i},{}\n", i % 2));
        let path = dir.join(format!("{name}.csv"));
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn the_sample_comes_from_other_splits_and_leaves_the_measured_pairs_alone() {
        let dir = tempfile::tempdir().unwrap();
        for (name, rows) in [("train", 20), ("valid", 10), ("test", 8)] {
            write(dir.path(), name, rows);
        }
        let options =
            LabelledOptions { data: dir.path().into(), split: Some(Split::Test), ..LabelledOptions::default() };
        let mut labelled = Labelled::read(&options).unwrap();
        let sample = labelled.sample(6);
        assert_eq!((sample.len(), labelled.len()), (6, 8));
        assert!(sample.iter().all(|(left, _)| !left.get("name").unwrap().contains("test")));
    }

    #[test]
    fn a_file_without_splits_gives_half_of_its_pairs_to_the_sample_at_most() {
        let dir = tempfile::tempdir().unwrap();
        let data = write(dir.path(), "pairs", 10);
        let options = LabelledOptions { data, ..LabelledOptions::default() };
        let mut labelled = Labelled::read(&options).unwrap();
        let sample = labelled.sample(100);
        assert_eq!((sample.len(), labelled.len(), labelled.records().count()), (5, 5, 5));
        let sampled: Vec<&Record> = sample.iter().map(|(left, _)| left).collect();
        assert!(labelled.records().all(|(left, _)| !sampled.contains(&left)));
    }

    #[test]
    fn places_are_evenly_spread() {
        assert_eq!(evenly(2, 4), [true, false, true, false]);
        assert_eq!(evenly(9, 3), [true; 3]);
        assert_eq!(evenly(0, 2), [false; 2]);
    }
}
