//! Many strings in one file, found by number: `bytes | starts, u64 [n + 1] | n, u64 | mark`. Numbers are little-endian, the starts
//! begin at a multiple of 8. Written in one pass, read through a map.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::nn::kernels::Mapped;
use crate::{Error, Result};

/// The last bytes of a file.
const MARK: &[u8; 8] = b"SVSTR\0\0\x01";

/// Strings on their way into a file.
pub struct StringsWriter {
    path: PathBuf,
    out: BufWriter<File>,
    starts: Vec<u64>,
    at: u64,
}

impl StringsWriter {
    /// Begins a new file.
    ///
    /// # Errors
    /// The system's.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create_new(path).map_err(Error::io("create", path))?;
        Ok(StringsWriter { path: path.into(), out: BufWriter::with_capacity(1 << 18, file), starts: vec![], at: 0 })
    }

    /// Adds one string.
    ///
    /// # Errors
    /// The system's.
    pub fn push(&mut self, text: &str) -> Result<()> {
        self.starts.push(self.at);
        self.at += text.len() as u64;
        self.out.write_all(text.as_bytes()).map_err(Error::io("write", &self.path))
    }

    /// Ends the file.
    ///
    /// # Errors
    /// The system's.
    pub fn finish(mut self) -> Result<()> {
        let count = self.starts.len() as u64;
        self.starts.push(self.at);
        let padding = [0; 8];
        let mut write = || -> std::io::Result<()> {
            self.out.write_all(&padding[..(self.at.next_multiple_of(8) - self.at) as usize])?;
            self.starts.iter().try_for_each(|start| self.out.write_all(&start.to_le_bytes()))?;
            self.out.write_all(&count.to_le_bytes())?;
            self.out.write_all(MARK)?;
            self.out.flush()
        };
        write().map_err(Error::io("write", &self.path))
    }
}

/// The strings of a file.
pub struct Strings {
    path: PathBuf,
    map: Mapped,
    count: usize,
    /// Where the starts begin.
    table: usize,
}

impl Strings {
    /// Opens a file.
    ///
    /// # Errors
    /// A file that is cut short or of another kind; the system's.
    pub fn open(path: &Path) -> Result<Self> {
        let map = Mapped::open(path)?;
        let layout = || -> Option<(usize, usize)> {
            let tail = map.len().checked_sub(16)?;
            let count = usize::try_from(number(&map, tail)?).ok()?;
            let table = tail.checked_sub(count.checked_add(1)?.checked_mul(8)?)?;
            let bytes = number(&map, tail - 8)? as usize;
            (map[tail + 8..] == *MARK && bytes.next_multiple_of(8) == table).then_some((count, table))
        };
        let Some((count, table)) = layout() else { return Err(damaged(path)) };
        Ok(Strings { path: path.into(), map, count, table })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// One of them.
    ///
    /// # Errors
    /// Bytes that are no text: the file is damaged.
    ///
    /// # Panics
    /// A number past the last.
    pub fn get(&self, at: usize) -> Result<&str> {
        assert!(at < self.count, "string {at} of {}", self.count);
        let start = |at: usize| number(&self.map, self.table + 8 * at).map(|n| n as usize);
        let bytes = start(at).zip(start(at + 1)).and_then(|(from, to)| self.map[..self.table].get(from..to));
        bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).ok_or_else(|| damaged(&self.path))
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// A file of an index that is not what was written.
pub(super) fn damaged(path: &Path) -> Error {
    Error::data(path, None, "is cut short or damaged", "copy the index again, or build it again with `sverka index`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_back_and_a_file_that_is_cut_short_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let texts = ["", "лампа", "a\nb\0c", "x"];
        for some in [&texts[..], &[]] {
            _ = std::fs::remove_file(&path);
            let mut writer = StringsWriter::create(&path).unwrap();
            some.iter().for_each(|text| writer.push(text).unwrap());
            writer.finish().unwrap();
            let strings = Strings::open(&path).unwrap();
            assert_eq!((0..strings.len()).map(|i| strings.get(i).unwrap()).collect::<Vec<_>>(), some);
            let bytes = std::fs::read(&path).unwrap();
            for length in 0..bytes.len() {
                std::fs::write(&path, &bytes[..length]).unwrap();
                assert!(Strings::open(&path).is_err(), "{length} of {} bytes", bytes.len());
            }
        }
        assert!(Strings::open(&path).err().unwrap().to_string().contains("cut short"));
    }
}
