//! Raw text to token ids, one way for training and serving.
//!
//! A record becomes a line of text in [`render`](mod@render), a line becomes tokens in [`encoder`] and two sides become one
//! sequence in [`sequence`]; [`overlap`] decides which words stand on both sides. Nobody outside this room turns a text into tokens,
//! so a model cannot be served with another text than it was trained on. [`mod@prune`] cuts a vocabulary to what a corpus needs,
//! [`mod@tokenizers`] grows one of its own.
//!
//! Refused: a normaliser of our own before the tokenizer (a checkpoint knows the text it was pretrained on), and padding
//! (sequences travel packed, see [`batch`]).
mod apart;
pub mod batch;
pub mod encoder;
mod fields;
mod files;
pub(crate) mod lexicon;
pub(crate) mod normalize;
pub mod overlap;
pub mod passages;
mod pieces;
mod price;
pub mod prune;
mod python;
pub mod render;
mod scripts;
pub mod sequence;
pub mod tokenizers;
pub mod towers;
mod units;
mod vector;
mod word;

pub use apart::MARKS;
pub use batch::{Batch, Encoding, TokenSpan};
pub use encoder::{InPython, Piece, TextEncoder, TokenizedSide};
pub use fields::FieldSelection;
pub use files::folder_of_network;
pub use overlap::{RelationCounts, differing_tokens, relation_counts};
pub use passages::Passages;
pub use pieces::Pieces;
pub use price::{is_price_field, number};
pub use prune::{Characters, Keep, Pruned, prune};
pub use render::{FieldSegment, TextConfig, plain_text, render};
pub use towers::TowerConfig;
pub use vector::vector;
