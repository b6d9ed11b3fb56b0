//! A cross-encoder whose tokens are words made of their characters, so that no code is unknown or cut into pieces (El Boukkouri et al.,
//! "CharacterBERT: Reconciling ELMo and BERT for Word-Level Open-Vocabulary Representations From Characters", COLING 2020).
//!
//! ```text
//! characters  ->  16 values each  ->  convolutions, largest of each word, highway, linear  ->  one vector a word
//!             ->  + segment + position, LayerNorm  ->  all layers  ->  [CLS]  ->  tanh pooler  ->  one logit
//! ```
//!
//! `sverka tokenizer train --kind char` makes the tokenizer: `▁` begins a word, and so does another segment than the character's before, which
//! keeps marks of words in common apart. What is around texts (`[CLS]`, `[SEP]`) is a word of one token. Positions count words.
//! The convolutions are those of Kim et al. ([`char_cnn`]), a quarter of CharacterBERT's filters. Vectors begin as small as rows of
//! BERT's tables, so that segments are heard. Refused: pre-training (a masked word has no row of a table to be found again).

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::PairModel;
use super::bert::PREFIX;
use super::char_cnn;
use super::cross_encoder::{self, classified};
use super::net::{Inputs, Module, Pass, Projection};
use crate::Result;
use crate::text::{Batch, TokenSpan};

/// Its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The token that begins a word; training takes the tokenizer's `▁`. Without one each token is a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub word_start: Option<u32>,
}

/// The model.
pub struct CharacterBert(pub Config);

/// From a row of the table of characters to what the convolutions see.
const NARROW: Projection = Projection { name: "char_cnn.narrow", inputs: Inputs::STATE, outputs: WIDTH, bias: false };
/// Its values; as many as in the paper.
const WIDTH: usize = 16;

impl PairModel for CharacterBert {
    fn modules(&self) -> Vec<Module> {
        let mut modules = cross_encoder::modules();
        modules.push(Module::Projection(NARROW));
        modules.extend(char_cnn::modules(Some(WIDTH)));
        modules
    }
    fn logits(&self, pass: &Pass, batch: &Batch) -> Result<Tensor> {
        let (runs, words) = self.0.words(batch);
        let characters = pass.projected(NARROW, &char_cnn::characters(pass, batch)?)?;
        let vectors = char_cnn::vectors(&pass.again(1), &characters, &runs)?;
        let vectors = (vectors * pass.spread())?;
        classified(pass, &pass.pooler(&pass.states_of_words(PREFIX, &vectors, &words)?)?)
    }
}

impl Config {
    /// Where each word starts among the tokens, and the end; the same sequences with words as tokens, numbered. A word has the segment of its
    /// last character.
    fn words(self, batch: &Batch) -> (Vec<u32>, Batch) {
        let (mut runs, mut words) = (Vec::new(), Batch { offsets: Vec::new(), ..Batch::default() });
        for sequence in 0..batch.len() {
            let (start, end) = (batch.offsets[sequence], batch.offsets[sequence + 1]);
            words.offsets.push(runs.len() as u32);
            let is_text = |at: &u32| {
                let within = |span: &TokenSpan| span.field.is_none() && (span.start..span.end).contains(&(at - start));
                batch.spans(sequence).iter().any(within)
            };
            let goes_on = |at: u32| {
                let Some(first) = self.word_start.filter(|_| at > start && is_text(&at) && is_text(&(at - 1))) else {
                    return false;
                };
                let of = |values: &[u32]| (values[at as usize - 1], values[at as usize]);
                let ((id_before, id), (segment_before, segment)) = (of(&batch.ids), of(&batch.segments));
                id != first && (segment == segment_before || id_before == first)
            };
            runs.extend((start..end).filter(|at| !goes_on(*at)));
        }
        words.offsets.push(runs.len() as u32);
        words.ids = (0..runs.len() as u32).collect();
        runs.push(batch.tokens() as u32);
        words.segments = runs[1..].iter().map(|end| batch.segments[*end as usize - 1]).collect();
        words.span_offsets = vec![0; words.offsets.len()];
        (runs, words)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_gradient_but, pair_examples};
    use super::*;
    use crate::losses::Loss;
    use crate::text::Encoding;

    #[test]
    fn gradients_equal_finite_differences() {
        let examples = pair_examples();
        let word_start = Some(examples[0].texts[0].ids[2]);
        for config in [Config::default(), Config { word_start }] {
            assert_gradient_but(&CharacterBert(config), &examples.iter().collect::<Vec<_>>(), Loss::Bce, &[]);
        }
    }

    #[test]
    fn a_word_begins_at_its_sign_at_another_segment_and_at_a_texts_borders() {
        // [CLS] _ a b _ c [SEP] _ d e e [SEP], and a text of no sign
        let pair = Encoding {
            ids: vec![2, 9, 10, 11, 9, 12, 3, 9, 13, 14, 14, 3],
            segments: vec![0, 0, 2, 2, 0, 3, 0, 1, 2, 2, 1, 1],
            spans: vec![span(0, 1, 6), span(1, 7, 11)],
            ..Encoding::default()
        };
        let plain =
            Encoding { ids: vec![2, 10, 3], segments: vec![0; 3], spans: vec![span(0, 1, 2)], ..Encoding::default() };
        let batch: Batch = [&pair, &plain].into_iter().collect();
        let (runs, words) = Config { word_start: Some(9) }.words(&batch);
        assert_eq!(runs, [0, 1, 4, 6, 7, 10, 11, 12, 13, 14, 15]);
        assert_eq!(words.offsets, [0, 7, 10]);
        assert_eq!(words.segments, [0, 2, 3, 0, 2, 1, 1, 0, 0, 0]);
        assert_eq!(words.ids, (0..10).collect::<Vec<_>>());
        let (runs, words) = Config::default().words(&batch);
        assert_eq!((runs, words.segments), ((0..=15).collect(), batch.segments.clone()));
    }

    fn span(input: u8, start: u32, end: u32) -> TokenSpan {
        TokenSpan { input, field: None, start, end }
    }
}
