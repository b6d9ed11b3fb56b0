//! Text files that are whole or not there, gzipped where their name ends in `.gz`.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::files::write_beside;
use crate::{Error, Result};

/// Writes a text file under another name and renames it.
pub(super) fn write_text(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let is_packed = path.extension().is_some_and(|e| e == "gz");
    write_beside(path, |file| {
        let done = if is_packed {
            let mut out = GzEncoder::new(BufWriter::new(file), Compression::default());
            write(&mut out).and_then(|()| out.finish()?.flush())
        } else {
            let mut out = BufWriter::new(file);
            write(&mut out).and_then(|()| out.flush())
        };
        done.map_err(Error::io("write", path))
    })
}
