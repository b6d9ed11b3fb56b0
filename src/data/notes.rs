//! What a reader changed, left out or guessed: said once a file, with a count and the first line.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

/// What was done to cells or rows, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    Html,
    Missing,
    Invisible,
    Formula,
    NotANumber,
    BlankRows,
    HeaderRows,
    Rules,
    Backslashes,
    FloatIds,
}

impl Change {
    /// What happened to so many cells or rows.
    fn said(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Change::Html => ("cell", "cells", "with HTML entities or tags, read as plain text"),
            Change::Missing => ("cell", "cells", "with a word for a missing value (such as NaN or -), read as empty"),
            Change::Invisible => ("cell", "cells", "with invisible characters, which were taken out"),
            Change::Formula => ("cell", "cells", "written for a spreadsheet (=\"...\" or '...), read as the text"),
            Change::NotANumber => ("line", "lines", "with NaN or Infinity, which are not JSON, read as missing"),
            Change::BlankRows => ("row", "rows", "without any text left out"),
            Change::HeaderRows => ("row", "rows", "that repeat the header left out"),
            Change::Rules => ("row", "rows", "of dashes or counts that a database program prints left out"),
            Change::Backslashes => ("row", "rows", "whose quotes are written \\\", read as such"),
            Change::FloatIds => ("id", "ids", "written as a decimal number (12.0 for 12), matched to the whole number"),
        }
    }
}

/// The notes on a file, shared by the layers that read it.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    lines: Vec<String>,
    changes: BTreeMap<Change, (u64, u64)>,
}

impl Notes {
    /// Adds a note.
    pub(super) fn say(&self, text: impl Into<String>) {
        let (mut inner, text) = (self.0.borrow_mut(), text.into());
        if !inner.lines.contains(&text) {
            inner.lines.push(text);
        }
    }

    /// Counts a change.
    pub(super) fn count(&self, change: Change, line: u64) {
        self.0.borrow_mut().changes.entry(change).or_insert((0, line)).0 += 1;
    }

    /// Everything so far, each note on one line that begins with the file's name.
    pub(super) fn lines(&self, path: &Path) -> Vec<String> {
        let inner = self.0.borrow();
        let counted = inner.changes.iter().map(|(change, (count, line))| {
            let (one, many, what) = change.said();
            let of = if *count == 1 { one } else { many };
            let first = if *count == 1 { "line" } else { "the first in line" };
            format!("{count} {of} {what} ({first} {line})")
        });
        inner.lines.iter().cloned().chain(counted).map(|note| format!("{}: {note}", path.display())).collect()
    }
}
