//! The compression of a split encoder as an objective of its own, before fine-tuning: all else is frozen, and attention above the split shall be
//! what it is without compression (MacAvaney et al., "Efficient Document Re-Ranking for Transformers by Precomputing Term Representations", SIGIR 2020).
//!
//! The trainer sees six arrays and nothing of the encoder, so that decay and moments can't touch it. States below the split come from the fast encoder,
//! attention above it from the plain layers of `nn/reference.rs`, whose maps have gradients. Refused: another collection to learn on (the
//! paper takes TREC CAR); any texts do, and those of the recipe are there.

use std::path::Path;
use std::sync::Arc;

use candle_core::Tensor;

use super::corpus::Corpus;
use super::objective::{Measures, Objective, Step};
use super::progress::Progress;
use super::recipe::{MatchAttention, TrainSettings};
use super::trainer;
use crate::Result;
use crate::models::yati::{Above, Yati};
use crate::models::{Mode, Net};
use crate::nn::{Parameters, Weights};
use crate::text::{Batch, Encoding, TextEncoder};

/// Pairs that are validated on, at most.
const VALIDATED: usize = 256;
/// Pairs whose maps are in memory at once in validation.
const PAIRS: usize = 16;

/// What it learns from.
pub struct Start<'a> {
    /// The model.
    pub split: &'a Yati,
    /// Texts to sequences.
    pub text: &'a TextEncoder,
    /// The pairs; their labels are not looked at.
    pub corpus: &'a Corpus,
    /// What holds for fine-tuning, too: seed, batch, decays, checkpoints.
    pub settings: &'a TrainSettings,
    /// How long, and how fast.
    pub matching: MatchAttention,
}

/// Attention with compression against attention without.
pub struct AttentionObjective<'a> {
    split: &'a Yati,
    /// The whole model, which is frozen.
    joint: &'a Net,
    above: Above,
    /// The compression.
    net: Net,
    corpus: &'a Corpus,
    valid: Vec<Encoding>,
}

impl<'a> AttentionObjective<'a> {
    /// Of the model in `joint`, beginning with the compression that it has.
    ///
    /// # Errors
    /// A split above all layers; layers of another kind than BERT's.
    pub fn new(start: &Start<'a>, joint: &'a Net) -> Result<Self> {
        let Start { split, text, corpus, settings, .. } = *start;
        let above = Above::new(joint, split.split_at(joint.config().num_hidden_layers)?)?;
        let net = Net::training(
            joint.config().clone(),
            &split.compression(),
            joint.parameters().weights(),
            settings.dtype,
            settings.seed,
        )?;
        let lists = corpus.valid.lists();
        let pairs: Vec<_> = lists.iter().flat_map(|l| l.candidates.iter().map(|c| [l.query, *c])).collect();
        // evenly over all of them
        let valid = pairs.iter().step_by(pairs.len().div_ceil(VALIDATED).max(1)).map(|pair| text.join(pair)).collect();
        Ok(AttentionObjective { split, joint, above, net, corpus, valid })
    }

    /// [`Yati::attention_error`] of some sequences.
    fn error(&self, sequences: &[&Encoding], mode: Mode) -> Result<Tensor> {
        let batch: Batch = sequences.iter().copied().collect();
        self.split.attention_error(&self.joint.pass(Mode::Infer), &self.above, &self.net.pass(mode), &batch)
    }
}

impl Objective for AttentionObjective<'_> {
    type Item = Encoding;

    fn parameters(&self) -> &Parameters {
        self.net.parameters()
    }
    fn parameters_mut(&mut self) -> &mut Parameters {
        self.net.parameters_mut()
    }
    fn epoch(&self, epoch: u64) -> Result<Vec<Encoding>> {
        Ok(self.corpus.train.epoch(epoch)?.into_iter().flat_map(|example| example.texts).collect())
    }
    fn tokens(&self, item: &Encoding) -> usize {
        item.ids.len()
    }
    fn loss(&self, items: &[&Encoding], step: &Step) -> Result<Tensor> {
        Ok((self.error(items, Mode::Train { seed: step.seed })? / step.items as f64)?)
    }
    fn measures(&self) -> &'static [&'static str] {
        &["loss"]
    }
    fn validate(&self) -> Result<Measures> {
        let mut sum = 0.0;
        for some in self.valid.chunks(PAIRS) {
            sum += f64::from(self.error(&some.iter().collect::<Vec<_>>(), Mode::Infer)?.to_scalar::<f32>()?);
        }
        Ok([("loss".to_string(), sum / self.valid.len().max(1) as f64)].into())
    }
}

/// Trains the compression in `net` to leave attention as it is; the rest of `net` stays. Log and checkpoint are in `dir`; with `resume` it goes on from
/// there. Gives the mean square difference of attention on validation before and after.
///
/// # Errors
/// Those of [`AttentionObjective::new`] and of the trainer.
pub fn match_attention(
    start: &Start,
    net: &mut Net,
    dir: &Path,
    resume: bool,
    progress: &dyn Progress,
) -> Result<[f64; 2]> {
    let MatchAttention { epochs, lr } = start.matching;
    // what speaks of the parameters and measures of fine-tuning does not count here
    let settings = TrainSettings {
        epochs,
        lr,
        metric: "loss".into(),
        learning_rates: Default::default(),
        early_stopping: None,
        ema_decay: None,
        ..start.settings.clone()
    };
    let (errors, learnt): ([f64; 2], Weights) = {
        let mut objective = AttentionObjective::new(start, net)?;
        let error = |objective: &AttentionObjective| Ok::<_, crate::Error>(objective.validate()?["loss"]);
        let before = error(&objective)?;
        trainer::fit(&mut objective, &settings, dir, resume, progress)?;
        ([before, error(&objective)?], objective.net.parameters().weights())
    };
    for p in &mut net.parameters_mut().list {
        if let Some(array) = learnt.0.get(&p.name) {
            p.value = Arc::new(array.values().to_vec());
        }
    }
    let [before, after] = errors;
    progress.note(&format!("compression: mean square difference of attention {before:.2e} before, {after:.2e} now"));
    Ok(errors)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde::Deserialize;

    use super::*;
    use crate::bundle::{Architecture, Checkpoint, Purpose};
    use crate::models::net;
    use crate::nn::{Array, Dtype};
    use crate::text::TokenSpan;

    #[derive(Deserialize)]
    struct Case {
        split_at: usize,
        compress: usize,
        query_tokens: u32,
        sequences: Vec<Halves>,
        loss: f32,
        gradients: std::collections::BTreeMap<String, Vec<f32>>,
    }

    #[derive(Deserialize)]
    struct Halves {
        query: Vec<u32>,
        document: Vec<u32>,
    }

    impl Halves {
        fn encoding(&self, room: u32) -> Encoding {
            let (q, d) = (self.query.len() as u32, self.document.len() as u32);
            let span = |input, start, end| TokenSpan { input, field: None, start, end };
            Encoding {
                ids: [&self.query[..], &self.document[..]].concat(),
                segments: (0..q + d).map(|at| u32::from(at >= q)).collect(),
                positions: (0..q).chain(room..room + d).collect(),
                spans: vec![span(0, 0, q), span(1, q, q + d)],
                ..Encoding::default()
            }
        }
    }

    /// `tests/golden/attention_match/make.py`: the loss, and its gradient in every array of the compression.
    #[test]
    fn loss_and_gradients_are_those_of_python() {
        let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let text = std::fs::read_to_string(golden.join("attention_match/expected.json")).unwrap();
        let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
        for case in &cases {
            let settings = format!("split_at = {}\ncompress = {}", case.split_at, case.compress);
            let architecture = Architecture::named("yati", &toml::from_str(&settings).unwrap()).unwrap();
            let model = architecture.model();
            let mut checkpoint = Checkpoint::read(&golden.join("bert/rubert")).unwrap();
            checkpoint.select(&*model, Purpose::Start).unwrap();
            let Checkpoint { config, mut weights, .. } = checkpoint;
            let split = model.split().unwrap();
            for (name, shape) in net::arrays(&split.compression(), &config, &weights) {
                let value = |i: usize| (0.3 * (1.7 * i as f64 + 1.0).sin()) as f32;
                weights.0.insert(name, Array::new(shape.clone(), (0..shape.iter().product()).map(value).collect()));
            }
            let of = weights.clone();
            let joint = Net::training(config.clone(), &model.modules(), weights, Dtype::F32, 1).unwrap();
            let above = Above::new(&joint, case.split_at).unwrap();
            let learning = Net::training(config, &split.compression(), of, Dtype::F32, 1).unwrap();
            let sequences: Vec<Encoding> = case.sequences.iter().map(|s| s.encoding(case.query_tokens)).collect();
            let batch: Batch = sequences.iter().collect();
            let pass = learning.pass(Mode::Train { seed: 1 });
            let sum = split.attention_error(&joint.pass(Mode::Infer), &above, &pass, &batch).unwrap();
            let loss = (sum / sequences.len() as f64).unwrap();
            let value = loss.to_scalar::<f32>().unwrap();
            assert!((value - case.loss).abs() < 1e-4 * case.loss, "{value}, Python {}", case.loss);
            learning.parameters().accumulate_grads(&loss.backward().unwrap()).unwrap();
            assert_eq!(learning.parameters().list.len(), case.gradients.len());
            for p in &learning.parameters().list {
                let (got, wanted) = (p.grad.lock().unwrap().to_vec(), &case.gradients[&p.name]);
                let largest = wanted.iter().fold(0f32, |most, x| most.max(x.abs()));
                assert_eq!(got.len(), wanted.len(), "{}", p.name);
                for (got, wanted) in got.iter().zip(wanted) {
                    assert!((got - wanted).abs() <= 1e-3 * largest, "{}: {got}, Python {wanted}", p.name);
                }
            }
            let infer = learning.pass(Mode::Infer);
            let again = split.attention_error(&joint.pass(Mode::Infer), &above, &infer, &batch).unwrap();
            let again = again.to_scalar::<f32>().unwrap() / sequences.len() as f32;
            assert!((again - case.loss).abs() < 1e-4 * case.loss, "in inference {again}");
        }
    }
}
