//! A record as words of a kind each, and what can be done to them.

use std::collections::HashSet;

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, RngExt};

use super::fillers::marketing_phrases;
use super::words::{amount, core, in_case, language, other_character, other_number, quantity, set_core, written};
use crate::records::Record;
use crate::text::is_price_field;
use crate::text::lexicon::{any_unit, other_colors, other_units, unit as comparable_unit};
use crate::text::normalize::folded;

/// A record as words that can be changed.
pub(super) struct EditableRecord {
    /// The words of each value.
    pub(super) values: Vec<Vec<String>>,
    /// Fields whose name says price.
    pub(super) price: Vec<bool>,
    /// How many words of the record may be changed.
    words: usize,
}

/// The number that a word begins with.
fn amount_of(word: &str) -> Option<f64> {
    quantity(word).and_then(|(number, _)| amount(number)).filter(|n| *n > 0.0)
}

/// Place of a word: value and index in it.
pub(super) type At = (usize, usize);

/// What a word distinguishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    Unit,
    Color,
    Code,
    Plain,
    Other,
}

impl EditableRecord {
    pub(super) fn new(record: &Record, words: usize) -> Self {
        let values = record.values.iter().map(|v| v.split_whitespace().map(str::to_string).collect()).collect();
        EditableRecord { values, price: record.columns.iter().map(|c| is_price_field(c)).collect(), words }
    }

    pub(super) fn into_record(self, like: &Record) -> Record {
        let values = self.values.iter().map(|words| words.join(" ")).collect();
        Record { id: like.id.clone(), columns: like.columns.clone(), values }
    }

    pub(super) fn len(&self) -> usize {
        self.values.iter().map(Vec::len).sum()
    }

    fn word(&self, at: At) -> &str {
        &self.values[at.0][at.1]
    }

    /// The words as [`folded`].
    pub(super) fn vocabulary(&self) -> HashSet<String> {
        self.values.iter().flatten().map(|w| folded(core(w))).collect()
    }

    /// Places of the given kind among the words that may be changed.
    fn places(&self, kind: Kind) -> Vec<At> {
        let all = self.values.iter().enumerate().flat_map(|(v, words)| (0..words.len()).map(move |w| (v, w)));
        all.take(self.words).filter(|&at| self.kind(at) == kind).collect()
    }

    /// What the word at a place distinguishes.
    pub(super) fn kind(&self, (value, index): At) -> Kind {
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
        if after_number && any_unit(&word).is_some() {
            return Kind::Unit;
        }
        if !other_colors(&word).is_empty() {
            return Kind::Color;
        }
        match word.chars().all(char::is_alphabetic) && word.chars().count() >= 2 {
            true => Kind::Plain,
            false => Kind::Other,
        }
    }

    /// Article codes: letters with digits, or many digits.
    fn codes(&self) -> Vec<At> {
        let mut places = self.places(Kind::Code);
        places.retain(|&at| {
            let letters = self.word(at).chars().filter(|c| c.is_alphabetic()).count();
            let digits = self.word(at).chars().filter(|c| c.is_ascii_digit()).count();
            digits >= 8 || (letters > 0 && digits > 0 && letters + digits >= 4)
        });
        places
    }

    /// Whether an article code says which product it is.
    pub(super) fn has_article_code(&self) -> bool {
        !self.codes().is_empty()
    }

    /// Makes another product of it; false where nothing distinguishes products. A product with an article code gets another code,
    /// since two with one code are the same whatever their shops say of them.
    pub(super) fn corrupt(&mut self, rng: &mut impl Rng) -> bool {
        let codes = self.codes();
        let kinds = match codes.is_empty() {
            true => [Kind::Number, Kind::Unit, Kind::Color, Kind::Code].map(|kind| self.places(kind)).to_vec(),
            false => vec![codes],
        };
        let mut present: Vec<&Vec<At>> = kinds.iter().filter(|places| !places.is_empty()).collect();
        while !present.is_empty() {
            let places = present.swap_remove(rng.random_range(0..present.len()));
            let at = places[rng.random_range(0..places.len())];
            let old = core(self.word(at)).to_string();
            let kind = self.kind(at);
            let new = match kind {
                Kind::Number => other_number(&old, rng),
                Kind::Unit => other_units(&folded(&old)).choose(rng).map(|u| in_case(&old, u.0)),
                Kind::Color => other_colors(&folded(&old)).choose(rng).map(|c| in_case(&old, c)),
                _ => other_character(&old, rng),
            };
            if let Some(new) = new {
                if kind == Kind::Number
                    && let Some((before, after)) = amount_of(&old).zip(amount_of(&new))
                {
                    self.scale_price((after / before).powf(0.8).clamp(0.1, 10.0));
                }
                self.replace_all(kind, &old, &new);
                return true;
            }
        }
        false
    }

    /// The same word elsewhere in the record changes too, or the record would contradict itself.
    fn replace_all(&mut self, kind: Kind, old: &str, new: &str) {
        // a code may stand with and without its dashes
        let bare = |word: &str| match kind {
            Kind::Code => folded(word).replace(['-', '/'], ""),
            _ => folded(word),
        };
        let wanted = bare(old);
        let all = self.values.iter().enumerate().flat_map(|(v, words)| (0..words.len()).map(move |w| (v, w)));
        let places: Vec<At> = all.filter(|&at| bare(core(self.word(at))) == wanted && self.kind(at) == kind).collect();
        for (value, word) in places {
            set_core(&mut self.values[value][word], new);
        }
    }

    /// Drops a plain word that is allowed to go; the last word of a value stays.
    pub(super) fn drop_word(&mut self, rng: &mut impl Rng, allowed: &dyn Fn(&str) -> bool) {
        let mut places = self.places(Kind::Plain);
        places.retain(|&at| self.values[at.0].len() > 1 && allowed(&folded(core(self.word(at)))));
        if let Some(&(value, word)) = places.choose(rng) {
            self.values[value].remove(word);
        }
    }

    /// Takes a plain word of another record in place of its own: half of the time one of the first, where brands stand.
    pub(super) fn rename(&mut self, other: &Record, rng: &mut impl Rng) -> bool {
        let first = if rng.random_range(0..2) == 0 { 6 } else { usize::MAX };
        let names = |draft: &EditableRecord| -> Vec<String> {
            let mut places = draft.places(Kind::Plain);
            places.retain(|&at| at.1 < first && core(draft.word(at)).chars().count() >= 4);
            places.into_iter().map(|at| core(draft.word(at)).to_string()).collect()
        };
        let known = self.vocabulary();
        let mut strange = names(&EditableRecord::new(other, self.words));
        strange.retain(|word| !known.contains(&folded(word)));
        let own = names(self);
        let (Some(old), Some(new)) = (own.choose(rng), strange.choose(rng)) else { return false };
        self.replace_all(Kind::Plain, old, &in_case(old, new));
        true
    }

    /// Cuts a value into two to four pieces and puts them in another order: `Гель Лимон 500 мл` to `500 мл Гель Лимон`.
    pub(super) fn shuffle(&mut self, rng: &mut impl Rng) {
        let long: Vec<usize> = (0..self.values.len()).filter(|&v| self.values[v].len() >= 4).collect();
        let Some(&value) = long.choose(rng) else { return };
        let words = std::mem::take(&mut self.values[value]);
        // not between a number and its unit
        let apart = |w: &usize| quantity(core(&words[*w - 1])).is_none_or(|q| !q.1.is_empty());
        let mut cuts: Vec<usize> = (1..words.len()).filter(apart).collect();
        let count = 1 + rng.random_range(0..3);
        while cuts.len() > count {
            cuts.remove(rng.random_range(0..cuts.len()));
        }
        let starts = std::iter::once(0).chain(cuts.iter().copied());
        let ends = cuts.iter().copied().chain([words.len()]);
        let mut pieces: Vec<&[String]> = starts.zip(ends).map(|(start, end)| &words[start..end]).collect();
        pieces.shuffle(rng);
        self.values[value] = pieces.concat();
    }

    /// Writes a plain word in capitals, or the whole record without any.
    pub(super) fn change_case(&mut self, rng: &mut impl Rng) {
        if rng.random_range(0..4) == 0 {
            self.values.iter_mut().flatten().filter(|w| !w.contains("://")).for_each(|w| *w = w.to_lowercase());
        } else if let Some(&(value, word)) = self.places(Kind::Plain).choose(rng) {
            self.values[value][word] = self.values[value][word].to_uppercase();
        }
    }

    /// Another shop's price, from a fifth less to a quarter more.
    pub(super) fn jitter_price(&mut self, rng: &mut impl Rng) {
        self.scale_price((80 + rng.random_range(0..46)) as f64 / 100.0);
    }

    fn scale_price(&mut self, factor: f64) {
        for (words, _) in self.values.iter_mut().zip(&self.price).filter(|(_, price)| **price) {
            let Some(word) = words.iter_mut().find(|w| amount(core(w)).is_some()) else { continue };
            let old = core(word).to_string();
            let decimals = old.rfind(['.', ',']).map_or(0, |at| old.len() - at - 1);
            let new = format!("{:.decimals$}", amount(&old).unwrap_or_default() * factor);
            set_core(word, &if old.contains(',') { new.replace('.', ",") } else { new });
        }
    }

    /// Adds words that do not tell products apart: praise, or one or two plain words of another record, past its first.
    pub(super) fn insert_filler(&mut self, other: &Record, rng: &mut impl Rng) {
        const FIRST: usize = 3;
        let text = self.values.concat().concat();
        let strange = EditableRecord::new(other, self.words);
        let mut plain = strange.places(Kind::Plain);
        plain.retain(|at| at.1 >= FIRST);
        let words: Vec<String> = match plain.choose(rng) {
            Some(&at) if rng.random_range(0..2) == 0 => {
                let next = Some((at.0, at.1 + 1)).filter(|next| plain.contains(next) && rng.random_range(0..2) == 0);
                std::iter::once(at).chain(next).map(|at| core(strange.word(at)).to_lowercase()).collect()
            }
            _ => marketing_phrases(language(&text))
                .choose(rng)
                .map(|p| p.split(' ').map(str::to_string).collect())
                .unwrap_or_default(),
        };
        self.insert(words, rng);
    }

    /// Puts words somewhere into a value of three words or more, not between a number and its unit; false where there is none.
    pub(super) fn insert(&mut self, words: Vec<String>, rng: &mut impl Rng) -> bool {
        let long: Vec<usize> = (0..self.values.len()).filter(|&v| self.values[v].len() >= 3).collect();
        let Some(&value) = long.choose(rng) else { return false };
        let at = rng.random_range(0..self.values[value].len() + 1);
        let inside = at > 0 && quantity(core(&self.values[value][at - 1])).is_some();
        let at = if inside { self.values[value].len() } else { at };
        self.values[value].splice(at..at, words);
        true
    }

    pub(super) fn drop_price(&mut self) {
        for (words, _) in self.values.iter_mut().zip(&self.price).filter(|(_, price)| **price) {
            words.clear();
        }
    }

    pub(super) fn exchange_words(&mut self, rng: &mut impl Rng) {
        let plain = self.places(Kind::Plain);
        let pairs: Vec<At> = plain.iter().copied().filter(|&(v, w)| plain.contains(&(v, w + 1))).collect();
        if let Some(&(value, word)) = pairs.choose(rng) {
            self.values[value].swap(word, word + 1);
        }
    }

    /// `универсальное` to `универс.`, `черный` to `черн.`, `средство` to `ср-во`, `black` to `blk`.
    pub(super) fn abbreviate(&mut self, rng: &mut impl Rng) {
        let (plain, colors) = (self.places(Kind::Plain), self.places(Kind::Color));
        // a word with a mark may be short for something already
        let letters = |at: At| core(self.word(at)).chars().count() * usize::from(core(self.word(at)) == self.word(at));
        let fits = |at: &At| letters(*at) >= if self.kind(*at) == Kind::Color { 5 } else { 7 };
        let places: Vec<At> = plain.into_iter().chain(colors).filter(fits).collect();
        let Some(&at) = places.choose(rng) else { return };
        let old: Vec<char> = core(self.word(at)).chars().collect();
        let vowel = |c: &char| c.to_lowercase().any(|c| "аеёиоуыэюяьъaeiouy".contains(c));
        let begun = |letters: usize| {
            let mut short = old[..letters.min(old.len())].to_vec();
            while short.len() > 3 && short.last().is_some_and(vowel) {
                short.pop();
            }
            short.into_iter().chain(['.']).collect::<String>()
        };
        let short = match rng.random_range(0..4) {
            0 if old[0].is_ascii() => {
                let mut squeezed: Vec<char> = old[1..].iter().copied().filter(|c| !vowel(c)).collect();
                while squeezed.len() > 3 {
                    squeezed.remove(rng.random_range(0..squeezed.len()));
                }
                std::iter::once(old[0]).chain(squeezed).collect()
            }
            0 if old.len() >= 7 => {
                let (begin, end) = (&old[..2], &old[old.len() - 2..]);
                begin.iter().chain(&['-']).chain(end).collect()
            }
            _ if self.kind(at) == Kind::Color => begun(3 + rng.random_range(0..3)),
            _ => begun(4 + rng.random_range(0..4)),
        };
        set_core(&mut self.values[at.0][at.1], &short);
    }

    /// The same quantity written otherwise: unit apart or attached, decimal comma or point, the next unit of its family.
    pub(super) fn rewrite_quantity(&mut self, rng: &mut impl Rng) {
        let Some(&(value, index)) = self.places(Kind::Number).choose(rng) else { return };
        let words = &mut self.values[value];
        let word = core(&words[index]).to_string();
        let Some((number, unit)) = quantity(&word).map(|(n, u)| (n.to_string(), u.to_string())) else { return };
        let attached = !unit.is_empty();
        let next = words.get(index + 1).map(|w| core(w).to_string()).filter(|_| words[index].ends_with(&word));
        let unit = if attached { Some(unit) } else { next.filter(|n| any_unit(&folded(n)).is_some()) };
        match (unit, rng.random_range(0..3)) {
            (Some(unit), 0) if attached => {
                set_core(&mut words[index], &format!("{number} {unit}"));
            }
            (Some(unit), 0) => {
                let tail = words.remove(index + 1).replacen(&unit, "", 1);
                words[index].push_str(&unit);
                words[index].push_str(&tail);
            }
            (Some(unit), 1) => {
                let own = folded(&unit);
                // only what marks compare may be exchanged: another amount of the rest is another product for them
                let Some(size) = comparable_unit(&own).map(|unit| unit.size) else { return };
                let mut units = other_units(&own);
                units.retain(|other| !other.1.augment_only);
                let Some(&(other, to)) = units.choose(rng) else { return };
                let converted = amount(&number).and_then(|a| written(a * size / to.size, &number, other));
                let Some(converted) = converted else { return };
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
    pub(super) fn rewrite_code(&mut self, rng: &mut impl Rng) {
        let mut places = self.places(Kind::Code);
        // digits alone need their separators: 1:10 is not 110
        places.retain(|&at| self.word(at).contains(char::is_alphabetic));
        if let Some(&(value, word)) = places.choose(rng) {
            let old = core(&self.values[value][word]).to_string();
            let new = match rng.random_range(0..2) {
                0 => old.replace(['-', '/'], ""),
                _ if old.contains(char::is_uppercase) => old.to_lowercase(),
                _ => old.to_uppercase(),
            };
            set_core(&mut self.values[value][word], &new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{record, rng};
    use super::*;

    fn words(record: &Record) -> Vec<String> {
        record.values.join(" ").split(' ').map(str::to_string).collect()
    }

    #[test]
    fn kinds_of_words() {
        let text = "Гель Prosept 500мл 0,5 л 2 шт. DSC-W120/B 023-05 1:10 4680008145208 Зелёный black с";
        let draft = EditableRecord::new(&record(&[("name", text), ("price", "12 45"), ("row", "17")]), 100);
        let kinds: Vec<Kind> = (0..draft.values[0].len()).map(|i| draft.kind((0, i))).collect();
        use Kind::*;
        let expected = [Plain, Plain, Number, Number, Unit, Number, Unit, Code, Code, Code, Code, Color, Color, Other];
        assert_eq!(kinds, expected);
        assert_eq!((draft.kind((1, 0)), draft.kind((2, 0))), (Other, Other));
        let money = EditableRecord::new(&record(&[("name", "цена 12 руб за $5 л")]), 100);
        assert!((1..5).all(|i| !matches!(money.kind((0, i)), Number | Code)));
    }

    #[test]
    fn what_is_spoilt_tells_products_apart() {
        let source =
            record(&[("name", "Краска белая 500 мл, арт. 12-05/5"), ("note", "в банке 500 мл"), ("price", "99.5 x")]);
        let mut seen = HashSet::new();
        for seed in 0..200 {
            let mut draft = EditableRecord::new(&source, 24);
            assert!(draft.corrupt(&mut rng(seed)));
            let spoilt = draft.into_record(&source);
            let (new, old) = (words(&spoilt), words(&source));
            assert_eq!(new.len(), old.len());
            let changed: Vec<usize> = (0..new.len()).filter(|&i| new[i] != old[i]).collect();
            // 500 and мл stand twice and change together; a price follows its amount
            assert!(matches!(changed[..], [1] | [5] | [2, 8, 10] | [3, 9]), "{spoilt:?}");
            if let [2, ..] = changed[..] {
                let more = |new: &str, old: f64| amount(new).unwrap() > old;
                assert_eq!(more(&new[2], 500.0), more(&new[10], 99.5), "{spoilt:?}");
            }
            seen.insert(changed[0]);
        }
        assert_eq!(seen.len(), 4, "number, unit, color and code all come");
        assert!(!EditableRecord::new(&record(&[("price", "100")]), 24).corrupt(&mut rng(1)));
        // where there is an article code, it is what changes, in all its forms
        let source = record(&[("name", "Краска белая КР-125/Б 500 мл"), ("note", "кр125б в банке")]);
        for seed in 0..50 {
            let mut draft = EditableRecord::new(&source, 24);
            assert!(draft.corrupt(&mut rng(seed)));
            let (new, old) = (words(&draft.into_record(&source)), words(&source));
            assert_eq!((0..new.len()).filter(|&i| new[i] != old[i]).collect::<Vec<_>>(), [2, 5], "{new:?}");
        }
    }

    #[test]
    fn a_name_comes_from_another_record() {
        let (source, other) = (record(&[("name", "Краска белая 500 мл")]), record(&[("name", "Фильтр Краска 2 шт")]));
        for seed in 0..20 {
            let mut draft = EditableRecord::new(&source, 24);
            assert!(draft.rename(&other, &mut rng(seed)));
            assert_eq!(draft.into_record(&source).values[0], "Фильтр белая 500 мл");
        }
        assert!(!EditableRecord::new(&source, 24).rename(&source, &mut rng(1)));
    }

    #[test]
    fn the_same_in_other_words() {
        let one = |text: &str, change: &dyn Fn(&mut EditableRecord, &mut rand_chacha::ChaCha8Rng)| -> HashSet<String> {
            let source = record(&[("name", text), ("price", "100")]);
            let changed = (0..200).map(|seed| {
                let mut draft = EditableRecord::new(&source, 24);
                change(&mut draft, &mut rng(seed));
                draft.into_record(&source).values.remove(0)
            });
            changed.collect()
        };
        let shuffled = one("Гель Лимон 500 мл густой", &|d, r| d.shuffle(r));
        assert!(shuffled.len() > 8, "{shuffled:?}");
        let sorted = |text: &str| -> Vec<String> {
            let mut words: Vec<String> = text.split(' ').map(str::to_string).collect();
            words.sort();
            words
        };
        for text in &shuffled {
            assert!(text.contains("500 мл"), "a number keeps its unit: {text}");
            assert_eq!(sorted(text), sorted("Гель Лимон 500 мл густой"));
        }
        let short = one("черный", &|d, r| d.abbreviate(r));
        assert_eq!(short, HashSet::from(["чер.", "черн."].map(str::to_string)));
        let short = one("black", &|d, r| d.abbreviate(r));
        assert!(short.contains("blck") && short.contains("bla."), "{short:?}");
        assert!(one("Средство", &|d, r| d.abbreviate(r)).contains("Ср-во"));
        let loud = one("Гель Лимон", &|d, r| d.change_case(r));
        assert_eq!(loud, HashSet::from(["ГЕЛЬ Лимон", "Гель ЛИМОН", "гель лимон"].map(str::to_string)));
    }

    #[test]
    fn prices_move_by_a_quarter_at_most() {
        for (price, least, most) in
            [("100", 80.0, 125.0), ("1 200", 0.0, 2.0), ("10,50", 8.4, 13.13), ("нет", 0.0, 0.0)]
        {
            let source = record(&[("name", "Гель 100"), ("price", price)]);
            for seed in 0..50 {
                let mut draft = EditableRecord::new(&source, 24);
                draft.jitter_price(&mut rng(seed));
                let new = draft.into_record(&source);
                assert_eq!(new.values[0], "Гель 100");
                match amount(new.values[1].split(' ').next().unwrap()) {
                    Some(new) => assert!((least..=most).contains(&new), "{price}: {new}"),
                    None => assert_eq!(new.values[1], price),
                }
            }
        }
    }

    #[test]
    fn advertising_adds_and_takes_nothing_away() {
        let (source, other) = (record(&[("name", "Гель Лимон 500 мл")]), record(&[("name", "a b c Strong Foam 3 kg")]));
        let mut added = HashSet::new();
        for seed in 0..200 {
            let mut draft = EditableRecord::new(&source, 24);
            draft.insert_filler(&other, &mut rng(seed));
            let text = draft.into_record(&source).values.remove(0);
            assert!(text.contains("500 мл"), "{text}");
            let mut rest: Vec<&str> = text.split(' ').collect();
            for word in source.values[0].split(' ') {
                rest.remove(rest.iter().position(|w| *w == word).expect("nothing goes"));
            }
            added.insert(rest.join(" "));
        }
        assert!(added.len() > 20 && added.contains("strong foam") && added.contains("foam"), "{added:?}");
    }
}
