//! The documents of one generation: their ids, and their records as they were read, for people and for the next generation.
//!
//! Three files: `ids` and `records` ([`Strings`]; a record is a JSON array of the number of its list of columns and its values) and
//! `columns.json`. Documents are in the order of their ids, so that of equal scores the one whose id is first comes first, however
//! the index came about.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::strings::{Strings, StringsWriter, damaged};
use crate::{Error, Record, Result};

const IDS: &str = "ids";
const RECORDS: &str = "records";
const COLUMNS: &str = "columns.json";

/// Documents on their way to the disk.
pub(super) struct DocumentsWriter {
    path: PathBuf,
    ids: StringsWriter,
    records: StringsWriter,
    columns: Vec<Arc<[String]>>,
    count: usize,
}

impl DocumentsWriter {
    pub(super) fn create(dir: &Path) -> Result<Self> {
        let [ids, records] = [IDS, RECORDS].map(|name| StringsWriter::create(&dir.join(name)));
        Ok(DocumentsWriter { path: dir.into(), ids: ids?, records: records?, columns: Vec::new(), count: 0 })
    }

    /// Adds a document; ids must rise.
    pub(super) fn push(&mut self, record: &Record) -> Result<()> {
        if self.count == u32::MAX as usize {
            let what = "more documents than 2^32 - 1 in one generation";
            return Err(Error::setting("data", u32::MAX, format!("{what}: index them in several parts")));
        }
        let of = self.columns.iter().position(|c| Arc::ptr_eq(c, &record.columns) || *c == record.columns);
        let of = of.unwrap_or_else(|| {
            self.columns.push(record.columns.clone());
            self.columns.len() - 1
        });
        let values = record.values.iter().map(|value| Value::from(value.as_str()));
        let line = Value::Array(std::iter::once(Value::from(of)).chain(values).collect());
        self.ids.push(&record.id)?;
        self.records.push(&line.to_string())?;
        self.count += 1;
        Ok(())
    }

    pub(super) fn finish(self) -> Result<()> {
        self.ids.finish()?;
        self.records.finish()?;
        let columns: Vec<&[String]> = self.columns.iter().map(|columns| &columns[..]).collect();
        let path = self.path.join(COLUMNS);
        let failed = |e: serde_json::Error| Error::Internal { op: "write columns.json", what: e.to_string() };
        let text = serde_json::to_string(&columns).map_err(failed)?;
        std::fs::write(&path, text).map_err(Error::io("write", &path))
    }
}

/// The documents of one generation.
pub struct Documents {
    path: PathBuf,
    ids: Strings,
    records: Strings,
    columns: Vec<Arc<[String]>>,
}

impl Documents {
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let ids = Strings::open(&dir.join(IDS))?;
        let records = Strings::open(&dir.join(RECORDS))?;
        let path = dir.join(COLUMNS);
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let columns: Vec<Vec<String>> = serde_json::from_slice(&bytes).map_err(|_| damaged(&path))?;
        if ids.len() != records.len() {
            return Err(damaged(&dir.join(RECORDS)));
        }
        Ok(Documents { path: dir.into(), ids, records, columns: columns.into_iter().map(Arc::from).collect() })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// The id of a document.
    ///
    /// # Errors
    /// A damaged file.
    pub fn id(&self, document: u32) -> Result<&str> {
        self.ids.get(document as usize)
    }

    /// The number of the document with this id.
    ///
    /// # Errors
    /// A damaged file.
    pub fn find(&self, id: &str) -> Result<Option<u32>> {
        let (mut low, mut high) = (0, self.len() as u32);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.id(middle)?.cmp(id) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(Some(middle)),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }

    /// A document as it was read.
    ///
    /// # Errors
    /// A damaged file.
    pub fn record(&self, document: u32) -> Result<Record> {
        let line = self.records.get(document as usize)?;
        let broken = || damaged(&self.path.join(RECORDS));
        let mut values: Vec<Value> = serde_json::from_str(line).map_err(|_| broken())?;
        let of = values.first().and_then(Value::as_u64).ok_or_else(broken)?;
        let columns = self.columns.get(of as usize).ok_or_else(broken)?.clone();
        let texts = values.drain(1..).map(|value| match value {
            Value::String(text) => Ok(text),
            _ => Err(broken()),
        });
        let values = texts.collect::<Result<Vec<_>>>()?;
        if values.len() != columns.len() {
            return Err(broken());
        }
        Ok(Record { id: self.id(document)?.to_string(), columns, values })
    }
}
