//! An index on disk: immutable generations, and one small file that says which of them count.
//!
//! ```text
//! INDEX/
//!   sverka-index.json     settings, model, generations with lengths and checksums of their files: replaced by one rename
//!   lock                  locked by the process that writes
//!   gen-1/                ids, records, columns.json, and a folder for each method
//!   gen-2/                an update: added and changed documents, and `hidden`, which lists what is deleted or replaced before it
//! ```
//!
//! A generation is written next to its name, flushed, renamed, and only then named in `sverka-index.json`: a crash at any moment
//! leaves the last commit, and what it left besides is removed by the next writer. Readers lock the generations that they opened
//! (shared), and a writer removes only what nobody has locked. All generations are searched together: the newest version of an
//! id counts, and as many more hits are asked of a generation as it has hidden documents.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::colbert::Effort;
use super::documents::Documents;
use super::fusion::fuse;
use super::maker::Maker;
use super::manifest::{IndexManifest, Method, ModelTie};
use super::parts::{Origin, Searcher};
use super::strings::damaged;
use super::vectors::order;
use crate::nn::{Device, Dtype};
use crate::ranker::{Hit, Input, Retriever};
use crate::{Error, Record, Result};

/// The file with numbers of hidden documents.
pub(super) const HIDDEN: &str = "hidden";
/// How often an index is opened again when a commit came in between.
const TRIES: usize = 5;
/// Lists that are fused are this much longer than what is asked for, and at least [`FUSED`].
const DEEPER: usize = 2;
const FUSED: usize = 100;

/// Where a model is, and how it computes.
#[derive(Debug, Clone, Default)]
pub struct ModelOptions {
    /// Its folder, or the file of word vectors; none: where it was when the index was built.
    pub path: Option<PathBuf>,
    /// What it computes in; none: what it was made for.
    pub dtype: Option<Dtype>,
    /// Where it computes.
    pub device: Device,
}

/// An index as it was at one commit.
pub struct Index {
    dir: PathBuf,
    manifest: IndexManifest,
    maker: Option<Maker>,
    pub(super) parts: Vec<Part>,
    searchers: Vec<Searcher>,
    effort: Effort,
}

/// One generation with documents.
pub(super) struct Part {
    /// Its place among the manifest's generations.
    pub(super) generation: usize,
    pub(super) documents: Documents,
    /// The number of its first document among all.
    pub(super) base: u32,
    /// Which of its documents are hidden, `[n]`; empty: none.
    pub(super) hidden: Vec<bool>,
    hidden_count: usize,
    /// Locked, so that no writer removes it.
    _lock: Option<File>,
}

impl Part {
    pub(super) fn is_hidden(&self, document: u32) -> bool {
        self.hidden.get(document as usize).copied().unwrap_or(false)
    }
}

impl Index {
    /// Opens the last commit of an index.
    ///
    /// # Errors
    /// A folder that is no index; one of a newer version; files that are missing, cut short or damaged; a model that is not the one
    /// the index was built with.
    pub fn open(dir: &Path, model: &ModelOptions) -> Result<Self> {
        let mut tries = 0;
        loop {
            let manifest = IndexManifest::read(dir)?;
            match Self::open_parts(dir, &manifest) {
                Ok(parts) => return Self::with_parts(dir, manifest, parts, model),
                Err(error) => {
                    // a commit between the two may have removed what the manifest named
                    tries += 1;
                    if tries == TRIES || IndexManifest::read(dir)? == manifest {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn open_parts(dir: &Path, manifest: &IndexManifest) -> Result<Vec<Part>> {
        let (mut parts, mut base) = (Vec::new(), 0u32);
        let hidden = read_hidden(dir, manifest)?;
        for (place, generation) in manifest.generations.iter().enumerate() {
            let folder = dir.join(&generation.folder);
            let lock = File::open(&folder).map_err(Error::io("read", &folder))?;
            // a file system without locks: then nobody removes anything
            let lock = lock.try_lock_shared().is_ok().then_some(lock);
            generation.check(dir, false)?;
            if generation.documents == 0 {
                continue;
            }
            let documents = Documents::open(&folder)?;
            let count = generation.documents;
            if documents.len() != count as usize {
                return Err(damaged(&folder));
            }
            let mut of_part = Vec::new();
            for &(of, document) in hidden.iter().filter(|(of, _)| *of == place as u32) {
                of_part.resize(count as usize, false);
                *of_part.get_mut(document as usize).ok_or_else(|| damaged(&dir.join(of.to_string())))? = true;
            }
            let hidden_count = of_part.iter().filter(|hidden| **hidden).count();
            let (generation, hidden) = (place, of_part);
            parts.push(Part { generation, documents, base, hidden, hidden_count, _lock: lock });
            base = base.checked_add(count).ok_or_else(|| {
                Error::data(dir, None, "more than 2^32 documents in all", "divide them between several indexes")
            })?;
        }
        Ok(parts)
    }

    fn with_parts(dir: &Path, manifest: IndexManifest, parts: Vec<Part>, model: &ModelOptions) -> Result<Self> {
        let maker = manifest.model.as_ref().map(|tie| open_model(dir, tie, model)).transpose()?;
        let maker = maker.map(|maker| maker.with_fields(&manifest.settings.fields));
        let folders: Vec<PathBuf> =
            parts.iter().map(|part| dir.join(&manifest.generations[part.generation].folder)).collect();
        let of: Vec<(&Path, &Documents)> =
            folders.iter().map(PathBuf::as_path).zip(parts.iter().map(|p| &p.documents)).collect();
        let open = |method: &_| Searcher::open(*method, &manifest.settings, maker.as_ref(), &of);
        let searchers = manifest.settings.methods.iter().map(open).collect::<Result<_>>()?;
        Ok(Index { dir: dir.into(), manifest, maker, parts, searchers, effort: Effort::default() })
    }

    /// The same index, whose vectors of tokens are searched as thoroughly as this says. The other methods have no effort.
    pub fn with_effort(self, effort: Effort) -> Self {
        Index { effort, ..self }
    }

    /// What it consists of.
    pub fn manifest(&self) -> &IndexManifest {
        &self.manifest
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn maker(&self) -> Option<&Maker> {
        self.maker.as_ref()
    }

    pub(super) fn searchers(&self) -> &[Searcher] {
        &self.searchers
    }

    /// How many documents can be found.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.documents.len() - part.hidden_count).sum()
    }

    /// True without a document.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One more than the largest number of a document; numbers of hidden documents are never found.
    pub fn numbers(&self) -> u32 {
        self.parts.last().map_or(0, |part| part.base + part.documents.len() as u32)
    }

    /// The part of a document, and its number there.
    fn place(&self, document: u32) -> Origin {
        let at = self.parts.partition_point(|part| part.base <= document) - 1;
        (at, document - self.parts[at].base)
    }

    fn part(&self, document: u32) -> (&Part, u32) {
        let (at, document) = self.place(document);
        (&self.parts[at], document)
    }

    /// A document's id.
    ///
    /// # Errors
    /// A damaged file.
    ///
    /// # Panics
    /// A number that no document has.
    pub fn id(&self, document: u32) -> Result<&str> {
        let (part, document) = self.part(document);
        part.documents.id(document)
    }

    /// A document as it was read.
    ///
    /// # Errors
    /// A damaged file.
    ///
    /// # Panics
    /// A number that no document has.
    pub fn record(&self, document: u32) -> Result<Record> {
        let (part, document) = self.part(document);
        part.documents.record(document)
    }

    /// The number of the document with this id, if it can be found.
    ///
    /// # Errors
    /// A damaged file.
    pub fn find(&self, id: &str) -> Result<Option<u32>> {
        for part in self.parts.iter().rev() {
            if let Some(document) = part.documents.find(id)?.filter(|document| !part.is_hidden(*document)) {
                return Ok(Some(part.base + document));
            }
        }
        Ok(None)
    }

    /// For each query the `k` best documents, best first; of equal scores the one whose id is first in the alphabet comes first.
    /// Fewer where fewer have anything in common with it. With several methods scores are those of reciprocal rank fusion.
    ///
    /// # Errors
    /// What the model refuses; a damaged file.
    pub fn search(&self, queries: &[Input], k: usize) -> Result<Vec<Vec<Hit>>> {
        if let [only] = &self.searchers[..] {
            return self.search_by(only, queries, k);
        }
        let depth = k.saturating_mul(DEEPER).max(FUSED);
        let lists = self.searchers.iter().map(|by| self.search_by(by, queries, depth)).collect::<Result<Vec<_>>>()?;
        let settings = &self.manifest.settings;
        let of_query = |query: usize| {
            let of: Vec<&[Hit]> = lists.iter().map(|lists| &lists[query][..]).collect();
            let mut fused = fuse(&of, &settings.weights, settings.rrf_k, |a, b| self.by_id(a, b));
            fused.truncate(k);
            fused
        };
        Ok((0..queries.len()).map(of_query).collect())
    }

    /// Scores of some documents for a query by what one of the methods has stored of them: the dot product of their vectors, or MaxSim over decoded
    /// vectors of tokens.
    ///
    /// # Errors
    /// A method that the index does not have, or BM25, which stores nothing to be compared; what the model refuses.
    ///
    /// # Panics
    /// A number that no document has.
    pub fn scores(&self, method: Method, query: Input, documents: &[u32]) -> Result<Vec<f32>> {
        let none = || Error::setting("index", self.dir.display(), format!("has no vectors of kind {}", method.name()));
        let at = self.manifest.settings.methods.iter().position(|of| *of == method).ok_or_else(none)?;
        let places: Vec<Origin> = documents.iter().map(|document| self.place(*document)).collect();
        self.searchers[at].scores(query, &places)?.ok_or_else(none)
    }

    fn by_id(&self, a: u32, b: u32) -> std::cmp::Ordering {
        // an id that can't be read is an error when it is asked for
        self.id(a).unwrap_or_default().cmp(self.id(b).unwrap_or_default()).then(a.cmp(&b))
    }

    fn search_by(&self, searcher: &Searcher, queries: &[Input], k: usize) -> Result<Vec<Vec<Hit>>> {
        let depth = |part: &Part| k.saturating_add(part.hidden_count).min(part.documents.len());
        let depths: Vec<usize> = self.parts.iter().map(depth).collect();
        let mut found = searcher.search(queries, &depths, self.effort)?;
        let merged = |query: usize| {
            let mut hits: Vec<Hit> = Vec::new();
            for (part, found) in self.parts.iter().zip(&mut found) {
                let of_part = std::mem::take(&mut found[query]);
                let visible = of_part.into_iter().filter(|hit| !part.is_hidden(hit.document));
                hits.extend(visible.map(|hit| Hit { document: part.base + hit.document, ..hit }));
            }
            if self.parts.len() > 1 {
                let by_score = |a: &Hit, b: &Hit| order(&Hit { document: 0, ..*a }, &Hit { document: 0, ..*b });
                hits.sort_by(|a, b| by_score(a, b).then_with(|| self.by_id(a.document, b.document)));
            }
            hits.truncate(k);
            hits
        };
        Ok((0..queries.len()).map(merged).collect())
    }
}

impl Retriever for Index {
    fn retrieve(&self, queries: &[Input], k: usize) -> Result<Vec<Vec<Hit>>> {
        self.search(queries, k)
    }
}

/// The model that an index is tied to.
fn open_model(dir: &Path, tie: &ModelTie, options: &ModelOptions) -> Result<Maker> {
    let path = options.path.as_ref().unwrap_or(&tie.path);
    if !path.exists() {
        let what = "is not there, and the index was built with the model that was";
        return Err(Error::data(path, None, what, "name the model's folder or file with --model"));
    }
    let maker = Maker::open(path, options)?;
    let found = maker.fingerprint()?;
    if found != tie.fingerprint {
        let what = format!(
            "is another model than {} was built with (fingerprint {}, not {})",
            dir.display(),
            &found[..12],
            tie.fingerprint.get(..12).unwrap_or_default()
        );
        let remedy = "name that model with --model, or build the index again with this one";
        return Err(Error::data(path, None, what, remedy));
    }
    Ok(maker)
}

/// Hidden documents: places of generations and numbers.
fn read_hidden(dir: &Path, manifest: &IndexManifest) -> Result<Vec<(u32, u32)>> {
    let Some(last) = manifest.generations.iter().rev().find(|g| g.files.contains_key(HIDDEN)) else {
        return Ok(Vec::new());
    };
    let path = dir.join(&last.folder).join(HIDDEN);
    let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
    let numbers: Vec<u32> = bytes.as_chunks().0.iter().map(|four| u32::from_le_bytes(*four)).collect();
    if bytes.len() as u64 != 8 * manifest.hidden {
        return Err(damaged(&path));
    }
    Ok(numbers.as_chunks().0.iter().map(|[generation, document]| (*generation, *document)).collect())
}

/// Takes the lock of an index for writing.
pub(super) fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(Error::io("write", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let what = "another process is writing this index";
            Err(Error::data(dir, None, what, "wait until it has ended; searching goes on meanwhile"))
        }
        Err(TryLockError::Error(source)) => Err(Error::io("lock", &path)(source)),
    }
}
