//! Student's paired t test: is the mean difference further from 0 than its spread over the queries explains?

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::mean;

/// The two-sided p of the differences; 1 where nothing differs or one query is all there is.
pub fn paired_t(differences: &[f64]) -> f64 {
    let (n, center) = (differences.len() as f64, mean(differences));
    if n < 2.0 || differences.iter().all(|d| *d == 0.0) {
        return 1.0;
    }
    let variance = differences.iter().map(|d| (d - center).powi(2)).sum::<f64>() / (n - 1.0);
    let t = center / (variance / n).sqrt();
    // of equal differences t is infinite
    StudentsT::new(0.0, 1.0, n - 1.0).map_or(1.0, |law| if t.is_finite() { 2.0 * law.sf(t.abs()) } else { 0.0 })
}
