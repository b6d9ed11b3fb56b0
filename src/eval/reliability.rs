//! Does "80%" come true four times in five? Pairs are put into bins by their probability; a bin's mean probability is
//! compared with its share of matches (DeGroot and Fienberg 1983), and the mean gap, weighted by pairs, is the expected
//! calibration error (Naeini et al. 2015; Guo et al. 2017).
//!
//! The probability is that of a match, not that of the predicted class: "how sure are we that these two are the same" is
//! the question asked of a matcher. Bins of equal width are the published measure; on matching data nearly all pairs sit
//! in the first and the last of them, so bins of equal mass are given too (Nixon et al. 2019). Both depend on the number
//! of bins, which is fixed at 15 for every figure of this project.

use serde::{Deserialize, Serialize};

/// The number of bins of every published figure.
pub const BINS: usize = 15;

/// How pairs are put into bins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bins {
    /// Equal parts of 0..=1; a border belongs to the bin below it.
    Width,
    /// Nearly equally many pairs each; equal probabilities share a bin.
    Mass,
}

/// One row of the reliability table.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// The bin's lower border (width), or its lowest probability (mass).
    pub low: f64,
    /// The upper border, or the highest probability.
    pub high: f64,
    /// Pairs in the bin.
    pub count: u64,
    /// Their mean probability; 0 in an empty bin.
    pub confidence: f64,
    /// Their share of matches; 0 in an empty bin.
    pub accuracy: f64,
}

/// The reliability table. Equal width gives all `bins` rows, empty ones too; equal mass gives at most `bins`, none empty.
pub fn reliability(probabilities: &[f32], labels: &[bool], bins: usize, by: Bins) -> Vec<Bin> {
    let bins = bins.max(1);
    let mut pairs: Vec<(f64, bool)> = probabilities.iter().map(|&p| f64::from(p)).zip(labels.iter().copied()).collect();
    pairs.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (mut table, mut rest) = (Vec::with_capacity(bins), &pairs[..]);
    for i in 1..=bins {
        let border = i as f64 / bins as f64;
        let (taken, low, high) = match by {
            Bins::Width if i == bins => (rest.len(), (i - 1) as f64 / bins as f64, border),
            Bins::Width => (rest.partition_point(|p| p.0 <= border), (i - 1) as f64 / bins as f64, border),
            Bins::Mass => {
                let done = pairs.len() - rest.len();
                let wanted = (pairs.len() * i).div_ceil(bins).saturating_sub(done);
                let Some(last) = wanted.checked_sub(1).and_then(|last| rest.get(last)) else { continue };
                let taken = rest.partition_point(|p| p.0 <= last.0);
                (taken, rest[0].0, last.0)
            }
        };
        let (bin, others) = rest.split_at(taken);
        rest = others;
        let n = taken.max(1) as f64;
        table.push(Bin {
            low,
            high,
            count: taken as u64,
            confidence: bin.iter().map(|p| p.0).sum::<f64>() / n,
            accuracy: bin.iter().filter(|p| p.1).count() as f64 / n,
        });
    }
    table
}

/// The expected calibration error of a reliability table: the mean gap between probability and share of matches.
pub fn ece(table: &[Bin]) -> f64 {
    let pairs: u64 = table.iter().map(|b| b.count).sum();
    let gaps: f64 = table.iter().map(|b| b.count as f64 * (b.confidence - b.accuracy).abs()).sum();
    gaps / pairs.max(1) as f64
}
