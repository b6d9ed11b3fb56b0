//! A word as it is compared, and words that are not the same but close: the same word in another form, or another number in the same
//! place.
//!
//! A *variant* is what shops make of a word: cut off (`черн.`, `dscw120` for `dscw120b`), squeezed (`blk`, `ср-во`), inflected
//! (`белая` and `белый`; by Snowball's stems). A word that *differs* is what separates siblings: a code or number whose letters are on
//! the other side with other digits (`dscw120` and `dscw130`, `8gb` and `4gb`, `e27` and `e14`), or with one character changed, or a
//! word that excludes it ([`lexicon`](super::lexicon)).
//! Neither is a verdict; the model learns what each is worth.

use super::lexicon::{ValueId, conflict, values_of};
use super::normalize::{latin, latin_code, stem, word_form};

/// Longest word without a digit, in bytes, that is tried as part of a code with look-alikes: four Cyrillic letters.
const CODE_PREFIX: usize = 8;

/// A word as it is compared.
#[derive(Debug, Clone)]
pub(super) struct NormalizedWord {
    /// As by [`word_form`].
    pub(super) text: String,
    /// The text with look-alikes in Latin: of an article code, or of a few letters that may be part of one.
    latin: Option<String>,
    /// Its stem, if that is another.
    stem: Option<String>,
    /// Characters before its one hyphen, for an abbreviation such as `ср-во`; else 0.
    before_hyphen: usize,
    /// The unit that a sign after the number means: inches or percent.
    pub(super) sign: Option<&'static str>,
    /// What it means in the lexicon.
    values: &'static [ValueId],
    /// It has a digit.
    digit: bool,
    /// The letters around its digits.
    letters: String,
}

impl NormalizedWord {
    /// None for pure punctuation.
    pub(super) fn new(word: &str) -> Option<Self> {
        let text = word_form(word);
        if text.is_empty() {
            return None;
        }
        let digit = text.contains(char::is_numeric);
        let ending = word.trim_end_matches(['.', ',', ';', ')']);
        let (number, sign) = match ending.strip_suffix('%') {
            Some(number) => (number, "%"),
            None => (ending.trim_end_matches(['"', '\'', '″', '”', '’']), "in"),
        };
        let latin = if digit { latin_code(&text) } else { latin(&text).filter(|_| text.len() <= CODE_PREFIX) };
        let compared = latin.as_deref().unwrap_or(&text);
        let letters = if digit { compared.chars().filter(|c| c.is_alphabetic()).collect() } else { String::new() };
        let signed = number.len() < ending.len() && number.ends_with(|c: char| c.is_ascii_digit());
        let mut form =
            NormalizedWord { stem: None, before_hyphen: 0, sign: None, values: &[], digit, letters, latin, text };
        form.sign = Some(sign).filter(|_| signed && form.is_number());
        if !digit && form.text.chars().all(char::is_alphabetic) {
            let stem = stem(&form.text);
            form.values = values_of(&stem);
            form.stem = Some(stem).filter(|stem| *stem != form.text);
            let halves: Vec<usize> =
                word.split('-').map(|half| half.chars().filter(|c| c.is_alphabetic()).count()).collect();
            if let [a @ 1..=3, 1..=3] = halves[..] {
                form.before_hyphen = a;
            }
        }
        Some(form)
    }

    pub(super) fn is_number(&self) -> bool {
        self.text.chars().all(|c| c.is_numeric() || c == '.')
    }

    /// Whether words written together are an article code: letters and digits that are no number with a unit, or many digits.
    pub(super) fn code(words: &[NormalizedWord]) -> bool {
        let count: usize = words.iter().map(|w| w.text.chars().count()).sum();
        if count < 4 || !words.iter().any(|w| w.digit) {
            return false;
        }
        let mut letters = words.iter().flat_map(|w| w.text.chars());
        match letters.by_ref().find(|c| !c.is_numeric() && *c != '.') {
            None => count >= 5 && words.len() == 1 && !words[0].text.contains('.'),
            // `144hz`, `3.5x35`, `7200rpm` begin with a number and hold no digit after their letters, or little else
            Some(first) if words[0].text.starts_with(|c: char| c.is_numeric()) => {
                first != 'x' && letters.any(|c| c.is_numeric())
            }
            Some(_) => true,
        }
    }

    /// A whole article code in Latin letters, if it has look-alikes.
    pub(super) fn latin_code(&self) -> Option<&str> {
        self.latin.as_deref().filter(|_| self.digit)
    }

    /// The word as part of an article code that is written in several words.
    pub(super) fn latin_part(&self) -> &str {
        self.latin.as_deref().unwrap_or(&self.text)
    }

    /// Whether it can be part of an article code in Latin letters.
    pub(super) fn is_latin_part(&self) -> bool {
        self.latin.is_some() || self.text.is_ascii()
    }

    fn stem(&self) -> &str {
        self.stem.as_deref().unwrap_or(&self.text)
    }
}

/// Whether one is the other in another form.
pub(super) fn is_variant(a: &NormalizedWord, b: &NormalizedWord) -> bool {
    if a.text.as_bytes()[0] != b.text.as_bytes()[0] || a.text == b.text {
        return false;
    }
    let (short, long) = if a.text.len() < b.text.len() { (a, b) } else { (b, a) };
    let count = short.text.chars().count();
    let least = if short.digit || long.digit { 4 } else { 3 };
    let begins = count >= least && !short.is_number() && long.text.starts_with(&short.text);
    begins || (!short.digit && !long.digit && (same_stem(short, long) || squeezed(short, &long.text, count)))
}

fn same_stem(a: &NormalizedWord, b: &NormalizedWord) -> bool {
    a.stem() == b.stem() && a.stem().chars().count() >= 3
}

/// `ср-во` of `средство`: its beginning and its end; `blk` of `black`: no vowel after the first letter, the rest in order.
fn squeezed(short: &NormalizedWord, long: &str, count: usize) -> bool {
    if short.before_hyphen > 0 {
        let cut = short.text.char_indices().nth(short.before_hyphen).map_or(0, |(at, _)| at);
        return long.starts_with(&short.text[..cut]) && long.ends_with(&short.text[cut..]);
    }
    let vowel = |c| "аеиоуыэюяaeiouy".contains(c);
    let mut rest = long.chars();
    (3..=5).contains(&count)
        && long.chars().count() <= 3 * count
        && !short.text.chars().skip(1).any(vowel)
        && short.text.chars().all(|c| rest.any(|r| r == c))
}

/// Whether one is in the other's place: values that exclude each other, or both with digits, the same letters around other digits
/// or one character changed.
pub(super) fn differs(a: &NormalizedWord, b: &NormalizedWord) -> bool {
    if conflict(a.values, b.values) {
        return true;
    }
    if !a.digit || !b.digit || a.text == b.text {
        return false;
    }
    if !a.letters.is_empty() && a.letters == b.letters {
        return true;
    }
    let (a, b) = (a.latin_part(), b.latin_part());
    let count = a.chars().count();
    let changed = a.chars().zip(b.chars()).filter(|(x, y)| x != y).count();
    count >= 4 && count == b.chars().count() && changed == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_after_numbers_are_units() {
        for (word, sign) in
            [("27\",", Some("in")), ("27'", Some("in")), ("a27\"", None), ("27", None), ("80%.", Some("%"))]
        {
            assert_eq!(NormalizedWord::new(word).unwrap().sign, sign, "{word}");
        }
    }

    #[test]
    fn codes_are_letters_with_digits() {
        for (words, is) in [
            ("dscw120", true),
            ("dsc w120", true),
            ("w120b", true),
            ("5d2x", true),
            ("4680008145208", true),
            ("90012", true),
            ("e27", false),
            ("144hz", false),
            ("500 мл", false),
            ("3.5x35", false),
            ("black", false),
            ("129.95", false),
            ("2005", false),
        ] {
            let forms: Vec<NormalizedWord> = words.split(' ').filter_map(NormalizedWord::new).collect();
            assert_eq!(NormalizedWord::code(&forms), is, "{words}");
        }
    }

    #[test]
    fn a_variant_is_another_form_of_the_word() {
        for (a, b, is) in [
            ("dscw120", "dscw120b", true),
            ("dscw120", "dscw130", false),
            ("smooth", "smoothly", true),
            ("чер", "черный", true),
            ("dsc", "dscw120", false),
            ("че", "черный", false),
            ("w12", "w120", false),
            ("500", "5000", false),
            ("500м", "500мл", true),
            ("gel500", "gel500", false),
            ("blk", "black", true),
            ("wht", "black", false),
            ("cbl", "cable", true),
            ("ср-во", "средство", true),
            ("ср-во", "среда", false),
            ("белая", "белый", true),
            ("battery", "batteries", true),
            ("лимон", "лимит", false),
            ("sony", "song", false),
            ("spray", "spray+", true),
            ("d7", "d70", false),
        ] {
            let [x, y] = [a, b].map(|w| NormalizedWord::new(w).unwrap());
            assert_eq!((is_variant(&x, &y), is_variant(&y, &x)), (is, is), "{a} {b}");
        }
    }

    #[test]
    fn other_digits_or_one_other_character_differ() {
        for (a, b, is) in [
            ("dscw120", "dscw130", true),
            ("8gb", "16gb", true),
            ("e27", "e14", true),
            ("3.5x35", "3.5x41", true),
            ("pc810l", "pc810k", true),
            ("12345", "12346", true),
            ("12", "18", false),
            ("w120", "x120b", false),
            ("black", "blank", false),
            ("dscw120", "dscw120", false),
            ("8gb", "8 g", false),
        ] {
            let [x, y] = [a, b].map(|w| NormalizedWord::new(w).unwrap());
            assert_eq!((differs(&x, &y), differs(&y, &x)), (is, is), "{a} {b}");
        }
    }
}
