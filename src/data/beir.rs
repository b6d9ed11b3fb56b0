//! BEIR's folder (Thakur et al., NeurIPS 2021): `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, `text`) and
//! `qrels/train.tsv`, `dev.tsv`, `test.tsv`, as far as they are there. Any file may be gzipped. RusBEIR has the same layout.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::collection::{Collection, Gathered};
use super::plain::write_text;
use super::rows::Reader;
use super::trec::read_qrels;
use super::{ReadOptions, ReadReport};
use crate::files::NewFolder;
use crate::records::{Judgement, Query, Split};
use crate::{Error, Result};

/// The names of judgements, and the split they are.
const PARTS: [(&str, Split); 5] = [
    ("train", Split::Train),
    ("dev", Split::Valid),
    ("valid", Split::Valid),
    ("validation", Split::Valid),
    ("test", Split::Test),
];

/// A file of the folder, or its packed form.
fn file(dir: &Path, name: &str) -> Option<PathBuf> {
    [dir.join(name), dir.join(format!("{name}.gz"))].into_iter().find(|path| path.is_file())
}

/// Whether a folder has BEIR's layout.
pub(super) fn is_beir(dir: &Path) -> bool {
    file(dir, "corpus.jsonl").is_some() && file(dir, "queries.jsonl").is_some()
}

/// Reads a folder.
///
/// # Errors
/// A file that is missing or can't be read; a line that is no object, or has no id; an id that is there twice; no judgements.
pub fn read_beir(dir: &Path) -> Result<(Collection, ReadReport)> {
    let mut report = ReadReport::default();
    let documents = texts(dir, "corpus.jsonl", &["title", "text"], &mut report)?.records;
    let queries = texts(dir, "queries.jsonl", &["text"], &mut report)?.queries();
    let mut judgements = Vec::new();
    for (part, split) in PARTS {
        let Some(path) = file(&dir.join("qrels"), &format!("{part}.tsv")) else { continue };
        let (read, more) = read_qrels(&path)?;
        report.add(more);
        judgements.extend(read.into_iter().map(|judgement| (judgement, Some(split))));
    }
    if judgements.is_empty() {
        let remedy = "give qrels/train.tsv, dev.tsv or test.tsv";
        return Err(Error::data(&dir.join("qrels"), None, "no judgements here", remedy));
    }
    Ok((Collection { documents, queries, judgements }, report))
}

/// The ids and texts of a file of JSON lines.
fn texts(dir: &Path, name: &str, columns: &[&str], report: &mut ReadReport) -> Result<Gathered> {
    let path = file(dir, name).unwrap_or_else(|| dir.join(name));
    read_texts(&path, columns, report)
}

/// JSON lines with an `_id`; of `columns` the last must be there, the others may be missing.
pub(super) fn read_texts(path: &Path, columns: &[&str], report: &mut ReadReport) -> Result<Gathered> {
    let mut gathered = Gathered::new(columns);
    each_text(path, columns, report, |line, id, values| gathered.push(path, line, id, values))?;
    Ok(gathered)
}

/// Gives the line, the id and the columns of each of them.
pub(super) fn each_text(
    path: &Path,
    columns: &[&str],
    report: &mut ReadReport,
    mut each: impl FnMut(u64, String, Vec<String>) -> Result<()>,
) -> Result<()> {
    let mut reader = Reader::open(path, &ReadOptions::default())?;
    while let Some(mut row) = reader.next()? {
        let id = ["_id", "id"].iter().find_map(|id| reader.columns().iter().position(|c| c == id));
        let Some(id) = id else {
            return Err(Error::data(path, Some(row.line), "no key _id", "write {\"_id\": \"1\", \"text\": \"...\"}"));
        };
        let id = std::mem::take(&mut row.values[id]);
        reader.column(columns[columns.len() - 1])?;
        let mut value = |name: &str| {
            let at = reader.columns().iter().position(|c| c == name);
            at.map_or_else(String::new, |at| std::mem::take(&mut row.values[at]))
        };
        let values = columns.iter().map(|name| value(name)).collect();
        each(row.line, id, values)?;
    }
    report.add(reader.report());
    Ok(())
}

/// Writes a folder, whole or not at all. Judgements without a split are those of `test`.
///
/// # Errors
/// A folder that is there; the system's.
pub fn write_beir(dir: &Path, collection: &Collection) -> Result<()> {
    if dir.exists() {
        return Err(Error::Exists(dir.into()));
    }
    let new = NewFolder::create(dir)?;
    let inner = new.path().to_path_buf();
    let write = || -> Result<()> {
        write_text(&inner.join("corpus.jsonl"), |out| {
            collection.documents.iter().try_for_each(|document| {
                let of = |name| document.get(name).unwrap_or_default();
                writeln!(out, "{}", json!({ "_id": document.id, "title": of("title"), "text": of("text") }))
            })
        })?;
        write_text(&inner.join("queries.jsonl"), |out| {
            let line = |Query { id, text }: &Query| json!({ "_id": id, "text": text });
            collection.queries.iter().try_for_each(|query| writeln!(out, "{}", line(query)))
        })?;
        std::fs::create_dir(inner.join("qrels")).map_err(Error::io("create", &inner.join("qrels")))?;
        for (name, part) in [("train", Split::Train), ("dev", Split::Valid), ("test", Split::Test)] {
            let is_of = |split: &Option<Split>| split.unwrap_or(Split::Test) == part;
            let of: Vec<&Judgement> = collection
                .judgements
                .iter()
                .filter(|(_, split)| is_of(split))
                .map(|(judgement, _)| judgement)
                .collect();
            if of.is_empty() {
                continue;
            }
            write_text(&inner.join("qrels").join(format!("{name}.tsv")), |out| {
                writeln!(out, "query-id\tcorpus-id\tscore")?;
                of.iter().try_for_each(|j| writeln!(out, "{}\t{}\t{}", j.query, j.document, j.grade))
            })?;
        }
        Ok(())
    };
    write().map_err(|error| error.with_path(&inner, dir))?;
    new.commit()
}
