//! What in a title is an article code: the rule by which [`report`](super::report) asks whether a vocabulary learnt codes by heart.

use crate::text::lexicon::unit;

/// Fewest characters of letters and digits mixed.
const MIXED: usize = 3;
/// Fewest digits of a code without letters.
const DIGITS: usize = 5;

/// The code-like strings of a text: unbroken runs of letters and digits that have both and at least three characters (`E2282HS`,
/// `a317`, `1800x1000`), but not a number with its unit (`256gb`, `500мл`); and runs of five or more digits (`047611`).
pub fn codes(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|run| is_code(run))
}

fn is_code(run: &str) -> bool {
    let digits = run.chars().filter(|c| c.is_numeric()).count();
    let all = run.chars().count();
    if digits == all {
        return all >= DIGITS;
    }
    digits > 0 && all >= MIXED && !is_quantity(run)
}

/// A number and then a known unit.
fn is_quantity(run: &str) -> bool {
    let name = run.trim_start_matches(|c: char| c.is_ascii_digit());
    name.len() < run.len() && unit(&name.to_lowercase()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_letters_and_digits_but_no_quantities() {
        let title = "Монитор Iiyama 21.5\" ProLite E2282HS-B1 256gb 500мл a317 1800x1000мм 047611 2024 x1 черный";
        assert_eq!(codes(title).collect::<Vec<_>>(), ["E2282HS", "a317", "1800x1000мм", "047611"]);
        assert_eq!(codes("").count(), 0);
    }
}
