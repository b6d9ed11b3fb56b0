//! Rows that hold both records: `left_*` and `right_*`, `ltable_*` and `rtable_*` (Magellan), `*_left` and `*_right` (Web
//! Data Commons), or whole records under `left` and `right`, each a JSON object or a plain text. Other columns are not
//! the records' and are left out, and so is `cluster_id`, by which Web Data Commons tells the answer.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::rows::{Reader, Row, bad_cell, bounded};
use super::source::push;
use super::{ReadOptions, Skipped, jsonl, label};
use crate::records::{PairSet, Record, Split};
use crate::{Error, Result};

/// Reads the pairs of one part, which all need a label.
pub(super) fn read(path: &Path, part: Split, options: &ReadOptions, set: &mut PairSet) -> Result<Skipped> {
    let mut reader = Reader::open(path, options)?;
    let mut layout: Option<Layout> = None;
    while let Some(mut row) = reader.next()? {
        let layout = Layout::refresh(&mut layout, &reader, options)?;
        let read = (|| {
            let at = reader.column("label")?;
            let judged = label::required(path, row.line, "label", &row.values[at])?;
            let (left, right) = layout.split(path, &mut row)?;
            Ok((left, right, judged))
        })();
        match read {
            Ok((left, right, judged)) => push(set, left, right, Some(judged), part)?,
            Err(error) => reader.refuse(error)?,
        }
    }
    Ok(reader.skipped)
}

/// Which columns make which record.
pub(super) struct Layout {
    columns: usize,
    id: String,
    left: Side,
    right: Side,
}

enum Side {
    /// One column per field: the fields' names, their columns, the id's column.
    Fields(Arc<[String]>, Vec<usize>, Option<usize>),
    /// One column for the record: its column and name.
    Whole(usize, &'static str),
}

impl Layout {
    /// The layout of a file's columns, made anew where a JSON line brought new ones.
    pub(super) fn refresh<'a>(
        layout: &'a mut Option<Layout>,
        reader: &Reader,
        options: &ReadOptions,
    ) -> Result<&'a Layout> {
        if layout.as_ref().is_some_and(|l| l.columns != reader.columns().len()) {
            *layout = None;
        }
        match layout {
            Some(layout) => Ok(layout),
            None => Ok(layout.insert(Layout::new(reader.path(), reader.columns(), options)?)),
        }
    }

    pub(super) fn new(path: &Path, columns: &[String], options: &ReadOptions) -> Result<Self> {
        let id = options.id.clone().unwrap_or_else(|| "id".into());
        let side = |side: &'static str, of: fn(&str) -> Option<&str>| -> Result<Side> {
            if let Some(at) = columns.iter().position(|c| c == side) {
                return Ok(Side::Whole(at, side));
            }
            let fields: Vec<(&str, usize)> =
                columns.iter().enumerate().filter_map(|(i, c)| Some((of(c)?, i))).collect();
            let id_at = fields.iter().find(|f| f.0 == id).map(|f| f.1);
            let texts = fields.iter().filter(|f| f.0 != id && f.0 != "cluster_id");
            let names: Arc<[String]> = texts.clone().map(|f| f.0.to_string()).collect();
            if names.is_empty() {
                let what = format!("no column of the {side} record; there is: {}", columns.join(", "));
                let remedy =
                    "call them left_* and right_*, ltable_* and rtable_*, *_left and *_right, or left and right";
                return Err(Error::data(path, None, what, remedy));
            }
            Ok(Side::Fields(names, texts.map(|f| f.1).collect(), id_at))
        };
        let (left, right) = (side("left", left_field)?, side("right", right_field)?);
        Ok(Layout { columns: columns.len(), id, left, right })
    }

    /// The two records of a row, whose values they take. A record without an id gets the row's line.
    pub(super) fn split(&self, path: &Path, row: &mut Row) -> Result<(Record, Record)> {
        Ok((self.record(&self.left, path, row)?, self.record(&self.right, path, row)?))
    }

    fn record(&self, side: &Side, path: &Path, row: &mut Row) -> Result<Record> {
        match side {
            Side::Fields(columns, at, id) => {
                let id = id.map(|i| row.values[i].trim()).filter(|id| !id.is_empty());
                let id = id.map_or_else(|| row.line.to_string(), str::to_string);
                let values = at.iter().map(|i| std::mem::take(&mut row.values[*i])).collect();
                Ok(Record { id, columns: columns.clone(), values })
            }
            Side::Whole(at, name) => {
                let text = std::mem::take(&mut row.values[*at]);
                if text.is_empty() {
                    return Err(bad_cell(path, row.line, name, "no record here", "give both sides of each pair"));
                }
                if !text.starts_with('{') {
                    return Ok(Record {
                        id: row.line.to_string(),
                        columns: Arc::new(["text".into()]),
                        values: vec![text],
                    });
                }
                let mut object: Map<String, Value> = serde_json::from_str(&text).map_err(|e| {
                    let what = format!("not a JSON object: {e}");
                    bad_cell(path, row.line, name, what, "write {\"field\": \"value\", ...} or plain text")
                })?;
                let id = object.shift_remove(&self.id).map(jsonl::text).filter(|id| !id.is_empty());
                let (mut columns, mut values) = (Vec::new(), Vec::new());
                for (key, value) in object {
                    let value = jsonl::text(value);
                    bounded(path, row.line, &format!("{name}.{key}"), value.len())?;
                    columns.push(key);
                    values.push(value);
                }
                let id = id.unwrap_or_else(|| row.line.to_string());
                Ok(Record { id, columns: columns.into(), values })
            }
        }
    }
}

fn left_field(column: &str) -> Option<&str> {
    let field = column.strip_prefix("ltable_").or(column.strip_prefix("left_")).or(column.strip_suffix("_left"));
    field.filter(|f| !f.is_empty())
}

fn right_field(column: &str) -> Option<&str> {
    let field = column.strip_prefix("rtable_").or(column.strip_prefix("right_")).or(column.strip_suffix("_right"));
    field.filter(|f| !f.is_empty())
}
