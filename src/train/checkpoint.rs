//! Everything a run needs to go on after `kill -9` as if nothing had happened.
//!
//! A folder with `state.json` and the files that it names: `step-N.safetensors` (values, both moments, the moving average)
//! and `best-N.safetensors` (the best weights so far, written once per new best). A new checkpoint's arrays are written
//! under their own names and flushed to the disk; then the old state becomes `previous.json`; then `state.json` is replaced by a
//! rename, which is the moment the new checkpoint begins to count; then files that neither names are removed. At every moment one
//! complete checkpoint exists, and from the second on also the one before it: every file has a checksum, and where one differs the
//! checkpoint before is offered. Randomness has no state to save: everything is drawn from `(seed, epoch)` or `(seed, step, piece)`
//! ([`super::seed`]), so the seed, the epoch and the place in it are the whole state of the data's order.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::progress::Validation;
use crate::files::write_beside;
use crate::{Error, Result};

/// The version of the layout.
pub const VERSION: u32 = 2;

/// What is not an array.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// [`VERSION`] of the program that wrote it.
    pub version: u32,
    /// The seed of everything drawn.
    pub seed: u64,
    /// Steps made.
    pub step: u64,
    /// The current epoch, from 0.
    pub epoch: u64,
    /// Steps made in the current epoch.
    pub position: u64,
    /// Steps of the current epoch.
    pub epoch_steps: u64,
    /// Updates the optimizer made (its bias correction).
    pub updates: u64,
    /// Items seen.
    pub items: u64,
    /// Seconds spent, over all runs and resumptions.
    pub seconds: f64,
    /// Validations so far.
    pub validations: Vec<Validation>,
    /// Value of the recipe's measure and step of the best validation. It must survive JSON to the bit, since the next
    /// validation is compared with it.
    pub best: Option<(f32, u64)>,
    /// Validations in a row without a new best.
    pub stale: u32,
    /// No further step is to be made.
    pub finished: bool,
    /// Length of `log.jsonl` in bytes: what came after it is made again.
    pub log_bytes: u64,
    /// File of the arrays.
    pub arrays: String,
    /// File of the best weights.
    pub best_arrays: Option<String>,
    /// SHA-256 of the files named here.
    pub checksums: BTreeMap<String, String>,
    /// SHA-256 of this state as JSON with this field empty.
    pub checksum: String,
}

impl State {
    fn own_checksum(&self) -> Result<String> {
        let json = serde_json::to_vec(&State { checksum: String::new(), ..self.clone() });
        json.map(|json| hex(Sha256::digest(json)))
            .map_err(|e| Error::Internal { op: "write checkpoint", what: e.to_string() })
    }
    fn names(&self, file: &str) -> bool {
        file == self.arrays || self.best_arrays.as_deref() == Some(file)
    }
    fn files(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.arrays).chain(&self.best_arrays)
    }
}

const STATE: &str = "state.json";
const PREVIOUS: &str = "previous.json";

fn hex(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hashes what it passes on.
struct Hashed<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// A borrowed array on its way to the disk.
pub struct Floats<'a> {
    /// Its axes.
    pub shape: &'a [usize],
    /// bfloat16, else f32.
    pub half: bool,
    /// The bytes of its values, in pieces that follow each other.
    pub data: Vec<&'a [u8]>,
}

impl<'a> Floats<'a> {
    /// Of f32 values at one place.
    pub fn of(shape: &'a [usize], data: &'a [f32]) -> Self {
        Floats { shape, half: false, data: vec![bytemuck::cast_slice(data)] }
    }
}

/// Adds what to do to a failed write of a checkpoint.
fn kept(error: Error) -> Error {
    let remedy = "the last complete checkpoint is kept: make room, then go on with --resume";
    match error {
        Error::Io { op, path, source } => {
            let source = std::io::Error::new(source.kind(), format!("{source}; {remedy}"));
            Error::Io { op, path, source }
        }
        other => other,
    }
}

/// Writes arrays to `dir/name` as safetensors, straight from where they are, and flushes them to the disk; nothing is left
/// over when it fails. Gives the file's SHA-256.
pub fn write_arrays(dir: &Path, name: &str, arrays: &[(String, Floats)]) -> Result<String> {
    let path = dir.join(name);
    let mut header = serde_json::Map::new();
    let mut offset = 0;
    for (name, array) in arrays {
        let end = offset + array.data.iter().map(|piece| piece.len()).sum::<usize>();
        let dtype = if array.half { "BF16" } else { "F32" };
        let entry = serde_json::json!({"dtype": dtype, "shape": array.shape, "data_offsets": [offset, end]});
        header.insert(name.clone(), entry);
        offset = end;
    }
    let mut header = serde_json::Value::Object(header).to_string();
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    let mut sum = String::new();
    write_beside(&path, |file| {
        let write = || {
            let mut file = BufWriter::with_capacity(1 << 20, Hashed { inner: file, hash: Sha256::new() });
            file.write_all(&(header.len() as u64).to_le_bytes())?;
            file.write_all(header.as_bytes())?;
            for (_, array) in arrays {
                array.data.iter().try_for_each(|piece| file.write_all(piece))?;
            }
            let hashed = file.into_inner().map_err(|e| e.into_error())?;
            Ok(hex(hashed.hash.finalize()))
        };
        sum = write().map_err(Error::io("write", &path))?;
        Ok(())
    })
    .map_err(kept)?;
    Ok(sum)
}

/// Makes `state` count and the one before it the previous one, then removes checkpoint files that neither names.
pub fn commit(dir: &Path, state: &State) -> Result<()> {
    let path = dir.join(STATE);
    let state = State { checksum: state.own_checksum()?, ..state.clone() };
    let json = |state: &State| {
        serde_json::to_vec_pretty(state).map_err(|e| Error::Internal { op: "write checkpoint", what: e.to_string() })
    };
    let write = |name: &str, text: &[u8]| {
        let path = dir.join(name);
        write_beside(&path, |file| file.write_all(text).map_err(Error::io("write", &path))).map_err(kept)
    };
    let before = read_state(&path).ok().flatten();
    if let Some(before) = &before {
        write(PREVIOUS, &json(before)?)?;
    }
    write(STATE, &json(&state)?)?;
    let entries = std::fs::read_dir(dir).map_err(Error::io("read", dir))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let named = state.names(&name) || before.as_ref().is_some_and(|before| before.names(&name));
        if !named && (name.ends_with(".safetensors") || name.ends_with(".part")) {
            std::fs::remove_file(entry.path()).map_err(Error::io("remove", &entry.path()))?;
        }
    }
    Ok(())
}

/// The state of the last complete checkpoint, `None` if there is none. Its files are checked when they are read.
///
/// # Errors
/// A damaged checkpoint; the error says how to go on from the one before it, if that is whole.
pub fn state(dir: &Path) -> Result<Option<State>> {
    let path = dir.join(STATE);
    let found = match read_state(&path) {
        Ok(None) if dir.join(PREVIOUS).exists() => Err(StateFault::Damaged("is missing".into())),
        found => found,
    };
    found.map_err(|what| match what {
        StateFault::Other(error) => error,
        StateFault::Damaged(what) => damaged(dir, &path, &what),
    })
}

enum StateFault {
    Damaged(String),
    Other(Error),
}

fn read_state(path: &Path) -> std::result::Result<Option<State>, StateFault> {
    let text = match std::fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|e| StateFault::Other(Error::io("read", path)(e)))?,
    };
    let damaged = |e: serde_json::Error| StateFault::Damaged(e.to_string());
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(damaged)?;
    match value["version"].as_u64() {
        Some(v) if v == u64::from(VERSION) => {}
        v => {
            let what = format!("is {}, this program reads {VERSION}", v.map_or("missing".into(), |v| v.to_string()));
            let remedy = "go on with the program that began the run";
            return Err(StateFault::Other(Error::model(path, "version", what, remedy)));
        }
    }
    let state: State = serde_json::from_value(value).map_err(damaged)?;
    if state.own_checksum().map_err(StateFault::Other)? != state.checksum {
        return Err(StateFault::Damaged("is not what was written (its checksum differs)".into()));
    }
    Ok(Some(state))
}

/// An error about a damaged file of the last checkpoint, with the checkpoint before it if all its files are whole.
fn damaged(dir: &Path, path: &Path, what: &str) -> Error {
    let previous = read_state(&dir.join(PREVIOUS)).ok().flatten().filter(|previous| {
        previous.files().all(|name| read_checked(dir, previous, name).is_ok_and(|bytes| bytes.is_ok()))
    });
    let remedy = match previous {
        Some(previous) => format!(
            "the checkpoint before it, of step {}, is whole: rename {PREVIOUS} there to {STATE}, then go on with --resume",
            previous.step
        ),
        None => "the checkpoint is damaged: start the run again in another folder".into(),
    };
    Error::model(path, "checkpoint", what, remedy)
}

/// The bytes of a file that a state names; the inner error says what is wrong with them.
fn read_checked(dir: &Path, state: &State, name: &str) -> Result<std::result::Result<Vec<u8>, String>> {
    let path = dir.join(name);
    let bytes = match std::fs::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Err("is missing".into())),
        bytes => bytes.map_err(Error::io("read", &path))?,
    };
    let is_whole = state.checksums.get(name).is_some_and(|sum| *sum == hex(Sha256::digest(&bytes)));
    Ok(if is_whole { Ok(bytes) } else { Err("is not what was written (its checksum differs)".into()) })
}

/// All arrays by name of a file that a state names.
///
/// # Errors
/// A damaged file; the error says how to go on from the checkpoint before it, if that is whole.
pub fn read_arrays(dir: &Path, state: &State, name: &str) -> Result<BTreeMap<String, Vec<f32>>> {
    let path = dir.join(name);
    let bytes = read_checked(dir, state, name)?.map_err(|what| damaged(dir, &path, &what))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| damaged(dir, &path, &e.to_string()))?;
    let mut arrays = BTreeMap::new();
    for (name, tensor) in file.iter() {
        let (floats, halves) = (tensor.data().as_chunks::<4>().0, tensor.data().as_chunks::<2>().0);
        let values = match tensor.dtype() {
            Dtype::F32 => floats.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::BF16 => halves.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32()).collect(),
            other => return Err(damaged(dir, &path, &format!("{name} is {other:?}, not F32 or BF16"))),
        };
        arrays.insert(name.to_string(), values);
    }
    Ok(arrays)
}

/// Takes an array of the wanted length out of what [`read_arrays`] gave.
pub fn take(arrays: &mut BTreeMap<String, Vec<f32>>, path: &Path, name: &str, length: usize) -> Result<Vec<f32>> {
    let remedy = "the checkpoint belongs to another network: start the run again in another folder";
    let array = arrays.remove(name).ok_or_else(|| Error::model(path, name, "is missing", remedy))?;
    if array.len() != length {
        return Err(Error::model(path, name, format!("has {} values, not {length}", array.len()), remedy));
    }
    Ok(array)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(data: &[f32]) -> [(String, Floats<'_>); 1] {
        [("a".to_string(), Floats::of(&[3], data))]
    }

    /// Writes a whole checkpoint of one array.
    fn save(dir: &Path, step: u64, data: &[f32]) -> State {
        let arrays = format!("step-{step}.safetensors");
        let sum = write_arrays(dir, &arrays, &floats(data)).unwrap();
        let checksums = [(arrays.clone(), sum)].into();
        commit(dir, &State { version: VERSION, step, arrays, checksums, ..State::default() }).unwrap();
        state(dir).unwrap().unwrap()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            dir.read_dir().unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_attempt_that_dies_before_the_commit_leaves_the_old_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let first = save(dir.path(), 1, &[1.0, f32::MIN_POSITIVE, -0.0]);
        // Killed after the arrays, before the state; and killed while the state was being written.
        write_arrays(dir.path(), "step-2.safetensors", &floats(&[2.0; 3])).unwrap();
        std::fs::write(dir.path().join("state.json.part"), b"{\"vers").unwrap();
        let found = state(dir.path()).unwrap().unwrap();
        assert_eq!(found, first);
        let mut arrays = read_arrays(dir.path(), &found, &found.arrays).unwrap();
        let values = take(&mut arrays, dir.path(), "a", 3).unwrap();
        assert_eq!(
            values.iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
            [1.0f32, f32::MIN_POSITIVE, -0.0].map(f32::to_bits)
        );
        save(dir.path(), 2, &[2.0; 3]);
        save(dir.path(), 3, &[3.0; 3]);
        assert_eq!(names(dir.path()), ["previous.json", "state.json", "step-2.safetensors", "step-3.safetensors"]);
    }

    #[test]
    fn one_changed_byte_of_any_file_is_refused_and_the_checkpoint_before_is_offered() {
        for file in ["state.json", "step-2.safetensors"] {
            let dir = tempfile::tempdir().unwrap();
            let first = save(dir.path(), 1, &[1.0; 3]);
            save(dir.path(), 2, &[2.0; 3]);
            let path = dir.path().join(file);
            let mut bytes = std::fs::read(&path).unwrap();
            let at = match file {
                "state.json" => bytes.windows(7).position(|w| w == b"\"step\":").unwrap() + 8,
                _ => bytes.len() - 1,
            };
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            let read = || state(dir.path()).map(Option::unwrap).and_then(|s| read_arrays(dir.path(), &s, &s.arrays));
            let error = read().unwrap_err();
            let text = error.to_string();
            assert!(error.is_user_error() && text.contains("of step 1, is whole"), "{file}: {text}");
            // what the error says works
            std::fs::rename(dir.path().join("previous.json"), dir.path().join("state.json")).unwrap();
            assert_eq!(state(dir.path()).unwrap().unwrap(), first);
            assert_eq!(read().unwrap()["a"], [1.0; 3]);
        }
    }

    #[test]
    fn damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(state(dir.path()).unwrap().is_none());
        let whole = save(dir.path(), 1, &[1.0; 3]);
        let mut arrays = read_arrays(dir.path(), &whole, &whole.arrays).unwrap();
        assert!(take(&mut arrays.clone(), dir.path(), "a", 4).unwrap_err().to_string().contains("has 3 values"));
        assert!(take(&mut arrays, dir.path(), "b", 3).unwrap_err().to_string().contains("is missing"));
        std::fs::remove_file(dir.path().join(&whole.arrays)).unwrap();
        let text = read_arrays(dir.path(), &whole, &whole.arrays).unwrap_err().to_string();
        assert!(text.contains("is missing") && text.contains("start the run again"), "{text}");
        save(dir.path(), 2, &[2.0; 3]);
        save(dir.path(), 3, &[3.0; 3]);
        std::fs::remove_file(dir.path().join("state.json")).unwrap();
        let text = state(dir.path()).unwrap_err().to_string();
        assert!(text.contains("is missing") && text.contains("of step 2, is whole"), "{text}");
        std::fs::remove_file(dir.path().join("previous.json")).unwrap();
        std::fs::write(dir.path().join("state.json"), b"{\"version\": 99}").unwrap();
        assert!(state(dir.path()).unwrap_err().to_string().contains("version: is 99"));
        std::fs::write(dir.path().join("state.json"), b"{\"vers").unwrap();
        assert!(state(dir.path()).unwrap_err().to_string().contains("start the run again"));
    }

    #[test]
    fn a_failed_write_keeps_the_last_checkpoint_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let first = save(dir.path(), 1, &[1.0; 3]);
        // a name that the file system does not take: the write fails, as on a full disk
        let name = format!("{}.safetensors", "x".repeat(300));
        let error = write_arrays(dir.path(), &name, &floats(&[2.0; 3])).unwrap_err();
        assert!(error.is_user_error() && error.to_string().contains("--resume"), "{error}");
        assert_eq!(state(dir.path()).unwrap().unwrap(), first);
        let mut names: Vec<_> = dir.path().read_dir().unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["state.json", "step-1.safetensors"]);
    }
}
