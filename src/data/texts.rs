//! Texts as they come, one in memory: what vocabularies and language models are grown from. The lines of a text, or the cells of a
//! table.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::lines::{Lines, body};
use super::notes::Notes;
use super::open::{Opened, open};
use super::rows::{Reader, extension};
use super::{ReadOptions, ReadReport, clean};
use crate::{Error, Result};

/// Extensions of tables.
const TABLES: [&str; 6] = ["csv", "tsv", "jsonl", "ndjson", "json", "parquet"];

/// Whether a file is a table by its name, and not lines of text.
pub fn is_table(path: &Path) -> bool {
    TABLES.contains(&extension(path).as_str())
}

/// Opens a file of texts: a table (by its extension, or because `columns` are named) gives every cell of `columns`, of all columns but
/// `id` if none is named; any other file gives its lines. What is empty is left out.
///
/// # Errors
/// A file that can't be read; a column that is not there. The iterator's items are errors of rows.
pub fn stream_texts(path: &Path, columns: &[String], options: &ReadOptions) -> Result<TextStream> {
    let length = std::fs::metadata(path).ok().filter(|meta| meta.is_file()).map(|meta| meta.len());
    let source = if !columns.is_empty() || is_table(path) {
        Source::Rows { reader: Reader::open(path, options)?, missing: columns.to_vec() }
    } else {
        let notes = Notes::default();
        match open(path, options, &notes)? {
            Opened::Parquet(_) => {
                let what = "is a Parquet table under another name";
                return Err(Error::data(path, None, what, "let its name end in .parquet"));
            }
            Opened::Text { text, is_pipe } => {
                let lines = Lines::new(path, text, is_pipe);
                Source::Lines { lines, notes, report: ReadReport::default() }
            }
        }
    };
    Ok(TextStream {
        path: path.into(),
        columns: columns.into(),
        options: options.clone(),
        length,
        source,
        ready: VecDeque::new(),
        ended: false,
    })
}

/// Gives each row of a file of texts to `each`, with its line: the cells of a table in the order of `columns`, or one line of another file;
/// empty ones too.
///
/// # Errors
/// As of [`stream_texts`], a file of lines without a byte, a bad row unless `options` skips and counts those, and what `each` refuses.
pub fn read_texts(
    path: &Path,
    columns: &[String],
    options: &ReadOptions,
    mut each: impl FnMut(u64, &[String]) -> Result<()>,
) -> Result<ReadReport> {
    let mut stream = stream_texts(path, columns, options)?;
    if stream.length == Some(0) && matches!(stream.source, Source::Lines { .. }) {
        return Err(Error::data(path, None, "the file is empty", "give a file with text"));
    }
    while let Some((line, cells)) = stream.row()? {
        each(line, &cells)?;
    }
    Ok(stream.report())
}

/// The texts of a file; it ends after the first error.
pub struct TextStream {
    path: PathBuf,
    columns: Vec<String>,
    options: ReadOptions,
    /// Of a file: its bytes when it was opened.
    length: Option<u64>,
    source: Source,
    /// Texts of the row read last.
    ready: VecDeque<String>,
    ended: bool,
}

enum Source {
    Lines {
        lines: Lines,
        notes: Notes,
        report: ReadReport,
    },
    Rows {
        reader: Reader,
        /// Named columns that no row has had.
        missing: Vec<String>,
    },
}

impl TextStream {
    /// What was dropped, changed and guessed so far.
    pub fn report(&self) -> ReadReport {
        match &self.source {
            Source::Lines { notes, report, .. } => ReadReport { notes: notes.lines(&self.path), ..report.clone() },
            Source::Rows { reader, .. } => reader.report(),
        }
    }

    /// The next row with its line, empty or not.
    fn row(&mut self) -> Result<Option<(u64, Vec<String>)>> {
        let found = match &mut self.source {
            Source::Lines { lines, report, .. } => line(&self.path, lines, report, self.options.skip_bad_rows)?,
            Source::Rows { reader, missing } => cells(reader, missing, &self.columns)?,
        };
        if found.is_none() {
            self.refuse_growth()?;
        }
        Ok(found)
    }

    fn text(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(text) = self.ready.pop_front() {
                return Ok(Some(text));
            }
            let Some((_, cells)) = self.row()? else { return Ok(None) };
            self.ready.extend(cells.into_iter().filter(|text| !text.trim().is_empty()));
        }
    }

    /// Refuses a file that somebody writes to: its last line may be half a line, and nobody knows what was read of it.
    fn refuse_growth(&self) -> Result<()> {
        let Some(before) = self.length else { return Ok(()) };
        let now = std::fs::metadata(&self.path).map_err(Error::io("read", &self.path))?.len();
        if now == before {
            return Ok(());
        }
        let what = format!("had {before} bytes when it was opened and has {now} now: somebody writes to it");
        Err(Error::data(&self.path, None, what, "wait until it is complete, or read a copy"))
    }
}

/// The next line.
fn line(path: &Path, lines: &mut Lines, report: &mut ReadReport, skip: bool) -> Result<Option<(u64, Vec<String>)>> {
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = lines.next(&mut bytes);
        let text = match read {
            Ok(false) => return Ok(None),
            Ok(true) => std::str::from_utf8(body(&bytes)).map_err(|e| {
                let what = format!("byte {} of the line is not UTF-8", e.valid_up_to() + 1);
                let remedy = "save the file as UTF-8, name its --encoding, or leave such lines out with --skip-bad-rows \
                              (in a recipe: data.skip_bad_rows = true)";
                Error::data(path, Some(lines.number()), what, remedy)
            }),
            Err(error) => Err(error),
        };
        match text {
            Ok(text) => return Ok(Some((lines.number(), vec![text.to_string()]))),
            Err(error) => report.take(error, skip)?,
        }
    }
}

/// The cells of the next row, in the order of `columns`.
fn cells(reader: &mut Reader, missing: &mut Vec<String>, columns: &[String]) -> Result<Option<(u64, Vec<String>)>> {
    let Some(row) = reader.next()? else {
        return missing.first().map_or(Ok(None), |column| reader.column(column).map(|_| None));
    };
    let there = reader.columns();
    missing.retain(|column| !there.contains(column));
    let mut cells: Vec<String> = match columns {
        [] => {
            let named = there.iter().zip(row.values).filter(|(column, _)| !column.eq_ignore_ascii_case("id"));
            named.map(|(_, value)| value).collect()
        }
        _ => {
            let place = |column: &String| there.iter().position(|c| c == column);
            let value = |column| place(column).and_then(|at| row.values.get(at)).cloned().unwrap_or_default();
            columns.iter().map(value).collect()
        }
    };
    let notes = reader.notes.clone();
    cells.iter_mut().for_each(|value| clean::clean(&notes, row.line, value));
    Ok(Some((row.line, cells)))
}

impl Iterator for TextStream {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.text().transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(path: &Path, columns: &[&str], skip_bad_rows: bool) -> (Vec<String>, ReadReport, Option<String>) {
        let columns: Vec<String> = columns.iter().map(|c| c.to_string()).collect();
        let options = ReadOptions { skip_bad_rows, ..ReadOptions::default() };
        let mut stream = match stream_texts(path, &columns, &options) {
            Ok(stream) => stream,
            Err(e) => return (Vec::new(), ReadReport::default(), Some(e.to_string())),
        };
        let (mut texts, mut error) = (Vec::new(), None);
        for text in stream.by_ref() {
            match text {
                Ok(text) => texts.push(text),
                Err(e) => error = Some(e.to_string()),
            }
        }
        (texts, stream.report(), error)
    }

    #[test]
    fn lines_and_cells_are_texts() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let lines = file("a.txt", "черный чай\n\n  \nlamp, 5 W\r\n");
        assert_eq!(read(&lines, &[], false).0, ["черный чай", "lamp, 5 W"]);
        let table = file("a.csv", "id,name,brand\n1,lamp,Acme\n2,\"a, b\",\n");
        assert_eq!(read(&table, &[], false).0, ["lamp", "Acme", "a, b"]);
        assert_eq!(read(&table, &["brand"], false).0, ["Acme"]);
        let error = read(&table, &["title"], false).2.unwrap();
        assert!(error.contains("no column `title`") && error.contains("id, name, brand"), "{error}");
        let json =
            file("a.jsonl", "{\"id\": 1, \"name\": \"lamp\"}\n{\"id\": 2, \"name\": \"x\", \"brand\": \"Acme\"}\n");
        assert_eq!(read(&json, &["brand"], false).0, ["Acme"], "a column may come late");
        let rows = |path: &Path, columns: &[&str]| {
            let (columns, mut rows) = (columns.iter().map(|c| c.to_string()).collect::<Vec<_>>(), Vec::new());
            let each = |line, cells: &[String]| {
                rows.push((line, cells.join("|")));
                Ok(())
            };
            read_texts(path, &columns, &ReadOptions::default(), each).map(|_| rows).map_err(|e| e.to_string())
        };
        let row = |line, text: &str| (line, text.to_string());
        assert_eq!(rows(&table, &["brand", "name"]).unwrap(), [row(2, "Acme|lamp"), row(3, "|a, b")]);
        assert_eq!(rows(&lines, &[]).unwrap()[1..3], [row(2, ""), row(3, "  ")], "an empty line ends a paragraph");
        assert!(rows(&file("empty.txt", ""), &[]).unwrap_err().contains("the file is empty"));
    }

    #[test]
    fn lines_that_are_not_utf8_are_errors_or_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        let mut bytes = "черный чай и белый хлеб\n".repeat(20).into_bytes();
        bytes.extend(b"bad \xff line\n");
        bytes.extend("конец\n".as_bytes());
        std::fs::write(&path, bytes).unwrap();
        let (texts, _, error) = read(&path, &[], false);
        let error = error.unwrap();
        assert!(texts.len() == 20 && error.contains("a.txt:21: byte 5 of the line is not UTF-8"), "{error}");
        let (texts, report, error) = read(&path, &[], true);
        assert_eq!(
            (texts.len(), texts.last().map(String::as_str), report.skipped, error),
            (21, Some("конец"), 1, None)
        );
    }

    #[test]
    fn a_file_that_grows_is_refused_and_a_long_line_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        std::fs::write(&path, "one\ntwo\n".repeat(100_000)).unwrap();
        let mut stream = stream_texts(&path, &[], &ReadOptions::default()).unwrap();
        assert_eq!(stream.next().unwrap().unwrap(), "one");
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"three").unwrap();
        let error = stream.find_map(|text| text.err()).unwrap();
        assert!(error.is_user_error() && error.to_string().contains("somebody writes to it"), "{error}");
        std::fs::write(&path, "x".repeat(1 << 20)).unwrap();
        assert_eq!(read(&path, &[], false).0[0].len(), 1 << 20);
    }
}
