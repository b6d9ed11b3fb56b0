//! Query and document as two halves of a sequence, each with its tokens and positions whatever the other one is.
//!
//! ```text
//! [CLS] query [SEP]  at most `room` tokens, positions from 0      |      document [SEP]  the rest of max_tokens, positions from `room`
//! ```
//!
//! So what an encoder makes of a document's half can be stored before any query is known. Marks of words that both texts have depend on both,
//! and are kept apart from the segments ([`Encoding::marks`]).

use super::batch::Encoding;
use super::encoder::{TextEncoder, TokenizedSide};
use super::overlap::{WordRelation, relations};
use super::sequence::{push, push_side};
use crate::{Error, Result};

/// Segments of plain, shared, near and differing words and shared codes of a query, and of a document.
const SEGMENTS: [[u32; 5]; 2] = [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]];
/// Marks that there are in [`Encoding::marks`], the two of plain words among them.
pub const MARKS: usize = 10;

impl TextEncoder {
    /// Gives the query's half so many tokens, special ones included; `None`: query and document are read together.
    ///
    /// # Errors
    /// No token left for one of the two.
    pub fn with_query_room(mut self, room: Option<usize>) -> Result<Self> {
        let template = &self.files.template;
        let least = template.prefix.len() + template.separator.len() + 1;
        let most = self.config.max_tokens.saturating_sub(template.suffix.len() + 1);
        if let Some(room) = room.filter(|room| !(least..=most).contains(room)) {
            let what = format!("of max_tokens = {}: give {least} to {most}", self.config.max_tokens);
            return Err(Error::setting("model.query_tokens", room, what));
        }
        self.query_room = room;
        Ok(self)
    }

    /// Tokens of the query's half, if query and document are read apart first.
    pub fn query_room(&self) -> Option<usize> {
        self.query_room
    }

    /// One half as a sequence of its own: the query's, or the document's.
    pub fn half(&self, side: &TokenizedSide, document: bool) -> Encoding {
        let mut encoding = Encoding::default();
        let room = self.query_room.unwrap_or(self.config.max_tokens / 2);
        self.push_half(&mut encoding, side, document, room);
        if self.config.one_segment {
            encoding.segments.fill(0);
        }
        encoding
    }

    /// What the words of two texts are to each other, as [`Encoding::marks`] of the joint sequence; none where they are not marked.
    pub fn marks(&self, query: &TokenizedSide, document: &TokenizedSide) -> Vec<u32> {
        let Some(room) = self.query_room.filter(|_| self.config.overlap_segments) else { return Vec::new() };
        let template = &self.files.template;
        let (of_query, of_document) = relations(&query.words, &document.words);
        let of = |side: &TokenizedSide, document: bool, relations: &[WordRelation]| -> Vec<u32> {
            let mark = |token: usize| {
                let relation = side.word.get(token).and_then(|word| relations.get(*word as usize));
                let mark = SEGMENTS[usize::from(document)][relation.map_or(0, |relation| *relation as usize)];
                let own = side.own.get(token).is_some_and(|own| own.iter().any(|segment| *segment != 0));
                if mark < 2 || own { 0 } else { mark }
            };
            (0..self.kept(side, document, room)).map(mark).collect()
        };
        let none = |tokens: &[u32]| vec![0; tokens.len()];
        let (q, d) = (of(query, false, &of_query), of(document, true, &of_document));
        [none(&template.prefix), q, none(&template.separator), d, none(&template.suffix)].concat()
    }

    /// Both halves end to end.
    pub(super) fn join_halves(&self, query: &TokenizedSide, document: &TokenizedSide, room: usize) -> Encoding {
        let mut encoding = Encoding::default();
        self.push_half(&mut encoding, query, false, room);
        self.push_half(&mut encoding, document, true, room);
        encoding.marks = self.marks(query, document);
        if self.config.one_segment {
            encoding.segments.fill(0);
        }
        encoding
    }

    /// Whether both halves are whole.
    pub(super) fn halves_fit(&self, query: &TokenizedSide, document: &TokenizedSide, room: usize) -> bool {
        query.total <= self.kept(query, false, room) && document.total <= self.kept(document, true, room)
    }

    /// Tokens of a text that its half takes.
    fn kept(&self, side: &TokenizedSide, document: bool, room: usize) -> usize {
        let template = &self.files.template;
        side.ids.len().min(match document {
            false => room - template.prefix.len() - template.separator.len(),
            true => self.config.max_tokens - room - template.suffix.len(),
        })
    }

    fn push_half(&self, encoding: &mut Encoding, side: &TokenizedSide, document: bool, room: usize) {
        let template = &self.files.template;
        let (kept, segments) = (self.kept(side, document, room), SEGMENTS[usize::from(document)]);
        let start = encoding.ids.len();
        if !document {
            push(encoding, &template.prefix, 0);
        }
        push_side(encoding, u8::from(document), side, 0..kept, &[], segments);
        push(encoding, if document { &template.suffix } else { &template.separator }, segments[0]);
        let first = if document { room as u32 } else { 0 };
        encoding.positions.extend(first..first + (encoding.ids.len() - start) as u32);
        encoding.truncated += (side.total - kept) as u32;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::ranker::Input;
    use crate::text::TextConfig;

    fn encoder(room: usize, overlap_segments: bool) -> Result<TextEncoder> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/text/cased");
        let config = TextConfig { max_tokens: 16, overlap_segments, ..TextConfig::default() };
        TextEncoder::open(&dir, config).unwrap().with_query_room(Some(room))
    }

    #[test]
    fn a_half_is_the_same_whatever_the_other_one_is() {
        for overlap in [false, true] {
            let text = encoder(7, overlap).unwrap();
            let sides = ["Монитор LG 27", "", "27 LG", "чай ".repeat(40).as_str()]
                .map(|t| text.prepare(Input::Text(t)).unwrap());
            for query in &sides {
                for document in &sides {
                    let (joint, q, d) =
                        (text.join(&[query, document]), text.half(query, false), text.half(document, true));
                    assert_eq!(joint.ids, [q.ids, d.ids].concat());
                    assert_eq!(joint.segments, [q.segments, d.segments].concat());
                    assert_eq!(joint.positions, [q.positions, d.positions].concat());
                    assert!(joint.ids.len() <= 16 && joint.positions.iter().all(|p| *p < 16));
                    assert_eq!(joint.truncated > 0, !text.fits(&[query, document]));
                    assert_eq!(joint.marks.len(), if overlap { joint.ids.len() } else { 0 });
                }
            }
            let marks = text.join(&[&sides[0], &sides[2]]).marks;
            assert_eq!(marks.iter().any(|mark| *mark >= 2), overlap, "{marks:?}");
            assert!(text.join(&[&sides[0], &sides[1]]).marks.iter().all(|mark| *mark == 0));
        }
    }

    #[test]
    fn a_room_that_leaves_no_token_is_refused() {
        for room in [0, 2, 15, 16, 99] {
            let error = encoder(room, false).err().unwrap();
            assert!(error.is_user_error() && error.to_string().contains("give 3 to 14"), "{error}");
        }
        assert_eq!(encoder(3, false).unwrap().query_room(), Some(3));
    }
}
