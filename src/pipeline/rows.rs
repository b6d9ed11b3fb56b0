//! Indexes of `match`'s right list: one that is the list, with its records, and one that lies next to a list in files.

use std::path::Path;
use std::sync::Arc;

use crate::data::StoredTable;
use crate::index::{Index, ModelOptions};
use crate::ranker::{Hit, Input, Retriever, Rows};
use crate::records::{Record, Table};
use crate::{Error, Result};

/// The documents of an index on disk as a list, which finds its own records.
pub struct IndexedList {
    index: Index,
    columns: Arc<[String]>,
    /// The columns that are shown, if not all.
    shown: Option<Arc<[String]>>,
}

impl IndexedList {
    /// Opens the last commit of an index.
    ///
    /// # Errors
    /// Those of [`Index::open`]; an index without a document.
    pub fn open(dir: &Path, model: &ModelOptions) -> Result<Self> {
        let index = Index::open(dir, model)?;
        let of = (0..index.numbers()).find(|document| index.id(*document).is_ok());
        let none = || Error::data(dir, None, "has no document to match with", "index a list with `sverka index`");
        let first = index.record(of.filter(|_| !index.is_empty()).ok_or_else(none)?)?;
        Ok(IndexedList { index, columns: first.columns, shown: None })
    }

    /// The index.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The list without its records: where it is, and its columns.
    pub fn head(&self) -> Table {
        Table { path: self.index.dir().into(), columns: self.columns.clone(), records: Vec::new() }
    }

    /// Shows these columns only.
    pub fn show(&mut self, columns: &[String]) {
        self.shown = Some(columns.into());
    }
}

impl Rows for IndexedList {
    fn len(&self) -> usize {
        self.index.len()
    }
    fn numbers(&self) -> usize {
        self.index.numbers() as usize
    }
    fn records(&self, rows: &[u32]) -> Result<Vec<Record>> {
        let read = |row: &u32| -> Result<Record> {
            let record = self.index.record(*row)?;
            let Some(columns) = &self.shown else { return Ok(record) };
            let value = |column: &String| record.get(column).unwrap_or_default().to_string();
            Ok(Record { values: columns.iter().map(value).collect(), columns: columns.clone(), id: record.id })
        };
        rows.iter().map(read).collect()
    }
}

impl Retriever for IndexedList {
    fn retrieve(&self, queries: &[Input], k: usize) -> Result<Vec<Vec<Hit>>> {
        self.index.search(queries, k)
    }
}

/// An index of a list that is stored next to it: it finds rows of the list.
pub struct RowIndex {
    index: Index,
    /// The row of each document: an index has them in the order of their ids.
    rows: Vec<u32>,
}

impl RowIndex {
    /// The index of all records of a list.
    ///
    /// # Errors
    /// An index of another number of documents; the system's.
    pub fn new(index: Index, list: &StoredTable) -> Result<Self> {
        let rows = list.by_id()?;
        if index.numbers() as usize != rows.len() {
            let got = format!("{} documents", index.numbers());
            return Err(Error::Shape { op: "match", expected: format!("an index of {} records", rows.len()), got });
        }
        Ok(RowIndex { index, rows })
    }
}

impl Retriever for RowIndex {
    fn retrieve(&self, queries: &[Input], k: usize) -> Result<Vec<Vec<Hit>>> {
        let mut found = self.index.search(queries, k)?;
        found.iter_mut().flatten().for_each(|hit| hit.document = self.rows[hit.document as usize]);
        Ok(found)
    }
}
