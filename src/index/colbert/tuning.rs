//! What an index loses and what it takes, by bits and effort, on a collection with judgements: the report that a choice of settings rests on.
//!
//! Documents are encoded once; exact MaxSim over all of them is what each index is compared with.

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

/// Share of the documents of some answers that others have too.
fn shared(of: &Answers, others: &Answers) -> f64 {
    let (mut found, mut wanted) = (0usize, 0usize);
    for (exact, hits) in of.hits.iter().zip(&others.hits) {
        let there: std::collections::HashSet<u32> = hits.iter().map(|hit| hit.document).collect();
        found += exact.iter().filter(|hit| there.contains(&hit.document)).count();
        wanted += exact.len();
    }
    found as f64 / wanted.max(1) as f64
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
                recall_of_exact: shared(&exact, &answers),
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
        queries: queries.len() as u64,
        encoded_per_second,
        exact: exact.quality(&queries, collection, judgements)?,
        tried,
    })
}
