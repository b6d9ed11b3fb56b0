//! Rows of named cells, whatever the file is; what the formats are built on.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::clean;
use super::delimited::Delimited;
use super::json::JsonRows;
use super::lines::Lines;
use super::notes::Notes;
use super::open::{Opened, open};
use super::parquet::ParquetRows;
use super::{MAX_CELL, MAX_COLUMNS, ReadOptions, ReadReport};
use crate::error::{Location, one_line};
use crate::{Error, Result};

/// A row of a file.
pub(super) struct Row {
    /// Its line, from 1 (in a Parquet file: its row).
    pub(super) line: u64,
    /// One value per column; a missing one is empty.
    pub(super) values: Vec<String>,
}

/// A file's rows, one kind of file each.
pub(super) trait Rows {
    /// The columns seen so far: all of them, but for JSON lines, where a row may bring new ones.
    fn columns(&self) -> &[String];
    /// The next row; after an error that names a line, the one after it.
    fn next(&mut self) -> Result<Option<Row>>;
}

/// The rows of a file that can be read; the others stop it, or are counted.
pub(super) struct Reader {
    path: PathBuf,
    rows: Box<dyn Rows>,
    options: ReadOptions,
    /// Bad rows so far.
    skipped: ReadReport,
    /// What was changed, left out or guessed so far.
    pub(super) notes: Notes,
}

impl Reader {
    pub(super) fn open(path: &Path, options: &ReadOptions) -> Result<Self> {
        let notes = Notes::default();
        let rows: Box<dyn Rows> = match open(path, options, &notes)? {
            Opened::Parquet(file) => Box::new(ParquetRows::new(path, file)?),
            Opened::Text { text, is_pipe } => {
                let mut lines = Lines::new(path, text, is_pipe);
                if is_json(path, lines.peek()?) {
                    Box::new(JsonRows::new(lines, &notes)?)
                } else {
                    Box::new(Delimited::new(lines, options, &notes)?)
                }
            }
        };
        Ok(Reader { path: path.into(), rows, options: options.clone(), skipped: ReadReport::default(), notes })
    }

    /// Rows dropped so far.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped.skipped
    }

    /// What was dropped, changed and guessed so far.
    pub(super) fn report(&self) -> ReadReport {
        ReadReport { notes: self.notes.lines(&self.path), ..self.skipped.clone() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn columns(&self) -> &[String] {
        self.rows.columns()
    }

    /// The next row that can be read.
    pub(super) fn next(&mut self) -> Result<Option<Row>> {
        loop {
            match self.rows.next() {
                Ok(row) => return Ok(row),
                Err(error) => self.refuse(error)?,
            }
        }
    }

    /// A format's complaint about a row: counted where bad rows are skipped, else given back.
    pub(super) fn refuse(&mut self, error: Error) -> Result<()> {
        self.skipped.take(error, self.options.skip_bad_rows)
    }

    /// Where a column is; an error that lists the columns where it is not there.
    pub(super) fn column(&self, name: &str) -> Result<usize> {
        self.columns().iter().position(|c| c == name).ok_or_else(|| {
            let what = format!("no column `{name}`; there is: {}", self.columns().join(", "));
            Error::data(&self.path, None, what, "name one of these, or add it")
        })
    }
}

fn is_json(path: &Path, start: &[u8]) -> bool {
    match extension(path).as_str() {
        "jsonl" | "ndjson" | "json" => true,
        "csv" | "tsv" => false,
        _ => matches!(start.trim_ascii_start().first(), Some(b'{' | b'[')),
    }
}

/// The extension in lower case, that of the packed file for `.gz`.
pub(super) fn extension(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.rsplit_once('.').map_or_else(String::new, |(_, e)| e.to_string())
}

/// An error at a cell.
pub(super) fn bad_cell(
    path: &Path,
    line: u64,
    column: &str,
    what: impl Into<String>,
    remedy: impl Into<String>,
) -> Error {
    let place = Location { path: path.into(), line: Some(line), column: Some(one_line(column.into())) };
    Error::Data { place, what: one_line(what.into()), remedy: one_line(remedy.into()) }
}

/// Refuses a cell beyond [`MAX_CELL`].
pub(super) fn bounded(path: &Path, line: u64, column: impl FnOnce() -> String, bytes: usize) -> Result<()> {
    if bytes <= MAX_CELL {
        return Ok(());
    }
    let what = format!("a cell of {bytes} bytes; the most is {MAX_CELL}");
    Err(bad_cell(path, line, &column(), what, "cut it down, or leave the column out"))
}

/// Refuses more columns than a list of products has.
pub(super) fn few_columns(path: &Path, line: u64, columns: usize) -> Result<()> {
    if columns <= MAX_COLUMNS {
        return Ok(());
    }
    let what = format!("more than {MAX_COLUMNS} columns");
    let remedy = "keep the columns that describe a product, or write each product's properties in one column";
    // without a line in its place: this is no bad row that could be skipped, the next one has as many
    Err(Error::data(path, None, format!("{what} (in line {line})"), remedy))
}

/// Refuses two columns of one name; gives a name to those without, but for the first: a nameless first column is the row
/// number that pandas writes.
pub(super) fn header(path: &Path, names: Vec<String>) -> Result<Vec<String>> {
    few_columns(path, 1, names.len())?;
    let mut seen = HashSet::with_capacity(names.len());
    let mut columns: Vec<String> = Vec::with_capacity(names.len());
    for (i, name) in names.into_iter().enumerate() {
        // a spreadsheet breaks a long name in its cell
        let name = clean::id(&name).replace("\r\n", " ").replace(['\n', '\r'], " ");
        let name = if name.is_empty() && i > 0 { format!("column {}", i + 1) } else { name };
        if !seen.insert(name.clone()) {
            let what = format!("two columns are called `{name}`");
            return Err(bad_cell(path, 1, &(i + 1).to_string(), what, "rename one of them"));
        }
        columns.push(name);
    }
    Ok(columns)
}

/// A row's line and its cells.
pub type PlainRow = (u64, Vec<String>);

/// The columns of a file and all of its rows as they are, for what is no table of records.
///
/// # Errors
/// A file or a row that can't be read.
pub fn read_rows(path: &Path, options: &ReadOptions) -> Result<(Vec<String>, Vec<PlainRow>)> {
    let mut reader = Reader::open(path, options)?;
    let mut rows = Vec::new();
    while let Some(row) = reader.next()? {
        rows.push((row.line, row.values));
    }
    let columns = reader.columns().to_vec();
    // a row of JSON may bring new columns
    rows.iter_mut().for_each(|(_, values)| values.resize(columns.len(), String::new()));
    Ok((columns, rows))
}
