//! Documents and queries of a search: what has a layout of the field is read by it, anything else as a free table or as lines.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::beir::read_texts;
use super::rows::{Reader, extension};
use super::squad::{is_squad, read_squad};
use super::{Collection, ReadOptions, ReadReport, read_query_texts, read_table};
use crate::records::Query;
use crate::{Error, Record, Result};

/// What is searched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Documents {
    /// The documents.
    pub records: Vec<Record>,
    /// Whether they came in a layout of collections of passages; a table is a list of products.
    pub is_prose: bool,
}

/// Reads documents: those of a BEIR folder, BEIR's JSON lines (`_id`, `title`, `text`), the paragraphs of SQuAD's JSON, or any table.
///
/// # Errors
/// A folder without `corpus.jsonl`; what the readers refuse.
pub fn read_documents(path: &Path, options: &ReadOptions) -> Result<(Documents, ReadReport)> {
    let path = &member(path, "corpus.jsonl", "documents")?;
    if let Some((collection, report)) = squad(path)? {
        return Ok((Documents { records: collection.documents, is_prose: true }, report));
    }
    if is_beir_lines(path) {
        let mut report = ReadReport::default();
        let records = read_texts(path, &["title", "text"], &mut report)?.records;
        return Ok((Documents { records, is_prose: true }, report));
    }
    let (table, report) = read_table(path, options)?;
    Ok((Documents { records: table.records, is_prose: false }, report))
}

/// Reads queries: those of a BEIR folder, BEIR's JSON lines (`_id`, `text`), the questions of SQuAD's JSON, any table (CSV, Parquet,
/// JSON lines with other keys), TREC's topics by their titles, lines of an id, a tab and a text, or plain lines, whose ids are
/// their numbers.
///
/// # Errors
/// A folder without `queries.jsonl`; what the readers refuse.
pub fn read_queries_of_any_kind(path: &Path, options: &ReadOptions) -> Result<(Vec<Record>, ReadReport)> {
    let path = &member(path, "queries.jsonl", "queries")?;
    if let Some((collection, report)) = squad(path)? {
        return Ok((records(collection.queries), report));
    }
    let extension = extension(path);
    let is_json = is_json(&extension);
    match extension.as_str() {
        _ if is_json && !is_beir_lines(path) => table(path, options),
        "csv" | "parquet" => table(path, options),
        _ => {
            if !is_json && let Some(lines) = plain_lines(path)? {
                return Ok((records(lines), ReadReport::default()));
            }
            let (queries, report) = read_query_texts(path)?;
            Ok((records(queries), report))
        }
    }
}

fn table(path: &Path, options: &ReadOptions) -> Result<(Vec<Record>, ReadReport)> {
    read_table(path, options).map(|(table, report)| (table.records, report))
}

/// Queries as records of one field, `text`.
fn records(queries: Vec<Query>) -> Vec<Record> {
    let columns: Arc<[String]> = Arc::new(["text".into()]);
    let record = |query: Query| Record { id: query.id, columns: columns.clone(), values: vec![query.text] };
    queries.into_iter().map(record).collect()
}

/// A folder's file, or the file itself.
fn member(path: &Path, name: &str, kind: &str) -> Result<std::path::PathBuf> {
    if !path.is_dir() {
        return Ok(path.into());
    }
    let files = [path.join(name), path.join(format!("{name}.gz"))];
    files.into_iter().find(|file| file.is_file()).ok_or_else(|| {
        let remedy = format!("give a BEIR folder, or a file of {kind}");
        Error::data(path, None, format!("a folder without {name}"), remedy)
    })
}

/// The collection of a file of SQuAD's layout.
fn squad(path: &Path) -> Result<Option<(Collection, ReadReport)>> {
    if extension(path) != "json" {
        return Ok(None);
    }
    let mut start = Vec::new();
    let file = crate::files::open(path)?;
    file.take(4096).read_to_end(&mut start).map_err(Error::io("read", path))?;
    is_squad(&start).then(|| read_squad(&[(path, None)])).transpose()
}

fn is_json(extension: &str) -> bool {
    matches!(extension, "jsonl" | "json" | "ndjson")
}

/// Whether a file is JSON lines with `_id` and `text`.
fn is_beir_lines(path: &Path) -> bool {
    if !is_json(&extension(path)) {
        return false;
    }
    let Ok(mut reader) = Reader::open(path, &ReadOptions::default()) else { return false };
    // columns are known with the first row
    reader.next().is_ok() && ["_id", "text"].iter().all(|key| reader.columns().iter().any(|column| column == key))
}

/// The lines of a text without a tab or a tag, as queries.
fn plain_lines(path: &Path) -> Result<Option<Vec<Query>>> {
    if extension(path) == "tsv" {
        return Ok(None);
    }
    let text = super::xml::text(path)?;
    if text.contains('\t') || text.trim_start().starts_with('<') {
        return Ok(None);
    }
    let query = |(line, text): (usize, &str)| Query { id: (line + 1).to_string(), text: text.trim().to_string() };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let queries: Vec<Query> = lines.map(query).collect();
    if queries.is_empty() {
        return Err(Error::data(path, None, "no line with a text", "give a query a line"));
    }
    Ok(Some(queries))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(name: &str, text: &str) -> Vec<(String, String)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let (records, _) = read_queries_of_any_kind(&path, &ReadOptions::default()).unwrap();
        records.into_iter().map(|record| (record.id, record.values.join("|"))).collect()
    }
    fn pair(id: &str, text: &str) -> (String, String) {
        (id.into(), text.into())
    }

    #[test]
    fn queries_in_every_layout() {
        assert_eq!(texts("q.txt", "red lamp\n\n lg tv \n"), [pair("1", "red lamp"), pair("3", "lg tv")]);
        assert_eq!(texts("q.tsv", "7\tred lamp\n"), [pair("7", "red lamp")]);
        assert_eq!(texts("q.jsonl", "{\"_id\": \"a\", \"text\": \"red lamp\"}\n"), [pair("a", "red lamp")]);
        assert_eq!(
            texts("q.csv", "id,name,price\nx,red lamp,5\ny,tv,6\n"),
            [pair("x", "red lamp|5"), pair("y", "tv|6")]
        );
        let topic = "<top>\n<num> Number: 9\n<title> red lamp\n</top>\n";
        assert_eq!(texts("topics.txt", topic), [pair("9", "red lamp")]);
    }

    #[test]
    fn documents_need_no_judgements() {
        let dir = tempfile::tempdir().unwrap();
        let line = "{\"_id\": \"d\", \"title\": \"Lamp\", \"text\": \"red\"}\n";
        std::fs::write(dir.path().join("corpus.jsonl"), line).unwrap();
        let (Documents { records, is_prose }, _) = read_documents(dir.path(), &ReadOptions::default()).unwrap();
        assert!(is_prose);
        assert_eq!((&*records[0].id, records[0].get("title")), ("d", Some("Lamp")));
        let error = read_queries_of_any_kind(dir.path(), &ReadOptions::default()).unwrap_err().to_string();
        assert!(error.contains("a folder without queries.jsonl"), "{error}");
    }
}
