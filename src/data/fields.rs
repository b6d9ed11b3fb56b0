//! Pairs out of one table, where nobody labelled any: a field of a record asks, another field of the same record answers (a title and its
//! text, a name and its description). With non-matches from BM25 this is a first lesson in relevance; as a task for pre-training see
//! Chang et al., "Pre-training Tasks for Embedding-based Large-scale Retrieval", ICLR 2020.

use std::path::Path;
use std::sync::Arc;

use super::{ReadOptions, ReadReport, read_table};
use crate::records::{Pair, PairSet, Record};
use crate::{Error, Result};

/// Reads the pairs: all are matches of no split. A record that lacks one of the two texts is left out and counted.
///
/// # Errors
/// A table that can't be read or lacks a column; no record with both texts.
pub(super) fn read(path: &Path, query: &str, document: &str, options: &ReadOptions) -> Result<(PairSet, ReadReport)> {
    let (table, mut report) = read_table(path, options)?;
    let missing = |name: &str| {
        let what = format!("no column `{name}`; there is: {}", table.columns.join(", "));
        Error::data(path, None, what, "name one of these, or add it")
    };
    let column = |name: &str| table.columns.iter().position(|c| c == name).ok_or_else(|| missing(name));
    let (asks, answers) = (column(query)?, column(document)?);
    let names: [Arc<[String]>; 2] = [query, document].map(|name| vec![name.to_string()].into());
    let (mut set, all) = (PairSet::default(), table.records.len());
    for record in table.records {
        let texts = [asks, answers].map(|at| record.values.get(at).cloned().unwrap_or_default());
        if texts.iter().any(|text| text.trim().is_empty()) {
            continue;
        }
        let row = set.pairs.len() as u32;
        let [left, right] = texts;
        let record = |columns: &Arc<[String]>, text| Record {
            id: record.id.clone(),
            columns: columns.clone(),
            values: vec![text],
        };
        set.left.push(record(&names[0], left));
        set.right.push(record(&names[1], right));
        set.pairs.push(Pair { left: row, right: row, grade: Some(Pair::grade_of(true)), split: None });
    }
    if set.pairs.is_empty() {
        let what = format!("no record has both `{query}` and `{document}`");
        return Err(Error::data(path, None, what, "name two columns with texts"));
    }
    if set.pairs.len() < all {
        let left_out = all - set.pairs.len();
        report.notes.push(format!(
            "{}: {left_out} record{} without `{query}` or `{document}` left out",
            path.display(),
            if left_out == 1 { "" } else { "s" }
        ));
    }
    Ok((set, report))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Source, read_pairs};

    #[test]
    fn a_record_asks_for_its_own_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("corpus.jsonl");
        let lines = r#"{"_id": "7", "title": "Red cat", "text": "It sleeps."}
{"_id": "8", "title": "", "text": "Nobody asks."}
{"_id": "9", "title": "Blue dog", "text": "It barks."}
"#;
        std::fs::write(&path, lines).unwrap();
        let source =
            |document: &str| Source::Fields { table: path.clone(), query: "title".into(), document: document.into() };
        let (set, report) = read_pairs(&source("text"), &ReadOptions::default()).unwrap();
        let texts: Vec<_> = set
            .pairs
            .iter()
            .map(|pair| {
                let (left, right) = (&set.left[pair.left as usize], &set.right[pair.right as usize]);
                assert!(pair.grade == Some(1.0) && pair.split.is_none() && left.id == right.id);
                (left.get("title").unwrap(), right.get("text").unwrap(), left.get("text"), right.get("title"))
            })
            .collect();
        assert_eq!(texts, [("Red cat", "It sleeps.", None, None), ("Blue dog", "It barks.", None, None)]);
        assert!(
            report.notes.iter().any(|note| note.contains("1 record without `title` or `text`")),
            "{:?}",
            report.notes
        );

        let error = read_pairs(&source("body"), &ReadOptions::default()).unwrap_err().to_string();
        assert!(error.contains("no column `body`; there is: "), "{error}");
    }
}
