//! The folder next to an output in which `match` keeps what it has done: `m.csv.work` for `m.csv`.
//!
//! `plan.json` says of what the work is: fingerprints of the lists and the model, and every option that the parts depend on. A run that finds
//! the same plan goes on; one that finds another starts over. The lock keeps a second run out. When the output is there the folder is first
//! renamed to a name that the next writer of the same output removes, so that a crash in the middle of its removal leaves nothing for long.

use std::fs::{self, File, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::files::write_beside;
use crate::{Error, Result};

/// What a folder of work had in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkState {
    /// Nothing, or there was no folder.
    New,
    /// The work of another plan, which is gone now.
    Other,
    /// Work of this plan.
    Same,
}

/// A folder of work, locked. Dropped without a part of work in it, it is removed.
pub struct WorkFolder {
    dir: PathBuf,
    /// `None` when the folder is gone.
    lock: Option<File>,
}

impl WorkFolder {
    /// The folder's name for an output.
    pub fn name(out: &Path) -> PathBuf {
        let mut name = out.file_name().unwrap_or_default().to_os_string();
        name.push(".work");
        out.with_file_name(name)
    }

    /// Makes the folder of an output, or takes up the one that is there.
    ///
    /// # Errors
    /// Another process that works in it; a folder that is somebody else's; the system's.
    pub fn open(out: &Path, plan: &Value) -> Result<(Self, WorkState)> {
        let dir = Self::name(out);
        let is_old = dir.symlink_metadata().is_ok();
        if is_old && !is_ours(&dir) {
            let what = format!("{} is in the way: no folder of unfinished work; rename or remove it", dir.display());
            return Err(Error::setting("--out", out.display(), what));
        }
        fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
        let path = dir.join("lock");
        let lock = File::options().create(true).write(true).truncate(false).open(&path);
        let lock = lock.map_err(Error::io("create", &path))?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            let what = "another run is writing it; wait until it is done, or give another name";
            return Err(Error::setting("--out", out.display(), what));
        }
        let folder = WorkFolder { dir, lock: Some(lock) };
        let path = folder.dir.join("plan.json");
        let text = serde_json::to_vec_pretty(plan).map_err(|e| Error::Internal { op: "plan", what: e.to_string() })?;
        let found = fs::read(&path).ok();
        if found.as_ref() == Some(&text) {
            return Ok((folder, WorkState::Same));
        }
        folder.clear()?;
        fs::create_dir_all(folder.parts()).map_err(Error::io("create", &folder.parts()))?;
        write_beside(&path, |file| std::io::Write::write_all(file, &text).map_err(Error::io("write", &path)))?;
        Ok((folder, if found.is_some() { WorkState::Other } else { WorkState::New }))
    }

    /// Where the lists are kept, and their index. Made by the caller.
    pub fn lists(&self) -> PathBuf {
        self.dir.join("lists")
    }

    /// The folder of the parts.
    pub fn parts(&self) -> PathBuf {
        self.dir.join("parts")
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Removes the folder: the output is there.
    ///
    /// # Errors
    /// The system's.
    pub fn finish(mut self, out: &Path) -> Result<()> {
        self.lock = None;
        let name = out.file_name().unwrap_or_default().to_string_lossy();
        // as `files` names what is not finished
        let aside = out.with_file_name(format!(".{name}.{}.part", std::process::id()));
        fs::rename(&self.dir, &aside).map_err(Error::io("rename", &self.dir))?;
        fs::remove_dir_all(&aside).map_err(Error::io("remove", &aside))
    }

    fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(&self.dir).map_err(Error::io("read", &self.dir))?.flatten() {
            let path = entry.path();
            if entry.file_name() == "lock" {
                continue;
            }
            let gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            gone.map_err(Error::io("remove", &path))?;
        }
        Ok(())
    }
}

/// Removes a folder of work in which nothing is worth keeping. Gives whether something is.
pub fn tidy_up(dir: &Path) -> bool {
    let has_parts = fs::read_dir(dir.join("parts")).is_ok_and(|mut parts| {
        parts.any(|part| part.is_ok_and(|part| part.file_name().to_string_lossy().starts_with("part-")))
    });
    if !has_parts && is_ours(dir) {
        _ = fs::remove_dir_all(dir);
    }
    has_parts
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        if self.lock.take().is_some() {
            tidy_up(&self.dir);
        }
    }
}

/// Whether a folder has nothing but what is made here.
fn is_ours(dir: &Path) -> bool {
    let Ok(entries) = fs::read_dir(dir) else { return false };
    let is_known = |name: &str| {
        ["lock", "plan.json", "lists", "parts"].contains(&name) || (name.starts_with('.') && name.ends_with(".part"))
    };
    entries.flatten().all(|entry| is_known(&entry.file_name().to_string_lossy()))
}

/// SHA-256 of a file; `None` for what is no file, which can't be read twice.
pub fn fingerprint(path: &Path) -> Option<String> {
    let mut file = crate::files::open(path).ok()?;
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece).ok()? {
            0 => break,
            n => hash.update(&piece[..n]),
        }
    }
    Some(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_taken_up_by_the_same_plan_only_and_by_one_run() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("m.csv");
        let open = |plan: i32| WorkFolder::open(&out, &plan.into());
        let (first, state) = open(1).unwrap();
        assert_eq!(state, WorkState::New);
        assert!(open(1).err().unwrap().to_string().contains("another run"));
        drop(first);
        assert!(!WorkFolder::name(&out).exists(), "nothing was done");
        let (first, _) = open(1).unwrap();
        fs::write(first.parts().join("part-0000000"), "x").unwrap();
        drop(first);
        assert_eq!(open(1).unwrap().1, WorkState::Same);
        let (other, state) = open(2).unwrap();
        assert!(state == WorkState::Other && fs::read_dir(other.parts()).unwrap().count() == 0);
        other.finish(&out).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_of_somebody_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("m.csv");
        fs::create_dir(dir.path().join("m.csv.work")).unwrap();
        fs::write(dir.path().join("m.csv.work/notes.txt"), "mine").unwrap();
        assert!(WorkFolder::open(&out, &1.into()).err().unwrap().to_string().contains("in the way"));
        assert!(dir.path().join("m.csv.work/notes.txt").exists());
    }
}
