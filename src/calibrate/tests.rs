//! Golden numbers of scikit-learn and scipy (`tests/golden/calibration`), and what must hold for any data.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};

use super::*;

const METHODS: [Method; 4] = [Method::Temperature, Method::Platt, Method::Isotonic, Method::Beta];

#[derive(Deserialize)]
struct Expected {
    #[serde(default)]
    parameters: Vec<f64>,
    grid: Vec<f64>,
}

#[derive(Deserialize)]
struct Case {
    scores: Vec<f32>,
    labels: Vec<u8>,
    grid: Vec<f32>,
    temperature: Expected,
    platt: Expected,
    platt_sklearn: [f64; 2],
    beta: Expected,
    isotonic: Expected,
}

fn golden() -> BTreeMap<String, Case> {
    serde_json::from_str(include_str!("../../tests/golden/calibration/expected.json")).unwrap()
}

fn parameters(map: &Calibration) -> Vec<f64> {
    match map {
        Calibration::Temperature { temperature } => vec![*temperature],
        Calibration::Platt { slope, intercept } => vec![*slope, *intercept],
        Calibration::Beta { a, b, c } => vec![*a, *b, *c],
        Calibration::Isotonic { .. } => vec![],
    }
}

#[test]
fn maps_equal_those_of_scikit_learn_and_scipy() {
    for (name, case) in golden() {
        let labels: Vec<bool> = case.labels.iter().map(|&l| l == 1).collect();
        let expected = [&case.temperature, &case.platt, &case.isotonic, &case.beta];
        for (method, expected) in METHODS.into_iter().zip(expected) {
            let map = Calibration::fit(method, &case.scores, &labels).unwrap();
            // A hopeless model's temperature is "very large"; what it makes of scores is compared below.
            if !(name == "reversed" && method == Method::Temperature) {
                for (got, want) in parameters(&map).iter().zip(&expected.parameters) {
                    assert!((got - want).abs() < 2e-4 * (1.0 + want.abs()), "{name} {method}: {got} for {want}");
                }
            }
            for (&x, want) in case.grid.iter().zip(&expected.grid) {
                let got = f64::from(map.probability(x));
                assert!((got - want).abs() < 2e-5, "{name} {method} at {x}: {got} for {want}");
            }
        }
        if name != "reversed" {
            let map = parameters(&Calibration::fit(Method::Platt, &case.scores, &labels).unwrap());
            assert!(map.iter().zip(case.platt_sklearn).all(|(got, want)| (got - want).abs() < 1e-5), "{name}");
        }
    }
}

#[test]
fn parameters_are_where_the_loss_is_least() {
    let case = &golden()["overlapping"];
    let labels: Vec<bool> = case.labels.iter().map(|&l| l == 1).collect();
    let (n1, n) = (labels.iter().filter(|&&l| l).count() as f64, labels.len() as f64);
    let loss = |map: &Calibration| -> f64 {
        let one = |(&score, &label): (&f32, &bool)| {
            let (p, t) =
                (f64::from(map.probability(score)), if label { (n1 + 1.0) / (n1 + 2.0) } else { 1.0 / (n - n1 + 2.0) });
            -t * p.ln() - (1.0 - t) * (1.0 - p).ln()
        };
        case.scores.iter().zip(&labels).map(one).sum()
    };
    let Calibration::Beta { a, b, c } = Calibration::fit(Method::Beta, &case.scores, &labels).unwrap() else {
        panic!()
    };
    let least = loss(&Calibration::Beta { a, b, c });
    for (da, db, dc) in
        [(0.05, 0.0, 0.0), (-0.05, 0.0, 0.0), (0.0, 0.05, 0.0), (0.0, -0.05, 0.0), (0.0, 0.0, 0.2), (0.0, 0.0, -0.2)]
    {
        assert!(loss(&Calibration::Beta { a: a + da, b: b + db, c: c + dc }) > least);
    }
}

#[test]
fn separable_data_give_finite_maps_that_stay_humble() {
    let scores: Vec<f32> = (0..40).map(|i| if i < 20 { -1e3 } else { 1e3 }).collect();
    let labels: Vec<bool> = (0..40).map(|i| i >= 20).collect();
    for method in METHODS {
        let map = Calibration::fit(method, &scores, &labels).unwrap();
        let (low, high) = (map.probability(-1e3), map.probability(1e3));
        assert!((low - 1.0 / 22.0).abs() < 1e-3 && (high - 21.0 / 22.0).abs() < 1e-3, "{method}: {low} {high}");
        assert_eq!(map.fault(), None);
    }
}

#[test]
fn equal_scores_give_the_base_rate() {
    let labels: Vec<bool> = (0..100).map(|i| i < 30).collect();
    for method in [Method::Platt, Method::Isotonic, Method::Beta] {
        let p = Calibration::fit(method, &[2.0; 100], &labels).unwrap().probability(2.0);
        assert!((p - 0.3).abs() < 0.01, "{method}: {p}");
    }
}

#[test]
fn bad_pairs_are_refused_with_place_and_remedy() {
    let message = |scores: &[f32], labels: &[bool]| {
        let fit = Calibration::fit(Method::Platt, scores, labels).unwrap_err();
        let choice = choose_threshold(scores, labels, ThresholdObjective::F1, 1).unwrap_err();
        assert_eq!(fit.to_string(), choice.to_string());
        fit.to_string()
    };
    assert_eq!(
        message(&[0.1, 0.2], &[true, true]),
        "validation pairs: all 2 labels are 1; give pairs of both labels, 0 and 1"
    );
    assert!(message(&[], &[]).contains("no labelled pairs"));
    assert!(message(&[0.5, f32::NAN], &[true, false]).contains("score 2 of 2 is NaN"));
    assert!(message(&[f32::INFINITY, 0.5], &[true, false]).contains("score 1 of 2 is inf"));
    assert!(message(&[0.5], &[true, false]).contains("expected"));
}

#[test]
fn extreme_scores_have_probabilities_and_nan_stays_nan() {
    let scores: Vec<f32> = (-20..20).map(|i| i as f32).collect();
    let labels: Vec<bool> = (-20..20).map(|i| i % 3 == 0 || i > 5).collect();
    for method in METHODS {
        let map = Calibration::fit(method, &scores, &labels).unwrap();
        for x in [f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 0.0] {
            assert!((0.0..=1.0).contains(&map.probability(x)), "{method} at {x}");
        }
        assert!(map.probability(f32::NEG_INFINITY) <= map.probability(f32::INFINITY));
        assert!(map.probability(f32::NAN).is_nan());
    }
}

#[test]
fn a_map_survives_json_and_a_broken_one_is_named() {
    let json = r#"{"method":"platt","slope":0.5,"intercept":-1.0}"#;
    let map: Calibration = serde_json::from_str(json).unwrap();
    assert_eq!((map.fault(), serde_json::to_string(&map).unwrap().as_str()), (None, json));
    let fault = |map: Calibration| map.fault().map(|f| f.0);
    assert_eq!(fault(Calibration::Temperature { temperature: 0.0 }), Some("temperature"));
    assert_eq!(fault(Calibration::Platt { slope: -1.0, intercept: 0.0 }), Some("slope"));
    assert_eq!(fault(Calibration::Platt { slope: 1.0, intercept: f64::NAN }), Some("intercept"));
    assert_eq!(fault(Calibration::Beta { a: 1.0, b: f64::INFINITY, c: 0.0 }), Some("b"));
    let isotonic = |scores: &[f64], probabilities: &[f64]| Calibration::Isotonic {
        scores: scores.into(),
        probabilities: probabilities.into(),
    };
    assert_eq!(fault(isotonic(&[], &[])), Some("scores"));
    assert_eq!(fault(isotonic(&[1.0, 1.0], &[0.1, 0.2])), Some("scores"));
    assert_eq!(fault(isotonic(&[1.0, 2.0], &[0.3, 0.2])), Some("probabilities"));
    assert_eq!(fault(isotonic(&[1.0, 2.0], &[0.3, 1.2])), Some("probabilities"));
    assert_eq!(fault(isotonic(&[1.0, 2.0], &[0.3, 0.9])), None);
}

#[test]
fn goals_are_read_from_toml() {
    #[derive(Deserialize)]
    struct Settings {
        goal: ThresholdObjective,
    }
    let read = |text: &str| toml::from_str::<Settings>(text).map(|s| s.goal);
    assert_eq!(read("goal = \"f1\"").unwrap(), ThresholdObjective::F1);
    assert_eq!(read("goal = { precision = 0.95 }").unwrap(), ThresholdObjective::Precision(0.95));
    let cost = ThresholdObjective::Cost { false_positive: 5.0, false_negative: 1.0 };
    assert_eq!(read("goal = { cost = { false_positive = 5.0, false_negative = 1.0 } }").unwrap(), cost);
    assert!(read("goal = \"best\"").is_err());
}

#[test]
fn a_goal_without_sense_is_refused() {
    let choose = |goal| choose_threshold(&[0.1, 0.9], &[false, true], goal, 0);
    for goal in [
        ThresholdObjective::Precision(0.0),
        ThresholdObjective::Precision(1.5),
        ThresholdObjective::Precision(f32::NAN),
    ] {
        assert!(choose(goal).unwrap_err().to_string().starts_with("goal.precision = "));
    }
    for (false_positive, false_negative) in [(-1.0, 1.0), (0.0, 0.0), (f32::NAN, 1.0), (1.0, f32::INFINITY)] {
        assert!(
            choose(ThresholdObjective::Cost { false_positive, false_negative })
                .unwrap_err()
                .to_string()
                .starts_with("goal.cost = ")
        );
    }
    assert!(
        choose_threshold(&[-3.0, 0.9], &[false, true], ThresholdObjective::F1, 0)
            .unwrap_err()
            .to_string()
            .contains("not a probability")
    );
}

#[test]
fn a_precision_out_of_reach_is_said() {
    let error =
        choose_threshold(&[0.9, 0.8, 0.7], &[false, true, false], ThresholdObjective::Precision(0.9), 0).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("no threshold reaches precision 0.9") && message.contains("0.500"), "{message}");
}

#[test]
fn the_threshold_lies_half_way() {
    let choose = |goal| choose_threshold(&[0.2, 0.4, 0.6, 0.8], &[false, false, true, true], goal, 0).unwrap().value;
    assert_eq!(choose(ThresholdObjective::F1), 0.5);
    assert_eq!(choose(ThresholdObjective::Precision(1.0)), 0.5);
    // A miss costs nothing: accept nothing at all.
    assert!(choose(ThresholdObjective::Cost { false_positive: 1.0, false_negative: 0.0 }) > 1.0);
    // A wrong one costs nothing: still no more than needed.
    assert_eq!(choose(ThresholdObjective::Cost { false_positive: 0.0, false_negative: 1.0 }), 0.5);
    // Neighbouring floats have no middle: the upper one it is.
    let (p, below) = (0.5f32, 0.5f32.next_down());
    assert_eq!(choose_threshold(&[p, below], &[true, false], ThresholdObjective::F1, 0).unwrap().value, p);
}

#[test]
fn the_interval_is_seeded_holds_the_truth_and_narrows_with_data() {
    // P(match) = p for uniform p: the cost 1:1 optimum is 0.5 exactly.
    let made = |n: usize| -> (Vec<f32>, Vec<bool>) {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let mut pair = || (rng.random::<f32>(), rng.random::<f32>());
        (0..n).map(|_| pair()).map(|(p, chance)| (p, chance < p)).unzip()
    };
    let cost = ThresholdObjective::Cost { false_positive: 1.0, false_negative: 1.0 };
    let choose = |n, seed| {
        let (p, labels) = made(n);
        choose_threshold(&p, &labels, cost, seed).unwrap()
    };
    let (few, many) = (choose(100, 1), choose(3000, 1));
    assert_eq!(few, choose(100, 1));
    let other = |seed| (choose(3000, seed).low, choose(3000, seed).high);
    assert!((2..6).any(|seed| other(seed) != (many.low, many.high)), "the seed is used");
    assert_eq!(few.value, choose(100, 2).value);
    assert!(many.low <= 0.5 && 0.5 <= many.high, "{many:?}");
    assert!(many.high - many.low < few.high - few.low, "{few:?} {many:?}");
    let (mut p, mut labels) = made(100);
    p.reverse();
    labels.reverse();
    assert_eq!(few, choose_threshold(&p, &labels, cost, 1).unwrap());
}

/// Both classes, ties, any size.
fn pairs() -> impl Strategy<Value = (Vec<f32>, Vec<bool>)> {
    prop::collection::vec((-60i16..60, any::<bool>()), 2..80).prop_map(|mut pairs| {
        (pairs[0].1, pairs[1].1) = (true, false);
        pairs.into_iter().map(|(s, l)| (f32::from(s) / 4.0, l)).unzip()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn every_map_keeps_the_order((scores, labels) in pairs()) {
        for method in METHODS {
            let map = Calibration::fit(method, &scores, &labels).unwrap();
            prop_assert_eq!(map.fault(), None);
            let curve: Vec<f32> = (-400..400).map(|i| map.probability(i as f32 / 16.0)).collect();
            prop_assert!(curve.iter().all(|p| (0.0..=1.0).contains(p)), "{}", method);
            // One unit in the last place: beta is a sum of two rounded terms.
            prop_assert!(curve.windows(2).all(|w| w[0] <= w[1] + 1e-7), "{} {:?}", method, map);
        }
    }

    #[test]
    fn thresholds_are_the_best_of_all((scores, labels) in pairs(), wanted in 0.05f32..1.0, fp in 0.1f32..9.0) {
        let p: Vec<f32> = scores.iter().map(|&s| sigmoid(f64::from(s) / 4.0) as f32).collect();
        let count = |threshold: f32| {
            let right = p.iter().zip(&labels).filter(|(p, l)| **p >= threshold && **l).count() as f64;
            let wrong = p.iter().zip(&labels).filter(|(p, l)| **p >= threshold && !**l).count() as f64;
            (right, wrong, labels.iter().filter(|l| **l).count() as f64)
        };
        let every = || p.iter().copied().chain([2.0]).map(count);
        let f1 = |(right, wrong, all): (f64, f64, f64)| 2.0 * right / (right + wrong + all);
        let cost = |(right, wrong, all): (f64, f64, f64)| wrong * f64::from(fp) + (all - right);

        let chosen = choose_threshold(&p, &labels, ThresholdObjective::F1, 3).unwrap();
        prop_assert_eq!(f1(count(chosen.value)), every().map(f1).fold(0.0, f64::max));
        prop_assert!(chosen.low <= chosen.high);
        let chosen = choose_threshold(&p, &labels, ThresholdObjective::Cost { false_positive: fp, false_negative: 1.0 }, 3).unwrap();
        prop_assert!((cost(count(chosen.value)) - every().map(cost).fold(f64::MAX, f64::min)).abs() < 1e-9);
        let reach = every().filter(|(r, w, _)| *r > 0.0 && r / (r + w) >= f64::from(wanted) - 1e-9);
        let recall = reach.map(|c| c.0).fold(0.0, f64::max);
        match choose_threshold(&p, &labels, ThresholdObjective::Precision(wanted), 3) {
            Ok(chosen) => {
                let (right, wrong, _) = count(chosen.value);
                prop_assert!(right / (right + wrong) >= f64::from(wanted) - 1e-7);
                prop_assert_eq!(right, recall);
            }
            Err(_) => prop_assert_eq!(recall, 0.0),
        }
    }
}
