//! Holm's correction (1979): p values of several tests, such that a chance of 5% of one false alarm is that of all of them
//! together. Never weaker than Bonferroni's.

/// The corrected p values, in the same order.
pub fn holm(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let (mut corrected, mut least) = (values.to_vec(), 0.0f64);
    for (place, i) in order.into_iter().enumerate() {
        least = least.max((values[i] * (values.len() - place) as f64).min(1.0));
        corrected[i] = least;
    }
    corrected
}
