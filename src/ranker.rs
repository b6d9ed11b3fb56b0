//! The two traits everything plugs into. Matching and ranking are the same act: a query is the left record, its
//! candidates are the right ones.

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

/// Scores a list of candidates for one query; higher is better.
pub trait Ranker: Send + Sync {
    /// One score per candidate, in the order given.
    fn score(&self, query: Input, candidates: &[Input]) -> Result<Vec<f32>>;

    /// One score per pair, in the order given. Rankers that batch over queries override it.
    fn score_pairs(&self, pairs: &[(Input, Input)]) -> Result<Vec<f32>> {
        let mut scores = Vec::with_capacity(pairs.len());
        for (query, candidate) in pairs {
            scores.extend(self.score(*query, &[*candidate])?);
        }
        Ok(scores)
    }
}
