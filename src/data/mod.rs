//! Files to records, and matches to files.
//!
//! Readers are three layers: [`open`] turns bytes into UTF-8 text (gzip, byte order marks, other encodings), `rows` turns
//! text into rows of named cells, whatever the file is (CSV with any delimiter, JSON, Parquet), and a format gives the
//! rows their meaning. So a links file may be a Parquet file and a joined file may be JSON lines without a line of code
//! for it. Rows are streamed: a table is held once, as its records, in memory or in a file ([`StoredTable`]), and [`stream_pairs`]
//! holds one pair.
//!
//! Delimiter, header, ids and labels are found out, and a guess is checked against the rows that it explains; what other
//! programs leave in files (HTML, words for a missing value, row numbers, sums) is read as a person reads it. What was
//! guessed, changed or left out is in the [`ReadReport`].
//!
//! What a user's file may do wrong is an [`crate::Error::Data`] with file, line and column. The rule that
//! decides what `--skip-bad-rows` may drop is one sentence: an error that names a line is a bad row, any other is fatal.
//!
//! Refused: the `csv` crate for reading (by design it never complains about quotes: an unclosed one swallows the rest of
//! the file in silence; it writes our files), Arrow (the Parquet crate's row interface reads what a list of products
//! holds, at a fifth of the build time), guessing an encoding, a delimiter or a label column that could be two (an error asks the user instead).

mod beir;
mod cedr;
mod cells;
mod clean;
mod collection;
mod columns;
mod deepmatcher;
mod delimited;
mod detect;
mod dialect;
mod ditto;
pub mod fasttext;
mod features;
mod fields;
mod hard_negatives;
mod identity;
mod joined;
mod json;
mod json_values;
mod kinds;
mod label;
mod label_column;
mod lines;
mod links;
mod memory;
mod ms_marco;
mod notes;
mod open;
mod paraphraser;
mod parquet;
mod plain;
mod query_texts;
mod reading;
mod ready_vectors;
mod residue;
mod rows;
mod searched;
mod sentence_pairs;
mod source;
mod squad;
mod stored;
mod stream;
mod table;
mod texts;
mod topics;
mod trec;
mod word_vectors;
mod write;
mod xml;

pub use beir::{read_beir, write_beir};
pub use cedr::{CedrFiles, read_cedr, read_cedr_pairs, write_cedr};
pub use collection::Collection;
pub use deepmatcher::read_folder_pairs;
pub use detect::{detect, guess_links};
pub use features::write_features;
pub use hard_negatives::each_hard_negative;
pub use ms_marco::{Triple, read_ms_marco, read_queries, read_triples, write_documents, write_queries, write_triples};
pub use query_texts::read_query_texts;
pub use reading::Reading;
pub use ready_vectors::{VectorFile, VectorPaths};
pub use rows::{PlainRow, read_rows};
pub use searched::{Documents, read_queries_of_any_kind, store_documents};
pub(crate) use source::rebase;
pub use source::{Parts, Source, read_pairs};
pub use squad::read_squad;
pub use stored::StoredTable;
pub use stored::writer::{store_records, store_table};
pub use stream::{PairStream, stream_pairs};
pub use table::read_table;
pub use texts::{TextStream, is_table, read_texts, stream_texts};
pub use topics::{read_topics, write_topics};
pub use trec::{read_qrels, read_run, write_qrels, write_run};
pub use word_vectors::WordVectors;
pub use write::MatchWriter;

use std::path::PathBuf;

use crate::{Error, Result};

/// The longest cell that is read, in bytes (1 MiB): far above any product's text, far below what exhausts memory.
pub const MAX_CELL: usize = 1 << 20;
/// The longest line that is read, in bytes (16 MiB).
pub const MAX_LINE: usize = 16 << 20;
/// The most columns of a table.
pub const MAX_COLUMNS: usize = 4096;

/// How to read.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// The id column; `None`: the column called `id`, else the first, unless it holds texts and another one codes.
    pub id: Option<String>,
    /// The byte between cells; `None`: found out from the rows.
    pub delimiter: Option<u8>,
    /// The first row is data: the columns are called `column 1`, `column 2` and so on.
    pub no_header: bool,
    /// The encoding of a text file by its name on the web (`windows-1250`); `None`: found out.
    pub encoding: Option<String>,
    /// The column of labels in a file of pairs, or `none` for a file of matches; `None`: found out.
    pub label_column: Option<String>,
    /// Drop and count rows that can't be read, instead of stopping at the first.
    pub skip_bad_rows: bool,
    /// Files of ready vectors, each with the column that its rows become; of a table, not of pairs in one line.
    pub vectors: Vec<(String, PathBuf)>,
    /// How to read the right one of two tables, if in another way.
    pub right: Option<Box<ReadOptions>>,
}

impl ReadOptions {
    /// Options of the left table, of the right one, and of a file that links them.
    fn sides(&self) -> [ReadOptions; 3] {
        let left = ReadOptions { right: None, ..self.clone() };
        let right = self.right.as_deref().unwrap_or(&left).clone();
        let (label_column, skip_bad_rows) = (self.label_column.clone(), self.skip_bad_rows);
        [left, right, ReadOptions { label_column, skip_bad_rows, ..ReadOptions::default() }]
    }
}

/// What a reader dropped, changed and guessed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// Rows that `skip_bad_rows` dropped.
    pub skipped: u64,
    /// The first few errors of dropped rows, as they would have been reported.
    pub examples: Vec<String>,
    /// What was changed, left out or guessed: a sentence each, with the file's name.
    pub notes: Vec<String>,
}

impl ReadReport {
    /// Adds what was dropped and said of another file.
    pub fn add(&mut self, other: ReadReport) {
        self.skipped += other.skipped;
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES);
        for note in other.notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }

    /// Counts a bad row if bad rows are to be skipped and the error names a line; gives any other error back.
    fn take(&mut self, error: Error, skip_bad_rows: bool) -> Result<()> {
        match &error {
            Error::Data { place, .. } if skip_bad_rows && place.line.is_some() => {
                self.skipped += 1;
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

#[cfg(test)]
mod collection_tests;
