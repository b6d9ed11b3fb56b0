//! CSV and TSV: cells between delimiters, RFC 4180 quotes, a header. The delimiter (`,` `;` tab `|`) is the one under
//! which most of the first rows have the header's number of cells.
//!
//! Quotes are checked as they are read: one that opens a cell must close it. With `skip_bad_rows`, a quote that never
//! closes costs its own line only; the lines it seemed to hold are given back and read again.

use super::lines::{Lines, body};
use super::rows::{Row, Rows, bad_cell, bounded, extension, header};
use super::{MAX_CELL, MAX_LINE};
use crate::{Error, Result};

/// The rows of a CSV or TSV file.
pub(super) struct Delimited {
    lines: Lines,
    delimiter: u8,
    columns: Vec<String>,
    cells: Cells,
    raw: Vec<u8>,
}

impl Delimited {
    pub(super) fn new(mut lines: Lines) -> Result<Self> {
        let path = lines.path().to_path_buf();
        let delimiter = if extension(&path) == "tsv" { b'\t' } else { sniff(lines.peek()?) };
        let mut rows = Delimited { lines, delimiter, columns: Vec::new(), cells: Cells::default(), raw: Vec::new() };
        let Some(line) = rows.record()? else {
            return Err(Error::data(
                &path,
                None,
                "the file has no header",
                "write the columns' names in its first line",
            ));
        };
        rows.columns = header(&path, rows.values(line)?)?;
        Ok(rows)
    }

    /// Reads the next record's cells; gives the line it starts at.
    fn record(&mut self) -> Result<Option<u64>> {
        loop {
            self.raw.clear();
            if !self.lines.next(&mut self.raw)? {
                return Ok(None);
            }
            if !body(&self.raw).is_empty() {
                break;
            }
        }
        let (line, first) = (self.lines.number(), self.raw.len());
        self.cells.clear();
        let mut fed = 0;
        loop {
            let piece = body(&self.raw[fed..]);
            if self.cells.feed(piece, self.delimiter).is_err() {
                let here = self.lines.number();
                return Err(self.broken(line, first, here, "text between a closing quote and the delimiter"));
            }
            if !self.cells.is_open() {
                return Ok(Some(line));
            }
            let end = fed + piece.len();
            self.cells.bytes.extend_from_slice(&self.raw[end..]);
            if self.cells.last() > MAX_CELL || self.raw.len() > MAX_LINE {
                let what = format!("a quote opens here and doesn't close within {} MiB", MAX_CELL >> 20);
                return Err(self.broken(line, first, line, &what));
            }
            fed = self.raw.len();
            if !self.lines.next(&mut self.raw)? {
                return Err(self.broken(line, first, line, "a quote opens here and never closes"));
            }
        }
    }

    /// Gives back all but the first line of a record that can't be read, and says why.
    fn broken(&mut self, line: u64, first: usize, at: u64, what: &str) -> Error {
        self.lines.give_back(&self.raw[first..], line);
        let column = self.name(self.cells.ends.len());
        let remedy = "close the quote, and write a quote that belongs to the text twice";
        bad_cell(self.lines.path(), at, &column, what, remedy)
    }

    fn name(&self, i: usize) -> String {
        self.columns.get(i).filter(|c| !c.is_empty()).cloned().unwrap_or_else(|| (i + 1).to_string())
    }

    fn values(&self, line: u64) -> Result<Vec<String>> {
        let path = self.lines.path();
        let mut start = 0;
        let mut values = Vec::with_capacity(self.cells.ends.len());
        for (i, &end) in self.cells.ends.iter().enumerate() {
            let cell = &self.cells.bytes[start..end];
            start = end;
            bounded(path, line, &self.name(i), cell.len())?;
            let Ok(text) = std::str::from_utf8(cell) else {
                let remedy = "save the file as UTF-8";
                return Err(bad_cell(path, line, &self.name(i), "bytes that are not UTF-8", remedy));
            };
            values.push(text.to_string());
        }
        Ok(values)
    }
}

impl Rows for Delimited {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn next(&mut self) -> Result<Option<Row>> {
        let Some(line) = self.record()? else { return Ok(None) };
        let (has, wants) = (self.cells.ends.len(), self.columns.len());
        if has != wants {
            let what = format!("a row of {has} cells under a header of {wants}");
            let d = if self.delimiter == b'\t' { "tab".to_string() } else { format!("`{}`", self.delimiter as char) };
            let remedy = format!("cells end at a {d}: quote the cell that holds one, or fill the row up");
            return Err(Error::data(self.lines.path(), Some(line), what, remedy));
        }
        Ok(Some(Row { line, values: self.values(line)? }))
    }
}

/// The cells of one record: their bytes one behind the other, and where each ends.
#[derive(Default)]
struct Cells {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    state: State,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum State {
    #[default]
    Start,
    Plain,
    Quoted,
    Closed,
}

impl Cells {
    fn clear(&mut self) {
        (self.state, _, _) = (State::Start, self.bytes.clear(), self.ends.clear());
    }
    /// Whether a quote is open, so that the record goes on in the next line.
    fn is_open(&self) -> bool {
        self.state == State::Quoted
    }
    /// Bytes of the cell being read.
    fn last(&self) -> usize {
        self.bytes.len() - self.ends.last().copied().unwrap_or(0)
    }
    /// Reads a line, without its end; an error is text behind a closing quote.
    fn feed(&mut self, line: &[u8], delimiter: u8) -> Result<(), ()> {
        for &byte in line {
            match (self.state, byte) {
                (State::Quoted, b'"') => self.state = State::Closed,
                (State::Quoted, _) => self.bytes.push(byte),
                (State::Start, b'"') => self.state = State::Quoted,
                (State::Closed, b'"') => {
                    self.bytes.push(b'"');
                    self.state = State::Quoted;
                }
                (_, _) if byte == delimiter => {
                    self.ends.push(self.bytes.len());
                    self.state = State::Start;
                }
                (State::Closed, _) => return Err(()),
                (State::Start | State::Plain, _) => {
                    self.bytes.push(byte);
                    self.state = State::Plain;
                }
            }
        }
        if self.state != State::Quoted {
            self.ends.push(self.bytes.len());
        }
        Ok(())
    }
}

/// The delimiter that a sample from the file's start speaks for.
fn sniff(sample: &[u8]) -> u8 {
    let score = |delimiter: u8| {
        let widths = widths(sample, delimiter);
        let header = widths.first().copied().unwrap_or(0);
        if header < 2 { (0, 0) } else { (widths.iter().filter(|w| **w == header).count(), header) }
    };
    b"|\t;,".iter().copied().max_by_key(|d| score(*d)).unwrap_or(b',')
}

/// Cells of the first records, as far as a delimiter allows to read them.
fn widths(sample: &[u8], delimiter: u8) -> Vec<usize> {
    let (mut widths, mut cells) = (Vec::new(), Cells::default());
    for line in sample.split_inclusive(|b| *b == b'\n') {
        if !line.ends_with(b"\n") && !widths.is_empty() || widths.len() == 50 {
            break;
        }
        let line = body(line);
        if line.is_empty() && !cells.is_open() {
            continue;
        }
        if cells.feed(line, delimiter).is_err() {
            break;
        }
        if !cells.is_open() {
            widths.push(cells.ends.len());
            cells.clear();
        }
    }
    widths
}
