//! Which scripts a vocabulary has learnt. A vocabulary cut to Russian and English keeps the letters of others, each a piece of its
//! own: such a text has no unknown token, and yet the model has never seen a word of it.

use std::collections::{HashMap, HashSet};

use unicode_script::{Script, UnicodeScript};

/// A script whose signs are words or syllables has at least so many of them.
const SIGNS: usize = 200;

/// The scripts of which a vocabulary has letters and no piece of two.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Unlearnt(HashSet<Script>);

impl Unlearnt {
    /// Of a vocabulary's pieces. Empty where nothing can be said: all pieces are single letters.
    pub(super) fn of<'a>(pieces: impl Iterator<Item = &'a str>) -> Self {
        let mut by_script: HashMap<Script, (usize, usize)> = HashMap::new();
        for piece in pieces {
            let mut of_piece: HashMap<Script, usize> = HashMap::new();
            for script in piece.chars().filter_map(script) {
                *of_piece.entry(script).or_default() += 1;
            }
            for (script, letters) in of_piece {
                let (single, several) = by_script.entry(script).or_default();
                if letters == 1 { *single += 1 } else { *several += 1 }
            }
        }
        // a character tokenizer has nothing but single letters: words written out, as its special tokens, are not counted
        let learns_words = by_script.values().any(|(single, several)| several > single);
        let unlearnt = |(_, (single, several)): &(Script, (usize, usize))| *several == 0 && *single < SIGNS;
        Unlearnt(
            by_script.into_iter().filter(|entry| learns_words && unlearnt(entry)).map(|(script, _)| script).collect(),
        )
    }
    /// Whether a letter is of a script that the vocabulary has not learnt.
    pub(super) fn has(&self, letter: char) -> bool {
        !self.0.is_empty() && script(letter).is_some_and(|script| self.0.contains(&script))
    }
}

/// The script of a letter; none for signs that several scripts share.
fn script(letter: char) -> Option<Script> {
    let shared = |script: &Script| matches!(script, Script::Common | Script::Inherited | Script::Unknown);
    letter.is_alphabetic().then(|| letter.script()).filter(|script| !shared(script))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_of_single_letters_beside_words_of_another_is_not_learnt() {
        let russian = ["[CLS]", "стол", "стул", "##ый", "крас", "table", "cha", "##ir", "α", "β", "##γ", "7"];
        let unlearnt = Unlearnt::of(russian.into_iter());
        assert!("αβγ".chars().all(|c| unlearnt.has(c)));
        assert!(!"стол table 7 — é".chars().any(|c| unlearnt.has(c)));
        // never seen at all: those tokens are unknown anyway
        assert!(!unlearnt.has('ก'));
    }

    #[test]
    fn letters_and_signs_of_words_say_nothing() {
        let letters = ["[CLS]", "[SEP]", "a", "b", "c", "d", "α", "я"];
        assert_eq!(Unlearnt::of(letters.into_iter()), Unlearnt::default());
        let signs: Vec<String> = ('\u{4e00}'..'\u{4f00}').map(String::from).collect();
        let unlearnt = Unlearnt::of(["table", "chair", "α"].into_iter().chain(signs.iter().map(String::as_str)));
        assert!(!unlearnt.has('\u{4e00}') && unlearnt.has('α'));
    }
}
