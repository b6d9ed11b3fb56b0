//! Building, adding, deleting, compacting: one writer at a time.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::manifest::{StatesManifest, sha256};
use super::rows::RowStorage;
use super::segment::{NewSegment, Segment};
use crate::bundle::SplitEncoder;
use crate::ranker::{Rows, in_order};
use crate::records::Record;
use crate::text::{TextConfig, plain_text};
use crate::{Error, Input, Result};

/// Documents that are encoded at once.
const DOCUMENTS: usize = 256;
/// Bytes of rows after which a segment is committed while documents are encoded: some minutes' work.
const COMMIT: u64 = 64 << 20;
/// Bytes of a segment that compaction writes.
const COMPACT: u64 = 1 << 30;
/// Documents that an estimate looks at.
const SAMPLE: usize = 2000;

/// What storing documents will take.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Estimate {
    /// Documents.
    pub documents: u64,
    /// Tokens of one, in the mean.
    pub tokens_a_document: f64,
    /// Bytes of one, in the mean.
    pub bytes_a_document: f64,
    /// Bytes of all.
    pub bytes: u64,
}

/// What became of documents that were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Added {
    /// Encoded and stored.
    pub added: u64,
    /// Of them, those that took an older one's place.
    pub replaced: u64,
    /// Already there with the same text.
    pub unchanged: u64,
}

/// Estimates what documents will take from the tokens of some of them.
///
/// # Errors
/// What the tokenizer refuses; documents that can't be read.
pub fn estimate(encoder: &SplitEncoder, documents: &dyn Rows, storage: RowStorage) -> Result<Estimate> {
    let every = documents.len().div_ceil(SAMPLE).max(1);
    let sample = documents.records(&(0..documents.len() as u32).step_by(every).collect::<Vec<_>>())?;
    let lengths = encoder.lengths(&sample.iter().map(Input::Record).collect::<Vec<_>>())?;
    let mean = |sum: f64| sum / sample.len().max(1) as f64;
    let tokens_a_document = mean(lengths.iter().map(|t| f64::from(*t)).sum());
    // a line of the documents' file has some twenty bytes besides the id
    let lines = mean(sample.iter().map(|record| record.id.len() as f64 + 27.0).sum());
    let bytes_a_document = tokens_a_document * storage.row_bytes(encoder.width()) as f64 + lines;
    let documents = documents.len() as u64;
    Ok(Estimate { documents, tokens_a_document, bytes_a_document, bytes: (bytes_a_document * documents as f64) as u64 })
}

/// The one who writes to a store.
pub struct StateWriter {
    dir: PathBuf,
    manifest: StatesManifest,
    /// Where each document that counts is, and the checksum of its text.
    places: HashMap<String, (usize, u32, String)>,
    /// Rows after which a segment is committed.
    pub(super) commit_bytes: u64,
    _lock: File,
}

impl StateWriter {
    /// Begins a store, or goes on with one that was begun.
    ///
    /// # Errors
    /// Something else under this name; another model or storage than it was begun with; a second writer.
    pub fn build(dir: &Path, encoder: &SplitEncoder, storage: RowStorage) -> Result<Self> {
        if !StatesManifest::is_in(dir) {
            let is_empty = |dir: &Path| {
                let others =
                    |e: fs::DirEntry| e.file_name() != "lock" && !e.file_name().to_string_lossy().ends_with(".part");
                fs::read_dir(dir).is_ok_and(|mut entries| !entries.any(|e| e.is_ok_and(others)))
            };
            if dir.exists() && !is_empty(dir) {
                return Err(Error::Exists(dir.into()));
            }
            fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
            let lock = lock(dir)?;
            if !StatesManifest::is_in(dir) {
                StatesManifest::new(encoder, storage)?.commit(dir)?;
            }
            drop(lock);
        }
        let writer = Self::open(dir)?;
        writer.manifest.check_model(dir, encoder)?;
        if writer.manifest.storage != storage {
            let what = format!("this store was begun in {}: give that, or another name", writer.manifest.storage);
            return Err(Error::setting("--storage", storage, what));
        }
        Ok(writer)
    }

    /// Opens a store to change it. What a killed writer left and no manifest names is removed.
    ///
    /// # Errors
    /// No store; a second writer; damaged files.
    pub fn open(dir: &Path) -> Result<Self> {
        StatesManifest::read(dir)?;
        let lock = lock(dir)?;
        // what was committed before the lock was ours
        let manifest = StatesManifest::read(dir)?;
        let named: HashSet<&str> = manifest.segments.iter().map(|segment| segment.name.as_str()).collect();
        for entry in fs::read_dir(dir).map_err(Error::io("read", dir))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.strip_prefix("seg-").is_some_and(|n| n.parse::<u64>().is_ok()) && !named.contains(name.as_str()) {
                fs::remove_dir_all(entry.path()).map_err(Error::io("remove", &entry.path()))?;
            }
        }
        let mut places = HashMap::new();
        for (number, entry) in manifest.segments.iter().enumerate() {
            let segment = Segment::open(dir, entry, &manifest)?;
            for (document, id) in segment.live() {
                places.insert(id.to_string(), (number, document, segment.texts[document as usize].clone()));
            }
        }
        Ok(StateWriter { dir: dir.into(), manifest, places, commit_bytes: COMMIT, _lock: lock })
    }

    /// Documents that count.
    pub fn len(&self) -> usize {
        self.places.len()
    }
    /// True without a document.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
    /// What the store is.
    pub fn manifest(&self) -> &StatesManifest {
        &self.manifest
    }
    /// Refuses a model that the store is not of.
    ///
    /// # Errors
    /// As said.
    pub fn check_model(&self, encoder: &SplitEncoder) -> Result<()> {
        self.manifest.check_model(&self.dir, encoder)
    }

    /// Adds documents; one whose id is there takes the place of the old one, or is left as it is where its text is the same. They are read
    /// twice, some thousand at a time: to know which are new, and those to be encoded. Commits now and then, so that a killed writer loses
    /// little. `progress` gets documents done and all.
    ///
    /// # Errors
    /// What the tokenizer refuses; documents that can't be read; the system's. What was committed before stays.
    pub fn add(
        &mut self,
        encoder: &SplitEncoder,
        rendering: &TextConfig,
        documents: &dyn Rows,
        progress: &dyn Fn(u64, u64),
    ) -> Result<Added> {
        self.check_model(encoder)?;
        let checksum = |document: &Record| sha256(plain_text(rendering, document.into()).as_bytes())[..16].to_string();
        let mut new: Vec<u32> = Vec::new();
        for (at, document) in (0u32..).zip(in_order(documents, 0..documents.len() as u32)) {
            let document = document?;
            if self.places.get(&document.id).is_none_or(|(_, _, text)| *text != checksum(&document)) {
                new.push(at);
            }
        }
        let all = documents.len() as u64;
        let mut added = Added { unchanged: all - new.len() as u64, ..Added::default() };
        progress(added.unchanged, all);
        let mut new = in_order(documents, new.into_iter());
        let (mut segment, mut pending, mut bytes) = (None, Vec::new(), Vec::new());
        loop {
            let some: Vec<Record> = new.by_ref().take(DOCUMENTS).collect::<Result<_>>()?;
            if some.is_empty() {
                break;
            }
            let halves = encoder.encode_documents(&some.iter().map(Input::Record).collect::<Vec<_>>())?;
            let mut rest = &halves.rows[..];
            for (document, length) in some.into_iter().zip(&halves.lengths) {
                let (rows, after) = rest.split_at(*length as usize * self.manifest.width);
                rest = after;
                bytes.clear();
                self.manifest.storage.encode(rows, self.manifest.width, &mut bytes);
                if segment.is_none() {
                    segment = Some(NewSegment::create(&self.dir, self.manifest.next)?);
                }
                let text = checksum(&document);
                if let Some(segment) = &mut segment {
                    segment.push(&document.id, *length, &text, &bytes)?;
                }
                pending.push((document.id, text));
                added.added += 1;
            }
            progress(added.unchanged + added.added, all);
            if segment.as_ref().is_some_and(|segment| segment.bytes() >= self.commit_bytes) {
                added.replaced += self.commit(segment.take(), std::mem::take(&mut pending))?;
            }
        }
        added.replaced += self.commit(segment, pending)?;
        Ok(added)
    }

    /// Commits a segment of the documents `pending`, their ids and checksums; gives how many were there before.
    fn commit(&mut self, segment: Option<NewSegment>, pending: Vec<(String, String)>) -> Result<u64> {
        let Some(segment) = segment else { return Ok(0) };
        let number = self.manifest.segments.len();
        let mut manifest = self.manifest.clone();
        manifest.segments.push(segment.finish()?);
        manifest.next += 1;
        let mut replaced = 0;
        for (document, (id, text)) in (0u32..).zip(pending) {
            // of an id that is given twice the later one counts
            if let Some((of, old, _)) = self.places.insert(id, (number, document, text)) {
                insert(&mut manifest.segments[of].deleted, old);
                replaced += 1;
            }
        }
        manifest.commit(&self.dir)?;
        self.manifest = manifest;
        Ok(replaced)
    }

    /// The store is complete.
    ///
    /// # Errors
    /// The system's.
    pub fn complete(&mut self) -> Result<()> {
        let mut manifest = self.manifest.clone();
        manifest.complete = true;
        manifest.commit(&self.dir)?;
        self.manifest = manifest;
        Ok(())
    }

    /// Deletes documents; gives how many of the ids were there.
    ///
    /// # Errors
    /// The system's; then none is deleted.
    pub fn delete(&mut self, ids: &[String]) -> Result<u64> {
        let mut manifest = self.manifest.clone();
        let found: HashSet<&String> = ids.iter().filter(|id| self.places.contains_key(*id)).collect();
        for id in &found {
            let (segment, document, _) = &self.places[*id];
            insert(&mut manifest.segments[*segment].deleted, *document);
        }
        if !found.is_empty() {
            manifest.commit(&self.dir)?;
            self.manifest = manifest;
        }
        let count = found.len() as u64;
        ids.iter().for_each(|id| _ = self.places.remove(id));
        Ok(count)
    }

    /// Writes segments without the deleted documents and removes the old ones; gives the bytes that are free again. Readers that have the old
    /// ones open keep them. One segment without a deleted document stays as it is.
    ///
    /// # Errors
    /// The system's; then the old segments stay.
    pub fn compact(&mut self, progress: &dyn Fn(u64, u64)) -> Result<u64> {
        let before: u64 = self.manifest.segments.iter().map(|segment| segment.rows_bytes).sum();
        let all = self.places.len() as u64;
        if self.manifest.segments.len() <= 1 && self.manifest.segments.iter().all(|segment| segment.deleted.is_empty())
        {
            return Ok(0);
        }
        let (mut manifest, mut done, mut new) = (self.manifest.clone(), 0, None);
        manifest.segments.clear();
        let mut places = HashMap::new();
        for entry in &self.manifest.segments {
            let segment = Segment::open(&self.dir, entry, &self.manifest)?;
            for (document, id) in segment.live() {
                if new.is_none() {
                    new = Some((NewSegment::create(&self.dir, manifest.next)?, 0u32));
                    manifest.next += 1;
                }
                let Some((out, count)) = &mut new else { continue };
                let at = document as usize;
                out.push(id, segment.lengths[at], &segment.texts[at], segment.bytes(at))?;
                places.insert(id.to_string(), (manifest.segments.len(), *count, segment.texts[at].clone()));
                *count += 1;
                done += 1;
                progress(done, all);
                if out.bytes() >= COMPACT
                    && let Some((out, _)) = new.take()
                {
                    manifest.segments.push(out.finish()?);
                }
            }
        }
        if let Some((out, _)) = new.filter(|(out, _)| !out.is_empty()) {
            manifest.segments.push(out.finish()?);
        }
        manifest.commit(&self.dir)?;
        for old in &self.manifest.segments {
            // mapped files stay for those who have them open
            let path = self.dir.join(&old.name);
            fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
        }
        self.manifest = manifest;
        self.places = places;
        let after: u64 = self.manifest.segments.iter().map(|segment| segment.rows_bytes).sum();
        Ok(before.saturating_sub(after))
    }
}

/// Adds a number to ascending ones.
fn insert(numbers: &mut Vec<u32>, number: u32) {
    if let Err(at) = numbers.binary_search(&number) {
        numbers.insert(at, number);
    }
}

/// Makes sure that nobody else writes.
fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(Error::io("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let what = "is being written by another process: wait until it ends";
            Err(Error::setting("store", dir.display(), what))
        }
        Err(TryLockError::Error(e)) => Err(Error::io("lock", &path)(e)),
    }
}
