//! The binary `sverka`: arguments, colours, bars and exit codes, and nothing else. What a verb does is the library's.
//!
//! One file per verb. Manners that all of them share:
//! - the result goes to stdout, talk (logs, bars, notes) to stderr; with `--json` stdout holds JSON and nothing else;
//! - an error is one line with the place and the remedy, and an exit code says whose it is ([`failure`]);
//! - a file appears under its final name only when it is complete.
//!
//! Refused: `anyhow` (the library's error has place and remedy already), a configuration file for flags (a recipe is one
//! already, and a shell has aliases), prompts.

#![allow(rustdoc::broken_intra_doc_links)] // doc comments are help texts here, and those say [MASK]

mod args;
mod attention;
mod bench;
#[cfg(feature = "boosting")]
mod boost;
mod calibrate;
mod compare;
mod completions;
mod eval;
mod export;
mod failure;
mod fill_mask;
mod index;
mod info;
mod init;
mod labelled;
mod layers;
mod matching;
mod model;
mod neurons;
mod nsp;
mod output;
mod pretrain;
mod quantize;
mod rank;
mod run;
mod score;
mod search;
mod signals;
mod states;
mod table;
mod tables;
mod texts;
mod tokenizer;
mod train;
mod training;
mod tune;
mod vectors;

use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Verb};
use failure::{Failure, Outcome};
use output::Output;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let mut json = arguments.iter().any(|a| a == "--json");
    failure::hold_panics();
    let done = std::panic::catch_unwind(AssertUnwindSafe(|| run(&arguments, &mut json)));
    match done.unwrap_or(Err(Failure::Panicked)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

/// `json` is what the arguments say, before they are parsed and after.
fn run(arguments: &[OsString], json: &mut bool) -> Outcome {
    let cli = Cli::try_parse_from(arguments).map_err(Failure::Usage)?;
    *json = cli.global.json;
    let output = Output::new(&cli.global);
    output.start_log();
    let global = cli.global.resolve()?;
    match cli.verb {
        Verb::Match(args) => matching::run(args, &global, &output),
        Verb::Pretrain(args) => pretrain::run(args, &global, &output),
        Verb::FillMask(args) => fill_mask::run(args, &global, &output),
        Verb::Nsp(args) => nsp::run(args, &global, &output),
        Verb::Train(args) => train::run(args, &global, &output),
        Verb::Eval(args) => eval::run(args, &global, &output),
        Verb::Compare(args) => compare::run(args, &output),
        Verb::Index(args) => index::run(args, &global, &output),
        Verb::Search(args) => search::run(args, &global, &output),
        Verb::Rank(args) => rank::run(args, &global, &output),
        Verb::Table(args) => table::run(args, &global, &output),
        Verb::Score(args) => score::run(args, &global, &output),
        Verb::Calibrate(args) => calibrate::run(args, &global, &output),
        Verb::Quantize(args) => quantize::run(args, &global, &output),
        Verb::Init(args) => init::run(args, &output),
        Verb::Export(args) => export::run(args, &output),
        Verb::Tokenizer(args) => tokenizer::run(args, &output),
        Verb::Attention(args) => attention::run(args, &output),
        Verb::Layers(args) => layers::run(args, &output),
        Verb::Neurons(args) => neurons::run(args, &output),
        Verb::States(args) => states::run(args, &global, &output),
        Verb::Run(args) => self::run::run(args, &global, &output),
        Verb::Tune(args) => tune::run(args, &global, &output),
        Verb::Vectors(args) => vectors::run(args, &global, &output),
        Verb::Info(args) => info::run(args, &output),
        Verb::Bench(args) => bench::run(args, &global, &output),
        Verb::Completions(args) => completions::run(args, &output),
        #[cfg(feature = "boosting")]
        Verb::Boost(args) => boost::run(args, &global, &output),
    }
}
