//! A recipe's labelled sets, read and completed: every pair has a label and a split.

use std::sync::Arc;

use super::leakage::{HeldOut, Key, keys};
use super::negatives;
use super::recipe::{NamedSource, Recipe};
use super::seed::{Purpose, mix};
use super::splits;
use super::teacher::{Taught, read_scores};
use crate::data::{ReadReport, Reading, Source, read_pairs};
use crate::records::{Pair, PairSet, Record, Split};
use crate::text::TextConfig;
use crate::{Error, Result};

/// Seed of the non-matches made for validation and test: whatever seed a run has, it is measured on the same pairs.
const HELD_OUT_SEED: u64 = 1;

/// A source of a recipe, as training and measuring see it.
pub struct LoadedSource {
    /// What the recipe says of it.
    pub source: NamedSource,
    /// How its records become text, without markers.
    pub config: TextConfig,
    /// The pairs, the made ones last.
    pub set: PairSet,
    /// A teacher's scores of pairs, from the source's file of them.
    pub taught: Taught,
    /// Pairs that had no label and were left out.
    pub unlabelled: u64,
    /// Non-matches made.
    pub made: u64,
    /// Broken rows left out.
    pub skipped: ReadReport,
    /// Whether it is only measured on.
    pub eval_only: bool,
}

/// The text of a source with its own fields, without markers.
pub(super) fn fields_of(config: &TextConfig, fields: Option<&Vec<String>>) -> TextConfig {
    let fields = fields.unwrap_or(&config.fields).clone();
    TextConfig { fields, ditto_markers: false, overlap_segments: false, ..config.clone() }
}

/// The pairs of a set's files.
pub(super) fn read(source: &Source, how: &Reading, recipe: &Recipe) -> Result<(PairSet, ReadReport)> {
    let options = how.options(recipe.data.skip_bad_rows)?;
    let read = read_pairs(source, &options)?;
    read.1.notes.iter().for_each(|note| log::warn!("{note}"));
    Ok(read)
}

/// Gives all records a column with one value.
fn add_constant(records: &mut [Record], column: &str, value: &str) -> Result<()> {
    let mut grown: Option<[Arc<[String]>; 2]> = None;
    for record in records {
        if record.get(column).is_some() {
            let what = "the records have such a column; give another name";
            return Err(Error::setting("data.sources.constants", column, what));
        }
        let columns = match &grown {
            Some([before, columns]) if Arc::ptr_eq(before, &record.columns) => columns.clone(),
            _ => record.columns.iter().cloned().chain([column.to_string()]).collect(),
        };
        grown = Some([std::mem::replace(&mut record.columns, columns.clone()), columns]);
        record.values.push(value.to_string());
    }
    Ok(())
}

impl LoadedSource {
    /// Reads the `index`-th source of a recipe, with its splits (`data.split` if it has none) and its made non-matches.
    ///
    /// # Errors
    /// What [`read_pairs`] refuses; a source of matches only without `negatives`.
    pub fn read(recipe: &Recipe, index: usize) -> Result<Self> {
        let source = recipe.data.sources[index].clone();
        let config = fields_of(&recipe.text, source.fields.as_ref());
        let (mut set, skipped) = read(&source.from, &source.read, recipe)?;
        for (column, value) in &source.constants {
            add_constant(&mut set.left, column, value)?;
            add_constant(&mut set.right, column, value)?;
        }
        let taught = match &source.teacher {
            Some(path) => read_scores(path, &set)?,
            None => Taught::new(),
        };
        let given = set.pairs.len();
        set.pairs.retain(|p| p.grade.is_some());
        let unlabelled = (given - set.pairs.len()) as u64;
        splits::assign(&mut set, &config, recipe.data.split);
        if source.valid.contains(&Split::Valid) {
            splits::divide_train(&mut set, &config, recipe.data.split);
        }
        let matches = set.pairs.iter().filter(|p| p.is_match()).count();
        let mut made = 0;
        match &source.negatives {
            Some(how) => {
                let seed = |split| {
                    let seed = if split == Split::Train { recipe.train.seed } else { HELD_OUT_SEED };
                    mix(&[seed, Purpose::Negatives as u64, index as u64])
                };
                made = negatives::make(&mut set, how, &config, seed)?;
            }
            None if matches == set.pairs.len() && matches > 0 => {
                let what = "has matches only; add negatives = { hard = 4, random = 2 } to have the rest made";
                return Err(Error::setting("data.sources", &source.name, what));
            }
            None => {}
        }
        let eval_only = recipe.data.eval_only.contains(&source.name);
        Ok(LoadedSource { source, config, set, taught, unlabelled, made, skipped, eval_only })
    }

    /// Every source of a recipe.
    ///
    /// # Errors
    /// As [`LoadedSource::read`].
    pub fn read_all(recipe: &Recipe) -> Result<Vec<Self>> {
        (0..recipe.data.sources.len()).map(|i| Self::read(recipe, i)).collect()
    }

    /// What a pair is used for; a set that is left out is only measured.
    pub(super) fn is(&self, split: Split, pair: &Pair) -> bool {
        (split == Split::Test || !self.eval_only) && self.source.role(pair) == Some(split)
    }
    pub(super) fn keys(&self, pair: &Pair) -> [Key; 2] {
        let PairSet { left, right, .. } = &self.set;
        keys(&self.config, &left[pair.left as usize], &right[pair.right as usize])
    }
}

/// Every source of a recipe with the pairs that training takes for one split: none of a set that is left out but for its
/// test split, and without those that are also in a split that is closed to this one.
///
/// # Errors
/// As [`LoadedSource::read`].
pub fn read_split(recipe: &Recipe, split: Split) -> Result<Vec<LoadedSource>> {
    let mut all = LoadedSource::read_all(recipe)?;
    let held_out = HeldOut::of(recipe, &all)?;
    for source in &mut all {
        source.set.pairs = held_out.allowed(source, split).0;
    }
    Ok(all)
}

#[cfg(test)]
mod constants {
    use super::*;

    #[test]
    fn all_records_of_a_set_get_the_column() {
        let columns: Arc<[String]> = vec!["title".to_string()].into();
        let record =
            |columns: &Arc<[String]>| Record { id: "1".into(), columns: columns.clone(), values: vec!["a".into()] };
        let mut records = vec![record(&columns), record(&columns), record(&vec!["name".to_string()].into())];
        add_constant(&mut records, "category", "cameras").unwrap();
        assert!(records.iter().all(|r| r.get("category") == Some("cameras") && r.values[0] == "a"));
        assert!(Arc::ptr_eq(&records[0].columns, &records[1].columns), "columns stay shared");
        assert_eq!(&records[2].columns[..], ["name", "category"]);
        let error = add_constant(&mut records, "title", "x").unwrap_err();
        assert!(error.is_user_error() && error.to_string().contains("data.sources.constants"), "{error}");
    }
}
