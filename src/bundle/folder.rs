//! A folder written beside its final name, flushed and renamed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Fills a new folder and gives it its name. Where anything fails, nothing is left behind and what stood there stays. `force`
/// replaces a folder that holds a model, or nothing.
pub(super) fn write(dir: &Path, force: bool, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let Some(name) = dir.file_name() else {
        return Err(Error::setting("output", dir.display(), "give the name of a folder to be made"));
    };
    let exists = fs::symlink_metadata(dir).is_ok();
    if exists && !force {
        return Err(Error::Exists(dir.into()));
    }
    if exists && !replaceable(dir) {
        return Err(Error::setting("output", dir.display(), "holds something other than a model; give another name"));
    }
    let sibling = |kind: &str| dir.with_file_name(format!(".{}.{}.{kind}", name.to_string_lossy(), std::process::id()));
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    let beside = Beside(sibling("part"));
    let _ = fs::remove_dir_all(&beside.0); // left by a process of the same number that was killed
    fs::create_dir(&beside.0).map_err(Error::io("create", dir))?;
    fill(&beside.0).map_err(|e| e.with_path(&beside.0, dir))?;
    flush(&beside.0).map_err(Error::io("write", dir))?;
    let old = sibling("old");
    if exists {
        fs::rename(dir, &old).map_err(Error::io("rename", dir))?;
    }
    if let Err(e) = fs::rename(&beside.0, dir) {
        if exists {
            fs::rename(&old, dir).map_err(Error::io("rename", &old))?;
        }
        return Err(Error::io("rename", dir)(e));
    }
    if exists {
        fs::remove_dir_all(&old).map_err(Error::io("remove", &old))?;
    }
    Ok(())
}

/// An empty folder or a model's.
fn replaceable(dir: &Path) -> bool {
    let is_folder = fs::symlink_metadata(dir).is_ok_and(|m| m.is_dir());
    is_folder && (dir.join("config.json").is_file() || fs::read_dir(dir).is_ok_and(|mut d| d.next().is_none()))
}

fn flush(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        File::open(entry?.path())?.sync_all()?;
    }
    File::open(dir)?.sync_all()
}

/// Removed when dropped, unless it has been renamed.
struct Beside(PathBuf);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
