//! Lines of a text, numbered, bounded in length, and returnable: a reader that took too many can give them back.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use super::MAX_LINE;
use crate::{Error, Result};

/// Lines of a text.
pub(super) struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    number: u64,
    /// Whole lines given back, and how far they have been read again.
    returned: Vec<u8>,
    at: usize,
}

impl Lines {
    pub(super) fn new(path: &Path, reader: Box<dyn BufRead>) -> Self {
        Lines { path: path.into(), reader, number: 0, returned: Vec::new(), at: 0 }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The number of the line read last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// What comes next, without taking it.
    pub(super) fn peek(&mut self) -> Result<&[u8]> {
        self.reader.fill_buf().map_err(Error::io("read", &self.path))
    }

    /// Appends the next line with its end to `out`; `false` after the last. An overlong line is skipped and refused.
    pub(super) fn next(&mut self, out: &mut Vec<u8>) -> Result<bool> {
        if self.at < self.returned.len() {
            let rest = &self.returned[self.at..];
            let end = rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |i| i + 1);
            out.extend_from_slice(&rest[..end]);
            self.at += end;
            self.number += 1;
            return Ok(true);
        }
        let start = out.len();
        let read = self.read(out)?;
        if read == 0 {
            return Ok(false);
        }
        self.number += 1;
        if read == MAX_LINE && out.last() != Some(&b'\n') {
            let mut sink = Vec::new();
            loop {
                out.truncate(start);
                sink.clear();
                if self.read(&mut sink)? < MAX_LINE || sink.last() == Some(&b'\n') {
                    break;
                }
            }
            let what = format!("a line of more than {} MiB", MAX_LINE >> 20);
            return Err(Error::data(
                &self.path,
                Some(self.number),
                what,
                "cut its cells down, or end it where it should",
            ));
        }
        Ok(true)
    }

    fn read(&mut self, out: &mut Vec<u8>) -> Result<usize> {
        let mut bounded = (&mut self.reader).take(MAX_LINE as u64);
        bounded.read_until(b'\n', out).map_err(Error::io("read", &self.path))
    }

    /// Takes whole lines back; the line read last is now `number`.
    pub(super) fn give_back(&mut self, lines: &[u8], number: u64) {
        let mut returned = lines.to_vec();
        returned.extend_from_slice(&self.returned[self.at..]);
        (self.returned, self.at, self.number) = (returned, 0, number);
    }
}

/// A line without its end.
pub(super) fn body(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
