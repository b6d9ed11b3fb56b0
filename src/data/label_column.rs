//! Which column of a file of pairs holds the labels: the one that is named, else one of a usual name, else a column of
//! two values that say yes and no. A column of two other values is asked about: pairs that are labelled as no match would
//! else be learnt as matches.

use std::collections::BTreeSet;
use std::path::Path;

use super::rows::Reader;
use super::{ReadOptions, clean, label};
use crate::{Error, Result};

/// Usual names of the column, in lower case.
pub(super) const NAMES: [&str; 5] = ["label", "match", "is_match", "gold_label", "target"];

/// The label column of a file, `None` if no column is one. `is_other` are columns that have another meaning. What was
/// guessed by the values is said in the second part.
pub(super) fn find(
    path: &Path,
    options: &ReadOptions,
    is_other: impl Fn(&str) -> bool,
) -> Result<(Option<String>, Option<String>)> {
    let mut reader = Reader::open(path, &ReadOptions { skip_bad_rows: true, ..options.clone() })?;
    let first = reader.next()?;
    if let Some(name) = &options.label_column {
        if name == "none" {
            return Ok((None, None));
        }
        return reader.column(name).map(|_| (Some(name.clone()), None));
    }
    for name in NAMES {
        if let Some(column) = reader.columns().iter().find(|c| c.to_lowercase() == name) {
            return Ok((Some(column.clone()), None));
        }
    }
    if path == Path::new("-") {
        return Ok((None, None)); // can't be read twice
    }
    /// More values than these are no label's.
    const MOST: usize = 3;
    let mut values: Vec<BTreeSet<String>> = Vec::new();
    let mut row = first;
    while let Some(read) = row {
        values.resize(reader.columns().len(), BTreeSet::new());
        for ((value, seen), column) in read.values.iter().zip(&mut values).zip(reader.columns()) {
            if seen.len() < MOST && !clean::is_missing(value) && !is_other(column) {
                seen.insert(value.trim().to_lowercase());
            }
        }
        row = reader.next()?;
    }
    let says_so =
        |seen: &BTreeSet<String>| (1..=2).contains(&seen.len()) && seen.iter().all(|v| label::word(v).is_some());
    let named = |test: &dyn Fn(&BTreeSet<String>) -> bool| -> Vec<&String> {
        reader.columns().iter().zip(&values).filter(|(_, seen)| test(seen)).map(|(c, _)| c).collect()
    };
    let (labels, pairs) = (named(&says_so), named(&|seen| seen.len() == 2));
    match (&labels[..], &pairs[..]) {
        ([only], _) => {
            let note = format!("the labels are those of the column `{only}` (--label-column names another, or none)");
            Ok((Some(only.to_string()), Some(note)))
        }
        ([], []) => Ok((None, None)),
        (several, _) => {
            let asked = if several.is_empty() { &pairs } else { &labels };
            let names = asked.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(" or ");
            let what = format!("is {names} the column of labels? each has two values");
            let remedy =
                "say with --label-column NAME (`none`: every row is a match); labels are 1 and 0, or yes and no";
            Err(Error::data(path, None, what, remedy))
        }
    }
}
