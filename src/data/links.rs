//! Two tables and a file of links between their ids.

use std::collections::HashMap;
use std::path::Path;

use super::notes::Change;
use super::rows::{Reader, Row, bad_cell};
use super::table::by_id;
use super::{ReadOptions, ReadReport, Source, clean, label, read_table};
use crate::records::{Pair, PairSet, Split};
use crate::{Error, Result, Table};

/// Reads a [`Source::Links`].
pub(super) fn read(source: &Source, options: &ReadOptions) -> Result<(PairSet, ReadReport)> {
    let Source::Links { left, right, links, left_column, right_column, label_column, part_column, left_id, right_id } =
        source
    else {
        return Err(Error::Internal { op: "read links", what: "called for another format".into() });
    };
    let [of_left, of_right, of_links] = options.sides();
    let table = |path: &Path, id: &Option<String>, options: &ReadOptions| {
        read_table(path, &ReadOptions { id: id.clone().or(options.id.clone()), ..options.clone() })
    };
    let (left, mut report) = table(left, left_id, &of_left)?;
    let (right, more) = table(right, right_id, &of_right)?;
    report.add(more);
    let columns = Columns {
        left: left_column,
        right: right_column,
        label: label_column.as_deref(),
        part: part_column.as_deref(),
    };
    let mut pairs = Vec::new();
    report.add(read_links(links, &columns, None, &Sides::new(&left, &right), &of_links, &mut pairs)?);
    if pairs.is_empty() {
        return Err(Error::data(links, None, "no links", "give a file with rows"));
    }
    Ok((PairSet { left: left.records, right: right.records, pairs }, report))
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
) -> Result<ReadReport> {
    let mut reader = Reader::open(path, options)?;
    // names that are ids of both tables are no names: the file begins with its first pair
    if sides.left.1.contains_key(columns.left) && sides.right.1.contains_key(columns.right) {
        let numbered = |name: &str| -> Result<String> { Ok(format!("column {}", reader.column(name)? + 1)) };
        let (left, right) = (numbered(columns.left)?, numbered(columns.right)?);
        reader = Reader::open(path, &ReadOptions { no_header: true, ..options.clone() })?;
        reader.notes.say("the first row holds two ids of the lists: the file has no header, and it counts as a pair");
        let columns = Columns { left: &left, right: &right, label: None, part: None };
        return read_rows(reader, &columns, part, sides, pairs);
    }
    read_rows(reader, columns, part, sides, pairs)
}

fn read_rows(
    mut reader: Reader,
    columns: &Columns,
    part: Option<Split>,
    sides: &Sides,
    pairs: &mut Vec<Pair>,
) -> Result<ReadReport> {
    while let Some(row) = reader.next()? {
        match pair(&reader, &row, columns, part, sides) {
            Ok(pair) => pairs.push(pair),
            Err(error) => reader.refuse(error)?,
        }
    }
    Ok(reader.report())
}

fn pair(reader: &Reader, row: &Row, columns: &Columns, part: Option<Split>, sides: &Sides) -> Result<Pair> {
    let (path, line) = (reader.path(), row.line);
    let value = |column: &str| Ok::<_, Error>(row.values[reader.column(column)?].trim());
    let find = |column: &str, (table, ids): &(&Path, HashMap<&str, u32>)| {
        let id = clean::id(value(column)?);
        let found = ids.get(id.as_str()).copied().or_else(|| {
            // a table whose ids were read as decimal numbers by another program
            let found = ids.get(id.strip_suffix(".0")?).copied()?;
            reader.notes.count(Change::FloatIds, line);
            Some(found)
        });
        let found = found.or_else(|| {
            let is_whole = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
            let found = ids.get(format!("{id}.0").as_str()).copied().filter(|_| is_whole)?;
            reader.notes.count(Change::FloatIds, line);
            Some(found)
        });
        found.ok_or_else(|| {
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
