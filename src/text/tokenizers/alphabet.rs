//! Which characters are pieces.

use std::collections::BTreeMap;

use super::{Accents, Kind, SPECIAL, TokenizerSettings};
use crate::{Error, Result};

/// Letters and digits that a shop's next title may have though this corpus has none: one base alphabet for both scripts.
pub(super) fn base(settings: &TokenizerSettings) -> Vec<char> {
    if !settings.base_alphabet {
        return Vec::new();
    }
    let folded = settings.accents == Accents::All; // й and ё never come then
    let small = ('a'..='z').chain('а'..='я').chain(['ё']).filter(|c| !(folded && matches!(c, 'й' | 'ё')));
    let large = small.clone().flat_map(char::to_uppercase).filter(|_| !settings.lowercase);
    small.clone().chain(large).chain('0'..='9').collect()
}

/// The characters that are pieces, in the order of Unicode: the base alphabet, then the most frequent others.
pub(super) fn alphabet(settings: &TokenizerSettings, seen: &BTreeMap<char, u64>) -> Vec<char> {
    let base = base(settings);
    let mut others: Vec<(char, u64)> = seen.iter().map(|(c, n)| (*c, *n)).filter(|(c, _)| !base.contains(c)).collect();
    others.sort_by_key(|&(c, n)| (std::cmp::Reverse(n), c));
    others.truncate(settings.max_alphabet.saturating_sub(base.len()));
    let mut all: Vec<char> = base.into_iter().chain(others.into_iter().map(|(c, _)| c)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Refuses a vocabulary that can't take its alphabet.
pub(super) fn refuse_small(settings: &TokenizerSettings, alphabet: usize) -> Result<()> {
    let special = settings.special_tokens().len();
    if alphabet + special < settings.vocab_size {
        return Ok(());
    }
    let forms = match settings.kind {
        Kind::Wordpiece => " (each as itself and with ##)",
        Kind::Bpe => " (each as itself and with </w>)",
        _ => "",
    };
    let what = format!(
        "the alphabet{forms} takes {alphabet} pieces and the special tokens {special}: give more than {}, or a smaller \
         --max-alphabet, or --no-base-alphabet (the first {} ids are {})",
        alphabet + special,
        SPECIAL.len(),
        SPECIAL.join(" ")
    );
    Err(Error::setting("--vocab-size", settings.vocab_size, what))
}
