//! A language model on disk: the plain folder of Python's `BertForPreTraining` or `BertForMaskedLM`, read, asked and written.
//!
//! There is no `sverka.json`: it says how a ranker reads records and what its scores mean, and a language model is none. `sverka train`
//! takes the folder as a start as it takes any other, and transformers loads it with the same logits. The decoder's weights are the table
//! of words and are not written twice, as transformers does it.

use std::path::Path;

use super::arrays::{WEIGHTS, weights_path};
use super::{Checkpoint, Purpose, as_readable_as, directory, folder};
use crate::models::bert::{Config, DECODER_BIAS, Family, NEXT, POOLER, PREFIX, WORDS};
use crate::models::masked_lm::MaskedLm;
use crate::models::{Mode, Net};
use crate::nn::weights::{Storage, write_safetensors};
use crate::nn::{Device, Dtype, Weights};
use crate::text::{Batch, Encoding, TextConfig, TextEncoder};
use crate::{Error, Result};

/// The decoder's own names in files that have them apart.
const DECODER: [&str; 2] = ["cls.predictions.decoder.weight", "cls.predictions.decoder.bias"];

/// What pre-training begins with.
pub struct LanguageStart {
    /// Sizes.
    pub config: Config,
    /// The arrays that the model takes and the folder has; heads may be missing.
    pub weights: Weights,
    /// Arrays that are written again as they are: the pooler, where no next texts are learnt.
    pub kept: Weights,
    /// What was left out or is new.
    pub notes: Vec<String>,
}

impl LanguageStart {
    /// Reads any BERT folder for pre-training. Heads that are missing are drawn by training.
    ///
    /// # Errors
    /// Another family than BERT, whose head has other arrays; what [`Checkpoint::read`] refuses; a decoder that is not tied.
    pub fn read(dir: &Path, model: MaskedLm) -> Result<Self> {
        let mut checkpoint = read(dir)?;
        let pooler = format!("{POOLER}.");
        let mut kept = Weights::default();
        if !model.next {
            kept.0.extend(checkpoint.weights.0.extract_if(.., |name, _| name.starts_with(&pooler)));
        }
        let mut notes = checkpoint.select_modules(&model.modules(), Purpose::Start)?;
        let Checkpoint { config, weights, .. } = checkpoint;
        if !weights.0.contains_key(DECODER_BIAS) {
            notes.push(format!("{}: no head of masked tokens; a new one is drawn", dir.display()));
        }
        if model.next && !weights.0.contains_key(&format!("{NEXT}.weight")) {
            notes.push(format!("{}: no head of next texts; a new one is drawn", dir.display()));
        }
        Ok(LanguageStart { config, weights, kept, notes })
    }
}

/// A folder of BERT's with one decoder.
fn read(dir: &Path) -> Result<Checkpoint> {
    let mut checkpoint = Checkpoint::read(dir)?;
    if checkpoint.config.family != Family::Bert {
        let what = format!("is a {}; masked language models are read of BERT's family alone", checkpoint.config.family);
        return Err(Error::model(&dir.join(directory::CONFIG), "model_type", what, "give a BERT's folder"));
    }
    let weights = &mut checkpoint.weights.0;
    let [weight, bias] = DECODER.map(|name| weights.remove(name));
    if let Some(bias) = bias {
        weights.entry(DECODER_BIAS.into()).or_insert(bias);
    }
    if weight.is_some_and(|weight| weights.get(&format!("{PREFIX}{WORDS}")).is_some_and(|table| *table != weight)) {
        let what = "differs from the table of words: this decoder is not tied";
        return Err(Error::model(&weights_path(dir), DECODER[0], what, "give a model with tie_word_embeddings"));
    }
    Ok(checkpoint)
}

/// One guess at a masked token.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Prediction {
    /// Its id.
    pub id: u32,
    /// The piece, as the vocabulary has it.
    pub token: String,
    /// Its probability.
    pub probability: f32,
}

/// A language model ready to be asked.
pub struct LanguageModel {
    net: Net,
    model: MaskedLm,
    text: TextEncoder,
    dir: std::path::PathBuf,
}

impl LanguageModel {
    /// Opens a folder; `next`: to tell next texts from others, else to fill masks. In f32 unless `dtype` says otherwise.
    ///
    /// # Errors
    /// A folder without the head that is asked for, or of another family; what [`Checkpoint::read`] refuses.
    pub fn open(dir: &Path, next: bool, dtype: Option<Dtype>) -> Result<Self> {
        let mut checkpoint = read(dir)?;
        let model = MaskedLm { next };
        let head = if next { format!("{NEXT}.weight") } else { DECODER_BIAS.to_string() };
        if !checkpoint.weights.0.contains_key(&head) {
            let what = if next {
                "is missing: it has no head of next texts"
            } else {
                "is missing: it has no head of masked tokens"
            };
            let remedy = if next { "train one: sverka pretrain with [next]" } else { "train one: sverka pretrain" };
            return Err(Error::model(&weights_path(dir), head, what, remedy));
        }
        // a model of both heads may be asked by either
        checkpoint.weights.0.retain(|name, _| next || !(name.starts_with(NEXT) || name.starts_with(POOLER)));
        if next && !checkpoint.weights.0.contains_key(DECODER_BIAS) {
            let what = "is missing: it has no head of masked tokens";
            return Err(Error::model(
                &weights_path(dir),
                DECODER_BIAS,
                what,
                "give the folder of a BertForPreTraining",
            ));
        }
        checkpoint.select_modules(&model.modules(), Purpose::Score)?;
        let Checkpoint { config, weights, .. } = checkpoint;
        let rendering = TextConfig { max_tokens: config.max_position_embeddings, ..TextConfig::default() };
        let text = open_tokenizer(dir, rendering, &config)?;
        let net = Net::serving(config, &model.modules(), &weights, dtype.unwrap_or(Dtype::F32), Device::Cpu)?;
        Ok(LanguageModel { net, model, text, dir: dir.into() })
    }

    /// The likeliest tokens for each mask of a text, best first.
    ///
    /// # Errors
    /// A vocabulary without a masking token, a text without a mask, a text longer than the model's positions.
    pub fn fill(&self, text: &str, top: usize) -> Result<Vec<Vec<Prediction>>> {
        let (name, mask) = self.text.mask()?;
        let mut ids = Vec::new();
        for (number, part) in text.split(name).enumerate() {
            if number > 0 {
                ids.push(mask);
            }
            ids.extend(self.text.words_in_pieces(part)?.ids);
        }
        let encoding = self.text.frame(&[&ids]);
        let at: Vec<u32> = (0..).zip(&encoding.ids).filter(|(_, id)| **id == mask).map(|(at, _)| at).collect();
        if at.is_empty() {
            return Err(Error::setting("TEXT", text, format!("has no {name}: write it where a word is missing")));
        }
        let (logits, _) = self.logits(&encoding, &at)?;
        let rows = logits.chunks_exact(logits.len() / at.len());
        Ok(rows.map(|row| self.best(row, top)).collect())
    }

    fn best(&self, logits: &[f32], top: usize) -> Vec<Prediction> {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|z| f64::from(z - largest).exp()).sum();
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
        let prediction = |id: u32| Prediction {
            id,
            token: self.text.piece(id),
            probability: (f64::from(logits[id as usize] - largest).exp() / sum) as f32,
        };
        order.into_iter().take(top).map(prediction).collect()
    }

    /// The probability that the second text is the next one after the first.
    ///
    /// # Errors
    /// Texts longer than the model's positions; a model opened without its head of next texts.
    pub fn next(&self, first: &str, second: &str) -> Result<f32> {
        let (first, second) = (self.text.words_in_pieces(first)?, self.text.words_in_pieces(second)?);
        let (_, next) = self.logits(&self.text.frame(&[&first.ids, &second.ids]), &[])?;
        let logit =
            next.first().copied().ok_or(Error::Internal { op: "next", what: "opened without the head".into() })?;
        Ok((1.0 / (1.0 + (-f64::from(logit)).exp())) as f32)
    }

    /// Logits of a sequence: of the vocabulary at some tokens, row by row, and of its being a next text.
    ///
    /// # Errors
    /// A sequence longer than the model's positions, ids past its table.
    pub fn logits(&self, encoding: &Encoding, at: &[u32]) -> Result<(Vec<f32>, Vec<f32>)> {
        let (tokens, most) = (encoding.ids.len(), self.net.config().max_position_embeddings);
        if tokens > most {
            let what = format!(
                "tokens, special ones included, and {} has {most} positions: give a shorter text",
                self.dir.display()
            );
            return Err(Error::setting("TEXT", tokens, what));
        }
        self.model.logits(&self.net.pass(Mode::Infer), &Batch::from_iter([encoding]), at)
    }
}

/// A folder's tokenizer, whose ids fit a model.
fn open_tokenizer(dir: &Path, rendering: TextConfig, config: &Config) -> Result<TextEncoder> {
    let tokenizer = TextEncoder::open(dir, rendering)?;
    if tokenizer.vocab_size() > config.vocab_size {
        let what = format!("is {}, and the tokenizer has {} tokens", config.vocab_size, tokenizer.vocab_size());
        let remedy = "give files that belong together";
        return Err(Error::model(&dir.join(directory::CONFIG), "vocab_size", what, remedy));
    }
    Ok(tokenizer)
}

/// Writes a language model into a new folder. `force` replaces a model that is there.
///
/// # Errors
/// [`Error::Exists`]; the system's. Nothing is left over.
pub fn save_language_model(
    dir: &Path,
    config: &Config,
    weights: &Weights,
    tokenizer: &TextEncoder,
    force: bool,
) -> Result<()> {
    folder::write(dir, force, |out| {
        tokenizer.save(out)?;
        let mut value = directory::config_value(config, weights)?;
        let class = if weights.0.contains_key(&format!("{NEXT}.weight")) { "ForPreTraining" } else { "ForMaskedLM" };
        value["architectures"] = serde_json::json!([format!("{}{class}", config.family.class())]);
        value["tie_word_embeddings"] = true.into();
        let path = out.join(directory::CONFIG);
        std::fs::write(&path, format!("{value:#}\n")).map_err(Error::io("write", &path))?;
        write_safetensors(&out.join(WEIGHTS), weights, Storage::F32)?;
        as_readable_as(&out.join(WEIGHTS), &out.join(directory::CONFIG))
    })
}
