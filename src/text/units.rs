//! Quantities that are the same however they are written: `0,5 л`, `500мл` and `500 ml`.

use super::lexicon::unit;

/// The number that a normalized word begins with, its unit at or after it, and whether that is the next word.
pub(super) fn number_and_unit<'a>(word: &'a str, next: Option<&'a str>) -> Option<(f64, &'a str, bool)> {
    let end = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
    let (number, rest) = word.split_at(end);
    let number = number.parse().ok()?;
    if rest.is_empty() { Some((number, next?, true)) } else { Some((number, rest, false)) }
}

/// The quantity that normalized words begin with, in thousandths of its smallest unit: kind, amount, and whether the second word
/// is part of it.
pub(super) fn quantity(word: &str, next: Option<&str>) -> Option<(usize, u64, bool)> {
    let (number, name, two) = number_and_unit(word, next)?;
    let unit = unit(name)?;
    Some((unit.kind, (number * unit.size * 1000.0).round() as u64, two))
}

#[cfg(test)]
mod tests {
    use super::quantity;

    #[test]
    fn one_amount_however_written() {
        let half_litre = |a, b| quantity(a, b).map(|(kind, amount, _)| (kind, amount));
        let want = half_litre("500мл", None);
        assert!(want.is_some());
        for (a, b) in [("0.5", Some("л")), ("0.5l", None), ("500", Some("ml")), ("0.5", Some("литра"))] {
            assert_eq!(half_litre(a, b), want, "{a} {b:?}");
        }
        assert_ne!(half_litre("500г", None), want);
        assert_ne!(half_litre("5л", None), want);
        assert_eq!(quantity("500", None), None);
        assert_eq!(quantity("w120", Some("л")), None);
        assert_eq!(quantity("1.2.3л", None), None);
    }
}
