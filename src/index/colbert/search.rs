//! Search: the lists of the centroids nearest to each token of the query give candidates, of which those with the nearest lists go on; these are scored
//! by the centroids of all of their tokens, and the best of them by their decoded vectors.

use std::path::{Path, PathBuf};

use bytemuck::Pod;
use rayon::prelude::*;

use super::codec::{Steps, Table, decode, normalize};
use super::lists::unpack;
use super::{Layout, NAME, VERSION, names};
use crate::bundle::Bundle;
use crate::nn::kernels::{self, Mapped, QUERY_TOKENS};
use crate::nn::maxsim::Query;
use crate::ranker::{Hit, Input, LateEncoder, Retriever};
use crate::{Error, Result};

/// How thoroughly an index is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// Centroids whose lists are read, for each token of a query.
    pub probes: usize,
    /// Documents that are scored by their decoded vectors, at least; never fewer than twice the wanted number.
    pub decoded: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Effort { probes: 32, decoded: 1024 }
    }
}

/// An index with the model that made its vectors: a first stage for texts.
pub struct ColbertSearch {
    /// The index.
    pub index: ColbertIndex,
    model: Bundle,
    /// How thoroughly it is searched.
    pub effort: Effort,
}

impl ColbertSearch {
    /// An index and its model.
    ///
    /// # Errors
    /// A model that is no ColBERT, or whose vectors have another width.
    pub fn new(index: ColbertIndex, model: Bundle, effort: Effort) -> Result<Self> {
        let width = model.late_encoder().map(|encoder| encoder.dim());
        if width != Some(index.dim()) {
            let width = width.map_or("no ColBERT".into(), |width| format!("a ColBERT of vectors {width} wide"));
            let what = format!("the index has vectors {} wide; give the model that it was built with", index.dim());
            return Err(Error::setting("--model", width, what));
        }
        Ok(ColbertSearch { index, model, effort })
    }
}

impl Retriever for ColbertSearch {
    fn retrieve(&self, queries: &[Input], k: usize) -> Result<Vec<Vec<Hit>>> {
        let encoder = self.model.late_encoder().ok_or(Error::Internal { op: "search", what: "no ColBERT".into() })?;
        let vectors = encoder.encode_queries(queries)?;
        (0..vectors.len()).map(|at| self.index.search(vectors.text(at), k, self.effort)).collect()
    }
}

/// Numbers in a mapped file.
struct Numbers {
    bytes: Mapped,
}

impl Numbers {
    /// A file of `length` numbers.
    fn open<T: Pod>(dir: &Path, name: &str, length: u64) -> Result<Self> {
        let path = dir.join(name);
        let bytes = Mapped::open(&path)?;
        let (found, wanted) = (bytes.len() as u64, length.checked_mul(size_of::<T>() as u64));
        if Some(found) == wanted {
            return Ok(Numbers { bytes });
        }
        let wanted = wanted.map_or("far more".into(), |n| n.to_string());
        let what = format!("{found} bytes where {NAME} asks for {wanted}: cut short, or of another index");
        Err(Error::data(&path, None, what, "build the index again"))
    }
    fn of<T: Pod>(&self) -> &[T] {
        // nothing is mapped of an empty file, and its place need not be aligned
        if self.bytes.is_empty() { &[] } else { bytemuck::cast_slice(&self.bytes) }
    }
}

/// Documents that are scored by their centroids for each one that is decoded.
const PER_DECODED: usize = 8;
/// Centroids that one thread looks at.
const ROWS: usize = 4096;

/// Products of all centroids with the tokens of a query: those of a centroid next to each other, `[k, width]`, zero past the last token.
struct Products {
    values: Vec<f32>,
    width: usize,
    tokens: usize,
}

impl Products {
    /// Of a query `[tokens, dim]` and centroids `[k, dim]`.
    fn new(query: &[f32], centroids: &[f32], dim: usize) -> Self {
        let tokens = query.len() / dim;
        let width = tokens.next_multiple_of(QUERY_TOKENS);
        let table = Table::new(query, dim);
        let mut values = vec![0f32; centroids.len() / dim * width];
        let parts = values.par_chunks_mut(ROWS * width).zip(centroids.par_chunks(ROWS * dim));
        parts.for_each(|(to, centroids)| table.products_apart(centroids, to, width));
        Products { values, width, tokens }
    }

    /// The `n` centroids nearest to each token with their products, best first; of equal ones the lower number first.
    fn nearest(&self, n: usize) -> Vec<Vec<(u32, f32)>> {
        let of_part = |(part, rows): (usize, &[f32])| {
            let mut nearest = vec![Vec::new(); self.tokens];
            let mut least = vec![f32::NEG_INFINITY; self.tokens];
            for (row, centroid) in rows.chunks_exact(self.width).zip((part * ROWS) as u32..) {
                // most rows are near to no token; without a branch the row is a few instructions
                if !row.iter().zip(&least).fold(false, |any, (product, least)| any | (product > least)) {
                    continue;
                }
                for ((nearest, least), product) in nearest.iter_mut().zip(&mut least).zip(row) {
                    if product > least {
                        insert(nearest, n, (centroid, *product));
                        if nearest.len() >= n {
                            *least = nearest.last().map_or(f32::INFINITY, |(_, product)| *product);
                        }
                    }
                }
            }
            nearest
        };
        let parts: Vec<_> = self.values.par_chunks(ROWS * self.width).enumerate().map(of_part).collect();
        let of_token = |token: usize| {
            let mut all: Vec<(u32, f32)> = parts.iter().flat_map(|part| part[token].iter().copied()).collect();
            all.sort_by(|a, b| b.1.total_cmp(&a.1));
            all.truncate(n);
            all
        };
        (0..self.tokens).map(of_token).collect()
    }
}

/// Puts a centroid into a list, best first, of `n` at most.
fn insert(list: &mut Vec<(u32, f32)>, n: usize, new: (u32, f32)) {
    let place = list.partition_point(|(_, product)| *product >= new.1);
    list.insert(place, new);
    list.truncate(n);
}

/// The `n` best of more hits, in no order.
fn best(mut hits: Vec<Hit>, n: usize) -> impl Iterator<Item = Hit> {
    hits.select_nth_unstable_by(n, Hit::best_first);
    hits.into_iter().take(n)
}

/// A document as it is decoded, used again from document to document.
#[derive(Default)]
pub(in crate::index) struct Scratch {
    codes: Vec<u32>,
    vectors: Vec<f32>,
    /// What each vector is multiplied by.
    scales: Vec<f32>,
}

/// An index of documents 0 to n - 1, mapped.
pub struct ColbertIndex {
    dir: PathBuf,
    layout: Layout,
    steps: Steps,
    /// The values of each byte of a residual.
    values: Vec<f32>,
    /// `[k, dim]`.
    centroids: Vec<f32>,
    codes: Numbers,
    residuals: Numbers,
    ends: Numbers,
    lists: Numbers,
    list_ends: Numbers,
}

impl ColbertIndex {
    /// Opens an index.
    ///
    /// # Errors
    /// A file that is missing, cut short or of another version; numbers that lead past the end of another file.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(NAME);
        let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let again = "build the index again";
        let damaged = |what: String| Error::data(&path, None, what, again);
        let value: serde_json::Value = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        if value["version"] != VERSION {
            let what = format!("version {}, and this Sverka reads {VERSION}", value["version"]);
            return Err(Error::data(&path, None, what, "build the index again, or use the Sverka that built it"));
        }
        let layout: Layout = serde_json::from_value(value).map_err(|e| damaged(e.to_string()))?;
        let steps = Steps { bits: layout.bits, cuts: layout.cuts.clone(), values: layout.values.clone() };
        let fits = [2, 4].contains(&layout.bits)
            && layout.dim > 0
            && layout.documents <= u64::from(u32::MAX)
            && (steps.values.len(), steps.cuts.len() + 1) == (1 << layout.bits, 1 << layout.bits);
        if !fits {
            return Err(damaged("sizes that no index has".into()));
        }
        let Layout { dim, documents, vectors, centroids: k, list_bytes, .. } = layout;
        let wide = if k > 1 << 16 { 4 } else { 2 };
        let halves = Numbers::open::<u16>(dir, names::CENTROIDS, k.saturating_mul(dim as u64))?;
        let mut centroids = vec![0.0; k as usize * dim];
        kernels::widen(true, halves.of(), &mut centroids);
        let index = ColbertIndex {
            dir: dir.into(),
            values: steps.table(),
            centroids,
            codes: Numbers::open::<u8>(dir, names::CODES, vectors * wide)?,
            residuals: Numbers::open::<u8>(dir, names::RESIDUALS, vectors * steps.bytes(dim) as u64)?,
            ends: Numbers::open::<u64>(dir, names::ENDS, documents + 1)?,
            lists: Numbers::open::<u8>(dir, names::LISTS, list_bytes)?,
            list_ends: Numbers::open::<u64>(dir, names::LIST_ENDS, k + 1)?,
            steps,
            layout,
        };
        index.check()?;
        Ok(index)
    }

    /// No number leads past the end of what it points into.
    fn check(&self) -> Result<()> {
        let rises = |ends: &[u64], last: u64| {
            ends.first() == Some(&0) && ends.last() == Some(&last) && ends.windows(2).all(|w| w[0] <= w[1])
        };
        let Layout { documents, vectors, centroids, list_bytes, .. } = self.layout;
        let fault = if !rises(self.ends.of(), vectors) {
            Some(names::ENDS)
        } else if !rises(self.list_ends.of(), list_bytes) {
            Some(names::LIST_ENDS)
        } else if (0..centroids as usize).any(|at| self.list(at).any(|document| u64::from(document) >= documents)) {
            Some(names::LISTS)
        } else if !match self.is_wide() {
            true => self.codes.of::<u32>().iter().all(|code| u64::from(*code) < centroids),
            false => self.codes.of::<u16>().iter().all(|code| u64::from(*code) < centroids),
        } {
            Some(names::CODES)
        } else {
            None
        };
        let what = "numbers that lead past the end of another file";
        fault.map_or(Ok(()), |name| Err(Error::data(&self.dir.join(name), None, what, "build the index again")))
    }

    fn is_wide(&self) -> bool {
        self.layout.centroids > 1 << 16
    }

    /// How many documents it has.
    pub fn len(&self) -> usize {
        self.layout.documents as usize
    }
    /// True without a document.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// How many vectors it has.
    pub fn vectors(&self) -> u64 {
        self.layout.vectors
    }
    /// How many centroids it has.
    pub fn centroids(&self) -> u64 {
        self.layout.centroids
    }
    /// Width of a vector.
    pub fn dim(&self) -> usize {
        self.layout.dim
    }
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        let files = [&self.codes, &self.residuals, &self.ends, &self.lists, &self.list_ends];
        2 * self.centroids.len() as u64 + files.iter().map(|file| file.bytes.len() as u64).sum::<u64>()
    }

    /// The documents of a centroid.
    fn list(&self, centroid: usize) -> impl Iterator<Item = u32> {
        let ends = self.list_ends.of::<u64>();
        unpack(&self.lists.of::<u8>()[ends[centroid] as usize..ends[centroid + 1] as usize])
    }

    /// The centroids of a document's vectors.
    fn codes_of(&self, document: u32, to: &mut Vec<u32>) {
        let rows = self.rows(document);
        to.clear();
        match self.is_wide() {
            true => to.extend_from_slice(&self.codes.of::<u32>()[rows]),
            false => to.extend(self.codes.of::<u16>()[rows].iter().map(|code| u32::from(*code))),
        }
    }
    fn rows(&self, document: u32) -> std::ops::Range<usize> {
        let ends = self.ends.of::<u64>();
        ends[document as usize] as usize..ends[document as usize + 1] as usize
    }

    /// Decoded vectors of a document, `[n, dim]`.
    pub fn decoded(&self, document: u32) -> Vec<f32> {
        let mut scratch = Scratch::default();
        self.decode(document, &mut scratch);
        scratch.vectors
    }

    /// MaxSim of a document by its decoded vectors; `scratch` is used again from call to call.
    pub(in crate::index) fn score(&self, query: &Query, document: u32, scratch: &mut Scratch) -> f32 {
        self.decode(document, scratch);
        query.score(&scratch.vectors)
    }

    fn decode(&self, document: u32, scratch: &mut Scratch) {
        let (dim, each) = (self.layout.dim, 8 / self.layout.bits);
        let (rows, width) = (self.rows(document), self.steps.bytes(dim));
        let Scratch { codes, vectors, scales } = scratch;
        self.codes_of(document, codes);
        vectors.resize(rows.len() * dim, 0.0);
        scales.clear();
        let residuals = &self.residuals.of::<u8>()[rows.start * width..rows.end * width];
        for ((code, bytes), to) in codes.iter().zip(residuals.chunks_exact(width)).zip(vectors.chunks_exact_mut(dim)) {
            let centroid = &self.centroids[*code as usize * dim..][..dim];
            scales.push(decode(bytes, centroid, &self.values, each, to));
        }
        kernels::scale_rows(vectors, dim, rows.len(), dim, scales);
    }

    /// The `k` best documents for a query of vectors `[m, dim]`, best first; of equal scores the lower number first. Fewer where the lists that
    /// are read have fewer.
    ///
    /// # Errors
    /// Vectors of another width.
    pub fn search(&self, query: &[f32], k: usize, effort: Effort) -> Result<Vec<Hit>> {
        let dim = self.layout.dim;
        if !query.len().is_multiple_of(dim) {
            let (expected, got) = (format!("vectors {dim} wide"), format!("{} values", query.len()));
            return Err(Error::Shape { op: "colbert search", expected, got });
        }
        if query.is_empty() || k == 0 || self.centroids.is_empty() {
            return Ok(Vec::new());
        }
        let products = Products::new(query, &self.centroids, dim);
        let wanted = effort.decoded.max(2 * k);
        let candidates = self.by_lists(&products.nearest(effort.probes), wanted.saturating_mul(PER_DECODED));
        let candidates = match candidates.len() > wanted {
            false => candidates,
            true => best(self.by_centroids(&products, &candidates), wanted).map(|hit| hit.document).collect(),
        };
        let query = Query::new(query, dim);
        let score = |scratch: &mut Scratch, document: &u32| Hit {
            document: *document,
            score: self.score(&query, *document, scratch),
        };
        let mut hits: Vec<Hit> = candidates.par_iter().map_init(Scratch::default, score).collect();
        hits.sort_unstable_by(Hit::best_first);
        hits.truncate(k);
        Ok(hits)
    }

    /// The documents of some lists, `wanted` at most: the best by what their lists say. `probed` has for each token of the query the centroids nearest
    /// to it with their products, best first; a document without a list of a token is taken to be as near as the last of these, as in XTR
    /// (Lee et al., "Rethinking the Role of Token Retrieval in Multi-Vector Retrieval", NeurIPS 2023).
    fn by_lists(&self, probed: &[Vec<(u32, f32)>], wanted: usize) -> Vec<u32> {
        let (mut gain, mut last_token) = (vec![0f32; self.len()], vec![0u32; self.len()]);
        let mut found = Vec::new();
        for (lists, token) in probed.iter().zip(1..) {
            let least = lists.last().map_or(0.0, |(_, product)| *product);
            for (centroid, product) in lists {
                for document in self.list(*centroid as usize) {
                    let (gain, last) = (&mut gain[document as usize], &mut last_token[document as usize]);
                    if *last == 0 {
                        found.push(document);
                    }
                    // the first list of a token is its best
                    if *last < token {
                        (*last, *gain) = (token, *gain + product - least);
                    }
                }
            }
        }
        if found.len() <= wanted {
            return found;
        }
        let hits = found.iter().map(|&document| Hit { document, score: gain[document as usize] }).collect();
        best(hits, wanted).map(|hit| hit.document).collect()
    }

    /// Scores by centroids alone.
    fn by_centroids(&self, products: &Products, candidates: &[u32]) -> Vec<Hit> {
        let score = |codes: &mut Vec<u32>, document: &u32| {
            self.codes_of(*document, codes);
            // neighbours often share a centroid, and twice the same is the same
            codes.dedup();
            let mut sum = 0f32;
            for first in (0..products.tokens).step_by(QUERY_TOKENS) {
                let mut top = [0f32; QUERY_TOKENS];
                kernels::largest_rows(&products.values[first..], products.width, codes, &mut top);
                sum += top[..(products.tokens - first).min(QUERY_TOKENS)].iter().sum::<f32>();
            }
            Hit { document: *document, score: sum }
        };
        candidates.par_iter().map_init(Vec::new, score).collect()
    }

    /// What a query loses by coding: exact vectors `[n, dim]` of a document against its decoded ones, as a mean cosine. For reports.
    pub fn fidelity(&self, document: u32, exact: &[f32]) -> f32 {
        let (dim, decoded) = (self.layout.dim, self.decoded(document));
        let pairs = exact.chunks_exact(dim).zip(decoded.chunks_exact(dim));
        let cosine = |(a, b): (&[f32], &[f32])| {
            let mut a = a.to_vec();
            normalize(&mut a);
            a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>()
        };
        let n = pairs.len().max(1) as f32;
        pairs.map(cosine).sum::<f32>() / n
    }
}
