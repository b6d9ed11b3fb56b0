//! Token sequences laid end to end: no padding is ever stored.

/// One encoded text or pair.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids, `[t]`.
    pub ids: Vec<u32>,
    /// Segment (token type) of each token, `[t]`.
    pub segments: Vec<u32>,
    /// Where the texts and their fields are; no span where nobody needs them.
    pub spans: Vec<TokenSpan>,
    /// Position of each token, `[t]`; empty: counted from 0.
    pub positions: Vec<u32>,
    /// What each token's word is to the other text, as a segment that only counts once the two have met, `[t]`; 0: nothing. Empty where
    /// segments say it from the start, or nothing does.
    pub marks: Vec<u32>,
    /// How many tokens truncation dropped.
    pub truncated: u32,
    /// The other passages of a document that takes several sequences; this one is the first.
    pub more: Vec<Encoding>,
}

impl Encoding {
    /// Tokens of all passages.
    pub fn tokens(&self) -> usize {
        self.ids.len() + self.more.iter().map(|passage| passage.ids.len()).sum::<usize>()
    }
}

/// Where one input text, or one field of it, is in its sequence: tokens `start..end`, counted from the sequence's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenSpan {
    /// Which input: 0 the query, 1 the document, 2 the second document; [`TokenSpan::UNATTENDED`], [`TokenSpan::SKIPPED`].
    pub input: u8,
    /// Number of the field in the order of rendering; `None`: the whole text.
    pub field: Option<u8>,
    /// First token.
    pub start: u32,
    /// The token after the last.
    pub end: u32,
}

impl TokenSpan {
    /// In place of an input: tokens at the end of their sequence that no token looks at.
    pub const UNATTENDED: u8 = 254;
    /// In place of an input: tokens that are read and do not count in a score.
    pub const SKIPPED: u8 = 255;
}

/// `b` sequences laid end to end, `t` tokens in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Token ids, `[t]`.
    pub ids: Vec<u32>,
    /// Segments, `[t]`.
    pub segments: Vec<u32>,
    /// Where each sequence starts, and the end: `[b + 1]`, first 0, last `t`.
    pub offsets: Vec<u32>,
    /// Positions, `[t]`; empty: counted from 0 in each sequence.
    pub positions: Vec<u32>,
    /// Marks as in [`Encoding::marks`], `[t]`; empty: none.
    pub marks: Vec<u32>,
    /// Spans of all sequences, one sequence after the other.
    pub spans: Vec<TokenSpan>,
    /// Where each sequence's spans start, and the end, `[b + 1]`.
    pub span_offsets: Vec<u32>,
    /// How many of each sequence's tokens are looked at, from its first on, `[b]`; empty: all.
    pub keys: Vec<u32>,
    /// Sequences of each pair, where documents may be in passages; empty: one a pair.
    pub passages: Vec<u32>,
}

impl Default for Batch {
    fn default() -> Self {
        let (ids, segments, positions, marks, spans, keys, passages) = Default::default();
        Batch { ids, segments, offsets: vec![0], positions, marks, spans, span_offsets: vec![0], keys, passages }
    }
}

impl Batch {
    /// Number of sequences, `b`.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }
    /// True without a sequence.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Number of tokens, `t`.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }
    /// Number of texts or pairs: of sequences, but that all passages of a document are one.
    pub fn pairs(&self) -> usize {
        if self.passages.is_empty() { self.len() } else { self.passages.len() }
    }
    /// Where each pair's sequences start among all, and the end: `[pairs + 1]`.
    pub fn passage_offsets(&self) -> Vec<u32> {
        let mut offsets = vec![0];
        match self.passages.is_empty() {
            true => offsets.extend(1..=self.len() as u32),
            false => offsets.extend(self.passages.iter().scan(0, |end, n| {
                *end += n;
                Some(*end)
            })),
        }
        offsets
    }
    /// Appends a sequence, and those of its other passages.
    pub fn push(&mut self, encoding: &Encoding) {
        if !encoding.more.is_empty() || !self.passages.is_empty() {
            if self.passages.is_empty() {
                self.passages = vec![1; self.len()];
            }
            self.passages.push(1 + encoding.more.len() as u32);
        }
        self.push_sequence(encoding);
        encoding.more.iter().for_each(|passage| self.push_sequence(passage));
    }
    fn push_sequence(&mut self, encoding: &Encoding) {
        if !encoding.positions.is_empty() || !self.positions.is_empty() {
            self.count_positions();
            match encoding.positions.is_empty() {
                true => self.positions.extend(0..encoding.ids.len() as u32),
                false => self.positions.extend_from_slice(&encoding.positions),
            }
        }
        if !encoding.marks.is_empty() || !self.marks.is_empty() {
            self.marks.resize(self.ids.len(), 0);
            self.marks.extend_from_slice(&encoding.marks);
            self.marks.resize(self.ids.len() + encoding.ids.len(), 0);
        }
        let unattended = encoding.spans.iter().find(|span| span.input == TokenSpan::UNATTENDED);
        if unattended.is_some() && self.keys.is_empty() {
            self.keys = self.offsets.windows(2).map(|w| w[1] - w[0]).collect();
        }
        if unattended.is_some() || !self.keys.is_empty() {
            self.keys.push(unattended.map_or(encoding.ids.len() as u32, |span| span.start));
        }
        self.ids.extend_from_slice(&encoding.ids);
        self.segments.extend_from_slice(&encoding.segments);
        self.offsets.push(self.ids.len() as u32);
        self.spans.extend_from_slice(&encoding.spans);
        self.span_offsets.push(self.spans.len() as u32);
    }
    /// Writes down the positions that are counted from 0 in each sequence.
    fn count_positions(&mut self) {
        if self.positions.is_empty() {
            self.positions = self.offsets.windows(2).flat_map(|w| 0..w[1] - w[0]).collect();
        }
    }
    /// The same tokens, positions and segments with query and document of each sequence in sequences of their own. Sequences lie end to end, so
    /// that this is a matter of offsets: attention within them is attention of the joint sequences under a mask. A half without a token
    /// is none.
    pub fn apart(&self) -> Batch {
        let mut halves = Batch { ids: self.ids.clone(), segments: self.segments.clone(), ..Batch::default() };
        halves.offsets = self.offsets.clone();
        halves.positions = self.positions.clone();
        halves.count_positions();
        let document = |span: &&TokenSpan| span.input == 1 && span.field.is_none();
        for sequence in 0..self.len() {
            let (start, end) = (self.offsets[sequence], self.offsets[sequence + 1]);
            let at = self.spans(sequence).iter().find(document).map(|span| start + span.start);
            halves.offsets.extend(at.filter(|at| (start + 1..end).contains(at)));
        }
        halves.offsets.sort_unstable();
        halves
    }
    /// The same sequences in batches of at most so many tokens, or of one sequence.
    pub fn parts(&self, tokens: usize) -> Vec<Batch> {
        let (mut parts, mut first) = (Vec::new(), 0);
        for last in 0..self.len() {
            let full = last + 1 == self.len() || (self.offsets[last + 2] - self.offsets[first]) as usize > tokens;
            if full {
                parts.push(self.part(first, last + 1));
                first = last + 1;
            }
        }
        parts
    }
    /// Some of the sequences.
    fn part(&self, first: usize, end: usize) -> Batch {
        let tokens = self.offsets[first] as usize..self.offsets[end] as usize;
        let some = |values: &[u32]| values.get(tokens.clone()).unwrap_or_default().to_vec();
        let from_zero = |ends: &[u32]| ends[first..=end].iter().map(|at| at - ends[first]).collect();
        let spans = self.span_offsets[first] as usize..self.span_offsets[end] as usize;
        Batch {
            ids: some(&self.ids),
            segments: some(&self.segments),
            positions: some(&self.positions),
            marks: some(&self.marks),
            offsets: from_zero(&self.offsets),
            spans: self.spans[spans].to_vec(),
            span_offsets: from_zero(&self.span_offsets),
            keys: self.keys.get(first..end).unwrap_or_default().to_vec(),
            passages: Vec::new(),
        }
    }
    /// The spans of one sequence.
    pub fn spans(&self, sequence: usize) -> &[TokenSpan] {
        &self.spans[self.span_offsets[sequence] as usize..self.span_offsets[sequence + 1] as usize]
    }
}

impl<'a> FromIterator<&'a Encoding> for Batch {
    fn from_iter<I: IntoIterator<Item = &'a Encoding>>(encodings: I) -> Self {
        let mut batch = Batch::default();
        encodings.into_iter().for_each(|e| batch.push(e));
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(query: u32, document: u32) -> Encoding {
        let span = |input, start, end| TokenSpan { input, field: None, start, end };
        let all = query + document;
        Encoding {
            ids: (0..all).collect(),
            segments: vec![0; all as usize],
            spans: vec![span(0, 0, query), span(1, query, all)],
            ..Encoding::default()
        }
    }

    #[test]
    fn halves_lie_where_the_pair_did() {
        let pairs = [pair(2, 3), pair(3, 0), pair(0, 2)];
        let batch: Batch = pairs.iter().collect();
        let halves = batch.apart();
        assert_eq!(halves.offsets, [0, 2, 5, 8, 10]);
        assert_eq!(halves.positions, [0, 1, 2, 3, 4, 0, 1, 2, 0, 1], "as in the joint sequences");
        assert_eq!((halves.ids, halves.segments), (batch.ids, batch.segments));
    }

    #[test]
    fn parts_are_the_sequences_in_turn() {
        let pairs = [pair(2, 3), pair(3, 0), pair(0, 2), pair(9, 1), pair(1, 1)];
        for tokens in [1, 5, 8, 10, 12, 100] {
            let whole: Batch = pairs.iter().collect();
            let parts = whole.parts(tokens);
            assert!(parts.iter().all(|part| part.tokens() <= tokens || part.len() == 1));
            let mut at = 0;
            for part in &parts {
                assert_eq!(*part, pairs[at..at + part.len()].iter().collect());
                at += part.len();
            }
            assert_eq!(at, pairs.len());
            if tokens == 8 {
                assert_eq!(parts.iter().map(Batch::len).collect::<Vec<_>>(), [2, 1, 1, 1]);
            }
        }
        assert!(Batch::default().parts(8).is_empty());
    }

    #[test]
    fn positions_and_marks_of_some_sequences_are_written_down_for_all() {
        let mut batch: Batch = [pair(1, 1)].iter().collect();
        batch.push(&Encoding { positions: vec![0, 7], marks: vec![0, 3], ..pair(1, 1) });
        batch.push(&pair(1, 0));
        assert_eq!((batch.positions, batch.marks), (vec![0, 1, 0, 7, 0], vec![0, 0, 0, 3, 0]));
    }
}
