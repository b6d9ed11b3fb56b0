//! All that is kept of a corpus: its words and how often they come. A million titles are some ten megabytes of words.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;
use tokenizers::tokenizer::normalizer::{NormalizedString, OffsetReferential};
use tokenizers::tokenizer::pre_tokenizer::{OffsetType, PreTokenizedString};
use tokenizers::{Normalizer, NormalizerWrapper, PreTokenizer, PreTokenizerWrapper};

use super::files::{normalizer, pre_tokenizer};
use super::{Kind, LONGEST_WORD, TokenizerSettings};
use crate::text::encoder::chunks;
use crate::{Error, Result};

/// Texts that one task counts.
const TASK: usize = 256;

/// The words of a corpus, as the settings cut them.
pub struct WordCounts {
    settings: TokenizerSettings,
    normalizer: NormalizerWrapper,
    pre_tokenizer: PreTokenizerWrapper,
    counts: HashMap<Box<str>, u64>,
    /// Texts counted.
    pub texts: u64,
    /// Words that were too long to learn from ([`LONGEST_WORD`]).
    pub too_long: u64,
}

impl WordCounts {
    /// Nothing counted yet.
    ///
    /// # Errors
    /// Settings that contradict each other.
    pub fn new(settings: &TokenizerSettings) -> Result<Self> {
        settings.check()?;
        let failed = |e: serde_json::Error| Error::Internal { op: "make a tokenizer", what: e.to_string() };
        Ok(WordCounts {
            normalizer: serde_json::from_value(normalizer(settings)).map_err(failed)?,
            pre_tokenizer: serde_json::from_value(pre_tokenizer(settings)).map_err(failed)?,
            settings: settings.clone(),
            counts: HashMap::new(),
            texts: 0,
            too_long: 0,
        })
    }

    /// What the words were cut by.
    pub fn settings(&self) -> &TokenizerSettings {
        &self.settings
    }

    /// How many different words there are.
    pub fn words(&self) -> usize {
        self.counts.len()
    }

    /// Counts the words of some texts, on all threads.
    ///
    /// # Errors
    /// What the tokenizers library refuses.
    pub fn add<T: AsRef<str> + Sync>(&mut self, texts: &[T]) -> Result<()> {
        let parts: Vec<_> = texts.par_chunks(TASK).map(|texts| self.count(texts)).collect::<Result<_>>()?;
        for (part, too_long) in parts {
            self.too_long += too_long;
            for (word, count) in part {
                match self.counts.get_mut(word.as_str()) {
                    Some(known) => *known += count,
                    None => _ = self.counts.insert(word.into(), count),
                }
            }
        }
        self.texts += texts.len() as u64;
        Ok(())
    }

    fn count<T: AsRef<str>>(&self, texts: &[T]) -> Result<(HashMap<String, u64>, u64)> {
        let (mut counts, mut too_long) = (HashMap::new(), 0);
        for (_, text) in texts.iter().flat_map(|text| chunks(text.as_ref())) {
            cut(&self.normalizer, &self.pre_tokenizer, text, |word, _| {
                if word.chars().nth(LONGEST_WORD).is_some() {
                    too_long += 1;
                } else if let Some(known) = counts.get_mut(word) {
                    *known += 1;
                } else {
                    counts.insert(word.to_string(), 1);
                }
            })?;
        }
        Ok((counts, too_long))
    }

    /// The words in the order of their letters.
    pub(super) fn sorted(&self) -> Vec<(&str, u64)> {
        let mut words: Vec<(&str, u64)> = self.counts.iter().map(|(word, count)| (&**word, *count)).collect();
        words.sort_unstable();
        words
    }

    /// The characters, as often as the words that have them.
    pub(super) fn characters(&self) -> BTreeMap<char, u64> {
        let mut seen = BTreeMap::new();
        for (word, count) in &self.counts {
            word.chars().for_each(|c| *seen.entry(c).or_insert(0) += count);
        }
        seen.retain(|_, count| *count >= self.settings.min_frequency);
        seen
    }

    /// Refuses a corpus without a word, where something is to be learnt.
    pub(super) fn refuse_nothing(&self) -> Result<()> {
        if !self.counts.is_empty() || self.settings.kind == Kind::NgramHash {
            return Ok(());
        }
        let what = match self.texts {
            0 => "has no text: nothing to learn a vocabulary from; give files with texts".to_string(),
            n => format!("has {n} texts and no word to learn from; give files with texts"),
        };
        Err(Error::setting("corpus", "", what))
    }
}

/// Calls `each` with every word and its place in the text, in bytes.
pub(super) fn cut(
    normalizer: &impl Normalizer,
    pre_tokenizer: &impl PreTokenizer,
    text: &str,
    mut each: impl FnMut(&str, (usize, usize)),
) -> Result<()> {
    let failed = |e: tokenizers::Error| Error::Internal { op: "cut words", what: e.to_string() };
    let mut normalized = NormalizedString::from(text);
    normalizer.normalize(&mut normalized).map_err(failed)?;
    let mut words = PreTokenizedString::from(normalized);
    pre_tokenizer.pre_tokenize(&mut words).map_err(failed)?;
    for (word, offsets, _) in words.get_splits(OffsetReferential::Original, OffsetType::Byte) {
        if !word.is_empty() {
            each(word, offsets);
        }
    }
    Ok(())
}
