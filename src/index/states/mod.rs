//! States of documents, as a split encoder's lower layers make them, on disk: computed once, joined with any query.
//!
//! ```text
//! STORE/  sverka-states.json   which model, how rows are stored, which segments, which of their documents are deleted; checksums
//!         seg-1/  rows         every token's row, one document after the other
//!                 documents    a JSON line each: [id, tokens, checksum of its text]
//!         seg-2/  ...
//!         lock                 locked by whoever writes
//! ```
//!
//! A segment never changes: it is written next to its place, flushed and renamed, and counts from the moment that a new manifest, renamed
//! too, names it. So a kill at any moment leaves the last commit, and building goes on after the last segment. A document that is added again takes
//! the place of the old one; deleted ones are numbers in the manifest until compaction writes segments without them. Rows are mapped
//! into memory. Sizes of files and the checksum of the documents' lines are compared when a store is opened, those of all rows by
//! [`StateStore::check`].
//!
//! Refused: one growing file with a log (a reader would need it as well), rows of a document in several places.

mod manifest;
mod rows;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub use manifest::StatesManifest;
pub use rows::RowStorage;
pub use writer::{Added, Estimate, StateWriter, estimate};

use crate::bundle::SplitEncoder;
use crate::{Error, Result};
use segment::Segment;

/// A store, opened for reading: what was committed when it was opened.
pub struct StateStore {
    dir: PathBuf,
    manifest: StatesManifest,
    segments: Vec<Segment>,
    places: HashMap<String, Place>,
}

/// Where a document's rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    segment: u32,
    document: u32,
}

impl StateStore {
    /// Opens a store of a model.
    ///
    /// # Errors
    /// No store, one of another model or version, one whose building was interrupted; files that are cut short or missing.
    pub fn open(dir: &Path, encoder: &SplitEncoder) -> Result<Self> {
        let store = Self::open_any(dir)?;
        store.manifest.check_model(dir, encoder)?;
        if !store.manifest.complete {
            let what = format!("was interrupted while it was built: it has {} documents", store.len());
            let remedy = "run the same `sverka states build` again, it goes on where it was";
            return Err(Error::model(&manifest::path(dir), "complete", what, remedy));
        }
        Ok(store)
    }

    /// Opens a store, whichever model it is of.
    ///
    /// # Errors
    /// No store, one of another version; files that are cut short or missing.
    pub fn open_any(dir: &Path) -> Result<Self> {
        let manifest = StatesManifest::read(dir)?;
        let open = |entry| Segment::open(dir, entry, &manifest);
        let segments = manifest.segments.iter().map(open).collect::<Result<Vec<_>>>()?;
        let mut places = HashMap::new();
        for (segment, of) in (0u32..).zip(&segments) {
            for (document, id) in of.live() {
                places.insert(id.to_string(), Place { segment, document });
            }
        }
        Ok(StateStore { dir: dir.into(), manifest, segments, places })
    }

    /// What it is.
    pub fn manifest(&self) -> &StatesManifest {
        &self.manifest
    }
    /// Documents.
    pub fn len(&self) -> usize {
        self.places.len()
    }
    /// True without a document.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
    /// Tokens of all documents, deleted ones left out.
    pub fn tokens(&self) -> u64 {
        self.places.values().map(|place| u64::from(self.length(*place))).sum()
    }
    /// Bytes of rows on disk, deleted ones included.
    pub fn bytes(&self) -> u64 {
        self.manifest.segments.iter().map(|segment| segment.rows_bytes).sum()
    }
    /// A document by its id; `None`: it is not there, or deleted.
    pub fn find(&self, id: &str) -> Option<Place> {
        self.places.get(id).copied()
    }
    /// Tokens of a document.
    pub fn length(&self, place: Place) -> u32 {
        self.segments[place.segment as usize].lengths[place.document as usize]
    }
    /// Writes a document's rows, `[t, width]`.
    pub fn fill(&self, place: Place, rows: &mut [f32]) {
        let bytes = self.segments[place.segment as usize].bytes(place.document as usize);
        self.manifest.storage.decode(bytes, self.manifest.width, rows);
    }
    /// Reads all rows and compares their checksums.
    ///
    /// # Errors
    /// A segment that is not what was written.
    pub fn check(&self, progress: &dyn Fn(u64, u64)) -> Result<()> {
        let (all, mut done) = (self.bytes(), 0);
        progress(0, all);
        for (segment, entry) in self.segments.iter().zip(&self.manifest.segments) {
            segment.check(&self.dir, entry)?;
            done += entry.rows_bytes;
            progress(done, all);
        }
        Ok(())
    }
}
