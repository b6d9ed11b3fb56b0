//! Labelled sets in, examples out: which pairs are learnt, which are validated on, which are only measured.
//!
//! Sets overlap (sizes of one corpus, copies of one shop), and a test pair that was learnt is a lie in the result table. So
//! a training pair whose two texts also stand together, in either order, in a held-out part of any listed or excluded set
//! is dropped and counted; texts are compared as the network reads them, after Unicode normalisation, without case and
//! runs of white space. A source that knows matches only gets non-matches made from its own right records.
//! Refused: dropping pairs that merely share one record with a held-out pair (published splits share records by design).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use rand::RngExt;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use super::augment::{made_pairs, thin_pair};
use super::batches::Example;
use super::negatives;
use super::recipe::{NamedSource, Recipe, SplitRatios};
use super::seed::{generator, mix};
use crate::data::{ReadOptions, Skipped, Source, read_pairs};
use crate::index::Bm25;
use crate::ranker::Input;
use crate::records::{Pair, PairSet, Record, Split};
use crate::text::{TextConfig, TextEncoder, TokenizedSide, shown};
use crate::{Error, Result};

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
    /// Training pairs dropped because they also stand in a held-out part.
    pub dropped_train: u64,
    /// Validation pairs dropped because they also stand in a test part.
    pub dropped_valid: u64,
    /// Pairs without a label.
    pub unlabelled: u64,
    /// Non-matches made.
    pub made: u64,
    /// Rows skipped as broken.
    pub bad_rows: u64,
}

/// A record of the training pairs, tokenised once.
struct Side {
    /// The fields that the network reads.
    record: Record,
    prepared: TokenizedSide,
    /// Which tokenizer (a source may show other fields).
    source: usize,
    /// Sides of the same list that are near and other products.
    siblings: Vec<u32>,
}

/// Neighbours in a list that a record's siblings are drawn from.
const SIBLINGS: usize = 5;

struct Item {
    left: u32,
    right: u32,
    label: bool,
}

/// All that a run reads.
pub struct Corpus {
    sides: Vec<Side>,
    items: Vec<Item>,
    tokenizers: Vec<TextEncoder>,
    /// Validation pairs of all sources.
    pub valid: Vec<Example>,
    /// Test pairs by source.
    pub test: BTreeMap<String, Vec<Example>>,
    /// What became of each source.
    pub counts: Vec<Counts>,
    /// SHA-256 of the training pairs' texts and labels.
    pub fingerprint: String,
}

/// A pair's two texts, told apart from all others whichever way round they stand.
type Key = [u8; 16];

fn normalised(text: &str) -> String {
    let text: String = text.nfkc().flat_map(char::to_lowercase).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn key(rendering: &TextConfig, left: &Record, right: &Record) -> Key {
    let (a, b) =
        (normalised(&shown(rendering, Input::Record(left))), normalised(&shown(rendering, Input::Record(right))));
    let (first, second) = if a <= b { (a, b) } else { (b, a) };
    let mut hash = Sha256::new();
    hash.update((first.len() as u64).to_le_bytes());
    hash.update(first.as_bytes());
    hash.update(second.as_bytes());
    let mut key = Key::default();
    key.copy_from_slice(&hash.finalize()[..16]);
    key
}

/// The keys of a pair: by the fields that the network reads, and by all fields, since two sets may show different ones.
fn keys(chosen: &TextConfig, left: &Record, right: &Record) -> [Key; 2] {
    [key(chosen, left, right), key(&TextConfig::default(), left, right)]
}

/// The rendering of a source, without marks.
fn plain(rendering: &TextConfig, fields: Option<&Vec<String>>) -> TextConfig {
    let fields = fields.unwrap_or(&rendering.fields).clone();
    TextConfig { fields, marks: false, mark_shared: false, ..rendering.clone() }
}

/// A record with the fields that are shown, and no other: a pair made by changing a field that no text shows would teach
/// a falsehood.
fn visible(rendering: &TextConfig, record: &Record) -> Record {
    let shown: Vec<(&String, &str)> =
        rendering.fields.iter().filter_map(|field| Some((field, record.get(field)?))).collect();
    if shown.is_empty() {
        return record.clone();
    }
    let columns = shown.iter().map(|(field, _)| field.to_string()).collect();
    Record { id: record.id.clone(), columns, values: shown.iter().map(|(_, value)| value.to_string()).collect() }
}

/// Gives a part to pairs that have none; all pairs of one left text stay together.
fn split(set: &mut PairSet, rendering: &TextConfig, shares: SplitRatios) {
    let PairSet { left, pairs, .. } = set;
    for pair in pairs.iter_mut().filter(|p| p.part.is_none()) {
        let text = normalised(&shown(rendering, Input::Record(&left[pair.left as usize])));
        let hash = Sha256::digest(text.as_bytes());
        let at = f64::from(u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]])) / f64::from(u32::MAX);
        pair.part = Some(match at {
            _ if at < shares.test => Split::Test,
            _ if at < shares.test + shares.valid => Split::Valid,
            _ => Split::Train,
        });
    }
}

/// One source, read and completed.
struct Read<'a> {
    source: &'a NamedSource,
    rendering: TextConfig,
    read: LabelledSource,
    left_out: bool,
}

impl Read<'_> {
    /// What a pair is used for; a set that is left out is only measured.
    fn is(&self, part: Split, pair: &Pair) -> bool {
        (part == Split::Test || !self.left_out) && self.source.role(pair) == Some(part)
    }
    fn keys(&self, pair: &Pair) -> [Key; 2] {
        let PairSet { left, right, .. } = &self.read.set;
        keys(&self.rendering, &left[pair.left as usize], &right[pair.right as usize])
    }
    /// The pairs of a part whose texts are not `closed` to it, and how many were dropped.
    fn part(&self, part: Split, closed: &Closed) -> (Vec<Pair>, u64) {
        let pairs: Vec<Pair> = self.read.set.pairs.iter().filter(|p| self.is(part, p)).copied().collect();
        let closed = match part {
            Split::Train => &closed.to_training,
            Split::Valid => &closed.to_validation,
            Split::Test => return (pairs, 0),
        };
        let before = pairs.len();
        let kept: Vec<Pair> =
            pairs.into_par_iter().filter(|p| !self.keys(p).iter().any(|key| closed.contains(key))).collect();
        let dropped = (before - kept.len()) as u64;
        (kept, dropped)
    }
}

/// Texts of pairs that must not be learnt, and those of test parts, which must not be validated on either.
struct Closed {
    to_training: HashSet<Key>,
    to_validation: HashSet<Key>,
}

fn read(source: &Source, recipe: &Recipe) -> Result<(PairSet, Skipped)> {
    read_pairs(source, &ReadOptions { skip_bad_rows: recipe.data.skip_bad_rows, ..ReadOptions::default() })
}

/// A source of a recipe, as training and measuring see it: every pair has a label and a part.
pub struct LabelledSource {
    /// The pairs, the made ones last.
    pub set: PairSet,
    /// Pairs that had no label and were left out.
    pub unlabelled: u64,
    /// Non-matches made.
    pub made: u64,
    /// Broken rows left out.
    pub skipped: Skipped,
}

/// Reads the `index`-th source of a recipe, with its parts (`data.split` where it has none) and its made non-matches.
///
/// # Errors
/// What [`read_pairs`] refuses; a source of matches only without `negatives`.
pub fn read_source(recipe: &Recipe, index: usize) -> Result<LabelledSource> {
    let source = &recipe.data.sources[index];
    let rendering = plain(&recipe.text, source.fields.as_ref());
    let (mut set, skipped) = read(&source.from, recipe)?;
    let given = set.pairs.len();
    set.pairs.retain(|p| p.label.is_some());
    let unlabelled = (given - set.pairs.len()) as u64;
    split(&mut set, &rendering, recipe.data.split);
    let matches = set.pairs.iter().filter(|p| p.label == Some(true)).count();
    let mut made = 0;
    match &source.negatives {
        Some(how) => made = negatives::make(&mut set, how, &rendering, mix(&[recipe.train.seed, 3, index as u64]))?,
        None if matches == set.pairs.len() && matches > 0 => {
            let what = "has matches only; add negatives = { hard = 4, random = 2 } to have the rest made";
            return Err(Error::setting("data.sources", &source.name, what));
        }
        None => {}
    }
    Ok(LabelledSource { set, unlabelled, made, skipped })
}

/// Every source of a recipe.
fn read_all(recipe: &Recipe) -> Result<Vec<Read<'_>>> {
    let sources = recipe.data.sources.iter().enumerate();
    let read = sources.map(|(i, source)| {
        let rendering = plain(&recipe.text, source.fields.as_ref());
        let left_out = recipe.data.leave_out.contains(&source.name);
        Ok(Read { source, rendering, read: read_source(recipe, i)?, left_out })
    });
    read.collect()
}

/// Every source of a recipe with the pairs that training takes for one part: none of a set that is left out but for its
/// test part, and without those that also stand in a part that is closed to this one.
///
/// # Errors
/// As [`read_source`].
pub fn read_part(recipe: &Recipe, part: Split) -> Result<Vec<LabelledSource>> {
    let all = read_all(recipe)?;
    let closed = closed(recipe, &all)?;
    let parts = all.into_iter().map(|mut read| {
        read.read.set.pairs = read.part(part, &closed).0;
        read.read
    });
    Ok(parts.collect())
}

impl Corpus {
    /// Reads every source of a recipe.
    pub fn read(recipe: &Recipe, tokenizer: &TextEncoder) -> Result<Self> {
        let all = read_all(recipe)?;
        let closed = closed(recipe, &all)?;
        let mut corpus = Corpus {
            sides: Vec::new(),
            items: Vec::new(),
            tokenizers: Vec::new(),
            valid: Vec::new(),
            test: BTreeMap::new(),
            counts: Vec::new(),
            fingerprint: String::new(),
        };
        let mut fingerprint = Sha256::new();
        for (i, read) in all.iter().enumerate() {
            corpus.tokenizers.push(match &read.source.fields {
                Some(fields) => tokenizer.with_fields(fields.clone()),
                None => tokenizer.clone(),
            });
            corpus.add(i, read, recipe, &closed, &mut fingerprint)?;
        }
        corpus.fingerprint = fingerprint.finalize().iter().map(|b| format!("{b:02x}")).collect();
        Ok(corpus)
    }

    fn add(
        &mut self,
        index: usize,
        read: &Read,
        recipe: &Recipe,
        closed: &Closed,
        fingerprint: &mut Sha256,
    ) -> Result<()> {
        let Read { source, read: LabelledSource { set, unlabelled, made, skipped }, .. } = read;
        let (train, dropped_train) = read.part(Split::Train, closed);
        let (valid, dropped_valid) = read.part(Split::Valid, closed);
        let (test, _) = read.part(Split::Test, closed);
        self.counts.push(Counts {
            name: source.name.clone(),
            train: train.len() as u64,
            train_matches: train.iter().filter(|p| p.label == Some(true)).count() as u64,
            valid: valid.len() as u64,
            test: test.len() as u64,
            dropped_train,
            dropped_valid,
            unlabelled: *unlabelled,
            made: *made,
            bad_rows: skipped.count,
        });
        for pair in &train {
            fingerprint.update(read.keys(pair)[0]);
            fingerprint.update([u8::from(pair.label == Some(true))]);
        }
        let tokenizer = &self.tokenizers[index];
        let encode = |pairs: &[Pair]| -> Result<Vec<Example>> {
            let one = |pair: &Pair| {
                let (left, right, label) = set.sides(pair);
                let encoding = tokenizer.pair(Input::Record(left), Input::Record(right))?;
                Ok(Example { encoding, target: f32::from(u8::from(label == Some(true))), weight: 1.0 })
            };
            pairs.par_iter().map(one).collect()
        };
        self.valid.extend(encode(&valid)?);
        if !test.is_empty() {
            self.test.insert(source.name.clone(), encode(&test)?);
        }
        let used = |side: &dyn Fn(&Pair) -> u32| train.iter().map(side).collect::<BTreeSet<u32>>();
        let mut places = [BTreeMap::new(), BTreeMap::new()];
        let lists = [(used(&|p| p.left), &set.left), (used(&|p| p.right), &set.right)];
        for (places, (rows, records)) in places.iter_mut().zip(lists) {
            let rows: Vec<u32> = rows.into_iter().collect();
            let sides = rows.par_iter().map(|&row| {
                let record = visible(&read.rendering, &records[row as usize]);
                let prepared = tokenizer.prepare(Input::Record(&record))?;
                Ok(Side { record, prepared, source: index, siblings: Vec::new() })
            });
            let sides: Vec<Side> = sides.collect::<Result<_>>()?;
            places.extend(rows.into_iter().zip(self.sides.len() as u32..));
            self.sides.extend(sides);
        }
        if source.unique && recipe.augment.is_some() {
            for (side, places) in places.iter().enumerate() {
                self.find_siblings(places, &partners(&train, side == 1))?;
            }
        }
        for _ in 0..source.repeat {
            let item =
                |p: &Pair| Item { left: places[0][&p.left], right: places[1][&p.right], label: p.label == Some(true) };
            self.items.extend(train.iter().map(item));
        }
        Ok(())
    }

    /// Finds the neighbours of the records of one list (`places`: row to side) that share no match with them.
    fn find_siblings(&mut self, places: &BTreeMap<u32, u32>, partners: &BTreeMap<u32, BTreeSet<u32>>) -> Result<()> {
        let rows: Vec<(u32, u32)> = places.iter().map(|(row, side)| (*row, *side)).collect();
        let texts: Vec<String> =
            rows.iter().map(|r| normalised(&self.sides[r.1 as usize].record.values.join(" "))).collect();
        let index = Bm25::build(texts.iter().cloned())?;
        let none = BTreeSet::new();
        let of = |row: &u32| partners.get(row).unwrap_or(&none);
        for (i, (row, side)) in rows.iter().enumerate() {
            let near = index.top(&texts[i], 2 * SIBLINGS)?.into_iter().map(|(at, _)| at as usize);
            let other = |&at: &usize| texts[at] != texts[i] && of(row).is_disjoint(of(&rows[at].0));
            self.sides[*side as usize].siblings = near.filter(other).take(SIBLINGS).map(|at| rows[at].1).collect();
        }
        Ok(())
    }

    /// The items of an epoch: of a source with `max_pairs` so many, drawn anew each time.
    fn drawn(&self, recipe: &Recipe, epoch: u64) -> Vec<usize> {
        let source = |i: &usize| self.sides[self.items[*i].left as usize].source;
        let all: Vec<usize> = (0..self.items.len()).collect();
        let parts = all.chunk_by(|a, b| source(a) == source(b)).flat_map(|items| {
            let number = source(&items[0]);
            let of = &recipe.data.sources[number];
            let pairs = items.len() / of.repeat as usize;
            let Some(most) = of.max_pairs.filter(|&most| most < pairs) else { return items.to_vec() };
            let mut order: Vec<usize> = (0..pairs).collect();
            order.shuffle(&mut generator(&[recipe.train.seed, epoch, 4, number as u64]));
            order.truncate(most);
            order.sort_unstable();
            (0..of.repeat as usize).flat_map(|copy| order.iter().map(move |at| items[copy * pairs + at])).collect()
        });
        parts.collect()
    }

    /// The training pairs of an epoch: all that were read, some swapped or thinned, and the made ones.
    pub fn epoch(&self, recipe: &Recipe, epoch: u64) -> Result<Vec<Example>> {
        let (seed, chance) = (recipe.train.seed, recipe.train.swap);
        let target = |label: bool| f32::from(u8::from(label));
        let drawn = self.drawn(recipe, epoch);
        let swapped = |purpose: u64, i: usize| {
            chance > 0.0 && generator(&[seed, epoch, purpose, i as u64]).random_bool(chance.clamp(0.0, 1.0))
        };
        let read = drawn.par_iter().map(|&i| {
            let item = &self.items[i];
            let (left, right) = (&self.sides[item.left as usize], &self.sides[item.right as usize]);
            let (left, right) = if swapped(5, i) { (right, left) } else { (left, right) };
            let tokenizer = &self.tokenizers[left.source];
            let encoding = match &recipe.augment {
                Some(augment) if augment.thin > 0.0 => {
                    let mut rng = generator(&[seed, epoch, 8, i as u64]);
                    let (l, r) = thin_pair(&left.record, &right.record, item.label, &mut rng, augment);
                    tokenizer.pair(Input::Record(&l), Input::Record(&r))?
                }
                _ => tokenizer.pair_prepared(&left.prepared, &right.prepared),
            };
            Ok(Example { encoding, target: target(item.label), weight: 1.0 })
        });
        let mut examples: Vec<Example> = read.collect::<Result<_>>()?;
        let Some(augment) = &recipe.augment else { return Ok(examples) };
        let of = |source: usize| {
            let first = self.sides.partition_point(|side| side.source < source);
            first..self.sides.partition_point(|side| side.source <= source)
        };
        let lists: Vec<_> = (0..self.tokenizers.len()).map(of).collect();
        let in_use: HashSet<u32> = drawn.iter().flat_map(|&i| [self.items[i].left, self.items[i].right]).collect();
        let used = self.sides.par_iter().enumerate().filter(|(i, _)| in_use.contains(&(*i as u32)));
        let made = used.map(|(i, side)| {
            let list = &lists[side.source];
            let siblings: Vec<&Record> = side.siblings.iter().map(|&at| &self.sides[at as usize].record).collect();
            let of_copy = |copy: u32| {
                let mut rng = generator(&[seed, epoch, 6, i as u64, u64::from(copy)]);
                let stranger = &self.sides[rng.random_range(list.clone())].record;
                made_pairs(&side.record, stranger, &siblings, &mut rng, augment)
            };
            let copies = recipe.data.sources[side.source].repeat;
            let pairs: Vec<_> = (0..copies).flat_map(of_copy).collect();
            let tokenizer = &self.tokenizers[side.source];
            let encoded = pairs.iter().map(|(left, right, label)| {
                let (left, right) = if swapped(7, i) { (right, left) } else { (left, right) };
                let encoding = tokenizer.pair(Input::Record(left), Input::Record(right))?;
                Ok(Example { encoding, target: target(*label), weight: 1.0 })
            });
            encoded.collect::<Result<Vec<_>>>()
        });
        for made in made.collect::<Result<Vec<_>>>()? {
            examples.extend(made);
        }
        Ok(examples)
    }
}

/// The records that each record of one side is known to match.
fn partners(pairs: &[Pair], right: bool) -> BTreeMap<u32, BTreeSet<u32>> {
    let mut partners: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for pair in pairs.iter().filter(|p| p.label == Some(true)) {
        let (own, other) = if right { (pair.right, pair.left) } else { (pair.left, pair.right) };
        partners.entry(own).or_default().insert(other);
    }
    partners
}

fn closed(recipe: &Recipe, all: &[Read]) -> Result<Closed> {
    let (mut held_out, mut tested) = (HashSet::new(), HashSet::new());
    for read in all {
        for pair in read.read.set.pairs.iter().filter(|p| !read.is(Split::Train, p)) {
            let keys = read.keys(pair);
            held_out.extend(keys);
            if read.is(Split::Test, pair) || pair.part == Some(Split::Test) || read.left_out {
                tested.extend(keys);
            }
        }
    }
    let rendering = plain(&recipe.text, None);
    for source in &recipe.data.exclude {
        let (set, _) = read(source, recipe)?;
        for pair in set.pairs.iter().filter(|p| p.part != Some(Split::Train)) {
            let keys = keys(&rendering, &set.left[pair.left as usize], &set.right[pair.right as usize]);
            held_out.extend(keys);
            if pair.part != Some(Split::Valid) {
                tested.extend(keys);
            }
        }
    }
    Ok(Closed { to_training: held_out, to_validation: tested })
}
