//! Which column of a table holds the ids. A column called `id` does, whatever its letter case; else the first, unless its
//! values are texts or prices: then a column of codes, and if there is none the line numbers. What was not written
//! plainly is said, with the flag that settles it.

use std::collections::HashSet;

use super::clean::{self, is_missing};
use super::notes::Notes;
use super::rows::{Reader, Row};
use crate::{Error, Result};

/// Words of a column's name that say that it holds ids.
const WORDS: [&str; 21] = [
    "id",
    "ид",
    "uuid",
    "guid",
    "sku",
    "code",
    "код",
    "артикул",
    "article",
    "asin",
    "ean",
    "upc",
    "gtin",
    "isbn",
    "mpn",
    "barcode",
    "штрихкод",
    "штрих",
    "key",
    "pk",
    "number",
];

/// The place of the id column, judging by the first rows; `None`: each row's id is its line.
pub(super) fn column(reader: &Reader, rows: &[Row], named: Option<&str>) -> Result<Option<usize>> {
    let columns = reader.columns();
    if let Some(name) = named {
        return reader.column(name).map(Some);
    }
    if columns.is_empty() {
        return Err(Error::data(reader.path(), None, "no columns", "give a table with an id and texts"));
    }
    if let Some(at) = columns.iter().position(|c| c == "id") {
        return Ok(Some(at));
    }
    let is_id = |c: &String| matches!(c.trim_start_matches('_').to_lowercase().as_str(), "id" | "ид");
    let alike: Vec<usize> = (0..columns.len()).filter(|i| is_id(&columns[*i])).collect();
    if let [at] = alike[..] {
        if at > 0 {
            from(&reader.notes, &columns[at], &columns[0]);
        }
        return Ok(Some(at));
    }
    let values = |at: usize| -> Vec<&str> { rows.iter().map(|r| r.values.get(at).map_or("", |v| v.trim())).collect() };
    if columns.len() == 1 || has_id_word(&columns[0]) || !(are_texts(&values(0)) || are_prices(&values(0))) {
        return Ok(Some(0));
    }
    let codes = (1..columns.len()).find(|at| has_id_word(&columns[*at]) && are_codes(&values(*at)));
    match codes {
        Some(at) => from(&reader.notes, &columns[at], &columns[0]),
        None => reader.notes.say(format!(
            "no column of ids: each row's id is its line number (`{}` holds texts; --id names a column)",
            columns[0]
        )),
    }
    Ok(codes)
}

fn from(notes: &Notes, taken: &str, first: &str) {
    notes.say(format!("the ids are those of the column `{taken}`, not of the first, `{first}` (--id names another)"));
}

/// Whether a column's name speaks of ids: `product_id`, `productId`, `Код товара`.
pub(super) fn has_id_word(name: &str) -> bool {
    let mut spaced = String::new();
    let mut was_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && was_lower {
            spaced.push(' ');
        }
        was_lower = c.is_lowercase();
        spaced.extend(c.to_lowercase());
    }
    spaced.split(|c: char| !c.is_alphanumeric()).any(|word| WORDS.contains(&word))
}

/// Values of which half or more are of several words.
fn are_texts(values: &[&str]) -> bool {
    2 * values.iter().filter(|v| v.contains(char::is_whitespace)).count() >= values.len().max(1)
}

/// Values of which half or more are decimal numbers that are not whole.
fn are_prices(values: &[&str]) -> bool {
    let is_price = |v: &&&str| {
        let number = v.replace(',', ".");
        number.parse::<f64>().is_ok_and(|x| x.is_finite() && x.fract() != 0.0)
    };
    2 * values.iter().filter(is_price).count() >= values.len().max(1)
}

/// Values that name their row: each there once, of one word.
fn are_codes(values: &[&str]) -> bool {
    let mut seen = HashSet::new();
    values.iter().all(|v| !is_missing(v) && seen.insert(clean::id(v))) && !are_texts(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_speak_of_ids() {
        for name in ["id", "ID", "product_id", "productId", "Код товара", "SKU", "_key", "Артикул"] {
            assert!(has_id_word(name), "{name}");
        }
        for name in ["name", "width", "Идея", "codec", "video"] {
            assert!(!has_id_word(name), "{name}");
        }
    }
}
