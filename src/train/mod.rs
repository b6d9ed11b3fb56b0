//! What happens to weights: from a recipe to a bundle.
//!
//! | file | what it knows |
//! | --- | --- |
//! | [`recipe`] | the TOML file and its settings |
//! | [`sources`], `splits`, `leakage` | labelled sets: reading, splits, what must not be learned |
//! | [`corpus`], [`sampler`], [`negatives`], [`augment`] | sets to examples: what is learned, what is held out, what is made |
//! | [`objective`], [`ranking`] | what the trainer steps over, and a ranker as one |
//! | [`compression`] | a split encoder's compression as one, alone |
//! | [`teacher`] | a teacher's scores of training pairs |
//! | [`batches`] | which examples are in a step together |
//! | [`trainer`] | the loop: it sees an objective and settings, and no file but log and checkpoint |
//! | [`optimizer`], [`schedule`] | the update |
//! | [`checkpoint`], [`seed`] | how a killed run goes on with the same bits |
//! | [`run`] | all of it in order, in a run folder |
//! | [`pretrain`](mod@pretrain) | language models: raw text, masks, next texts |
//! | [`quantize`](mod@quantize), [`quantize_bundle`](mod@quantize_bundle) | trained weights to int8, and what they lose |
//! | [`labelled`], [`draft`] | labelled sets for measuring; a first recipe for lists of one's own |
//! | [`table`] | families of rankers on one set: quality with its interval, time, what is stored |
//! | [`progress`], [`environment`] | what a run reports while it runs, and where it ran |
pub mod augment;
pub mod batches;
pub mod checkpoint;
pub mod compression;
pub mod corpus;
pub mod draft;
pub mod environment;
pub mod labelled;
mod leakage;
pub mod negatives;
pub mod objective;
pub mod optimizer;
mod owner;
pub mod pretrain;
pub mod progress;
pub mod quantize;
pub mod quantize_bundle;
pub mod ranking;
pub mod recipe;
pub mod run;
pub mod sampler;
pub mod schedule;
pub mod seed;
pub mod sources;
mod splits;
pub mod table;
pub mod teacher;
pub mod trainer;

pub use draft::{Column, Draft};
pub use labelled::{Labelled, LabelledOptions, LabelledSet};
pub use progress::{Progress, Silent, StepReport, Validation};
pub use quantize::{Fit, quantize};
pub use quantize_bundle::{Int8Options, Int8Report, quantize_bundle};
pub use recipe::Recipe;
pub use run::{Outcome, train};

#[cfg(test)]
mod tests;
