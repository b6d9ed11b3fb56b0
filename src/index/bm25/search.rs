//! The k best rows of a query.
//!
//! **Short lists first.** Each term has a bound, the most that it can add to any row. Terms are taken by bound for each posting to be
//! read; their postings are added up row by row. When the bounds of all the terms left add up to less than what the k-th best row has
//! already, no row that was not met can be among the k best (MaxScore: Turtle and Flood, "Query evaluation", 1995), and reading stops.
//! It stops too when the budget is spent ("continue" of Moffat and Zobel, "Self-indexing inverted files", 1996).
//!
//! **Then whole rows.** What is left of a row's score is found in the terms of that row, best rows first, until no later one can get
//! in. The list of a word that a third of all rows have is so never read.
//!
//! Partial sums only choose the rows: a score is summed over the query's terms in their own order, so equal rows have equal bits.

use std::cell::RefCell;
use std::cmp::Ordering;

use super::{Bm25, TRIGRAM_WEIGHT};
use crate::Result;

/// Rows that are scored in full where the budget ended the reading.
const ROWS: usize = 1000;
/// Steps in which partial scores are counted.
const STEPS: usize = 512;
/// Sums in another order differ by less than this share of them.
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

/// Partial scores, `[rows]`, all 0 between two queries, and the rows that have one.
#[derive(Default)]
struct Sums {
    scores: Vec<f32>,
    rows: Vec<u32>,
}

thread_local! {
    static SUMS: RefCell<Sums> = RefCell::default();
}

pub(super) fn top(index: &Bm25, text: &str, k: usize) -> Result<Vec<(u32, f32)>> {
    let terms = terms(index, text);
    if terms.is_empty() || k == 0 {
        return Ok(Vec::new());
    }
    SUMS.with_borrow_mut(|sums| {
        if sums.scores.len() < index.len() {
            sums.scores.resize(index.len(), 0.0);
        }
        let rest = add(index, &terms, k, sums);
        let found = best(index, &terms, k, sums, rest);
        for row in sums.rows.drain(..) {
            sums.scores[row as usize] = 0.0;
        }
        Ok(found)
    })
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

/// Adds up postings. Gives the most that the terms not read can add.
fn add(index: &Bm25, terms: &[Term], k: usize, sums: &mut Sums) -> f32 {
    let mut order: Vec<&Term> = terms.iter().collect();
    let worth = |term: &Term| term.bound / term.frequency as f32;
    order.sort_by(|a, b| worth(b).total_cmp(&worth(a)));
    let all: f32 = order.iter().map(|term| term.bound).sum();
    let slack = ROUNDING * all;
    let (mut read, mut rest, mut counted_at) = (0, all, 0);
    for term in order {
        // no row has more than what was read adds up to; and to count is as much work as to read
        let can_end = rest < all - rest && sums.rows.len() >= k && read - counted_at >= sums.rows.len() / 2;
        if can_end && 2 * term.frequency > sums.rows.len() {
            // the k-th best so far, and how many rows can still reach it
            counted_at = read;
            let counted = Counted::new(sums, all);
            let least = counted.place(k);
            if rest + slack < least {
                let reach = counted.at_least(least - rest - slack);
                if reach <= ROWS.max(k) && (reach <= 64 || 16 * reach < term.frequency) {
                    break;
                }
            }
        }
        if read + term.frequency > index.budget && sums.rows.len() >= ROWS.max(k) {
            continue;
        }
        read += term.frequency;
        rest -= term.bound;
        add_term(index, term, sums);
    }
    rest.max(0.0) + slack
}

fn add_term(index: &Bm25, term: &Term, sums: &mut Sums) {
    let postings = &index.postings[index.starts[term.at] as usize..index.starts[term.at + 1] as usize];
    let norms = &index.norms[term.field * index.len()..][..index.len()];
    // most rows have a term once
    let once: [f32; 256] = std::array::from_fn(|norm| term.score(index, 1, norm as u8));
    // a branch on what is not in the cache yet would wait for it: each row is written down, and counts if it is new
    let (mut at, mut met) = (0, sums.rows.len());
    sums.rows.resize(met + term.frequency + 1, 0);
    while let Some(&row) = postings.get(at) {
        at += 1;
        let norm = norms[row as usize];
        let mut score = once[usize::from(norm)];
        if postings.get(at) == Some(&row) {
            let more = postings[at..].iter().take_while(|r| **r == row).count();
            at += more;
            score = term.score(index, more as u32 + 1, norm);
        }
        let sum = &mut sums.scores[row as usize];
        sums.rows[met] = row;
        met += usize::from(*sum == 0.0);
        *sum += score;
    }
    sums.rows.truncate(met);
}

/// How many rows have partial scores of each size.
struct Counted {
    counts: [u32; STEPS],
    step: f32,
}

impl Counted {
    fn new(sums: &Sums, most: f32) -> Self {
        let step = (most / STEPS as f32).max(f32::MIN_POSITIVE);
        let mut counts = [0; STEPS];
        for row in &sums.rows {
            counts[((sums.scores[*row as usize] / step) as usize).min(STEPS - 1)] += 1;
        }
        Counted { counts, step }
    }

    /// A score that `k` rows have at least, close below that of the k-th best.
    fn place(&self, k: usize) -> f32 {
        let mut above = 0;
        let at = (0..STEPS).rev().find(|at| {
            above += self.counts[*at] as usize;
            above >= k
        });
        at.unwrap_or(0) as f32 * self.step
    }

    /// How many rows have this score or more, or a little less.
    fn at_least(&self, score: f32) -> usize {
        let from = ((score / self.step) as usize).min(STEPS);
        self.counts[from..].iter().map(|count| *count as usize).sum()
    }
}

/// Scores the best rows in full.
fn best(index: &Bm25, terms: &[Term], k: usize, sums: &Sums, rest: f32) -> Vec<(u32, f32)> {
    let place = |row: u32| index.ties.get(row as usize).copied().unwrap_or(row);
    let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then_with(|| place(a.0).cmp(&place(b.0)));
    let most: f32 = terms.iter().map(|term| term.bound).sum();
    let counted = Counted::new(sums, most);
    // those that can be among the k best, and no more than can be scored
    let limit = ROWS.max(4 * k);
    let least = (counted.place(k) - rest).max(0.0);
    let least = if counted.at_least(least) > limit { least.max(counted.place(limit)) } else { least };
    let scored = |row: &u32| (*row, sums.scores[*row as usize]);
    let mut rows: Vec<(u32, f32)> = sums.rows.iter().map(scored).filter(|(_, sum)| *sum >= least).collect();
    if rows.len() > limit {
        rows.select_nth_unstable_by(limit, order);
        rows.truncate(limit);
    }
    rows.sort_unstable_by(order);

    let reader = Reader::new(index, terms);
    let mut counts = vec![0u32; terms.len()];
    let mut found: Vec<(u32, f32)> = Vec::with_capacity(k.min(rows.len()) + 1);
    for (row, sum) in rows {
        if found.len() == k && sum + rest < found[k - 1].1 {
            break;
        }
        let row = (row, reader.score(row, &mut counts));
        let at = found.partition_point(|other| order(other, &row) == Ordering::Less);
        if at < k {
            found.truncate(k - 1);
            found.insert(at, row);
        }
    }
    // a vector keeps the memory of what was cut off
    found.shrink_to_fit();
    found
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
