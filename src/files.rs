//! Files and folders that are whole or not there: written next to their place under a random name, flushed to the disk,
//! renamed.
//!
//! The random name is made with `create_new`, so no link of somebody else's is followed. It is locked while it is written;
//! what a killed process left has no lock, and the next writer of the same output removes it. [`remove_unfinished`] does so
//! at once, for a process that is about to exit on a signal.

use std::fs::{self, File, Metadata, Permissions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::{Builder, TempDir, TempPath};

use crate::{Error, Result};

/// The end of every temporary name.
const SUFFIX: &str = ".part";
/// How often a name is tried.
const TRIES: usize = 16;

/// What is being written in this process.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes all that this process has not finished writing. Only for a process that exits right after: whoever writes finds
/// nothing to rename.
pub fn remove_unfinished() {
    let mut unfinished = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
    for path in unfinished.drain(..) {
        _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    }
}

/// Writes a file next to `path`, flushes it to the disk and renames it. If anything fails nothing is left over, and what was
/// there before stays. A file that is replaced keeps its permissions.
///
/// # Errors
/// The closure's; a folder under this name; the system's.
pub fn write_beside(path: &Path, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    let (new, mut file) = NewFile::create(path)?;
    write(&mut file)?;
    new.commit(file)
}

/// A file on its way; dropped before [`commit`](NewFile::commit), it vanishes.
pub struct NewFile {
    path: PathBuf,
    temporary: TempPath,
    _listed: Listed,
}

impl NewFile {
    /// Begins a file that will be called `path`.
    ///
    /// # Errors
    /// A folder or a device under this name; the system's.
    pub fn create(path: &Path) -> Result<(Self, File)> {
        let Some(name) = path.file_name().filter(|_| !path.is_dir()) else {
            return Err(Error::setting("output", path.display(), "is a folder; give a file's name"));
        };
        let old = fs::metadata(path).ok();
        if old.as_ref().is_some_and(|old| !old.is_file()) {
            return Err(Error::setting("output", path.display(), "is a device or a pipe; give a file's name"));
        }
        let prefix = prefix(name);
        let folder = folder_of(path);
        remove_leftovers(folder, &prefix);
        let mut builder = Builder::new();
        builder.prefix(&prefix).suffix(SUFFIX);
        ordinary(&mut builder, 0o666);
        for _ in 0..TRIES {
            let new = builder.tempfile_in(folder).map_err(Error::io("create", path))?;
            let (file, temporary) = new.into_parts();
            if is_ours(&file, &temporary) {
                if let Some(old) = old {
                    file.set_permissions(old.permissions()).map_err(Error::io("write", path))?;
                }
                let listed = Listed::new(&temporary);
                return Ok((NewFile { path: path.into(), temporary, _listed: listed }, file));
            }
        }
        Err(Error::Internal { op: "create", what: format!("no free name next to {}", path.display()) })
    }

    /// The final name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// The system's.
    pub fn commit(self, file: File) -> Result<()> {
        file.sync_all().map_err(Error::io("write", &self.path))?;
        drop(file);
        self.temporary.persist(&self.path).map_err(|e| Error::io("rename", &self.path)(e.error))?;
        sync(folder_of(&self.path));
        Ok(())
    }
}

/// A folder on its way; dropped before [`commit`](NewFolder::commit), it vanishes.
pub struct NewFolder {
    path: PathBuf,
    temporary: TempDir,
    _listed: Listed,
    _lock: Option<File>,
}

impl NewFolder {
    /// Begins a folder that will be called `path`, and makes the folders above it.
    ///
    /// # Errors
    /// A name that is none; the system's.
    pub fn create(path: &Path) -> Result<Self> {
        let Some(name) = path.file_name() else {
            return Err(Error::setting("output", path.display(), "give the name of a folder to be made"));
        };
        let (folder, prefix) = (folder_of(path), prefix(name));
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        remove_leftovers(folder, &prefix);
        let mut builder = Builder::new();
        builder.prefix(&prefix).suffix(SUFFIX);
        ordinary(&mut builder, 0o777);
        for _ in 0..TRIES {
            let temporary = builder.tempdir_in(folder).map_err(Error::io("create", path))?;
            let lock = File::open(temporary.path()).ok();
            if lock.as_ref().is_none_or(|lock| is_ours(lock, temporary.path())) {
                let listed = Listed::new(temporary.path());
                return Ok(NewFolder { path: path.into(), temporary, _listed: listed, _lock: lock });
            }
        }
        Err(Error::Internal { op: "create", what: format!("no free name next to {}", path.display()) })
    }

    /// Where its files are written.
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Gives the folder its name, where nothing has it: of two that are written at once the first one stays.
    ///
    /// # Errors
    /// [`Error::Exists`]; the system's.
    pub fn commit_new(self) -> Result<()> {
        let path = &self.path;
        flush(self.temporary.path()).map_err(Error::io("write", path))?;
        if fs::symlink_metadata(path).is_ok() {
            return Err(Error::Exists(path.clone()));
        }
        // a folder takes another one's name only if that is empty
        fs::rename(self.temporary.path(), path).map_err(|e| match e.kind() {
            ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists => Error::Exists(path.clone()),
            _ => Error::io("rename", path)(e),
        })?;
        sync(folder_of(path));
        Ok(())
    }

    /// Gives the folder its name. A folder of that name is removed when the new one is complete.
    ///
    /// # Errors
    /// The system's; then the old folder stays.
    pub fn commit(self) -> Result<()> {
        let path = &self.path;
        flush(self.temporary.path()).map_err(Error::io("write", path))?;
        let parent = folder_of(path);
        let old = match fs::symlink_metadata(path) {
            Ok(_) => {
                let prefix = prefix(path.file_name().unwrap_or_default());
                let aside = Builder::new().prefix(&prefix).suffix(SUFFIX).tempdir_in(parent);
                let aside = aside.map_err(Error::io("create", path))?;
                fs::rename(path, aside.path().join("old")).map_err(Error::io("rename", path))?;
                Some(aside)
            }
            Err(_) => None,
        };
        if let Err(e) = fs::rename(self.temporary.path(), path) {
            if let Some(old) = &old {
                fs::rename(old.path().join("old"), path).map_err(Error::io("rename", path))?;
            }
            return Err(Error::io("rename", path)(e));
        }
        sync(parent);
        if let Some(old) = old {
            old.close().map_err(Error::io("remove", path))?;
        }
        Ok(())
    }
}

/// Refuses what is no file: a pipe never ends, and a device may never answer.
///
/// # Errors
/// A folder, a pipe, a device; the system's.
pub fn open(path: &Path) -> Result<File> {
    let is_file = |meta: &Metadata| meta.is_file();
    if !fs::metadata(path).as_ref().map_or(true, is_file) {
        let kind = if path.is_dir() { "a folder" } else { "a device or a pipe" };
        return Err(Error::data(path, None, format!("is {kind}, not a file"), "give the name of a file"));
    }
    File::open(path).map_err(Error::io("read", path))
}

/// Where a temporary file is on the disk of an output, whether that is there or not: the output if it is a folder, else the nearest folder
/// above it. The system's folder of temporary files is often memory.
pub fn nearest_folder(path: &Path) -> &Path {
    path.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."))
}

/// A name in [`UNFINISHED`] for as long as this value is there.
struct Listed(PathBuf);

impl Listed {
    fn new(path: &Path) -> Self {
        UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).push(path.into());
        Listed(path.into())
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).retain(|path| *path != self.0);
    }
}

fn prefix(name: &std::ffi::OsStr) -> String {
    format!(".{}.", name.to_string_lossy())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The permissions of any new file, where `tempfile` would keep others out.
fn ordinary(builder: &mut Builder, mode: u32) {
    #[cfg(unix)]
    builder.permissions(<Permissions as std::os::unix::fs::PermissionsExt>::from_mode(mode));
    #[cfg(not(unix))]
    let _ = (builder, mode, None::<Permissions>);
}

/// Locks what was just made. False if somebody took it for a leftover meanwhile.
fn is_ours(file: &File, path: &Path) -> bool {
    match file.try_lock() {
        Ok(()) => path.exists(),
        Err(fs::TryLockError::WouldBlock) => false,
        // a file system without locks: nobody can tell leftovers from others, and nobody removes any
        Err(fs::TryLockError::Error(_)) => true,
    }
}

/// Removes what killed writers of the same output left: temporary names without a lock.
fn remove_leftovers(folder: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(prefix) && name.ends_with(SUFFIX)) else {
            continue;
        };
        // exactly the names that are made here: letters and digits between the two
        let middle = name.get(prefix.len()..name.len() - SUFFIX.len()).unwrap_or("");
        if middle.is_empty() || !middle.chars().all(|c| c.is_ascii_alphanumeric()) {
            continue;
        }
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        if !kind.is_file() && !kind.is_dir() {
            continue;
        }
        let Ok(file) = File::open(&path) else { continue };
        if file.try_lock().is_ok() {
            _ = if kind.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        }
    }
}

/// The name is on the disk when its folder is; if a folder can't be flushed, the file is whole all the same.
fn sync(folder: &Path) {
    _ = File::open(folder).and_then(|folder| folder.sync_all());
}

/// Everything below a folder, and the folder.
fn flush(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => flush(&entry.path())?,
            false => File::open(entry.path())?.sync_all()?,
        }
    }
    match File::open(folder)?.sync_all() {
        Err(e) if e.kind() != ErrorKind::InvalidInput => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn put(path: &Path, text: &str) -> Result<()> {
        write_beside(path, |file| file.write_all(text.as_bytes()).map_err(Error::io("write", path)))
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.csv");
        put(&path, "old").unwrap();
        let failed = write_beside(&path, |file| {
            file.write_all(b"half").unwrap();
            Err(Error::setting("out", "x", "full"))
        });
        assert!(failed.is_err());
        assert_eq!((names(dir.path()), fs::read_to_string(&path).unwrap()), (vec!["m.csv".to_string()], "old".into()));
    }

    #[test]
    fn leftovers_of_dead_writers_go_and_those_of_living_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.csv");
        let (living, file) = NewFile::create(&path).unwrap();
        let living_name = living.temporary.file_name().unwrap().to_string_lossy().into_owned();
        fs::write(dir.path().join(".m.csv.a1B2c3.part"), "dead").unwrap();
        fs::create_dir(dir.path().join(".m.csv.d4E5f6.part")).unwrap();
        fs::write(dir.path().join(".m.csv.notes.txt.part"), "somebody's").unwrap();
        fs::write(dir.path().join(".other.csv.a1B2c3.part"), "another output's").unwrap();
        put(&path, "new").unwrap();
        let mut expected = vec![".m.csv.notes.txt.part", ".other.csv.a1B2c3.part", &living_name, "m.csv"];
        expected.sort();
        assert_eq!(names(dir.path()), expected);
        living.commit(file).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }

    #[cfg(unix)]
    #[test]
    fn a_replaced_file_keeps_its_permissions_and_a_new_one_has_ordinary_ones() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (path, ordinary) = (dir.path().join("m.csv"), dir.path().join("ordinary"));
        fs::write(&ordinary, "").unwrap();
        put(&path, "1").unwrap();
        assert_eq!(mode(&path), mode(&ordinary));
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        put(&path, "2").unwrap();
        assert_eq!(mode(&path), 0o640);
        let (folder, ordinary) = (dir.path().join("new"), dir.path().join("folder"));
        fs::create_dir(&ordinary).unwrap();
        NewFolder::create(&folder).unwrap().commit().unwrap();
        assert_eq!(mode(&folder), mode(&ordinary));
    }

    #[test]
    fn a_folder_replaces_another_when_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/model");
        for text in ["first", "second"] {
            let folder = NewFolder::create(&path).unwrap();
            fs::write(folder.path().join("a"), text).unwrap();
            folder.commit().unwrap();
            assert_eq!(fs::read_to_string(path.join("a")).unwrap(), text);
        }
        drop(NewFolder::create(&path).unwrap());
        assert_eq!(names(&dir.path().join("deep")), ["model"]);
    }

    #[test]
    fn the_nearest_folder_is_the_output_or_above_it() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path(), dir.path().join("a"));
        fs::write(&file, "x").unwrap();
        for path in [folder, &file, &folder.join("none/deep"), &file.join("below")] {
            assert_eq!(nearest_folder(path), folder, "{}", path.display());
        }
        assert_eq!(nearest_folder(Path::new("no-such-folder")), Path::new("."));
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(open(dir.path()).unwrap_err().to_string().contains("is a folder"));
        assert!(open(&dir.path().join("none")).unwrap_err().to_string().contains("check the name"));
        let device = Path::new("/dev/null");
        if device.exists() {
            assert!(open(device).unwrap_err().to_string().contains("is a device or a pipe"));
            assert!(put(device, "x").unwrap_err().to_string().contains("is a device or a pipe"));
        }
    }
}
