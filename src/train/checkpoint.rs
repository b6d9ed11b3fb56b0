//! Everything a run needs to go on after `kill -9` as if nothing had happened.
//!
//! A folder with `state.json` and the files that it names: `step-N.safetensors` (values, both moments, the moving average)
//! and `best-N.safetensors` (the best weights so far, written once per new best). A new checkpoint's arrays are written
//! under their own names and flushed to the disk; then `state.json` is replaced by a rename, which is the moment the new
//! checkpoint begins to count; then files that it does not name are removed. At every moment one complete checkpoint
//! exists. Randomness has no state to save: everything is drawn from `(seed, epoch)` or `(seed, step, piece)`
//! ([`super::seed`]), so the seed, the epoch and the place in it are the whole state of the data's order.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::progress::Validation;
use crate::files::write_beside;
use crate::{Error, Result};

/// The version of the layout.
pub const VERSION: u32 = 1;

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
/// over when it fails.
pub fn write_arrays(dir: &Path, name: &str, arrays: &[(String, Floats)]) -> Result<()> {
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
    write_beside(&path, |file| {
        let write = || {
            let mut file = BufWriter::with_capacity(1 << 20, file);
            file.write_all(&(header.len() as u64).to_le_bytes())?;
            file.write_all(header.as_bytes())?;
            for (_, array) in arrays {
                array.data.iter().try_for_each(|piece| file.write_all(piece))?;
            }
            file.flush()
        };
        write().map_err(Error::io("write", &path))
    })
    .map_err(kept)
}

/// Makes `state` count, then removes checkpoint files that it does not name.
pub fn commit(dir: &Path, state: &State) -> Result<()> {
    let path = dir.join("state.json");
    let text = serde_json::to_vec_pretty(state)
        .map_err(|e| Error::Internal { op: "write checkpoint", what: e.to_string() })?;
    write_beside(&path, |file| file.write_all(&text).map_err(Error::io("write", &path))).map_err(kept)?;
    let entries = std::fs::read_dir(dir).map_err(Error::io("read", dir))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let named = name == "state.json" || name == state.arrays || state.best_arrays.as_ref() == Some(&name);
        if !named && (name.ends_with(".safetensors") || name.ends_with(".part")) {
            std::fs::remove_file(entry.path()).map_err(Error::io("remove", &entry.path()))?;
        }
    }
    Ok(())
}

/// The state of the last complete checkpoint, `None` where there is none.
pub fn state(dir: &Path) -> Result<Option<State>> {
    let path = dir.join("state.json");
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
    let broken = |what: String| Error::model(&path, "checkpoint", what, "start the run anew in another folder");
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(|e| broken(e.to_string()))?;
    match value["version"].as_u64() {
        Some(v) if v == u64::from(VERSION) => {
            serde_json::from_value(value).map(Some).map_err(|e| broken(e.to_string()))
        }
        v => {
            let what = format!("is {}, this program reads {VERSION}", v.map_or("missing".into(), |v| v.to_string()));
            Err(Error::model(&path, "version", what, "go on with the program that began the run"))
        }
    }
}

/// All arrays of a file by name.
pub fn read_arrays(path: &Path) -> Result<BTreeMap<String, Vec<f32>>> {
    let remedy = "the checkpoint is damaged: start the run anew in another folder";
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| Error::model(path, "header", e.to_string(), remedy))?;
    let mut arrays = BTreeMap::new();
    for (name, tensor) in file.iter() {
        let (floats, halves) = (tensor.data().as_chunks::<4>().0, tensor.data().as_chunks::<2>().0);
        let values = match tensor.dtype() {
            Dtype::F32 => floats.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::BF16 => halves.iter().map(|b| half::bf16::from_le_bytes(*b).to_f32()).collect(),
            other => return Err(Error::model(path, name, format!("is {other:?}, not F32 or BF16"), remedy)),
        };
        arrays.insert(name.to_string(), values);
    }
    Ok(arrays)
}

/// Takes an array of the wanted length out of what [`read_arrays`] gave.
pub fn take(arrays: &mut BTreeMap<String, Vec<f32>>, path: &Path, name: &str, length: usize) -> Result<Vec<f32>> {
    let remedy = "the checkpoint belongs to another network: start the run anew in another folder";
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

    #[test]
    fn an_attempt_that_dies_before_the_commit_leaves_the_old_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        write_arrays(dir.path(), "step-1.safetensors", &floats(&[1.0, f32::MIN_POSITIVE, -0.0])).unwrap();
        let first = State { version: VERSION, step: 1, arrays: "step-1.safetensors".into(), ..State::default() };
        commit(dir.path(), &first).unwrap();
        // Killed after the arrays, before the state; and killed while the state was being written.
        write_arrays(dir.path(), "step-2.safetensors", &floats(&[2.0; 3])).unwrap();
        std::fs::write(dir.path().join("state.json.part"), b"{\"vers").unwrap();
        let found = state(dir.path()).unwrap().unwrap();
        assert_eq!(found, first);
        let mut arrays = read_arrays(&dir.path().join(&found.arrays)).unwrap();
        let values = take(&mut arrays, dir.path(), "a", 3).unwrap();
        assert_eq!(
            values.iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
            [1.0f32, f32::MIN_POSITIVE, -0.0].map(f32::to_bits)
        );
        let second = State { step: 2, arrays: "step-2.safetensors".into(), ..first };
        commit(dir.path(), &second).unwrap();
        let mut names: Vec<_> = dir.path().read_dir().unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["state.json", "step-2.safetensors"]);
    }

    #[test]
    fn damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(state(dir.path()).unwrap().is_none());
        std::fs::write(dir.path().join("state.json"), b"{\"version\": 99}").unwrap();
        assert!(state(dir.path()).unwrap_err().to_string().contains("version: is 99"));
        write_arrays(dir.path(), "x.safetensors", &floats(&[1.0; 3])).unwrap();
        let path = dir.path().join("x.safetensors");
        let mut arrays = read_arrays(&path).unwrap();
        assert!(take(&mut arrays.clone(), &path, "a", 4).unwrap_err().to_string().contains("has 3 values"));
        assert!(take(&mut arrays, &path, "b", 3).unwrap_err().to_string().contains("is missing"));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(matches!(read_arrays(&path), Err(Error::Model { .. })));
    }

    #[test]
    fn a_failed_write_keeps_the_last_checkpoint_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        write_arrays(dir.path(), "step-1.safetensors", &floats(&[1.0; 3])).unwrap();
        let first = State { version: VERSION, arrays: "step-1.safetensors".into(), ..State::default() };
        commit(dir.path(), &first).unwrap();
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
