//! A document that is too long for one sequence, in passages: each stands with the query in a sequence of its own.
//!
//! ```text
//! [CLS] query [SEP] passage 1 [SEP]     [CLS] query [SEP] passage 2 [SEP]     ...
//! ```
//!
//! The query keeps its tokens, up to half of the room. There are as few passages as hold the document, of equal length (MacAvaney et al.,
//! SIGIR 2019, cut documents so), and neighbours share `overlap` tokens.

use std::num::NonZeroUsize;
use std::ops::Range;

use super::batch::Encoding;
use super::encoder::{TextEncoder, TokenizedSide};
use crate::{Error, Result};

/// How long documents are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passages {
    /// Passages of a document at most; what is after the last one is cut off.
    pub most: NonZeroUsize,
    /// Tokens that a passage shares with the one before.
    pub overlap: usize,
}

impl Passages {
    /// Several passages; none where one is allowed, as that is truncation.
    pub fn new(most: NonZeroUsize, overlap: usize) -> Option<Self> {
        (most > NonZeroUsize::MIN).then_some(Passages { most, overlap })
    }
    /// Tokens of each passage, of a document of so many, where a passage has room for `room`.
    fn cut(self, tokens: usize, room: usize) -> impl Iterator<Item = Range<usize>> {
        let (overlap, most) = (self.overlap.min(room - 1), self.most.get());
        let count = (1 + tokens.saturating_sub(room).div_ceil(room - overlap)).min(most);
        let kept = tokens.min(count * room - (count - 1) * overlap);
        let length = (kept + (count - 1) * overlap).div_ceil(count);
        (0..count).map(move |i| i * (length - overlap)).map(move |start| start..(start + length).min(kept))
    }
}

impl TextEncoder {
    /// Cuts documents that do not fit one sequence into passages; `None`: they are truncated.
    ///
    /// # Errors
    /// An overlap that leaves a passage nothing new.
    pub fn with_passages(mut self, passages: Option<Passages>) -> Result<Self> {
        let room = self.config.max_tokens.saturating_sub(self.files.template.special(2));
        if let Some(Passages { overlap, .. }) = passages.filter(|passages| passages.overlap >= room - room / 2) {
            let what = format!("of text.max_tokens = {}: give less than {}", self.config.max_tokens, room - room / 2);
            return Err(Error::setting("model.overlap", overlap, what));
        }
        self.passages = passages;
        Ok(self)
    }

    /// Tokens of a text that are kept.
    pub(super) fn longest(&self) -> usize {
        self.config.max_tokens * self.passages.map_or(1, |passages| passages.most.get())
    }

    /// Whether the passages hold a document whole, and there is room for the whole query.
    pub(super) fn passages_fit(&self, query: &TokenizedSide, document: &TokenizedSide, passages: Passages) -> bool {
        let (kept, mut ranges) = self.ranges(query, document, passages);
        kept == query.total && ranges.any(|range| range.end == document.total)
    }

    /// The first passage's sequence, with the others in [`Encoding::more`].
    pub(super) fn join_passages(
        &self,
        query: &TokenizedSide,
        document: &TokenizedSide,
        passages: Passages,
    ) -> Encoding {
        let (kept, ranges) = self.ranges(query, document, passages);
        let marks = self.relations(&[query, document]);
        let mut end = 0;
        let mut sequences = ranges.map(|range| {
            end = range.end;
            self.sequence(&[(query, 0..kept), (document, range)], &marks)
        });
        let mut first = sequences.next().unwrap_or_default();
        first.more = sequences.collect();
        first.truncated = (query.total - kept + document.total - end) as u32;
        first
    }

    /// Tokens of the query that are kept, and of each passage.
    fn ranges(
        &self,
        query: &TokenizedSide,
        document: &TokenizedSide,
        passages: Passages,
    ) -> (usize, impl Iterator<Item = Range<usize>>) {
        let room = self.config.max_tokens - self.files.template.special(2);
        let kept = query.ids.len().min(room / 2);
        (kept, passages.cut(document.ids.len(), room - kept))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::encoder::tests::open;
    use super::*;
    use crate::ranker::Input;
    use crate::text::{Batch, TextConfig};

    fn passages(most: usize, overlap: usize) -> Passages {
        Passages { most: NonZeroUsize::new(most).unwrap(), overlap }
    }

    #[test]
    fn passages_are_even_and_as_few_as_hold_the_document() {
        let cut = |most, overlap, tokens, room| -> Vec<(usize, usize)> {
            passages(most, overlap).cut(tokens, room).map(|range| (range.start, range.end)).collect()
        };
        assert_eq!(cut(9, 0, 10, 4), [(0, 4), (4, 8), (8, 10)]);
        assert_eq!(cut(9, 0, 9, 4), [(0, 3), (3, 6), (6, 9)]);
        assert_eq!(cut(9, 2, 9, 4), [(0, 4), (2, 6), (4, 8), (6, 9)]);
        assert_eq!(cut(2, 1, 99, 4), [(0, 4), (3, 7)], "the rest is cut off");
        assert_eq!(cut(1, 0, 99, 4), [(0, 4)]);
        assert_eq!(cut(3, 0, 0, 4), [(0, 0)], "an empty document is one empty passage");
    }

    proptest! {
        #[test]
        fn passages_cover_what_they_keep(most in 1usize..6, overlap in 0usize..5, tokens in 0usize..80, room in 6usize..20) {
            let ranges: Vec<_> = passages(most, overlap).cut(tokens, room).collect();
            prop_assert!(ranges.len() <= most && ranges.iter().all(|r| r.len() <= room));
            prop_assert_eq!(ranges[0].start, 0);
            for pair in ranges.windows(2) {
                prop_assert!(pair[0].end == pair[1].start + overlap && pair[1].end > pair[0].end);
            }
            let end = ranges.last().unwrap().end;
            prop_assert!(end == tokens || (ranges.len() == most && end + most > most * room - (most - 1) * overlap));
        }
    }

    #[test]
    fn each_passage_stands_with_the_query_and_a_short_pair_is_read_as_ever() {
        let config = || TextConfig { max_tokens: 16, overlap_segments: true, ..TextConfig::default() };
        let plain = open("cased", config());
        let text = open("cased", config()).with_passages(Some(passages(3, 2))).unwrap();
        let long = "чай zoom camera 27 монитор ".repeat(9);
        let [query, short, long] = ["camera 27", "camera zoom", &long].map(|t| text.prepare(Input::Text(t)).unwrap());
        assert_eq!(text.join(&[&query, &short]), plain.join(&[&query, &short]));
        assert!(text.fits(&[&query, &short]) && !text.fits(&[&query, &long]));

        let joined = text.join(&[&query, &long]);
        assert_eq!((joined.more.len(), joined.ids.len()), (2, 16));
        let q = query.tokens();
        let document = |encoding: &Encoding| encoding.ids[q + 2..encoding.ids.len() - 1].to_vec();
        let all: Vec<Vec<u32>> = std::iter::once(&joined).chain(&joined.more).map(document).collect();
        for (number, sequence) in std::iter::once(&joined).chain(&joined.more).enumerate() {
            assert_eq!(sequence.ids[..q + 2], joined.ids[..q + 2], "the query and what is around it");
            assert_eq!(sequence.segments[1..=q], joined.segments[1..=q]);
            let span = sequence.spans.iter().find(|span| span.input == 1).unwrap();
            assert_eq!((span.start as usize, span.end as usize), (q + 2, sequence.ids.len() - 1));
            if number > 0 {
                assert_eq!(all[number][..2], all[number - 1][all[number - 1].len() - 2..], "two tokens are shared");
            }
        }
        let covered: usize = all.iter().map(Vec::len).sum::<usize>() - 4;
        assert_eq!(covered + joined.truncated as usize, long.tokens());
        assert_eq!(joined.tokens(), all.iter().map(|d| d.len() + q + 3).sum::<usize>());
        // a word of a later passage is still marked as shared
        let at = joined.more[0].ids.iter().rposition(|id| joined.ids[1..=q].contains(id)).unwrap();
        assert!(joined.more[0].segments[at] >= 2, "{joined:?}");

        let batch: Batch =
            [&text.join(&[&query, &short]), &joined, &text.join(&[&query, &short])].into_iter().collect();
        assert_eq!((batch.len(), batch.pairs(), batch.passage_offsets()), (5, 3, vec![0, 1, 4, 5]));
        let batch: Batch = [&joined].into_iter().collect();
        assert_eq!((batch.pairs(), batch.passage_offsets()), (1, vec![0, 3]));
    }

    #[test]
    fn an_overlap_that_leaves_nothing_new_is_refused() {
        let text = open("cased", TextConfig { max_tokens: 16, ..TextConfig::default() });
        assert!(text.clone().with_passages(Some(passages(2, 6))).is_ok());
        let error = text.with_passages(Some(passages(2, 7))).err().unwrap();
        assert!(error.is_user_error() && error.to_string().contains("model.overlap = 7"), "{error}");
    }
}
