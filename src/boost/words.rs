//! How rare words are: what BM25 of a pair needs to know of the records that a booster was trained on.
//!
//! A first stage's index knows the table that it searches, and a pair that comes alone has no table. These counts are kept with the model, so a pair's
//! feature is the same alone, in a stream and in training. Refused: counts of the records at hand, which make a score depend on its company.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::index::analyse::words;

/// Okapi's constants, as in the index.
const K1: f64 = 1.2;
const B: f64 = 0.75;
/// Words kept: the most frequent ones, since a word that is not kept counts as one that a single record has.
const MOST_WORDS: usize = 200_000;

/// Of how many records each word is a part.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordStats {
    /// Records counted.
    pub records: u64,
    /// Their mean length in words.
    pub mean_length: f64,
    /// Records of each word that more than one record has.
    pub counts: BTreeMap<String, u64>,
}

impl WordStats {
    /// Counts the words of some records' texts.
    pub fn of<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let (mut records, mut length, mut counts) = (0u64, 0u64, BTreeMap::<String, u64>::new());
        for text in texts {
            let words = words(text);
            (records, length) = (records + 1, length + words.len() as u64);
            for word in words.into_iter().collect::<BTreeSet<_>>() {
                *counts.entry(word).or_default() += 1;
            }
        }
        counts.retain(|_, count| *count > 1);
        if counts.len() > MOST_WORDS {
            let mut order: Vec<u64> = counts.values().copied().collect();
            order.sort_unstable_by(|a, b| b.cmp(a));
            let least = order[MOST_WORDS];
            counts.retain(|_, count| *count > least);
        }
        WordStats { records, mean_length: length as f64 / records.max(1) as f64, counts }
    }

    /// BM25 (Robertson et al., TREC 1994) of a document for a query, both in words.
    pub fn bm25(&self, query: &[String], document: &[String]) -> f64 {
        let mut frequencies: BTreeMap<&str, f64> = BTreeMap::new();
        document.iter().for_each(|word| *frequencies.entry(word).or_default() += 1.0);
        let length = 1.0 - B + B * document.len() as f64 / self.mean_length.max(1.0);
        let records = self.records as f64;
        let of_word = |word: &&str| {
            let Some(frequency) = frequencies.get(word) else { return 0.0 };
            let with = self.counts.get(*word).copied().unwrap_or(1) as f64;
            let idf = (1.0 + ((records - with).max(0.0) + 0.5) / (with + 0.5)).ln();
            idf * frequency * (K1 + 1.0) / (frequency + K1 * length)
        };
        query.iter().map(String::as_str).collect::<BTreeSet<_>>().iter().map(of_word).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rare_word_weighs_more_than_a_frequent_one_and_absent_words_nothing() {
        let texts = ["red lamp", "red chair", "red table", "red lamp dsc120"];
        let stats = WordStats::of(texts.iter().copied());
        assert_eq!((stats.records, stats.counts["red"], stats.counts.get("chair")), (4, 4, None));
        let score = |q: &str, d: &str| stats.bm25(&words(q), &words(d));
        assert!(score("lamp", "red lamp") > score("red", "red lamp"));
        assert!(score("chair", "red chair") > score("lamp", "red lamp"));
        assert_eq!(score("sofa", "red lamp"), 0.0);
        assert_eq!(score("", "red lamp"), 0.0);
        // (1 + ln) form by hand: one word of four records in one, length 2 of mean 2.25 or more
        let length = 1.0 - B + B * 2.0 / stats.mean_length;
        let expected = (1.0 + 3.5f64 / 1.5).ln() * (K1 + 1.0) / (1.0 + K1 * length);
        assert!((score("chair", "red chair") - expected).abs() < 1e-12);
    }
}
