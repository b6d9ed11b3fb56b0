//! Where labelled pairs come from: the `[data]` of a recipe.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ReadOptions, ReadReport, deepmatcher, ditto, joined, links};
use crate::records::{Pair, PairSet, Record, Split};
use crate::{Error, Result};

/// A labelled set. In a recipe: `format = "ditto"` and the format's keys, for example
/// `[data] format = "deepmatcher" dir = "abt-buy"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "format", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// A folder of `tableA.csv`, `tableB.csv` and `train.csv`, `valid.csv`, `test.csv` (`ltable_id,rtable_id,label`), as
    /// far as they are there: the layout of DeepMatcher and Magellan.
    Deepmatcher {
        /// The folder.
        dir: PathBuf,
    },
    /// Rows that hold both records, in columns `left_*` and `right_*` (or `ltable_*` and `rtable_*`), and a `label`.
    Joined(Parts),
    /// Ditto's lines `COL name VAL value ...`, tab, the other side, tab, label.
    Ditto(Parts),
    /// The JSON lines of Web Data Commons, keys `*_left` and `*_right`, a `label`; the `cluster_id`, which is the answer,
    /// is left out.
    Wdc(Parts),
    /// Two tables, and a file that links their ids.
    Links {
        /// The left table.
        left: PathBuf,
        /// The right table.
        right: PathBuf,
        /// The links.
        links: PathBuf,
        /// The links' column that holds ids of the left table.
        left_column: String,
        /// The links' column that holds ids of the right table.
        right_column: String,
        /// The links' column that holds labels, where an empty cell is a pair without one; without it every link is a
        /// match.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        label_column: Option<String>,
        /// The links' column that holds `train`, `valid` or `test`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        part_column: Option<String>,
        /// The left table's id column; without it: that of the options, `id`, or the first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left_id: Option<String>,
        /// The right table's id column.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        right_id: Option<String>,
    },
}

/// A file for each split, or one of pairs without a split; at least one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// The training pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<PathBuf>,
    /// The validation pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid: Option<PathBuf>,
    /// The test pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// Pairs that are of no split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairs: Option<PathBuf>,
}

impl Source {
    /// Looks for the relative paths of a recipe in the recipe's folder; a path that is only in the working directory stays.
    pub fn rebase(&mut self, base: &Path) {
        for path in self.paths_mut() {
            if path.is_relative() && (base.join(&path).exists() || !path.exists()) {
                *path = base.join(&path);
            }
        }
    }

    fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Source::Deepmatcher { dir } => vec![dir],
            Source::Joined(Parts { train, valid, test, pairs })
            | Source::Ditto(Parts { train, valid, test, pairs })
            | Source::Wdc(Parts { train, valid, test, pairs }) => {
                train.iter_mut().chain(valid).chain(test).chain(pairs).collect()
            }
            Source::Links { left, right, links, .. } => vec![left, right, links],
        }
    }
}

/// Reads a labelled set into memory.
///
/// # Errors
/// A file that can't be read; a bad row (counted instead where `options` skips them): a label other than 0 or 1, none
/// where one must be, an id that its table lacks.
pub fn read_pairs(source: &Source, options: &ReadOptions) -> Result<(PairSet, ReadReport)> {
    match source {
        Source::Deepmatcher { dir } => deepmatcher::read(dir, options),
        Source::Joined(files) | Source::Wdc(files) => {
            by_parts(files, |path, part, set| joined::read(path, part, options, set))
        }
        Source::Ditto(files) => by_parts(files, |path, part, set| ditto::read(path, part, options, set)),
        Source::Links { .. } => links::read(source, options),
    }
}

/// Reads a set whose parts are files of their own, into one.
fn by_parts(
    Parts { train, valid, test, pairs }: &Parts,
    mut read: impl FnMut(&Path, Option<Split>, &mut PairSet) -> Result<ReadReport>,
) -> Result<(PairSet, ReadReport)> {
    let (mut set, mut report) = (PairSet::default(), ReadReport::default());
    let files = [train, valid, test, pairs];
    for (file, part) in files.into_iter().zip([Some(Split::Train), Some(Split::Valid), Some(Split::Test), None]) {
        if let Some(path) = file {
            report.add(read(path, part, &mut set)?);
        }
    }
    if files.iter().all(|f| f.is_none()) {
        return Err(Error::setting("data", "", "names no file; give train, valid or test, or pairs"));
    }
    Ok((set, report))
}

/// Adds a pair with records of its own.
pub(super) fn push(
    set: &mut PairSet,
    left: Record,
    right: Record,
    label: Option<bool>,
    part: Option<Split>,
) -> Result<()> {
    let Ok(row) = u32::try_from(set.left.len()) else {
        return Err(Error::setting("data", set.left.len(), "more pairs than 2^32; train on fewer"));
    };
    set.left.push(left);
    set.right.push(right);
    set.pairs.push(Pair { left: row, right: row, grade: label.map(Pair::grade_of), split: part });
    Ok(())
}
