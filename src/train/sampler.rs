//! The training examples of an epoch: which pairs come, swapped or changed, which pairs are made from records, and for models that
//! read more than pairs, which documents are compared.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::augment::{Augment, augmented_pairs, field_dropout, span_swap, word_dropout};
use super::recipe::{NamedSource, Recipe};
use super::seed::{Purpose, generator};
use super::sources::LoadedSource;
use super::teacher::Taught;
use crate::index::Bm25;
use crate::losses::Loss;
use crate::models::{Example, Reads};
use crate::ranker::Input;
use crate::records::{Pair, Record};
use crate::text::normalize::collapsed;
use crate::text::{TextConfig, TextEncoder, TokenizedSide};
use crate::{Error, Result};

/// Neighbors in a list that a record's siblings are drawn from.
const SIBLINGS: usize = 5;
/// Non-matches that a match is compared with in an epoch.
const CONTRASTS: usize = 4;

/// A record of the training pairs, tokenized once.
struct Side {
    /// The fields that the network reads.
    record: Record,
    tokens: TokenizedSide,
    /// Number of its source.
    source: usize,
    /// The first side of the same list with the same text: in files of pairs each line has a record of its own.
    same: u32,
    /// Sides of the same list that are near and other products.
    siblings: Vec<u32>,
}

/// A labelled pair of two sides.
struct Item {
    left: u32,
    right: u32,
    label: bool,
    /// A teacher's score.
    teacher: Option<f32>,
}

/// A source, as far as sampling needs it.
struct Sampled {
    settings: NamedSource,
    text: TextEncoder,
}

/// Draws the examples of an epoch.
pub struct Sampler {
    reads: Reads,
    loss: Loss,
    list_size: usize,
    seed: u64,
    swap: f64,
    augment: Option<Augment>,
    sources: Vec<Sampled>,
    sides: Vec<Side>,
    items: Vec<Item>,
}

/// A record with the fields that are shown, and no other: a pair made by changing a field that no text shows would teach
/// a falsehood.
fn visible(config: &TextConfig, record: &Record) -> Record {
    let has = |field: &String| record.columns.contains(field);
    if !config.fields.iter().any(has) {
        return record.clone();
    }
    // columns that are read besides the text too
    let besides = config.inputs.iter().filter(|name| !config.fields.contains(name));
    let shown: Vec<(&String, &str)> =
        config.fields.iter().chain(besides).filter_map(|field| Some((field, record.get(field)?))).collect();
    let columns = shown.iter().map(|(field, _)| field.to_string()).collect();
    Record { id: record.id.clone(), columns, values: shown.iter().map(|(_, value)| value.to_string()).collect() }
}

/// The records that each record of one side is known to match.
fn partners(pairs: &[Pair], right: bool) -> BTreeMap<u32, BTreeSet<u32>> {
    let mut partners: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for pair in pairs.iter().filter(|p| p.is_match()) {
        let (own, other) = if right { (pair.right, pair.left) } else { (pair.left, pair.right) };
        partners.entry(own).or_default().insert(other);
    }
    partners
}

/// A real pair with words, then fields left out, then spans exchanged; each change has a generator of its own.
fn changed(
    left: &Record,
    right: &Record,
    label: bool,
    rng: impl Fn(Purpose) -> ChaCha8Rng,
    augment: &Augment,
) -> (Record, Record) {
    let (mut left, mut right) = (left.clone(), right.clone());
    if augment.word_dropout > 0.0 {
        (left, right) = word_dropout(&left, &right, label, &mut rng(Purpose::WordDropout), augment);
    }
    if augment.field_dropout > 0.0 {
        (left, right) = field_dropout(&left, &right, label, &mut rng(Purpose::FieldDropout), augment);
    }
    if augment.span_swap > 0.0 {
        (left, right) = span_swap(&left, &right, label, &mut rng(Purpose::SpanSwap), augment);
    }
    (left, right)
}

impl Sampler {
    pub(super) fn new(recipe: &Recipe, reads: Reads) -> Self {
        Sampler {
            reads,
            loss: recipe.train.loss,
            list_size: recipe.train.list_size,
            seed: recipe.train.seed,
            swap: recipe.train.swap_probability,
            augment: recipe.augment.clone(),
            sources: Vec::new(),
            sides: Vec::new(),
            items: Vec::new(),
        }
    }

    /// Adds the training pairs of a source.
    pub(super) fn add(
        &mut self,
        source: LoadedSource,
        train: &[Pair],
        taught: &Taught,
        text: TextEncoder,
    ) -> Result<()> {
        let LoadedSource { source: settings, config, set, .. } = source;
        let number = self.sources.len();
        let used = |side: &dyn Fn(&Pair) -> u32| train.iter().map(side).collect::<BTreeSet<u32>>();
        let mut places = [BTreeMap::new(), BTreeMap::new()];
        let lists = [(used(&|p| p.left), &set.left), (used(&|p| p.right), &set.right)];
        for (places, (rows, records)) in places.iter_mut().zip(lists) {
            let rows: Vec<u32> = rows.into_iter().collect();
            let sides = rows.par_iter().map(|&row| {
                let record = visible(&config, &records[row as usize]);
                let tokens = text.prepare(Input::Record(&record))?;
                Ok(Side { record, tokens, source: number, same: 0, siblings: Vec::new() })
            });
            let mut sides: Vec<Side> = sides.collect::<Result<_>>()?;
            let mut first: HashMap<String, u32> = HashMap::new();
            for (side, number) in sides.iter_mut().zip(self.sides.len() as u32..) {
                side.same = *first.entry(collapsed(&side.record.values.join(" "))).or_insert(number);
            }
            places.extend(rows.into_iter().zip(self.sides.len() as u32..));
            self.sides.extend(sides);
        }
        if settings.deduplicated && self.augment.as_ref().is_some_and(|augment| augment.negatives > 0.0) {
            for (side, places) in places.iter().enumerate() {
                self.find_siblings(places, &partners(train, side == 1))?;
            }
        }
        for _ in 0..settings.repeat {
            let item = |p: &Pair| Item {
                left: places[0][&p.left],
                right: places[1][&p.right],
                label: p.is_match(),
                teacher: taught.get(&(p.left, p.right)).copied(),
            };
            self.items.extend(train.iter().map(item));
        }
        self.sources.push(Sampled { settings, text });
        Ok(())
    }

    /// Finds the neighbors of the records of one list (`places`: row to side) that share no match with them.
    fn find_siblings(&mut self, places: &BTreeMap<u32, u32>, partners: &BTreeMap<u32, BTreeSet<u32>>) -> Result<()> {
        let rows: Vec<(u32, u32)> = places.iter().map(|(row, side)| (*row, *side)).collect();
        let texts: Vec<String> =
            rows.iter().map(|r| collapsed(&self.sides[r.1 as usize].record.values.join(" "))).collect();
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

    /// Refuses data that the model can't learn from.
    pub(super) fn check(&self) -> Result<()> {
        let labels = |wanted: bool| self.items.iter().any(|item| item.label == wanted);
        let refuse =
            |what: &str| Err(Error::setting("data.sources", format!("{} training pairs", self.items.len()), what));
        let loss_of = |what: &str| {
            let name = toml::Value::try_from(self.loss).map(|name| name.to_string()).unwrap_or_default();
            Err(Error::setting("train.loss", name.trim_matches('"'), what))
        };
        match self.reads {
            // models with a way of their own to frame their texts score a list's documents one by one
            Reads::Towers
                if !(self.loss == Loss::Bce
                    || self.loss.of_vectors()
                    || self.loss.wants_teacher()
                    || (self.loss.of_lists() && self.is_framed())) =>
            {
                loss_of(
                    "two towers learn by the softmax over a batch's documents; leave it out, or give triplet, sup_con, or mse, margin_mse or kl with a teacher",
                )
            }
            Reads::Triple if self.loss != Loss::Bce && self.loss != Loss::Focal => {
                loss_of("a duo compares two documents by itself; give bce or focal")
            }
            Reads::Towers if self.loss.of_vectors() && self.is_framed() => loss_of(
                "compares one vector a text, and this model has one a token; give it to architecture = \"dssm\"",
            ),
            Reads::Pair if self.loss.of_vectors() => {
                loss_of("compares vectors, and this model gives a pair one logit; give it to architecture = \"dssm\"")
            }
            _ if self.items.is_empty() => Ok(()), // the trainer says so, with the counts
            _ if self.loss.wants_teacher() && self.augment.is_some() => {
                let what = "makes pairs, which no teacher has scored; leave it out, or give train.loss = \"bce\"";
                Err(Error::setting("augment", "{..}", what))
            }
            _ if self.loss.wants_teacher() && self.taught_lists(0).is_empty() => {
                refuse("no query has pairs enough with a teacher's score")
            }
            Reads::Towers if self.loss == Loss::Triplet && self.contrasts().next().is_none() => {
                refuse("a triplet wants queries that have a match and a non-match, and there is none")
            }
            Reads::Pair | Reads::Towers if self.loss.of_lists() && self.contrasts().next().is_none() => {
                refuse("a loss over lists wants queries that have a match and a non-match, and there is none")
            }
            Reads::Pair if self.loss.of_lists() && self.augment.is_some() => {
                let what = "makes pairs, which a loss over lists can't use; leave it out, or give train.loss = \"bce\"";
                Err(Error::setting("augment", "{..}", what))
            }
            Reads::Towers if !labels(true) => refuse("two towers learn from matches, and there is none"),
            Reads::Triple if self.contrasts().next().is_none() => {
                refuse("a duo learns from queries that have a match and a non-match, and there is none")
            }
            Reads::Pair if !(labels(true) && labels(false)) => refuse(
                "a cross-encoder learns from matches and non-matches; add the other kind, or negatives = { hard = 4, random = 2 }",
            ),
            Reads::Towers | Reads::Triple if self.augment.is_some() => {
                let what = "makes pairs, which only a model that reads pairs can learn from; leave it out";
                Err(Error::setting("augment", "{..}", what))
            }
            _ => Ok(()),
        }
    }

    /// Matches of each query and its non-matches, by the first side of each text; queries that have both.
    fn contrasts(&self) -> impl Iterator<Item = (u32, Vec<u32>, Vec<u32>)> {
        let mut queries: BTreeMap<u32, [BTreeSet<u32>; 2]> = BTreeMap::new();
        for item in &self.items {
            let [left, right] = [item.left, item.right].map(|at| self.side(at).same);
            queries.entry(left).or_default()[usize::from(item.label)].insert(right);
        }
        let both = queries.into_iter().filter(|(_, [no, yes])| !no.is_empty() && !yes.is_empty());
        both.map(|(query, [no, yes])| (query, yes.into_iter().collect(), no.into_iter().collect()))
    }

    /// The records of the training pairs.
    pub fn records(&self) -> Vec<&Record> {
        self.sides.iter().map(|side| &side.record).collect()
    }
    fn is_framed(&self) -> bool {
        self.sources.iter().any(|source| source.text.has_towers())
    }
    fn text(&self, side: &Side) -> &TextEncoder {
        &self.sources[side.source].text
    }
    fn side(&self, at: u32) -> &Side {
        &self.sides[at as usize]
    }

    /// The examples of an epoch, a function of its number alone.
    ///
    /// # Errors
    /// What the tokenizer refuses.
    pub fn epoch(&self, epoch: u64) -> Result<Vec<Example>> {
        match self.reads {
            _ if self.loss.wants_teacher() => Ok(self.taught(epoch)),
            Reads::Pair | Reads::Towers if self.loss.of_lists() => Ok(self.lists(epoch)),
            Reads::Pair => self.pairs(epoch),
            Reads::Towers => Ok(self.towers(epoch)),
            Reads::Triple => Ok(self.triples(epoch)),
        }
    }

    /// The items of an epoch: of a source with `max_pairs` so many, drawn again each time.
    fn drawn(&self, epoch: u64) -> Vec<usize> {
        let source = |i: &usize| self.side(self.items[*i].left).source;
        let all: Vec<usize> = (0..self.items.len()).collect();
        let parts = all.chunk_by(|a, b| source(a) == source(b)).flat_map(|items| {
            let number = source(&items[0]);
            let of = &self.sources[number].settings;
            let pairs = items.len() / of.repeat as usize;
            let Some(most) = of.max_pairs.filter(|&most| most < pairs) else { return items.to_vec() };
            let mut order: Vec<usize> = (0..pairs).collect();
            order.shuffle(&mut generator(&[self.seed, epoch, Purpose::Draw as u64, number as u64]));
            order.truncate(most);
            order.sort_unstable();
            (0..of.repeat as usize).flat_map(|copy| order.iter().map(move |at| items[copy * pairs + at])).collect()
        });
        parts.collect()
    }

    fn is_swapped(&self, epoch: u64, purpose: Purpose, i: usize) -> bool {
        let mut rng = generator(&[self.seed, epoch, purpose as u64, i as u64]);
        self.swap > 0.0 && rng.random_bool(self.swap.clamp(0.0, 1.0))
    }

    /// All pairs that were read, some swapped or changed, and the made ones.
    fn pairs(&self, epoch: u64) -> Result<Vec<Example>> {
        let target = |label: bool| f32::from(u8::from(label));
        let drawn = self.drawn(epoch);
        let read = drawn.par_iter().map(|&i| {
            let item = &self.items[i];
            let (left, right) = (self.side(item.left), self.side(item.right));
            let (left, right) = if self.is_swapped(epoch, Purpose::Swap, i) { (right, left) } else { (left, right) };
            let encoding = match &self.augment {
                Some(augment) if augment.changes_real_pairs() => {
                    let rng = |purpose: Purpose| generator(&[self.seed, epoch, purpose as u64, i as u64]);
                    let (l, r) = changed(&left.record, &right.record, item.label, rng, augment);
                    self.text(left).encode(&[Input::Record(&l), Input::Record(&r)])?
                }
                _ => self.text(left).join(&[&left.tokens, &right.tokens]),
            };
            Ok(Example { texts: vec![encoding], target: target(item.label), ..Example::default() })
        });
        let mut examples: Vec<Example> = read.collect::<Result<_>>()?;
        let Some(augment) = &self.augment else { return Ok(examples) };
        let of = |source: usize| {
            let first = self.sides.partition_point(|side| side.source < source);
            first..self.sides.partition_point(|side| side.source <= source)
        };
        let lists: Vec<_> = (0..self.sources.len()).map(of).collect();
        let in_use: HashSet<u32> = drawn.iter().flat_map(|&i| [self.items[i].left, self.items[i].right]).collect();
        let used = self.sides.par_iter().enumerate().filter(|(i, _)| in_use.contains(&(*i as u32)));
        let made = used.map(|(i, side)| {
            let list = &lists[side.source];
            let siblings: Vec<&Record> = side.siblings.iter().map(|&at| &self.side(at).record).collect();
            let of_copy = |copy: u32| {
                let mut rng = generator(&[self.seed, epoch, Purpose::Augment as u64, i as u64, u64::from(copy)]);
                let other = &self.sides[rng.random_range(list.clone())].record;
                augmented_pairs(&side.record, other, &siblings, &mut rng, augment)
            };
            let copies = self.sources[side.source].settings.repeat;
            let pairs: Vec<_> = (0..copies).flat_map(of_copy).collect();
            let encoded = pairs.iter().map(|(left, right, label)| {
                let swapped = self.is_swapped(epoch, Purpose::SwapAugmented, i);
                let (left, right) = if swapped { (right, left) } else { (left, right) };
                let encoding = self.text(side).encode(&[Input::Record(left), Input::Record(right)])?;
                Ok(Example { texts: vec![encoding], target: target(*label), ..Example::default() })
            });
            encoded.collect::<Result<Vec<_>>>()
        });
        for made in made.collect::<Result<Vec<_>>>()? {
            examples.extend(made);
        }
        Ok(examples)
    }

    /// Each match with a labelled non-match of its query, if there is one, as a hard negative.
    fn towers(&self, epoch: u64) -> Vec<Example> {
        let wrong: BTreeMap<u32, Vec<u32>> = self.contrasts().map(|(query, _, no)| (query, no)).collect();
        let drawn = self.drawn(epoch);
        let clusters = if self.loss == Loss::SupCon { self.clusters() } else { BTreeMap::new() };
        let wanted =
            |item: &Item| item.label && (self.loss != Loss::Triplet || wrong.contains_key(&self.side(item.left).same));
        let matches = drawn.par_iter().filter(|&&i| wanted(&self.items[i]));
        let example = |&i: &usize| {
            let item = &self.items[i];
            let text = self.text(self.side(item.left));
            let alone = |at: u32| text.tower(&self.side(at).tokens, at != item.left);
            let columns = |at: u32| self.side(at).tokens.columns().to_vec();
            let mut texts = vec![alone(item.left), alone(item.right)];
            let mut inputs = vec![columns(item.left), columns(item.right)];
            if let Some(wrong) = wrong.get(&self.side(item.left).same).filter(|_| self.loss != Loss::SupCon) {
                let mut rng = generator(&[self.seed, epoch, Purpose::Contrast as u64, i as u64]);
                let other = wrong[rng.random_range(0..wrong.len())];
                texts.push(alone(other));
                inputs.push(columns(other));
            }
            let cluster = clusters.get(&self.side(item.left).same).copied().unwrap_or_default();
            Example { texts, target: 1.0, cluster, inputs, ..Example::default() }
        };
        matches.map(example).collect()
    }

    /// Each match with other labelled documents of its query, non-matches first in line, as many as a list has.
    fn lists(&self, epoch: u64) -> Vec<Example> {
        let contrasts: Vec<_> = self.contrasts().collect();
        let of_query = |(query, yes, no): &(u32, Vec<u32>, Vec<u32>)| {
            let text = self.text(self.side(*query));
            let mut rng = generator(&[self.seed, epoch, Purpose::Contrast as u64, u64::from(*query)]);
            let mut of_match = |better: &u32| {
                let mut no = no.clone();
                no.shuffle(&mut rng);
                let documents: Vec<u32> = std::iter::once(*better).chain(no).take(self.list_size).collect();
                let of = |at: &u32| &self.side(*at).tokens;
                let texts: Vec<_> = match self.reads {
                    Reads::Towers => {
                        let documents = documents.iter().map(|at| text.tower(of(at), true));
                        std::iter::once(text.tower(of(query), false)).chain(documents).collect()
                    }
                    _ => documents.iter().map(|at| text.join(&[of(query), of(at)])).collect(),
                };
                let mut grades = vec![0.0; documents.len()];
                grades[0] = 1.0;
                Example { texts, target: 1.0, grades, ..Example::default() }
            };
            yes.iter().map(&mut of_match).collect::<Vec<_>>()
        };
        contrasts.par_iter().flat_map_iter(of_query).collect()
    }

    /// Clusters of equal things: the first sides of texts that matches connect, each with its cluster's smallest.
    fn clusters(&self) -> BTreeMap<u32, u32> {
        let mut parent: BTreeMap<u32, u32> = BTreeMap::new();
        let root = |of: u32, parent: &mut BTreeMap<u32, u32>| {
            let mut at = of;
            while let Some(up) = parent.get(&at).copied().filter(|up| *up != at) {
                at = up;
            }
            parent.insert(of, at);
            at
        };
        for item in self.items.iter().filter(|item| item.label) {
            let [left, right] = [item.left, item.right].map(|at| self.side(at).same);
            let (a, b) = (root(left, &mut parent), root(right, &mut parent));
            parent.insert(a.max(b), a.min(b));
            parent.entry(a.min(b)).or_insert(a.min(b));
        }
        let all: Vec<u32> = parent.keys().copied().collect();
        all.into_iter().map(|side| (side, root(side, &mut parent))).collect()
    }

    /// Documents of each query that a teacher has scored, lists as long as they may be: for margins a match with its non-matches, else all documents in
    /// turn. Of each document its side, label and teacher's score.
    #[allow(clippy::type_complexity)] // one caller a kind of model takes it apart at once
    fn taught_lists(&self, epoch: u64) -> Vec<(u32, Vec<(u32, bool, f32)>)> {
        let mut queries: BTreeMap<u32, BTreeMap<u32, (bool, f32)>> = BTreeMap::new();
        for item in &self.items {
            if let Some(score) = item.teacher {
                let [left, right] = [item.left, item.right].map(|at| self.side(at).same);
                queries.entry(left).or_default().insert(right, (item.label, score));
            }
        }
        let mut lists = Vec::new();
        for (query, documents) in queries {
            let mut rng = generator(&[self.seed, epoch, Purpose::Contrast as u64, u64::from(query)]);
            let all = documents.into_iter().map(|(document, (label, score))| (document, label, score));
            let (mut yes, mut no): (Vec<_>, Vec<_>) = all.partition(|document| document.1);
            no.shuffle(&mut rng);
            match self.loss {
                Loss::MarginMse if no.is_empty() => {}
                Loss::MarginMse => {
                    let of = |better| std::iter::once(better).chain(no.iter().copied()).take(self.list_size).collect();
                    lists.extend(yes.into_iter().map(|better| (query, of(better))));
                }
                _ => {
                    yes.extend(no);
                    let least = if self.loss == Loss::Kl { 2 } else { 1 };
                    let parts = yes.chunks(self.list_size).filter(|part| part.len() >= least);
                    lists.extend(parts.map(|part| (query, part.to_vec())));
                }
            }
        }
        lists
    }

    /// Those lists as sequences: joint ones, or the query and each document by itself.
    fn taught(&self, epoch: u64) -> Vec<Example> {
        let lists = self.taught_lists(epoch);
        let example = |(query, documents): &(u32, Vec<(u32, bool, f32)>)| {
            let text = self.text(self.side(*query));
            let tokens = |at: &u32| &self.side(*at).tokens;
            let texts = match self.reads {
                Reads::Towers => {
                    let of_documents = documents.iter().map(|document| text.tower(tokens(&document.0), true));
                    std::iter::once(text.tower(tokens(query), false)).chain(of_documents).collect()
                }
                _ => documents.iter().map(|document| text.join(&[tokens(query), tokens(&document.0)])).collect(),
            };
            let all = std::iter::once(query).chain(documents.iter().map(|document| &document.0));
            let inputs = match self.reads {
                Reads::Towers => all.map(|at| tokens(at).columns().to_vec()).collect(),
                _ => Vec::new(),
            };
            let grades: Vec<f32> = documents.iter().map(|document| Pair::grade_of(document.1)).collect();
            let teacher = documents.iter().map(|document| document.2).collect();
            let target = grades.iter().copied().fold(0.0, f32::max);
            Example { texts, target, grades, teacher, inputs, ..Example::default() }
        };
        lists.par_iter().map(example).collect()
    }

    /// Each match against some non-matches of its query, in both orders.
    fn triples(&self, epoch: u64) -> Vec<Example> {
        let contrasts: Vec<_> = self.contrasts().collect();
        let of_query = |(query, yes, no): &(u32, Vec<u32>, Vec<u32>)| {
            let mut rng = generator(&[self.seed, epoch, Purpose::Contrast as u64, u64::from(*query)]);
            let text = self.text(self.side(*query));
            let mut examples = Vec::new();
            for &better in yes {
                let mut no = no.clone();
                no.shuffle(&mut rng);
                for &worse in no.iter().take(CONTRASTS) {
                    let join = |a: u32, b: u32| text.join(&[query, &a, &b].map(|at| &self.side(*at).tokens));
                    let of = |text, target| Example { texts: vec![text], target, ..Example::default() };
                    examples.push(of(join(better, worse), 1.0));
                    examples.push(of(join(worse, better), 0.0));
                }
            }
            examples
        };
        contrasts.par_iter().flat_map_iter(of_query).collect()
    }
}
