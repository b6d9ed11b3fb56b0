//! `sverka bench`: how fast a model is here, on the three shapes of `docs/speed.md`. Token ids are drawn, so tokenisation
//! is not part of it. `--peers` hands the model to the script in `benches/`, which measures peers in the same run, in turns.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;
use sverka::bundle::{Architecture, Checkpoint, Export, Purpose, export};
use sverka::models::bert::Config;
use sverka::models::{Mode, Net, cross_encoder, net};
use sverka::nn::Dtype;
use sverka::text::{Batch, Encoding};

use crate::args::Resolved;
use crate::failure::Outcome;
use crate::output::Output;

const EXAMPLE: &str = "\
Examples:
  sverka bench models/matcher --dtype int8 --threads 2
  sverka bench models/matcher --peers onnxruntime,openvino,torch

--peers runs benches/peers of a checkout (it needs Python and cargo, and installs the peers into target/): every precision
of ours and of the peers, on the same weights, in turns.";

/// Pairs and tokens of each batch.
const SHAPES: [(usize, usize); 3] = [(32, 64), (8, 128), (1, 32)];

/// Measure a model's speed on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The model's folder
    model: PathBuf,
    /// Seconds to measure each shape
    #[arg(long, default_value_t = 3.0, value_name = "S")]
    seconds: f64,
    /// Measure these in the same run, in turns [from a checkout]
    #[arg(long, value_delimiter = ',', value_name = "PEERS", alias = "against")]
    peers: Vec<Peer>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Peer {
    Onnxruntime,
    Openvino,
    Torch,
}

#[derive(Serialize)]
struct Answer {
    model: PathBuf,
    dtype: Dtype,
    threads: usize,
    shapes: Vec<Timing>,
}

#[derive(Serialize)]
struct Timing {
    pairs: usize,
    tokens: usize,
    runs: usize,
    pairs_per_second: f64,
    tokens_per_second: f64,
    p50_ms: f64,
    p95_ms: f64,
}

pub fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    if !(args.seconds > 0.0 && args.seconds <= 600.0) {
        return Err(sverka::Error::setting("--seconds", args.seconds, "give more than 0, 600 at most").into());
    }
    if !args.peers.is_empty() {
        return with_peers(&args, global, output);
    }
    let model = Architecture::CrossEncoder.model();
    let mut checkpoint = Checkpoint::read(&args.model)?;
    checkpoint.select(&*model, Purpose::Start)?;
    let Checkpoint { manifest, config, mut weights, .. } = checkpoint;
    let dtype = global.device.dtype(global.dtype, manifest.and_then(|m| m.dtype));
    // an encoder without a head is as fast as one with a head of drawn weights
    net::complete(&model.modules(), &config, &mut weights, 1);
    let net = Net::serving(config.clone(), &model.modules(), &weights, dtype, global.device)?;
    drop(weights);
    let bar = output.bar(SHAPES.len() as u64, "measuring {bar:30} {pos}/{len}");
    let mut shapes = Vec::new();
    for (pairs, tokens) in SHAPES {
        let batch = drawn(&config, pairs, tokens.min(config.max_position_embeddings));
        shapes.push(measure(&net, &batch, Duration::from_secs_f64(args.seconds))?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let answer = Answer { model: args.model, dtype, threads: global.threads, shapes };
    output.result(&answer, &described(&answer, output))?;
    Ok(())
}

/// Exports the model and lets `benches/peers` measure it next to the peers; its table is the result.
fn with_peers(args: &Args, global: &Resolved, output: &Output) -> Outcome {
    let wanted: Vec<String> = args.peers.iter().map(|peer| format!("{peer:?}").to_lowercase()).collect();
    let wanted = wanted.join(",");
    let Some(root) = checkout() else {
        let remedy = "there is no benches/peers here: clone the repository of Sverka and give the command within it";
        return Err(sverka::Error::setting("--peers", wanted, remedy).into());
    };
    let work = root.join("target/peers");
    std::fs::create_dir_all(&work).map_err(sverka::Error::io("create", &work))?;
    let (plain, results) = (work.join("exported"), work.join("model.json"));
    export(&args.model, &plain, Export { force: true, anyway: true })?;
    let script = root.join("benches/peers");
    let mut command = Command::new(&script);
    command.arg("--model").arg(&plain).arg("--json").arg(&results).arg("--against").arg(wanted);
    // a shape's time in three turns
    let (threads, turn) = (global.threads.to_string(), (args.seconds / 3.0).to_string());
    command.args(["--threads", &threads, "--seconds", &turn, "--rounds", "3"]);
    if output.is_json() {
        command.stdout(Stdio::null());
    }
    let status = command.status().map_err(sverka::Error::io("start", &script))?;
    if !status.success() {
        let what = format!("benches/peers ended with {status}; its own message is above");
        return Err(sverka::Error::Internal { op: "bench", what }.into());
    }
    if output.is_json() {
        let text = std::fs::read(&results).map_err(sverka::Error::io("read", &results))?;
        let value: serde_json::Value = serde_json::from_slice(&text)
            .map_err(|e| sverka::Error::Internal { op: "bench", what: format!("benches/peers wrote no JSON: {e}") })?;
        output.result(&value, "")?;
    }
    Ok(())
}

/// The checkout that this directory, or else this program, lies in.
fn checkout() -> Option<PathBuf> {
    let starts = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    let found = |start: PathBuf| start.ancestors().find(|d| d.join("benches/peers").is_file()).map(Path::to_path_buf);
    starts.into_iter().flatten().find_map(found)
}

/// Sequences of ordinary ids, by a fixed rule.
fn drawn(config: &Config, pairs: usize, tokens: usize) -> Batch {
    let mut state = 1u64;
    let mut batch = Batch::default();
    for _ in 0..pairs {
        let mut ids = Vec::with_capacity(tokens);
        for _ in 0..tokens {
            // Knuth's MMIX generator
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ids.push(((state >> 33) % config.vocab_size as u64) as u32);
        }
        let second = if config.type_vocab_size > 1 { tokens / 2 } else { tokens };
        let segments = (0..tokens).map(|t| u32::from(t >= second)).collect();
        batch.push(&Encoding { ids, segments, ..Encoding::default() });
    }
    batch
}

fn measure(net: &Net, batch: &Batch, time: Duration) -> sverka::Result<Timing> {
    let score = || cross_encoder::logits(&net.pass(Mode::Infer), batch);
    for _ in 0..3 {
        score()?;
    }
    let start = Instant::now();
    let mut took = Vec::new();
    while start.elapsed() < time || took.len() < 5 {
        let run = Instant::now();
        score()?;
        took.push(run.elapsed().as_secs_f64());
    }
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[((took.len() - 1) as f64 * share).round() as usize];
    let median = at(0.5);
    Ok(Timing {
        pairs: batch.len(),
        tokens: batch.tokens() / batch.len(),
        runs: took.len(),
        pairs_per_second: batch.len() as f64 / median,
        tokens_per_second: batch.tokens() as f64 / median,
        p50_ms: 1e3 * median,
        p95_ms: 1e3 * at(0.95),
    })
}

fn described(answer: &Answer, output: &Output) -> String {
    let title = format!("{}, {:?}, {} threads", answer.model.display(), answer.dtype, answer.threads).to_lowercase();
    let mut text = format!("{}\n", output.strong(title));
    text += &format!("  {:>9} {:>10} {:>11} {:>9} {:>9}\n", "batch", "pairs/s", "tokens/s", "p50 ms", "p95 ms");
    for t in &answer.shapes {
        let shape = format!("{}x{}", t.pairs, t.tokens);
        let (pairs, tokens) = (t.pairs_per_second, t.tokens_per_second);
        text += &format!("  {shape:>9} {pairs:>10.1} {tokens:>11.0} {:>9.2} {:>9.2}\n", t.p50_ms, t.p95_ms);
    }
    text
}
