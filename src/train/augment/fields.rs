//! Real pairs that lose a field, or the order of a field's words: `del attr` and `shuffle span` of Li et al. (Ditto, VLDB 2021).
//!
//! There a field goes whatever the label says, and an interpolation with the whole pair softens what that breaks (MixDA). Here the label stays true:
//! what is left of a match still has a word in common with the other side, and a non-match loses no word that tells the two apart unless one of the same
//! weight is left (a number, unit, colour or code weighs more than any other word). Prices tell nothing apart, so they may always go and are never all
//! that is left. Refused: dropping the same field of both sides (serving meets fields that one list lacks).

use std::collections::HashSet;

use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

use super::editable::{EditableRecord, Kind};
use super::words::{core, quantity};
use super::{Augment, share};
use crate::records::Record;
use crate::text::normalize::folded;

/// Words of a span that is exchanged with its neighbour.
const SPAN: usize = 4;

/// A real pair with one field of either side left out; the label stays true to it.
pub fn field_dropout(
    left: &Record,
    right: &Record,
    label: bool,
    rng: &mut impl Rng,
    augment: &Augment,
) -> (Record, Record) {
    either_side(left, right, label, |record, other| {
        if rng.random_bool(share(augment.field_dropout)) { without_field(record, other, label, rng) } else { None }
    })
}

/// A real pair with two neighbouring spans of a field's words exchanged in either side, never between a number and its unit; the label stays true to it.
pub fn span_swap(
    left: &Record,
    right: &Record,
    label: bool,
    rng: &mut impl Rng,
    augment: &Augment,
) -> (Record, Record) {
    either_side(left, right, label, |record, other| {
        if rng.random_bool(share(augment.span_swap)) { with_spans_swapped(record, other, label, rng) } else { None }
    })
}

/// Changes the left side, then the right one. That one is held against the changed left side of a match, with which it must have something in
/// common, and against the whole one of a non-match: what differed at first still does.
fn either_side(
    left: &Record,
    right: &Record,
    label: bool,
    mut change: impl FnMut(&Record, &Record) -> Option<Record>,
) -> (Record, Record) {
    let new_left = change(left, right).unwrap_or_else(|| left.clone());
    let new_right = change(right, if label { &new_left } else { left }).unwrap_or_else(|| right.clone());
    (new_left, new_right)
}

/// What a field's words are worth where two things are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Nothing,
    Word,
    /// A number, unit, colour or code.
    Mark,
}

/// The weight of a field's words that the other side lacks.
fn weight(draft: &EditableRecord, field: usize, known: &HashSet<String>) -> Weight {
    let of = |(at, word): (usize, &String)| {
        let word = folded(core(word));
        match draft.kind((field, at)) {
            _ if word.is_empty() || known.contains(&word) || draft.price[field] => Weight::Nothing,
            Kind::Number | Kind::Unit | Kind::Color | Kind::Code => Weight::Mark,
            Kind::Plain | Kind::Other => Weight::Word,
        }
    };
    draft.values[field].iter().enumerate().map(of).max().unwrap_or(Weight::Nothing)
}

/// The record without one of its fields; none where no field may go.
fn without_field(record: &Record, other: &Record, label: bool, rng: &mut impl Rng) -> Option<Record> {
    let mut draft = EditableRecord::new(record, usize::MAX);
    let known = EditableRecord::new(other, usize::MAX).vocabulary();
    let filled: Vec<usize> = (0..draft.values.len()).filter(|&field| !draft.values[field].is_empty()).collect();
    let is_plain = |&field: &usize| !draft.price[field];
    let in_common = |&field: &usize| {
        let mut words = draft.values[field].iter().map(|word| folded(core(word)));
        words.any(|word| !word.is_empty() && known.contains(&word))
    };
    let free: Vec<usize> = match label {
        true => {
            let common: Vec<usize> = filled.iter().copied().filter(is_plain).filter(in_common).collect();
            filled.into_iter().filter(|gone| common.iter().any(|field| field != gone)).collect()
        }
        false => {
            let weights: Vec<Weight> = (0..draft.values.len()).map(|field| weight(&draft, field, &known)).collect();
            let may_go = |gone: &usize| {
                let rest = filled.iter().filter(|field| *field != gone && is_plain(field));
                rest.map(|field| weights[*field]).max().is_some_and(|left| weights[*gone] <= left)
            };
            filled.iter().copied().filter(may_go).collect()
        }
    };
    let gone = *free.choose(rng)?;
    draft.values[gone].clear();
    Some(draft.into_record(record))
}

/// The record with two neighbouring spans of one field exchanged; none where no field has two. The field of a non-match stays as it is if a field of the
/// other side has the same words: then their order may be all that tells the two apart.
fn with_spans_swapped(record: &Record, other: &Record, label: bool, rng: &mut impl Rng) -> Option<Record> {
    let mut draft = EditableRecord::new(record, usize::MAX);
    let sorted = |words: &[String]| {
        let mut words: Vec<String> = words.iter().map(|word| folded(core(word))).collect();
        words.sort_unstable();
        words
    };
    let fixed: Vec<Vec<String>> = match label {
        true => Vec::new(),
        false => EditableRecord::new(other, usize::MAX).values.iter().map(|words| sorted(words)).collect(),
    };
    // a field, where it may be cut, and which cuts have another one near enough before and after them
    let mut fields: Vec<(usize, Vec<usize>, Vec<usize>)> = Vec::new();
    for (field, words) in draft.values.iter().enumerate() {
        if draft.price[field] || fixed.contains(&sorted(words)) {
            continue;
        }
        let is_whole = |at: usize| quantity(core(&words[at - 1])).is_none_or(|number| !number.1.is_empty());
        let cuts: Vec<usize> = (0..=words.len()).filter(|&at| at == 0 || at == words.len() || is_whole(at)).collect();
        let is_middle = |near: &&[usize]| near[1] - near[0] <= SPAN && near[2] - near[1] <= SPAN;
        let middles: Vec<usize> = cuts.windows(3).filter(is_middle).map(|near| near[1]).collect();
        if !middles.is_empty() {
            fields.push((field, cuts, middles));
        }
    }
    let (field, cuts, middles) = fields.choose(rng)?;
    let middle = *middles.choose(rng)?;
    let starts: Vec<usize> = cuts.iter().copied().filter(|&at| at < middle && middle - at <= SPAN).collect();
    let ends: Vec<usize> = cuts.iter().copied().filter(|&at| at > middle && at - middle <= SPAN).collect();
    let (start, end) = (*starts.choose(rng)?, *ends.choose(rng)?);
    draft.values[*field][start..end].rotate_left(middle - start);
    Some(draft.into_record(record))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{record, rng};
    use super::*;

    const FIELDS: Augment = Augment {
        negatives: 0.0,
        positives: 0.0,
        word_dropout: 0.0,
        field_dropout: 1.0,
        span_swap: 0.0,
        max_words: 24,
    };
    const SPANS: Augment = Augment { field_dropout: 0.0, span_swap: 1.0, ..FIELDS };

    /// The fields that have gone, and no other change.
    fn lost(before: &Record, after: &Record) -> Vec<usize> {
        let changed = (0..before.values.len()).filter(|&i| before.values[i] != after.values[i]);
        changed.inspect(|&i| assert_eq!(after.values[i], "", "{after:?}")).collect()
    }

    #[test]
    fn a_match_loses_a_field_a_side_and_keeps_something_in_common() {
        let left = record(&[("name", "гель густой 500 мл"), ("brand", "Acme"), ("price", "120"), ("note", "")]);
        let right = record(&[("name", "гель"), ("brand", "acme"), ("price", "130"), ("note", "")]);
        let mut seen = HashSet::new();
        for seed in 0..200 {
            let (l, r) = field_dropout(&left, &right, true, &mut rng(seed), &FIELDS);
            let gone = [lost(&left, &l), lost(&right, &r)];
            assert_eq!((gone[0].len(), gone[1].len()), (1, 1), "{l:?} {r:?}");
            let both = |field: usize| !l.values[field].is_empty() && !r.values[field].is_empty();
            assert!(both(0) || both(1), "{l:?} {r:?}");
            seen.extend(gone.concat());
        }
        assert_eq!(seen.len(), 3, "name, brand and price all go: {seen:?}");
        // never the only one, nor all but the price
        let (one, priced) = (record(&[("name", "гель"), ("brand", " ")]), record(&[("name", "гель"), ("price", "5")]));
        for seed in 0..50 {
            let (l, r) = field_dropout(&one, &priced, true, &mut rng(seed), &FIELDS);
            assert_eq!((lost(&priced, &r), l), (vec![1], one.clone()));
        }
    }

    #[test]
    fn a_non_match_keeps_what_tells_it_apart() {
        let left = record(&[("name", "Canon camera for travel"), ("code", "SD1100"), ("brand", "Canon")]);
        let right = record(&[("name", "Canon camera for sport"), ("code", "SD1200"), ("brand", "Canon")]);
        let mut seen = HashSet::new();
        for seed in 0..100 {
            let (l, r) = field_dropout(&left, &right, false, &mut rng(seed), &FIELDS);
            let gone = [lost(&left, &l), lost(&right, &r)];
            assert!(gone.iter().all(|gone| *gone == [0] || *gone == [2]), "{l:?} {r:?}");
            seen.extend(gone.concat());
        }
        assert_eq!(seen.len(), 2, "{seen:?}");
        // a word where there is no more than that
        let left = record(&[("name", "гель для рук"), ("taste", "кислый"), ("price", "5")]);
        let right = record(&[("name", "гель для рук"), ("taste", "сладкий"), ("price", "7")]);
        for seed in 0..100 {
            let (l, r) = field_dropout(&left, &right, false, &mut rng(seed), &FIELDS);
            let gone = [lost(&left, &l), lost(&right, &r)];
            assert!(gone.iter().all(|gone| *gone == [0] || *gone == [2]), "{l:?} {r:?}");
        }
        // nothing but the price differs: the last name stays
        let same = [record(&[("name", "гель"), ("price", "5")]), record(&[("name", "гель"), ("price", "7")])];
        let (l, r) = field_dropout(&same[0], &same[1], false, &mut rng(1), &FIELDS);
        assert_eq!([lost(&same[0], &l), lost(&same[1], &r)], [[1], [1]]);
    }

    #[test]
    fn the_share_of_sides_is_the_one_asked_for() {
        let pair = record(&[("name", "гель густой"), ("brand", "Acme")]);
        let some = Augment { field_dropout: 0.3, span_swap: 0.3, ..FIELDS };
        let (mut fields, mut spans) = (0, 0);
        for seed in 0..1000 {
            let (left, _) = field_dropout(&pair, &pair, true, &mut rng(seed), &some);
            fields += usize::from(left != pair);
            let (left, _) = span_swap(&pair, &pair, true, &mut rng(seed), &some);
            spans += usize::from(left != pair);
        }
        assert!((230..370).contains(&fields) && (230..370).contains(&spans), "{fields} {spans}");
        let off = Augment::default();
        assert_eq!(field_dropout(&pair, &pair, true, &mut rng(1), &off), (pair.clone(), pair.clone()));
        assert_eq!(span_swap(&pair, &pair, true, &mut rng(1), &off), (pair.clone(), pair.clone()));
    }

    #[test]
    fn two_neighbouring_spans_are_exchanged_and_every_word_stays() {
        let letters: Vec<String> = ('a'..='z').map(String::from).collect();
        let text = letters.join(" ");
        let long = record(&[("name", text.as_str()), ("price", "1 200")]);
        let short = record(&[("name", "Гель Лимон 500 мл густой"), ("price", "1 200")]);
        let (mut lengths, mut texts) = (HashSet::new(), HashSet::new());
        for seed in 0..300 {
            let (l, r) = span_swap(&long, &short, true, &mut rng(seed), &SPANS);
            assert_eq!([&l.values[1], &r.values[1]], ["1 200", "1 200"]);
            let words: Vec<&str> = l.values[0].split(' ').collect();
            let moved: Vec<usize> = (0..26).filter(|&i| words[i] != letters[i]).collect();
            let (start, end) = (moved[0], moved[moved.len() - 1] + 1);
            let second = (start..end).find(|&i| words[i] == letters[start]).unwrap() - start;
            let first = end - start - second;
            assert!((1..=SPAN).contains(&first) && (1..=SPAN).contains(&second), "{words:?}");
            let mut back = words.clone();
            back[start..end].rotate_left(second);
            assert_eq!(back, letters);
            lengths.insert((first, second));
            assert!(r.values[0].contains("500 мл"), "a number keeps its unit: {r:?}");
            texts.insert(r.values[0].clone());
        }
        assert!(lengths.len() > 12, "{lengths:?}");
        assert!(texts.len() > 6 && !texts.contains("Гель Лимон 500 мл густой"), "{texts:?}");
    }

    #[test]
    fn what_differs_in_order_alone_keeps_it() {
        let one = record(&[("name", "adapter hdmi dvi"), ("note", "white")]);
        let two = record(&[("name", "adapter dvi hdmi"), ("note", "black")]);
        for seed in 0..50 {
            assert_eq!(span_swap(&one, &two, false, &mut rng(seed), &SPANS), (one.clone(), two.clone()));
            let (l, r) = span_swap(&one, &two, true, &mut rng(seed), &SPANS);
            assert!(l != one && r != two);
        }
    }
}
