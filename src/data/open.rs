//! Bytes to UTF-8 text. A regular file is read once to learn its encoding and once more for its rows, so that a Cyrillic
//! letter a gigabyte down is not met unprepared and nothing is held. A pipe can't be read twice: there only a byte order
//! mark is honoured, and bytes that aren't UTF-8 are an error of their row.
//!
//! A single-byte encoding can't be proved, only guessed. `chardetng` guesses twice, once knowing nothing and once
//! expecting Russian; a file is converted where both agree, else the user is asked. A file that is mostly valid UTF-8 is
//! UTF-8 with broken bytes, never Windows-1252: reading it as that would turn every Cyrillic word into `Ð°`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{CoderResult, Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::ReadOptions;
use super::kinds::foreign;
use super::notes::Notes;
use crate::{Error, Result};

/// A file, looked at.
pub(super) enum Opened {
    /// UTF-8 text, without a byte order mark; never empty.
    Text {
        /// Its bytes.
        text: Box<dyn BufRead>,
        /// Whether they come when they come.
        is_pipe: bool,
    },
    /// A Parquet file.
    Parquet(File),
}

const CHUNK: usize = 1 << 16;

/// Opens a file, or standard input for `-`. Of what is no file only pipes that the shell made are read.
pub(super) fn open(path: &Path, options: &ReadOptions, notes: &Notes) -> Result<Opened> {
    let wanted = match &options.encoding {
        None => None,
        Some(name) => Some(Encoding::for_label(name.trim().as_bytes()).ok_or_else(|| {
            let what = "no encoding that is known; for example utf-8, utf-16le, windows-1250, windows-1251, \
                        windows-1252, koi8-r, ibm866, shift_jis, gb18030";
            Error::setting("--encoding", name, what)
        })?),
    };
    if path == Path::new("-") {
        return pipe(path, Box::new(BufReader::with_capacity(CHUNK, io::stdin())), wanted, notes);
    }
    let kind = std::fs::metadata(path).map_err(|e| missing(path, e))?;
    if kind.is_dir() {
        return Err(Error::data(path, None, "this is a folder", "name a file in it"));
    }
    let is_shells = ["/dev/fd", "/dev/stdin", "/proc"].iter().any(|folder| path.starts_with(folder));
    if !kind.is_file() && !is_shells {
        let what = "a pipe or device, not a file";
        return Err(Error::data(path, None, what, "give a file, or - and pipe the rows into standard input"));
    }
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    if !kind.is_file() {
        return pipe(path, Box::new(BufReader::with_capacity(CHUNK, file)), wanted, notes);
    }
    let mut magic = Vec::new();
    Read::by_ref(&mut file).take(64).read_to_end(&mut magic).map_err(Error::io("read", path))?;
    if magic.starts_with(b"PAR1") {
        return Ok(Opened::Parquet(file));
    }
    if let Some((what, remedy)) = foreign(&magic) {
        return Err(Error::data(path, None, what, remedy));
    }
    let again = || -> Result<Box<dyn BufRead>> {
        let mut file = &file;
        file.rewind().map_err(Error::io("read", path))?;
        let file = file.try_clone().map_err(Error::io("read", path))?;
        unzip(path, Box::new(BufReader::with_capacity(CHUNK, file)))
    };
    let encoding = match (wanted, survey(path, again()?)?) {
        (Some(wanted), _) => wanted,
        (None, Some(encoding)) => encoding,
        (None, None) => guess(path, again()?)?,
    };
    let text = text(path, again()?, encoding, notes)?;
    Ok(Opened::Text { text, is_pipe: false })
}

/// An error for a file that is not there, with the names that are like it.
fn missing(path: &Path, error: io::Error) -> Error {
    if error.kind() != io::ErrorKind::NotFound {
        return Error::io("read", path)(error);
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let stem = |name: &str| name.split('.').next().unwrap_or_default().to_string();
    let Ok(entries) = std::fs::read_dir(folder) else {
        let what = format!("No such file or directory; there is no folder {} either", folder.display());
        return Error::io("read", path)(io::Error::new(io::ErrorKind::NotFound, what));
    };
    let names = entries.flatten().take(10_000).map(|e| e.file_name().to_string_lossy().into_owned());
    let like = |other: &String| {
        let lower = other.to_lowercase();
        distance(&lower, &name) <= 1 + name.chars().count() / 6 || stem(&lower) == stem(&name)
    };
    let mut near: Vec<String> = names.filter(like).collect();
    near.sort_by_key(|other| (distance(&other.to_lowercase(), &name), other.clone()));
    near.truncate(3);
    let hint = match near.is_empty() {
        true => "check the name".into(),
        false => format!("did you mean {}?", near.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" or ")),
    };
    let what = format!("No such file or directory; {hint}");
    Error::io("read", path)(io::Error::new(io::ErrorKind::NotFound, what))
}

/// Letters to insert, delete or exchange between two names.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let exchanged = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn pipe(path: &Path, reader: Box<dyn BufRead>, wanted: Option<&'static Encoding>, notes: &Notes) -> Result<Opened> {
    let mut reader = unzip(path, reader)?;
    let start = reader.fill_buf().map_err(Error::io("read", path))?;
    if start.is_empty() {
        return Err(empty(path));
    }
    if let Some((what, remedy)) = foreign(start) {
        return Err(Error::data(path, None, what, remedy));
    }
    let marked = Encoding::for_bom(start).map(|(encoding, _)| encoding);
    let text = text(path, reader, wanted.or(marked).unwrap_or(UTF_8), notes)?;
    Ok(Opened::Text { text, is_pipe: true })
}

fn empty(path: &Path) -> Error {
    Error::data(path, None, "the file is empty", "give a file with a header and rows")
}

fn unzip(path: &Path, mut reader: Box<dyn BufRead>) -> Result<Box<dyn BufRead>> {
    let start = reader.fill_buf().map_err(Error::io("read", path))?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(BufReader::with_capacity(CHUNK, flate2::bufread::MultiGzDecoder::new(reader))));
    }
    Ok(reader)
}

/// The encoding, as far as bytes prove it: `None` for a text that is neither UTF-8 nor UTF-16.
fn survey(path: &Path, mut reader: Box<dyn BufRead>) -> Result<Option<&'static Encoding>> {
    let start = reader.fill_buf().map_err(Error::io("read", path))?;
    if start.is_empty() {
        return Err(empty(path));
    }
    if let Some((encoding, _)) = Encoding::for_bom(start) {
        return Ok(Some(encoding));
    }
    let (mut length, mut zeros, mut letters, mut broken) = (0usize, [0usize; 2], 0usize, 0usize);
    let mut rest: Vec<u8> = Vec::new(); // a character cut by the end of a chunk
    loop {
        let chunk = reader.fill_buf().map_err(Error::io("read", path))?;
        if chunk.is_empty() {
            break;
        }
        for (i, _) in chunk.iter().enumerate().filter(|(_, b)| **b == 0) {
            zeros[(length + i) % 2] += 1;
        }
        rest.extend_from_slice(chunk);
        let taken = chunk.len();
        length += taken;
        reader.consume(taken);
        let mut tail = 0;
        let mut pieces = rest.utf8_chunks().peekable();
        while let Some(piece) = pieces.next() {
            letters += piece.valid().bytes().filter(|b| *b >= 0xc0).count();
            let bad = piece.invalid();
            if pieces.peek().is_none()
                && !bad.is_empty()
                && std::str::from_utf8(bad).is_err_and(|e| e.error_len().is_none())
            {
                tail = bad.len();
            } else if !bad.is_empty() {
                broken += 1;
            }
        }
        rest.drain(..rest.len() - tail);
    }
    broken += usize::from(!rest.is_empty());
    let (even, odd) = (zeros[0], zeros[1]);
    if (even + odd) * 50 > length {
        return match () {
            () if even * 20 < odd => Ok(Some(UTF_16LE)),
            () if odd * 20 < even => Ok(Some(UTF_16BE)),
            () => Err(Error::data(path, None, "holds zero bytes: not a text file", "export the list as CSV in UTF-8")),
        };
    }
    Ok((broken == 0 || letters > broken).then_some(UTF_8))
}

/// The encoding of a text that is not Unicode, if two guesses agree.
fn guess(path: &Path, mut reader: Box<dyn BufRead>) -> Result<&'static Encoding> {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    loop {
        let chunk = reader.fill_buf().map_err(Error::io("read", path))?;
        detector.feed(chunk, chunk.is_empty());
        let taken = chunk.len();
        if taken == 0 {
            break;
        }
        reader.consume(taken);
    }
    let guessed = |tld: Option<&str>| detector.guess(tld.map(str::as_bytes), Utf8Detection::Deny);
    let (plain, russian) = (guessed(None), guessed(Some("ru")));
    if plain == russian && plain.is_single_byte() {
        return Ok(plain);
    }
    // what it would be if it came from Western Europe, Russia, Poland, Turkey or Greece
    let mut names: Vec<&str> = Vec::new();
    for encoding in [plain, russian].into_iter().chain(["fr", "pl", "tr", "gr"].map(|tld| guessed(Some(tld)))) {
        if !names.contains(&encoding.name()) {
            names.push(encoding.name());
        }
    }
    let what = format!("the text is not UTF-8 and its encoding is not clear (it could be {})", names.join(" or "));
    let first = names.first().copied().unwrap_or("windows-1252");
    let remedy = format!(
        "say which with --encoding {first} (or another of these) and look at the texts, or save the file as UTF-8, for \
         example: iconv -f {} -t UTF-8 OLD > NEW",
        first.to_uppercase()
    );
    Err(Error::data(path, None, what, remedy))
}

/// The text in UTF-8, without a byte order mark.
fn text(
    path: &Path,
    mut reader: Box<dyn BufRead>,
    encoding: &'static Encoding,
    notes: &Notes,
) -> Result<Box<dyn BufRead>> {
    if encoding == UTF_8 {
        if reader.fill_buf().map_err(Error::io("read", path))?.starts_with(b"\xef\xbb\xbf") {
            reader.consume(3);
        }
    } else {
        notes.say(format!("not UTF-8; read as {} and converted (--encoding names another)", encoding.name()));
        let decoder = encoding.new_decoder_with_bom_removal();
        let decoding = Decoding { notes: notes.clone(), reader, decoder, ended: false };
        reader = Box::new(BufReader::with_capacity(CHUNK, decoding));
    }
    if reader.fill_buf().map_err(Error::io("read", path))?.is_empty() {
        return Err(empty(path));
    }
    Ok(reader)
}

/// Another encoding, read as UTF-8.
struct Decoding {
    notes: Notes,
    reader: Box<dyn BufRead>,
    decoder: Decoder,
    ended: bool,
}

impl Read for Decoding {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !self.ended {
            let chunk = self.reader.fill_buf()?;
            let last = chunk.is_empty();
            let (result, read, written, damaged) = self.decoder.decode_to_utf8(chunk, out, last);
            self.reader.consume(read);
            self.ended = last && result == CoderResult::InputEmpty;
            if damaged {
                self.notes.say("some bytes are no character of that encoding and became U+FFFD");
            }
            if written > 0 {
                return Ok(written);
            }
        }
        Ok(0)
    }
}
