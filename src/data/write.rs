//! Matches to a CSV, JSON lines or Parquet file, as they come: `left_id, right_id, probability, decision, rank`, and where
//! they are asked for `left_text, right_text` and `why`, be there a match or none. Probabilities keep six decimals in text.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use ::parquet::basic::Compression;
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, FloatType, Int32Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;

use super::rows::extension;
use crate::files::NewFile;
use crate::{Error, Match, Result};

/// Writes matches to a file that is under its name when [`finish`](MatchWriter::finish) returns, whole.
pub struct MatchWriter {
    new: NewFile,
    sink: Sink,
    has_texts: bool,
    has_why: bool,
    raw_texts: bool,
    started: bool,
}

enum Sink {
    Csv(Box<csv::Writer<File>>),
    Jsonl(BufWriter<File>),
    /// The file before the columns are known, then its writer; the rows of the group being filled.
    Parquet(Box<(Option<File>, Option<SerializedFileWriter<File>>, Group)>),
}

#[derive(Default)]
struct Group {
    texts: [Vec<ByteArray>; 5], // left_id, right_id, left_text, right_text, why
    probabilities: Vec<f32>,
    decisions: Vec<bool>,
    ranks: Vec<i32>,
}

/// Rows in a Parquet row group.
const GROUP: usize = 1 << 16;

impl MatchWriter {
    /// Starts a file; its extension (`csv`, `jsonl`, `parquet`) says which kind. `has_texts` and `has_why` give it the columns
    /// of texts and reasons.
    ///
    /// # Errors
    /// Another extension, a folder under this name, a folder that can't be written to.
    pub fn create(path: &Path, has_texts: bool, has_why: bool) -> Result<Self> {
        let kind = extension(path);
        if path.extension().is_some_and(|e| e == "gz") || !matches!(kind.as_str(), "csv" | "jsonl" | "parquet") {
            let what = "no kind of file that matches are written to; end it in .csv, .jsonl or .parquet";
            return Err(Error::setting("output", path.display(), what));
        }
        let (new, file) = NewFile::create(path)?;
        let sink = match kind.as_str() {
            "csv" => Sink::Csv(Box::new(csv::Writer::from_writer(file))),
            "jsonl" => Sink::Jsonl(BufWriter::new(file)),
            _ => Sink::Parquet(Box::new((Some(file), None, Group::default()))),
        };
        Ok(MatchWriter { new, sink, has_texts, has_why, raw_texts: false, started: false })
    }

    /// Whether texts in CSV stay as they are even if a spreadsheet would take them for formulas (`=`, `+`, `-`, `@`, a tab
    /// or carriage return first). Otherwise an apostrophe goes before them; numbers stay.
    pub fn raw_texts(self, raw_texts: bool) -> Self {
        MatchWriter { raw_texts, ..self }
    }

    /// Writes a match. Texts and a reason that the file has columns for, and the match lacks, are empty.
    pub fn write(&mut self, found: &Match, texts: Option<(&str, &str)>, why: Option<&str>) -> Result<()> {
        self.start()?;
        let (has_texts, has_why) = (self.has_texts, self.has_why);
        let path = self.new.path();
        let (left, right) = texts.unwrap_or_default();
        let why = why.unwrap_or_default();
        let probability = f64::from(found.probability);
        match &mut self.sink {
            Sink::Csv(out) => {
                let probability = format!("{probability:.6}");
                let (decision, rank) = (found.decision.to_string(), found.rank.to_string());
                let [left, right, why] =
                    [left, right, why].map(|text| if self.raw_texts { text.into() } else { inert(text) });
                let mut row = vec![found.left_id.as_str(), &found.right_id, &probability, &decision, &rank];
                if has_texts {
                    row.extend([&*left, &*right]);
                }
                if has_why {
                    row.push(&why);
                }
                out.write_record(row).map_err(|e| write_error(path)(e.into()))
            }
            Sink::Jsonl(out) => {
                let probability = (probability * 1e6).round() / 1e6;
                let mut row = serde_json::json!({"left_id": found.left_id, "right_id": found.right_id,
                    "probability": probability, "decision": found.decision, "rank": found.rank});
                if has_texts {
                    (row["left_text"], row["right_text"]) = (left.into(), right.into());
                }
                if has_why {
                    row["why"] = why.into();
                }
                writeln!(out, "{row}").map_err(write_error(path))
            }
            Sink::Parquet(sink) => {
                let group = &mut sink.2;
                let texts = [found.left_id.as_str(), &found.right_id, left, right, why];
                for (column, text) in group.texts.iter_mut().zip(texts) {
                    column.push(text.into());
                }
                group.probabilities.push(found.probability);
                group.decisions.push(found.decision);
                group.ranks.push(i32::try_from(found.rank).unwrap_or(i32::MAX));
                if group.ranks.len() < GROUP {
                    return Ok(());
                }
                flush(sink).map_err(|e| parquet_error(path, e))
            }
        }
    }

    /// Writes the header, once.
    fn start(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.started, true) {
            return Ok(());
        }
        let path = self.new.path();
        match &mut self.sink {
            Sink::Csv(out) => {
                let mut names = vec!["left_id", "right_id", "probability", "decision", "rank"];
                if self.has_texts {
                    names.extend(["left_text", "right_text"]);
                }
                if self.has_why {
                    names.push("why");
                }
                out.write_record(names).map_err(|e| write_error(path)(e.into()))?;
            }
            Sink::Jsonl(_) => {}
            Sink::Parquet(sink) => {
                let Some(file) = sink.0.take() else { return Ok(()) };
                let texts = if self.has_texts {
                    "required binary left_text (UTF8); required binary right_text (UTF8);"
                } else {
                    ""
                };
                let why = if self.has_why { "required binary why (UTF8);" } else { "" };
                let schema = format!(
                    "message matches {{ required binary left_id (UTF8); required binary right_id (UTF8); \
                     required float probability; required boolean decision; required int32 rank; {texts} {why} }}"
                );
                let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
                let writer = parse_message_type(&schema)
                    .and_then(|schema| SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)));
                sink.1 = Some(writer.map_err(|e| parquet_error(path, e))?);
            }
        }
        Ok(())
    }

    /// Completes the file and puts it in its place.
    pub fn finish(mut self) -> Result<()> {
        self.start()?;
        let path = self.new.path();
        let file = match self.sink {
            Sink::Csv(out) => out.into_inner().map_err(|e| write_error(path)(e.into_error()))?,
            Sink::Jsonl(out) => out.into_inner().map_err(|e| write_error(path)(e.into_error()))?,
            Sink::Parquet(mut sink) => {
                flush(&mut sink).map_err(|e| parquet_error(path, e))?;
                let Some(writer) = sink.1 else {
                    return Err(Error::Internal {
                        op: "write matches",
                        what: "the Parquet file was never started".into(),
                    });
                };
                writer.into_inner().map_err(|e| parquet_error(path, e))?
            }
        };
        self.new.commit(file)
    }
}

/// A text that a spreadsheet does not take for a formula.
fn inert(text: &str) -> Cow<'_, str> {
    let is_number = || text.replace(',', ".").parse::<f64>().is_ok();
    match text.as_bytes().first() {
        Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r') if !is_number() => Cow::Owned(format!("'{text}")),
        _ => Cow::Borrowed(text),
    }
}

fn write_error(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    Error::io("write", path)
}

fn parquet_error(path: &Path, error: ParquetError) -> Error {
    // the system's own reason, where there is one, says what to do about it
    let source = match error {
        ParquetError::External(inner) => inner.downcast().map_or_else(std::io::Error::other, |source| *source),
        other => std::io::Error::other(other),
    };
    write_error(path)(source)
}

/// Writes the rows gathered as a row group.
fn flush(sink: &mut (Option<File>, Option<SerializedFileWriter<File>>, Group)) -> Result<(), ParquetError> {
    let group = std::mem::take(&mut sink.2);
    let Some(writer) = sink.1.as_mut().filter(|_| !group.ranks.is_empty()) else { return Ok(()) };
    let names: Vec<String> = writer.schema_descr().columns().iter().map(|c| c.name().to_string()).collect();
    let mut row_group = writer.next_row_group()?;
    for name in names {
        let Some(mut column) = row_group.next_column()? else { break };
        let texts = ["left_id", "right_id", "left_text", "right_text", "why"].iter().position(|n| *n == name);
        match (texts, name.as_str()) {
            (Some(i), _) => column.typed::<ByteArrayType>().write_batch(&group.texts[i], None, None)?,
            (None, "probability") => column.typed::<FloatType>().write_batch(&group.probabilities, None, None)?,
            (None, "decision") => column.typed::<BoolType>().write_batch(&group.decisions, None, None)?,
            (None, _) => column.typed::<Int32Type>().write_batch(&group.ranks, None, None)?,
        };
        column.close()?;
    }
    row_group.close()?;
    Ok(())
}
