//! Pairs made from single records, and real pairs made a little harder.
//!
//! Lists of matches hold few near misses, and near misses are what a shop's list is full of: the same paint in another
//! size. So a number, a unit, a colour, a name or one character of an article code is changed, and the two records are a hard
//! negative. Words dropped, moved, added as praise, exchanged with a neighbour or abbreviated, `0,5 л` written as `500 мл`, a code without its dash:
//! the two records are still the same thing. Words that carry such a difference are never dropped.
//!
//! Real pairs are thinned ([`thin_pair`]) in the spirit of MixDA (Miao et al., Snippext, WWW 2020; Li et al., Ditto, VLDB
//! 2021): a match may lose any plain word; of a mismatch only words that both sides have, or it could become a match.
//!
//! Refused: back-translation and language models (a second model to train one), typing errors in words (no label is safe
//! in a code, and word pieces learn little from the rest), prices (they differ between shops for the same thing).
//!
//! Everything is drawn from the generator given, by integer arithmetic: the same seed makes the same pairs.

mod lexicon;

use std::collections::HashSet;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::records::Record;

/// How many pairs are made, and how much real ones are thinned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Hard negatives made from a record, on average.
    pub negatives: f64,
    /// Positives made from a record, on average.
    pub positives: f64,
    /// Share of real pairs' sides that lose words.
    pub thin: f64,
    /// Only the first so many words of a record are changed, so that truncation does not hide what makes the difference.
    pub words: usize,
}

impl Default for Augment {
    fn default() -> Self {
        Augment { negatives: 0.5, positives: 0.5, thin: 0.2, words: 24 }
    }
}

/// Pairs made from one record: two versions of it and whether they are the same thing. The record should hold the rendered
/// fields only (`Rendering::rendered_record`): a change in a field that no text shows would teach a falsehood. Without
/// anything to change there is no negative.
/// `other` is any other record of the list: a negative may take a name from it.
pub fn made_pairs(
    record: &Record,
    other: &Record,
    rng: &mut impl Rng,
    augment: &Augment,
) -> Vec<(Record, Record, bool)> {
    let mut made = Vec::new();
    for _ in 0..times(rng, augment.negatives) {
        let mut draft = Draft::new(record, augment.words);
        let renamed = below(rng, 4) == 0 && draft.rename(other, rng);
        if renamed || draft.spoil(rng) {
            let first = if below(rng, 4) == 0 { record.clone() } else { perturbed(record, rng, augment) };
            made.push((first, draft.into_record(record), false));
        }
    }
    for _ in 0..times(rng, augment.positives) {
        if record.values.iter().any(|v| !v.trim().is_empty()) {
            made.push((record.clone(), perturbed(record, rng, augment), true));
        }
    }
    made
}

/// A real pair with some words of either side left out; the label stays true to it.
pub fn thin_pair(
    left: &Record,
    right: &Record,
    label: bool,
    rng: &mut impl Rng,
    augment: &Augment,
) -> (Record, Record) {
    let drafts = [left, right].map(|record| Draft::new(record, usize::MAX));
    let vocabularies = [&drafts[0], &drafts[1]].map(Draft::vocabulary);
    let mut sides = [(left, 1), (right, 0)].into_iter().zip(drafts).map(|((record, other), mut draft)| {
        if chance(rng, augment.thin) {
            let count = 1 + below(rng, 1 + draft.len() / 8);
            let allowed = |word: &str| label || vocabularies[other].contains(word);
            (0..count).for_each(|_| draft.drop_word(rng, &allowed));
            if below(rng, 4) == 0 {
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

/// The record in other words.
fn perturbed(record: &Record, rng: &mut impl Rng, augment: &Augment) -> Record {
    let mut draft = Draft::new(record, augment.words);
    for _ in 0..2 + below(rng, 5) {
        match below(rng, 10) {
            0 | 1 => draft.drop_word(rng, &|_| true),
            2 => draft.exchange_words(rng),
            3 | 4 => draft.abbreviate(rng),
            5 | 6 => draft.rewrite_quantity(rng),
            7 => draft.rewrite_code(rng),
            8 => draft.turn(rng),
            _ => draft.praise(rng),
        }
    }
    draft.into_record(record)
}

/// A record as words that can be changed.
struct Draft {
    /// The words of each value.
    values: Vec<Vec<String>>,
    /// Fields whose name says price.
    price: Vec<bool>,
    /// How many words of the record may be changed.
    words: usize,
}

/// Place of a word: value and index in it.
type At = (usize, usize);

/// What a word tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Unit,
    Colour,
    Code,
    Plain,
    Other,
}

impl Draft {
    fn new(record: &Record, words: usize) -> Self {
        let values = record.values.iter().map(|v| v.split_whitespace().map(str::to_string).collect()).collect();
        let names = ["price", "cost", "цена", "стоимость", "msrp"];
        let price = |c: &String| names.iter().any(|n| c.to_lowercase().contains(n));
        Draft { values, price: record.columns.iter().map(price).collect(), words }
    }

    fn into_record(self, like: &Record) -> Record {
        let values = self.values.iter().map(|words| words.join(" ")).collect();
        Record { id: like.id.clone(), columns: like.columns.clone(), values }
    }

    fn len(&self) -> usize {
        self.values.iter().map(Vec::len).sum()
    }

    fn word(&self, at: At) -> &str {
        &self.values[at.0][at.1]
    }

    /// The words as [`folded`].
    fn vocabulary(&self) -> HashSet<String> {
        self.values.iter().flatten().map(|w| folded(core(w))).collect()
    }

    /// Places of the given kind among the words that may be changed.
    fn places(&self, kind: Kind) -> Vec<At> {
        let all = self.values.iter().enumerate().flat_map(|(v, words)| (0..words.len()).map(move |w| (v, w)));
        all.take(self.words).filter(|&at| self.kind(at) == kind).collect()
    }

    fn kind(&self, (value, index): At) -> Kind {
        let words = &self.values[value];
        let raw = words[index].as_str();
        let word = folded(core(raw));
        let next = words.get(index + 1).map(|w| folded(core(w))).unwrap_or_default();
        let money = raw.contains(['$', '€', '£', '₽']) || ["руб", "рублей", "usd", "eur"].contains(&next.as_str());
        if word.is_empty() || word.len() > 40 || money || raw.contains("://") || self.price[value] {
            return Kind::Other;
        }
        if let Some((number, unit)) = quantity(&word) {
            // a value that is one bare number may be a price or a row number
            return match number.len() {
                _ if unit.is_empty() && words.len() == 1 && number.len() < 6 => Kind::Other,
                0..=5 => Kind::Number,
                _ => Kind::Code,
            };
        }
        if word.contains(|c: char| c.is_ascii_digit()) {
            return if word.chars().count() >= 3 { Kind::Code } else { Kind::Other };
        }
        let after_number = index > 0 && quantity(&folded(core(&words[index - 1]))).is_some_and(|q| q.1.is_empty());
        if after_number && lexicon::is_unit(&word) {
            return Kind::Unit;
        }
        if !lexicon::other_colours(&word).is_empty() {
            return Kind::Colour;
        }
        match word.chars().all(char::is_alphabetic) && word.chars().count() >= 2 {
            true => Kind::Plain,
            false => Kind::Other,
        }
    }

    /// Makes another product of it; false where nothing tells products apart.
    fn spoil(&mut self, rng: &mut impl Rng) -> bool {
        let kinds = [Kind::Number, Kind::Unit, Kind::Colour, Kind::Code].map(|kind| self.places(kind));
        let mut present: Vec<&Vec<At>> = kinds.iter().filter(|places| !places.is_empty()).collect();
        while !present.is_empty() {
            let places = present.swap_remove(below(rng, present.len()));
            let at = places[below(rng, places.len())];
            let old = core(self.word(at)).to_string();
            let kind = self.kind(at);
            let new = match kind {
                Kind::Number => other_number(&old, rng),
                Kind::Unit => pick(&lexicon::other_units(&folded(&old)), rng).map(|u| in_case(&old, u.0)),
                Kind::Colour => pick(&lexicon::other_colours(&folded(&old)), rng).map(|c| in_case(&old, c)),
                _ => other_code(&old, rng),
            };
            if let Some(new) = new {
                self.replace_all(kind, &old, &new);
                return true;
            }
        }
        false
    }

    /// The same word elsewhere in the record changes too, or the record would contradict itself.
    fn replace_all(&mut self, kind: Kind, old: &str, new: &str) {
        let wanted = folded(old);
        let all = self.values.iter().enumerate().flat_map(|(v, words)| (0..words.len()).map(move |w| (v, w)));
        let places: Vec<At> =
            all.filter(|&at| folded(core(self.word(at))) == wanted && self.kind(at) == kind).collect();
        for (value, word) in places {
            set_core(&mut self.values[value][word], new);
        }
    }

    /// Drops a plain word that is allowed to go; the last word of a value stays.
    fn drop_word(&mut self, rng: &mut impl Rng, allowed: &dyn Fn(&str) -> bool) {
        let mut places = self.places(Kind::Plain);
        places.retain(|&at| self.values[at.0].len() > 1 && allowed(&folded(core(self.word(at)))));
        if let Some(&(value, word)) = pick(&places, rng) {
            self.values[value].remove(word);
        }
    }

    /// Takes a name of another record in place of one of the first plain words, where brands and lines stand.
    fn rename(&mut self, other: &Record, rng: &mut impl Rng) -> bool {
        const FIRST: usize = 6;
        let names = |draft: &Draft| -> Vec<(At, String)> {
            let mut places = draft.places(Kind::Plain);
            places.retain(|&at| at.1 < FIRST && core(draft.word(at)).chars().count() >= 4);
            places.into_iter().map(|at| (at, core(draft.word(at)).to_string())).collect()
        };
        let known = self.vocabulary();
        let mut strange = names(&Draft::new(other, self.words));
        strange.retain(|(_, word)| !known.contains(&folded(word)));
        let own = names(self);
        let (Some((_, old)), Some((_, new))) = (pick(&own, rng), pick(&strange, rng)) else { return false };
        self.replace_all(Kind::Plain, old, &in_case(old, new));
        true
    }

    /// Begins a value with a later word and ends it with what stood before: `Гель Лимон 500 мл` to `500 мл Гель Лимон`.
    fn turn(&mut self, rng: &mut impl Rng) {
        let long: Vec<usize> = (0..self.values.len()).filter(|&v| self.values[v].len() >= 4).collect();
        if let Some(&value) = pick(&long, rng) {
            let words = &mut self.values[value];
            // not between a number and its unit
            let apart = |w: &usize| quantity(core(&words[*w - 1])).is_none_or(|q| !q.1.is_empty());
            let cuts: Vec<usize> = (1..words.len()).filter(apart).collect();
            if let Some(&cut) = pick(&cuts, rng) {
                words.rotate_left(cut);
            }
        }
    }

    /// Adds words that praise and do not tell products apart.
    fn praise(&mut self, rng: &mut impl Rng) {
        let russian = self.values.iter().flatten().any(|w| w.contains(|c| ('а'..='я').contains(&c)));
        let long: Vec<usize> = (0..self.values.len()).filter(|&v| self.values[v].len() >= 3).collect();
        if let (Some(&value), Some(words)) = (pick(&long, rng), pick(lexicon::praise(russian), rng)) {
            let at = below(rng, self.values[value].len() + 1);
            let inside = at > 0 && quantity(core(&self.values[value][at - 1])).is_some();
            let at = if inside { self.values[value].len() } else { at };
            self.values[value].splice(at..at, words.split(' ').map(str::to_string));
        }
    }

    fn drop_price(&mut self) {
        for (words, _) in self.values.iter_mut().zip(&self.price).filter(|(_, price)| **price) {
            words.clear();
        }
    }

    fn exchange_words(&mut self, rng: &mut impl Rng) {
        let plain = self.places(Kind::Plain);
        let pairs: Vec<At> = plain.iter().copied().filter(|&(v, w)| plain.contains(&(v, w + 1))).collect();
        if let Some(&(value, word)) = pick(&pairs, rng) {
            self.values[value].swap(word, word + 1);
        }
    }

    /// `универсальное` to `универс.`, `professional` to `prof.`: four to seven letters and a point.
    fn abbreviate(&mut self, rng: &mut impl Rng) {
        let mut places = self.places(Kind::Plain);
        places.retain(|&at| core(self.word(at)).chars().count() >= 8);
        if let Some(&(value, word)) = pick(&places, rng) {
            let old = core(&self.values[value][word]);
            let mut short: String = old.chars().take(4 + below(rng, 4)).collect();
            let vowel = |c: char| "аеёиоуыэюяьъaeiouy".contains(c);
            while short.chars().count() > 3 && short.chars().last().is_some_and(|c| c.to_lowercase().any(vowel)) {
                short.pop();
            }
            short.push('.');
            set_core(&mut self.values[value][word], &short);
        }
    }

    /// The same quantity written otherwise: unit apart or attached, decimal comma or point, the next unit of its family.
    fn rewrite_quantity(&mut self, rng: &mut impl Rng) {
        let Some(&(value, index)) = pick(&self.places(Kind::Number), rng) else { return };
        let words = &mut self.values[value];
        let word = core(&words[index]).to_string();
        let Some((number, unit)) = quantity(&word).map(|(n, u)| (n.to_string(), u.to_string())) else { return };
        let attached = !unit.is_empty();
        let next = words.get(index + 1).map(|w| core(w).to_string()).filter(|_| words[index].ends_with(&word));
        let unit = if attached { Some(unit) } else { next.filter(|n| lexicon::is_unit(&folded(n))) };
        match (unit, below(rng, 3)) {
            (Some(unit), 0) if attached => {
                set_core(&mut words[index], &format!("{number} {unit}"));
            }
            (Some(unit), 0) => {
                let tail = words.remove(index + 1).replacen(&unit, "", 1);
                words[index].push_str(&unit);
                words[index].push_str(&tail);
            }
            (Some(unit), 1) => {
                let units = lexicon::other_units(&folded(&unit));
                let Some(&(other, ratio)) = pick(&units, rng) else { return };
                let Some(converted) = amount(&number).and_then(|a| written(a / ratio, &number, other)) else { return };
                let other = in_case(&unit, other);
                match attached {
                    true => set_core(&mut words[index], &format!("{converted}{other}")),
                    false => {
                        set_core(&mut words[index], &converted);
                        set_core(&mut words[index + 1], &other);
                    }
                }
            }
            (unit, _) => {
                let flipped = if number.contains(',') { number.replace(',', ".") } else { number.replace('.', ",") };
                let unit = unit.filter(|_| attached).unwrap_or_default();
                set_core(&mut words[index], &format!("{flipped}{unit}"));
            }
        }
    }

    /// A code without its separators, or in the other case.
    fn rewrite_code(&mut self, rng: &mut impl Rng) {
        let mut places = self.places(Kind::Code);
        // digits alone need their separators: 1:10 is not 110
        places.retain(|&at| self.word(at).contains(char::is_alphabetic));
        if let Some(&(value, word)) = pick(&places, rng) {
            let old = core(&self.values[value][word]).to_string();
            let new = match below(rng, 2) {
                0 => old.replace(['-', '/'], ""),
                _ if old.contains(char::is_uppercase) => old.to_lowercase(),
                _ => old.to_uppercase(),
            };
            set_core(&mut self.values[value][word], &new);
        }
    }
}

/// A word without the punctuation around it.
fn core(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

fn set_core(word: &mut String, new: &str) {
    let old = core(word);
    let start = word.find(old).unwrap_or(0);
    let end = start + old.len();
    word.replace_range(start..end, new);
}

fn folded(word: &str) -> String {
    word.to_lowercase().replace('ё', "е")
}

/// Splits `0,5л` into `0,5` and `л`; none where it is not a number with an optional unit.
fn quantity(word: &str) -> Option<(&str, &str)> {
    let end = word.find(|c: char| !c.is_ascii_digit() && c != ',' && c != '.').unwrap_or(word.len());
    let (number, unit) = word.split_at(end);
    amount(number)?;
    (unit.is_empty() || lexicon::is_unit(&folded(unit))).then_some((number, unit))
}

fn amount(number: &str) -> Option<f64> {
    let ends = number.starts_with(|c: char| c.is_ascii_digit()) && number.ends_with(|c: char| c.is_ascii_digit());
    if ends { number.replace(',', ".").parse().ok() } else { None }
}

/// An amount as people write it, with the decimal sign of `like` or of the unit's language; none if it takes more than
/// three decimals or five digits.
fn written(amount: f64, like: &str, unit: &str) -> Option<String> {
    let thousandths = (amount * 1000.0).round();
    let exact = (thousandths / 1000.0 - amount).abs() < 1e-9;
    if !exact || !(1.0..1e8).contains(&thousandths) {
        return None;
    }
    let text = format!("{:.3}", thousandths / 1000.0);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let comma = like.contains(',') || (!like.contains('.') && !unit.is_ascii());
    Some(if comma { text.replace('.', ",") } else { text.to_string() })
}

/// Another number with the same unit: twice, half, ten times, or one digit changed.
fn other_number(word: &str, rng: &mut impl Rng) -> Option<String> {
    let (number, unit) = quantity(word)?;
    let old = amount(number)?;
    let new = match below(rng, 4) {
        0 => written(old * 2.0, number, unit),
        1 => written(old / 2.0, number, unit),
        2 => written(old * 10.0, number, unit),
        _ => None,
    };
    let new = match new.filter(|n| amount(n) != Some(old)) {
        Some(new) => new,
        None => other_character(number, rng)?,
    };
    Some(format!("{new}{unit}"))
}

/// The code with one character changed.
fn other_code(code: &str, rng: &mut impl Rng) -> Option<String> {
    other_character(code, rng)
}

/// Changes one digit or letter into another of its kind: digit, case and alphabet stay; a leading digit is never made 0.
fn other_character(text: &str, rng: &mut impl Rng) -> Option<String> {
    let mut characters: Vec<char> = text.chars().collect();
    let kind = |c: char| match c {
        '0'..='9' => Some(('0', 10)),
        'a'..='z' => Some(('a', 26)),
        'A'..='Z' => Some(('A', 26)),
        'а'..='я' => Some(('а', 32)),
        'А'..='Я' => Some(('А', 32)),
        _ => None,
    };
    let places: Vec<usize> = (0..characters.len()).filter(|&i| kind(characters[i]).is_some()).collect();
    let &place = pick(&places, rng)?;
    let (first, size) = kind(characters[place])?;
    let least = u32::from(place == 0 && first == '0' && characters[0] != '0');
    let old = characters[place] as u32 - first as u32;
    let mut new = least + below(rng, (size - 1 - least) as usize) as u32;
    if new >= old {
        new += 1;
    }
    characters[place] = char::from_u32(first as u32 + new)?;
    Some(characters.into_iter().collect())
}

/// `new` in upper case or with a capital where `old` has it.
fn in_case(old: &str, new: &str) -> String {
    let mut letters = old.chars().filter(|c| c.is_alphabetic());
    let first = letters.next().is_some_and(char::is_uppercase);
    if first && letters.all(char::is_uppercase) {
        return new.to_uppercase();
    }
    let mut characters = new.chars();
    match characters.next() {
        Some(c) if first => c.to_uppercase().chain(characters).collect(),
        _ => new.to_string(),
    }
}

fn below(rng: &mut impl Rng, n: usize) -> usize {
    (rng.next_u64() % n.max(1) as u64) as usize
}

fn chance(rng: &mut impl Rng, probability: f64) -> bool {
    ((rng.next_u64() >> 11) as f64) < probability * (1u64 << 53) as f64
}

/// `mean` on average: its whole part, and one more with the chance of the rest.
fn times(rng: &mut impl Rng, mean: f64) -> usize {
    let mean = mean.clamp(0.0, 100.0);
    mean as usize + usize::from(chance(rng, mean.fract()))
}

fn pick<'a, T>(items: &'a [T], rng: &mut impl Rng) -> Option<&'a T> {
    items.get(below(rng, items.len()))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn record(fields: &[(&str, &str)]) -> Record {
        let columns: Vec<String> = fields.iter().map(|f| f.0.to_string()).collect();
        Record { id: "7".into(), columns: columns.into(), values: fields.iter().map(|f| f.1.to_string()).collect() }
    }

    fn rng(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    fn all(augment: &Augment, record: &Record) -> Vec<(Record, Record, bool)> {
        let other = self::record(&[("name", "Фильтр Квадрат стальной")]);
        (0..200).flat_map(|seed| made_pairs(record, &other, &mut rng(seed), augment)).collect()
    }

    const NEGATIVES: Augment = Augment { negatives: 1.0, positives: 0.0, thin: 0.0, words: 24 };
    const POSITIVES: Augment = Augment { negatives: 0.0, positives: 1.0, thin: 1.0, words: 24 };

    #[test]
    fn kinds_of_words() {
        let text = "Гель Prosept 500мл 0,5 л 2 шт. DSC-W120/B 023-05 1:10 4680008145208 Зелёный black с";
        let draft = Draft::new(&record(&[("name", text), ("price", "12 45"), ("row", "17")]), 100);
        let kinds: Vec<Kind> = (0..draft.values[0].len()).map(|i| draft.kind((0, i))).collect();
        use Kind::*;
        let expected =
            [Plain, Plain, Number, Number, Unit, Number, Unit, Code, Code, Code, Code, Colour, Colour, Other];
        assert_eq!(kinds, expected);
        assert_eq!((draft.kind((1, 0)), draft.kind((2, 0))), (Other, Other));
        let money = Draft::new(&record(&[("name", "цена 12 руб за $5 л")]), 100);
        assert!((1..5).all(|i| !matches!(money.kind((0, i)), Number | Code)));
    }

    #[test]
    fn negatives_differ_in_what_tells_products_apart() {
        let source =
            record(&[("name", "Краска белая 500 мл, арт. КР-12/5"), ("note", "в банке 500 мл"), ("price", "99.5 x")]);
        let (mut seen, mut renamed) = (HashSet::new(), HashSet::new());
        let names = ["фильтр", "квадрат", "стальной"];
        for (other, spoilt, label) in all(&NEGATIVES, &source) {
            assert!(!label);
            assert_ne!(spoilt, source);
            assert_eq!(spoilt.values[2], source.values[2], "prices stay");
            let of = |r: &Record| -> Vec<String> { r.values.join(" ").split(' ').map(str::to_string).collect() };
            let (new, old) = (of(&spoilt), of(&source));
            assert_eq!(new.len(), old.len());
            let changed: Vec<usize> = (0..new.len()).filter(|&i| new[i] != old[i]).collect();
            if let Some(name) = changed.iter().map(|&i| new[i].to_lowercase()).find(|n| names.contains(&n.as_str())) {
                assert_eq!(changed.len(), 1, "{spoilt:?}");
                renamed.insert(name);
                continue;
            }
            // 500 and мл stand twice and change together
            assert!(matches!(changed[..], [1] | [5] | [2, 8] | [3, 9]), "{spoilt:?}");
            assert_eq!(changed.len() == 2, changed[0] == 2 || changed[0] == 3);
            seen.insert(changed[0]);
            assert!(of(&other).iter().filter(|w| w.to_lowercase().contains("кр12")).count() <= 1);
        }
        assert_eq!((seen.len(), renamed.len()), (4, 3), "number, unit, colour, code and names all come");
        assert!(all(&NEGATIVES, &record(&[("price", "100")])).is_empty());
    }

    #[test]
    fn positives_keep_numbers_colours_and_codes() {
        let name = "Средство универсальное Prosept Universal Spray белое 0,5 л DSC-W120/B professional";
        let source = record(&[("name", name)]);
        let made = all(&POSITIVES, &source);
        assert_eq!(made.len(), 200);
        let mut texts = HashSet::new();
        for (left, right, label) in made {
            assert!(label);
            assert_eq!(left, source);
            let text = right.values[0].clone();
            let plain = text.to_lowercase().replace(['-', '/'], "");
            assert!(plain.contains("dscw120b") && plain.contains("белое"), "{text}");
            let same = ["0,5 л", "0.5 л", "0,5л", "0.5л", "500 мл", "500мл"];
            assert!(same.iter().any(|q| text.contains(q)), "{text}");
            texts.insert(text);
        }
        assert!(texts.len() > 60, "{}", texts.len());
        assert!(texts.iter().any(|t| t.contains("500 мл")) && texts.iter().any(|t| t.contains("prof.")));
        assert!(all(&POSITIVES, &record(&[("name", " ")])).is_empty());
    }

    #[test]
    fn thinned_mismatches_lose_only_what_both_have() {
        let left = record(&[("name", "гель душистый лимон 500 мл для рук"), ("price", "120")]);
        let right = record(&[("name", "гель душистый ромашка 500 мл для рук"), ("price", "130")]);
        let augment = Augment { thin: 1.0, ..Default::default() };
        let mut thinner = 0;
        for seed in 0..100 {
            let (l, r) = thin_pair(&left, &right, false, &mut rng(seed), &augment);
            assert!(l.values[0].contains("лимон") && r.values[0].contains("ромашка"));
            assert!(l.values[0].contains("500 мл") && r.values[0].contains("500 мл"));
            thinner += usize::from(l.values[0].len() < left.values[0].len());
        }
        assert_eq!(thinner, 100);
        let loses = |seed| !thin_pair(&left, &left, true, &mut rng(seed), &augment).0.values[0].contains("лимон");
        assert!((0..100).any(loses));
        let off = Augment { thin: 0.0, ..augment };
        assert_eq!(thin_pair(&left, &right, true, &mut rng(1), &off), (left, right));
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

    #[test]
    fn quantities_and_characters() {
        assert_eq!(quantity("0,5л"), Some(("0,5", "л")));
        assert_eq!(quantity("12"), Some(("12", "")));
        assert_eq!(quantity("1.2.3"), None);
        assert_eq!(quantity("5abc"), None);
        assert_eq!(quantity(",5"), None);
        assert_eq!(written(0.5, "500", "л").as_deref(), Some("0,5"));
        assert_eq!(written(0.5, "500", "l").as_deref(), Some("0.5"));
        assert_eq!(written(1.0 / 3.0, "1", "л"), None);
        assert_eq!((in_case("GB", "tb"), in_case("Белый", "синий")), ("TB".into(), "Синий".into()));
        for seed in 0..200 {
            let new = other_character("5-бZ", &mut rng(seed)).unwrap();
            assert_ne!(new, "5-бZ");
            assert_eq!(new.chars().count(), 4);
            assert!(!new.starts_with('0') && new.contains('-'));
            let number = other_number("0,5л", &mut rng(seed)).unwrap();
            assert!(number.ends_with('л') && number != "0,5л", "{number}");
        }
        assert_eq!(other_character("—", &mut rng(0)), None);
    }
}
