//! Tukey's honestly significant difference: all rankers at once, each difference against what the largest of so many would be
//! by chance. With queries as blocks (two-way analysis of variance without replication) it is the test for runs over the same
//! queries; with two rankers it is the paired t test.

use super::mean;
use super::studentized_range::above;

/// Whether the rows of the columns belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Design {
    /// A row is a query, whose difficulty all rankers share.
    Blocks,
    /// The rows have nothing to do with each other (one-way; scipy's `tukey_hsd`).
    Independent,
}

/// The p values of the pairs `(i, j)` with `i < j`, in the order of `i`, then `j`. Columns are of one length.
pub fn tukey_hsd(columns: &[Vec<f64>], design: Design) -> Vec<f64> {
    let (k, n) = (columns.len(), columns.first().map_or(0, Vec::len));
    let means: Vec<f64> = columns.iter().map(|column| mean(column)).collect();
    let grand = mean(&means);
    let block = |row: usize| match design {
        Design::Blocks => columns.iter().map(|column| column[row]).sum::<f64>() / k as f64 - grand,
        Design::Independent => 0.0,
    };
    let blocks: Vec<f64> = (0..n).map(block).collect();
    let rest = |(column, mean): (&Vec<f64>, &f64)| -> f64 {
        column.iter().zip(&blocks).map(|(value, block)| (value - mean - block).powi(2)).sum()
    };
    let residual: f64 = columns.iter().zip(&means).map(rest).sum();
    let freedom = match design {
        Design::Blocks => (k as f64 - 1.0) * (n as f64 - 1.0),
        Design::Independent => (k * n) as f64 - k as f64,
    };
    let deviation = (residual / freedom / n as f64).sqrt();
    let mut values = Vec::new();
    for i in 0..k {
        for j in i + 1..k {
            let difference = (means[i] - means[j]).abs();
            values.push(match () {
                () if difference == 0.0 || freedom < 1.0 => 1.0,
                () if deviation == 0.0 => 0.0,
                () => above(difference / deviation, k, freedom),
            });
        }
    }
    values
}
