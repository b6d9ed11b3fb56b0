//! The cells of one record of delimited text: RFC 4180 quotes, or the backslashes of database dumps.

use std::ops::Range;

/// The cells of one record: their bytes one after the other, and where each ends.
#[derive(Default)]
pub(super) struct Cells {
    pub(super) bytes: Vec<u8>,
    pub(super) ends: Vec<usize>,
    /// Inside quotes a backslash keeps the next character from its meaning.
    pub(super) has_escapes: bool,
    state: State,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum State {
    #[default]
    Start,
    Plain,
    Quoted,
    Escaped,
    Closed,
}

impl Cells {
    pub(super) fn clear(&mut self) {
        (self.state, _, _) = (State::Start, self.bytes.clear(), self.ends.clear());
    }

    /// Whether a quote is open, so that the record goes on in the next line.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Quoted | State::Escaped)
    }

    /// Bytes of the cell being read.
    pub(super) fn last(&self) -> usize {
        self.bytes.len() - self.ends.last().copied().unwrap_or(0)
    }

    /// Where the cells are in the bytes.
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(self.ends.iter().copied()).map(|(start, end)| start..end)
    }

    /// Whether the record is of nothing but delimiters and spaces.
    pub(super) fn is_blank(&self) -> bool {
        self.bytes.iter().all(u8::is_ascii_whitespace)
    }

    /// Number of cells without the empty ones at the end.
    pub(super) fn filled_up_to(&self) -> usize {
        let total = self.bytes.len();
        if self.is_blank() {
            return 0;
        }
        self.ends
            .iter()
            .position(|end| self.bytes[*end..total].iter().all(u8::is_ascii_whitespace))
            .map_or(0, |i| i + 1)
    }

    /// Reads a line, without its end; an error is text after a closing quote.
    pub(super) fn feed(&mut self, line: &[u8], delimiter: u8) -> Result<(), ()> {
        for &byte in line {
            match (self.state, byte) {
                (State::Quoted, b'"') => self.state = State::Closed,
                (State::Quoted, b'\\') if self.has_escapes => self.state = State::Escaped,
                (State::Quoted, _) => self.bytes.push(byte),
                (State::Escaped, _) => {
                    self.bytes.push(match byte {
                        b'n' => b'\n',
                        b't' => b'\t',
                        b'r' => b'\r',
                        other => other,
                    });
                    self.state = State::Quoted;
                }
                (State::Start, b'"') => self.state = State::Quoted,
                (State::Closed, b'"') if !self.has_escapes => {
                    self.bytes.push(b'"');
                    self.state = State::Quoted;
                }
                (_, _) if byte == delimiter => {
                    self.ends.push(self.bytes.len());
                    self.state = State::Start;
                }
                (State::Closed, b' ') => {}
                (State::Closed, _) => return Err(()),
                (State::Start | State::Plain, _) => {
                    self.bytes.push(byte);
                    self.state = State::Plain;
                }
            }
        }
        if !self.is_open() {
            self.ends.push(self.bytes.len());
        }
        Ok(())
    }
}
