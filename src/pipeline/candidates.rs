//! Pairs of rows worth scoring, from the index.

use std::collections::HashSet;

use super::Spread;
use crate::Result;
use crate::index::Bm25;
use crate::records::Record;

/// The pairs, sorted by left row and, within it, best candidate first.
pub(crate) struct Candidates {
    pub pairs: Vec<(u32, u32)>,
    /// The index's score of each pair; of two that asked for each other, the earlier one's.
    pub scores: Vec<f32>,
    /// Candidates the index proposed per left record.
    pub per_record: Spread,
}

/// The `k` best rows of `right` for each row of `left`.
pub(crate) fn between(
    left: &[Record],
    right: &[Record],
    text: &(dyn Fn(&Record) -> String + Sync),
    k: usize,
) -> Result<Candidates> {
    let index = Bm25::build(right.iter().map(text))?;
    let tops = ask(&index, left, text, k)?;
    let per_record = spread(&tops);
    let scored = (0u32..).zip(tops).flat_map(|(l, top)| top.into_iter().map(move |(r, score)| ((l, r), score)));
    let (pairs, scores) = scored.unzip();
    Ok(Candidates { pairs, scores, per_record })
}

/// Each unordered pair in which one row is among the `k` best for the other, once, the earlier row first.
pub(crate) fn within(list: &[Record], text: &(dyn Fn(&Record) -> String + Sync), k: usize) -> Result<Candidates> {
    let index = Bm25::build(list.iter().map(text))?;
    let mut tops = ask(&index, list, text, k.saturating_add(1))?;
    for (row, top) in (0u32..).zip(&mut tops) {
        top.retain(|&(other, _)| other != row);
        top.truncate(k);
    }
    let per_record = spread(&tops);
    let mut seen = HashSet::new();
    let mut scored = Vec::new();
    for (row, top) in (0u32..).zip(tops) {
        let pairs = top.into_iter().map(|(other, score)| ((row.min(other), row.max(other)), score));
        scored.extend(pairs.filter(|(pair, _)| seen.insert(*pair)));
    }
    scored.sort_by_key(|(pair, _)| pair.0);
    let (pairs, scores) = scored.into_iter().unzip();
    Ok(Candidates { pairs, scores, per_record })
}

/// Rows of the index and their scores for each record, best first.
fn ask(
    index: &Bm25,
    records: &[Record],
    text: &(dyn Fn(&Record) -> String + Sync),
    k: usize,
) -> Result<Vec<Vec<(u32, f32)>>> {
    let mut tops = Vec::with_capacity(records.len());
    // Some at a time: the texts of a long list never stand beside the list itself.
    for some in records.chunks(4096) {
        let texts: Vec<String> = some.iter().map(text).collect();
        tops.extend(index.top_all(&texts, k)?);
    }
    Ok(tops)
}

fn spread(tops: &[Vec<(u32, f32)>]) -> Spread {
    let total: usize = tops.iter().map(Vec::len).sum();
    Spread {
        mean: total as f64 / tops.len().max(1) as f64,
        min: tops.iter().map(Vec::len).min().unwrap_or(0) as u64,
        max: tops.iter().map(Vec::len).max().unwrap_or(0) as u64,
    }
}
