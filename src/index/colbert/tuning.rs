//! What an index loses and what it takes, by bits and effort, on a collection with judgements: the report that a choice of settings rests on.
//!
//! Documents are encoded once; exact MaxSim over all of them is what each index is compared with. A long document is in many lists and has many
//! chances of a token that is near, so what is found of the exact answers is also told by length, in thirds of the collection.

use std::time::Instant;

use rayon::prelude::*;
use serde::Serialize;

use super::{ColbertBuilder, ColbertIndex, ColbertSettings, Effort};
use crate::data::Collection;
use crate::index::answers::{Answers, Quality, judged};
use crate::nn::maxsim::Query;
use crate::ranker::{Hit, Input, LateEncoder, MultiVectors};
use crate::records::Judgement;
use crate::{Error, Result};

/// What is tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuning {
    /// Bits of a value.
    pub bits: Vec<usize>,
    /// Centroids whose lists are read for each token of a query.
    pub probes: Vec<usize>,
    /// Documents scored by decoded vectors.
    pub decoded: Vec<usize>,
    /// Centroids; 0: the usual number for so many vectors.
    pub centroids: Vec<usize>,
    /// Pool factors.
    pub pool_factors: Vec<usize>,
    /// Queries at most.
    pub queries: usize,
}

/// A share of documents by their length; none where exact scores find none so long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ByLength {
    /// Of the third with the fewest vectors.
    pub short: Option<f64>,
    /// Of the third between.
    pub middle: Option<f64>,
    /// Of the third with the most.
    pub long: Option<f64>,
}

/// One index at one effort.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tried {
    /// Bits of a value.
    pub bits: usize,
    /// One vector is kept of so many.
    pub pool_factor: usize,
    /// Centroids of the index.
    pub centroids: u64,
    /// Centroids whose lists are read.
    pub probes: usize,
    /// Documents scored by decoded vectors.
    pub decoded: usize,
    /// Share of the 100 best by exact scores that are among its 100.
    pub recall_of_exact: f64,
    /// The same of the documents of a length.
    pub recall_by_length: ByLength,
    /// Against the judgements, and the time.
    #[serde(flatten)]
    pub quality: Quality,
    /// Bytes of all files, for each vector of the documents before pooling.
    pub bytes_per_token: f64,
    /// Vectors coded and written a second, encoding not counted.
    pub built_per_second: f64,
}

/// The report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TuningReport {
    /// Documents of the collection.
    pub documents: u64,
    /// Their vectors.
    pub vectors: u64,
    /// Width of a vector.
    pub dim: usize,
    /// Vectors from which a document is of the middle third, and of the long one.
    pub lengths: [u64; 2],
    /// Queries asked.
    pub queries: u64,
    /// Vectors of documents encoded a second.
    pub encoded_per_second: f64,
    /// Exact scores of all documents.
    pub exact: Quality,
    /// Each index at each effort.
    pub tried: Vec<Tried>,
}

const K: usize = 100;
/// Documents that are encoded at once.
const TEXTS: usize = 256;

/// Vectors from which a document is of the middle third of a collection, and of the long one. Documents of one length are in one third, the longer
/// one: most texts of one length are those that were cut.
fn thirds(documents: &MultiVectors) -> [u64; 2] {
    let mut lengths: Vec<usize> = documents.ends.array_windows().map(|[start, end]| end - start).collect();
    lengths.sort_unstable();
    [1, 2].map(|third| lengths.get(third * lengths.len() / 3).map_or(0, |length| *length as u64))
}

/// Share of the documents of some answers that others have too, of those documents that count; none where there are none.
fn shared(of: &Answers, others: &Answers, counts: impl Fn(u32) -> bool) -> Option<f64> {
    let (mut found, mut wanted) = (0usize, 0usize);
    for (exact, hits) in of.hits.iter().zip(&others.hits) {
        let there: std::collections::HashSet<u32> = hits.iter().map(|hit| hit.document).collect();
        let counted = || exact.iter().filter(|hit| counts(hit.document));
        found += counted().filter(|hit| there.contains(&hit.document)).count();
        wanted += counted().count();
    }
    (wanted > 0).then(|| found as f64 / wanted as f64)
}

impl ByLength {
    /// Of [`shared`], by the vectors of the documents.
    fn shared(of: &Answers, others: &Answers, documents: &MultiVectors, lengths: [u64; 2]) -> Self {
        let third = |document: u32| {
            let vectors = documents.ends[document as usize + 1] - documents.ends[document as usize];
            lengths.iter().filter(|least| vectors as u64 >= **least).count()
        };
        let [short, middle, long] =
            [0, 1, 2].map(|of_third| shared(of, others, |document| third(document) == of_third));
        ByLength { short, middle, long }
    }
}

/// The `K` best documents by exact scores.
fn exact(documents: &MultiVectors, query: &[f32]) -> Vec<Hit> {
    let query = Query::new(query, documents.dim);
    let score = |at: usize| Hit { document: at as u32, score: query.score(documents.text(at)) };
    let mut hits: Vec<Hit> = (0..documents.len()).into_par_iter().map(score).collect();
    hits.sort_by(Hit::best_first);
    hits.truncate(K);
    hits
}

/// Encodes a collection, builds each index in a folder of its own that is removed again, and asks the judged queries. `progress` gets what is done, of
/// how much, and what it is.
///
/// # Errors
/// No judged query; what the model, the settings or the system refuse.
pub fn tune_colbert(
    encoder: &dyn LateEncoder,
    collection: &Collection,
    judgements: &[Judgement],
    tuning: &Tuning,
    progress: &dyn Fn(u64, u64, &str),
) -> Result<TuningReport> {
    let queries = judged(collection, judgements, tuning.queries)?;
    let asked = encoder.encode_queries(&queries.iter().map(|q| Input::Text(&q.text)).collect::<Vec<_>>())?;
    let (mut documents, start) = (MultiVectors::new(encoder.dim()), Instant::now());
    let total = collection.documents.len() as u64;
    for some in collection.documents.chunks(TEXTS) {
        progress(documents.len() as u64, total, "documents encoded");
        let encoded = encoder.encode_documents(&some.iter().map(Input::Record).collect::<Vec<_>>())?;
        (0..encoded.len()).for_each(|at| documents.push(encoded.text(at)));
    }
    let vectors = documents.ends.last().copied().unwrap_or(0) as u64;
    let encoded_per_second = vectors as f64 / start.elapsed().as_secs_f64();
    let lengths = thirds(&documents);
    progress(0, 1, "exact scores");
    let exact = Answers::of(asked.len(), |at| Ok(exact(&documents, asked.text(at))))?;
    let mut tried = Vec::new();
    let kinds = tuning.pool_factors.iter().flat_map(|pool| tuning.bits.iter().map(move |bits| (*pool, *bits)));
    let kinds = kinds.flat_map(|(pool, bits)| tuning.centroids.iter().map(move |k| (pool, bits, *k)));
    let efforts =
        tuning.probes.iter().flat_map(|&probes| tuning.decoded.iter().map(move |&decoded| Effort { probes, decoded }));
    for (pool_factor, bits, centroids) in kinds {
        let dir = tempfile::tempdir().map_err(Error::io("create", std::path::Path::new("a temporary folder")))?;
        let start = Instant::now();
        let settings = ColbertSettings { bits, pool_factor, centroids, ..ColbertSettings::default() };
        let mut builder = ColbertBuilder::new(dir.path(), encoder.dim(), settings)?;
        builder.add(&documents)?;
        builder.finish(&|done, all| progress(done, all, "vectors coded"))?;
        let seconds = start.elapsed().as_secs_f64();
        let index = ColbertIndex::open(dir.path())?;
        for effort in efforts.clone() {
            let answers = Answers::of(asked.len(), |at| index.search(asked.text(at), K, effort))?;
            tried.push(Tried {
                bits,
                pool_factor,
                centroids: index.centroids(),
                probes: effort.probes,
                decoded: effort.decoded,
                recall_of_exact: shared(&exact, &answers, |_| true).unwrap_or(0.0),
                recall_by_length: ByLength::shared(&exact, &answers, &documents, lengths),
                quality: answers.quality(&queries, collection, judgements)?,
                bytes_per_token: index.bytes() as f64 / vectors.max(1) as f64,
                built_per_second: vectors as f64 / seconds,
            });
        }
    }
    Ok(TuningReport {
        documents: total,
        vectors,
        dim: encoder.dim(),
        lengths,
        queries: queries.len() as u64,
        encoded_per_second,
        exact: exact.quality(&queries, collection, judgements)?,
        tried,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Documents of so many vectors.
    fn of_lengths(lengths: &[usize]) -> MultiVectors {
        let mut documents = MultiVectors::new(1);
        lengths.iter().for_each(|length| documents.push(&vec![1.0; *length]));
        documents
    }

    fn answers(documents: &[&[u32]]) -> Answers {
        let hits = |at: usize| Ok(documents[at].iter().map(|&document| Hit { document, score: 1.0 }).collect());
        Answers::of(documents.len(), hits).unwrap()
    }

    #[test]
    fn thirds_are_by_length_and_texts_that_were_cut_are_long() {
        assert_eq!(thirds(&of_lengths(&[6, 1, 5, 2, 4, 3])), [3, 5]);
        assert_eq!(thirds(&of_lengths(&[9, 2, 3, 9, 4, 9])), [4, 9]);
        assert_eq!(thirds(&of_lengths(&[7, 7])), [7, 7]);
        assert_eq!(thirds(&of_lengths(&[])), [0, 0]);
    }

    #[test]
    fn what_is_found_is_told_by_length() {
        let documents = of_lengths(&[6, 1, 5, 2, 4, 3]);
        let (exact, found) = (answers(&[&[0, 1, 2], &[3, 1, 0]]), answers(&[&[0, 5, 4], &[1, 2, 0]]));
        assert_eq!(shared(&exact, &found, |_| true), Some(0.5));
        let shares = ByLength::shared(&exact, &found, &documents, thirds(&documents));
        // short: 1, then 3 and 1; long: 0 and 2, then 0
        assert_eq!(shares, ByLength { short: Some(1.0 / 3.0), middle: None, long: Some(2.0 / 3.0) });
    }
}
