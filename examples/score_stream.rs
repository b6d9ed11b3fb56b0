//! Score a stream of pairs from standard input, a thousand at a time.
//!
//!     echo '{"left": {"name": "red lamp 12 W"}, "right": {"title": "Lamp, red, 12W"}}' | cargo run --release --example score_stream
use std::path::Path;

use sverka::bundle::Bundle;
use sverka::data::{ReadOptions, stream_pairs};
use sverka::nn::Device;
use sverka::{Input, List, Ranker, Record};

/// Pairs in memory at once: enough to fill batches, however long the stream is.
const AT_ONCE: usize = 1000;

fn score(model: &Bundle, pairs: &[(Record, Record)]) -> sverka::Result<()> {
    // A pair is a list of one candidate. Lists of one call share batches, so this is as fast as longer lists.
    let lists: Vec<List> =
        pairs.iter().map(|(left, right)| List::pair(Input::Record(left), Input::Record(right))).collect();
    for scores in model.score(&lists)? {
        let (probability, accepted) = model.decide(&scores[0]);
        // `truncated`: the texts are longer than the model reads. `readable`: both have words that it knows.
        println!("{probability:.4}\t{accepted}\ttruncated={}\treadable={}", scores[0].truncated, scores[0].readable);
    }
    Ok(())
}

fn main() -> sverka::Result<()> {
    let matcher = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/matcher");
    let model = Bundle::open(&matcher, None, Device::Cpu)?.with_fields(Vec::new());
    let mut pairs = Vec::new();
    // `-` is standard input: JSON lines, or a CSV whose rows have both records.
    for pair in stream_pairs(Path::new("-"), &ReadOptions::default())? {
        let (left, right, _label) = pair?;
        pairs.push((left, right));
        if pairs.len() == AT_ONCE {
            score(&model, &pairs)?;
            pairs.clear();
        }
    }
    score(&model, &pairs)
}
