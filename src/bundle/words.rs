//! Starts that are no model's folder: a file of word vectors, and hashed letter trigrams. Each becomes a tokenizer and a table of words, so
//! that a model over static vectors is a bundle like any other.

use std::path::Path;

use super::Checkpoint;
use crate::data::WordVectors;
use crate::models::bert::{Config, Family, PREFIX, WORDS};
use crate::models::net;
use crate::nn::{Array, Weights};
use crate::text::tokenizers::{Grown, SPECIAL, hashed, of_words};
use crate::{Error, Result};

/// Words that are taken of a file, the most frequent ones.
const MOST_WORDS: usize = 1_000_000;
/// Longest text, in tokens.
const LONGEST: usize = 8192;
/// Buckets of letter trigrams: about as many as Huang et al. (CIKM 2013) found in 500,000 words.
const BUCKETS: usize = 30_000;
/// Width of the first layer there.
const WIDTH: usize = 300;

/// A start and its tokenizer.
pub struct WordStart {
    /// Configuration and table of words.
    pub checkpoint: Checkpoint,
    /// Its tokenizer.
    pub tokenizer: Grown,
}

/// The settings of a table of `rows` vectors.
fn config(rows: usize, width: usize) -> Config {
    Config {
        vocab_size: rows,
        hidden_size: width,
        num_hidden_layers: 1,
        num_attention_heads: 1,
        intermediate_size: width,
        max_position_embeddings: LONGEST,
        type_vocab_size: 2,
        layer_norm_eps: 1e-12,
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        hidden_act: "gelu".into(),
        // Glorot's for layers of one width
        initializer_range: (1.0 / width as f32).sqrt(),
        pad_token_id: 0,
        family: Family::Bert,
        relative_attention_num_buckets: None,
        attention_window: None,
        hashed_attention: None,
        modern: None,
    }
}

impl WordStart {
    /// Of a file of word vectors (word2vec, fastText, GloVe): a row a word, zeros for special tokens and for words that it lacks.
    ///
    /// # Errors
    /// What [`WordVectors::read`] refuses; a file without a word.
    pub fn of_vectors(path: &Path) -> Result<Self> {
        let vectors = WordVectors::read(path, Some(MOST_WORDS))?;
        let (tokenizer, rows) = of_words(vectors.words());
        if rows.is_empty() {
            return Err(Error::data(path, None, "no words", "give a file of word vectors: .vec or .bin"));
        }
        let mut table = vec![0f32; SPECIAL.len() * vectors.dim()];
        rows.iter().for_each(|at| table.extend_from_slice(vectors.row(*at)));
        let config = config(tokenizer.size, vectors.dim());
        Ok(WordStart { checkpoint: start(path, config, table), tokenizer })
    }

    /// Of hashed letter trigrams, whose rows are drawn.
    pub fn of_trigrams(seed: u64) -> Self {
        let tokenizer = hashed(3, BUCKETS);
        let config = config(tokenizer.size, WIDTH);
        let mut drawn = net::draw_encoder(PREFIX, &config, seed);
        let mut table = drawn.0.remove(&format!("{PREFIX}{WORDS}")).map_or(Vec::new(), |a| a.values().into_owned());
        // the bias of the layer is the first token's row
        table[..SPECIAL.len() * WIDTH].fill(0.0);
        WordStart { checkpoint: start(Path::new("trigrams"), config, table), tokenizer }
    }
}

fn start(of: &Path, config: Config, table: Vec<f32>) -> Checkpoint {
    let array = Array::new(vec![config.vocab_size, config.hidden_size], table);
    let weights = Weights([(format!("{PREFIX}{WORDS}"), array)].into_iter().collect());
    Checkpoint::made(of, config, weights)
}
