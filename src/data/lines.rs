//! Lines of a text, numbered, bounded in length, and returnable: a reader that took too many can give them back.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use super::MAX_LINE;
use crate::{Error, Result};

/// Lines of a text.
pub(super) struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    is_pipe: bool,
    number: u64,
    /// Whole lines given back, and how far they have been read again.
    returned: Vec<u8>,
    at: usize,
}

impl Lines {
    /// Of a text; `is_pipe`: its lines come when they come, and nothing may be waited for.
    pub(super) fn new(path: &Path, reader: Box<dyn BufRead>, is_pipe: bool) -> Self {
        Lines { path: path.into(), reader, is_pipe, number: 0, returned: Vec::new(), at: 0 }
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

    /// Takes bytes that [`peek`](Lines::peek) showed.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.reader.consume(bytes);
    }

    /// The text's start, up to `most` bytes, without taking it, and whether that is all of it. Of a pipe: what is there.
    pub(super) fn sample(&mut self, most: usize) -> Result<(Vec<u8>, bool)> {
        if self.is_pipe {
            return Ok((self.peek()?.to_vec(), false));
        }
        let mut start = Vec::new();
        (&mut self.reader).take(most as u64).read_to_end(&mut start).map_err(Error::io("read", &self.path))?;
        let rest = std::mem::replace(&mut self.reader, Box::new(io::empty()));
        let is_all = start.len() < most;
        self.reader = Box::new(Cursor::new(start.clone()).chain(rest));
        Ok((start, is_all))
    }

    /// From here on lines end with a bare carriage return, as on an old Mac.
    pub(super) fn end_at_carriage_returns(&mut self) {
        let rest = std::mem::replace(&mut self.reader, Box::new(io::empty()));
        self.reader = Box::new(BufReader::with_capacity(1 << 16, CarriageReturns(rest)));
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

/// A text whose carriage returns are read as line feeds.
struct CarriageReturns(Box<dyn BufRead>);

impl Read for CarriageReturns {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(out)?;
        out[..read].iter_mut().filter(|b| **b == b'\r').for_each(|b| *b = b'\n');
        Ok(read)
    }
}

/// A line without its end.
pub(super) fn body(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
