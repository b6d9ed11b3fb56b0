//! Rankers one after the other: each scores what the one before left, and passes on the best.

use std::collections::HashMap;

use super::candidates::Candidates;
use crate::ranker::{Score, score_rows};
use crate::records::Record;
use crate::{Error, Ranker, Result};

/// A ranker, and how many candidates of each record are left after it.
#[derive(Clone, Copy)]
pub struct Stage<'a> {
    /// Scores the candidates.
    pub ranker: &'a dyn Ranker,
    /// So many candidates of a record are left, the best ones; the others are no candidates any more.
    pub keep: usize,
}

/// Which side a record is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sides {
    /// The left record is the query.
    Given,
    /// Each pair is scored in both orders, and its score is the mean. Twice the time.
    Both,
    /// As `Both`, for one list against itself: a record's list has all records that it is in a pair with.
    OneList,
}

/// One candidate on its way through the stages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub left: u32,
    pub right: u32,
    /// The first stage's score.
    pub retrieved: f32,
    /// The score of the last stage that scored it.
    pub score: Score,
}

/// Candidates after all stages, sorted by left row; those of a row in the order of the retriever.
pub(crate) fn run(
    stages: &[Stage],
    left: &[Record],
    right: &[Record],
    found: &Candidates,
    sides: Sides,
    progress: &dyn Fn(u64, u64),
) -> Result<Vec<Candidate>> {
    let none = Score { value: f32::NAN, truncated: false, readable: false };
    let candidate = |(&(left, right), &retrieved)| Candidate { left, right, retrieved, score: none };
    let mut pool: Vec<Candidate> = found.pairs.iter().zip(&found.scores).map(candidate).collect();
    let mut done = 0;
    for (number, stage) in stages.iter().enumerate() {
        let mut given: Vec<(u32, u32)> = pool.iter().map(|c| (c.left, c.right)).collect();
        if sides == Sides::OneList {
            given.extend(pool.iter().map(|c| (c.right, c.left)));
        }
        let before = done;
        let mut scores = Scores { stage, is_first: number == 0, by_pair: HashMap::new() };
        let mut advance = |some: u64, all: u64| {
            done = before + some;
            progress(before + some, before + all);
        };
        let twice = if sides == Sides::Both { 2 } else { 1 };
        scores.add(left, right, &given, false, &mut |some, all| advance(some, twice * all))?;
        if sides == Sides::Both {
            let turned: Vec<(u32, u32)> = pool.iter().map(|c| (c.right, c.left)).collect();
            scores.add(right, left, &turned, true, &mut |some, all| advance(all + some, twice * all))?;
        }
        scores.put(&mut pool, sides);
        cut(&mut pool, stage.keep, sides);
    }
    Ok(pool)
}

/// A stage's scores by pair of rows, the query first; `true`: the query is a row of the right list.
struct Scores<'a> {
    stage: &'a Stage<'a>,
    is_first: bool,
    by_pair: HashMap<(u32, u32, bool), Score>,
}

impl Scores<'_> {
    /// Scores pairs. A listwise ranker gets no list of one candidate.
    fn add(
        &mut self,
        queries: &[Record],
        documents: &[Record],
        pairs: &[(u32, u32)],
        turned: bool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<()> {
        let mut lengths: HashMap<u32, u32> = HashMap::new();
        pairs.iter().for_each(|pair| *lengths.entry(pair.0).or_default() += 1);
        let listwise = self.stage.ranker.is_listwise();
        let alone = |pair: &&(u32, u32)| listwise && lengths[&pair.0] == 1;
        if self.is_first
            && let Some(pair) = pairs.iter().find(alone)
        {
            let what = "has one candidate, and the model compares candidates with each other: give it a larger top-k, \
                        or put a model that scores one candidate at a time before it";
            return Err(Error::setting("record", &queries[pair.0 as usize].id, what));
        }
        let chosen: Vec<(u32, u32)> = pairs.iter().filter(|pair| !alone(pair)).copied().collect();
        let progress = std::cell::RefCell::new(progress);
        let report = |some, all| (progress.borrow_mut())(some, all);
        let scores = score_rows(self.stage.ranker, queries, documents, &chosen, &report)?;
        self.by_pair.extend(chosen.into_iter().zip(scores).map(|((q, d), score)| ((q, d, turned), score)));
        Ok(())
    }

    /// Gives each candidate the score of this stage; one that has none keeps what it has.
    fn put(&self, pool: &mut [Candidate], sides: Sides) {
        for c in pool {
            let there = self.by_pair.get(&(c.left, c.right, false));
            let back = match sides {
                Sides::Given => None,
                Sides::Both => self.by_pair.get(&(c.right, c.left, true)),
                Sides::OneList => self.by_pair.get(&(c.right, c.left, false)),
            };
            match (there, back) {
                (Some(a), Some(b)) => c.score = mean(a, b),
                (Some(score), None) | (None, Some(score)) => c.score = *score,
                (None, None) => {}
            }
        }
    }
}

/// The same to the bit whichever comes first.
fn mean(a: &Score, b: &Score) -> Score {
    Score {
        value: (a.value + b.value) / 2.0,
        truncated: a.truncated || b.truncated,
        readable: a.readable && b.readable,
    }
}

/// Leaves the `keep` best candidates of each record; of one list, the pairs that are among the best of either record.
fn cut(pool: &mut Vec<Candidate>, keep: usize, sides: Sides) {
    let mut lists: HashMap<u32, Vec<usize>> = HashMap::new();
    for (place, c) in pool.iter().enumerate() {
        lists.entry(c.left).or_default().push(place);
        if sides == Sides::OneList {
            lists.entry(c.right).or_default().push(place);
        }
    }
    if lists.values().all(|list| list.len() <= keep) {
        return;
    }
    let mut kept = vec![false; pool.len()];
    for mut list in lists.into_values() {
        list.sort_by(|&a, &b| pool[b].score.value.total_cmp(&pool[a].score.value));
        list.into_iter().take(keep).for_each(|place| kept[place] = true);
    }
    let mut places = kept.into_iter();
    pool.retain(|_| places.next() == Some(true));
}
