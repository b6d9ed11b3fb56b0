//! A run folder has one owner: the process that holds the lock on its `.lock`.
//!
//! The system gives the lock back when the process ends, however it ends, so that no lock is left by a kill.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::environment::NAME as ENVIRONMENT;
use crate::{Error, Result};

/// The name of the lock's file.
const NAME: &str = ".lock";

/// The right to write into a run folder, as long as it lives.
pub(super) struct Owner {
    _lock: File,
}

impl Owner {
    /// Takes a folder that is there.
    ///
    /// # Errors
    /// The folder has an owner: the error says which.
    pub(super) fn of(run_dir: &Path) -> Result<Self> {
        let path = run_dir.join(NAME);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = file.map_err(Error::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // who has it is a help, and not knowing it changes nothing
                let _ = file.read_to_string(&mut owner);
                let owner = if owner.trim().is_empty() { "another process" } else { owner.trim() };
                let what = format!("{owner} trains in this folder now; wait for its end, or choose another with --run");
                return Err(Error::setting("run", run_dir.display(), what));
            }
            // a file system without locks: as it was before there were any
            Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path)(e)),
        }
        let owner = format!("process {}\n", std::process::id());
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(owner.as_bytes()));
        written.map_err(Error::io("write", &path))?;
        Ok(Owner { _lock: file })
    }
}

/// Whether a file of a run folder may be there before the run has begun: the lock, what it runs on,
/// and a recipe on its way when the run was killed.
pub(super) fn is_before_the_run(name: &str) -> bool {
    let is_part_of = |of: &str| name.starts_with(&format!(".{of}.")) && name.ends_with(".part");
    name == NAME || name == ENVIRONMENT || is_part_of(ENVIRONMENT) || is_part_of("recipe.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner_and_the_second_hears_who_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let first = Owner::of(dir.path()).unwrap();
        let error = Owner::of(dir.path()).err().unwrap();
        assert!(error.is_user_error(), "{error}");
        assert!(error.to_string().contains(&format!("process {} trains", std::process::id())), "{error}");
        drop(first);
        Owner::of(dir.path()).unwrap();
    }
}
