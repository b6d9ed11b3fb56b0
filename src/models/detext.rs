//! DeText: texts through two towers, joined with numbers and categories of both records, and a small network over all of it (Guo et al., "DeText: A Deep
//! Text Ranking Framework with BERT", CIKM 2020).
//!
//! ```text
//! query, document  ->  all layers  ->  mean or [CLS]  ->  cosine, Hadamard product, concatenation  \
//! a number of each  ->  in deviations from the mean, their distance, what is missing                 ->  64, ReLU  ->  one logit
//! a category of each  ->  an embedding's product, whether they are equal, what is missing          /
//! a ready vector of each (of a picture, of sound)  ->  cosine, product, what is missing            /
//! ```
//!
//! Text meets after the last layer, so a document's half can be computed before any query is known. A number that a record lacks is known as missing; so is a
//! category, and one that training did not see has a row of its own. In training an input may be left out by chance (`modality_dropout`), so that none is
//! relied upon alone. All text fields of a record are one text of one tower, as everywhere here: a tower a field is a pass a field, and fields of a word or two
//! say nothing alone. Training is the softmax over the documents of a batch, as of two towers.

use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};

use super::bert::PREFIX;
use super::dssm::Pooling;
use super::net::{ENCODER, Inputs, Module, Pass};
use super::{Example, LossSettings, Model, Reads, Scorer, TokenizedList};
use crate::losses::{Loss, ScoredLists, list_softmax};
use crate::nn::encoder::Rows;
use crate::records::Record;
use crate::text::{self, Batch, Encoding, TokenizedSide, number};
use crate::{Error, Result};

/// Its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What represents a text.
    pub pooling: Pooling,
    /// How two texts' vectors are joined.
    pub interactions: Vec<Interaction>,
    /// Columns of numbers.
    pub numbers: Vec<String>,
    /// Columns of categories.
    pub categories: Vec<String>,
    /// Columns of ready vectors, such as those of pictures: a list of numbers a cell, of one length in a column. A reader makes them of
    /// `.npy` and safetensors files too (`read.vectors`).
    pub vectors: Vec<String>,
    /// Chance that an input of an example is left out in training.
    pub modality_dropout: f32,
    /// What training found in those columns, numbers first; nothing before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<Known>,
}

/// How two texts' vectors are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interaction {
    /// One value.
    Cosine,
    /// Their product, value by value.
    Hadamard,
    /// One after the other.
    Concat,
}

/// What training found in a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Known {
    /// Numbers.
    Number {
        /// Their mean.
        mean: f64,
        /// Their standard deviation.
        deviation: f64,
    },
    /// Categories.
    Category {
        /// Those that are frequent enough, lower case, sorted.
        values: Vec<String>,
    },
    /// Ready vectors.
    Vector {
        /// Their length.
        width: usize,
    },
}

impl Default for Config {
    fn default() -> Self {
        Config {
            pooling: Pooling::Mean,
            interactions: vec![Interaction::Cosine, Interaction::Hadamard],
            numbers: Vec::new(),
            categories: Vec::new(),
            vectors: Vec::new(),
            modality_dropout: 0.1,
            known: Vec::new(),
        }
    }
}

/// Categories of a column that have a row, the most frequent ones.
const MOST_CATEGORIES: usize = 10_000;
/// Records that must have a category for it to have a row.
const LEAST: usize = 2;
/// Rows before those of known categories: missing, and not known.
const OTHER_ROWS: usize = 2;
/// Width of a category's row.
const WIDTH: usize = 8;
/// Features of a number, of a category besides its rows, and of a vector besides the product.
const OF_NUMBER: usize = 6;
const OF_CATEGORY: usize = 3;
const OF_VECTOR: usize = 4;
/// The widest vector that is read.
const WIDEST: usize = 1 << 14;

/// A cell's vector: numbers between spaces or commas, in brackets or not; none where it is empty. Of length 1, as cosines are.
fn vector(column: &str, cell: &str, width: Option<usize>) -> Result<Option<Vec<f32>>> {
    let inside = cell.trim().trim_start_matches('[').trim_end_matches(']').trim();
    if inside.is_empty() {
        return Ok(None);
    }
    let shown = || inside.chars().take(40).collect::<String>();
    let wrong = |what: String| Error::setting(format!("column {column}"), shown(), what);
    let Some(mut values) = text::vector(inside) else {
        return Err(wrong("is no list of numbers: give a vector in each cell, or leave it empty".into()));
    };
    if let Some(width) = width.filter(|width| *width != values.len()) {
        let n = values.len();
        return Err(wrong(format!(
            "has {n} numbers, and the column's vectors have {width}: give vectors of one model"
        )));
    }
    let length = values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt().max(1e-12);
    values.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    Ok(Some(values))
}

fn category(value: &str) -> String {
    value.trim().to_lowercase()
}

impl Config {
    /// Columns that are read besides the text.
    pub fn inputs(&self) -> Vec<String> {
        self.numbers.iter().chain(&self.categories).chain(&self.vectors).cloned().collect()
    }
    /// With what some records have in those columns.
    ///
    /// # Errors
    /// A column that no record has a value in, or of numbers in which none is one; a column named twice.
    pub fn fitted(&self, records: &[&Record]) -> Result<Self> {
        let mut names = self.inputs();
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::setting(
                "model.numbers",
                &twice[0],
                "is named twice among numbers, categories and vectors",
            ));
        }
        if self.interactions.is_empty() {
            let what = "must name at least one of cosine, hadamard and concat";
            return Err(Error::setting("model.interactions", "[]", what));
        }
        let values = |column: &str| -> Vec<&str> {
            records.iter().filter_map(|record| record.get(column)).filter(|value| !value.trim().is_empty()).collect()
        };
        let none = |key: &str, column: &String, what: &str| {
            let columns = records.first().map(|record| record.columns.join(", ")).unwrap_or_default();
            Err(Error::setting(format!("model.{key}"), column, format!("{what}; there are {columns}")))
        };
        let mut known = Vec::new();
        for column in &self.numbers {
            let all: Vec<f64> = values(column).into_iter().filter_map(number).map(squeezed).collect();
            if all.is_empty() {
                return none("numbers", column, "no training record has a number there");
            }
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            let variance = all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / all.len() as f64;
            known.push(Known::Number { mean, deviation: variance.sqrt().max(1e-6) });
        }
        for column in &self.categories {
            let mut counts = std::collections::BTreeMap::<String, usize>::new();
            values(column).into_iter().for_each(|value| *counts.entry(category(value)).or_default() += 1);
            if counts.is_empty() {
                return none("categories", column, "no training record has a value there");
            }
            let mut frequent: Vec<(usize, String)> =
                counts.into_iter().filter(|(_, count)| *count >= LEAST).map(|(value, count)| (count, value)).collect();
            frequent.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
            frequent.truncate(MOST_CATEGORIES);
            let mut values: Vec<String> = frequent.into_iter().map(|(_, value)| value).collect();
            values.sort();
            known.push(Known::Category { values });
        }
        for column in &self.vectors {
            let mut width = None;
            for record in records {
                let cell = record.get(column).unwrap_or_default();
                let own = vector(column, cell, width)?.map(|v| v.len());
                width = width.or(own);
            }
            match width {
                Some(width) if width <= WIDEST => known.push(Known::Vector { width }),
                Some(width) => {
                    let what = format!("has vectors of {width} numbers, more than {WIDEST}");
                    return Err(Error::setting("model.vectors", column, what));
                }
                None => return none("vectors", column, "no training record has a vector there"),
            }
        }
        Ok(Config { known, ..self.clone() })
    }
    fn rows(&self) -> usize {
        let rows = |known: &Known| if let Known::Category { values } = known { values.len() + OTHER_ROWS } else { 0 };
        self.known.iter().map(rows).sum()
    }
    fn features(&self) -> usize {
        let of = |known: &Known| match known {
            Known::Number { .. } => OF_NUMBER,
            Known::Category { .. } => OF_CATEGORY + WIDTH,
            Known::Vector { width } => OF_VECTOR + width,
        };
        self.known.iter().map(of).sum()
    }
}

/// Prices and counts are far apart at the top: their logarithm, with the sign kept.
fn squeezed(x: f64) -> f64 {
    x.signum() * x.abs().ln_1p()
}

/// The model.
pub struct Detext {
    /// Its settings.
    pub config: Config,
    /// An input that is left out, for measuring what it adds: 0 is the text, then the columns.
    pub without: Option<usize>,
}

const HIDDEN: &str = "detext.hidden";
const OUTPUT: &str = "detext.output";
const TABLE: &str = "detext.categories";

/// Two texts' own columns.
type Columns<'a> = (&'a [String], &'a [String]);

impl Detext {
    /// Vectors `[b, h]` of texts.
    fn encode(&self, pass: &Pass, batch: &Batch) -> Result<Tensor> {
        match self.config.pooling {
            Pooling::Cls => pass.states(PREFIX, batch, Rows::First),
            Pooling::Mean => pass.mean(&pass.states(PREFIX, batch, Rows::All)?, batch),
        }
    }

    /// Logits `[n]` of pairs: vectors `[n, h]` of queries and documents, and their columns.
    fn join(&self, pass: &Pass, q: &Tensor, d: &Tensor, columns: &[Columns]) -> Result<Tensor> {
        let n = columns.len();
        let unit = |x: &Tensor| -> Result<Tensor> {
            Ok(x.broadcast_div(&(x.sqr()?.sum_keepdim(D::Minus1)? + 1e-24)?.sqrt()?)?)
        };
        let mut parts = Vec::new();
        for interaction in &self.config.interactions {
            parts.push(match interaction {
                Interaction::Cosine => (unit(q)? * unit(d)?)?.sum_keepdim(D::Minus1)?,
                Interaction::Hadamard => (q * d)?,
                Interaction::Concat => Tensor::cat(&[q, d], 1)?,
            });
        }
        let keep = |input: usize| -> Result<Option<Tensor>> {
            if self.without == Some(input) {
                return Ok(Some(Tensor::zeros((n, 1), q.dtype(), q.device())?));
            }
            let Some(kept) = pass.chances(input as u64, n, self.config.modality_dropout) else { return Ok(None) };
            Ok(Some(Tensor::from_vec(kept, (n, 1), q.device())?))
        };
        if let Some(kept) = keep(0)? {
            parts = parts.iter().map(|part| Ok(part.broadcast_mul(&kept)?)).collect::<Result<_>>()?;
        }
        let table = if self.config.rows() > 0 { Some(pass.values(TABLE)?.reshape(((), WIDTH))?) } else { None };
        let mut start = 0;
        for (at, known) in self.config.known.iter().enumerate() {
            let pairs = columns.iter().map(|(query, document)| {
                [query, document].map(|values| values.get(at).map_or("", |value| value.trim()))
            });
            let part = match (known, &table) {
                (Known::Number { mean, deviation }, _) => {
                    let values: Vec<f32> = pairs.flat_map(|pair| number_features(pair, *mean, *deviation)).collect();
                    Tensor::from_vec(values, (n, OF_NUMBER), q.device())?
                }
                (Known::Category { values }, Some(table)) => {
                    let pairs: Vec<[String; 2]> = pairs.map(|pair| pair.map(category)).collect();
                    let first = start;
                    start += values.len() + OTHER_ROWS;
                    let row = |value: &String| match value.is_empty() {
                        true => first as u32,
                        false => (first + values.binary_search(value).map_or(1, |at| at + OTHER_ROWS)) as u32,
                    };
                    let rows = |side: usize| -> Result<Tensor> {
                        let rows: Vec<u32> = pairs.iter().map(|pair| row(&pair[side])).collect();
                        Ok(table.index_select(&Tensor::from_vec(rows, n, q.device())?, 0)?)
                    };
                    let flags: Vec<f32> = pairs.iter().flat_map(category_features).collect();
                    let flags = Tensor::from_vec(flags, (n, OF_CATEGORY), q.device())?;
                    Tensor::cat(&[&(rows(0)? * rows(1)?)?, &flags], 1)?
                }
                (Known::Vector { width }, _) => {
                    let column = &self.config.inputs()[at];
                    let mut values = Vec::with_capacity(n * (OF_VECTOR + width));
                    for [l, r] in pairs {
                        let (l, r) = (vector(column, l, Some(*width))?, vector(column, r, Some(*width))?);
                        vector_features([l, r], *width, &mut values);
                    }
                    Tensor::from_vec(values, (n, OF_VECTOR + width), q.device())?
                }
                (Known::Category { .. }, None) => continue,
            };
            parts.push(match keep(at + 1)? {
                Some(kept) => part.broadcast_mul(&kept)?,
                None => part,
            });
        }
        let hidden = pass.affine(HIDDEN, &Tensor::cat(&parts, 1)?.contiguous()?)?.relu()?;
        Ok(pass.affine(OUTPUT, &hidden)?.squeeze(1)?)
    }
}

/// Both numbers in deviations, their distance, and whether the first, the second, or either is missing.
fn number_features(pair: [&str; 2], mean: f64, deviation: f64) -> [f32; OF_NUMBER] {
    let [l, r] = pair.map(|value| number(value).map(|x| ((squeezed(x) - mean) / deviation).clamp(-10.0, 10.0) as f32));
    let flag = |is: bool| f32::from(u8::from(is));
    let apart = l.zip(r).map_or(0.0, |(l, r)| (l - r).abs());
    let either = l.is_none() || r.is_none();
    [l.unwrap_or(0.0), r.unwrap_or(0.0), apart, flag(l.is_none()), flag(r.is_none()), flag(either)]
}

/// Whether both have a category and it is the same, and which is missing.
fn category_features(pair: &[String; 2]) -> [f32; OF_CATEGORY] {
    let flag = |is: bool| f32::from(u8::from(is));
    let [l, r] = pair;
    [flag(!l.is_empty() && l == r), flag(l.is_empty()), flag(r.is_empty())]
}

/// The cosine of both, whether the first, the second, or either is missing, and their product, value by value.
fn vector_features(pair: [Option<Vec<f32>>; 2], width: usize, out: &mut Vec<f32>) {
    let flag = |is: bool| f32::from(u8::from(is));
    let missing = [pair[0].is_none(), pair[1].is_none()];
    let [Some(l), Some(r)] = pair else {
        out.extend([0.0, flag(missing[0]), flag(missing[1]), 1.0]);
        out.resize(out.len() + width, 0.0);
        return;
    };
    let product: Vec<f32> = l.iter().zip(&r).map(|(l, r)| l * r).collect();
    out.extend([product.iter().sum(), 0.0, 0.0, 0.0]);
    out.extend(product);
}

impl Model for Detext {
    fn modules(&self) -> Vec<Module> {
        let (mut states, mut features) = (0, self.config.features());
        for interaction in &self.config.interactions {
            match interaction {
                Interaction::Cosine => features += 1,
                Interaction::Hadamard => states += 1,
                Interaction::Concat => states += 2,
            }
        }
        let inputs = Inputs { states, layers: 0, features };
        let mut modules = vec![ENCODER, Module::Affine { name: HIDDEN, outputs: &[64], inputs }];
        modules.push(Module::Affine { name: OUTPUT, outputs: &[1], inputs: Inputs::features(64) });
        if self.config.rows() > 0 {
            // rows that differ, so that they can learn apart
            let init = (0..self.config.rows() * WIDTH).map(|i| 0.3 * (1.7 * i as f32 + 1.0).sin()).collect();
            modules.push(Module::Values { name: TABLE, init });
        }
        modules
    }
    fn reads(&self) -> Reads {
        Reads::Towers
    }
    /// Examples are a query, its match, and documents that are no match; with a teacher, lists of documents.
    fn loss(&self, pass: &Pass, examples: &[&Example], settings: &LossSettings) -> Result<Tensor> {
        if settings.loss.of_vectors() {
            let what = "compares vectors of texts, and this model has more than those; leave it out, or give mse, margin_mse or kl";
            return Err(Error::setting("train.loss", format!("{:?}", settings.loss), what));
        }
        let queries: Batch = examples.iter().map(|e| &e.texts[0]).collect();
        let documents: Vec<(&Encoding, &[String])> = examples
            .iter()
            .flat_map(|e| e.texts[1..].iter().enumerate().map(move |(at, text)| (text, e.columns(at + 1))))
            .collect();
        let q = self.encode(&pass.again(0), &queries)?;
        let d = self.encode(&pass.again(1), &documents.iter().map(|document| document.0).collect())?;
        // each query's own documents first, then all others of the batch but copies of its match
        let own: Vec<usize> = examples
            .iter()
            .scan(0, |next, e| {
                let start = *next;
                *next += e.texts.len() - 1;
                Some(start)
            })
            .collect();
        let mut lists: Vec<Vec<usize>> = Vec::new();
        for (example, start) in examples.iter().zip(&own) {
            let range = *start..*start + example.texts.len() - 1;
            let mut list: Vec<usize> = range.clone().collect();
            if settings.loss == Loss::Bce {
                let matched = documents[*start].0;
                list.extend((0..documents.len()).filter(|i| !range.contains(i) && documents[*i].0.ids != matched.ids));
            }
            lists.push(list);
        }
        let places =
            lists.iter().enumerate().flat_map(|(query, list)| list.iter().map(move |document| (query, *document)));
        let places: Vec<(usize, usize)> = places.collect();
        let columns: Vec<Columns> = places.iter().map(|(i, j)| (examples[*i].columns(0), documents[*j].1)).collect();
        let n = places.len();
        let rows = |of: &dyn Fn(&(usize, usize)) -> usize| {
            Tensor::from_vec(places.iter().map(|place| of(place) as u32).collect::<Vec<_>>(), n, q.device())
        };
        let (q, d) = (q.index_select(&rows(&|p| p.0)?, 0)?, d.index_select(&rows(&|p| p.1)?, 0)?);
        let scores = self.join(pass, &q, &d, &columns)?;
        let lengths: Vec<usize> = lists.iter().map(Vec::len).collect();
        if settings.loss != Loss::Bce {
            return settings.of_lists(examples, &scores, &lengths);
        }
        let grades: Vec<f32> =
            lengths.iter().flat_map(|m| std::iter::once(1.0).chain(std::iter::repeat_n(0.0, m - 1))).collect();
        let lists = ScoredLists { scores: &scores, lengths: &lengths, grades: &grades, weights: settings.weights };
        list_softmax(&lists)
    }
    fn score(&self, scorer: &Scorer, lists: &[TokenizedList]) -> Result<Vec<Vec<f32>>> {
        let mut places = std::collections::HashMap::new();
        let mut texts: Vec<&TokenizedSide> = Vec::new();
        for side in lists.iter().flat_map(|list| std::iter::once(&list.query).chain(&list.candidates)) {
            places.entry(std::ptr::from_ref(*side)).or_insert_with(|| {
                texts.push(*side);
                texts.len() - 1
            });
        }
        let sequences = scorer.join(&texts.iter().map(|text| vec![*text]).collect::<Vec<_>>());
        let h = scorer.net.config().hidden_size;
        let vectors = scorer.rows(&sequences, h, |pass, batch| self.encode(pass, batch))?;
        let pass = scorer.net.pass(super::Mode::Infer);
        let of = |list: &TokenizedList| -> Result<Vec<f32>> {
            let query = places[&std::ptr::from_ref(list.query)];
            let mut scores = Vec::with_capacity(list.candidates.len());
            for some in list.candidates.chunks(4096) {
                let documents: Vec<usize> = some.iter().map(|side| places[&std::ptr::from_ref(*side)]).collect();
                let rows = |places: &mut dyn Iterator<Item = usize>| -> Result<Tensor> {
                    let values: Vec<f32> = places.flat_map(|at| vectors[at * h..][..h].iter().copied()).collect();
                    Ok(pass.constant(&values)?.reshape((some.len(), h))?)
                };
                let q = rows(&mut std::iter::repeat_n(query, some.len()))?;
                let d = rows(&mut documents.iter().copied())?;
                let columns: Vec<Columns> = some.iter().map(|side| (list.query.columns(), side.columns())).collect();
                scores.extend(self.join(&pass, &q, &d, &columns)?.to_vec1::<f32>()?);
            }
            Ok(scores)
        };
        lists.iter().map(of).collect()
    }
    fn without(&self) -> Vec<(String, Box<dyn Model>)> {
        let names = std::iter::once("text".to_string()).chain(self.config.inputs());
        let without = |(at, name)| {
            let model = Detext { config: self.config.clone(), without: Some(at) };
            (name, Box::new(model) as Box<dyn Model>)
        };
        names.enumerate().map(without).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_gradient, pair_examples};
    use super::*;

    fn record(price: &str, maker: &str) -> Record {
        let columns = ["price", "maker", "picture"].map(String::from).into();
        Record { id: "1".into(), columns, values: vec![price.into(), maker.into(), "[3, 4.0]".into()] }
    }

    fn config() -> Config {
        let interactions = vec![Interaction::Cosine, Interaction::Hadamard, Interaction::Concat];
        let (numbers, categories) = (vec!["price".into()], vec!["maker".into()]);
        let vectors = vec!["picture".into()];
        let config = Config { interactions, numbers, categories, vectors, modality_dropout: 0.3, ..Config::default() };
        let records = [record("10", "Sony"), record("$1,000", "sony"), record("", "LG"), record("5", "")];
        config.fitted(&records.iter().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn what_training_found_is_kept_and_a_column_that_is_not_there_is_named() {
        let config = config();
        let Known::Number { mean, .. } = &config.known[0] else { panic!("{config:?}") };
        assert!((mean - (11f64.ln() + 1001f64.ln() + 6f64.ln()) / 3.0).abs() < 1e-9);
        assert_eq!(config.known[1], Known::Category { values: vec!["sony".into()] }, "one record is too few");
        let refused = |config: Config, part: &str| {
            let error = config.fitted(&[&record("10", "x")]).unwrap_err();
            assert!(error.is_user_error() && error.to_string().contains(part), "{error}");
        };
        refused(Config { numbers: vec!["weight".into()], ..Config::default() }, "model.numbers = weight");
        refused(Config { numbers: vec!["maker".into()], ..Config::default() }, "no training record has a number");
        let twice = Config { numbers: vec!["price".into()], categories: vec!["price".into()], ..Config::default() };
        refused(twice, "named twice");
    }

    #[test]
    fn missing_is_known_as_missing() {
        assert_eq!(number_features(["", "abc"], 0.0, 1.0), [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        let both = number_features(["10", "10.0"], 1.0, 2.0);
        assert_eq!((both[0], both[2], both[5]), (both[1], 0.0, 0.0));
        assert_eq!(category_features(&["a".into(), "a".into()]), [1.0, 0.0, 0.0]);
        assert_eq!(category_features(&[String::new(), String::new()]), [0.0, 1.0, 1.0]);
    }

    #[test]
    fn vectors_are_read_from_cells_and_one_that_does_not_fit_is_named() {
        let mut values = Vec::new();
        let read = |cell: &str| vector("picture", cell, Some(2)).unwrap();
        vector_features([read("[3, 4]"), read("0.0;2.5")], 2, &mut values);
        assert_eq!(values, [0.8, 0.0, 0.0, 0.0, 0.0, 0.8]);
        values.clear();
        vector_features([read("3 4"), read(" [] ")], 2, &mut values);
        assert_eq!(values, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
        for (cell, part) in [
            ("1 2 3", "has 3 numbers, and the column's vectors have 2"),
            ("1 x", "no list of numbers"),
            ("nan 1", "no list"),
        ] {
            let error = vector("picture", cell, Some(2)).unwrap_err();
            assert!(error.is_user_error() && error.to_string().contains(part), "{error}");
        }
        // rows that do not match are found before training begins, and a column without a vector too
        let mut records = [record("10", "Sony"), record("5", "LG")];
        records[1].values[2] = "1 2 3".into();
        let with = |vectors: &str| Config { vectors: vec![vectors.into()], ..Config::default() };
        let refused = |config: Config, part: &str| {
            let error = config.fitted(&records.iter().collect::<Vec<_>>()).unwrap_err();
            assert!(error.is_user_error() && error.to_string().contains(part), "{error}");
        };
        refused(with("picture"), "has 3 numbers");
        refused(with("sound"), "no training record has a vector");
    }

    #[test]
    fn gradients_equal_finite_differences_with_inputs_left_out_by_chance() {
        let texts: Vec<Encoding> = pair_examples().into_iter().flat_map(|example| example.texts).collect();
        // half of the records have no picture
        let row = |price: &str, maker: &str| {
            let picture = if maker.eq_ignore_ascii_case("sony") { "[0.5 -2]" } else { "" };
            vec![price.to_string(), maker.to_string(), picture.to_string()]
        };
        let example = |texts: Vec<Encoding>, inputs| Example { texts, inputs, target: 1.0, ..Example::default() };
        let examples = [
            example(texts[..3].to_vec(), vec![row("10", "Sony"), row("12", "SONY"), row("", "new")]),
            example(texts[1..3].to_vec(), vec![row("", ""), row("99", "lg")]),
        ];
        let model = Detext { config: config(), without: None };
        assert_gradient(&model, &examples.iter().collect::<Vec<_>>());
    }
}
