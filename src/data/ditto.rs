//! Ditto's lines (Li et al., PVLDB 2021): `COL name VAL value COL name VAL value ...`, tab, the same of the other side,
//! tab, 0 or 1. Values may be empty and hold anything but tabs; a line may stand twice. Spaces around a value are the
//! serialisation's and are cut. The id is the line's number.

use std::path::Path;
use std::sync::Arc;

use super::clean::clean;
use super::lines::{Lines, body};
use super::notes::Notes;
use super::open::{Opened, open};
use super::rows::bounded;
use super::source::push;
use super::{ReadOptions, ReadReport, label};
use crate::records::{PairSet, Record, Split};
use crate::{Error, Result};

/// Reads the pairs of one part.
pub(super) fn read(path: &Path, part: Option<Split>, options: &ReadOptions, set: &mut PairSet) -> Result<ReadReport> {
    let notes = Notes::default();
    let Opened::Text { text, is_pipe } = open(path, options, &notes)? else {
        return Err(Error::data(path, None, "a Parquet file, not Ditto's lines", "name another format"));
    };
    let mut lines = Lines::new(path, text, is_pipe);
    let mut columns: [Arc<[String]>; 2] = [Arc::new([]), Arc::new([])];
    let (mut skipped, mut raw) = (ReadReport::default(), Vec::new());
    loop {
        raw.clear();
        match lines.next(&mut raw) {
            Ok(false) => break,
            Ok(true) if body(&raw).trim_ascii().is_empty() => {}
            Ok(true) => match pair(path, lines.number(), body(&raw), &mut columns, &notes) {
                Ok((left, right, judged)) => push(set, left, right, Some(judged), part)?,
                Err(error) => skipped.take(error, options.skip_bad_rows)?,
            },
            Err(error) => skipped.take(error, options.skip_bad_rows)?,
        }
    }
    skipped.notes = notes.lines(path);
    Ok(skipped)
}

fn pair(
    path: &Path,
    line: u64,
    raw: &[u8],
    columns: &mut [Arc<[String]>; 2],
    notes: &Notes,
) -> Result<(Record, Record, bool)> {
    let bad = |what: &str, remedy: &str| Error::data(path, Some(line), what, remedy);
    let text = std::str::from_utf8(raw).map_err(|_| bad("bytes that are not UTF-8", "save the file as UTF-8"))?;
    let cells: Vec<&str> = text.split('\t').collect();
    let [left, right, judged] = cells[..] else {
        let what = format!("{} cells between tabs, not 3", cells.len());
        return Err(bad(&what, "write left, tab, right, tab, label"));
    };
    let judged = label::required(path, line, "label", judged)?;
    let mut record = |side: &str, i: usize| -> Result<Record> {
        let fields = fields(side).ok_or_else(|| {
            let what = format!("the {} side is not `COL name VAL value ...`", ["left", "right"][i]);
            bad(&what, "serialise it as Ditto does, or name another format")
        })?;
        for (name, value) in &fields {
            bounded(path, line, || name.to_string(), value.len())?;
        }
        let same = columns[i].iter().map(String::as_str).eq(fields.iter().map(|f| f.0));
        if !same {
            columns[i] = fields.iter().map(|f| f.0.to_string()).collect();
        }
        let mut values: Vec<String> = fields.iter().map(|f| f.1.to_string()).collect();
        values.iter_mut().for_each(|value| clean(notes, line, value));
        Ok(Record { id: line.to_string(), columns: columns[i].clone(), values })
    };
    Ok((record(left, 0)?, record(right, 1)?, judged))
}

/// The named values of one side; `None` where it does not start with `COL name VAL`.
fn fields(side: &str) -> Option<Vec<(&str, &str)>> {
    let mut fields = Vec::new();
    let (mut name, mut rest) = start(side.trim_start())?;
    loop {
        // The value ends where the next ` COL name VAL` starts; an empty value may leave one space only.
        let next = rest
            .match_indices("COL ")
            .filter(|(i, _)| *i == 0 || rest.as_bytes()[i - 1] == b' ')
            .find_map(|(i, _)| Some((i, start(&rest[i..])?)));
        match next {
            Some((end, (next_name, next_rest))) => {
                fields.push((name, rest[..end].trim()));
                (name, rest) = (next_name, next_rest);
            }
            None => {
                fields.push((name, rest.trim()));
                return Some(fields);
            }
        }
    }
}

/// `COL name VAL rest` to (name, rest).
fn start(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix("COL ")?;
    let (name, rest) = match text.split_once(" VAL ") {
        Some(parts) => parts,
        None => (text.strip_suffix(" VAL")?, ""),
    };
    let name = name.trim();
    (!name.is_empty() && !name.split(' ').any(|word| word == "COL" || word == "VAL")).then_some((name, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_be_empty_and_hold_the_marks() {
        assert_eq!(fields("COL a VAL x COL b VAL  COL c VAL y z "), Some(vec![("a", "x"), ("b", ""), ("c", "y z")]));
        assert_eq!(fields("COL a VAL COL b VAL 2"), Some(vec![("a", ""), ("b", "2")]));
        assert_eq!(fields("COL a VAL x COL b VAL"), Some(vec![("a", "x"), ("b", "")]));
        assert_eq!(fields("COL a VAL 1 COL of 3"), Some(vec![("a", "1 COL of 3")]));
        assert_eq!(fields("COL song name VAL PROTOCOL x"), Some(vec![("song name", "PROTOCOL x")]));
        assert_eq!(fields("no marks"), None);
        assert_eq!(fields("COL a"), None);
    }
}
