//! Flags of every verb that reads tables or pairs: how the files are written, if that is not found out rightly.

use std::path::Path;

use sverka::data::{ReadOptions, ReadReport};
use sverka::{Error, Result};

use crate::output::{Output, counted};

/// How tables are read.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "How tables are read")]
pub struct TableArgs {
    /// The id column, or that of the left and of the right list [default: id, else the first, else one of codes]
    #[arg(long, value_name = "COLUMN[,RIGHT]", value_delimiter = ',')]
    id: Vec<String>,
    #[command(flatten)]
    text: TextArgs,
}

/// How text files are read.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "How tables are read")]
pub struct TextArgs {
    /// What divides cells: one character, or tab; given twice: the left list's and the right one's [default: found out]
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    delimiter: Vec<u8>,
    /// The first row is data; the columns are called `column 1`, `column 2`, ...
    #[arg(long)]
    no_header: bool,
    /// The encoding of text files, such as windows-1250; given twice: the left list's and the right one's
    /// [default: found out]
    #[arg(long, value_name = "NAME")]
    encoding: Vec<String>,
    /// Leave out rows that can't be read, and count them
    #[arg(long)]
    skip_bad_rows: bool,
}

impl TableArgs {
    /// The options of the readers: the left list's or the only file's, and within them the right list's.
    pub fn options(&self) -> Result<ReadOptions> {
        if self.id.len() > 2 {
            return Err(Error::setting("--id", self.id.join(","), "give one column, or LEFT,RIGHT"));
        }
        let options = self.text.options()?;
        let id = |side: usize| self.id.get(side).or(self.id.last()).cloned();
        let right = options.right.map(|right| Box::new(ReadOptions { id: id(1), ..*right }));
        Ok(ReadOptions { id: id(0), right, ..options })
    }
}

impl TextArgs {
    /// Like [`TableArgs::options`], for pairs whose two records are in one line.
    pub fn options(&self) -> Result<ReadOptions> {
        for (flag, given) in [("--delimiter", self.delimiter.len()), ("--encoding", self.encoding.len())] {
            if given > 2 {
                return Err(Error::setting(
                    flag,
                    given,
                    "give it once, or once for the left list and once for the right one",
                ));
            }
        }
        let side = |i: usize| ReadOptions {
            delimiter: self.delimiter.get(i).or(self.delimiter.last()).copied(),
            encoding: self.encoding.get(i).or(self.encoding.last()).cloned(),
            no_header: self.no_header,
            skip_bad_rows: self.skip_bad_rows,
            ..ReadOptions::default()
        };
        Ok(ReadOptions { right: Some(Box::new(side(1))), ..side(0) })
    }
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text {
        "tab" | "\\t" => Ok(b'\t'),
        _ if text.len() == 1 && text != "\"" && text != "\n" => Ok(text.as_bytes()[0]),
        _ => Err("one character of ASCII, or tab".into()),
    }
}

/// Says what reading a file left out, changed and guessed.
pub fn report(output: &Output, path: &Path, report: &ReadReport) {
    report.notes.iter().for_each(|note| output.warn(note));
    if report.skipped > 0 {
        output.note(format_args!("{}: {} left out", path.display(), counted(report.skipped, "bad row", "bad rows")));
        report.examples.iter().for_each(|e| output.note(format_args!("  {e}")));
    }
}
