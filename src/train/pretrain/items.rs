//! Which sequences come when: passes over all sources, each text as often as its source's weight says, shuffled; and what follows a text in a
//! pair. Everything is a function of the seed and the sequence's number, so nothing has to be kept for a resumption.

use rand::RngExt;
use rand::seq::SliceRandom;

use super::recipe::{NegativesFrom, NextSettings, PretrainRecipe, Unit};
use super::store::Store;
use crate::train::seed::{Purpose, generator};

/// A sequence to be made: one text or a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    /// The number of its first text.
    pub first: u32,
    /// The second text, and whether it is the next one.
    pub second: Option<(u32, bool)>,
    /// Tokens, special ones included.
    pub tokens: u32,
    /// The number of its source.
    pub source: u32,
    /// Its place in the run, from which its masks are drawn: how a step is cut into pieces changes none of them.
    pub draw: [u64; 3],
}

/// The sequences of a run.
pub(super) struct Items<'a> {
    pub(super) store: &'a Store,
    recipe: &'a PretrainRecipe,
    /// Special tokens around one text and around two.
    special: [usize; 2],
    /// Texts of each source in a pass.
    counts: Vec<u64>,
}

impl<'a> Items<'a> {
    pub(super) fn new(store: &'a Store, recipe: &'a PretrainRecipe, special: [usize; 2]) -> Self {
        let texts = store.ranges(false).iter().map(|range| u64::from(range.end - range.start));
        let count = |(texts, weight): (u64, f64)| ((texts as f64 * weight).round() as u64).max(1);
        let counts = texts.zip(recipe.data.sources.iter().map(|source| source.weight)).map(count).collect();
        Items { store, recipe, special, counts }
    }
    /// Sequences of a pass over all sources.
    pub(super) fn pass(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The texts of a pass in its order, with their sources.
    fn order(&self, pass: u64) -> Vec<(u32, u32)> {
        let seed = self.recipe.train.seed;
        let mut all = Vec::with_capacity(self.pass() as usize);
        for (source, (range, &count)) in (0u32..).zip(self.store.ranges(false).iter().zip(&self.counts)) {
            let mut texts: Vec<u32> = range.clone().collect();
            // a part of them is another part in each pass
            texts.shuffle(&mut generator(&[seed, Purpose::Texts as u64, pass, u64::from(source) + 1]));
            all.extend(texts.into_iter().cycle().take(count as usize).map(|text| (text, source)));
        }
        all.shuffle(&mut generator(&[seed, Purpose::Texts as u64, pass, 0]));
        all
    }

    /// The sequences numbered `from..to` of the run.
    pub(super) fn range(&self, from: u64, to: u64) -> Vec<Item> {
        let (pass, seed) = (self.pass(), self.recipe.train.seed);
        let mut items = Vec::with_capacity((to - from) as usize);
        for number in from / pass..to.div_ceil(pass) {
            let start = from.max(number * pass) - number * pass;
            let end = to.min((number + 1) * pass) - number * pass;
            let order = self.order(number);
            let some = (start..end).zip(&order[start as usize..end as usize]);
            items.extend(some.map(|(at, &(text, source))| self.item(&[seed, number, at], text, source, false)));
        }
        items
    }

    /// Held-out sequences: the same in every run, whatever its seed.
    pub(super) fn held_out(&self) -> Vec<Item> {
        let mut all: Vec<(u32, u32)> = Vec::new();
        for (source, range) in (0u32..).zip(self.store.ranges(true)) {
            all.extend(range.clone().map(|text| (text, source)));
        }
        all.shuffle(&mut generator(&[1, Purpose::HeldOutTexts as u64]));
        all.truncate(self.recipe.data.held_out_sequences);
        (0..).zip(all).map(|(at, (text, source))| self.item(&[1, u64::MAX, at], text, source, true)).collect()
    }

    fn item(&self, draw: &[u64; 3], text: u32, source: u32, held_out: bool) -> Item {
        let length = |text: u32| self.store.text(text).length as usize;
        let pair = self.recipe.next.as_ref().and_then(|next| self.pair(next, draw, text, source, held_out));
        let (first, second) = pair.map_or((text, None), |(first, second, is_next)| (first, Some((second, is_next))));
        let tokens = match second {
            Some((second, _)) => length(first) + length(second) + self.special[1],
            None => length(first) + self.special[0],
        };
        Item { first, second, tokens: tokens as u32, source, draw: *draw }
    }

    /// A text and another, and whether they follow each other; none for a document of one text.
    fn pair(
        &self,
        next: &NextSettings,
        draw: &[u64; 3],
        text: u32,
        source: u32,
        held_out: bool,
    ) -> Option<(u32, u32, bool)> {
        let document = self.store.document(text);
        if document.len() < 2 {
            return None;
        }
        let mut rng = generator(&[Purpose::Next as u64, draw[0], draw[1], draw[2]]);
        if rng.random::<f64>() < next.positives {
            if self.recipe.data.sources[source as usize].unit() == Unit::Cluster {
                let other = rng.random_range(document.start..document.end - 1);
                return Some((text, if other >= text { other + 1 } else { other }, true));
            }
            return Some(if text + 1 < document.end { (text, text + 1, true) } else { (text - 1, text, true) });
        }
        let distant: Vec<u32> = match next.negatives {
            NegativesFrom::Distant => document.clone().filter(|other| other.abs_diff(text) > 1).collect(),
            NegativesFrom::Other => Vec::new(),
        };
        if !distant.is_empty() {
            return Some((text, distant[rng.random_range(0..distant.len())], false));
        }
        let range = &self.store.ranges(held_out)[source as usize];
        let outside = (range.end - range.start).checked_sub(document.len() as u32).filter(|n| *n > 0)?;
        let other = range.start + rng.random_range(0..outside);
        Some((text, if other >= document.start { other + document.len() as u32 } else { other }, false))
    }
}
