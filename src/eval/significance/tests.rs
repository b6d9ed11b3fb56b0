//! Golden values of scipy (`tests/golden/significance`), and identities that need none.

use serde::Deserialize;

use super::studentized_range::above;
use super::*;

/// The generator of `make.py`.
struct Draws(u64);

impl Draws {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }
}

/// The columns of a seed, as `make.py` draws them.
fn draw(seed: u64) -> Vec<Vec<f64>> {
    let mut draws = Draws(seed);
    let rankers = 2 + draws.below(4);
    let queries = 5 + draws.below([8, 120][(seed / 2 % 2) as usize]);
    let mut columns = vec![Vec::new(); rankers as usize];
    for _ in 0..queries {
        let hard = draws.below(600);
        for (j, column) in (0..).zip(&mut columns) {
            column.push(match seed % 2 {
                1 => (draws.below(4) + draws.below(j + 1)) as f64 / 8.0,
                _ => (hard + draws.below(401) + 25 * j) as f64 / 1100.0,
            });
        }
    }
    columns
}

#[derive(Deserialize)]
struct Golden {
    ranges: Vec<(f64, usize, f64, f64)>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    t: Vec<f64>,
    holm: Vec<f64>,
    wilcoxon: Vec<f64>,
    tukey: Vec<f64>,
    tukey_independent: Vec<f64>,
    fisher_is_exact: bool,
    fisher: f64,
    interval: [f64; 2],
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../../tests/golden/significance/expected.json")).unwrap()
}

fn close(got: &[f64], want: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() < tolerance, "{what}: {got} for {want}");
    }
}

#[test]
fn p_values_are_those_of_scipy() {
    let resampling = Resampling { rounds: 5_000, seed: 3 };
    let cases = golden().cases;
    assert!(cases.len() == 40 && cases.iter().any(|case| case.fisher_is_exact));
    for (seed, case) in (0u64..).zip(cases) {
        let columns = draw(seed);
        let of = |test, corrected| p_values(&columns, test, resampling, corrected).unwrap();
        close(&of(Test::PairedT, false), &case.t, 1e-9, &format!("t, case {seed}"));
        close(&of(Test::PairedT, true), &case.holm, 1e-9, &format!("Holm, case {seed}"));
        close(&of(Test::Wilcoxon, false), &case.wilcoxon, 1e-9, &format!("Wilcoxon, case {seed}"));
        close(&of(Test::TukeyHsd, true), &case.tukey, 1e-7, &format!("Tukey, case {seed}"));
        let independent = tukey_hsd(&columns, Design::Independent);
        close(&independent, &case.tukey_independent, 1e-7, &format!("Tukey of independent rows, case {seed}"));
        // 5,000 draws: three standard errors are below .022
        let fisher = of(Test::Fisher, false)[0];
        let tolerance = if case.fisher_is_exact { 1e-9 } else { 0.022 };
        assert!((fisher - case.fisher).abs() < tolerance, "Fisher, case {seed}: {fisher} for {}", case.fisher);
    }
}

#[test]
fn intervals_are_those_of_scipy_as_far_as_draws_go() {
    for (seed, case) in (0u64..).zip(golden().cases) {
        let columns = draw(seed);
        let differences: Vec<f64> = columns[1].iter().zip(&columns[0]).map(|(b, a)| b - a).collect();
        let got = bootstrap(&differences, Resampling::default());
        let width = case.interval[1] - case.interval[0];
        // means of eighths jump by whole steps
        let step = if seed % 2 == 1 { 1.01 / 8.0 / differences.len() as f64 } else { 0.0 };
        close(&[got.low, got.high], &case.interval, 0.06 * width.max(0.02) + step, &format!("interval, case {seed}"));
        assert_eq!(got, bootstrap(&differences, Resampling::default()), "the same seed, the same draws");
        assert_eq!(got.mean, mean(&differences));
    }
}

#[test]
fn the_studentized_range_is_scipys() {
    for (q, k, freedom, want) in golden().ranges {
        let got = above(q, k, freedom);
        assert!((got - want).abs() < 1e-8, "q {q}, k {k}, {freedom}: {got} for {want}");
    }
}

#[test]
fn with_two_rankers_tukeys_test_is_the_paired_t() {
    let columns = &draw(0)[..2];
    let [t, tukey] =
        [Test::PairedT, Test::TukeyHsd].map(|test| p_values(columns, test, Resampling::default(), false).unwrap()[0]);
    assert!((t - tukey).abs() < 1e-8, "{t} {tukey}");
}

#[test]
fn rankers_that_never_differ_are_not_different() {
    let same = vec![vec![0.5, 0.25, 0.75]; 3];
    let higher = vec![vec![0.0; 4], vec![1.0; 4]];
    for test in Test::ALL {
        let p = |columns: &[Vec<f64>]| p_values(columns, test, Resampling::default(), true).unwrap();
        assert_eq!(p(&same), [1.0; 3], "{test}");
        assert_eq!(p(&[vec![0.5], vec![0.25]]).len(), 1, "one query");
        assert!(p(&higher)[0] < 0.2, "{test}: {:?}", p(&higher));
        assert_eq!(p(&[Vec::new(), Vec::new()]), [1.0], "no query");
    }
    assert!(p_values(&[vec![1.0], vec![]], Test::PairedT, Resampling::default(), true).is_err());
    assert_eq!(holm(&[0.04, 0.01, 0.03]), [0.06, 0.03, 0.06]);
}

#[test]
fn tests_have_short_names() {
    for test in Test::ALL {
        assert_eq!(test.name().parse::<Test>().unwrap(), test);
    }
    assert!("anova".parse::<Test>().unwrap_err().to_string().contains("t, fisher, wilcoxon, tukey"));
}
