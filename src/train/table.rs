//! Families of rankers on one set: how good, how sure, how fast, and what is stored of a document before any query is known.

use std::time::Instant;

use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::labelled::Labelled;
use crate::bundle::Bundle;
use crate::eval::report;
use crate::ranker::{DualEncoder, Input, LateEncoder, List, Ranker};
use crate::{Error, Result};

/// Numbers of candidates of a query that times are given for.
pub const CANDIDATES: [usize; 3] = [10, 100, 1000];
/// Resamples of an interval.
const RESAMPLES: usize = 1000;
/// Timed queries; the median counts.
const QUERIES: usize = 3;
/// A timing that took longer than this is not repeated, in seconds.
const LONG: f64 = 2.0;
/// Documents whose bytes are counted.
const DOCUMENTS: usize = 100;

/// One ranker's line.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The family.
    pub name: String,
    /// F1 at the stored threshold, a share of one.
    pub f1: f64,
    /// The lower end of its 95% bootstrap interval over pairs.
    pub f1_low: f64,
    /// The upper end.
    pub f1_high: f64,
    /// Area under precision and recall.
    pub pr_auc: f64,
    /// Pairs measured.
    pub pairs: u64,
    /// Milliseconds a query, by [`CANDIDATES`]; none where the set has no record.
    pub ms: [Option<f64>; 3],
    /// Bytes stored of a document before a query is known.
    pub document_bytes: u64,
    /// What those are.
    pub beforehand: &'static str,
}

/// F1 of decisions, and the ends of its 95% interval by resampling pairs.
///
/// # Errors
/// Lists of different lengths, or empty ones.
pub fn f1_interval(decisions: &[bool], labels: &[bool], seed: u64) -> Result<[f64; 3]> {
    if decisions.len() != labels.len() || labels.is_empty() {
        let got = format!("{} decisions, {} labels", decisions.len(), labels.len());
        return Err(Error::Shape { op: "f1 interval", expected: "as many, and some".into(), got });
    }
    let f1 = |places: &mut dyn Iterator<Item = usize>| {
        let (mut right, mut wrong) = (0u32, 0u32);
        for at in places {
            match (decisions[at], labels[at]) {
                (true, true) => right += 1,
                (false, false) => {}
                _ => wrong += 1,
            }
        }
        // no match and none accepted: nothing was missed
        if right + wrong == 0 { 1.0 } else { 2.0 * f64::from(right) / (2.0 * f64::from(right) + f64::from(wrong)) }
    };
    let n = labels.len();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut values: Vec<f64> = (0..RESAMPLES).map(|_| f1(&mut (0..n).map(|_| rng.random_range(0..n)))).collect();
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((RESAMPLES - 1) as f64 * share).round() as usize];
    Ok([f1(&mut (0..n)), at(0.025), at(0.975)])
}

/// Measures a ranker's decisions, and its time on the set's own records.
///
/// # Errors
/// What the ranker refuses.
pub fn row(
    name: &str,
    labelled: &Labelled,
    ranker: &dyn Ranker,
    decided: &[(f32, bool)],
    threshold: f32,
) -> Result<Row> {
    let (probabilities, decisions): (Vec<f32>, Vec<bool>) = decided.iter().copied().unzip();
    let report = report(&probabilities, &labelled.labels, threshold)?;
    let [f1, f1_low, f1_high] = f1_interval(&decisions, &labelled.labels, 1)?;
    let mut ms = [None; 3];
    for (ms, count) in ms.iter_mut().zip(CANDIDATES) {
        *ms = time(labelled, ranker, count)?;
    }
    let pairs = labelled.len() as u64;
    let (document_bytes, beforehand) = (0, "nothing");
    Ok(Row { name: name.into(), f1, f1_low, f1_high, pr_auc: report.pr_auc, pairs, ms, document_bytes, beforehand })
}

/// The same of a bundle, which says what it stores.
///
/// # Errors
/// What the model refuses.
pub fn bundle_row(name: &str, labelled: &Labelled, bundle: &Bundle, progress: &dyn Fn(u64)) -> Result<Row> {
    let scores = labelled.scores(bundle, progress)?;
    let decided: Vec<(f32, bool)> = scores.iter().map(|score| bundle.decide(score)).collect();
    let reader = labelled.sets.first().map_or_else(|| bundle.clone(), |set| set.reader(bundle));
    let row = row(name, labelled, &reader, &decided, bundle.threshold())?;
    let documents = labelled.sets.iter().flat_map(|set| &set.set.right).take(DOCUMENTS).map(Input::from).collect();
    let (document_bytes, beforehand) = stored(&reader, documents)?;
    Ok(Row { document_bytes, beforehand, ..row })
}

/// Bytes that are stored of a document, the mean of some, and what they are.
fn stored(bundle: &Bundle, documents: Vec<Input>) -> Result<(u64, &'static str)> {
    const F32: usize = 4;
    const F16: usize = 2;
    let (bytes, what) = if let Some(towers) = bundle.dual_encoder() {
        (F32 * towers.encode_documents(&documents)?.values.len(), "the document's vector, f32")
    } else if let Some(towers) = bundle.late_encoder() {
        (F16 * towers.encode_documents(&documents)?.values.len(), "vectors of the document's tokens, f16")
    } else if let Ok(halves) = bundle.split_encoder() {
        let tokens = halves.lengths(&documents)?.into_iter().sum::<u32>() as usize;
        (F16 * tokens * halves.width(), "states of the document's tokens, f16")
    } else {
        (0, "nothing")
    };
    Ok((bytes as u64 / documents.len().max(1) as u64, what))
}

/// The median milliseconds of a query with so many candidates, records of the set's right list in turn.
fn time(labelled: &Labelled, ranker: &dyn Ranker, count: usize) -> Result<Option<f64>> {
    let Some(set) = labelled.sets.first().map(|set| &set.set) else { return Ok(None) };
    if set.left.is_empty() || set.right.is_empty() || (ranker.is_listwise() && count > 100) {
        return Ok(None); // a duo compares every two candidates
    }
    let mut seconds = Vec::new();
    for query in 0..QUERIES {
        let candidates = (0..count).map(|at| Input::from(&set.right[(at + query * count) % set.right.len()]));
        let list = List { query: Input::from(&set.left[query % set.left.len()]), candidates: candidates.collect() };
        let start = Instant::now();
        ranker.score(&[list])?;
        seconds.push(start.elapsed().as_secs_f64());
        if seconds[0] > LONG {
            break;
        }
    }
    seconds.sort_by(f64::total_cmp);
    Ok(Some(1e3 * seconds[seconds.len() / 2]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_has_f1_within_it_and_shrinks_with_pairs() {
        let pairs =
            |n: usize| -> (Vec<bool>, Vec<bool>) { (0..n).map(|i| (i % 5 < 2, i % 5 < 1 || i % 10 == 7)).unzip() };
        let (decisions, labels) = pairs(50);
        let [f1, low, high] = f1_interval(&decisions, &labels, 1).unwrap();
        assert!(low < f1 && f1 < high && low > 0.0 && high < 1.0, "{low} {f1} {high}");
        let (decisions, labels) = pairs(5000);
        let [_, near_low, near_high] = f1_interval(&decisions, &labels, 1).unwrap();
        assert!(near_high - near_low < 0.2 * (high - low), "{near_low} {near_high}");
        assert_eq!(f1_interval(&[true, false], &[true, false], 1).unwrap()[0], 1.0);
        assert!(f1_interval(&[], &[], 1).is_err());
    }
}
