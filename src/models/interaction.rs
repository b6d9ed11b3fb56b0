//! Where interaction-matrix rankers stand: the similarity matrix of a query's tokens and a document's, over static or contextual vectors.
//!
//! ```text
//! static  a row of the table of words for each token
//! joint   states of [CLS] query [SEP] document [SEP]: each token has seen the other text
//! apart   states of [CLS] query [SEP] and of [CLS] document [SEP]
//! ```
//!
//! Where vectors come from is a setting ([`VectorSource`]), not another model. A text without tokens has no row or no column: a query's sums are then 0, and
//! a document's counts.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::bert::PREFIX;
use super::net::{ENCODER, Module, Pass};
use crate::Result;
use crate::nn::groups;
use crate::nn::histogram::{Bins, histograms};
use crate::nn::kernel_pooling::{Floor, KernelPooling};
use crate::nn::similarity::{MatrixLayout, PairRows, TokenVectors};
use crate::nn::word_rows::check_ids;
use crate::text::Batch;

/// Where a token's vector comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VectorSource {
    /// The table of words.
    #[default]
    Static,
    /// The last states of query and document in one sequence.
    Joint,
    /// The last states of each text in a sequence of its own, in segment 0.
    Apart,
}

impl VectorSource {
    /// What a model with such vectors is made of, without its head.
    pub fn modules(self) -> Vec<Module> {
        match self {
            VectorSource::Static => vec![Module::Words { prefix: PREFIX }],
            VectorSource::Joint | VectorSource::Apart => vec![ENCODER],
        }
    }
}

/// The similarity matrices of a batch of pairs, over one or several layers' vectors.
pub struct Interaction {
    layout: Arc<MatrixLayout>,
    /// Tokens of the rows that the layout speaks of.
    ids: Vec<u32>,
    layers: Vec<TokenVectors>,
}

/// Where query and document are in their joint sequences; a text that is not there is empty.
fn pair_rows(batch: &Batch) -> Vec<PairRows> {
    let of = |sequence: usize| {
        let start = batch.offsets[sequence] as usize;
        let text = |input: u8| -> Range<usize> {
            let span = batch.spans(sequence).iter().find(|span| span.input == input && span.field.is_none());
            span.map_or(start..start, |span| start + span.start as usize..start + span.end as usize)
        };
        PairRows { query: text(0), document: text(1) }
    };
    (0..batch.len()).map(of).collect()
}

/// Each text of joint sequences in a sequence of its own, with the special tokens around it, in segment 0. Pairs that follow each other share an equal
/// query.
fn separated(batch: &Batch) -> (Batch, Vec<PairRows>) {
    let mut apart = Batch::default();
    let mut push = |parts: [Range<usize>; 3]| -> Range<usize> {
        let start = apart.ids.len() + parts[0].len();
        let text = start..start + parts[1].len();
        parts.into_iter().for_each(|part| apart.ids.extend_from_slice(&batch.ids[part]));
        apart.segments.resize(apart.ids.len(), 0);
        apart.offsets.push(apart.ids.len() as u32);
        apart.span_offsets.push(0);
        text
    };
    let mut pairs: Vec<PairRows> = Vec::with_capacity(batch.len());
    let mut before: Option<&[u32]> = None;
    for (sequence, rows) in pair_rows(batch).into_iter().enumerate() {
        let (start, end) = (batch.offsets[sequence] as usize, batch.offsets[sequence + 1] as usize);
        let (prefix, suffix) = (start..rows.query.start, rows.document.end.max(rows.query.end)..end);
        let own = &batch.ids[rows.query.clone()];
        let query = match (before == Some(own), pairs.last()) {
            (true, Some(pair)) => pair.query.clone(),
            _ => push([prefix.clone(), rows.query.clone(), suffix.clone()]),
        };
        before = Some(own);
        pairs.push(PairRows { query, document: push([prefix, rows.document, suffix]) });
    }
    (apart, pairs)
}

/// Query and document of pairs whose documents may be in passages, from where these are in their sequences: the tokens of each pair that count, one pair
/// after the other, and where its two texts are among them.
fn joined(batch: &Batch, sequences: &[PairRows]) -> (Vec<PairRows>, Vec<u32>) {
    let (mut pairs, mut tokens) = (Vec::with_capacity(batch.pairs()), Vec::with_capacity(batch.tokens()));
    let mut push = |rows: &Range<usize>| tokens.extend(rows.clone().map(|row| row as u32));
    let mut end = 0;
    for w in batch.passage_offsets().windows(2) {
        let passages = &sequences[w[0] as usize..w[1] as usize];
        let query = end..end + passages[0].query.len();
        push(&passages[0].query);
        passages.iter().for_each(|passage| push(&passage.document));
        end = query.end + passages.iter().map(|passage| passage.document.len()).sum::<usize>();
        pairs.push(PairRows { document: query.end..end, query });
    }
    (pairs, tokens)
}

/// The first token's rows of states `[t, h]`, `[pairs, h]`: of a document in passages, their mean.
///
/// # Errors
/// What the tensor library refuses.
pub fn first_tokens(batch: &Batch, states: &Tensor) -> Result<Tensor> {
    let first = Tensor::from_slice(&batch.offsets[..batch.len()], batch.len(), &Device::Cpu)?;
    let first = states.index_select(&first, 0)?;
    if batch.passages.is_empty() { Ok(first) } else { groups::mean(&first, batch.passage_offsets()) }
}

impl Interaction {
    /// The matrices of joint sequences.
    ///
    /// # Errors
    /// What the encoder refuses; an id past the table of words.
    pub fn new(pass: &Pass, batch: &Batch, vectors: VectorSource) -> Result<Self> {
        let last = [pass.last_layer()];
        match vectors {
            VectorSource::Static => {
                let layout = Arc::new(MatrixLayout::new(pair_rows(batch)));
                Ok(Interaction { layout, ids: batch.ids.clone(), layers: vec![pass.words(PREFIX, batch)?] })
            }
            VectorSource::Joint => Self::of_states(batch, pass.layers(PREFIX, batch, &last)?),
            VectorSource::Apart => {
                let (apart, pairs) = separated(batch);
                let layers = pass.layers(PREFIX, &apart, &last)?.into_iter().map(TokenVectors::States).collect();
                Ok(Interaction { layout: Arc::new(MatrixLayout::new(pairs)), ids: apart.ids, layers })
            }
        }
    }
    /// The matrices of joint sequences over states `[t, h]` of theirs, one matrix a state. Of a document in passages: those of its tokens in all
    /// passages with the query's in the first.
    ///
    /// # Errors
    /// What the tensor library refuses.
    pub fn of_states(batch: &Batch, mut states: Vec<Tensor>) -> Result<Self> {
        let (mut pairs, mut ids) = (pair_rows(batch), batch.ids.clone());
        if !batch.passages.is_empty() {
            let (joined, tokens) = joined(batch, &pairs);
            ids = tokens.iter().map(|token| ids[*token as usize]).collect();
            let rows = Tensor::new(tokens, &Device::Cpu)?;
            states = states.iter().map(|s| Ok(s.index_select(&rows, 0)?)).collect::<Result<_>>()?;
            pairs = joined;
        }
        let layers = states.into_iter().map(TokenVectors::States).collect();
        Ok(Interaction { layout: Arc::new(MatrixLayout::new(pairs)), ids, layers })
    }
    /// Kernel pooling of every matrix, `[b, layers * k]`.
    ///
    /// # Errors
    /// What the tensor library refuses.
    pub fn kernels(&self, mu: &Tensor, sigma: &Tensor, floor: Floor, scale: f32) -> Result<Tensor> {
        let pooled = |vectors: &TokenVectors| -> Result<Tensor> {
            let op = KernelPooling { layout: self.layout.clone(), floor, scale };
            Ok(vectors.cosines(&self.layout)?.apply_op3(mu, sigma, op)?)
        };
        Ok(Tensor::cat(&self.layers.iter().map(pooled).collect::<Result<Vec<_>>>()?, 1)?)
    }
    /// Histograms of every matrix, `[query tokens, layers * bins]`, without a graph.
    ///
    /// # Errors
    /// What the tensor library refuses.
    pub fn histograms(&self, bins: &Bins) -> Result<Tensor> {
        let cosines = |vectors: &TokenVectors| -> Result<Vec<f32>> {
            let vectors = match vectors {
                TokenVectors::States(states) => TokenVectors::States(states.detach()),
                table => table.clone(),
            };
            Ok(vectors.cosines(&self.layout)?.to_vec1()?)
        };
        let layers = self.layers.iter().map(cosines).collect::<Result<Vec<_>>>()?;
        let values = histograms(&self.layout, &layers, &self.ids, bins);
        Ok(Tensor::from_vec(values, (self.layout.query_tokens(), layers.len() * bins.count), &Device::Cpu)?)
    }
    /// One value of each query token's vector in the last layer, `[query tokens]`, where `f` gives `[n, 1]` of `[n, h]`. Candidates
    /// share their query, so a static vector is seen once.
    ///
    /// # Errors
    /// What `f` refuses.
    pub fn of_query_vectors(&self, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let (vectors, rows) = (&self.layers[self.layers.len() - 1], self.layout.query_rows());
        match vectors.distinct(&rows) {
            None => Ok(f(&vectors.rows(rows)?)?.squeeze(1)?),
            Some((firsts, _)) if firsts.is_empty() => Ok(f(&vectors.rows(firsts)?)?.squeeze(1)?),
            Some((firsts, places)) => {
                let values = f(&vectors.rows(firsts)?)?.squeeze(1)?;
                Ok(values.index_select(&Tensor::from_vec(places, rows.len(), &Device::Cpu)?, 0)?)
            }
        }
    }
    /// The value of each query token, of values by token `[vocab_size]`: `[query tokens]`, without a graph.
    ///
    /// # Errors
    /// A token past the values.
    pub fn query_values(&self, by_token: &[f32]) -> Result<Tensor> {
        let rows = self.layout.query_rows();
        let ids: Vec<u32> = rows.iter().map(|row| self.ids[*row as usize]).collect();
        check_ids(&ids, by_token.len())?;
        Ok(Tensor::from_iter(ids.iter().map(|id| by_token[*id as usize]), &Device::Cpu)?)
    }
    /// Query tokens of all pairs.
    pub fn query_tokens(&self) -> usize {
        self.layout.query_tokens()
    }
    /// The row of each query token's pair: `[b, w]` to `[query tokens, w]`.
    ///
    /// # Errors
    /// What the tensor library refuses.
    pub fn to_query_tokens(&self, pairs: &Tensor) -> Result<Tensor> {
        Ok(pairs.index_select(&self.pair_of_query()?, 0)?)
    }
    /// Values of query tokens summed by pair: `[query tokens]` to `[b]`.
    ///
    /// # Errors
    /// What the tensor library refuses.
    pub fn sum(&self, values: &Tensor) -> Result<Tensor> {
        groups::sum(values, &self.query_offsets())
    }
    /// The softmax over each query's tokens, `[query tokens]`.
    ///
    /// # Errors
    /// What the tensor library refuses.
    pub fn softmax(&self, values: &Tensor) -> Result<Tensor> {
        groups::softmax(values, &self.query_offsets())
    }
    /// The cosines of the last layer's matrices, `[cells]`, by pair, then query token, then document token.
    ///
    /// # Errors
    /// What the tensor library refuses.
    pub fn cosines(&self) -> Result<Tensor> {
        self.layers[self.layers.len() - 1].cosines(&self.layout)
    }
    /// Vectors of `n` tokens in a row, from each token on, `[t, n * h]`: zeros past its text's end, and for tokens of no text.
    ///
    /// # Errors
    /// What the tensor library refuses.
    pub fn windows(&self, n: usize) -> Result<Tensor> {
        let t = self.ids.len();
        let rows = self.layers[self.layers.len() - 1].rows((0..t as u32).collect())?;
        let h = rows.dim(1)?;
        // row t is the one of zeros
        let mut places = vec![t as u32; t * n];
        for pair in &self.layout.pairs {
            for text in [&pair.query, &pair.document] {
                for (at, step) in text.clone().flat_map(|at| (0..n).map(move |step| (at, step))) {
                    places[at * n + step] = if at + step < text.end { (at + step) as u32 } else { t as u32 };
                }
            }
        }
        let rows = Tensor::cat(&[&rows, &Tensor::zeros((1, h), rows.dtype(), rows.device())?], 0)?;
        Ok(rows.index_select(&Tensor::from_vec(places, t * n, &Device::Cpu)?, 0)?.reshape((t, n * h))?)
    }
    /// The matrices between one kind of vectors of the queries' tokens and another of the documents', `[t, f]` each.
    ///
    /// # Errors
    /// What the tensor library refuses.
    pub fn crossed(&self, queries: &Tensor, documents: &Tensor) -> Result<Self> {
        let t = self.ids.len();
        let apart = |pair: &PairRows| PairRows {
            query: pair.query.clone(),
            document: pair.document.start + t..pair.document.end + t,
        };
        let layout = Arc::new(MatrixLayout::new(self.layout.pairs.iter().map(apart).collect()));
        let ids = [&self.ids[..], &self.ids].concat();
        Ok(Interaction { layout, ids, layers: vec![TokenVectors::States(Tensor::cat(&[queries, documents], 0)?)] })
    }
    /// Squares of a matrix's values from each cell on, `[cells, side * side]`: zeros past the matrix's end.
    ///
    /// # Errors
    /// What the tensor library refuses.
    pub fn patches(&self, values: &Tensor, side: usize) -> Result<Tensor> {
        let cells = self.layout.cells();
        let mut places = Vec::with_capacity(cells * side * side);
        for (number, pair) in self.layout.pairs.iter().enumerate() {
            let (start, q, d) = (self.layout.matrix(number).start, pair.query.len(), pair.document.len());
            for (i, j) in (0..q).flat_map(|i| (0..d).map(move |j| (i, j))) {
                for (down, right) in (0..side).flat_map(|down| (0..side).map(move |right| (i + down, j + right))) {
                    places.push(if down < q && right < d { (start + down * d + right) as u32 } else { cells as u32 });
                }
            }
        }
        let count = places.len();
        let values = self.with_zero(values)?;
        Ok(values.index_select(&Tensor::from_vec(places, count, &Device::Cpu)?, 0)?.reshape((cells, side * side))?)
    }
    /// The `keep` largest values of each row, falling, of the first `rows` query tokens: `[cells]` to `[b, rows, keep]`, zeros where there are fewer.
    ///
    /// # Errors
    /// What the tensor library refuses.
    pub fn largest(&self, values: &Tensor, rows: usize, keep: usize) -> Result<Tensor> {
        let (cells, b) = (self.layout.cells(), self.layout.pairs.len());
        let plain = values.to_vec1::<f32>()?;
        let mut places = vec![cells as u32; b * rows * keep];
        for (number, pair) in self.layout.pairs.iter().enumerate() {
            let (start, d) = (self.layout.matrix(number).start, pair.document.len());
            for row in 0..pair.query.len().min(rows) {
                let mut order: Vec<usize> = (start + row * d..start + (row + 1) * d).collect();
                // of equal values the first
                order.sort_by(|a, b| plain[*b].total_cmp(&plain[*a]));
                let out = &mut places[(number * rows + row) * keep..][..keep];
                out.iter_mut().zip(order).for_each(|(place, at)| *place = at as u32);
            }
        }
        let count = places.len();
        let values = self.with_zero(values)?;
        Ok(values.index_select(&Tensor::from_vec(places, count, &Device::Cpu)?, 0)?.reshape((b, rows, keep))?)
    }

    /// Values `[n]` with a zero after them.
    fn with_zero(&self, values: &Tensor) -> Result<Tensor> {
        if values.elem_count() == 0 {
            return Ok(Tensor::zeros(1, values.dtype(), values.device())?);
        }
        Ok(Tensor::cat(&[values, &Tensor::zeros(1, values.dtype(), values.device())?], 0)?)
    }
    /// Where each pair's query tokens start, and the end.
    fn query_offsets(&self) -> Vec<u32> {
        let ends = self.layout.pairs.iter().scan(0, |end, pair| {
            *end += pair.query.len() as u32;
            Some(*end)
        });
        std::iter::once(0).chain(ends).collect()
    }
    fn pair_of_query(&self) -> Result<Tensor> {
        Ok(Tensor::from_vec(self.layout.pair_of_query(), self.query_tokens(), &Device::Cpu)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Encoding, TokenSpan};

    /// `[1] query [2] document [2]`.
    fn joint(query: &[u32], document: &[u32]) -> Encoding {
        let ids = [&[1], query, &[2], document, &[2]].concat();
        let (q, d) = (query.len() as u32, document.len() as u32);
        let span = |input, start, end| TokenSpan { input, field: None, start, end };
        let segments = (0..ids.len() as u32).map(|at| u32::from(at > q + 1)).collect();
        Encoding { ids, segments, spans: vec![span(0, 1, 1 + q), span(1, 2 + q, 2 + q + d)], ..Encoding::default() }
    }

    #[test]
    fn texts_apart_are_those_of_the_joint_sequence_and_an_equal_query_comes_once() {
        let joint = [joint(&[10, 11], &[20]), joint(&[10, 11], &[]), joint(&[], &[30, 31])];
        let batch: Batch = joint.iter().collect();
        let (apart, pairs) = separated(&batch);
        assert_eq!(apart.ids, [1, 10, 11, 2, 1, 20, 2, 1, 2, 1, 2, 1, 30, 31, 2]);
        assert_eq!((apart.offsets, apart.segments), (vec![0, 4, 7, 9, 11, 15], vec![0; 15]));
        let rows = |query, document| PairRows { query, document };
        assert_eq!(pairs, [rows(1..3, 5..6), rows(1..3, 8..8), rows(10..10, 12..14)]);
        assert_eq!(pair_rows(&batch), [rows(1..3, 4..5), rows(7..9, 10..10), rows(12..12, 13..15)]);
    }

    #[test]
    fn softmax_and_sums_go_by_pair() {
        let encodings = [joint(&[10, 11], &[20]), joint(&[], &[20]), joint(&[10], &[])];
        let batch: Batch = encodings.iter().collect();
        let states = Tensor::zeros((batch.tokens(), 2), candle_core::DType::F32, &Device::Cpu).unwrap();
        let interaction = Interaction::of_states(&batch, vec![states]).unwrap();
        let values = Tensor::new(&[100f32, 100.0, -200.0], &Device::Cpu).unwrap();
        assert_eq!(interaction.softmax(&values).unwrap().to_vec1::<f32>().unwrap(), [0.5, 0.5, 1.0]);
        assert_eq!(interaction.sum(&values).unwrap().to_vec1::<f32>().unwrap(), [200.0, 0.0, -200.0]);
    }

    #[test]
    fn passages_are_one_document_with_the_query_of_the_first() {
        let long = Encoding { more: vec![joint(&[10], &[22]), joint(&[10], &[23])], ..joint(&[10], &[20, 21]) };
        let batch: Batch = [&joint(&[11], &[30]), &long].into_iter().collect();
        let states = Tensor::arange(0f32, batch.tokens() as f32, &Device::Cpu).unwrap().unsqueeze(1).unwrap();
        let cls = first_tokens(&batch, &states).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(cls, [[0.0], [(5.0 + 11.0 + 16.0) / 3.0]]);
        let interaction = Interaction::of_states(&batch, vec![states]).unwrap();
        assert_eq!(interaction.ids, [11, 30, 10, 20, 21, 22, 23]);
        assert_eq!(interaction.layout.pairs[1], PairRows { query: 2..3, document: 3..7 });
    }
}
