//! One text to token ids, on its own and without special tokens ([`TextEncoder::prepare`]): a record of many pairs is tokenized once. How
//! texts become one sequence is in [`super::sequence`].
//!
//! Refused: special tokens spelled out in a user's text (`[SEP]` in a cell is five characters, not a separator).

use std::path::Path;
use std::sync::Arc;

use tokenizers::Encoding as Tokens;

use super::files::{Files, unless_it_panics};
use super::overlap::Words;
use super::passages::Passages;
use super::render::{TextConfig, render};
use super::towers::Towers;
use crate::ranker::Input;
use crate::{Error, Result};

/// Longest text given to the tokenizer at once, in bytes: its working memory is some hundred bytes a token.
const CHUNK: usize = 8 << 10;
/// A word is only cut in two past this length.
const LONGEST_WORD: usize = 64 << 10;
/// No word.
pub(super) const NONE: u32 = u32::MAX;

/// Turns records and texts into token ids. Cheap to clone.
#[derive(Clone)]
pub struct TextEncoder {
    pub(super) files: Arc<Files>,
    pub(super) config: TextConfig,
    /// Tokens of the query's half, where query and document are read apart first.
    pub(super) query_room: Option<usize>,
    /// How documents too long for one sequence are cut; `None`: they are truncated.
    pub(super) passages: Option<Passages>,
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

/// One token of a text.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Piece {
    /// Its row of the embedding table.
    pub id: u32,
    /// As the vocabulary writes it; a hashed n-gram or bytes as the text does.
    pub token: String,
    /// Where it starts in the text, in bytes.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

/// One side of a pair, tokenised once. Only good for the tokenizer that made it.
#[derive(Debug, Clone, Default)]
pub struct TokenizedSide {
    /// The first token ids, `[t]`: `max_tokens`, or those of all passages.
    pub(super) ids: Vec<u32>,
    /// Each token's own segments, in the first text and in those after it; empty where no field has one.
    pub(super) own: Vec<[u32; 2]>,
    /// Each token's index in `words` or [`NONE`]; empty where shared words are not marked.
    pub(super) word: Vec<u32>,
    /// All words of the text, also those whose tokens are cut.
    pub(super) words: Words,
    /// Tokens of the whole text.
    pub(super) total: usize,
    /// Those of them that are unknown.
    unknown: usize,
    /// Letters and digits of the whole text, in bytes.
    letters: usize,
    /// Those of them that are in unknown tokens or of a script that the vocabulary has not learnt.
    unread: usize,
    /// Fields: where each ends among the tokens that are kept.
    pub(super) fields: Vec<u32>,
    /// Values of the columns that are read besides the text; empty ones for a plain text.
    columns: Vec<String>,
}

impl TokenizedSide {
    /// Values of the columns that are read besides the text.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }
    /// Tokens of the whole text, without special tokens and before anything is cut.
    pub fn tokens(&self) -> usize {
        self.total
    }
    /// Tokens that the vocabulary does not have.
    pub fn unknown(&self) -> usize {
        self.unknown
    }
    /// How many fields it has; none where it is one field or a plain text.
    pub(super) fn fields(&self) -> usize {
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
        Ok(TextEncoder { files: Arc::new(files), config: rendering, query_room: None, passages: None, towers: None })
    }

    /// From files in memory.
    pub(super) fn from_files(files: Vec<(String, Vec<u8>)>, rendering: TextConfig) -> Result<Self> {
        Self::new(Files::from_files(Path::new("new vocabulary"), files)?, rendering)
    }

    /// The token ids of a text, without special tokens and uncut.
    ///
    /// # Errors
    /// What the tokenizer refuses.
    pub fn token_ids(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        for (_, chunk) in chunks(text) {
            ids.extend_from_slice(self.tokenize(chunk)?.get_ids());
        }
        Ok(ids)
    }

    /// The tokens of a text with their places in it, without special tokens and uncut.
    ///
    /// # Errors
    /// What the tokenizer refuses.
    pub fn pieces(&self, text: &str) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        for (start, chunk) in chunks(text) {
            let tokens = self.tokenize(chunk)?;
            for (&id, &(from, to)) in tokens.get_ids().iter().zip(tokens.get_offsets()) {
                let token = self.files.tokenizer.id_to_token(id).filter(|_| !self.files.byte_level);
                let token = token.unwrap_or_else(|| chunk.get(from..to).unwrap_or_default().to_string());
                pieces.push(Piece { id, token, start: start + from, end: start + to });
            }
        }
        Ok(pieces)
    }

    /// The token of what the vocabulary does not have, if there is one.
    pub fn unknown_id(&self) -> Option<u32> {
        self.files.unknown
    }

    /// How records become text.
    pub fn rendering(&self) -> &TextConfig {
        &self.config
    }

    /// The same tokenizer for a table whose columns have other names.
    pub fn with_fields(&self, fields: Vec<String>) -> Self {
        let config = TextConfig { fields, ..self.config.clone() };
        TextEncoder { files: self.files.clone(), config, ..self.clone() }
    }

    /// Rows the model's embedding table needs: the highest id plus one.
    pub fn vocab_size(&self) -> usize {
        self.files.vocab_size()
    }

    /// A token as the vocabulary spells it.
    pub fn piece(&self, id: u32) -> String {
        self.files.tokenizer.id_to_token(id).unwrap_or_else(|| format!("<{id}>"))
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
        let value = |name: &String| match input {
            Input::Record(record) => record.get(name).unwrap_or_default().to_string(),
            Input::Text(_) => String::new(),
        };
        let columns = self.config.inputs.iter().map(value).collect();
        let unlearnt = |c: &char| self.files.unlearnt.has(*c);
        let mut prepared = TokenizedSide {
            letters: letters(rendered.text.chars()),
            unread: letters(rendered.text.chars().filter(unlearnt)),
            columns,
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
            let room = self.longest() - prepared.ids.len();
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
                    prepared.own.push(here.unwrap_or_default());
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

    pub(super) fn tokenize(&self, text: &str) -> Result<Tokens> {
        let failed = |e: tokenizers::Error| Error::Internal { op: "tokenize", what: e.to_string() };
        if let Some(ngrams) = &self.files.ngrams {
            return ngrams.encode(&self.files.tokenizer, text);
        }
        unless_it_panics(&self.files.path, || self.files.tokenizer.encode(text, false))?.map_err(failed)
    }
}

/// Bytes of a text's letters and digits: a sign of a script of many signs says more than a letter.
fn letters(text: impl Iterator<Item = char>) -> usize {
    text.filter(|c| c.is_alphanumeric()).map(char::len_utf8).sum()
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
pub(super) mod tests {
    use std::path::PathBuf;

    use serde_json::Value;

    use super::*;
    use crate::records::Record;

    pub fn golden(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/text").join(name)
    }

    pub fn open(name: &str, rendering: TextConfig) -> TextEncoder {
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
    fn cased_vocabulary_keeps_case() {
        let tokenizer = open("cased", TextConfig::default());
        let [upper, lower] = ["Средство", "средство"].map(|t| tokenizer.encode(&[Input::Text(t)]).unwrap().ids);
        assert_ne!(upper, lower);
        let tokenizer = open("uncased", TextConfig::default());
        let [upper, lower] = ["Средство", "средство"].map(|t| tokenizer.encode(&[Input::Text(t)]).unwrap().ids);
        assert_eq!(upper, lower);
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
}
