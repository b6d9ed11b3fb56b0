//! An array in memory or in a file: what an index is made of.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use bytemuck::Pod;

use crate::nn::kernels::Mapped;
use crate::{Error, Result};

/// Numbers, `[n]`, little-endian in a file.
pub(super) enum Array<T> {
    Memory(Vec<T>),
    Mapped(Mapped),
}

impl<T: Pod> Array<T> {
    /// The array in a file, which must have `length` numbers.
    ///
    /// # Errors
    /// The system's; a file of another length.
    pub(super) fn open(path: &Path, length: u64) -> Result<Self> {
        if cfg!(target_endian = "big") {
            let what = "indexes are little-endian";
            return Err(Error::data(path, None, what, "use a machine with that order of bytes"));
        }
        let mapped = Mapped::open(path)?;
        let (found, expected) = (mapped.len() as u64, length.checked_mul(size_of::<T>() as u64));
        if Some(found) != expected {
            let expected = expected.map_or("far more".into(), |n| n.to_string());
            let what = format!("{found} bytes where the index has {expected}: cut short or of another index");
            return Err(Error::data(path, None, what, "build the index again"));
        }
        Ok(Array::Mapped(mapped))
    }
}

impl<T: Pod> Deref for Array<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        match self {
            Array::Memory(values) => values,
            // whole pages, and the length was checked
            Array::Mapped(bytes) => bytemuck::cast_slice(bytes),
        }
    }
}

/// Where an array is being written.
pub(super) enum Sink<T> {
    Memory(Vec<T>),
    File(PathBuf, BufWriter<File>, u64),
}

impl<T: Pod> Sink<T> {
    /// A file of this name in a folder, or memory without one.
    pub(super) fn new(dir: Option<&Path>, name: &str) -> Result<Self> {
        let Some(dir) = dir else { return Ok(Sink::Memory(Vec::new())) };
        let path = dir.join(name);
        let file = File::create_new(&path).map_err(Error::io("create", &path))?;
        Ok(Sink::File(path, BufWriter::with_capacity(1 << 20, file), 0))
    }

    pub(super) fn extend(&mut self, values: &[T]) -> Result<()> {
        match self {
            Sink::Memory(all) => all.extend_from_slice(values),
            Sink::File(path, file, length) => {
                file.write_all(bytemuck::cast_slice(values)).map_err(Error::io("write", path))?;
                *length += values.len() as u64;
            }
        }
        Ok(())
    }

    /// The array, to be read.
    pub(super) fn finish(self) -> Result<Array<T>> {
        match self {
            Sink::Memory(values) => Ok(Array::Memory(values)),
            Sink::File(path, mut file, length) => {
                file.flush().map_err(Error::io("write", &path))?;
                drop(file);
                Array::open(&path, length)
            }
        }
    }
}
