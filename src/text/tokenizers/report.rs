//! Is the vocabulary too large? Numbers that a vocabulary which learnt codes by heart can't hide.
//!
//! A vocabulary that is too large has pieces that are whole article codes ([`codes`]): the share of codes that are one piece is high on
//! the texts it was grown on and lower on others. Its rare pieces are in few titles, so their vectors are never learnt. One that is too
//! small needs many tokens a word (fertility). Rényi's efficiency (order 2.5) says how evenly pieces are used (Zouhar et al.,
//! Tokenization and the Noiseless Channel, ACL 2023): entropy of the tokens over the logarithm of the vocabulary's size.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use rayon::prelude::*;
use serde::Serialize;

use super::codes;
use crate::Result;
use crate::text::TextEncoder;

/// The order of Rényi's entropy that Zouhar et al. found best.
const ORDER: f64 = 2.5;

/// Measures several tokenizers on the same texts, as they come.
pub struct Meter {
    encoders: Vec<Counter>,
    /// Codes seen on the training texts and on the held-out ones, by hash.
    seen: [HashSet<u64>; 2],
    held_out_codes_new: u64,
}

struct Counter {
    name: String,
    encoder: TextEncoder,
    /// Training and held-out texts.
    sides: [Side; 2],
    /// Held-out codes that no training text has, those of them that are one token.
    fresh_single: u64,
    /// Each piece: tokens, and training texts that have it, `[vocabulary]`.
    tokens: Vec<u64>,
    titles: Vec<u64>,
}

/// What a tokenizer makes of some texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Side {
    /// Texts.
    pub texts: u64,
    /// Words between white space.
    pub words: u64,
    /// Tokens.
    pub tokens: u64,
    /// Tokens that the vocabulary does not have.
    pub unknown: u64,
    /// Characters but white space.
    pub letters: u64,
    /// Different code-like strings.
    pub codes: u64,
    /// Those of them that are one token and known.
    pub single_codes: u64,
    /// Tokens of the different codes.
    pub code_tokens: u64,
    /// Characters of the different codes.
    pub code_letters: u64,
}

impl Side {
    /// The share of codes that are one token.
    pub fn single_token_codes(&self) -> f64 {
        share(self.single_codes, self.codes)
    }
    /// Tokens a word.
    pub fn fertility(&self) -> f64 {
        share(self.tokens, self.words)
    }
    /// Characters a token.
    pub fn letters_per_piece(&self) -> f64 {
        share(self.letters, self.tokens)
    }
    /// Characters a token of codes.
    pub fn letters_per_code_piece(&self) -> f64 {
        share(self.code_letters, self.code_tokens)
    }
    /// Tokens a code.
    pub fn pieces_per_code(&self) -> f64 {
        share(self.code_tokens, self.codes)
    }
    /// The share of tokens that are unknown.
    pub fn unknown_rate(&self) -> f64 {
        share(self.unknown, self.tokens)
    }
}

fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

/// One tokenizer's numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TokenizerReport {
    /// Its name.
    pub name: String,
    /// Rows of its embedding table.
    pub vocabulary: usize,
    /// On the texts it was grown on.
    pub training: Side,
    /// On texts it has not seen, if there are any.
    pub held_out: Option<Side>,
    /// The share of codes that are one token, on training texts.
    pub single_token_codes: f64,
    /// The same on held-out texts.
    pub single_token_codes_held_out: Option<f64>,
    /// The same of held-out codes that no training text has.
    pub single_token_codes_fresh: Option<f64>,
    /// How much higher the share is on training texts than on held-out ones. A small set of held-out texts has mostly frequent codes, so
    /// that this may be negative.
    pub gap: Option<f64>,
    /// How much higher it is than of held-out codes that no training text has: what was learnt by heart, and is of no use.
    pub gap_fresh: Option<f64>,
    /// Tokens a word, on held-out texts if there are any (as the next four).
    pub fertility: f64,
    /// Characters a token.
    pub letters_per_piece: f64,
    /// Characters a token of codes.
    pub letters_per_code_piece: f64,
    /// Tokens a code.
    pub pieces_per_code: f64,
    /// The share of tokens that are unknown.
    pub unknown_rate: f64,
    /// Rényi's efficiency of order 2.5.
    pub renyi_efficiency: f64,
    /// The share of the vocabulary that fewer than `rare_titles` training texts have.
    pub rare_share: f64,
    /// What counts as few.
    pub rare_titles: u64,
}

impl Meter {
    /// Of tokenizers with their names.
    pub fn new(encoders: impl IntoIterator<Item = (String, TextEncoder)>) -> Self {
        let counter = |(name, encoder): (String, TextEncoder)| {
            let size = encoder.vocab_size();
            let (tokens, titles) = (vec![0; size], vec![0; size]);
            Counter { name, encoder, sides: Default::default(), fresh_single: 0, tokens, titles }
        };
        Meter { encoders: encoders.into_iter().map(counter).collect(), seen: Default::default(), held_out_codes_new: 0 }
    }

    /// Counts training texts, all of them before the first held-out one.
    ///
    /// # Errors
    /// What the tokenizer refuses.
    pub fn training<T: AsRef<str> + Sync>(&mut self, texts: &[T]) -> Result<()> {
        self.add(texts, 0)
    }

    /// Counts held-out texts.
    ///
    /// # Errors
    /// What the tokenizer refuses.
    pub fn held_out<T: AsRef<str> + Sync>(&mut self, texts: &[T]) -> Result<()> {
        self.add(texts, 1)
    }

    fn add<T: AsRef<str> + Sync>(&mut self, texts: &[T], side: usize) -> Result<()> {
        let found: Vec<&str> = texts.iter().flat_map(|text| codes(text.as_ref())).collect();
        let [training, held_out] = &mut self.seen;
        let mut new = Vec::new();
        for code in found {
            let key = key(code);
            let set = if side == 0 { &mut *training } else { &mut *held_out };
            if set.insert(key) {
                let fresh = side == 1 && !training.contains(&key);
                self.held_out_codes_new += u64::from(fresh);
                new.push((code, fresh));
            }
        }
        for counter in &mut self.encoders {
            counter.add(texts, &new, side)?;
        }
        Ok(())
    }

    /// The numbers; a piece of fewer than `rare_titles` training texts is rare.
    pub fn reports(&self, rare_titles: u64) -> Vec<TokenizerReport> {
        self.encoders.iter().map(|counter| counter.report(rare_titles, self.held_out_codes_new)).collect()
    }
}

/// A code's place in the sets: its hash, so that a million codes are eight megabytes.
fn key(code: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    code.hash(&mut hasher);
    hasher.finish()
}

impl Counter {
    fn add<T: AsRef<str> + Sync>(&mut self, texts: &[T], codes: &[(&str, bool)], at: usize) -> Result<()> {
        let encoder = &self.encoder;
        let tokens: Vec<Vec<u32>> =
            texts.par_iter().map(|text| encoder.token_ids(text.as_ref())).collect::<Result<_>>()?;
        let of_codes: Vec<Vec<u32>> =
            codes.par_iter().map(|(code, _)| encoder.token_ids(code)).collect::<Result<_>>()?;
        let (unknown, side) = (encoder.unknown_id(), &mut self.sides[at]);
        for (text, mut ids) in texts.iter().map(AsRef::as_ref).zip(tokens) {
            side.texts += 1;
            side.words += text.split_whitespace().count() as u64;
            side.letters += text.chars().filter(|c| !c.is_whitespace()).count() as u64;
            side.tokens += ids.len() as u64;
            side.unknown += ids.iter().filter(|id| Some(**id) == unknown).count() as u64;
            ids.iter().for_each(|&id| self.tokens[id as usize] += 1);
            if at == 0 {
                ids.sort_unstable();
                ids.dedup();
                ids.iter().for_each(|&id| self.titles[id as usize] += 1);
            }
        }
        for (&(code, fresh), ids) in codes.iter().zip(of_codes) {
            let is_single = ids.len() == 1 && Some(ids[0]) != unknown;
            side.codes += 1;
            side.single_codes += u64::from(is_single);
            side.code_tokens += ids.len() as u64;
            side.code_letters += code.chars().count() as u64;
            self.fresh_single += u64::from(is_single && fresh);
        }
        Ok(())
    }

    fn report(&self, rare_titles: u64, fresh: u64) -> TokenizerReport {
        let [training, held_out] = &self.sides;
        let held_out = (held_out.texts > 0).then_some(held_out);
        let judged = held_out.unwrap_or(training);
        let ordinary = super::SPECIAL.len().min(self.titles.len());
        let rare = self.titles[ordinary..].iter().filter(|&&titles| titles < rare_titles).count();
        let single = training.single_token_codes();
        let single_held_out = held_out.map(Side::single_token_codes);
        TokenizerReport {
            name: self.name.clone(),
            vocabulary: self.titles.len(),
            single_token_codes: single,
            single_token_codes_held_out: single_held_out,
            single_token_codes_fresh: held_out.map(|_| share(self.fresh_single, fresh)),
            gap: single_held_out.map(|held_out| single - held_out),
            gap_fresh: held_out.map(|_| single - share(self.fresh_single, fresh)),
            fertility: judged.fertility(),
            letters_per_piece: judged.letters_per_piece(),
            letters_per_code_piece: judged.letters_per_code_piece(),
            pieces_per_code: judged.pieces_per_code(),
            unknown_rate: judged.unknown_rate(),
            renyi_efficiency: renyi_efficiency(&self.tokens),
            rare_share: share(rare as u64, (self.titles.len() - ordinary) as u64),
            rare_titles,
            training: training.clone(),
            held_out: held_out.cloned(),
        }
    }
}

/// Rényi's entropy of order 2.5 of the tokens, over the logarithm of the vocabulary's size: 1 where all pieces come equally often.
pub(super) fn renyi_efficiency(tokens: &[u64]) -> f64 {
    let all: u64 = tokens.iter().sum();
    if all == 0 || tokens.len() < 2 {
        return 0.0;
    }
    let power: f64 = tokens.iter().map(|&n| (n as f64 / all as f64).powf(ORDER)).sum();
    power.ln() / (1.0 - ORDER) / (tokens.len() as f64).ln()
}

/// Which of several sizes is advised, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recommendation {
    /// The tokenizer's name.
    pub name: String,
    /// Its size.
    pub vocabulary: usize,
    /// The rule and the numbers.
    pub reason: String,
}

/// Advises the largest vocabulary that has not learnt codes by heart (at most `max_single` of the training codes are one token) and whose
/// pieces can be learnt (at most `max_rare` of them rare). Where none is so, the one with the fewest codes by heart.
pub fn recommend(reports: &[TokenizerReport], max_single: f64, max_rare: f64) -> Option<Recommendation> {
    let fits = |r: &&TokenizerReport| r.single_token_codes <= max_single && r.rare_share <= max_rare;
    let percent = |x: f64| format!("{:.1}%", 100.0 * x);
    let numbers = |r: &TokenizerReport| {
        format!(
            "{} of the training codes are one token, {} of its pieces are in fewer than {} texts, {:.2} tokens a word",
            percent(r.single_token_codes),
            percent(r.rare_share),
            r.rare_titles,
            r.fertility
        )
    };
    let limits = format!("at most {} one-token codes and {} rare pieces", percent(max_single), percent(max_rare));
    let (best, reason) = match reports.iter().filter(fits).max_by_key(|r| r.vocabulary) {
        Some(best) => (best, format!("the largest with {limits}: {}", numbers(best))),
        None => {
            let over =
                |r: &TokenizerReport| (r.single_token_codes - max_single).max(0.0) + (r.rare_share - max_rare).max(0.0);
            let best =
                reports.iter().min_by(|a, b| over(a).total_cmp(&over(b)).then(a.vocabulary.cmp(&b.vocabulary)))?;
            (best, format!("none has {limits}; this one is nearest: {}", numbers(best)))
        }
    };
    Some(Recommendation { name: best.name.clone(), vocabulary: best.vocabulary, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn efficiency_is_one_where_all_pieces_come_equally_often() {
        assert!((renyi_efficiency(&[3, 3, 3, 3]) - 1.0).abs() < 1e-12);
        // by hand: p = 1/2, 1/4, 1/4; sum of p^2.5 = 0.23928; ln / -1.5 / ln 3
        assert!((renyi_efficiency(&[2, 1, 1]) - (0.239_276_7f64.ln() / -1.5 / 3f64.ln())).abs() < 1e-6);
        assert_eq!(renyi_efficiency(&[0, 0]), 0.0);
    }

    fn report(vocabulary: usize, single: f64, rare: f64) -> TokenizerReport {
        let name = vocabulary.to_string();
        TokenizerReport { name, vocabulary, single_token_codes: single, rare_share: rare, ..Default::default() }
    }

    #[test]
    fn the_largest_size_that_has_not_learnt_codes_is_advised() {
        let sizes = [report(1000, 0.0, 0.02), report(2000, 0.01, 0.1), report(4000, 0.04, 0.3), report(8000, 0.2, 0.5)];
        let name = |single, rare| recommend(&sizes, single, rare).unwrap().name;
        assert_eq!(name(0.05, 0.25), "2000");
        assert_eq!(name(0.05, 0.9), "4000");
        assert_eq!(name(1.0, 1.0), "8000");
        let none = recommend(&sizes[2..], 0.01, 0.1).unwrap();
        assert!(none.name == "4000" && none.reason.starts_with("none has"), "{none:?}");
        assert_eq!(recommend(&[], 1.0, 1.0), None);
    }
}
