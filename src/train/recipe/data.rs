//! `[data]` of a recipe: the labelled sets, what each of their parts is used for, and the non-matches that are made.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::{Reading, Source};
use crate::records::{Pair, Split};

/// What is learnt from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Labelled sets.
    pub sources: Vec<NamedSource>,
    /// Sets whose test and validation pairs must not be learnt, besides those of `sources`.
    #[serde(default)]
    pub exclude: Vec<Source>,
    /// Names of sources that are only measured on; none of their pairs is learned or validated on.
    #[serde(default, alias = "leave_out")]
    pub eval_only: Vec<String>,
    /// Parts for pairs that have none.
    #[serde(default)]
    pub split: SplitRatios,
    /// Drop and count broken rows instead of stopping at the first.
    #[serde(default)]
    pub skip_bad_rows: bool,
    /// The share of training pairs that are learned, matches and non-matches each, for a learning curve; a smaller share is part of a larger one.
    /// Validation and test stay whole.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub label_fraction: f64,
}

/// One labelled set and how it is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedSource {
    /// Its name in logs, metrics and `eval_only`.
    pub name: String,
    /// Its files.
    pub from: Source,
    /// How its tables are written, where that is not found out rightly.
    #[serde(default, skip_serializing_if = "Reading::is_default")]
    pub read: Reading,
    /// Fields to show, in order; those of `[text]` where it is left out.
    #[serde(default)]
    pub fields: Option<Vec<String>>,
    /// Columns that all of its records get, with one value each, such as the shop group of a pooled set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub constants: BTreeMap<String, String>,
    /// Training pairs drawn from it at most, others each epoch.
    #[serde(default)]
    pub max_pairs: Option<usize>,
    /// How often its training pairs come in an epoch, and how often pairs are made from its records.
    #[serde(default = "once")]
    pub repeat: u32,
    /// Parts that are trained on.
    #[serde(default = "train_part")]
    pub train: Vec<Split>,
    /// Parts that thresholds, calibration and early stopping use.
    #[serde(default = "valid_part")]
    pub valid: Vec<Split>,
    /// Parts that are measured on at the end.
    #[serde(default = "test_part")]
    pub test: Vec<Split>,
    /// Non-matches to be made, for a set of links that knows matches only.
    #[serde(default)]
    pub negatives: Option<Negatives>,
    /// A file with a teacher's scores of its pairs, for a loss that wants them: `left_id, right_id, score`, or a score a pair in the source's order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
    /// Whether each of its two lists holds a product once, so that neighbours in one list are made non-matches too.
    #[serde(default, alias = "unique")]
    pub deduplicated: bool,
}

impl NamedSource {
    /// What a pair is used for; `None` where its part is used for nothing.
    pub fn role(&self, pair: &Pair) -> Option<Split> {
        let split = pair.split?;
        let roles = [(&self.train, Split::Train), (&self.valid, Split::Valid), (&self.test, Split::Test)];
        roles.into_iter().find(|(splits, _)| splits.contains(&split)).map(|(_, role)| role)
    }
}

/// Non-matches made for each match, from the right records of the same part, or those that a list names. A true link is never one of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Negatives {
    /// Taken from the top of BM25, or in training's part from a model's or a file's.
    #[serde(default = "four")]
    pub hard: usize,
    /// Drawn at random.
    #[serde(default = "two")]
    pub random: usize,
    /// A ranker that chooses the hard ones: two towers among all right records, another one among those that BM25 finds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// With `model`: what scores this share of a match's score or more may be a match that nobody linked, and is not taken.
    #[serde(default = "ceiling")]
    pub ceiling: f32,
    /// A file that names the hard ones of training's part by ids: a run of TREC, or triples `query positive negative`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<PathBuf>,
}

impl Default for Negatives {
    fn default() -> Self {
        Negatives { hard: four(), random: two(), model: None, ceiling: ceiling(), list: None }
    }
}

fn ceiling() -> f32 {
    0.95
}

/// Shares of left records that go to validation and test where a set has no parts. All pairs of a left record stay
/// together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplitRatios {
    /// For validation.
    pub valid: f64,
    /// For test.
    pub test: f64,
}

impl Default for SplitRatios {
    fn default() -> Self {
        SplitRatios { valid: 0.2, test: 0.2 }
    }
}

fn whole() -> f64 {
    1.0
}
fn is_whole(share: &f64) -> bool {
    *share == 1.0
}
fn once() -> u32 {
    1
}
fn four() -> usize {
    4
}
fn two() -> usize {
    2
}
fn train_part() -> Vec<Split> {
    vec![Split::Train]
}
fn valid_part() -> Vec<Split> {
    vec![Split::Valid]
}
fn test_part() -> Vec<Split> {
    vec![Split::Test]
}
