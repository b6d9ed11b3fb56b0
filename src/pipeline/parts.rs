//! Two lists of any length: `match` in parts of the left list, each a file that is there whole or not at all.
//!
//! In memory is one part of the left list and the right records that it found; what is scored goes to disk, and the matches are put
//! together from the parts when all are there. So memory does not grow with the lists (but for 8 bytes a record, and 12 an accepted
//! pair with `--one-to-one`, which is assigned over the whole list), and a run that was killed goes on with the parts that it has. The
//! parts are the same whoever makes them, so the output of a run that went on is that of one that did not have to.

use std::path::{Path, PathBuf};

use bytemuck::{Pod, Zeroable};

use super::candidates::{Candidates, between};
use super::stages::{self, Sides};
use super::{Labels, MatchOptions, MatchReport, Scored, Spread, Stage, assignment, check, ranked};
use crate::data::StoredTable;
use crate::files::write_beside;
use crate::ranker::{Retriever, Rows, Score};
use crate::records::{Match, Record};
use crate::{Error, Result};

/// Left records of a part: some seconds of work, and enough of it for all cores.
pub const PART: usize = 2000;

/// Two lists on disk, and what they are matched with.
#[derive(Clone, Copy)]
pub struct ListMatching<'a> {
    /// The left list.
    pub left: &'a StoredTable,
    /// The right list.
    pub right: &'a dyn Rows,
    /// Finds candidates in the right list.
    pub retriever: &'a dyn Retriever,
    /// Score them, one after the other; the last one's score is decided on.
    pub stages: &'a [Stage<'a>],
    /// A score as a probability, and whether the pair is accepted.
    pub decide: &'a dyn Fn(&Score) -> (f32, bool),
    /// Known pairs. They are only measured against and change nothing.
    pub labels: Option<&'a Labels>,
    /// How.
    pub options: &'a MatchOptions,
    /// The folder of the parts. Parts that are there must be of the same lists and options.
    pub parts: &'a Path,
    /// Left records of a part; [`PART`] is usual.
    pub part: usize,
    /// Gets the left records done and those in all.
    pub progress: &'a dyn Fn(u64, u64),
}

/// A scored pair in a part's file.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Pair {
    left: u32,
    right: u32,
    probability: f32,
    accepted: u32,
}

/// What a part's file begins with.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
struct Counts {
    candidates: u64,
    /// Of one left record.
    least: u64,
    most: u64,
    without: u64,
    pairs: u64,
    truncated: u64,
    unreadable: u64,
}

struct Part {
    counts: Counts,
    pairs: Vec<Pair>,
}

/// How many parts of a left list of so many records are in a folder, and how many there will be.
pub fn parts_done(dir: &Path, left: usize, part: usize) -> (usize, usize) {
    let all = left.div_ceil(part.max(1));
    ((0..all).filter(|number| name(dir, *number).exists()).count(), all)
}

/// Matches two lists. `sink` gets what that of [`run_match`](super::run_match) gets, in the same order.
///
/// # Errors
/// Those of [`run_match`](super::run_match); the system's.
pub fn run_lists(
    matching: &ListMatching,
    sink: &mut dyn FnMut(&Match, &Record, &Record) -> Result<()>,
) -> Result<MatchReport> {
    let &ListMatching { left, right, options, labels, parts, .. } = matching;
    check(options, false)?;
    let part = matching.part.max(1);
    let ranges: Vec<_> = (0..left.len()).step_by(part).map(|at| at..(at + part).min(left.len())).collect();
    let mut all = Counts { least: u64::MAX, ..Counts::default() };
    let mut accepted: Vec<Scored> = Vec::new();
    for (number, range) in ranges.iter().enumerate() {
        let path = name(parts, number);
        let done = match read(&path) {
            Some(done) => done,
            None => {
                let made = make(matching, range.clone())?;
                write_beside(&path, |file| {
                    use std::io::Write;
                    let head = file.write_all(bytemuck::bytes_of(&made.counts));
                    head.and_then(|()| file.write_all(bytemuck::cast_slice(&made.pairs)))
                        .map_err(Error::io("write", &path))
                })?;
                made
            }
        };
        let counts = &done.counts;
        (all.least, all.most) = (all.least.min(counts.least), all.most.max(counts.most));
        all.candidates += counts.candidates;
        all.without += counts.without;
        all.pairs += counts.pairs;
        all.truncated += counts.truncated;
        all.unreadable += counts.unreadable;
        if options.one_to_one {
            accepted.extend(done.pairs.iter().filter(|pair| pair.accepted > 0).map(scored));
        }
        (matching.progress)(range.end as u64, left.len() as u64);
    }
    let not_assigned = if options.one_to_one { assignment::one_to_one(&mut accepted) as u64 } else { 0 };
    let mut assigned = accepted.iter();

    let (mut matched, mut accepted) = (vec![false; left.len()], 0);
    let mut measured: Vec<Scored> = Vec::new();
    for (number, range) in ranges.iter().enumerate() {
        let path = name(parts, number);
        let gone = || Error::data(&path, None, "a part that was there is gone or damaged", "begin again");
        let mut pairs = read(&path).ok_or_else(gone)?.pairs;
        for pair in pairs.iter_mut().filter(|pair| pair.accepted > 0) {
            if options.one_to_one {
                pair.accepted = assigned.next().is_some_and(|s| s.accepted).into();
            }
            if pair.accepted > 0 {
                accepted += 1;
                matched[pair.left as usize] = true;
            }
        }
        if labels.is_some() {
            measured.extend(pairs.iter().map(scored));
        }
        write(matching, range.start, &pairs, sink)?;
    }
    let labels = labels.map(|labels| labels.measure(&measured, false));
    let candidates = Spread {
        mean: all.candidates as f64 / left.len().max(1) as f64,
        min: if left.is_empty() { 0 } else { all.least },
        max: all.most,
    };
    Ok(MatchReport {
        left: left.len() as u64,
        right: right.len() as u64,
        candidates,
        without_candidates: all.without,
        pairs: all.pairs,
        accepted,
        unmatched: matched.iter().filter(|is| !**is).count() as u64,
        not_assigned,
        truncated_pairs: all.truncated,
        unreadable_pairs: all.unreadable,
        labels,
    })
}

fn name(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("part-{number:07}"))
}

fn scored(pair: &Pair) -> Scored {
    Scored { left: pair.left, right: pair.right, probability: pair.probability, accepted: pair.accepted > 0 }
}

/// A part that is there, whole.
fn read(path: &Path) -> Option<Part> {
    let bytes = std::fs::read(path).ok()?;
    let (head, rest) = bytes.split_at_checked(size_of::<Counts>())?;
    let counts: Counts = bytemuck::pod_read_unaligned(head);
    if rest.len() as u64 != counts.pairs.checked_mul(size_of::<Pair>() as u64)? {
        return None;
    }
    let pairs = rest.chunks_exact(size_of::<Pair>()).map(bytemuck::pod_read_unaligned).collect();
    Some(Part { counts, pairs })
}

/// Finds and scores the candidates of some left records.
fn make(matching: &ListMatching, range: std::ops::Range<usize>) -> Result<Part> {
    let &ListMatching { left, right, options, .. } = matching;
    let lefts = left.range(range.clone())?;
    let found = between(matching.retriever, &lefts, right.numbers(), options.top_k)?;
    // the right records that were found, each once
    let mut rows: Vec<u32> = found.pairs.iter().map(|pair| pair.1).collect();
    rows.sort_unstable();
    rows.dedup();
    let rights = right.records(&rows)?;
    let place = |row: u32| rows.partition_point(|r| *r < row) as u32;
    let pairs = found.pairs.iter().map(|(l, r)| (*l, place(*r))).collect();
    let found = Candidates { pairs, ..found };
    let sides = if options.both_orders { Sides::Both } else { Sides::Given };
    let (start, here, total) = (range.start as u64, range.len() as u64, left.len() as u64);
    let progress = |done: u64, all: u64| (matching.progress)(start + here * done / all.max(1), total);
    let pool = stages::run(matching.stages, &lefts, &rights, &found, sides, &progress)?;
    let per_record = found.per_record;
    let counts = Counts {
        candidates: (per_record.mean * lefts.len() as f64).round() as u64,
        least: per_record.min,
        most: per_record.max,
        without: found.without,
        pairs: pool.len() as u64,
        truncated: pool.iter().filter(|c| c.score.truncated).count() as u64,
        unreadable: pool.iter().filter(|c| !c.score.readable).count() as u64,
    };
    let pair = |s: Scored| Pair {
        left: range.start as u32 + s.left,
        right: rows[s.right as usize],
        probability: s.probability,
        accepted: s.accepted.into(),
    };
    let pairs = ranked(&pool, options.retriever_weight, matching.decide).into_iter().map(pair).collect();
    Ok(Part { counts, pairs })
}

/// Hands a part's matches to the sink.
fn write(
    matching: &ListMatching,
    start: usize,
    pairs: &[Pair],
    sink: &mut dyn FnMut(&Match, &Record, &Record) -> Result<()>,
) -> Result<()> {
    let is_wanted = |pair: &&Pair| pair.accepted > 0 || matching.options.all;
    if !pairs.iter().any(|pair| is_wanted(&pair)) {
        return Ok(());
    }
    let end = (start + matching.part.max(1)).min(matching.left.len());
    let lefts = matching.left.range(start..end)?;
    for of_record in pairs.chunk_by(|a, b| a.left == b.left) {
        for (rank, pair) in (1..).zip(of_record).filter(|(_, pair)| is_wanted(pair)) {
            let (l, r) = (&lefts[pair.left as usize - start], &matching.right.records(&[pair.right])?[0]);
            let (left_id, right_id) = (l.id.clone(), r.id.clone());
            let found = Match { left_id, right_id, probability: pair.probability, decision: pair.accepted > 0, rank };
            sink(&found, l, r)?;
        }
    }
    Ok(())
}
