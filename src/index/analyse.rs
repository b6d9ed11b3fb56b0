//! A product's text into search terms. Numbers and codes are what distinguishes products, and every shop writes them in
//! its own way, so each is kept whole and split: `dsc-w120/b` gives `dsc`, `w`, `120`, `b`, `w120` and `dscw120b`.
//!
//! What the other shop may write otherwise is made one: case, `ё`, compatibility forms (NFKC), a decimal comma and its zeros
//! (`0,50` is `0.5`), scripts that touch (`концентратPROSEPT`), letters that look alike inside an article code (`ВС-120` and `BC-120`), and
//! volumes and weights in one unit in addition to the one written (`0,5 л`, `500мл` and `0.5L` share `500ml`).
//!
//! Refused: transliteration and look-alike letters of words without digits (brands differ more than they gain), imperial units
//! (ounces of weight and of volume can't be distinguished), and thousands separators (a comma is a decimal one more often).

use crate::text::lexicon::{index_unit, unit};
use crate::text::normalize::{folded_chars, latin_code};

/// A record's words beyond this are not looked at: a cell of megabytes is no product name.
const MOST_WORDS: usize = 4096;
/// Longer words are cut, in characters.
const LONGEST_WORD: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Cyrillic,
    Letters,
}

/// Letters of one script, or a number with its decimal point.
struct Run {
    kind: Kind,
    text: String,
}

/// The words of a text, as often as they occur in it.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut before: Option<Run> = None;
    for chunk in text.split_whitespace() {
        let groups = groups(chunk);
        let has_number = groups.iter().flatten().any(|run| run.kind == Kind::Number);
        if groups.len() > 1 && has_number {
            push_code(&mut words, groups.iter().flatten());
        }
        for group in groups {
            if group.len() > 1 {
                push_code(&mut words, group.iter());
            }
            for run in group {
                push(&mut words, run.text.clone());
                if let Some(number) = before.filter(|b| b.kind == Kind::Number) {
                    words.extend(quantity(&number.text, &run.text));
                }
                before = Some(run);
            }
        }
        if words.len() >= MOST_WORDS {
            words.truncate(MOST_WORDS);
            break;
        }
    }
    words
}

/// The trigrams of a text's [`words`] of three letters or more, each word with a mark where it starts.
pub fn trigrams(text: &str) -> Vec<String> {
    let mut grams = Vec::new();
    for word in words(text) {
        let marked: Vec<char> = std::iter::once('^').chain(word.chars()).collect();
        if marked.len() > 3 {
            grams.extend(marked.windows(3).map(|gram| gram.iter().collect::<String>()));
        }
    }
    grams
}

/// Runs written together, an article code in Latin letters where they look alike.
fn push_code<'a>(words: &mut Vec<String>, runs: impl Iterator<Item = &'a Run>) {
    let whole: String = runs.map(|run| run.text.as_str()).collect();
    push(words, latin_code(&whole).unwrap_or(whole));
}

fn push(words: &mut Vec<String>, mut word: String) {
    if let Some((end, _)) = word.char_indices().nth(LONGEST_WORD) {
        word.truncate(end);
    }
    words.push(word);
}

/// The runs of a piece without spaces, grouped between its punctuation marks.
fn groups(chunk: &str) -> Vec<Vec<Run>> {
    let chars: Vec<char> = folded_chars(chunk).collect();
    let (mut groups, mut group, mut i) = (Vec::new(), Vec::new(), 0);
    while i < chars.len() {
        let Some(kind) = kind(chars[i]) else {
            if !group.is_empty() {
                groups.push(std::mem::take(&mut group));
            }
            i += 1;
            continue;
        };
        let (mut text, mut has_point) = (String::new(), false);
        while let Some(&c) = chars.get(i) {
            let next_is_digit = chars.get(i + 1).is_some_and(|&n| self::kind(n) == Some(Kind::Number));
            if self::kind(c) == Some(kind) {
                text.push(c);
            } else if kind == Kind::Number && !has_point && matches!(c, '.' | ',') && next_is_digit {
                text.push('.');
                has_point = true;
            } else {
                break;
            }
            i += 1;
        }
        if has_point {
            text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
        }
        group.push(Run { kind, text });
    }
    if !group.is_empty() {
        groups.push(group);
    }
    groups
}

fn kind(c: char) -> Option<Kind> {
    match c {
        _ if c.is_numeric() => Some(Kind::Number),
        '\u{400}'..='\u{52f}' => Some(Kind::Cyrillic),
        _ if c.is_alphabetic() => Some(Kind::Letters),
        _ => None,
    }
}

/// A volume in millilitres or a weight in grams.
fn quantity(number: &str, name: &str) -> Option<String> {
    let unit = unit(name)?;
    let base = index_unit(unit.kind)?;
    let amount = (number.parse::<f64>().ok()? * unit.size * 1000.0).round() / 1000.0;
    (amount < 1e12).then(|| format!("{amount}{base}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(text: &str) -> Vec<String> {
        let mut words = words(text);
        words.sort();
        words
    }

    #[test]
    fn codes_are_kept_whole_and_split() {
        assert_eq!(sorted("DSC-W120/B"), ["120", "b", "dsc", "dscw120b", "w", "w120"]);
        assert_eq!(sorted("(pslx350h),"), ["350", "h", "pslx", "pslx350h"]);
        assert_eq!(sorted("black/white"), ["black", "white"]);
    }

    #[test]
    fn letters_that_look_alike_are_one_inside_a_code() {
        for code in ["ВС-120", "ВC-120", "BС-120", "BC-120"] {
            assert!(words(code).contains(&"bc120".to_string()), "{code}");
        }
        assert!(words("ДС-120").contains(&"дс120".to_string()));
        assert!(words("500см").contains(&"500см".to_string()) && words("сот") == ["сот"]);
    }

    #[test]
    fn numbers_and_units_are_made_one() {
        assert_eq!(sorted("500мл"), ["500", "500ml", "500мл", "мл"]);
        assert_eq!(sorted("0,50 Л"), ["0.5", "500ml", "л"]);
        assert_eq!(sorted("1.0kg"), ["1", "1000g", "1kg", "kg"]);
        assert_eq!(sorted("1,2,3"), ["1.2", "1.23", "3"]);
        assert_eq!(sorted("10. 200"), ["10", "200"]);
    }

    #[test]
    fn scripts_that_touch_are_split() {
        assert_eq!(sorted("концентратPROSEPT"), ["prosept", "концентрат", "концентратprosept"]);
        assert_eq!(sorted("Ёлка"), ["елка"]);
    }

    #[test]
    fn trigrams_mark_the_start() {
        assert_eq!(trigrams("лампа"), ["^ла", "лам", "амп", "мпа"]);
        assert_eq!(trigrams("no x cat"), ["^ca", "cat"], "shorter words are words already");
    }

    #[test]
    fn huge_texts_are_bounded() {
        assert_eq!(words(&"a ".repeat(100_000)).len(), MOST_WORDS);
        assert_eq!(words(&"я".repeat(1_000_000))[0].chars().count(), LONGEST_WORD);
        assert!(words(&"1-".repeat(1_000_000)).len() <= MOST_WORDS);
        assert!(words(" \u{0}\u{301} — ").is_empty());
    }
}
