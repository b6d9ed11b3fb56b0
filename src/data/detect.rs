//! Which format a folder or a file is: for `eval MODEL DATA`, and for `init LEFT RIGHT PAIRS`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;

use super::beir::is_beir;
use super::joined::Layout;
use super::lines::Lines;
use super::notes::Notes;
use super::open::{Opened, open};
use super::rows::Reader;
use super::sentence_pairs::is_sentence_pairs;
use super::squad::is_squad;
use super::xml::is_xml;
use super::{Parts, ReadOptions, ReadReport, Source, label_column};
use crate::records::Split;
use crate::{Error, Result};

/// Recognises a labelled set: a DeepMatcher or BEIR folder, a folder with one `train.*`, `valid.*`, `test.*` each, or one file of
/// pairs (of the split in its name, else of none).
///
/// # Errors
/// Nothing that is recognised, or several files for one split.
pub fn detect(path: &Path, options: &ReadOptions) -> Result<Source> {
    if !path.is_dir() {
        let mut files = Parts::default();
        let file = match part_of(path) {
            Some(Split::Train) => &mut files.train,
            Some(Split::Valid) => &mut files.valid,
            Some(Split::Test) => &mut files.test,
            None => &mut files.pairs,
        };
        *file = Some(path.into());
        return source(path, files, options);
    }
    if path.join("tableA.csv").exists() && path.join("tableB.csv").exists() {
        return Ok(Source::Deepmatcher { dir: path.into() });
    }
    if is_beir(path) {
        return Ok(Source::Beir { dir: path.into() });
    }
    let mut files = Files::default();
    let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
        .and_then(|entries| entries.map(|e| Ok(e?.path())).collect())
        .map_err(Error::io("read", path))?;
    entries.sort();
    for file in entries {
        let Some(part) = part_of(&file).filter(|_| file.is_file() && !is_script(&file)) else { continue };
        if let Some(other) = files[part as usize].replace(file.clone()) {
            let what = format!("both {} and {} could be the same part", other.display(), file.display());
            return Err(Error::data(path, None, what, "name one file, or write a recipe that names each part's"));
        }
    }
    let Some(first) = files.iter().flatten().next().cloned() else {
        let what = "no labelled set that is known here";
        let remedy = "there should be tableA.csv and tableB.csv, or files called train.*, valid.*, test.*; else name \
                      the files in a recipe";
        return Err(Error::data(path, None, what, remedy));
    };
    let [train, valid, test] = files;
    source(&first, Parts { train, valid, test, pairs: None }, options)
}

/// The files of training, validation and test.
type Files = [Option<PathBuf>; 3];

/// Files of programs next to the data.
fn is_script(path: &Path) -> bool {
    path.extension().is_some_and(|e| ["py", "sh", "md", "toml", "rs"].iter().any(|s| e == *s))
}

/// The part that a file's name speaks of.
fn part_of(path: &Path) -> Option<Split> {
    let name = path.file_name()?.to_string_lossy().to_lowercase();
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    words.find_map(|word| match word {
        "train" => Some(Split::Train),
        "valid" | "val" | "validation" | "dev" => Some(Split::Valid),
        "test" | "gs" => Some(Split::Test), // gs: the gold standards of Web Data Commons
        _ => None,
    })
}

/// A file's first bytes, unpacked; none of what is no file.
fn start(path: &Path) -> Result<Vec<u8>> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let mut file = BufReader::new(File::open(path).map_err(Error::io("read", path))?);
    let mut start = Vec::new();
    let is_packed = file.fill_buf().map_err(Error::io("read", path))?.starts_with(&[0x1f, 0x8b]);
    // of a damaged file its reader says more
    _ = if is_packed {
        GzDecoder::new(file).take(64).read_to_end(&mut start)
    } else {
        file.take(64).read_to_end(&mut start)
    };
    Ok(start)
}

/// The format of a set whose first file this is.
fn source(file: &Path, files: Parts, options: &ReadOptions) -> Result<Source> {
    if is_xml(&start(file)?) {
        return Ok(Source::Paraphraser(files));
    }
    let mut is_squads = false;
    let is_ditto = match open(file, options, &Notes::default())? {
        Opened::Text { text, is_pipe } => {
            let mut lines = Lines::new(file, text, is_pipe);
            let start = lines.peek()?;
            is_squads = is_squad(start);
            start.starts_with(b"COL ")
        }
        Opened::Parquet(_) => false,
    };
    if is_ditto {
        return Ok(Source::Ditto(files));
    }
    if is_squads {
        return Ok(Source::Squad(files));
    }
    let mut reader = Reader::open(file, options)?;
    reader.next()?;
    if is_sentence_pairs(reader.columns()) {
        return Ok(Source::SentencePairs(files));
    }
    Layout::new(file, reader.columns(), options)?;
    Ok(if reader.columns().iter().any(|c| c.ends_with("_left")) { Source::Wdc(files) } else { Source::Joined(files) })
}

/// Two tables and a file of links, whose columns are known by their names, else by their order: the first that is neither
/// label nor split is the left id, the second the right. What was guessed is in the report's notes.
///
/// # Errors
/// A file that can't be read; a links file of fewer than two columns; a column that could be the labels and could not.
pub fn guess_links(left: &Path, right: &Path, links: &Path, options: &ReadOptions) -> Result<(Source, ReadReport)> {
    let [_, _, options] = options.sides();
    let mut reader = Reader::open(links, &options)?;
    reader.next()?;
    let columns = reader.columns();
    let named = |names: &[&str]| columns.iter().find(|c| names.contains(&c.to_lowercase().as_str())).cloned();
    let named_label = options.label_column.clone().or_else(|| named(&label_column::NAMES));
    let part_column = named(&["split", "part", "set", "fold"]);
    let mut ids = columns.iter().filter(|c| !c.is_empty() && Some(*c) != named_label.as_ref());
    let mut ids = ids.by_ref().filter(|c| Some(*c) != part_column.as_ref()).cloned();
    let left_column = named(&["ltable_id", "left_id", "id_left", "left", "ida", "id_a", "id1"]).or_else(|| ids.next());
    let right_column = named(&["rtable_id", "right_id", "id_right", "right", "idb", "id_b", "id2"]);
    let right_column = right_column.or_else(|| ids.find(|c| Some(c) != left_column.as_ref()));
    let (Some(left_column), Some(right_column)) = (left_column, right_column) else {
        let what = format!("no two columns of ids; there is: {}", columns.join(", "));
        return Err(Error::data(links, None, what, "give a file with the left record's id and the right record's"));
    };
    let known = [Some(&left_column), Some(&right_column), part_column.as_ref()];
    let is_known = |column: &str| column.is_empty() || known.into_iter().flatten().any(|c| c == column);
    let (label_column, note) = label_column::find(links, &options, is_known)?;
    let note = note.map(|note| format!("{}: {note}", links.display()));
    let source = Source::Links {
        left: left.into(),
        right: right.into(),
        links: links.into(),
        left_column,
        right_column,
        label_column,
        part_column,
        left_id: None,
        right_id: None,
    };
    Ok((source, ReadReport { notes: note.into_iter().collect(), ..ReadReport::default() }))
}
