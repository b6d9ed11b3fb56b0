//! Commits: a new index, an update of one, and its compaction into one generation.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::documents::{Documents, DocumentsWriter};
use super::maker::Maker;
use super::manifest::{Generation, IndexManifest, Method, ModelTie, Settings, VERSION};
use super::parts::{Origin, Source, check_model};
use super::store::{HIDDEN, Index, ModelOptions, lock};
use crate::files::NewFolder;
use crate::ranker::{self, Rows, in_order};
use crate::{Error, Record, Result};

/// What an update did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Changes {
    /// Documents whose ids are new.
    pub added: u64,
    /// Documents that replaced one of the same id.
    pub changed: u64,
    /// Documents that are gone.
    pub deleted: u64,
    /// Ids to be deleted that no document has.
    pub unknown: u64,
}

/// A progress: documents done, and in all.
pub type Progress<'a> = &'a dyn Fn(u64, u64);

/// Builds an index of documents in a new folder, or, with `force`, as the next commit of the index that is there. Ids must differ;
/// they are in memory, and of the documents some thousand at a time.
///
/// # Errors
/// [`Error::Exists`]; settings that do not fit; a model that is missing or has no vectors; another process that writes the
/// index; the system's. What was there stays.
pub fn build_index(
    dir: &Path,
    documents: &dyn Rows,
    settings: &Settings,
    model: &ModelOptions,
    force: bool,
    progress: Progress,
) -> Result<IndexManifest> {
    settings.check()?;
    let exists = fs::symlink_metadata(dir).is_ok();
    if exists && !(force && IndexManifest::is_in(dir)) {
        return Err(Error::Exists(dir.into()));
    }
    let maker = settings.needs_model().then(|| open_model(model)).transpose()?;
    let mut settings = settings.clone();
    if let Some(maker) = &maker {
        if settings.methods.len() > 1 && maker.late().is_some() {
            // of a hybrid the model says which vectors there are
            settings.methods.iter_mut().filter(|m| **m == Method::Dense).for_each(|m| *m = Method::Colbert);
        }
        settings.methods.iter().try_for_each(|method| check_model(*method, maker))?;
    }
    let settings = &settings;
    let tie = maker.as_ref().map(tie).transpose()?;
    let maker = maker.map(|maker| maker.with_fields(&settings.fields));
    let order = sorted(&documents.ids()?)?;
    let count = order.len() as u64;
    let write = |out: &Path, name: &str| -> Result<Generation> {
        fs::create_dir_all(out).map_err(Error::io("create", out))?;
        // from here on they are read from the disk
        let stored = write_documents(out, in_order(documents, order.iter().copied()))?;
        write_methods(out, settings, maker.as_ref(), stored.as_ref(), None, progress)?;
        Generation::of_folder(out, name.into(), count as u32)
    };
    let settings = settings.clone();
    let manifest = |generation: Generation| IndexManifest {
        version: VERSION,
        settings,
        model: tie,
        documents: count,
        hidden: 0,
        generations: vec![generation],
    };
    if exists {
        let _lock = lock(dir)?;
        let manifest = commit(dir, |out, name| Ok(manifest(write(out, name)?)))?;
        remove_others(dir, &manifest);
        return Ok(manifest);
    }
    let new = NewFolder::create(dir)?;
    let inner = new.path().to_path_buf();
    let fill = || -> Result<IndexManifest> {
        let manifest = manifest(write(&inner.join("gen-1"), "gen-1")?);
        File::create_new(inner.join("lock")).map_err(Error::io("create", &inner.join("lock")))?;
        manifest.write(&inner)?;
        Ok(manifest)
    };
    let manifest = fill().map_err(|error| error.with_path(&inner, dir))?;
    new.commit_new()?;
    Ok(manifest)
}

/// Adds documents to an index, replaces those whose ids it has, and deletes others, in one commit: a small generation that is
/// searched together with the earlier ones.
///
/// # Errors
/// What [`Index::open`] refuses; another process that writes the index; an id that is to be added and deleted; the system's. What
/// was there stays.
pub fn update_index(
    dir: &Path,
    add: &dyn Rows,
    delete: &[String],
    model: &ModelOptions,
    progress: Progress,
) -> Result<(IndexManifest, Changes)> {
    let before = IndexManifest::read(dir)?;
    let _lock = lock(dir)?;
    let index = Index::open(dir, model)?;
    let ids = add.ids()?;
    let order = sorted(&ids)?;
    let ids: Vec<&str> = order.iter().map(|at| &*ids[*at as usize]).collect();
    let delete: BTreeSet<&str> = delete.iter().map(String::as_str).collect();
    if let Some(both) = ids.iter().find(|id| delete.contains(**id)) {
        return Err(Error::setting("--delete", both, "is also among the documents to be added; name it once"));
    }
    let (mut changes, mut hidden) = (Changes { added: add.len() as u64, ..Changes::default() }, BTreeSet::new());
    for part in &index.parts {
        hidden
            .extend((0..part.hidden.len() as u32).filter(|d| part.is_hidden(*d)).map(|d| (part.generation as u32, d)));
    }
    let mut hide = |id: &str| -> Result<bool> {
        for part in &index.parts {
            if let Some(document) = part.documents.find(id)?.filter(|document| !part.is_hidden(*document)) {
                hidden.insert((part.generation as u32, document));
                return Ok(true);
            }
        }
        Ok(false)
    };
    for id in &ids {
        if hide(id)? {
            changes.changed += 1;
            changes.added -= 1;
        }
    }
    for id in delete {
        *(if hide(id)? { &mut changes.deleted } else { &mut changes.unknown }) += 1;
    }
    if add.is_empty() && changes.deleted == 0 {
        return Ok((before, changes)); // nothing would differ
    }
    let settings = &index.manifest().settings;
    let manifest = commit(dir, |out, name| {
        let stored = write_documents(out, in_order(add, order.iter().copied()))?;
        write_methods(out, settings, index.maker(), stored.as_ref(), None, progress)?;
        if !hidden.is_empty() {
            write_hidden(&out.join(HIDDEN), &hidden)?;
        }
        let mut manifest = index.manifest().clone();
        manifest.documents = manifest.documents + changes.added - changes.deleted;
        manifest.hidden = hidden.len() as u64;
        manifest.generations.push(Generation::of_folder(out, name.into(), add.len() as u32)?);
        Ok(manifest)
    })?;
    drop(index); // it is a reader, too
    remove_others(dir, &manifest);
    Ok((manifest, changes))
}

/// Makes one generation of all: what a fresh index of the same documents would be.
///
/// # Errors
/// What [`Index::open`] refuses; another process that writes the index; the system's. What was there stays.
pub fn compact_index(dir: &Path, model: &ModelOptions, progress: Progress) -> Result<IndexManifest> {
    let before = IndexManifest::read(dir)?;
    let _lock = lock(dir)?;
    let index = Index::open(dir, model)?;
    if index.manifest().generations.len() == 1 {
        drop(index);
        remove_others(dir, &before);
        return Ok(before);
    }
    // by id: the order of a fresh build
    let mut origins: BTreeMap<&str, Origin> = BTreeMap::new();
    for (place, part) in index.parts.iter().enumerate() {
        for document in (0..part.documents.len() as u32).filter(|document| !part.is_hidden(*document)) {
            origins.insert(part.documents.id(document)?, (place, document));
        }
    }
    let origins: Vec<Origin> = origins.into_values().collect();
    let manifest = commit(dir, |out, name| {
        let records = origins.iter().map(|(part, document)| index.parts[*part].documents.record(*document));
        let stored = write_documents(out, records)?;
        let settings = &index.manifest().settings;
        let before = Some((&origins[..], &index));
        write_methods(out, settings, index.maker(), stored.as_ref(), before, progress)?;
        let mut manifest = index.manifest().clone();
        (manifest.documents, manifest.hidden) = (origins.len() as u64, 0);
        manifest.generations = vec![Generation::of_folder(out, name.into(), origins.len() as u32)?];
        Ok(manifest)
    })?;
    drop(index); // it is a reader, too
    remove_others(dir, &manifest);
    Ok(manifest)
}

/// Reads all files of an index and compares their checksums.
///
/// # Errors
/// A file that is damaged.
pub fn check_index(dir: &Path) -> Result<IndexManifest> {
    let manifest = IndexManifest::read(dir)?;
    manifest.generations.iter().try_for_each(|generation| generation.check(dir, true))?;
    Ok(manifest)
}

/// Writes a generation and makes the manifest that `write` gives the index's state. The lock must be taken.
fn commit(dir: &Path, write: impl FnOnce(&Path, &str) -> Result<IndexManifest>) -> Result<IndexManifest> {
    let before = IndexManifest::read(dir)?;
    remove_others(dir, &before);
    let number = |folder: &str| folder.strip_prefix("gen-")?.parse::<u64>().ok();
    // a folder that a reader of an earlier commit still has may be there, too
    let names = fs::read_dir(dir).map_err(Error::io("read", dir))?.flatten();
    let last = names.filter_map(|entry| number(&entry.file_name().to_string_lossy())).max().unwrap_or(0);
    let name = format!("gen-{}", last + 1);
    let path = dir.join(&name);
    let new = NewFolder::create(&path)?;
    let inner = new.path().to_path_buf();
    let manifest = write(&inner, &name).map_err(|error| error.with_path(&inner, &path))?;
    new.commit_new()?;
    manifest.write(dir)?;
    Ok(manifest)
}

/// Removes generations that a manifest does not name, as far as no reader has them.
fn remove_others(dir: &Path, manifest: &IndexManifest) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_generation = name.strip_prefix("gen-").is_some_and(|number| number.parse::<u64>().is_ok());
        // what killed writers of a generation left
        let is_part = name.starts_with(".gen-") && name.ends_with(".part");
        if !(is_generation || is_part) || manifest.generations.iter().any(|generation| generation.folder == name) {
            continue;
        }
        let path = entry.path();
        if let Ok(file) = File::open(&path)
            && file.try_lock().is_ok()
        {
            _ = fs::remove_dir_all(&path);
        }
    }
}

/// The numbers of documents in the order of their ids, which differ.
fn sorted(ids: &[Box<str>]) -> Result<Vec<u32>> {
    let order = ranker::sorted(ids);
    let id = |at: &u32| &ids[*at as usize];
    if let Some([first, _]) = order.array_windows().find(|[a, b]| id(a) == id(b)) {
        return Err(Error::setting("documents", id(first), "two documents have this id; give each its own"));
    }
    Ok(order)
}

/// Writes documents into a folder and opens them; none without one.
fn write_documents(out: &Path, records: impl Iterator<Item = Result<Record>>) -> Result<Option<Documents>> {
    let mut records = records.peekable();
    if records.peek().is_none() {
        return Ok(None);
    }
    let mut writer = DocumentsWriter::create(out)?;
    for record in records {
        writer.push(&record?)?;
    }
    writer.finish()?;
    Documents::open(out).map(Some)
}

fn write_methods(
    out: &Path,
    settings: &Settings,
    maker: Option<&Maker>,
    documents: Option<&Documents>,
    before: Option<(&[Origin], &Index)>,
    progress: Progress,
) -> Result<()> {
    let Some(documents) = documents else { return Ok(()) };
    let (origins, before) = before.map_or((&[][..], None), |(origins, index)| (origins, Some(index.searchers())));
    let source = Source { settings, maker, documents, origins, before, progress };
    for method in &settings.methods {
        let dir = out.join(method.name());
        fs::create_dir(&dir).map_err(Error::io("create", &dir))?;
        source.write(*method, &dir)?;
    }
    Ok(())
}

fn write_hidden(path: &Path, hidden: &BTreeSet<(u32, u32)>) -> Result<()> {
    let file = File::create_new(path).map_err(Error::io("create", path))?;
    let mut out = BufWriter::new(file);
    let mut numbers = hidden.iter().flat_map(|(generation, document)| [generation, document]);
    let done = numbers.try_for_each(|number| out.write_all(&number.to_le_bytes())).and_then(|()| out.flush());
    done.map_err(Error::io("write", path))
}

/// The model that vectors are made with.
fn open_model(model: &ModelOptions) -> Result<Maker> {
    let Some(path) = &model.path else {
        let what =
            "vectors need a model: give the folder of two towers (dssm) or of a sentence encoder, or word vectors";
        return Err(Error::setting("--model", "(not given)", what));
    };
    Maker::open(path, model)
}

fn tie(maker: &Maker) -> Result<ModelTie> {
    let path: PathBuf = maker.path().canonicalize().map_err(Error::io("read", maker.path()))?;
    Ok(ModelTie { path, fingerprint: maker.fingerprint()? })
}
