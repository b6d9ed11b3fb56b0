//! Vectors of words in the files that word2vec, fastText, GloVe and gensim write.
//!
//! | file | what it is |
//! | --- | --- |
//! | text (`.vec`, `.txt`) | `n dim`, then a line a word: the word and its values, a space between (GloVe: without the first line) |
//! | word2vec's `.bin` | `n dim` as text, then each word, a space, and its values as 32-bit floats, lowest byte first |
//! | fastText's `.bin` | see [`super::fasttext`]; words that it does not have are read from their pieces |
//!
//! Which one it is is read from the file's start, not from its name; any of them may be gzipped.
//!
//! Refused: gensim's own `.model` (a pickle runs code), words in another encoding than UTF-8 (a guess would be wrong for some).

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use super::fasttext::{self, FastText, Pieces};
use crate::files::write_beside;
use crate::{Error, Result};

/// The longest word that is read, in bytes.
const LONGEST_WORD: usize = 4096;
/// The widest vector that is read.
const WIDEST: usize = 1 << 16;
const REMEDY: &str = "the file is damaged or no file of word vectors; fetch it again";

/// Words, most frequent first as files have them, and a vector each.
#[derive(Debug, Clone, PartialEq)]
pub struct WordVectors {
    words: Vec<String>,
    places: HashMap<String, u32>,
    dim: usize,
    values: Vec<f32>,
    pieces: Option<Pieces>,
}

impl WordVectors {
    /// Words and their vectors, `values [n, dim]` one after the other. Of a word that comes twice the first vector is kept.
    ///
    /// # Errors
    /// Another number of values.
    pub fn new(words: Vec<String>, dim: usize, mut values: Vec<f32>) -> Result<Self> {
        if values.len() != words.len() * dim {
            let (expected, got) = (format!("{} x {dim} values", words.len()), values.len().to_string());
            return Err(Error::Shape { op: "word vectors", expected, got });
        }
        let (mut places, mut kept) = (HashMap::with_capacity(words.len()), Vec::with_capacity(words.len()));
        for (i, word) in words.into_iter().enumerate() {
            let place = kept.len();
            if let std::collections::hash_map::Entry::Vacant(free) = places.entry(word.clone()) {
                free.insert(place as u32);
                values.copy_within(i * dim..(i + 1) * dim, place * dim);
                kept.push(word);
            }
        }
        values.truncate(kept.len() * dim);
        Ok(WordVectors { words: kept, places, dim, values, pieces: None })
    }

    /// Of a fastText model: each word's vector is the mean of its own row and its pieces', and words that it does not have are read
    /// from their pieces.
    ///
    /// # Errors
    /// Another number of values than its sizes say.
    pub fn of_fasttext(model: FastText) -> Result<Self> {
        let values = (0..model.words.len()).flat_map(|word| model.vector(word)).collect();
        let (words, dim, pieces) = (model.words.iter().map(|w| w.0.clone()).collect(), model.dim, model.into_pieces());
        Ok(WordVectors { pieces, ..Self::new(words, dim, values)? })
    }

    /// Reads a file of word vectors; with `limit` no more than that many words, which are the most frequent ones.
    ///
    /// # Errors
    /// A file that is cut off, damaged, or of another kind: its line or word is named.
    pub fn read(path: &Path, limit: Option<usize>) -> Result<Self> {
        let mut file = BufReader::with_capacity(1 << 18, crate::files::open(path)?);
        let start = file.fill_buf().map_err(Error::io("read", path))?;
        let mut reader: Box<dyn BufRead> = match start.starts_with(&[0x1f, 0x8b]) {
            true => Box::new(BufReader::with_capacity(1 << 18, flate2::read::MultiGzDecoder::new(file))),
            false => Box::new(file),
        };
        let start = reader.fill_buf().map_err(Error::io("read", path))?;
        if start.is_empty() {
            return Err(Error::data(path, None, "the file is empty", "give a file of word vectors: .vec or .bin"));
        }
        if start.starts_with(&fasttext::MAGIC.to_le_bytes()) {
            return Self::of_fasttext(FastText::read_from(path, &mut reader)?);
        }
        let limit = limit.unwrap_or(usize::MAX);
        match header(start) {
            Some((count, dim, at)) if !is_text(&start[at..], dim) => binary(path, &mut reader, count, dim, limit),
            first => text(path, &mut reader, first.map(|(count, dim, _)| (count, dim)), limit),
        }
    }

    /// Number of words, `n`.
    pub fn len(&self) -> usize {
        self.words.len()
    }
    /// True without a word.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
    /// Width of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }
    /// All words.
    pub fn words(&self) -> &[String] {
        &self.words
    }
    /// All vectors, `[n, dim]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
    /// The vector of the word at a place, `[dim]`.
    pub fn row(&self, place: usize) -> &[f32] {
        &self.values[place * self.dim..(place + 1) * self.dim]
    }
    /// A word's vector, `[dim]`; of a word that is not there, what its pieces say, if the file has pieces.
    pub fn get(&self, word: &str) -> Option<Cow<'_, [f32]>> {
        match self.places.get(word) {
            Some(&place) => Some(Cow::Borrowed(self.row(place as usize))),
            None => self.pieces.as_ref()?.vector(word, self.dim).map(Cow::Owned),
        }
    }

    /// Writes text, as fastText and gensim read it.
    ///
    /// # Errors
    /// The system's; a word with a space or a line end in it. Nothing is left over.
    pub fn write_text(&self, path: &Path) -> Result<()> {
        self.write(path, |word, values, out| {
            out.write_all(word.as_bytes())?;
            for value in values {
                write!(out, " {value}")?;
            }
            out.write_all(b"\n")
        })
    }

    /// Writes word2vec's binary file.
    ///
    /// # Errors
    /// As [`write_text`](Self::write_text).
    pub fn write_binary(&self, path: &Path) -> Result<()> {
        self.write(path, |word, values, out| {
            out.write_all(word.as_bytes())?;
            out.write_all(b" ")?;
            values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))?;
            out.write_all(b"\n")
        })
    }

    fn write(
        &self,
        path: &Path,
        mut one: impl FnMut(&str, &[f32], &mut dyn Write) -> std::io::Result<()>,
    ) -> Result<()> {
        if let Some(word) = self.words.iter().find(|w| w.is_empty() || w.contains([' ', '\n', '\r'])) {
            let what = format!("the word {word:?} is empty, or has a space or line end, which this file can't have");
            return Err(Error::setting("word", word, what));
        }
        write_beside(path, |file| {
            let mut out = BufWriter::with_capacity(1 << 18, file);
            let mut all = || -> std::io::Result<()> {
                writeln!(out, "{} {}", self.words.len(), self.dim)?;
                for (place, word) in self.words.iter().enumerate() {
                    one(word, self.row(place), &mut out)?;
                }
                out.flush()
            };
            all().map_err(Error::io("write", path))
        })
    }
}

/// Number of words, width, and where the first line ends, if it is `n dim`.
fn header(start: &[u8]) -> Option<(usize, usize, usize)> {
    let end = start.iter().take(64).position(|b| *b == b'\n')?;
    let line = std::str::from_utf8(&start[..end]).ok()?;
    let mut numbers = line.split_ascii_whitespace().map(str::parse::<usize>);
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(count)), Some(Ok(dim)), None) if (1..=WIDEST).contains(&dim) => Some((count, dim, end + 1)),
        _ => None,
    }
}

/// Whether what follows the header is a word and its values as text: of a line that is longer than what can be seen, the start.
fn is_text(rest: &[u8], dim: usize) -> bool {
    let end = rest.iter().position(|b| *b == b'\n');
    let line = &rest[..end.unwrap_or(rest.len())];
    let Ok(line) = std::str::from_utf8(line) else { return end.is_none() && line.is_ascii() };
    let values: Vec<&str> = line.trim_end().split(' ').skip(1).collect();
    let whole = if end.is_some() { values.len() } else { values.len().saturating_sub(1) };
    values[..whole].iter().all(|v| v.parse::<f32>().is_ok()) && (end.is_none() || values.len() == dim || dim > 1)
        || rest.is_empty()
}

fn text(path: &Path, reader: &mut dyn BufRead, header: Option<(usize, usize)>, limit: usize) -> Result<WordVectors> {
    let (mut words, mut values, mut line, mut number) = (Vec::new(), Vec::<f32>::new(), Vec::new(), 0u64);
    let mut dim = header.map(|(_, dim)| dim);
    let wrong = |number: u64, what: String| Error::data(path, Some(number), what, REMEDY);
    let longest = (LONGEST_WORD + 32 * dim.unwrap_or(WIDEST)) as u64;
    while words.len() < limit {
        line.clear();
        let read = (&mut *reader).take(longest).read_until(b'\n', &mut line).map_err(Error::io("read", path))?;
        if read == 0 {
            break;
        }
        number += 1;
        if number == 1 && header.is_some() {
            continue;
        }
        if read as u64 == longest {
            return Err(wrong(number, format!("a line of more than {longest} bytes")));
        }
        let text = std::str::from_utf8(&line).map_err(|_| wrong(number, "not a line of UTF-8 text".into()))?;
        let text = text.trim_end_matches(['\n', '\r', ' ']);
        if text.is_empty() {
            continue;
        }
        let mut cells = text.split(' ');
        words.push(cells.next().unwrap_or_default().to_string());
        let before = values.len();
        for cell in cells {
            let value = cell.parse::<f32>().ok().filter(|v| v.is_finite());
            values.push(value.ok_or_else(|| wrong(number, format!("{cell:?} is not a number")))?);
        }
        let (got, wanted) = (values.len() - before, *dim.get_or_insert(values.len() - before));
        if got != wanted || got == 0 {
            return Err(wrong(number, format!("{got} values, and {wanted} in the lines before or in the first line")));
        }
    }
    if let Some((count, _)) = header.filter(|(count, _)| *count != words.len() && words.len() < limit) {
        let what = format!("{} words, and the first line says {count}", words.len());
        return Err(Error::data(path, Some(number), what, REMEDY));
    }
    WordVectors::new(words, dim.unwrap_or(0), values)
}

fn binary(path: &Path, reader: &mut dyn BufRead, count: usize, dim: usize, limit: usize) -> Result<WordVectors> {
    let (mut line, mut row, mut words, mut values) = (Vec::new(), vec![0u8; 4 * dim], Vec::new(), Vec::new());
    reader.read_until(b'\n', &mut line).map_err(Error::io("read", path))?;
    for number in 1..=count.min(limit) {
        let wrong = |what: &str| Error::data(path, None, format!("word {number} of {count}: {what}"), REMEDY);
        let mut word = Vec::new();
        let read = (&mut *reader).take(LONGEST_WORD as u64).read_until(b' ', &mut word);
        read.map_err(Error::io("read", path))?;
        if word.pop() != Some(b' ') {
            return Err(wrong("the file ends, or the word does not"));
        }
        let word = String::from_utf8(word).map_err(|_| wrong("not UTF-8"))?;
        words.push(word.trim_start_matches('\n').to_string());
        reader.read_exact(&mut row).map_err(|_| wrong("the file ends within its values"))?;
        let numbers = row.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let before = values.len();
        values.extend(numbers);
        if values[before..].iter().any(|v: &f32| !v.is_finite()) {
            return Err(wrong("a value is not a finite number"));
        }
    }
    WordVectors::new(words, dim, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> WordVectors {
        let words = ["кран", "a317", "</s>"].map(String::from).into();
        WordVectors::new(words, 3, vec![1.5, -2.0, 1e-9, 0.1, 0.0, 3.0, 7.0, 8.0, 9.25]).unwrap()
    }

    #[test]
    fn text_and_binary_files_come_back_to_the_bit() {
        let dir = tempfile::tempdir().unwrap();
        let (text, binary) = (dir.path().join("a"), dir.path().join("b"));
        some().write_text(&text).unwrap();
        some().write_binary(&binary).unwrap();
        for path in [&text, &binary] {
            let read = WordVectors::read(path, None).unwrap();
            assert_eq!(read, some());
            assert_eq!(read.get("a317").unwrap().as_ref(), [0.1, 0.0, 3.0]);
            assert!(read.get("b").is_none());
            assert_eq!(WordVectors::read(path, Some(2)).unwrap().words(), &some().words()[..2]);
        }
        // as word2vec.c writes them: without a line end after each word
        let mut bytes = b"1 2\nword ".to_vec();
        [1.0f32, 2.0].iter().for_each(|v| bytes.extend(v.to_le_bytes()));
        std::fs::write(&binary, bytes).unwrap();
        assert_eq!(WordVectors::read(&binary, None).unwrap().row(0), [1.0, 2.0]);
        // as GloVe writes them, gzipped, and a word twice
        let mut out = flate2::write::GzEncoder::new(std::fs::File::create(&text).unwrap(), Default::default());
        out.write_all("да 1 2 3\nнет 4 5 6\nда 7 8 9\nтак 1 1 1\n".as_bytes()).unwrap();
        out.finish().unwrap();
        let read = WordVectors::read(&text, None).unwrap();
        assert_eq!(
            (read.len(), read.get("да").unwrap().as_ref(), read.row(2)),
            (3, &[1.0, 2.0, 3.0][..], &[1.0; 3][..])
        );
    }

    #[test]
    fn a_damaged_file_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.vec");
        let whole = {
            some().write_binary(&path).unwrap();
            std::fs::read(&path).unwrap()
        };
        for (bytes, part) in [
            (&b""[..], "is empty"),
            (b"2 3\na 1 2 3\nb 1 2\n", "v.vec:3: 2 values, and 3"),
            (b"2 3\na 1 2 3\n", "v.vec:2: 1 words, and the first line says 2"),
            (b"a 1 2 3\nb 1 2 x\n", "v.vec:2: \"x\" is not a number"),
            (b"a 1 2 3\nb 1 2 NaN\n", "v.vec:2: \"NaN\" is not a number"),
            (b"a 1 2\n\xff 1 2\n", "v.vec:2: not a line of UTF-8"),
            (&whole[..whole.len() - 8], "word 3 of 3: the file ends within its values"),
            (&whole[..whole.len() - 15], "word 3 of 3: the file ends, or the word does not"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = WordVectors::read(&path, None).unwrap_err();
            assert!(error.is_user_error() && error.to_string().contains(part), "{error}");
        }
    }
}
