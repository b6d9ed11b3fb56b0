//! Vocabularies that no corpus is read for: the words of a file of vectors, and hashed n-grams.

use serde_json::{Value, json};

use super::files::{Grown, normalizer, numbered, pre_tokenizer, written};
use super::{Kind, SPECIAL, TokenizerSettings, ngrams};

/// Words that are looked at to see how a file's words were cut, the most frequent ones.
const LOOKED_AT: usize = 50_000;

/// A vocabulary of given words, in their order after the special tokens; a special token among them is left out. Which rows were taken comes
/// with it. Texts become lower case where no word has a capital letter, and where none has a sign in it signs divide words as spaces do (as
/// `sverka vectors train` reads); else each sign is a word, as BERT cuts.
pub fn of_words(words: &[String]) -> (Grown, Vec<usize>) {
    let some = || words.iter().take(LOOKED_AT).filter(|word| !SPECIAL.contains(&word.as_str()) && *word != "</s>");
    let has = |of: fn(char) -> bool| some().any(|word| word.chars().any(of));
    let settings = TokenizerSettings {
        kind: Kind::Word,
        vocab_size: words.len() + SPECIAL.len(),
        min_frequency: 1,
        lowercase: !has(char::is_uppercase),
        ..TokenizerSettings::default()
    };
    let special = settings.special_tokens();
    let rows: Vec<usize> = (0..words.len()).filter(|at| !special.contains(&words[*at])).collect();
    let vocab = numbered(special.iter().cloned().chain(rows.iter().map(|at| words[*at].clone())));
    let model = json!({"type": "WordLevel", "vocab": vocab, "unk_token": SPECIAL[1]});
    let cut = if has(|c| !c.is_alphanumeric()) {
        pre_tokenizer(&settings)
    } else {
        let signs = json!({"Regex": "[^\\p{L}\\p{M}\\p{N}]+"});
        json!({"type": "Split", "pattern": signs, "behavior": "Removed", "invert": false})
    };
    let mut normalize = normalizer(&settings);
    normalize["handle_chinese_chars"] = Value::Bool(false);
    let size = rows.len() + special.len();
    (Grown { files: written(&settings, (normalize, cut), model, &special), size, notes: Vec::new() }, rows)
}

/// Hashed n-grams of so many characters, a word's boundaries included, in so many buckets.
pub fn hashed(letters: usize, buckets: usize) -> Grown {
    let (kind, ngrams) = (Kind::NgramHash, (letters, letters));
    let vocab_size = buckets + SPECIAL.len();
    let settings = TokenizerSettings { kind, ngrams, vocab_size, ..TokenizerSettings::default() };
    let special = settings.special_tokens();
    let parts = (normalizer(&settings), pre_tokenizer(&settings));
    let model = ngram_model(&settings, &special);
    Grown { files: written(&settings, parts, model, &special), size: vocab_size, notes: Vec::new() }
}

/// The model of hashed n-grams.
pub(super) fn ngram_model(settings: &TokenizerSettings, special: &[String]) -> Value {
    json!({"type": ngrams::TYPE, "min": settings.ngrams.0, "max": settings.ngrams.1,
           "buckets": settings.vocab_size - special.len(), "vocab": numbered(special.iter().cloned())})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::TextConfig;

    fn tokens(words: &[&str], text: &str) -> Vec<u32> {
        let words: Vec<String> = words.iter().map(|w| w.to_string()).collect();
        let encoder = of_words(&words).0.encoder(TextConfig::default()).unwrap();
        encoder.encode(&[crate::Input::Text(text)]).unwrap().ids
    }

    #[test]
    fn texts_are_cut_as_the_words_of_the_file_were() {
        // [CLS] hs b1 кран [SEP]: signs divide, and letters become small
        assert_eq!(tokens(&["кран", "hs", "b1"], "HS-B1, Кран"), [2, 6, 7, 5, 3]);
        // a sign is a word, and capitals stay
        assert_eq!(tokens(&["Кран", "-", "HS"], "HS-Кран кран"), [2, 7, 6, 5, 1, 3]);
        // a word with a special token's name is none
        assert_eq!(tokens(&["[CLS]", "a"], "a [CLS]").first(), Some(&2));
        let (grown, rows) = of_words(&["[SEP]".to_string(), "a".into()]);
        assert_eq!((grown.size, rows), (6, vec![1]));
    }

    #[test]
    fn trigrams_are_hashed_into_buckets_after_the_special_tokens() {
        let encoder = hashed(3, 1000).encoder(TextConfig::default()).unwrap();
        let ids = encoder.encode(&[crate::Input::Text("good")]).unwrap().ids;
        // [CLS] <go goo ood od> [SEP]
        assert_eq!(ids.len(), 6);
        assert!(ids[1..5].iter().all(|id| (5..1005).contains(id)), "{ids:?}");
        assert_eq!(encoder.vocab_size(), 1005);
    }
}
