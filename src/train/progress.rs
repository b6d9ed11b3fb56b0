//! What a run reports while it runs. The command line draws a bar from it, a test counts steps with it.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::objective::Measures;

/// After a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StepReport {
    /// Steps made since the run began, this one included.
    pub step: u64,
    /// Epoch, from 0.
    pub epoch: u64,
    /// Share of all planned epochs that is done, `0..=1`.
    pub done: f64,
    /// Mean loss of the step's items.
    pub loss: f32,
    /// Learning rate used.
    pub lr: f32,
    /// Global norm of the gradients before clipping.
    pub norm: f64,
    /// Items per second, smoothed.
    pub items_per_second: f64,
    /// Seconds left if all epochs are run, validation included.
    pub seconds_left: f64,
}

/// After a validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Steps made.
    pub step: u64,
    /// Epochs done, as a fraction.
    pub epochs: f64,
    /// What the objective measured.
    pub measures: Measures,
    /// Whether it is the best so far by the recipe's metric.
    pub best: bool,
}

/// A listener. All methods have empty defaults.
pub trait Progress: Sync {
    /// A step was made. `Break` makes the run write a checkpoint and stop; `--resume` goes on from there.
    fn step(&self, _report: &StepReport) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    /// The validation set was scored.
    fn validated(&self, _validation: &Validation) {}
    /// Something worth a line: what was read, dropped, made, resumed.
    fn note(&self, _message: &str) {}
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}
