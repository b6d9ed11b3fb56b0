//! Which tokens are masked, and by what (Devlin et al., NAACL 2019): of 15 % of the tokens, 80 % become the masking token, 10 % any other
//! token, 10 % stay as they are. Drawn whenever a sequence is seen (RoBERTa's dynamic masking, arXiv 1907.11692), from its step's seed.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::recipe::MaskSettings;
use crate::text::TextEncoder;
use crate::{Error, Result};

/// How tokens of a vocabulary are masked.
#[derive(Debug, Clone)]
pub(super) struct Masking {
    settings: MaskSettings,
    mask: u32,
    /// Ids that may stand in another's place.
    others: Vec<u32>,
}

impl Masking {
    /// For a tokenizer.
    ///
    /// # Errors
    /// A vocabulary without a masking token, or without any other.
    pub(super) fn new(settings: &MaskSettings, text: &TextEncoder) -> Result<Self> {
        let (_, mask) = text.mask()?;
        let special = text.special_ids();
        let others: Vec<u32> = (0..text.vocab_size() as u32).filter(|id| special.binary_search(id).is_err()).collect();
        if others.is_empty() {
            return Err(Error::setting("model", text.vocab_size(), "the vocabulary has special tokens alone"));
        }
        Ok(Masking { settings: settings.clone(), mask, others })
    }

    /// How many of so many tokens are masked.
    pub(super) fn count(&self, tokens: usize) -> usize {
        ((tokens as f64 * self.settings.share).round() as usize).clamp(1, tokens.max(1))
    }

    /// Masks some of a sequence's tokens: gives their places in ascending order and what they were. `open` are the places that may be
    /// masked, each with whether its piece goes on with the word of the one before in this list. Of whole words as many are taken as fit.
    pub(super) fn apply(&self, ids: &mut [u32], open: &[(u32, bool)], rng: &mut ChaCha8Rng) -> Vec<(u32, u32)> {
        let wanted = self.count(open.len());
        let starts = |i: &usize| *i == 0 || !self.settings.whole_words || !open[*i].1;
        let firsts: Vec<usize> = (0..open.len()).filter(starts).collect();
        let ends = firsts.iter().skip(1).copied().chain([open.len()]);
        let mut words: Vec<(usize, usize)> = firsts.iter().copied().zip(ends).collect();
        words.shuffle(rng);
        let mut chosen: Vec<u32> = Vec::with_capacity(wanted);
        for &(start, end) in &words {
            if chosen.len() + (end - start) <= wanted || chosen.is_empty() && end - start == open.len() {
                chosen.extend(open[start..end].iter().map(|(at, _)| *at));
            }
            if chosen.len() >= wanted {
                break;
            }
        }
        // every word is longer than what is wanted: the shortest of them
        if chosen.is_empty()
            && let Some((start, end)) = words.iter().min_by_key(|(start, end)| end - start)
        {
            chosen.extend(open[*start..*end].iter().map(|(at, _)| *at));
        }
        chosen.sort_unstable();
        let mut masked = Vec::with_capacity(chosen.len());
        for at in chosen {
            let id = &mut ids[at as usize];
            masked.push((at, *id));
            let draw: f64 = rng.random();
            if draw < self.settings.masked {
                *id = self.mask;
            } else if draw < self.settings.masked + self.settings.random {
                *id = self.others[rng.random_range(0..self.others.len())];
            }
        }
        masked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::seed::generator;

    fn masking(whole_words: bool) -> Masking {
        let settings = MaskSettings { whole_words, ..MaskSettings::default() };
        Masking { settings, mask: 4, others: (5..1000).collect() }
    }

    #[test]
    fn shares_are_those_of_the_paper_and_targets_are_what_was_there() {
        let masking = masking(false);
        let (mut all, mut as_mask, mut same) = (0, 0, 0);
        for step in 0..400 {
            let before: Vec<u32> = (0..100).map(|i| 5 + i * 7).collect();
            let mut ids = before.clone();
            let open: Vec<(u32, bool)> = (1..99).map(|at| (at, false)).collect();
            let masked = masking.apply(&mut ids, &open, &mut generator(&[step]));
            assert_eq!(masked.len(), masking.count(98));
            for &(at, was) in &masked {
                assert_eq!(was, before[at as usize]);
                all += 1;
                as_mask += usize::from(ids[at as usize] == 4);
                same += usize::from(ids[at as usize] == was);
            }
            let untouched = |at: &usize| masked.iter().all(|m| m.0 as usize != *at);
            assert!((0..100).filter(untouched).all(|at| ids[at] == before[at]), "other tokens stay");
            assert!(untouched(&0) && untouched(&99));
        }
        let share = |n: usize| n as f64 / all as f64;
        assert!((share(as_mask) - 0.8).abs() < 0.02 && (share(same) - 0.1).abs() < 0.02, "{as_mask} {same} of {all}");
    }

    #[test]
    fn whole_words_are_masked_whole() {
        let masking = masking(true);
        // words of one to three pieces
        let open: Vec<(u32, bool)> = (0..60).map(|i| (i, i % 6 != 0 && i % 6 != 1 && i % 6 != 3)).collect();
        let word = |at: usize| (0..=at).rev().find(|i| *i == 0 || !open[*i].1).unwrap();
        for step in 0..50 {
            let mut ids: Vec<u32> = (0..60).map(|i| 10 + i).collect();
            let masked = masking.apply(&mut ids, &open, &mut generator(&[step]));
            assert!(!masked.is_empty() && masked.len() <= masking.count(60));
            let places: Vec<usize> = masked.iter().map(|m| m.0 as usize).collect();
            for at in 0..60 {
                let same = (0..60).filter(|other| word(*other) == word(at));
                assert!(!places.contains(&at) || same.into_iter().all(|other| places.contains(&other)));
            }
        }
        let mut one = vec![10, 11, 12];
        assert_eq!(masking.apply(&mut one, &[(0, false), (1, true), (2, true)], &mut generator(&[1])).len(), 3);
    }
}
