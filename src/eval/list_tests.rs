//! Golden numbers of ir-measures (`tests/golden/eval_lists`), and rules that a few lines show.

use std::collections::BTreeMap;

use super::*;
use crate::records::{Judgement, Run};

/// The generator of `make.py`.
struct Draws(u64);

impl Draws {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }
}

/// The judgements and the run of a seed, as `make.py` draws them.
pub(super) fn draw(seed: u64) -> (Vec<Judgement>, Run) {
    let mut draws = Draws(seed);
    let (mut judgements, mut run) = (Vec::new(), Run::default());
    let judgement =
        |query: &str, d: u64, grade: f32| Judgement { query: query.into(), document: format!("d{d}"), grade };
    for query in 0..1 + draws.below(6) {
        let (name, documents) = (format!("q{query}"), 1 + draws.below(20));
        if draws.below(8) > 0 {
            let before = judgements.len();
            for d in 0..documents {
                if draws.below(3) > 0 {
                    judgements.push(judgement(&name, d, draws.below(4) as f32));
                }
            }
            if judgements.len() == before {
                judgements.push(judgement(&name, 0, 1.0));
            }
        }
        if draws.below(8) > 0 {
            let mut scores = BTreeMap::new();
            for d in 0..documents {
                if draws.below(4) > 0 {
                    scores.insert(format!("d{d}"), draws.below(6) as f32 / 4.0);
                }
            }
            if scores.is_empty() {
                scores.insert("d0".into(), 0.5);
            }
            run.scores.insert(name, scores);
        }
    }
    if judgements.is_empty() {
        judgements.push(judgement("q0", 0, 1.0));
    }
    (judgements, run)
}

#[test]
fn a_thousand_random_runs_measure_as_in_ir_measures() {
    let expected: Vec<Vec<f64>> =
        serde_json::from_str(include_str!("../../tests/golden/eval_lists/expected.json")).unwrap();
    assert_eq!(expected.len(), 1000);
    for (seed, expected) in (0u64..).zip(expected) {
        let (judgements, run) = draw(seed);
        let all = rankings(&judgements, &run);
        let got = [
            mean(&all, |r| ndcg(r, 5, Gain::Linear)),
            mean(&all, |r| ndcg(r, 10, Gain::Linear)),
            mean(&all, |r| reciprocal_rank(r, 5)),
            mean(&all, |r| average_precision(r, 10)),
            mean(&all, |r| recall(r, 5)),
            mean(&all, |r| precision(r, 5)),
            mean(&all, |r| success(r, 1)),
            mean(&all, |r| ndcg(r, 10, Gain::Exponential)),
        ];
        for (place, (got, want)) in got.into_iter().zip(expected).enumerate() {
            assert!((got - want).abs() < 5e-5, "run {seed}, measure {place}: {got} for {want}");
        }
    }
}

#[test]
fn equal_scores_are_ordered_by_id_descending() {
    let judgements = [Judgement { query: "q".into(), document: "b".into(), grade: 1.0 }];
    let scores = BTreeMap::from([("a".to_string(), 1.0), ("b".to_string(), 1.0), ("c".to_string(), 1.0)]);
    let run = Run { scores: BTreeMap::from([("q".to_string(), scores)]) };
    assert_eq!(rankings(&judgements, &run)["q"].ranked, [None, Some(1.0), None]);
}

#[test]
fn a_query_that_the_run_lacks_counts_as_zero() {
    let judgement = |query: &str| Judgement { query: query.into(), document: "a".into(), grade: 1.0 };
    let scores = BTreeMap::from([("a".to_string(), 1.0)]);
    let run = Run { scores: BTreeMap::from([("p".to_string(), scores.clone()), ("other".to_string(), scores)]) };
    let all = rankings(&[judgement("p"), judgement("q")], &run);
    assert_eq!((all.len(), mean(&all, |r| success(r, 1))), (2, 0.5));
    assert_eq!(mean(&BTreeMap::new(), |r| success(r, 1)), 0.0);
}
