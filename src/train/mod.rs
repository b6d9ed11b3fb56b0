//! What happens to weights: from a recipe to a bundle.
//!
//! | file | what it knows |
//! | --- | --- |
//! | [`recipe`] | the TOML file and its settings |
//! | [`corpus`], [`negatives`], [`augment`] | sets to examples: what is learnt, what is held out, what is made |
//! | [`batches`] | which examples stand together in a step |
//! | [`trainer`] | the loop: it sees a network, examples and settings, and no file but log and checkpoint |
//! | [`optimizer`], [`schedule`] | the update |
//! | [`checkpoint`], [`seed`] | how a killed run goes on with the same bits |
//! | [`run`] | all of it in order, in a run folder |
//! | [`quantize`](mod@quantize) | trained weights to int8 |
//! | [`progress`], [`environment`] | what a run tells while it runs, and where it ran |
pub mod augment;
pub mod batches;
pub mod checkpoint;
pub mod corpus;
pub mod environment;
pub mod negatives;
pub mod optimizer;
pub mod progress;
pub mod quantize;
pub mod recipe;
pub mod run;
pub mod schedule;
pub mod seed;
pub mod trainer;

pub use batches::Example;
pub use progress::{Progress, Silent, StepReport, Validation};
pub use quantize::{Fit, quantize};
pub use recipe::Recipe;
pub use run::{Outcome, train};

#[cfg(test)]
mod tests;
