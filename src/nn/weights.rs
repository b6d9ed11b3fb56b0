//! Named arrays of a model, in f32, as they stand in a safetensors file.
//!
//! A file is untrusted: its header is checked against its length by the safetensors library before anything is allocated, every
//! array must have one of four types, and every value must be finite, so that a broken file is named here and not found out
//! by scores that are NaN. Storage is smaller than memory: f32, f16 and bf16 files are read, and our own int8.
//!
//! **int8 per output channel**: a matrix `X [out, in]` is stored as `X` (int8) and `X.scale` (f32, `[out]`); a value is
//! `X[o, i] * scale[o]`, with `scale[o] = max |row| / 127`, cut to 17 bits so that the product is exact: reading and writing
//! again gives the same bytes. For a table of embeddings an output channel is a row. Vectors, and matrices of few rows (heads, segments), stay f32: they weigh nothing and
//! each of their values counts.
//!
//! Refused: a memory map (a file cut short under a running server kills it), pickles (they run code), f64.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, View};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A dense row-major array.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Array {
    /// Its axes.
    pub shape: Vec<usize>,
    /// Its values, as many as the product of `shape`.
    pub data: Vec<f32>,
}

/// A model's arrays by name. Linear weights are `[out, in]`, as Hugging Face stores them.
#[derive(Debug, Clone, Default)]
pub struct Weights(pub BTreeMap<String, Array>);

/// How matrices are stored in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// As they are in memory.
    #[default]
    F32,
    /// Half the size, 8 bits of precision.
    Bf16,
    /// A quarter of the size: whole numbers with one scale per output channel.
    Int8,
}

/// Matrices of fewer rows than this are always f32.
const FEW_ROWS: usize = 16;
/// What follows the name of an int8 matrix in that of its scales.
const SCALE: &str = ".scale";

/// Reads a file's arrays. Integer arrays that old checkpoints carry along (`position_ids`) are left out.
///
/// # Errors
/// A file that is cut short, has a broken header, an array of another type, or a value that is not finite.
pub fn read_safetensors(path: &Path) -> Result<Weights> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| broken(path, bytes.len(), e))?;
    let mut weights = Weights::default();
    let names: Vec<&str> = file.names();
    for name in &names {
        let tensor = file.tensor(name).map_err(|e| broken(path, bytes.len(), e))?;
        let channels = || file.tensor(&format!("{name}{SCALE}")).ok();
        let bytes = tensor.data();
        let data: Vec<f32> = match tensor.dtype() {
            Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            Dtype::F16 => bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Dtype::BF16 => bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Dtype::I8 => {
                let scales = channels().ok_or_else(|| {
                    let what = format!("is int8 and has no {name}{SCALE}");
                    Error::model(path, *name, what, "quantise it with `sverka quantize`, or save it as f32")
                })?;
                int8(path, name, tensor.shape(), bytes, &scales)?
            }
            Dtype::I64 | Dtype::I32 if name.ends_with("position_ids") => continue,
            other => {
                let what = format!("is stored as {other:?}; only F32, F16, BF16 and int8 with scales can be read");
                return Err(Error::model(path, *name, what, "convert it to F32"));
            }
        };
        let scale_of = name.strip_suffix(SCALE).and_then(|of| file.tensor(of).ok());
        if let Some(index) = data.iter().position(|v| !v.is_finite()) {
            let what = format!("value {index} is {}", data[index]);
            return Err(Error::model(path, *name, what, "the file is damaged or its training diverged; fetch it anew"));
        }
        if scale_of.is_none_or(|t| t.dtype() != Dtype::I8) {
            weights.0.insert(name.to_string(), Array { shape: tensor.shape().to_vec(), data });
        }
    }
    Ok(weights)
}

/// `X * scale`, row by row.
fn int8(
    path: &Path,
    name: &str,
    shape: &[usize],
    bytes: &[u8],
    scales: &safetensors::tensor::TensorView,
) -> Result<Vec<f32>> {
    let &[rows, columns] = shape else {
        let what = format!("is int8 with {} axes; only matrices are stored so", shape.len());
        return Err(Error::model(path, name, what, "save it as f32"));
    };
    let key = format!("{name}{SCALE}");
    if scales.dtype() != Dtype::F32 || scales.shape() != [rows] {
        let what = format!("is {:?} {:?}, and {name} takes F32 [{rows}]", scales.dtype(), scales.shape());
        return Err(Error::model(path, key, what, "the file is damaged; write it anew with `sverka quantize`"));
    }
    let mut data = Vec::with_capacity(bytes.len());
    if columns > 0 {
        for (row, scale) in bytes.chunks_exact(columns).zip(scales.data().chunks_exact(4)) {
            let scale = f32::from_le_bytes([scale[0], scale[1], scale[2], scale[3]]);
            data.extend(row.iter().map(|&q| f32::from(q as i8) * scale));
        }
    }
    Ok(data)
}

fn broken(path: &Path, length: usize, e: SafeTensorError) -> Error {
    use SafeTensorError as E;
    let what = match e {
        E::HeaderTooSmall => format!("the file has {length} bytes, too few for a header"),
        E::HeaderTooLarge => "the header claims more bytes than any header has".to_string(),
        E::InvalidHeaderLength => format!("the header claims more bytes than the file's {length}"),
        E::MetadataIncompleteBuffer => {
            format!(
                "the header describes another number of bytes than the file's {length}: it was cut short or changed"
            )
        }
        E::InvalidOffset(name) => format!("the bytes of {name} overlap or lie outside the file"),
        E::TensorInvalidInfo | E::ValidationOverflow => "a tensor's shape does not fit its bytes".to_string(),
        other => other.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
    };
    Error::model(path, "header", what, "fetch or copy the file anew")
}

/// Writes arrays to a new file and flushes it to the disk. The same arrays always give the same bytes.
pub fn write_safetensors(path: &Path, weights: &Weights, storage: Storage) -> Result<()> {
    let mut stored = Vec::with_capacity(weights.0.len());
    for (name, array) in &weights.0 {
        let matrix = array.shape.len() == 2 && array.shape[0] >= FEW_ROWS;
        match storage {
            Storage::Bf16 if matrix => {
                let bytes = array.data.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect();
                stored
                    .push((name.clone(), Stored { dtype: Dtype::BF16, shape: &array.shape, bytes: Cow::Owned(bytes) }));
            }
            Storage::Int8 if matrix => {
                let (bytes, scales) = quantised(array);
                let scales = scales.iter().flat_map(|s| s.to_le_bytes()).collect();
                stored.push((name.clone(), Stored { dtype: Dtype::I8, shape: &array.shape, bytes: Cow::Owned(bytes) }));
                let scales = Stored { dtype: Dtype::F32, shape: &array.shape[..1], bytes: Cow::Owned(scales) };
                stored.push((format!("{name}{SCALE}"), scales));
            }
            _ => {
                let bytes = Cow::Borrowed(bytemuck::cast_slice(&array.data));
                stored.push((name.clone(), Stored { dtype: Dtype::F32, shape: &array.shape, bytes }));
            }
        }
    }
    // transformers refuses a file that does not say so
    let about = HashMap::from([("format".to_string(), "pt".to_string())]);
    safetensors::serialize_to_file(stored, Some(about), path).map_err(|e| match e {
        SafeTensorError::IoError(e) => Error::io("write", path)(e),
        other => Error::Internal { op: "write safetensors", what: other.to_string() },
    })?;
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::io("write", path))
}

/// Whole numbers `[out, in]` (as bytes) and scales `[out]` of a matrix.
fn quantised(array: &Array) -> (Vec<u8>, Vec<f32>) {
    let (rows, columns) = (array.shape[0], array.shape[1]);
    let (mut bytes, mut scales) = (Vec::with_capacity(array.data.len()), Vec::with_capacity(rows));
    for row in array.data.chunks_exact(columns.max(1)) {
        let (numbers, scale) = whole_numbers(row, 1.0);
        bytes.extend(numbers.into_iter().map(|q| q as u8));
        scales.push(scale);
    }
    scales.resize(rows, 0.0);
    (bytes, scales)
}

/// A row as whole numbers of -127 to 127 and their scale: `clip` of the largest magnitude / 127, cut to 17 bits. What lies
/// beyond is cut to 127; a row too small for a scale is 0.
pub(super) fn whole_numbers(row: &[f32], clip: f32) -> (Vec<i8>, f32) {
    let scale = clip * row.iter().fold(0.0f32, |most, v| most.max(v.abs())) / 127.0;
    let scale = if scale < 1e-30 { 0.0 } else { f32::from_bits(scale.to_bits() & !0x7f) };
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    (row.iter().map(|v| (v * inverse).round().clamp(-127.0, 127.0) as i8).collect(), scale)
}

/// An array's bytes on their way to a file.
struct Stored<'a> {
    dtype: Dtype,
    shape: &'a [usize],
    bytes: Cow<'a, [u8]>,
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights() -> Weights {
        let matrix = (0..20 * 3).map(|i| ((i * 37 % 101) as f32 - 50.0) / 7.0).collect();
        let arrays = [
            ("m.weight", Array { shape: vec![20, 3], data: matrix }),
            ("m.bias", Array { shape: vec![3], data: vec![0.1, -1e-9, 3e8] }),
            ("head.weight", Array { shape: vec![1, 3], data: vec![0.123, 4.5, -6.0] }),
        ];
        Weights(arrays.map(|(name, array)| (name.to_string(), array)).into())
    }

    fn written(storage: Storage) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        write_safetensors(&path, &weights(), storage).unwrap();
        (dir, path)
    }

    /// A file of one array.
    fn raw(dtype: &str, shape: &[usize], name: &str, data: &[u8]) -> Vec<u8> {
        let end = data.len();
        let header = format!(r#"{{"{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[0,{end}]}}}}"#);
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    fn error(bytes: &[u8]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        std::fs::write(&path, bytes).unwrap();
        let error = read_safetensors(&path).unwrap_err();
        assert!(error.is_user_error() && !error.to_string().contains('\n'), "{error}");
        assert!(error.to_string().contains("x.safetensors"), "{error}");
        error.to_string()
    }

    #[test]
    fn f32_comes_back_bit_for_bit() {
        let (_dir, path) = written(Storage::F32);
        assert_eq!(read_safetensors(&path).unwrap().0, weights().0);
    }

    #[test]
    fn smaller_storage_keeps_matrices_within_its_step_and_the_rest_exactly() {
        for (storage, step) in [(Storage::Bf16, 1.0 / 256.0), (Storage::Int8, 1.0 / 254.0)] {
            let (_dir, path) = written(storage);
            let (read, was) = (read_safetensors(&path).unwrap().0, weights().0);
            assert_eq!((&read["m.bias"], &read["head.weight"]), (&was["m.bias"], &was["head.weight"]));
            assert_eq!(read.keys().collect::<Vec<_>>(), was.keys().collect::<Vec<_>>());
            let rows = read["m.weight"].data.chunks(3).zip(was["m.weight"].data.chunks(3));
            for (a, b) in rows {
                let most = b.iter().fold(0.0f32, |m, v| m.max(v.abs()));
                assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= most * step * 1.001), "{storage:?} {a:?} {b:?}");
            }
            assert_ne!(read["m.weight"], was["m.weight"], "{storage:?} stores less than f32");
        }
    }

    #[test]
    fn int8_read_and_written_again_has_the_same_bytes() {
        let (dir, path) = written(Storage::Int8);
        let again = dir.path().join("again.safetensors");
        write_safetensors(&again, &read_safetensors(&path).unwrap(), Storage::Int8).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), std::fs::read(again).unwrap());
    }

    #[test]
    fn half_precision_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let data = [1.5f32, -0.25].map(|v| half::f16::from_f32(v).to_le_bytes()).concat();
        std::fs::write(&path, raw("F16", &[2], "a", &data)).unwrap();
        assert_eq!(read_safetensors(&path).unwrap().0["a"].data, [1.5, -0.25]);
    }

    #[test]
    fn every_truncation_is_an_error() {
        let (_dir, path) = written(Storage::Int8);
        let bytes = std::fs::read(path).unwrap();
        (0..bytes.len()).step_by(7).for_each(|n| drop(error(&bytes[..n])));
        assert!(error(&bytes[..bytes.len() - 1]).contains("cut short"));
    }

    #[test]
    fn a_header_may_not_claim_what_is_not_there() {
        let mut bytes = raw("F32", &[1], "a", &[0; 4]);
        for claim in [u64::MAX, 1 << 40, 5000] {
            bytes[..8].copy_from_slice(&claim.to_le_bytes());
            assert!(error(&bytes).contains("claims more bytes"));
        }
        let shape = usize::MAX / 2;
        assert!(error(&raw("F32", &[shape, 3], "a", &[0; 4])).contains("shape"));
        assert!(error(&raw("F32", &[1 << 40], "a", &[0; 4])).contains("shape"));
        error(&[&8u64.to_le_bytes()[..], b"not json"].concat());
    }

    #[test]
    fn an_array_that_can_not_be_used_is_named() {
        assert!(error(&raw("F64", &[1], "a.weight", &[0; 8])).contains("a.weight: is stored as F64"));
        assert!(error(&raw("I8", &[1, 2], "a.weight", &[0; 2])).contains("a.weight.scale"));
        let nan = [1f32.to_le_bytes(), f32::NAN.to_le_bytes()].concat();
        assert!(error(&raw("F32", &[2], "a.weight", &nan)).contains("a.weight: value 1 is NaN"));
        let infinite = half::bf16::INFINITY.to_le_bytes();
        assert!(error(&raw("BF16", &[1], "b", &infinite)).contains("b: value 0 is inf"));
    }
}
