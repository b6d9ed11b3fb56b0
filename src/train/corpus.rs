//! All that a run reads: what is learned ([`Sampler`]), what is validated on, what is only measured.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::leakage::HeldOut;
use super::recipe::Recipe;
use super::sampler::Sampler;
use super::seed::{Purpose, generator};
use super::sources::LoadedSource;
use super::teacher::Teacher;
use crate::Result;
use crate::models::{Reads, TokenizedList};
use crate::ranker::Input;
use crate::records::{Pair, Record, Split};
use crate::text::normalize::collapsed;
use crate::text::{TextEncoder, TokenizedSide, plain_text};

/// What became of one source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// The source's name.
    pub name: String,
    /// Training pairs, before `repeat`.
    pub train: u64,
    /// Matches among them.
    pub train_matches: u64,
    /// Validation pairs.
    pub valid: u64,
    /// Test pairs.
    pub test: u64,
    /// Training pairs dropped because they are also in a held-out split.
    pub dropped_train: u64,
    /// Validation pairs dropped because they are also in a test split.
    pub dropped_valid: u64,
    /// Pairs without a label.
    pub unlabelled: u64,
    /// Non-matches made.
    pub made: u64,
    /// Rows skipped as broken.
    pub bad_rows: u64,
}

/// Labelled lists that are scored: each left record with the right records that it has a label with.
#[derive(Default)]
pub struct Lists {
    sides: Vec<TokenizedSide>,
    /// The query and its candidates, by place in `sides`.
    lists: Vec<(u32, Vec<u32>)>,
    /// One label a candidate, list by list.
    pub labels: Vec<bool>,
}

impl Lists {
    /// The lists.
    pub fn lists(&self) -> Vec<TokenizedList<'_>> {
        let side = |at: &u32| &self.sides[*at as usize];
        let list = |(query, candidates): &(u32, Vec<u32>)| TokenizedList {
            query: side(query),
            candidates: candidates.iter().map(side).collect(),
        };
        self.lists.iter().map(list).collect()
    }

    /// Adds the pairs of a source, grouped by the left text (in files of pairs each line has a record of its own). A listwise model has nothing to say of a list of one candidate: it is left
    /// out.
    fn add(&mut self, source: &LoadedSource, pairs: &[Pair], text: &TextEncoder, reads: Reads) -> Result<()> {
        let mut lists: Vec<(u32, Vec<&Pair>)> = Vec::new();
        let mut places = HashMap::new();
        for pair in pairs {
            let text = plain_key(source, pair.left);
            let place = *places.entry(text).or_insert_with(|| {
                lists.push((pair.left, Vec::new()));
                lists.len() - 1
            });
            lists[place].1.push(pair);
        }
        lists.retain(|(_, pairs)| pairs.len() > 1 || !reads.is_listwise());
        let (mut records, mut numbers): (Vec<&Record>, HashMap<(bool, u32), u32>) = (Vec::new(), HashMap::new());
        let start = self.sides.len() as u32;
        let mut number = |right: bool, row: u32| {
            *numbers.entry((right, row)).or_insert_with(|| {
                let list = if right { &source.set.right } else { &source.set.left };
                records.push(&list[row as usize]);
                start + records.len() as u32 - 1
            })
        };
        for (left, pairs) in &lists {
            let candidates = pairs.iter().map(|p| number(true, p.right)).collect();
            self.lists.push((number(false, *left), candidates));
            self.labels.extend(pairs.iter().map(|p| p.is_match()));
        }
        let sides = records.par_iter().map(|record| text.prepare(Input::Record(record))).collect::<Result<Vec<_>>>()?;
        self.sides.extend(sides);
        Ok(())
    }
}

/// The text of a left record, which tells one list from another.
fn plain_key(source: &LoadedSource, left: u32) -> String {
    collapsed(&plain_text(&source.config, Input::Record(&source.set.left[left as usize])))
}

/// All that a run reads.
pub struct Corpus {
    /// What is learned.
    pub train: Sampler,
    /// Validation pairs of all sources.
    pub valid: Lists,
    /// Test pairs by source.
    pub test: BTreeMap<String, Lists>,
    /// What became of each source.
    pub counts: Vec<Counts>,
    /// SHA-256 of the training pairs' texts and labels.
    pub fingerprint: String,
    /// What the recipe's teacher made of the training pairs.
    pub teacher: Teacher,
}

impl Corpus {
    /// Reads every source of a recipe, for a model that reads its texts in this way.
    ///
    /// # Errors
    /// What [`LoadedSource::read`] refuses; data that the model can't learn from.
    pub fn read(recipe: &Recipe, text: &TextEncoder, reads: Reads) -> Result<Self> {
        Self::read_for(recipe, text, reads, None)
    }

    /// The same for a run folder, where a teacher's scores may be.
    ///
    /// # Errors
    /// As [`Corpus::read`].
    pub fn read_for(recipe: &Recipe, text: &TextEncoder, reads: Reads, run_dir: Option<&Path>) -> Result<Self> {
        let mut teacher = Teacher::open(recipe, run_dir)?;
        let all = LoadedSource::read_all(recipe)?;
        let held_out = HeldOut::of(recipe, &all)?;
        let (mut train, mut valid) = (Sampler::new(recipe, reads), Lists::default());
        let (mut test, mut counts) = (BTreeMap::new(), Vec::new());
        let mut fingerprint = Sha256::new();
        for source in all {
            let (train_pairs, dropped_train) = held_out.allowed(&source, Split::Train);
            let train_pairs = share_of(train_pairs, recipe.data.label_fraction, recipe.train.seed, counts.len() as u64);
            let taught = teacher.scores(&source, &train_pairs)?;
            let (valid_pairs, dropped_valid) = held_out.allowed(&source, Split::Valid);
            let (test_pairs, _) = held_out.allowed(&source, Split::Test);
            counts.push(Counts {
                name: source.source.name.clone(),
                train: train_pairs.len() as u64,
                train_matches: train_pairs.iter().filter(|p| p.is_match()).count() as u64,
                valid: valid_pairs.len() as u64,
                test: test_pairs.len() as u64,
                dropped_train,
                dropped_valid,
                unlabelled: source.unlabelled,
                made: source.made,
                bad_rows: source.skipped.skipped,
            });
            for pair in &train_pairs {
                fingerprint.update(source.keys(pair)[0]);
                fingerprint.update([u8::from(pair.is_match())]);
            }
            let text = match &source.source.fields {
                Some(fields) => text.with_fields(fields.clone()),
                None => text.clone(),
            };
            valid.add(&source, &valid_pairs, &text, reads)?;
            if !test_pairs.is_empty() {
                let mut lists = Lists::default();
                lists.add(&source, &test_pairs, &text, reads)?;
                test.insert(source.source.name.clone(), lists);
            }
            train.add(source, &train_pairs, &taught, text)?;
        }
        train.check()?;
        let fingerprint = fingerprint.finalize().iter().map(|b| format!("{b:02x}")).collect();
        Ok(Corpus { train, valid, test, counts, fingerprint, teacher })
    }
}

/// A share of the pairs, as large among matches as among non-matches and at least one of each; drawn once, so that a smaller share is part of a larger one.
pub fn share_of(pairs: Vec<Pair>, share: f64, seed: u64, source: u64) -> Vec<Pair> {
    if share >= 1.0 {
        return pairs;
    }
    let mut kept = Vec::new();
    for label in [false, true] {
        let mut places: Vec<usize> = (0..pairs.len()).filter(|at| pairs[*at].is_match() == label).collect();
        places.shuffle(&mut generator(&[seed, Purpose::Labels as u64, source, u64::from(label)]));
        places.truncate((places.len() as f64 * share).ceil() as usize);
        kept.extend(places);
    }
    kept.sort_unstable();
    kept.into_iter().map(|at| pairs[at]).collect()
}
