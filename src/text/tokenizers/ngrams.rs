//! Hashed character n-grams, as FastText has them: `<`, the word, `>`, every run of so many characters, hashed into buckets. Nothing is
//! learnt and nothing is unknown, and two n-grams may share a bucket.
//!
//! The hash is FastText's (FNV-1a over UTF-8, each byte extended as a signed one), and so is the order: by first character, short ones
//! first, no boundary alone.

use std::path::Path;

use serde_json::{Value, json};
use tokenizers::{Encoding, Tokenizer};

use super::counts::cut;
use crate::{Error, Result};

/// The model's name in `tokenizer.json`.
pub(super) const TYPE: &str = "NgramHash";

/// Lengths and buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::text) struct Ngrams {
    min: usize,
    max: usize,
    /// Where their ids begin: after the special tokens.
    first: u32,
    buckets: u32,
}

impl Ngrams {
    /// Takes the n-grams out of a `tokenizer.json` and leaves its special tokens as a vocabulary of words; none for another kind.
    ///
    /// # Errors
    /// Numbers that are missing or make no sense.
    pub(in crate::text) fn take(json: &mut Value, path: &Path) -> Result<Option<Self>> {
        let model = &mut json["model"];
        if model["type"] != TYPE {
            return Ok(None);
        }
        let number = |key: &str| {
            model[key].as_u64().filter(|n| (1..=1 << 30).contains(n)).ok_or_else(|| {
                let remedy = "grow the vocabulary again with `sverka tokenizer train`";
                Error::model(path, format!("model.{key}"), "is not a number from 1", remedy)
            })
        };
        let (min, max, buckets) = (number("min")? as usize, number("max")? as usize, number("buckets")? as u32);
        let first = model["vocab"].as_object().map_or(0, |vocab| vocab.len()) as u32;
        if max < min || max > 100 {
            return Err(Error::model(path, "model.max", "is less than model.min, or over 100", "correct it"));
        }
        let vocab = model["vocab"].take();
        *model = json!({"type": "WordLevel", "unk_token": "[UNK]", "vocab": vocab});
        Ok(Some(Ngrams { min, max, first, buckets }))
    }

    /// Rows of the embedding table after the special tokens.
    pub(in crate::text) fn buckets(&self) -> usize {
        self.buckets as usize
    }

    /// The ids of a text's n-grams and their places in it, in bytes.
    pub(in crate::text) fn encode(&self, tokenizer: &Tokenizer, text: &str) -> Result<Encoding> {
        let (mut ids, mut offsets) = (Vec::new(), Vec::new());
        let (Some(normalizer), Some(pre_tokenizer)) = (tokenizer.get_normalizer(), tokenizer.get_pre_tokenizer())
        else {
            return Err(Error::Internal { op: "n-grams", what: "no normalizer".into() });
        };
        cut(normalizer, pre_tokenizer, text, |word, (from, to)| {
            // where normalizing kept the number of characters each has its place, else all have the word's
            let original = text.get(from..to).unwrap_or_default();
            let same = original.chars().count() == word.chars().count();
            let starts: Vec<usize> = original.char_indices().map(|(at, _)| from + at).chain([to]).collect();
            let letters = starts.len() - 1;
            self.each(word, |first, last, id| {
                ids.push(id);
                // the boundaries have no place of their own
                let (first, last) = (first.saturating_sub(1), last.saturating_sub(1).min(letters));
                offsets.push(if same { (starts[first.min(letters)], starts[last]) } else { (from, to) });
            });
        })?;
        let none = Vec::new;
        Ok(Encoding::new(ids, none(), vec![], vec![], offsets, none(), none(), vec![], Default::default()))
    }

    /// Calls `each` with the first character, the end and the id of every n-gram of `<word>`.
    fn each(&self, word: &str, mut each: impl FnMut(usize, usize, u32)) {
        let bounded = format!("<{word}>");
        let starts: Vec<usize> = bounded.char_indices().map(|(at, _)| at).chain([bounded.len()]).collect();
        let letters = starts.len() - 1;
        for first in 0..letters {
            for last in (first + self.min..=first + self.max).take_while(|&last| last <= letters) {
                if last - first == 1 && (first == 0 || last == letters) {
                    continue;
                }
                let hash = hash(&bounded.as_bytes()[starts[first]..starts[last]]);
                each(first, last, self.first + hash % self.buckets);
            }
        }
    }
}

/// FastText's hash.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(2_166_136_261, |hash: u32, &b| (hash ^ b as i8 as u32).wrapping_mul(16_777_619))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ngrams_are_cut_in_the_order_of_fasttext() {
        let ngrams = Ngrams { min: 1, max: 3, first: 5, buckets: 1 << 30 };
        let mut cut = Vec::new();
        ngrams.each("чай", |first, last, _| {
            cut.push("<чай>".chars().skip(first).take(last - first).collect::<String>())
        });
        assert_eq!(cut, ["<ч", "<ча", "ч", "ча", "чай", "а", "ай", "ай>", "й", "й>"]);
        let mut short = Vec::new();
        Ngrams { min: 5, max: 6, ..ngrams }.each("ч", |first, last, _| short.push((first, last)));
        assert!(short.is_empty());
    }
}
