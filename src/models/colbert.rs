//! ColBERT: query and document meet after the last layer, token by token (Khattab and Zaharia, "ColBERT: Efficient and Effective Passage Search via
//! Contextualized Late Interaction over BERT", SIGIR 2020).
//!
//! ```text
//! [CLS] [Q] query [SEP] [MASK] ..  ->  all layers  ->  linear, length 1  ->  q_1 .. q_m   \
//!                                                                                          sum over i of max over j of q_i . d_j
//! [CLS] [D] document [SEP]         ->  all layers  ->  linear, length 1  ->  d_1 .. d_n   /
//! ```
//!
//! A document's vectors are computed once, before any query is known, without those of its signs of punctuation. Training takes the other
//! documents of a batch as negatives (softmax with temperature), labelled non-matches of any query too; with a loss over lists each query's own
//! documents are compared. Refused: the paper's separate first stage (the index finds candidates by the same vectors).

use std::collections::HashMap;

use candle_core::{D, Tensor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::bert::PREFIX;
use super::net::{ENCODER, Inputs, Module, Pass, Projection};
use super::{Example, LossSettings, Model, Reads, Scorer, TokenizedList};
use crate::Result;
use crate::losses::score_softmax;
use crate::nn::encoder::Rows;
use crate::nn::maxsim::{Compared, MaxSim, Query};
use crate::ranker::MultiVectors;
use crate::text::{Batch, Encoding, TextEncoder, TokenSpan, TokenizedSide, TowerConfig};

/// Its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Width of a token's vector.
    pub dim: usize,
    /// Tokens of a query at most, special ones included; exactly so many with `query_expansion`. Documents are cut at `text.max_tokens`.
    pub query_length: usize,
    /// Whether a query is filled up with mask tokens, which count as its own.
    pub query_expansion: bool,
    /// Whether tokens look at those masks.
    pub attend_to_expansion: bool,
    /// The token after the first one of a query: where it is left out `[Q]` or `[unused0]`, if the vocabulary has it; "" for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_marker: Option<String>,
    /// That of a document: `[D]` or `[unused1]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_marker: Option<String>,
    /// Tokens of a document that do not count: signs of punctuation, if nothing else is said.
    pub skip: Vec<String>,
    /// What scores are divided by in the training softmax over a batch.
    pub temperature: f32,
}

impl Default for Config {
    fn default() -> Self {
        let punctuation = (b'!'..=b'~').map(char::from).filter(char::is_ascii_punctuation);
        Config {
            dim: 128,
            query_length: 32,
            query_expansion: true,
            attend_to_expansion: false,
            query_marker: None,
            document_marker: None,
            skip: punctuation.map(String::from).collect(),
            temperature: 1.0,
        }
    }
}

/// The linear layer's name, as in Stanford's checkpoints.
pub const PROJECTION: &str = "linear";

/// The model.
pub struct Colbert(pub Config);

/// Rows of a batch whose tokens count, and where each sequence's begin among them, and the end.
fn counted(batch: &Batch) -> (Vec<u32>, Vec<usize>) {
    let (mut rows, mut ends) = (Vec::with_capacity(batch.tokens()), vec![0]);
    for sequence in 0..batch.len() {
        let start = batch.offsets[sequence];
        let mut skipped = batch.spans(sequence).iter().filter(|span| span.input == TokenSpan::SKIPPED).peekable();
        for row in start..batch.offsets[sequence + 1] {
            match skipped.next_if(|span| span.start == row - start) {
                Some(_) => {}
                None => rows.push(row),
            }
        }
        ends.push(rows.len());
    }
    (rows, ends)
}

impl Colbert {
    fn projection(&self) -> Projection {
        Projection { name: PROJECTION, inputs: Inputs::STATE, outputs: self.0.dim, bias: false }
    }

    /// Vectors `[n, dim]` of the tokens that count, and where each sequence's begin, and the end.
    fn forward(&self, pass: &Pass, batch: &Batch) -> Result<(Tensor, Vec<usize>)> {
        let (rows, ends) = counted(batch);
        let mut states = pass.states(PREFIX, batch, Rows::All)?;
        if rows.len() < batch.tokens() {
            let count = rows.len();
            states = states.index_select(&Tensor::from_vec(rows, count, states.device())?, 0)?;
        }
        let vectors = pass.projected(self.projection(), &states)?;
        let norm = (vectors.sqr()?.sum_keepdim(D::Minus1)? + 1e-24)?.sqrt()?;
        Ok((vectors.broadcast_div(&norm)?, ends))
    }

    /// Vectors of texts, several at a time.
    fn encode(&self, scorer: &Scorer, texts: &[&TokenizedSide], document: bool) -> Result<MultiVectors> {
        let sequences: Vec<Encoding> = texts.par_iter().map(|text| scorer.text.tower(text, document)).collect();
        let mut all = MultiVectors::new(self.0.dim);
        scorer.batches(&sequences, |pass, batch| {
            let (vectors, ends) = self.forward(pass, batch)?;
            let values = vectors.flatten_all()?.to_vec1::<f32>()?;
            ends.windows(2).for_each(|w| all.push(&values[w[0] * self.0.dim..w[1] * self.0.dim]));
            Ok(())
        })?;
        Ok(all)
    }
}

impl Model for Colbert {
    fn modules(&self) -> Vec<Module> {
        vec![ENCODER, Module::Projection(self.projection())]
    }
    fn reads(&self) -> Reads {
        Reads::Towers
    }
    fn towers(&self) -> Option<TowerConfig> {
        let Config { query_length, query_expansion: expand, attend_to_expansion: attend, .. } = self.0;
        let markers = [self.0.query_marker.clone(), self.0.document_marker.clone()];
        Some(TowerConfig { markers, query_length, expand, attend, skip: self.0.skip.clone() })
    }
    fn fits(&self, text: &TextEncoder, query: &TokenizedSide, document: &TokenizedSide) -> bool {
        text.tower_fits(query, false) && text.tower_fits(document, true)
    }
    /// Examples are a query, its match, and documents that are no match.
    fn loss(&self, pass: &Pass, examples: &[&Example], settings: &LossSettings) -> Result<Tensor> {
        let of_lists = settings.loss.of_lists() || settings.loss.wants_teacher();
        let queries: Batch = examples.iter().map(|e| &e.texts[0]).collect();
        // a list's own documents follow each other; else the matches come first
        let documents: Vec<&Encoding> = match of_lists {
            true => examples.iter().flat_map(|e| &e.texts[1..]).collect(),
            false => {
                let matches = examples.iter().map(|e| &e.texts[1]);
                matches.chain(examples.iter().flat_map(|e| &e.texts[2..])).collect()
            }
        };
        let (b, n) = (examples.len(), documents.len());
        let (q, query_ends) = self.forward(&pass.again(0), &queries)?;
        let (d, document_ends) = self.forward(&pass.again(1), &documents.iter().copied().collect())?;
        if of_lists {
            let lengths: Vec<usize> = examples.iter().map(|e| e.texts.len() - 1).collect();
            let op = MaxSim::new(query_ends, document_ends, &Compared::Own(lengths.clone()));
            let scores = q.contiguous()?.apply_op2(&d.contiguous()?, op)?;
            return settings.of_lists(examples, &scores, &lengths);
        }
        // another copy of a query's own match is no negative
        let same = |i: usize, j: usize| i != j && documents[i].ids == documents[j].ids;
        let left_out: Vec<bool> = (0..b).flat_map(|i| (0..n).map(move |j| (i, j))).map(|(i, j)| same(i, j)).collect();
        let op = MaxSim::new(query_ends, document_ends, &Compared::All);
        let scores = q.contiguous()?.apply_op2(&d.contiguous()?, op)?.reshape((b, n))?;
        score_softmax(&scores, &left_out, 1.0 / self.0.temperature, settings.weights)
    }
    fn score(&self, scorer: &Scorer, lists: &[TokenizedList]) -> Result<Vec<Vec<f32>>> {
        let queries = self.encode(scorer, &lists.iter().map(|l| l.query).collect::<Vec<_>>(), false)?;
        // a document of several lists is encoded once
        let (mut places, mut documents) = (HashMap::new(), Vec::new());
        for document in lists.iter().flat_map(|l| &l.candidates) {
            places.entry(std::ptr::from_ref(*document).addr()).or_insert_with(|| {
                documents.push(*document);
                documents.len() - 1
            });
        }
        let documents = self.encode(scorer, &documents, true)?;
        let score = |(number, list): (usize, &TokenizedList)| {
            let query = Query::new(queries.text(number), self.0.dim);
            let place = |document: &&TokenizedSide| places[&std::ptr::from_ref(*document).addr()];
            list.candidates.iter().map(|d| query.score(documents.text(place(d)))).collect()
        };
        Ok(lists.par_iter().enumerate().map(|(number, list)| score((number, list))).collect())
    }
    fn multi_vectors(&self, scorer: &Scorer, texts: &[&TokenizedSide], document: bool) -> Option<Result<MultiVectors>> {
        Some(self.encode(scorer, texts, document))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_gradient_of;
    use super::*;
    use crate::losses::Loss;

    fn text(ids: &[u32], spans: Vec<TokenSpan>) -> Encoding {
        Encoding { ids: ids.to_vec(), segments: vec![0; ids.len()], spans, ..Encoding::default() }
    }

    /// A query with masks that nobody looks at, and documents of which one leaves a token out.
    fn examples() -> Vec<Example> {
        let span = |input, start, end| TokenSpan { input, field: None, start, end };
        let query = |a: u32| text(&[1, a, 2, 3, 3], vec![span(0, 1, 2), span(TokenSpan::UNATTENDED, 3, 5)]);
        let document = |a: u32| text(&[1, a, 7, a + 1, 2], vec![span(1, 1, 4), span(TokenSpan::SKIPPED, 2, 3)]);
        let grades = vec![1.0, 0.0];
        let example = |a: u32| Example {
            texts: vec![query(a), document(a), text(&[1, a + 5, 2], vec![])],
            target: 1.0,
            grades: grades.clone(),
            // of a cross-encoder
            teacher: vec![1.5, -0.5],
            ..Example::default()
        };
        vec![example(10), example(20), example(30)]
    }

    #[test]
    fn gradients_equal_finite_differences_over_a_batch_and_over_lists() {
        let model = Colbert(Config { dim: 6, ..Config::default() });
        let examples = examples();
        for loss in [Loss::Bce, Loss::Softmax, Loss::Kl, Loss::MarginMse] {
            assert_gradient_of(&model, &examples.iter().collect::<Vec<_>>(), loss);
        }
    }
}
