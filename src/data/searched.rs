//! Documents and queries of a search: what has a layout of the field is read by it, anything else as a free table or as lines.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::beir::each_text;
use super::collection::{empty_id, second_id};
use super::rows::{Reader, extension};
use super::squad::{is_squad, read_squad};
use super::stored::writer::{Writer, store_all, store_rows};
use super::stored::{Head, Place};
use super::{Collection, ReadOptions, ReadReport, StoredTable, read_query_texts, read_table};
use crate::records::Query;
use crate::{Error, Record, Result, Table};

/// The columns of a passage.
const PASSAGE: [&str; 2] = ["title", "text"];

/// What is searched.
pub struct Documents {
    /// The documents.
    pub records: StoredTable,
    /// Whether they came in a layout of collections of passages; a table is a list of products.
    pub is_prose: bool,
}

/// Reads documents into a file without a name in `folder`: those of a BEIR folder, BEIR's JSON lines (`_id`, `title`, `text`), the
/// paragraphs of SQuAD's JSON, or any table. The folder's disk needs room for them.
///
/// # Errors
/// A folder without `corpus.jsonl`; what the readers refuse; the system's.
pub fn store_documents(path: &Path, options: &ReadOptions, folder: &Path) -> Result<(Documents, ReadReport)> {
    let path = &member(path, "corpus.jsonl", "documents")?;
    let place = Place::Unnamed(folder.into());
    let columns: Arc<[String]> = PASSAGE.map(String::from).into();
    if let Some((collection, report)) = squad(path)? {
        let table = Table { path: path.clone(), columns, records: collection.documents };
        return Ok((Documents { records: store_all(&table, place)?, is_prose: true }, report));
    }
    if is_beir_lines(path) {
        let (mut writer, mut report) = (Writer::new(place)?, ReadReport::default());
        each_text(path, &PASSAGE, &mut report, |line, id, values| {
            let record = Record { id, columns: columns.clone(), values };
            if record.id.is_empty() {
                return Err(empty_id(path, line));
            }
            let earlier = writer.put_new(line, &record)?;
            earlier.map_or(Ok(()), |_| Err(second_id(path, line, &record.id)))
        })?;
        return Ok((Documents { records: writer.finish(Head::of_all(path, &columns))?, is_prose: true }, report));
    }
    let records = store_rows(path, options, place)?;
    let report = records.report();
    Ok((Documents { records, is_prose: false }, report))
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
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::super::beir::read_texts;
    use super::*;
    use crate::ranker::Rows;

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

    type Read = fn(&Path) -> Result<(Vec<Record>, ReadReport)>;

    /// Documents of a file of this name and text, or the error, with how the reader of its layout reads them; nothing is left of either.
    fn stored(name: &str, text: &str, read: Read) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        let (path, folder) = (dir.path().join(name), dir.path().join("folder"));
        std::fs::create_dir(&folder).unwrap();
        let mut bytes = text.as_bytes().to_vec();
        if name.ends_with(".gz") {
            let mut packed = GzEncoder::new(Vec::new(), Compression::default());
            packed.write_all(&bytes).unwrap();
            bytes = packed.finish().unwrap();
        }
        std::fs::write(&path, bytes).unwrap();
        let is_empty = || std::fs::read_dir(&folder).unwrap().count() == 0;
        let error = match (store_documents(&path, &ReadOptions::default(), &folder), read(&path)) {
            (Ok((documents, report)), Ok((expected, of_reader))) => {
                assert!(is_empty(), "{name}: the file has a name");
                assert_eq!(documents.is_prose, !name.contains(".csv"), "{name}");
                assert_eq!(documents.records.iter().collect::<Result<Vec<_>>>().unwrap(), expected, "{name}");
                assert_eq!(documents.records.head().columns, expected[0].columns, "{name}");
                assert_eq!(report, of_reader, "{name}");
                None
            }
            (Err(error), Err(expected)) => {
                assert_eq!(error.to_string(), expected.to_string(), "{name}");
                Some(error.to_string())
            }
            (stored, read) => panic!("{name}: {:?} {:?}", stored.err(), read.err()),
        };
        assert!(is_empty(), "{name}");
        error
    }

    #[test]
    fn documents_are_stored_as_the_readers_read_them() {
        let passages = |path: &Path| {
            let mut report = ReadReport::default();
            read_texts(path, &PASSAGE, &mut report).map(|gathered| (gathered.records, report))
        };
        let lines = "{\"_id\": \"d\", \"title\": \"Lamp\", \"text\": \"red\"}\n{\"_id\": 2, \"text\": \"чай\"}\n";
        for name in ["corpus.jsonl", "corpus.jsonl.gz"] {
            assert_eq!(stored(name, lines, passages), None);
        }
        assert_eq!(
            stored("a.csv", "id,name,price\n1,lamp,2\n2,<b>tv</b>,\n", |path| table(path, &ReadOptions::default())),
            None
        );
        let squad = "{\"data\": [{\"title\": \"T\", \"paragraphs\": [{\"context\": \"one\", \"qas\": []},\n\
                     {\"context\": \"two\", \"qas\": []}]}]}";
        let paragraphs = |path: &Path| read_squad(&[(path, None)]).map(|(all, report)| (all.documents, report));
        assert_eq!(stored("s.json", squad, paragraphs), None);

        let refused = |more: &str, part: &str| {
            let error = stored("corpus.jsonl", &format!("{lines}{more}\n"), passages).unwrap();
            assert!(error.contains(part), "{error}");
        };
        refused("{\"_id\": \"\", \"text\": \"x\"}", "corpus.jsonl:3: an empty id");
        refused("{\"text\": \"without\"}", "corpus.jsonl:3: an empty id");
        refused("{\"_id\": \"d\", \"text\": \"x\"}", "corpus.jsonl:3: the id d is there a second time");
        refused("{\"_id\": \"e\"", "corpus.jsonl:3");
        let error = stored("a.csv", "id,name\n1,lamp\n1,tv\n", |path| table(path, &ReadOptions::default())).unwrap();
        assert!(error.contains("the id `1` is in line 2 already"), "{error}");
        let nowhere = store_documents(Path::new("none.jsonl"), &ReadOptions::default(), Path::new(".")).err().unwrap();
        assert!(nowhere.to_string().contains("check the name"), "{nowhere}");
    }

    #[test]
    fn documents_need_no_judgements() {
        let dir = tempfile::tempdir().unwrap();
        let line = "{\"_id\": \"d\", \"title\": \"Lamp\", \"text\": \"red\"}\n";
        std::fs::write(dir.path().join("corpus.jsonl"), line).unwrap();
        let documents = store_documents(dir.path(), &ReadOptions::default(), dir.path()).unwrap().0;
        assert!(documents.is_prose);
        let record = documents.records.records(&[0]).unwrap().remove(0);
        assert_eq!((&*record.id, record.get("title")), ("d", Some("Lamp")));
        let error = read_queries_of_any_kind(dir.path(), &ReadOptions::default()).unwrap_err().to_string();
        assert!(error.contains("a folder without queries.jsonl"), "{error}");
    }
}
