//! Raw text to token ids, one way for training and serving.
//!
//! A record becomes a line of text in [`render`](mod@render), a line becomes tokens and two sides become one sequence in
//! [`encoder`]; [`overlap`] decides which words stand on both sides. Nobody outside this room turns a text into tokens,
//! so a model cannot be served with another text than it was trained on. [`mod@prune`] cuts a vocabulary to what a corpus needs.
//!
//! Refused: a normaliser of our own before the tokenizer (a checkpoint knows the text it was pretrained on), and padding
//! (sequences travel packed, see [`batch`]).
pub mod batch;
pub mod encoder;
mod fields;
mod files;
pub(crate) mod lexicon;
pub(crate) mod normalize;
pub mod overlap;
mod price;
pub mod prune;
mod python;
pub mod render;
mod scripts;
pub mod towers;
mod units;
mod word;

pub use batch::{Batch, Encoding, TokenSpan};
pub use encoder::{InPython, TextEncoder, TokenizedSide};
pub use fields::FieldSelection;
pub use files::folder_of_network;
pub use overlap::differing_tokens;
pub use price::is_price_field;
pub use prune::{Characters, Keep, Pruned, prune};
pub use render::{TextConfig, plain_text, render};
pub use towers::TowerConfig;
