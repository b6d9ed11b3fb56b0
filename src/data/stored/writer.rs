//! Records on their way into a file: a table's, row by row, or those that are in memory.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use super::{Head, Place, StoredTable, damaged, decode};
use crate::data::ready_vectors::open_all;
use crate::data::rows::{Reader, Row};
use crate::data::table::{LAST, begin, drops, id_again, no_id, record, refuse_empty, without_totals};
use crate::data::{ReadOptions, ReadReport};
use crate::ranker::Rows;
use crate::{Error, Record, Result, Table};

/// Reads a table as [`read_table`](crate::data::read_table) does, into files of a folder that is there.
///
/// # Errors
/// Those of [`read_table`](crate::data::read_table), but for its memory; the system's.
pub fn store_table(path: &Path, options: &ReadOptions, dir: &Path, name: &str) -> Result<StoredTable> {
    store_rows(path, options, Place::Named(dir.join(name)))
}

/// Puts a table that is in memory into files of a folder that is there.
///
/// # Errors
/// The system's.
pub fn store_records(table: &Table, dir: &Path, name: &str) -> Result<StoredTable> {
    store_all(table, Place::Named(dir.join(name)))
}

/// Puts a table that is in memory into a place.
pub(in crate::data) fn store_all(table: &Table, place: Place) -> Result<StoredTable> {
    let mut writer = Writer::new(place)?;
    for (line, record) in (1..).zip(&table.records) {
        writer.put(line, record)?;
    }
    let stored = writer.finish(Head::of_all(&table.path, &table.columns))?;
    stored.save()?;
    Ok(stored)
}

/// Reads a table into a place.
pub(in crate::data) fn store_rows(path: &Path, options: &ReadOptions, place: Place) -> Result<StoredTable> {
    let (mut reader, first, id_at) = begin(path, options)?;
    let mut writer = Writer::new(place)?;
    let put = |writer: &mut Writer, reader: &mut Reader, line: u64, record: &Record| -> Result<()> {
        if record.id.is_empty() {
            let error = no_id(reader, line, id_at);
            return reader.refuse(error);
        }
        match writer.put_new(line, record)? {
            None => Ok(()),
            Some(first) => reader.refuse(id_again(path, line, &record.id, first)),
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

impl StoredTable {
    /// Writes what [`StoredTable::open`] reads first; a table without a name is not opened again.
    fn save(&self) -> Result<()> {
        let Place::Named(place) = &self.place else { return Ok(()) };
        let path = place.with_extension("json");
        let text = serde_json::to_vec(&self.head).map_err(|e| damaged(&path, e.to_string()))?;
        std::fs::write(&path, text).map_err(Error::io("write", &path))
    }
}

/// A table on its way into a file, from which it is read meanwhile.
pub(in crate::data) struct Writer {
    place: Place,
    records: BufWriter<File>,
    starts: Vec<u64>,
    end: u64,
    bytes: Vec<u8>,
    /// Rows by a number that is made of their ids.
    seen: HashMap<u64, u32>,
}

impl Writer {
    pub(in crate::data) fn new(place: Place) -> Result<Self> {
        let path = place.records();
        let file = match &place {
            Place::Named(_) => File::options().read(true).write(true).create_new(true).open(&path),
            Place::Unnamed(folder) => tempfile::tempfile_in(folder),
        };
        let records = BufWriter::with_capacity(1 << 20, file.map_err(Error::io("create", &path))?);
        let (starts, bytes, seen) = Default::default();
        Ok(Writer { place, records, starts, end: 0, bytes, seen })
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
        self.records.write_all(&self.bytes).map_err(Error::io("write", &self.place.records()))
    }

    /// Adds a record, unless an earlier one has its id; gives that one's line.
    pub(in crate::data) fn put_new(&mut self, line: u64, record: &Record) -> Result<Option<u64>> {
        let mut hasher = DefaultHasher::new();
        hasher.write(record.id.as_bytes());
        // another id of the same number: the next number
        let mut key = hasher.finish();
        while let Some(&row) = self.seen.get(&key) {
            let (first, earlier) = self.read(row)?;
            if earlier.id == record.id {
                return Ok(Some(first));
            }
            key = key.wrapping_add(1);
        }
        self.seen.insert(key, self.rows()?);
        self.put(line, record).map(|()| None)
    }

    /// A record that was put, and its line. Rare: for ids that are there twice.
    fn read(&mut self, row: u32) -> Result<(u64, Record)> {
        let start = self.starts[row as usize];
        let end = self.starts.get(row as usize + 1).copied().unwrap_or(self.end);
        let mut bytes = vec![0; (end - start) as usize];
        let mut read = || {
            self.records.seek(SeekFrom::Start(start))?;
            self.records.get_mut().read_exact(&mut bytes)?;
            self.records.seek(SeekFrom::End(0))
        };
        read().map_err(Error::io("read", &self.place.records()))?;
        decode(&mut &bytes[..]).ok_or_else(|| self.place.no_record())
    }

    pub(in crate::data) fn finish(mut self, head: Head) -> Result<StoredTable> {
        let written = self.records.into_inner().map_err(|e| e.into_error());
        let records = written.map_err(Error::io("write", &self.place.records()))?;
        self.starts.push(self.end);
        if let Place::Named(place) = &self.place {
            let path = place.with_extension("starts");
            let bytes: Vec<u8> = self.starts.iter().flat_map(|start| start.to_le_bytes()).collect();
            std::fs::write(&path, bytes).map_err(Error::io("write", &path))?;
        }
        Ok(StoredTable::new(head, self.starts, records, self.place))
    }
}
