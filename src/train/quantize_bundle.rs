//! A bundle with int8 weights, and the gate that it must pass: measured as it will be served, before it has a name.

use std::path::Path;

use super::labelled::Labelled;
use super::quantize::{Fit, quantize};
use crate::bundle::{self, Bundle, Checkpoint, Contents, Purpose, Quantized, Storage};
use crate::eval::{Report, report};
use crate::files::NewFolder;
use crate::models::bert::{self, ClassifierPooling, Config};
use crate::models::{Model, Module, Reads};
use crate::nn::{Device, Dtype};
use crate::records::Record;
use crate::text::Batch;
use crate::{Error, Input, Ranker, Result};

/// How a bundle is turned into one of int8.
#[derive(Debug, Clone)]
pub struct Int8Options {
    /// How many pairs the weights are fitted to.
    pub samples: usize,
    /// How much F1 may fall against f32, a share of one.
    pub max_loss: f64,
}

/// What int8 weights are worth.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Int8Report {
    /// What `sverka.json` says of them.
    #[serde(flatten)]
    pub quantized: Quantized,
    /// Root of the mean squared difference of the scores (logits).
    pub score_rms: f64,
    /// Squared error of the matrices' outputs on the sample in shares of their squares, mean: fitted.
    pub output_error: f64,
    /// The same, not fitted.
    pub output_error_unfitted: f64,
    /// The decisions in f32.
    pub f32: Report,
    /// The decisions in int8.
    pub int8: Report,
}

impl Int8Report {
    /// Whether F1 fell by more than it may: then nothing was written.
    pub fn is_refused(&self) -> bool {
        self.quantized.loss > self.quantized.max_loss
    }
}

/// Writes the bundle `model` with int8 weights as the new folder `out`, if it stays good enough: the folder is written under
/// another name, scored on held-out pairs as it will be served, compared with f32 on the same pairs, and renamed only if the
/// loss of F1 is within [`Int8Options::max_loss`]. `progress` gets the pairs scored, of twice the labelled ones.
///
/// # Errors
/// A model that is int8 already, an output that exists, no pairs to fit to; what reading, scoring and writing refuse.
pub fn quantize_bundle(
    model: &Path,
    out: &Path,
    labelled: &mut Labelled,
    options: &Int8Options,
    progress: &dyn Fn(u64),
) -> Result<Int8Report> {
    let max_loss = options.max_loss;
    if !(0.0..=1.0).contains(&max_loss) {
        return Err(Error::setting("--max-loss", max_loss, "a share of one, from 0 to 1"));
    }
    if out.exists() {
        return Err(Error::Exists(out.into()));
    }
    let whole = Bundle::open(model, Some(Dtype::F32), Device::Cpu)?;
    let architecture = &whole.manifest.architecture;
    let encoders = encoders(&architecture.name(), &*architecture.model(), whole.config());
    if encoders.is_empty() {
        let what = format!("is {}; int8 weights are made of a cross_encoder, dssm or duo", architecture.name());
        return Err(Error::model(&model.join("sverka.json"), "architecture", what, "serve this model in bf16"));
    }
    if whole.manifest.storage == Storage::Int8 {
        let from = whole.manifest.quantised.as_ref().map_or(String::new(), |q| format!(" ({})", q.from_weights_sha256));
        let remedy = format!("give the model that it was made from{from}");
        return Err(Error::model(&model.join("sverka.json"), "storage", "is int8 already", remedy));
    }
    let sample = labelled.sample(options.samples);
    if sample.is_empty() {
        return Err(Error::setting("--samples", options.samples, "no pairs to fit the weights to; give more"));
    }
    if whole.is_listwise() {
        labelled.keep_lists()?;
    }
    let batches = encoders.iter().map(|encoder| encoder.batch(&whole, &sample)).collect::<Result<Vec<_>>>()?;
    let (scores, before) = measured(&whole, labelled, progress)?;

    let mut checkpoint = Checkpoint::read(model)?;
    checkpoint.select(&*checkpoint.architecture().model(), Purpose::Score)?;
    let Checkpoint { config, mut weights, .. } = checkpoint;
    let mut fits = Vec::new();
    for (encoder, batch) in encoders.iter().zip(&batches) {
        fits.extend(quantize(&config, encoder.prefix, &mut weights, batch, encoder.first_only)?);
    }
    let folder = NewFolder::create(out)?;
    let mut manifest = whole.manifest.clone();
    manifest.dtype = Some(Dtype::Int8);
    let contents = Contents {
        manifest: &manifest,
        config: &config,
        weights: &weights,
        tokenizer_from: model,
        storage: Storage::Int8,
    };
    bundle::fill(folder.path(), &contents).map_err(|e| e.with_path(folder.path(), out))?;
    drop(weights);
    let mut small = Bundle::open(folder.path(), Some(Dtype::Int8), Device::Cpu)?;
    let done = labelled.len() as u64;
    let (small_scores, after) = measured(&small, labelled, &|some| progress(done + some))?;
    let quantized = Quantized {
        from_weights_sha256: whole.weights_sha256()?,
        sample_pairs: sample.len() as u64,
        measured_pairs: labelled.len() as u64,
        f1_f32: before.f1,
        f1_int8: after.f1,
        loss: before.f1 - after.f1,
        max_loss,
    };
    let squares = scores.iter().zip(&small_scores).map(|(a, b)| f64::from(a - b).powi(2));
    let score_rms = (squares.sum::<f64>() / scores.len() as f64).sqrt();
    let mean = |of: fn(&Fit) -> f64| fits.iter().map(of).sum::<f64>() / fits.len().max(1) as f64;
    let (output_error, output_error_unfitted) = (mean(|f| f.fitted), mean(|f| f.plain));
    small.manifest.quantised = Some(quantized.clone());
    let report = Int8Report { quantized, score_rms, output_error, output_error_unfitted, f32: before, int8: after };
    if !report.is_refused() {
        small.write_manifest().map_err(|e| e.with_path(folder.path(), out))?;
        folder.commit()?;
    }
    Ok(report)
}

/// An encoder of a model, and what it reads.
struct EncoderSample {
    prefix: &'static str,
    reads: Sequences,
    first_only: bool,
}

/// What an encoder's sequences are made of.
#[derive(Clone, Copy)]
enum Sequences {
    Pairs,
    /// Query and two documents.
    Triples,
    /// One text: the first of a pair, the second, or both by themselves.
    Texts {
        left: bool,
        right: bool,
    },
}

/// Kinds of models that int8 weights are made of, where they have an encoder.
const KINDS: [&str; 3] = ["cross_encoder", "dssm", "duo"];

/// The encoders of a model and what they read; none where int8 weights are not made of its kind.
fn encoders(kind: &str, model: &dyn Model, config: &Config) -> Vec<EncoderSample> {
    let modules = model.modules();
    let encoder = |module: &Module| if let Module::Encoder { prefix, .. } = module { Some(*prefix) } else { None };
    let prefixes: Vec<&'static str> = modules.iter().filter_map(encoder).filter(|_| KINDS.contains(&kind)).collect();
    let mean_of_head = config.modern.is_some_and(|modern| modern.classifier_pooling == ClassifierPooling::Mean);
    let alone = prefixes.len() == 1;
    let sample = |prefix: &'static str| {
        let is_query = prefix == bert::PREFIX;
        let reads = match model.reads() {
            Reads::Pair => Sequences::Pairs,
            Reads::Triple => Sequences::Triples,
            Reads::Towers => Sequences::Texts { left: is_query, right: alone || !is_query },
        };
        EncoderSample { prefix, reads, first_only: model.reads() != Reads::Towers && !mean_of_head }
    };
    prefixes.into_iter().map(sample).collect()
}

impl EncoderSample {
    /// Its sequences of a sample of pairs.
    fn batch(&self, model: &Bundle, sample: &[(Record, Record)]) -> Result<Batch> {
        let mut batch = Batch::default();
        let mut push = |inputs: &[Input]| -> Result<()> {
            batch.push(&model.tokenizer().encode(inputs)?);
            Ok(())
        };
        for (at, (left, right)) in sample.iter().enumerate() {
            match self.reads {
                Sequences::Pairs => push(&[left.into(), right.into()])?,
                // the other document is that of the next pair
                Sequences::Triples => push(&[left.into(), right.into(), (&sample[(at + 1) % sample.len()].1).into()])?,
                Sequences::Texts { left: first, right: second } => {
                    for (record, _) in [(left, first), (right, second)].into_iter().filter(|(_, wanted)| *wanted) {
                        push(&[record.into()])?;
                    }
                }
            }
        }
        Ok(batch)
    }
}

/// Scores, and how good the decisions are.
fn measured(bundle: &Bundle, labelled: &Labelled, progress: &dyn Fn(u64)) -> Result<(Vec<f32>, Report)> {
    let scores = labelled.scores(bundle, progress)?;
    let probabilities: Vec<f32> = scores.iter().map(|s| bundle.decide(s).0).collect();
    let report = report(&probabilities, &labelled.labels, bundle.threshold())?;
    Ok((scores.iter().map(|s| s.value).collect(), report))
}
