//! Ready vectors of a table's records (of pictures, of sound) from a file of their own: `.npy`, or safetensors.
//!
//! Which row is whose? Three rules, the first that fits:
//!
//! 1. Next to the file there is one of the same name that ends in `.ids`: its n-th line is the id of the n-th row's record. Ids that the table
//!    lacks are no error, so that one archive of pictures serves many tables.
//! 2. A safetensors file has an array of one axis for each record, named by the record's id.
//! 3. Else the n-th row is the table's n-th record, and there must be as many rows as records.
//!
//! A record without a row has an empty cell, which is a missing vector. The values become a cell of the record, as in a Parquet table with a
//! column of lists, so that all that reads columns reads them. Rows are read when they are asked for: the file may be larger than memory.
//!
//! Refused: whole numbers (pixels or counts are no vectors of a model), arrays in Fortran's order, numpy's pickles (code that runs).

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use half::{bf16, f16};
use safetensors::tensor::{Metadata, TensorInfo};
use serde::{Deserialize, Serialize};

use super::clean;
use super::source::rebase;
use crate::{Error, Result};

/// Longest header that is read.
const MAX_HEADER: u64 = 100 << 20;

/// A vector file of both lists, or one of each. In a recipe a name, or a list of two names, of which an empty one is no file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum VectorPaths {
    /// The same file.
    Both(PathBuf),
    /// The left list's and the right one's.
    Each([PathBuf; 2]),
}

impl VectorPaths {
    /// The file of the left list (0) or the right one (1).
    pub fn side(&self, side: usize) -> Option<&Path> {
        let path = match self {
            VectorPaths::Both(path) => path,
            VectorPaths::Each(paths) => &paths[side],
        };
        (!path.as_os_str().is_empty()).then_some(path)
    }
    /// Looks for relative paths in a recipe's folder; a path that is only in the working directory stays.
    pub fn rebase(&mut self, folder: &Path) {
        let paths = match self {
            VectorPaths::Both(path) => std::slice::from_mut(path),
            VectorPaths::Each(paths) => paths,
        };
        paths.iter_mut().filter(|path| !path.as_os_str().is_empty()).for_each(|path| rebase(path, folder));
    }
}

/// How a value is written, least significant byte first.
#[derive(Debug, Clone, Copy)]
enum Kind {
    F16,
    Bf16,
    F32,
    F64,
}

impl Kind {
    fn bytes(self) -> usize {
        match self {
            Kind::F16 | Kind::Bf16 => 2,
            Kind::F32 => 4,
            Kind::F64 => 8,
        }
    }
    fn value(self, bytes: &[u8]) -> f32 {
        let two = || [bytes[0], bytes[1]];
        match self {
            Kind::F16 => f16::from_le_bytes(two()).to_f32(),
            Kind::Bf16 => bf16::from_le_bytes(two()).to_f32(),
            Kind::F32 => f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            Kind::F64 => f64::from_le_bytes(std::array::from_fn(|i| bytes[i])) as f32,
        }
    }
}

/// Where each record's values begin in the file.
enum Starts {
    /// The n-th record's row is the n-th.
    InOrder {
        rows: usize,
        first: u64,
    },
    ById(HashMap<String, u64>),
}

/// An open file of vectors.
pub struct VectorFile {
    /// The column that they become.
    pub column: String,
    /// Where it is.
    pub path: PathBuf,
    /// Numbers of a vector.
    pub width: usize,
    kind: Kind,
    starts: Starts,
    file: Mutex<File>,
}

/// An error that names the file.
fn wrong(path: &Path, what: impl Into<String>, remedy: &str) -> Error {
    Error::data(path, None, what, remedy)
}

const SAVE: &str = "save the vectors as a float32 array of two axes, a row a record: numpy.save(FILE, vectors)";

impl VectorFile {
    /// Opens a file, `[rows, width]` of f32, f64, f16 or bf16 (or safetensors' arrays `[width]` by id), whose rows become the column `column`.
    ///
    /// # Errors
    /// A file that can't be read, is none of both kinds or is cut short; other shapes and other kinds of values; an ids file with another number
    /// of lines or an id twice.
    pub fn open(column: &str, path: &Path) -> Result<Self> {
        let mut file = crate::files::open(path)?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        let mut magic = [0; 8];
        let begun = file.read_exact(&mut magic).is_ok();
        let (kind, width, starts, end) = match begun {
            true if magic.starts_with(b"\x93NUMPY") => npy(path, &mut file, magic)?,
            true => tensors(path, &mut file, u64::from_le_bytes(magic))?,
            false => return Err(wrong(path, "is neither .npy nor safetensors", SAVE)),
        };
        if end > length {
            let what = format!("is cut short: {length} bytes, and its header says {end}");
            return Err(wrong(path, what, "fetch it again"));
        }
        if width == 0 {
            return Err(wrong(path, "has vectors of no numbers", SAVE));
        }
        let starts = match starts {
            Starts::InOrder { rows, first } => match ids(path)? {
                Some(ids) => Starts::ById(by_ids(path, ids, rows, first, width.saturating_mul(kind.bytes()) as u64)?),
                None => Starts::InOrder { rows, first },
            },
            by_id => by_id,
        };
        Ok(VectorFile { column: column.into(), path: path.into(), width, kind, starts, file: Mutex::new(file) })
    }

    /// Whether it fits a table: as many rows as records, or an id of theirs.
    ///
    /// # Errors
    /// It does not.
    pub fn check(&self, table: &Path, records: usize, ids: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        let shown = table.display();
        match &self.starts {
            Starts::InOrder { rows, .. } if *rows == records => Ok(()),
            Starts::InOrder { rows, .. } => {
                let what = format!("has {rows} rows, and {shown} has {records} records");
                let remedy = format!(
                    "give a row for each record, or write the rows' ids next to it, one a line, as {}",
                    ids_path(&self.path).display()
                );
                Err(wrong(&self.path, what, &remedy))
            }
            Starts::ById(starts) if ids.into_iter().any(|id| starts.contains_key(id.as_ref())) => Ok(()),
            Starts::ById(_) => {
                let what = format!("has no vector of any record of {shown}: no id is the same");
                Err(wrong(&self.path, what, "give the ids of the table's records (--id names its id column)"))
            }
        }
    }

    /// The cell of a record, by its number in the table and its id: its numbers between spaces, empty where it has no vector.
    ///
    /// # Errors
    /// A value that is no finite number of f32; the system's.
    pub fn cell(&self, record: usize, id: &str) -> Result<String> {
        let size = self.width * self.kind.bytes();
        let start = match &self.starts {
            Starts::InOrder { rows, first } => (record < *rows).then(|| first + (record * size) as u64),
            Starts::ById(starts) => starts.get(id).copied(),
        };
        let Some(start) = start else { return Ok(String::new()) };
        let mut bytes = vec![0; size];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(Error::io("read", &self.path))?;
        drop(file);
        let mut cell = String::with_capacity(11 * self.width);
        for value in bytes.chunks_exact(self.kind.bytes()).map(|bytes| self.kind.value(bytes)) {
            if !value.is_finite() {
                let what = format!("the vector of `{}` has {value}", id.escape_debug());
                return Err(wrong(
                    &self.path,
                    what,
                    "leave its row out (with a file of ids), or make the vector again",
                ));
            }
            cell += if cell.is_empty() { "" } else { " " };
            cell += &value.to_string();
        }
        Ok(cell)
    }

    /// By which rule its rows belong to records.
    pub fn note(&self) -> String {
        let rule = match self.starts {
            Starts::InOrder { .. } => "rows in the order of the table's",
            Starts::ById(_) => "rows by the records' ids",
        };
        format!("{}: vectors of {} numbers, {rule}", self.path.display(), self.width)
    }
}

type Shape = (Kind, usize, Starts, u64);

/// The header of `.npy` (numpy's format 1 to 3).
fn npy(path: &Path, file: &mut File, magic: [u8; 8]) -> Result<Shape> {
    let io = |e| Error::io("read", path)(e);
    file.seek(SeekFrom::Start(8)).map_err(io)?;
    let mut length = [0; 4];
    let wide = if magic[6] == 1 { 2 } else { 4 };
    file.read_exact(&mut length[..wide]).map_err(io)?;
    let length = u64::from(u32::from_le_bytes(length));
    if length > MAX_HEADER {
        return Err(wrong(path, "is damaged: its header has no end", "fetch it again"));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(io)?;
    let header = String::from_utf8_lossy(&header).into_owned();
    let value = |key: &str| header.split_once(key).map(|(_, rest)| rest.trim_start_matches([':', ' ', '\'', '"']));
    let kind = match value("'descr'").and_then(|rest| rest.split(['\'', '"']).next()) {
        Some("<f4") => Kind::F32,
        Some("<f8") => Kind::F64,
        Some("<f2") => Kind::F16,
        other => {
            let what = format!("has values of the kind {}, not floating point", other.unwrap_or("?"));
            return Err(wrong(path, what, SAVE));
        }
    };
    if value("'fortran_order'").is_none_or(|rest| !rest.starts_with("False")) {
        return Err(wrong(path, "is in Fortran's order", "save numpy.ascontiguousarray(vectors)"));
    }
    let inside = value("'shape'").and_then(|rest| rest.trim_start_matches('(').split(')').next()).unwrap_or("?");
    let axes: Option<Vec<usize>> =
        inside.split(',').map(str::trim).filter(|axis| !axis.is_empty()).map(|axis| axis.parse().ok()).collect();
    let Some([rows, width]) = axes.as_deref() else {
        return Err(wrong(path, format!("has the shape ({inside}), not two axes"), SAVE));
    };
    let first = 8 + wide as u64 + length;
    let bytes = (*rows as u64).saturating_mul(*width as u64).saturating_mul(kind.bytes() as u64);
    Ok((kind, *width, Starts::InOrder { rows: *rows, first }, first.saturating_add(bytes)))
}

/// The header of safetensors: one array of two axes, or one of one axis for each id.
fn tensors(path: &Path, file: &mut File, length: u64) -> Result<Shape> {
    let not = || wrong(path, "is neither .npy nor safetensors", SAVE);
    if length > MAX_HEADER {
        return Err(not());
    }
    let mut header = vec![0; 8 + length as usize];
    file.seek(SeekFrom::Start(0)).and_then(|_| file.read_exact(&mut header)).map_err(|_| not())?;
    let metadata: Metadata = serde_json::from_slice(&header[8..]).map_err(|_| not())?;
    let base = header.len() as u64;
    let arrays = metadata.tensors();
    let kind = |name: &str, dtype: safetensors::Dtype| match dtype {
        safetensors::Dtype::F32 => Ok(Kind::F32),
        safetensors::Dtype::F64 => Ok(Kind::F64),
        safetensors::Dtype::F16 => Ok(Kind::F16),
        safetensors::Dtype::BF16 => Ok(Kind::Bf16),
        other => Err(wrong(path, format!("`{name}` has values of the kind {other:?}, not floating point"), SAVE)),
    };
    let mut sorted: Vec<_> = arrays.iter().collect();
    sorted.sort_by_key(|(name, _)| name.as_str());
    let Some((first, info)) = sorted.first() else { return Err(wrong(path, "has no array", SAVE)) };
    let end = base + sorted.iter().map(|(_, info)| info.data_offsets.1 as u64).max().unwrap_or(0);
    let of_first = kind(first, info.dtype)?;
    let refuse_size = |name: &str, array: &TensorInfo| {
        let values = array.shape.iter().fold(1usize, |n, axis| n.saturating_mul(*axis));
        let (start, end) = array.data_offsets;
        if end.checked_sub(start) != Some(values.saturating_mul(of_first.bytes())) {
            return Err(wrong(
                path,
                format!("is damaged: `{name}` has other bytes than its shape says"),
                "fetch it again",
            ));
        }
        Ok(())
    };
    if let ([rows, width], 1) = (&info.shape[..], sorted.len()) {
        refuse_size(first, info)?;
        let first = base + info.data_offsets.0 as u64;
        return Ok((of_first, *width, Starts::InOrder { rows: *rows, first }, end));
    }
    let mut starts = HashMap::new();
    for (name, array) in &sorted {
        let own = kind(name, array.dtype)?;
        refuse_size(name, array)?;
        if array.shape.len() != 1 || array.shape != info.shape || own.bytes() != of_first.bytes() {
            let what = format!(
                "`{first}` is {:?} of {:?} and `{name}` is {:?} of {:?}",
                info.dtype, info.shape, array.dtype, array.shape
            );
            let remedy = "give one array of two axes, or an array of one axis for each id, all of the same kind";
            return Err(wrong(path, what, remedy));
        }
        starts.insert(clean::id(name), base + array.data_offsets.0 as u64);
    }
    Ok((of_first, info.shape[0], Starts::ById(starts), end))
}

fn ids_path(path: &Path) -> PathBuf {
    path.with_extension("ids")
}

/// The lines of the file of ids, if there is one.
fn ids(path: &Path) -> Result<Option<Vec<String>>> {
    let path = ids_path(path);
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    Ok(Some(text.trim_start_matches('\u{feff}').lines().map(clean::id).collect()))
}

fn by_ids(path: &Path, ids: Vec<String>, rows: usize, first: u64, size: u64) -> Result<HashMap<String, u64>> {
    let ids_path = ids_path(path);
    if ids.len() != rows {
        let what = format!("has {} lines, and {} has {rows} rows", ids.len(), path.display());
        return Err(wrong(&ids_path, what, "write one id a line, in the order of the rows"));
    }
    let mut starts = HashMap::with_capacity(rows);
    for (row, id) in ids.into_iter().enumerate() {
        if starts.contains_key(&id) {
            let what = format!("the id `{}` is there twice", id.escape_debug());
            return Err(Error::data(&ids_path, Some(row as u64 + 1), what, "give one row for each record"));
        }
        starts.insert(id, first + row as u64 * size);
    }
    Ok(starts)
}

/// Refuses files of two tables whose vectors can't be compared.
pub(super) fn same_widths(left: &[(String, PathBuf)], right: &[(String, PathBuf)]) -> Result<()> {
    for (column, of_left) in left {
        let other = right.iter().find(|(name, path)| name == column && path != of_left);
        let Some((_, of_right)) = other else { continue };
        let [l, r] = [VectorFile::open(column, of_left)?.width, VectorFile::open(column, of_right)?.width];
        if l != r {
            let what = format!("has vectors of {r} numbers, and {} of {l}", of_left.display());
            return Err(wrong(of_right, what, "give vectors of one model for both tables"));
        }
    }
    Ok(())
}

/// Opens the files of one table that will have `columns`.
///
/// # Errors
/// A column that the table has already; what [`VectorFile::open`] refuses.
pub(super) fn open_all(files: &[(String, PathBuf)], columns: &[String]) -> Result<Vec<VectorFile>> {
    let open = |(column, path): &(String, PathBuf)| {
        if columns.contains(column) {
            let what = "the table has such a column; give the vectors another name";
            return Err(Error::setting("vectors", column, what));
        }
        VectorFile::open(column, path)
    };
    files.iter().map(open).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ReadOptions, read_table, store_table};
    use crate::ranker::Rows;

    /// `.npy` of some values as numpy writes it.
    fn npy(descr: &str, shape: &str, fortran: &str, values: &[u8]) -> Vec<u8> {
        let mut header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
        while (header.len() + 11) % 64 != 0 {
            header.push(' ');
        }
        header.push('\n');
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), values].concat()
    }
    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|x| x.to_le_bytes()).collect()
    }
    fn tensors(arrays: &[(&str, safetensors::Dtype, &[usize], &[u8])]) -> Vec<u8> {
        let views = arrays.iter().map(|(name, dtype, shape, bytes)| {
            (name.to_string(), safetensors::tensor::TensorView::new(*dtype, shape.to_vec(), bytes).unwrap())
        });
        safetensors::serialize(views.collect::<Vec<_>>(), None).unwrap()
    }

    struct Folder(tempfile::TempDir);
    impl Folder {
        fn new() -> Self {
            let folder = Folder(tempfile::tempdir().unwrap());
            folder.write("t.csv", b"id,name\nb,lamp\na,chair\nc,desk\n");
            folder
        }
        fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.0.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        }
        /// The cells of the table's records, read in memory and from disk.
        fn cells(&self, file: &Path) -> Result<Vec<String>> {
            let vectors = vec![("picture".to_string(), file.to_path_buf())];
            let options = ReadOptions { vectors, ..ReadOptions::default() };
            let path = self.0.path().join("t.csv");
            let dir = tempfile::tempdir().unwrap();
            let stored = store_table(&path, &options, dir.path(), "x");
            let (table, report) = match read_table(&path, &options) {
                Ok(read) => read,
                Err(error) => {
                    let other = match stored {
                        Ok(stored) => stored.iter().collect::<Result<Vec<_>>>().unwrap_err(),
                        Err(other) => other,
                    };
                    assert_eq!(other.to_string(), error.to_string());
                    return Err(error);
                }
            };
            assert!(report.notes.iter().any(|note| note.contains("rows ")), "{report:?}");
            let stored = stored.unwrap();
            let again = crate::data::StoredTable::open(dir.path(), "x").unwrap();
            assert_eq!(stored.iter().collect::<Result<Vec<_>>>().unwrap(), table.records);
            assert_eq!(again.records(&[2, 0]).unwrap(), [table.records[2].clone(), table.records[0].clone()]);
            assert_eq!(again.range(1..3).unwrap(), table.records[1..3]);
            Ok(table.records.iter().map(|r| r.get("picture").unwrap().to_string()).collect())
        }
        fn refused(&self, name: &str, bytes: &[u8], part: &str) {
            let path = self.write(name, bytes);
            let error = self.cells(&path).unwrap_err();
            assert!(error.is_user_error() && error.to_string().contains(part), "{error}");
            assert!(error.to_string().contains(name.split('.').next().unwrap()), "no file: {error}");
        }
    }

    #[test]
    fn rows_are_the_tables_in_order_or_by_a_file_of_ids_or_by_names() {
        let folder = Folder::new();
        let values = [1.0, 2.5, -3.0, 4.0, 0.0, 1e-9];
        let path = folder.write("v.npy", &npy("<f4", "(3, 2)", "False", &floats(&values)));
        assert_eq!(folder.cells(&path).unwrap(), ["1 2.5", "-3 4", "0 0.000000001"]);
        // ids in another order, one that the table lacks, and a record without a vector
        folder.write("v.ids", b"a\nz\nb\r\n");
        assert_eq!(folder.cells(&path).unwrap(), ["0 0.000000001", "1 2.5", ""]);
        let wide: Vec<u8> = values.iter().flat_map(|x| f64::from(*x).to_le_bytes()).collect();
        let path = folder.write("w.npy", &npy("<f8", "(3, 2)", "False", &wide));
        assert_eq!(folder.cells(&path).unwrap()[1], "-3 4");
        let narrow: Vec<u8> = values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect();
        let path = folder.write("n.safetensors", &tensors(&[("x", safetensors::Dtype::F16, &[3, 2], &narrow)]));
        assert_eq!(folder.cells(&path).unwrap(), ["1 2.5", "-3 4", "0 0"]);
        let (one, two) = (floats(&[1.0, 2.0]), floats(&[3.0, 4.0]));
        let arrays: [(&str, _, &[usize], &[u8]); 2] =
            [("c", safetensors::Dtype::F32, &[2], &one), ("b", safetensors::Dtype::F32, &[2], &two)];
        let path = folder.write("by-name.safetensors", &tensors(&arrays));
        assert_eq!(folder.cells(&path).unwrap(), ["3 4", "", "1 2"]);
    }

    #[test]
    fn a_file_that_does_not_fit_is_named_with_what_is_wrong() {
        let folder = Folder::new();
        let six = floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        folder.refused("two.npy", &npy("<f4", "(2, 3)", "False", &six), "has 2 rows, and");
        folder.refused("ints.npy", &npy("<i8", "(3, 2)", "False", &[0; 48]), "kind <i8, not floating point");
        folder.refused("fortran.npy", &npy("<f4", "(3, 2)", "True", &six), "Fortran's order");
        folder.refused("flat.npy", &npy("<f4", "(6,)", "False", &six), "the shape (6,), not two axes");
        folder.refused("short.npy", &npy("<f4", "(3, 2)", "False", &six[..20]), "cut short");
        folder.refused("empty.npy", &npy("<f4", "(3, 0)", "False", &[]), "no numbers");
        let nan = floats(&[1.0, 2.0, f32::NAN, 4.0, 5.0, 6.0]);
        folder.refused("nan.npy", &npy("<f4", "(3, 2)", "False", &nan), "the vector of `a` has NaN");
        folder.refused("text.npy", b"id,vector\n1,2\n", "neither .npy nor safetensors");
        folder.refused("tiny.npy", b"x", "neither .npy nor safetensors");
        let ints: [(&str, _, &[usize], &[u8]); 1] = [("x", safetensors::Dtype::I32, &[3, 2], &six)];
        folder.refused("ints.safetensors", &tensors(&ints), "`x` has values of the kind I32");
        let (a, b) = (&six[..8], &six[..12]);
        let uneven: [(&str, _, &[usize], &[u8]); 2] =
            [("a", safetensors::Dtype::F32, &[2], a), ("b", safetensors::Dtype::F32, &[3], b)];
        folder.refused("uneven.safetensors", &tensors(&uneven), "`b` is F32 of [3]");
        folder.write("other.ids", b"x\ny\nz\n");
        folder.refused("other.npy", &npy("<f4", "(3, 2)", "False", &six), "no id is the same");
        folder.write("few.ids", b"a\nb\n");
        folder.refused("few.npy", &npy("<f4", "(3, 2)", "False", &six), "few.ids: has 2 lines");
        folder.write("twice.ids", b"a\nb\na\n");
        folder.refused("twice.npy", &npy("<f4", "(3, 2)", "False", &six), "`a` is there twice");
        let narrow = folder.write("narrow.npy", &npy("<f4", "(3, 2)", "False", &six));
        let wide = folder.write("wide.npy", &npy("<f4", "(2, 3)", "False", &six));
        let of = |path: &PathBuf| vec![("picture".to_string(), path.clone())];
        let error = same_widths(&of(&narrow), &of(&wide)).unwrap_err().to_string();
        assert!(
            error.contains("wide.npy: has vectors of 3 numbers, and") && error.contains("narrow.npy of 2"),
            "{error}"
        );
        same_widths(&of(&narrow), &of(&narrow)).unwrap();
        let file = folder.write("v.npy", &npy("<f4", "(3, 2)", "False", &six));
        let options = ReadOptions { vectors: vec![("name".into(), file)], ..ReadOptions::default() };
        let error = read_table(&folder.0.path().join("t.csv"), &options).unwrap_err();
        assert!(error.to_string().contains("the table has such a column"), "{error}");
    }
}
