//! A new calibration and threshold for a model that already decides, and whether they are worth having.
//!
//! What was fitted to some pairs looks good on those pairs. So both are judged by cross-validation (Stone 1974): each pair gets its
//! probability and its decision from a map and a threshold that were fitted without its fold. They are compared with the model as it is,
//! pair by pair, on resamples of the pairs (bootstrap; Efron 1979).

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Calibration, Method, Threshold, ThresholdObjective, choose_threshold, pairs_error, threshold};
use crate::Result;

/// Pairs of either label below which a fit says little.
const FEWEST: usize = 10;
/// Folds of the cross-validation; fewer where a label has fewer pairs.
const FOLDS: usize = 5;
/// Resamples of the comparison.
const ROUNDS: usize = 1000;
/// The share of resamples in which the new one must be the better one.
const SURE: f64 = 0.9;

/// What was fitted, and what it is worth.
#[derive(Debug, Clone)]
pub struct Refit {
    /// Fitted to all pairs.
    pub calibration: Calibration,
    /// Chosen on all pairs, for probabilities of `calibration`.
    pub threshold: Threshold,
    /// The probability of each pair by a map that was fitted without it.
    pub probabilities: Vec<f32>,
    /// The decision on each pair by a threshold that was chosen without it.
    pub accepted: Vec<bool>,
    /// Share of resamples in which the log loss of `probabilities` is lower than that of the model as it is.
    pub better_calibration: f64,
    /// Share of resamples in which `accepted` serves the goal better than the model as it is; `None` for a precision, which is a
    /// demand and no comparison.
    pub better_threshold: Option<f64>,
}

impl Refit {
    /// Fits both, and compares them with the probabilities and decisions of the model as it is.
    ///
    /// # Errors
    /// What [`Calibration::fit`] and [`choose_threshold`] refuse; fewer than two pairs of a label; a map of which
    /// [`Calibration::says_nothing`] has something to say.
    pub fn new(
        (method, goal): (Method, ThresholdObjective),
        scores: &[f32],
        labels: &[bool],
        (current, current_accepted): (&[f32], &[bool]),
        seed: u64,
    ) -> Result<Self> {
        let calibration = Calibration::fit(method, scores, labels)?;
        if let Some(what) = calibration.says_nothing(scores, labels) {
            let remedy =
                "see whether label 1 means a match in this file, and whether the model was trained for such pairs";
            return Err(pairs_error(what, remedy));
        }
        let all: Vec<f32> = scores.iter().map(|&s| calibration.probability(s)).collect();
        let threshold = choose_threshold(&all, labels, goal, seed)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (folds, count) = folds(labels, &mut rng)?;
        let (mut probabilities, mut accepted) = (vec![0.0; labels.len()], vec![false; labels.len()]);
        for fold in 0..count {
            let others = || (0..labels.len()).filter(|&i| folds[i] != fold);
            let its_labels: Vec<bool> = others().map(|i| labels[i]).collect();
            let map = Calibration::fit(method, &others().map(|i| scores[i]).collect::<Vec<_>>(), &its_labels)?;
            let known: Vec<f32> = others().map(|i| map.probability(scores[i])).collect();
            let at = threshold::best(&known, &its_labels, goal);
            for i in (0..labels.len()).filter(|&i| folds[i] == fold) {
                probabilities[i] = map.probability(scores[i]);
                accepted[i] = probabilities[i] >= at;
            }
        }
        let gain: Vec<f64> =
            (0..labels.len()).map(|i| loss(current[i], labels[i]) - loss(probabilities[i], labels[i])).collect();
        let (mut maps, mut decisions) = (0, 0.0);
        for _ in 0..ROUNDS {
            let drawn: Vec<usize> = (0..labels.len()).map(|_| rng.random_range(0..labels.len())).collect();
            maps += usize::from(drawn.iter().map(|&i| gain[i]).sum::<f64>() > 0.0);
            let [now, before] = [&accepted[..], current_accepted].map(|accepted| {
                let count = |label| drawn.iter().filter(|&&i| accepted[i] && labels[i] == label).count() as u64;
                goal.quality(count(true), count(false), drawn.iter().filter(|&&i| labels[i]).count() as u64)
            });
            // a tie is no gain
            decisions += if now > before { 1.0 } else { 0.0 };
        }
        let is_demand = matches!(goal, ThresholdObjective::Precision(_));
        Ok(Refit {
            calibration,
            threshold,
            probabilities,
            accepted,
            better_calibration: maps as f64 / ROUNDS as f64,
            better_threshold: (!is_demand).then_some(decisions / ROUNDS as f64),
        })
    }

    /// Whether the new map is better for certain.
    pub fn improves_calibration(&self) -> bool {
        self.better_calibration >= SURE
    }

    /// Whether the new threshold is better for certain, or a demand.
    pub fn improves_threshold(&self) -> bool {
        self.better_threshold.is_none_or(|share| share >= SURE)
    }
}

impl Calibration {
    /// Why this map, fitted to these pairs, says nothing about matches, if so: scores that fall where labels say match, or one
    /// probability for all.
    pub fn says_nothing(&self, scores: &[f32], labels: &[bool]) -> Option<String> {
        let above = rank_share(scores, labels);
        if above <= 0.5 {
            let percent = 100.0 * above;
            return Some(format!(
                "scores do not rise where labels say match: a match has the higher score in {percent:.0} % of the comparisons"
            ));
        }
        let all = || scores.iter().map(|&s| self.probability(s));
        let (low, high) = (all().fold(1.0, f32::min), all().fold(0.0, f32::max));
        (high - low < 1e-4).then(|| format!("every pair would get the probability {high:.3}"))
    }
}

/// Why these labels are too few to fit anything to, if they are.
pub fn too_few(labels: &[bool]) -> Option<String> {
    let matches = labels.iter().filter(|&&l| l).count();
    let others = labels.len() - matches;
    (matches.min(others) < FEWEST).then(|| {
        format!(
            "{matches} matches and {others} non-matches: fewer than {FEWEST} of a label say little about probabilities"
        )
    })
}

/// The share of pairs (match, non-match) in which the match has the higher score; ties count half (Mann and Whitney 1947).
fn rank_share(scores: &[f32], labels: &[bool]) -> f64 {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&i, &j| scores[i].total_cmp(&scores[j]));
    let (mut below, mut sum) = (0.0, 0.0);
    for ties in order.chunk_by(|&i, &j| scores[i] == scores[j]) {
        let matches = ties.iter().filter(|&&i| labels[i]).count() as f64;
        let others = ties.len() as f64 - matches;
        sum += matches * (below + others / 2.0);
        below += others;
    }
    sum / (below * (labels.len() as f64 - below)).max(1.0)
}

/// The fold of each pair, and how many folds there are: every fold has its share of both labels.
fn folds(labels: &[bool], rng: &mut ChaCha8Rng) -> Result<(Vec<usize>, usize)> {
    let matches = labels.iter().filter(|&&l| l).count();
    let count = FOLDS.min(matches).min(labels.len() - matches);
    if count < 2 {
        return Err(pairs_error("one pair of a label", "give at least two of each, better a hundred"));
    }
    let mut out = vec![0; labels.len()];
    for label in [true, false] {
        let mut of_label: Vec<usize> = (0..labels.len()).filter(|&i| labels[i] == label).collect();
        of_label.shuffle(rng);
        of_label.iter().enumerate().for_each(|(place, &i)| out[i] = place % count);
    }
    Ok((out, count))
}

/// Log loss of one pair, finite.
fn loss(probability: f32, label: bool) -> f64 {
    let p = f64::from(probability).clamp(1e-7, 1.0 - 1e-7);
    -(if label { p } else { 1.0 - p }).ln()
}

/// The threshold that decides as before under a new map: the new probability of the least score that was accepted.
pub fn carried(threshold: f32, before: impl Fn(f32) -> f32, now: &Calibration) -> f32 {
    let (mut low, mut high) = (-1e4f32, 1e4f32);
    if before(high) < threshold {
        return threshold.max(1f32.next_up());
    }
    if before(low) >= threshold {
        return 0.0;
    }
    // probabilities never fall with the score
    while low.next_up() < high {
        let middle = low + (high - low) / 2.0;
        let middle = if middle <= low || middle >= high { low.next_up() } else { middle };
        if before(middle) >= threshold { high = middle } else { low = middle }
    }
    now.probability(high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::sigmoid;

    /// A model whose logits are right, with its best threshold near one half.
    fn pairs(count: usize, rng: &mut ChaCha8Rng) -> (Vec<f32>, Vec<bool>) {
        let one = |i: usize, rng: &mut ChaCha8Rng| {
            let label = i.is_multiple_of(4) || i == 1;
            let noise: f32 = (0..12).map(|_| rng.random_range(0.0..1.0f32)).sum::<f32>() - 6.0;
            (noise * 2.0 + if label { 3.0 } else { -3.0 }, label)
        };
        (0..count).map(|i| one(i, rng)).unzip()
    }

    fn refit(scores: &[f32], labels: &[bool], map: impl Fn(f32) -> f32, seed: u64) -> Result<Refit> {
        let now: Vec<f32> = scores.iter().map(|&s| map(s)).collect();
        let accepted: Vec<bool> = now.iter().map(|&p| p >= 0.5).collect();
        Refit::new((Method::Beta, ThresholdObjective::F1), scores, labels, (&now, &accepted), seed)
    }

    fn f1(scores: &[f32], labels: &[bool], accepts: impl Fn(f32) -> bool) -> f64 {
        let count = |label| scores.iter().zip(labels).filter(|(s, l)| accepts(**s) && **l == label).count() as u64;
        ThresholdObjective::F1.quality(count(true), count(false), labels.iter().filter(|&&l| l).count() as u64)
    }

    #[test]
    fn fifty_pairs_do_not_spoil_a_good_threshold() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (scores, labels) = pairs(20_000, &mut rng);
        let right = |s: f32| sigmoid(1.5 * f64::from(s)) as f32;
        let before = f1(&scores, &labels, |s| right(s) >= 0.5);
        let (mut stored, mut naive, mut kept) = (0, 0.0, 0.0);
        for seed in 0..60 {
            let (few, their_labels) = pairs(50, &mut rng);
            let fit = refit(&few, &their_labels, right, seed).unwrap();
            let new = f1(&scores, &labels, |s| fit.threshold.accepts(fit.calibration.probability(s)));
            naive += new - before;
            stored += usize::from(fit.improves_threshold());
            kept += if fit.improves_threshold() { new - before } else { 0.0 };
        }
        assert!(kept / 60.0 > -0.005 && stored <= 6, "{stored} stored, {:.4} on average", kept / 60.0);
        assert!(naive < kept, "without the comparison it would be {:.4}", naive / 60.0);
    }

    #[test]
    fn a_bad_map_and_a_bad_threshold_give_way() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let (scores, labels) = pairs(2000, &mut rng);
        let fit = refit(&scores, &labels, |s| sigmoid(f64::from(s) + 4.0) as f32, 1).unwrap();
        assert!(fit.improves_calibration() && fit.improves_threshold(), "{fit:?}");
        // nothing is left to gain where it was fitted
        let map = fit.calibration.clone();
        let again = refit(&scores, &labels, |s| map.probability(s), 1).unwrap();
        assert!(!again.improves_calibration() && !again.improves_threshold());
    }

    #[test]
    fn no_pair_sees_its_own_fold() {
        // a match that alone has the highest score: fitted with it, the isotonic map gives it a higher place than without
        let scores: Vec<f32> = (0..40).map(|i| i as f32).collect();
        let labels: Vec<bool> = (0..40).map(|i| i % 2 == 0 || i > 30).collect();
        let goal = ThresholdObjective::F1;
        let now = vec![0.5; 40];
        let fit = Refit::new((Method::Isotonic, goal), &scores, &labels, (&now, &[true; 40]), 3).unwrap();
        let own: Vec<f32> = scores.iter().map(|&s| fit.calibration.probability(s)).collect();
        let total = |p: &[f32]| p.iter().zip(&labels).map(|(&p, &l)| loss(p, l)).sum::<f64>();
        assert!(total(&fit.probabilities) > total(&own));
    }

    #[test]
    fn labels_the_wrong_way_round_and_flat_maps_are_refused() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let (scores, labels) = pairs(100, &mut rng);
        let turned: Vec<bool> = labels.iter().map(|l| !l).collect();
        let error = refit(&scores, &turned, |s| s, 1).unwrap_err();
        assert!(error.is_user_error() && error.to_string().contains("do not rise where labels say match"), "{error}");
        assert!(refit(&[1.0; 100], &labels, |s| s, 1).unwrap_err().to_string().contains("do not rise"));
        let flat = Calibration::Platt { slope: 0.0, intercept: 1.0 };
        assert!(flat.says_nothing(&scores, &labels).unwrap().contains("every pair"));
        let one: Vec<bool> = (0..100).map(|i| i == 4).collect();
        assert!(refit(&scores, &one, |s| s, 1).is_err());
    }

    #[test]
    fn ranks_are_counted_with_ties_half() {
        let by_hand = |scores: &[f32], labels: &[bool]| {
            let (mut sum, mut n) = (0.0, 0.0);
            for (s, _) in scores.iter().zip(labels).filter(|x| *x.1) {
                for (t, _) in scores.iter().zip(labels).filter(|x| !*x.1) {
                    sum += if s > t {
                        1.0
                    } else if s == t {
                        0.5
                    } else {
                        0.0
                    };
                    n += 1.0;
                }
            }
            sum / n
        };
        let scores = [1.0, 2.0, 2.0, 3.0, 1.0, 2.0, 0.0];
        let labels = [false, true, false, true, true, false, false];
        assert!((rank_share(&scores, &labels) - by_hand(&scores, &labels)).abs() < 1e-12);
    }

    #[test]
    fn a_carried_threshold_decides_as_before() {
        let before = |s: f32| sigmoid(0.7 * f64::from(s) + 0.3) as f32;
        let now = Calibration::Beta { a: 0.4, b: 1.2, c: -0.5 };
        for threshold in [0.1, 0.37, 0.5, 0.93] {
            let new = carried(threshold, before, &now);
            for i in -400..400 {
                let s = i as f32 / 50.0;
                assert_eq!(before(s) >= threshold, now.probability(s) >= new, "{s} at {threshold}");
            }
        }
        assert!(carried(1f32.next_up(), before, &now) > 1.0);
        assert_eq!(carried(0.0, before, &now), 0.0);
    }
}
