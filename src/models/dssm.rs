//! DSSM: two towers that meet in one product of vectors (Huang et al., CIKM 2013; over BERT: Reimers and Gurevych, "Sentence-BERT",
//! EMNLP 2019).
//!
//! ```text
//! query     ->  all layers  ->  mean or [CLS]  ->  q   \
//!                                                        cosine or dot product
//! document  ->  all layers  ->  mean or [CLS]  ->  d   /
//! ```
//!
//! Between pooling and product there may be linear layers (`dense`), each with an activation, as in folders of sentence-transformers. They are
//! of both towers, also where encoders are not.
//!
//! Over a table of words (`vectors = "static"`, or a file of vectors) a text is the mean of its tokens' rows; over hashed letter trigrams
//! (`vectors = "trigrams"`), as published, the sum of theirs through two more layers:
//!
//! ```text
//! letter trigrams  ->  sum of rows [300] and a bias, tanh  ->  300, tanh  ->  128, tanh
//! ```
//!
//! The bias of the first layer is the row of `[CLS]`, which each text has once. Refused: the tower's settings (sizes are the paper's).
//!
//! Documents are encoded once, before any query is known. Training takes the other documents of a batch as negatives (softmax with
//! temperature), and labelled non-matches of the query too; or a teacher's scores of lists, triples, or clusters of offers, by the recipe's `train.loss`.

use std::num::NonZeroUsize;

use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};

use super::bert::PREFIX;
use super::char_cnn;
use super::net::{ENCODER, Inputs, Module, Pass, Projection};
use super::{Example, LossSettings, Model, Reads, Scorer, TokenizedList};
use crate::Result;
use crate::losses::{Loss, in_batch_softmax, sup_con, triplet};
use crate::nn::encoder::Rows;
use crate::nn::pooling::Mean;
use crate::ranker::Vectors;
use crate::text::{Batch, Encoding, TokenizedSide};

/// Its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What a text's vector is made of.
    pub vectors: TextVectors,
    /// What represents a text: the mean of its tokens' states, or the first token's. Of an encoder's layers alone.
    pub pooling: Pooling,
    /// Linear layers after pooling; where a recipe has none, those that the start has. Of an encoder's layers alone.
    #[serde(skip_serializing_if = "DenseLayers::is_empty")]
    pub dense: DenseLayers,
    /// How two vectors are compared.
    pub similarity: Similarity,
    /// Whether queries and documents share one encoder.
    pub shared: bool,
    /// What similarities are divided by in the training softmax.
    pub temperature: f32,
    /// By how much a match must be nearer than a non-match, for the triplet loss.
    pub margin: f32,
}

/// What a text's vector is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextVectors {
    /// States of an encoder.
    #[default]
    Encoder,
    /// The mean of rows of a table of words.
    Static,
    /// Rows of hashed letter trigrams through a small network.
    Trigrams,
    /// Convolutions over characters ([`char_cnn`]): the tokenizer's tokens are characters, one tower reads both texts.
    CharCnn,
}

/// What represents a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean of all states.
    Mean,
    /// The first token's state.
    Cls,
}

/// Linear layers, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<Dense>", into = "Vec<Dense>")]
pub struct DenseLayers(Vec<Dense>);

/// A linear layer with what comes after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dense {
    /// The number of outputs.
    pub outputs: NonZeroUsize,
    /// Whether it has a bias.
    pub bias: bool,
    /// What its outputs go through.
    pub activation: Activation,
}

/// What a linear layer's outputs go through, each by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// Nothing.
    Identity,
    /// Hyperbolic tangent.
    Tanh,
    /// Zero in place of what is below.
    Relu,
    /// `x` times the normal distribution's share below `x`.
    Gelu,
    /// The logistic function.
    Sigmoid,
}

/// How two vectors are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Similarity {
    /// Cosine.
    Cosine,
    /// Dot product.
    Dot,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            vectors: TextVectors::Encoder,
            pooling: Pooling::Mean,
            dense: DenseLayers::default(),
            similarity: Similarity::Cosine,
            shared: true,
            temperature: 0.05,
            margin: 0.2,
        }
    }
}

/// The model.
pub struct Dssm(pub Config);

/// The prefix of a document encoder of its own.
pub const DOCUMENT: &str = "document.bert.";
/// The two layers after the sum of trigrams, of queries (or of both) and of documents: inputs and outputs.
const TOWERS: [[&str; 2]; 2] = [["dssm.hidden", "dssm.output"], ["document.dssm.hidden", "document.dssm.output"]];
const HIDDEN: usize = 300;
const OUTPUT: usize = 128;
/// Names of the layers after pooling.
pub const DENSE: [&str; 4] = ["dssm.dense.0", "dssm.dense.1", "dssm.dense.2", "dssm.dense.3"];

impl TryFrom<Vec<Dense>> for DenseLayers {
    type Error = String;

    fn try_from(layers: Vec<Dense>) -> std::result::Result<Self, String> {
        match layers.len() <= DENSE.len() {
            true => Ok(DenseLayers(layers)),
            false => Err(format!("has {} linear layers after pooling; known are up to {}", layers.len(), DENSE.len())),
        }
    }
}

impl From<DenseLayers> for Vec<Dense> {
    fn from(layers: DenseLayers) -> Self {
        layers.0
    }
}

impl DenseLayers {
    /// Without a layer?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Each layer's arrays and its activation.
    pub fn projections(&self) -> impl Iterator<Item = (Projection, Activation)> {
        let inputs = std::iter::once(Inputs::STATE).chain(self.0.iter().map(|l| Inputs::features(l.outputs.get())));
        DENSE.into_iter().zip(&self.0).zip(inputs).map(|((name, layer), inputs)| {
            (Projection { name, inputs, outputs: layer.outputs.get(), bias: layer.bias }, layer.activation)
        })
    }
}

impl Activation {
    fn of(self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Activation::Identity => x.clone(),
            Activation::Tanh => x.tanh()?,
            Activation::Relu => x.relu()?,
            Activation::Gelu => x.gelu_erf()?,
            Activation::Sigmoid => (((x * 0.5)?.tanh()? + 1.0)? * 0.5)?,
        })
    }
}

impl Dssm {
    /// What a tower is made of.
    fn tower(&self, document: bool) -> Vec<Module> {
        let prefix = if document { DOCUMENT } else { PREFIX };
        match self.0.vectors {
            TextVectors::Encoder if document => vec![Module::Encoder { prefix, copy_of: Some(PREFIX) }],
            TextVectors::Encoder => vec![ENCODER],
            TextVectors::Static => vec![Module::Words { prefix }],
            TextVectors::CharCnn => char_cnn::modules(None),
            TextVectors::Trigrams => {
                let [hidden, output] = TOWERS[usize::from(document)];
                vec![
                    Module::Words { prefix },
                    Module::Affine { name: hidden, outputs: &[HIDDEN], inputs: Inputs::STATE },
                    Module::Affine { name: output, outputs: &[OUTPUT], inputs: Inputs::features(HIDDEN) },
                ]
            }
        }
    }
    /// Rows of the table of words by text, `[b, h]`: their mean; with trigrams the sum and the layers after it.
    fn of_words(&self, pass: &Pass, batch: &Batch, prefix: &'static str, document: bool) -> Result<Tensor> {
        let with_bias = self.0.vectors == TextVectors::Trigrams;
        let (mut rows, mut offsets) = (Vec::with_capacity(batch.tokens()), vec![0]);
        for sequence in 0..batch.len() {
            let start = batch.offsets[sequence];
            let spans = batch.spans(sequence).iter().find(|span| span.field.is_none());
            rows.extend(with_bias.then_some(start));
            rows.extend(spans.map_or(0..0, |span| start + span.start..start + span.end));
            offsets.push(rows.len() as u32);
        }
        let counts: Vec<f32> = offsets.windows(2).map(|w| (w[1] - w[0]) as f32).collect();
        let mean = pass.words(prefix, batch)?.rows(rows)?.apply_op1(Mean { offsets })?;
        if !with_bias {
            return Ok(mean);
        }
        let counts = Tensor::from_vec(counts, (batch.len(), 1), mean.device())?;
        let [hidden, output] = TOWERS[usize::from(document && !self.0.shared)];
        let hidden = pass.affine(hidden, &mean.broadcast_mul(&counts)?.tanh()?)?.tanh()?;
        Ok(pass.affine(output, &hidden)?.tanh()?)
    }
    /// Vectors `[b, width]` of texts, of length 1 for the cosine.
    fn forward(&self, pass: &Pass, batch: &Batch, document: bool) -> Result<Tensor> {
        let encoder = if document && !self.0.shared { DOCUMENT } else { PREFIX };
        let mut vectors = match (self.0.vectors, self.0.pooling) {
            (TextVectors::CharCnn, _) => char_cnn::vectors(pass, &char_cnn::characters(pass, batch)?, &batch.offsets)?,
            (TextVectors::Static | TextVectors::Trigrams, _) => self.of_words(pass, batch, encoder, document)?,
            (TextVectors::Encoder, Pooling::Cls) => pass.states(encoder, batch, Rows::First)?,
            (TextVectors::Encoder, Pooling::Mean) => pass.mean(&pass.states(encoder, batch, Rows::All)?, batch)?,
        };
        for (layer, activation) in self.0.dense.projections() {
            vectors = activation.of(&pass.projected(layer, &vectors)?)?;
        }
        match self.0.similarity {
            Similarity::Dot => Ok(vectors),
            Similarity::Cosine => {
                let norm = (vectors.sqr()?.sum_keepdim(D::Minus1)? + 1e-24)?.sqrt()?;
                Ok(vectors.broadcast_div(&norm)?)
            }
        }
    }
}

impl Model for Dssm {
    fn modules(&self) -> Vec<Module> {
        let mut modules = self.tower(false);
        if !self.0.shared {
            modules.extend(self.tower(true));
        }
        modules.extend(self.0.dense.projections().map(|(layer, _)| Module::Projection(layer)));
        modules
    }
    fn reads(&self) -> Reads {
        Reads::Towers
    }
    /// Examples are a query, its match, and documents that are no match.
    fn loss(&self, pass: &Pass, examples: &[&Example], settings: &LossSettings) -> Result<Tensor> {
        if settings.loss != Loss::Bce {
            return self.other_loss(pass, examples, settings);
        }
        let queries: Batch = examples.iter().map(|e| &e.texts[0]).collect();
        let matches = examples.iter().map(|e| &e.texts[1]);
        let documents: Vec<&Encoding> = matches.chain(examples.iter().flat_map(|e| &e.texts[2..])).collect();
        // another copy of a query's own match is no negative
        let same = |i: usize, j: usize| i != j && documents[i].ids == documents[j].ids;
        let (b, n) = (examples.len(), documents.len());
        let left_out: Vec<bool> = (0..b).flat_map(|i| (0..n).map(move |j| (i, j))).map(|(i, j)| same(i, j)).collect();
        let queries = self.forward(&pass.again(0), &queries, false)?;
        let documents = self.forward(&pass.again(1), &documents.into_iter().collect(), true)?;
        in_batch_softmax(&queries, &documents, &left_out, 1.0 / self.0.temperature, settings.weights)
    }
    fn score(&self, scorer: &Scorer, lists: &[TokenizedList]) -> Result<Vec<Vec<f32>>> {
        let vectors = |texts: &[&TokenizedSide], document| self.encode(scorer, texts, document);
        let queries = vectors(&lists.iter().map(|l| l.query).collect::<Vec<_>>(), false)?;
        // a document of several lists is encoded once
        let mut places = std::collections::HashMap::new();
        let mut documents = Vec::new();
        for document in lists.iter().flat_map(|l| &l.candidates) {
            places.entry(std::ptr::from_ref(*document)).or_insert_with(|| {
                documents.push(*document);
                documents.len() - 1
            });
        }
        let documents = vectors(&documents, true)?;
        let score = |(query, list): (usize, &TokenizedList)| {
            let place = |document: &&TokenizedSide| places[&std::ptr::from_ref(*document)];
            list.candidates.iter().map(|d| queries.dot(query, &documents, place(d))).collect()
        };
        Ok(lists.iter().enumerate().map(score).collect())
    }
    fn vectors(&self, scorer: &Scorer, texts: &[&TokenizedSide], document: bool) -> Option<Result<Vectors>> {
        Some(self.encode(scorer, texts, document))
    }
    fn vector_width(&self, hidden: usize) -> usize {
        match self.0.vectors {
            TextVectors::Trigrams => OUTPUT,
            _ => self.0.dense.projections().last().map_or(hidden, |(layer, _)| layer.outputs),
        }
    }
}

impl Dssm {
    /// Losses over lists of a query's documents, triples and clusters.
    fn other_loss(&self, pass: &Pass, examples: &[&Example], settings: &LossSettings) -> Result<Tensor> {
        let queries: Batch = examples.iter().map(|e| &e.texts[0]).collect();
        let documents: Batch = examples.iter().flat_map(|e| &e.texts[1..]).collect();
        let queries = self.forward(&pass.again(0), &queries, false)?;
        let documents = self.forward(&pass.again(1), &documents, true)?;
        let lengths: Vec<usize> = examples.iter().map(|e| e.texts.len() - 1).collect();
        let rows = |places: Vec<u32>| Tensor::new(places, queries.device());
        let starts = lengths.iter().scan(0, |sum, n| Some(std::mem::replace(sum, *sum + n) as u32));
        match settings.loss {
            Loss::Triplet => {
                let first: Vec<u32> = starts.collect();
                let matches = documents.index_select(&rows(first.clone())?, 0)?;
                let others = documents.index_select(&rows(first.iter().map(|at| at + 1).collect())?, 0)?;
                triplet(&queries, &matches, &others, self.0.margin, settings.weights)
            }
            Loss::SupCon => {
                let clusters: Vec<u32> = examples.iter().chain(examples).map(|e| e.cluster).collect();
                let weights: Vec<f32> = settings.weights.iter().chain(settings.weights).map(|w| w / 2.0).collect();
                let matches = documents.index_select(&rows(starts.collect())?, 0)?;
                sup_con(&Tensor::cat(&[&queries, &matches], 0)?, &clusters, 1.0 / self.0.temperature, &weights)
            }
            _ => {
                let query = lengths.iter().enumerate().flat_map(|(i, n)| std::iter::repeat_n(i as u32, *n));
                let own = queries.index_select(&rows(query.collect())?, 0)?;
                let scores = ((own * documents)?.sum(D::Minus1)? / f64::from(self.0.temperature))?;
                settings.of_lists(examples, &scores, &lengths)
            }
        }
    }
    fn encode(&self, scorer: &Scorer, texts: &[&TokenizedSide], document: bool) -> Result<Vectors> {
        let sequences = scorer.join(&texts.iter().map(|text| vec![*text]).collect::<Vec<_>>());
        let dim = self.vector_width(scorer.net.config().hidden_size);
        let values = scorer.rows(&sequences, dim, |pass, batch| self.forward(pass, batch, document))?;
        Ok(Vectors { dim, values })
    }
}
