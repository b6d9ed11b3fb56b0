//! One to three texts as one sequence: `[CLS] query [SEP] document [SEP]`, or whatever template the tokenizer's file asks for.
//!
//! Tokenized texts are truncated, or a document cut into [`passages`](super::passages), joined and given segments
//! ([`TextEncoder::join`]). Segments are BERT's whatever the model: 0 for the first text and the special tokens around it, 1 for the
//! second and its end, 2 for the third; then fields of their own and shared words (see [`TextConfig`](super::TextConfig)).

use std::ops::Range;

use super::batch::{Encoding, TokenSpan};
use super::encoder::{TextEncoder, TokenizedSide};
use super::overlap::{WordRelation, relations};
use crate::Result;
use crate::ranker::Input;

impl TextEncoder {
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
        if let (Some(room), [query, document]) = (self.query_room, sides) {
            return self.halves_fit(query, document, room);
        }
        if self.in_one(sides) {
            return true;
        }
        let (Some(passages), [query, document]) = (self.passages, sides) else { return false };
        self.passages_fit(query, document, passages)
    }

    /// Whether the texts fit one sequence.
    fn in_one(&self, sides: &[&TokenizedSide]) -> bool {
        let tokens: usize = sides.iter().map(|side| side.total).sum();
        tokens + self.files.template.special(sides.len()) <= self.config.max_tokens
    }

    /// [`encode`](Self::encode) of one to three texts that were tokenized before.
    pub fn join(&self, sides: &[&TokenizedSide]) -> Encoding {
        if let (Some(room), [query, document]) = (self.query_room, sides) {
            return self.join_halves(query, document, room);
        }
        if let (Some(passages), [query, document]) = (self.passages, sides)
            && !self.in_one(sides)
        {
            return self.join_passages(query, document, passages);
        }
        let room = self.config.max_tokens.saturating_sub(self.files.template.special(sides.len()));
        let mut kept = [0; 3];
        let kept = &mut kept[..sides.len()];
        kept.iter_mut().zip(sides).for_each(|(kept, side)| *kept = side.total);
        truncate(kept, room);
        let parts: Vec<_> = sides.iter().zip(&*kept).map(|(side, kept)| (*side, 0..*kept)).collect();
        let mut encoding = self.sequence(&parts, &self.relations(sides));
        encoding.truncated = sides.iter().zip(kept).map(|(side, kept)| (side.total - *kept) as u32).sum();
        encoding
    }

    /// What the words of each text are to the others'.
    pub(super) fn relations(&self, sides: &[&TokenizedSide]) -> [Vec<WordRelation>; 3] {
        match (self.config.overlap_segments, sides) {
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
        }
    }

    /// Some tokens of each text in one sequence.
    pub(super) fn sequence(
        &self,
        parts: &[(&TokenizedSide, Range<usize>)],
        marks: &[Vec<WordRelation>; 3],
    ) -> Encoding {
        let template = &self.files.template;
        let tokens = template.special(parts.len()) + parts.iter().map(|(_, range)| range.len()).sum::<usize>();
        let mut encoding = Encoding {
            ids: Vec::with_capacity(tokens),
            segments: Vec::with_capacity(tokens),
            spans: Vec::with_capacity(parts.len() + parts.iter().map(|(side, _)| side.fields()).sum::<usize>()),
            ..Encoding::default()
        };
        push(&mut encoding, &template.prefix, 0);
        for (number, (side, range)) in parts.iter().enumerate() {
            let segments = match (number, self.config.overlap_segments) {
                (0, _) => [0, 2, 4, 6, 8],
                (1, _) => [1, 3, 5, 7, 9],
                (_, true) => [10, 11, 12, 13, 14],
                (_, false) => [2; 5],
            };
            push_side(&mut encoding, number as u8, side, range.clone(), &marks[number], segments);
            // what follows the first text counts as its own, what follows the others as theirs
            let last = number + 1 == parts.len();
            let end = if last { &template.suffix } else { &template.separator };
            push(&mut encoding, end, segments[0]);
        }
        if self.config.one_segment {
            encoding.segments.fill(0);
        }
        encoding
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

/// Appends some tokens of a text; `segments` are those of its plain, shared, near and differing words and its shared codes.
pub(super) fn push_side(
    encoding: &mut Encoding,
    input: u8,
    side: &TokenizedSide,
    range: Range<usize>,
    marks: &[WordRelation],
    segments: [u32; 5],
) {
    let start = encoding.ids.len();
    push(encoding, &side.ids[range.clone()], segments[0]);
    let (first, end) = (start as u32, encoding.ids.len() as u32);
    encoding.spans.push(TokenSpan { input, field: None, start: first, end });
    let mut from = first;
    for field in 0..side.fields() {
        let to = side.fields.get(field).map_or(end, |&to| (first + to.saturating_sub(range.start as u32)).min(end));
        encoding.spans.push(TokenSpan { input, field: Some(field as u8), start: from, end: to });
        from = to;
    }
    let written = &mut encoding.segments[start..];
    for (segment, &word) in written.iter_mut().zip(side.word.get(range.clone()).unwrap_or_default()) {
        if let Some(&mark) = marks.get(word as usize) {
            *segment = segments[mark as usize];
        }
    }
    for (segment, own) in written.iter_mut().zip(side.own.get(range).unwrap_or_default()) {
        let own = own[usize::from(input > 0)];
        if own != 0 {
            *segment = own;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::encoder::tests::open;
    use super::*;
    use crate::records::Record;
    use crate::text::TextConfig;

    /// One space in front of every token of a text, by its segment.
    fn segments_of(tokenizer: &TextEncoder, encoding: &Encoding, segment: u32) -> String {
        let ids = encoding.ids.iter().zip(&encoding.segments).filter(|(_, s)| **s == segment).map(|(id, _)| *id);
        tokenizer.files.tokenizer.decode(&ids.collect::<Vec<_>>(), true).unwrap()
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
                segments: [("price".to_string(), 10.into())].into(),
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
