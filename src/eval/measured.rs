//! Several measures over a whole run, query by query, and what the means are taken over.
//!
//! The mean goes over all queries that have judgements. One that the run lacks counts with 0 (ir-measures; trec_eval with
//! `-c`), and so does one without a relevant document (trec_eval, ir-measures). Both are counted, since many of them make a
//! mean that says little. A query of the run without judgements can't be measured and is left out.

use std::collections::BTreeMap;

use super::{Measure, Ranking, rankings};
use crate::records::{Judgement, Run};

/// A run, measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The measures of each judged query, in the order in which they were asked for.
    pub queries: BTreeMap<String, Vec<f64>>,
    /// Judged queries that the run lacks.
    pub missing: u64,
    /// Judged queries without a document of grade 1 or more.
    pub without_relevant: u64,
    /// Queries of the run that have no judgement.
    pub unjudged: u64,
}

/// Measures a run. With `only_common` a judged query that the run lacks is left out (trec_eval without `-c`).
pub fn measure_run(measures: &[Measure], judgements: &[Judgement], run: &Run, only_common: bool) -> Measured {
    let mut rankings = rankings(judgements, run);
    let missing = rankings.keys().filter(|query| !run.scores.contains_key(*query)).count();
    let unjudged = run.scores.keys().filter(|query| !rankings.contains_key(*query)).count();
    if only_common {
        rankings.retain(|query, _| run.scores.contains_key(query));
    }
    let without = rankings.values().filter(|ranking| ranking.relevant() == 0).count();
    let of = |ranking: &Ranking| measures.iter().map(|measure| measure.of(ranking)).collect();
    Measured {
        queries: rankings.iter().map(|(query, ranking)| (query.clone(), of(ranking))).collect(),
        missing: missing as u64,
        without_relevant: without as u64,
        unjudged: unjudged as u64,
    }
}

impl Measured {
    /// The mean of each measure; 0 without a query.
    pub fn means(&self) -> Vec<f64> {
        let measures = self.queries.values().next().map_or(0, Vec::len);
        (0..measures).map(|measure| self.column(measure).sum::<f64>() / self.queries.len() as f64).collect()
    }

    /// One measure of every query, in the order of their ids.
    pub fn column(&self, measure: usize) -> impl Iterator<Item = f64> {
        self.queries.values().map(move |values| values[measure])
    }
}
