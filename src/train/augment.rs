//! Pairs made from single records, and real pairs made a little harder.
//!
//! Lists of matches hold few near misses, and near misses are what a shop's list is full of: the same paint in another
//! size. So a number, a unit, a color, a name or one character of an article code is changed, or an attribute of one class is
//! added to either (`лимон` here and `лаванда` there), and the two records are a hard negative; so are two neighbours of one list that
//! holds each product once. Words dropped, shuffled, abbreviated, in capitals, added as praise, `0,5 л` written as `500 мл`, a code without its
//! dash, another price: the two records are still the same thing. Words that carry such a difference are never dropped. Both
//! sides of a made pair, match or not, are written in these ways, so that only the difference gives its label away.
//!
//! Real pairs are thinned ([`word_dropout`]) in the spirit of MixDA (Miao et al., Snippext, WWW 2020; Li et al., Ditto, VLDB
//! 2021): a match may lose any plain word; of a mismatch only words that both sides have, or it could become a match. They may lose
//! a whole field and have spans of words exchanged, too ([`field_dropout`], [`span_swap`]).
//!
//! Where a record has an article code, the code alone is what is changed: two shops that state the same code mean the same thing,
//! however little else they share, and such records lose up to half of their words.
//!
//! A price follows an amount that was changed, since twice the paint costs nearly twice as much.
//!
//! Refused: back-translation and language models (a second model to train one), typing errors in words (no label is safe
//! in a code, and word pieces learn little from the rest), prices as the only difference (they differ between shops for the same thing).
//!
//! Everything is drawn from the generator given, by integer arithmetic: the same seed makes the same pairs.

mod attributes;
mod editable;
mod fields;
mod fillers;
mod words;

use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use self::editable::EditableRecord;
pub use self::fields::{field_dropout, span_swap};
use crate::records::Record;

/// How many pairs are made, and how much real ones are changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Hard negatives made from a record, on average.
    pub negatives: f64,
    /// Positives made from a record, on average.
    pub positives: f64,
    /// Share of real pairs' sides that lose words.
    #[serde(alias = "thin")]
    pub word_dropout: f64,
    /// Share of real pairs' sides that lose a whole field.
    pub field_dropout: f64,
    /// Share of real pairs' sides in which two neighbouring spans of a field's words are exchanged.
    pub span_swap: f64,
    /// Only the first so many words of a record are changed, so that truncation does not hide what makes the difference.
    #[serde(alias = "words")]
    pub max_words: usize,
}

impl Default for Augment {
    fn default() -> Self {
        Augment { negatives: 0.5, positives: 0.5, word_dropout: 0.2, field_dropout: 0.0, span_swap: 0.0, max_words: 24 }
    }
}

impl Augment {
    /// Whether a real pair may come otherwise than it was read.
    pub(super) fn changes_real_pairs(&self) -> bool {
        [self.word_dropout, self.field_dropout, self.span_swap].iter().any(|share| *share > 0.0)
    }
}

/// Pairs made from one record: two versions of it and whether they are the same thing. The record should hold the rendered
/// fields only (`TextConfig::rendered_record`): a change in a field that no text shows would teach a falsehood. Without
/// anything to change there is no negative.
/// `other_record` is any other record of the list: a negative may take a name from it, either side words as its shop adds them.
/// `siblings` are records near it that are other products.
pub fn augmented_pairs(
    record: &Record,
    other_record: &Record,
    siblings: &[&Record],
    rng: &mut impl Rng,
    augment: &Augment,
) -> Vec<(Record, Record, bool)> {
    let mut made = Vec::new();
    for _ in 0..times(rng, augment.negatives) {
        let near = siblings.choose(rng).copied();
        let mut draft = EditableRecord::new(record, augment.max_words);
        let coded = draft.has_article_code();
        let way = rng.random_range(0..4);
        let changed = match (way, near) {
            (0, Some(sibling)) => Some(sibling.clone()),
            (1, _) if !coded => Some(record.clone()),
            _ => {
                let renamed = rng.random_range(0..3) == 0 && draft.rename(near.unwrap_or(other_record), rng);
                // another name does not make another product of the same code
                ((renamed && !coded) || draft.corrupt(rng)).then(|| draft.into_record(record))
            }
        };
        let Some(changed) = changed else { continue };
        let mut sides = [record, &changed].map(|side| perturbed(side, other_record, rng, augment));
        let by_attribute = way == 1 && !coded;
        let is_attributed = (by_attribute || rng.random_range(0..2) == 0) && attributed(&mut sides, !by_attribute, rng);
        if is_attributed || !by_attribute {
            let [left, right] = sides;
            made.push((left, right, false));
        }
    }
    for _ in 0..times(rng, augment.positives) {
        if record.values.iter().any(|v| !v.trim().is_empty()) {
            let mut sides = [record, record].map(|side| perturbed(side, other_record, rng, augment));
            // as often as a negative has one, or an attribute would tell the label
            if rng.random_range(0..2) == 0 {
                attributed(&mut sides, true, rng);
            }
            let [left, right] = sides;
            made.push((left, right, true));
        }
    }
    made
}

/// `mean` on average: its whole part, and one more with the chance of the rest.
fn times(rng: &mut impl Rng, mean: f64) -> usize {
    let mean = mean.clamp(0.0, 100.0);
    mean as usize + usize::from(rng.random_bool(share(mean.fract())))
}

/// A number as a probability.
fn share(number: f64) -> f64 {
    if number > 0.0 { number.min(1.0) } else { 0.0 }
}

/// Gives both sides an attribute: the same, or two of one class. False where they have one of that class already.
fn attributed(sides: &mut [Record; 2], same: bool, rng: &mut impl Rng) -> bool {
    let text = sides.iter().flat_map(|side| &side.values).fold(String::new(), |text, value| text + " " + value);
    let Some(forms) = attributes::draw(words::language(&text), &text, same, rng) else { return false };
    for (side, form) in sides.iter_mut().zip(forms) {
        let mut draft = EditableRecord::new(side, usize::MAX);
        let form = if rng.random_range(0..6) == 0 { form.to_uppercase() } else { form.to_string() };
        if !draft.insert(form.split(' ').map(str::to_string).collect(), rng) {
            return false;
        }
        *side = draft.into_record(side);
    }
    true
}

/// A real pair with some words of either side left out; the label stays true to it.
pub fn word_dropout(
    left: &Record,
    right: &Record,
    label: bool,
    rng: &mut impl Rng,
    augment: &Augment,
) -> (Record, Record) {
    let drafts = [left, right].map(|record| EditableRecord::new(record, usize::MAX));
    let vocabularies = [&drafts[0], &drafts[1]].map(EditableRecord::vocabulary);
    let mut sides = [(left, 1), (right, 0)].into_iter().zip(drafts).map(|((record, other), mut draft)| {
        if rng.random_bool(share(augment.word_dropout)) {
            let count = 1 + rng.random_range(0..1 + draft.len() / 8);
            let allowed = |word: &str| label || vocabularies[other].contains(word);
            (0..count).for_each(|_| draft.drop_word(rng, &allowed));
            if rng.random_range(0..4) == 0 {
                draft.drop_price();
            }
        }
        draft.into_record(record)
    });
    match (sides.next(), sides.next()) {
        (Some(left), Some(right)) => (left, right),
        _ => (left.clone(), right.clone()),
    }
}

/// The record in another shop's words: left alone, or changed in one to five ways.
fn perturbed(record: &Record, other_record: &Record, rng: &mut impl Rng, augment: &Augment) -> Record {
    let mut draft = EditableRecord::new(record, augment.max_words);
    let mut ways: Vec<usize> = (0..rng.random_range(0..6)).map(|_| rng.random_range(0..12)).collect();
    // words go first: a color cut short is no longer known for one, and must not be dropped
    ways.sort_unstable();
    for way in ways {
        match way {
            0 | 1 => draft.drop_word(rng, &|_| true),
            2 => draft.exchange_words(rng),
            3 | 4 => draft.rewrite_quantity(rng),
            5 => draft.rewrite_code(rng),
            6 | 7 => draft.shuffle(rng),
            8..=10 => draft.abbreviate(rng),
            _ => draft.change_case(rng),
        }
    }
    if draft.has_article_code() && rng.random_range(0..2) == 0 {
        // what has a code needs few words more
        (0..rng.random_range(0..1 + draft.len() / 2)).for_each(|_| draft.drop_word(rng, &|_| true));
    }
    if rng.random_range(0..2) == 0 {
        (0..1 + rng.random_range(0..3)).for_each(|_| draft.insert_filler(other_record, rng));
    }
    draft.jitter_price(rng);
    draft.into_record(record)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    pub(super) fn record(fields: &[(&str, &str)]) -> Record {
        let columns: Vec<String> = fields.iter().map(|f| f.0.to_string()).collect();
        Record { id: "7".into(), columns: columns.into(), values: fields.iter().map(|f| f.1.to_string()).collect() }
    }

    pub(super) fn rng(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    fn all(augment: &Augment, record: &Record) -> Vec<(Record, Record, bool)> {
        let other = self::record(&[("name", "Фильтр Квадрат стальной")]);
        (0..200).flat_map(|seed| augmented_pairs(record, &other, &[], &mut rng(seed), augment)).collect()
    }

    const NEGATIVES: Augment = Augment {
        negatives: 1.0,
        positives: 0.0,
        word_dropout: 0.0,
        field_dropout: 0.0,
        span_swap: 0.0,
        max_words: 24,
    };
    const POSITIVES: Augment = Augment { negatives: 0.0, positives: 1.0, word_dropout: 1.0, ..NEGATIVES };

    #[test]
    fn only_the_difference_tells_the_label() {
        let source = record(&[("name", "Краска Лумира белая 500 мл, арт. 12-05/5"), ("price", "99.5 x")]);
        // what distinguishes the two, however it is written
        let facts = |r: &Record| {
            let text = format!(" {} ", r.values[0].to_lowercase().replace(['-', '/', ',', '.'], ""));
            let half_litre = [" 500 мл ", " 500мл ", " 05 л ", " 05л "].iter().any(|q| text.contains(q));
            (half_litre, text.contains(" бел"), text.contains("12055"))
        };
        let (mut spoilt, mut renamed) = (0, 0);
        for (one, two, label) in all(&NEGATIVES, &source) {
            assert!(!label);
            match facts(&one) == facts(&two) {
                false => spoilt += 1,
                true => renamed += 1,
            }
            assert_eq!(facts(&one), (true, true, true), "the first side is the record: {one:?}");
        }
        assert!(spoilt > 80 && renamed > 20 && spoilt + renamed > 170, "{spoilt} {renamed}");
        assert!(all(&NEGATIVES, &record(&[("price", "100")])).is_empty());
        for (one, two, label) in all(&POSITIVES, &source) {
            assert!(label);
            assert_eq!((facts(&one), facts(&two)), ((true, true, true), (true, true, true)), "{one:?} {two:?}");
        }
    }

    #[test]
    fn the_code_tells_where_there_is_one() {
        let source = record(&[("name", "Canon PowerShot SD1100 IS 8MP digital camera blue")]);
        let code = |r: &Record| r.values[0].to_lowercase().contains("sd1100");
        let mut shortest = usize::MAX;
        for (one, two, label) in all(&NEGATIVES, &source).iter().chain(&all(&POSITIVES, &source)) {
            assert!(code(one) && code(two) == *label, "{one:?} {two:?}");
            shortest = shortest.min(two.values[0].split(' ').count());
        }
        assert!(shortest <= 5, "{shortest} words");
    }

    #[test]
    fn siblings_are_non_matches_and_share_their_attribute() {
        let source = record(&[("name", "Гель Лумира Лимон")]);
        let sibling = record(&[("name", "Фильтр Квадрат стальной")]);
        let of = |siblings: &[&Record]| -> Vec<(Record, Record, bool)> {
            (0..200).flat_map(|seed| augmented_pairs(&source, &source, siblings, &mut rng(seed), &NEGATIVES)).collect()
        };
        let is_sibling = |r: &Record| r.values[0].to_lowercase().contains("фильтр");
        let made = of(&[&sibling]);
        assert!(made.iter().all(|p| !p.2 && !is_sibling(&p.0)));
        assert!((25..70).contains(&made.iter().filter(|p| is_sibling(&p.1)).count()));
        // nothing to corrupt and no strange name: only two attributes tell the two apart
        let made = of(&[]);
        assert!(
            (15..70).contains(&made.len()) && made.iter().all(|p| p.0.values[0] != p.1.values[0]),
            "{}",
            made.len()
        );
    }

    #[test]
    fn positives_keep_numbers_colours_and_codes() {
        let name = "Средство универсальное Prosept Universal Spray белое 0,5 л 12-05/5 professional";
        let source = record(&[("name", name)]);
        let made = all(&POSITIVES, &source);
        assert_eq!(made.len(), 200);
        let mut texts = HashSet::new();
        for (left, right, label) in made {
            assert!(label);
            for text in [&left.values[0], &right.values[0]] {
                let plain = text.to_lowercase().replace(['-', '/'], "");
                assert!(plain.contains("12055") && plain.contains("бел"), "{text}");
                let same = ["0,5 л", "0.5 л", "0,5л", "0.5л", "500 мл", "500мл"];
                assert!(same.iter().any(|q| text.to_lowercase().contains(q)), "{text}");
                texts.insert(text.clone());
            }
        }
        assert!(texts.len() > 100, "{}", texts.len());
        assert!(texts.iter().any(|t| t.contains("500 мл")) && texts.iter().any(|t| t.contains("prof.")));
        assert!(all(&POSITIVES, &record(&[("name", " ")])).is_empty());
    }

    #[test]
    fn thinned_mismatches_lose_only_what_both_have() {
        let left = record(&[("name", "гель душистый лимон 500 мл для рук"), ("price", "120")]);
        let right = record(&[("name", "гель душистый ромашка 500 мл для рук"), ("price", "130")]);
        let augment = Augment { word_dropout: 1.0, ..Default::default() };
        let mut thinner = 0;
        for seed in 0..100 {
            let (l, r) = word_dropout(&left, &right, false, &mut rng(seed), &augment);
            assert!(l.values[0].contains("лимон") && r.values[0].contains("ромашка"));
            assert!(l.values[0].contains("500 мл") && r.values[0].contains("500 мл"));
            thinner += usize::from(l.values[0].len() < left.values[0].len());
        }
        assert_eq!(thinner, 100);
        let loses = |seed| !word_dropout(&left, &left, true, &mut rng(seed), &augment).0.values[0].contains("лимон");
        assert!((0..100).any(loses));
        let off = Augment { word_dropout: 0.0, ..augment };
        assert_eq!(word_dropout(&left, &right, true, &mut rng(1), &off), (left, right));
    }

    #[test]
    fn same_seed_same_pairs_and_means_hold() {
        let source = record(&[("name", "Canon SD1100 IS 8MP digital camera blue")]);
        let augment = Augment { negatives: 1.5, positives: 0.25, ..Default::default() };
        let (one, two) = (all(&augment, &source), all(&augment, &source));
        assert_eq!(one, two);
        let negatives = one.iter().filter(|p| !p.2).count();
        assert!((270..330).contains(&negatives), "{negatives}");
        assert!((30..75).contains(&(one.len() - negatives)));
    }
}
