//! A table that is not in memory: its records in a file, read when they are needed.
//!
//! A list is read once, row by row, and each record is put into a file ([`writer`]); after that any record is two numbers away. Only where
//! each record begins is in memory, 8 bytes, and while the list is read a number for each id, so that an id that is there twice is found.
//! What needs the whole list (columns of row numbers) is looked at when it is written, one column at a time. The file has a name where
//! it is opened again (`match`, which goes on after a kill), and none where one process writes and reads it: then nothing is ever left of it.
//!
//! Refused: mapping the file into memory (few records are read again, and a mapped page counts as memory in every report).

pub(super) mod writer;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::ReadReport;
use super::ready_vectors::{VectorFile, open_all};
use crate::ranker::Rows;
use crate::{Error, Record, Result, Table};

/// A table in a folder (`NAME.records`, `NAME.starts` and `NAME.json`), or in a file without a name.
pub struct StoredTable {
    head: Head,
    /// Names of the columns that are shown.
    columns: Arc<[String]>,
    /// Where they are among those of the file.
    shown: Vec<usize>,
    starts: Vec<u64>,
    records: Mutex<File>,
    /// Files of the last columns.
    vectors: Vec<VectorFile>,
    place: Place,
}

/// Where a table's records are.
pub(super) enum Place {
    /// In files that begin so.
    Named(PathBuf),
    /// In a file of this folder that has no name, and is gone with the table.
    Unnamed(PathBuf),
}

impl Place {
    /// What an error of the records names.
    fn records(&self) -> PathBuf {
        match self {
            Place::Named(place) => place.with_extension("records"),
            Place::Unnamed(folder) => folder.clone(),
        }
    }

    fn no_record(&self) -> Error {
        let what = "bytes that are no record";
        match self {
            Place::Named(_) => damaged(&self.records(), what.into()),
            Place::Unnamed(folder) => {
                Error::data(folder, None, format!("a temporary file here has {what}"), "check the disk")
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct Head {
    path: PathBuf,
    /// All columns of the records, and those that say something.
    columns: Vec<String>,
    kept: Vec<usize>,
    skipped: u64,
    examples: Vec<String>,
    notes: Vec<String>,
    /// Files of ready vectors and their columns, the last ones.
    #[serde(default)]
    vectors: Vec<(String, PathBuf)>,
}

impl Head {
    /// Of a table whose columns have not been looked at.
    fn new(path: &Path, columns: Vec<String>) -> Self {
        let (kept, examples, notes, vectors) = Default::default();
        Head { path: path.into(), columns, kept, skipped: 0, examples, notes, vectors }
    }

    /// Of a table all of whose columns are shown.
    pub(super) fn of_all(path: &Path, columns: &[String]) -> Self {
        Head { kept: (0..columns.len()).collect(), ..Head::new(path, columns.to_vec()) }
    }
}

impl StoredTable {
    /// Opens a table that was stored.
    ///
    /// # Errors
    /// The system's; files that are damaged.
    pub fn open(dir: &Path, name: &str) -> Result<Self> {
        let place = dir.join(name);
        let path = place.with_extension("json");
        let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let head: Head = serde_json::from_slice(&text).map_err(|e| damaged(&path, e.to_string()))?;
        let path = place.with_extension("starts");
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let starts: Vec<u64> =
            bytes.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().unwrap_or_default())).collect();
        let path = place.with_extension("records");
        let records = File::open(&path).map_err(Error::io("read", &path))?;
        let length = records.metadata().map_err(Error::io("read", &path))?.len();
        if starts.last() != Some(&length) || head.kept.iter().any(|i| *i >= head.columns.len()) {
            return Err(damaged(&path, "cut short".into()));
        }
        let vectors = open_all(&head.vectors, &[])?;
        Ok(StoredTable { vectors, ..StoredTable::new(head, starts, records, Place::Named(place)) })
    }

    /// One without files of vectors that shows the columns that are kept.
    fn new(head: Head, starts: Vec<u64>, records: File, place: Place) -> Self {
        let shown = head.kept.clone();
        let columns = shown.iter().map(|i| head.columns[*i].clone()).collect();
        StoredTable { head, columns, shown, starts, records: Mutex::new(records), vectors: Vec::new(), place }
    }

    /// The list without its records: where it was read from, and its columns.
    pub fn head(&self) -> Table {
        Table { path: self.head.path.clone(), columns: self.columns.clone(), records: Vec::new() }
    }

    /// What was left out, changed and guessed when it was read.
    pub fn report(&self) -> ReadReport {
        let Head { skipped, examples, notes, .. } = &self.head;
        ReadReport { skipped: *skipped, examples: examples.clone(), notes: notes.clone() }
    }

    /// Shows some of the columns only, in this order; those that the table lacks are left out.
    pub fn show(&mut self, columns: &[String]) {
        let places: Vec<(usize, String)> = columns
            .iter()
            .filter_map(|name| self.columns.iter().position(|c| c == name).map(|at| (self.shown[at], name.clone())))
            .collect();
        self.shown = places.iter().map(|(at, _)| *at).collect();
        self.columns = places.into_iter().map(|(_, name)| name).collect();
    }

    /// Some records that follow one another.
    ///
    /// # Errors
    /// The system's; a damaged file.
    pub fn range(&self, rows: Range<usize>) -> Result<Vec<Record>> {
        let mut bytes = vec![0; (self.starts[rows.end] - self.starts[rows.start]) as usize];
        self.fill(self.starts[rows.start], &mut bytes)?;
        let mut rest = &bytes[..];
        rows.map(|row| self.shown(row, self.decode(&mut rest)?.1)).collect()
    }

    /// All records, one after the other.
    pub fn iter(&self) -> impl Iterator<Item = Result<Record>> + '_ {
        self.each().enumerate().map(|(row, record)| self.shown(row, record?.1))
    }

    fn each(&self) -> impl Iterator<Item = Result<(u64, Record)>> + '_ {
        const AT_ONCE: usize = 4096;
        (0..self.len()).step_by(AT_ONCE).flat_map(move |start| {
            let end = (start + AT_ONCE).min(self.len());
            let mut bytes = vec![0; (self.starts[end] - self.starts[start]) as usize];
            let read = self.fill(self.starts[start], &mut bytes);
            let mut records = Vec::with_capacity(end - start);
            match read {
                Err(e) => records.push(Err(e)),
                Ok(()) => {
                    let mut rest = &bytes[..];
                    records.extend((start..end).map(|_| self.decode(&mut rest)));
                }
            }
            records
        })
    }

    /// A record with all its columns.
    fn all(&self, row: usize) -> Result<Record> {
        let mut bytes = vec![0; (self.starts[row + 1] - self.starts[row]) as usize];
        self.fill(self.starts[row], &mut bytes)?;
        self.decode(&mut &bytes[..]).map(|(_, record)| record)
    }

    fn shown(&self, row: usize, mut record: Record) -> Result<Record> {
        let first_vector = self.head.columns.len() - self.vectors.len();
        let value = |i: &usize| match i.checked_sub(first_vector) {
            Some(file) => self.vectors[file].cell(row, &record.id),
            // a JSON row may come before a column's first value
            None => Ok(record.values.get_mut(*i).map(std::mem::take).unwrap_or_default()),
        };
        let values = self.shown.iter().map(value).collect::<Result<_>>()?;
        Ok(Record { id: record.id, columns: self.columns.clone(), values })
    }

    fn fill(&self, start: u64, bytes: &mut [u8]) -> Result<()> {
        let mut file = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(bytes));
        read.map_err(Error::io("read", &self.place.records()))
    }

    fn decode(&self, bytes: &mut &[u8]) -> Result<(u64, Record)> {
        decode(bytes).ok_or_else(|| self.place.no_record())
    }
}

impl Rows for StoredTable {
    fn len(&self) -> usize {
        self.starts.len() - 1
    }
    fn records(&self, rows: &[u32]) -> Result<Vec<Record>> {
        let mut records = Vec::with_capacity(rows.len());
        // those that follow one another are read at once
        for run in rows.chunk_by(|a, b| *b == a + 1) {
            let first = run[0] as usize;
            records.extend(self.range(first..first + run.len())?);
        }
        Ok(records)
    }
    fn ids(&self) -> Result<Vec<Box<str>>> {
        self.each().map(|record| Ok(record?.1.id.into())).collect()
    }
}

fn damaged(path: &Path, what: String) -> Error {
    Error::data(path, None, what, "remove the folder and begin again")
}

/// The first of some records, and its line; `None` where the bytes are none.
fn decode(bytes: &mut &[u8]) -> Option<(u64, Record)> {
    let mut take = |length: usize| -> Option<&[u8]> {
        let (taken, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        Some(taken)
    };
    let line = u64::from_le_bytes(take(8)?.try_into().ok()?);
    let count = u32::from_le_bytes(take(4)?.try_into().ok()?);
    let mut text = || -> Option<String> {
        let length = u32::from_le_bytes(take(4)?.try_into().ok()?);
        String::from_utf8(take(length as usize)?.to_vec()).ok()
    };
    let id = text()?;
    let values = (0..count).map(|_| text()).collect::<Option<Vec<String>>>()?;
    Some((line, Record { id, columns: Arc::new([]), values }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ReadOptions, read_table, store_table};

    /// The same records, columns and report as in memory, or the same error.
    fn same(text: &str, name: &str, options: &ReadOptions) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let stored = store_table(&path, options, dir.path(), "left");
        match (read_table(&path, options), stored) {
            (Ok((table, report)), Ok(_)) => {
                let stored = StoredTable::open(dir.path(), "left").unwrap();
                assert_eq!((stored.len(), &stored.head().columns), (table.records.len(), &table.columns), "{text}");
                assert_eq!(stored.iter().collect::<Result<Vec<_>>>().unwrap(), table.records, "{text}");
                assert_eq!(stored.range(0..stored.len()).unwrap(), table.records);
                assert_eq!(stored.records(&[0]).unwrap(), &table.records[..1]);
                assert_eq!(stored.report(), report, "{text}");
            }
            (Err(expected), Err(error)) => assert_eq!(error.to_string(), expected.to_string()),
            (expected, found) => panic!("{text}: {:?} {:?}", expected.err(), found.err()),
        }
    }

    #[test]
    fn a_stored_table_is_the_one_that_is_read() {
        let skip = ReadOptions { skip_bad_rows: true, ..ReadOptions::default() };
        for (text, name) in [
            ("id,name,price\n1,lamp,2\n2,<b>tv</b>,\n3,NaN,4\n", "a.csv"),
            ("id,name\n1,lamp\n1,tv\n2,\n", "a.csv"),
            ("id,name\n1,lamp\n,tv\n", "a.csv"),
            (",id,name,price\n0,a,x,1\n1,b,y,2\n2,c,z,3\n3,d,w,4\nTotal,,,10\n", "a.csv"),
            ("id,name\n", "a.csv"),
            ("id;name;\n1;lamp;\n2;tv;\n", "a.csv"),
            ("{\"id\":1,\"name\":\"x\"}\n{\"id\":2,\"name\":\"y\",\"more\":\"z\"}\n", "a.jsonl"),
            ("name\tsku\nlamp 40 w\tx1\ntv 42 inch\tx2\nlamp 60 w\tx1\n", "a.tsv"),
        ] {
            same(text, name, &ReadOptions::default());
            same(text, name, &skip);
        }
    }

    #[test]
    fn columns_are_chosen_and_rows_come_by_id() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        std::fs::write(&path, "id,name,price\nb,lamp,2\na,tv,3\n").unwrap();
        let mut stored = store_table(&path, &ReadOptions::default(), dir.path(), "x").unwrap();
        assert_eq!(stored.by_id().unwrap(), [1, 0]);
        stored.show(&["price".into(), "none".into()]);
        assert_eq!(stored.records(&[1]).unwrap()[0].values, ["3"]);
        assert_eq!(&stored.head().columns[..], ["price"]);
        // a file cut short is refused
        std::fs::write(dir.path().join("x.records"), "x").unwrap();
        assert!(StoredTable::open(dir.path(), "x").err().unwrap().to_string().contains("cut short"));
    }
}
