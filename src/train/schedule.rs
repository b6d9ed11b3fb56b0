//! The learning rate over a run: up in a straight line, then down in a straight line (Devlin et al., NAACL 2019).
//!
//! It is a function of the share of the run that is done, not of a step count, since epochs may differ in length (made
//! pairs and oversampling are drawn again each epoch) and a run may be cut short by early stopping.

/// Linear warm-up, linear decay. Both shares lie in `0..=1`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Share of the run during which the rate rises from 0 to its peak.
    pub warmup: f64,
    /// Share of the peak that is left at the end of the run.
    pub floor: f64,
}

impl Schedule {
    /// What the peak rate is multiplied by when `done` (`0..=1`) of the run is done. Ask at a step's middle: then no step
    /// has a rate of nothing.
    pub fn factor(&self, done: f64) -> f64 {
        if done < self.warmup {
            return done / self.warmup;
        }
        let left = if self.warmup < 1.0 { (1.0 - done).max(0.0) / (1.0 - self.warmup) } else { 1.0 };
        self.floor + (1.0 - self.floor) * left
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn rises_to_one_and_falls_to_the_floor() {
        let schedule = Schedule { warmup: 0.1, floor: 0.2 };
        assert_eq!(schedule.factor(0.0), 0.0);
        assert!((schedule.factor(0.05) - 0.5).abs() < 1e-12);
        assert!((schedule.factor(0.1) - 1.0).abs() < 1e-12);
        assert!((schedule.factor(0.55) - 0.6).abs() < 1e-12);
        assert!((schedule.factor(1.0) - 0.2).abs() < 1e-12);
        assert_eq!(Schedule { warmup: 0.0, floor: 0.0 }.factor(0.0), 1.0);
        assert_eq!(Schedule { warmup: 1.0, floor: 0.0 }.factor(1.0), 1.0);
    }
}
