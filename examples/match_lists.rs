//! Match two lists: which rows of one are the same product as which rows of the other?
//!
//!     cargo run --release --example match_lists
use std::path::Path;

use sverka::bundle::Bundle;
use sverka::data::{ReadOptions, read_table};
use sverka::index::{Bm25, Bm25Settings};
use sverka::nn::Device;
use sverka::pipeline::{MatchOptions, Matching, Stage, run_match};
use sverka::text::TextConfig;

fn main() -> sverka::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // A table is a CSV, TSV, JSONL or Parquet file with a header; the column `id`, else the first one, is the id.
    let (ours, _) = read_table(&root.join("examples/left.csv"), &ReadOptions::default())?;
    let (theirs, _) = read_table(&root.join("examples/right.csv"), &ReadOptions::default())?;

    // A bundle is a model with all that its scores mean. The two shops name their columns differently, so all columns are shown.
    let model = Bundle::open(&root.join("models/matcher"), None, Device::Cpu)?.with_fields(Vec::new());

    // Comparing each row with each would be 156,348 pairs. BM25 proposes ten candidates for each of our rows; the model scores those.
    let retriever = Bm25::of_records(&theirs.records, &Bm25Settings::default(), &TextConfig::default())?;
    let options = MatchOptions { one_to_one: true, ..MatchOptions::default() };
    let matching = Matching {
        left: &ours,
        right: Some(&theirs),
        retriever: &retriever,
        stages: &[Stage { ranker: &model, keep: usize::MAX }],
        decide: &|score| model.decide(score),
        labels: None,
        options: &options,
        progress: &|_, _| {},
    };
    // Matches come one by one, so a long list needs no memory for them.
    let report = run_match(&matching, &mut |found, left, right| {
        if found.probability > 0.97 {
            println!("{:.3}  {}\n       {}", found.probability, left.values.join(" "), right.values.join(" "));
        }
        Ok(())
    })?;
    println!("{} of {} records have a match; {} pairs were scored", report.accepted, report.left, report.pairs);
    Ok(())
}
