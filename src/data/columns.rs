//! Files of columns without a header: runs, judgements, texts by id. Columns are divided by tabs where the first line has
//! two of them, else by any space, as TREC's files are.

use std::path::Path;

use super::lines::{Lines, body};
use super::notes::Notes;
use super::open::{Opened, open};
use super::{ReadOptions, ReadReport};
use crate::{Error, Result};

/// How columns are divided.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Divided {
    /// By tabs where the first line has two, else by spaces.
    AsFound,
    /// By tabs alone: the last column is a text.
    ByTabs,
}

/// Gives each line that is not blank to `take`, with its number and columns. What was converted is in the report.
pub(super) fn each_line(
    path: &Path,
    divided: Divided,
    mut take: impl FnMut(u64, &[&str]) -> Result<()>,
) -> Result<ReadReport> {
    let notes = Notes::default();
    let Opened::Text { text, is_pipe } = open(path, &ReadOptions::default(), &notes)? else {
        return Err(Error::data(path, None, "a Parquet file, not lines of text", "write it as text"));
    };
    let mut lines = Lines::new(path, text, is_pipe);
    let (mut raw, mut by_tabs) = (Vec::new(), None);
    loop {
        raw.clear();
        if !lines.next(&mut raw)? {
            break;
        }
        let number = lines.number();
        let line = std::str::from_utf8(body(&raw))
            .map_err(|_| Error::data(path, Some(number), "bytes that are not UTF-8", "save the file as UTF-8"))?;
        if line.trim().is_empty() {
            continue;
        }
        let by_tabs = *by_tabs.get_or_insert(divided == Divided::ByTabs || line.matches('\t').count() >= 2);
        let columns: Vec<&str> = match by_tabs {
            true => line.split('\t').map(str::trim).collect(),
            false => line.split_whitespace().collect(),
        };
        take(number, &columns)?;
    }
    Ok(ReadReport { notes: notes.lines(path), ..ReadReport::default() })
}

/// An error for a line with too few or too many columns.
pub(super) fn wrong_count(path: &Path, line: u64, got: usize, expected: &str) -> Error {
    let what = format!("{got} column{}, not {expected}", if got == 1 { "" } else { "s" });
    Error::data(path, Some(line), what, "write the line whole; if it is the last one the file was cut off")
}
