//! Language models: masked tokens and next texts (Devlin et al., NAACL 2019), from nothing or from any BERT folder.
//!
//! | file | what it knows |
//! | --- | --- |
//! | [`recipe`] | the TOML file and its settings |
//! | `documents` | files and sets to documents: what follows what, and no text of a test part |
//! | `store` | documents to tokens on the disk, and an index of them |
//! | `items` | which sequences come when, and which texts are paired |
//! | `mask` | which tokens are masked, and by what |
//! | `objective` | all of it as something the trainer steps over; what is measured on held-out texts |
//! | `run` | all of it in order, in a run folder |
//! | [`plan`](mod@plan) | what a run would take, before it starts |
//!
//! Sequences are packed and nothing attends across them, so a short title costs what it is long. Refused: texts joined across documents to
//! fill a sequence (there is no padding to be saved), and masks drawn once for all passes.
mod documents;
mod items;
mod mask;
mod objective;
pub mod plan;
pub mod recipe;
mod run;
mod store;

pub use documents::SourceCounts;
pub use plan::{Machine, Plan, Prices, plan};
pub use recipe::PretrainRecipe;
pub use run::{PretrainOutcome, pretrain, write_texts};
