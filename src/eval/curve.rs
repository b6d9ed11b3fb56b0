//! The precision-recall curve: what every possible threshold would have done. Pairs of equal probability are accepted
//! together, so ties can't be broken in anyone's favour.

use super::Counts;

/// One point of a [`Curve`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Pairs at or above it are accepted: a probability that occurs.
    pub threshold: f32,
    /// What accepting them does.
    pub counts: Counts,
}

impl Point {
    /// F1 at this point.
    pub fn f1(&self) -> f64 {
        self.counts.f1()
    }
}

/// A point for each distinct probability, by falling threshold (rising recall).
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The points; none where there are no pairs.
    pub points: Vec<Point>,
}

impl Curve {
    /// The curve of some pairs.
    pub fn new(probabilities: &[f32], labels: &[bool]) -> Self {
        let mut pairs: Vec<(f32, bool)> = probabilities.iter().copied().zip(labels.iter().copied()).collect();
        pairs.sort_by(|x, y| y.0.total_cmp(&x.0));
        let positives = labels.iter().filter(|&&l| l).count() as u64;
        let mut counts =
            Counts { false_negatives: positives, true_negatives: labels.len() as u64 - positives, ..Counts::default() };
        let mut points: Vec<Point> = Vec::new();
        for (threshold, label) in pairs {
            if label {
                counts.true_positives += 1;
                counts.false_negatives -= 1;
            } else {
                counts.false_positives += 1;
                counts.true_negatives -= 1;
            }
            match points.last_mut() {
                Some(last) if last.threshold == threshold => last.counts = counts,
                _ => points.push(Point { threshold, counts }),
            }
        }
        Curve { points }
    }

    /// The point of the highest F1, of equal ones the highest threshold. It has seen the labels: an upper bound.
    pub fn best_f1(&self) -> Point {
        let none = Point { threshold: 1f32.next_up(), counts: Counts::default() };
        self.points.iter().fold(none, |best, point| if point.f1() > best.f1() { *point } else { best })
    }

    /// Average precision, the sum of `(recall_n - recall_(n-1)) * precision_n`: the area under the curve without the
    /// optimism of straight lines between its points (Davis and Goadrich 2006).
    pub fn average_precision(&self) -> f64 {
        let mut before = 0.0;
        let step = |point: &Point| {
            let recall = point.counts.recall();
            (recall - std::mem::replace(&mut before, recall)) * point.counts.precision()
        };
        self.points.iter().map(step).sum()
    }

    /// The highest precision of the thresholds with at least this recall.
    pub fn precision_at_recall(&self, recall: f64) -> f64 {
        let enough = self.points.iter().filter(|p| p.counts.recall() >= recall);
        enough.map(|p| p.counts.precision()).fold(0.0, f64::max)
    }

    /// The highest recall of the thresholds with at least this precision; 0 if there is none.
    pub fn recall_at_precision(&self, precision: f64) -> f64 {
        let enough = self.points.iter().filter(|p| p.counts.precision() >= precision);
        enough.map(|p| p.counts.recall()).fold(0.0, f64::max)
    }
}
