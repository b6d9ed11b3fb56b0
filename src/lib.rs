//! Sverka (сверка: collating one list against another) trains, compresses, calibrates, measures and serves
//! heavy transformer models for product matching and document ranking.
//!
//! The modules, from the bottom up; none uses one above it (`tests/tidy` checks it):
//!
//! | module | what happens there |
//! | --- | --- |
//! | [`error`], [`records`] | one error type; plain data that everything passes around |
//! | [`files`], [`ranker`] | files that are whole or not there; rankers, retrievers, and the list that both are called with |
//! | [`text`], [`data`] | raw text to token ids, one way for training and serving; files to records |
//! | [`index`], [`calibrate`], [`eval`] | candidates; score to probability to decision; numbers. No model in sight |
//! | [`nn`] | layers of networks, which know nothing of ranking; precision and device are here and nowhere else |
//! | [`losses`], [`models`] | one loss, one file; one architecture, one file |
//! | [`bundle`] | a model on disk |
//! | [`inspect`], [`vectors`] | what a model looks at; static vectors of words |
//! | [`train`], [`pipeline`] | what happens to weights; retrieve, score, decide |
#![warn(missing_docs)]
// essays of modules name private items too: they are for readers of the source
#![allow(rustdoc::private_intra_doc_links)]

#[cfg(feature = "boosting")]
pub mod boost;
pub mod bundle;
pub mod calibrate;
pub mod data;
pub mod error;
pub mod eval;
pub mod files;
pub mod index;
pub mod inspect;
pub mod losses;
pub mod models;
pub mod nn;
pub mod pipeline;
pub mod ranker;
pub mod records;
#[doc(hidden)]
pub mod testing;
pub mod text;
pub mod train;
pub mod vectors;

pub use error::{Error, Result};
pub use ranker::{Hit, Input, List, Ranker, Retriever, Score};
pub use records::{Match, Pair, PairSet, Record, Split, Table};

/// The Rust program of the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
