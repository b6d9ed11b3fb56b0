//! The texts of some files, in batches.

use std::path::PathBuf;

use indicatif::ProgressBar;
use sverka::Result;
use sverka::data::{ReadOptions, ReadReport, stream_texts};

use crate::output::Output;

/// Texts that are counted at once.
const BATCH: usize = 8192;
/// Letters that are counted at once, for texts that are long.
const BATCH_BYTES: usize = 8 << 20;

/// How files of texts are read.
#[derive(Debug, clap::Args)]
pub struct Reading {
    /// Columns of a table to read; without it all but `id` [of any file, which is then read as a table]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    column: Vec<String>,
    /// The files' encoding, if it is not found out
    #[arg(long, value_name = "NAME")]
    encoding: Option<String>,
    /// Leave out and count lines and rows that can't be read
    #[arg(long)]
    skip_bad_rows: bool,
}

/// Gives every text to `take`, some thousand at a time; what readers changed or left out is said.
pub fn read(
    files: &[PathBuf],
    reading: &Reading,
    output: &Output,
    mut take: impl FnMut(&[String]) -> Result<()>,
) -> Result<u64> {
    let options = ReadOptions {
        encoding: reading.encoding.clone(),
        skip_bad_rows: reading.skip_bad_rows,
        ..ReadOptions::default()
    };
    let bar = output.bar(0, "{spinner} {human_pos} texts read, {per_sec}");
    let mut report = ReadReport::default();
    for path in files {
        let mut stream = stream_texts(path, &reading.column, &options)?;
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for text in stream.by_ref() {
            let text = text?;
            bytes += text.len();
            batch.push(text);
            if batch.len() == BATCH || bytes > BATCH_BYTES {
                give(&mut batch, &bar, &mut take)?;
                bytes = 0;
            }
        }
        give(&mut batch, &bar, &mut take)?;
        report.add(stream.report());
    }
    bar.finish_and_clear();
    report.notes.iter().for_each(|note| output.warn(note));
    if report.skipped > 0 {
        let examples = report.examples.join("; ");
        output.warn(format!("{} bad lines or rows left out: {examples}", report.skipped));
    }
    Ok(report.skipped)
}

fn give(batch: &mut Vec<String>, bar: &ProgressBar, take: &mut impl FnMut(&[String]) -> Result<()>) -> Result<()> {
    take(batch)?;
    bar.inc(batch.len() as u64);
    batch.clear();
    Ok(())
}
