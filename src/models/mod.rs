//! One architecture, one file. The order of the field is where the query meets the document:
//!
//! | model file | where they meet | document half computable beforehand | a score depends on |
//! | --- | --- | --- | --- |
//! | `cross_encoder` (mono) | at layer 0 | no | the pair |
//! | `character_bert` | at layer 0, words made of characters | no | the pair |
//! | `parade` | at layer 0, a long document in passages | no | the pair |
//! | `duo` | at layer 0, two documents at a time | no | the whole list |
//! | `yati` | after some layers | yes, below them | the pair |
//! | `cedr` | at layer 0, and in a matrix of similar tokens after every layer | no | the pair |
//! | `knrm`, `conv_knrm`, `drmm`, `pacrr` | in a matrix of similar tokens, over static vectors or an encoder's | no | the pair |
//! | `detext` | after the last layer, with numbers and categories | yes | the pair |
//! | `colbert` | after the last layer, token by token | yes | the pair |
//! | `dssm` | after the last layer | yes | the pair |
//!
//! A model file says what the model is made of ([`Model::modules`]), how its texts become sequences ([`Model::reads`]), and has one
//! forward function, used by [`Model::loss`] and [`Model::score`]. Everything else (precision, device, packing, caches, seeds, names of
//! the encoder's arrays) is below it, in [`net`], [`bert`] and [`interaction`].
pub mod bert;
pub mod cedr;
mod char_cnn;
pub mod character_bert;
pub mod colbert;
pub mod conv_knrm;
pub mod cross_encoder;
pub mod detext;
pub mod drmm;
pub mod dssm;
pub mod duo;
mod halves;
pub mod interaction;
pub mod knrm;
pub mod masked_lm;
mod modules;
pub mod net;
pub mod pacrr;
pub mod parade;
pub mod tournament;
pub mod yati;

use candle_core::Tensor;
use rayon::prelude::*;

pub use net::{Inputs, Mode, Module, Net, Pass, Projection};

use crate::losses::{Loss, ScoredLists};
use crate::ranker::{MultiVectors, Vectors};
use crate::text::{Batch, Encoding, Passages, TextEncoder, TokenizedSide, TowerConfig};
use crate::{Error, Result};

/// How a model's texts become sequences, and so what an example of its training is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Query and document in one sequence.
    Pair,
    /// Each text in a sequence of its own: the query, its match, and other documents that are no match.
    Towers,
    /// Query and two documents in one sequence.
    Triple,
}

/// What training sees of a labelled pair, triple or list.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Example {
    /// The sequences, as [`Reads`] says.
    pub texts: Vec<Encoding>,
    /// 1 for a match, 0 for none, or between. Of a triple: 1 if the first document is the better one.
    pub target: f32,
    /// Of a list: how relevant each document is, one a document; empty otherwise.
    pub grades: Vec<f32>,
    /// What a teacher makes of each document; empty without one.
    pub teacher: Vec<f32>,
    /// Of a model that reads columns besides the text: their values, one list a text; empty otherwise.
    pub inputs: Vec<Vec<String>>,
    /// Which cluster of equal things the query and its match are of.
    pub cluster: u32,
}

impl Example {
    /// The columns of a text that are read besides it.
    pub fn columns(&self, text: usize) -> &[String] {
        self.inputs.get(text).map_or(&[], Vec::as_slice)
    }
    /// Tokens of all sequences.
    pub fn tokens(&self) -> usize {
        self.texts.iter().map(Encoding::tokens).sum()
    }
}

/// What a loss needs to know of its step.
#[derive(Debug, Clone, Copy)]
pub struct LossSettings<'a> {
    /// What each example weighs, already divided by the number of examples in the step, so that the pieces of a step add up.
    pub weights: &'a [f32],
    /// Label smoothing.
    pub label_smoothing: f32,
    /// What is minimized by a model whose sequences are joint.
    pub loss: Loss,
}

impl LossSettings<'_> {
    /// The loss of joint sequences: of pairs, one an example, or of lists of them; `logits` gives `[b]`.
    ///
    /// # Errors
    /// What `logits` refuses.
    pub fn of_pairs(&self, examples: &[&Example], logits: impl FnOnce(&Batch) -> Result<Tensor>) -> Result<Tensor> {
        let batch: Batch = examples.iter().flat_map(|e| &e.texts).collect();
        let scores = logits(&batch)?;
        if self.loss.of_lists() || self.loss.wants_teacher() {
            let lengths: Vec<usize> = examples.iter().map(|e| e.texts.len()).collect();
            return self.of_lists(examples, &scores, &lengths);
        }
        let targets: Vec<f32> = examples.iter().map(|e| e.target).collect();
        self.loss.of_pairs(&scores, &targets, self.weights, self.label_smoothing)
    }
    /// The loss of lists with their scores `[n]`, one after the other.
    ///
    /// # Errors
    /// Lengths that do not fit the scores.
    pub fn of_lists(&self, examples: &[&Example], scores: &Tensor, lengths: &[usize]) -> Result<Tensor> {
        let grades: Vec<f32> = examples.iter().flat_map(|e| e.grades.iter().copied()).collect();
        let teacher: Vec<f32> = examples.iter().flat_map(|e| e.teacher.iter().copied()).collect();
        let lists = ScoredLists { scores, lengths, grades: &grades, weights: self.weights };
        self.loss.over_taught(&lists, &teacher)
    }
}

/// A query and its candidates, tokenized.
pub struct TokenizedList<'a> {
    /// The query.
    pub query: &'a TokenizedSide,
    /// The candidates.
    pub candidates: Vec<&'a TokenizedSide>,
}

/// A ranker that gives each joint sequence of query and document one logit; that makes it a [`Model`].
pub trait PairModel: Send + Sync {
    /// What it is made of.
    fn modules(&self) -> Vec<Module>;
    /// Logits `[pairs]` of joint sequences.
    ///
    /// # Errors
    /// Ids, segments or lengths past the model's tables; a sequence without a token.
    fn logits(&self, pass: &Pass, batch: &Batch) -> Result<Tensor>;
    /// How documents too long for one sequence are cut into several; `None`: they are truncated.
    fn passages(&self) -> Option<Passages> {
        None
    }
}

impl<T: PairModel> Model for T {
    fn modules(&self) -> Vec<Module> {
        PairModel::modules(self)
    }
    fn reads(&self) -> Reads {
        Reads::Pair
    }
    fn loss(&self, pass: &Pass, examples: &[&Example], settings: &LossSettings) -> Result<Tensor> {
        settings.of_pairs(examples, |batch| self.logits(pass, batch))
    }
    fn score(&self, scorer: &Scorer, lists: &[TokenizedList]) -> Result<Vec<Vec<f32>>> {
        scorer.pairs(lists, |pass, batch| self.logits(pass, batch))
    }
    fn passages(&self) -> Option<Passages> {
        PairModel::passages(self)
    }
}

/// One architecture.
pub trait Model: Send + Sync {
    /// What it is made of.
    fn modules(&self) -> Vec<Module>;
    /// How its texts become sequences.
    fn reads(&self) -> Reads;
    /// The loss of some examples: a scalar tensor with its graph in training.
    fn loss(&self, pass: &Pass, examples: &[&Example], settings: &LossSettings) -> Result<Tensor>;
    /// One score per candidate of each list.
    fn score(&self, scorer: &Scorer, lists: &[TokenizedList]) -> Result<Vec<Vec<f32>>>;
    /// Vectors of texts, if query and document do not meet in the encoder; `document`: of documents, else of queries.
    fn vectors(&self, _scorer: &Scorer, _texts: &[&TokenizedSide], _document: bool) -> Option<Result<Vectors>> {
        None
    }
    /// Width of those vectors over an encoder `hidden` wide.
    fn vector_width(&self, hidden: usize) -> usize {
        hidden
    }
    /// The model as one whose documents' states can be stored, if it is one.
    fn split(&self) -> Option<&yati::Yati> {
        None
    }
    /// The same model without one of its inputs each, by name, to measure what an input adds; none for a model of text alone.
    fn without(&self) -> Vec<(String, Box<dyn Model>)> {
        Vec::new()
    }
    /// Vectors of texts, several a text, if query and document meet token by token after the encoder.
    fn multi_vectors(&self, _: &Scorer, _texts: &[&TokenizedSide], _document: bool) -> Option<Result<MultiVectors>> {
        None
    }
    /// How its texts are framed, if it reads them apart in a way of its own.
    fn towers(&self) -> Option<TowerConfig> {
        None
    }
    /// How documents too long for one sequence are cut into several; `None`: they are truncated.
    fn passages(&self) -> Option<Passages> {
        None
    }
    /// Whether it reads two texts to their ends.
    fn fits(&self, text: &TextEncoder, query: &TokenizedSide, document: &TokenizedSide) -> bool {
        match self.reads() {
            Reads::Towers => text.fits(&[query]) && text.fits(&[document]),
            Reads::Pair | Reads::Triple => text.fits(&[query, document]),
        }
    }
}

/// A tokenizer that cuts and frames texts as a model reads them: in halves, in passages, or as towers.
///
/// # Errors
/// Settings of the model that its sequences have no room for; a vocabulary without the model's markers.
pub fn framed(text: TextEncoder, model: &dyn Model) -> Result<TextEncoder> {
    let room = model.split().map(|split| split.query_room(text.rendering().max_tokens));
    let text = text.with_query_room(room)?.with_passages(model.passages())?;
    match model.towers() {
        Some(towers) => text.with_towers(&towers),
        None => Ok(text),
    }
}

impl Reads {
    /// Texts in one sequence.
    pub fn texts(self) -> usize {
        match self {
            Reads::Towers => 1,
            Reads::Pair => 2,
            Reads::Triple => 3,
        }
    }
    /// Whether a score depends on the other candidates of the list.
    pub fn is_listwise(self) -> bool {
        self == Reads::Triple
    }
    /// Whether a batch may be cut into pieces: not where its examples are each other's negatives.
    pub fn is_divisible(self) -> bool {
        self != Reads::Towers
    }
}

/// What scores texts: a model's arrays and its tokenizer.
pub struct Scorer<'a> {
    /// The arrays.
    pub net: &'a Net,
    /// Texts to sequences.
    pub text: &'a TextEncoder,
}

/// Tokens given to the network at once: enough for all cores, little memory.
const TOKENS: usize = 16 << 10;

impl Scorer<'_> {
    /// Sequences through `forward`, which gives `width` values for each; in batches of a bounded number of tokens.
    ///
    /// # Errors
    /// What `forward` refuses.
    pub fn rows(
        &self,
        sequences: &[Encoding],
        width: usize,
        forward: impl Fn(&Pass, &Batch) -> Result<Tensor>,
    ) -> Result<Vec<f32>> {
        let mut out = Vec::with_capacity(sequences.len() * width);
        self.batches(sequences, |pass, batch| {
            let rows = forward(pass, batch)?.flatten_all()?.to_vec1::<f32>()?;
            if rows.len() != batch.pairs() * width {
                let (expected, got) = (format!("{} of {width} values", batch.pairs()), rows.len().to_string());
                return Err(Error::Shape { op: "forward", expected, got });
            }
            out.extend(rows);
            Ok(())
        })?;
        Ok(out)
    }
    /// Sequences in batches of a bounded number of tokens, in order.
    ///
    /// # Errors
    /// What `each` refuses.
    pub fn batches(&self, sequences: &[Encoding], mut each: impl FnMut(&Pass, &Batch) -> Result<()>) -> Result<()> {
        let pass = self.net.pass(Mode::Infer);
        let mut batch = Batch::default();
        for sequence in sequences {
            if !batch.is_empty() && batch.tokens() + sequence.tokens() > TOKENS {
                each(&pass, &std::mem::take(&mut batch))?;
            }
            batch.push(sequence);
        }
        if !batch.is_empty() {
            each(&pass, &batch)?;
        }
        Ok(())
    }
    /// One score per candidate by a model that reads pairs; `forward` gives `[b]`.
    ///
    /// # Errors
    /// What `forward` refuses.
    pub fn pairs(
        &self,
        lists: &[TokenizedList],
        forward: impl Fn(&Pass, &Batch) -> Result<Tensor>,
    ) -> Result<Vec<Vec<f32>>> {
        let pairs: Vec<_> = lists.iter().flat_map(|l| l.candidates.iter().map(|c| vec![l.query, *c])).collect();
        let mut scores = self.rows(&self.join(&pairs), 1, forward)?.into_iter();
        Ok(lists.iter().map(|list| scores.by_ref().take(list.candidates.len()).collect()).collect())
    }
    /// Some texts each in one sequence.
    pub fn join(&self, sides: &[Vec<&TokenizedSide>]) -> Vec<Encoding> {
        sides.par_iter().map(|sides| self.text.join(sides)).collect()
    }
}

#[cfg(test)]
mod tests;
