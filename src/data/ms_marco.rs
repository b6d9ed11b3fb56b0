//! MS MARCO's files (Bajaj et al., 2016): `collection.tsv` (`id`, text; the documents' one `id`, url, title, body),
//! `queries.*.tsv` (`id`, text), TREC's qrels, and triples, as texts or as ids. Any may be gzipped.

use std::path::Path;

use super::ReadReport;
use super::collection::{Collection, Gathered};
use super::columns::{Divided, each_line, wrong_count};
use super::plain::write_text;
use super::trec::read_qrels;
use crate::records::{Query, Record, Split};
use crate::{Error, Result};

/// A query with a relevant and another document: texts, or ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Triple {
    /// The query.
    pub query: String,
    /// The document that is relevant.
    pub positive: String,
    /// The one that is less so.
    pub negative: String,
}

/// Reads a collection with files of queries and of judgements, each of a split or of none.
///
/// # Errors
/// A file that can't be read; a line of too few or too many columns; an id that is there twice.
pub fn read_ms_marco(
    collection: &Path,
    queries: &[&Path],
    qrels: &[(&Path, Option<Split>)],
) -> Result<(Collection, ReadReport)> {
    let mut report = ReadReport::default();
    let documents = read_documents(collection, &mut report)?;
    let mut asked = Gathered::new(&["text"]);
    for path in queries {
        read_id_texts(path, &mut asked, &mut report)?;
    }
    let mut judgements = Vec::new();
    for (path, split) in qrels {
        let (read, more) = read_qrels(path)?;
        report.add(more);
        judgements.extend(read.into_iter().map(|judgement| (judgement, *split)));
    }
    Ok((Collection { documents, queries: asked.queries(), judgements }, report))
}

fn read_documents(path: &Path, report: &mut ReadReport) -> Result<Vec<Record>> {
    let mut gathered: Option<Gathered> = None;
    report.add(each_line(path, Divided::ByTabs, |line, columns| {
        let names: &[&str] = match columns.len() {
            2 => &["text"],
            4 => &["title", "text"],
            got => return Err(wrong_count(path, line, got, "2 (id text) or 4 (id url title body)")),
        };
        let values: Vec<String> = columns[columns.len() - names.len()..].iter().map(|c| c.to_string()).collect();
        let gathered = gathered.get_or_insert_with(|| Gathered::new(names));
        if gathered.width() != names.len() {
            let before = if gathered.width() == 1 { "2 (id text)" } else { "4 (id url title body)" };
            return Err(wrong_count(path, line, columns.len(), &format!("{before} as in the lines before")));
        }
        gathered.push(path, line, columns[0].to_string(), values)
    })?);
    Ok(gathered.map(|gathered| gathered.records).unwrap_or_default())
}

/// Lines `id`, tab, text.
fn read_id_texts(path: &Path, gathered: &mut Gathered, report: &mut ReadReport) -> Result<()> {
    report.add(each_line(path, Divided::ByTabs, |line, columns| match *columns {
        [id, text] => gathered.push(path, line, id.to_string(), vec![text.to_string()]),
        _ => Err(wrong_count(path, line, columns.len(), "2 (id text)")),
    })?);
    Ok(())
}

/// Reads queries: lines `id`, tab, text.
///
/// # Errors
/// A file that can't be read; a line of other than two columns; an id that is there twice.
pub fn read_queries(path: &Path) -> Result<(Vec<Query>, ReadReport)> {
    let (mut gathered, mut report) = (Gathered::new(&["text"]), ReadReport::default());
    read_id_texts(path, &mut gathered, &mut report)?;
    Ok((gathered.queries(), report))
}

/// Writes queries as lines `id`, tab, text; tabs and line ends of a text become spaces.
///
/// # Errors
/// A name that is a folder's; the system's.
pub fn write_queries(path: &Path, queries: &[Query]) -> Result<()> {
    write_text(path, |out| queries.iter().try_for_each(|query| writeln!(out, "{}\t{}", query.id, flat(&query.text))))
}

/// Writes a collection: lines `id`, tab, text; of documents with a title and a text `id`, url (empty), title, body. Tabs and line ends of a value become
/// spaces.
///
/// # Errors
/// A name that is a folder's; the system's.
pub fn write_documents(path: &Path, documents: &[Record]) -> Result<()> {
    let line = |document: &Record| match &document.values[..] {
        [title, text] => format!("{}\t\t{}\t{}", document.id, flat(title), flat(text)),
        values => format!("{}\t{}", document.id, flat(&values.join(" "))),
    };
    write_text(path, |out| documents.iter().try_for_each(|document| writeln!(out, "{}", line(document))))
}

/// Writes triples, three texts or ids between tabs a line.
///
/// # Errors
/// A name that is a folder's; the system's.
pub fn write_triples(path: &Path, triples: &[Triple]) -> Result<()> {
    let line = |triple: &Triple| [&triple.query, &triple.positive, &triple.negative].map(|text| flat(text)).join("\t");
    write_text(path, |out| triples.iter().try_for_each(|triple| writeln!(out, "{}", line(triple))))
}

/// A text in one cell of a line.
fn flat(text: &str) -> String {
    text.replace(['\t', '\n', '\r'], " ")
}

/// Reads triples, at most `most` of them: three texts between tabs, or a JSON list `[query, positive, negative]` of ids a
/// line.
///
/// # Errors
/// A file that can't be read; a line that is neither, with its number.
pub fn read_triples(path: &Path, most: usize) -> Result<(Vec<Triple>, ReadReport)> {
    let mut triples = Vec::new();
    let report = each_line(path, Divided::ByTabs, |line, columns| {
        if triples.len() >= most {
            return Ok(());
        }
        triples.push(triple_of(path, line, columns)?);
        Ok(())
    })?;
    Ok((triples, report))
}

/// The triple of a line.
pub(super) fn triple_of(path: &Path, line: u64, columns: &[&str]) -> Result<Triple> {
    let [query, positive, negative] = match *columns {
        [list] if list.starts_with('[') => {
            let ids: Vec<serde_json::Value> = serde_json::from_str(list).unwrap_or_default();
            let text = |id: &serde_json::Value| id.as_str().map_or_else(|| id.to_string(), str::to_string);
            let ids: Vec<String> = ids.iter().map(text).collect();
            <[String; 3]>::try_from(ids).map_err(|_| {
                Error::data(path, Some(line), "no list of three ids", "write [query, positive, negative]")
            })?
        }
        [query, positive, negative] => [query, positive, negative].map(str::to_string),
        _ => return Err(wrong_count(path, line, columns.len(), "3 (query positive negative)")),
    };
    Ok(Triple { query, positive, negative })
}
