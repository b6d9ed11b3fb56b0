//! The command line as typed, and the flags that every verb shares as resolved ([`Global::resolve`]): two types, so that
//! no verb ever gets a thread count that the machine has not.

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use sverka::Error;
use sverka::nn::kernels::Unit;
use sverka::nn::{Device, Dtype};

const CODES: &str = "\
Exit codes:
  0  done
  1  our mistake (please report it)
  2  your data, model, settings or arguments; the message says where and what to do
  3  a quality gate said no: `quantize --max-loss`, a recipe's [expect] after `train`, `compare` without a sure gain,
     `tokenizer report --max-single-token-codes`";

/// Which records of two lists are the same thing? Trains, measures and runs transformer matchers.
#[derive(Debug, Parser)]
#[command(name = "sverka", version = crate::model::VERSION, after_help = CODES, max_term_width = 110, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Match(crate::matching::Args),
    Train(crate::train::Args),
    Pretrain(crate::pretrain::Args),
    FillMask(crate::fill_mask::Args),
    Nsp(crate::nsp::Args),
    Eval(crate::eval::Args),
    Compare(crate::compare::Args),
    Index(crate::index::Args),
    Search(crate::search::Args),
    Rank(crate::rank::Args),
    Score(crate::score::Args),
    Table(crate::table::Args),
    Calibrate(crate::calibrate::Args),
    Quantize(crate::quantize::Args),
    Init(crate::init::Args),
    Export(crate::export::Args),
    Tokenizer(crate::tokenizer::Args),
    Attention(crate::attention::Args),
    Layers(crate::layers::Args),
    Neurons(crate::neurons::Args),
    States(crate::states::Args),
    Run(crate::run::Args),
    Tune(crate::tune::Args),
    Vectors(crate::vectors::Args),
    Info(crate::info::Args),
    Bench(crate::bench::Args),
    Completions(crate::completions::Args),
    #[cfg(feature = "boosting")]
    Boost(crate::boost::Args),
}

/// Flags of every verb, as typed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Flags of every verb")]
pub struct Global {
    /// Print JSON on stdout and nothing else (an error too: {"error", "code"})
    #[arg(long, global = true)]
    pub json: bool,
    /// Threads to compute with, from 1 to the machine's cores [default: all]
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<usize>,
    /// What the big matrix products are computed in (auto: what the model was made for; training: f32, bf16)
    #[arg(long, global = true, value_name = "TYPE", default_value = "auto")]
    pub dtype: Precision,
    /// Where a trained model computes: cpu, cuda (an NVIDIA GPU) or cuda:N
    #[arg(long, global = true, value_name = "DEVICE", default_value = "cpu")]
    pub device: Device,
    /// Say nothing but results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more on stderr (-vv: still more)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

/// `--dtype`; `auto` is what the model was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    F32,
    Bf16,
    Int8,
    Auto,
}

/// Flags of every verb, checked.
#[derive(Debug, Clone, Copy)]
pub struct Resolved {
    /// `None` leaves the choice to the model.
    pub dtype: Option<Dtype>,
    /// Where a trained model computes.
    pub device: Device,
    /// Threads of the one pool.
    pub threads: usize,
}

impl Resolved {
    /// Refuses a GPU where only this machine's cores can do the work.
    pub fn on_cpu(&self, work: &str) -> sverka::Result<()> {
        match self.device {
            Device::Cpu => Ok(()),
            device => Err(Error::setting("--device", device, format!("{work} is a CPU's work: leave it out"))),
        }
    }
}

impl Global {
    /// Checks the values and `SVERKA_CPU`, and sizes the thread pool.
    pub fn resolve(&self) -> sverka::Result<Resolved> {
        Unit::choose()?;
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let threads = self.threads.unwrap_or(cores);
        if threads == 0 || threads > cores {
            return Err(Error::setting("--threads", threads, format!("this machine has {cores}: give 1 to {cores}")));
        }
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .map_err(|e| Error::Internal { op: "start threads", what: e.to_string() })?;
        let dtype = match self.dtype {
            Precision::F32 => Some(Dtype::F32),
            Precision::Bf16 => Some(Dtype::Bf16),
            Precision::Int8 => Some(Dtype::Int8),
            Precision::Auto => None,
        };
        Ok(Resolved { dtype, device: self.device, threads })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// The commands `sverka ...` of a text's lines, in words.
    fn commands(text: &str) -> Vec<Vec<&str>> {
        let pieces =
            text.lines().filter(|l| l.starts_with("  ")).flat_map(|l| l.split(" && ")).flat_map(|l| l.split(" | "));
        let commands = pieces.filter_map(|piece| piece.trim().strip_prefix("sverka "));
        let bare = |c: &'_ str| c.split(" #").next().and_then(|c| c.split(" > ").next()).map(str::len).unwrap_or(0);
        commands.map(|command| words(&command[..bare(command)])).collect()
    }

    /// A command's words; what is in quotes is one.
    fn words(command: &str) -> Vec<&str> {
        let parts = command.split('"').enumerate();
        let parts = parts.map(|(i, part)| if i % 2 == 1 { vec![part] } else { part.split_whitespace().collect() });
        parts.collect::<Vec<_>>().concat()
    }

    #[test]
    fn the_definition_is_sound_and_every_verb_shows_examples_that_hold() {
        Cli::command().debug_assert();
        let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        for verb in Cli::command().get_subcommands_mut() {
            let mut shown = vec![verb.clone()];
            shown.extend(verb.get_subcommands().filter(|c| c.get_name() != "help").cloned());
            for mut command in shown {
                let name = command.get_name().to_string();
                // before a terminal's width breaks its lines
                let raw = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string);
                let help = raw.unwrap_or_else(|| command.render_long_help().to_string());
                let (_, examples) = help.split_once("Example").unwrap_or_else(|| panic!("{name}: no example: {help}"));
                let examples = commands(examples);
                assert!(!examples.is_empty(), "{name}: {help}");
                for words in examples {
                    if let Err(e) = Cli::try_parse_from([&["sverka"], &words[..]].concat()) {
                        panic!("{name}: {words:?}: {e}");
                    }
                    let ours =
                        words.iter().filter(|w| ["examples/", "recipes/", "models/"].iter().any(|p| w.starts_with(p)));
                    for path in ours {
                        assert!(root.join(path).exists(), "{name}: {path}");
                    }
                }
            }
        }
    }
}
