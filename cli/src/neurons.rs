//! `sverka neurons`: the cells of feed-forward blocks that are strongest for a token, and the texts that excite them most.

use std::path::PathBuf;

use sverka::Input;
use sverka::inspect::{Network, Neurons, Query, neurons};

use crate::failure::Outcome;
use crate::output::{Output, counted, cut};

const EXAMPLE: &str = r#"Example:
  sverka neurons models/matcher "sony camera w120 black" --token camera --corpus examples/left.csv

A cell's strength is what it gives, times the length of its column of the block's second matrix: how far it moves the
token's state. Of each text of the corpus the token that excites a cell most is shown."#;

/// Find the feed-forward cells that are strongest for a token, and what else excites them
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The model's folder
    model: PathBuf,
    /// A text
    text: String,
    /// The token: as the vocabulary spells it, or its number from 0
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
    token: String,
    /// A table, or a file with a text a line
    #[arg(long, value_name = "FILE")]
    corpus: PathBuf,
    /// Only cells of this layer, from 1
    #[arg(long, value_name = "L")]
    layer: Option<usize>,
    /// How many cells
    #[arg(long, value_name = "N", default_value_t = 5)]
    cells: usize,
    /// How many texts a cell
    #[arg(long, value_name = "N", default_value_t = 5)]
    top: usize,
    /// Texts that are read at most, evenly spread over the corpus
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
}

pub fn run(args: Args, output: &Output) -> Outcome {
    let network = Network::open(&args.model)?;
    let encoding = network.encode(&[Input::Text(&args.text)])?;
    let token = crate::attention::place(&args.token, &network.pieces(&encoding))?;
    let layer = crate::attention::from_one("--layer", args.layer, network.config().num_hidden_layers)?;
    let corpus: Vec<String> =
        crate::texts::read(&args.corpus, args.limit, output)?.into_iter().map(|t| t.text).collect();
    let bar = output.bar(corpus.len() as u64, "reading {bar:30} {pos}/{len} texts, {eta} left");
    let query = Query { token, layer, cells: args.cells, texts: args.top };
    let found = neurons(&network, &encoding, query, &corpus, &|done| bar.set_position(done))?;
    bar.finish_and_clear();
    output.result(&found, &text(&found, output))?;
    Ok(())
}

fn text(found: &Neurons, output: &Output) -> String {
    let texts = counted(found.texts as u64, "text", "texts");
    let mut text = format!("strongest cells for {} (token {}), {texts}\n", found.token, found.place);
    for cell in &found.cells {
        let head = format!("layer {} cell {}", cell.layer, cell.cell);
        text += &format!("\n{}  gives {:.3}, strength {:.3}\n", output.strong(head), cell.activation, cell.strength);
        for place in &cell.excited {
            text += &format!("  {:>7.3}  {:<14} {}\n", place.activation, cut(&place.token, 14), cut(&place.text, 80));
        }
    }
    text
}
