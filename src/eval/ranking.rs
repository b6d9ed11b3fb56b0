//! Judgements and a run, joined: what every measure of ranked lists reads.
//!
//! Names, cutoffs and conventions are those of ir-measures and trec_eval. A run's documents are ordered by score, descending,
//! and of equal scores by id, descending, so that the order in which a program wrote them says nothing. A document that
//! nobody judged has grade 0. A document is relevant from grade 1. A judged query that is missing in the run counts with 0 in
//! every measure; a query without judgements is left out.

use std::collections::BTreeMap;

use crate::records::{Judgement, Run};

/// The grade from which a document is relevant.
const RELEVANT: f32 = 1.0;

/// One query's grades.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ranking {
    /// Grades of the run's documents, best score first; `None`: nobody judged it.
    pub ranked: Vec<Option<f32>>,
    /// All grades that were judged, highest first.
    pub judged: Vec<f32>,
}

impl Ranking {
    /// How many of the judged documents are relevant.
    pub fn relevant(&self) -> usize {
        self.judged.iter().filter(|grade| is_relevant(**grade)).count()
    }
    /// How many of the first `k` documents are relevant.
    pub fn found(&self, k: usize) -> usize {
        self.ranked.iter().take(k).filter(|grade| is_relevant(grade.unwrap_or_default())).count()
    }
    /// The places of the relevant documents among the first `k`, from 1.
    pub fn places(&self, k: usize) -> impl Iterator<Item = usize> {
        let first = self.ranked.iter().take(k).enumerate();
        first.filter(|(_, grade)| is_relevant(grade.unwrap_or_default())).map(|(i, _)| i + 1)
    }
}

/// Whether a document of this grade is relevant.
pub(super) fn is_relevant(grade: f32) -> bool {
    grade >= RELEVANT
}

/// The rankings of all judged queries. Of two judgements of one pair the later one counts.
pub fn rankings(judgements: &[Judgement], run: &Run) -> BTreeMap<String, Ranking> {
    let mut grades: BTreeMap<&str, BTreeMap<&str, f32>> = BTreeMap::new();
    for judgement in judgements {
        grades.entry(&judgement.query).or_default().insert(&judgement.document, judgement.grade);
    }
    let ranking = |query: &str, grades: BTreeMap<&str, f32>| {
        let ranked = run.ranked(query).into_iter().map(|(document, _)| grades.get(document).copied()).collect();
        let mut judged: Vec<f32> = grades.into_values().collect();
        judged.sort_by(|a, b| b.total_cmp(a));
        Ranking { ranked, judged }
    };
    grades.into_iter().map(|(query, grades)| (query.to_string(), ranking(query, grades))).collect()
}

/// The mean of a measure over all queries; 0 without one.
pub fn mean(rankings: &BTreeMap<String, Ranking>, measure: impl Fn(&Ranking) -> f64) -> f64 {
    rankings.values().map(measure).fold(0.0, |sum, value| sum + value) / rankings.len().max(1) as f64
}
