//! Quantities that are the same however they are written: `0,5 л`, `500мл` and `500 ml`.

/// Units by what they measure, with their size in the smallest of the kind.
const UNITS: &[&[(&str, f64)]] = &[
    &[
        ("мл", 1.0),
        ("ml", 1.0),
        ("л", 1000.0),
        ("l", 1000.0),
        ("литр", 1000.0),
        ("литра", 1000.0),
        ("литров", 1000.0),
        ("litre", 1000.0),
        ("liter", 1000.0),
        ("litres", 1000.0),
        ("liters", 1000.0),
    ],
    &[("г", 1.0), ("гр", 1.0), ("g", 1.0), ("кг", 1000.0), ("kg", 1000.0)],
    &[
        ("мм", 1.0),
        ("mm", 1.0),
        ("см", 10.0),
        ("cm", 10.0),
        ("м", 1000.0),
        ("m", 1000.0),
        ("метр", 1000.0),
        ("метра", 1000.0),
        ("метров", 1000.0),
        ("meter", 1000.0),
        ("metre", 1000.0),
        ("meters", 1000.0),
        ("metres", 1000.0),
    ],
    &[("мб", 1.0), ("mb", 1.0), ("гб", 1000.0), ("gb", 1000.0), ("тб", 1e6), ("tb", 1e6)],
    &[("вт", 1.0), ("w", 1.0), ("квт", 1000.0), ("kw", 1000.0)],
    &[
        ("шт", 1.0),
        ("штук", 1.0),
        ("pcs", 1.0),
        ("pc", 1.0),
        ("pk", 1.0),
        ("piece", 1.0),
        ("pieces", 1.0),
        ("pack", 1.0),
        ("packs", 1.0),
        ("count", 1.0),
        ("ct", 1.0),
    ],
    &[("inch", 1.0), ("inches", 1.0), ("in", 1.0), ("дюйм", 1.0), ("дюймов", 1.0), ("дюйма", 1.0)],
    &[("%", 1.0), ("percent", 1.0), ("процент", 1.0), ("процента", 1.0), ("процентов", 1.0)],
    &[("v", 1.0), ("в", 1.0), ("volt", 1.0), ("volts", 1.0), ("вольт", 1.0)],
    &[("hz", 1.0), ("гц", 1.0), ("khz", 1e3), ("кгц", 1e3), ("mhz", 1e6), ("мгц", 1e6), ("ghz", 1e9), ("ггц", 1e9)],
];

/// Kind of a unit and its size; none for another word.
fn unit(word: &str) -> Option<(usize, f64)> {
    let kinds = UNITS.iter().enumerate();
    kinds
        .flat_map(|(kind, units)| units.iter().map(move |u| (kind, u)))
        .find(|(_, u)| u.0 == word)
        .map(|(k, u)| (k, u.1))
}

/// The number that a normalised word begins with, what stands at or after it for a unit, and whether that is the next word.
pub(super) fn number_and_unit<'a>(word: &'a str, next: Option<&'a str>) -> Option<(f64, &'a str, bool)> {
    let end = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
    let (number, rest) = word.split_at(end);
    let number = number.parse().ok()?;
    if rest.is_empty() { Some((number, next?, true)) } else { Some((number, rest, false)) }
}

/// The quantity that normalised words begin with, in thousandths of its smallest unit: kind, amount, and whether the second word
/// is part of it.
pub(super) fn quantity(word: &str, next: Option<&str>) -> Option<(usize, u64, bool)> {
    let (number, name, two) = number_and_unit(word, next)?;
    let (kind, size) = unit(name)?;
    Some((kind, (number * size * 1000.0).round() as u64, two))
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
