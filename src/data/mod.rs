//! Files to records, and matches to files.
//!
//! Every reader stands on one floor: [`open`] turns bytes into UTF-8 text (gzip, byte order marks, Windows-1251 and
//! UTF-16 are found and converted, with a warning), `rows` turns text into rows of named cells, whatever the file is
//! (CSV with any delimiter, JSON lines, Parquet), and a format gives the rows their meaning. So a links file may be a
//! Parquet file and a joined file may be JSON lines without a line of code for it. Rows are streamed: a table is held
//! once, as its records, and [`stream_pairs`] holds one pair.
//!
//! What a user's file may do wrong is an [`Error::Data`](crate::Error::Data) with file, line and column. The rule that
//! decides what `--skip-bad-rows` may drop is one sentence: an error that names a line is a bad row, any other is fatal.
//!
//! Refused: the `csv` crate for reading (by design it never complains about quotes: an unclosed one swallows the rest of
//! the file in silence; it writes our files), Arrow (the Parquet crate's row interface reads what a list of products
//! holds, at a fifth of the build time), guessing an encoding that could be two (an error asks the user instead).

mod deepmatcher;
mod delimited;
mod detect;
mod ditto;
mod joined;
mod jsonl;
mod label;
mod lines;
mod links;
mod open;
mod parquet;
mod rows;
mod source;
mod stream;
mod table;
mod write;

pub use deepmatcher::read_folder_pairs;
pub use detect::{detect, guess_links};
pub use source::{Parts, Source, read_pairs};
pub use stream::{PairStream, stream_pairs};
pub use table::read_table;
pub use write::MatchWriter;

use crate::{Error, Result};

/// The longest cell that is read, in bytes (1 MiB): far above any product's text, far below what exhausts memory.
pub const MAX_CELL: usize = 1 << 20;
/// The longest line that is read, in bytes (16 MiB).
pub const MAX_LINE: usize = 16 << 20;

/// How to read.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// The id column; `None`: a column called `id`, else the first.
    pub id: Option<String>,
    /// Drop and count rows that can't be read, instead of stopping at the first.
    pub skip_bad_rows: bool,
}

/// What `skip_bad_rows` dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Rows dropped.
    pub count: u64,
    /// The first few errors, as they would have been reported.
    pub examples: Vec<String>,
}

impl Skipped {
    /// Counts the rows that another file dropped as well.
    pub fn add(&mut self, other: Skipped) {
        self.count += other.count;
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES);
    }

    /// Counts a bad row where that is wanted and the error names a line; gives any other error back.
    fn take(&mut self, error: Error, options: &ReadOptions) -> Result<()> {
        match &error {
            Error::Data { place, .. } if options.skip_bad_rows && place.line.is_some() => {
                self.count += 1;
                if self.examples.len() < EXAMPLES {
                    self.examples.push(error.to_string());
                }
                Ok(())
            }
            _ => Err(error),
        }
    }
}

/// Errors kept as examples.
const EXAMPLES: usize = 5;
