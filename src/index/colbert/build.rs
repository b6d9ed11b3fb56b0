//! The index, built in a stream: vectors go to a file in half precision while a sample of them is drawn; then centroids are found in the sample, and
//! the file is read again, some documents at a time, and coded. Memory: the sample, the centroids and four bytes for each document of each list.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use half::f16;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::codec::{Clusters, Steps};
use super::lists::pack;
use super::pooling::pooled;
use super::{ColbertSettings, Layout, NAME, VERSION, names};
use crate::ranker::MultiVectors;
use crate::{Error, Result};

/// Vectors that centroids are found in.
const SAMPLE: usize = 1 << 18;
/// Vectors whose left-over values say where the steps are: so many at most, and fewer than so many are not kept apart for it.
const MEASURED: usize = 1 << 14;
const LEAST_MEASURED: usize = 256;
/// Centroids that codes of two bytes are enough for, with room for cells that round up.
const MOST_OF_TWO_BYTES: usize = 65_000;
/// Vectors that are coded at once.
const CHUNK: usize = 1 << 14;
/// The file of all vectors, which is there while an index is built.
const VECTORS: &str = "vectors.part";

/// Builds an index in an empty folder.
pub struct ColbertBuilder {
    dir: PathBuf,
    dim: usize,
    settings: ColbertSettings,
    file: BufWriter<File>,
    /// Where each document's vectors start, and the end.
    ends: Vec<u64>,
    sample: Vec<f32>,
    rng: ChaCha8Rng,
}

fn create(path: &Path) -> Result<BufWriter<File>> {
    File::create_new(path).map(|file| BufWriter::with_capacity(1 << 20, file)).map_err(Error::io("create", path))
}

/// Writes a file of numbers.
fn put<T: bytemuck::NoUninit>(dir: &Path, name: &str, values: &[T]) -> Result<()> {
    let path = dir.join(name);
    let mut file = create(&path)?;
    let written = file.write_all(bytemuck::cast_slice(values)).and_then(|()| file.flush());
    written.and_then(|()| file.get_ref().sync_all()).map_err(Error::io("write", &path))
}

impl ColbertBuilder {
    /// Begins an index of vectors `dim` wide.
    ///
    /// # Errors
    /// Settings that make no index; the system's.
    pub fn new(dir: &Path, dim: usize, settings: ColbertSettings) -> Result<Self> {
        settings.check()?;
        let file = create(&dir.join(VECTORS))?;
        let rng = ChaCha8Rng::seed_from_u64(settings.seed);
        Ok(ColbertBuilder { dir: dir.into(), dim, settings, file, ends: vec![0], sample: Vec::new(), rng })
    }

    /// Vectors so far.
    fn vectors(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Adds documents.
    ///
    /// # Errors
    /// Vectors of another width; the system's.
    pub fn add(&mut self, documents: &MultiVectors) -> Result<()> {
        let dim = self.dim;
        if documents.dim != dim {
            let (expected, got) = (format!("vectors {dim} wide"), documents.dim.to_string());
            return Err(Error::Shape { op: "colbert index", expected, got });
        }
        let factor = self.settings.pool_factor;
        let pooled: Vec<Vec<f32>> = match factor > 1 {
            true => (0..documents.len()).into_par_iter().map(|at| pooled(documents.text(at), dim, factor)).collect(),
            false => Vec::new(),
        };
        for at in 0..documents.len() {
            let vectors = pooled.get(at).map_or_else(|| documents.text(at), |pooled| &pooled[..]);
            for vector in vectors.chunks_exact(dim) {
                // each vector is in the sample with the same chance (Vitter's algorithm R)
                let seen = self.sample.len() / dim;
                if seen < SAMPLE {
                    self.sample.extend_from_slice(vector);
                } else {
                    let before =
                        self.vectors() + (vector.as_ptr().addr() - vectors.as_ptr().addr()) as u64 / (4 * dim as u64);
                    let place = self.rng.random_range(0..=before) as usize;
                    if place < SAMPLE {
                        self.sample[place * dim..][..dim].copy_from_slice(vector);
                    }
                }
            }
            let halves: Vec<f16> = vectors.iter().map(|x| f16::from_f32(*x)).collect();
            let path = self.dir.join(VECTORS);
            self.file.write_all(bytemuck::cast_slice(&bits_of(&halves))).map_err(Error::io("write", &path))?;
            self.ends.push(self.vectors() + (vectors.len() / dim) as u64);
        }
        Ok(())
    }

    /// Finds centroids, codes all vectors and writes the index. `progress` gets vectors coded, of how many.
    ///
    /// # Errors
    /// The system's.
    pub fn finish(mut self, progress: &dyn Fn(u64, u64)) -> Result<()> {
        let (dim, dir, total) = (self.dim, self.dir.clone(), self.vectors());
        let path = dir.join(VECTORS);
        self.file.flush().map_err(Error::io("write", &path))?;
        let bits = self.settings.bits;
        let wanted = match self.settings.centroids {
            0 => (16.0 * (total as f64).sqrt()) as usize,
            given => given,
        };
        // two bytes a code, as long as they are enough
        let most = if self.settings.centroids > 1 << 16 { usize::MAX } else { MOST_OF_TWO_BYTES };
        let wanted = wanted.clamp(1, most);
        let sample = std::mem::take(&mut self.sample);
        let (learnt, measured) = parted(sample, dim);
        let clusters = (!learnt.is_empty()).then(|| Clusters::train(&learnt, dim, wanted, self.settings.seed));
        drop(learnt);
        // half precision on the disk: what is left over is of these
        let rounded: Vec<f16> = clusters.iter().flat_map(|c| &c.centroids).map(|x| f16::from_f32(*x)).collect();
        let centroids: &[f32] = &rounded.iter().map(|x| x.to_f32()).collect::<Vec<_>>();
        let steps = match &clusters {
            None => Steps::of(Vec::new(), bits),
            Some(clusters) => {
                let codes = clusters.assign(&measured);
                let left = measured
                    .chunks_exact(dim)
                    .zip(&codes)
                    .flat_map(|(v, code)| v.iter().zip(&centroids[*code as usize * dim..]).map(|(x, c)| x - c));
                Steps::of(left.collect(), bits)
            }
        };
        let k = centroids.len() / dim;
        let wide = k > 1 << 16;
        let (mut codes, mut left_over) = (create(&dir.join(names::CODES))?, create(&dir.join(names::RESIDUALS))?);
        let mut vectors = BufReader::with_capacity(1 << 20, File::open(&path).map_err(Error::io("read", &path))?);
        let mut lists: Vec<Vec<u32>> = vec![Vec::new(); k];
        let (mut done, mut document) = (0u64, 0usize);
        let mut halves = vec![0u16; CHUNK * dim];
        let mut plain = vec![0f32; CHUNK * dim];
        progress(0, total);
        while done < total {
            let n = ((total - done) as usize).min(CHUNK);
            let part = &mut halves[..n * dim];
            vectors.read_exact(bytemuck::cast_slice_mut(part)).map_err(Error::io("read", &path))?;
            let plain = &mut plain[..n * dim];
            crate::nn::kernels::widen(true, part, plain);
            let Some(clusters) = &clusters else { break };
            let own = clusters.assign(plain);
            let bytes = plain.par_chunks(256 * dim).zip(own.par_chunks(256)).map(|(vectors, codes)| {
                let mut bytes = Vec::with_capacity(codes.len() * steps.bytes(dim));
                for (vector, code) in vectors.chunks_exact(dim).zip(codes) {
                    steps.encode(vector, &centroids[*code as usize * dim..][..dim], &mut bytes);
                }
                bytes
            });
            for bytes in bytes.collect::<Vec<_>>() {
                left_over.write_all(&bytes).map_err(Error::io("write", &dir.join(names::RESIDUALS)))?;
            }
            let written = match wide {
                true => codes.write_all(bytemuck::cast_slice(&own)),
                false => codes.write_all(bytemuck::cast_slice(&own.iter().map(|c| *c as u16).collect::<Vec<_>>())),
            };
            written.map_err(Error::io("write", &dir.join(names::CODES)))?;
            for (at, code) in (done..).zip(own) {
                while self.ends[document + 1] <= at {
                    document += 1;
                }
                let list = &mut lists[code as usize];
                if list.last() != Some(&(document as u32)) {
                    list.push(document as u32);
                }
            }
            done += n as u64;
            progress(done, total);
        }
        for (mut file, name) in [(codes, names::CODES), (left_over, names::RESIDUALS)] {
            let flushed = file.flush().and_then(|()| file.get_ref().sync_all());
            flushed.map_err(Error::io("write", &dir.join(name)))?;
        }
        put(&dir, names::CENTROIDS, &bits_of(&rounded))?;
        put(&dir, names::ENDS, &self.ends)?;
        let (mut list_ends, mut packed) = (vec![0u64], Vec::new());
        for list in lists {
            pack(&list, &mut packed);
            list_ends.push(packed.len() as u64);
        }
        put(&dir, names::LIST_ENDS, &list_ends)?;
        put(&dir, names::LISTS, &packed)?;
        drop(vectors);
        std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        let layout = Layout {
            version: VERSION,
            dim,
            bits,
            documents: self.ends.len() as u64 - 1,
            vectors: total,
            centroids: k as u64,
            list_bytes: list_ends[k],
            pool_factor: self.settings.pool_factor,
            cuts: steps.cuts,
            values: steps.values,
        };
        let path = dir.join(NAME);
        let text = serde_json::to_string_pretty(&layout)
            .map_err(|e| Error::Internal { op: "write colbert.json", what: e.to_string() })?;
        crate::files::write_beside(&path, |file| file.write_all(text.as_bytes()).map_err(Error::io("write", &path)))
    }
}

/// The vectors that centroids are found in, and those whose left-over values are measured: others, since a centroid is nearer to a vector that it was
/// found in. Few vectors are both.
fn parted(sample: Vec<f32>, dim: usize) -> (Vec<f32>, Vec<f32>) {
    let n = sample.len() / dim;
    if n < 8 * LEAST_MEASURED {
        return (sample.clone(), sample);
    }
    // spread over the sample, whose first vectors are of the first documents
    let every = (n / MEASURED).max(8);
    let (mut learnt, mut measured) = (Vec::with_capacity(sample.len()), Vec::with_capacity(sample.len() / every + dim));
    for (at, vector) in sample.chunks_exact(dim).enumerate() {
        if at % every == 0 { &mut measured } else { &mut learnt }.extend_from_slice(vector);
    }
    (learnt, measured)
}

fn bits_of(values: &[f16]) -> Vec<u16> {
    values.iter().map(|x| x.to_bits()).collect()
}
