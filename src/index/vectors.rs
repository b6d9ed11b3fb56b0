//! One vector a document in one file, and the exact search over it.
//!
//! Layout: `mark [8] | width, u32 | bytes of a value, u32 | values [n, width]`, little-endian. Each query is compared with every
//! vector: 200,000 of 384 values are 150 MB, read in some hundredths of a second, with no recall lost and nothing to tune (past that,
//! `nearest.rs` says which are worth it). Blocks are shared by all cores; sums have a fixed order and ties go by number, so the threads do not change what is found.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::manifest::Stored;
use super::strings::damaged;
use crate::nn::kernels::Mapped;
use crate::ranker::{Hit, Vectors};
use crate::{Error, Result};

const MARK: &[u8; 8] = b"SVVEC\0\0\x01";
const HEADER: usize = 16;
/// Vectors that are unpacked at once; they stay in the second cache.
const BLOCK: usize = 256;
/// Blocks that one thread takes.
const BLOCKS: usize = 8;
/// Queries that go through a block together.
const QUERIES: usize = 64;

/// Vectors on their way into a file.
pub(super) struct VectorsWriter {
    path: PathBuf,
    out: BufWriter<File>,
    stored: Stored,
    /// Known with the first vectors.
    dim: Option<usize>,
}

impl VectorsWriter {
    pub(super) fn create(path: &Path, stored: Stored) -> Result<Self> {
        let file = File::create_new(path).map_err(Error::io("create", path))?;
        Ok(VectorsWriter { path: path.into(), out: BufWriter::with_capacity(1 << 18, file), stored, dim: None })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(Error::io("write", &self.path))
    }

    fn header(&mut self, dim: usize) -> Result<()> {
        match self.dim {
            Some(found) if found == dim => Ok(()),
            Some(found) => Err(Error::Shape { op: "vectors", expected: found.to_string(), got: dim.to_string() }),
            None => {
                self.dim = Some(dim);
                let size: u32 = if self.stored == Stored::F32 { 4 } else { 2 };
                self.write(MARK)?;
                self.write(&(dim as u32).to_le_bytes())?;
                self.write(&size.to_le_bytes())
            }
        }
    }

    pub(super) fn push(&mut self, vectors: &Vectors) -> Result<()> {
        self.header(vectors.dim)?;
        let infinite = || {
            let what = "a document's vector has a value that is no number, or too large to be stored";
            Error::data(&self.path, None, what, "give --vectors f32, or another model")
        };
        match self.stored {
            Stored::F32 => {
                if !vectors.values.iter().all(|value| value.is_finite()) {
                    return Err(infinite());
                }
                let bytes: Vec<u8> = vectors.values.iter().flat_map(|value| value.to_le_bytes()).collect();
                self.write(&bytes)
            }
            Stored::F16 => {
                let halves: Vec<f16> = vectors.values.iter().map(|value| f16::from_f32(*value)).collect();
                if !halves.iter().all(|value| value.is_finite()) {
                    return Err(infinite());
                }
                let bytes: Vec<u8> = halves.iter().flat_map(|value| value.to_le_bytes()).collect();
                self.write(&bytes)
            }
        }
    }

    /// Adds the vector of a document of another file as it is.
    pub(super) fn copy(&mut self, from: &VectorFile, document: usize) -> Result<()> {
        self.header(from.dim)?;
        if from.stored != self.stored {
            return Err(Error::Internal {
                op: "vectors",
                what: "two files of one index are stored differently".into(),
            });
        }
        let size = from.dim * from.size();
        self.write(&from.map[HEADER + document * size..][..size])
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.out.flush().map_err(Error::io("write", &self.path))
    }
}

/// The vectors of a file.
pub(super) struct VectorFile {
    map: Mapped,
    dim: usize,
    len: usize,
    stored: Stored,
}

impl VectorFile {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let map = Mapped::open(path)?;
        let number = |at: usize| Some(u32::from_le_bytes(map.get(at..at + 4)?.try_into().ok()?));
        let layout = || -> Option<(usize, usize, Stored)> {
            let (dim, size) = (number(8)? as usize, number(12)?);
            let stored = match size {
                4 => Stored::F32,
                2 => Stored::F16,
                _ => return None,
            };
            let row = dim.checked_mul(size as usize).filter(|row| *row > 0)?;
            let bytes = map.len() - HEADER;
            (map[..8] == *MARK && bytes.is_multiple_of(row)).then_some((dim, bytes / row, stored))
        };
        let Some((dim, len, stored)) = layout() else { return Err(damaged(path)) };
        Ok(VectorFile { map, dim, len, stored })
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
    pub(super) fn dim(&self) -> usize {
        self.dim
    }
    fn size(&self) -> usize {
        if self.stored == Stored::F32 { 4 } else { 2 }
    }

    /// Some vectors by their numbers as f32, `[count, dim]`.
    pub(super) fn rows(&self, numbers: &[u32]) -> Vec<f32> {
        let (mut all, mut halves, mut row) = (Vec::with_capacity(numbers.len() * self.dim), Vec::new(), Vec::new());
        for number in numbers {
            self.unpack(*number as usize, 1, &mut halves, &mut row);
            all.extend_from_slice(&row);
        }
        all
    }

    /// For a query `[dim]` the `k` of these documents whose products are largest, best first; of equal ones the lower number first.
    pub(super) fn top_among(&self, query: &[f32], documents: &[u32], k: usize) -> Vec<Hit> {
        let scan = |some: &[u32]| {
            let (mut best, mut halves, mut row) = (Best::new(k), Vec::new(), Vec::new());
            for &document in some {
                self.unpack(document as usize, 1, &mut halves, &mut row);
                best.push(Hit { document, score: dot(query, &row) });
            }
            best
        };
        let join = |mut all: Best, more: Best| {
            more.hits.into_iter().for_each(|hit| all.push(hit));
            all
        };
        documents.par_chunks(BLOCK * BLOCKS).map(scan).reduce(|| Best::new(k), join).sorted()
    }

    /// Vectors `first..first + count` as f32, `[count, dim]`.
    fn unpack(&self, first: usize, count: usize, halves: &mut Vec<f16>, to: &mut Vec<f32>) {
        let size = self.size();
        let bytes = &self.map[HEADER + first * self.dim * size..][..count * self.dim * size];
        to.clear();
        match self.stored {
            Stored::F32 => to.extend(bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four))),
            Stored::F16 => {
                halves.clear();
                halves.extend(bytes.as_chunks().0.iter().map(|two| f16::from_le_bytes(*two)));
                to.resize(halves.len(), 0.0);
                halves.convert_to_f32_slice(to);
            }
        }
    }

    /// For each query the `k` vectors of the largest products, best first; of equal ones the lower number first.
    pub(super) fn top(&self, queries: &Vectors, k: usize) -> Result<Vec<Vec<Hit>>> {
        if queries.is_empty() || self.len == 0 || k == 0 {
            return Ok(vec![Vec::new(); queries.len()]);
        }
        if queries.dim != self.dim {
            let (expected, got) = (self.dim.to_string(), queries.dim.to_string());
            return Err(Error::Shape { op: "search vectors", expected, got });
        }
        let mut found = Vec::with_capacity(queries.len());
        for first in (0..queries.len()).step_by(QUERIES) {
            let some = first..queries.len().min(first + QUERIES);
            found.extend(self.top_of(queries, some, k));
        }
        Ok(found)
    }

    fn top_of(&self, queries: &Vectors, some: std::ops::Range<usize>, k: usize) -> Vec<Vec<Hit>> {
        let nothing = || some.clone().map(|_| Best::new(k)).collect::<Vec<_>>();
        let starts: Vec<usize> = (0..self.len).step_by(BLOCK * BLOCKS).collect();
        let scan = |start: usize| {
            let (mut best, mut halves, mut block) = (nothing(), Vec::new(), Vec::new());
            for first in (start..self.len.min(start + BLOCK * BLOCKS)).step_by(BLOCK) {
                let count = BLOCK.min(self.len - first);
                self.unpack(first, count, &mut halves, &mut block);
                for (query, best) in some.clone().zip(&mut best) {
                    let query = queries.row(query);
                    for (row, vector) in block.chunks_exact(self.dim).enumerate() {
                        best.push(Hit { document: (first + row) as u32, score: dot(query, vector) });
                    }
                }
            }
            best
        };
        let join = |mut all: Vec<Best>, more: Vec<Best>| {
            all.iter_mut().zip(more).for_each(|(all, more)| more.hits.into_iter().for_each(|hit| all.push(hit)));
            all
        };
        let best = starts.into_par_iter().map(scan).reduce(nothing, join);
        best.into_iter().map(Best::sorted).collect()
    }
}

/// A product, summed in 16 lanes in a fixed order.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut sums = [0f32; 16];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..16 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    let mut width = 8;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0] + rest
}

/// The `k` best of the hits so far, and some more.
struct Best {
    k: usize,
    hits: Vec<Hit>,
    /// What a hit must reach to be among the best.
    least: f32,
}

impl Best {
    fn new(k: usize) -> Self {
        Best { k, hits: Vec::new(), least: f32::NEG_INFINITY }
    }
    fn push(&mut self, hit: Hit) {
        if hit.score < self.least {
            return;
        }
        self.hits.push(hit);
        if self.hits.len() >= self.k.saturating_mul(2).max(64) {
            self.cut();
        }
    }
    fn cut(&mut self) {
        if self.hits.len() > self.k {
            self.hits.select_nth_unstable_by(self.k - 1, order);
            self.hits.truncate(self.k);
            self.least = self.hits[self.k - 1].score;
        }
    }
    fn sorted(mut self) -> Vec<Hit> {
        self.cut();
        self.hits.sort_unstable_by(order);
        self.hits
    }
}

/// The best first; of equal scores the lower number.
pub(super) fn order(a: &Hit, b: &Hit) -> std::cmp::Ordering {
    (b.score + 0.0).total_cmp(&(a.score + 0.0)).then(a.document.cmp(&b.document))
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn the_best_are_those_of_a_full_sort_whatever_k() {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let (n, dim) = (3000, 19);
        // few values, so that there are many ties
        let mut draw =
            |n: usize| Vectors { dim, values: (0..n * dim).map(|_| random.random_range(-2i8..3).into()).collect() };
        let (documents, queries) = (draw(n), draw(70));
        let dir = tempfile::tempdir().unwrap();
        for stored in [Stored::F32, Stored::F16] {
            let path = dir.path().join(format!("{stored:?}"));
            let mut writer = VectorsWriter::create(&path, stored).unwrap();
            writer.push(&documents).unwrap();
            writer.finish().unwrap();
            let file = VectorFile::open(&path).unwrap();
            assert_eq!(file.len(), n);
            for k in [1, 10, 100, n, 2 * n] {
                let found = file.top(&queries, k).unwrap();
                for (query, found) in found.iter().enumerate() {
                    let score = |d: usize| queries.dot(query, &documents, d);
                    let mut all: Vec<Hit> = (0..n).map(|d| Hit { document: d as u32, score: score(d) }).collect();
                    all.sort_by(order);
                    all.truncate(k);
                    assert_eq!(*found, all, "k = {k}");
                }
            }
            let bytes = std::fs::read(&path).unwrap();
            for length in [0, 5, HEADER - 1, bytes.len() - 1] {
                std::fs::write(&path, &bytes[..length]).unwrap();
                assert!(VectorFile::open(&path).is_err(), "{length} bytes");
            }
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (stored, value) in [(Stored::F32, f32::NAN), (Stored::F16, 1e6)] {
            let mut writer = VectorsWriter::create(&dir.path().join(format!("{stored:?}")), stored).unwrap();
            let error = writer.push(&Vectors { dim: 1, values: vec![value] }).unwrap_err().to_string();
            assert!(error.contains("no number"), "{error}");
        }
    }
}
