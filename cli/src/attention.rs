//! `sverka attention`: which tokens a model's tokens look at, in the terminal, as a page, or as numbers.

mod html;

use std::io::Write;
use std::path::PathBuf;

use sverka::inspect::{Attention, Network};
use sverka::{Error, Input, Result};

use crate::failure::Outcome;
use crate::output::Output;

const EXAMPLE: &str = r#"Examples:
  sverka attention models/matcher "sony camera w120 black" "Sony DSC-W120 (black)" --html attention.html
  sverka attention models/matcher "The animal didn't cross the street because it was too tired" --layer 5 --token it

MODEL is a bundle or a plain Hugging Face folder of an encoder. One text is read alone, two in one sequence. Layers and
heads count from 1; without --layer or --head the mean over all of them is shown. With --json: tokens, special,
segments, layers, heads, and weights[layer][head][token that looks][token that is looked at]."#;

/// Look at a model's attention: which tokens look at which, by layer and head
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The model's folder
    model: PathBuf,
    /// A text
    left: String,
    /// A second text, read in one sequence with the first
    right: Option<String>,
    /// Only this layer, from 1
    #[arg(long, value_name = "L")]
    layer: Option<usize>,
    /// Only this head, from 1
    #[arg(long, value_name = "H")]
    head: Option<usize>,
    /// Only what this token looks at: the token as it is printed, or its number from 0
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
    token: Option<String>,
    /// Write one page that works offline: lines between tokens, all layers and heads
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// What was looked at.
struct Seen<'a> {
    texts: Vec<&'a str>,
    pieces: Vec<String>,
    special: Vec<bool>,
    attention: Attention,
    layer: Option<usize>,
    head: Option<usize>,
}

pub fn run(args: Args, output: &Output) -> Outcome {
    let network = Network::open(&args.model)?;
    let texts: Vec<&str> = [Some(args.left.as_str()), args.right.as_deref()].into_iter().flatten().collect();
    let inputs: Vec<Input> = texts.iter().map(|text| Input::Text(text)).collect();
    let encoding = network.encode(&inputs)?;
    if encoding.truncated > 0 {
        output.warn(format_args!("{} tokens past the model's longest sequence are cut off", encoding.truncated));
    }
    let attention = network.attention(&encoding)?;
    let layer = from_one("--layer", args.layer, attention.layers)?;
    let head = from_one("--head", args.head, attention.heads)?;
    let (pieces, special) = (network.pieces(&encoding), network.special(&encoding));
    let seen = Seen { texts, pieces, special, attention, layer, head };
    let token = args.token.as_deref().map(|token| place(token, &seen.pieces)).transpose()?;
    if let Some(path) = &args.html {
        let page = html::page(&args.model.display().to_string(), network.architecture(), &seen);
        sverka::files::write_beside(path, |file| file.write_all(page.as_bytes()).map_err(Error::io("write", path)))?;
        output.note(format_args!("written to {}", path.display()));
    }
    let Attention { layers, heads, .. } = seen.attention;
    if output.is_json() {
        let chosen = |at: Option<usize>, all: usize| at.map_or(0..all, |one| one..one + 1);
        let maps = |l: usize| chosen(head, heads).map(|h| rows(seen.attention.map(l, h), &seen)).collect::<Vec<_>>();
        let weights: Vec<_> = chosen(layer, layers).map(maps).collect();
        let answer = serde_json::json!({
            "tokens": seen.pieces, "special": seen.special, "segments": encoding.segments, "layers": layers,
            "heads": heads, "layer": args.layer, "head": args.head, "truncated": encoding.truncated,
            "weights": weights, "html": args.html,
        });
        output.result(&answer, "")?;
        return Ok(());
    }
    let text = match token {
        Some(token) => one(&seen, token, output),
        None => map(&seen, output),
    };
    output.summary(&serde_json::Value::Null, &text)?;
    Ok(())
}

/// A map's rows.
fn rows(map: &[f32], seen: &Seen) -> Vec<Vec<f32>> {
    map.chunks_exact(seen.pieces.len()).map(<[f32]>::to_vec).collect()
}

/// A number that counts from 1, counted from 0.
pub fn from_one(flag: &str, given: Option<usize>, most: usize) -> Result<Option<usize>> {
    match given {
        Some(number) if number == 0 || number > most => {
            Err(Error::setting(flag, number, format!("the model has 1 to {most}")))
        }
        given => Ok(given.map(|number| number - 1)),
    }
}

/// The place of a token that is named by its number or as the vocabulary spells it (the first such one).
pub fn place(token: &str, pieces: &[String]) -> Result<usize> {
    let bare = |piece: &str| piece.trim_start_matches("##").trim_start_matches(['▁', 'Ġ']).to_lowercase();
    let found = pieces.iter().position(|p| p == token).or_else(|| {
        let number = token.parse::<usize>().ok().filter(|number| *number < pieces.len());
        number.or_else(|| pieces.iter().position(|p| bare(p) == token.to_lowercase()))
    });
    found.ok_or_else(|| {
        let what = format!("is no token of the text; its tokens are {}", pieces.join(" "));
        Error::setting("--token", token, what)
    })
}

/// What the maps that are shown are called.
fn called(seen: &Seen) -> String {
    match (seen.layer, seen.head) {
        (Some(l), Some(h)) => format!("layer {}, head {}", l + 1, h + 1),
        (Some(l), None) => format!("layer {}, mean of {} heads", l + 1, seen.attention.heads),
        (None, Some(h)) => format!("head {}, mean of {} layers", h + 1, seen.attention.layers),
        (None, None) => format!("mean of {} layers and {} heads", seen.attention.layers, seen.attention.heads),
    }
}

/// A weight as a shade.
fn shade(weight: f32) -> char {
    let steps = [(0.35, '█'), (0.2, '▓'), (0.1, '▒'), (0.05, '░'), (0.02, '·')];
    steps.iter().find(|(from, _)| weight >= *from).map_or(' ', |s| s.1)
}

/// The strongest keys of a row.
fn strongest(row: &[f32], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
    order.truncate(count);
    order
}

/// A heat map, and the three strongest of each row.
fn map(seen: &Seen, output: &Output) -> String {
    let mean = seen.attention.mean(seen.layer, seen.head);
    let n = seen.pieces.len();
    let label = seen.pieces.iter().map(|p| p.chars().count()).max().unwrap_or(0).min(16);
    let cell = if n <= 40 { 2 } else { 1 };
    let mut text = output.strong(called(seen)) + "\n";
    text += "rows: the token that looks; columns: the tokens in the same order; to the right: what it looks at most\n";
    text += &format!("shades: {}\n\n", output.dim("· .02  ░ .05  ▒ .10  ▓ .20  █ .35"));
    for (i, row) in mean.chunks_exact(n).enumerate() {
        let name: String = seen.pieces[i].chars().take(label).collect();
        let name = format!("{name:>label$}");
        text += &if seen.special[i] { output.dim(name) } else { name };
        text.push('│');
        row.iter().for_each(|w| text.extend(std::iter::repeat_n(shade(*w), cell)));
        let best = strongest(row, 3).into_iter().map(|k| format!("{} {:.2}", seen.pieces[k], row[k]));
        text += &format!("│ {}\n", best.collect::<Vec<_>>().join("  "));
    }
    text
}

/// What one token looks at, as bars.
fn one(seen: &Seen, token: usize, output: &Output) -> String {
    let n = seen.pieces.len();
    let mean = seen.attention.mean(seen.layer, seen.head);
    let row = &mean[token * n..(token + 1) * n];
    let label = seen.pieces.iter().map(|p| p.chars().count()).max().unwrap_or(0).min(24);
    let head = format!("{} (token {token}) looks at, {}", seen.pieces[token], called(seen));
    let mut text = output.strong(head) + "\n";
    let most = row.iter().fold(f32::MIN_POSITIVE, |most, w| most.max(*w));
    for (piece, weight) in seen.pieces.iter().zip(row) {
        let name: String = piece.chars().take(label).collect();
        let bar = "█".repeat((weight / most * 40.0).round() as usize);
        text += &format!("{name:>label$} {weight:.4} {bar}\n");
    }
    text
}
