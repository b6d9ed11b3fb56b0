//! A measure of ranked lists by its name in ir-measures (MacAvaney et al., ECIR 2022): `nDCG@10`, `AP(rel=2)@100`,
//! `nDCG(dcg='exp-log2')@20`, `RBP(p=0.5)`. Values are trec_eval's, with its order of equal scores in every measure;
//! ir-measures takes the opposite order in `RR@k` and `Judged@k`, which it computes by other programs.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::ranking::Ranking;
use super::{Gain, average_precision, bpref, expected_reciprocal_rank, judged, ndcg, precision};
use super::{r_precision, rank_biased_precision, recall, reciprocal_rank, success};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ndcg,
    ReciprocalRank,
    AveragePrecision,
    Precision,
    Recall,
    Success,
    ExpectedReciprocalRank,
    Judged,
    RPrecision,
    Bpref,
    RankBiasedPrecision,
}

/// A measure with its parameters; parsed from its name and printed as ir-measures prints it.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    pub(super) kind: Kind,
    /// How many documents count; `None`: all.
    pub(super) cutoff: Option<usize>,
    /// The grade from which a document is relevant, if it was given.
    pub(super) rel: Option<i32>,
    /// Documents without a judgement are left out of the run.
    pub(super) judged_only: bool,
    pub(super) gain: Gain,
    /// What grades are worth in nDCG, where not themselves.
    pub(super) gains: BTreeMap<i32, i32>,
    /// The persistence of RBP.
    pub(super) persistence: f64,
}

impl Measure {
    /// The measure of one query.
    pub fn of(&self, ranking: &Ranking) -> f64 {
        let ranking = &*self.graded(ranking);
        let k = self.cutoff.unwrap_or(usize::MAX);
        let value = match self.kind {
            Kind::Ndcg => ndcg(ranking, k, self.gain),
            Kind::ReciprocalRank => reciprocal_rank(ranking, k),
            Kind::AveragePrecision => average_precision(ranking, k),
            Kind::Precision => precision(ranking, k),
            Kind::Recall => recall(ranking, k),
            Kind::Success => success(ranking, k),
            Kind::ExpectedReciprocalRank => expected_reciprocal_rank(ranking, k),
            Kind::Judged => judged(ranking, k),
            Kind::RPrecision => r_precision(ranking),
            Kind::Bpref => bpref(ranking),
            Kind::RankBiasedPrecision => rank_biased_precision(ranking, k, self.persistence),
        };
        value + 0.0 // the sum of nothing is -0.0
    }

    /// The ranking with the grades that this measure sees.
    fn graded<'a>(&self, ranking: &'a Ranking) -> Cow<'a, Ranking> {
        let rel = self.rel.filter(|rel| *rel != 1);
        if rel.is_none() && self.gains.is_empty() && !self.judged_only {
            return Cow::Borrowed(ranking);
        }
        let of = |grade: f32| match rel {
            Some(rel) if grade >= rel as f32 => 1.0,
            Some(_) => grade.min(0.0),
            None => {
                let gain = self.gains.iter().find(|(from, _)| **from as f32 == grade);
                gain.map_or(grade, |(_, to)| *to as f32)
            }
        };
        let mut ranked: Vec<Option<f32>> = ranking.ranked.iter().map(|grade| grade.map(of)).collect();
        ranked.retain(|grade| grade.is_some() || !self.judged_only);
        let mut judged: Vec<f32> = ranking.judged.iter().copied().map(of).collect();
        judged.sort_by(|a, b| b.total_cmp(a));
        Cow::Owned(Ranking { ranked, judged })
    }
}
