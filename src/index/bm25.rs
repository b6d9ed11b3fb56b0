//! First-stage candidates: which rows of the other table are worth a model's time.
//!
//! A transformer that reads two records together can't read every pair of two lists (1,000 x 1,000 is a million passes), so
//! BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009) proposes the top k rows for each record and
//! the model judges only those. A true match that is not proposed is lost for good, so this module is tuned for recall at k.
//!
//! Two fields carry a row, both made by [`analyse`](super::analyse): its words (numbers and codes whole and split, quantities in one unit)
//! and, at a tenth of the weight, the trigrams of those words, which bridge inflections, typing errors and words glued
//! together. tantivy holds both in memory with its own constants (k1 = 1.2, b = 0.75), and its postings are summed here term
//! by term in a fixed order, so that equal rows get equal scores to the bit. Of equal rows the one whose id is first in the
//! alphabet comes first, so that the order of the list does not decide which rows are among the k best.
//!
//! Refused: a query parser (a product called `AND (-x)` is text, not syntax); stemmers and stop words per language (trigrams
//! did better on Russian and English alike, and need no language); dense vectors (they need a model, and this module has none).

use std::sync::Arc;

use rayon::prelude::*;
use tantivy::directory::RamDirectory;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::postings::Postings;
use tantivy::query::Bm25Weight;
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{TextAnalyzer, Token, TokenStream, Tokenizer};
use tantivy::{DocSet, Index, InvertedIndexReader, ReloadPolicy, TERMINATED, TantivyDocument, Term};

use super::analyse;
use crate::ranker::{Hit, Input, Retriever};
use crate::records::Record;
use crate::text::{TextConfig, plain_text};
use crate::{Error, Result};

/// What a trigram counts, if a word counts 1.
const TRIGRAM_WEIGHT: f32 = 0.1;
/// The arena tantivy starts with; it grows with the texts.
const ARENA: usize = 50_000_000;

/// An inverted index over the texts of one table, held in memory.
pub struct Bm25 {
    rows: usize,
    /// `None` without a row.
    fields: Option<[IndexedField; 2]>,
    /// How records become text.
    config: TextConfig,
    /// Each row's place among equal scores, `[rows]`; empty: in the order of the rows.
    tie: Vec<u32>,
}

/// One field of the index, ready to be summed.
struct IndexedField {
    field: Field,
    analyse: fn(&str) -> Vec<String>,
    postings: Arc<InvertedIndexReader>,
    norms: FieldNormReader,
    average_norm: f32,
    weight: f32,
    /// Terms in more rows than this say too little for the time they take.
    common: u32,
}

impl Bm25 {
    /// Indexes the chosen fields of records. Of equal scores the one of the lower id comes first.
    pub fn of_records(records: &[Record], config: &TextConfig) -> Result<Self> {
        let index = Self::build(records.iter().map(|record| plain_text(config, record.into())))?;
        let mut order: Vec<u32> = (0..records.len() as u32).collect();
        order.sort_by(|a, b| records[*a as usize].id.cmp(&records[*b as usize].id));
        let mut tie = vec![0; order.len()];
        (0u32..).zip(order).for_each(|(place, row)| tie[row as usize] = place);
        Ok(Bm25 { config: config.clone(), tie, ..index })
    }

    /// Indexes one text per row, in order.
    pub fn build(texts: impl Iterator<Item = String>) -> Result<Self> {
        let mut schema = Schema::builder();
        let mut text_field = |name: &str| {
            let indexing =
                TextFieldIndexing::default().set_tokenizer(name).set_index_option(IndexRecordOption::WithFreqs);
            schema.add_text_field(name, TextOptions::default().set_indexing_options(indexing))
        };
        let (words, trigrams) = (text_field("words"), text_field("trigrams"));
        let tokenizers = tantivy::tokenizer::TokenizerManager::new();
        tokenizers.register("words", TextAnalyzer::from(Analyser(analyse::words)));
        tokenizers.register("trigrams", TextAnalyzer::from(Analyser(analyse::trigrams)));
        // One writer, one segment: a document's number is its row.
        let mut writer = Index::builder()
            .schema(schema.build())
            .tokenizers(tokenizers)
            .single_segment_index_writer::<TantivyDocument>(RamDirectory::create(), ARENA)
            .map_err(failed)?;
        let mut rows = 0;
        for text in texts {
            let mut document = TantivyDocument::new();
            document.add_text(words, &text);
            document.add_text(trigrams, text);
            writer.add_document(document).map_err(failed)?;
            rows += 1;
        }
        if rows == 0 {
            return Ok(Bm25 { rows, fields: None, config: TextConfig::default(), tie: Vec::new() });
        }
        let index = writer.finalize().map_err(failed)?;
        let reader: tantivy::IndexReader =
            index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().map_err(failed)?;
        let searcher = reader.searcher();
        let [segment] = searcher.segment_readers() else {
            return Err(failed("more than one segment"));
        };
        let open = |field: Field, analyse: fn(&str) -> Vec<String>, weight: f32, common: u32| -> Result<IndexedField> {
            let postings = segment.inverted_index(field).map_err(failed)?;
            let norms = segment.get_fieldnorms_reader(field).map_err(failed)?;
            let average_norm = postings.total_num_tokens() as f32 / rows as f32;
            Ok(IndexedField { field, analyse, postings, norms, average_norm, weight, common })
        };
        let fields = [
            open(words, analyse::words, 1.0, u32::MAX)?,
            open(trigrams, analyse::trigrams, TRIGRAM_WEIGHT, (rows / 20).max(1000) as u32)?,
        ];
        Ok(Bm25 { rows, fields: Some(fields), config: TextConfig::default(), tie: Vec::new() })
    }

    /// The `k` best rows for a text with their scores, best first; equal scores by id, or in the order of texts without one. A row that shares
    /// nothing with the text is never among them, so an empty text has no candidates.
    pub fn top(&self, text: &str, k: usize) -> Result<Vec<(u32, f32)>> {
        let Some(fields) = &self.fields else { return Ok(Vec::new()) };
        let mut scores = vec![0f32; self.rows];
        for field in fields {
            field.add(text, self.rows as u64, &mut scores)?;
        }
        let mut found: Vec<(u32, f32)> = (0u32..).zip(scores).filter(|(_, score)| *score > 0.0).collect();
        let place = |row: u32| self.tie.get(row as usize).copied().unwrap_or(row);
        let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(place(a.0).cmp(&place(b.0)));
        if found.len() > k {
            found.select_nth_unstable_by(k, order);
            found.truncate(k);
            // a vector that is cut keeps the memory of what was cut off: 8 bytes for every row of the list
            found.shrink_to_fit();
        }
        found.sort_unstable_by(order);
        Ok(found)
    }

    /// [`Bm25::top`] of many texts, on all cores, in the order given.
    pub fn top_all(&self, texts: &[String], k: usize) -> Result<Vec<Vec<(u32, f32)>>> {
        texts.par_iter().map(|text| self.top(text, k)).collect()
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// True without a row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }
}

impl Retriever for Bm25 {
    fn retrieve(&self, queries: &[Input], k: usize) -> Result<Vec<Vec<Hit>>> {
        let hits = |query: &Input| -> Result<Vec<Hit>> {
            let top = self.top(&plain_text(&self.config, *query), k)?;
            Ok(top.into_iter().map(|(document, score)| Hit { document, score }).collect())
        };
        queries.par_iter().map(hits).collect()
    }
}

impl IndexedField {
    /// Adds this field's score of every row, `[rows]`. A term that is in the text twice counts twice.
    fn add(&self, text: &str, rows: u64, scores: &mut [f32]) -> Result<()> {
        let mut terms = (self.analyse)(text);
        terms.sort_unstable();
        for same in terms.chunk_by(|a, b| a == b) {
            let term = Term::from_field_text(self.field, &same[0]);
            let Some(info) = self.postings.get_term_info(&term).map_err(failed)? else { continue };
            if info.doc_freq > self.common {
                continue;
            }
            let weight = self.weight * same.len() as f32;
            let bm25 = Bm25Weight::for_one_term_without_explain(info.doc_freq.into(), rows, self.average_norm);
            let option = IndexRecordOption::WithFreqs;
            let mut postings = self.postings.read_postings_from_terminfo(&info, option).map_err(failed)?;
            let mut row = postings.doc();
            while row != TERMINATED {
                scores[row as usize] += weight * bm25.score(self.norms.fieldnorm_id(row), postings.term_freq());
                row = postings.advance();
            }
        }
        Ok(())
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Internal { op: "bm25", what: error.to_string() }
}

/// Our analysis under tantivy's interface.
#[derive(Clone)]
struct Analyser(fn(&str) -> Vec<String>);

/// Tokens already made, handed out one at a time.
struct Made {
    rest: std::vec::IntoIter<String>,
    token: Token,
}

impl Tokenizer for Analyser {
    type TokenStream<'a> = Made;
    fn token_stream<'a>(&'a mut self, text: &'a str) -> Made {
        Made { rest: (self.0)(text).into_iter(), token: Token::default() }
    }
}

impl TokenStream for Made {
    fn advance(&mut self) -> bool {
        let Some(text) = self.rest.next() else { return false };
        self.token.position = self.token.position.wrapping_add(1);
        self.token.text = text;
        true
    }
    fn token(&self) -> &Token {
        &self.token
    }
    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(texts: &[&str]) -> Bm25 {
        Bm25::build(texts.iter().map(|t| t.to_string())).unwrap()
    }
    fn rows(index: &Bm25, text: &str, k: usize) -> Vec<u32> {
        index.top(text, k).unwrap().into_iter().map(|(row, _)| row).collect()
    }

    #[test]
    fn the_row_with_the_code_comes_first() {
        let index = index(&["sony camera black", "sony dsc-w120/b camera", "sony dscw130 camera"]);
        assert_eq!(rows(&index, "camera DSCW120B", 2)[0], 1);
        assert_eq!(rows(&index, "DSC W120", 3)[0], 1);
    }

    #[test]
    fn inflections_and_glued_words_are_bridged() {
        let index = index(&["чистка ковров", "Огнебиозащита для древесины, 0,5 л", "кондиционер для белья"]);
        assert_eq!(rows(&index, "ОгнебиозащитадлядревесиныProsept", 1), [1]);
        assert_eq!(rows(&index, "чистки ковра", 1), [0]);
        assert_eq!(rows(&index, "500мл", 1), [1]);
    }

    #[test]
    fn syntax_is_text() {
        let index = index(&["a AND b", "cat\" OR (dog", "-x:* ~ ^2 [1 TO 3]"]);
        assert_eq!(rows(&index, "OR (dog\"", 1), [1]);
        assert_eq!(rows(&index, "[1 TO 3] ^2 -x:*", 1), [2]);
        assert!(rows(&index, "words:*", 3).is_empty());
    }

    #[test]
    fn equal_rows_get_equal_scores_in_row_order() {
        let index = index(&["red lamp 40w", "blue lamp 60w", "red lamp 40w", "red lamp 40w"]);
        let top = index.top("lamp red 40 w", 3).unwrap();
        assert_eq!(top.iter().map(|t| t.0).collect::<Vec<_>>(), [0, 2, 3]);
        assert!(top.iter().all(|t| t.1.to_bits() == top[0].1.to_bits()));
    }

    fn records(rows: &[(&str, &str)]) -> Vec<Record> {
        let columns: Arc<[String]> = ["name".to_string()].into();
        let record = |(id, name): &(&str, &str)| Record {
            id: id.to_string(),
            columns: columns.clone(),
            values: vec![name.to_string()],
        };
        rows.iter().map(record).collect()
    }

    #[test]
    fn a_tie_at_place_k_goes_by_id_whatever_the_order_of_the_list() {
        let mut list = records(&[("d", "red lamp"), ("b", "red lamp"), ("c", "blue lamp"), ("a", "red lamp")]);
        let ids = |list: &[Record], k: usize| -> Vec<(String, u32)> {
            let index = Bm25::of_records(list, &TextConfig::default()).unwrap();
            let hits = index.retrieve(&[Input::Text("red lamp")], k).unwrap().remove(0);
            hits.iter().map(|hit| (list[hit.document as usize].id.clone(), hit.score.to_bits())).collect()
        };
        let expected = ids(&list, 2);
        assert_eq!(expected.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        for _ in 0..list.len() {
            list.rotate_left(1);
            assert_eq!(ids(&list, 2), expected);
        }
    }

    #[test]
    fn what_is_cut_off_keeps_no_memory() {
        let index = index(&vec!["red lamp"; 5000]);
        assert!(index.top("red lamp", 3).unwrap().capacity() < 100);
    }

    #[test]
    fn nothing_in_nothing_out() {
        let none = index(&[]);
        assert!(none.is_empty() && rows(&none, "lamp", 5).is_empty());
        let blank = index(&["", " ", "?!"]);
        assert_eq!(blank.len(), 3);
        assert!(rows(&blank, "lamp", 5).is_empty());
        let index = index(&["", "lamp"]);
        assert_eq!(rows(&index, "lamp", 5), [1]);
        assert!(rows(&index, "", 5).is_empty() && rows(&index, " -- ", 5).is_empty());
        assert!(rows(&index, "lamp", 0).is_empty());
    }

    #[test]
    fn many_texts_at_once_give_what_each_gives() {
        let index = index(&["red lamp", "blue lamp", "green chair"]);
        let texts = ["lamp", "", "chair green"].map(String::from);
        let all = index.top_all(&texts, 2).unwrap();
        for (text, top) in texts.iter().zip(all) {
            assert_eq!(top, index.top(text, 2).unwrap());
        }
    }
}
