//! Runs over the same queries, compared: means, gains over the first run with their intervals, p values, who is better than
//! whom.

use serde::Serialize;

use super::significance::{Interval, Resampling, Test, bootstrap, p_values};
use super::{Measure, measure_run};
use crate::records::{Judgement, Run};
use crate::{Error, Result};

/// How runs are compared.
#[derive(Debug, Clone)]
pub struct ComparisonOptions {
    /// What is measured.
    pub measures: Vec<Measure>,
    /// The test that decides who is better.
    pub test: Test,
    /// The p below which a difference is one.
    pub level: f64,
    /// Draws of intervals and of the randomisation test.
    pub resampling: Resampling,
    /// Leave out the queries that a run lacks, instead of counting them with 0.
    pub only_common: bool,
}

/// Runs, compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The queries' ids.
    pub queries: Vec<String>,
    /// By measure.
    pub measures: Vec<ComparedMeasure>,
}

/// One measure of all runs.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparedMeasure {
    /// A value a query, for each run.
    pub columns: Vec<Vec<f64>>,
    /// Each run's mean.
    pub means: Vec<Interval>,
    /// Of each run but the first: the gain over the first.
    pub gains: Vec<Gain>,
    /// The p values of each test for the pairs of runs `(i, j)` with `i < j`, in the order of `i`, then `j`; those of the tests
    /// of two runs corrected by Holm.
    pub p: Vec<(Test, Vec<f64>)>,
    /// For each run the runs that it is significantly better than.
    pub better_than: Vec<Vec<usize>>,
}

/// What a run gains over the first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gain {
    /// The mean difference over the queries, with its interval.
    #[serde(flatten)]
    pub interval: Interval,
    /// Queries for which it is better.
    pub wins: u64,
    /// Queries for which it is worse.
    pub losses: u64,
    /// Queries for which it is the same.
    pub equal: u64,
}

impl Gain {
    fn of(differences: &[f64], resampling: Resampling) -> Gain {
        let count = |is: fn(f64) -> bool| differences.iter().filter(|d| is(**d)).count() as u64;
        Gain {
            interval: bootstrap(differences, resampling),
            wins: count(|d| d > 0.0),
            losses: count(|d| d < 0.0),
            equal: count(|d| d == 0.0),
        }
    }
}

/// Compares runs by the judged queries.
///
/// # Errors
/// Fewer than two runs; no query that counts.
pub fn compare(runs: &[Run], judgements: &[Judgement], options: &ComparisonOptions) -> Result<Comparison> {
    if runs.len() < 2 {
        return Err(Error::setting("runs", runs.len(), "give at least two to compare"));
    }
    let measured = runs.iter().map(|run| measure_run(&options.measures, judgements, run, options.only_common));
    let mut measured: Vec<_> = measured.map(|measured| measured.queries).collect();
    let common: Vec<String> =
        measured[0].keys().filter(|q| measured.iter().all(|of| of.contains_key(*q))).cloned().collect();
    if common.is_empty() {
        return Err(Error::setting(
            "runs",
            runs.len(),
            "have no judged query in common; give runs of the same queries",
        ));
    }
    measured.iter_mut().for_each(|of| of.retain(|query, _| common.binary_search(query).is_ok()));
    let compared = |measure: usize| -> Result<ComparedMeasure> {
        let columns: Vec<Vec<f64>> =
            measured.iter().map(|of| of.values().map(|values| values[measure]).collect()).collect();
        let gain = |column: &Vec<f64>| {
            let differences: Vec<f64> = column.iter().zip(&columns[0]).map(|(own, first)| own - first).collect();
            Gain::of(&differences, options.resampling)
        };
        let of_test = |test| Ok((test, p_values(&columns, test, options.resampling, true)?));
        let p: Vec<(Test, Vec<f64>)> = Test::ALL.into_iter().map(of_test).collect::<Result<_>>()?;
        let means: Vec<Interval> = columns.iter().map(|column| bootstrap(column, options.resampling)).collect();
        let chosen = p.iter().find(|(test, _)| *test == options.test).map(|(_, p)| p.as_slice()).unwrap_or_default();
        let better = |run: usize| -> Vec<usize> {
            let others = (0..columns.len()).filter(|other| *other != run && means[run].mean > means[*other].mean);
            others.filter(|other| chosen[pair(run, *other, columns.len())] < options.level).collect()
        };
        Ok(ComparedMeasure {
            gains: columns[1..].iter().map(gain).collect(),
            better_than: (0..columns.len()).map(better).collect(),
            means,
            p,
            columns,
        })
    };
    let measures = (0..options.measures.len()).map(compared).collect::<Result<_>>()?;
    Ok(Comparison { queries: common, measures })
}

/// Where two of `runs` are among the pairs.
pub fn pair(one: usize, other: usize, runs: usize) -> usize {
    let (i, j) = (one.min(other), one.max(other));
    i * (2 * runs - i - 1) / 2 + j - i - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn pairs_are_in_the_order_of_the_first_then_the_second() {
        let mut expected = 0;
        for i in 0..5 {
            for j in i + 1..5 {
                assert_eq!((pair(i, j, 5), pair(j, i, 5)), (expected, expected));
                expected += 1;
            }
        }
    }

    /// Runs whose relevant document is at the given place of each of 20 queries.
    fn run(place: impl Fn(usize) -> usize) -> Run {
        let list = |query: usize| -> BTreeMap<String, f32> {
            (1..=5)
                .map(|rank| (if rank == place(query) { "good".into() } else { format!("d{rank}") }, -(rank as f32)))
                .collect()
        };
        Run { scores: (0..20).map(|query| (format!("q{query:02}"), list(query))).collect() }
    }

    #[test]
    fn who_is_better_by_how_much_and_where() {
        let judgement = |query| Judgement { query: format!("q{query:02}"), document: "good".into(), grade: 1.0 };
        let judgements: Vec<Judgement> = (0..20).map(judgement).collect();
        let runs = [run(|_| 2), run(|query| if query == 3 { 4 } else { 1 }), run(|query| 1 + query % 4)];
        let options = ComparisonOptions {
            measures: Measure::list("RR P@1").unwrap(),
            test: Test::PairedT,
            level: 0.05,
            resampling: Resampling { rounds: 500, seed: 1 },
            only_common: false,
        };
        let comparison = compare(&runs, &judgements, &options).unwrap();
        assert_eq!(comparison.queries.len(), 20);
        let rr = &comparison.measures[0];
        assert_eq!((rr.gains[0].wins, rr.gains[0].losses, rr.gains[0].equal), (19, 1, 0));
        assert!((rr.gains[0].interval.mean - (19.0 * 0.5 - 0.25) / 20.0).abs() < 1e-12);
        assert!(rr.gains[0].interval.low > 0.0 && rr.gains[1].interval.holds_zero());
        assert_eq!(rr.better_than, [vec![], vec![0, 2], vec![]]);
        assert!(compare(&runs[..1], &judgements, &options).is_err());
        let missing = Run { scores: runs[1].scores.clone().into_iter().take(5).collect() };
        let pair = [runs[0].clone(), missing];
        let common = ComparisonOptions { only_common: true, ..options.clone() };
        assert_eq!(compare(&pair, &judgements, &common).unwrap().queries.len(), 5);
        assert_eq!(compare(&pair, &judgements, &options).unwrap().queries.len(), 20);
        assert!(compare(&[run(|_| 1), Run::default()], &judgements, &common).is_err());
    }
}
