//! `sverka tokenizer show`: cuts of a text side by side.

use std::path::PathBuf;

use serde_json::{Value, json};
use sverka::files::write_beside;
use sverka::text::{Piece, TextConfig, TextEncoder};
use sverka::{Error, Result};

use super::page;
use crate::failure::Outcome;
use crate::output::{Output, counted};

const EXAMPLE: &str = "\
Example:
  sverka tokenizer show \"Монитор Iiyama 21.5 ProLite E2282HS-B1 черный\" --with tokenizers/shop,weights/bert-tiny";

/// Cut texts by several tokenizers, side by side
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// Texts to cut
    #[arg(required = true, value_name = "TEXT")]
    texts: Vec<String>,
    /// Folders with a tokenizer
    #[arg(long, required = true, value_delimiter = ',', value_name = "DIR")]
    with: Vec<PathBuf>,
    /// Also write a page with the cuts
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// A tokenizer with the name that it is shown by.
pub fn open(dir: &std::path::Path) -> Result<(String, TextEncoder)> {
    let encoder = TextEncoder::open(dir, TextConfig::default())?;
    Ok((dir.display().to_string(), encoder))
}

pub fn run(args: Args, output: &Output) -> Outcome {
    let encoders: Vec<(String, TextEncoder)> = args.with.iter().map(|dir| open(dir)).collect::<Result<_>>()?;
    let mut shown = Vec::new();
    let (mut text, mut answer) = (String::new(), Vec::new());
    for line in &args.texts {
        text += &format!("{}\n", output.strong(line));
        let mut cuts: Vec<(&str, Vec<Piece>)> = Vec::new();
        for (name, encoder) in &encoders {
            let pieces = encoder.pieces(line)?;
            text += &format!(
                "  {name}: {}\n    {}\n",
                counted(pieces.len() as u64, "piece", "pieces"),
                painted(&pieces, encoder, output)
            );
            cuts.push((name, pieces));
        }
        let of = |(name, pieces): &(&str, Vec<Piece>)| json!({ "with": name, "pieces": pieces });
        answer.push(json!({ "text": line, "cuts": cuts.iter().map(of).collect::<Vec<Value>>() }));
        shown.push((line.as_str(), cuts));
    }
    if let Some(path) = &args.html {
        let page = page::cuts(&shown);
        write_beside(path, |file| std::io::Write::write_all(file, page.as_bytes()).map_err(Error::io("write", path)))?;
        text += &format!("written to {}\n", path.display());
    }
    output.result(&json!({ "texts": answer, "html": args.html }), &text)?;
    Ok(())
}

/// The pieces with a line between them, every other one painted, the unknown ones in another colour.
fn painted(pieces: &[Piece], encoder: &TextEncoder, output: &Output) -> String {
    let unknown = encoder.unknown_id();
    let paint = |(i, piece): (usize, &Piece)| match () {
        () if Some(piece.id) == unknown => output.yellow(&piece.token),
        () if i % 2 == 0 => output.strong(&piece.token),
        () => output.green(&piece.token),
    };
    pieces.iter().enumerate().map(paint).collect::<Vec<_>>().join("|")
}
