//! Named arrays of a model, as they are in a safetensors file.
//!
//! A file is untrusted: its header is checked against its length by the safetensors library before anything is allocated, every
//! array must have one of four types, and every value must be finite, so that a broken file is named here and not found out
//! by scores that are NaN. f32, f16 and bf16 files are read as f32, and our own int8 stays int8.
//!
//! **int8 per output channel**: a matrix `X [out, in]` is stored as `X` (int8) and `X.scale` (f32, `[out]`); a value is
//! `X[o, i] * scale[o]` ([`QuantizedMatrix`]). Vectors, and matrices of few rows (heads, segments), stay f32: they weigh nothing
//! and each of their values counts.
//!
//! Refused: a memory map (a file cut short under a running server kills it), pickles (they run code), f64.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;

use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, View};
use serde::{Deserialize, Serialize};

use super::quantized::{Matrix, QuantizedMatrix};
use crate::{Error, Result};

/// A dense row-major array, f32 or int8.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Its axes.
    pub shape: Vec<usize>,
    data: Data,
}

#[derive(Debug, Clone, PartialEq)]
enum Data {
    F32(Vec<f32>),
    Int8(QuantizedMatrix),
}

impl Array {
    /// f32 values.
    ///
    /// # Panics
    /// If there are not as many as the product of `shape`.
    pub fn new(shape: Vec<usize>, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), shape.iter().product::<usize>(), "values of shape {shape:?}");
        Array { shape, data: Data::F32(values) }
    }
    /// Number of values.
    pub fn len(&self) -> usize {
        self.matrix().len()
    }
    /// Without a value?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// As it is stored.
    pub fn matrix(&self) -> Matrix<'_> {
        match &self.data {
            Data::F32(values) => Matrix::F32(values),
            Data::Int8(matrix) => Matrix::Int8(matrix),
        }
    }
    /// Its values; a copy if it is int8.
    pub fn values(&self) -> Cow<'_, [f32]> {
        self.matrix().values()
    }
    /// Its values, to be changed: an int8 array becomes f32.
    pub fn values_mut(&mut self) -> &mut [f32] {
        if let Data::Int8(matrix) = &self.data {
            self.data = Data::F32(matrix.to_f32());
        }
        match &mut self.data {
            Data::F32(values) => values,
            Data::Int8(_) => unreachable!("it has just become f32"),
        }
    }
    /// Its values.
    pub fn into_values(self) -> Vec<f32> {
        match self.data {
            Data::F32(values) => values,
            Data::Int8(matrix) => matrix.to_f32(),
        }
    }
    /// The rows of these numbers of a matrix, in this order.
    ///
    /// # Panics
    /// If it has no such row, or is no matrix.
    pub fn select_rows(&self, rows: &[usize]) -> Self {
        let &[_, columns] = self.shape.as_slice() else { panic!("no matrix: {:?}", self.shape) };
        let data = match &self.data {
            Data::F32(values) => {
                Data::F32(rows.iter().flat_map(|row| &values[row * columns..][..columns]).copied().collect())
            }
            Data::Int8(matrix) => Data::Int8(matrix.select(rows)),
        };
        Array { shape: vec![rows.len(), columns], data }
    }
}

impl Array {
    /// Matrices of one width, one below the other; int8 where all of them are.
    ///
    /// # Panics
    /// If one is no matrix, or of another width.
    pub fn stacked(parts: &[&Array]) -> Self {
        let width =
            |part: &&Array| if let &[_, columns] = part.shape.as_slice() { columns } else { panic!("no matrix") };
        let columns = parts.first().map_or(0, width);
        assert!(parts.iter().all(|part| width(part) == columns), "matrices of {columns} columns");
        let rows = parts.iter().map(|part| part.shape[0]).sum();
        let int8 = |part: &&Array| if let Data::Int8(matrix) = &part.data { Some(matrix.clone()) } else { None };
        let data = match parts.iter().map(int8).collect::<Option<Vec<_>>>() {
            Some(matrices) => {
                let values = matrices.iter().flat_map(|m| m.values()).copied().collect();
                let scales = matrices.iter().flat_map(|m| m.scales()).copied().collect();
                Data::Int8(QuantizedMatrix::new(columns, values, scales))
            }
            None => Data::F32(parts.iter().flat_map(|part| part.values().into_owned()).collect()),
        };
        Array { shape: vec![rows, columns], data }
    }
}

impl From<QuantizedMatrix> for Array {
    fn from(matrix: QuantizedMatrix) -> Self {
        Array { shape: vec![matrix.rows(), matrix.columns()], data: Data::Int8(matrix) }
    }
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

/// Sums of products of larger values than this are not finite.
const LARGEST: f32 = 1e18;

/// A buffer that checkpoints carry along, and no weight: numbers that anybody can count.
pub fn is_buffer(name: &str) -> bool {
    ["position_ids", "token_type_ids"].contains(&name.rsplit('.').next().unwrap_or(name))
}

/// Reads a file's arrays. Buffers that checkpoints carry along (`position_ids`, `token_type_ids`) are left out.
///
/// # Errors
/// What is no file; a file that is cut short, has a broken header, an array of another type, or a value that no sum of products can take.
pub fn read_safetensors(path: &Path) -> Result<Weights> {
    let mut bytes = Vec::new();
    crate::files::open(path)?.read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| broken(path, bytes.len(), e))?;
    let mut weights = Weights::default();
    let names: Vec<&str> = file.names();
    for name in &names {
        if is_buffer(name) {
            continue;
        }
        let tensor = file.tensor(name).map_err(|e| broken(path, bytes.len(), e))?;
        let channels = || file.tensor(&format!("{name}{SCALE}")).ok();
        let bytes = tensor.data();
        let data: Vec<f32> = match tensor.dtype() {
            Dtype::F32 => floats(bytes),
            Dtype::F16 => bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Dtype::BF16 => bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Dtype::I8 => {
                let scales = channels().ok_or_else(|| {
                    let what = format!("is int8 and has no {name}{SCALE}");
                    Error::model(path, *name, what, "quantize it with `sverka quantize`, or save it as f32")
                })?;
                let matrix = int8(path, name, tensor.shape(), bytes, &scales)?;
                weights.0.insert(name.to_string(), matrix.into());
                continue;
            }
            other => {
                let what = format!("is stored as {other:?}; only F32, F16, BF16 and int8 with scales can be read");
                return Err(Error::model(path, *name, what, "convert it to F32"));
            }
        };
        let scale_of = name.strip_suffix(SCALE).and_then(|of| file.tensor(of).ok());
        let is_scale = scale_of.is_some_and(|t| t.dtype() == Dtype::I8);
        // a number of up to 128 times its scale must be finite too
        let largest = if is_scale { LARGEST / 128.0 } else { LARGEST };
        if let Some(index) = data.iter().position(|v| v.is_nan() || v.abs() > largest) {
            let what = format!("value {index} is {}", data[index]);
            return Err(Error::model(
                path,
                *name,
                what,
                "the file is damaged or its training diverged; fetch it again",
            ));
        }
        if !is_scale {
            weights.0.insert(name.to_string(), Array::new(tensor.shape().to_vec(), data));
        }
    }
    Ok(weights)
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// A matrix and its scales.
fn int8(
    path: &Path,
    name: &str,
    shape: &[usize],
    bytes: &[u8],
    scales: &safetensors::tensor::TensorView,
) -> Result<QuantizedMatrix> {
    let &[rows, columns] = shape else {
        let what = format!("is int8 with {} axes; only matrices are stored so", shape.len());
        return Err(Error::model(path, name, what, "save it as f32"));
    };
    if scales.dtype() != Dtype::F32 || scales.shape() != [rows] {
        let what = format!("is {:?} {:?}, and {name} takes F32 [{rows}]", scales.dtype(), scales.shape());
        let key = format!("{name}{SCALE}");
        return Err(Error::model(path, key, what, "the file is damaged; write it again with `sverka quantize`"));
    }
    Ok(QuantizedMatrix::new(columns, bytes.iter().map(|&q| q as i8).collect(), floats(scales.data())))
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
    Error::model(path, "header", what, "fetch or copy the file again")
}

/// Writes arrays to a new file and flushes it to the disk. The same arrays always give the same bytes.
pub fn write_safetensors(path: &Path, weights: &Weights, storage: Storage) -> Result<()> {
    let mut stored = Vec::with_capacity(weights.0.len());
    for (name, array) in &weights.0 {
        let is_large = array.shape.len() == 2 && array.shape[0] >= FEW_ROWS;
        match storage {
            Storage::Bf16 if is_large => stored.push((name.clone(), Stored::bf16(array))),
            Storage::Int8 if is_large => {
                let matrix = match array.matrix() {
                    Matrix::Int8(matrix) => Cow::Borrowed(matrix),
                    Matrix::F32(values) => Cow::Owned(QuantizedMatrix::quantize(values, array.shape[1])),
                };
                let [numbers, scales] = Stored::int8(array, matrix);
                stored.push((name.clone(), numbers));
                stored.push((format!("{name}{SCALE}"), scales));
            }
            _ => stored.push((name.clone(), Stored::f32(array))),
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

/// An array on its way to a file. Its bytes are made when they are written, so that only one converted array is in memory.
struct Stored<'a> {
    dtype: Dtype,
    shape: &'a [usize],
    bytes: Box<dyn Fn() -> Cow<'a, [u8]> + 'a>,
}

impl<'a> Stored<'a> {
    fn f32(array: &'a Array) -> Self {
        let bytes = || match array.values() {
            Cow::Borrowed(values) => Cow::Borrowed(bytemuck::cast_slice(values)),
            Cow::Owned(values) => Cow::Owned(bytemuck::cast_slice(&values).to_vec()),
        };
        Stored { dtype: Dtype::F32, shape: &array.shape, bytes: Box::new(bytes) }
    }
    fn bf16(array: &'a Array) -> Self {
        let bytes = || array.values().iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect();
        Stored { dtype: Dtype::BF16, shape: &array.shape, bytes: Box::new(bytes) }
    }
    /// The numbers and the scales.
    fn int8(array: &'a Array, matrix: Cow<'a, QuantizedMatrix>) -> [Self; 2] {
        let matrix = Rc::new(matrix);
        let scales = matrix.clone();
        let numbers = move || Cow::Owned(bytemuck::cast_slice(matrix.values()).to_vec());
        let scales = move || Cow::Owned(bytemuck::cast_slice(scales.scales()).to_vec());
        [
            Stored { dtype: Dtype::I8, shape: &array.shape, bytes: Box::new(numbers) },
            Stored { dtype: Dtype::F32, shape: &array.shape[..1], bytes: Box::new(scales) },
        ]
    }
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        (self.bytes)()
    }
    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights() -> Weights {
        let matrix = (0..20 * 3).map(|i| ((i * 37 % 101) as f32 - 50.0) / 7.0).collect();
        let arrays = [
            ("m.weight", Array::new(vec![20, 3], matrix)),
            ("m.bias", Array::new(vec![3], vec![0.1, -1e-9, 3e8])),
            ("head.weight", Array::new(vec![1, 3], vec![0.123, 4.5, -6.0])),
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
            let (matrix, exact) = (read["m.weight"].values(), was["m.weight"].values());
            for (a, b) in matrix.chunks(3).zip(exact.chunks(3)) {
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
        assert_eq!(read_safetensors(&path).unwrap().0["a"].values()[..], [1.5, -0.25]);
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
