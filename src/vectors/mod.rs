//! Static vectors of words, trained on one's own texts: skip-gram and CBOW with negative sampling and subsampling (Mikolov et al.,
//! Distributed Representations of Words and Phrases, NeurIPS 2013), and fastText, whose words are sums of pieces (Bojanowski et al., TACL
//! 2017). The files are the usual ones ([`crate::data::WordVectors`]), so `knrm` and `drmm` or gensim read them.
//!
//! Threads change shared rows without locks ([`shared`]). One thread gives the same bits every time; several give vectors of the same
//! quality and other bits, as in every such trainer.
//!
//! Refused: hierarchical softmax (worse on frequent words and slower), quantised models (a table of words is small here).
pub mod corpus;
mod draw;
mod shared;
mod train;

pub use corpus::{Corpus, CorpusBuilder, each_word};
pub use train::{Kind, Settings, Trained, train};

use crate::data::WordVectors;
use crate::data::fasttext::{FastText, piece_buckets};
use crate::{Error, Result};

/// fastText's pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceSettings {
    /// Characters of the shortest piece.
    pub shortest: usize,
    /// Characters of the longest piece.
    pub longest: usize,
    /// Rows that pieces are hashed to.
    pub buckets: usize,
}

/// What was trained.
pub enum Model {
    /// Vectors of words.
    Words(WordVectors),
    /// Vectors of words and pieces.
    Pieces(Box<FastText>),
}

impl Model {
    /// Vectors of the vocabulary's words.
    ///
    /// # Errors
    /// Never for a trained model.
    pub fn into_vectors(self) -> Result<WordVectors> {
        match self {
            Model::Words(vectors) => Ok(vectors),
            Model::Pieces(model) => WordVectors::of_fasttext(*model),
        }
    }
}

/// Trains a model on the threads of the pool. `done` gets how many words were read, of `epochs` times the corpus.
///
/// # Errors
/// A corpus with fewer than two words; a setting that is 0.
pub fn train_model(
    corpus: &Corpus,
    settings: &Settings,
    pieces: PieceSettings,
    min_count: u64,
    done: &(dyn Fn(u64) + Sync),
) -> Result<Model> {
    for (flag, value) in [("--dim", settings.dim), ("--window", settings.window), ("--epochs", settings.epochs)] {
        if value == 0 {
            return Err(Error::setting(flag, 0, "give at least 1"));
        }
    }
    let n = corpus.words.len();
    if n < 2 {
        let what = format!("{n} words are there that often, of {} in the texts; give more text or less", corpus.tokens);
        return Err(Error::setting("--min-count", min_count, what));
    }
    if settings.kind != Kind::FastText {
        let trained = train(corpus, settings, &[], n, done);
        let words = corpus.words.iter().map(|w| w.0.clone()).collect();
        return Ok(Model::Words(WordVectors::new(words, settings.dim, trained.input)?));
    }
    let PieceSettings { shortest, longest, buckets } = pieces;
    if shortest == 0 || longest < shortest || buckets == 0 {
        let what = format!("pieces of {shortest} to {longest} characters in {buckets} rows; give 3 to 6 in 200000");
        return Err(Error::setting("--pieces", format!("{shortest},{longest}"), what));
    }
    let rows: Vec<Vec<u32>> = corpus
        .words
        .iter()
        .enumerate()
        .map(|(number, word)| {
            let pieces = piece_buckets(&word.0, shortest, longest, buckets).into_iter().map(|bucket| n as u32 + bucket);
            [number as u32].into_iter().chain(pieces).collect()
        })
        .collect();
    let Trained { input, output } = train(corpus, settings, &rows, n + buckets, done);
    let Settings { dim, window, epochs, negatives, sample, .. } = *settings;
    let (words, tokens, min_count) = (corpus.words.clone(), corpus.tokens, min_count as usize);
    Ok(Model::Pieces(Box::new(FastText {
        dim,
        window,
        epochs,
        min_count,
        negatives,
        skip_gram: true,
        buckets,
        shortest,
        longest,
        sample,
        words,
        tokens,
        input,
        output,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts in which two groups of words never meet.
    fn corpus() -> Corpus {
        let groups = [["кран", "вода", "труба", "насос"], ["экран", "пиксель", "монитор", "кабель"]];
        let mut builder = CorpusBuilder::new(false);
        for i in 0..1500usize {
            let group = &groups[i % 2];
            let text: Vec<&str> = (0..6).map(|j| group[(i * 7 + j * j * 3 + i / 5 * j) % 4]).collect();
            builder.push(&text.join(" "));
        }
        builder.finish(1)
    }

    fn settings(kind: Kind) -> Settings {
        Settings { kind, dim: 16, window: 3, epochs: 8, negatives: 5, sample: 0.0, rate: 0.05, seed: 1 }
    }

    const PIECES: PieceSettings = PieceSettings { shortest: 3, longest: 4, buckets: 500 };

    fn cosine(vectors: &WordVectors, a: &str, b: &str) -> f32 {
        let (a, b) = (vectors.get(a).unwrap(), vectors.get(b).unwrap());
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
        dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
    }

    #[test]
    fn words_of_one_company_are_near_in_each_model() {
        let corpus = corpus();
        for kind in [Kind::SkipGram, Kind::Cbow, Kind::FastText] {
            let model = train_model(&corpus, &settings(kind), PIECES, 1, &|_| ()).unwrap();
            let vectors = model.into_vectors().unwrap();
            let groups = [["кран", "вода", "труба", "насос"], ["экран", "пиксель", "монитор", "кабель"]];
            let mean = |of: &dyn Fn(usize, usize) -> f32| {
                let pairs = (0..4).flat_map(|i| (0..4).filter(move |j| *j != i).map(move |j| (i, j)));
                pairs.map(|(i, j)| of(i, j)).sum::<f32>() / 12.0
            };
            // кран and экран share pieces, and never meet
            let near = mean(&|i, j| cosine(&vectors, groups[i % 2][i], groups[i % 2][j]));
            let far = mean(&|i, j| cosine(&vectors, groups[0][i], groups[1][j]));
            assert!(near > far + 0.08, "{kind:?}: {near} {far}");
            assert_eq!(vectors.get("краны").is_some(), kind == Kind::FastText);
        }
    }

    #[test]
    fn one_thread_gives_the_same_bits_and_a_small_corpus_is_refused() {
        let corpus = corpus();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let run = || {
            let train = || train_model(&corpus, &settings(Kind::SkipGram), PIECES, 1, &|_| ()).unwrap();
            pool.install(train).into_vectors().unwrap()
        };
        assert_eq!(run(), run());
        let mut builder = CorpusBuilder::new(false);
        builder.push("раз два");
        let small = builder.finish(5);
        let error = train_model(&small, &settings(Kind::Cbow), PIECES, 5, &|_| ()).err().unwrap();
        assert!(error.to_string().contains("--min-count = 5: 0 words are there that often, of 2"), "{error}");
    }
}
