//! CSV and TSV: cells between delimiters, quotes, a header; how the file is written is found out by [`dialect`].
//!
//! Quotes are checked as they are read: one that opens a cell must close it. With `skip_bad_rows`, a quote that never
//! closes costs its own line only; the lines it seemed to hold are given back and read again. Rows that hold nothing
//! (delimiters only, the header once more, the dashes and counts of database programs) are left out and counted.

use super::cells::Cells;
use super::dialect::dialect;
use super::lines::{Lines, body};
use super::notes::{Change, Notes};
use super::rows::{Row, Rows, bad_cell, bounded, extension, header};
use super::{MAX_CELL, MAX_LINE, ReadOptions};
use crate::{Error, Result};

/// Bytes of a file's start from which its dialect is found out.
const SAMPLE: usize = 1 << 17;

/// The rows of a CSV or TSV file.
pub(super) struct Delimited {
    lines: Lines,
    delimiter: u8,
    is_copy: bool,
    columns: Vec<String>,
    /// The header's cells as they are in the file: bytes and ends.
    names: (Vec<u8>, Vec<usize>),
    /// Whether the record in `cells` is yet to be given out: the first row of a file without a header.
    is_pending: Option<u64>,
    rows: u64,
    cells: Cells,
    raw: Vec<u8>,
    notes: Notes,
}

impl Delimited {
    pub(super) fn new(mut lines: Lines, options: &ReadOptions, notes: &Notes) -> Result<Self> {
        let path = lines.path().to_path_buf();
        let (mut sample, is_all) = lines.sample(SAMPLE)?;
        if has_bare_returns(&sample) {
            lines.end_at_carriage_returns();
            sample.iter_mut().filter(|b| **b == b'\r').for_each(|b| *b = b'\n');
            notes.say("lines end in a bare carriage return, as on an old Mac; read so");
        }
        let mut sample = &sample[..];
        let named = separator_line(sample);
        if named.is_some() {
            let end = sample.iter().position(|b| *b == b'\n').map_or(sample.len(), |i| i + 1);
            sample = &sample[end..];
            lines.next(&mut Vec::new())?;
        }
        let preferred = (extension(&path) == "tsv").then_some(b'\t');
        let has_header = options.no_header.then_some(false);
        let found = dialect(sample, is_all, options.delimiter.or(named), preferred, has_header);
        let found = found.map_err(|(a, b)| {
            let what = format!("cells could end at {} or at {}: both fit every row", shown(a), shown(b));
            Error::data(&path, None, what, "name the right one with --delimiter")
        })?;
        if let Some(d) = options.delimiter.filter(|_| found.width < 2) {
            let what = format!("no cell ends at {}", shown(d));
            return Err(Error::data(&path, None, what, "name another --delimiter, or leave it out"));
        }
        let mut rows = Delimited {
            lines,
            delimiter: found.delimiter,
            is_copy: found.is_copy,
            columns: Vec::new(),
            names: Default::default(),
            is_pending: None,
            rows: 0,
            cells: Cells::default(),
            raw: Vec::new(),
            notes: notes.clone(),
        };
        for _ in 0..found.titles {
            rows.filled_record()?;
        }
        let Some(line) = rows.filled_record()? else {
            let remedy = "write the columns' names in its first line";
            return Err(Error::data(&path, None, "the file has no header", remedy));
        };
        if found.titles > 0 {
            let many = if found.titles == 1 { "a line".into() } else { format!("{} lines", found.titles) };
            notes.say(format!("{many} above the header, which is in line {line}, left out"));
        }
        let mut names = rows.values(line)?;
        if !found.has_header {
            if !options.no_header {
                notes.say(
                    "the first row looks like the others and is read as data (--no-header says so, and a header that \
                     names the columns settles it)",
                );
            }
            let width = names.len().min(found.width.max(1));
            rows.columns = (1..=width).map(|i| format!("column {i}")).collect();
            rows.is_pending = Some(line);
            return Ok(rows);
        }
        while names.len() > found.width.max(1) && names.last().is_some_and(|n| n.trim().is_empty()) {
            names.pop();
        }
        rows.columns = header(&path, names)?;
        rows.names = (rows.cells.bytes.clone(), rows.cells.ends.clone());
        Ok(rows)
    }

    /// Reads the next record that is not of delimiters only.
    fn filled_record(&mut self) -> Result<Option<u64>> {
        loop {
            let Some(line) = self.record()? else { return Ok(None) };
            if !self.cells.is_blank() {
                return Ok(Some(line));
            }
            if self.cells.ends.len() > 1 {
                self.notes.count(Change::BlankRows, line);
            }
        }
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
        self.cells.has_escapes = false;
        let error = match self.quoted(line, first) {
            Ok(()) => return Ok(Some(line)),
            Err(error) => error,
        };
        // A database's dump writes a quote as \"; the row is read once more in that way.
        let has_escapes = self.raw.windows(2).any(|w| w == b"\\\"");
        self.lines.give_back(&self.raw[first..], line);
        if has_escapes {
            self.raw.truncate(first);
            self.cells.has_escapes = true;
            if self.quoted(line, first).is_ok() {
                self.notes.count(Change::Backslashes, line);
                return Ok(Some(line));
            }
            self.lines.give_back(&self.raw[first..], line);
        }
        Err(error)
    }

    /// Reads the record whose first line, of `first` bytes, is in `raw`, and as many more lines as its quotes hold.
    fn quoted(&mut self, line: u64, first: usize) -> Result<()> {
        self.cells.clear();
        let (mut fed, mut start) = (0, first);
        loop {
            let piece = body(&self.raw[fed..start]);
            if self.cells.feed(piece, self.delimiter).is_err() {
                let here = self.lines.number();
                return Err(self.broken(here, "text between a closing quote and the delimiter"));
            }
            if !self.cells.is_open() {
                return Ok(());
            }
            let end = fed + piece.len();
            self.cells.bytes.extend_from_slice(&self.raw[end..start]);
            if self.cells.last() > MAX_CELL || self.raw.len() > MAX_LINE {
                let what = format!("a quote opens here and doesn't close within {} MiB", MAX_CELL >> 20);
                return Err(self.broken(line, &what));
            }
            fed = self.raw.len();
            if !self.lines.next(&mut self.raw)? {
                return Err(self.broken(line, "a quote opens here and never closes"));
            }
            start = self.raw.len();
        }
    }

    /// Why a record can't be read.
    fn broken(&self, at: u64, what: &str) -> Error {
        let column = self.name(self.cells.ends.len());
        let remedy = "close the quote, and write a quote that belongs to the text twice";
        bad_cell(self.lines.path(), at, &column, what, remedy)
    }

    fn name(&self, i: usize) -> String {
        self.columns.get(i).filter(|c| !c.is_empty()).cloned().unwrap_or_else(|| (i + 1).to_string())
    }

    fn values(&self, line: u64) -> Result<Vec<String>> {
        let path = self.lines.path();
        let mut values = Vec::with_capacity(self.cells.ends.len());
        for (i, range) in self.cells.ranges().enumerate() {
            let cell = &self.cells.bytes[range];
            bounded(path, line, || self.name(i), cell.len())?;
            let Ok(text) = std::str::from_utf8(cell) else {
                let remedy = "save the file as UTF-8";
                return Err(bad_cell(path, line, &self.name(i), "bytes that are not UTF-8", remedy));
            };
            values.push(if self.is_copy && text.contains('\\') { unescaped(text) } else { text.to_string() });
        }
        Ok(values)
    }

    /// Whether the record says nothing about a product: the header once more, a rule of dashes, a count of rows.
    fn is_residue(&self) -> Option<Change> {
        let bytes = self.cells.bytes.trim_ascii();
        if self.cells.ends == self.names.1 && self.cells.bytes == self.names.0 {
            return Some(Change::HeaderRows);
        }
        if self.rows == 0 && bytes.starts_with(b"--") && bytes.iter().all(|b| b"-+ ".contains(b)) {
            return Some(Change::Rules);
        }
        if self.cells.ends.len() == 1 && self.columns.len() > 1 {
            let count = bytes.strip_prefix(b"(").and_then(|b| b.strip_suffix(b")")).unwrap_or_default();
            let mut words = count.split(|b| *b == b' ');
            let counts = words.next().is_some_and(|n| !n.is_empty() && n.iter().all(u8::is_ascii_digit));
            let rows = words.next().is_some_and(|w| w == b"rows" || w == b"row");
            return (bytes == b"\\." || (counts && rows)).then_some(Change::Rules);
        }
        None
    }
}

impl Rows for Delimited {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn next(&mut self) -> Result<Option<Row>> {
        let line = match self.is_pending.take() {
            Some(line) => line,
            None => loop {
                let Some(line) = self.filled_record()? else { return Ok(None) };
                match self.is_residue() {
                    Some(change) => self.notes.count(change, line),
                    None => break line,
                }
            },
        };
        self.rows += 1;
        let (has, wants) = (self.cells.ends.len(), self.columns.len());
        if has > wants && self.cells.filled_up_to() <= wants {
            self.cells.ends.truncate(wants); // delimiters at the end of the row
        } else if has != wants {
            let what = format!("a row of {has} cells under a header of {wants}");
            let d = shown(self.delimiter);
            let remedy = format!("cells end at a {d}: quote the cell that holds one, or fill the row up");
            return Err(Error::data(self.lines.path(), Some(line), what, remedy));
        }
        Ok(Some(Row { line, values: self.values(line)? }))
    }
}

/// A delimiter for people.
fn shown(delimiter: u8) -> String {
    if delimiter == b'\t' { "tab".to_string() } else { format!("`{}`", delimiter as char) }
}

/// Whether lines end in a carriage return alone: there are some, and no line feed that no quote holds.
fn has_bare_returns(sample: &[u8]) -> bool {
    let (mut returns, mut is_open) = (false, false);
    for (i, byte) in sample.iter().enumerate() {
        match byte {
            b'"' => is_open = !is_open,
            b'\n' if !is_open => return false,
            b'\r' if !is_open => returns |= sample.get(i + 1).is_some_and(|b| *b != b'\n'),
            _ => {}
        }
    }
    returns
}

/// The delimiter of Excel's first line `sep=;`.
fn separator_line(sample: &[u8]) -> Option<u8> {
    let line = body(sample.split_inclusive(|b| *b == b'\n').next()?);
    let line = line.strip_prefix(b"\"").and_then(|l| l.strip_suffix(b"\"")).unwrap_or(line);
    match *line.strip_prefix(b"sep=").or(line.strip_prefix(b"SEP="))? {
        [delimiter] => Some(delimiter),
        _ => None,
    }
}

/// A cell as PostgreSQL's COPY escapes it.
fn unescaped(cell: &str) -> String {
    if cell == "\\N" {
        return cell.into(); // a missing value, read as such with the other words for it
    }
    let mut out = String::with_capacity(cell.len());
    let mut chars = cell.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        });
    }
    out
}
