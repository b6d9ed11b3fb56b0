//! A pair of records as numbers: how alike its texts, codes and numbers are, and what rankers say of it.
//!
//! What is not known is NaN, which trees send their own way: a price that one record lacks is neither far nor near. A feature looks at its pair alone (rare
//! words are counted once, when the booster is trained), so it is the same in any company.

use std::collections::BTreeSet;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::words::WordStats;
use crate::index::analyse::{trigrams, words};
use crate::records::Record;
use crate::text::normalize::collapsed;
use crate::text::{number, relation_counts, vector};

/// Characters of a value that edit distances look at: their time is the square of it.
const COMPARED: usize = 200;
/// Share of a field's values that must be numbers for the field to be one.
const NUMBERS: f64 = 0.9;

/// What a field's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Words.
    Text,
    /// Numbers, prices among them.
    Number,
    /// Ready vectors, such as those of pictures.
    Vector,
}

/// A field that both records have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its column.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
}

/// Which features a pair has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Features {
    /// Fields that are compared.
    pub fields: Vec<Field>,
    /// Names of the rankers whose scores are features.
    pub rankers: Vec<String>,
    /// How rare words are.
    #[serde(skip)]
    pub stats: WordStats,
}

/// Features of a whole record's text.
const WHOLE: [&str; 8] = [
    "bm25",
    "bm25_share",
    "words.shared_left",
    "words.shared_right",
    "words.codes",
    "words.variants",
    "words.differing",
    "words.length_ratio",
];
/// Features of a field of words.
const OF_TEXT: [&str; 8] =
    ["missing", "equal", "levenshtein", "jaro_winkler", "words_jaccard", "trigrams_jaccard", "codes", "differing"];
/// Features of a field of numbers.
const OF_NUMBER: [&str; 5] = ["missing", "equal", "ratio", "left", "right"];
/// Features of a field of ready vectors.
const OF_VECTOR: [&str; 2] = ["missing", "cosine"];
/// A field is one of ready vectors if all of its values are lists of so many numbers or more, of one length.
const NARROWEST: usize = 4;

impl Features {
    /// What some pairs of records have in common: the fields that both sides have, or those that are named; words are counted in the right records.
    pub fn of(pairs: &[(&Record, &Record)], named: &[String], rankers: Vec<String>) -> Self {
        let mut names: Vec<String> = named.to_vec();
        if names.is_empty() {
            let of = |side: usize| -> BTreeSet<&String> {
                let records = pairs.iter().map(|pair| if side == 0 { pair.0 } else { pair.1 });
                records.flat_map(|record| record.columns.iter()).collect()
            };
            let right = of(1);
            for name in pairs.iter().flat_map(|(left, _)| left.columns.iter()) {
                if right.contains(name) && !names.contains(name) {
                    names.push(name.clone());
                }
            }
        }
        let kind = |name: &str| {
            let values = pairs.iter().flat_map(|(left, right)| [left.get(name), right.get(name)]);
            let filled = values.clone().flatten().filter(|value| !value.trim().is_empty());
            let mut widths = filled.map(|value| vector(value).map_or(0, |values| values.len()));
            if let Some(width) = widths.next().filter(|width| *width >= NARROWEST)
                && widths.all(|other| other == width)
            {
                return Kind::Vector;
            }
            let (mut all, mut numbers) = (0.0, 0.0);
            for value in values.flatten().filter(|value| !value.trim().is_empty()) {
                (all, numbers) = (all + 1.0, numbers + f64::from(u8::from(number(value).is_some())));
            }
            if all > 0.0 && numbers >= NUMBERS * all { Kind::Number } else { Kind::Text }
        };
        let fields: Vec<Field> = names.into_iter().map(|name| Field { kind: kind(&name), name }).collect();
        let mut features = Features { fields, rankers, stats: WordStats::default() };
        let mut seen = BTreeSet::new();
        let texts: Vec<String> =
            pairs.iter().map(|(_, right)| features.text(right)).filter(|text| seen.insert(text.clone())).collect();
        features.stats = WordStats::of(texts.iter().map(String::as_str));
        features
    }

    /// Their names, in order.
    pub fn names(&self) -> Vec<String> {
        let scores = self.rankers.iter().map(|name| format!("score.{name}"));
        let of_field = |field: &Field| {
            let parts = match field.kind {
                Kind::Text => &OF_TEXT[..],
                Kind::Number => &OF_NUMBER[..],
                Kind::Vector => &OF_VECTOR[..],
            };
            let name = field.name.clone();
            parts.iter().map(move |part| format!("{name}.{part}"))
        };
        scores.chain(WHOLE.map(String::from)).chain(self.fields.iter().flat_map(of_field)).collect()
    }

    /// The words of all fields that are not numbers.
    fn text(&self, record: &Record) -> String {
        let texts = self.fields.iter().filter(|field| field.kind == Kind::Text);
        texts.filter_map(|field| record.get(&field.name)).collect::<Vec<_>>().join(" ")
    }

    /// Rows `[pairs, features]`, given the rankers' scores `[rankers][pairs]`.
    pub fn rows(&self, pairs: &[(&Record, &Record)], scores: &[Vec<f32>]) -> Vec<f32> {
        let row = |(at, pair): (usize, &(&Record, &Record))| {
            let mut row: Vec<f32> = scores.iter().map(|scores| scores[at]).collect();
            self.push(&mut row, pair.0, pair.1);
            row
        };
        pairs.par_iter().enumerate().flat_map_iter(row).collect()
    }

    fn push(&self, row: &mut Vec<f32>, left: &Record, right: &Record) {
        let texts = [left, right].map(|record| self.text(record));
        let [of_left, of_right] = texts.each_ref().map(|text| words(text));
        let (own, own_most) = (self.stats.bm25(&of_left, &of_right), self.stats.bm25(&of_left, &of_left));
        let [a, b] = relation_counts(&texts[0], &texts[1]);
        let share = |part: usize, all: usize| if all == 0 { f32::NAN } else { part as f32 / all as f32 };
        row.extend([
            own as f32,
            if own_most > 0.0 { (own / own_most) as f32 } else { f32::NAN },
            share(a.shared, a.words),
            share(b.shared, b.words),
            a.codes.max(b.codes) as f32,
            (a.variants + b.variants) as f32,
            (a.differing + b.differing) as f32,
            share(a.words.min(b.words), a.words.max(b.words)),
        ]);
        for field in &self.fields {
            let [l, r] = [left, right].map(|record| record.get(&field.name).unwrap_or_default().trim());
            match field.kind {
                Kind::Text => text_features(row, l, r),
                Kind::Number => number_features(row, l, r),
                Kind::Vector => row.extend(vector_features([l, r])),
            }
        }
    }
}

fn missing(left: bool, right: bool) -> f32 {
    f32::from(u8::from(left) + u8::from(right))
}

fn text_features(row: &mut Vec<f32>, left: &str, right: &str) {
    row.push(missing(left.is_empty(), right.is_empty()));
    if left.is_empty() || right.is_empty() {
        row.extend([f32::NAN; OF_TEXT.len() - 1]);
        return;
    }
    let [l, r] = [left, right].map(|text| collapsed(text).chars().take(COMPARED).collect::<String>());
    let [a, b] = relation_counts(left, right);
    row.extend([
        f32::from(u8::from(l == r)),
        strsim::normalized_levenshtein(&l, &r) as f32,
        strsim::jaro_winkler(&l, &r) as f32,
        jaccard(words(left), words(right)),
        jaccard(trigrams(left), trigrams(right)),
        a.codes.max(b.codes) as f32,
        (a.differing + b.differing) as f32,
    ]);
}

fn number_features(row: &mut Vec<f32>, left: &str, right: &str) {
    let [l, r] = [left, right].map(number);
    row.push(missing(l.is_none(), r.is_none()));
    match (l, r) {
        (Some(l), Some(r)) => {
            let ratio = if l == r { 1.0 } else { l.abs().min(r.abs()) / l.abs().max(r.abs()) * (l * r).signum() };
            row.extend([f32::from(u8::from(l == r)), ratio as f32]);
        }
        _ => row.extend([f32::NAN; 2]),
    }
    // a number past the largest f32 is no price: not known
    row.extend([l, r].map(|x| x.map_or(f32::NAN, |x| x as f32)).map(|x| if x.is_finite() { x } else { f32::NAN }));
}

/// How many of two vectors are missing, and their cosine; not known where one is missing or of another length.
fn vector_features(pair: [&str; 2]) -> [f32; OF_VECTOR.len()] {
    let [l, r] = pair.map(|value| vector(value).unwrap_or_default());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let (own, length) = (dot(&l, &r), (dot(&l, &l) * dot(&r, &r)).sqrt());
    let known = l.len() == r.len() && length > 0.0;
    [missing(l.is_empty(), r.is_empty()), if known { (own / length) as f32 } else { f32::NAN }]
}

/// What two sets share of what either has; NaN where both are empty.
fn jaccard(left: Vec<String>, right: Vec<String>) -> f32 {
    let [left, right] = [left, right].map(BTreeSet::from_iter);
    let both = left.intersection(&right).count();
    match left.len() + right.len() - both {
        0 => f32::NAN,
        all => both as f32 / all as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, price: &str) -> Record {
        let columns = ["name", "price"].map(String::from).into();
        Record { id: "1".into(), columns, values: vec![name.into(), price.into()] }
    }

    #[test]
    fn a_field_of_numbers_is_found_and_rows_are_as_wide_as_their_names() {
        let records = [record("Sony lamp DSC-W120", "12.50"), record("sony lamp dscw120", "$13"), record("chair", "")];
        let pairs = [(&records[0], &records[1]), (&records[0], &records[2]), (&records[2], &records[2])];
        let features = Features::of(&pairs, &[], vec!["matcher".into()]);
        assert_eq!(features.fields.iter().map(|f| f.kind).collect::<Vec<_>>(), [Kind::Text, Kind::Number]);
        let names = features.names();
        let rows = features.rows(&pairs, &[vec![1.0, 2.0, 3.0]]);
        assert_eq!(rows.len(), 3 * names.len());
        let value = |row: usize, name: &str| rows[row * names.len() + names.iter().position(|n| n == name).unwrap()];
        assert_eq!(value(1, "score.matcher"), 2.0);
        assert!(value(0, "name.codes") >= 1.0 && value(1, "name.codes") == 0.0);
        assert!((value(0, "price.ratio") - 12.5 / 13.0).abs() < 1e-6);
        assert!(value(1, "price.ratio").is_nan() && value(1, "price.missing") == 1.0);
        assert_eq!((value(2, "name.equal"), value(2, "name.levenshtein"), value(2, "bm25_share")), (1.0, 1.0, 1.0));
        let alone = features.rows(&pairs[1..2], &[vec![2.0]]);
        let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&alone), bits(&rows[names.len()..2 * names.len()]), "a pair's features depend on its company");
    }

    #[test]
    fn a_field_of_vectors_is_found_and_compared_by_its_cosine() {
        let columns: std::sync::Arc<[String]> = ["name", "picture"].map(String::from).into();
        let record = |picture: &str| Record {
            id: "1".into(),
            columns: columns.clone(),
            values: vec!["lamp".into(), picture.into()],
        };
        let records = [record("3 0 0 4"), record("[0, 1.0, 0, 1]"), record("")];
        let pairs = [(&records[0], &records[1]), (&records[0], &records[2])];
        let features = Features::of(&pairs, &[], Vec::new());
        assert_eq!(features.fields[1].kind, Kind::Vector);
        let names = features.names();
        let rows = features.rows(&pairs, &[]);
        let at = names.iter().position(|n| n == "picture.cosine").unwrap();
        assert!((rows[at] - 4.0 / (5.0 * 2f32.sqrt())).abs() < 1e-6, "{rows:?}");
        let second = &rows[names.len()..];
        assert!(second[at].is_nan() && second[at - 1] == 1.0, "{second:?}");
        // vectors are no words, and lists of different lengths are none
        assert_eq!(features.text(&records[0]), "lamp");
        let uneven = [record("1 2 3 4"), record("1 2 3 4 5")];
        let features = Features::of(&[(&uneven[0], &uneven[1])], &[], Vec::new());
        assert_ne!(features.fields[1].kind, Kind::Vector);
    }

    #[test]
    fn empty_records_have_features_that_are_not_known_and_none_infinite() {
        let empty = record("", "1e300");
        let features = Features::of(&[(&empty, &empty)], &[], Vec::new());
        let rows = features.rows(&[(&empty, &empty)], &[]);
        assert!(rows.iter().all(|x| !x.is_infinite()), "{rows:?}");
        assert!(rows.iter().any(|x| x.is_nan()));
    }
}
