//! Files that are whole or not there: written beside their place, flushed to the disk, renamed.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Writes a file beside `path`, flushes it to the disk and renames it. Where anything fails nothing is left behind, and
/// what stood under `path` stays.
///
/// # Errors
/// The closure's; a folder under this name; the system's.
pub fn write_beside(path: &Path, write: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    let (beside, mut file) = Beside::create(path)?;
    write(&mut file)?;
    beside.commit(file)
}

/// A file on its way; dropped before [`commit`](Beside::commit), it vanishes.
pub(super) struct Beside {
    path: PathBuf,
    beside: PathBuf,
    done: bool,
}

impl Beside {
    pub(super) fn create(path: &Path) -> Result<(Self, File)> {
        let Some(name) = path.file_name().filter(|_| !path.is_dir()) else {
            return Err(Error::setting("output", path.display(), "is a folder; give a file's name"));
        };
        let beside = path.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).open(&beside).or_else(|error| {
            // Left by a process of the same number that was killed.
            match error.kind() {
                std::io::ErrorKind::AlreadyExists => File::create(&beside),
                _ => Err(error),
            }
        });
        let file = file.map_err(Error::io("create", path))?;
        Ok((Beside { path: path.into(), beside, done: false }, file))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the file in its place.
    pub(super) fn commit(mut self, file: File) -> Result<()> {
        file.sync_all().map_err(Error::io("write", &self.path))?;
        drop(file);
        fs::rename(&self.beside, &self.path).map_err(Error::io("rename", &self.path))?;
        self.done = true;
        // The name is on the disk when its folder is; where a folder can't be flushed, the file is whole all the same.
        if let Some(folder) = self.path.parent() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            _ = File::open(folder).and_then(|f| f.sync_all());
        }
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.done {
            _ = fs::remove_file(&self.beside);
        }
    }
}
