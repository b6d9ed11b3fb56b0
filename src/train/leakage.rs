//! Texts of held-out pairs, which must not be learned.
//!
//! Sets overlap (sizes of one corpus, copies of one shop), and a test pair that was learned makes its figure worthless. So a training
//! pair whose two texts are also together, in either order, in a held-out split of any listed or excluded set is dropped and counted;
//! texts are compared as the network reads them, after Unicode normalization, without case, `ё` as `е`, and white space as one space. Refused:
//! dropping pairs that merely share one record with a held-out pair (published splits share records by design).

use std::collections::HashSet;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::recipe::Recipe;
use super::sources::{LoadedSource, fields_of, read};
use crate::Result;
use crate::data::Reading;
use crate::ranker::Input;
use crate::records::{Pair, Record, Split};
use crate::text::normalize::collapsed;
use crate::text::{TextConfig, plain_text};

/// A pair's two texts, different from all others, whichever is first.
pub(super) type Key = [u8; 16];

fn key(config: &TextConfig, left: &Record, right: &Record) -> Key {
    let (a, b) =
        (collapsed(&plain_text(config, Input::Record(left))), collapsed(&plain_text(config, Input::Record(right))));
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
pub(super) fn keys(config: &TextConfig, left: &Record, right: &Record) -> [Key; 2] {
    [key(config, left, right), key(&TextConfig::default(), left, right)]
}

/// Texts of pairs that must not be learned, and those of test splits, which must not be validated on either.
pub(super) struct HeldOut {
    train: HashSet<Key>,
    valid: HashSet<Key>,
}

impl HeldOut {
    /// Of all sources of a recipe and the sets that it excludes.
    pub(super) fn of(recipe: &Recipe, sources: &[LoadedSource]) -> Result<Self> {
        let (mut held_out, mut tested) = (HashSet::new(), HashSet::new());
        for source in sources {
            for pair in source.set.pairs.iter().filter(|p| !source.is(Split::Train, p)) {
                let keys = source.keys(pair);
                held_out.extend(keys);
                if source.is(Split::Test, pair) || pair.split == Some(Split::Test) || source.eval_only {
                    tested.extend(keys);
                }
            }
        }
        let config = fields_of(&recipe.text, None);
        for source in &recipe.data.exclude {
            let (set, _) = read(source, &Reading::default(), recipe)?;
            for pair in set.pairs.iter().filter(|p| p.split != Some(Split::Train)) {
                let keys = keys(&config, &set.left[pair.left as usize], &set.right[pair.right as usize]);
                held_out.extend(keys);
                if pair.split != Some(Split::Valid) {
                    tested.extend(keys);
                }
            }
        }
        Ok(HeldOut { train: held_out, valid: tested })
    }

    /// The pairs of a split whose texts may be used for it, and how many were dropped.
    pub(super) fn allowed(&self, source: &LoadedSource, split: Split) -> (Vec<Pair>, u64) {
        let pairs: Vec<Pair> = source.set.pairs.iter().filter(|p| source.is(split, p)).copied().collect();
        let closed = match split {
            Split::Train => &self.train,
            Split::Valid => &self.valid,
            Split::Test => return (pairs, 0),
        };
        let before = pairs.len();
        let is_open = |p: &Pair| !source.keys(p).iter().any(|key| closed.contains(key));
        let kept: Vec<Pair> = pairs.into_par_iter().filter(is_open).collect();
        let dropped = (before - kept.len()) as u64;
        (kept, dropped)
    }
}
