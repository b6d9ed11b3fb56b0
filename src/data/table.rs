//! A free table: any columns, one of them the id.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::rows::{Reader, bad_cell};
use super::{ReadOptions, Skipped};
use crate::{Error, Record, Result, Table};

/// Reads a table (CSV, TSV, JSON lines, Parquet; text may be gzipped). The id is the column that `options` names, else
/// `id`, else the first. A nameless first column beside another id is pandas' row number and is left out.
///
/// # Errors
/// A file that can't be read, has no rows, or has nothing but ids; a bad row or an id that stands twice, unless
/// `options` skips bad rows (of two equal ids the first is kept).
pub fn read_table(path: &Path, options: &ReadOptions) -> Result<(Table, Skipped)> {
    let mut reader = Reader::open(path, options)?;
    let unnamed: Arc<[String]> = Arc::new([]);
    let mut id_at = None;
    let mut lines: Vec<u64> = Vec::new();
    let mut records: Vec<Record> = Vec::new();
    while let Some(mut row) = reader.next()? {
        let at = match id_at {
            Some(at) => at,
            None => *id_at.insert(id_column(&reader, options)?),
        };
        // A later JSON line never moves the columns before it, so the id stays where it is.
        let id = row.values.remove(at).trim().to_string();
        if id.is_empty() {
            let column = reader.columns()[at].clone();
            reader.refuse(bad_cell(path, row.line, &column, "a row without an id", "give it one"))?;
            continue;
        }
        lines.push(row.line);
        records.push(Record { id, columns: unnamed.clone(), values: row.values });
    }
    let mut columns = reader.columns().to_vec();
    if columns.len() == 1 {
        let what = format!("only one column, `{}`: no text to compare", columns[0]);
        return Err(Error::data(path, None, what, "give a table with an id and texts, cells divided by , ; | or tab"));
    }
    let Some(at) = id_at else {
        return Err(Error::data(path, None, "no rows below the header", "give a table with rows"));
    };
    columns.remove(at);
    let number = at != 0 && columns[0].is_empty();
    if number {
        log::info!("{}: the first column has no name and is left out", path.display());
        columns.remove(0);
    }
    let columns: Arc<[String]> = columns.into();
    for record in &mut records {
        if number {
            record.values.remove(0);
        }
        record.values.resize(columns.len(), String::new());
        record.columns = columns.clone();
    }
    let twice = repeated(&records);
    for &(first, again) in &twice {
        let what = format!("the id `{}` stands in line {} already", records[again].id, lines[first]);
        let error =
            Error::data(path, Some(lines[again]), what, "give each row an id of its own, or name another id column");
        reader.refuse(error)?;
    }
    let mut drop = twice.iter().map(|t| t.1).peekable();
    let mut i = 0;
    records.retain(|_| {
        i += 1;
        drop.next_if_eq(&(i - 1)).is_none()
    });
    Ok((Table { path: path.into(), columns, records }, reader.skipped))
}

fn id_column(reader: &Reader, options: &ReadOptions) -> Result<usize> {
    match &options.id {
        Some(name) => reader.column(name),
        None if reader.columns().is_empty() => {
            Err(Error::data(reader.path(), None, "no columns", "give a table with an id and texts"))
        }
        None => Ok(reader.columns().iter().position(|c| c == "id").unwrap_or(0)),
    }
}

/// Rows whose id an earlier row has, in order: (the earlier, the later).
fn repeated(records: &[Record]) -> Vec<(usize, usize)> {
    let mut seen = HashMap::with_capacity(records.len());
    let mut twice = Vec::new();
    for (i, record) in records.iter().enumerate() {
        match seen.get(record.id.as_str()) {
            Some(&first) => twice.push((first, i)),
            None => _ = seen.insert(record.id.as_str(), i),
        }
    }
    twice
}

/// Rows by id.
pub(super) fn by_id(records: &[Record]) -> HashMap<&str, u32> {
    records.iter().zip(0..).map(|(r, i)| (r.id.as_str(), i)).collect()
}
