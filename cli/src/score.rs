//! `sverka score`: pairs in, one JSON line each out, as they come.
//!
//! A reader thread hands pairs over; the model takes what is there, up to a batch. A slow producer gets an answer to each
//! pair at once, a fast one full batches, and memory stays constant.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use sverka::bundle::Bundle;
use sverka::data;
use sverka::{Error, List, Ranker, Record, Result};

use crate::args::Resolved;
use crate::failure::{Failure, Outcome};
use crate::labelled::Unseen;
use crate::output::Output;
use crate::tables::TextArgs;

const EXAMPLE: &str = r#"Examples:
  sverka score models/matcher pairs.csv > scores.jsonl
  echo '{"left":{"name":"Клей 5 л"},"right":{"name":"клей, 5л"}}' | sverka score models/matcher -

Pairs: JSON lines {"left":{...},"right":{...}}, or CSV with left_* and right_* columns.
Answer: one JSON line a pair, {"score", "probability", "decision"}, with or without --json; and
"truncated": true if the model did not see a text's end, "unreadable": true if it can't read one
(then the decision is no). With --skip-bad-rows a row that can't be read has three nulls."#;

/// Pairs scored at once.
const BATCH: usize = 256;

/// Score pairs as they come, one JSON line each
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The model's folder
    model: PathBuf,
    /// A file of pairs, or - for standard input
    pairs: PathBuf,
    /// Columns to compare [default: those of the model's training; all but the id of a record that has none of them]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    fields: Vec<String>,
    #[command(flatten)]
    text: TextArgs,
}

pub fn run(args: Args, global: &Resolved, output: &Output) -> Outcome {
    let mut bundle = Bundle::open(&args.model, global.dtype, global.device)?;
    if !args.fields.is_empty() {
        bundle = bundle.with_fields(args.fields);
    }
    let options = args.text.options()?;
    let bar = output.bar(0, "{pos} pairs, {per_sec}");
    let (send, receive) = sync_channel::<Result<Option<(Record, Record)>>>(4 * BATCH);
    let (send_report, report) = sync_channel(1);
    let path = args.pairs.clone();
    let reader = std::thread::spawn(move || {
        let mut stream = match data::stream_pairs(&path, &options) {
            Ok(stream) => stream,
            Err(e) => {
                let _ = send.send(Err(e));
                return;
            }
        };
        let mut skipped = 0;
        loop {
            let pair = stream.next();
            // a row that was left out has an answer too, so that the n-th answer is that of the n-th row
            for _ in skipped..stream.skipped() {
                if send.send(Ok(None)).is_err() {
                    return;
                }
            }
            skipped = stream.skipped();
            let Some(pair) = pair else { break };
            let broken = pair.is_err();
            if send.send(pair.map(|(left, right, _)| Some((left, right)))).is_err() || broken {
                return; // nobody listens any more
            }
        }
        let _ = send_report.send(stream.report());
    });
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut unseen = Unseen::default();
    while let Ok(first) = receive.recv() {
        let mut batch = Vec::with_capacity(BATCH);
        let mut broken = None;
        for pair in std::iter::once(first).chain(receive.try_iter().take(BATCH - 1)) {
            match pair {
                Ok(pair) => batch.push(pair),
                Err(e) => broken = Some(e),
            }
        }
        write_scores(&bundle, &batch, &mut unseen, &mut out)?;
        bar.inc(batch.len() as u64);
        if let Some(e) = broken {
            return Err(e.into());
        }
    }
    bar.finish_and_clear();
    unseen.lines().iter().for_each(|line| output.note(line));
    if reader.join().is_err() {
        return Err(Failure::Panicked); // what was answered is not all there is
    }
    if let Ok(report) = report.try_recv() {
        crate::tables::report(output, &args.pairs, &report);
    }
    Ok(())
}

/// Scores what is complete before an error is reported.
fn write_scores(
    bundle: &Bundle,
    batch: &[Option<(Record, Record)>],
    unseen: &mut Unseen,
    out: &mut impl Write,
) -> Result<()> {
    let pairs = batch.iter().flatten();
    let lists: Vec<List> = pairs.map(|(left, right)| List::pair(left.into(), right.into())).collect();
    let scores = bundle.score(&lists)?;
    let mut scores = scores.iter().flatten();
    for pair in batch {
        let Some(score) = pair.as_ref().and_then(|_| scores.next()) else {
            writeln!(out, r#"{{"score":null,"probability":null,"decision":null}}"#)
                .map_err(Error::io("write", Path::new("-")))?;
            continue;
        };
        unseen.add(score);
        let (probability, decision) = bundle.decide(score);
        let truncated = if score.truncated { r#","truncated":true"# } else { "" };
        let unreadable = if score.readable { "" } else { r#","unreadable":true"# };
        let value = score.value;
        writeln!(
            out,
            r#"{{"score":{value},"probability":{probability},"decision":{decision}{truncated}{unreadable}}}"#
        )
        .map_err(Error::io("write", Path::new("-")))?;
    }
    out.flush().map_err(Error::io("write", Path::new("-")))
}
