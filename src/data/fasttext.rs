//! fastText's binary file, version 12 (Bojanowski et al., Enriching Word Vectors with Subword Information, TACL 2017).
//!
//! Its input matrix has a row a word and then a row a bucket; a word's pieces are its runs of `shortest` to `longest` characters,
//! `<` before the word and `>` after it, and each goes to a bucket by a hash. So a word that was never seen has a vector too. What is
//! stated as its failure is here as well: of an article number the pieces mean nothing.

use std::io::{BufRead, BufWriter, Read, Write};
use std::path::Path;

use crate::files::write_beside;
use crate::{Error, Result};

/// First four bytes of a file.
pub(super) const MAGIC: i32 = 793_712_314;
const VERSION: i32 = 12;
const REMEDY: &str = "the file is damaged or of another program; fetch it again";
/// The end of a line, a word without pieces.
const LINE_END: &str = "</s>";
/// Rows that are read, words and buckets together.
const MOST_ROWS: u64 = 1 << 28;

/// A fastText model of words (not of labels).
#[derive(Debug, Clone, PartialEq)]
pub struct FastText {
    /// Width of a vector.
    pub dim: usize,
    /// Words to each side.
    pub window: usize,
    /// Passes over the corpus.
    pub epochs: usize,
    /// How often a word of the vocabulary is in the corpus.
    pub min_count: usize,
    /// Words drawn as no neighbours.
    pub negatives: usize,
    /// Whether it is a skip-gram model, not a CBOW.
    pub skip_gram: bool,
    /// Rows of pieces.
    pub buckets: usize,
    /// Characters of the shortest piece.
    pub shortest: usize,
    /// Characters of the longest piece; 0: words have no pieces.
    pub longest: usize,
    /// From which share of the corpus on a word is left out at times.
    pub sample: f64,
    /// Words and how often they are in the corpus.
    pub words: Vec<(String, u64)>,
    /// Words of the corpus.
    pub tokens: u64,
    /// Rows of words, then of buckets, `[n + buckets, dim]`.
    pub input: Vec<f32>,
    /// What words are predicted with, `[n, dim]`.
    pub output: Vec<f32>,
}

/// Rows of pieces, for words that are not in a vocabulary.
#[derive(Debug, Clone, PartialEq)]
pub struct Pieces {
    shortest: usize,
    longest: usize,
    rows: Vec<f32>,
}

impl Pieces {
    /// The mean of a word's pieces, `[dim]`; none for a word too short to have one.
    pub fn vector(&self, word: &str, dim: usize) -> Option<Vec<f32>> {
        let buckets = piece_buckets(word, self.shortest, self.longest, self.rows.len() / dim.max(1));
        (!buckets.is_empty()).then(|| mean(buckets.iter().map(|&b| &self.rows[b as usize * dim..][..dim]), dim))
    }
}

fn mean<'a>(rows: impl Iterator<Item = &'a [f32]>, dim: usize) -> Vec<f32> {
    let (mut sum, mut count) = (vec![0f32; dim], 0usize);
    for row in rows {
        sum.iter_mut().zip(row).for_each(|(s, r)| *s += r);
        count += 1;
    }
    sum.iter_mut().for_each(|s| *s /= count.max(1) as f32);
    sum
}

/// Buckets of a word's pieces, as fastText finds them.
pub fn piece_buckets(word: &str, shortest: usize, longest: usize, buckets: usize) -> Vec<u32> {
    if word == LINE_END || longest == 0 || buckets == 0 {
        return Vec::new();
    }
    let marked = format!("<{word}>");
    let starts: Vec<usize> = marked.char_indices().map(|c| c.0).chain([marked.len()]).collect();
    let last = starts.len() - 1;
    let mut found = Vec::new();
    for from in 0..last {
        for length in shortest.max(1)..=longest.min(last - from) {
            // the marks alone say nothing
            if length == 1 && (from == 0 || from + 1 == last) {
                continue;
            }
            let piece = &marked[starts[from]..starts[from + length]];
            found.push(hash(piece) % buckets as u32);
        }
    }
    found
}

/// FNV-1a of signed bytes, fastText's mistake that all its files depend on.
fn hash(piece: &str) -> u32 {
    piece.bytes().fold(2_166_136_261u32, |h, byte| (h ^ byte as i8 as u32).wrapping_mul(16_777_619))
}

impl FastText {
    /// A word's vector, `[dim]`: the mean of its own row and its pieces'.
    pub fn vector(&self, word: usize) -> Vec<f32> {
        let n = self.words.len();
        let pieces = piece_buckets(&self.words[word].0, self.shortest, self.longest, self.buckets);
        let rows = [word].into_iter().chain(pieces.into_iter().map(|bucket| n + bucket as usize));
        mean(rows.map(|row| &self.input[row * self.dim..][..self.dim]), self.dim)
    }

    /// The rows of its pieces; none where words have no pieces.
    pub fn into_pieces(self) -> Option<Pieces> {
        if self.buckets == 0 || self.longest == 0 {
            return None;
        }
        let rows = self.input[self.words.len() * self.dim..].to_vec();
        Some(Pieces { shortest: self.shortest, longest: self.longest, rows })
    }

    pub(super) fn read_from(path: &Path, reader: &mut dyn BufRead) -> Result<Self> {
        let mut bytes = Bytes { path, reader };
        bytes.i32()?; // the magic, seen before
        let version = bytes.i32()?;
        if version != VERSION {
            let what = format!("version {version} of fastText's file; only {VERSION} is known");
            return Err(Error::data(path, None, what, "write it with a fastText of 2017 or later"));
        }
        let mut size = || -> Result<usize> {
            let value = bytes.i32()?;
            usize::try_from(value).map_err(|_| Error::data(path, None, format!("a size of {value}"), REMEDY))
        };
        let (dim, window, epochs, min_count, negatives) = (size()?, size()?, size()?, size()?, size()?);
        let (_word_pieces, _loss, kind, buckets) = (size()?, size()?, size()?, size()?);
        let (shortest, longest, _rate) = (size()?, size()?, size()?);
        let sample = bytes.f64()?;
        let (entries, count, _labels) = (bytes.i32()?, bytes.i32()?, bytes.i32()?);
        let (tokens, pruned) = (bytes.i64()?, bytes.i64()?);
        let mut words = Vec::new();
        for _ in 0..entries {
            let word = bytes.word()?;
            let (times, label) = (bytes.i64()?, bytes.byte()?);
            if label == 0 {
                words.push((word, times.max(0) as u64));
            }
        }
        let wrong = |what: String| Error::data(path, None, what, REMEDY);
        if i64::from(count) != words.len() as i64 {
            return Err(wrong(format!("{} words, and its head says {count}", words.len())));
        }
        if pruned > 0 || bytes.byte()? != 0 {
            let what = "a fastText model whose vectors are quantised (.ftz)";
            return Err(Error::data(path, None, what, "give the .bin or .vec that it was made of"));
        }
        let input = bytes.matrix()?;
        bytes.byte()?;
        let output = bytes.matrix()?;
        if dim == 0 || input.len() != (words.len() + buckets) * dim {
            let rows = input.len() / dim.max(1);
            return Err(wrong(format!("{rows} rows, not one for each of {} words and {buckets} buckets", words.len())));
        }
        if input.iter().any(|v| !v.is_finite()) {
            return Err(wrong("a value is not a finite number".into()));
        }
        let (skip_gram, tokens) = (kind == 2, tokens.max(0) as u64);
        Ok(FastText {
            dim,
            window,
            epochs,
            min_count,
            negatives,
            skip_gram,
            buckets,
            shortest,
            longest,
            sample,
            words,
            tokens,
            input,
            output,
        })
    }

    /// Writes the file, for fastText and gensim.
    ///
    /// # Errors
    /// The system's. Nothing is left over.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_beside(path, |file| {
            let mut out = BufWriter::with_capacity(1 << 18, file);
            self.write_to(&mut out).and_then(|()| out.flush()).map_err(Error::io("write", path))
        })
    }

    fn write_to(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let (n, of_kind) = (self.words.len() as i32, if self.skip_gram { 2 } else { 1 });
        let sizes = [self.dim, self.window, self.epochs, self.min_count, self.negatives].map(|size| size as i32);
        let pieces = [self.buckets, self.shortest, self.longest].map(|size| size as i32);
        // one word a piece of text, negative sampling; the rate is brought up to date every 100 words
        let head = [&[MAGIC, VERSION][..], &sizes, &[1, 2, of_kind], &pieces, &[100]].concat();
        head.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))?;
        out.write_all(&self.sample.to_le_bytes())?;
        [n, n, 0].iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))?;
        [self.tokens as i64, -1].iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))?;
        for (word, count) in &self.words {
            out.write_all(word.as_bytes())?;
            out.write_all(&[0])?;
            out.write_all(&(*count as i64).to_le_bytes())?;
            out.write_all(&[0])?;
        }
        for matrix in [&self.input, &self.output] {
            out.write_all(&[0])?;
            [(matrix.len() / self.dim) as i64, self.dim as i64]
                .iter()
                .try_for_each(|value| out.write_all(&value.to_le_bytes()))?;
            matrix.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))?;
        }
        Ok(())
    }
}

/// Numbers of a file, lowest byte first.
struct Bytes<'a> {
    path: &'a Path,
    reader: &'a mut dyn BufRead,
}

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        let cut = |_| Error::data(self.path, None, "the file ends too early", REMEDY);
        self.reader.read_exact(&mut bytes).map_err(cut)?;
        Ok(bytes)
    }
    fn byte(&mut self) -> Result<u8> {
        Ok(self.take::<1>()?[0])
    }
    fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_le_bytes(self.take()?))
    }
    fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_le_bytes(self.take()?))
    }
    fn f64(&mut self) -> Result<f64> {
        Ok(f64::from_le_bytes(self.take()?))
    }
    fn word(&mut self) -> Result<String> {
        let mut word = Vec::new();
        (&mut *self.reader).take(4096).read_until(0, &mut word).map_err(Error::io("read", self.path))?;
        let wrong = || Error::data(self.path, None, "a word that does not end, or is not UTF-8", REMEDY);
        if word.pop() != Some(0) {
            return Err(wrong());
        }
        String::from_utf8(word).map_err(|_| wrong())
    }
    fn matrix(&mut self) -> Result<Vec<f32>> {
        let (rows, dim) = (self.i64()?, self.i64()?);
        let count = (rows as u64).checked_mul(dim as u64).filter(|_| (0..=MOST_ROWS as i64).contains(&rows));
        let wrong = || Error::data(self.path, None, format!("a matrix of {rows} x {dim}"), REMEDY);
        let count = count.filter(|_| (0..=1 << 16).contains(&dim)).ok_or_else(wrong)? as usize;
        // a damaged size must not take memory that the file does not fill
        let (mut values, mut piece) = (Vec::with_capacity(count.min(1 << 20)), vec![0u8; 1 << 16]);
        while values.len() < count {
            let wanted = ((count - values.len()) * 4).min(piece.len());
            let cut = |_| Error::data(self.path, None, "the file ends within a matrix", REMEDY);
            self.reader.read_exact(&mut piece[..wanted]).map_err(cut)?;
            let numbers = piece[..wanted].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            values.extend(numbers);
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::WordVectors;

    fn model() -> FastText {
        let words = vec![("кран".to_string(), 9), ("</s>".into(), 7), ("a317".into(), 2)];
        let (dim, buckets) = (2, 5);
        let input = (0..(words.len() + buckets) * dim).map(|i| i as f32).collect();
        FastText {
            dim,
            window: 5,
            epochs: 2,
            min_count: 1,
            negatives: 5,
            skip_gram: true,
            buckets,
            shortest: 3,
            longest: 6,
            sample: 1e-4,
            words,
            tokens: 18,
            input,
            output: vec![0.5; 6],
        }
    }

    #[test]
    fn a_model_comes_back_and_unseen_words_have_vectors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.bin");
        model().write(&path).unwrap();
        let vectors = WordVectors::read(&path, None).unwrap();
        assert_eq!((vectors.len(), vectors.dim()), (3, 2));
        for (word, of) in model().words.iter().enumerate() {
            assert_eq!(vectors.get(&of.0).unwrap().as_ref(), model().vector(word));
        }
        assert_eq!(vectors.row(1), [2.0, 3.0], "a line's end has no pieces");
        assert!(vectors.get("краны").is_some() && vectors.get("").is_none());
        let whole = std::fs::read(&path).unwrap();
        for cut in [5, 60, 90, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(WordVectors::read(&path, None).unwrap_err().is_user_error(), "{cut}");
        }
    }

    /// `fasttext.load_model(...).get_subwords("кот")` of a model of 9 words with minn 3, maxn 4 and 50 buckets gives 0 (the word), 56, 45,
    /// 37, 57, 53; and the hashes of FNV-1a for ASCII.
    #[test]
    fn pieces_are_fasttexts() {
        assert_eq!(hash(""), 2_166_136_261);
        assert_eq!(hash("a"), 0xe40c_292c);
        assert_eq!(hash("foobar"), 0xbf9c_f968);
        // <ко <кот кот кот> от>
        assert_eq!(piece_buckets("кот", 3, 4, 50), [56, 45, 37, 57, 53].map(|row| row - 9));
        assert_eq!(piece_buckets("a", 1, 2, 100).len(), 3, "a, <a and a>, not the marks alone");
        assert!(piece_buckets("</s>", 3, 6, 100).is_empty());
    }
}
