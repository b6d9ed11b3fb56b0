//! A first recipe for somebody's own lists: what the columns look like, which of them are worth reading, how long texts are.
//!
//! What was seen is in the recipe as comments (fill rate, length, an example of each column), so that the person who edits it
//! needs no second look at the data.

use std::collections::HashSet;
use std::path::Path;

use serde::Serialize;

use super::recipe::Recipe;
use crate::data::{Reading, Source};
use crate::records::{Pair, PairSet, Record};
use crate::text::{TextConfig, TextEncoder, vector};
use crate::{Error, Result};

/// Pairs in which a column must give the answer away before it is left out for that.
const LEAK_PAIRS: usize = 20;

/// What a column looks like.
#[derive(Debug, Clone, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// `left` or `right`.
    pub side: &'static str,
    /// Share of rows with a value.
    pub filled: f64,
    /// Characters of a value, on average.
    pub length: f64,
    /// Different values.
    pub distinct: usize,
    /// The first value.
    pub example: String,
    /// Why it is left out, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<&'static str>,
}

impl std::fmt::Display for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, example) = (cut(&self.name, 20), cut(&self.example, 60));
        let (filled, length) = (100.0 * self.filled, self.length);
        write!(f, "{:5} {name:20} {filled:>4.0}% filled, {length:>4.0} characters: {example}", self.side)?;
        self.left_out.map_or(Ok(()), |why| write!(f, " (left out: {why})"))
    }
}

/// What the lists look like, and what a recipe for them says.
#[derive(Debug, Clone, Serialize)]
pub struct Draft {
    /// The columns worth reading.
    pub fields: Vec<String>,
    /// Tokens that most pairs fit into.
    pub max_tokens: usize,
    /// Whether no pair is labelled as no match.
    pub only_matches: bool,
    /// Whether the pairs have splits.
    pub divided: bool,
    /// All columns.
    pub columns: Vec<Column>,
}

/// Whether a good part of the texts is in Cyrillic letters.
pub fn is_cyrillic(set: &PairSet) -> bool {
    let (mut cyrillic, mut letters) = (0usize, 0usize);
    for c in set.left.iter().chain(&set.right).take(2000).flat_map(|r| r.values.iter()).flat_map(|v| v.chars()) {
        letters += usize::from(c.is_alphabetic());
        cyrillic += usize::from(('\u{400}'..'\u{530}').contains(&c));
    }
    10 * cyrillic > letters
}

impl Draft {
    /// Looks at lists and their labelled pairs; tokens are counted as the weights in `init` count them.
    pub fn of(set: &PairSet, init: &Path) -> Self {
        let mut columns = columns_of("left", &set.left);
        columns.extend(columns_of("right", &set.right));
        for column in &mut columns {
            if column.left_out.is_none() && gives_the_answer_away(set, &column.name) {
                column.left_out = Some("equal exactly where the labels say match: it is the answer");
            }
        }
        let mut fields: Vec<String> = Vec::new();
        for column in columns.iter().filter(|c| c.left_out.is_none()) {
            if !fields.contains(&column.name) {
                fields.push(column.name.clone());
            }
        }
        Draft {
            max_tokens: tokens(set, &fields, init),
            only_matches: !set.pairs.iter().any(|p| p.label() == Some(false)),
            divided: set.pairs.iter().any(|p| p.split.is_some()),
            columns,
            fields,
        }
    }

    /// The recipe, with what was seen as comments; `read` is how the tables are written, `skips` that bad rows are left out.
    ///
    /// # Errors
    /// What `Recipe::read` refuses of its own text: a mistake of ours.
    pub fn recipe(&self, name: &str, init: &Path, source: &Source, read: &Reading, skips: bool) -> Result<String> {
        let failed = |e: toml::ser::Error| Error::Internal { op: "write recipe", what: e.to_string() };
        let mut text = String::from(
            "# Written by `sverka init` for `sverka train`. Every key has a default: see docs/recipes.md.\n",
        );
        text += &format!("name = {}\n\n[model]\n", quoted(name));
        text += "# Other starts: weights/minilm (`scripts/weights`) knows English, weights/e5-small (`scripts/weights --e5`) a\n\
                 # hundred languages; models/matcher knows product texts in English and Russian.\n";
        text += &format!("init = {}\n\n", quoted(&init.to_string_lossy()));
        if skips {
            text += "[data]\nskip_bad_rows = true\n\n";
        }
        text += &format!("[[data.sources]]\nname = {}\n\n", quoted(name));
        if self.only_matches {
            text +=
                "# No pair is labelled 0: for each match so many non-matches are made, similar ones and random ones.\n";
            text += "[data.sources.negatives]\nhard = 4\nrandom = 2\n\n";
        }
        text += &format!("[data.sources.from]\n{}\n", toml::to_string(source).map_err(failed)?);
        let (vectors, read) = (&read.vectors, Reading { vectors: Default::default(), ..read.clone() });
        if !read.is_default() {
            text += &format!("[data.sources.read]\n{}\n", toml::to_string(&read).map_err(failed)?);
        }
        if !vectors.is_empty() {
            text += &format!("[data.sources.read.vectors]\n{}\n", toml::to_string(vectors).map_err(failed)?);
        }
        if !self.divided {
            text += "# The pairs have no split: these shares of the left records are kept for validation and test.\n";
            text += "[data.split]\nvalid = 0.2\ntest = 0.2\n\n";
        }
        text += "# The columns as they were seen:\n";
        for column in &self.columns {
            text += &format!("#   {}\n", column.to_string().replace(char::is_control, " "));
        }
        let list = self.fields.iter().map(|f| quoted(f)).collect::<Vec<_>>().join(", ");
        text += &format!("[text]\nfields = [{list}]\nmax_tokens = {}\n", self.max_tokens);
        text += "# Marks the words that both texts share: better than without, a little slower. Python's transformers can't\n\
                 # make such marks: leave it out for a model that is to be exported.\n";
        text += "overlap_segments = true\n\n";
        text += "[train]\nepochs = 10\nbatch = 32\nlr = 5e-5\nearly_stopping = 3\n";
        text += "dtype = \"bf16\"    # about three times as fast as f32\n";
        Ok(text)
    }
}

impl Recipe {
    /// [`Draft::recipe`] of lists that were just read.
    ///
    /// # Errors
    /// As [`Draft::recipe`].
    pub fn draft(
        name: &str,
        init: &Path,
        source: &Source,
        read: &Reading,
        skips: bool,
        set: &PairSet,
    ) -> Result<(Draft, String)> {
        let draft = Draft::of(set, init);
        let text = draft.recipe(name, init, source, read, skips)?;
        Ok((draft, text))
    }
}

/// Statistics of each column of one side.
fn columns_of(side: &'static str, records: &[Record]) -> Vec<Column> {
    let Some(first) = records.first() else { return Vec::new() };
    let column = |name: &String| {
        let values: Vec<&str> = records.iter().filter_map(|r| r.get(name)).filter(|v| !v.trim().is_empty()).collect();
        let filled = values.len() as f64 / records.len() as f64;
        let letters: usize = values.iter().map(|v| v.chars().count()).sum();
        let distinct = values.iter().collect::<HashSet<_>>().len();
        let links = values.iter().filter(|v| v.starts_with("http://") || v.starts_with("https://")).count();
        let left_out = if filled < 0.02 {
            Some("almost empty")
        } else if distinct == 1 && records.len() > 1 {
            Some("the same in every row")
        } else if !values.is_empty() && values.iter().all(|v| vector(v).is_some_and(|v| v.len() > 3)) {
            Some("ready vectors")
        } else if 2 * links > values.len() {
            Some("links")
        } else {
            None
        };
        Column {
            name: name.clone(),
            side,
            filled,
            length: letters as f64 / values.len().max(1) as f64,
            distinct,
            example: cut(values.first().unwrap_or(&""), 60),
            left_out,
        }
    };
    first.columns.iter().map(column).collect()
}

/// Whether the two sides of a column are equal exactly where the labels say match, as the number of a cluster is. A model
/// would learn to read nothing else, and find nothing in new lists.
fn gives_the_answer_away(set: &PairSet, column: &str) -> bool {
    let mut seen = [0usize; 2];
    for pair in &set.pairs {
        let (left, right, label) = set.sides(pair);
        let value = |record: &Record| record.get(column).map(str::trim).filter(|v| !v.is_empty()).map(str::to_owned);
        let (Some(label), Some(left), Some(right)) = (label, value(left), value(right)) else { continue };
        if (left == right) != label {
            return false;
        }
        seen[usize::from(label)] += 1;
    }
    seen[0] > 0 && seen[1] > 0 && seen[0] + seen[1] >= LEAK_PAIRS
}

/// Tokens that most pairs fit into, as the weights to begin with count them. Without these: about three characters a token.
fn tokens(set: &PairSet, fields: &[String], init: &Path) -> usize {
    const LOOKED_AT: usize = 2000;
    let whole = TextConfig { fields: fields.to_vec(), max_tokens: 512, ..TextConfig::default() };
    let tokenizer = TextEncoder::open(init, whole).ok();
    let letters = |r: &Record| fields.iter().filter_map(|f| r.get(f)).map(|v| v.chars().count() + 1).sum::<usize>();
    let length = |pair: &Pair| {
        let (left, right, _) = set.sides(pair);
        let counted = tokenizer.as_ref().and_then(|t| t.encode(&[left.into(), right.into()]).ok());
        counted.map_or_else(|| (letters(left) + letters(right)) / 3 + 3, |encoding| encoding.ids.len())
    };
    let every = set.pairs.len().div_ceil(LOOKED_AT).max(1);
    let mut lengths: Vec<usize> = set.pairs.iter().step_by(every).map(length).collect();
    lengths.sort_unstable();
    let most = lengths.get(lengths.len() * 95 / 100).copied().unwrap_or(0);
    [64, 96, 128, 192].into_iter().find(|t| *t >= most).unwrap_or(256)
}

/// A text on one line, cut to `width` characters.
fn cut(text: &str, width: usize) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(width) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text,
    }
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.into()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs of two columns; of a match the second one is equal.
    fn set(rows: u32, cluster: impl Fn(u32, bool) -> String) -> PairSet {
        let columns: std::sync::Arc<[String]> = ["name".to_string(), "cluster_id".to_string()].into();
        let record = |i: u32, side: bool| Record {
            id: i.to_string(),
            columns: columns.clone(),
            values: vec![format!("lamp {i} {side}"), cluster(i, side)],
        };
        let grade = |i: u32| Some(Pair::grade_of(i.is_multiple_of(2)));
        PairSet {
            left: (0..rows).map(|i| record(i, false)).collect(),
            right: (0..rows).map(|i| record(i, true)).collect(),
            pairs: (0..rows).map(|i| Pair { left: i, right: i, grade: grade(i), split: None }).collect(),
        }
    }

    #[test]
    fn a_column_that_is_the_answer_is_left_out_and_says_why() {
        let answer = |i: u32, side: bool| format!("c{}", if i.is_multiple_of(2) || !side { i } else { i + 1000 });
        let draft = Draft::of(&set(40, answer), Path::new("none"));
        assert_eq!(draft.fields, ["name"]);
        let why = draft.columns.iter().find(|c| c.name == "cluster_id").unwrap().left_out.unwrap();
        assert!(why.contains("the answer"), "{why}");
        // one pair in which it is wrong: a column like any other
        let almost = |i: u32, side: bool| if i == 6 { format!("c{i}{side}") } else { answer(i, side) };
        assert_eq!(Draft::of(&set(40, almost), Path::new("none")).fields, ["name", "cluster_id"]);
        // too few pairs to know
        assert_eq!(Draft::of(&set(8, answer), Path::new("none")).fields.len(), 2);
    }
}
