//! Unigram pieces by the trainer of the `tokenizers` crate (Kudo 2018).
//!
//! Its sums over threads and its hash sets leave the last bits of scores, and the order of equal ones, to chance; they are rounded and
//! sorted here, so that ids are the same in every run.

use serde_json::Value;
use tokenizers::AddedToken;
use tokenizers::models::unigram::{Unigram, UnigramTrainer};

use super::{SPECIAL, TokenizerSettings};
use crate::{Error, Result};

/// What the trainer adds to the least score for each required character that no piece is, in the order of a hash set.
const STEP: f64 = 0.0001;

/// The model of `tokenizer.json`.
pub(super) fn train(settings: &TokenizerSettings, words: &[(&str, u64)], alphabet: &[char]) -> Result<Value> {
    let failed = |what: String| Error::Internal { op: "train unigram", what };
    let special = settings.special_tokens();
    let trainer = UnigramTrainer::builder()
        .show_progress(false)
        .vocab_size(settings.vocab_size as u32)
        .special_tokens(special.iter().map(|s| AddedToken::from(s.clone(), true)).collect())
        .initial_alphabet(alphabet.iter().copied().collect())
        .unk_token(Some(SPECIAL[1].into()))
        .build()
        .map_err(|e| failed(e.to_string()))?;
    // a word with a character outside the alphabet would bring it in
    let known = |word: &&(&str, u64)| word.0.chars().all(|c| alphabet.binary_search(&c).is_ok());
    let often = |word: &&(&str, u64)| word.1 >= settings.min_frequency;
    let sentences: Vec<(String, u32)> = words
        .iter()
        .filter(known)
        .filter(often)
        .map(|(word, count)| (word.to_string(), (*count).min(u32::MAX as u64) as u32))
        .collect();
    if sentences.is_empty() {
        let what = format!("no word comes {} times; give more texts, or a smaller number", settings.min_frequency);
        return Err(Error::setting("--min-frequency", settings.min_frequency, what));
    }
    let mut model = Unigram::default();
    trainer.do_train(sentences, &mut model).map_err(|e| failed(e.to_string()))?;
    let mut json = serde_json::to_value(&model).map_err(|e| failed(e.to_string()))?;
    if let Some(pieces) = json["vocab"].as_array_mut() {
        settle(pieces, special.len());
        sort(pieces, special.len());
    }
    Ok(json)
}

/// Rounds the scores to a millionth and numbers the pieces by score and then by their letters.
fn sort(pieces: &mut [Value], special: usize) {
    let score = |piece: &Value| piece[1].as_f64().unwrap_or_default();
    for piece in &mut pieces[special..] {
        piece[1] = ((score(piece) * 1e6).round() / 1e6).into();
    }
    pieces[special..].sort_by(|a, b| score(b).total_cmp(&score(a)).then_with(|| a[0].as_str().cmp(&b[0].as_str())));
}

/// Gives the scores of characters that no text has, which hang on the order of a hash set, to the characters in the order of Unicode.
fn settle(pieces: &mut [Value], special: usize) {
    let score = |piece: &Value| piece[1].as_f64().unwrap_or_default();
    let least = pieces[special..].iter().map(score).fold(f64::INFINITY, f64::min);
    let mut at: Vec<usize> = (special..pieces.len())
        .filter(|&i| {
            let steps = (score(&pieces[i]) - least) / STEP;
            pieces[i][0].as_str().is_some_and(|text| text.chars().count() == 1)
                && steps < 1e5
                && (steps - steps.round()).abs() < 1e-6
        })
        .collect();
    at.sort_unstable();
    let mut named: Vec<Value> = at.iter().map(|&i| pieces[i][0].clone()).collect();
    named.sort_by(|a, b| b.as_str().cmp(&a.as_str()));
    at.into_iter().zip(named).for_each(|(i, name)| pieces[i][0] = name);
}
