//! DeepMatcher's folder: two tables and up to three files of pairs (Mudgal et al., SIGMOD 2018).

use std::path::Path;

use super::links::{Columns, Sides, read_links};
use super::{ReadOptions, ReadReport, read_table};
use crate::records::{Pair, PairSet, Split, Table};
use crate::{Error, Result};

/// Reads the folder.
pub(super) fn read(dir: &Path, options: &ReadOptions) -> Result<(PairSet, ReadReport)> {
    let [of_left, of_right, _] = options.sides();
    let (left, mut skipped) = read_table(&dir.join("tableA.csv"), &of_left)?;
    let (right, more) = read_table(&dir.join("tableB.csv"), &of_right)?;
    skipped.add(more);
    let (pairs, more) = read_folder_pairs(dir, &left, &right, options)?;
    skipped.add(more);
    Ok((PairSet { left: left.records, right: right.records, pairs }, skipped))
}

/// The pairs of a DeepMatcher folder, as rows of two tables that were read already and have its ids; the folder's own tables
/// are left alone.
///
/// # Errors
/// No file of pairs, one without their columns, an id that a table lacks.
pub fn read_folder_pairs(
    dir: &Path,
    left: &Table,
    right: &Table,
    options: &ReadOptions,
) -> Result<(Vec<Pair>, ReadReport)> {
    let columns = Columns { left: "ltable_id", right: "rtable_id", label: Some("label"), part: None };
    let sides = Sides::new(left, right);
    let (mut pairs, mut skipped) = (Vec::new(), ReadReport::default());
    for (name, part) in [("train.csv", Split::Train), ("valid.csv", Split::Valid), ("test.csv", Split::Test)] {
        let path = dir.join(name);
        if path.exists() {
            skipped.add(read_links(&path, &columns, Some(part), &sides, options, &mut pairs)?);
        }
    }
    if pairs.is_empty() {
        let remedy = "there should be train.csv, valid.csv or test.csv with rows of ltable_id, rtable_id and label";
        return Err(Error::data(dir, None, "no pairs", remedy));
    }
    Ok((pairs, skipped))
}
