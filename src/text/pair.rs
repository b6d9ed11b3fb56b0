//! Two texts as one sequence: `[CLS] left [SEP] right [SEP]`, or whatever frame the tokenizer's file asks for.
//!
//! Each side is tokenised on its own and without special tokens, then the sides are cut, framed and given segments here. So a
//! record that stands in many pairs is tokenised once ([`PairTokenizer::prepare`]), and a pair costs two copies
//! ([`PairTokenizer::pair_prepared`]). Segments are BERT's whatever the model: 0 for the left side and the frame around it,
//! 1 for the right side and its end; then fields of their own and shared words (see [`Rendering`]).
//!
//! Refused: a window sliding over long texts (product texts say what matters first), and special tokens spelled out in a
//! user's text (`[SEP]` in a cell is five characters, not a separator).

use std::path::Path;
use std::sync::Arc;

use tokenizers::Encoding as Tokens;

use super::batch::Encoding;
use super::files::Files;
use super::render::{Rendering, render};
use super::shared::{Words, shared};
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
pub struct PairTokenizer {
    files: Arc<Files>,
    rendering: Rendering,
}

/// One side of a pair, tokenised once. Only good for the tokenizer that made it.
#[derive(Debug, Clone, Default)]
pub struct Prepared {
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
}

impl Prepared {
    /// Tokens of the whole text, without special tokens and before anything is cut.
    pub fn tokens(&self) -> usize {
        self.total
    }
}

impl PairTokenizer {
    /// Reads `tokenizer.json`, else `vocab.txt` (BERT), from a model folder.
    pub fn open(dir: &Path, rendering: Rendering) -> Result<Self> {
        Self::new(Files::read(dir)?, rendering)
    }

    pub(super) fn new(files: Files, rendering: Rendering) -> Result<Self> {
        rendering.check()?;
        let special = files.frame.prefix.len() + files.frame.middle.len() + files.frame.suffix.len();
        if rendering.max_tokens < special + 2 {
            let what = format!("a pair takes {special} special tokens and one of each side; give at least {}", special + 2);
            return Err(Error::setting("text.max_tokens", rendering.max_tokens, what));
        }
        Ok(PairTokenizer { files: Arc::new(files), rendering })
    }

    /// How records become text.
    pub fn rendering(&self) -> &Rendering {
        &self.rendering
    }

    /// The same tokenizer for a table whose columns have other names.
    pub fn with_fields(&self, fields: Vec<String>) -> Self {
        let rendering = Rendering { fields, ..self.rendering.clone() };
        PairTokenizer { files: self.files.clone(), rendering }
    }

    /// Rows the model's embedding table needs: the highest id plus one.
    pub fn vocab_size(&self) -> usize {
        self.files.vocab_size()
    }

    /// Writes the tokenizer's files as they were read.
    pub fn save(&self, dir: &Path) -> Result<()> {
        Files::save(&self.files.files, dir)
    }

    /// Tokenises one side.
    pub fn prepare(&self, input: Input) -> Result<Prepared> {
        let rendered = render(&self.rendering, input);
        let spans = &rendered.spans;
        let own = spans.iter().any(|s| s.segment.is_some());
        let mut prepared = Prepared::default();
        if self.rendering.mark_shared {
            prepared.words = Words::new(&rendered.text, spans.iter().map(|s| (s.value, s.end)));
        }
        let (mut span, mut word) = (0, 0);
        for (start, chunk) in chunks(&rendered.text) {
            let tokens = self.tokenise(chunk)?;
            prepared.total += tokens.len();
            let room = self.rendering.max_tokens - prepared.ids.len();
            for (&id, &(from, to)) in tokens.get_ids().iter().zip(tokens.get_offsets()).take(room) {
                prepared.ids.push(id);
                // the last byte: a piece may begin with the space before its word
                let at = start + from.max(to.saturating_sub(1));
                if own {
                    while spans.get(span).is_some_and(|s| s.end <= at) {
                        span += 1;
                    }
                    let here = spans.get(span).filter(|s| s.start <= at).and_then(|s| s.segment);
                    prepared.own.push(here.unwrap_or(NONE));
                }
                if self.rendering.mark_shared {
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

    /// The tokens of a pair. Tokens past `max_tokens` are cut one by one from the end of the side that is longer at that
    /// moment (the right one of two equal ones), and counted.
    pub fn pair(&self, left: Input, right: Input) -> Result<Encoding> {
        Ok(self.pair_prepared(&self.prepare(left)?, &self.prepare(right)?))
    }

    /// [`pair`](Self::pair) of sides tokenised before.
    pub fn pair_prepared(&self, left: &Prepared, right: &Prepared) -> Encoding {
        let frame = &self.files.frame;
        let special = frame.prefix.len() + frame.middle.len() + frame.suffix.len();
        let (l, r) = fit(left.total, right.total, self.rendering.max_tokens - special);
        let mut encoding = Encoding {
            ids: Vec::with_capacity(l + r + special),
            segments: Vec::with_capacity(l + r + special),
            cut: (left.total - l + right.total - r) as u32,
        };
        let (of_left, of_right) = match self.rendering.mark_shared {
            true => shared(&left.words, &right.words),
            false => Default::default(),
        };
        push(&mut encoding, &frame.prefix, 0);
        push_side(&mut encoding, left, l, &of_left, [0, 2]);
        push(&mut encoding, &frame.middle, 0);
        push_side(&mut encoding, right, r, &of_right, [1, 3]);
        push(&mut encoding, &frame.suffix, 1);
        encoding
    }

    /// The tokens of one text, as the left side of a pair without a right one.
    pub fn single(&self, input: Input) -> Result<Encoding> {
        let prepared = self.prepare(input)?;
        let frame = &self.files.frame;
        let kept = prepared.total.min(self.rendering.max_tokens - frame.prefix.len() - frame.suffix.len());
        let mut encoding = Encoding { cut: (prepared.total - kept) as u32, ..Default::default() };
        push(&mut encoding, &frame.prefix, 0);
        push_side(&mut encoding, &prepared, kept, &[], [0, 0]);
        push(&mut encoding, &frame.suffix, 0);
        Ok(encoding)
    }

    fn tokenise(&self, text: &str) -> Result<Tokens> {
        let failed = |e: tokenizers::Error| Error::Internal { op: "tokenise", what: e.to_string() };
        self.files.tokenizer.encode(text, false).map_err(failed)
    }
}

/// How many tokens of either side fit into `room`.
fn fit(left: usize, right: usize, room: usize) -> (usize, usize) {
    if left + right <= room {
        (left, right)
    } else if left <= room / 2 {
        (left, room - left)
    } else if right <= room / 2 {
        (room - right, right)
    } else {
        (room - room / 2, room / 2)
    }
}

fn push(encoding: &mut Encoding, ids: &[u32], segment: u32) {
    encoding.ids.extend_from_slice(ids);
    encoding.segments.resize(encoding.ids.len(), segment);
}

/// Appends the first `kept` tokens of a side; `segments` are those of its plain and of its shared words.
fn push_side(encoding: &mut Encoding, side: &Prepared, kept: usize, shared: &[bool], segments: [u32; 2]) {
    let start = encoding.ids.len();
    push(encoding, &side.ids[..kept], segments[0]);
    let written = &mut encoding.segments[start..];
    for (segment, &word) in written.iter_mut().zip(&side.word) {
        if shared.get(word as usize) == Some(&true) {
            *segment = segments[1];
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
