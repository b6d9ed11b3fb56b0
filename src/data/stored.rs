//! A table that is not in memory: its records in a file, read when they are needed.
//!
//! `match` reads a list once, row by row, and puts each record in a file of its own; after that any record is two numbers away. Only where
//! each record begins is in memory, 8 bytes, and while the list is read a number for each id, so that an id that is there twice is found.
//! What needs the whole list (columns of row numbers) is looked at when it is written, one column at a time.
//!
//! Refused: mapping the file into memory (few records are read again, and a mapped page counts as memory in every report).

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::fs::File;
use std::hash::Hasher;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::ready_vectors::{VectorFile, open_all};
use super::rows::Row;
use super::table::{LAST, begin, drops, id_again, no_id, record, refuse_empty, without_totals};
use super::{ReadOptions, ReadReport};
use crate::{Error, Record, Result, Table};

/// A table in a folder: `NAME.records`, `NAME.starts` and `NAME.json`.
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
    place: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Head {
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
}

/// Reads a table as [`read_table`](super::read_table) does, into files of a folder that is there.
///
/// # Errors
/// Those of [`read_table`](super::read_table), but for its memory; the system's.
pub fn store_table(path: &Path, options: &ReadOptions, dir: &Path, name: &str) -> Result<StoredTable> {
    let (mut reader, first, id_at) = begin(path, options)?;
    let mut writer = Writer::new(dir, name)?;
    let mut seen: HashMap<u64, u32> = HashMap::new();
    let mut put = |writer: &mut Writer, reader: &mut super::rows::Reader, line: u64, record: &Record| -> Result<()> {
        if record.id.is_empty() {
            let error = no_id(reader, line, id_at);
            return reader.refuse(error);
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(record.id.as_bytes());
        // another id of the same number: the next number
        let mut key = hasher.finish();
        loop {
            match seen.entry(key) {
                Entry::Vacant(free) => {
                    free.insert(writer.rows()?);
                    return writer.put(line, record);
                }
                Entry::Occupied(row) => {
                    let (first, earlier) = writer.read(*row.get())?;
                    if earlier.id == record.id {
                        return reader.refuse(id_again(path, line, &record.id, first));
                    }
                    key = key.wrapping_add(1);
                }
            }
        }
    };
    // the last rows may be sums
    let unnamed: Arc<[String]> = Arc::new([]);
    let (mut lines, mut records) = (Vec::new(), Vec::new());
    let (mut first, mut before) = (first.into_iter(), 0);
    while let Some(row) = first.next().map_or_else(|| reader.next(), |row: Row| Ok(Some(row)))? {
        lines.push(row.line);
        records.push(record(&reader.notes, row, id_at, &unnamed));
        if records.len() > LAST {
            let (line, record) = (lines.remove(0), records.remove(0));
            put(&mut writer, &mut reader, line, &record)?;
            before += 1;
        }
    }
    without_totals(&mut records, &lines, before, &reader.notes);
    for (line, record) in lines.iter().zip(&records) {
        put(&mut writer, &mut reader, *line, record)?;
    }
    let mut columns = reader.columns().to_vec();
    if let Some(at) = id_at {
        columns.remove(at);
    }
    let mut table = writer.finish(Head::new(path, columns))?;
    let first = if table.is_empty() { None } else { Some(table.all(0)?) };
    for (i, column) in table.head.columns.iter().enumerate() {
        let value = |record: &Record| record.values.get(i).cloned().unwrap_or_default();
        let first = first.as_ref().map(value).unwrap_or_default();
        let values = || table.each().map(|record| record.map(|(_, record)| value(&record))).collect();
        if !drops(column, &first, reader.skipped(), &reader.notes, values)? {
            table.shown.push(i);
        }
    }
    table.columns = table.shown.iter().map(|i| table.head.columns[*i].clone()).collect();
    refuse_empty(path, table.len(), &table.columns)?;
    let ReadReport { skipped, examples, mut notes } = reader.report();
    table.vectors = open_all(&options.vectors, &table.columns)?;
    for file in &table.vectors {
        let ids = table.each().map(|record| record.map_or(String::new(), |(_, record)| record.id));
        file.check(path, table.len(), ids)?;
        notes.push(file.note());
        table.shown.push(table.head.columns.len());
        table.head.columns.push(file.column.clone());
    }
    table.columns = table.shown.iter().map(|i| table.head.columns[*i].clone()).collect();
    table.head.vectors = options.vectors.clone();
    table.head.kept = table.shown.clone();
    table.head = Head { skipped, examples, notes, ..table.head };
    table.save()?;
    Ok(table)
}

/// Puts a table that is in memory into files of a folder that is there.
///
/// # Errors
/// The system's.
pub fn store_records(table: &Table, dir: &Path, name: &str) -> Result<StoredTable> {
    let mut writer = Writer::new(dir, name)?;
    for (line, record) in (1..).zip(&table.records) {
        writer.put(line, record)?;
    }
    let kept = (0..table.columns.len()).collect();
    let head = Head { kept, ..Head::new(&table.path, table.columns.to_vec()) };
    let mut stored = writer.finish(head)?;
    (stored.shown, stored.columns) = (stored.head.kept.clone(), table.columns.clone());
    stored.save()?;
    Ok(stored)
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
        let shown = head.kept.clone();
        let columns = shown.iter().map(|i| head.columns[*i].clone()).collect();
        let vectors = open_all(&head.vectors, &[])?;
        Ok(StoredTable { head, columns, shown, starts, records: Mutex::new(records), vectors, place })
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// True without a record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
        rows.map(|row| self.shown(row, decode(&mut rest).ok_or_else(|| self.damaged())?.1)).collect()
    }

    /// Some records, in the order of `rows`.
    ///
    /// # Errors
    /// The system's; a damaged file.
    pub fn records(&self, rows: &[u32]) -> Result<Vec<Record>> {
        rows.iter().map(|row| self.shown(*row as usize, self.all(*row as usize)?)).collect()
    }

    /// All records, one after the other.
    pub fn iter(&self) -> impl Iterator<Item = Result<Record>> + '_ {
        self.each().enumerate().map(|(row, record)| self.shown(row, record?.1))
    }

    /// The rows in the order of their ids' letters.
    ///
    /// # Errors
    /// The system's; a damaged file.
    pub fn by_id(&self) -> Result<Vec<u32>> {
        let mut ids = Vec::with_capacity(self.len());
        for record in self.each() {
            ids.push(record?.1.id.into_boxed_str());
        }
        let mut rows: Vec<u32> = (0..self.len() as u32).collect();
        rows.sort_by(|a, b| ids[*a as usize].cmp(&ids[*b as usize]));
        Ok(rows)
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
                    records.extend((start..end).map(|_| decode(&mut rest).ok_or_else(|| self.damaged())));
                }
            }
            records
        })
    }

    /// A record with all its columns.
    fn all(&self, row: usize) -> Result<Record> {
        let mut bytes = vec![0; (self.starts[row + 1] - self.starts[row]) as usize];
        self.fill(self.starts[row], &mut bytes)?;
        decode(&mut &bytes[..]).map(|(_, record)| record).ok_or_else(|| self.damaged())
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
        read.map_err(Error::io("read", &self.place.with_extension("records")))
    }

    fn damaged(&self) -> Error {
        damaged(&self.place.with_extension("records"), "bytes that are no record".into())
    }

    fn save(&self) -> Result<()> {
        let path = self.place.with_extension("json");
        let text = serde_json::to_vec(&self.head).map_err(|e| damaged(&path, e.to_string()))?;
        std::fs::write(&path, text).map_err(Error::io("write", &path))
    }
}

fn damaged(path: &Path, what: String) -> Error {
    Error::data(path, None, what, "remove the folder and begin again")
}

/// A table on its way into files.
struct Writer {
    place: PathBuf,
    records: BufWriter<File>,
    starts: Vec<u64>,
    end: u64,
    bytes: Vec<u8>,
}

impl Writer {
    fn new(dir: &Path, name: &str) -> Result<Self> {
        let place = dir.join(name);
        let path = place.with_extension("records");
        let file = File::create_new(&path).map_err(Error::io("create", &path))?;
        Ok(Writer {
            place,
            records: BufWriter::with_capacity(1 << 20, file),
            starts: Vec::new(),
            end: 0,
            bytes: Vec::new(),
        })
    }

    fn rows(&self) -> Result<u32> {
        let what = "a list has at most 4,294,967,294 records; divide it";
        u32::try_from(self.starts.len()).map_err(|_| Error::setting("records", self.starts.len(), what))
    }

    fn put(&mut self, line: u64, record: &Record) -> Result<()> {
        self.bytes.clear();
        self.bytes.extend(line.to_le_bytes());
        self.bytes.extend((record.values.len() as u32).to_le_bytes());
        for text in std::iter::once(&record.id).chain(&record.values) {
            self.bytes.extend((text.len() as u32).to_le_bytes());
            self.bytes.extend(text.as_bytes());
        }
        self.starts.push(self.end);
        self.end += self.bytes.len() as u64;
        self.records.write_all(&self.bytes).map_err(Error::io("write", &self.place.with_extension("records")))
    }

    /// A record that was put, and its line. Rare: for ids that are there twice.
    fn read(&mut self, row: u32) -> Result<(u64, Record)> {
        let path = self.place.with_extension("records");
        let mut read = || -> std::io::Result<_> {
            self.records.flush()?;
            let mut file = BufReader::new(File::open(&path)?);
            file.seek(SeekFrom::Start(self.starts[row as usize]))?;
            let end = self.starts.get(row as usize + 1).copied().unwrap_or(self.end);
            let mut bytes = vec![0; (end - self.starts[row as usize]) as usize];
            file.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(Error::io("read", &path))?;
        decode(&mut &bytes[..]).ok_or_else(|| damaged(&path, "bytes that are no record".into()))
    }

    fn finish(mut self, head: Head) -> Result<StoredTable> {
        let path = self.place.with_extension("records");
        self.records.flush().map_err(Error::io("write", &path))?;
        let records = File::open(&path).map_err(Error::io("read", &path))?;
        self.starts.push(self.end);
        let path = self.place.with_extension("starts");
        let bytes: Vec<u8> = self.starts.iter().flat_map(|start| start.to_le_bytes()).collect();
        std::fs::write(&path, bytes).map_err(Error::io("write", &path))?;
        let (starts, place) = (self.starts, self.place);
        let (columns, records) = (Arc::new([]), Mutex::new(records));
        Ok(StoredTable { head, columns, shown: Vec::new(), starts, records, vectors: Vec::new(), place })
    }
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
    use crate::data::read_table;

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
