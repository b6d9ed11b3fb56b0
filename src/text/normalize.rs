//! Words in one spelling, for everything that compares texts: marks, the search index, the leakage check and made pairs.
//!
//! All of them ignore case and write `ё` as `е`. What else is ignored differs by purpose, so each rule has a name:
//! [`folded_chars`] adds Unicode's compatibility forms, [`collapsed`] white space, [`word_form`] punctuation and decimal signs,
//! [`latin_code`] the alphabet of letters that look alike.

use std::sync::LazyLock;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

/// Cyrillic letters that look like Latin ones, in upper or in lower case.
const LOOK_ALIKES: [(char, char); 15] = [
    ('а', 'a'),
    ('в', 'b'),
    ('е', 'e'),
    ('к', 'k'),
    ('м', 'm'),
    ('н', 'h'),
    ('о', 'o'),
    ('р', 'p'),
    ('с', 'c'),
    ('т', 't'),
    ('у', 'y'),
    ('х', 'x'),
    ('і', 'i'),
    ('ј', 'j'),
    ('ѕ', 's'),
];

/// Lower case, `ё` as `е`.
pub(crate) fn folded(text: &str) -> String {
    fold(text.chars()).collect()
}

/// [`folded`] after NFKC: full-width letters, ligatures and the like are plain ones.
pub(crate) fn folded_chars(text: &str) -> impl Iterator<Item = char> {
    // most texts are in that form already, and finding out is cheaper than making it
    let (plain, made) = if is_composed(text) { (Some(text.chars()), None) } else { (None, Some(text.nfkc())) };
    fold(plain.into_iter().flatten().chain(made.into_iter().flatten()))
}

/// Whether NFKC would surely leave a text as it is.
fn is_composed(text: &str) -> bool {
    // the letters of most texts, without a look into the tables
    let is_common = |c| matches!(c, '\0'..='\u{7f}' | 'А'..='я');
    text.chars().all(is_common) || is_nfkc_quick(text.chars()) == IsNormalized::Yes
}

/// [`folded_chars`] with single spaces between words and none around them.
pub(crate) fn collapsed(text: &str) -> String {
    let text: String = folded_chars(text).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn fold(characters: impl Iterator<Item = char>) -> impl Iterator<Item = char> {
    characters.flat_map(char::to_lowercase).map(|c| if c == 'ё' { 'е' } else { c })
}

/// [`folded_chars`] of a word without its punctuation: letters, digits and a plus after a letter are kept, a decimal sign between two
/// digits is a point, a times sign is `x`. Empty for pure punctuation.
pub(super) fn word_form(word: &str) -> String {
    let mut form = String::with_capacity(word.len());
    if is_composed(word) {
        push_form(&mut form, word.chars());
    } else {
        push_form(&mut form, word.nfkc());
    }
    // the times sign of `3,5 х 35`
    if form == "х" || word == "×" { "x".into() } else { form }
}

fn push_form(form: &mut String, characters: impl Iterator<Item = char>) {
    let mut characters = fold(characters).peekable();
    let mut after_digit = false;
    while let Some(c) = characters.next() {
        let between_digits = after_digit && characters.peek().is_some_and(|n| n.is_numeric());
        match c {
            'х' | '×' if between_digits => form.push('x'),
            '.' | ',' if between_digits => form.push('.'),
            '+' if form.ends_with(|c: char| c == '+' || c.is_alphabetic()) => form.push(c),
            _ if c.is_alphanumeric() => form.push(c),
            _ => {}
        }
        after_digit = c.is_numeric();
    }
}

/// A lower-case article code in Latin letters, where some are Cyrillic ones that look the same: shops mix them (`ВС-120`). `None` if no
/// letter changes, or if one is Cyrillic beyond doubt. A number with letters after it is no code but a quantity (`12в`).
pub(crate) fn latin_code(code: &str) -> Option<String> {
    let first_digit = code.find(|c: char| c.is_ascii_digit())?;
    if first_digit == 0 {
        let letters = code.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        if letters.starts_with(['x', 'х']) || !letters.contains(|c: char| c.is_ascii_digit()) {
            return None;
        }
    }
    latin(code)
}

/// Look-alikes of a lower-case word as Latin letters. `None` if no letter changes, or if one is Cyrillic beyond doubt.
pub(crate) fn latin(word: &str) -> Option<String> {
    if word.is_ascii() {
        return None;
    }
    let letter = |c: char| match LOOK_ALIKES.iter().find(|pair| pair.0 == c) {
        Some(pair) => Some(pair.1),
        None => Some(c).filter(|c| !('\u{400}'..='\u{52f}').contains(c)),
    };
    word.chars().map(letter).collect::<Option<String>>().filter(|latin| latin != word)
}

/// Snowball's stem of a [`word_form`] of letters, Russian or English.
pub(crate) fn stem(word: &str) -> String {
    static RUSSIAN: LazyLock<Stemmer> = LazyLock::new(|| Stemmer::create(Algorithm::Russian));
    static ENGLISH: LazyLock<Stemmer> = LazyLock::new(|| Stemmer::create(Algorithm::English));
    let cyrillic = word.starts_with(|c| ('а'..='я').contains(&c));
    (if cyrillic { &RUSSIAN } else { &ENGLISH }).stem(word).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_forms_keep_letters_digits_and_decimal_points() {
        for (word, form) in [
            ("DSC-W120/B,", "dscw120b"),
            ("0,5л", "0.5л"),
            ("0.5Л.", "0.5л"),
            ("1:10", "110"),
            ("«Зелёный»", "зеленый"),
            ("—", ""),
            ("½", "12"),
            ("ﬁne", "fine"),
            ("500.", "500"),
            ("3,5х35", "3.5x35"),
            ("2×4", "2x4"),
            ("5х", "5х"),
            ("х", "x"),
            ("×", "x"),
            ("Spray+", "spray+"),
            ("C++,", "c++"),
            ("10+", "10"),
            ("+", ""),
        ] {
            assert_eq!(word_form(word), form, "{word}");
        }
        assert_ne!(word_form("1.5"), word_form("15"));
    }

    #[test]
    fn spellings_of_one_text_collapse_to_one() {
        assert_eq!(collapsed(" Чёрный  ＸＬ\t№5 "), "черный xl no5");
        assert_ne!(collapsed("чай 5"), collapsed("чай 6"));
        assert_eq!(folded("Ёлка"), "елка");
    }

    #[test]
    fn look_alikes_are_latin_inside_a_code_only() {
        for (code, latin) in [
            ("вс120", Some("bc120")),
            ("вc120", Some("bc120")),
            ("е27", Some("e27")),
            ("5а2т", Some("5a2t")),
            ("bc120", None),
            ("дн120", None),
            ("сот", None),
            ("12в", None),
            ("500см", None),
            ("3.5х35", None),
            ("120", None),
        ] {
            assert_eq!(latin_code(code).as_deref(), latin, "{code}");
        }
    }
}
