//! One to three texts as one sequence: `[CLS] query [SEP] document [SEP]`, or whatever template the tokenizer's file asks for.
//!
//! Each text is tokenized on its own and without special tokens ([`TextEncoder::prepare`]), then texts are truncated, joined and given
//! segments ([`TextEncoder::join`]): a record of many pairs is tokenized once. Segments are BERT's whatever the model: 0 for the first text and
//! the special tokens around it, 1 for the second and its end, 2 for the third; then fields of their own and shared words (see
//! [`TextConfig`]).
//!
//! Refused: a window sliding over long texts (product texts say what matters first), and special tokens spelled out in a
//! user's text (`[SEP]` in a cell is five characters, not a separator).

use std::path::Path;
use std::sync::Arc;

use tokenizers::Encoding as Tokens;

use super::batch::{Encoding, TokenSpan};
use super::files::{Files, unless_it_panics};
use super::overlap::{WordRelation, Words, relations};
use super::render::{TextConfig, render};
use super::towers::Towers;
use crate::ranker::Input;
use crate::{Error, Result};

/// Longest text given to the tokenizer at once, in bytes: its working memory is some hundred bytes a token.
const CHUNK: usize = 8 << 10;
/// A word is only cut in two past this length.
const LONGEST_WORD: usize = 64 << 10;
/// No segment of its own, no word.
const NONE: u32 = u32::MAX;

/// Turns records and texts into token ids. Cheap to clone.
#[derive(Clone)]
pub struct TextEncoder {
    pub(super) files: Arc<Files>,
    pub(super) config: TextConfig,
    /// How texts that are read apart are framed, if in a way of their own.
    pub(super) towers: Option<Arc<Towers>>,
}

/// How Python reads pairs with a plain folder's tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InPython {
    /// Whether all tokens have segment 0.
    pub one_segment: bool,
    /// Longest pair, if the files say so.
    pub max_tokens: Option<usize>,
}

/// One side of a pair, tokenised once. Only good for the tokenizer that made it.
#[derive(Debug, Clone, Default)]
pub struct TokenizedSide {
    /// The first `max_tokens` token ids, `[t]`.
    ids: Vec<u32>,
    /// Each token's own segment or [`NONE`]; empty where no field has one.
    own: Vec<u32>,
    /// Each token's index in `words` or [`NONE`]; empty where shared words are not marked.
    word: Vec<u32>,
    /// All words of the text, also those whose tokens are cut.
    words: Words,
    /// Tokens of the whole text.
    total: usize,
    /// Those of them that are unknown.
    unknown: usize,
    /// Letters and digits of the whole text, in bytes.
    letters: usize,
    /// Those of them that are in unknown tokens or of a script that the vocabulary has not learnt.
    unread: usize,
    /// Fields: where each ends among the tokens that are kept.
    fields: Vec<u32>,
}

impl TokenizedSide {
    /// Tokens of the whole text, without special tokens and before anything is cut.
    pub fn tokens(&self) -> usize {
        self.total
    }
    /// Tokens that the vocabulary does not have.
    pub fn unknown(&self) -> usize {
        self.unknown
    }
    /// How many fields it has; none where it is one field or a plain text.
    fn fields(&self) -> usize {
        if self.fields.is_empty() { 0 } else { (self.fields.len() + 1).min(255) }
    }
    /// False for a text without a word, or one whose letters are mostly in unknown tokens or of another script: nothing can be
    /// said of it.
    pub fn is_readable(&self) -> bool {
        self.letters > 0 && 2 * self.unread <= self.letters
    }
}

impl TextEncoder {
    /// Reads `tokenizer.json`, else `vocab.txt` (BERT), from a model folder.
    pub fn open(dir: &Path, rendering: TextConfig) -> Result<Self> {
        Self::new(Files::read(dir)?, rendering)
    }

    pub(super) fn new(files: Files, rendering: TextConfig) -> Result<Self> {
        rendering.check()?;
        let special = files.template.special(2);
        if rendering.max_tokens < special + 2 {
            let what =
                format!("a pair takes {special} special tokens and one of each side; give at least {}", special + 2);
            return Err(Error::setting("text.max_tokens", rendering.max_tokens, what));
        }
        Ok(TextEncoder { files: Arc::new(files), config: rendering, towers: None })
    }

    /// How records become text.
    pub fn rendering(&self) -> &TextConfig {
        &self.config
    }

    /// The same tokenizer for a table whose columns have other names.
    pub fn with_fields(&self, fields: Vec<String>) -> Self {
        let config = TextConfig { fields, ..self.config.clone() };
        TextEncoder { files: self.files.clone(), config, towers: self.towers.clone() }
    }

    /// Rows the model's embedding table needs: the highest id plus one.
    pub fn vocab_size(&self) -> usize {
        self.files.vocab_size()
    }

    /// How a plain folder's pairs are read in Python: `None` for a bundle, which says itself how it reads.
    ///
    /// # Errors
    /// Something that is done there and can't be done here.
    pub fn in_python(&self) -> Result<Option<InPython>> {
        let Some(reading) = &self.files.reading else { return Ok(None) };
        match &reading.unsure {
            Some((key, what, remedy)) => Err(Error::model(&self.files.path, key, what, remedy)),
            None => Ok(Some(InPython { one_segment: reading.one_segment, max_tokens: reading.max_length })),
        }
    }

    /// Writes the tokenizer's files: as they were read, but for a `tokenizer.json` that other files overruled.
    pub fn save(&self, dir: &Path) -> Result<()> {
        Files::save(&self.files.files, dir)
    }

    /// Writes the tokenizer so that Python makes the same tokens of plain pairs: one `tokenizer.json` with this frame and its token
    /// types, and settings that let nothing overrule it.
    ///
    /// # Errors
    /// The system's.
    pub fn save_for_python(&self, dir: &Path, padding: u32) -> Result<()> {
        let files = self.files.for_python(&self.config, padding)?;
        Files::save(&files, dir)
    }

    /// Tokenises one side.
    pub fn prepare(&self, input: Input) -> Result<TokenizedSide> {
        let rendered = render(&self.config, input);
        let spans = &rendered.spans;
        let own = spans.iter().any(|s| s.segment.is_some());
        let unlearnt = |c: &char| self.files.unlearnt.has(*c);
        let mut prepared = TokenizedSide {
            letters: letters(rendered.text.chars()),
            unread: letters(rendered.text.chars().filter(unlearnt)),
            ..TokenizedSide::default()
        };
        if self.config.overlap_segments {
            prepared.words = Words::new(&rendered.text, spans.iter().map(|s| (s.value, s.end, s.price)));
        }
        let (mut span, mut word) = (0, 0);
        let by_field = spans.len() > 1;
        for (start, chunk) in chunks(&rendered.text) {
            let tokens = self.tokenize(chunk)?;
            prepared.total += tokens.len();
            let unknown =
                tokens.get_ids().iter().zip(tokens.get_offsets()).filter(|(id, _)| Some(**id) == self.files.unknown);
            for (_, &(from, to)) in unknown {
                prepared.unknown += 1;
                prepared.unread += letters(chunk.get(from..to).unwrap_or_default().chars().filter(|c| !unlearnt(c)));
            }
            let room = self.config.max_tokens - prepared.ids.len();
            for (&id, &(from, to)) in tokens.get_ids().iter().zip(tokens.get_offsets()).take(room) {
                prepared.ids.push(id);
                // the last byte: a piece may begin with the space before its word
                let at = start + from.max(to.saturating_sub(1));
                while (own || by_field) && spans.get(span).is_some_and(|s| s.end <= at) {
                    span += 1;
                    if by_field {
                        prepared.fields.push(prepared.ids.len() as u32 - 1);
                    }
                }
                if own {
                    let here = spans.get(span).filter(|s| s.start <= at).and_then(|s| s.segment);
                    prepared.own.push(here.unwrap_or(NONE));
                }
                if self.config.overlap_segments {
                    let words = &prepared.words.spans;
                    while words.get(word).is_some_and(|w| w.1 as usize <= at) {
                        word += 1;
                    }
                    let inside = words.get(word).is_some_and(|w| w.0 as usize <= at);
                    prepared.word.push(if inside { word as u32 } else { NONE });
                }
            }
        }
        Ok(prepared)
    }

    /// One to three texts in one sequence. Tokens past `max_tokens` are cut one by one from the end of the text that is longest at
    /// that moment (transformers' `longest_first`, odd tokens included), and counted.
    ///
    /// # Errors
    /// What the tokenizer refuses.
    pub fn encode(&self, inputs: &[Input]) -> Result<Encoding> {
        let sides = inputs.iter().map(|input| self.prepare(*input)).collect::<Result<Vec<_>>>()?;
        Ok(self.join(&sides.iter().collect::<Vec<_>>()))
    }

    /// Whether texts of these sides fit into one sequence whole.
    pub fn fits(&self, sides: &[&TokenizedSide]) -> bool {
        let tokens: usize = sides.iter().map(|side| side.total).sum();
        tokens + self.files.template.special(sides.len()) <= self.config.max_tokens
    }

    /// [`encode`](Self::encode) of one to three texts that were tokenized before.
    pub fn join(&self, sides: &[&TokenizedSide]) -> Encoding {
        let (template, special) = (&self.files.template, self.files.template.special(sides.len()));
        let room = self.config.max_tokens.saturating_sub(special);
        let mut kept = [0; 3];
        let kept = &mut kept[..sides.len()];
        kept.iter_mut().zip(sides).for_each(|(kept, side)| *kept = side.total);
        truncate(kept, room);
        let all: usize = sides.iter().map(|side| side.total).sum();
        let tokens: usize = kept.iter().sum();
        let mut encoding = Encoding {
            ids: Vec::with_capacity(tokens + special),
            segments: Vec::with_capacity(tokens + special),
            spans: Vec::with_capacity(sides.len() + sides.iter().map(|side| side.fields()).sum::<usize>()),
            truncated: (all - tokens) as u32,
        };
        let marks = match (self.config.overlap_segments, sides) {
            (true, [query, document]) => {
                let (query, document) = relations(&query.words, &document.words);
                [query, document, Vec::new()]
            }
            // the query of two documents has no one relation to its words
            (true, [query, first, second]) => {
                let marks = |document: &TokenizedSide| relations(&query.words, &document.words).1;
                [Vec::new(), marks(first), marks(second)]
            }
            _ => Default::default(),
        };
        push(&mut encoding, &template.prefix, 0);
        for (number, (side, &kept)) in sides.iter().zip(kept.iter()).enumerate() {
            let segments = match (number, self.config.overlap_segments) {
                (0, _) => [0, 2, 4, 6, 8],
                (1, _) => [1, 3, 5, 7, 9],
                (_, true) => [10, 11, 12, 13, 14],
                (_, false) => [2; 5],
            };
            push_side(&mut encoding, number as u8, side, kept, &marks[number], segments);
            // what follows the first text counts as its own, what follows the others as theirs
            let last = number + 1 == sides.len();
            let end = if last { &template.suffix } else { &template.separator };
            push(&mut encoding, end, segments[0]);
        }
        if self.config.one_segment {
            encoding.segments.fill(0);
        }
        encoding
    }

    fn tokenize(&self, text: &str) -> Result<Tokens> {
        let failed = |e: tokenizers::Error| Error::Internal { op: "tokenize", what: e.to_string() };
        unless_it_panics(&self.files.path, || self.files.tokenizer.encode(text, false))?.map_err(failed)
    }
}

/// Cuts token counts to a sum of `room`, one by one from the largest; of two equal ones the later gives first, of three the first
/// of the largest.
fn truncate(tokens: &mut [usize], room: usize) {
    if let [left, right] = tokens {
        (*left, *right) = fit(*left, *right, room);
        return;
    }
    while tokens.iter().sum::<usize>() > room {
        let largest = *tokens.iter().max().unwrap_or(&0);
        let below = tokens.iter().filter(|&&t| t < largest).max().copied().unwrap_or(0);
        let equal = tokens.iter().filter(|&&t| t == largest).count();
        let over = tokens.iter().sum::<usize>() - room;
        // all of the largest come down together as far as they may, the rest one by one
        let (down, extra) =
            if over / equal >= largest - below { (largest - below, 0) } else { (over / equal, over % equal) };
        let mut extra = extra;
        for t in tokens.iter_mut().rev().filter(|t| **t == largest) {
            *t -= down + usize::from(extra > 0);
            extra = extra.saturating_sub(1);
        }
    }
}

/// Bytes of a text's letters and digits: a sign of a script of many signs says more than a letter.
fn letters(text: impl Iterator<Item = char>) -> usize {
    text.filter(|c| c.is_alphanumeric()).map(char::len_utf8).sum()
}

/// How many tokens of two texts fit into `room`.
fn fit(left: usize, right: usize, room: usize) -> (usize, usize) {
    if left + right <= room {
        (left, right)
    } else if left <= room / 2 {
        (left, room - left)
    } else if right <= room / 2 {
        (room - right, right)
    } else if left > right {
        (room - room / 2, room / 2)
    } else {
        (room / 2, room - room / 2)
    }
}

pub(super) fn push(encoding: &mut Encoding, ids: &[u32], segment: u32) {
    encoding.ids.extend_from_slice(ids);
    encoding.segments.resize(encoding.ids.len(), segment);
}

/// Appends the first `kept` tokens of a text; `segments` are those of its plain, shared, near and differing words and its shared codes.
pub(super) fn push_side(
    encoding: &mut Encoding,
    input: u8,
    side: &TokenizedSide,
    kept: usize,
    marks: &[WordRelation],
    segments: [u32; 5],
) {
    let start = encoding.ids.len();
    push(encoding, &side.ids[..kept], segments[0]);
    let (first, end) = (start as u32, encoding.ids.len() as u32);
    encoding.spans.push(TokenSpan { input, field: None, start: first, end });
    let mut from = first;
    for field in 0..side.fields() {
        let to = side.fields.get(field).map_or(end, |&to| (first + to).min(end));
        encoding.spans.push(TokenSpan { input, field: Some(field as u8), start: from, end: to });
        from = to;
    }
    let written = &mut encoding.segments[start..];
    for (segment, &word) in written.iter_mut().zip(&side.word) {
        if let Some(&mark) = marks.get(word as usize) {
            *segment = segments[mark as usize];
        }
    }
    for (segment, &own) in written.iter_mut().zip(&side.own) {
        if own != NONE {
            *segment = own;
        }
    }
}

/// Cuts a long text before spaces, so that it is tokenised as in one go, with each piece's start in bytes.
pub(super) fn chunks(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = &text[start..];
        if rest.is_empty() {
            return None;
        }
        let end = if rest.len() <= CHUNK {
            rest.len()
        } else {
            let bytes = rest.as_bytes();
            let last = bytes[1..CHUNK].iter().rposition(|&b| b == b' ');
            let next = || bytes[CHUNK..].iter().take(LONGEST_WORD).position(|&b| b == b' ').map(|i| CHUNK - 1 + i);
            last.or_else(next).map_or_else(|| rest.floor_char_boundary(LONGEST_WORD), |i| i + 1)
        };
        let chunk = (start, &rest[..end]);
        start += end;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::records::Record;

    fn golden(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/text").join(name)
    }

    fn open(name: &str, rendering: TextConfig) -> TextEncoder {
        TextEncoder::open(&golden(name), rendering).unwrap()
    }

    fn expected() -> Value {
        serde_json::from_slice(&std::fs::read(golden("expected.json")).unwrap()).unwrap()
    }

    fn numbers(value: &Value) -> Vec<u32> {
        value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as u32).collect()
    }

    fn text<'a>(expected: &'a Value, index: &Value) -> Input<'a> {
        Input::Text(expected["texts"][index.as_u64().unwrap() as usize].as_str().unwrap())
    }

    /// One space in front of every token of a text, by its segment.
    fn segments_of(tokenizer: &TextEncoder, encoding: &Encoding, segment: u32) -> String {
        let ids = encoding.ids.iter().zip(&encoding.segments).filter(|(_, s)| **s == segment).map(|(id, _)| *id);
        tokenizer.files.tokenizer.decode(&ids.collect::<Vec<_>>(), true).unwrap()
    }

    #[test]
    fn pairs_equal_transformers() {
        let expected = expected();
        for name in ["cased", "uncased", "unigram"] {
            let whole = open(name, TextConfig { max_tokens: 4096, ..Default::default() });
            assert_eq!(whole.vocab_size() as u64, expected[name]["vocab_size"].as_u64().unwrap());
            for pair in expected[name]["pairs"].as_array().unwrap() {
                let encoding = whole.encode(&[text(&expected, &pair[0]), text(&expected, &pair[1])]).unwrap();
                assert_eq!(encoding.ids, numbers(&pair[2]), "{name} {pair}");
                if name != "unigram" {
                    assert_eq!(encoding.segments, numbers(&pair[3]), "{name} {pair}");
                }
                assert_eq!(encoding.truncated, 0);
            }
            let short = open(name, TextConfig { max_tokens: 24, ..Default::default() });
            for pair in expected[name]["cut_to_24"].as_array().unwrap() {
                let encoding = short.encode(&[text(&expected, &pair[0]), text(&expected, &pair[1])]).unwrap();
                assert_eq!(encoding.ids, numbers(&pair[2]), "{name} {pair}");
            }
        }
    }

    #[test]
    fn unigram_segments_are_those_of_bert() {
        let tokenizer = open("unigram", TextConfig::default());
        let (left, right) = (Input::Text("черный чай"), Input::Text("чай"));
        let encoding = tokenizer.encode(&[left, right]).unwrap();
        let l = tokenizer.prepare(left).unwrap().tokens();
        assert_eq!(encoding.segments.iter().position(|&s| s == 1), Some(1 + l + 2));
        assert!(encoding.segments.is_sorted());
        assert_eq!(tokenizer.encode(&[left]).unwrap().segments, vec![0; l + 2]);
    }

    #[test]
    fn cased_vocabulary_keeps_case() {
        let tokenizer = open("cased", TextConfig::default());
        let [upper, lower] = ["Средство", "средство"].map(|t| tokenizer.encode(&[Input::Text(t)]).unwrap().ids);
        assert_ne!(upper, lower);
        let tokenizer = open("uncased", TextConfig::default());
        let [upper, lower] = ["Средство", "средство"].map(|t| tokenizer.encode(&[Input::Text(t)]).unwrap().ids);
        assert_eq!(upper, lower);
    }

    #[test]
    fn shared_words_are_marked_by_the_whole_text() {
        for name in ["cased", "uncased", "unigram"] {
            let tokenizer = open(name, TextConfig { overlap_segments: true, ..Default::default() });
            let (left, right) = ("sony dsc-w120 /b camera 500мл", "camera dscw120b 500 мл zoom");
            let encoding = tokenizer.encode(&[Input::Text(left), Input::Text(right)]).unwrap();
            let squeeze = |s: String| s.replace([' ', '#', '▁'], "");
            assert_eq!(squeeze(segments_of(&tokenizer, &encoding, 0)), "sony", "{name}");
            assert_eq!(squeeze(segments_of(&tokenizer, &encoding, 1)), "zoom", "{name}");
            assert_eq!(squeeze(segments_of(&tokenizer, &encoding, 2)), "camera500мл", "{name}");
            assert_eq!(squeeze(segments_of(&tokenizer, &encoding, 3)), "camera500мл", "{name}");
            assert_eq!(squeeze(segments_of(&tokenizer, &encoding, 8)), "dsc-w120/b", "{name}");
            assert_eq!(squeeze(segments_of(&tokenizer, &encoding, 9)), "dscw120b", "{name}");
        }
        let mut right = "zoom ".repeat(100);
        right.push_str("camera");
        let tokenizer = open("cased", TextConfig { overlap_segments: true, max_tokens: 16, ..Default::default() });
        let encoding = tokenizer.encode(&[Input::Text("camera"), Input::Text(&right)]).unwrap();
        assert_eq!(encoding.segments[1], 2, "the other camera is cut, and still known");
        assert!(encoding.truncated > 80);
    }

    #[test]
    fn fields_have_segments_and_marks_are_not_words() {
        let record = |title: &str, price: &str| Record {
            id: "1".into(),
            columns: vec!["title".to_string(), "price".to_string()].into(),
            values: vec![title.into(), price.into()],
        };
        let (left, right) = (record("camera black", "12"), record("black camera zoom", "18"));

        for name in ["cased", "unigram"] {
            let rendering = TextConfig {
                ditto_markers: true,
                overlap_segments: true,
                segments: [("price".to_string(), 10)].into(),
                ..Default::default()
            };
            let tokenizer = open(name, rendering.clone());
            let encoding = tokenizer.encode(&[(&left).into(), (&right).into()]).unwrap();
            let squeeze = |s: String| s.replace([' ', '#', '▁'], "");
            assert_eq!(squeeze(segments_of(&tokenizer, &encoding, 2)), "camerablack");
            assert_eq!(squeeze(segments_of(&tokenizer, &encoding, 3)), "blackcamera");
            let own = squeeze(segments_of(&tokenizer, &encoding, 10));
            assert!(own.contains("12") && own.contains("18") && !own.contains("camera"), "{own}");
            assert_eq!(rendering.segment_count(2), 11);
        }
    }

    #[test]
    fn spans_are_where_texts_and_fields_are() {
        let columns: Vec<String> = ["title", "brand"].map(str::to_string).into();
        let values = ["sony camera 500 мл".to_string(), "camera black".to_string()].into();
        let record = Record { id: "1".into(), columns: columns.into(), values };
        let inputs = [Input::Text("camera zoom"), (&record).into(), Input::Text("black camera 500мл sony")];
        for (overlap_segments, max_tokens) in [(false, 64), (true, 64), (false, 12), (true, 12)] {
            let tokenizer = open("cased", TextConfig { overlap_segments, max_tokens, ..Default::default() });
            for count in 1..=3 {
                let sides: Vec<TokenizedSide> =
                    inputs[..count].iter().map(|i| tokenizer.prepare(*i).unwrap()).collect();
                let encoding = tokenizer.encode(&inputs[..count]).unwrap();
                assert_eq!(encoding, tokenizer.join(&sides.iter().collect::<Vec<_>>()));
                let all: usize = sides.iter().map(TokenizedSide::tokens).sum();
                let texts: Vec<&TokenSpan> = encoding.spans.iter().filter(|span| span.field.is_none()).collect();
                assert_eq!(texts.len(), count);
                let kept: usize = texts.iter().map(|span| (span.end - span.start) as usize).sum();
                assert_eq!(kept + encoding.truncated as usize, all);
                for (number, (span, side)) in texts.iter().zip(&sides).enumerate() {
                    assert_eq!(span.input as usize, number);
                    let ids = &encoding.ids[span.start as usize..span.end as usize];
                    assert_eq!(ids, &side.ids[..ids.len()]);
                    let of_text = |s: &&TokenSpan| s.field.is_some() && s.input as usize == number;
                    let fields: Vec<&TokenSpan> = encoding.spans.iter().filter(of_text).collect();
                    assert_eq!(fields.len(), if number == 1 { 2 } else { 0 });
                    if let [title, brand] = fields[..] {
                        assert_eq!((title.start, title.end, brand.end), (span.start, brand.start, span.end));
                        let alone = tokenizer.prepare(Input::Text(&record.values[0])).unwrap();
                        let in_title = (title.end - title.start) as usize;
                        assert_eq!(in_title, alone.tokens().min(ids.len()));
                    }
                }
            }
        }
    }

    #[test]
    fn the_longest_of_three_texts_is_cut_first() {
        for (tokens, room, kept) in [
            ([10, 3, 8], 15, [6, 3, 6]),
            ([5, 5, 5], 13, [5, 4, 4]),
            ([2, 3, 4], 9, [2, 3, 4]),
            ([9, 1, 1], 5, [3, 1, 1]),
        ] {
            let mut cut = tokens;
            truncate(&mut cut, room);
            assert_eq!(cut, kept, "{tokens:?}");
        }
    }

    #[test]
    fn texts_without_words_or_of_another_script_are_not_readable() {
        let tokenizer = open("cased", TextConfig::default());
        let side = |text| tokenizer.prepare(Input::Text(text)).unwrap();
        assert!(side("camera black 500").is_readable());
        for text in ["", "—", " !? "] {
            assert!(!side(text).is_readable(), "{text}");
        }
        let ugaritic = side("𐎀𐎁𐎂 𐎃𐎄");
        assert!(ugaritic.unknown() > 0 && !ugaritic.is_readable());
    }

    #[test]
    fn empty_and_long_texts() {
        let tokenizer = open("cased", TextConfig { overlap_segments: true, max_tokens: 64, ..Default::default() });
        let empty = Record { id: "1".into(), columns: vec!["title".to_string()].into(), values: vec![String::new()] };
        let encoding = tokenizer.encode(&[(&empty).into(), Input::Text("")]).unwrap();
        assert_eq!((encoding.ids.len(), encoding.segments, encoding.truncated), (3, vec![0, 0, 1], 0));
        for name in ["cased", "uncased", "unigram"] {
            let tokenizer = open(name, TextConfig { max_tokens: 64, ..Default::default() });
            let short = "Концентрат Prosept «Зелёный чай», 0,5 л ";
            let tokens = tokenizer.prepare(Input::Text(short)).unwrap().tokens();
            let long = short.repeat(1000); // some 60 kB: tokenised in pieces
            let encoding = tokenizer.encode(&[Input::Text(&long), Input::Text(short)]).unwrap();
            assert_eq!(encoding.ids.len(), 64);
            let special = tokenizer.encode(&[Input::Text(""), Input::Text("")]).unwrap().ids.len();
            assert_eq!(encoding.truncated as usize, 1001 * tokens + special - 64, "{name}");
            let glued = "x".repeat(300_000);
            assert!(tokenizer.encode(&[Input::Text(&glued)]).unwrap().ids.len() <= 64);
        }
    }

    #[test]
    fn chunks_are_cut_before_spaces_and_lose_nothing() {
        for text in ["слово ".repeat(5000), "я".repeat(100_000), format!("{} a b", "w".repeat(20_000)), "a".into()]
        {
            let parts: Vec<_> = chunks(&text).collect();
            assert_eq!(parts.iter().map(|p| p.1).collect::<String>(), text);
            for (start, part) in &parts[1..] {
                assert_eq!(&text[*start..start + part.len()], *part);
                assert!(part.starts_with(' ') || part.len() > CHUNK || text.starts_with('я'), "{start}");
            }
        }
        assert_eq!(chunks("").count(), 0);
    }

    #[test]
    fn save_gives_the_same_files() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["cased", "uncased", "unigram"] {
            open(name, TextConfig::default()).save(&dir.path().join(name)).unwrap();
            for file in std::fs::read_dir(golden(name)).unwrap() {
                let file = file.unwrap();
                let copy = dir.path().join(name).join(file.file_name());
                assert_eq!(std::fs::read(file.path()).unwrap(), std::fs::read(copy).unwrap());
            }
        }
    }

    #[test]
    fn broken_files_are_named() {
        let message = |files: &[(&str, &str)]| {
            let dir = tempfile::tempdir().unwrap();
            for (name, content) in files {
                std::fs::write(dir.path().join(name), content).unwrap();
            }
            let error = TextEncoder::open(dir.path(), TextConfig::default()).err().unwrap();
            assert!(error.is_user_error());
            let message = error.to_string();
            assert!(!message.contains('\n'), "{message}");
            message
        };
        let whole = std::fs::read_to_string(golden("uncased/tokenizer.json")).unwrap();
        let bpe = r#"{"version":"1.0","added_tokens":[],"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}"#;
        let no_unknown = r###"{"version":"1.0","added_tokens":[],"model":{"type":"WordPiece","unk_token":"[UNK]",
            "continuing_subword_prefix":"##","max_input_chars_per_word":100,"vocab":{"a":0}}}"###;
        // the library panics, at once or with the first text
        let charsmap = |map: &str| {
            format!(
                r#"{{"version":"1.0","added_tokens":[],"normalizer":{{"type":"Precompiled","precompiled_charsmap":"{map}"}},
                "model":{{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0.0],["a",-1.0]]}}}}"#
            )
        };
        let (at_once, later) = (charsmap(""), charsmap("BAAAAAAAAAA="));
        for (files, part) in [
            (
                vec![("tokenizer.json", at_once.as_str())],
                "tokenizer.json: normalizer: makes the tokenizers library fail",
            ),
            (vec![("tokenizer.json", later.as_str())], "tokenizer.json: normalizer: makes the tokenizers library fail"),
            (vec![], "neither tokenizer.json nor vocab.txt"),
            (vec![("tokenizer.json", "")], "tokenizer.json: JSON"),
            (vec![("tokenizer.json", &whole[..5000])], "tokenizer.json: JSON"),
            (vec![("tokenizer.json", "{\"a\": 1}")], "tokenizer.json: model.vocab"),
            (vec![("tokenizer.json", "[1]")], "tokenizer.json: model.vocab"),
            (vec![("tokenizer.json", bpe)], "tokenizer.json: post_processor"),
            (vec![("tokenizer.json", no_unknown)], "tokenizer.json: unk_token: [UNK]"),
            (vec![("vocab.txt", "a\nb\n")], "vocab.txt: [UNK]"),
            (vec![("vocab.txt", "[UNK]\n[CLS]\n")], "vocab.txt: [SEP]"),
            (vec![("vocab.txt", "[UNK]"), ("tokenizer_config.json", "{")], "tokenizer_config.json: JSON"),
        ] {
            let message = message(&files);
            assert!(message.contains(part), "{message}");
        }
        let rendering = TextConfig { max_tokens: 4, ..Default::default() };
        let error = TextEncoder::open(&golden("cased"), rendering).err().unwrap().to_string();
        assert!(error.contains("text.max_tokens = 4") && error.contains("at least 5"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]
        #[test]
        fn truncation(left in "[a-zа-я0-9 ,./-]{0,80}", right in "\\PC{0,60}", max in 6usize..40, mark: bool, which in 0usize..3) {
            let name = ["cased", "uncased", "unigram"][which];
            let rendering = TextConfig { max_tokens: max, overlap_segments: mark, ..Default::default() };
            let whole = open(name, TextConfig { max_tokens: 4096, ..rendering.clone() });
            let tokenizer = open(name, rendering);
            let (left, right) = (Input::Text(&left), Input::Text(&right));
            let (all, cut) = (whole.encode(&[left, right]).unwrap(), tokenizer.encode(&[left, right]).unwrap());
            prop_assert_eq!(cut.ids.len(), all.ids.len().min(max));
            prop_assert_eq!(cut.segments.len(), cut.ids.len());
            prop_assert_eq!(cut.ids.len() + cut.truncated as usize, all.ids.len());
            // each side is a prefix of the whole side, segments included
            let (l, r) = (tokenizer.prepare(left).unwrap(), tokenizer.prepare(right).unwrap());
            let (kept_left, kept_right) = fit(l.total, r.total, max - (all.ids.len() - l.total - r.total));
            prop_assert_eq!(&cut.ids[1..1 + kept_left], &all.ids[1..1 + kept_left]);
            prop_assert_eq!(&cut.segments[1..1 + kept_left], &all.segments[1..1 + kept_left]);
            let (start, whole_start) = (cut.ids.len() - 1 - kept_right, all.ids.len() - 1 - r.total);
            prop_assert_eq!(&cut.ids[start..][..kept_right], &all.ids[whole_start..][..kept_right]);
            prop_assert_eq!(&cut.segments[start..][..kept_right], &all.segments[whole_start..][..kept_right]);
            prop_assert!(kept_left.abs_diff(kept_right) <= 1 || kept_left == l.total || kept_right == r.total);
            prop_assert_eq!(tokenizer.join(&[&l, &r]), cut);
        }
    }
}
