//! `sverka info`: what a model is, what it reads, and how sure it may be.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sverka::Error;
use sverka::bundle::{Bundle, Checkpoint, Manifest};
use sverka::calibrate::Calibration;
use sverka::models::bert::Config;
use sverka::nn::Device;

use crate::failure::Outcome;
use crate::output::{Output, grouped};

const EXAMPLE: &str = "\
Example:
  sverka info models/matcher";

/// Show what a model or an index is
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The folder of a model or an index
    model: PathBuf,
}

#[derive(Serialize)]
struct Answer {
    model: PathBuf,
    parameters: u64,
    bytes: u64,
    config: Config,
    /// `None` for a plain Hugging Face directory.
    manifest: Option<Manifest>,
}

pub fn run(args: Args, output: &Output) -> Outcome {
    if sverka::index::IndexManifest::is_in(&args.model) {
        return crate::index::describe(args.model, output);
    }
    let Checkpoint { manifest, config, weights, .. } = Checkpoint::read(&args.model)?;
    if manifest.is_some() {
        Bundle::open(&args.model, None, Device::Cpu)?; // what can't score is refused here too
    }
    let parameters = weights.0.values().map(|a| a.len() as u64).sum();
    let answer = Answer { parameters, bytes: size(&args.model)?, config, manifest, model: args.model };
    output.result(&answer, &described(&answer, output))?;
    Ok(())
}

fn described(answer: &Answer, output: &Output) -> String {
    let Answer { config: c, .. } = answer;
    let mut text = format!("{}\n", output.strong(answer.model.display()));
    let mut line = |name: &str, value: String| text += &format!("  {name:14} {value}\n");
    line(
        "network",
        format!("{}, {} layers of {}, {} heads", c.family, c.num_hidden_layers, c.hidden_size, c.num_attention_heads),
    );
    line("parameters", grouped(answer.parameters));
    line("vocabulary", grouped(c.vocab_size as u64));
    line("segments", c.type_vocab_size.to_string());
    line("longest text", format!("{} tokens", c.max_position_embeddings));
    line("on disk", format!("{:.1} MB", answer.bytes as f64 / 1e6));
    let Some(m) = &answer.manifest else {
        line("bundle", "no: a plain Hugging Face directory, to start training from".into());
        return text;
    };
    line("architecture", m.architecture.name());
    let fields = if m.rendering.fields.is_empty() { "all but the id".into() } else { m.rendering.fields.join(", ") };
    line("reads", format!("{fields}; pairs of up to {} tokens", m.rendering.max_tokens));
    line("probability", m.calibration.as_ref().map_or("not calibrated", method).into());
    line(
        "accepts from",
        m.threshold.map_or("0.5 (no threshold chosen)".into(), |t| {
            format!("{:.4} (95% interval {:.4} to {:.4})", t.value, t.low, t.high)
        }),
    );
    text
}

fn method(calibration: &Calibration) -> &'static str {
    match calibration {
        Calibration::Temperature { .. } => "temperature",
        Calibration::Platt { .. } => "Platt",
        Calibration::Isotonic { .. } => "isotonic",
        Calibration::Beta { .. } => "beta",
    }
}

/// Bytes of a folder's files.
fn size(dir: &Path) -> sverka::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir).map_err(Error::io("read", dir))? {
        let meta = entry.and_then(|e| e.metadata()).map_err(Error::io("read", dir))?;
        bytes += if meta.is_file() { meta.len() } else { 0 };
    }
    Ok(bytes)
}
