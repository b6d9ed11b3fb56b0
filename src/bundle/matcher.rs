//! Lists of records or texts to scores.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;

use crate::models::{Model, Module, Net, Scorer, TokenizedList};
use crate::ranker::{DualEncoder, LateEncoder, List, MultiVectors, Score, Vectors};
use crate::text::{TextEncoder, TokenizedSide};
use crate::{Error, Input, Ranker, Result};

/// A model's arrays and what turns texts into its sequences.
pub(super) struct Network {
    pub(super) model: Box<dyn Model>,
    pub(super) net: Arc<Net>,
}

/// Text to score.
pub(super) struct Matcher<'a> {
    pub(super) text: &'a TextEncoder,
    pub(super) network: &'a Network,
}

/// Tells inputs apart by where they are in memory: the same record in several lists is tokenized once.
fn place(input: &Input) -> (usize, usize) {
    match input {
        Input::Record(record) => (std::ptr::from_ref(*record).addr(), usize::MAX),
        Input::Text(text) => (text.as_ptr().addr(), text.len()),
    }
}

/// Different inputs, tokenized, and the number of each input's among them.
struct Tokenized {
    sides: Vec<TokenizedSide>,
    numbers: HashMap<(usize, usize), usize>,
}

impl Tokenized {
    fn new<'a>(text: &TextEncoder, inputs: impl Iterator<Item = &'a Input<'a>>) -> Result<Self> {
        let (mut numbers, mut different) = (HashMap::new(), Vec::new());
        for input in inputs {
            numbers.entry(place(input)).or_insert_with(|| {
                different.push(*input);
                different.len() - 1
            });
        }
        let sides = different.par_iter().map(|input| text.prepare(*input)).collect::<Result<_>>()?;
        Ok(Tokenized { sides, numbers })
    }
    fn of(&self, input: &Input) -> &TokenizedSide {
        &self.sides[self.numbers[&place(input)]]
    }
}

impl Matcher<'_> {
    pub(super) fn scorer(&self) -> Scorer<'_> {
        Scorer { net: &self.network.net, text: self.text }
    }

    /// A score and whether its texts were cut or hold nothing to go by.
    fn note(&self, value: f32, query: &TokenizedSide, candidate: &TokenizedSide) -> Score {
        let fits = self.network.model.fits(self.text, query, candidate);
        Score { value, truncated: !fits, readable: query.is_readable() && candidate.is_readable() }
    }

    fn vectors(&self, inputs: &[Input], document: bool) -> Result<Vectors> {
        let sides = inputs.par_iter().map(|input| self.text.prepare(*input)).collect::<Result<Vec<_>>>()?;
        let sides: Vec<&TokenizedSide> = sides.iter().collect();
        let none = || Error::Internal { op: "encode", what: "query and document meet in this encoder".into() };
        self.network.model.vectors(&self.scorer(), &sides, document).ok_or_else(none)?
    }
}

impl Matcher<'_> {
    fn multi_vectors(&self, inputs: &[Input], document: bool) -> Result<MultiVectors> {
        let sides = inputs.par_iter().map(|input| self.text.prepare(*input)).collect::<Result<Vec<_>>>()?;
        let sides: Vec<&TokenizedSide> = sides.iter().collect();
        let none = || Error::Internal { op: "encode", what: "this model has one vector a text, or none".into() };
        self.network.model.multi_vectors(&self.scorer(), &sides, document).ok_or_else(none)?
    }
}

impl Ranker for Matcher<'_> {
    fn score(&self, lists: &[List]) -> Result<Vec<Vec<Score>>> {
        let inputs = lists.iter().flat_map(|list| std::iter::once(&list.query).chain(&list.candidates));
        let tokenized = Tokenized::new(self.text, inputs)?;
        let sides = |list: &List| TokenizedList {
            query: tokenized.of(&list.query),
            candidates: list.candidates.iter().map(|candidate| tokenized.of(candidate)).collect(),
        };
        let lists: Vec<TokenizedList> = lists.iter().map(sides).collect();
        let scores = self.network.model.score(&self.scorer(), &lists)?;
        let noted = lists.iter().zip(scores).map(|(list, scores)| {
            let both = scores.into_iter().zip(&list.candidates);
            both.map(|(value, candidate)| self.note(value, list.query, candidate)).collect()
        });
        Ok(noted.collect())
    }
    fn is_listwise(&self) -> bool {
        self.network.model.reads().is_listwise()
    }
}

impl DualEncoder for Matcher<'_> {
    fn encode_queries(&self, queries: &[Input]) -> Result<Vectors> {
        self.vectors(queries, false)
    }
    fn encode_documents(&self, documents: &[Input]) -> Result<Vectors> {
        self.vectors(documents, true)
    }
}

impl LateEncoder for Matcher<'_> {
    fn dim(&self) -> usize {
        let projection = self.network.model.modules().into_iter().find_map(|module| match module {
            Module::Projection(layer) => Some(layer.outputs),
            _ => None,
        });
        projection.unwrap_or(self.network.net.config().hidden_size)
    }
    fn encode_queries(&self, queries: &[Input]) -> Result<MultiVectors> {
        self.multi_vectors(queries, false)
    }
    fn encode_documents(&self, documents: &[Input]) -> Result<MultiVectors> {
        self.multi_vectors(documents, true)
    }
}
