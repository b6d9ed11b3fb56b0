//! The traits everything plugs into. Matching and ranking are the same act: a query is the left record, its candidates are the
//! right ones.

use crate::Result;
use crate::records::Record;

/// What a person has: a record with named fields, or a plain text. Nobody outside `text` turns it into tokens.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Named fields.
    Record(&'a Record),
    /// One text.
    Text(&'a str),
}

impl<'a> From<&'a Record> for Input<'a> {
    fn from(record: &'a Record) -> Self {
        Input::Record(record)
    }
}

/// A query and its candidates.
#[derive(Debug, Clone)]
pub struct List<'a> {
    /// The query.
    pub query: Input<'a>,
    /// Its candidates.
    pub candidates: Vec<Input<'a>>,
}

impl<'a> List<'a> {
    /// A list of one candidate.
    pub fn pair(query: Input<'a>, candidate: Input<'a>) -> Self {
        List { query, candidates: vec![candidate] }
    }
}

/// One candidate's score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Higher is better; only comparable within one model.
    pub value: f32,
    /// Whether the model did not read the texts to their ends.
    pub truncated: bool,
    /// False where one of the texts holds nothing to go by (no word, or mostly unknown tokens): never a match.
    pub readable: bool,
}

/// Scores lists of candidates; higher is better.
pub trait Ranker: Send + Sync {
    /// For each list one score per candidate, in the order given.
    ///
    /// # Errors
    /// A list that the ranker can't score, as a listwise one of a single candidate.
    fn score(&self, lists: &[List]) -> Result<Vec<Vec<Score>>>;
    /// Whether a candidate's score depends on the other candidates of its list.
    fn is_listwise(&self) -> bool {
        false
    }
}

/// A document that a first stage found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Its number in the collection.
    pub document: u32,
    /// The first stage's score; higher is better.
    pub score: f32,
}

/// A first stage: finds candidates for a query in a collection.
pub trait Retriever: Send + Sync {
    /// For each query the `k` best documents, best first; fewer where fewer have anything in common with it.
    ///
    /// # Errors
    /// What the index refuses.
    fn retrieve(&self, queries: &[Input], k: usize) -> Result<Vec<Vec<Hit>>>;
}

/// Vectors of some texts, one after the other.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Vectors {
    /// Width of a vector.
    pub dim: usize,
    /// Their values, `[n, dim]`.
    pub values: Vec<f32>,
}

impl Vectors {
    /// How many there are, `n`.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim.max(1)
    }
    /// True without a vector.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
    /// One of them.
    pub fn row(&self, at: usize) -> &[f32] {
        &self.values[at * self.dim..][..self.dim]
    }
    /// Dot product of one of these vectors and one of the others.
    pub fn dot(&self, at: usize, other: &Vectors, there: usize) -> f32 {
        self.row(at).iter().zip(other.row(there)).map(|(a, b)| a * b).sum()
    }
}

/// A ranker whose documents can be encoded once, before any query is known.
pub trait DualEncoder: Ranker {
    /// Vectors of queries.
    fn encode_queries(&self, queries: &[Input]) -> Result<Vectors>;
    /// Vectors of documents.
    fn encode_documents(&self, documents: &[Input]) -> Result<Vectors>;
    /// One score per document for one of the queries: what [`Ranker::score`] gives for the same texts.
    fn interact(&self, queries: &Vectors, query: usize, documents: &Vectors) -> Vec<f32> {
        (0..documents.len()).map(|document| queries.dot(query, documents, document)).collect()
    }
}
