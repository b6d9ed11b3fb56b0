//! JSON lines: one object a line. Columns stand in the order in which they are first seen; a key that a line lacks is an
//! empty value there. A value that is not text is written as JSON writes it.

use serde_json::{Map, Value};

use super::lines::{Lines, body};
use super::rows::{Row, Rows, bounded};
use crate::{Error, Result};

/// The rows of a JSON lines file.
pub(super) struct JsonLines {
    lines: Lines,
    columns: Vec<String>,
    raw: Vec<u8>,
}

impl JsonLines {
    pub(super) fn new(mut lines: Lines) -> Result<Self> {
        if lines.peek()?.trim_ascii_start().first() == Some(&b'[') {
            let what = "a JSON array, not JSON lines";
            return Err(Error::data(
                lines.path(),
                None,
                what,
                "write one object a line, for example: jq -c '.[]' OLD > NEW",
            ));
        }
        Ok(JsonLines { lines, columns: Vec::new(), raw: Vec::new() })
    }
}

impl Rows for JsonLines {
    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn next(&mut self) -> Result<Option<Row>> {
        loop {
            self.raw.clear();
            if !self.lines.next(&mut self.raw)? {
                return Ok(None);
            }
            if !body(&self.raw).trim_ascii().is_empty() {
                break;
            }
        }
        let (path, line) = (self.lines.path(), self.lines.number());
        let object: Map<String, Value> = serde_json::from_slice(body(&self.raw)).map_err(|e| {
            let what = format!("not a JSON object: {e}").replace(" at line 1 column", " at character");
            Error::data(path, Some(line), what, "write one object a line")
        })?;
        let mut values = vec![String::new(); self.columns.len()];
        for (key, value) in object {
            let value = text(value);
            bounded(path, line, &key, value.len())?;
            match self.columns.iter().position(|c| *c == key) {
                Some(i) => values[i] = value,
                None => {
                    self.columns.push(key);
                    values.push(value);
                }
            }
        }
        Ok(Some(Row { line, values }))
    }
}

/// A JSON value as a cell.
pub(super) fn text(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}
