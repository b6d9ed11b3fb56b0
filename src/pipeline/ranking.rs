//! Linking to a catalogue: each left record has its product on the right, and the question is whether it comes first.

use std::collections::BTreeMap;

use super::stages::{self, Candidate, Sides, Stage};
use super::{candidates, check_weight, fused};
use crate::eval::{Gain, Ranking, average_precision, mean, ndcg, rankings, recall, reciprocal_rank, success};
use crate::ranker::Retriever;
use crate::records::{Judgement, PairSet, Record, Run, Split};
use crate::{Error, Result};

/// How well left records find their right ones. Means over the records that have a match; a match that was not retrieved
/// counts as not found.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct RetrievalReport {
    /// Left records that have a match.
    pub queries: u64,
    /// Candidates per record.
    pub k: u64,
    /// R@k: share of a record's matches among its candidates.
    pub recall_at_k: f64,
    /// Success@1 after the last stage: a match comes first.
    pub accuracy_at_1: f64,
    /// Success@1 of the retriever alone.
    pub first_stage_accuracy_at_1: f64,
    /// RR@k: 1 / place of the first match.
    pub mrr: f64,
    /// AP@k.
    pub map: f64,
    /// nDCG@k.
    pub ndcg: f64,
}

/// How candidates are ranked.
#[derive(Debug, Clone, Copy)]
pub struct RankingOptions {
    /// Only records with a match in this split; `None`: in any.
    pub split: Option<Split>,
    /// Candidates per record.
    pub top_k: usize,
    /// What the retriever's score weighs, if the ranker's weighs 1.
    pub retriever_weight: f32,
}

/// Ranks candidates from the whole right list for each left record that has a labelled match. Equal scores are ordered as
/// everywhere in [`eval`](crate::eval): by the id, descending.
///
/// # Errors
/// No match in the split; a weight below 0; what the retriever or a ranker refuses.
pub fn evaluate_ranking(
    set: &PairSet,
    retriever: &dyn Retriever,
    ranking_stages: &[Stage],
    options: &RankingOptions,
    progress: &dyn Fn(u64, u64),
) -> Result<RetrievalReport> {
    check_weight(options.retriever_weight)?;
    let wanted = |split: Option<Split>| options.split.is_none() || split == options.split;
    let is_match = |p: &&crate::Pair| p.is_match() && wanted(p.split);
    let mut rows = BTreeMap::new();
    let mut judgements = Vec::new();
    for pair in set.pairs.iter().filter(is_match) {
        let (left, right) = (&set.left[pair.left as usize], &set.right[pair.right as usize]);
        rows.insert(pair.left, left);
        judgements.push(Judgement { query: left.id.clone(), document: right.id.clone(), grade: 1.0 });
    }
    if judgements.is_empty() {
        let split = options.split.map_or("any".into(), |split| format!("{split:?}").to_lowercase());
        return Err(Error::setting("split", split, "no labelled match there; name another split"));
    }
    let queries: Vec<Record> = rows.into_values().cloned().collect();
    let k = options.top_k;
    let found = candidates::between(retriever, &queries, set.right.len(), k)?;
    let pool = stages::run(ranking_stages, &queries, &set.right, &found, Sides::Given, progress)?;
    let run_by = |score: &dyn Fn(&Candidate) -> f32| {
        let mut run = Run::default();
        for c in &pool {
            let documents = run.scores.entry(queries[c.left as usize].id.clone()).or_default();
            documents.insert(set.right[c.right as usize].id.clone(), score(c));
        }
        rankings(&judgements, &run)
    };
    let last = run_by(&|c| fused(c, options.retriever_weight));
    let first = run_by(&|c| c.retrieved);
    let of_last = |measure: &dyn Fn(&Ranking) -> f64| mean(&last, measure);
    Ok(RetrievalReport {
        queries: queries.len() as u64,
        k: k as u64,
        recall_at_k: of_last(&|r| recall(r, k)),
        accuracy_at_1: of_last(&|r| success(r, 1)),
        first_stage_accuracy_at_1: mean(&first, |r| success(r, 1)),
        mrr: of_last(&|r| reciprocal_rank(r, k)),
        map: of_last(&|r| average_precision(r, k)),
        ndcg: of_last(&|r| ndcg(r, k, Gain::Linear)),
    })
}
