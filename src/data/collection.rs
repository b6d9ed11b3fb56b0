//! A collection for ranking: documents, queries, and how relevant which is to which. All readers of the field's layouts end
//! here, and [`Collection::pairs`] makes training pairs of it.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::{ReadReport, memory};
use crate::records::{Judgement, Pair, PairSet, Query, Record, Split};
use crate::{Error, Result};

/// Documents, queries and judgements.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Collection {
    /// What is looked through; columns `title` and `text`, or `text`.
    pub documents: Vec<Record>,
    /// What is looked for.
    pub queries: Vec<Query>,
    /// The judgements, each with its split, if the layout has splits.
    pub judgements: Vec<(Judgement, Option<Split>)>,
}

impl Collection {
    /// The judgements of a split; `None`: all.
    pub fn of_split(&self, split: Option<Split>) -> Vec<Judgement> {
        let of = self.judgements.iter().filter(|(_, of)| split.is_none() || *of == split);
        of.map(|(judgement, _)| judgement.clone()).collect()
    }

    /// Queries as left records and documents as right ones, a pair a judgement. Grades above 1 count as 1, negative ones as 0.
    /// A judgement whose query or document is not there is left out and counted in a note.
    ///
    /// # Errors
    /// No judgement that has both; more rows than 2^32.
    pub fn pairs(self, path: &Path) -> Result<(PairSet, ReadReport)> {
        let columns: Arc<[String]> = Arc::new(["text".into()]);
        let record = |query: Query| Record { id: query.id, columns: columns.clone(), values: vec![query.text] };
        let left: Vec<Record> = self.queries.into_iter().map(record).collect();
        let [queries, documents] = [&left, &self.documents].map(|records| {
            let ids = records.iter().zip(0u32..).map(|(record, row)| (record.id.as_str(), row));
            ids.collect::<HashMap<&str, u32>>()
        });
        if left.len().max(self.documents.len()) > u32::MAX as usize {
            return Err(Error::setting("data", path.display(), "more rows than 2^32; use a part of them"));
        }
        let (mut pairs, mut lost) = (Vec::new(), 0u64);
        for (judgement, split) in &self.judgements {
            match (queries.get(&*judgement.query), documents.get(&*judgement.document)) {
                (Some(&left), Some(&right)) => {
                    pairs.push(Pair { left, right, grade: Some(judgement.grade.clamp(0.0, 1.0)), split: *split });
                }
                _ => lost += 1,
            }
        }
        if pairs.is_empty() {
            let what = "no judgement of a query and a document that are both there";
            return Err(Error::data(path, None, what, "check that queries, documents and judgements belong together"));
        }
        let mut report = ReadReport::default();
        if lost > 0 {
            let what = if lost == 1 { "judgement is" } else { "judgements are" };
            let note = format!("{lost} {what} of a query or a document that is not there, and left out");
            report.notes.push(format!("{}: {note}", path.display()));
        }
        Ok((PairSet { left, right: self.documents, pairs }, report))
    }
}

/// Records as they are read: ids that are there once, and no more than the memory's limit.
pub(super) struct Gathered {
    columns: Arc<[String]>,
    ids: HashSet<String>,
    taken: usize,
    pub(super) records: Vec<Record>,
}

impl Gathered {
    pub(super) fn new(columns: &[&str]) -> Self {
        let columns = columns.iter().map(|c| c.to_string()).collect();
        Gathered { columns, ids: HashSet::new(), taken: 0, records: Vec::new() }
    }

    /// How many values a record has.
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    /// Adds a record.
    pub(super) fn push(&mut self, path: &Path, line: u64, id: String, values: Vec<String>) -> Result<()> {
        if id.is_empty() {
            return Err(empty_id(path, line));
        }
        if !self.ids.insert(id.clone()) {
            return Err(second_id(path, line, &id));
        }
        self.taken += memory::taken(&values);
        if self.taken > memory::limit() {
            let what = format!("the texts take more than {} GiB of memory (line {line})", memory::limit() >> 30);
            return Err(Error::data(path, None, what, "use a part of them"));
        }
        self.records.push(Record { id, columns: self.columns.clone(), values });
        Ok(())
    }

    /// The records as queries: the first value is the text.
    pub(super) fn queries(self) -> Vec<Query> {
        let query = |mut record: Record| Query { id: record.id, text: std::mem::take(&mut record.values[0]) };
        self.records.into_iter().map(query).collect()
    }
}

/// A line without an id.
pub(super) fn empty_id(path: &Path, line: u64) -> Error {
    Error::data(path, Some(line), "an empty id", "give every line its id")
}

/// A line whose id an earlier one has.
pub(super) fn second_id(path: &Path, line: u64, id: &str) -> Error {
    Error::data(path, Some(line), format!("the id {id} is there a second time"), "keep one of the two lines")
}
