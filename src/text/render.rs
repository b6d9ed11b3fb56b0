//! A record as one line of text.
//!
//! The values of the chosen fields follow one another, white space collapsed to single spaces; an empty value gives no text and no
//! marker. Markers are Ditto's `COL name VAL value` (Li et al., Deep Entity Matching with Pre-Trained Language Models, VLDB 2021), as
//! plain words, because new special tokens would need new embeddings.
//!
//! Refused: field names guessed across tables (`title` is not silently taken for `name`). The rule for a table whose
//! columns have other names is dull and visible: it is rendered with all its columns, in order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::price::is_price_field;
use crate::ranker::Input;
use crate::records::Record;
use crate::{Error, Result};

/// How a record becomes text and a pair becomes tokens. Part of a recipe and of a bundle, so that training and serving agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextConfig {
    /// The fields, in order. Empty, or none of them in the record: all but the id. One that a record lacks is empty there.
    pub fields: Vec<String>,
    /// `COL name VAL value` instead of the bare values.
    #[serde(alias = "marks")]
    pub ditto_markers: bool,
    /// Fields with a segment of their own, from 2, or from 10 with `overlap_segments`; 0 is that of the text.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub segments: BTreeMap<String, FieldSegment>,
    /// Tokens of a pair (or of a single text), special tokens included; the longer side is cut first.
    pub max_tokens: usize,
    /// Words that are also on the other side get segment 2 (left) or 3 (right), words near one of the other side 4 or 5,
    /// numbers, codes and attributes in place of others 6 or 7, shared article codes 8 or 9; see [`overlap`](super::overlap).
    #[serde(alias = "mark_shared")]
    pub overlap_segments: bool,
    /// All tokens have segment 0, as Python's RoBERTa, XLM-RoBERTa, MPNet and DistilBERT tokenizers give them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub one_segment: bool,
    /// Columns that a model reads as they are besides the text, in order; training sets them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
}

/// The segment of a field: a user's region, or the category of a product and of what is matched with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FieldSegment {
    /// The same in every text; 0: that of the text, as if the field were not named.
    Both(u32),
    /// One in the first text, one in those after it.
    Sides([u32; 2]),
}

impl FieldSegment {
    /// In the first text and in those after it.
    pub(super) fn sides(self) -> [u32; 2] {
        match self {
            FieldSegment::Both(segment) => [segment; 2],
            FieldSegment::Sides(segments) => segments,
        }
    }
}

impl From<u32> for FieldSegment {
    fn from(segment: u32) -> Self {
        FieldSegment::Both(segment)
    }
}

impl Default for TextConfig {
    fn default() -> Self {
        let (fields, segments) = (Vec::new(), BTreeMap::new());
        TextConfig {
            fields,
            ditto_markers: false,
            segments,
            max_tokens: 128,
            overlap_segments: false,
            one_segment: false,
            inputs: Vec::new(),
        }
    }
}

impl TextConfig {
    /// How many rows the model's segment table needs for sequences of so many texts: one a text and at least 2, five a text with shared words
    /// marked; more with fields of their own.
    pub fn segment_count(&self, texts: usize) -> usize {
        if self.one_segment {
            return 1;
        }
        let least = if self.overlap_segments { 5 * texts.max(2) } else { texts.max(2) };
        let named = self.segments.values().flat_map(|s| s.sides());
        named.map(|s| s as usize + 1).max().unwrap_or(0).max(least)
    }

    /// True where every chosen field is among `columns`.
    pub fn fits(&self, columns: &[String]) -> bool {
        self.fields.iter().all(|f| columns.contains(f))
    }

    /// The record with its rendered fields only, in the order of rendering.
    pub fn rendered_record(&self, record: &Record) -> Record {
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        each_field(self, Input::Record(record), |name, value| {
            columns.push(name.unwrap_or_default().to_string());
            values.push(value.to_string());
        });
        Record { id: record.id.clone(), columns: columns.into(), values }
    }

    /// Refuses segment numbers that already mean something else.
    pub(super) fn check(&self) -> Result<()> {
        if self.one_segment && (self.overlap_segments || !self.segments.is_empty()) {
            let what = "leaves no segment to mark shared words or fields with; leave out overlap_segments and segments";
            return Err(Error::setting("text.one_segment", true, what));
        }
        let least = if self.overlap_segments { 10 } else { 2 };
        let named = self.segments.iter().flat_map(|(field, s)| s.sides().map(|s| (field, s)));
        match named.into_iter().find(|(_, s)| *s != 0 && !(least..=255).contains(s)) {
            None => Ok(()),
            Some((field, segment)) => Err(Error::setting(
                format!("text.segments.{field}"),
                segment,
                format!(
                    "a field's own segment starts at {least} (0: that of its text): the lower ones say which side a token is on"
                ),
            )),
        }
    }
}

/// A line of text and where its fields stand in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The line.
    pub text: String,
    /// Its fields, in order, without overlap.
    pub spans: Vec<Span>,
}

/// One field's place in a [`Rendered`] text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Where the field starts, its mark included.
    pub start: usize,
    /// Where its value starts.
    pub value: usize,
    /// Where it ends.
    pub end: usize,
    /// The field's own segments, in the first text and in those after it; 0 is that of the text.
    pub segment: Option<[u32; 2]>,
    /// Its name says that it is a price.
    pub price: bool,
}

/// A record as one line of text. A plain text is taken as it is, without markers.
pub fn render(rendering: &TextConfig, input: Input) -> Rendered {
    let mut out = Rendered::default();
    each_field(rendering, input, |name, value| {
        let before = out.text.len();
        if before > 0 {
            out.text.push(' ');
        }
        let start = out.text.len();
        if let Some(name) = name.filter(|_| rendering.ditto_markers) {
            out.text.push_str("COL");
            push_words(&mut out.text, name);
            out.text.push_str(" VAL");
        }
        let marked = out.text.len();
        push_words(&mut out.text, value);
        if out.text.len() == marked {
            out.text.truncate(before); // the value was empty
            return;
        }
        let value = if marked > start { marked + 1 } else { start };
        let segment = name.and_then(|n| rendering.segments.get(n)).map(|s| s.sides()).filter(|s| *s != [0, 0]);
        let price = name.is_some_and(is_price_field);
        out.spans.push(Span { start, value, end: out.text.len(), segment, price });
    });
    out
}

/// The same text as a person reads it: the chosen values without markers.
pub fn plain_text(rendering: &TextConfig, input: Input) -> String {
    let mut text = String::new();
    each_field(rendering, input, |_, value| push_words(&mut text, value));
    text
}

/// Calls `each` with the name (none for a plain text) and value of every field that is rendered.
fn each_field<'a>(rendering: &TextConfig, input: Input<'a>, mut each: impl FnMut(Option<&str>, &'a str)) {
    match input {
        Input::Text(text) => each(None, text),
        Input::Record(record) if rendering.fields.iter().any(|f| record.columns.contains(f)) => {
            for field in &rendering.fields {
                each(Some(field), record.get(field).unwrap_or(""));
            }
        }
        Input::Record(record) => record.fields().for_each(|(name, value)| each(Some(name), value)),
    }
}

/// Appends words with single spaces between them and, where there is text already, before them.
fn push_words(text: &mut String, words: &str) {
    for word in words.split_whitespace() {
        if !text.is_empty() && !text.ends_with(' ') {
            text.push(' ');
        }
        text.push_str(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &[(&str, &str)]) -> Record {
        let columns: Vec<String> = fields.iter().map(|f| f.0.to_string()).collect();
        Record { id: "1".into(), columns: columns.into(), values: fields.iter().map(|f| f.1.to_string()).collect() }
    }

    #[test]
    fn fields_marks_and_empty_values() {
        let r = record(&[("title", " Клей \t ПВА "), ("price", ""), ("note", "5 л")]);
        let plain = TextConfig::default();
        assert_eq!(render(&plain, (&r).into()).text, "Клей ПВА 5 л");
        let marked = TextConfig { ditto_markers: true, ..plain.clone() };
        let rendered = render(&marked, (&r).into());
        assert_eq!(rendered.text, "COL title VAL Клей ПВА COL note VAL 5 л");
        let values: Vec<&str> = rendered.spans.iter().map(|s| &rendered.text[s.value..s.end]).collect();
        assert_eq!(values, ["Клей ПВА", "5 л"]);
        assert_eq!(plain_text(&marked, (&r).into()), "Клей ПВА 5 л");
        let chosen = TextConfig { fields: vec!["note".into(), "title".into()], ..plain.clone() };
        assert_eq!(render(&chosen, (&r).into()).text, "5 л Клей ПВА");
        let empty = record(&[("title", " "), ("note", "")]);
        assert_eq!(render(&marked, (&empty).into()), Rendered::default());
        assert_eq!(render(&marked, Input::Text("a  b")).text, "a b");
    }

    #[test]
    fn other_column_names_render_all_columns() {
        let rendering = TextConfig { fields: vec!["title".into(), "price".into()], ..Default::default() };
        let other = record(&[("name", "Клей"), ("cost", "12")]);
        assert_eq!(render(&rendering, (&other).into()).text, "Клей 12");
        assert!(!rendering.fits(&other.columns));
        let partly = record(&[("title", "Клей"), ("cost", "12")]);
        assert_eq!(render(&rendering, (&partly).into()).text, "Клей");
        for whole in [&other, &partly] {
            let shorter = rendering.rendered_record(whole);
            assert_eq!(render(&rendering, (&shorter).into()), render(&rendering, whole.into()));
            assert_eq!(shorter.get("cost").is_some(), whole.get("title").is_none());
        }
    }

    #[test]
    fn segment_numbers_are_checked() {
        let mut rendering = TextConfig { segments: [("price".to_string(), 2.into())].into(), ..Default::default() };
        assert!(rendering.check().is_ok());
        assert_eq!(rendering.segment_count(2), 3);
        rendering.segments = [("price".to_string(), FieldSegment::Sides([2, 3]))].into();
        assert!(rendering.check().is_ok() && rendering.segment_count(2) == 4);
        let read = |text: &str| serde_json::from_str::<TextConfig>(text).unwrap().segments;
        assert_eq!(read(r#"{"segments": {"price": [2, 3]}}"#), rendering.segments);
        assert!(
            TextConfig { segments: [("price".to_string(), 0.into())].into(), ..Default::default() }.check().is_ok()
        );
        rendering.segments = [("price".to_string(), 2.into())].into();
        rendering.overlap_segments = true;
        let error = rendering.check().unwrap_err().to_string();
        assert!(error.contains("text.segments.price = 2") && error.contains("starts at 10"), "{error}");
        assert_eq!(TextConfig::default().segment_count(2), 2);
        assert!(serde_json::from_str::<TextConfig>(r#"{"feilds": []}"#).is_err());
        assert_eq!(serde_json::from_str::<TextConfig>("{}").unwrap(), TextConfig::default());
    }
}
