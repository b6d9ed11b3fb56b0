//! Where labelled pairs come from: the `[data]` of a recipe.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ready_vectors::same_widths;
use super::{CedrFiles, Collection, ReadOptions, ReadReport, deepmatcher, ditto, fields, joined, links, paraphraser};
use super::{read_beir, read_cedr, read_ms_marco, read_squad, sentence_pairs};
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
    /// BEIR's folder: `corpus.jsonl`, `queries.jsonl` and `qrels/train.tsv`, `dev.tsv`, `test.tsv`.
    Beir {
        /// The folder.
        dir: PathBuf,
    },
    /// SQuAD's JSON: a question, and the paragraph that it was asked about.
    Squad(Parts),
    /// MS MARCO's files: a collection, queries, and judgements by part.
    MsMarco {
        /// `collection.tsv`.
        collection: PathBuf,
        /// `queries.train.tsv` and others.
        queries: Vec<PathBuf>,
        /// `qrels.train.tsv` and others.
        qrels: Parts,
    },
    /// CEDR's datafiles and a fold.
    Cedr(CedrFiles),
    /// ParaPhraser's XML.
    Paraphraser(Parts),
    /// Tables with `sentence1`, `sentence2` and a score or a label.
    SentencePairs(Parts),
    /// One table: a field of each record asks, another one of the same record is the match.
    Fields {
        /// The table.
        table: PathBuf,
        /// The column that asks.
        query: String,
        /// The column that answers.
        document: String,
    },
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

/// Looks for a relative path of a recipe in the recipe's folder; one that is only in the working directory stays.
pub(crate) fn rebase(path: &mut PathBuf, folder: &Path) {
    if path.is_relative() && (folder.join(&*path).exists() || !path.exists()) {
        *path = folder.join(&*path);
    }
}

impl Source {
    /// Looks for the relative paths of a recipe in the recipe's folder; a path that is only in the working directory stays.
    pub fn rebase(&mut self, folder: &Path) {
        self.paths_mut().into_iter().for_each(|path| rebase(path, folder));
    }

    fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Source::Deepmatcher { dir } => vec![dir],
            Source::Joined(Parts { train, valid, test, pairs })
            | Source::Ditto(Parts { train, valid, test, pairs })
            | Source::Wdc(Parts { train, valid, test, pairs })
            | Source::Squad(Parts { train, valid, test, pairs })
            | Source::Paraphraser(Parts { train, valid, test, pairs })
            | Source::SentencePairs(Parts { train, valid, test, pairs }) => {
                train.iter_mut().chain(valid).chain(test).chain(pairs).collect()
            }
            Source::Beir { dir } => vec![dir],
            Source::Fields { table, .. } => vec![table],
            Source::MsMarco { collection, queries, qrels: Parts { train, valid, test, pairs } } => {
                let qrels = train.iter_mut().chain(valid).chain(test).chain(pairs);
                std::iter::once(collection).chain(queries).chain(qrels).collect()
            }
            Source::Cedr(CedrFiles { datafiles, qrels, train_pairs, valid_run, test_run }) => {
                let fold = train_pairs.iter_mut().chain(valid_run).chain(test_run);
                datafiles.iter_mut().chain([qrels]).chain(fold).collect()
            }
            Source::Links { left, right, links, .. } => vec![left, right, links],
        }
    }
}

/// Reads a labelled set into memory.
///
/// # Errors
/// A file that can't be read; a bad row (counted instead where `options` skips them): a label other than 0 or 1, none
/// where one must be, an id that its table lacks; vector files of a set without tables.
pub fn read_pairs(source: &Source, options: &ReadOptions) -> Result<(PairSet, ReadReport)> {
    let right = options.right.as_ref().and_then(|right| right.vectors.first());
    if let Some((column, _)) = options.vectors.first().or(right)
        && !matches!(source, Source::Deepmatcher { .. } | Source::Links { .. })
    {
        let what = "rows of a vector file belong to records of a table: give two tables (deepmatcher, links)";
        return Err(Error::setting("vectors", column, what));
    }
    let of_right = options.right.as_ref().map_or(&options.vectors, |right| &right.vectors);
    same_widths(&options.vectors, of_right)?;
    match source {
        Source::Deepmatcher { dir } => deepmatcher::read(dir, options),
        Source::Joined(files) | Source::Wdc(files) => {
            by_parts(files, |path, part, set| joined::read(path, part, options, set))
        }
        Source::Ditto(files) => by_parts(files, |path, part, set| ditto::read(path, part, options, set)),
        Source::Links { .. } => links::read(source, options),
        Source::Fields { table, query, document } => fields::read(table, query, document, options),
        Source::Paraphraser(files) => by_parts(files, paraphraser::read),
        Source::SentencePairs(files) => {
            by_parts(files, |path, part, set| sentence_pairs::read(path, part, options, set))
        }
        Source::Beir { dir } => collected(dir, read_beir(dir)?),
        Source::Squad(files) => {
            let files = files.with_splits()?;
            collected(files[0].0, read_squad(&files)?)
        }
        Source::MsMarco { collection, queries, qrels } => {
            let queries: Vec<&Path> = queries.iter().map(PathBuf::as_path).collect();
            collected(collection, read_ms_marco(collection, &queries, &qrels.with_splits()?)?)
        }
        Source::Cedr(files) => collected(&files.qrels, read_cedr(files)?),
    }
}

/// The pairs of a collection, and what was said of both.
fn collected(path: &Path, (collection, mut report): (Collection, ReadReport)) -> Result<(PairSet, ReadReport)> {
    let (set, more) = collection.pairs(path)?;
    report.add(more);
    Ok((set, report))
}

impl Parts {
    /// The files with their splits; at least one.
    fn with_splits(&self) -> Result<Vec<(&Path, Option<Split>)>> {
        let Parts { train, valid, test, pairs } = self;
        let splits = [Some(Split::Train), Some(Split::Valid), Some(Split::Test), None];
        let files = [train, valid, test, pairs].into_iter().zip(splits);
        let files: Vec<_> = files.filter_map(|(file, split)| Some((file.as_deref()?, split))).collect();
        if files.is_empty() {
            return Err(Error::setting("data", "", "names no file; give train, valid or test, or pairs"));
        }
        Ok(files)
    }
}

/// Reads a set whose parts are files of their own, into one.
fn by_parts(
    files: &Parts,
    mut read: impl FnMut(&Path, Option<Split>, &mut PairSet) -> Result<ReadReport>,
) -> Result<(PairSet, ReadReport)> {
    let (mut set, mut report) = (PairSet::default(), ReadReport::default());
    for (path, part) in files.with_splits()? {
        report.add(read(path, part, &mut set)?);
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
