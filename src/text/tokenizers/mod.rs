//! Own vocabularies: grown on a corpus, written as Hugging Face files, and measured.
//!
//! A shop's titles are not prose. A vocabulary grown on them has `черный` and `bluetooth` as one piece, where a general one spells them
//! out, and it must not have `E2282HS` as one: an article code that is one piece was learnt by heart. [`TokenizerSettings`] say what is
//! grown, [`WordCounts`] is all that is kept of a corpus, [`grow`] makes the files, [`Meter`] says whether the vocabulary is too large.
//!
//! Words are cut by the normalizers and pre-tokenizers of Hugging Face's `tokenizers`, so what is counted here is what a
//! `tokenizer.json` cuts there. BPE and WordPiece merges are our own ([`merges`]): the crate's trainer needs 32 bytes a letter, and the
//! ids it gives to `##` pieces hang on the order of a hash map. Unigram is the crate's.
//!
//! Refused: `strip_accents` as BERT has it. It takes marks off all letters, and `й` becomes `и`; here that must be asked for.
mod alphabet;
mod codes;
mod counts;
mod files;
mod merges;
mod ngrams;
mod report;
mod unigram;
mod words;

use serde::{Deserialize, Serialize};

pub use codes::codes;
pub use counts::WordCounts;
pub use files::{Grown, grow, grow_sizes};
pub(super) use ngrams::Ngrams;
pub use report::{Meter, Recommendation, Side, TokenizerReport, recommend};
pub(crate) use words::{hashed, of_words};

use crate::{Error, Result};

/// The frame's tokens, at the first ids of every vocabulary: padding, unknown, first, separator, mask.
pub const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
/// Longest word that is learnt from, in characters; WordPiece reads no longer ones.
pub const LONGEST_WORD: usize = 100;

/// What a vocabulary's pieces are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Whole words, the most frequent ones; all others are unknown.
    Word,
    /// Single characters; `▁` begins a word.
    Char,
    /// Merges of the most frequent pair of pieces; `</w>` ends a word (Sennrich et al., Neural Machine Translation of Rare Words with
    /// Subword Units, ACL 2016).
    Bpe,
    /// The same over bytes, so that nothing is unknown (Radford et al., Language Models are Unsupervised Multitask Learners, 2019).
    ByteBpe,
    /// BERT's: the longest piece that fits, `##` inside a word.
    Wordpiece,
    /// The most probable cut (Kudo, Subword Regularization, ACL 2018); `▁` begins a word.
    Unigram,
    /// Hashed character n-grams of every word, as in FastText (Bojanowski et al., Enriching Word Vectors with Subword Information, TACL
    /// 2017). Nothing is learnt; Python's transformers has no such tokenizer.
    NgramHash,
}

/// Which marks on letters are taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accents {
    /// None.
    #[default]
    Keep,
    /// Those of Latin letters: `é` becomes `e`, `й` and `ё` stay.
    Latin,
    /// All, as BERT does: `й` becomes `и`, `ё` becomes `е`.
    All,
}

/// How a run of digits is cut before pieces are learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Digits {
    /// Not at all.
    #[default]
    Plain,
    /// Into single digits.
    Single,
    /// Into groups of three from the left.
    Group,
}

/// How article codes and numbers with units are cut before pieces are learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codes {
    /// At white space only: `1800x1000мм` and `HS-B1` can become one piece.
    Space,
    /// At punctuation too, as BERT does: `HS`, `-`, `B1`.
    #[default]
    Punctuation,
    /// Also between digits and letters: `1800`, `x`, `1000`, `мм`.
    Borders,
}

/// What is grown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenizerSettings {
    /// What pieces are.
    pub kind: Kind,
    /// Pieces at most, special tokens included; of hashed n-grams exactly.
    pub vocab_size: usize,
    /// How often the corpus must have a word, a character or a pair that becomes a piece.
    pub min_frequency: u64,
    /// Whether all letters become small ones.
    pub lowercase: bool,
    /// Marks that are taken off.
    pub accents: Accents,
    /// Cuts in digits.
    pub digits: Digits,
    /// Cuts in codes.
    pub codes: Codes,
    /// Whether Latin and Cyrillic letters and digits are pieces though the corpus lacks some.
    pub base_alphabet: bool,
    /// Characters at most; the rarest others are unknown.
    pub max_alphabet: usize,
    /// Special tokens after the first five.
    pub special: Vec<String>,
    /// Shortest and longest n-gram, in characters, the word's two boundaries included.
    pub ngrams: (usize, usize),
}

impl Default for TokenizerSettings {
    fn default() -> Self {
        TokenizerSettings {
            kind: Kind::Wordpiece,
            vocab_size: 8000,
            min_frequency: 2,
            lowercase: true,
            accents: Accents::Keep,
            digits: Digits::Plain,
            codes: Codes::Punctuation,
            base_alphabet: true,
            max_alphabet: 1000,
            special: Vec::new(),
            ngrams: (3, 3),
        }
    }
}

impl TokenizerSettings {
    /// All special tokens, in the order of their ids.
    pub fn special_tokens(&self) -> Vec<String> {
        SPECIAL.iter().map(|s| s.to_string()).chain(self.special.iter().cloned()).collect()
    }

    /// Refuses settings that contradict each other.
    ///
    /// # Errors
    /// A special token that is there twice or is no token, n-grams that end before they begin, no room for a single piece.
    pub fn check(&self) -> Result<()> {
        let special = self.special_tokens();
        for (i, token) in special.iter().enumerate() {
            if token.trim().is_empty() || token.len() > LONGEST_WORD || token.chars().any(|c| c.is_whitespace()) {
                return Err(Error::setting("--special", token, "a special token is a word, such as [BRAND]"));
            }
            if special[..i].contains(token) {
                let what = format!("is a special token already; the first five are {}", SPECIAL.join(" "));
                return Err(Error::setting("--special", token, what));
            }
        }
        let (low, high) = self.ngrams;
        if self.kind == Kind::NgramHash && (low == 0 || high < low || high > 10) {
            return Err(Error::setting(
                "--ngrams",
                format!("{low}-{high}"),
                "give two lengths from 1 to 10, as in 3-6",
            ));
        }
        if self.vocab_size <= special.len() {
            let what = format!("the special tokens alone are {}; give more", special.len());
            return Err(Error::setting("--vocab-size", self.vocab_size, what));
        }
        if self.vocab_size > 10_000_000 {
            return Err(Error::setting("--vocab-size", self.vocab_size, "give at most 10,000,000"));
        }
        Ok(())
    }
}
