//! `sverka-index.json`: which generations an index consists of now. It is replaced by one rename, and that is a commit.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::strings::damaged;
use super::{Bm25Settings, ColbertSettings};
use crate::bundle::checksums;
use crate::files::write_beside;
use crate::{Error, Result};

/// The newest layout that this version reads and writes.
pub const VERSION: u32 = 1;
/// The file's name.
pub(super) const NAME: &str = "sverka-index.json";
/// The key of the file's own checksum.
const OWN: &str = "sha256";

/// What finds documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Words in common.
    Bm25,
    /// The nearest vectors, one a document.
    Dense,
    /// The vectors of all tokens (late interaction).
    Colbert,
}

impl Method {
    /// Its name, and that of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Method::Bm25 => "bm25",
            Method::Dense => "dense",
            Method::Colbert => "colbert",
        }
    }

    /// Whether it needs a model.
    pub fn needs_model(self) -> bool {
        self != Method::Bm25
    }
}

/// How the values of vectors are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stored {
    /// 32 bits.
    F32,
    /// 16 bits: half the size, and a cosine is off by less than 0.001.
    #[default]
    F16,
}

/// Which vectors a query is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Nearest {
    /// All of a generation to 200,000, past that those of the nearest lists.
    #[default]
    Auto,
    /// All.
    Exact,
    /// Those of the nearest lists.
    Lists,
}

impl Nearest {
    fn is_auto(&self) -> bool {
        *self == Nearest::Auto
    }
}

/// How an index is built and searched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What finds documents; several are fused by their ranks.
    pub methods: Vec<Method>,
    /// What BM25 counts, and how.
    #[serde(default)]
    pub bm25: Bm25Settings,
    /// How the vectors of tokens are kept.
    #[serde(default)]
    pub colbert: ColbertSettings,
    /// Fields that are indexed, in order; none: all but the id.
    #[serde(default)]
    pub fields: Vec<String>,
    /// How vectors are stored.
    #[serde(default)]
    pub vectors: Stored,
    /// Which vectors a query is compared with.
    #[serde(default, skip_serializing_if = "Nearest::is_auto")]
    pub nearest: Nearest,
    /// What each method weighs in the fusion; none: the same.
    #[serde(default)]
    pub weights: Vec<f32>,
    /// The constant of reciprocal rank fusion.
    #[serde(default = "rrf_k")]
    pub rrf_k: f32,
}

fn rrf_k() -> f32 {
    super::fusion::K
}

impl Settings {
    /// Of these methods, with defaults.
    pub fn new(methods: &[Method]) -> Self {
        let (fields, weights) = (Vec::new(), Vec::new());
        let (bm25, colbert) = (Bm25Settings::default(), ColbertSettings::default());
        Settings {
            methods: methods.to_vec(),
            bm25,
            colbert,
            fields,
            vectors: Stored::default(),
            nearest: Nearest::default(),
            weights,
            rrf_k: rrf_k(),
        }
    }

    /// What people call it: the method's name, or `hybrid (bm25 + dense)`.
    pub fn kind(&self) -> String {
        let names: Vec<&str> = self.methods.iter().map(|method| method.name()).collect();
        if names.len() == 1 { names[0].into() } else { format!("hybrid ({})", names.join(" + ")) }
    }

    /// Whether one of its methods needs a model.
    pub fn needs_model(&self) -> bool {
        self.methods.iter().any(|method| method.needs_model())
    }

    pub(super) fn check(&self) -> Result<()> {
        self.bm25.check()?;
        let (weights, methods) = (self.weights.len(), self.methods.len());
        if weights > 0 && weights != methods {
            let what = format!("there are {weights} weights for {methods} ways of searching: give one each");
            return Err(Error::setting("--weights", weights, what));
        }
        if let Some(weight) = self.weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
            return Err(Error::setting("--weights", weight, "give numbers from 0"));
        }
        if !(self.rrf_k.is_finite() && self.rrf_k >= 0.0) {
            return Err(Error::setting("--rrf-k", self.rrf_k, "give a number from 0; 60 is usual"));
        }
        Ok(())
    }
}

/// The model whose vectors an index has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelTie {
    /// Where it was.
    pub path: PathBuf,
    /// What it is: another one's vectors can't be compared with these.
    pub fingerprint: String,
}

/// A file as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its length.
    pub bytes: u64,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
}

/// One generation: a folder that is never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// Its folder's name.
    pub folder: String,
    /// Documents in it; none where a commit only deleted.
    pub documents: u32,
    /// Its files, by their paths in it.
    pub files: BTreeMap<String, FileEntry>,
}

/// What an index consists of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexManifest {
    /// The layout, up to [`VERSION`].
    pub version: u32,
    /// How it is built and searched.
    pub settings: Settings,
    /// The model, if vectors are searched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelTie>,
    /// Documents that are found: those of all generations but the hidden ones.
    pub documents: u64,
    /// Documents that were deleted, or replaced in a later generation.
    pub hidden: u64,
    /// The generations, the oldest first.
    pub generations: Vec<Generation>,
}

impl IndexManifest {
    /// Whether a folder is an index.
    pub fn is_in(dir: &Path) -> bool {
        dir.join(NAME).is_file()
    }

    /// Reads an index's manifest.
    ///
    /// # Errors
    /// A folder without one; one of a newer version; one that was changed or is damaged.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(NAME);
        if !path.is_file() {
            let what = "is no index: sverka-index.json is missing";
            return Err(Error::data(dir, None, what, "build one with `sverka index DATA --out DIR`"));
        }
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let mut value: Value = serde_json::from_slice(&bytes).map_err(|_| damaged(&path))?;
        // the version comes first: a newer file may have anything
        match value.get("version").and_then(Value::as_u64) {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) => {
                let what = format!("the index's version is {version}, this Sverka reads version {VERSION}");
                return Err(Error::data(&path, None, what, "use the Sverka it was built with, or build it again"));
            }
            None => return Err(damaged(&path)),
        }
        let own = value.as_object_mut().and_then(|map| map.remove(OWN));
        if own != Some(checksums::of_json(&value).into()) {
            let what = "was changed since it was written: its checksum does not fit";
            return Err(Error::data(&path, None, what, "copy the index again, or build it again with `sverka index`"));
        }
        serde_json::from_value(value).map_err(|e| Error::data(&path, None, e.to_string(), "build the index again"))
    }

    /// Makes this the index's state, by one rename.
    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(NAME);
        let failed = |e: serde_json::Error| Error::Internal { op: "write sverka-index.json", what: e.to_string() };
        // by way of text, which keeps an f32 as it is
        let text = serde_json::to_string(self).map_err(failed)?;
        let mut value: Value = serde_json::from_str(&text).map_err(failed)?;
        let own = checksums::of_json(&value);
        value[OWN] = own.into();
        let text = format!("{value:#}\n");
        write_beside(&path, |file| file.write_all(text.as_bytes()).map_err(Error::io("write", &path)))
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.generations.iter().flat_map(|generation| generation.files.values()).map(|file| file.bytes).sum()
    }
}

impl Generation {
    /// Lists the files of a folder, under which name it will be.
    pub(super) fn of_folder(dir: &Path, folder: String, documents: u32) -> Result<Self> {
        let mut files = BTreeMap::new();
        list(dir, "", &mut |name, path| {
            let bytes = std::fs::metadata(path).map_err(Error::io("read", path))?.len();
            files.insert(name, FileEntry { bytes, sha256: checksums::sha256(&[path.to_path_buf()])? });
            Ok(())
        })?;
        Ok(Generation { folder, documents, files })
    }

    /// Refuses files that are missing or of another length; with `sums` also those of another content.
    pub(super) fn check(&self, index: &Path, sums: bool) -> Result<()> {
        let dir = index.join(&self.folder);
        for (name, entry) in &self.files {
            let path = dir.join(name);
            let found = std::fs::metadata(&path).map_err(Error::io("read", &path))?.len();
            if found != entry.bytes {
                let what = format!("is damaged: {found} bytes, and {} were written", entry.bytes);
                return Err(Error::data(&path, None, what, "copy the index again, or build it again"));
            }
            if sums && checksums::sha256(std::slice::from_ref(&path))? != entry.sha256 {
                let what = "is damaged: its checksum is not that of what was written";
                return Err(Error::data(&path, None, what, "copy the index again, or build it again"));
            }
        }
        Ok(())
    }
}

/// Calls `each` with the relative name and the path of every file below a folder.
fn list(dir: &Path, prefix: &str, each: &mut dyn FnMut(String, &Path) -> Result<()>) -> Result<()> {
    for entry in std::fs::read_dir(dir).map_err(Error::io("read", dir))? {
        let entry = entry.map_err(Error::io("read", dir))?;
        let (path, name) = (entry.path(), format!("{prefix}{}", entry.file_name().to_string_lossy()));
        match path.is_dir() {
            true => list(&path, &format!("{name}/"), each)?,
            false => each(name, &path)?,
        }
    }
    Ok(())
}
