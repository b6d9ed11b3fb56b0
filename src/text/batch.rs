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
    /// How many tokens truncation dropped.
    pub truncated: u32,
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
    /// Spans of all sequences, one sequence after the other.
    pub spans: Vec<TokenSpan>,
    /// Where each sequence's spans start, and the end, `[b + 1]`.
    pub span_offsets: Vec<u32>,
    /// How many of each sequence's tokens are looked at, from its first on, `[b]`; empty: all.
    pub keys: Vec<u32>,
}

impl Default for Batch {
    fn default() -> Self {
        let (ids, segments, positions, spans, keys) = Default::default();
        Batch { ids, segments, offsets: vec![0], positions, spans, span_offsets: vec![0], keys }
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
    /// Appends a sequence.
    pub fn push(&mut self, encoding: &Encoding) {
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
