//! Files mapped into memory: pages are read when they are looked at, and the system may take them back.

use std::ops::Deref;
use std::path::Path;

use crate::{Error, Result};

/// A file's bytes. Only for files that nobody writes to after they have their name, as those of an index: bytes that change would
/// be seen, and a file that is cut off while it is mapped ends the process.
#[derive(Debug)]
pub struct MappedFile(memmap2::Mmap);

impl MappedFile {
    /// Maps a file.
    ///
    /// # Errors
    /// What is no file; the system's.
    pub fn open(path: &Path) -> Result<Self> {
        let file = crate::files::open(path)?;
        // SAFETY: the map is read only, and the files that it is made for are never written again (see above).
        let map = unsafe { memmap2::Mmap::map(&file) };
        map.map(MappedFile).map_err(Error::io("read", path))
    }
}

impl Deref for MappedFile {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}
