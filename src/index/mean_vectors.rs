//! The mean of a text's static word vectors as its one vector, to length 1: the baseline of dense retrieval that needs no network. Words
//! are those of [`sverka vectors train`](crate::vectors::CorpusBuilder); one that the table does not have counts for nothing.

use std::sync::Arc;

use rayon::prelude::*;

use crate::data::WordVectors;
use crate::ranker::{DualEncoder, Input, List, Ranker, Score, Vectors};
use crate::text::{TextConfig, plain_text};
use crate::vectors::each_word;
use crate::{Error, Result};

/// Texts as means of word vectors; a copy shares them.
#[derive(Clone)]
pub struct MeanVectors {
    words: Arc<WordVectors>,
    config: TextConfig,
}

impl MeanVectors {
    /// Of these words; records are rendered with all fields.
    ///
    /// # Errors
    /// A table without a word.
    pub fn new(words: WordVectors) -> Result<Self> {
        if words.is_empty() {
            return Err(Error::setting("word vectors", 0, "the file has no word"));
        }
        Ok(MeanVectors { words: Arc::new(words), config: TextConfig::default() })
    }

    /// With records rendered by these fields, in order.
    pub fn with_fields(mut self, fields: &[String]) -> Self {
        self.config.fields = fields.to_vec();
        self
    }

    /// Values of a vector.
    pub fn dim(&self) -> usize {
        self.words.dim()
    }

    /// `[n, dim]`; a text without a known word is all zeros.
    fn encode(&self, texts: &[Input]) -> Vectors {
        let dim = self.words.dim();
        let of = |text: &Input| {
            let mut sum = vec![0f32; dim];
            each_word(&plain_text(&self.config, *text), |word| {
                if let Some(vector) = self.words.get(word) {
                    sum.iter_mut().zip(vector.iter()).for_each(|(sum, x)| *sum += x);
                }
            });
            let length = sum.iter().map(|x| x * x).sum::<f32>().sqrt();
            if length > 0.0 {
                sum.iter_mut().for_each(|x| *x /= length);
            }
            sum
        };
        Vectors { dim, values: texts.par_iter().map(of).collect::<Vec<_>>().concat() }
    }
}

impl Ranker for MeanVectors {
    fn score(&self, lists: &[List]) -> Result<Vec<Vec<Score>>> {
        let score = |list: &List| {
            let (query, documents) = (self.encode(&[list.query]), self.encode(&list.candidates));
            let has_words = |vector: &[f32]| vector.iter().any(|x| *x != 0.0);
            let of = |document: usize| Score {
                value: query.dot(0, &documents, document),
                truncated: false,
                readable: has_words(query.row(0)) && has_words(documents.row(document)),
            };
            (0..documents.len()).map(of).collect()
        };
        Ok(lists.iter().map(score).collect())
    }
}

impl DualEncoder for MeanVectors {
    fn encode_queries(&self, queries: &[Input]) -> Result<Vectors> {
        Ok(self.encode(queries))
    }
    fn encode_documents(&self, documents: &[Input]) -> Result<Vectors> {
        Ok(self.encode(documents))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_mean_of_the_words_that_are_known() {
        let words = ["lamp", "red", "w"].map(String::from).to_vec();
        let encoder =
            MeanVectors::new(WordVectors::new(words, 2, vec![3.0, 0.0, 0.0, 4.0, 0.0, 0.0]).unwrap()).unwrap();
        let texts = ["LAMP-red", "lamp unknown", "nothing", ""].map(Input::Text);
        let vectors = encoder.encode_documents(&texts).unwrap();
        assert_eq!(vectors.values, [0.6, 0.8, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let list = List { query: Input::Text("red"), candidates: texts.to_vec() };
        let scores = encoder.score(&[list]).unwrap().remove(0);
        assert_eq!(scores.iter().map(|s| s.value).collect::<Vec<_>>(), [0.8, 0.0, 0.0, 0.0]);
        assert_eq!(scores.iter().map(|s| s.readable).collect::<Vec<_>>(), [true, true, false, false]);
        assert!(MeanVectors::new(WordVectors::new(vec![], 2, vec![]).unwrap()).is_err());
    }
}
