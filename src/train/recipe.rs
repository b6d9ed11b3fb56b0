//! A recipe: one TOML file that says everything about a run.
//!
//! What a person writes may leave almost everything out; what is in the run folder is resolved: every default written
//! out, `--set` applied, paths absolute. Unknown keys are refused, since a misspelt key would otherwise mean its default.
//! Relative paths count from the recipe's folder, and from the working directory where nothing is there.
//! Refused: recipes that include recipes, and environment variables in them (a recipe is read in one place).

mod data;
pub(super) mod keys;
mod model;
mod paths;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::data::{Data, NamedSource, Negatives, SplitRatios};
use self::keys::{apply, with_new_names};
pub use self::model::ModelSettings;
use super::augment::Augment;
use super::batches::ClassBalance;
use super::optimizer;
use crate::calibrate::{Method, ThresholdObjective};
use crate::losses::Loss;
use crate::nn::Dtype;
use crate::records::Split;
use crate::text::TextConfig;
use crate::{Error, Result};

/// A run, described.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The run's name, for people.
    pub name: String,
    /// The architecture and the weights to begin with.
    #[serde(alias = "start")]
    pub model: ModelSettings,
    /// What is learnt from.
    pub data: Data,
    /// How records become tokens.
    #[serde(default)]
    pub text: TextConfig,
    /// How weights change.
    #[serde(default)]
    pub train: TrainSettings,
    /// How scores become probabilities and decisions.
    #[serde(default)]
    pub calibrate: Calibrate,
    /// Pairs made from records; none where it is left out.
    #[serde(default)]
    pub augment: Option<Augment>,
    /// What the run should reach; not read by training.
    #[serde(default)]
    pub expect: Option<Expect>,
}

/// Rows of a segment table that nobody will need.
const MOST_SEGMENTS: usize = 256;
/// Repetitions of a pair, and non-matches made for one, that nobody will need.
const MOST_COPIES: usize = 10_000;
/// Pairs of a step that nobody will need.
const MOST_BATCH: u64 = 1 << 20;

/// Documents of a list that nobody will need.
const MOST_LIST: usize = 1000;

/// How weights change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainSettings {
    /// Seed of everything drawn.
    pub seed: u64,
    /// Precision of the big matrix products: `f32` or `bf16`.
    pub dtype: Dtype,
    /// Times the training pairs are seen.
    pub epochs: u64,
    /// Pairs in a batch.
    pub batch: usize,
    /// Batches in a step.
    #[serde(alias = "accumulate")]
    pub gradient_accumulation: usize,
    /// Tokens that are in the network at once; limits memory, not results.
    #[serde(alias = "tokens")]
    pub max_tokens_per_pass: usize,
    /// Of two towers, whose batch is each other's non-matches: what is past `max_tokens_per_pass` is computed in parts, twice.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cached_gradients: bool,
    /// Peak learning rate.
    pub lr: f64,
    /// Factors of the rate for parameters whose name begins with a key; the longest such key counts.
    pub learning_rates: BTreeMap<String, f32>,
    /// Share of the run in which the rate rises.
    pub warmup: f64,
    /// Share of the peak rate that is left at the end.
    #[serde(alias = "final_lr")]
    pub min_lr_ratio: f64,
    /// Decoupled weight decay; never on LayerNorm and bias.
    pub weight_decay: f32,
    /// AdamW's first decay.
    pub beta1: f32,
    /// AdamW's second decay.
    pub beta2: f32,
    /// AdamW's epsilon.
    pub epsilon: f32,
    /// Largest global norm of the gradients; 0: no limit.
    #[serde(alias = "clip")]
    pub max_grad_norm: f32,
    /// Dropout everywhere; the start's own where it is left out.
    pub dropout: Option<f32>,
    /// What is done about rare matches.
    pub class_balance: ClassBalance,
    /// Share of matches that the balance aims at.
    pub positive_share: f64,
    /// What is minimized: `bce` or `focal` of each pair; of a query's candidates `hinge`, `ranknet`, `softmax`, `list_mle` or `lambda`; with a teacher
    /// `mse`, `margin_mse` or `kl`; of two towers' vectors `triplet` or `sup_con` (two towers' own softmax over the batch is called `bce`).
    pub loss: Loss,
    /// A model whose scores of the training pairs a loss learns from, or a list of models, whose mean it learns from; a source's file of scores goes
    /// first.
    #[serde(with = "paths", skip_serializing_if = "Vec::is_empty")]
    pub teacher: Vec<PathBuf>,
    /// Documents of a list, for a loss over lists: a match and non-matches of its query.
    pub list_size: usize,
    /// Label smoothing `s`: targets become `s / 2` and `1 - s / 2`.
    pub label_smoothing: f32,
    /// Chance that a pair's sides are swapped in an epoch.
    #[serde(alias = "swap")]
    pub swap_probability: f64,
    /// Decay of a moving average of the weights, which is then what is validated and kept.
    #[serde(alias = "average")]
    pub ema_decay: Option<f32>,
    /// The measure by which early stopping and the choice of the best weights go. Rankers measure `f1` (the best over all thresholds), `ap`
    /// (average precision) and `loss` (log loss; steadier than the others, which a few pairs at the very top can move).
    #[serde(alias = "measure")]
    pub metric: String,
    /// Validations without a new best after which the run stops; never where it is left out.
    pub early_stopping: Option<u32>,
    /// Steps between validations; each epoch's end where it is left out.
    pub validate_every: Option<u64>,
    /// Steps between checkpoints, besides those after each validation.
    pub checkpoint_every: u64,
    /// Of a split encoder with compression: the compression learns alone first; not where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_attention: Option<MatchAttention>,
}

/// How the compression of a split encoder learns, before all else does, to leave attention as it is without it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MatchAttention {
    /// Times the training pairs are seen.
    pub epochs: u64,
    /// Peak learning rate.
    pub lr: f64,
}

impl Default for MatchAttention {
    fn default() -> Self {
        MatchAttention { epochs: 1, lr: 1e-3 }
    }
}

impl Default for TrainSettings {
    fn default() -> Self {
        TrainSettings {
            seed: 1,
            dtype: Dtype::F32,
            epochs: 10,
            batch: 32,
            gradient_accumulation: 1,
            max_tokens_per_pass: 8192,
            cached_gradients: false,
            lr: 5e-5,
            learning_rates: BTreeMap::new(),
            warmup: 0.1,
            min_lr_ratio: 0.0,
            weight_decay: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            max_grad_norm: 1.0,
            dropout: None,
            class_balance: ClassBalance::None,
            positive_share: 0.5,
            loss: Loss::Bce,
            teacher: Vec::new(),
            list_size: 5,
            label_smoothing: 0.0,
            swap_probability: 0.0,
            ema_decay: None,
            metric: "f1".into(),
            early_stopping: None,
            validate_every: None,
            checkpoint_every: 500,
            match_attention: None,
        }
    }
}

impl TrainSettings {
    /// The optimiser's part.
    pub fn adamw(&self) -> optimizer::Settings {
        let TrainSettings { beta1, beta2, epsilon, weight_decay, dtype, .. } = *self;
        optimizer::Settings { beta1, beta2, epsilon, weight_decay, half: dtype == Dtype::Bf16 }
    }

    pub(super) fn check(&self) -> Result<()> {
        let share = |name: &str, value: f64, low: bool, high: bool| {
            let fits = (value > 0.0 || (low && value == 0.0)) && (value < 1.0 || (high && value == 1.0));
            let ends =
                format!("{}0 and {}1", if low { "between " } else { "above " }, if high { "" } else { "below " });
            if fits { Ok(()) } else { Err(Error::setting(format!("train.{name}"), value, format!("must lie {ends}"))) }
        };
        let least = |name: &str, value: u64| match value {
            0 => Err(Error::setting(format!("train.{name}"), value, "must be at least 1")),
            _ => Ok(()),
        };
        let batch = [("batch", self.batch), ("gradient_accumulation", self.gradient_accumulation)];
        if let Some((name, value)) = batch.into_iter().find(|(_, value)| *value as u64 > MOST_BATCH) {
            return Err(Error::setting(format!("train.{name}"), value, format!("must be at most {MOST_BATCH}")));
        }
        least("epochs", self.epochs)?;
        least("batch", self.batch as u64)?;
        least("gradient_accumulation", self.gradient_accumulation as u64)?;
        least("max_tokens_per_pass", self.max_tokens_per_pass as u64)?;
        least("checkpoint_every", self.checkpoint_every)?;
        least("validate_every", self.validate_every.unwrap_or(1))?;
        least("early_stopping", self.early_stopping.unwrap_or(1).into())?;
        if !(2..=MOST_LIST).contains(&self.list_size) {
            return Err(Error::setting("train.list_size", self.list_size, format!("must be 2 to {MOST_LIST}")));
        }
        share("warmup", self.warmup, true, true)?;
        share("min_lr_ratio", self.min_lr_ratio, true, true)?;
        share("positive_share", self.positive_share, false, false)?;
        share("label_smoothing", self.label_smoothing.into(), true, false)?;
        share("swap_probability", self.swap_probability, true, true)?;
        share("dropout", self.dropout.unwrap_or(0.0).into(), true, false)?;
        share("ema_decay", self.ema_decay.unwrap_or(0.5).into(), false, false)?;
        share("beta1", self.beta1.into(), true, false)?;
        share("beta2", self.beta2.into(), true, false)?;
        for (name, value) in [("weight_decay", self.weight_decay), ("max_grad_norm", self.max_grad_norm)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::setting(format!("train.{name}"), value, "must be 0 or more"));
            }
        }
        if let Some((name, value)) = self.learning_rates.iter().find(|(_, v)| !(v.is_finite() && **v >= 0.0)) {
            return Err(Error::setting(format!("train.learning_rates.{name}"), value, "must be 0 or more"));
        }
        for (name, value) in [("lr", self.lr), ("epsilon", self.epsilon.into())] {
            if !(value.is_finite() && value > 0.0) {
                return Err(Error::setting(format!("train.{name}"), value, "must be above 0"));
            }
        }
        if let Some(MatchAttention { epochs, lr }) = self.match_attention {
            least("match_attention.epochs", epochs)?;
            if !(lr.is_finite() && lr > 0.0) {
                return Err(Error::setting("train.match_attention.lr", lr, "must be above 0"));
            }
        }
        if self.dtype == Dtype::Int8 {
            return Err(Error::setting("train.dtype", "int8", "training runs in f32 or bf16; int8 is for scoring"));
        }
        Ok(())
    }
}

/// How scores become probabilities and decisions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Calibrate {
    /// The map fitted on validation.
    pub method: Method,
    /// What the threshold is for.
    pub goal: ThresholdObjective,
}

impl Default for Calibrate {
    fn default() -> Self {
        Calibrate { method: Method::Beta, goal: ThresholdObjective::F1 }
    }
}

/// What the run should reach, and where and how long it ran when that was written down.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// Test F1 at the stored threshold, by source.
    pub f1: BTreeMap<String, f64>,
    /// Share of test queries whose match is first, by source; what `sverka rank` measures, not checked by training.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub accuracy_at_1: BTreeMap<String, f64>,
    /// The machine.
    pub hardware: Option<String>,
    /// Wall time.
    pub minutes: Option<f64>,
}

impl Recipe {
    /// Reads a recipe, applies `key=value` settings above it (dotted keys; a number steps into a list; the value is TOML,
    /// or a plain string where it is not), resolves paths and checks values.
    pub fn read(path: &Path, sets: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let refused = |e: toml::de::Error| {
            let line = e.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count() as u64);
            let what = e.message().replace('\n', " ");
            Error::data(path, line, what, "correct it; `sverka init` writes a recipe that works")
        };
        let mut recipe: Recipe = if sets.is_empty() {
            toml::from_str(&text).map_err(refused)?
        } else {
            let mut table = with_new_names("", toml::from_str(&text).map_err(refused)?);
            for set in sets {
                apply(&mut table, set)?;
            }
            toml::Value::Table(table).try_into().map_err(refused)?
        };
        recipe.rebase(path.parent().unwrap_or(Path::new("")))?;
        recipe.check()?;
        Ok(recipe)
    }

    /// Every default written out.
    pub fn resolved(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::Internal { op: "write recipe", what: e.to_string() })
    }

    fn rebase(&mut self, folder: &Path) -> Result<()> {
        let folder = std::path::absolute(folder.join(".")).map_err(Error::io("resolve", folder))?;
        self.model.take_vectors()?;
        let of_sources = self.data.sources.iter_mut().flat_map(|source| {
            let of_negatives = source.negatives.iter_mut().flat_map(|how| how.model.iter_mut().chain(&mut how.list));
            source.teacher.iter_mut().chain(of_negatives)
        });
        let others = of_sources.chain(&mut self.train.teacher);
        let start = std::iter::once(&mut self.model.init).filter(|init| !init.as_os_str().is_empty());
        let fresh = self.model.fresh.iter_mut().map(|fresh| &mut fresh.tokenizer);
        for path in start.chain(fresh).chain(others) {
            let there = folder.join(&*path);
            *path =
                if there.exists() { there } else { std::path::absolute(&*path).map_err(Error::io("resolve", path))? };
        }
        for source in self.data.sources.iter_mut().map(|s| &mut s.from).chain(&mut self.data.exclude) {
            source.rebase(&folder);
        }
        self.data.sources.iter_mut().for_each(|source| source.read.rebase(&folder));
        Ok(())
    }

    fn check(&self) -> Result<()> {
        self.train.check()?;
        let model = self.model.architecture()?.model();
        if self.train.cached_gradients && model.reads().is_divisible() {
            let what = "is for towers (dssm, detext, colbert): batches of other models are divided as they are";
            return Err(Error::setting("train.cached_gradients", true, what));
        }
        if self.train.match_attention.is_some() && model.split().is_none_or(|split| split.compression().is_empty()) {
            let what = "is for a split encoder that compresses: architecture = \"yati\" and compress in [model]";
            return Err(Error::setting("train.match_attention", "(given)", what));
        }
        self.model.check_start()?;
        if let Some(segments) = self.model.segments.filter(|n| !(1..=MOST_SEGMENTS).contains(n)) {
            let what = format!("a segment table has 1 to {MOST_SEGMENTS} rows");
            return Err(Error::setting("model.segments", segments, what));
        }
        let is_name = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
        if !is_name(&self.name) {
            return Err(Error::setting(
                "name",
                &self.name,
                "is the run's folder in runs/: give a plain name without slashes",
            ));
        }
        if self.data.sources.is_empty() {
            return Err(Error::setting("data.sources", "[]", "must name at least one labelled set"));
        }
        let mut names: Vec<&str> = self.data.sources.iter().map(|s| s.name.as_str()).collect();
        for name in &self.data.eval_only {
            if !names.contains(&name.as_str()) {
                let what = format!("is no source's name; there are {}", names.join(", "));
                return Err(Error::setting("data.eval_only", name, what));
            }
        }
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
            return Err(Error::setting("data.sources", twice[0], "is the name of two sources"));
        }
        if self.text.max_tokens == 0 {
            return Err(Error::setting("text.max_tokens", 0, "must be at least 1"));
        }
        if let Some(Augment { negatives, positives, word_dropout, field_dropout, span_swap, .. }) = self.augment {
            let most = [
                ("negatives", negatives, 100.0),
                ("positives", positives, 100.0),
                ("word_dropout", word_dropout, 1.0),
                ("field_dropout", field_dropout, 1.0),
                ("span_swap", span_swap, 1.0),
            ];
            if let Some((name, value, most)) = most.into_iter().find(|(_, value, most)| !(0.0..=*most).contains(value))
            {
                return Err(Error::setting(format!("augment.{name}"), value, format!("must be 0 to {most}")));
            }
        }
        for (i, source) in self.data.sources.iter().enumerate() {
            let Negatives { hard, random, ceiling, model, list } = source.negatives.clone().unwrap_or_default();
            if let Some(list) = list.filter(|_| model.is_some()) {
                let what = "names the hard non-matches, which model would choose: give one of both";
                return Err(Error::setting(format!("data.sources.{i}.negatives.list"), list.display(), what));
            }
            if !(0.0..=1.0).contains(&ceiling) || ceiling == 0.0 {
                let what = "is a share of a match's score: above 0, and 1 at most";
                return Err(Error::setting(format!("data.sources.{i}.negatives.ceiling"), ceiling, what));
            }
            for (name, value, least) in
                [("repeat", source.repeat as usize, 1), ("negatives.hard", hard, 0), ("negatives.random", random, 0)]
            {
                if !(least..=MOST_COPIES).contains(&value) {
                    let what = format!("must be {least} to {MOST_COPIES}");
                    return Err(Error::setting(format!("data.sources.{i}.{name}"), value, what));
                }
            }
            let parts = source.train.iter().chain(&source.valid).chain(&source.test);
            let parts: Vec<Split> = parts.copied().collect();
            if let Some(part) = parts.iter().find(|part| parts.iter().filter(|p| p == part).count() > 1) {
                let what = format!("uses its {part:?} part twice among train, valid and test");
                return Err(Error::setting("data.sources", &source.name, what));
            }
        }
        let share = self.data.label_fraction;
        if !(share > 0.0 && share <= 1.0) {
            return Err(Error::setting("data.label_fraction", share, "must be above 0 and up to 1"));
        }
        let teachers = !self.train.teacher.is_empty() || self.data.sources.iter().any(|s| s.teacher.is_some());
        if self.train.loss.wants_teacher() != teachers {
            let name = toml::Value::try_from(self.train.loss).map(|name| name.to_string()).unwrap_or_default();
            let what = match teachers {
                true => "does not look at a teacher's scores: give mse, margin_mse or kl, or leave the teacher out",
                false => "wants a teacher: train.teacher = \"MODEL\", or teacher = \"FILE\" in data.sources",
            };
            return Err(Error::setting("train.loss", name.trim_matches('"'), what));
        }
        let SplitRatios { valid, test } = self.data.split;
        if !(valid >= 0.0 && test >= 0.0 && valid + test < 1.0) {
            let what = "shares must be 0 or more and leave something to train on";
            return Err(Error::setting("data.split", format!("{valid}, {test}"), what));
        }
        Ok(())
    }
}
