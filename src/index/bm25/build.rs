//! Texts into the arrays of an index, in two passes over terms and none over the texts.
//!
//! First each row's terms go to a file as numbers in the order of their first appearance; in memory is a table of the terms that
//! there are, 64 bits each, and how many rows have them. When all rows are there the terms are put in order, those trigrams that
//! are in too many rows to say anything go, and the file is read again: once for the terms of each row, and for the postings once for
//! every 128 MB of them, which are filled in place. Nothing is sorted but the table.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{Bm25, Bm25Settings, HEADER, Header, VERSION, byte_of, factors};
use crate::index::analyse::TermHash;
use crate::index::array::{Array, Sink};
use crate::text::TextConfig;
use crate::{Error, Result};

/// Texts that are analysed at once.
const BATCH: usize = 4096;
/// Postings that are filled at once.
const PASS: u64 = 1 << 25;
const UNSORTED: &str = "unsorted";

/// Terms as keys: they are hashes already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }
    fn write_u64(&mut self, n: u64) {
        // the lowest bit is the field
        self.0 = n.rotate_right(1);
    }
}

/// Takes texts as they come and makes an index of them.
pub struct Bm25Builder {
    dir: Option<PathBuf>,
    settings: Bm25Settings,
    terms: HashMap<TermHash, Term, BuildHasherDefault<AsIs>>,
    /// Each row's terms, by their order of appearance.
    unsorted: Sink<u32>,
    lengths: Vec<u32>,
    norms: [Vec<u8>; 2],
    tokens: [u64; 2],
    /// Rows that are analysed and not yet numbered: the next ones are analysed meanwhile.
    waiting: Vec<Analysed>,
}

/// What is known of a term.
#[derive(Clone, Copy)]
struct Term {
    /// Its number in the order of appearance.
    number: u32,
    /// In how many rows it is, and how often in all.
    rows: u32,
    count: u64,
}

/// A row's terms.
struct Analysed {
    /// How many there are of each field.
    lengths: [usize; 2],
    /// Those of both fields, equal ones together.
    hashes: Vec<TermHash>,
}

impl Bm25Builder {
    /// Begins an index in a folder that is there and empty, or in memory without one.
    ///
    /// # Errors
    /// Settings that mean nothing; the system's.
    pub fn new(dir: Option<&Path>, settings: Bm25Settings) -> Result<Self> {
        settings.check()?;
        Ok(Bm25Builder {
            dir: dir.map(Path::to_path_buf),
            settings,
            terms: HashMap::default(),
            unsorted: Sink::new(dir, UNSORTED)?,
            lengths: Vec::new(),
            norms: [Vec::new(), Vec::new()],
            tokens: [0; 2],
            waiting: Vec::new(),
        })
    }

    /// Adds a row for each text. They are analysed on all cores while the next ones are read; `progress` hears of each batch how many there are.
    ///
    /// # Errors
    /// More than 2^32 - 1 rows; those of the texts; the system's.
    pub fn extend(
        &mut self,
        mut texts: impl Iterator<Item = Result<String>> + Send,
        mut progress: impl FnMut(u64),
    ) -> Result<()> {
        let mut next = || texts.by_ref().take(BATCH).collect::<Result<Vec<String>>>();
        let mut batch = next()?;
        while !batch.is_empty() {
            let (read, added) = rayon::join(&mut next, || self.add(&batch));
            added?;
            progress(batch.len() as u64);
            batch = read?;
        }
        Ok(())
    }

    fn add(&mut self, texts: &[String]) -> Result<()> {
        let rows = self.lengths.len() + self.waiting.len() + texts.len();
        if rows as u64 >= u64::from(u32::MAX) {
            let what = "an index has at most 4,294,967,294 documents; divide the collection";
            return Err(Error::setting("documents", rows, what));
        }
        let analysis = self.settings.analysis;
        let analysed = |text: &String| {
            let (hashes, lengths) = analysis.of_document(text);
            Analysed { lengths, hashes }
        };
        let (next, numbered) = rayon::join(|| texts.par_iter().map(analysed).collect(), || self.number_waiting());
        numbered?;
        self.waiting = next;
        Ok(())
    }

    /// Gives the terms of the rows that wait their numbers.
    fn number_waiting(&mut self) -> Result<()> {
        let mut of_batch = Vec::new();
        for row in std::mem::take(&mut self.waiting) {
            for (field, length) in row.lengths.into_iter().enumerate() {
                self.norms[field].push(byte_of(length));
                self.tokens[field] += length as u64;
            }
            for same in row.hashes.chunk_by(|a, b| a == b) {
                let next = Term { number: self.terms.len() as u32, rows: 0, count: 0 };
                let term = self.terms.entry(same[0]).or_insert(next);
                term.rows += 1;
                term.count += same.len() as u64;
                of_batch.extend(std::iter::repeat_n(term.number, same.len()));
            }
            if self.terms.len() >= u32::MAX as usize {
                let what = "too many different words; divide the collection";
                return Err(Error::setting("terms", self.terms.len(), what));
            }
            self.lengths.push(row.hashes.len() as u32);
        }
        self.unsorted.extend(&of_batch)
    }

    /// Completes the index. `order` has the rows in the order in which equal scores come, the order of rows without it.
    ///
    /// # Errors
    /// The system's; an order of another number of rows.
    pub fn finish(mut self, order: Option<&[u32]>) -> Result<Bm25> {
        self.number_waiting()?;
        let Bm25Builder { dir, settings, terms, unsorted, lengths, norms, tokens, waiting: _ } = self;
        let dir = dir.as_deref();
        let rows = lengths.len() as u32;
        let unsorted = unsorted.finish()?;

        // terms in order, without the postings of those that are in too many rows
        let mut sorted: Vec<(TermHash, Term)> = terms.into_iter().collect();
        sorted.par_sort_unstable_by_key(|(hash, _)| *hash);
        let most = (rows / 20).max(1000);
        let mut place = vec![NONE; sorted.len()];
        let mut starts = Vec::with_capacity(sorted.len() + 1);
        let mut postings = 0;
        for (at, (hash, term)) in (0u32..).zip(&sorted) {
            starts.push(postings);
            if hash & 1 == 0 || term.rows <= most {
                place[term.number as usize] = at;
                postings += term.count;
            }
        }
        starts.push(postings);
        let hashes = array(dir, "terms", sorted.iter().map(|(hash, _)| *hash))?;
        let frequencies = array(dir, "frequencies", sorted.iter().map(|(_, term)| term.rows))?;
        drop(sorted);

        let header = Header {
            version: VERSION,
            settings,
            rows,
            terms: hashes.len() as u64,
            postings,
            tokens,
            has_ties: order.is_some(),
        };
        let (row_terms, row_starts) = rows_of(dir, &unsorted, &lengths, &place)?;
        drop((unsorted, place, lengths));
        if let Some(dir) = dir {
            let path = dir.join(UNSORTED);
            std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        let mut index = Bm25 {
            factors: factors(&header),
            header,
            hashes,
            frequencies,
            tops: Array::Memory(Vec::new()),
            starts: array(dir, "starts", starts.into_iter())?,
            postings: Array::Memory(Vec::new()),
            row_starts,
            row_terms,
            norms: array(dir, "norms", norms.into_iter().flatten())?,
            ties: Array::Memory(Vec::new()),
            config: TextConfig::default(),
            whole: None,
        };
        (index.postings, index.tops) = inverted(dir, &index)?;
        if let Some(order) = order {
            if order.len() != rows as usize {
                let (expected, got) = (format!("{rows} rows"), format!("{} rows", order.len()));
                return Err(Error::Shape { op: "bm25", expected, got });
            }
            let mut ties = vec![0; order.len()];
            (0u32..).zip(order).for_each(|(place, row)| ties[*row as usize] = place);
            index.ties = array(dir, "ties", ties.into_iter())?;
        }
        if let Some(dir) = dir {
            let text = serde_json::to_vec_pretty(&index.header).map_err(super::failed)?;
            let path = dir.join(HEADER);
            std::fs::write(&path, text).map_err(Error::io("write", &path))?;
        }
        Ok(index)
    }
}

/// No place: a term whose postings are not kept.
const NONE: u32 = u32::MAX;

fn array<T: bytemuck::Pod>(dir: Option<&Path>, name: &str, values: impl Iterator<Item = T>) -> Result<Array<T>> {
    let mut sink = Sink::new(dir, name)?;
    let mut values = values.peekable();
    while values.peek().is_some() {
        let some: Vec<T> = values.by_ref().take(1 << 16).collect();
        sink.extend(&some)?;
    }
    sink.finish()
}

/// The kept terms of each row by their place, ascending, and where each row's begin.
fn rows_of(dir: Option<&Path>, unsorted: &[u32], lengths: &[u32], place: &[u32]) -> Result<(Array<u32>, Array<u64>)> {
    let (mut terms, mut starts) = (Sink::new(dir, "row-terms")?, Sink::new(dir, "row-starts")?);
    let (mut rest, mut end) = (unsorted, 0u64);
    starts.extend(&[0])?;
    for lengths in lengths.chunks(BATCH) {
        let mut rows = Vec::with_capacity(lengths.len());
        for length in lengths {
            let (row, after) = rest.split_at(*length as usize);
            rows.push(row);
            rest = after;
        }
        let kept = |row: &&[u32]| {
            let mut kept: Vec<u32> = row.iter().map(|term| place[*term as usize]).filter(|at| *at != NONE).collect();
            kept.sort_unstable();
            kept
        };
        let kept: Vec<Vec<u32>> = rows.par_iter().map(kept).collect();
        let ends: Vec<u64> = kept.iter().map(|row| (end += row.len() as u64, end).1).collect();
        terms.extend(&kept.concat())?;
        starts.extend(&ends)?;
    }
    Ok((terms.finish()?, starts.finish()?))
}

/// The rows of each term, and the most that a row has of it.
fn inverted(dir: Option<&Path>, index: &Bm25) -> Result<(Array<u32>, Array<f32>)> {
    let (mut postings, mut tops) = (Sink::new(dir, "postings")?, Sink::new(dir, "tops")?);
    let starts: &[u64] = &index.starts;
    let terms = index.hashes.len();
    let mut first = 0;
    while first < terms {
        let within = |at: usize| starts[at + 1] - starts[first] <= PASS;
        let last = (first + 1..terms).find(|at| !within(*at)).unwrap_or(terms);
        let base = starts[first];
        // a part for each core, of about as many postings
        let (cores, postings_of) = (rayon::current_num_threads() as u64, starts[last] - base);
        let mut filled = vec![0u32; postings_of as usize];
        let (mut parts, mut rest, mut from) = (Vec::new(), &mut filled[..], first);
        for core in 1..=cores {
            let end = base + postings_of * core / cores;
            let to = if core == cores { last } else { from + starts[from..last].partition_point(|at| *at < end) };
            let (part, after) = rest.split_at_mut((starts[to] - starts[from]) as usize);
            parts.push((from..to, part));
            (rest, from) = (after, to);
        }
        parts.into_par_iter().for_each(|(terms, part)| fill(index, terms, part));
        let top = |at: usize| {
            let of_term = &filled[(starts[at] - base) as usize..(starts[at + 1] - base) as usize];
            let field = (index.hashes[at] & 1) as usize;
            let norms = &index.norms[field * index.len()..][..index.len()];
            let parts = of_term.chunk_by(|a, b| a == b).map(|same| {
                let count = same.len() as f32;
                count / (count + index.factors[field][usize::from(norms[same[0] as usize])])
            });
            parts.fold(0f32, f32::max)
        };
        let of_terms: Vec<f32> = (first..last).into_par_iter().with_min_len(256).map(top).collect();
        postings.extend(&filled)?;
        tops.extend(&of_terms)?;
        first = last;
    }
    Ok((postings.finish()?, tops.finish()?))
}

/// Writes the postings of some terms.
fn fill(index: &Bm25, terms: Range<usize>, filled: &mut [u32]) {
    let starts: &[u64] = &index.starts;
    let base = starts[terms.start];
    let mut next: Vec<u32> = terms.clone().map(|at| (starts[at] - base) as u32).collect();
    for (row, bounds) in (0u32..).zip(index.row_starts.windows(2)) {
        let of_row = &index.row_terms[bounds[0] as usize..bounds[1] as usize];
        let from = of_row.partition_point(|at| (*at as usize) < terms.start);
        for at in of_row[from..].iter().take_while(|at| (**at as usize) < terms.end) {
            let next = &mut next[*at as usize - terms.start];
            filled[*next as usize] = row;
            *next += 1;
        }
    }
}
