//! Flags of every verb that reads tables or pairs: how the files are written, if that is not found out rightly.

use std::path::{Path, PathBuf};

use sverka::data::{ReadOptions, ReadReport, Reading, VectorPaths};
use sverka::{Error, Result};

use crate::output::{Output, counted};

/// How tables are read.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "How tables are read")]
pub struct TableArgs {
    /// The id column, or that of the left and of the right list [default: id, else the first, else one of codes]
    #[arg(long, value_name = "COLUMN[,RIGHT]", value_delimiter = ',')]
    id: Vec<String>,
    /// Ready vectors of the records (of pictures, of sound) that become a column: .npy or safetensors, rows in the table's order, or by the ids in
    /// FILE with the ending .ids; of the left and of the right list
    #[arg(long, value_name = "COLUMN=FILE[,RIGHT]", value_parser = ready_vectors)]
    ready_vectors: Vec<(String, VectorPaths)>,
    #[command(flatten)]
    text: TextArgs,
}

/// How text files are read.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "How tables are read")]
pub struct TextArgs {
    /// What divides cells: one character, or tab; given twice: the left list's and the right one's [default: found out]
    #[arg(long, value_name = "CHARACTER")]
    delimiter: Vec<String>,
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
    /// What is said of tables.
    pub fn reading(&self) -> Reading {
        let vectors = self.ready_vectors.iter().cloned().collect();
        Reading { id: self.id.clone(), vectors, ..self.text.reading() }
    }

    /// The files of ready vectors.
    pub fn vector_files(&self) -> Vec<PathBuf> {
        let sides = |paths: &VectorPaths| [0, 1].map(|side| paths.side(side).map(Path::to_path_buf));
        self.ready_vectors.iter().flat_map(|(_, paths)| sides(paths)).flatten().collect()
    }

    /// The options of the readers: the left list's or the only file's, and within them the right list's.
    pub fn options(&self) -> Result<ReadOptions> {
        flags(self.reading().options(self.text.skip_bad_rows))
    }
}

impl TextArgs {
    fn reading(&self) -> Reading {
        Reading {
            delimiter: self.delimiter.clone(),
            encoding: self.encoding.clone(),
            no_header: self.no_header,
            ..Reading::default()
        }
    }

    /// Like [`TableArgs::options`], for pairs whose two records are in one line.
    pub fn options(&self) -> Result<ReadOptions> {
        flags(self.reading().options(self.skip_bad_rows))
    }
}

/// `COLUMN=FILE`, or `COLUMN=LEFT,RIGHT`.
fn ready_vectors(text: &str) -> std::result::Result<(String, VectorPaths), String> {
    match text.split_once('=') {
        Some((column, files)) if !column.is_empty() && files.len() > 1 => Ok((
            column.into(),
            match files.split_once(',') {
                Some((left, right)) => VectorPaths::Each([left.into(), right.into()]),
                None => VectorPaths::Both(files.into()),
            },
        )),
        _ => Err("give COLUMN=FILE, or COLUMN=LEFT,RIGHT".into()),
    }
}

/// An error that names the flag where it names a recipe's key.
fn flags<T>(result: Result<T>) -> Result<T> {
    result.map_err(|error| match error {
        Error::Setting { name, value, what } => Error::setting(format!("--{name}"), value, what),
        error => error,
    })
}

/// Says what reading a file left out, changed and guessed.
pub fn report(output: &Output, path: &Path, report: &ReadReport) {
    report.notes.iter().for_each(|note| output.warn(note));
    if report.skipped > 0 {
        output.note(format_args!("{}: {} left out", path.display(), counted(report.skipped, "bad row", "bad rows")));
        report.examples.iter().for_each(|e| output.note(format_args!("  {e}")));
    }
}
