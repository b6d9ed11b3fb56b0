//! `sverka-states.json`: what a store is and what counts of it.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::rows::RowStorage;
use crate::bundle::SplitEncoder;
use crate::files::write_beside;
use crate::{Error, Result};

/// The newest layout that this version reads and writes.
const VERSION: u32 = 1;
const NAME: &str = "sverka-states.json";
/// What to do with a damaged file.
pub(super) const REMEDY: &str = "copy the store again, or build it again with `sverka states build`";

/// What a store is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatesManifest {
    /// The layout.
    pub version: u32,
    /// [`SplitEncoder::fingerprint`] of the model.
    pub fingerprint: String,
    /// Values of a row.
    pub width: usize,
    /// How rows are stored.
    pub storage: RowStorage,
    /// False while it is built for the first time.
    pub complete: bool,
    /// The number of the next segment.
    pub next: u64,
    /// The segments, oldest first.
    pub segments: Vec<Entry>,
    /// SHA-256 of all of this with nothing here.
    pub sha256: String,
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its folder.
    pub name: String,
    /// Documents, deleted ones included.
    pub documents: u64,
    /// Size of its rows.
    pub rows_bytes: u64,
    /// SHA-256 of its rows.
    pub rows_sha256: String,
    /// SHA-256 of its documents' lines.
    pub documents_sha256: String,
    /// Numbers of documents that do not count any more, ascending.
    pub deleted: Vec<u32>,
}

pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// A checksum in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl StatesManifest {
    pub(super) fn new(encoder: &SplitEncoder, storage: RowStorage) -> Result<Self> {
        let (fingerprint, width) = (encoder.fingerprint()?, encoder.width());
        let (segments, sha256) = Default::default();
        Ok(StatesManifest { version: VERSION, fingerprint, width, storage, complete: false, next: 1, segments, sha256 })
    }

    /// Whether a folder has one.
    pub fn is_in(dir: &Path) -> bool {
        path(dir).is_file()
    }

    /// Reads a store's manifest.
    ///
    /// # Errors
    /// No store; another version; a damaged file.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = path(dir);
        if !path.exists() {
            let what = format!("has no {NAME}: it is no store of states");
            return Err(Error::data(dir, None, what, "give the folder that `sverka states build` made"));
        }
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let damaged = |what: String| Error::model(&path, "JSON", what, REMEDY);
        let value: serde_json::Value = serde_json::from_str(&text).map_err(|e| damaged(e.to_string()))?;
        let version = value.get("version").and_then(serde_json::Value::as_u64);
        if version != Some(u64::from(VERSION)) {
            let version = version.map_or("none".to_string(), |version| version.to_string());
            let what = format!("is {version}, this Sverka reads version {VERSION}");
            return Err(Error::model(&path, "version", what, "use another Sverka, or build the store again"));
        }
        let manifest: StatesManifest = serde_json::from_value(value).map_err(|e| damaged(e.to_string()))?;
        if manifest.checksum()? != manifest.sha256 {
            return Err(Error::model(&path, "sha256", "does not fit the rest of the file: it was changed", REMEDY));
        }
        Ok(manifest)
    }

    /// Makes a new state of the store the current one, by one rename.
    pub(super) fn commit(&mut self, dir: &Path) -> Result<()> {
        self.sha256 = self.checksum()?;
        let failed = |e: serde_json::Error| Error::Internal { op: "write sverka-states.json", what: e.to_string() };
        let (text, path) = (serde_json::to_string_pretty(self).map_err(failed)?, path(dir));
        write_beside(&path, |file| writeln!(file, "{text}").map_err(Error::io("write", &path)))
    }

    fn checksum(&self) -> Result<String> {
        let bare = StatesManifest { sha256: String::new(), ..self.clone() };
        let failed = |e: serde_json::Error| Error::Internal { op: "write sverka-states.json", what: e.to_string() };
        Ok(sha256(serde_json::to_string(&bare).map_err(failed)?.as_bytes()))
    }

    /// Refuses a model that the states are not of.
    pub(super) fn check_model(&self, dir: &Path, encoder: &SplitEncoder) -> Result<()> {
        if self.fingerprint == encoder.fingerprint()? && self.width == encoder.width() {
            return Ok(());
        }
        let what = "is that of another model (weights, architecture or rendering differ)";
        let remedy = "give the model that the states were built with, or build a store of this one";
        Err(Error::model(&path(dir), "fingerprint", what, remedy))
    }
}
