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

use crate::{Error, Result};

/// A file, looked at.
pub(super) enum Opened {
    /// UTF-8 text, without a byte order mark; never empty.
    Text(Box<dyn BufRead>),
    /// A Parquet file.
    Parquet(File),
}

const CHUNK: usize = 1 << 16;

/// Opens a file, or standard input for `-`.
pub(super) fn open(path: &Path) -> Result<Opened> {
    if path == Path::new("-") {
        return pipe(path, Box::new(BufReader::with_capacity(CHUNK, io::stdin())));
    }
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let kind = file.metadata().map_err(Error::io("read", path))?;
    if kind.is_dir() {
        return Err(Error::data(path, None, "this is a folder", "name a file in it"));
    }
    if !kind.is_file() {
        return pipe(path, Box::new(BufReader::with_capacity(CHUNK, file)));
    }
    let mut magic = Vec::new();
    Read::by_ref(&mut file).take(4).read_to_end(&mut magic).map_err(Error::io("read", path))?;
    match magic.as_slice() {
        b"PAR1" => return Ok(Opened::Parquet(file)),
        b"PK\x03\x04" => {
            let what = "this is a zip archive (an Excel workbook, perhaps), not a text file";
            return Err(Error::data(path, None, what, "export it as CSV in UTF-8"));
        }
        _ => {}
    }
    let again = || -> Result<Box<dyn BufRead>> {
        let mut file = &file;
        file.rewind().map_err(Error::io("read", path))?;
        let file = file.try_clone().map_err(Error::io("read", path))?;
        unzip(path, Box::new(BufReader::with_capacity(CHUNK, file)))
    };
    let encoding = match survey(path, again()?)? {
        Some(encoding) => encoding,
        None => guess(path, again()?)?,
    };
    Ok(Opened::Text(text(path, again()?, encoding)?))
}

fn pipe(path: &Path, reader: Box<dyn BufRead>) -> Result<Opened> {
    let mut reader = unzip(path, reader)?;
    let start = reader.fill_buf().map_err(Error::io("read", path))?;
    if start.is_empty() {
        return Err(empty(path));
    }
    let encoding = Encoding::for_bom(start).map_or(UTF_8, |(encoding, _)| encoding);
    Ok(Opened::Text(text(path, reader, encoding)?))
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
    let [plain, russian] = [None, Some(&b"ru"[..])].map(|tld| detector.guess(tld, Utf8Detection::Deny));
    if plain == russian && plain.is_single_byte() {
        return Ok(plain);
    }
    let what = format!("the text is not UTF-8 and its encoding is not clear ({} or {})", plain.name(), russian.name());
    Err(Error::data(path, None, what, "convert it, for example: iconv -f WINDOWS-1251 -t UTF-8 OLD > NEW"))
}

/// The text in UTF-8, without a byte order mark.
fn text(path: &Path, mut reader: Box<dyn BufRead>, encoding: &'static Encoding) -> Result<Box<dyn BufRead>> {
    if encoding == UTF_8 {
        if reader.fill_buf().map_err(Error::io("read", path))?.starts_with(b"\xef\xbb\xbf") {
            reader.consume(3);
        }
    } else {
        log::warn!("{}: not UTF-8; read as {} and converted", path.display(), encoding.name());
        let decoder = encoding.new_decoder_with_bom_removal();
        let shown = path.display().to_string();
        let decoding = Decoding { shown, reader, decoder, ended: false, warned: false };
        reader = Box::new(BufReader::with_capacity(CHUNK, decoding));
    }
    if reader.fill_buf().map_err(Error::io("read", path))?.is_empty() {
        return Err(empty(path));
    }
    Ok(reader)
}

/// Another encoding, read as UTF-8.
struct Decoding {
    shown: String,
    reader: Box<dyn BufRead>,
    decoder: Decoder,
    ended: bool,
    warned: bool,
}

impl Read for Decoding {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !self.ended {
            let chunk = self.reader.fill_buf()?;
            let last = chunk.is_empty();
            let (result, read, written, damaged) = self.decoder.decode_to_utf8(chunk, out, last);
            self.reader.consume(read);
            self.ended = last && result == CoderResult::InputEmpty;
            if damaged && !self.warned {
                self.warned = true;
                log::warn!("{}: some bytes stand for no character and became U+FFFD", self.shown);
            }
            if written > 0 {
                return Ok(written);
            }
        }
        Ok(0)
    }
}
