//! `sverka completions`: the shell finishes words.

use std::io::Write;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use sverka::Error;

use crate::failure::Outcome;
use crate::output::Output;

const EXAMPLE: &str = "\
Example:
  sverka completions bash > ~/.local/share/bash-completion/completions/sverka";

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The shell
    shell: Shell,
}

pub fn run(args: Args, output: &Output) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::args::Cli::command(), "sverka", &mut script);
    if output.is_json() {
        let script = String::from_utf8_lossy(&script);
        output.result(&serde_json::json!({ "shell": args.shell.to_string(), "script": script }), "")?;
    } else {
        std::io::stdout().write_all(&script).map_err(Error::io("write", Path::new("-")))?;
    }
    Ok(())
}
