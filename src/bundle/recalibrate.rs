//! A bundle takes a new calibration and threshold: what is better for certain, or all if it must.

use super::manifest::Manifest;
use crate::Result;
use crate::calibrate::{Refit, Threshold, ThresholdObjective, carried, choose_threshold, sigmoid};

impl Manifest {
    /// The probability of a score: by the calibration, by the plain logistic function without one.
    pub fn probability(&self, score: f32) -> f32 {
        match &self.calibration {
            Some(calibration) => calibration.probability(score),
            None => sigmoid(f64::from(score)) as f32,
        }
    }

    /// Stores what improves (with `force`: both), and says which: calibration, threshold. Where the calibration alone changes, the threshold
    /// is carried over, so that pairs are accepted as before.
    ///
    /// # Errors
    /// What [`choose_threshold`] refuses.
    pub fn take(
        &mut self,
        refit: &Refit,
        scores: &[f32],
        labels: &[bool],
        force: bool,
        seed: u64,
    ) -> Result<[bool; 2]> {
        let stored = [force || refit.improves_calibration(), force || refit.improves_threshold()];
        self.threshold = match stored {
            [true, true] => Some(refit.threshold),
            [false, true] => {
                let known: Vec<f32> = scores.iter().map(|&s| self.probability(s)).collect();
                Some(choose_threshold(&known, labels, refit.threshold.goal, seed)?)
            }
            [true, false] => {
                let carried = |value| carried(value, |score| self.probability(score), &refit.calibration);
                let before = self.threshold.unwrap_or(Threshold {
                    value: 0.5,
                    goal: ThresholdObjective::default(),
                    low: 0.5,
                    high: 0.5,
                });
                let [value, low, high] = [before.value, before.low, before.high].map(carried);
                Some(Threshold { value, low, high, ..before })
            }
            [false, false] => self.threshold,
        };
        if stored[0] {
            self.calibration = Some(refit.calibration.clone());
        }
        Ok(stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::{Calibration, Method};

    #[test]
    fn a_new_map_alone_leaves_every_decision_as_it_was() {
        let scores: Vec<f32> = (0..400).map(|i| (i as f32 - 200.0) / 25.0).collect();
        let labels: Vec<bool> = (0..400).map(|i| i * 7 % 400 + i > 420).collect();
        let mut manifest = Manifest::default();
        let before: Vec<f32> = scores.iter().map(|&s| manifest.probability(s)).collect();
        let accepted: Vec<bool> = before.iter().map(|&p| p >= 0.5).collect();
        let goal = ThresholdObjective::F1;
        let mut refit = Refit::new((Method::Platt, goal), &scores, &labels, (&before, &accepted), 1).unwrap();
        (refit.better_calibration, refit.better_threshold) = (1.0, Some(0.0));
        assert_eq!(manifest.take(&refit, &scores, &labels, false, 1).unwrap(), [true, false]);
        let threshold = manifest.threshold.unwrap();
        assert_eq!(manifest.calibration, Some(refit.calibration.clone()));
        let now: Vec<bool> = scores.iter().map(|&s| threshold.accepts(manifest.probability(s))).collect();
        assert_eq!(now, accepted);

        // and a threshold alone is one of the map that stays
        let mut manifest =
            Manifest { calibration: Some(Calibration::Platt { slope: 0.1, intercept: 0.0 }), ..Manifest::default() };
        (refit.better_calibration, refit.better_threshold) = (0.0, Some(1.0));
        assert_eq!(manifest.take(&refit, &scores, &labels, false, 1).unwrap(), [false, true]);
        let f1 = |value: f32, map: &dyn Fn(f32) -> f32| {
            let accepted: Vec<bool> = scores.iter().map(|&s| map(s) >= value).collect();
            crate::eval::Counts::of(&accepted, &labels).f1()
        };
        let best = f1(refit.threshold.value, &|s| refit.calibration.probability(s));
        let own = f1(manifest.threshold.unwrap().value, &|s| manifest.probability(s));
        assert!((own - best).abs() < 1e-9, "{own} {best}");
    }
}
