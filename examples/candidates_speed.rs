//! How many left records a second get their candidates, and how many known matches are among them?
//!
//!     scripts/product-lines 1000000 /tmp/lines
//!     cargo run --release --example candidates_speed -- /tmp/lines 100000 10
//!
//! The folder has left.csv, right.csv (id, name, price) and truth.csv (left_id, right_id). The index is the one of `sverka match`, on disk; the
//! first so many left records are asked, on all cores.
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use sverka::Result;
use sverka::index::{Bm25, Bm25Settings};
use sverka::train::environment::memory;

/// Records asked at once.
const BATCH: usize = 10_000;

/// Ids and texts of a list, one after the other.
fn lines(path: &Path) -> impl Iterator<Item = (String, String)> + use<> {
    let reader = csv::ReaderBuilder::new().from_path(path).expect("a list");
    reader.into_records().map(|row| {
        let row = row.expect("a row");
        (row[0].to_string(), row.iter().skip(1).collect::<Vec<_>>().join(" "))
    })
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |at: usize, default: &str| arguments.get(at).cloned().unwrap_or(default.into());
    let folder = PathBuf::from(argument(0, "/tmp/lines"));
    let (asked, k) = (argument(1, "100000").parse().unwrap_or(100_000), argument(2, "10").parse().unwrap_or(10));
    let dir = tempfile::tempdir().expect("a folder");

    let start = Instant::now();
    Bm25::write(dir.path(), lines(&folder.join("right.csv")).map(|(_, text)| text), &Bm25Settings::default())?;
    let index = Bm25::open(dir.path())?;
    let peak = memory("VmHWM").unwrap_or(0) >> 20;
    println!("indexed in {:.1} s, peak memory {peak} MB", start.elapsed().as_secs_f64());

    let rows: HashMap<String, u32> = lines(&folder.join("right.csv")).map(|(id, _)| id).zip(0..).collect();
    let truth: HashMap<String, String> = lines(&folder.join("truth.csv")).collect();
    let (mut seconds, mut n, mut known, mut found) = (0.0, 0, 0, 0);
    let mut left = lines(&folder.join("left.csv")).take(asked).peekable();
    while left.peek().is_some() {
        let batch: Vec<(String, String)> = left.by_ref().take(BATCH).collect();
        let (ids, texts): (Vec<String>, Vec<String>) = batch.into_iter().unzip();
        let start = Instant::now();
        let tops = index.top_all(&texts, k)?;
        seconds += start.elapsed().as_secs_f64();
        n += ids.len();
        for (id, top) in ids.iter().zip(tops) {
            let Some(row) = truth.get(id).and_then(|right| rows.get(right)) else { continue };
            known += 1;
            found += usize::from(top.iter().any(|(candidate, _)| candidate == row));
        }
    }
    let share = found as f64 / f64::from(known.max(1));
    println!("{n} asked: {:.0} records/s, recall@{k} {share:.4} of {known} known matches", n as f64 / seconds);
    Ok(())
}
