//! JSON: one object a line, or the objects of an array, or objects over several lines. Columns are in the order in which
//! they are first seen; a key that a row lacks is an empty value there. Numbers stay as they are written.

use std::collections::HashMap;
use std::path::Path;

use super::json_values::{Elements, object, without_nan};
use super::lines::{Lines, body};
use super::notes::{Change, Notes};
use super::rows::{Row, Rows, bounded, few_columns};
use crate::{Error, Result};

/// The rows of a JSON file.
pub(super) struct JsonRows {
    lines: Lines,
    /// Where the objects of an array, or over several lines, begin and end; `None`: one a line.
    elements: Option<Elements>,
    columns: Vec<String>,
    places: HashMap<String, usize>,
    raw: Vec<u8>,
    notes: Notes,
}

impl JsonRows {
    pub(super) fn new(mut lines: Lines, notes: &Notes) -> Result<Self> {
        let (sample, _) = lines.sample(1 << 16)?;
        let elements = is_over_lines(&sample).then(Elements::default);
        let (columns, places, raw) = Default::default();
        Ok(JsonRows { lines, elements, columns, places, raw, notes: notes.clone() })
    }

    /// Puts the next object into `raw` and gives its line.
    fn element(&mut self) -> Result<Option<u64>> {
        self.raw.clear();
        if let Some(elements) = &mut self.elements {
            return elements.next(&mut self.lines, &mut self.raw);
        }
        loop {
            self.raw.clear();
            if !self.lines.next(&mut self.raw)? {
                return Ok(None);
            }
            if !body(&self.raw).trim_ascii().is_empty() {
                return Ok(Some(self.lines.number()));
            }
        }
    }
}

impl Rows for JsonRows {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn next(&mut self) -> Result<Option<Row>> {
        let Some(line) = self.element()? else { return Ok(None) };
        let path = self.lines.path();
        let fields = match object(body(&self.raw)) {
            Ok(fields) => fields,
            // Python writes NaN and Infinity, which are not JSON
            Err(error) => match without_nan(&self.raw).and_then(|text| object(body(&text)).ok()) {
                Some(fields) => {
                    self.notes.count(Change::NotANumber, line);
                    fields
                }
                None => return Err(no_object(path, line, &error)),
            },
        };
        let mut values = vec![String::new(); self.columns.len()];
        for (key, value) in fields {
            bounded(path, line, || key.clone(), value.len())?;
            match self.places.get(&key) {
                Some(&i) => values[i] = value,
                None => {
                    few_columns(path, line, self.columns.len() + 1)?;
                    self.places.insert(key.clone(), self.columns.len());
                    self.columns.push(key);
                    values.push(value);
                }
            }
        }
        Ok(Some(Row { line, values }))
    }
}

fn no_object(path: &Path, line: u64, error: &serde_json::Error) -> Error {
    let what = format!("not a JSON object: {error}").replace(" at line 1 column", " at character");
    Error::data(path, Some(line), what, "write one object a line")
}

/// Whether the objects are those of an array, or go over several lines.
fn is_over_lines(sample: &[u8]) -> bool {
    let mut lines = sample.split_inclusive(|b| *b == b'\n').filter(|l| !l.trim_ascii().is_empty());
    let Some(first) = lines.next() else { return false };
    match first.trim_ascii().first() {
        Some(b'[') => true,
        // a brace alone, or an object whose next key is in the next line
        Some(b'{') => {
            let is_cut = serde_json::from_slice::<serde::de::IgnoredAny>(first).is_err_and(|e| e.is_eof());
            is_cut && lines.next().is_some_and(|l| matches!(l.trim_ascii().first(), Some(b'"' | b'}')))
        }
        _ => false,
    }
}
