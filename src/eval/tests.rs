//! Golden numbers of scikit-learn and scipy (`tests/golden/eval`), and what must hold for any run.

use proptest::prelude::*;

use super::*;

#[derive(Deserialize)]
struct Golden {
    cases: BTreeMap<String, Case>,
    mcnemar: Vec<McNemar>,
}

#[derive(Deserialize)]
struct Case {
    probabilities: Vec<f32>,
    labels: Vec<u8>,
    threshold: f32,
    f1: f64,
    precision: f64,
    recall: f64,
    best_f1: f64,
    pr_auc: f64,
    brier: f64,
    nll: f64,
    ece: f64,
    ece_mass: f64,
    precision_at_recall: BTreeMap<String, f64>,
    recall_at_precision: BTreeMap<String, f64>,
    /// count, mean probability, share of matches of each of the 15 bins of equal width.
    width: Vec<(u64, f64, f64)>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../tests/golden/eval/expected.json")).unwrap()
}

fn near(got: f64, want: f64) -> bool {
    (got - want).abs() <= 1e-9 * (1.0 + want.abs())
}

#[test]
fn measures_equal_those_of_scikit_learn() {
    for (name, case) in golden().cases {
        let labels: Vec<bool> = case.labels.iter().map(|&l| l == 1).collect();
        let got = report(&case.probabilities, &labels, case.threshold).unwrap();
        for (measure, got, want) in [
            ("f1", got.f1, case.f1),
            ("precision", got.precision, case.precision),
            ("recall", got.recall, case.recall),
            ("best_f1", got.best_f1, case.best_f1),
            ("pr_auc", got.pr_auc, case.pr_auc),
            ("brier", got.brier, case.brier),
            ("nll", got.nll, case.nll),
            ("ece", got.ece, case.ece),
            ("ece_mass", got.ece_mass, case.ece_mass),
        ] {
            assert!(near(got, want), "{name} {measure}: {got} for {want}");
        }
        for (got, want) in [
            (&got.precision_at_recall, &case.precision_at_recall),
            (&got.recall_at_precision, &case.recall_at_precision),
        ] {
            assert!(
                got.keys().eq(want.keys()) && got.values().zip(want.values()).all(|(g, w)| near(*g, *w)),
                "{name} {got:?} {want:?}"
            );
        }
        let table = reliability(&case.probabilities, &labels, BINS, Bins::Width);
        assert_eq!(table.len(), case.width.len());
        for (bin, (count, confidence, accuracy)) in table.iter().zip(case.width) {
            assert!(
                bin.count == count && near(bin.confidence, confidence) && near(bin.accuracy, accuracy),
                "{name} {bin:?}"
            );
        }
        let accepted: Vec<bool> = case.probabilities.iter().map(|&p| p >= got.best_f1_threshold as f32).collect();
        let at_best = Counts::of(&accepted, &labels);
        assert!(near(at_best.f1(), got.best_f1), "{name}: the best threshold gives the best F1");
    }
}

#[test]
fn mcnemar_equals_scipy() {
    for want in golden().mcnemar {
        let (a, b) = (want.only_first as usize, want.only_second as usize);
        // Five pairs on which both are right and three on which both are wrong say nothing.
        let labels: Vec<bool> = (0..a + b + 8).map(|i| i % 3 == 0).collect();
        let run = |right: &dyn Fn(usize) -> bool| (0..labels.len()).map(|i| labels[i] == right(i)).collect::<Vec<_>>();
        let both = |i: usize| i >= a + b && i < a + b + 5;
        let got = mcnemar(&run(&|i| i < a || both(i)), &run(&|i| (a..a + b).contains(&i) || both(i)), &labels).unwrap();
        assert_eq!((got.only_first, got.only_second), (want.only_first, want.only_second));
        assert!(near(got.chi2, want.chi2));
        for (got, want) in [(got.exact_p, want.exact_p), (got.chi2_p, want.chi2_p)] {
            assert!((got / want - 1.0).abs() < 1e-9, "{a} {b}: {got} for {want}");
        }
    }
    let same = mcnemar(&[true, false], &[true, false], &[true, true]).unwrap();
    assert_eq!((same.exact_p, same.chi2, same.chi2_p), (1.0, 0.0, 1.0));
    assert!(mcnemar(&[true], &[true, false], &[true, true]).unwrap_err().to_string().contains("first run"));
}

#[test]
fn a_perfectly_calibrated_run_has_almost_no_error() {
    // Ten pairs at each of 9 probabilities, of which exactly that share are matches.
    let (mut p, mut labels) = (Vec::new(), Vec::new());
    for tenth in 1..10 {
        for i in 0..10 {
            p.push(tenth as f32 / 10.0);
            labels.push(i < tenth);
        }
    }
    let got = report(&p, &labels, 0.5).unwrap();
    assert!(got.ece < 1e-7 && got.ece_mass < 1e-7, "{} {}", got.ece, got.ece_mass);
    // The same run, overstated: the error is seen.
    let sharp: Vec<f32> = p.iter().map(|&p| if p > 0.5 { 1.0 } else { 0.0 }).collect();
    let sharp = report(&sharp, &labels, 0.5).unwrap();
    assert!(sharp.ece > 0.2 && sharp.brier > got.brier && sharp.nll > got.nll);
}

#[test]
fn categories_are_reported_apart_at_one_threshold() {
    let (p, labels) = ([0.9, 0.2, 0.8, 0.7], [true, true, false, true]);
    let got = report_by_category(&p, &labels, &["tea", "tea", "mugs", "mugs"], 0.5).unwrap();
    assert_eq!((got.pairs, got.positives, got.categories.len()), (4, 3, 2));
    assert_eq!((got.categories["tea"].precision, got.categories["tea"].recall), (1.0, 0.5));
    assert_eq!((got.categories["mugs"].precision, got.categories["mugs"].recall), (0.5, 1.0));
    assert_eq!(got.categories["tea"], report(&p[..2], &labels[..2], 0.5).unwrap());
    assert!(report_by_category(&p, &labels, &["tea"], 0.5).unwrap_err().to_string().starts_with("categories"));
    let json = serde_json::to_value(&got.categories["mugs"]).unwrap();
    assert!(json.get("categories").is_none() && json["threshold"] == 0.5);
    let back: Report = serde_json::from_value(serde_json::to_value(&got).unwrap()).unwrap();
    assert_eq!(back, got);
}

#[test]
fn undefined_shares_are_zero_and_bad_runs_are_refused() {
    let none = report(&[0.3, 0.4], &[false, false], 0.35).unwrap();
    assert_eq!((none.f1, none.precision, none.recall, none.pr_auc, none.best_f1), (0.0, 0.0, 0.0, 0.0, 0.0));
    assert_eq!((none.pairs, none.positives, none.threshold), (2, 0, 0.35));
    assert!(report(&[], &[], 0.5).unwrap_err().to_string().contains("no labelled pairs"));
    assert!(
        report(&[0.5, f32::NAN], &[true, false], 0.5).unwrap_err().to_string().contains("probability 2 of 2 is NaN")
    );
    assert!(report(&[1.5], &[true], 0.5).unwrap_err().to_string().contains("1.5"));
    assert!(report(&[0.5], &[], 0.5).unwrap_err().to_string().starts_with("labels"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn measures_of_any_run_hold_together(run in prop::collection::vec((0u8..=20, any::<bool>()), 1..90), at in 0u8..=20) {
        let p: Vec<f32> = run.iter().map(|r| f32::from(r.0) / 20.0).collect();
        let labels: Vec<bool> = run.iter().map(|r| r.1).collect();
        let got = report(&p, &labels, f32::from(at) / 20.0).unwrap();
        prop_assert!(got.f1 <= got.best_f1 + 1e-12);
        for share in [got.f1, got.precision, got.recall, got.ece, got.ece_mass, got.brier, got.best_f1, got.pr_auc] {
            prop_assert!((0.0..=1.0 + 1e-12).contains(&share));
        }
        for by in [Bins::Width, Bins::Mass] {
            let table = reliability(&p, &labels, BINS, by);
            prop_assert_eq!(table.iter().map(|b| b.count).sum::<u64>(), got.pairs);
            prop_assert!(table.iter().all(|b| b.count == 0 || (b.low - 1e-7 <= b.confidence && b.confidence <= b.high + 1e-7)));
        }
        // The order of the pairs says nothing.
        let turned = report(&p.iter().rev().copied().collect::<Vec<_>>(), &labels.iter().rev().copied().collect::<Vec<_>>(), f32::from(at) / 20.0).unwrap();
        prop_assert!((turned.ece_mass - got.ece_mass).abs() < 1e-12 && (turned.pr_auc - got.pr_auc).abs() < 1e-12);
        prop_assert_eq!((turned.f1, turned.best_f1_threshold), (got.f1, got.best_f1_threshold));
    }
}
