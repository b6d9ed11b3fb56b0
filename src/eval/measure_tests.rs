//! Measures by their names: golden numbers of ir-measures (`tests/golden/eval_measures`), and what the means go over.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::list_tests::draw;
use super::*;
use crate::records::{Judgement, Run};

#[derive(Deserialize)]
struct Golden {
    measures: Vec<String>,
    means: Vec<Vec<f64>>,
}

#[test]
fn a_thousand_random_runs_measure_as_ir_measures_does_by_each_name() {
    let golden: Golden = serde_json::from_str(include_str!("../../tests/golden/eval_measures/expected.json")).unwrap();
    let measures: Vec<Measure> = golden.measures.iter().map(|name| name.parse().unwrap()).collect();
    assert_eq!((golden.means.len(), measures.len()), (1000, 30));
    for (seed, expected) in (0u64..).zip(golden.means) {
        let (judgements, run) = draw(seed);
        let means = measure_run(&measures, &judgements, &run, false).means();
        for ((got, want), name) in means.into_iter().zip(expected).zip(&golden.measures) {
            assert!((got - want).abs() < 5e-5, "run {seed}, {name}: {got} for {want}");
        }
    }
}

fn scores(documents: &[&str]) -> BTreeMap<String, f32> {
    documents.iter().zip(1..).map(|(document, place)| (document.to_string(), -(place as f32))).collect()
}

#[test]
fn what_a_mean_goes_over_is_counted() {
    let judgement = |query: &str, grade| Judgement { query: query.into(), document: "a".into(), grade };
    let judgements = [judgement("found", 1.0), judgement("missing", 1.0), judgement("bare", 0.0)];
    let lists = ["found", "bare", "strange"].map(|query| (query.to_string(), scores(&["a"])));
    let run = Run { scores: BTreeMap::from(lists) };
    let measures = Measure::list("P@1").unwrap();
    let all = measure_run(&measures, &judgements, &run, false);
    assert_eq!((all.missing, all.without_relevant, all.unjudged, all.queries.len()), (1, 1, 1, 3));
    assert_eq!(all.means(), [1.0 / 3.0]);
    let common = measure_run(&measures, &judgements, &run, true);
    assert_eq!((common.missing, common.queries.len(), common.means()), (1, 2, vec![0.5]));
    let none = measure_run(&Measure::list("nDCG AP P@1 RBP").unwrap(), &judgements[1..2], &run, false);
    assert!(none.means().iter().all(|mean| *mean == 0.0 && mean.is_sign_positive()));
}

#[test]
fn a_negative_grade_is_not_relevant_and_not_in_bprefs_pool() {
    let judgement = |document: &str, grade| Judgement { query: "q".into(), document: document.into(), grade };
    let run = Run { scores: BTreeMap::from([("q".to_string(), scores(&["spam", "good"]))]) };
    let of = |grade: f32| {
        let judgements = [judgement("spam", grade), judgement("good", 1.0)];
        measure_run(&Measure::list("Bpref P@2 nDCG").unwrap(), &judgements, &run, false).means()
    };
    assert_eq!(of(0.0)[..2], [0.0, 0.5]);
    assert_eq!(of(-2.0)[..2], [1.0, 0.5]);
    assert_eq!(of(0.0)[2], of(-2.0)[2]);
}

#[test]
fn grades_above_the_highest_of_gdeval_stop_every_reader_but_one_in_sixteen() {
    let ranking = |grade: f32| Ranking { ranked: vec![Some(grade), None, Some(1.0)], judged: vec![grade, 1.0] };
    let four = expected_reciprocal_rank(&ranking(4.0), 20);
    assert!((four - (15.0 / 16.0 + 1.0 / 16.0 / 16.0 / 3.0)).abs() < 1e-12);
    assert_eq!(expected_reciprocal_rank(&ranking(9.0), 20), four);
}
