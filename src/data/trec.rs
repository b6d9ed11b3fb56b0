//! Files of TREC, and what others made of them: runs (`query Q0 document rank score tag`; MS MARCO's `query document rank`)
//! and judgements (`query iteration document grade`; BEIR's `query-id corpus-id score` with a header). Any may be gzipped.
//!
//! As in trec_eval a run's ranks are not read: scores order it. What trec_eval does in silence is an error here: a score
//! that is NaN, a document that is twice in a query's list.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use super::ReadReport;
use super::columns::{Divided, each_line, wrong_count};
use super::plain::write_text;
use crate::records::{Judgement, Run};
use crate::{Error, Result};

/// Reads a run. Scores are kept as f32, as in trec_eval; MS MARCO's ranks become scores that fall.
///
/// # Errors
/// A file that can't be read; a line of too few or too many columns, a score that is no number or NaN, a rank that is no
/// whole number, a document that a query has twice: with the line.
pub fn read_run(path: &Path) -> Result<(Run, ReadReport)> {
    let (mut run, mut count) = (Run::default(), None);
    let report = each_line(path, Divided::AsFound, |line, columns| {
        let bad = |what: String, remedy: &str| Error::data(path, Some(line), what, remedy);
        let expected = *count.get_or_insert(if columns.len() == 3 { 3 } else { 6 });
        if columns.len() != expected {
            let six = "6 (query Q0 document rank score tag)";
            return Err(wrong_count(
                path,
                line,
                columns.len(),
                if expected == 3 { "3 (query document rank)" } else { six },
            ));
        }
        let (query, document, score) = match *columns {
            [query, document, rank] => match rank.parse::<u32>() {
                Ok(rank) if rank > 0 => (query, document, -(rank as f32)),
                _ => {
                    let what = format!("the rank {rank} is no whole number above 0");
                    return Err(bad(what, "lines of scores need six columns: query Q0 document rank score tag"));
                }
            },
            [query, _, document, _, score, _] => match score.parse::<f64>() {
                Ok(number) if !number.is_nan() => (query, document, number as f32),
                Ok(_) => {
                    let what = format!("the score of document {document} for query {query} is NaN");
                    return Err(bad(what, "find out why its ranker gave none: a run with NaN has no order"));
                }
                Err(_) => {
                    return Err(bad(format!("the score {score} is no number"), "write one, such as 12.5 or 1e-3"));
                }
            },
            _ => return Err(wrong_count(path, line, columns.len(), "6")),
        };
        match run.scores.entry(query.to_string()).or_default().entry(document.to_string()) {
            Entry::Vacant(entry) => _ = entry.insert(score),
            Entry::Occupied(_) => {
                let what = format!("document {document} is in the list of query {query} a second time");
                return Err(bad(what, "keep one of the two lines"));
            }
        }
        Ok(())
    })?;
    Ok((run, report))
}

/// Reads judgements, in the file's order.
///
/// # Errors
/// A file that can't be read; a line of too few or too many columns, a grade that is no number, two grades of one document
/// for one query: with the line.
pub fn read_qrels(path: &Path) -> Result<(Vec<Judgement>, ReadReport)> {
    let (mut judgements, mut count) = (Vec::new(), None);
    let mut grades: BTreeMap<(String, String), f32> = BTreeMap::new();
    let mut repeated = 0u64;
    let mut report = each_line(path, Divided::AsFound, |line, columns| {
        let is_first = count.is_none();
        let expected = *count.get_or_insert(if columns.len() == 3 { 3 } else { 4 });
        let (query, document, grade) = match *columns {
            [query, document, grade] if expected == 3 => (query, document, grade),
            [query, _, document, grade] if expected == 4 => (query, document, grade),
            _ => {
                let what =
                    if expected == 3 { "3 (query document grade)" } else { "4 (query iteration document grade)" };
                return Err(wrong_count(path, line, columns.len(), what));
            }
        };
        if is_first && is_header(query, grade) {
            return Ok(());
        }
        let Some(grade) = grade.parse::<f32>().ok().filter(|grade| grade.is_finite()) else {
            let what = format!("the grade {grade} is no number");
            return Err(Error::data(path, Some(line), what, "write 0 for not relevant, 1 and more for relevant"));
        };
        match grades.entry((query.to_string(), document.to_string())) {
            Entry::Vacant(entry) => _ = entry.insert(grade),
            Entry::Occupied(entry) if *entry.get() == grade => {
                repeated += 1;
                return Ok(());
            }
            Entry::Occupied(entry) => {
                let what = format!("document {document} has grade {grade} and {} for query {query}", entry.get());
                return Err(Error::data(path, Some(line), what, "keep one of the two lines"));
            }
        }
        judgements.push(Judgement { query: query.into(), document: document.into(), grade });
        Ok(())
    })?;
    if judgements.is_empty() {
        return Err(Error::data(path, None, "no judgement, only a header", "give a file with judgements"));
    }
    if repeated > 0 {
        let lines = if repeated == 1 { "line repeats" } else { "lines repeat" };
        report.notes.push(format!("{}: {repeated} {lines} a judgement and say nothing new", path.display()));
    }
    Ok((judgements, report))
}

/// BEIR's first line, `query-id corpus-id score`, or one like it.
fn is_header(query: &str, grade: &str) -> bool {
    let query = query.to_lowercase();
    grade.parse::<f32>().is_err() && (query.contains("query") || query.contains("qid") || query.contains("topic"))
}

/// Writes a run in trec_eval's order, gzipped where the name ends in `.gz`.
///
/// # Errors
/// A name that is a folder's; the system's.
pub fn write_run(path: &Path, run: &Run, tag: &str) -> Result<()> {
    write_text(path, |out| {
        for query in run.scores.keys() {
            for (place, (document, score)) in run.ranked(query).into_iter().enumerate() {
                writeln!(out, "{query} Q0 {document} {} {score} {tag}", place + 1)?;
            }
        }
        Ok(())
    })
}

/// Writes judgements in TREC's four columns, gzipped where the name ends in `.gz`.
///
/// # Errors
/// A name that is a folder's; the system's.
pub fn write_qrels(path: &Path, judgements: &[Judgement]) -> Result<()> {
    write_text(path, |out| {
        judgements.iter().try_for_each(|j| writeln!(out, "{} 0 {} {}", j.query, j.document, j.grade))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn a_run_comes_back_as_it_was_written_gzipped_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let lists = |scores: [(&str, f32); 3]| scores.map(|(d, s)| (d.to_string(), s)).into();
        let run = Run { scores: BTreeMap::from([("q1".into(), lists([("a", 0.1), ("b", -3e-7), ("c", 0.1)]))]) };
        for name in ["x.run", "x.run.gz"] {
            let path = dir.path().join(name);
            write_run(&path, &run, "bm25").unwrap();
            assert_eq!(std::fs::read(&path).unwrap().starts_with(&[0x1f, 0x8b]), name.ends_with("gz"));
            assert_eq!(read_run(&path).unwrap().0, run);
        }
        let text = std::fs::read_to_string(dir.path().join("x.run")).unwrap();
        assert_eq!(text.lines().next(), Some("q1 Q0 c 1 0.1 bm25"), "equal scores: id descending");
    }

    #[test]
    fn judgements_are_read_in_each_layout() {
        let expected: Vec<Judgement> = [("1", "d 1", 2.0), ("1", "d2", 0.0)]
            .map(|(q, d, grade)| Judgement { query: q.into(), document: d.into(), grade })
            .into();
        for text in ["query-id\tcorpus-id\tscore\n1\td 1\t2\n1\td2\t0\n", "1\t0\td 1\t2\r\n\n1\t0\td2\t0"] {
            let (_dir, path) = file(text);
            assert_eq!(read_qrels(&path).unwrap().0, expected, "{text}");
        }
        let (dir, path) = file("1 0 d1 1\n1 0 d1 1\n");
        let (read, report) = read_qrels(&path).unwrap();
        assert_eq!((read.len(), report.notes.len()), (1, 1));
        let again = dir.path().join("again.gz");
        write_qrels(&again, &expected).unwrap();
        assert!(read_qrels(&again).is_err(), "spaces in an id make five columns");
        write_qrels(&again, &read).unwrap();
        assert_eq!(read_qrels(&again).unwrap().0, read);
    }

    #[test]
    fn ms_marcos_ranks_order_a_run() {
        let (_dir, path) = file("7\tb\t1\n7\ta\t2\n");
        let (run, _) = read_run(&path).unwrap();
        assert_eq!(run.ranked("7"), [("b", -1.0), ("a", -2.0)]);
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        let runs = [
            ("1 Q0 a 1 0.5 x\n1 Q0 b 2 0.4", ":2: 5 columns, not 6"),
            ("1 Q0 a 1 0.5 x\n1 Q0 b 2 nan x\n", ":2: the score of document b for query 1 is NaN"),
            ("1 Q0 a 1 high x\n", ":1: the score high is no number"),
            ("1 Q0 a 1 0.5 x\n1 Q0 a 2 0.4 x\n", ":2: document a is in the list of query 1 a second time"),
            ("1 a 0.5\n", ":1: the rank 0.5 is no whole number"),
            ("1 a 1\n1 b\n", ":2: 2 columns, not 3"),
            ("", "the file is empty"),
        ];
        for (text, part) in runs {
            let (_dir, path) = file(text);
            let said = read_run(&path).unwrap_err().to_string();
            assert!(said.contains(part) && said.contains("; "), "{said}");
        }
        let qrels = [
            ("1 0 a 1\n1 0 b\n", ":2: 3 columns, not 4"),
            ("1 0 a yes\n", ":1: the grade yes is no number"),
            ("1 0 a 1\n1 0 a 0\n", ":2: document a has grade 0 and 1"),
            ("query-id\tcorpus-id\tscore\n", "no judgement, only a header"),
        ];
        for (text, part) in qrels {
            let (_dir, path) = file(text);
            let said = read_qrels(&path).unwrap_err().to_string();
            assert!(said.contains(part) && said.contains("; "), "{said}");
        }
    }
}
