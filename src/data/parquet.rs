//! Parquet through the crate's row interface: one row at a time, one row group's pages in memory. The crate was written
//! for files that are whole: a damaged one can make it panic, so calls into it are fenced and a panic becomes the error
//! that it should have been. A list becomes the cell that the same list in a line of JSON becomes: ready vectors are read from both.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::Field;
use ::parquet::record::reader::RowIter;

use super::rows::{Row, Rows, bad_cell, bounded, header};
use crate::{Error, Result};

/// The rows of a Parquet file.
pub(super) struct ParquetRows {
    path: PathBuf,
    columns: Vec<String>,
    rows: RowIter<'static>,
    number: u64,
}

impl ParquetRows {
    pub(super) fn new(path: &Path, file: File) -> Result<Self> {
        let reader = fenced(|| SerializedFileReader::new(file)).map_err(|e| broken(path, 0, &e))?;
        let fields = reader.metadata().file_metadata().schema().get_fields();
        let columns = header(path, fields.iter().map(|f| f.name().to_string()).collect())?;
        Ok(ParquetRows { path: path.into(), columns, rows: reader.into_iter(), number: 0 })
    }
}

/// Calls into the Parquet crate; a panic there is a damaged file.
fn fenced<T>(call: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(ParquetError::General("its pages contradict each other".into())))
}

/// A value as text; a time beyond the calendar as its number.
fn shown(field: &Field) -> String {
    match field {
        Field::Date(days) if days.unsigned_abs() > 90_000_000 => days.to_string(),
        Field::TimestampMillis(t) if t.unsigned_abs() > 8_000_000_000_000_000 => t.to_string(),
        Field::TimestampMicros(t) if t.unsigned_abs() > 8_000_000_000_000_000_000 => t.to_string(),
        Field::ListInternal(list) => format!("[{}]", list.elements().iter().map(element).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// A list's value as JSON has it; a number as in a cell of its own, and not with the exponent that the crate gives those below zero.
fn element(field: &Field) -> String {
    match field {
        Field::Float(x) => x.to_string(),
        Field::Double(x) => x.to_string(),
        Field::Str(text) => serde_json::Value::from(text.as_str()).to_string(),
        other => shown(other),
    }
}

fn broken(path: &Path, row: u64, error: &ParquetError) -> Error {
    let what = format!("not a readable Parquet file (after row {row}): {error}").replace('\n', " ");
    let remedy = match error {
        ParquetError::NYI(_) => {
            "write it with another compression (zstd, snappy, gzip, brotli, lz4 or none) or encoding"
        }
        _ => "it is cut off or damaged: write or copy it again",
    };
    Error::data(path, None, what, remedy)
}

impl Rows for ParquetRows {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn next(&mut self) -> Result<Option<Row>> {
        let rows = &mut self.rows;
        let row = fenced(|| rows.next().transpose()).map_err(|e| broken(&self.path, self.number, &e))?;
        let Some(row) = row else { return Ok(None) };
        self.number += 1;
        let mut values = Vec::with_capacity(self.columns.len());
        for ((_, field), column) in row.into_columns().into_iter().zip(&self.columns) {
            let value = match field {
                Field::Null => String::new(),
                Field::Str(text) => text,
                Field::Float(x) if x.is_nan() => String::new(),
                Field::Double(x) if x.is_nan() => String::new(),
                Field::Float(x) => x.to_string(),
                Field::Double(x) => x.to_string(),
                Field::Bytes(bytes) => match bytes.as_utf8() {
                    Ok(text) => text.to_string(),
                    Err(_) => {
                        let what = "bytes that are not UTF-8";
                        return Err(bad_cell(&self.path, self.number, column, what, "write the column as text"));
                    }
                },
                other => fenced(|| Ok(shown(&other))).map_err(|e| broken(&self.path, self.number, &e))?,
            };
            bounded(&self.path, self.number, || column.clone(), value.len())?;
            values.push(value);
        }
        Ok(Some(Row { line: self.number, values }))
    }
}
