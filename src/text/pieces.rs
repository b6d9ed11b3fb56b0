//! A text's pieces without a frame, and the tokens that a language model needs by name: what masks, what is never masked.
//!
//! A masked language model is trained on pieces that are stored once and framed in every epoch, so both steps are public here.

use super::TextEncoder;
use super::batch::Encoding;
use super::encoder::chunks;
use crate::{Error, Result};

/// Names of the masking token, BERT's and RoBERTa's.
const MASKS: [&str; 2] = ["[MASK]", "<mask>"];

/// A text cut by a tokenizer, without special tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pieces {
    /// Token ids, `[t]`.
    pub ids: Vec<u32>,
    /// Whether a piece goes on with the word of the one before, `[t]`.
    pub continues: Vec<bool>,
}

impl TextEncoder {
    /// All pieces of a text, however long.
    ///
    /// # Errors
    /// What the tokenizer refuses.
    pub fn words_in_pieces(&self, text: &str) -> Result<Pieces> {
        let mut pieces = Pieces::default();
        for (_, chunk) in chunks(text) {
            let tokens = self.tokenize(chunk)?;
            pieces.ids.extend_from_slice(tokens.get_ids());
            let words = tokens.get_word_ids();
            pieces.continues.extend((0..words.len()).map(|i| i > 0 && words[i].is_some() && words[i] == words[i - 1]));
        }
        Ok(pieces)
    }
    /// Pieces of one or two texts in the tokenizer's frame: segment 0 for the first and what is around it, 1 for the second and its end.
    pub fn frame(&self, texts: &[&[u32]]) -> Encoding {
        let template = &self.files.template;
        let mut encoding = Encoding::default();
        let mut push = |ids: &[u32], segment: u32| {
            encoding.ids.extend_from_slice(ids);
            encoding.segments.resize(encoding.ids.len(), segment);
        };
        push(&template.prefix, 0);
        for (number, text) in texts.iter().enumerate() {
            let segment = number.min(1) as u32;
            push(text, segment);
            push(if number + 1 == texts.len() { &template.suffix } else { &template.separator }, segment);
        }
        encoding
    }
    /// Special tokens around so many texts, before the first, and between two.
    pub fn frame_length(&self, texts: usize) -> (usize, usize, usize) {
        let template = &self.files.template;
        (template.special(texts), template.prefix.len(), template.separator.len())
    }
    /// The masking token as it is written, and its id.
    ///
    /// # Errors
    /// A vocabulary without one.
    pub fn mask(&self) -> Result<(&'static str, u32)> {
        let found = MASKS.into_iter().find_map(|name| Some((name, self.files.tokenizer.token_to_id(name)?)));
        found.ok_or_else(|| {
            let what = "has no masking token: neither [MASK] nor <mask> is in the vocabulary";
            let remedy =
                "give a masked language model's folder, or train a tokenizer with [MASK] among its special tokens";
            Error::model(&self.files.path, "[MASK]", what, remedy)
        })
    }
    /// The token `▁`, which begins a word where tokens are characters.
    ///
    /// # Errors
    /// A vocabulary without it.
    pub fn word_start(&self) -> Result<u32> {
        self.files.tokenizer.token_to_id("▁").ok_or_else(|| {
            let what = "has no token ▁, which begins a word where tokens are characters";
            let remedy = "train a tokenizer with `sverka tokenizer train FILES --kind char --out DIR`";
            Error::model(&self.files.path, "▁", what, remedy)
        })
    }
    /// Ids of tokens that are no pieces of texts: never masked, and never put in another's place. In order.
    pub fn special_ids(&self) -> Vec<u32> {
        let template = &self.files.template;
        let added = self.files.tokenizer.get_added_tokens_decoder();
        let added = added.into_iter().filter(|(_, token)| token.special).map(|(id, _)| id);
        let named = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<pad>", "<unk>", "<s>", "</s>", "<mask>"];
        let named = named.into_iter().filter_map(|name| self.files.tokenizer.token_to_id(name));
        let mut ids: Vec<u32> =
            [&template.prefix, &template.separator, &template.suffix].into_iter().flatten().copied().collect();
        ids.extend(added.chain(named));
        ids.sort_unstable();
        ids.dedup();
        ids
    }
    /// The id of padding; 0 where the vocabulary has none.
    pub fn padding_id(&self) -> u32 {
        ["[PAD]", "<pad>"].into_iter().find_map(|name| self.files.tokenizer.token_to_id(name)).unwrap_or(0)
    }
}
