//! Two tables and a file of links between their ids.

use std::collections::HashMap;
use std::path::Path;

use super::rows::{Reader, Row, bad_cell};
use super::table::by_id;
use super::{ReadOptions, Skipped, Source, label, read_table};
use crate::records::{Pair, PairSet, Split};
use crate::{Error, Result, Table};

/// Reads a [`Source::Links`].
pub(super) fn read(source: &Source, options: &ReadOptions) -> Result<(PairSet, Skipped)> {
    let Source::Links { left, right, links, left_column, right_column, label_column, part_column, left_id, right_id } =
        source
    else {
        return Err(Error::Internal { op: "read links", what: "called for another format".into() });
    };
    let table = |path: &Path, id: &Option<String>| {
        read_table(path, &ReadOptions { id: id.clone().or(options.id.clone()), ..options.clone() })
    };
    let (left, mut skipped) = table(left, left_id)?;
    let (right, more) = table(right, right_id)?;
    skipped.add(more);
    let columns = Columns {
        left: left_column,
        right: right_column,
        label: label_column.as_deref(),
        part: part_column.as_deref(),
    };
    let mut pairs = Vec::new();
    skipped.add(read_links(links, &columns, None, &Sides::new(&left, &right), options, &mut pairs)?);
    if pairs.is_empty() {
        return Err(Error::data(links, None, "no links", "give a file with rows"));
    }
    Ok((PairSet { left: left.records, right: right.records, pairs }, skipped))
}

/// Names of the links' columns.
pub(super) struct Columns<'a> {
    pub(super) left: &'a str,
    pub(super) right: &'a str,
    pub(super) label: Option<&'a str>,
    pub(super) part: Option<&'a str>,
}

/// The two tables' rows by id.
pub(super) struct Sides<'a> {
    left: (&'a Path, HashMap<&'a str, u32>),
    right: (&'a Path, HashMap<&'a str, u32>),
}

impl<'a> Sides<'a> {
    pub(super) fn new(left: &'a Table, right: &'a Table) -> Self {
        Sides { left: (&left.path, by_id(&left.records)), right: (&right.path, by_id(&right.records)) }
    }
}

/// Adds the pairs of a file. In a file that is a part of a set (`part`) a label is required; elsewhere an empty one is
/// a pair nobody judged, and a file without a label column holds matches.
pub(super) fn read_links(
    path: &Path,
    columns: &Columns,
    part: Option<Split>,
    sides: &Sides,
    options: &ReadOptions,
    pairs: &mut Vec<Pair>,
) -> Result<Skipped> {
    let mut reader = Reader::open(path, options)?;
    while let Some(row) = reader.next()? {
        match pair(&reader, &row, columns, part, sides) {
            Ok(pair) => pairs.push(pair),
            Err(error) => reader.refuse(error)?,
        }
    }
    Ok(reader.skipped)
}

fn pair(reader: &Reader, row: &Row, columns: &Columns, part: Option<Split>, sides: &Sides) -> Result<Pair> {
    let (path, line) = (reader.path(), row.line);
    let value = |column: &str| Ok::<_, Error>(row.values[reader.column(column)?].trim());
    let find = |column: &str, (table, ids): &(&Path, HashMap<&str, u32>)| {
        let id = value(column)?;
        ids.get(id).copied().ok_or_else(|| {
            let what = format!("no row of {} has the id `{}`", table.display(), id.escape_debug());
            bad_cell(path, line, column, what, "correct the id, or add the row")
        })
    };
    let judged = match columns.label {
        None => Some(true),
        Some(column) if part.is_some() => Some(label::required(path, line, column, value(column)?)?),
        Some(column) => label::label(path, line, column, value(column)?)?,
    };
    let part = match columns.part {
        None => part,
        Some(column) => label::part(path, line, column, value(column)?)?,
    };
    Ok(Pair {
        left: find(columns.left, &sides.left)?,
        right: find(columns.right, &sides.right)?,
        grade: judged.map(Pair::grade_of),
        split: part,
    })
}
