//! SQuAD's JSON (Rajpurkar et al., EMNLP 2016; XQuAD, SberQuAD) as retrieval: a paragraph is a document, and the one that a
//! question was asked about is relevant to it. A paragraph that is there twice is one document; a question without an answer
//! (SQuAD 2) has no relevant paragraph and is left out, with a count.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use super::collection::{Collection, Gathered};
use super::notes::Notes;
use super::open::{Opened, open};
use super::{ReadOptions, ReadReport};
use crate::records::{Judgement, Split};
use crate::{Error, Result};

#[derive(Deserialize)]
struct File {
    data: Vec<Article>,
}

#[derive(Deserialize)]
struct Article {
    #[serde(default)]
    title: String,
    paragraphs: Vec<Paragraph>,
}

#[derive(Deserialize)]
struct Paragraph {
    context: String,
    qas: Vec<Question>,
}

#[derive(Deserialize)]
struct Question {
    id: serde_json::Value,
    question: String,
    #[serde(default)]
    is_impossible: bool,
}

/// Reads files, each of a split or of none, into one collection. A document's id is its number among the paragraphs.
///
/// # Errors
/// A file that can't be read or is not SQuAD's JSON, with the line; a question's id that is there twice.
pub fn read_squad(files: &[(&Path, Option<Split>)]) -> Result<(Collection, ReadReport)> {
    let (mut report, mut judgements) = (ReadReport::default(), Vec::new());
    let (mut documents, mut queries) = (Gathered::new(&["title", "text"]), Gathered::new(&["text"]));
    let mut known: HashMap<String, String> = HashMap::new();
    for (path, split) in files {
        let mut unanswered = 0u64;
        let file = parse(path, &mut report)?;
        for article in file.data {
            for paragraph in article.paragraphs {
                let next = (known.len() + 1).to_string();
                let document = known.entry(paragraph.context.clone()).or_insert(next.clone()).clone();
                if document == next {
                    documents.push(path, 1, next, vec![article.title.clone(), paragraph.context])?;
                }
                for question in paragraph.qas {
                    if question.is_impossible {
                        unanswered += 1;
                        continue;
                    }
                    let query = question.id.as_str().map_or_else(|| question.id.to_string(), str::to_string);
                    let judgement = Judgement { query: query.clone(), document: document.clone(), grade: 1.0 };
                    queries.push(path, 1, query, vec![question.question]).map_err(without_line)?;
                    judgements.push((judgement, *split));
                }
            }
        }
        if unanswered > 0 {
            report.notes.push(format!("{}: {unanswered} questions without an answer left out", path.display()));
        }
    }
    Ok((Collection { documents: documents.records, queries: queries.queries(), judgements }, report))
}

/// An error whose line is not known.
fn without_line(mut error: Error) -> Error {
    if let Error::Data { place, .. } = &mut error {
        place.line = None;
    }
    error
}

fn parse(path: &Path, report: &mut ReadReport) -> Result<File> {
    let notes = Notes::default();
    let Opened::Text { mut text, .. } = open(path, &ReadOptions::default(), &notes)? else {
        return Err(Error::data(path, None, "a Parquet file, not SQuAD's JSON", "give the JSON file"));
    };
    let mut bytes = Vec::new();
    text.read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    report.add(ReadReport { notes: notes.lines(path), ..ReadReport::default() });
    serde_json::from_slice(&bytes).map_err(|error| {
        let what = format!("not SQuAD's JSON: {error}");
        let remedy = "it should be {\"data\": [{\"paragraphs\": [{\"context\", \"qas\": [{\"id\", \"question\"}]}]}]}";
        Error::data(path, Some(error.line() as u64), what, remedy)
    })
}

/// Whether a text begins as SQuAD's JSON does.
pub(super) fn is_squad(start: &[u8]) -> bool {
    let text: Vec<u8> = start.iter().copied().filter(|b| !b.is_ascii_whitespace()).take(200).collect();
    let text = String::from_utf8_lossy(&text);
    text.starts_with('{')
        && text.contains("\"data\":[{")
        && (text.contains("\"paragraphs\"") || text.contains("\"title\""))
}
