//! Plain data that everything passes around: records, tables, labelled pairs, judgements and runs, matches.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// One row of a list: an id and its named values in the file's order. A missing value is an empty string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The id as written in the file, or the row number where it has none.
    pub id: String,
    /// Names of all columns but the id, shared by the whole table.
    pub columns: Arc<[String]>,
    /// One value per column.
    pub values: Vec<String>,
}

impl Record {
    /// The value of a column, `None` where there is no such column.
    pub fn get(&self, column: &str) -> Option<&str> {
        self.columns.iter().position(|c| c == column).map(|i| self.values[i].as_str())
    }
    /// Columns with their values, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.columns.iter().map(String::as_str).zip(self.values.iter().map(String::as_str))
    }
}

/// A list of records with unique ids.
#[derive(Debug, Clone)]
pub struct Table {
    /// Where it was read from.
    pub path: PathBuf,
    /// Names of all columns but the id.
    pub columns: Arc<[String]>,
    /// The rows in the file's order.
    pub records: Vec<Record>,
}

/// Which split of a labelled set a pair belongs to, so that what is fitted on one is measured on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Weights are fitted on it.
    Train,
    /// Thresholds, calibration and early stopping use it.
    Valid,
    /// Only measured on.
    Test,
}

/// A pair of rows of [`PairSet::left`] and [`PairSet::right`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// Index into `left`.
    pub left: u32,
    /// Index into `right`.
    pub right: u32,
    /// How relevant the right record is to the left one: 1 is a match and 0 is none; `None` if it is not known.
    pub grade: Option<f32>,
    /// The split, `None` if the source has none.
    pub split: Option<Split>,
}

impl Pair {
    /// Whether it is a match, if its grade is known.
    pub fn label(&self) -> Option<bool> {
        self.grade.map(|grade| grade >= 0.5)
    }
    /// True for a known match.
    pub fn is_match(&self) -> bool {
        self.label() == Some(true)
    }
    /// The grade of a label.
    pub fn grade_of(label: bool) -> f32 {
        f32::from(u8::from(label))
    }
}

/// Two lists and labelled pairs between them. A source whose lines hold both texts has one record per line and side.
#[derive(Debug, Clone, Default)]
pub struct PairSet {
    /// The left list.
    pub left: Vec<Record>,
    /// The right list.
    pub right: Vec<Record>,
    /// The pairs.
    pub pairs: Vec<Pair>,
}

impl PairSet {
    /// The pairs of one split, with their two records and label.
    pub fn split(&self, split: Split) -> impl Iterator<Item = (&Record, &Record, Option<bool>)> {
        self.pairs.iter().filter(move |p| p.split == Some(split)).map(|p| self.sides(p))
    }
    /// The two records of a pair and its label.
    pub fn sides(&self, pair: &Pair) -> (&Record, &Record, Option<bool>) {
        (&self.left[pair.left as usize], &self.right[pair.right as usize], pair.label())
    }
}

/// A query of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Its id.
    pub id: String,
    /// What is looked for.
    pub text: String,
}

/// How relevant a document is to a query (a line of TREC's "qrels").
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The query's id.
    pub query: String,
    /// The document's id.
    pub document: String,
    /// 0: not relevant; 1 and more: relevant, the higher the more.
    pub grade: f32,
}

/// What a ranker gave for some queries (TREC's "run").
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Run {
    /// Scores of documents by the ids of query and document; higher is better.
    pub scores: BTreeMap<String, BTreeMap<String, f32>>,
}

impl Run {
    /// A query's documents with their scores: score descending, of equal scores id descending (trec_eval's order).
    pub fn ranked(&self, query: &str) -> Vec<(&str, f32)> {
        let scores = self.scores.get(query).into_iter().flatten();
        let mut documents: Vec<(&str, f32)> = scores.map(|(document, score)| (document.as_str(), *score)).collect();
        // +0.0: of the two zeros none is greater
        documents.sort_by(|a, b| (b.1 + 0.0).total_cmp(&(a.1 + 0.0)).then(b.0.cmp(a.0)));
        documents
    }
}

/// One scored candidate of `match`, ready to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// Id of the left record.
    pub left_id: String,
    /// Id of the right record.
    pub right_id: String,
    /// Calibrated probability that the two are the same thing.
    pub probability: f32,
    /// Whether the probability reaches the threshold (and the assignment kept it).
    pub decision: bool,
    /// Place among the left record's candidates, from 1.
    pub rank: u32,
}
