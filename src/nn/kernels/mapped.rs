//! A file as memory, read only.

use std::ops::Deref;
use std::path::Path;

use memmap2::{Advice, Mmap};

use crate::{Error, Result};

/// The bytes of a file, in memory only as far as they are looked at, and given back by the system where it needs the room.
/// They begin at a page, so every type of plain numbers is aligned.
pub struct Mapped(Option<Mmap>);

impl Mapped {
    /// Maps a whole file. Nobody may write to it or cut it while it is mapped: only files that are never changed after
    /// they got their name are read in this way.
    ///
    /// # Errors
    /// The system's; what is no file.
    pub fn open(path: &Path) -> Result<Self> {
        let file = crate::files::open(path)?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        if length == 0 {
            return Ok(Mapped(None)); // no system maps nothing
        }
        // SAFETY: read only, and the files are written once, renamed, and replaced as a whole, never changed in place.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io("read", path))?;
        Ok(Mapped(Some(map)))
    }

    /// Says that places far apart will be read, so that reading ahead is no use.
    pub fn read_at_random(&self) {
        if let Some(map) = &self.0 {
            // a hint: nothing depends on it
            _ = map.advise(Advice::Random);
        }
    }
}

impl Deref for Mapped {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_its_bytes_and_an_empty_one_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, b"abc").unwrap();
        assert_eq!(&*Mapped::open(&path).unwrap(), b"abc");
        std::fs::write(&path, b"").unwrap();
        assert!(Mapped::open(&path).unwrap().is_empty());
        assert!(Mapped::open(&dir.path().join("none")).is_err());
    }
}
