//! A segment: rows and documents that never change.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::manifest::{Entry, REMEDY, StatesManifest, sha256};
use crate::files::NewFolder;
use crate::nn::kernels::Mapped;
use crate::{Error, Result};

const ROWS: &str = "rows";
const DOCUMENTS: &str = "documents";

/// A segment, opened.
pub(super) struct Segment {
    rows: Mapped,
    /// Where each document's bytes begin, and the end: `[n + 1]`.
    offsets: Vec<usize>,
    /// Tokens of each.
    pub(super) lengths: Vec<u32>,
    /// Their ids.
    pub(super) ids: Vec<String>,
    /// Checksums of their texts.
    pub(super) texts: Vec<String>,
    deleted: Vec<bool>,
}

impl Segment {
    pub(super) fn open(dir: &Path, entry: &Entry, manifest: &StatesManifest) -> Result<Self> {
        let folder = dir.join(&entry.name);
        let damaged = |file: &str, what: String| Error::model(&folder.join(file), "bytes", what, REMEDY);
        let path = folder.join(DOCUMENTS);
        let lines = std::fs::read(&path).map_err(Error::io("read", &path))?;
        if sha256(&lines) != entry.documents_sha256 {
            return Err(damaged(
                DOCUMENTS,
                "are not those that were written: the file was changed or cut short".into(),
            ));
        }
        let row = manifest.storage.row_bytes(manifest.width);
        let (mut offsets, mut lengths, mut ids, mut texts) = (vec![0], Vec::new(), Vec::new(), Vec::new());
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let read = serde_json::from_slice::<(String, u32, String)>(line);
            let (id, length, text) = read.map_err(|e| damaged(DOCUMENTS, e.to_string()))?;
            offsets.push(offsets[offsets.len() - 1] + length as usize * row);
            lengths.push(length);
            ids.push(id);
            texts.push(text);
        }
        let rows = Mapped::open(&folder.join(ROWS))?;
        rows.read_at_random();
        let wanted = offsets[offsets.len() - 1];
        if rows.len() != wanted || rows.len() as u64 != entry.rows_bytes || ids.len() as u64 != entry.documents {
            let what = format!("are {}, and {wanted} were written: the file was cut short or is another's", rows.len());
            return Err(damaged(ROWS, what));
        }
        let mut deleted = vec![false; ids.len()];
        for number in &entry.deleted {
            match deleted.get_mut(*number as usize) {
                Some(deleted) => *deleted = true,
                None => return Err(damaged(DOCUMENTS, format!("document {number} is deleted and was never there"))),
            }
        }
        Ok(Segment { rows, offsets, lengths, ids, texts, deleted })
    }

    /// Numbers and ids of documents that count.
    pub(super) fn live(&self) -> impl Iterator<Item = (u32, &str)> {
        let all = (0u32..).zip(&self.ids).zip(&self.deleted);
        all.filter(|(_, deleted)| !**deleted).map(|((number, id), _)| (number, id.as_str()))
    }

    /// A document's rows as stored.
    pub(super) fn bytes(&self, document: usize) -> &[u8] {
        &self.rows[self.offsets[document]..self.offsets[document + 1]]
    }

    pub(super) fn check(&self, dir: &Path, entry: &Entry) -> Result<()> {
        if sha256(&self.rows) == entry.rows_sha256 {
            return Ok(());
        }
        let path = dir.join(&entry.name).join(ROWS);
        Err(Error::model(&path, "SHA-256", "is not that of what was written: the file is damaged", REMEDY))
    }
}

/// A segment on its way; dropped before it is finished, it vanishes.
pub(super) struct NewSegment {
    name: String,
    folder: NewFolder,
    /// Where it will be: errors name this.
    place: PathBuf,
    rows: BufWriter<File>,
    digest: Sha256,
    bytes: u64,
    lines: Vec<u8>,
    documents: u64,
}

impl NewSegment {
    pub(super) fn create(dir: &Path, number: u64) -> Result<Self> {
        let name = format!("seg-{number}");
        let place = dir.join(&name);
        let folder = NewFolder::create(&place)?;
        let rows = File::create(folder.path().join(ROWS)).map_err(Error::io("create", &place.join(ROWS)))?;
        let rows = BufWriter::new(rows);
        let (digest, bytes, lines, documents) = Default::default();
        Ok(NewSegment { name, folder, place, rows, digest, bytes, lines, documents })
    }

    /// Adds a document's rows, as stored.
    pub(super) fn push(&mut self, id: &str, length: u32, text: &str, rows: &[u8]) -> Result<()> {
        self.rows.write_all(rows).map_err(Error::io("write", &self.place.join(ROWS)))?;
        self.digest.update(rows);
        self.bytes += rows.len() as u64;
        let failed = |e: serde_json::Error| Error::Internal { op: "write documents", what: e.to_string() };
        self.lines.extend(serde_json::to_vec(&(id, length, text)).map_err(failed)?);
        self.lines.push(b'\n');
        self.documents += 1;
        Ok(())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.documents == 0
    }

    /// Gives it its name.
    pub(super) fn finish(self) -> Result<Entry> {
        let place = |name: &str| self.place.join(name);
        self.rows.into_inner().map_err(|e| Error::io("write", &place(ROWS))(e.into_error()))?;
        let written = std::fs::write(self.folder.path().join(DOCUMENTS), &self.lines);
        written.map_err(Error::io("write", &place(DOCUMENTS)))?;
        self.folder.commit()?;
        Ok(Entry {
            name: self.name,
            documents: self.documents,
            rows_bytes: self.bytes,
            rows_sha256: self.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
            documents_sha256: sha256(&self.lines),
            deleted: Vec::new(),
        })
    }
}
