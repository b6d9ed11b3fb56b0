//! Proper scores: lowest on average only for the true probability, so that neither an over-cautious nor an over-confident
//! map can win by its manner.

/// Mean squared distance of probability and label (Brier 1950), 0 to 1.
pub fn brier(probabilities: &[f32], labels: &[bool]) -> f64 {
    mean(probabilities, labels, |p, label| (p - f64::from(u8::from(label))).powi(2))
}

/// Mean negative log likelihood in nats. Probabilities arrive in f32, so 0 and 1 are moved inwards by its epsilon, as
/// scikit-learn's `log_loss` does: one certain mistake costs 16 and not infinity.
pub fn nll(probabilities: &[f32], labels: &[bool]) -> f64 {
    let epsilon = f64::from(f32::EPSILON);
    mean(probabilities, labels, |p, label| {
        let p = p.clamp(epsilon, 1.0 - epsilon);
        -(if label { p } else { 1.0 - p }).ln()
    })
}

fn mean(probabilities: &[f32], labels: &[bool], loss: impl Fn(f64, bool) -> f64) -> f64 {
    let sum: f64 = probabilities.iter().zip(labels).map(|(&p, &label)| loss(f64::from(p), label)).sum();
    sum / probabilities.len().max(1) as f64
}
