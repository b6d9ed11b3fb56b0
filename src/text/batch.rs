//! Token sequences laid end to end: no padding is ever stored.

/// One encoded text or pair.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids, `[t]`.
    pub ids: Vec<u32>,
    /// Segment (token type) of each token, `[t]`.
    pub segments: Vec<u32>,
    /// How many tokens truncation dropped.
    pub cut: u32,
}

/// `b` sequences laid end to end, `t` tokens in all. Positions count from 0 in each sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Token ids, `[t]`.
    pub ids: Vec<u32>,
    /// Segments, `[t]`.
    pub segments: Vec<u32>,
    /// Where each sequence starts, and the end: `[b + 1]`, first 0, last `t`.
    pub offsets: Vec<u32>,
}

impl Default for Batch {
    fn default() -> Self {
        Batch { ids: Vec::new(), segments: Vec::new(), offsets: vec![0] }
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
        self.ids.extend_from_slice(&encoding.ids);
        self.segments.extend_from_slice(&encoding.segments);
        self.offsets.push(self.ids.len() as u32);
    }
}

impl<'a> FromIterator<&'a Encoding> for Batch {
    fn from_iter<I: IntoIterator<Item = &'a Encoding>>(encodings: I) -> Self {
        let mut batch = Batch::default();
        encodings.into_iter().for_each(|e| batch.push(e));
        batch
    }
}
