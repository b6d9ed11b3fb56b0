//! Pairs of rows worth scoring, from the first stage.

use std::collections::HashMap;

use super::Spread;
use crate::ranker::{Hit, Input, Retriever};
use crate::records::Record;
use crate::{Error, Result};

/// The pairs, sorted by left row and, within it, best candidate first.
pub(crate) struct Candidates {
    pub pairs: Vec<(u32, u32)>,
    /// The first stage's score of each pair; of two records that found each other, the higher one.
    pub scores: Vec<f32>,
    /// Candidates found per left record.
    pub per_record: Spread,
    /// Left records without a candidate.
    pub without: u64,
}

/// The `k` best rows of the right list for each row of `left`.
pub(crate) fn between(retriever: &dyn Retriever, left: &[Record], right: usize, k: usize) -> Result<Candidates> {
    let tops = find(retriever, left, right, k)?;
    let (per_record, without) = counted(&tops);
    let scored = (0u32..).zip(tops).flat_map(|(l, top)| top.into_iter().map(move |hit| ((l, hit.document), hit.score)));
    let (pairs, scores) = scored.unzip();
    Ok(Candidates { pairs, scores, per_record, without })
}

/// Each unordered pair in which one row is among the `k` best for the other, once. On the left is the row of the lower id
/// ([`is_lower`]), so that the order of the list decides nothing.
pub(crate) fn within(retriever: &dyn Retriever, list: &[Record], k: usize) -> Result<Candidates> {
    let mut tops = find(retriever, list, list.len(), k.saturating_add(1))?;
    for (row, top) in (0u32..).zip(&mut tops) {
        top.retain(|hit| hit.document != row);
        top.truncate(k);
    }
    let (per_record, without) = counted(&tops);
    let mut found: HashMap<(u32, u32), f32> = HashMap::new();
    for (row, top) in (0u32..).zip(tops) {
        for hit in top {
            let (a, b) = (row, hit.document);
            let pair = if is_lower(&list[a as usize].id, &list[b as usize].id) { (a, b) } else { (b, a) };
            let score = found.entry(pair).or_insert(hit.score);
            *score = score.max(hit.score);
        }
    }
    let mut scored: Vec<((u32, u32), f32)> = found.into_iter().collect();
    let id = |row: u32| &list[row as usize].id;
    scored.sort_by(|(p, s), (q, t)| p.0.cmp(&q.0).then(t.total_cmp(s)).then_with(|| id(p.1).cmp(id(q.1))));
    let (pairs, scores) = scored.into_iter().unzip();
    Ok(Candidates { pairs, scores, per_record, without })
}

/// Whether an id comes before another: whole numbers by value, before all other ids; those by their letters.
fn is_lower(a: &str, b: &str) -> bool {
    let key = |id: &str| id.parse::<u64>().map_or((1, 0), |number| (0, number));
    (key(a), a) < (key(b), b)
}

fn find(retriever: &dyn Retriever, records: &[Record], rows: usize, k: usize) -> Result<Vec<Vec<Hit>>> {
    let queries: Vec<Input> = records.iter().map(Input::from).collect();
    let found = retriever.retrieve(&queries, k)?;
    let in_place = found.iter().flatten().all(|hit| (hit.document as usize) < rows);
    if found.len() != records.len() || !in_place {
        let expected = format!("{} lists of rows below {rows}", records.len());
        return Err(Error::Shape { op: "retrieve", expected, got: format!("{} lists", found.len()) });
    }
    Ok(found)
}

fn counted(tops: &[Vec<Hit>]) -> (Spread, u64) {
    let total: usize = tops.iter().map(Vec::len).sum();
    let spread = Spread {
        mean: total as f64 / tops.len().max(1) as f64,
        min: tops.iter().map(Vec::len).min().unwrap_or(0) as u64,
        max: tops.iter().map(Vec::len).max().unwrap_or(0) as u64,
    };
    (spread, tops.iter().filter(|top| top.is_empty()).count() as u64)
}

#[cfg(test)]
mod tests {
    use super::is_lower;

    #[test]
    fn numbers_come_by_value_and_before_words() {
        let mut ids = ["b", "10", "9", "a", "09", "-1"];
        ids.sort_by(|a, b| if is_lower(a, b) { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater });
        assert_eq!(ids, ["09", "9", "10", "-1", "a", "b"]);
    }
}
