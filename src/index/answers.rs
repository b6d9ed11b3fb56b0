//! Answers to judged queries, one at a time and timed: what reports of indexes measure.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

use crate::Result;
use crate::data::Collection;
use crate::eval::{Measure, measure_run};
use crate::ranker::Hit;
use crate::records::{Judgement, Query, Run};

/// How good some answers are, and how long one query takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quality {
    /// nDCG@10 against the judgements.
    pub ndcg_at_10: f64,
    /// Recall@100 against the judgements.
    pub recall_at_100: f64,
    /// The median of milliseconds a query.
    pub p50_ms: f64,
    /// The 95th percentile.
    pub p95_ms: f64,
}

/// Answers to some queries, with milliseconds of each, ascending.
pub(super) struct Answers {
    pub(super) hits: Vec<Vec<Hit>>,
    ms: Vec<f64>,
}

impl Answers {
    /// Asks so many queries, by number.
    pub(super) fn of(queries: usize, ask: impl Fn(usize) -> Result<Vec<Hit>>) -> Result<Self> {
        let (mut hits, mut ms) = (Vec::new(), Vec::new());
        for at in 0..queries {
            let start = Instant::now();
            hits.push(ask(at)?);
            ms.push(1e3 * start.elapsed().as_secs_f64());
        }
        ms.sort_by(f64::total_cmp);
        Ok(Answers { hits, ms })
    }

    /// Measures them; `queries` are those that were asked.
    pub(super) fn quality(
        &self,
        queries: &[&Query],
        collection: &Collection,
        judgements: &[Judgement],
    ) -> Result<Quality> {
        let measures: Vec<Measure> = ["nDCG@10", "R@100"].iter().map(|name| name.parse()).collect::<Result<_>>()?;
        let document = |hit: &Hit| (collection.documents[hit.document as usize].id.clone(), hit.score);
        let scores =
            queries.iter().zip(&self.hits).map(|(q, hits)| (q.id.clone(), hits.iter().map(document).collect()));
        let run = Run { scores: scores.collect::<BTreeMap<_, BTreeMap<_, _>>>() };
        let means = measure_run(&measures, judgements, &run, true).means();
        let at = |share: f64| self.ms.get((share * self.ms.len() as f64) as usize).or(self.ms.last()).copied();
        let [ndcg_at_10, recall_at_100] = [0, 1].map(|measure| means.get(measure).copied().unwrap_or_default());
        Ok(Quality { ndcg_at_10, recall_at_100, p50_ms: at(0.5).unwrap_or(0.0), p95_ms: at(0.95).unwrap_or(0.0) })
    }
}

/// The queries that have a judgement, the first `most` of them.
pub(super) fn judged<'a>(collection: &'a Collection, judgements: &[Judgement], most: usize) -> Result<Vec<&'a Query>> {
    let judged: std::collections::HashSet<&str> = judgements.iter().map(|j| j.query.as_str()).collect();
    let queries: Vec<_> = collection.queries.iter().filter(|q| judged.contains(q.id.as_str())).take(most).collect();
    if queries.is_empty() {
        let what = "no query of the collection has a judgement in this split";
        return Err(crate::Error::setting("queries", 0, what));
    }
    Ok(queries)
}
