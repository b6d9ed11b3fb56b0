//! What other programs leave in a table: columns of row numbers, columns without name and value, a sum in the last rows.

use crate::Record;

/// Names under which pandas, R, Spark and spreadsheets write row numbers.
enum Name {
    /// No other column is called so.
    Index,
    /// Another column could be called so.
    Perhaps,
    Other,
}

fn name(column: &str) -> Name {
    let numbered = |start: &str, end: &str| {
        let inner = column.strip_prefix(start).and_then(|c| c.strip_suffix(end));
        inner.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
    };
    if column.is_empty() || numbered("Unnamed: ", "") || numbered("level_", "") || numbered("__index_level_", "__") {
        return Name::Index;
    }
    let lower = column.to_lowercase();
    let others = [
        "index",
        "x",
        "row",
        "rownames",
        "row.names",
        "row_names",
        "rowname",
        "rownum",
        "row_num",
        "row_number",
        "rn",
        "n",
        "no",
        "no.",
        "nr",
        "nr.",
        "#",
        "№",
        "№ п/п",
        "№п/п",
        "п/п",
        "номер строки",
    ];
    if others.contains(&lower.as_str()) || numbered("X.", "") || numbered("...", "") || numbered("_c", "") {
        return Name::Perhaps;
    }
    Name::Other
}

/// Whether a column holds the numbers of rows and not of products; `skipped` rows may be missing among them.
pub(super) fn is_row_numbers(column: &str, values: &[&str], skipped: u64) -> bool {
    let numbers = || values.iter().map(|v| v.trim()).map(|v| v.strip_suffix(".0").unwrap_or(v).parse::<u64>().ok());
    match name(column) {
        Name::Other => false,
        Name::Index => !values.is_empty() && numbers().all(|n| n.is_some()),
        Name::Perhaps => {
            let Some(Some(first)) = numbers().next() else { return false };
            let mut next = first;
            let rises = numbers().all(|n| {
                let fits = n.is_some_and(|n| n >= next);
                next = n.unwrap_or(0).saturating_add(1);
                fits
            });
            rises && first <= skipped.saturating_add(1) && next - first <= skipped.saturating_add(values.len() as u64)
        }
    }
}

/// Whether a column has no name of its own and no value: what is left of delimiters at the ends of rows.
pub(super) fn is_hollow(column: &str, values: &[&str]) -> bool {
    let number = column.strip_prefix("column ").or(column.strip_prefix("Unnamed: "));
    (column.is_empty() || number.is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit())))
        && values.iter().all(|v| v.is_empty())
}

/// Whether a last row is a sum or a count of the rows above it: it begins with such a word and has cells without a value.
pub(super) fn is_total(record: &Record) -> bool {
    const WORDS: [&str; 14] = [
        "итого",
        "всего",
        "общий итог",
        "total",
        "grand total",
        "totals",
        "subtotal",
        "sum",
        "summe",
        "gesamt",
        "suma",
        "razem",
        "totale",
        "count",
    ];
    let cells = || std::iter::once(record.id.as_str()).chain(record.values.iter().map(String::as_str));
    let Some(first) = cells().map(str::trim).find(|c| !c.is_empty()) else { return false };
    let word = first.split([':', '(']).next().unwrap_or_default().trim().to_lowercase();
    let is_word = WORDS.contains(&word.as_str()) || word.strip_prefix("итого ").is_some_and(|w| w.starts_with("по "));
    is_word && cells().any(|c| c.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_numbers_are_known_by_name_and_values() {
        for (column, values) in [
            ("Unnamed: 0", &["70431", "18"][..]),
            ("", &["0", "1"]),
            ("__index_level_0__", &["5", "3"]),
            ("index", &["0", "1", "2"]),
            ("X", &["1", "2", "3"]),
            ("...1", &["1", "2"]),
            ("_c0", &["0", "1"]),
            ("№", &["1", "2"]),
        ] {
            assert!(is_row_numbers(column, values, 0), "{column}");
        }
        for (column, values) in [
            ("Unnamed: 0", &["a", "b"][..]),
            ("index", &["5", "9"]),
            ("X", &["10", "20"]),
            ("no", &["1", "1"]),
            ("price", &["0", "1"]),
            ("", &["", ""]),
        ] {
            assert!(!is_row_numbers(column, values, 0), "{column}");
        }
        assert!(is_row_numbers("index", &["0", "2"], 1), "a row between them was dropped");
    }

    #[test]
    fn totals_are_rows_that_lack_something() {
        let total = |id: &str, values: &[&str]| {
            let values: Vec<String> = values.iter().map(|v| v.to_string()).collect();
            is_total(&Record { id: id.into(), columns: values.clone().into(), values })
        };
        assert!(total("Итого", &["", "123,00"]) && total("", &["Total:", ""]) && total("Grand Total", &["", ""]));
        assert!(!total("Total", &["toothpaste", "5"]) && !total("1", &["Total 75 ml", ""]) && !total("2", &["", ""]));
    }
}
