//! Which words stand on both sides of a pair.
//!
//! A transformer has to learn that two article codes are the same out of their word pieces; telling it costs a segment
//! number. The idea is Boualili et al., MarkedBERT (SIGIR 2020), with segment embeddings instead of marker tokens, so that
//! sequences stay as long as they were. A word counts as shared if the other side has a word of the same normalised form, or two
//! or three neighbours that give it when written together (`dsc-w120 /b` and `dscw120b`, `500мл` and `500 мл`).
//!
//! Normalised: NFKC, lower case, `ё` as `е`, only letters and digits, and a decimal separator between two digits as a
//! point (`1,5` is `1.5` and not `15`). A quantity is its amount (`0,5 л` is `500 мл`). Written-together forms need three characters, or to be a number with its unit.
//!
//! A word that is not shared may be *near* one of the other side: one begins the other (`dscw120` and `dscw120b`, `черн.` and
//! `черный`), which shops do to codes and words alike. Near is told apart from shared, since it may well be another product.
//!
//! Refused: codes that differ in their middle or last character (another product more often than not; counting them as near
//! cost F1 on Abt-Buy), and homoglyphs, which are the model's matter.

use super::units::quantity;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

/// Hash of a normalised form, and the first and last word it covers.
type Form = (u64, u32, u32);

/// The words of a text: where they stand, and the forms by which another text may share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Words {
    /// Byte ranges of the words that have a letter or a digit.
    pub(super) spans: Vec<(u32, u32)>,
    /// The words' normalised forms.
    forms: Vec<String>,
    /// Forms of one word, sorted.
    single: Vec<Form>,
    /// Forms of two or three neighbours, sorted.
    merged: Vec<Form>,
}

impl Words {
    /// The words of the given byte ranges of `text`. Neighbours of different ranges are not merged.
    pub(super) fn new(text: &str, ranges: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut words = Words::default();
        for (start, end) in ranges {
            let first = words.spans.len();
            for word in text[start..end].split_whitespace() {
                let form = normalised(word);
                if !form.is_empty() {
                    let at = (word.as_ptr() as usize - text.as_ptr() as usize) as u32;
                    words.spans.push((at, at + word.len() as u32));
                    words.forms.push(form);
                }
            }
            let forms = &words.forms[first..];
            for (i, form) in forms.iter().enumerate() {
                let at = (first + i) as u32;
                let mut hash = fnv(0xcbf2_9ce4_8422_2325, form);
                words.single.push((hash, at, at));
                if let Some((kind, amount, two)) = quantity(form, forms.get(i + 1).map(String::as_str)) {
                    words.single.push((fnv(hash_of_kind(kind), &amount.to_string()), at, at + u32::from(two)));
                }
                let mut length = form.chars().count();
                let number = is_number(form);
                for (more, next) in (1..).zip(forms.iter().skip(i + 1).take(2)) {
                    hash = fnv(hash, next);
                    length += next.chars().count();
                    if length >= 3 || (number && more == 1 && next.chars().all(char::is_alphabetic)) {
                        words.merged.push((hash, at, at + more));
                    }
                }
            }
        }
        words.single.sort_unstable();
        words.merged.sort_unstable();
        words
    }
}

/// What the other side has of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Mark {
    /// Nothing.
    #[default]
    Plain,
    /// The same.
    Shared,
    /// Something close.
    Near,
}

/// For each word of either side, in order, what the other side has of it.
pub(super) fn shared(left: &Words, right: &Words) -> (Vec<Mark>, Vec<Mark>) {
    let (mut of_left, mut of_right) = (vec![Mark::Plain; left.spans.len()], vec![Mark::Plain; right.spans.len()]);
    join(&left.single, &right.single, &mut of_left, &mut of_right);
    join(&left.single, &right.merged, &mut of_left, &mut of_right);
    join(&left.merged, &right.single, &mut of_left, &mut of_right);
    for (i, a) in left.forms.iter().enumerate().take(NEAR_WORDS) {
        for (j, b) in right.forms.iter().enumerate().take(NEAR_WORDS) {
            let open = of_left[i] != Mark::Shared || of_right[j] != Mark::Shared;
            if open && a.as_bytes()[0] == b.as_bytes()[0] && near(a, b) {
                for mark in [&mut of_left[i], &mut of_right[j]] {
                    if *mark == Mark::Plain {
                        *mark = Mark::Near;
                    }
                }
            }
        }
    }
    (of_left, of_right)
}

/// Words of a side that are compared for nearness: a title's; the tail of a long description is not worth its square.
const NEAR_WORDS: usize = 64;

/// Whether one form begins the other: of three letters at least, or of four characters with a digit, and not a number.
fn near(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    let digit = |form: &str| form.chars().any(char::is_numeric);
    let least = if digit(short) || digit(long) { 4 } else { 3 };
    short.len() < long.len() && !is_number(short) && long.starts_with(short) && short.chars().count() >= least
}

/// Marks the words of equal forms of two sorted lists.
fn join(left: &[Form], right: &[Form], of_left: &mut [Mark], of_right: &mut [Mark]) {
    let (mut i, mut j) = (0, 0);
    while let (Some(a), Some(b)) = (left.get(i), right.get(j)) {
        if a.0 < b.0 {
            i += 1;
        } else if a.0 > b.0 {
            j += 1;
        } else {
            let hash = a.0;
            while let Some(&(_, first, last)) = left.get(i).filter(|f| f.0 == hash) {
                of_left[first as usize..=last as usize].fill(Mark::Shared);
                i += 1;
            }
            while let Some(&(_, first, last)) = right.get(j).filter(|f| f.0 == hash) {
                of_right[first as usize..=last as usize].fill(Mark::Shared);
                j += 1;
            }
        }
    }
}

/// The words of each text that the other lacks, as written but without punctuation around them, each once: what to look
/// at when asking why two texts are or are not the same thing.
pub fn differing_tokens(left: &str, right: &str) -> (Vec<String>, Vec<String>) {
    let words = [left, right].map(|text| Words::new(text, [(0, text.len())]));
    let (of_left, of_right) = shared(&words[0], &words[1]);
    let lacking = |text: &str, words: &Words, marks: &[Mark]| {
        let mut found: Vec<String> = Vec::new();
        for (&(start, end), _) in words.spans.iter().zip(marks).filter(|(_, mark)| **mark != Mark::Shared) {
            let word = text[start as usize..end as usize].trim_matches(|c: char| !c.is_alphanumeric());
            if !found.iter().any(|f| f == word) {
                found.push(word.to_string());
            }
        }
        found
    };
    (lacking(left, &words[0], &of_left), lacking(right, &words[1], &of_right))
}

/// A word's form for comparison; empty for pure punctuation.
fn normalised(word: &str) -> String {
    let mut form = String::with_capacity(word.len());
    if word.is_ascii() || is_nfkc_quick(word.chars()) == IsNormalized::Yes {
        push_form(&mut form, word.chars());
    } else {
        push_form(&mut form, word.nfkc());
    }
    form
}

fn push_form(form: &mut String, characters: impl Iterator<Item = char>) {
    let mut characters = characters.flat_map(char::to_lowercase).peekable();
    let mut after_digit = false;
    while let Some(c) = characters.next() {
        if c.is_alphanumeric() {
            form.push(if c == 'ё' { 'е' } else { c });
        } else if after_digit && matches!(c, '.' | ',') && characters.peek().is_some_and(|n| n.is_numeric()) {
            form.push('.');
        }
        after_digit = c.is_numeric();
    }
}

fn is_number(form: &str) -> bool {
    form.chars().all(|c| c.is_numeric() || c == '.')
}

/// Where the hashes of quantities begin; no word's hash begins there.
fn hash_of_kind(kind: usize) -> u64 {
    fnv(0x6c62_272e_07bb_0142, ["a", "b", "c", "d", "e", "f", "g"][kind])
}

/// FNV-1a, which can go on where it stopped: the hash of two words written together needs no string.
fn fnv(hash: u64, text: &str) -> u64 {
    text.bytes().fold(hash, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differing(left: &str, right: &str) -> (String, String) {
        let (l, r) = differing_tokens(left, right);
        (l.join(" "), r.join(" "))
    }

    #[test]
    fn forms() {
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
        ] {
            assert_eq!(normalised(word), form, "{word}");
        }
        assert_ne!(normalised("1.5"), normalised("15"));
    }

    #[test]
    fn written_together_or_apart() {
        assert_eq!(differing("Sony dsc-w120 /b", "sony DSCW120B"), ("".into(), "".into()));
        assert_eq!(differing("Гель 500мл", "гель / 500 мл"), ("".into(), "".into()));
        assert_eq!(differing("масло 5 л", "масло 5л"), ("".into(), "".into()));
        assert_eq!(differing("масло 0,5 л", "масло 0.5л"), ("".into(), "".into()));
        assert_eq!(differing("масло 0,5 л", "масло 500мл"), ("".into(), "".into()));
        assert_eq!(differing("масло 0,5 л", "масло 5 л"), ("0,5".into(), "5".into()));
        assert_eq!(differing("концентрат/1л x", "Концентрат / 1 л"), ("x".into(), "".into()));
        // two characters that are no number with a unit stay apart
        assert_eq!(differing("a b", "ab"), ("a b".into(), "ab".into()));
    }

    #[test]
    fn differences_are_found_in_order_and_once() {
        assert_eq!(
            differing("Гель «Лимон», 1,5 л (арт. 023-05) лимон", "гель Яблоко 15 л арт 023-06"),
            ("Лимон 1,5 023-05 лимон".into(), "Яблоко 15 023-06".into())
        );
        assert_eq!(differing("", "a a"), ("".into(), "a".into()));
    }

    #[test]
    fn fields_are_not_merged_across() {
        let text = "dsc w120";
        let whole = Words::new(text, [(0, 8)]);
        let apart = Words::new(text, [(0, 3), (4, 8)]);
        let code = Words::new("dscw120", [(0, 7)]);
        assert_eq!(shared(&whole, &code), (vec![Mark::Shared; 2], vec![Mark::Shared]));
        assert_eq!(shared(&apart, &code), (vec![Mark::Plain; 2], vec![Mark::Plain]));
    }

    #[test]
    fn near_is_a_beginning() {
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
        ] {
            assert_eq!((near(a, b), near(b, a)), (is, is), "{a} {b}");
        }
    }
}
