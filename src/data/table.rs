//! A free table: any columns, one of them the id.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::notes::Notes;
use super::ready_vectors::open_all;
use super::residue::{is_hollow, is_row_numbers, is_total};
use super::rows::{Reader, Row, bad_cell};
use super::{ReadOptions, ReadReport, clean, identity, memory};
use crate::{Error, Record, Result, Table};

/// Rows from which the id column is found out.
const SAMPLE: usize = 1000;
/// Rows at a table's end among which sums are looked for.
pub(super) const LAST: usize = 3;

/// Reads a table (CSV, TSV, JSON, Parquet; text may be gzipped). The id is the column that `options` names, else the one
/// called `id`, else the first; where the first holds texts, a column of codes, else the line numbers. Columns of row
/// numbers are left out, and so are rows of sums at the end. Cells are cleaned: HTML, words for a missing value,
/// invisible characters.
///
/// # Errors
/// A file that can't be read, has no rows, or has nothing but ids; a bad row or an id that is there twice, unless
/// `options` skips bad rows (of two equal ids the first is kept); a table beyond the memory's limit; a vector file that does not fit.
pub fn read_table(path: &Path, options: &ReadOptions) -> Result<(Table, ReadReport)> {
    let (mut reader, first, id_at) = begin(path, options)?;
    let unnamed: Arc<[String]> = Arc::new([]);
    let (mut lines, mut records, mut taken) = (Vec::new(), Vec::new(), 0usize);
    let mut first = first.into_iter();
    while let Some(row) = first.next().map_or_else(|| reader.next(), |row| Ok(Some(row)))? {
        let line = row.line;
        let record = record(&reader.notes, row, id_at, &unnamed);
        taken += memory::taken(&record.values);
        if taken > memory::limit() {
            let what = format!("the table takes more than {} GiB of memory (line {line})", memory::limit() >> 30);
            return Err(Error::data(path, None, what, "match it in parts, or leave out columns that are not compared"));
        }
        lines.push(line);
        records.push(record);
    }
    let mut columns = reader.columns().to_vec();
    if let Some(at) = id_at {
        columns.remove(at);
    }
    without_totals(&mut records, &lines, 0, &reader.notes);
    refuse_bad_ids(&mut reader, &mut records, &lines, id_at)?;
    let dropped = columns_to_drop(&columns, &records, reader.skipped(), &reader.notes);
    let mut at = 0..columns.len();
    columns.retain(|_| !at.next().is_some_and(|i| dropped.contains(&i)));
    refuse_empty(path, records.len(), &columns)?;
    let all = columns.len() + dropped.len();
    let vectors = open_all(&options.vectors, &columns)?;
    let named = columns.into_iter().chain(vectors.iter().map(|file| file.column.clone()));
    let columns: Arc<[String]> = named.collect();
    for record in &mut records {
        record.values.resize(all, String::new());
        if !dropped.is_empty() {
            let mut at = 0..all;
            record.values.retain(|_| !at.next().is_some_and(|i| dropped.contains(&i)));
        }
        record.columns = columns.clone();
    }
    let mut report = reader.report();
    for file in &vectors {
        file.check(path, records.len(), records.iter().map(|record| &record.id))?;
        report.notes.push(file.note());
        for (row, record) in records.iter_mut().enumerate() {
            record.values.push(file.cell(row, &record.id)?);
        }
    }
    Ok((Table { path: path.into(), columns, records }, report))
}

/// Opens a table: its first rows, and where its ids are.
pub(super) fn begin(path: &Path, options: &ReadOptions) -> Result<(Reader, Vec<Row>, Option<usize>)> {
    let mut reader = Reader::open(path, options)?;
    let mut first: Vec<Row> = Vec::new();
    while first.len() < SAMPLE
        && let Some(row) = reader.next()?
    {
        first.push(row);
    }
    if first.is_empty() && reader.columns().len() != 1 {
        return Err(Error::data(path, None, "no rows below the header", "give a table with rows"));
    }
    let id_at = identity::column(&reader, &first, options.id.as_deref())?;
    if reader.columns().len() == 1 && id_at.is_some() {
        let what = format!("only one column, `{}`: no text to compare", reader.columns()[0]);
        let remedy = "give a table with an id and texts, cells divided by , ; | or tab (or what --delimiter says)";
        return Err(Error::data(path, None, what, remedy));
    }
    if let [only] = &first[..]
        && !only.values.is_empty()
        && only.values.iter().all(|v| v.starts_with(['{', '[']))
    {
        let what = "one JSON object whose values are objects or arrays: columns, not a list of records";
        return Err(Error::data(
            path,
            None,
            what,
            "write one object a line (in pandas: orient=\"records\", lines=True)",
        ));
    }
    Ok((reader, first, id_at))
}

/// A row as a record whose columns are yet to be set.
pub(super) fn record(notes: &Notes, mut row: Row, id_at: Option<usize>, columns: &Arc<[String]>) -> Record {
    let id = match id_at {
        None => row.line.to_string(),
        // a later JSON row never moves the columns before it, so the id stays where it is
        Some(at) if at < row.values.len() => clean::id(&row.values.remove(at)),
        Some(_) => String::new(), // a JSON row before the first that has an id
    };
    for value in &mut row.values {
        clean::clean(notes, row.line, value);
    }
    Record { id, columns: columns.clone(), values: row.values }
}

/// Takes sums off a table's end; `before` rows are not among these.
pub(super) fn without_totals(records: &mut Vec<Record>, lines: &[u64], before: usize, notes: &Notes) {
    let start = records.len().saturating_sub(LAST);
    let kept = (start..records.len()).find(|i| is_total(&records[*i])).unwrap_or(records.len());
    if kept + before > 0
        && records[kept..].iter().all(|r| is_total(r) || r.values.iter().all(String::is_empty))
        && kept < records.len()
    {
        notes.say(format!(
            "{} at the end (line {}), a sum of the others, left out",
            rows(records.len() - kept),
            lines[kept]
        ));
        records.truncate(kept);
    }
}

/// Refuses a table in which nothing is left.
pub(super) fn refuse_empty(path: &Path, rows: usize, columns: &[String]) -> Result<()> {
    if rows == 0 {
        return Err(Error::data(path, None, "no rows below the header", "give a table with rows"));
    }
    match columns.is_empty() {
        true => Err(Error::data(path, None, "no column but the ids: no text to compare", "give a table with texts")),
        false => Ok(()),
    }
}

fn rows(count: usize) -> String {
    if count == 1 { "a row".into() } else { format!("{count} rows") }
}

/// Columns that say nothing about a product.
fn columns_to_drop(columns: &[String], records: &[Record], skipped: u64, notes: &Notes) -> HashSet<usize> {
    let says_nothing = |i: usize| {
        let value = |r: &'_ Record| r.values.get(i).cloned().unwrap_or_default();
        let first = records.first().map(value).unwrap_or_default();
        drops(&columns[i], &first, skipped, notes, || Ok(records.iter().map(value).collect()))
    };
    // what is in memory can be read
    (0..columns.len()).filter(|i| says_nothing(*i).unwrap_or(false)).collect()
}

/// Whether a column says nothing about a product. Its first value says whether the others have to be looked at.
pub(super) fn drops(
    column: &str,
    first: &str,
    skipped: u64,
    notes: &Notes,
    values: impl Fn() -> Result<Vec<String>>,
) -> Result<bool> {
    let is_of = |is: &dyn Fn(&[&str]) -> bool| -> Result<bool> {
        let values = values()?;
        Ok(is(&values.iter().map(String::as_str).collect::<Vec<_>>()))
    };
    if is_row_numbers(column, &[first], u64::MAX >> 1) && is_of(&|values| is_row_numbers(column, values, skipped))? {
        let called =
            if column.is_empty() { "a column without a name".into() } else { format!("the column `{column}`") };
        notes.say(format!("{called} holds row numbers and is left out"));
        return Ok(true);
    }
    Ok(is_hollow(column, &[first]) && is_of(&|values| is_hollow(column, values))?)
}

/// Refuses rows without an id, and those whose id an earlier row has.
fn refuse_bad_ids(reader: &mut Reader, records: &mut Vec<Record>, lines: &[u64], id_at: Option<usize>) -> Result<()> {
    let mut seen = HashMap::with_capacity(records.len());
    let mut bad = HashSet::new();
    for (i, record) in records.iter().enumerate() {
        if record.id.is_empty() {
            let error = no_id(reader, lines[i], id_at);
            reader.refuse(error)?;
            bad.insert(i);
            continue;
        }
        let Some(&first) = seen.get(record.id.as_str()) else {
            seen.insert(record.id.as_str(), i);
            continue;
        };
        let error = id_again(reader.path(), lines[i], &record.id, lines[first]);
        reader.refuse(error)?;
        bad.insert(i);
    }
    if !bad.is_empty() {
        let mut at = 0..records.len();
        records.retain(|_| !at.next().is_some_and(|i| bad.contains(&i)));
    }
    Ok(())
}

pub(super) fn no_id(reader: &Reader, line: u64, id_at: Option<usize>) -> Error {
    let column = id_at.map_or(String::new(), |at| reader.columns()[at].clone());
    let remedy = "give it one, or name another column with --id";
    bad_cell(reader.path(), line, &column, "a row without an id", remedy)
}

pub(super) fn id_again(path: &Path, line: u64, id: &str, first: u64) -> Error {
    let what = format!("the id `{}` is in line {first} already", id.escape_debug());
    let remedy = "give each row an id of its own, or name another id column with --id";
    Error::data(path, Some(line), what, remedy)
}

/// Rows by id.
pub(super) fn by_id(records: &[Record]) -> HashMap<&str, u32> {
    records.iter().zip(0..).map(|(r, i)| (r.id.as_str(), i)).collect()
}
