//! The one file that knows the library of boosted trees: rows and labels in, margins out, and the model as XGBoost writes it.

use std::num::NonZeroUsize;
use std::path::Path;

use hessboost::config::{Monotone, TrainingParams};
use hessboost::data::DMatrix;
use hessboost::error::HessboostError;
use hessboost::metric::EvalMetric;
use hessboost::model::{BoostedModel, ImportanceType, Iterations, ModelFormat};
use hessboost::objective::{LambdaRank, Objective, RegLoss};
use hessboost::training::{CrossValidation, CvStopping, Fold};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What trees are grown for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// The probability of a match: logistic loss of each pair.
    #[default]
    Match,
    /// The order of a left record's candidates: LambdaMART (Burges, 2010) for nDCG.
    Order,
}

/// How trees are grown.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Growth {
    /// What for.
    pub goal: Goal,
    /// Trees at most; fewer where more do not help in cross-validation.
    pub rounds: usize,
    /// Splits from root to leaf.
    pub depth: usize,
    /// What a tree's answer is multiplied by.
    pub rate: f64,
    /// Seed of folds, and of the rows and columns that each tree sees.
    pub seed: u64,
}

impl Default for Growth {
    fn default() -> Self {
        Growth { goal: Goal::Match, rounds: 500, depth: 4, rate: 0.05, seed: 1 }
    }
}

/// Folds of the cross-validation.
const FOLDS: usize = 5;
/// Rounds without a better mean of the folds after which growing ends.
const PATIENCE: NonZeroUsize = NonZeroUsize::new(30).expect("above 0");
/// The share of rows, and of columns, that a tree sees.
const SAMPLE: f64 = 0.8;

/// Rows to learn from.
pub struct Rows<'a> {
    /// `[n, width]`; NaN where a value is not known.
    pub values: &'a [f32],
    /// Features of a row.
    pub width: usize,
    /// One a row.
    pub labels: &'a [bool],
    /// The left record of each row, by number: rows of one are never on both sides of a fold.
    pub groups: &'a [u32],
    /// Features in which a higher value must not lower the margin.
    pub rising: &'a [usize],
}

/// Boosted trees.
pub struct Trees(BoostedModel);

/// What growing gave.
pub struct Grown {
    /// The trees, grown on all rows.
    pub trees: Trees,
    /// How many rounds cross-validation chose.
    pub rounds: usize,
    /// Each row's margin by the trees of the folds that did not see its left record.
    pub held_out: Vec<f32>,
}

fn failed(error: HessboostError) -> Error {
    Error::Internal { op: "boosting", what: error.to_string() }
}

impl Trees {
    /// Grows trees: cross-validation over left records chooses their number, then all rows are used.
    ///
    /// # Errors
    /// Settings out of range; rows of one label or of fewer left records than folds.
    pub fn grow(rows: &Rows, growth: &Growth) -> Result<Grown> {
        let n = rows.labels.len();
        if rows.width == 0 || rows.values.len() != n * rows.width || rows.groups.len() != n {
            let got = format!("{} values, {} groups, width {}", rows.values.len(), rows.groups.len(), rows.width);
            return Err(Error::Shape { op: "grow", expected: format!("{n} rows"), got });
        }
        let setting = |name: &str, value: &dyn std::fmt::Display, what: &str| {
            Err(Error::setting(format!("--{name}"), value, what))
        };
        match growth {
            Growth { rounds, .. } if !(1..=100_000).contains(rounds) => {
                return setting("rounds", rounds, "must be 1 to 100000");
            }
            Growth { depth, .. } if !(1..=16).contains(depth) => return setting("depth", depth, "must be 1 to 16"),
            Growth { rate, .. } if !(*rate > 0.0 && *rate <= 1.0) => {
                return setting("rate", rate, "must be above 0 and up to 1");
            }
            _ => {}
        }
        // rows of a left record together: what an order is learnt from
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by_key(|at| rows.groups[*at]);
        let groups: Vec<&[usize]> = order.chunk_by(|a, b| rows.groups[*a] == rows.groups[*b]).collect();
        let folds = folds(&groups, growth.seed)?;
        let values: Vec<f32> =
            order.iter().flat_map(|at| &rows.values[at * rows.width..][..rows.width]).copied().collect();
        let labels: Vec<f32> = order.iter().map(|at| f32::from(u8::from(rows.labels[*at]))).collect();
        let mut data = DMatrix::from_dense_vec(values, n, rows.width).map_err(failed)?;
        data = data.with_labels(&labels).map_err(failed)?;
        if growth.goal == Goal::Order {
            let sizes: Vec<usize> = groups.iter().map(|group| group.len()).collect();
            data = data.with_group_sizes(&sizes).map_err(failed)?;
        }
        let mut monotone = vec![Monotone::None; rows.width];
        rows.rising.iter().for_each(|at| monotone[*at] = Monotone::Increasing);
        let params = TrainingParams::builder()
            .objective(match growth.goal {
                Goal::Match => Objective::BinaryLogistic(RegLoss::default()),
                Goal::Order => Objective::RankNdcg(LambdaRank::default()),
            })
            .max_depth(growth.depth)
            .eta(growth.rate)
            .subsample(if growth.goal == Goal::Match { SAMPLE } else { 1.0 })
            .colsample_bytree(SAMPLE)
            .monotone_constraints(monotone)
            .seed(growth.seed)
            .global_pool();
        let params = match growth.goal {
            Goal::Match => params.eval_metric(EvalMetric::LogLoss),
            Goal::Order => params,
        };
        let params = params.build().map_err(failed)?;
        let grown = CrossValidation::new(&params, &data, growth.rounds, folds)
            .early_stopping(CvStopping::fold_mean(PATIENCE))
            .refit()
            .map_err(failed)?;
        let margins = grown.report.out_of_fold().map_err(failed)?.margins;
        let mut held_out = vec![0.0; n];
        order.iter().zip(margins.as_slice()).for_each(|(at, margin)| held_out[*at] = *margin);
        Ok(Grown { trees: Trees(grown.model), rounds: grown.num_boost_round, held_out })
    }

    /// Reads a model that XGBoost, or this program, wrote as JSON.
    ///
    /// # Errors
    /// A file that is missing, damaged, or of something that is no model of trees with one output.
    pub fn read(path: &Path) -> Result<Self> {
        let remedy = "give a model that xgboost's save_model wrote as .json, or train it again";
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        let wrong = |what: String| Error::model(path, "JSON", what, remedy);
        let model = BoostedModel::decode(&bytes, ModelFormat::XgboostJson).map_err(|e| wrong(e.to_string()))?;
        if model.n_outputs() != 1 {
            return Err(wrong(format!("has {} outputs; a matcher has one", model.n_outputs())));
        }
        Ok(Trees(model))
    }

    /// The model as XGBoost's JSON, with names of its features.
    ///
    /// # Errors
    /// None that a user could cause.
    pub fn json(&self, names: &[String]) -> Result<Vec<u8>> {
        let bytes = self.0.encode(ModelFormat::XgboostJson).map_err(failed)?;
        let wrong = |e: serde_json::Error| Error::Internal { op: "write model.json", what: e.to_string() };
        let mut value: serde_json::Value = serde_json::from_slice(&bytes).map_err(wrong)?;
        value["learner"]["feature_names"] = names.into();
        value["learner"]["feature_types"] = vec!["float"; names.len()].into();
        serde_json::to_vec(&value).map_err(wrong)
    }

    /// Features of a row.
    pub fn width(&self) -> usize {
        self.0.n_features()
    }

    /// Margins `[n]` of rows `[n, width]`, NaN where a value is not known.
    ///
    /// # Errors
    /// An infinite value, rows that are not whole.
    pub fn margins(&self, values: &[f32]) -> Result<Vec<f32>> {
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let margins = self.0.predict_margin_rows(values, Iterations::Best).map_err(failed)?;
        Ok(margins.as_slice().to_vec())
    }

    /// The loss that each feature's splits saved in all, shares of one, highest first.
    pub fn importance(&self) -> Vec<(usize, f64)> {
        let gains = self.0.feature_importance(ImportanceType::TotalGain);
        let sum: f64 = gains.values().sum();
        let mut shares: Vec<(usize, f64)> = gains.into_iter().map(|(at, gain)| (at, gain / sum.max(1e-12))).collect();
        shares.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        shares
    }
}

/// Folds in which all rows of a left record are on one side; places count in the order of groups.
fn folds(groups: &[&[usize]], seed: u64) -> Result<Vec<Fold>> {
    if groups.len() < FOLDS {
        let what = format!("pairs of at least {FOLDS} left records are needed to learn from");
        return Err(Error::setting("data", format!("{} left records", groups.len()), what));
    }
    let mut numbers: Vec<usize> = (0..groups.len()).collect();
    numbers.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut fold_of = vec![0; groups.len()];
    numbers.iter().enumerate().for_each(|(at, group)| fold_of[*group] = at % FOLDS);
    let of_row: Vec<usize> = groups.iter().zip(&fold_of).flat_map(|(g, fold)| vec![*fold; g.len()]).collect();
    let fold = |wanted: usize| {
        let (test, train) = (0..of_row.len()).partition(|row| of_row[*row] == wanted);
        Fold::new(train, test)
    };
    Ok((0..FOLDS).map(fold).collect())
}
