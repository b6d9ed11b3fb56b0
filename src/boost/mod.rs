//! Boosted trees on top of rankers: their scores, BM25, numbers, codes and edit distances of a pair, weighed by XGBoost's kind of model (Chen and
//! Guestrin, "XGBoost: A Scalable Tree Boosting System", KDD 2016).
//!
//! | file | what it knows |
//! | --- | --- |
//! | [`features`] | a pair as numbers |
//! | [`words`] | how rare words are |
//! | [`trees`] | rows to margins; the one file that names the library |
//!
//! A booster on disk is a folder: `model.json` as XGBoost reads it, `features.json` (what each column is), `boost.json` (calibration, threshold,
//! checksums), and a copy of each ranker under `rankers/`, so that one folder is all that serving needs.
//!
//! A ranker's scores of pairs that it was trained on say more than they will later. So a booster learns from pairs that its rankers have not seen (their
//! validation part), and its number of trees, calibration and threshold come from folds over left records.
//! Refused: trees over vectors of texts (a tree looks at one number at a time).

pub mod features;
pub mod trees;
pub mod words;

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use features::{Features, Field, Kind};
pub use trees::{Goal, Growth, Trees};
pub use words::WordStats;

use crate::bundle::Bundle;
use crate::calibrate::{Calibration, Method, Threshold, ThresholdObjective, choose_threshold};
use crate::eval::{self, Report};
use crate::files::NewFolder;
use crate::nn::{Device, Dtype};
use crate::ranker::{List, Ranker, Score, score_rows};
use crate::records::{PairSet, Record};
use crate::{Error, Input, Result};

/// Files of a booster's folder.
const BOOST: &str = "boost.json";
const MODEL: &str = "model.json";
const FEATURES: &str = "features.json";
const RANKERS: &str = "rankers";
/// The layout of the folder.
const VERSION: u32 = 1;

/// A ranker whose scores are a feature.
pub struct Scorer {
    /// What the feature is called.
    pub name: String,
    /// Where it was read from.
    pub dir: PathBuf,
    /// The ranker.
    pub bundle: Bundle,
}

impl Scorer {
    /// Opens models, each named by its folder (by the folder above it where that is `model`).
    ///
    /// # Errors
    /// What [`Bundle::open`] refuses.
    pub fn open_all(dirs: &[PathBuf], dtype: Option<Dtype>, device: Device) -> Result<Vec<Self>> {
        let mut scorers: Vec<Scorer> = Vec::new();
        for dir in dirs {
            let full = std::path::absolute(dir).map_err(Error::io("resolve", dir))?;
            let mut parts = full.components().rev().map(|part| part.as_os_str().to_string_lossy().into_owned());
            let last = parts.next().unwrap_or_default();
            let base = if last == "model" { parts.next().unwrap_or(last) } else { last };
            let base: String =
                base.chars().map(|c| if c.is_alphanumeric() || "-_".contains(c) { c } else { '_' }).collect();
            let taken = |name: &str| scorers.iter().any(|scorer| scorer.name == name);
            let name =
                (1..).map(|i| if i == 1 { base.clone() } else { format!("{base}-{i}") }).find(|name| !taken(name));
            let bundle = Bundle::open(dir, dtype, device)?;
            scorers.push(Scorer { name: name.unwrap_or(base), dir: dir.clone(), bundle });
        }
        Ok(scorers)
    }
}

/// `boost.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    version: u32,
    growth: Growth,
    /// Trees.
    rounds: usize,
    /// Pairs that were learnt from.
    pairs: u64,
    calibration: Calibration,
    threshold: Threshold,
    /// SHA-256 of `model.json` and of `features.json`.
    sha256: [String; 2],
}

/// `features.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeatureFile {
    #[serde(flatten)]
    features: FeaturesOnDisk,
    /// The columns' names, in order.
    names: Vec<String>,
    words: WordStats,
}

#[derive(Serialize, Deserialize)]
struct FeaturesOnDisk {
    fields: Vec<Field>,
    rankers: Vec<String>,
}

/// What training a booster gave.
#[derive(Debug, Clone, Serialize)]
pub struct Trained {
    /// Pairs that were learnt from.
    pub pairs: u64,
    /// Trees.
    pub rounds: usize,
    /// Decisions on each fold by the trees of the others; the threshold has seen these pairs.
    pub held_out: Report,
    /// Share of the loss that each feature saved, highest first.
    pub importance: Vec<(String, f64)>,
}

/// A booster ready to score.
pub struct Booster {
    features: Features,
    trees: Trees,
    manifest: Manifest,
    scorers: Vec<Scorer>,
}

/// One pair's records, each list's by left record: the order in which rankers see them.
type Pairs<'a> = Vec<(&'a Record, &'a Record)>;

/// Pairs of a set as records, and the number of each one's left record (equal records count once).
pub fn pairs_of(set: &PairSet) -> (Pairs<'_>, Vec<u32>) {
    let mut numbers: HashMap<&[String], u32> = HashMap::new();
    let of = |pair: &crate::Pair| {
        let (left, right, _) = set.sides(pair);
        let next = numbers.len() as u32;
        ((left, right), *numbers.entry(&left.values).or_insert(next))
    };
    set.pairs.iter().map(of).unzip()
}

/// Each ranker's scores of a set's pairs, `[rankers][pairs]`. `progress` gets the pairs done, of rankers times pairs.
///
/// # Errors
/// What a ranker refuses.
pub fn scores_of(scorers: &[Scorer], set: &PairSet, progress: &dyn Fn(u64)) -> Result<Vec<Vec<f32>>> {
    let places: Vec<(u32, u32)> = set.pairs.iter().map(|pair| (pair.left, pair.right)).collect();
    let one = |(number, scorer): (usize, &Scorer)| {
        let before = (number * places.len()) as u64;
        let scores = score_rows(&scorer.bundle, &set.left, &set.right, &places, &|done, _| progress(before + done))?;
        Ok(scores.into_iter().map(|score| score.value).collect())
    };
    scorers.iter().enumerate().map(one).collect()
}

/// Features of a set's pairs, and their rows.
pub fn features_of(
    set: &PairSet,
    named: &[String],
    scorers: &[Scorer],
    progress: &dyn Fn(u64),
) -> Result<(Features, Vec<f32>)> {
    let (pairs, _) = pairs_of(set);
    let names = scorers.iter().map(|scorer| scorer.name.clone()).collect();
    let features = Features::of(&pairs, named, names);
    let rows = features.rows(&pairs, &scores_of(scorers, set, progress)?);
    Ok((features, rows))
}

impl Booster {
    /// Learns from labelled pairs that the rankers were not trained on.
    ///
    /// # Errors
    /// Pairs without a label, of one label or of few left records; what a ranker refuses; settings out of range.
    pub fn train(
        set: &PairSet,
        named: &[String],
        scorers: Vec<Scorer>,
        growth: &Growth,
        progress: &dyn Fn(u64),
    ) -> Result<(Self, Trained)> {
        let labels: Vec<bool> = set.pairs.iter().map(|pair| pair.is_match()).collect();
        if !(labels.contains(&true) && labels.contains(&false)) {
            let what = "matches and non-matches are needed to learn from; name another --split or file";
            return Err(Error::setting("data", format!("{} pairs of one label", labels.len()), what));
        }
        let (features, values) = features_of(set, named, &scorers, progress)?;
        let (_, groups) = pairs_of(set);
        let names = features.names();
        let rising: Vec<usize> = (0..scorers.len()).collect();
        let rows =
            trees::Rows { values: &values, width: names.len(), labels: &labels, groups: &groups, rising: &rising };
        let trees::Grown { trees, rounds, held_out } = Trees::grow(&rows, growth)?;
        let calibration = Calibration::fit(Method::Platt, &held_out, &labels)?;
        let probabilities: Vec<f32> = held_out.iter().map(|margin| calibration.probability(*margin)).collect();
        let threshold = choose_threshold(&probabilities, &labels, ThresholdObjective::F1, growth.seed)?;
        let report = eval::report(&probabilities, &labels, threshold.value)?;
        let pairs = labels.len() as u64;
        let sha256 = [String::new(), String::new()];
        let manifest = Manifest { version: VERSION, growth: *growth, rounds, pairs, calibration, threshold, sha256 };
        let importance = trees.importance().into_iter().map(|(at, share)| (names[at].clone(), share)).collect();
        let trained = Trained { pairs, rounds, held_out: report, importance };
        Ok((Booster { features, trees, manifest, scorers }, trained))
    }

    /// Writes its folder, which must not exist.
    ///
    /// # Errors
    /// [`Error::Exists`]; the system's. Nothing is left over.
    pub fn save(&self, dir: &Path) -> Result<()> {
        if std::fs::symlink_metadata(dir).is_ok() {
            return Err(Error::Exists(dir.into()));
        }
        let folder = NewFolder::create(dir)?;
        self.fill(folder.path()).map_err(|e| e.with_path(folder.path(), dir))?;
        folder.commit()
    }

    fn fill(&self, out: &Path) -> Result<()> {
        let write = |name: &str, bytes: &[u8]| {
            let path = out.join(name);
            std::fs::File::create(&path).and_then(|mut file| file.write_all(bytes)).map_err(Error::io("write", &path))
        };
        let Features { fields, rankers, stats } = self.features.clone();
        let names = self.features.names();
        let model = self.trees.json(&names)?;
        let file = FeatureFile { features: FeaturesOnDisk { fields, rankers }, names, words: stats };
        let features = json(&file)?;
        write(MODEL, &model)?;
        write(FEATURES, &features)?;
        let manifest = Manifest { sha256: [sha256(&model), sha256(&features)], ..self.manifest.clone() };
        write(BOOST, &json(&manifest)?)?;
        for scorer in &self.scorers {
            copy(&crate::text::folder_of_network(&scorer.dir), &out.join(RANKERS).join(&scorer.name))?;
        }
        Ok(())
    }

    /// Opens a booster's folder.
    ///
    /// # Errors
    /// A folder that is none, of a newer version, or in which a file was changed; what [`Bundle::open`] refuses of its rankers.
    pub fn open(dir: &Path, dtype: Option<Dtype>, device: Device) -> Result<Self> {
        const REMEDY: &str = "copy the folder again, or make it with `sverka boost train`";
        let read = |name: &str| {
            let path = dir.join(name);
            std::fs::read(&path).map_err(Error::io("read", &path))
        };
        let damaged = |name: &'static str| {
            move |e: serde_json::Error| Error::model(&dir.join(name), "JSON", e.to_string(), REMEDY)
        };
        let value: serde_json::Value = serde_json::from_slice(&read(BOOST)?).map_err(damaged(BOOST))?;
        if value["version"].as_u64() != Some(VERSION.into()) {
            let what = format!("is {}, and this Sverka reads version {VERSION}", value["version"]);
            return Err(Error::model(&dir.join(BOOST), "version", what, "use a newer Sverka, or train it again"));
        }
        let manifest: Manifest = serde_json::from_value(value).map_err(damaged(BOOST))?;
        if let Some((key, what)) = manifest.calibration.fault() {
            return Err(Error::model(&dir.join(BOOST), format!("calibration.{key}"), what, REMEDY));
        }
        let text = read(FEATURES)?;
        for (name, known, found) in
            [(MODEL, &manifest.sha256[0], sha256(&read(MODEL)?)), (FEATURES, &manifest.sha256[1], sha256(&text))]
        {
            if *known != found {
                return Err(Error::model(
                    &dir.join(name),
                    "SHA-256",
                    "is another than boost.json was written for",
                    REMEDY,
                ));
            }
        }
        let FeatureFile { features, names, words } = serde_json::from_slice(&text).map_err(damaged(FEATURES))?;
        let features = Features { fields: features.fields, rankers: features.rankers, stats: words };
        let trees = Trees::read(&dir.join(MODEL))?;
        if names != features.names() || trees.width() != names.len() {
            let what = format!("has {} columns, and the trees have {}", names.len(), trees.width());
            return Err(Error::model(&dir.join(FEATURES), "names", what, REMEDY));
        }
        let dirs = features.rankers.iter().map(|name| dir.join(RANKERS).join(name)).collect::<Vec<_>>();
        let mut scorers = Scorer::open_all(&dirs, dtype, device)?;
        scorers.iter_mut().zip(&features.rankers).for_each(|(scorer, name)| scorer.name.clone_from(name));
        Ok(Booster { features, trees, manifest, scorers })
    }

    /// Columns of a row.
    pub fn names(&self) -> Vec<String> {
        self.features.names()
    }
    /// Columns of records that it looks at; its rankers read those of their own training too.
    pub fn fields(&self) -> Vec<String> {
        let of_rankers = self.scorers.iter().flat_map(|scorer| scorer.bundle.manifest.rendering.fields.clone());
        let mut fields: Vec<String> = self.features.fields.iter().map(|field| field.name.clone()).collect();
        for field in of_rankers {
            if !fields.contains(&field) {
                fields.push(field);
            }
        }
        fields
    }
    /// What its scores and decisions depend on.
    ///
    /// # Errors
    /// Weights that can't be read.
    pub fn fingerprint(&self) -> Result<serde_json::Value> {
        let rankers = self.scorers.iter().map(|scorer| scorer.bundle.fingerprint()).collect::<Result<Vec<_>>>()?;
        let manifest = serde_json::to_value(&self.manifest);
        let manifest = manifest.map_err(|e| Error::Internal { op: "fingerprint", what: e.to_string() })?;
        Ok(serde_json::json!([manifest, rankers]))
    }
    /// The rankers whose scores it reads.
    pub fn scorers(&self) -> &[Scorer] {
        &self.scorers
    }
    /// The probability from which a pair is accepted.
    pub fn threshold(&self) -> f32 {
        self.manifest.threshold.value
    }
    /// A margin as the probability of a match, and whether the pair is accepted: not where a record has nothing to go by.
    pub fn decide(&self, score: &Score) -> (f32, bool) {
        let probability = self.manifest.calibration.probability(score.value);
        (probability, score.readable && probability >= self.threshold())
    }
    /// Rows of features of a set's pairs.
    ///
    /// # Errors
    /// What a ranker refuses.
    pub fn rows(&self, set: &PairSet, progress: &dyn Fn(u64)) -> Result<Vec<f32>> {
        Ok(self.features.rows(&pairs_of(set).0, &scores_of(&self.scorers, set, progress)?))
    }
}

/// Scores are margins: the trees' sum.
impl Ranker for Booster {
    fn score(&self, lists: &[List]) -> Result<Vec<Vec<Score>>> {
        let as_record = |input: &Input| match input {
            Input::Record(record) => (*record).clone(),
            // a plain text is the first field's value
            Input::Text(text) => {
                let name = self.features.fields.first().map_or("text", |field| &field.name).to_string();
                Record { id: String::new(), columns: vec![name].into(), values: vec![(*text).to_string()] }
            }
        };
        let records: Vec<(Record, Vec<Record>)> = lists
            .iter()
            .map(|list| (as_record(&list.query), list.candidates.iter().map(as_record).collect()))
            .collect();
        let pairs: Pairs = records.iter().flat_map(|(q, all)| all.iter().map(move |c| (q, c))).collect();
        let mut noted: Vec<Score> =
            pairs.iter().map(|_| Score { value: 0.0, truncated: false, readable: true }).collect();
        let mut scores = Vec::with_capacity(self.scorers.len());
        for scorer in &self.scorers {
            let own: Vec<Score> = scorer.bundle.score(lists)?.into_iter().flatten().collect();
            for (noted, own) in noted.iter_mut().zip(&own) {
                noted.truncated |= own.truncated;
                noted.readable &= own.readable;
            }
            scores.push(own.into_iter().map(|score| score.value).collect());
        }
        let blank = |record: &Record| {
            self.features.fields.iter().all(|f| record.get(&f.name).is_none_or(|v| v.trim().is_empty()))
        };
        let margins = self.trees.margins(&self.features.rows(&pairs, &scores))?;
        for ((noted, margin), (left, right)) in noted.iter_mut().zip(margins).zip(&pairs) {
            noted.value = margin;
            noted.readable &= !blank(left) && !blank(right);
        }
        let mut noted = noted.into_iter();
        Ok(lists.iter().map(|list| noted.by_ref().take(list.candidates.len()).collect()).collect())
    }
    fn is_listwise(&self) -> bool {
        self.scorers.iter().any(|scorer| scorer.bundle.is_listwise())
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value).map_err(|e| Error::Internal { op: "write json", what: e.to_string() })
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Copies a model's folder, with those in it (sentence-transformers' modules).
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).map_err(Error::io("create", to))?;
    for entry in std::fs::read_dir(from).map_err(Error::io("read", from))? {
        let path = entry.map_err(Error::io("read", from))?.path();
        let out = to.join(path.file_name().unwrap_or_default());
        match path.is_dir() {
            true => copy(&path, &out)?,
            false => drop(std::fs::copy(&path, &out).map_err(Error::io("copy", &path))?),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
