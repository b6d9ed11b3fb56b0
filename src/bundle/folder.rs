//! A model's folder, whole or not there.

use std::fs;
use std::path::Path;

use crate::files::NewFolder;
use crate::{Error, Result};

/// Fills a new folder and gives it its name. If anything fails, nothing is left over and what was there stays. `force`
/// replaces a folder with a model, or an empty one.
pub(super) fn write(dir: &Path, force: bool, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let exists = fs::symlink_metadata(dir).is_ok();
    if exists && !force {
        return Err(Error::Exists(dir.into()));
    }
    if exists && !replaceable(dir) {
        return Err(Error::setting("output", dir.display(), "holds something other than a model; give another name"));
    }
    let folder = NewFolder::create(dir)?;
    fill(folder.path()).map_err(|e| e.with_path(folder.path(), dir))?;
    folder.commit()
}

/// An empty folder or a model's.
fn replaceable(dir: &Path) -> bool {
    let is_folder = fs::symlink_metadata(dir).is_ok_and(|m| m.is_dir());
    is_folder && (dir.join("config.json").is_file() || fs::read_dir(dir).is_ok_and(|mut d| d.next().is_none()))
}
