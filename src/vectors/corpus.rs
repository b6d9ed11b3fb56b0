//! A corpus as numbers of words: what a trainer of vectors reads again and again.

use std::collections::HashMap;

/// Words of the longest piece of text that is one context (word2vec's limit); a longer one is cut.
const LONGEST: usize = 1000;

/// A corpus in memory, 4 bytes a word.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Corpus {
    /// The vocabulary with counts, most frequent first; of equal ones the one that came first.
    pub words: Vec<(String, u64)>,
    /// The corpus by number of word, without the words that are too rare.
    pub ids: Vec<u32>,
    /// Where each text starts in `ids`, and the end.
    pub starts: Vec<usize>,
    /// Words that were read, rare ones too.
    pub tokens: u64,
}

/// Collects texts.
#[derive(Debug, Default)]
pub struct CorpusBuilder {
    numbers: HashMap<String, u32>,
    counts: Vec<u64>,
    ids: Vec<u32>,
    starts: Vec<usize>,
    at_spaces: bool,
}

/// The words of a text: runs of letters and digits in lower case.
pub fn each_word(text: &str, each: impl FnMut(&str)) {
    let text = text.to_lowercase();
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).for_each(each);
}

impl CorpusBuilder {
    /// Words are runs of letters and digits in lower case, signs between two of them that are not spaces aside: `hs-b1` is two words.
    /// With `at_spaces` they are what is between spaces, as it is: for texts that were cut into words before.
    pub fn new(at_spaces: bool) -> Self {
        CorpusBuilder { at_spaces, ..CorpusBuilder::default() }
    }

    /// Adds a text; no context goes over its end.
    pub fn push(&mut self, text: &str) {
        self.starts.push(self.ids.len());
        if self.at_spaces {
            text.split_whitespace().for_each(|word| self.word(word));
            return;
        }
        each_word(text, |word| self.word(word));
    }

    fn word(&mut self, word: &str) {
        let id = match self.numbers.get(word) {
            Some(id) => *id,
            None => {
                let id = self.counts.len() as u32;
                self.numbers.insert(word.to_string(), id);
                self.counts.push(0);
                id
            }
        };
        self.counts[id as usize] += 1;
        let start = self.starts.last().copied().unwrap_or(0);
        if self.ids.len() - start >= LONGEST {
            self.starts.push(self.ids.len());
        }
        self.ids.push(id);
    }

    /// The corpus of the words that are there `min_count` times.
    pub fn finish(self, min_count: u64) -> Corpus {
        let CorpusBuilder { numbers, counts, ids, starts, .. } = self;
        let mut names = vec![String::new(); counts.len()];
        numbers.into_iter().for_each(|(word, id)| names[id as usize] = word);
        let mut order: Vec<u32> = (0..counts.len() as u32).filter(|id| counts[*id as usize] >= min_count).collect();
        order.sort_by_key(|id| (std::cmp::Reverse(counts[*id as usize]), *id));
        let mut places = vec![u32::MAX; counts.len()];
        order.iter().enumerate().for_each(|(place, id)| places[*id as usize] = place as u32);
        let words = order.iter().map(|id| (std::mem::take(&mut names[*id as usize]), counts[*id as usize])).collect();
        let mut corpus = Corpus { words, tokens: ids.len() as u64, ..Corpus::default() };
        for (number, start) in starts.iter().enumerate() {
            corpus.starts.push(corpus.ids.len());
            let end = starts.get(number + 1).copied().unwrap_or(ids.len());
            let kept = ids[*start..end].iter().map(|id| places[*id as usize]).filter(|place| *place != u32::MAX);
            corpus.ids.extend(kept);
        }
        corpus.starts.push(corpus.ids.len());
        corpus
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_and_rare_ones_left_out() {
        let mut builder = CorpusBuilder::new(false);
        builder.push("Кран, кран HS-b1; раз");
        builder.push("");
        builder.push("раз кран");
        let corpus = builder.finish(2);
        assert_eq!(corpus.words, [("кран".to_string(), 3), ("раз".to_string(), 2)]);
        assert_eq!((corpus.ids, corpus.starts, corpus.tokens), (vec![0, 0, 1, 1, 0], vec![0, 3, 3, 5], 7));
        let mut builder = CorpusBuilder::new(true);
        builder.push("HS-b1 кран,");
        assert_eq!(builder.finish(1).words.len(), 2);
    }
}
