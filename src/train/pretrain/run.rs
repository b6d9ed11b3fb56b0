//! One run of pre-training, from a recipe to a language model.
//!
//! A run folder has `recipe.toml` (resolved), `environment.json`, `corpus/` (the tokens), `log.jsonl`, `checkpoint/`, and at the end
//! `model/` and `metrics.json`.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::documents::{Reader, SourceCounts, times};
use super::items::Items;
use super::mask::Masking;
use super::objective::LanguageObjective;
use super::recipe::PretrainRecipe;
use super::store::Store;
use crate::bundle::{LanguageStart, save_language_model};
use crate::files::write_beside;
use crate::models::masked_lm::MaskedLm;
use crate::models::{Net, bert, net};
use crate::nn::Weights;
use crate::text::{TextConfig, TextEncoder};
use crate::train::objective::{Measures, Objective};
use crate::train::owner::Owner;
use crate::train::progress::{Progress, Validation};
use crate::train::run::{METRICS, begin, below, finished, is_begun, write_json};
use crate::train::trainer;
use crate::{Error, Result};

/// `metrics.json`: what came out of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PretrainOutcome {
    /// The recipe's name.
    pub name: String,
    /// Steps made.
    pub steps: u64,
    /// Step of the weights that were kept: the best on held-out texts.
    pub best_step: u64,
    /// Sequences seen.
    pub sequences: u64,
    /// Seconds of training, validation and checkpoints.
    pub seconds: f64,
    /// All validations, first to last.
    pub validations: Vec<Validation>,
    /// What the kept weights reach on held-out texts.
    pub held_out: Measures,
    /// What became of each source.
    pub data: Vec<SourceCounts>,
    /// SHA-256 of the tokens.
    pub fingerprint: String,
    /// What the recipe expects.
    pub expected: Measures,
}

impl PretrainOutcome {
    /// What stayed below the recipe's `[expect]`, `None` where nothing did.
    pub fn missed(&self) -> Option<String> {
        below(&self.expected, |name| self.held_out.get(name).copied(), |name| format!("held-out {name}"))
    }
}

impl std::fmt::Display for PretrainOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (steps, best) = (self.steps, self.best_step);
        writeln!(f, "{}: {steps} steps in {:.0} s, weights of step {best} kept", self.name, self.seconds)?;
        let of = |name: &str| self.held_out.get(name).copied();
        write!(f, "held-out texts: accuracy {:.1}%", 100.0 * of("accuracy").unwrap_or(f64::NAN))?;
        write!(f, ", perplexity {:.1}", of("perplexity").unwrap_or(f64::NAN))?;
        if let Some(next) = of("next_accuracy") {
            write!(f, ", next texts guessed right {:.1}%", 100.0 * next)?;
        }
        Ok(())
    }
}

/// What a run begins with.
pub(super) struct Start {
    pub model: MaskedLm,
    pub config: bert::Config,
    pub weights: Weights,
    /// Arrays that are written again as they are.
    pub kept: Weights,
    pub text: TextEncoder,
    pub masking: Masking,
}

impl Start {
    /// Reads the start, or draws it.
    pub(super) fn read(recipe: &PretrainRecipe, progress: &dyn Progress) -> Result<Self> {
        let model = MaskedLm { next: recipe.next.is_some() };
        let rendering = TextConfig { max_tokens: recipe.text.max_tokens, ..TextConfig::default() };
        let text = TextEncoder::open(recipe.tokenizer(), rendering)?;
        let masking = Masking::new(&recipe.mask, &text)?;
        let (mut config, weights, kept) = match &recipe.model.fresh {
            Some(fresh) => {
                let config = fresh.config(text.vocab_size(), text.padding_id());
                let weights = net::draw_encoder(bert::PREFIX, &config, recipe.train.seed);
                // rankers read the pooler: drawn here, so that a start without next texts has one too
                let mut kept = Weights::default();
                if !model.next {
                    net::complete(&[crate::models::Module::Pooler], &config, &mut kept, recipe.train.seed);
                }
                (config, weights, kept)
            }
            None => {
                let LanguageStart { config, weights, kept, notes } = LanguageStart::read(recipe.tokenizer(), model)?;
                notes.iter().for_each(|note| progress.note(note));
                (config, weights, kept)
            }
        };
        if let Some(dropout) = recipe.train.dropout {
            (config.hidden_dropout_prob, config.attention_probs_dropout_prob) = (dropout, dropout);
        }
        if text.vocab_size() > config.vocab_size {
            let what =
                format!("the tokenizer has {} tokens, the table of words {}", text.vocab_size(), config.vocab_size);
            return Err(Error::model(recipe.tokenizer(), "vocab_size", what, "the two files do not belong together"));
        }
        if recipe.text.max_tokens > config.max_position_embeddings {
            let what = format!("is past the position table of the start, which has {}", config.max_position_embeddings);
            return Err(Error::setting("text.max_tokens", recipe.text.max_tokens, what));
        }
        if model.next && config.type_vocab_size < 2 {
            return Err(Error::setting("next", "{}", "the start has one segment, and pairs of texts need two"));
        }
        Ok(Start { model, config, weights, kept, text, masking })
    }
    /// The objective of a corpus.
    pub(super) fn objective<'a>(
        &'a self,
        recipe: &'a PretrainRecipe,
        store: &'a Store,
    ) -> Result<LanguageObjective<'a>> {
        let special = [1, 2].map(|texts| self.text.frame_length(texts).0);
        let items = Items::new(store, recipe, special);
        let held_out = items.held_out();
        let (config, weights) = (self.config.clone(), self.weights.clone());
        let net = Net::training(config, &self.model.modules(), weights, recipe.train.dtype, recipe.train.seed)?;
        let (model, text, masking) = (self.model, &self.text, self.masking.clone());
        Ok(LanguageObjective { model, net, text, items, held_out, masking, recipe })
    }
}

/// Pre-trains by a recipe into `run_dir`, which must be new or empty unless `resume`; a finished run that is resumed just gives its outcome.
///
/// # Errors
/// A folder in use, a recipe that is not the one the run began with, and whatever data, model and disk have to say.
pub fn pretrain(
    recipe: &PretrainRecipe,
    run_dir: &Path,
    resume: bool,
    progress: &dyn Progress,
) -> Result<PretrainOutcome> {
    let begun = is_begun(recipe, run_dir, resume)?;
    let metrics = run_dir.join(METRICS);
    if let Some(outcome) = finished(&metrics, progress)? {
        return Ok(outcome);
    }
    let mut owner = if run_dir.exists() { Some(Owner::of(run_dir)?) } else { None };
    let start = Start::read(recipe, progress)?;
    // what can be refused is refused before the folder is made, but for texts, which are stored in it
    Reader::new(recipe)?;
    let made = !run_dir.exists();
    if !begun {
        begin(recipe, run_dir, &mut owner)?;
    }
    let store = Store::of(&run_dir.join("corpus"), recipe, &start.text);
    let store = store.inspect_err(|_| {
        if made {
            drop(owner.take());
            let _ = std::fs::remove_dir_all(run_dir); // made a moment ago, and without a step
        }
    })?;
    describe(&store, recipe, progress);
    let mut objective = start.objective(recipe, &store)?;
    let pass = objective.items.pass();
    let steps = recipe.train.steps;
    progress.note(&format!(
        "{steps} steps of {} sequences: {:.2} passes over the sources",
        recipe.train.step_items(),
        (steps * recipe.train.step_items()) as f64 / pass as f64
    ));
    let state = match steps {
        0 => crate::train::checkpoint::State::default(),
        _ => trainer::fit(&mut objective, &recipe.train.trainer(), run_dir, resume, progress)?,
    };
    let expected = recipe.expect.clone().unwrap_or_default();
    let expected = [("accuracy", expected.accuracy), ("next_accuracy", expected.next_accuracy)];
    let expected = expected.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?)));
    let outcome = PretrainOutcome {
        name: recipe.name.clone(),
        steps: state.step,
        best_step: state.best.map_or(state.step, |(_, step)| step),
        sequences: state.items,
        seconds: state.seconds,
        held_out: objective.validate()?,
        validations: state.validations,
        data: store.sources().to_vec(),
        fingerprint: store.fingerprint().to_string(),
        expected: if steps == 0 { Measures::new() } else { expected.collect() },
    };
    let mut weights = objective.parameters().weights();
    weights.0.extend(start.kept.0.clone());
    // a model that is there is of this very run, killed between the model and its metrics
    save_language_model(&run_dir.join("model"), &start.config, &weights, &start.text, true)?;
    write_json(&metrics, &outcome)?;
    Ok(outcome)
}

/// Writes the texts that would be learnt, one a line and each as often as its source's weight says, for a tokenizer to be grown on: nothing
/// held out and no test texts. Gives what became of the sources.
///
/// # Errors
/// Sources that can't be read or have no text; the system's.
pub fn write_texts(recipe: &PretrainRecipe, path: &Path) -> Result<Vec<SourceCounts>> {
    let mut counts = Vec::new();
    write_beside(path, |file| {
        let mut out = std::io::BufWriter::new(file);
        counts = Reader::new(recipe)?.read(&mut |document| {
            if document.held_out {
                return Ok(());
            }
            let weight = recipe.data.sources[document.source].weight;
            let lines = document.texts.iter().flat_map(|text| std::iter::repeat_n(text, times(text, weight)));
            let mut lines = lines.map(|line| line.replace(['\n', '\r'], " "));
            lines.try_for_each(|line| writeln!(out, "{line}")).map_err(Error::io("write", path))
        })?;
        out.flush().map_err(Error::io("write", path))
    })?;
    Ok(counts)
}

fn describe(store: &Store, recipe: &PretrainRecipe, progress: &dyn Progress) {
    for (counts, source) in store.sources().iter().zip(&recipe.data.sources) {
        let mut line = format!(
            "{}: {} sequences of {} documents, {} tokens; weight {}: {:.1}% of what is seen",
            counts.name,
            counts.sequences,
            counts.documents,
            counts.tokens,
            source.weight,
            100.0 * counts.share
        );
        let extras = [
            (counts.held_out, "documents held out"),
            (counts.of_tests, "left out, in a test part"),
            (counts.copies, "copies left out"),
            (counts.bad_rows, "bad rows skipped"),
        ];
        for (count, what) in extras.iter().filter(|(count, _)| *count > 0) {
            line.push_str(&format!("; {count} {what}"));
        }
        progress.note(&line);
    }
}
