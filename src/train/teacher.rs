//! A teacher's scores of training pairs: from a file that is with the data, or from models that score them once.
//!
//! A file has a row a pair: `left_id`, `right_id` and a score in any order, or, without ids, a score for each pair of the source in its order (what
//! `sverka score` writes, or the source's own file with a column `teacher`). Of several models the mean of the raw scores counts, as in the ensembles of
//! Hofstätter et al. (arXiv 2010.02666): they should be of one kind, since a logit and a cosine have no scale in common. Models' scores are kept in the run
//! folder, so that a run that goes on does not make them again.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::recipe::Recipe;
use super::sources::LoadedSource;
use crate::bundle::Bundle;
use crate::data::{ReadOptions, read_rows};
use crate::files::write_beside;
use crate::nn::Device;
use crate::ranker::score_rows;
use crate::records::{Pair, PairSet};
use crate::{Error, Result};

/// Columns that a teacher's score may be in, the first that is there.
const COLUMNS: [&str; 4] = ["teacher", "teacher_score", "score", "logit"];
/// The file of a run folder.
const CACHE: &str = "teacher.json";

/// Scores of pairs by their rows.
pub type Taught = HashMap<(u32, u32), f32>;

/// What models made of all training pairs, in their order.
#[derive(Serialize, Deserialize)]
struct Cache {
    /// Checksums of the models' weights, in the recipe's order; none in files of before, whose scores are made again.
    #[serde(default)]
    models: Vec<String>,
    scores: Vec<f32>,
}

/// Reads the scores of a set's pairs.
///
/// # Errors
/// A file without a column of scores; a score that is no finite number; without ids, another number of rows than pairs.
pub fn read_scores(path: &Path, set: &PairSet) -> Result<Taught> {
    let (columns, rows) = read_rows(path, &ReadOptions::default())?;
    let at = |name: &str| columns.iter().position(|column| column == name);
    let Some(column) = COLUMNS.iter().find_map(|name| at(name)) else {
        let what = format!("no column of scores ({}); there are {}", COLUMNS.join(", "), columns.join(", "));
        return Err(Error::data(path, Some(1), what, "name the teacher's score `teacher`"));
    };
    let value = |line: u64, values: &[String]| {
        let text = values[column].trim();
        text.parse::<f32>().ok().filter(|score| score.is_finite()).ok_or_else(|| {
            let what = format!("{text:?} is no finite number in column {}", columns[column]);
            Error::data(path, Some(line), what, "give the teacher's raw score; leave out rows that have none")
        })
    };
    let mut taught = Taught::new();
    match (at("left_id"), at("right_id")) {
        (Some(left_id), Some(right_id)) => {
            let number = |records: &[crate::Record]| -> HashMap<String, u32> {
                records.iter().zip(0..).map(|(record, row)| (record.id.clone(), row)).collect()
            };
            let [left, right] = [number(&set.left), number(&set.right)];
            for (line, values) in &rows {
                let places = left.get(&values[left_id]).zip(right.get(&values[right_id]));
                if let Some((left, right)) = places {
                    taught.insert((*left, *right), value(*line, values)?);
                }
            }
        }
        _ if rows.len() == set.pairs.len() => {
            for (pair, (line, values)) in set.pairs.iter().zip(&rows) {
                taught.insert((pair.left, pair.right), value(*line, values)?);
            }
        }
        _ => {
            let what = format!(
                "{} rows without left_id and right_id, and the source has {} pairs",
                rows.len(),
                set.pairs.len()
            );
            return Err(Error::data(path, None, what, "give a row for each pair in the source's order, or both ids"));
        }
    }
    if taught.is_empty() {
        let what = "none of its rows is a pair of the source";
        return Err(Error::data(path, None, what, "left_id and right_id are ids of the source's records"));
    }
    Ok(taught)
}

/// The models that a recipe names as its teacher.
#[derive(Default)]
pub struct Teacher {
    models: Vec<Bundle>,
    /// The run folder's scores, as far as they are of these models.
    cached: Option<Vec<f32>>,
    /// All scores up to now, cached or not.
    made: Vec<f32>,
    /// Whether some of them are not in the run folder.
    is_new: bool,
}

impl Teacher {
    /// Opens the recipe's teacher, with the scores that a run folder already has.
    ///
    /// # Errors
    /// What [`Bundle::open`] refuses; a damaged file of scores.
    pub fn open(recipe: &Recipe, run_dir: Option<&Path>) -> Result<Self> {
        if recipe.train.teacher.is_empty() {
            return Ok(Teacher::default());
        }
        let open = |dir: &PathBuf| Bundle::open(dir, None, Device::Cpu);
        let models = recipe.train.teacher.iter().map(open).collect::<Result<Vec<_>>>()?;
        let path = run_dir.map(|dir| dir.join(CACHE)).filter(|path| path.exists());
        let cached = match path {
            None => None,
            Some(path) => {
                let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
                let damaged =
                    |e: serde_json::Error| Error::data(&path, None, e.to_string(), "delete it: it is made again");
                let cache: Cache = serde_json::from_slice(&bytes).map_err(damaged)?;
                (cache.models == checksums(&models)?).then_some(cache.scores)
            }
        };
        Ok(Teacher { models, cached, ..Teacher::default() })
    }

    /// The scores of some training pairs of a source: those of its file, and for others the models' mean.
    ///
    /// # Errors
    /// What a model refuses.
    pub fn scores(&mut self, source: &LoadedSource, pairs: &[Pair]) -> Result<Taught> {
        let mut taught = source.taught.clone();
        if self.models.is_empty() {
            return Ok(taught);
        }
        let places: Vec<(u32, u32)> = pairs.iter().map(|pair| (pair.left, pair.right)).collect();
        let used = self.made.len();
        let scores = match self.cached.as_ref().and_then(|all| all.get(used..used + places.len())) {
            Some(scores) => scores.to_vec(),
            None => {
                self.is_new = true;
                self.mean(source, &places)?
            }
        };
        places.into_iter().zip(&scores).for_each(|(place, score)| {
            taught.entry(place).or_insert(*score);
        });
        self.made.extend(scores);
        Ok(taught)
    }

    /// The mean of the models' scores of each pair.
    fn mean(&self, source: &LoadedSource, places: &[(u32, u32)]) -> Result<Vec<f32>> {
        let mut sums = vec![0.0f64; places.len()];
        for model in &self.models {
            let scores = score_rows(model, &source.set.left, &source.set.right, places, &|_, _| {})?;
            sums.iter_mut().zip(scores).for_each(|(sum, score)| *sum += f64::from(score.value));
        }
        Ok(sums.into_iter().map(|sum| (sum / self.models.len() as f64) as f32).collect())
    }

    /// Keeps the models' scores in a run folder, in place of those of other models.
    ///
    /// # Errors
    /// The system's.
    pub fn keep(&self, run_dir: &Path) -> Result<()> {
        if !self.is_new {
            return Ok(());
        }
        let path = run_dir.join(CACHE);
        let cache = Cache { models: checksums(&self.models)?, scores: self.made.clone() };
        let text = serde_json::to_vec(&cache).map_err(|e| Error::Internal { op: "write json", what: e.to_string() })?;
        write_beside(&path, |file| file.write_all(&text).map_err(Error::io("write", &path)))
    }
}

/// What tells one list of models from another.
fn checksums(models: &[Bundle]) -> Result<Vec<String>> {
    models.iter().map(Bundle::weights_sha256).collect()
}
