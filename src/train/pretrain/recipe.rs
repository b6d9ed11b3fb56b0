//! A recipe of pre-training: one TOML file, read as other recipes are (unknown keys refused, `--set` above it, every default written out in
//! the run folder, relative paths counted from the recipe's folder).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::{Reading, Source, is_table, rebase};
use crate::models::bert::{Config, Family};
use crate::nn::Dtype;
use crate::nn::hashed::Hashed;
use crate::train::recipe::TrainSettings;
use crate::train::recipe::keys::apply;
use crate::{Error, Result};

/// A run of pre-training, described.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainRecipe {
    /// The run's name.
    pub name: String,
    /// What it begins with.
    pub model: Begin,
    /// What is read.
    pub data: TextData,
    /// How long sequences are.
    #[serde(default)]
    pub text: Lengths,
    /// What is masked.
    #[serde(default)]
    pub mask: MaskSettings,
    /// Pairs of texts, next ones and others; masks alone where it is left out.
    #[serde(default)]
    pub next: Option<NextSettings>,
    /// How weights change.
    #[serde(default)]
    pub train: PretrainSettings,
    /// What the run should reach.
    #[serde(default)]
    pub expect: Option<PretrainExpect>,
}

/// Where the weights come from: one of both.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    /// A BERT folder to go on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// Sizes of a model that is drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh: Option<Fresh>,
}

/// A model from nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fresh {
    /// The folder of its tokenizer.
    pub tokenizer: PathBuf,
    /// Layers.
    #[serde(default = "four")]
    pub layers: usize,
    /// Width of a state.
    #[serde(default = "wide")]
    pub hidden: usize,
    /// Heads of attention.
    #[serde(default = "four")]
    pub heads: usize,
    /// Width inside the feed-forward block; four times `hidden` where it is left out.
    #[serde(default)]
    pub intermediate: Option<usize>,
    /// Rows of the position table: the longest sequence that it will ever read.
    #[serde(default = "positions")]
    pub positions: usize,
    /// Rows of the segment table.
    #[serde(default = "two")]
    pub segments: usize,
    /// Dropout everywhere.
    #[serde(default = "tenth")]
    pub dropout: f32,
    /// Attention by hashing (Reformer's) in place of attention to all tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashed_attention: Option<Hashed>,
}

impl Fresh {
    /// Refuses sizes that no model has.
    ///
    /// # Errors
    /// A size of 0 or beyond use, heads that don't divide the width, dropout that is no share.
    pub fn check(&self) -> Result<()> {
        let wrong = |name: &str, value: &dyn std::fmt::Display, what: &str| Err(Error::setting(name, value, what));
        let sizes = [
            ("layers", self.layers),
            ("hidden", self.hidden),
            ("heads", self.heads),
            ("intermediate", self.intermediate.unwrap_or(1)),
            ("positions", self.positions),
            ("segments", self.segments),
        ];
        if let Some((name, value)) = sizes.into_iter().find(|(_, value)| !(1..=MOST).contains(value)) {
            return wrong(&format!("model.fresh.{name}"), &value, "must be at least 1, and no more than anybody needs");
        }
        if !self.hidden.is_multiple_of(self.heads) || self.hidden % 2 == 1 {
            return wrong(
                "model.fresh.heads",
                &self.heads,
                &format!("must divide hidden = {}, an even number", self.hidden),
            );
        }
        if let Some(Hashed { chunk, rounds, .. }) = self.hashed_attention
            && !((2..=4096).contains(&chunk) && (1..=16).contains(&rounds))
        {
            let value = format!("chunk {chunk}, rounds {rounds}");
            return wrong(
                "model.fresh.hashed_attention",
                &value,
                "must be chunks of 2 to 4,096 tokens and 1 to 16 rounds",
            );
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return wrong("model.fresh.dropout", &self.dropout, "must be 0 or more and below 1");
        }
        Ok(())
    }

    /// `config.json` of the model, for a vocabulary.
    pub fn config(&self, vocab_size: usize, pad_token_id: u32) -> Config {
        Config {
            vocab_size,
            modern: None,
            hidden_size: self.hidden,
            num_hidden_layers: self.layers,
            num_attention_heads: self.heads,
            intermediate_size: self.intermediate.unwrap_or(4 * self.hidden),
            max_position_embeddings: self.positions,
            type_vocab_size: self.segments,
            layer_norm_eps: 1e-12,
            hidden_dropout_prob: self.dropout,
            attention_probs_dropout_prob: self.dropout,
            hidden_act: "gelu".into(),
            initializer_range: 0.02,
            pad_token_id,
            family: Family::Bert,
            relative_attention_num_buckets: None,
            attention_window: None,
            hashed_attention: self.hashed_attention,
        }
    }
}

/// What is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextData {
    /// Texts, tables, labelled sets.
    pub sources: Vec<TextSource>,
    /// Labelled sets whose test texts must not be read, besides those of `sources`.
    #[serde(default)]
    pub exclude: Vec<Source>,
    /// Share of documents that the model is measured on and never learns.
    #[serde(default = "hundredth")]
    pub held_out: f64,
    /// Held-out sequences that are measured at most.
    #[serde(default = "held_out_sequences")]
    pub held_out_sequences: usize,
    /// Skip and count lines and rows that can't be read instead of stopping at the first.
    #[serde(default)]
    pub skip_bad_rows: bool,
}

/// Some files, or a labelled set, and what one document of them is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextSource {
    /// Its name in logs and metrics.
    pub name: String,
    /// Files of text or tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PathBuf>,
    /// A labelled set; texts of its test part are never read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Source>,
    /// How its tables are written, where that is not found out rightly.
    #[serde(default, skip_serializing_if = "Reading::is_default")]
    pub read: Reading,
    /// Columns or fields to read, in order; all (but ids of a labelled set) where it is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// What belongs together; see [`Unit`].
    #[serde(default)]
    pub document: Option<Unit>,
    /// How often each of its texts comes in a pass over all sources: 0.5 is another half each pass, 2 is twice with other masks.
    #[serde(default = "one")]
    pub weight: f64,
}

/// What a document is: its texts follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A line of a text file.
    Line,
    /// Lines of a text file up to an empty one; its sentences follow each other. What text files have where nothing is said.
    Paragraph,
    /// A whole text file.
    File,
    /// A row of a table or a record of a set; its fields follow each other. What those have where nothing is said.
    Record,
    /// Records that training pairs of a labelled set call one thing: any two of them count as following each other.
    Cluster,
}

impl TextSource {
    /// What one document is.
    pub fn unit(&self) -> Unit {
        let is_text = || self.from.is_none() && !self.files.iter().any(|file| is_table(file));
        self.document.unwrap_or_else(|| if is_text() { Unit::Paragraph } else { Unit::Record })
    }
}

/// How long sequences are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lengths {
    /// Tokens of a sequence at most, special ones included.
    pub max_tokens: usize,
}

impl Default for Lengths {
    fn default() -> Self {
        Lengths { max_tokens: 128 }
    }
}

/// What is masked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaskSettings {
    /// Share of a sequence's tokens that must be guessed; at least one.
    pub share: f64,
    /// Share of those that are replaced by the masking token.
    pub masked: f64,
    /// Share of those that are replaced by a token drawn from the vocabulary; the rest stay as they are.
    pub random: f64,
    /// All pieces of a word, or none.
    pub whole_words: bool,
}

impl Default for MaskSettings {
    fn default() -> Self {
        MaskSettings { share: 0.15, masked: 0.8, random: 0.1, whole_words: false }
    }
}

/// Pairs of texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NextSettings {
    /// False: as if `[next]` were left out, for `--set next.enabled=false`.
    pub enabled: bool,
    /// Share of pairs whose second text is the next one.
    pub positives: f64,
    /// Where the second text of the others is from.
    pub negatives: NegativesFrom,
    /// What its loss weighs against that of masks.
    pub weight: f64,
}

impl Default for NextSettings {
    fn default() -> Self {
        NextSettings { enabled: true, positives: 0.5, negatives: NegativesFrom::Other, weight: 1.0 }
    }
}

/// Where the second text of a pair is from that does not follow the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NegativesFrom {
    /// Another document of the same source.
    Other,
    /// The same document, two texts or more away; another document where it is too short.
    Distant,
}

/// How weights change. Keys mean what they mean in [`TrainSettings`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "documented in TrainSettings")]
pub struct PretrainSettings {
    pub seed: u64,
    pub dtype: Dtype,
    /// Steps of the whole run; 0 writes the model that it begins with.
    pub steps: u64,
    /// Sequences in a batch.
    pub batch: usize,
    pub gradient_accumulation: usize,
    pub max_tokens_per_pass: usize,
    pub lr: f64,
    pub warmup: f64,
    pub min_lr_ratio: f64,
    pub weight_decay: f32,
    pub beta1: f32,
    pub beta2: f32,
    pub epsilon: f32,
    pub max_grad_norm: f32,
    pub dropout: Option<f32>,
    /// Steps between measurements on held-out texts.
    pub validate_every: u64,
    pub checkpoint_every: u64,
}

impl Default for PretrainSettings {
    fn default() -> Self {
        let TrainSettings { seed, min_lr_ratio, weight_decay, beta1, epsilon, max_grad_norm, .. } =
            TrainSettings::default();
        PretrainSettings {
            seed,
            dtype: Dtype::Bf16,
            steps: 10_000,
            batch: 64,
            gradient_accumulation: 1,
            max_tokens_per_pass: 8192,
            lr: 5e-4,
            warmup: 0.06,
            min_lr_ratio,
            weight_decay,
            beta1,
            beta2: 0.98,
            epsilon,
            max_grad_norm,
            dropout: None,
            validate_every: 500,
            checkpoint_every: 500,
        }
    }
}

impl PretrainSettings {
    /// For the trainer, whose epochs lie between two validations.
    pub fn trainer(&self) -> TrainSettings {
        TrainSettings {
            seed: self.seed,
            dtype: self.dtype,
            epochs: self.steps.div_ceil(self.validate_every.max(1)).max(1),
            batch: self.batch,
            gradient_accumulation: self.gradient_accumulation,
            max_tokens_per_pass: self.max_tokens_per_pass,
            lr: self.lr,
            warmup: self.warmup,
            min_lr_ratio: self.min_lr_ratio,
            weight_decay: self.weight_decay,
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: self.epsilon,
            max_grad_norm: self.max_grad_norm,
            dropout: self.dropout,
            metric: "loss".into(),
            checkpoint_every: self.checkpoint_every,
            ..TrainSettings::default()
        }
    }
    /// Sequences of a step.
    pub fn step_items(&self) -> u64 {
        (self.batch * self.gradient_accumulation) as u64
    }
}

/// What the run should reach.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PretrainExpect {
    /// Share of masked held-out tokens guessed right.
    pub accuracy: Option<f64>,
    /// Share of held-out pairs guessed right.
    pub next_accuracy: Option<f64>,
    /// The machine.
    pub hardware: Option<String>,
    /// Wall time.
    pub minutes: Option<f64>,
}

fn four() -> usize {
    4
}
fn two() -> usize {
    2
}
fn wide() -> usize {
    256
}
fn positions() -> usize {
    512
}
fn tenth() -> f32 {
    0.1
}
fn hundredth() -> f64 {
    0.01
}
fn one() -> f64 {
    1.0
}
fn held_out_sequences() -> usize {
    512
}

/// The most a size may be, so that a typing error is no memory error.
const MOST: usize = 1 << 20;

impl PretrainRecipe {
    /// Reads a recipe, applies `key=value` settings above it, resolves paths and checks values.
    ///
    /// # Errors
    /// A key or a value that is not known; what can't be.
    pub fn read(path: &Path, sets: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let refused = |e: toml::de::Error| {
            let line = e.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count() as u64);
            let remedy = "correct it; `sverka pretrain --help` says what a recipe of pre-training has";
            Error::data(path, line, e.message().replace('\n', " "), remedy)
        };
        let mut recipe: PretrainRecipe = if sets.is_empty() {
            toml::from_str(&text).map_err(refused)?
        } else {
            let mut table: toml::Table = toml::from_str(&text).map_err(refused)?;
            for set in sets {
                apply(&mut table, set)?;
            }
            toml::Value::Table(table).try_into().map_err(refused)?
        };
        recipe.next = recipe.next.filter(|next| next.enabled);
        recipe.rebase(path.parent().unwrap_or(Path::new("")))?;
        recipe.check()?;
        Ok(recipe)
    }

    /// The folder whose tokenizer is used.
    pub fn tokenizer(&self) -> &Path {
        match &self.model {
            Begin { fresh: Some(fresh), .. } => &fresh.tokenizer,
            Begin { init, .. } => init.as_deref().unwrap_or(Path::new("")),
        }
    }

    fn rebase(&mut self, folder: &Path) -> Result<()> {
        let folder = std::path::absolute(folder.join(".")).map_err(Error::io("resolve", folder))?;
        let model = self.model.init.iter_mut().chain(self.model.fresh.as_mut().map(|fresh| &mut fresh.tokenizer));
        let files = self.data.sources.iter_mut().flat_map(|source| &mut source.files);
        for path in model.chain(files) {
            rebase(path, &folder);
            if path.is_relative() {
                *path = std::path::absolute(&*path).map_err(Error::io("resolve", path))?;
            }
        }
        let sets = self.data.sources.iter_mut().filter_map(|source| source.from.as_mut());
        sets.chain(&mut self.data.exclude).for_each(|source| source.rebase(&folder));
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let wrong = |name: &str, value: &dyn std::fmt::Display, what: &str| Err(Error::setting(name, value, what));
        self.train.trainer().check()?;
        if self.train.validate_every == 0 {
            return wrong("train.validate_every", &0, "must be at least 1");
        }
        match (&self.model.init, &self.model.fresh) {
            (Some(_), Some(_)) => return wrong("model", &"init and fresh", "give one of both"),
            (None, None) => {
                return wrong("model", &"{}", "give init = \"DIR\" to go on from, or fresh = { tokenizer = \"DIR\" }");
            }
            _ => {}
        }
        if let Some(fresh) = &self.model.fresh {
            fresh.check()?;
            if self.next.is_some() && fresh.segments < 2 {
                return wrong("model.fresh.segments", &fresh.segments, "[next] needs 2: one for each text");
            }
            if self.text.max_tokens > fresh.positions {
                let what = format!("is past the position table of model.fresh.positions = {}", fresh.positions);
                return wrong("text.max_tokens", &self.text.max_tokens, &what);
            }
        }
        if self.name.is_empty() || self.name.starts_with('.') || self.name.contains(['/', '\\', '\0']) {
            return wrong("name", &self.name, "is the run's folder in runs/: give a plain name without slashes");
        }
        if self.text.max_tokens < 8 {
            return wrong("text.max_tokens", &self.text.max_tokens, "must be at least 8");
        }
        let MaskSettings { share, masked, random, .. } = self.mask;
        if !(share > 0.0 && share < 1.0) {
            return wrong("mask.share", &share, "must lie above 0 and below 1");
        }
        if !(masked >= 0.0 && random >= 0.0 && masked + random <= 1.0) {
            return wrong(
                "mask.masked, mask.random",
                &format!("{masked}, {random}"),
                "must be 0 or more, 1 together at most",
            );
        }
        if let Some(NextSettings { positives, weight, .. }) = self.next {
            if !(positives > 0.0 && positives < 1.0) {
                return wrong("next.positives", &positives, "must lie above 0 and below 1");
            }
            if !(weight.is_finite() && weight > 0.0) {
                return wrong("next.weight", &weight, "must be above 0; leave [next] out to learn masks alone");
            }
        }
        if self.data.sources.is_empty() {
            return wrong("data.sources", &"[]", "must name at least one text, table or set");
        }
        if self.data.sources.len() > 1000 {
            return wrong("data.sources", &self.data.sources.len(), "are too many: give one source several files");
        }
        if !(self.data.held_out > 0.0 && self.data.held_out < 1.0) {
            return wrong("data.held_out", &self.data.held_out, "must lie above 0 and below 1");
        }
        if self.data.held_out_sequences == 0 {
            return wrong("data.held_out_sequences", &0, "must be at least 1");
        }
        for (i, source) in self.data.sources.iter().enumerate() {
            let name = format!("data.sources.{i}");
            if source.files.is_empty() == source.from.is_none() {
                return wrong(&name, &source.name, "give files = [...] or from = { format = ... }, one of both");
            }
            if self.data.sources[..i].iter().any(|other| other.name == source.name) {
                return wrong("data.sources", &source.name, "is the name of two sources");
            }
            if !(source.weight.is_finite() && source.weight > 0.0 && source.weight <= 10_000.0) {
                return wrong(&format!("{name}.weight"), &source.weight, "must be above 0, and 10000 at most");
            }
            let tables = source.files.iter().filter(|file| is_table(file)).count();
            if tables > 0 && tables < source.files.len() {
                return wrong(&name, &source.name, "mixes tables and texts: make two sources of it");
            }
            let fits = match source.unit() {
                Unit::Line | Unit::Paragraph | Unit::File => source.from.is_none() && tables == 0,
                Unit::Record => source.from.is_some() || tables > 0,
                Unit::Cluster => source.from.is_some(),
            };
            if !fits {
                let what = "texts have line, paragraph or file; tables record; labelled sets record or cluster";
                return wrong(&format!("{name}.document"), &format!("{:?}", source.unit()).to_lowercase(), what);
            }
            if source.from.is_none() && tables == 0 && !source.fields.is_empty() {
                return wrong(&format!("{name}.fields"), &source.fields.join(", "), "text files have no fields");
            }
        }
        Ok(())
    }
}
