//! The lines of a text file, one at a time: gzipped or not, in any encoding that is found out.

use std::path::Path;

use super::ReadOptions;
use super::lines::{Lines, body};
use super::notes::Notes;
use super::open::{Opened, open};
use crate::{Error, Result};

/// Gives each line of a text file that is not blank to `each`, without its end. Returns notes on how the file was read.
///
/// # Errors
/// A file that can't be read or is no text; a line that is not text in the file's encoding, or too long.
pub fn each_line(path: &Path, mut each: impl FnMut(&str)) -> Result<Vec<String>> {
    let notes = Notes::default();
    let Opened::Text { text, is_pipe } = open(path, &ReadOptions::default(), &notes)? else {
        return Err(Error::data(path, None, "a Parquet file, not lines of text", "give it with the ending .parquet"));
    };
    let (mut lines, mut line) = (Lines::new(path, text, is_pipe), Vec::new());
    while lines.next(&mut line)? {
        let text = std::str::from_utf8(body(&line)).map_err(|e| {
            let what = format!("not a line of UTF-8 text ({e})");
            Error::data(path, Some(lines.number()), what, "save the file as UTF-8")
        })?;
        if !text.trim().is_empty() {
            each(text);
        }
        line.clear();
    }
    Ok(notes.lines(path))
}
