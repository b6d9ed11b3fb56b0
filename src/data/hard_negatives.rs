//! Files that name documents which are hard to tell from a match: a run (what some other program found) or triples.

use std::path::Path;

use super::ReadReport;
use super::columns::{Divided, each_line, wrong_count};
use super::ms_marco::{Triple, triple_of};
use super::trec::read_run;
use crate::Result;

/// Gives each document that a file names for a query to `take`: the query, a document that it should come behind, and the document. A run (six columns)
/// names a query's documents best first and no other document; triples, three ids between tabs or a JSON list of them (MS MARCO's
/// `qidpidtriples`), are given one by one in the file's order, so that a file of any length is read in little memory.
///
/// # Errors
/// A file that can't be read; one whose first line is neither; what [`read_run`] refuses; a line that is no triple among triples.
pub fn each_hard_negative(path: &Path, mut take: impl FnMut(&str, Option<&str>, &str)) -> Result<ReadReport> {
    let mut is_run = None;
    let report = each_line(path, Divided::ByTabs, |line, columns| {
        if is_run.is_none() {
            let is_list = columns[0].starts_with('[');
            let width = if columns.len() == 1 { columns[0].split_whitespace().count() } else { columns.len() };
            let six = !is_list && width == 6;
            if !six && !is_list && columns.len() != 3 {
                let both =
                    "6 of a run (query Q0 document rank score tag), or 3 ids between tabs (query positive negative)";
                return Err(wrong_count(path, line, columns.len(), both));
            }
            is_run = Some(six);
        }
        if is_run == Some(false) {
            let Triple { query, positive, negative } = triple_of(path, line, columns)?;
            take(&query, Some(&positive), &negative);
        }
        Ok(())
    })?;
    if is_run != Some(true) {
        return Ok(report);
    }
    let (run, report) = read_run(path)?;
    for query in run.scores.keys() {
        run.ranked(query).into_iter().for_each(|(document, _)| take(query, None, document));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Result<Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hard");
        std::fs::write(&path, text).unwrap();
        let mut named = Vec::new();
        each_hard_negative(&path, |query, positive, negative| {
            named.push(format!("{query} {} {negative}", positive.unwrap_or("-")));
        })?;
        Ok(named)
    }

    #[test]
    fn runs_come_best_first_and_triples_as_they_are() {
        for space in [" ", "\t"] {
            let run = "1 Q0 a 2 0.5 x\n1 Q0 b 1 0.75 x\n\n0 Q0 c 1 1 x\n".replace(' ', space);
            assert_eq!(named(&run).unwrap(), ["0 - c", "1 - b", "1 - a"]);
        }
        assert_eq!(named("2\t7\t9\n1\t3\t4\n2\t7\t8\n").unwrap(), ["2 7 9", "1 3 4", "2 7 8"]);
        assert_eq!(named("[2, 7, \"9\"]\n").unwrap(), ["2 7 9"]);
    }

    #[test]
    fn what_is_neither_is_refused_with_its_line() {
        for (text, part) in [
            ("1\t2\n", "hard:1: 2 columns, not 6 of a run"),
            ("1 2 3\n", "hard:1: 1 column, not 6 of a run"),
            ("1\t2\t3\n1\t2\n", "hard:2: 2 columns, not 3"),
            ("1 Q0 a 1 0.5 x\n1 Q0 b 2\n", "hard:2: 4 columns, not 6"),
            ("", "empty"),
        ] {
            let said = named(text).unwrap_err();
            assert!(said.is_user_error() && said.to_string().contains(part), "{said}");
        }
    }
}
