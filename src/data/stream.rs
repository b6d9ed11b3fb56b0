//! Pairs as they come, one in memory: what `score` reads.

use std::path::Path;

use super::joined::Layout;
use super::rows::Reader;
use super::{ReadOptions, ReadReport, label};
use crate::{Record, Result};

/// Opens a file of pairs, or standard input for `-`: JSON lines `{"left": {...}, "right": {...}}`, or any file whose rows
/// hold both records (`left_*` and `right_*`, ...), with an optional `label`. A record without an id gets its line's number.
///
/// # Errors
/// A file that can't be read; the iterator's items are errors of rows.
pub fn stream_pairs(path: &Path, options: &ReadOptions) -> Result<PairStream> {
    Ok(PairStream { reader: Reader::open(path, options)?, options: options.clone(), layout: None, ended: false })
}

/// The pairs of a file; it ends after the first error.
pub struct PairStream {
    reader: Reader,
    options: ReadOptions,
    layout: Option<Layout>,
    ended: bool,
}

impl PairStream {
    /// What was dropped, changed and guessed so far.
    pub fn report(&self) -> ReadReport {
        self.reader.report()
    }

    /// Rows that were dropped so far.
    pub fn skipped(&self) -> u64 {
        self.reader.skipped()
    }

    fn pair(&mut self) -> Result<Option<(Record, Record, Option<bool>)>> {
        while let Some(mut row) = self.reader.next()? {
            let layout = Layout::refresh(&mut self.layout, &self.reader, &self.options)?;
            let path = self.reader.path();
            let column = self.options.label_column.as_deref().unwrap_or("label");
            let judged = self.reader.columns().iter().position(|c| c == column);
            let judged = judged.map_or(Ok(None), |at| label::label(path, row.line, column, &row.values[at]));
            let pair = judged.and_then(|judged| {
                layout.split(path, &mut row, &self.reader.notes).map(|(left, right)| (left, right, judged))
            });
            match pair {
                Ok(pair) => return Ok(Some(pair)),
                Err(error) => self.reader.refuse(error)?,
            }
        }
        Ok(None)
    }
}

impl Iterator for PairStream {
    type Item = Result<(Record, Record, Option<bool>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.pair().transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}
