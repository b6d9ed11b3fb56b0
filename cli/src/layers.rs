//! `sverka layers`: how far each layer looks, what can be read off its states, and how well pairs could be decided after it.

use std::path::PathBuf;

use sverka::Input;
use sverka::data::ReadOptions;
use sverka::inspect::{EarlyExit, LayerReport, Network, early_exit, layers};
use sverka::train::LabelledOptions;

use crate::failure::Outcome;
use crate::output::{Output, counted, grouped};

const EXAMPLE: &str = "\
Examples:
  sverka layers models/matcher --texts examples/left.csv
  sverka layers weights/minilm --texts ../shared/data/products/amazon-google/tableA.csv
  sverka layers models/matcher --texts examples/left.csv --pairs ../shared/data/products/abt-buy

State 0 is the embedding. distance: mean tokens between a token and what it looks at (attention within the text only);
entropy: of attention, in nats; special: share of attention that goes to [CLS] and [SEP]; input: mean cosine of a
token's state to its embedding. code, unit, brand: AUC of a linear probe of tokens, fitted on every other text and
measured on the rest: words with letters and digits (or five digits and more), units, words of the column manufacturer
or brand. early exit: AUC of a linear probe of the first token's state on labelled pairs, fitted on every other pair.";

/// Report what each layer of a model does on some texts
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The model's folder
    model: PathBuf,
    /// A table, or a file with a text a line
    #[arg(long, value_name = "FILE")]
    texts: PathBuf,
    /// Texts that are read at most, evenly spread over the file
    #[arg(long, value_name = "N", default_value_t = 500)]
    limit: usize,
    /// A folder or file of labelled pairs, or a recipe: how well they could be decided after each layer
    #[arg(long, value_name = "DATA")]
    pairs: Option<PathBuf>,
    /// Pairs that are read at most, evenly spread
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pair_limit: usize,
}

pub fn run(args: Args, output: &Output) -> Outcome {
    let network = Network::open(&args.model)?;
    let texts = crate::texts::read(&args.texts, args.limit, output)?;
    let bar = output.bar(texts.len() as u64, "reading {bar:30} {pos}/{len} texts, {eta} left");
    let report = layers(&network, &texts, &|done| bar.set_position(done))?;
    bar.finish_and_clear();
    let exits = match &args.pairs {
        Some(path) => {
            let options = LabelledOptions { data: path.clone(), read: ReadOptions::default(), ..Default::default() };
            let labelled = crate::labelled::read(&options, output)?;
            let all = labelled.len();
            let chosen =
                |i: usize| (i + 1) * args.pair_limit / all > i * args.pair_limit / all || all <= args.pair_limit;
            let pairs: Vec<[Input; 2]> = labelled
                .records()
                .enumerate()
                .filter(|(i, _)| chosen(*i))
                .map(|(_, (left, right))| [left.into(), right.into()])
                .collect();
            let labels: Vec<bool> =
                labelled.labels.iter().enumerate().filter(|(i, _)| chosen(*i)).map(|(_, label)| *label).collect();
            let bar = output.bar(pairs.len() as u64, "reading {bar:30} {pos}/{len} pairs, {eta} left");
            let exits = early_exit(&network, &pairs, &labels, &|done| bar.set_position(done))?;
            bar.finish_and_clear();
            Some(exits)
        }
        None => None,
    };
    let answer = serde_json::json!({
        "texts": report.texts, "tokens": report.tokens, "codes": report.found[0], "units": report.found[1],
        "brands": report.found[2], "layers": report.layers, "early_exit": exits,
    });
    output.result(&answer, &table(&report, exits.as_ref(), output))?;
    Ok(())
}

fn table(report: &LayerReport, exits: Option<&EarlyExit>, output: &Output) -> String {
    let head = format!(
        "{}, {} ({} of codes, {} of units, {} of brands)",
        counted(report.texts as u64, "text", "texts"),
        counted(report.tokens as u64, "token", "tokens"),
        grouped(report.found[0] as u64),
        grouped(report.found[1] as u64),
        grouped(report.found[2] as u64)
    );
    let columns = ["state", "distance", "entropy", "special", "input", "code", "unit", "brand", "early exit"];
    let columns = &columns[..if exits.is_some() { 9 } else { 8 }];
    let mut text = head + "\n" + &output.strong(columns.iter().map(|c| format!("{c:>11}")).collect::<String>()) + "\n";
    let cell = |value: Option<f64>| value.map_or("-".into(), |v| format!("{v:.3}"));
    for layer in &report.layers {
        let mut cells =
            vec![layer.layer.to_string(), cell(layer.distance), cell(layer.entropy), cell(layer.to_special)];
        cells.extend([Some(layer.similarity_to_input), layer.code_auc, layer.unit_auc, layer.brand_auc].map(cell));
        cells.extend(exits.map(|exits| cell(exits.auc.get(layer.layer).copied().flatten())));
        text += &(cells.iter().map(|c| format!("{c:>11}")).collect::<String>() + "\n");
    }
    if let Some(exits) = exits {
        let matches = counted(exits.matches as u64, "match", "matches");
        text += &format!(
            "early exit: {} pairs, half of them measured, {matches} among them\n",
            grouped(exits.pairs as u64)
        );
    }
    text
}
