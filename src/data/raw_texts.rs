//! Raw text for language models, streamed: lines of a text file, columns of a table.

use std::path::Path;

use super::lines::{Lines, body};
use super::notes::Notes;
use super::open::{Opened, open};
use super::rows::{Reader, extension};
use super::{ReadOptions, ReadReport};
use crate::{Error, Result};

/// Whether a file is a table by its name, and not lines of text.
pub fn is_table(path: &Path) -> bool {
    ["csv", "tsv", "jsonl", "ndjson", "json", "parquet"].contains(&extension(path).as_str())
}

/// Gives each line of a text (gzipped or not, in any encoding that is clear) to `each`, without its end; empty ones too.
///
/// # Errors
/// A file that can't be read or is empty; a line that is too long or no UTF-8, unless `options` skips and counts those; what `each` refuses.
pub fn read_lines(
    path: &Path,
    options: &ReadOptions,
    mut each: impl FnMut(u64, &str) -> Result<()>,
) -> Result<ReadReport> {
    if std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == 0) {
        return Err(Error::data(path, None, "the file is empty", "give a file with text"));
    }
    let notes = Notes::default();
    let Opened::Text { text, is_pipe } = open(path, options, &notes)? else {
        return Err(Error::data(path, None, "is a Parquet file, not lines of text", "name its columns"));
    };
    let mut lines = Lines::new(path, text, is_pipe);
    let (mut report, mut line) = (ReadReport::default(), Vec::new());
    loop {
        line.clear();
        match lines.next(&mut line) {
            Ok(false) => break,
            Ok(true) => {}
            Err(error) => {
                report.take(error, options.skip_bad_rows)?;
                continue;
            }
        }
        match std::str::from_utf8(body(&line)) {
            Ok(text) => each(lines.number(), text)?,
            Err(_) => {
                let remedy = "save the file as UTF-8, or skip and count such lines (data.skip_bad_rows = true)";
                report.take(Error::data(path, Some(lines.number()), "not UTF-8", remedy), options.skip_bad_rows)?;
            }
        }
    }
    report.notes = notes.lines(path);
    Ok(report)
}

/// Gives some columns of each row of a table (CSV, TSV, JSON lines, Parquet) to `each`; all of them where none is named.
///
/// # Errors
/// A file that can't be read; a column that is not there; a bad row, unless `options` skips and counts those; what `each` refuses.
pub fn read_columns(
    path: &Path,
    columns: &[String],
    options: &ReadOptions,
    mut each: impl FnMut(u64, &[String]) -> Result<()>,
) -> Result<ReadReport> {
    let mut reader = Reader::open(path, options)?;
    let mut values = Vec::new();
    while let Some(row) = reader.next()? {
        values.clear();
        if columns.is_empty() {
            values.extend(row.values);
        } else {
            for name in columns {
                let at = reader.column(name)?;
                values.push(row.values.get(at).cloned().unwrap_or_default());
            }
        }
        each(row.line, &values)?;
    }
    Ok(reader.report())
}
