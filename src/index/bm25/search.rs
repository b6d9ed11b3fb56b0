//! The k best rows of a query.
//!
//! **Rows in blocks.** The partial scores of some ten thousand rows fit in the second cache, so the postings of a block are added up
//! there, term by term, in whole numbers of 16 bits that are rounded up: a sum is never below the score, nor above it by more than one step for
//! each term.
//!
//! **Short lists first.** Each term has a bound, the most that it can add to any row. Terms are taken by bound for each posting to be
//! read, and where no row of a block has a term without which it can't reach what the k-th best row has already, the longer lists
//! are not read (MaxScore: Turtle and Flood, "Query evaluation", 1995). Where few rows can still reach it, these are looked up in the longer
//! lists, which are not read either, and each is given up as soon as it can't. Rows whose sum reaches it are scored in full by their terms.
//!
//! Sums only choose the rows: a score is summed over the query's terms in their own order, so equal rows have equal bits, and what is
//! found does not depend on blocks.
//!
//! Refused: a budget of postings, which was here before: sums all over the list were a cache miss each, so that this reads all of them in
//! less time than that took to read some; and to score the few rows that are left in full, without looking them up (a microsecond each: a
//! row's terms are not in the cache). No faster: a count or the row's length in each posting, fetching the next list's postings ahead,
//! several queries at once through each block, blocks of other sizes.

use std::cell::RefCell;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::{Bm25, TRIGRAM_WEIGHT};
use crate::Result;

/// Rows of a block.
const BLOCK: usize = 1 << 14;
/// Rows of the first block, which is there to find the first k rows.
const FIRST: usize = 1 << 11;
/// Each time that as many postings were read as this share of a block's rows (an eighth), it is asked whether few rows are left.
const ASK: usize = 8;
/// Postings that are read in the time that a row is looked up in one list. Few rows are left where looking them up in all lists that are
/// left takes less time than reading these.
const LOOK_UP: usize = 12;
/// Rows of a block that are scored in full, and no more, where so many have nearly the same sum.
const ROWS: usize = 1000;
/// What a term adds to a row is known for so many times that it is there; one time more counts as the term's bound.
const TIMES: usize = 4;
/// The largest sum.
const STEPS: usize = i16::MAX as usize;
/// Terms whose postings are read; the others of a very long query count where rows are scored in full.
const TERMS: usize = 8192;
/// Sums of floats in another order differ by less than this share of them.
const ROUNDING: f32 = 1e-5;

/// A term of the query that the index has.
struct Term {
    /// Its place in the index.
    at: usize,
    frequency: usize,
    field: usize,
    /// What the fraction is multiplied by: first the term's own weight, then that of the query.
    weights: [f32; 2],
    /// The most that a row gets of it.
    bound: f32,
}

impl Term {
    fn score(&self, index: &Bm25, count: u32, norm: u8) -> f32 {
        let count = count as f32;
        self.weights[1] * (self.weights[0] * (count / (count + index.factors[self.field][usize::from(norm)])))
    }
}

thread_local! {
    /// Sums of a block, all 0 between two blocks.
    static SUMS: RefCell<Vec<i16>> = RefCell::default();
}

pub(super) fn top(index: &Bm25, text: &str, k: usize) -> Result<Vec<(u32, f32)>> {
    let terms = terms(index, text);
    if terms.is_empty() || k == 0 {
        return Ok(Vec::new());
    }
    SUMS.with_borrow_mut(|sums| {
        sums.resize(BLOCK, 0);
        let mut search = Search::new(index, &terms, k.min(index.len()));
        let mut base = 0;
        while base < index.len() {
            let size = if base == 0 { FIRST } else { BLOCK };
            let end = index.len().min(base + size);
            search.block(base, &mut sums[..end - base]);
            base = end;
        }
        Ok(search.best.into_sorted())
    })
}

/// The same by reading every row.
#[cfg(test)]
pub(super) fn of_all_rows(index: &Bm25, text: &str, k: usize) -> Vec<(u32, f32)> {
    let terms = terms(index, text);
    let (reader, mut counts) = (Reader::new(index, &terms), vec![0; terms.len()]);
    let mut best = Best { ties: &index.ties, k, heap: BinaryHeap::new() };
    let scored = (0..index.len() as u32).map(|row| (row, reader.score(row, &mut counts)));
    scored.filter(|(_, score)| *score > 0.0).for_each(|(row, score)| best.push(row, score));
    best.into_sorted()
}

fn terms(index: &Bm25, text: &str) -> Vec<Term> {
    let rows = index.whole.as_ref().map_or(index.header.rows.into(), |whole| whole.rows);
    let mut terms = Vec::new();
    for (hash, count) in index.header.settings.analysis.of_query(text) {
        let Some(at) = index.find(hash) else { continue };
        if index.starts[at] == index.starts[at + 1] {
            continue;
        }
        let field = (hash & 1) as usize;
        let frequency = index.frequencies[at];
        let (in_all, excess) =
            index.whole.as_ref().map_or((frequency, 1.0), |whole| (whole.frequencies[at], whole.excess[field]));
        let x = ((rows - u64::from(in_all).min(rows)) as f32 + 0.5) / (in_all as f32 + 0.5);
        let own = (1.0 + x).ln() * (1.0 + index.header.settings.k1);
        let of_query = [1.0, TRIGRAM_WEIGHT][field] * count as f32;
        let bound = of_query * (own * (index.tops[at] * excess).min(1.0));
        terms.push(Term { at, frequency: frequency as usize, field, weights: [own, of_query], bound });
    }
    terms
}

/// The postings of a term on the way through the blocks.
struct List<'a> {
    term: &'a Term,
    postings: &'a [u32],
    /// The first posting that may be of this block or a later one.
    at: usize,
    /// What a row of each length gets, in steps: where the term is there once, for the second time, and so on; then what is left to the
    /// bound, then nothing.
    more: [[i16; 256]; TIMES + 2],
}

/// A score in steps, rounded up.
fn steps(score: f32, scale: f32) -> i16 {
    (score * scale * (1.0 + ROUNDING)) as i16 + 1
}

impl List<'_> {
    /// Goes to the first posting of this row of so many, or of a later one.
    fn go_to(&mut self, row: usize, rows: usize) {
        let is_before = |at: usize| self.postings.get(at).is_some_and(|posting| (*posting as usize) < row);
        if !is_before(self.at) {
            return;
        }
        // postings are spread about evenly: from a little before where it should be, in growing steps
        let length = self.postings.len();
        let guess = (row * length / rows).saturating_sub(length.isqrt());
        let (mut at, mut step) = (self.at, 1);
        if guess > at && is_before(guess) {
            at = guess;
        }
        let mut end = at + 1;
        while is_before(end) {
            (at, end, step) = (end, end + step, 2 * step);
        }
        let end = end.min(length);
        self.at = at + 1 + self.postings[at + 1..end].partition_point(|posting| (*posting as usize) < row);
    }
}

/// A query on its way through the blocks.
struct Search<'a> {
    index: &'a Bm25,
    /// By bound for each posting, the largest first.
    lists: Vec<List<'a>>,
    /// The most that the lists from each on can add, `[lists + 1]`, in steps.
    rests: Vec<i32>,
    /// How many postings the lists from each on have, `[lists + 1]`.
    unread: Vec<usize>,
    /// Steps in a score of 1.
    scale: f32,
    reader: Reader<'a>,
    counts: Vec<u32>,
    best: Best<'a>,
    /// Rows of a block that may be among the best.
    rows: Vec<u32>,
}

impl<'a> Search<'a> {
    fn new(index: &'a Bm25, terms: &'a [Term], k: usize) -> Self {
        let mut order: Vec<&Term> = terms.iter().collect();
        let worth = |term: &Term| term.bound / term.frequency as f32;
        order.sort_by(|a, b| worth(b).total_cmp(&worth(a)));
        let beyond: f32 = order.iter().skip(TERMS).map(|term| term.bound).sum();
        order.truncate(TERMS);
        let all: f32 = order.iter().map(|term| term.bound).sum();
        // each is rounded up
        let scale = (STEPS - 2 * order.len() - 2) as f32 / all;
        let list = |term: &&'a Term| {
            let postings = &index.postings[index.starts[term.at] as usize..index.starts[term.at + 1] as usize];
            let (mut more, mut before) = ([[0; 256]; TIMES + 2], [0; 256]);
            for (count, more) in (1..).zip(&mut more[..=TIMES]) {
                for (norm, more) in more.iter_mut().enumerate() {
                    let score = if count <= TIMES { term.score(index, count as u32, norm as u8) } else { term.bound };
                    let sum = steps(score.min(term.bound), scale);
                    (*more, before[norm]) = (sum - before[norm], sum);
                }
            }
            List { term, postings, at: 0, more }
        };
        let lists: Vec<List> = order.iter().map(list).collect();
        let mut rests = vec![(beyond * scale).ceil() as i32];
        for list in lists.iter().rev() {
            rests.push(rests[rests.len() - 1].saturating_add(i32::from(steps(list.term.bound, scale))));
        }
        rests.reverse();
        let mut unread = vec![0];
        for list in lists.iter().rev() {
            unread.push(unread[unread.len() - 1] + list.postings.len());
        }
        unread.reverse();
        let best = Best { ties: &index.ties, k, heap: BinaryHeap::new() };
        let (reader, counts, rows) = (Reader::new(index, terms), vec![0; terms.len()], Vec::new());
        Search { index, lists, rests, unread, scale, reader, counts, best, rows }
    }

    /// What a sum must reach, in steps; at least 1.
    fn least(&self) -> i32 {
        self.best.least().map_or(1, |score| ((score * self.scale * (1.0 - ROUNDING)) as i32).max(1))
    }

    /// Searches some rows.
    fn block(&mut self, base: usize, sums: &mut [i16]) {
        let least = self.least();
        // what only the lists after these have is not enough
        let needed = self.rests.partition_point(|rest| *rest >= least).min(self.lists.len());
        let (mut read, mut unasked, mut touched) = (0, 0, 0);
        while read < self.lists.len() {
            if read == needed && touched == 0 {
                return;
            }
            if read >= needed && unasked >= sums.len() / ASK {
                unasked = 0;
                let postings = self.unread[read] * sums.len() / self.index.len();
                let most = postings / (LOOK_UP * (self.lists.len() - read));
                if are_at_most(most, sums, least - self.rests[read]) {
                    break;
                }
            }
            let postings = self.add(read, base, sums);
            (read, unasked, touched) = (read + 1, unasked + postings, touched + postings);
        }
        self.rows.clear();
        collect(sums, least - self.rests[read], &mut self.rows);
        for list in read..self.lists.len() {
            self.look_up(list, base, sums, least);
        }
        let rest = self.rests[self.lists.len()];
        let limit = ROWS.max(4 * self.best.k);
        if self.rows.len() > 2 * self.best.k {
            // below the k-th best sum, and what it may be too high by
            let mut of_rows: Vec<i16> = self.rows.iter().map(|row| sums[*row as usize]).collect();
            let k = self.best.k - 1;
            let kth = *of_rows.select_nth_unstable_by(k, |a, b| b.cmp(a)).1;
            let least = i32::from(kth) - self.lists.len() as i32 - rest;
            self.rows.retain(|row| i32::from(sums[*row as usize]) >= least);
        }
        if self.rows.len() > limit {
            let place = |row: &u32| self.best.place(base as u32 + row);
            let order = |row: &u32| (Reverse(sums[*row as usize]), place(row));
            self.rows.select_nth_unstable_by_key(limit, order);
            self.rows.truncate(limit);
        }
        for row in std::mem::take(&mut self.rows) {
            let sum = i32::from(sums[row as usize]);
            if sum + rest >= self.least() {
                let row = base as u32 + row;
                self.best.push(row, self.reader.score(row, &mut self.counts));
            }
        }
        sums.fill(0);
    }

    /// Adds what a list has of the rows, and keeps those that can reach the least.
    fn look_up(&mut self, list: usize, base: usize, sums: &mut [i16], least: i32) {
        let (index, rest) = (self.index, self.rests[list + 1]);
        let list = &mut self.lists[list];
        let norms = &index.norms[list.term.field * index.len() + base..];
        self.rows.retain(|place| {
            let place = *place as usize;
            list.go_to(base + place, index.len());
            let of_row = list.postings[list.at..].iter().take_while(|row| **row as usize == base + place);
            sums[place] += of_row.zip(&list.more).map(|(_, more)| more[usize::from(norms[place])]).sum::<i16>();
            i32::from(sums[place]) + rest >= least
        });
    }

    /// Adds the postings of a list up. Gives how many there were.
    fn add(&mut self, list: usize, base: usize, sums: &mut [i16]) -> usize {
        let index = self.index;
        let list = &mut self.lists[list];
        list.go_to(base, index.len());
        let norms = &index.norms[list.term.field * index.len() + base..][..sums.len()];
        let read = add_up(&list.postings[list.at..], base, norms, &list.more, sums);
        list.at += read;
        read
    }
}

/// Adds the postings of some rows up, and says how many there were. A function of its own, so that nothing else takes its registers.
#[inline(never)]
fn add_up(postings: &[u32], base: usize, norms: &[u8], more: &[[i16; 256]; TIMES + 2], sums: &mut [i16]) -> usize {
    let (mut before, mut again) = (usize::MAX, 0);
    for (read, row) in postings.iter().enumerate() {
        let row = (*row as usize).wrapping_sub(base);
        if row >= sums.len() {
            return read;
        }
        // no branch: nobody can foresee which rows have a term twice
        again = usize::from(row == before) * (again + 1).min(TIMES + 1);
        before = row;
        sums[row] += more[again][usize::from(norms[row])];
    }
    postings.len()
}

const LANES: usize = 64;

/// Whether no more than so many sums are this large or larger.
fn are_at_most(most: usize, sums: &[i16], least: i32) -> bool {
    let least = clamped(least);
    let mut count = 0;
    sums.chunks(4 * LANES).all(|chunk| {
        count += chunk.iter().map(|sum| i16::from(*sum >= least)).sum::<i16>() as usize;
        count <= most
    })
}

/// A row without a term is never found.
fn clamped(least: i32) -> i16 {
    least.clamp(1, i16::MAX.into()) as i16
}

/// The places of the sums that are this large or larger.
fn collect(sums: &[i16], least: i32, rows: &mut Vec<u32>) {
    let least = clamped(least);
    for (at, chunk) in sums.chunks(LANES).enumerate() {
        if chunk.iter().fold(0, |most: i16, sum| most.max(*sum)) >= least {
            let places = (at * LANES..).zip(chunk).filter(|(_, sum)| **sum >= least);
            rows.extend(places.map(|(place, _)| place as u32));
        }
    }
}

/// The k best rows so far.
struct Best<'a> {
    /// Each row's place among equal scores; empty: in the order of the rows.
    ties: &'a [u32],
    k: usize,
    /// The worst on top.
    heap: BinaryHeap<Found>,
}

/// A row with its score; the greatest is the worst.
#[derive(PartialEq)]
struct Found {
    score: f32,
    place: u32,
    row: u32,
}

impl Eq for Found {}

impl Ord for Found {
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Best<'_> {
    fn place(&self, row: u32) -> u32 {
        self.ties.get(row as usize).copied().unwrap_or(row)
    }

    /// The score of the k-th best, if there are as many.
    fn least(&self) -> Option<f32> {
        if self.heap.len() < self.k { None } else { self.heap.peek().map(|found| found.score) }
    }

    fn push(&mut self, row: u32, score: f32) {
        let found = Found { score, place: self.place(row), row };
        if self.heap.len() < self.k {
            self.heap.push(found);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && found < *worst
        {
            *worst = found;
        }
    }

    fn into_sorted(self) -> Vec<(u32, f32)> {
        let mut rows: Vec<(u32, f32)> =
            self.heap.into_sorted_vec().into_iter().map(|found| (found.row, found.score)).collect();
        // a vector keeps the memory of what it was made of
        rows.shrink_to_fit();
        rows
    }
}

/// Reads the terms of rows.
struct Reader<'a> {
    index: &'a Bm25,
    terms: &'a [Term],
    /// Terms of the query by the lowest bits of their place, and where to look on: open addressing.
    slots: Vec<(u32, u32)>,
}

const FREE: (u32, u32) = (u32::MAX, 0);

impl<'a> Reader<'a> {
    fn new(index: &'a Bm25, terms: &'a [Term]) -> Self {
        let mut slots = vec![FREE; (4 * terms.len()).next_power_of_two()];
        let mask = slots.len() - 1;
        for (number, term) in terms.iter().enumerate() {
            let mut slot = term.at & mask;
            while slots[slot] != FREE {
                slot = (slot + 1) & mask;
            }
            slots[slot] = (term.at as u32, number as u32);
        }
        Reader { index, terms, slots }
    }

    /// The score of a row; `counts` are 0 before and after, `[terms]`.
    fn score(&self, row: u32, counts: &mut [u32]) -> f32 {
        let index = self.index;
        let row = row as usize;
        let mask = self.slots.len() - 1;
        for &at in &index.row_terms[index.row_starts[row] as usize..index.row_starts[row + 1] as usize] {
            let mut slot = at as usize & mask;
            while self.slots[slot].0 != at && self.slots[slot] != FREE {
                slot = (slot + 1) & mask;
            }
            if self.slots[slot] != FREE {
                counts[self.slots[slot].1 as usize] += 1;
            }
        }
        let mut sum = 0.0;
        for (term, count) in self.terms.iter().zip(counts) {
            if *count > 0 {
                sum += term.score(index, *count, index.norms[term.field * index.len() + row]);
                *count = 0;
            }
        }
        sum
    }
}
