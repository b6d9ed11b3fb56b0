//! Linear probes: what can be read off a state by a plane (Alain and Bengio, Understanding Intermediate Layers Using Linear Classifier
//! Probes, 2016; Hewitt and Liang, Designing and Interpreting Probes with Control Tasks, EMNLP 2019).
//!
//! Logistic regression on standardised states with a ridge, classes of equal weight, Nesterov's steps from zero: no draw, so the same
//! numbers every time. It is measured by the area under the ROC curve on examples that it was not fitted to.

use rayon::prelude::*;

const STEPS: usize = 120;
/// Weight of the ridge.
const RIDGE: f64 = 1e-2;

/// A fitted plane.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    mean: Vec<f32>,
    scale: Vec<f32>,
    weights: Vec<f32>,
    bias: f32,
}

impl Probe {
    /// Fits one to states `[n, h]`; `None` where all labels are the same.
    pub fn fit(states: &[&[f32]], labels: &[bool]) -> Option<Self> {
        let h = states.first()?.len();
        let positive = labels.iter().filter(|l| **l).count();
        if positive == 0 || positive == labels.len() {
            return None;
        }
        let n = states.len() as f64;
        let (mut mean, mut square) = (vec![0f64; h], vec![0f64; h]);
        for row in states {
            for (i, v) in row.iter().enumerate() {
                mean[i] += f64::from(*v);
                square[i] += f64::from(*v) * f64::from(*v);
            }
        }
        mean.iter_mut().for_each(|m| *m /= n);
        let scale: Vec<f32> = square
            .iter()
            .zip(&mean)
            .map(|(s, m)| {
                let deviation = (s / n - m * m).max(0.0).sqrt();
                // a value that never changes says nothing
                if deviation > 1e-6 { (1.0 / deviation) as f32 } else { 0.0 }
            })
            .collect();
        let mean: Vec<f32> = mean.into_iter().map(|m| m as f32).collect();
        let rows: Vec<Vec<f32>> = states
            .par_iter()
            .map(|r| r.iter().zip(&mean).zip(&scale).map(|((v, m), s)| (v - m) * s).collect())
            .collect();
        let weight = |label: bool| 0.5 / if label { positive } else { labels.len() - positive } as f32;
        // the logistic's curvature is at most 1/4, and the mean squared length of a standardised row is h
        let rate = 1.0 / (0.25 * (h as f32 + 1.0) + RIDGE as f32);
        let (mut w, mut b) = (vec![0f32; h], 0f32);
        let (mut ahead, mut ahead_b) = (w.clone(), b);
        for step in 0..STEPS {
            let chunk = |rows: &[Vec<f32>], labels: &[bool]| {
                let (mut grad, mut grad_b) = (vec![0f32; h], 0f32);
                for (row, label) in rows.iter().zip(labels) {
                    let p = 1.0 / (1.0 + (-(dot(row, &ahead) + ahead_b)).exp());
                    let error = (p - f32::from(u8::from(*label))) * weight(*label);
                    grad.iter_mut().zip(row).for_each(|(g, v)| *g += error * v);
                    grad_b += error;
                }
                (grad, grad_b)
            };
            // chunks of a fixed size, summed in order: the same bits for any number of threads
            let parts: Vec<(Vec<f32>, f32)> =
                rows.par_chunks(256).zip(labels.par_chunks(256)).map(|(r, l)| chunk(r, l)).collect();
            let momentum = step as f32 / (step as f32 + 3.0);
            let grad_b: f32 = parts.iter().map(|p| p.1).sum();
            for i in 0..h {
                let grad = parts.iter().map(|p| p.0[i]).sum::<f32>() + RIDGE as f32 * ahead[i];
                let next = ahead[i] - rate * grad;
                ahead[i] = next + momentum * (next - w[i]);
                w[i] = next;
            }
            let next = ahead_b - rate * grad_b;
            ahead_b = next + momentum * (next - b);
            b = next;
        }
        Some(Probe { mean, scale, weights: w, bias: b })
    }

    /// How far on the side of `true` a state `[h]` is.
    pub fn score(&self, state: &[f32]) -> f32 {
        let standard = state.iter().zip(&self.mean).zip(&self.scale).map(|((v, m), s)| (v - m) * s);
        standard.zip(&self.weights).map(|(v, w)| v * w).sum::<f32>() + self.bias
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a8.remainder().iter().zip(b8.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a8.zip(b8) {
        (0..8).for_each(|i| sums[i] += x[i] * y[i]);
    }
    sums.iter().sum::<f32>() + rest
}

/// Area under the ROC curve: how often a positive example scores above a negative one, ties counted half. `None` without both.
pub fn auc(scores: &[f32], labels: &[bool]) -> Option<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let (mut ranks, mut at) = (0f64, 0);
    while at < order.len() {
        let ties = order[at..].iter().take_while(|i| scores[**i] == scores[order[at]]).count();
        let rank = at as f64 + (ties as f64 + 1.0) / 2.0;
        ranks += rank * order[at..at + ties].iter().filter(|i| labels[**i]).count() as f64;
        at += ties;
    }
    let positive = labels.iter().filter(|l| **l).count() as f64;
    let negative = labels.len() as f64 - positive;
    (positive > 0.0 && negative > 0.0).then(|| (ranks - positive * (positive + 1.0) / 2.0) / (positive * negative))
}

/// Fits on the examples with an even group and gives the AUC on those with an odd one, with the number of positive ones there.
pub fn held_out(states: &[Vec<f32>], labels: &[bool], groups: &[usize]) -> Option<(f64, usize)> {
    let part = |odd: usize| {
        let places: Vec<usize> = (0..states.len()).filter(|i| groups[*i] % 2 == odd).collect();
        let states: Vec<&[f32]> = places.iter().map(|i| states[*i].as_slice()).collect();
        (states, places.iter().map(|i| labels[*i]).collect::<Vec<bool>>())
    };
    let ((seen, of_seen), (unseen, of_unseen)) = (part(0), part(1));
    let probe = Probe::fit(&seen, &of_seen)?;
    let scores: Vec<f32> = unseen.iter().map(|state| probe.score(state)).collect();
    Some((auc(&scores, &of_unseen)?, of_unseen.iter().filter(|l| **l).count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_is_found_and_noise_is_not() {
        // a value of eight decides; one never changes
        let value =
            |i: usize, j: usize| ((i * 2_654_435_761 + j * 40_503 + i * i * j * 97) % 1009) as f32 / 504.5 - 1.0;
        let states: Vec<Vec<f32>> =
            (0..400).map(|i| (0..8).map(|j| if j == 3 { 5.0 } else { value(i, j) }).collect()).collect();
        let groups: Vec<usize> = (0..400).collect();
        let labels: Vec<bool> = states.iter().map(|s| s[1] - 0.5 * s[6] > 0.1).collect();
        let (auc, positive) = held_out(&states, &labels, &groups).unwrap();
        assert!(auc > 0.98 && positive > 50, "{auc}");
        let coin: Vec<bool> = (0..400).map(|i| (i * 7919) % 13 < 6).collect();
        let (auc, _) = held_out(&states, &coin, &groups).unwrap();
        assert!((0.35..0.65).contains(&auc), "{auc}");
        assert!(held_out(&states, &[true; 400], &groups).is_none());
    }

    #[test]
    fn area_under_the_curve_counts_ties_half() {
        // sklearn.metrics.roc_auc_score([0, 0, 1, 1, 1, 0], [.1, .4, .35, .8, .4, .4]) is 0.6667
        let labels = [false, false, true, true, true, false];
        assert!((auc(&[0.1, 0.4, 0.35, 0.8, 0.4, 0.4], &labels).unwrap() - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(auc(&[0.5; 4], &[true, false, true, false]), Some(0.5));
        assert_eq!(auc(&[0.1, 0.9], &[false, true]), Some(1.0));
        assert_eq!(auc(&[0.1, 0.9], &[true, true]), None);
    }
}
