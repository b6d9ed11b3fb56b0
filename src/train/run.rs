//! One run, from a recipe to a bundle.
//!
//! A run folder holds `recipe.toml` (resolved), `environment.json`, `log.jsonl`, `checkpoint/`, and at the end `model/`
//! (the bundle, with calibration and threshold from validation) and `metrics.json`. The test part is looked at once, after
//! everything is fitted and chosen.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::compression;
use super::corpus::{Corpus, Counts};
use super::environment::{self, Environment};
use super::objective::Objective;
use super::owner::{Owner, is_before_the_run};
use super::progress::{Progress, Validation};
use super::ranking::RankingObjective;
use super::recipe::Recipe;
use super::trainer;
use crate::bundle::{self, Architecture, Checkpoint, Contents, Manifest, Purpose, Storage, WordStart};
use crate::calibrate::{Calibration, Threshold, choose_threshold, sigmoid, too_few};
use crate::eval::{self, Report};
use crate::files::write_beside;
use crate::models::bert::{self, Config};
use crate::models::{Module, Net, framed, net};
use crate::nn::{Array, Parameters, Weights};
use crate::records::Record;
use crate::text::tokenizers::Grown;
use crate::text::{TextConfig, TextEncoder};
use crate::{Error, Result};

/// `metrics.json`: what came out of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The recipe's name.
    pub name: String,
    /// Steps made.
    pub steps: u64,
    /// Step of the weights that were kept.
    pub best_step: u64,
    /// Training examples seen, repetitions included.
    pub items: u64,
    /// Seconds of training, validation and checkpoints.
    pub seconds: f64,
    /// All validations.
    pub validations: Vec<Validation>,
    /// The kept weights on validation, after calibration.
    pub valid: Report,
    /// The kept weights on each source's test part, after calibration, at the threshold from validation.
    pub test: BTreeMap<String, Report>,
    /// The same with the plain logistic function in place of the calibration, at one half.
    pub uncalibrated: BTreeMap<String, Report>,
    /// The map fitted on validation; `None` where the scores say nothing about the labels.
    pub calibration: Option<Calibration>,
    /// The threshold chosen on validation; `None` without a map: then one half.
    pub threshold: Option<Threshold>,
    /// What became of each source.
    pub data: Vec<Counts>,
    /// SHA-256 of the training pairs.
    pub fingerprint: String,
    /// Average precision on validation without an input each, of a model that reads more than text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ablation: BTreeMap<String, f64>,
    /// Test F1 by source that the recipe expects.
    pub expected: BTreeMap<String, f64>,
}

impl Outcome {
    /// What stayed below the recipe's `[expect]`, `None` where nothing did.
    pub fn missed(&self) -> Option<String> {
        let f1 = |name: &str| self.test.get(name).map(|report| report.f1);
        below(&self.expected, f1, |name| format!("{name}: test F1"))
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (steps, best) = (self.steps, self.best_step);
        write!(f, "{}: {steps} steps in {:.0} s, weights of step {best} kept", self.name, self.seconds)?;
        let parts = std::iter::once(("validation", &self.valid));
        for (name, r) in parts.chain(self.test.iter().map(|(name, r)| (name.as_str(), r))) {
            let test = if name == "validation" { "" } else { " test" };
            let (f1, p, r_, ece) = (100.0 * r.f1, 100.0 * r.precision, 100.0 * r.recall, r.ece);
            write!(
                f,
                "\n{name}{test}: F1 {f1:.1}%, precision {p:.1}%, recall {r_:.1}%, ECE {ece:.3} ({} pairs)",
                r.pairs
            )?;
        }
        Ok(())
    }
}

/// What came out of a run, its last file.
pub(super) const METRICS: &str = "metrics.json";

/// The outcome of a run that is finished.
pub(super) fn finished<T: DeserializeOwned>(metrics: &Path, progress: &dyn Progress) -> Result<Option<T>> {
    if !metrics.exists() {
        return Ok(None);
    }
    progress.note("the run is finished; nothing to do");
    let text = std::fs::read(metrics).map_err(Error::io("read", metrics))?;
    let remedy = "delete the file and --resume to have it made again";
    serde_json::from_slice(&text).map(Some).map_err(|e| Error::data(metrics, None, e.to_string(), remedy))
}

/// What stayed below its expected value, `None` where nothing did; `named` says what a key measures.
pub(super) fn below(
    expected: &BTreeMap<String, f64>,
    measured: impl Fn(&str) -> Option<f64>,
    named: impl Fn(&str) -> String,
) -> Option<String> {
    let short = expected.iter().filter_map(|(key, wanted)| match measured(key) {
        Some(value) if value >= *wanted => None,
        Some(value) => Some(format!("{} {value:.4}, expected {wanted}", named(key))),
        None => Some(format!("{} was not measured, expected {wanted}", named(key))),
    });
    let short: Vec<String> = short.collect();
    (!short.is_empty()).then(|| short.join("; "))
}

/// Trains by a recipe into `run_dir`, which must be new or empty unless `resume`; a finished run that is resumed just
/// gives its outcome.
///
/// # Errors
/// A folder in use, a recipe that is not the one the run began with, and whatever data, model and disk have to say.
pub fn train(recipe: &Recipe, run_dir: &Path, resume: bool, progress: &dyn Progress) -> Result<Outcome> {
    let begun = is_begun(recipe, run_dir, resume)?;
    let architecture = recipe.model.architecture()?;
    let reading = TextConfig { inputs: architecture.inputs(), ..recipe.text.clone() };
    let with_columns = Recipe { text: reading, ..recipe.clone() };
    let written = recipe; // as it is in the run folder
    let recipe = &with_columns;
    let metrics = run_dir.join(METRICS);
    if let Some(outcome) = finished(&metrics, progress)? {
        return Ok(outcome);
    }
    // a new folder is made, and taken, once everything that is needed was read
    let mut owner = if run_dir.exists() { Some(Owner::of(run_dir)?) } else { None };
    let Start { architecture, config, mut weights, text: tokenizer, grown } = start(recipe, architecture, progress)?;
    let model = architecture.model();
    let corpus = Corpus::read_for(recipe, &tokenizer, model.reads(), begun.then_some(run_dir))?;
    describe(&corpus, recipe, progress);
    let labels = &corpus.valid.labels;
    if !(labels.contains(&true) && labels.contains(&false)) {
        let what = "validation needs matches and non-matches: give a source with both in a valid split, or data.split";
        return Err(Error::setting("data.sources", format!("{} validation pairs", labels.len()), what));
    }
    let architecture = architecture.fitted(&corpus.train.records(), &tokenizer)?;
    let model = architecture.model();
    count_tokens(&model.modules(), &config, &mut weights, &corpus.train.records(), &tokenizer)?;
    let mut net = Net::training(config.clone(), &model.modules(), weights, recipe.train.dtype, recipe.train.seed)?;
    if recipe.train.cached_gradients {
        net.cache_gradients(recipe.train.max_tokens_per_pass);
    }
    if !begun {
        begin(written, run_dir, &mut owner)?;
    }
    let mut tokenizer_from = recipe.model.tokenizer().to_path_buf();
    if let Some(grown) = grown {
        tokenizer_from = run_dir.join("tokenizer");
        grown.save(&tokenizer_from)?;
    }
    corpus.teacher.keep(run_dir)?;
    if let (Some(matching), Some(split)) = (recipe.train.match_attention, model.split()) {
        let of = compression::Start { split, text: &tokenizer, corpus: &corpus, settings: &recipe.train, matching };
        compression::match_attention(&of, &mut net, &run_dir.join("compression"), begun, progress)?;
    }
    let ablated = model.without();
    let mut objective =
        RankingObjective { model: &*model, net, text: &tokenizer, corpus: &corpus, settings: &recipe.train };
    let state = trainer::fit(&mut objective, &recipe.train, run_dir, resume, progress)?;

    let scores = objective.scores(&corpus.valid)?;
    let mut ablation = BTreeMap::new();
    for (name, without) in &ablated {
        objective.model = &**without;
        let probabilities: Vec<f32> =
            objective.scores(&corpus.valid)?.iter().map(|&z| sigmoid(f64::from(z)) as f32).collect();
        let left = eval::Curve::new(&probabilities, labels).average_precision();
        progress.note(&format!("without {name}: average precision {left:.4} on validation"));
        ablation.insert(name.clone(), left);
    }
    objective.model = &*model;
    let (calibration, threshold) = calibrated(recipe, &scores, labels, progress)?;
    // what the bundle will make of a score
    let mut manifest = Manifest { calibration, threshold, ..Manifest::default() };
    let accepts_from = threshold.map_or(0.5, |threshold| threshold.value);
    let probabilities = |scores: &[f32]| scores.iter().map(|&s| manifest.probability(s)).collect::<Vec<f32>>();
    let valid = eval::report(&probabilities(&scores), labels, accepts_from)?;
    let (mut test, mut uncalibrated) = (BTreeMap::new(), BTreeMap::new());
    for (name, lists) in corpus.test.iter().filter(|(_, lists)| !lists.labels.is_empty()) {
        let scores = objective.scores(lists)?;
        test.insert(name.clone(), eval::report(&probabilities(&scores), &lists.labels, accepts_from)?);
        let plain: Vec<f32> = scores.iter().map(|&s| sigmoid(f64::from(s)) as f32).collect();
        uncalibrated.insert(name.clone(), eval::report(&plain, &lists.labels, 0.5)?);
    }
    let outcome = Outcome {
        name: recipe.name.clone(),
        steps: state.step,
        best_step: state.best.map_or(state.step, |(_, step)| step),
        items: state.items,
        seconds: state.seconds,
        validations: state.validations,
        valid,
        test,
        uncalibrated,
        calibration: manifest.calibration.take(),
        threshold,
        data: corpus.counts.clone(),
        fingerprint: corpus.fingerprint.clone(),
        ablation,
        expected: recipe.expect.as_ref().map(|e| e.f1.clone()).unwrap_or_default(),
    };
    let made_of = (&config, &*tokenizer_from);
    save_bundle(recipe, architecture, run_dir, &outcome, made_of, objective.parameters())?;
    write_json(&metrics, &outcome)?;
    Ok(outcome)
}

/// Calibration and threshold from validation; neither where the scores say nothing about the labels.
fn calibrated(
    recipe: &Recipe,
    scores: &[f32],
    labels: &[bool],
    progress: &dyn Progress,
) -> Result<(Option<Calibration>, Option<Threshold>)> {
    let calibration = Calibration::fit(recipe.calibrate.method, scores, labels)?;
    if let Some(what) = calibration.says_nothing(scores, labels) {
        progress.note(&format!("warning: no calibration and no threshold are stored: in validation, {what}"));
        return Ok((None, None));
    }
    if let Some(what) = too_few(labels) {
        progress.note(&format!("warning: calibration and threshold rest on little validation: {what}"));
    }
    let probabilities: Vec<f32> = scores.iter().map(|&s| calibration.probability(s)).collect();
    let threshold = choose_threshold(&probabilities, labels, recipe.calibrate.goal, recipe.train.seed)?;
    Ok((Some(calibration), Some(threshold)))
}

/// What a run begins with.
struct Start {
    architecture: Architecture,
    config: Config,
    weights: Weights,
    text: TextEncoder,
    /// The tokenizer, where the start has no folder with one.
    grown: Option<Grown>,
}

/// Inverse document frequencies `ln((n + 1) / (df + 1))` of all tokens among `n` training records, for a model that wants them and whose
/// start has none.
fn count_tokens(
    modules: &[Module],
    config: &Config,
    weights: &mut Weights,
    records: &[&Record],
    text: &TextEncoder,
) -> Result<()> {
    for module in modules {
        let Module::TokenValues { name } = module else { continue };
        if weights.0.contains_key(*name) {
            continue;
        }
        let mut counts = vec![0u32; config.vocab_size];
        for record in records {
            let mut ids = text.encode(&[(*record).into()])?.ids;
            ids.sort_unstable();
            ids.dedup();
            ids.iter().for_each(|id| counts[*id as usize] += 1);
        }
        let n = records.len() as f32;
        let idf = counts.iter().map(|df| ((n + 1.0) / (*df as f32 + 1.0)).ln()).collect();
        weights.0.insert(name.to_string(), Array::new(vec![config.vocab_size], idf));
    }
    Ok(())
}

/// The configuration, the weights and the tokenizer that a run begins with.
fn start(recipe: &Recipe, mut architecture: Architecture, progress: &dyn Progress) -> Result<Start> {
    let from = &recipe.model;
    let made = match &from.init {
        _ if from.fresh.is_some() => None,
        none if none.as_os_str().is_empty() => Some(WordStart::of_trigrams(recipe.train.seed)),
        file if file.is_file() => Some(WordStart::of_vectors(file)?),
        _ => None,
    };
    let (mut config, mut weights, grown) = match (&from.fresh, made) {
        (Some(fresh), _) => {
            let text = TextEncoder::open(&fresh.tokenizer, recipe.text.clone())?;
            let config = fresh.config(text.vocab_size(), text.padding_id());
            let weights = net::draw_encoder(bert::PREFIX, &config, recipe.train.seed);
            (config, weights, None)
        }
        (None, made) => {
            let (mut checkpoint, grown) = match made {
                Some(made) => (made.checkpoint, Some(made.tokenizer)),
                None => (Checkpoint::read(&from.init)?, None),
            };
            architecture = architecture.begun_with(&from.init, &mut checkpoint)?;
            let notes = checkpoint.select(&*architecture.model(), Purpose::Start)?;
            notes.iter().for_each(|note| progress.note(note));
            (checkpoint.config, checkpoint.weights, grown)
        }
    };
    let model = architecture.model();
    if let Some(layers) = &from.layers {
        bundle::take_layers(&mut config, &mut weights, layers)?;
    }
    let needed = recipe.text.segment_count(model.reads().texts());
    let rows = from.segments.unwrap_or(needed.max(config.type_vocab_size));
    let old = config.type_vocab_size;
    bundle::grow_segments(&mut config, &mut weights, rows, model.reads())?;
    if from.new_segments == Some(bundle::NewSegments::Mean) {
        bundle::level_segments(&mut weights, old)?;
    }
    if needed > config.type_vocab_size {
        let what = format!("[text] uses {needed} segments");
        return Err(Error::setting("model.segments", config.type_vocab_size, what));
    }
    if let Some(dropout) = recipe.train.dropout {
        (config.hidden_dropout_prob, config.attention_probs_dropout_prob) = (dropout, dropout);
    }
    if recipe.text.max_tokens > config.max_position_embeddings {
        let what = format!("the start has {} positions", config.max_position_embeddings);
        return Err(Error::setting("text.max_tokens", recipe.text.max_tokens, what));
    }
    let tokenizer = match &grown {
        Some(grown) => grown.encoder(recipe.text.clone())?,
        None => TextEncoder::open(from.tokenizer(), recipe.text.clone())?,
    };
    let tokenizer = framed(tokenizer, &*model)?;
    if tokenizer.vocab_size() > config.vocab_size {
        let what = format!("the tokenizer has {} tokens, the embedding {}", tokenizer.vocab_size(), config.vocab_size);
        return Err(Error::model(from.tokenizer(), "vocab_size", what, "the two files do not belong together"));
    }
    Ok(Start { architecture, config, weights, text: tokenizer, grown })
}

/// Whether the run in the folder is this one and has begun; an error where something else is there.
pub(super) fn is_begun<R: Serialize + DeserializeOwned>(recipe: &R, run_dir: &Path, resume: bool) -> Result<bool> {
    let path = run_dir.join("recipe.toml");
    if resume && path.exists() {
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let remedy = "start the run again in another folder";
        let refused = |e: toml::de::Error| Error::data(&path, None, e.message().to_string(), remedy);
        // by way of a recipe, so that names of before are names of now
        let before: R = toml::from_str(&text).map_err(refused)?;
        let table = |recipe: &R| toml::from_str::<toml::Table>(&resolved(recipe)?).map_err(refused);
        let (before, now) = (table(&before)?, table(recipe)?);
        if let Some((key, before, now)) = difference("", &before.into(), &now.into()) {
            let what = format!("the run began with {before}; resume with its own recipe, or start in another folder");
            return Err(Error::setting(key, now, what));
        }
        return Ok(true);
    }
    let entries = match std::fs::read_dir(run_dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        entries => entries.map_err(Error::io("read", run_dir))?,
    };
    // a folder left by a kill before its recipe had a name is as good as an empty one
    let of_run = |entry: &std::fs::DirEntry| !is_before_the_run(&entry.file_name().to_string_lossy());
    if entries.flatten().any(|entry| of_run(&entry)) { Err(Error::Exists(run_dir.to_path_buf())) } else { Ok(false) }
}

/// Makes the folder; only once everything that is needed was read, so that a mistake leaves nothing.
pub(super) fn begin<R: Serialize + DeserializeOwned>(
    recipe: &R,
    run_dir: &Path,
    owner: &mut Option<Owner>,
) -> Result<()> {
    std::fs::create_dir_all(run_dir).map_err(Error::io("create", run_dir))?;
    if owner.is_none() {
        *owner = Some(Owner::of(run_dir)?);
        // another process may have begun, and ended, since this one looked
        is_begun(recipe, run_dir, false)?;
    }
    for entry in std::fs::read_dir(run_dir).map_err(Error::io("read", run_dir))?.flatten() {
        if entry.file_name().to_string_lossy().ends_with(".part") {
            std::fs::remove_file(entry.path()).map_err(Error::io("remove", &entry.path()))?;
        }
    }
    // the recipe comes last: a run whose recipe is there has begun
    write_json(&run_dir.join(environment::NAME), &Environment::here())?;
    let resolved = resolved(recipe)?;
    let path = run_dir.join("recipe.toml");
    write_beside(&path, |file| file.write_all(resolved.as_bytes()).map_err(Error::io("write", &path)))
}

/// A recipe with every default written out.
fn resolved(recipe: &impl Serialize) -> Result<String> {
    toml::to_string(recipe).map_err(|e| Error::Internal { op: "write recipe", what: e.to_string() })
}

/// The first key under which two settings differ, with both values.
fn difference(key: &str, before: &toml::Value, now: &toml::Value) -> Option<(String, String, String)> {
    let missing = toml::Value::String("(left out)".into());
    match (before, now) {
        (toml::Value::Table(before), toml::Value::Table(now)) => before.keys().chain(now.keys()).find_map(|name| {
            let path = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            difference(&path, before.get(name).unwrap_or(&missing), now.get(name).unwrap_or(&missing))
        }),
        _ if before == now => None,
        _ => Some((key.to_string(), before.to_string(), now.to_string())),
    }
}

fn describe(corpus: &Corpus, recipe: &Recipe, progress: &dyn Progress) {
    for (c, source) in corpus.counts.iter().zip(&recipe.data.sources) {
        let mut line = format!(
            "{}: {} training pairs ({} matches), {} validation, {} test",
            c.name, c.train, c.train_matches, c.valid, c.test
        );
        let drawn = source.max_pairs.map_or(0, |most| most as u64);
        let extras = [
            (if drawn < c.train { drawn } else { 0 }, "training pairs drawn for each epoch"),
            (c.dropped_train, "dropped from training, held out elsewhere"),
            (c.dropped_valid, "dropped from validation, in a test part"),
            (c.unlabelled, "without a label"),
            (c.made, "non-matches made"),
            (c.bad_rows, "bad rows skipped"),
        ];
        for (count, what) in extras.iter().filter(|(count, _)| *count > 0) {
            line.push_str(&format!("; {count} {what}"));
        }
        progress.note(&line);
    }
}

/// The bundle in `model/`, next to the run's own files.
fn save_bundle(
    recipe: &Recipe,
    architecture: Architecture,
    run_dir: &Path,
    outcome: &Outcome,
    (config, tokenizer_from): (&Config, &Path),
    parameters: &Parameters,
) -> Result<()> {
    let manifest = Manifest {
        architecture,
        rendering: recipe.text.clone(),
        calibration: outcome.calibration.clone(),
        threshold: outcome.threshold,
        trained_on: Some(outcome.fingerprint.clone()),
        dtype: Some(recipe.train.dtype),
        ..Manifest::default()
    };
    let weights = parameters.weights();
    let contents = Contents { manifest: &manifest, config, weights: &weights, tokenizer_from, storage: Storage::F32 };
    // a model that is there is of this very run, killed between the bundle and its metrics
    bundle::save(&run_dir.join("model"), &contents, true)
}

pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text =
        serde_json::to_vec_pretty(value).map_err(|e| Error::Internal { op: "write json", what: e.to_string() })?;
    write_beside(path, |file| file.write_all(&text).map_err(Error::io("write", path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_setting_is_named() {
        let parse = |text: &str| toml::Value::Table(toml::from_str(text).unwrap());
        let before = parse("name = 'x'\n[train]\nlr = 0.1\nseed = 1");
        assert_eq!(difference("", &before, &before), None);
        let found = difference("", &before, &parse("name = 'x'\n[train]\nlr = 0.2\nseed = 1")).unwrap();
        assert_eq!(found, ("train.lr".into(), "0.1".into(), "0.2".into()));
        let found =
            difference("", &before, &parse("name = 'x'\n[train]\nlr = 0.1\nseed = 1\nmax_grad_norm = 1")).unwrap();
        assert_eq!(found.0, "train.max_grad_norm");
    }
}
