//! Two figures of the rankers over a matrix of similar tokens: `knrm` and `drmm` over static vectors with 1,000 candidates, and what the head of `cedr` adds to
//! its encoder's time.
//!
//! ```sh
//! cargo run --release --example bench_rankers -- weights/minilm
//! ```
//!
//! Candidates are tokenized beforehand; a static vector is a row of the table, so nothing else is made ready. Heads are drawn: time does not depend on them.

use std::path::{Path, PathBuf};
use std::time::Instant;

use sverka::bundle::{Architecture, Checkpoint, Purpose};
use sverka::models::bert::PREFIX;
use sverka::models::{Net, Scorer, TokenizedList, net};
use sverka::nn::{Device, Dtype};
use sverka::text::{TextConfig, TextEncoder, TokenizedSide};
use sverka::{Input, Result};

/// Rounds of timing; the smallest time counts, since a busy machine only ever adds.
const ROUNDS: usize = 15;

/// Something to be timed.
type System<'a> = Box<dyn Fn() -> Result<()> + 'a>;

/// A ranker over the candidates of the first text.
fn ranker<'a>(
    folder: &Path,
    name: &str,
    settings: &str,
    text: &'a TextEncoder,
    sides: &'a [TokenizedSide],
) -> Result<System<'a>> {
    let architecture = Architecture::named(name, &settings.parse().expect("settings of this program"))?;
    let model = architecture.model();
    let mut checkpoint = Checkpoint::read(folder)?;
    checkpoint.select(&*model, Purpose::Start)?;
    let Checkpoint { config, mut weights, .. } = checkpoint;
    net::complete(&model.modules(), &config, &mut weights, 1);
    let net = Net::serving(config, &model.modules(), &weights, Dtype::F32, Device::Cpu)?;
    Ok(Box::new(move || {
        let scorer = Scorer { net: &net, text };
        let list = TokenizedList { query: &sides[0], candidates: sides[1..].iter().collect() };
        model.score(&scorer, &[list]).map(drop)
    }))
}

/// The encoder alone, with every state of every token, as `cedr` reads them; a cross-encoder's last layer computes first tokens alone.
fn every_state<'a>(folder: &Path, text: &'a TextEncoder, sides: &'a [TokenizedSide]) -> Result<System<'a>> {
    let mut checkpoint = Checkpoint::read(folder)?;
    checkpoint.select_modules(&[net::ENCODER], Purpose::Start)?;
    let Checkpoint { config, weights, .. } = checkpoint;
    let keep: Vec<usize> = (0..=config.num_hidden_layers).collect();
    let net = Net::serving(config, &[net::ENCODER], &weights, Dtype::F32, Device::Cpu)?;
    Ok(Box::new(move || {
        let scorer = Scorer { net: &net, text };
        let pairs: Vec<_> = sides[1..].iter().map(|side| vec![&sides[0], side]).collect();
        scorer.batches(&scorer.join(&pairs), |pass, batch| pass.layers(PREFIX, batch, &keep).map(drop))?;
        Ok(())
    }))
}

/// The smallest milliseconds of each, in rounds through all of them, so that a busy machine is busy for all.
fn milliseconds(systems: &[System]) -> Result<Vec<f64>> {
    let mut best = vec![f64::INFINITY; systems.len()];
    for _ in 0..ROUNDS {
        for (system, best) in systems.iter().zip(&mut best) {
            let start = Instant::now();
            system()?;
            *best = best.min(1e3 * start.elapsed().as_secs_f64());
        }
    }
    Ok(best)
}

fn main() -> Result<()> {
    let folder = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("weights/minilm"), PathBuf::from);
    let text = TextEncoder::open(&folder, TextConfig::default())?;
    let words =
        ["red", "lamp", "steel", "digital", "camera", "black", "printer", "usb", "cable", "inch", "wall", "sony"];
    let title = |i: usize| -> String {
        let word = |j: usize| words[(i * 7 + j * (i % 5 + 1)) % words.len()];
        format!("{} {} {} dsc-w{i} {} {} {} {} cm", word(0), word(1), word(2), word(3), word(4), word(5), i % 90)
    };
    let sides = (0..1001).map(|i| text.prepare(Input::Text(&title(i)))).collect::<Result<Vec<_>>>()?;
    let tokens = sides[1..].iter().map(TokenizedSide::tokens).sum::<usize>() as f64 / 1000.0;
    println!("query of {} tokens, documents of {tokens:.1} on average, f32", sides[0].tokens());
    let heads = ["knrm", "drmm"];
    let systems = heads.map(|name| ranker(&folder, name, "", &text, &sides));
    for (name, ms) in heads.into_iter().zip(milliseconds(&systems.into_iter().collect::<Result<Vec<_>>>()?)?) {
        println!("{name}, static vectors, 1,000 candidates: {ms:.1} ms");
    }
    let some = &sides[..65];
    let cedr = |head: &str| ranker(&folder, "cedr", &format!("head = \"{head}\""), &text, some);
    let systems = [
        ranker(&folder, "cross_encoder", "", &text, some)?,
        every_state(&folder, &text, some)?,
        cedr(heads[0])?,
        cedr(heads[1])?,
    ];
    let times = milliseconds(&systems)?;
    let (encoder, states) = (times[0], times[1]);
    println!("64 candidates: a cross-encoder {encoder:.1} ms; its encoder with every state {states:.1} ms");
    for (head, whole) in heads.into_iter().zip(&times[2..]) {
        let [share, of_head] = [encoder, states].map(|without| 100.0 * (whole - without) / without);
        println!("cedr ({head} over every layer): {whole:.1} ms, {share:+.1}% and {of_head:+.1}%");
    }
    Ok(())
}
