//! First-stage candidates: which rows of the other table are worth a model's time.
//!
//! A transformer that reads two records together can't read every pair of two lists (1,000 x 1,000 is a million passes), so
//! BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009) proposes the top k rows for each record and
//! the model judges only those. A true match that is not proposed is lost for good, so this module is tuned for recall at k.
//!
//! Two fields carry a row of products, both made by [`analyse`](super::analyse): its words (numbers and codes whole and split,
//! quantities in one unit) and, at a tenth of the weight, the trigrams of those words, which bridge inflections, typing errors
//! and words glued together. Prose has one, its stems. Lengths are kept in a byte as Lucene keeps them. Scores are summed term by
//! term in a fixed order, so that equal rows get equal scores to the bit. Of equal rows the one whose id is first in the
//! alphabet comes first, so that the order of the list does not decide which rows are among the k best.
//!
//! An index is a few arrays of plain numbers, in memory or mapped from files ([`build`]): postings (the rows of each term) and
//! the reverse, the terms of each row. The search ([`search`]) takes rows in blocks, adds up short lists of postings until few rows of
//! the block can still be among the best, and scores these in full by their terms: the k best rows are certain.
//!
//! Refused: tantivy, which was here before. Its constants k1 and b are fixed, and with a scorer of one's own its pruning is lost;
//! it has no terms of a row, without which every list of a common word is read to its end; and its commits would come on top of
//! those of the collection. Also refused: a query parser (a product called `AND (-x)` is text, not syntax); stemmers and stop
//! words for products (trigrams did better on Russian and English alike, and need no language); dense vectors (they need a model).

mod build;
mod search;
#[cfg(test)]
mod tests;

use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::analyse::{Analysis, TermHash};
use super::array::Array;
use crate::data::Documents;
use crate::ranker::{Hit, Input, Retriever};
use crate::records::Record;
use crate::text::{TextConfig, plain_text};
use crate::{Error, Result};

pub use build::Bm25Builder;

/// What a trigram counts, if a word counts 1.
const TRIGRAM_WEIGHT: f32 = 0.1;
/// What a folder of this layout says of itself.
const VERSION: u32 = 1;
const HEADER: &str = "bm25.json";

/// What BM25 counts, and how.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bm25Settings {
    /// How much it counts that a term is in a document again: 0 and more; 0: not at all.
    pub k1: f32,
    /// How much it counts that a document is long, from 0 (not at all) to 1.
    pub b: f32,
    /// Which terms a text has.
    pub analysis: Analysis,
}

impl Default for Bm25Settings {
    /// Of products.
    fn default() -> Self {
        Bm25Settings { k1: 1.2, b: 0.75, analysis: Analysis::Products }
    }
}

impl Bm25Settings {
    /// Of prose: the constants of Anserini (Yang, Fang and Lin, SIGIR 2017).
    pub fn text() -> Self {
        Bm25Settings { k1: 0.9, b: 0.4, analysis: Analysis::Text }
    }

    /// Those of a kind of data, where nothing else is asked for: of prose for a collection of passages, of products for a table. Every
    /// index that is made of documents on disk asks here.
    pub fn of(documents: &Documents) -> Self {
        if documents.is_prose { Self::text() } else { Self::default() }
    }

    /// Refuses constants that mean nothing.
    ///
    /// # Errors
    /// A negative `k1`, a `b` outside 0 to 1, what is no number.
    pub fn check(&self) -> Result<()> {
        if !(self.k1.is_finite() && self.k1 >= 0.0) {
            return Err(Error::setting("k1", self.k1, "a number, 0 or more; 0.9 and 1.2 are usual"));
        }
        match (0.0..=1.0).contains(&self.b) {
            true => Ok(()),
            false => Err(Error::setting("b", self.b, "a number from 0 to 1; 0.4 and 0.75 are usual")),
        }
    }
}

/// What `bm25.json` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Header {
    version: u32,
    settings: Bm25Settings,
    rows: u32,
    terms: u64,
    postings: u64,
    /// Terms in all rows, by field.
    tokens: [u64; 2],
    has_ties: bool,
}

/// An inverted index over the texts of one table.
pub struct Bm25 {
    header: Header,
    /// The terms, ascending, `[terms]`.
    hashes: Array<TermHash>,
    /// In how many rows each is, `[terms]`.
    frequencies: Array<u32>,
    /// The most that a row has of each term, before the term's weight, `[terms]`.
    tops: Array<f32>,
    /// Where each term's postings begin, `[terms + 1]`.
    starts: Array<u64>,
    /// The rows of each term, ascending, a row as often as it has the term, `[postings]`.
    postings: Array<u32>,
    /// Where each row's terms begin, `[rows + 1]`.
    row_starts: Array<u64>,
    /// The places of each row's terms in `hashes`, ascending, as often as the row has them, `[postings]`.
    row_terms: Array<u32>,
    /// Lengths of the words of all rows, then of the trigrams, as bytes, `[2, rows]`.
    norms: Array<u8>,
    /// Each row's place among equal scores, `[rows]`; empty: in the order of the rows.
    ties: Array<u32>,
    /// What a byte of length adds below the fraction, by field.
    factors: [[f32; 256]; 2],
    /// How records become text.
    config: TextConfig,
    /// Where it is a part of a collection.
    whole: Option<Whole>,
}

/// What the score of a part takes from all parts.
struct Whole {
    rows: u64,
    /// In how many rows of all parts each term of this one is, `[terms]`.
    frequencies: Vec<u32>,
    /// By how much `tops` may be too low, by field: they are of this part's own average length.
    excess: [f32; 2],
}

impl Bm25 {
    /// Indexes the chosen fields of records in memory. Of equal scores the one of the lower id comes first.
    ///
    /// # Errors
    /// Settings that mean nothing; more than 2^32 - 1 rows.
    pub fn of_records(records: &[Record], settings: &Bm25Settings, config: &TextConfig) -> Result<Self> {
        let mut builder = Bm25Builder::new(None, *settings)?;
        builder.extend(records.iter().map(|record| Ok(plain_text(config, record.into()))), |_| ())?;
        let mut order: Vec<u32> = (0..records.len() as u32).collect();
        order.sort_by(|a, b| records[*a as usize].id.cmp(&records[*b as usize].id));
        Ok(builder.finish(Some(&order))?.with_rendering(config))
    }

    /// Indexes one text per row in memory, in order.
    ///
    /// # Errors
    /// More than 2^32 - 1 rows.
    pub fn build(texts: impl Iterator<Item = String> + Send) -> Result<Self> {
        let mut builder = Bm25Builder::new(None, Bm25Settings::default())?;
        builder.extend(texts.map(Ok), |_| ())?;
        builder.finish(None)
    }

    /// Indexes one text per row, in order, into files in a folder that is there and empty. Memory grows with the number of different
    /// terms, not with the texts.
    ///
    /// # Errors
    /// Settings that mean nothing; more than 2^32 - 1 rows; the system's.
    pub fn write(dir: &Path, texts: impl Iterator<Item = String> + Send, settings: &Bm25Settings) -> Result<()> {
        let mut builder = Bm25Builder::new(Some(dir), *settings)?;
        builder.extend(texts.map(Ok), |_| ())?;
        builder.finish(None).map(drop)
    }

    /// Opens what [`Bm25::write`] or a [`Bm25Builder`] wrote. The files are mapped, not read.
    ///
    /// # Errors
    /// A folder without an index, one of another version, a file cut short.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(HEADER);
        let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let broken = |what: String| Error::data(&path, None, what, "build the index again");
        let version: serde_json::Value = serde_json::from_slice(&text).map_err(|e| broken(e.to_string()))?;
        if version["version"] != VERSION {
            return Err(broken(format!("an index of version {}, not {VERSION}", version["version"])));
        }
        let header: Header = serde_json::from_value(version).map_err(|e| broken(e.to_string()))?;
        let (rows, terms) = (u64::from(header.rows), header.terms);
        let ties = if header.has_ties { Array::open(&dir.join("ties"), rows)? } else { Array::Memory(Vec::new()) };
        let index = Bm25 {
            hashes: Array::open(&dir.join("terms"), terms)?,
            frequencies: Array::open(&dir.join("frequencies"), terms)?,
            tops: Array::open(&dir.join("tops"), terms)?,
            starts: Array::open(&dir.join("starts"), terms.saturating_add(1))?,
            postings: Array::open(&dir.join("postings"), header.postings)?,
            row_starts: Array::open(&dir.join("row-starts"), rows + 1)?,
            row_terms: Array::open(&dir.join("row-terms"), header.postings)?,
            norms: Array::open(&dir.join("norms"), 2 * rows)?,
            ties,
            factors: factors(&header),
            header,
            config: TextConfig::default(),
            whole: None,
        };
        match index.starts.last() == Some(&index.header.postings) && index.row_starts.last() == index.starts.last() {
            true => Ok(index),
            false => Err(broken("the files do not fit together".into())),
        }
    }

    /// How queries that are records become text.
    pub fn with_rendering(self, config: &TextConfig) -> Self {
        Bm25 { config: config.clone(), ..self }
    }

    /// Lets the parts of one collection score as one index of all their rows does: by how many rows of all have a term, and by the
    /// average length of all. Scores of different parts can then be compared.
    pub fn join(parts: &mut [Bm25]) {
        let rows: u64 = parts.iter().map(|part| u64::from(part.header.rows)).sum();
        let tokens = [0, 1].map(|field| parts.iter().map(|part| part.header.tokens[field]).sum::<u64>());
        let in_all = |hash: &TermHash| -> u32 {
            parts.iter().filter_map(|part| Some(part.frequencies[part.find(*hash)?])).fold(0, u32::saturating_add)
        };
        let frequencies: Vec<Vec<u32>> =
            parts.iter().map(|part| part.hashes.par_iter().map(in_all).collect()).collect();
        for (part, frequencies) in parts.iter_mut().zip(frequencies) {
            let own = |field: usize| part.header.tokens[field] as f32 / part.header.rows as f32;
            let average = |field: usize| tokens[field] as f32 / rows as f32;
            // a fraction grows at most by the inverse of what its length's share shrinks by
            let excess = [0, 1].map(|field| (average(field) / own(field)).max(1.0));
            part.factors = factors_of(&part.header.settings, [0, 1].map(average));
            part.whole = Some(Whole { rows, frequencies, excess });
        }
    }

    /// The `k` best rows for a text with their scores, best first; equal scores by id, or in the order of texts without one. A row that shares
    /// nothing with the text is never among them, so an empty text has no candidates.
    ///
    /// # Errors
    /// A damaged index.
    pub fn top(&self, text: &str, k: usize) -> Result<Vec<(u32, f32)>> {
        search::top(self, text, k)
    }

    /// [`Bm25::top`] of many texts, on all cores, in the order given.
    ///
    /// # Errors
    /// Those of [`Bm25::top`].
    pub fn top_all(&self, texts: &[String], k: usize) -> Result<Vec<Vec<(u32, f32)>>> {
        texts.par_iter().map(|text| self.top(text, k)).collect()
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.header.rows as usize
    }

    /// True without a row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How it was built.
    pub fn settings(&self) -> &Bm25Settings {
        &self.header.settings
    }

    /// The place of a term.
    fn find(&self, hash: TermHash) -> Option<usize> {
        let hashes: &[TermHash] = &self.hashes;
        // hashes are spread evenly, so their size says nearly where they are; from there in growing steps
        let guess = ((u128::from(hash) * hashes.len() as u128) >> 64) as usize;
        let (mut low, mut high, mut step) = (guess, guess, 16);
        while low > 0 && hashes[low - 1] >= hash {
            (low, step) = (low.saturating_sub(step), step * 2);
        }
        step = 16;
        while high < hashes.len() && hashes[high] < hash {
            (high, step) = ((high + step).min(hashes.len()), step * 2);
        }
        hashes[low..high.max(low)]
            .binary_search(&hash)
            .map(|at| low + at)
            .ok()
            .or_else(|| (hashes.get(high) == Some(&hash)).then_some(high))
    }
}

impl Retriever for Bm25 {
    fn retrieve(&self, queries: &[Input], k: usize) -> Result<Vec<Vec<Hit>>> {
        let hits = |query: &Input| -> Result<Vec<Hit>> {
            let top = self.top(&plain_text(&self.config, *query), k)?;
            Ok(top.into_iter().map(|(document, score)| Hit { document, score }).collect())
        };
        queries.par_iter().map(hits).collect()
    }
}

/// The denominator of `tf / (tf + k1 (1 - b + b length / average))`, by field and byte of length.
fn factors(header: &Header) -> [[f32; 256]; 2] {
    factors_of(&header.settings, [0, 1].map(|field| header.tokens[field] as f32 / header.rows as f32))
}

/// The same for these average lengths.
fn factors_of(settings: &Bm25Settings, averages: [f32; 2]) -> [[f32; 256]; 2] {
    let Bm25Settings { k1, b, .. } = *settings;
    averages.map(|average| std::array::from_fn(|byte| k1 * (1.0 - b + b * length(byte as u8) as f32 / average)))
}

/// The length that a byte encodes: exact to 40, then in steps of an eighth and less (Lucene's `SmallFloat.byte4ToInt`).
fn length(byte: u8) -> u32 {
    match byte {
        0..24 => byte.into(),
        _ => {
            let (bits, shift) = (u32::from(byte - 24) & 7, (byte - 24) >> 3);
            24 + if shift == 0 { bits } else { (bits | 8) << (shift - 1) }
        }
    }
}

/// The byte of the greatest length that is not above this one.
fn byte_of(count: usize) -> u8 {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let (mut low, mut high) = (0u8, 255u8);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if length(middle) <= count { low = middle } else { high = middle - 1 }
    }
    low
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Internal { op: "bm25", what: error.to_string() }
}
