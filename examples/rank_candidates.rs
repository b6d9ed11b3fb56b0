//! Open a checkpoint and rank candidates for a query.
//!
//! The folder may be a bundle or a plain Hugging Face directory of a BERT cross-encoder.
//!
//!     cargo run --release --example rank_candidates
//!     cargo run --release --example rank_candidates -- CHECKPOINT "a query" "a candidate" "another one"
use std::path::PathBuf;

use sverka::bundle::Bundle;
use sverka::nn::Device;
use sverka::{Input, List, Ranker};

fn main() -> sverka::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let matcher = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/matcher");
    let checkpoint = arguments.next().map_or(matcher, PathBuf::from);
    let query = arguments.next().unwrap_or("Шланг поливочный Ручей 25 м".into());
    let mut candidates: Vec<String> = arguments.collect();
    if candidates.is_empty() {
        candidates =
            ["Шланг садовый Ручей, 50 м", "Ручей шланг для полива 25м", "Секатор Ручей"].map(String::from).to_vec();
    }

    // `None`: compute in the precision that the bundle names. `Device::Cuda(0)` is the first GPU (feature `cuda`).
    let model = Bundle::open(&checkpoint, None, Device::Cpu)?;

    // The list is the unit: a pointwise model scores each candidate by itself, a listwise one (duo) compares them.
    let list =
        List { query: Input::Text(&query), candidates: candidates.iter().map(|text| Input::Text(text)).collect() };
    let scores = model.score(&[list])?.remove(0);

    // Scores are only comparable within one model; higher is better.
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|&a, &b| scores[b].value.total_cmp(&scores[a].value));
    println!("{query}");
    for (rank, &i) in order.iter().enumerate() {
        let (probability, accepted) = model.decide(&scores[i]);
        let note = if accepted { "a match" } else { "" };
        println!("{:>3}. {:>8.3}  {probability:.3}  {}  {note}", rank + 1, scores[i].value, candidates[i]);
    }
    Ok(())
}
