//! Raw text to token ids, one way for training and serving.
//!
//! A record becomes a line of text in [`render`](mod@render), a line becomes tokens and two sides become one sequence in
//! [`encoder`]; [`shared`] decides which words stand on both sides. Nobody outside this room turns a text into tokens,
//! so a model cannot be served with another text than it was trained on. [`prune`] cuts a vocabulary to what a corpus needs.
//!
//! Refused: a normaliser of our own before the tokenizer (a checkpoint knows the text it was pretrained on), and padding
//! (sequences travel packed, see [`batch`]).
pub mod batch;
mod classes;
pub mod encoder;
mod fields;
mod files;
mod near;
mod price;
pub mod prune;
pub mod render;
pub mod shared;
mod units;

pub use batch::{Batch, Encoding, TokenSpan};
pub use encoder::{TextEncoder, TokenizedSide};
pub use fields::FieldSelection;
pub use price::is_price_field;
pub use prune::{Characters, Keep, Pruned, prune};
pub use render::{TextConfig, render, shown};
pub use shared::differing_tokens;
