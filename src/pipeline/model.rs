//! What a stage scores with: one model, or boosted trees over the scores of several.

use std::path::Path;

use super::plan::{Kind, StagePlan};
#[cfg(feature = "boosting")]
use crate::boost::Booster;
use crate::bundle::Bundle;
use crate::nn::{Device, Dtype};
use crate::ranker::{List, Ranker, Score};
use crate::text::TextConfig;
use crate::{Error, Result};

/// The file by which a folder is known as a booster's.
const BOOST: &str = "boost.json";

/// A ranker that decides.
pub enum StageModel {
    /// One model.
    Bundle(Box<Bundle>),
    /// Trees, with their rankers.
    #[cfg(feature = "boosting")]
    Booster(Box<Booster>),
}

impl StageModel {
    /// Opens a folder of either kind.
    ///
    /// # Errors
    /// What [`Bundle::open`] and [`Booster::open`](crate::boost::Booster::open) refuse; a booster where this program was built without boosting.
    pub fn open(dir: &Path, dtype: Option<Dtype>, device: Device) -> Result<Self> {
        match dir.join(BOOST).is_file() {
            true => open_booster(dir, dtype, device),
            false => Ok(StageModel::Bundle(Box::new(Bundle::open(dir, dtype, device)?))),
        }
    }

    /// Opens a stage's model. `key` names it in errors.
    ///
    /// # Errors
    /// None given; a folder that is no model, or one of another kind than the stage.
    pub fn of_stage(key: &str, stage: &StagePlan, dtype: Option<Dtype>, device: Device) -> Result<Self> {
        match (stage.kind, &stage.model) {
            (Kind::Model | Kind::Boosting, Some(path)) => {
                let model = Self::open(path, dtype, device)?;
                if stage.kind == Kind::Boosting && model.bundle().is_some() {
                    let what = "is a model, and boosting wants a folder of `sverka boost train`";
                    return Err(Error::setting(key, path.display(), what));
                }
                Ok(model)
            }
            (kind, path) => {
                let bundle = open_bundle(key, kind, path.as_deref(), dtype, device)?;
                Ok(StageModel::Bundle(Box::new(stage.duo.into_iter().fold(bundle, Bundle::with_duo))))
            }
        }
    }

    /// The one model.
    pub fn bundle(&self) -> Option<&Bundle> {
        match self {
            StageModel::Bundle(bundle) => Some(bundle),
            #[cfg(feature = "boosting")]
            StageModel::Booster(_) => None,
        }
    }

    /// A score as the probability of a match, and whether the pair is accepted.
    pub fn decide(&self, score: &Score) -> (f32, bool) {
        match self {
            StageModel::Bundle(bundle) => bundle.decide(score),
            #[cfg(feature = "boosting")]
            StageModel::Booster(booster) => booster.decide(score),
        }
    }

    /// The columns that it learned to read, in order; empty: all.
    pub fn fields(&self) -> Vec<String> {
        match self {
            StageModel::Bundle(bundle) => bundle.manifest.rendering.fields.clone(),
            #[cfg(feature = "boosting")]
            StageModel::Booster(booster) => booster.fields(),
        }
    }

    /// How records become text, if they show these columns.
    pub fn rendering(&self, fields: Vec<String>) -> TextConfig {
        match self {
            StageModel::Bundle(bundle) => bundle.as_ref().clone().with_fields(fields).tokenizer().rendering().clone(),
            #[cfg(feature = "boosting")]
            StageModel::Booster(_) => TextConfig { fields, ..TextConfig::default() },
        }
    }

    /// The same, reading these columns; a booster reads those that it was trained on.
    pub fn with_fields(self, fields: &[String]) -> Self {
        match self {
            StageModel::Bundle(bundle) => StageModel::Bundle(Box::new(bundle.with_fields(fields.to_vec()))),
            #[cfg(feature = "boosting")]
            booster => booster,
        }
    }

    /// What its scores and decisions depend on.
    ///
    /// # Errors
    /// Weights that can't be read.
    pub fn fingerprint(&self) -> Result<serde_json::Value> {
        match self {
            StageModel::Bundle(bundle) => {
                let manifest = serde_json::to_value(&bundle.manifest);
                let manifest = manifest.map_err(|e| Error::Internal { op: "fingerprint", what: e.to_string() })?;
                Ok(serde_json::json!([manifest, bundle.fingerprint()?]))
            }
            #[cfg(feature = "boosting")]
            StageModel::Booster(booster) => booster.fingerprint(),
        }
    }
}

impl Ranker for StageModel {
    fn score(&self, lists: &[List]) -> Result<Vec<Vec<Score>>> {
        match self {
            StageModel::Bundle(bundle) => bundle.score(lists),
            #[cfg(feature = "boosting")]
            StageModel::Booster(booster) => booster.score(lists),
        }
    }
    fn is_listwise(&self) -> bool {
        match self {
            StageModel::Bundle(bundle) => bundle.is_listwise(),
            #[cfg(feature = "boosting")]
            StageModel::Booster(booster) => booster.is_listwise(),
        }
    }
}

/// Opens a stage's model of the architecture that its kind wants.
pub(super) fn open_bundle(
    key: &str,
    kind: Kind,
    path: Option<&Path>,
    dtype: Option<Dtype>,
    device: Device,
) -> Result<Bundle> {
    let path = path.ok_or_else(|| Error::setting(key, "(not given)", "give the model's folder"))?;
    let bundle = Bundle::open(path, dtype, device)?;
    let is = bundle.manifest.architecture.name();
    match kind.architecture() {
        Some(wanted) if wanted != is => {
            Err(Error::setting(key, path.display(), format!("is a {is}, and {kind} wants a {wanted}")))
        }
        _ => Ok(bundle),
    }
}

#[cfg(feature = "boosting")]
fn open_booster(dir: &Path, dtype: Option<Dtype>, device: Device) -> Result<StageModel> {
    Ok(StageModel::Booster(Box::new(Booster::open(dir, dtype, device)?)))
}
#[cfg(not(feature = "boosting"))]
fn open_booster(dir: &Path, _: Option<Dtype>, _: Device) -> Result<StageModel> {
    let what = "is a booster, and this program was built without the feature `boosting`";
    Err(Error::setting("model", dir.display(), what))
}
