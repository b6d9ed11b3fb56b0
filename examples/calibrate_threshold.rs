//! Calibrate: turn scores into probabilities that hold, and choose a threshold for a goal.
//!
//! It knows no model. The scores may be those of any program; here they are made up.
//!
//!     cargo run --release --example calibrate_threshold
use sverka::calibrate::{Calibration, Method, ThresholdObjective, choose_threshold};
use sverka::eval;

/// Scores and labels of `n` pairs from a model that is far too sure of itself: at a score of s, a pair is a match with the
/// probability sigmoid(s / 3), although sigmoid(s) is what the model claims.
fn overconfident(n: u64, offset: u64) -> (Vec<f32>, Vec<bool>) {
    // a fixed sequence of numbers between 0 and 1, so that every run prints the same
    let number = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / (1u64 << 24) as f32;
    let scores: Vec<f32> = (0..n).map(|i| 16.0 * number(2 * (i + offset)) - 8.0).collect();
    let is_match = |(i, s): (u64, &f32)| number(2 * (i + offset) + 1) < 1.0 / (1.0 + (-s / 3.0).exp());
    let labels = (0..n).zip(&scores).map(is_match).collect();
    (scores, labels)
}

fn main() -> sverka::Result<()> {
    let (valid_scores, valid_labels) = overconfident(2000, 0);
    let (test_scores, test_labels) = overconfident(2000, 5000);

    // Fitted on one split and measured on another, never on the same.
    let calibration = Calibration::fit(Method::Beta, &valid_scores, &valid_labels)?;
    let claimed: Vec<f32> = test_scores.iter().map(|s| 1.0 / (1.0 + (-s).exp())).collect();
    let calibrated: Vec<f32> = test_scores.iter().map(|&s| calibration.probability(s)).collect();

    // The lowest threshold whose accepted pairs are right nine times of ten, with a bootstrap interval.
    let valid: Vec<f32> = valid_scores.iter().map(|&s| calibration.probability(s)).collect();
    let threshold = choose_threshold(&valid, &valid_labels, ThresholdObjective::Precision(0.9), 1)?;
    println!("threshold {:.3} (95% interval {:.3} to {:.3})", threshold.value, threshold.low, threshold.high);

    for (name, probabilities, threshold) in [("claimed", claimed, 0.5), ("calibrated", calibrated, threshold.value)] {
        let report = eval::report(&probabilities, &test_labels, threshold)?;
        println!(
            "{name:>10}: calibration error {:.3}, log loss {:.3}; at {threshold:.2} precision {:.3}, recall {:.3}",
            report.ece, report.nll, report.precision, report.recall
        );
    }
    Ok(())
}
