//! A corpus as tokens on the disk, and an index of where each text is: texts are cut once, shuffled by their numbers, and read when they are
//! wanted, so a corpus may be larger than memory (16 bytes of index a text), packed files can be read in any order, and a run goes on with
//! the very tokens that it began with, whatever became of the files meanwhile.
//!
//! `tokens` has 32-bit ids, little endian; the highest bit says that the piece goes on with the word before it. `index` has 16 bytes a
//! text: first token, number of tokens, document. `corpus.json` has counts and checksums.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::documents::{Document, Reader, SourceCounts};
use super::recipe::{PretrainRecipe, Unit};
use crate::files::NewFolder;
use crate::text::{Pieces, TextEncoder};
use crate::{Error, Result};

/// The bit of a stored id that says that its piece goes on with a word.
const CONTINUES: u32 = 1 << 31;
/// Documents cut at a time.
const CHUNK: usize = 4096;
const TOKENS: &str = "tokens";
const INDEX: &str = "index";
const SUMMARY: &str = "corpus.json";

/// Where a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text {
    /// Its first token in the file.
    start: u64,
    /// Its tokens.
    pub(super) length: u32,
    /// The number of its document: texts of one document follow each other.
    pub(super) document: u32,
}

/// `corpus.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Summary {
    /// What became of the sources.
    sources: Vec<SourceCounts>,
    /// Numbers of each source's texts that are learnt.
    learnt: Vec<Range<u32>>,
    /// Numbers of each source's texts that are held out.
    held_out: Vec<Range<u32>>,
    /// SHA-256 of the tokens.
    tokens_sha256: String,
    /// SHA-256 of the index.
    index_sha256: String,
}

/// The corpus of a run.
pub(super) struct Store {
    tokens: Mutex<File>,
    path: std::path::PathBuf,
    texts: Vec<Text>,
    summary: Summary,
}

fn hex(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Texts of a document as texts of bounded length: neighbours are joined where they may be, and what is too long is cut.
fn bounded(texts: Vec<Pieces>, joined: bool, most: usize) -> Vec<Pieces> {
    let mut out: Vec<Pieces> = Vec::new();
    for text in texts {
        let fits = |last: &Pieces| joined && last.ids.len() + text.ids.len() <= most;
        if let Some(last) = out.last_mut().filter(|last| fits(last)) {
            last.ids.extend(text.ids);
            last.continues.extend(text.continues);
            continue;
        }
        for (ids, continues) in text.ids.chunks(most).zip(text.continues.chunks(most)) {
            out.push(Pieces { ids: ids.to_vec(), continues: continues.to_vec() });
        }
    }
    out
}

/// What is on its way to the disk.
struct Writer<'a> {
    recipe: &'a PretrainRecipe,
    text: &'a TextEncoder,
    /// Tokens of a text at most.
    most: usize,
    out: BufWriter<File>,
    hash: Sha256,
    path: std::path::PathBuf,
    written: u64,
    documents: u32,
    /// Texts that are learnt, and those that are held out, by source.
    texts: [Vec<Vec<Text>>; 2],
    waiting: Vec<Document>,
}

impl Writer<'_> {
    fn flush(&mut self) -> Result<()> {
        let (recipe, text, most) = (self.recipe, self.text, self.most);
        let cut = std::mem::take(&mut self.waiting).into_par_iter().map(|document| {
            let pieces = document.texts.iter().map(|t| text.words_in_pieces(t)).collect::<Result<Vec<_>>>()?;
            // fields and offers are texts of their own where pairs of them are learnt
            let joined = match recipe.data.sources[document.source].unit() {
                Unit::Cluster => false,
                Unit::Record => recipe.next.is_none(),
                Unit::Line | Unit::Paragraph | Unit::File => true,
            };
            let filled = pieces.into_iter().filter(|p| !p.ids.is_empty()).collect();
            Ok((document.source, document.held_out, bounded(filled, joined, most)))
        });
        for (source, held_out, texts) in cut.collect::<Result<Vec<_>>>()? {
            self.documents = self.documents.checked_add(1).ok_or_else(|| {
                Error::setting("data.sources", self.documents, "more documents than 2^32: take fewer")
            })?;
            for Pieces { ids, continues } in texts {
                let place = Text { start: self.written, length: ids.len() as u32, document: self.documents };
                self.texts[usize::from(held_out)][source].push(place);
                self.written += u64::from(place.length);
                for (id, continues) in ids.into_iter().zip(continues) {
                    let bytes = (id | if continues { CONTINUES } else { 0 }).to_le_bytes();
                    self.hash.update(bytes);
                    self.out.write_all(&bytes).map_err(Error::io("write", &self.path))?;
                }
            }
        }
        Ok(())
    }
}

impl Store {
    /// Reads the corpus of a run folder, or makes it of the recipe's sources.
    ///
    /// # Errors
    /// Sources that can't be read or have no text; a corpus that was changed; the system's.
    pub(super) fn of(dir: &Path, recipe: &PretrainRecipe, text: &TextEncoder) -> Result<Self> {
        Self::of_some(dir, recipe, text, u64::MAX)
    }

    /// The same of the first `documents` of each source.
    ///
    /// # Errors
    /// As [`Store::of`].
    pub(super) fn of_some(dir: &Path, recipe: &PretrainRecipe, text: &TextEncoder, documents: u64) -> Result<Self> {
        if !dir.join(SUMMARY).exists() {
            Self::write(dir, recipe, text, documents)?;
        }
        Self::read(dir)
    }

    fn write(dir: &Path, recipe: &PretrainRecipe, text: &TextEncoder, documents: u64) -> Result<()> {
        let folder = NewFolder::create(dir)?;
        let path = folder.path().join(TOKENS);
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        let texts = if recipe.next.is_some() { 2 } else { 1 };
        let (special, _, _) = text.frame_length(texts);
        let most = recipe.text.max_tokens.saturating_sub(special) / texts;
        if most == 0 {
            let what = format!("leaves no room for a text: {special} tokens are special");
            return Err(Error::setting("text.max_tokens", recipe.text.max_tokens, what));
        }
        let sources = recipe.data.sources.len();
        let mut writer = Writer {
            recipe,
            text,
            most,
            out: BufWriter::with_capacity(1 << 20, file),
            hash: Sha256::new(),
            path: path.clone(),
            written: 0,
            documents: 0,
            texts: [vec![Vec::new(); sources], vec![Vec::new(); sources]],
            waiting: Vec::with_capacity(CHUNK),
        };
        let mut counts = Reader::new(recipe)?.first(documents).read(&mut |document| {
            writer.waiting.push(document);
            if writer.waiting.len() < CHUNK { Ok(()) } else { writer.flush() }
        })?;
        writer.flush()?;
        writer.out.flush().map_err(Error::io("write", &path))?;
        let [learnt, held_out] = writer.texts;
        if held_out.iter().all(Vec::is_empty) {
            let what = "leaves no document to be measured on: give more text, or a larger share";
            return Err(Error::setting("data.held_out", recipe.data.held_out, what));
        }
        count(&mut counts, recipe, &learnt);
        let mut index = Vec::new();
        let mut number = 0u32;
        let mut ranges = |lists: &[Vec<Text>]| -> Vec<Range<u32>> {
            let range = |list: &Vec<Text>| {
                for text in list {
                    index.extend(text.start.to_le_bytes());
                    index.extend(text.length.to_le_bytes());
                    index.extend(text.document.to_le_bytes());
                }
                let start = number;
                number += list.len() as u32;
                start..number
            };
            lists.iter().map(range).collect()
        };
        let (learnt, held_out) = (ranges(&learnt), ranges(&held_out));
        let summary = Summary {
            sources: counts,
            learnt,
            held_out,
            tokens_sha256: hex(writer.hash.finalize()),
            index_sha256: hex(Sha256::digest(&index)),
        };
        let put = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).map_err(Error::io("write", &path))
        };
        put(INDEX, &index)?;
        let failed = |e: serde_json::Error| Error::Internal { op: "write corpus.json", what: e.to_string() };
        put(SUMMARY, &serde_json::to_vec_pretty(&summary).map_err(failed)?)?;
        folder.commit()
    }

    fn read(dir: &Path) -> Result<Self> {
        let remedy = "start the run again in another folder";
        let changed = |name: &str| Error::model(&dir.join(name), "SHA-256", "is not what was written", remedy);
        let path = dir.join(SUMMARY);
        let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let summary: Summary =
            serde_json::from_slice(&text).map_err(|e| Error::model(&path, "JSON", e.to_string(), remedy))?;
        let path = dir.join(INDEX);
        let index = std::fs::read(&path).map_err(Error::io("read", &path))?;
        if hex(Sha256::digest(&index)) != summary.index_sha256 {
            return Err(changed(INDEX));
        }
        let text = |entry: &[u8; 16]| {
            let number = |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
            let start = u64::from(number(0)) | u64::from(number(4)) << 32;
            Text { start, length: number(8), document: number(12) }
        };
        let texts = index.as_chunks::<16>().0.iter().map(text).collect();
        let path = dir.join(TOKENS);
        let mut file = File::open(&path).map_err(Error::io("read", &path))?;
        let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
        loop {
            let read = file.read(&mut buffer).map_err(Error::io("read", &path))?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
        }
        if hex(hash.finalize()) != summary.tokens_sha256 {
            return Err(changed(TOKENS));
        }
        Ok(Store { tokens: Mutex::new(file), path, texts, summary })
    }

    /// What became of the sources.
    pub(super) fn sources(&self) -> &[SourceCounts] {
        &self.summary.sources
    }
    /// SHA-256 of the tokens.
    pub(super) fn fingerprint(&self) -> &str {
        &self.summary.tokens_sha256
    }
    /// Numbers of each source's texts: those that are learnt, or those held out.
    pub(super) fn ranges(&self, held_out: bool) -> &[Range<u32>] {
        if held_out { &self.summary.held_out } else { &self.summary.learnt }
    }
    /// Where a text is.
    pub(super) fn text(&self, number: u32) -> Text {
        self.texts[number as usize]
    }
    /// The numbers of a text's document, among those of its own part.
    pub(super) fn document(&self, number: u32) -> Range<u32> {
        let document = self.text(number).document;
        // documents of a part are in ascending order
        let learnt = self.summary.learnt.last().map_or(0, |range| range.end as usize);
        let part = if (number as usize) < learnt { 0..learnt } else { learnt..self.texts.len() };
        let place = |before: u32| part.start + self.texts[part.clone()].partition_point(|text| text.document < before);
        place(document) as u32..place(document + 1) as u32
    }
    /// The pieces of a text.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn pieces(&self, number: u32) -> Result<Pieces> {
        let Text { start, length, .. } = self.text(number);
        let mut bytes = vec![0; 4 * length as usize];
        let mut file = self.tokens.lock().expect("no panic holds the tokens");
        let read = file.seek(SeekFrom::Start(4 * start)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(Error::io("read", &self.path))?;
        drop(file);
        let stored = bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
        Ok(stored.map(|id| (id & !CONTINUES, id & CONTINUES != 0)).unzip_pieces())
    }
}

/// Pairs to [`Pieces`].
trait UnzipPieces: Iterator<Item = (u32, bool)> + Sized {
    fn unzip_pieces(self) -> Pieces {
        let (ids, continues) = self.unzip();
        Pieces { ids, continues }
    }
}

impl<T: Iterator<Item = (u32, bool)>> UnzipPieces for T {}

/// Sequences, tokens and shares of each source.
fn count(counts: &mut [SourceCounts], recipe: &PretrainRecipe, learnt: &[Vec<Text>]) {
    for (counts, texts) in counts.iter_mut().zip(learnt) {
        counts.sequences = texts.len() as u64;
        counts.tokens = texts.iter().map(|text| u64::from(text.length)).sum();
    }
    let weighted = |(counts, weight): (&SourceCounts, f64)| counts.tokens as f64 * weight;
    let weights = || recipe.data.sources.iter().map(|source| source.weight);
    let whole: f64 = counts.iter().zip(weights()).map(weighted).sum();
    for (counts, weight) in counts.iter_mut().zip(weights()) {
        counts.share = counts.tokens as f64 * weight / whole.max(1.0);
    }
}
