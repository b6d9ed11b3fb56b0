//! Rows that hold both records: `left_*` and `right_*`, `ltable_*` and `rtable_*` (Magellan), `*_left` and `*_right` (Web
//! Data Commons), or whole records under `left` and `right`, each a JSON object or a plain text. Other columns are not
//! the records' and are left out, and so is `cluster_id`, which is Web Data Commons' answer.

use std::path::Path;
use std::sync::Arc;

use super::json_values::object;
use super::notes::Notes;
use super::rows::{Reader, Row, bad_cell, bounded};
use super::source::push;
use super::{ReadOptions, ReadReport, clean, label, label_column};
use crate::records::{PairSet, Record, Split};
use crate::{Error, Result};

/// Reads the pairs of one part, which all need a label.
pub(super) fn read(path: &Path, part: Option<Split>, options: &ReadOptions, set: &mut PairSet) -> Result<ReadReport> {
    let (judged_by, note) = label_column::find(path, options, is_sides)?;
    let mut reader = Reader::open(path, options)?;
    note.into_iter().for_each(|note| reader.notes.say(note));
    let judged_by = judged_by.unwrap_or_else(|| "label".into());
    let mut layout: Option<Layout> = None;
    while let Some(mut row) = reader.next()? {
        let layout = Layout::refresh(&mut layout, &reader, options)?;
        let read = (|| {
            let at = reader.column(&judged_by)?;
            let judged = label::required(path, row.line, &judged_by, &row.values[at])?;
            let (left, right) = layout.split(path, &mut row, &reader.notes)?;
            Ok((left, right, judged))
        })();
        match read {
            Ok((left, right, judged)) => push(set, left, right, Some(judged), part)?,
            Err(error) => reader.refuse(error)?,
        }
    }
    Ok(reader.report())
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
    /// The layout of a file's columns, made again where a JSON line brought new ones.
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
    pub(super) fn split(&self, path: &Path, row: &mut Row, notes: &Notes) -> Result<(Record, Record)> {
        let (mut left, mut right) = (self.record(&self.left, path, row)?, self.record(&self.right, path, row)?);
        for value in left.values.iter_mut().chain(&mut right.values) {
            clean::clean(notes, row.line, value);
        }
        Ok((left, right))
    }

    fn record(&self, side: &Side, path: &Path, row: &mut Row) -> Result<Record> {
        match side {
            Side::Fields(columns, at, id) => {
                let id = id.map(|i| clean::id(&row.values[i])).filter(|id| !id.is_empty());
                let id = id.unwrap_or_else(|| row.line.to_string());
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
                let fields = object(text.as_bytes()).map_err(|e| {
                    let what = format!("not a JSON object: {e}");
                    bad_cell(path, row.line, name, what, "write {\"field\": \"value\", ...} or plain text")
                })?;
                let (mut id, mut columns, mut values) = (None, Vec::new(), Vec::new());
                for (key, value) in fields {
                    bounded(path, row.line, || format!("{name}.{key}"), value.len())?;
                    if key == self.id {
                        id = Some(clean::id(&value)).filter(|id| !id.is_empty());
                    } else {
                        columns.push(key);
                        values.push(value);
                    }
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

/// Whether a column is a record's, or known to be neither record nor label.
fn is_sides(column: &str) -> bool {
    let known = ["left", "right", "split", "part", "set", "fold", "pair_id", "_id", "id"];
    left_field(column).or(right_field(column)).is_some() || known.contains(&column)
}
