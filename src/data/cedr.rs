//! The files of CEDR (MacAvaney et al., SIGIR 2019) and its folds: datafiles (`query` or `doc`, id, text), qrels, and for each
//! fold pairs to train on (query, document) and runs to validate and test on. Any may be gzipped.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ReadReport;
use super::collection::{Collection, Gathered};
use super::columns::{Divided, each_line, wrong_count};
use super::plain::write_text;
use super::trec::{read_qrels, read_run};
use crate::records::{Judgement, Split};
use crate::{Error, Result};

/// The files of one fold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CedrFiles {
    /// Datafiles: queries and documents, in one file or several.
    pub datafiles: Vec<PathBuf>,
    /// The judgements.
    pub qrels: PathBuf,
    /// `f1.train.pairs`: what is trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_pairs: Option<PathBuf>,
    /// `f1.valid.run`: what is validated on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_run: Option<PathBuf>,
    /// `f1.test.run`: what is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_run: Option<PathBuf>,
}

/// Reads a fold: each pair and each line of a run becomes a judgement, of grade 0 where nobody judged it. Without pairs and
/// runs: the judgements themselves, of no split.
///
/// # Errors
/// A file that can't be read; a line of too few or too many columns, or neither `query` nor `doc`; an id that is there twice.
pub fn read_cedr(files: &CedrFiles) -> Result<(Collection, ReadReport)> {
    let mut report = ReadReport::default();
    let [mut queries, mut documents] = [0; 2].map(|_| Gathered::new(&["text"]));
    for path in &files.datafiles {
        report.add(each_line(path, Divided::ByTabs, |line, columns| match *columns {
            ["query", id, text] => queries.push(path, line, id.to_string(), vec![text.to_string()]),
            ["doc", id, text] => documents.push(path, line, id.to_string(), vec![text.to_string()]),
            [kind, _, _] => {
                let what = format!("`{}` is neither query nor doc", kind.escape_debug());
                Err(Error::data(path, Some(line), what, "write query or doc, tab, id, tab, text"))
            }
            _ => Err(wrong_count(path, line, columns.len(), "3 (query or doc, id, text)")),
        })?);
    }
    let (judged, more) = read_qrels(&files.qrels)?;
    report.add(more);
    let mut wanted: Vec<(String, String, Split)> = Vec::new();
    if let Some(path) = &files.train_pairs {
        let (pairs, more) = read_cedr_pairs(path)?;
        report.add(more);
        wanted.extend(pairs.into_iter().map(|(query, document)| (query, document, Split::Train)));
    }
    for (path, split) in [(&files.valid_run, Split::Valid), (&files.test_run, Split::Test)] {
        let Some(path) = path else { continue };
        let (run, more) = read_run(path)?;
        report.add(more);
        for query in run.scores.keys() {
            let documents = run.ranked(query).into_iter();
            wanted.extend(documents.map(|(document, _)| (query.clone(), document.to_string(), split)));
        }
    }
    let judgements = if wanted.is_empty() {
        judged.into_iter().map(|judgement| (judgement, None)).collect()
    } else {
        let grades: std::collections::HashMap<(&str, &str), f32> =
            judged.iter().map(|j| ((&*j.query, &*j.document), j.grade)).collect();
        let judgement = |(query, document, split): (String, String, Split)| {
            let grade = grades.get(&(&*query, &*document)).copied().unwrap_or(0.0);
            (Judgement { query, document, grade }, Some(split))
        };
        wanted.into_iter().map(judgement).collect()
    };
    Ok((Collection { documents: documents.records, queries: queries.queries(), judgements }, report))
}

/// Reads pairs: a query's id, tab, a document's id.
///
/// # Errors
/// A file that can't be read; a line of other than two columns.
pub fn read_cedr_pairs(path: &Path) -> Result<(Vec<(String, String)>, ReadReport)> {
    let mut pairs = Vec::new();
    let report = each_line(path, Divided::AsFound, |line, columns| match *columns {
        [query, document] => {
            pairs.push((query.to_string(), document.to_string()));
            Ok(())
        }
        _ => Err(wrong_count(path, line, columns.len(), "2 (query document)")),
    })?;
    Ok((pairs, report))
}

/// Writes a collection's queries and documents as one datafile; a document's columns are joined by spaces, and tabs and line
/// ends become spaces.
///
/// # Errors
/// A name that is a folder's; the system's.
pub fn write_cedr(path: &Path, collection: &Collection) -> Result<()> {
    let flat = |text: &str| text.replace(['\t', '\n', '\r'], " ").trim().to_string();
    write_text(path, |out| {
        for query in &collection.queries {
            writeln!(out, "query\t{}\t{}", query.id, flat(&query.text))?;
        }
        for document in &collection.documents {
            writeln!(out, "doc\t{}\t{}", document.id, flat(&document.values.join(" ")))?;
        }
        Ok(())
    })
}
