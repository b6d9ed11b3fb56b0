//! DeepMatcher's folder: two tables and up to three files of pairs (Mudgal et al., SIGMOD 2018).

use std::path::Path;

use super::links::{Columns, Sides, read_links};
use super::{ReadOptions, Skipped, read_table};
use crate::records::{PairSet, Part};
use crate::{Error, Result};

/// Reads the folder.
pub(super) fn read(dir: &Path, options: &ReadOptions) -> Result<(PairSet, Skipped)> {
    let (left, mut skipped) = read_table(&dir.join("tableA.csv"), options)?;
    let (right, more) = read_table(&dir.join("tableB.csv"), options)?;
    skipped.add(more);
    let columns = Columns { left: "ltable_id", right: "rtable_id", label: Some("label"), part: None };
    let sides = Sides::new(&left, &right);
    let mut pairs = Vec::new();
    for (name, part) in [("train.csv", Part::Train), ("valid.csv", Part::Valid), ("test.csv", Part::Test)] {
        let path = dir.join(name);
        if path.exists() {
            skipped.add(read_links(&path, &columns, Some(part), &sides, options, &mut pairs)?);
        }
    }
    if pairs.is_empty() {
        return Err(Error::data(dir, None, "no pairs", "put train.csv, valid.csv or test.csv beside the tables"));
    }
    Ok((PairSet { left: left.records, right: right.records, pairs }, skipped))
}
