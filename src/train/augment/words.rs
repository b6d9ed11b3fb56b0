//! Words as people write them: numbers with units, codes, capitals.

use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

use crate::text::lexicon::{Language, any_unit};
use crate::text::normalize::folded;

/// A word without the punctuation around it.
pub(super) fn core(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

pub(super) fn set_core(word: &mut String, new: &str) {
    let old = core(word);
    let start = word.find(old).unwrap_or(0);
    let end = start + old.len();
    word.replace_range(start..end, new);
}

/// Russian if a text has small Cyrillic letters.
pub(super) fn language(text: &str) -> Language {
    if text.contains(|c| ('а'..='я').contains(&c)) { Language::Russian } else { Language::English }
}

/// Splits `0,5л` into `0,5` and `л`; none where it is not a number with an optional unit.
pub(super) fn quantity(word: &str) -> Option<(&str, &str)> {
    let end = word.find(|c: char| !c.is_ascii_digit() && c != ',' && c != '.').unwrap_or(word.len());
    let (number, unit) = word.split_at(end);
    amount(number)?;
    (unit.is_empty() || any_unit(&folded(unit)).is_some()).then_some((number, unit))
}

pub(super) fn amount(number: &str) -> Option<f64> {
    let ends = number.starts_with(|c: char| c.is_ascii_digit()) && number.ends_with(|c: char| c.is_ascii_digit());
    if ends { number.replace(',', ".").parse().ok() } else { None }
}

/// An amount as people write it, with the decimal sign of `like` or of the unit's language; none if it takes more than
/// three decimals or five digits.
pub(super) fn written(amount: f64, like: &str, unit: &str) -> Option<String> {
    let thousandths = (amount * 1000.0).round();
    let exact = (thousandths / 1000.0 - amount).abs() < 1e-9;
    if !exact || !(1.0..1e8).contains(&thousandths) {
        return None;
    }
    let text = format!("{:.3}", thousandths / 1000.0);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let comma = like.contains(',') || (!like.contains('.') && !unit.is_ascii());
    Some(if comma { text.replace('.', ",") } else { text.to_string() })
}

/// Another number with the same unit: twice, half, ten times, or one digit changed.
pub(super) fn other_number(word: &str, rng: &mut impl Rng) -> Option<String> {
    let (number, unit) = quantity(word)?;
    let old = amount(number)?;
    let new = match rng.random_range(0..4) {
        0 => written(old * 2.0, number, unit),
        1 => written(old / 2.0, number, unit),
        2 => written(old * 10.0, number, unit),
        _ => None,
    };
    let new = match new.filter(|n| amount(n) != Some(old)) {
        Some(new) => new,
        None => other_character(number, rng)?,
    };
    Some(format!("{new}{unit}"))
}

/// Changes one digit or letter into another of its kind: digit, case and alphabet stay; a leading digit is never made 0.
pub(super) fn other_character(text: &str, rng: &mut impl Rng) -> Option<String> {
    let mut characters: Vec<char> = text.chars().collect();
    let kind = |c: char| match c {
        '0'..='9' => Some(('0', 10)),
        'a'..='z' => Some(('a', 26)),
        'A'..='Z' => Some(('A', 26)),
        'а'..='я' => Some(('а', 32)),
        'А'..='Я' => Some(('А', 32)),
        _ => None,
    };
    let places: Vec<usize> = (0..characters.len()).filter(|&i| kind(characters[i]).is_some()).collect();
    let &place = places.choose(rng)?;
    let (first, size) = kind(characters[place])?;
    let least = u32::from(place == 0 && first == '0' && characters[0] != '0');
    let old = characters[place] as u32 - first as u32;
    let mut new = rng.random_range(least..size - 1);
    if new >= old {
        new += 1;
    }
    characters[place] = char::from_u32(first as u32 + new)?;
    Some(characters.into_iter().collect())
}

/// `new` in upper case or with a capital where `old` has it.
pub(super) fn in_case(old: &str, new: &str) -> String {
    let mut letters = old.chars().filter(|c| c.is_alphabetic());
    let first = letters.next().is_some_and(char::is_uppercase);
    if first && letters.all(char::is_uppercase) {
        return new.to_uppercase();
    }
    let mut characters = new.chars();
    match characters.next() {
        Some(c) if first => c.to_uppercase().chain(characters).collect(),
        _ => new.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::rng;
    use super::*;

    #[test]
    fn quantities_and_characters() {
        assert_eq!(quantity("0,5л"), Some(("0,5", "л")));
        assert_eq!(quantity("12"), Some(("12", "")));
        assert_eq!(quantity("1.2.3"), None);
        assert_eq!(quantity("5abc"), None);
        assert_eq!(quantity(",5"), None);
        assert_eq!(written(0.5, "500", "л").as_deref(), Some("0,5"));
        assert_eq!(written(0.5, "500", "l").as_deref(), Some("0.5"));
        assert_eq!(written(1.0 / 3.0, "1", "л"), None);
        assert_eq!((in_case("GB", "tb"), in_case("Белый", "синий")), ("TB".into(), "Синий".into()));
        for seed in 0..200 {
            let new = other_character("5-бZ", &mut rng(seed)).unwrap();
            assert_ne!(new, "5-бZ");
            assert_eq!(new.chars().count(), 4);
            assert!(!new.starts_with('0') && new.contains('-'));
            let number = other_number("0,5л", &mut rng(seed)).unwrap();
            assert!(number.ends_with('л') && number != "0,5л", "{number}");
        }
        assert_eq!(other_character("—", &mut rng(0)), None);
    }
}
