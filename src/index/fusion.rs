//! Reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009): a document's score is the sum of `weight / (k + rank)` over
//! the lists that have it, ranks from 1. It needs no scores that can be compared.

use std::collections::HashMap;

use crate::ranker::Hit;

/// The paper's constant.
pub const K: f32 = 60.0;

/// Fuses lists, each best first; documents by score, of equal scores in the order of `before`.
pub fn fuse(lists: &[&[Hit]], weights: &[f32], k: f32, before: impl Fn(u32, u32) -> std::cmp::Ordering) -> Vec<Hit> {
    let mut scores: HashMap<u32, f32> = HashMap::new();
    for (at, list) in lists.iter().enumerate() {
        let weight = weights.get(at).copied().unwrap_or(1.0);
        for (place, hit) in list.iter().enumerate() {
            *scores.entry(hit.document).or_default() += weight / (k + (place + 1) as f32);
        }
    }
    let mut hits: Vec<Hit> = scores.into_iter().map(|(document, score)| Hit { document, score }).collect();
    hits.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then_with(|| before(a.document, b.document)));
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(documents: &[u32]) -> Vec<Hit> {
        documents.iter().map(|&document| Hit { document, score: 0.0 }).collect()
    }

    #[test]
    fn a_document_of_both_lists_comes_before_the_best_of_one() {
        let (a, b) = (hits(&[1, 2, 3]), hits(&[4, 2]));
        let fused = fuse(&[&a, &b], &[], K, |a, b| a.cmp(&b));
        assert_eq!(fused.iter().map(|h| h.document).collect::<Vec<_>>(), [2, 1, 4, 3]);
        assert_eq!(fused[0].score, 2.0 / 62.0);
        let weighted = fuse(&[&a, &b], &[0.0, 1.0], K, |a, b| a.cmp(&b));
        assert_eq!(weighted[0], Hit { document: 4, score: 1.0 / 61.0 });
    }
}
