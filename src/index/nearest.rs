//! The dense index: the vectors of a generation, all of them compared with a query, or only those in the lists nearest to it.
//!
//! To some 200,000 vectors every one is compared: exact, nothing to tune, some hundredths of a second. Past that they are divided into about `4 sqrt(n)`
//! lists by their nearest centroid (an inverted file: Sivic and Zisserman, "Video Google", ICCV 2003; Jégou et al., TPAMI 2011), and a query is
//! compared exactly with the vectors of the nearest lists. How many lists that takes is found at building, not guessed: of 200 vectors as
//! queries the exact neighbours are looked up, and as many lists are read as hold .98 of these. What was measured is stored with the index
//! and is in every report. Queries of a model whose queries are far from its documents may need more: judged queries show it.
//!
//! Refused: graphs (HNSW; hannoy over LMDB). They are a database in a database, whose commits come on top of the generations'; a build in parallel
//! differs from run to run; and of a list that is read the exact order comes for nothing.

use std::path::Path;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::array::{Array, Sink};
use super::colbert::codec::{Clusters, normalize};
use super::manifest::{IndexManifest, Method, Nearest};
use super::strings::damaged;
use super::vectors::{VectorFile, dot};
use crate::ranker::{Hit, Vectors};
use crate::{Error, Result};

/// The vectors' file.
pub(super) const VECTORS: &str = "vectors";
/// The file that says what the lists are, if there are any.
const HEADER: &str = "lists.json";
const CENTROIDS: &str = "list-centroids";
const STARTS: &str = "list-starts";
const MEMBERS: &str = "list-members";
const VERSION: u32 = 1;
/// Vectors that are all compared with a query where nothing else is asked for.
const EXACT: usize = 200_000;
/// Lists for each vector's square root.
const LISTS: f64 = 4.0;
/// Vectors a list that centroids are found in.
const SAMPLED: usize = 32;
/// The share of the exact neighbours that shall be in the lists that are read.
const WANTED: f64 = 0.98;
/// Vectors that are queries for measuring, and how many of their neighbours count.
const QUERIES: usize = 200;
const DEPTH: usize = 100;
/// Vectors that are assigned at once.
const ROWS: usize = 1 << 14;
const SEED: u64 = 18;

/// How the vectors of a generation are searched, and what that finds of what comparing all of them finds: in the mean over vectors of the index as
/// queries, without themselves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NearestReport {
    /// Lists that the vectors are divided into; 0: all vectors are compared.
    pub lists: u32,
    /// Lists that are read for a query of up to 100 documents.
    pub probes: u32,
    /// Vectors that were queries.
    pub queries: u32,
    /// Share of the ten best that is found.
    pub recall_at_10: f64,
    /// Share of the hundred best that is found.
    pub recall_at_100: f64,
}

impl NearestReport {
    /// Where all are compared nothing is lost.
    const EXACT: NearestReport =
        NearestReport { lists: 0, probes: 0, queries: 0, recall_at_10: 1.0, recall_at_100: 1.0 };
}

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    report: NearestReport,
}

/// The vectors of one generation, to be searched.
pub(super) struct DenseIndex {
    pub(super) vectors: VectorFile,
    lists: Option<Lists>,
}

struct Lists {
    report: NearestReport,
    /// `[lists, dim]`.
    centroids: Array<f32>,
    /// Where each list's members start, and the end, `[lists + 1]`.
    starts: Array<u32>,
    /// Documents, list by list, ascending in each, `[n]`.
    members: Array<u32>,
}

/// Divides the vectors that are in a folder into lists, if there are many or the setting says so. `progress` gets vectors divided, of how many.
pub(super) fn write(dir: &Path, nearest: Nearest, progress: &dyn Fn(u64, u64)) -> Result<()> {
    let file = VectorFile::open(&dir.join(VECTORS))?;
    let (n, dim) = (file.len(), file.dim());
    let wanted = match nearest {
        Nearest::Auto => n > EXACT,
        Nearest::Exact => false,
        Nearest::Lists => n > 0,
    };
    if !wanted {
        return Ok(());
    }
    progress(0, n as u64);
    let k = ((LISTS * (n as f64).sqrt()) as usize).clamp(1, n);
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut draw = |count: usize| -> Vec<u32> {
        rand::seq::index::sample(&mut rng, n, count.min(n)).into_iter().map(|at| at as u32).collect()
    };
    let unit = |numbers: &[u32]| {
        let mut rows = file.rows(numbers);
        rows.par_chunks_exact_mut(dim).for_each(normalize);
        rows
    };
    let clusters = Clusters::train(&unit(&draw(k * SAMPLED)), dim, k, SEED);
    let lists = clusters.centroids.len() / dim;
    let mut own = Vec::with_capacity(n);
    for first in (0..n).step_by(ROWS) {
        let numbers: Vec<u32> = (first as u32..n.min(first + ROWS) as u32).collect();
        own.extend(clusters.assign(&unit(&numbers)));
        progress(own.len() as u64, n as u64);
    }
    let mut starts = vec![0u32; lists + 1];
    own.iter().for_each(|list| starts[*list as usize + 1] += 1);
    (0..lists).for_each(|list| starts[list + 1] += starts[list]);
    let (mut next, mut members) = (starts.clone(), vec![0u32; n]);
    for (document, list) in own.iter().enumerate() {
        let place = &mut next[*list as usize];
        members[*place as usize] = document as u32;
        *place += 1;
    }
    let report = measured(&file, &clusters.centroids, &own, &draw(QUERIES))?;
    put(dir, CENTROIDS, &clusters.centroids)?;
    put(dir, STARTS, &starts)?;
    put(dir, MEMBERS, &members)?;
    let path = dir.join(HEADER);
    let text = serde_json::to_string(&Header { version: VERSION, report });
    let text = text.map_err(|e| Error::Internal { op: "write lists.json", what: e.to_string() })?;
    std::fs::write(&path, text).map_err(Error::io("write", &path))
}

fn put<T: bytemuck::Pod>(dir: &Path, name: &str, values: &[T]) -> Result<()> {
    let mut sink = Sink::new(Some(dir), name)?;
    sink.extend(values)?;
    sink.finish().map(drop)
}

/// The fewest lists that hold enough of the exact neighbours of some vectors, and how many they hold. A neighbour is found if its list is read, since
/// what is read is compared exactly.
fn measured(file: &VectorFile, centroids: &[f32], own: &[u32], queries: &[u32]) -> Result<NearestReport> {
    let (dim, lists) = (file.dim(), centroids.len() / file.dim());
    let vectors = Vectors { dim, values: file.rows(queries) };
    let exact = file.top(&vectors, DEPTH + 1)?;
    let needed = |at: usize| -> Vec<u32> {
        let mut ranks = vec![0u32; lists];
        by_nearness(centroids, vectors.row(at))
            .into_iter()
            .zip(1..)
            .for_each(|(list, rank)| ranks[list as usize] = rank);
        let others = exact[at].iter().filter(|hit| hit.document != queries[at]).take(DEPTH);
        others.map(|hit| ranks[own[hit.document as usize] as usize]).collect()
    };
    let needed: Vec<Vec<u32>> = (0..queries.len()).into_par_iter().map(needed).collect();
    let recall = |probes: u32, k: usize| {
        let near = || needed.iter().flat_map(|of| of.iter().take(k));
        let found = near().filter(|rank| **rank <= probes).count();
        if near().next().is_none() { 1.0 } else { found as f64 / near().count() as f64 }
    };
    let enough = |probes: &u32| recall(*probes, 10) >= WANTED && recall(*probes, DEPTH) >= WANTED;
    let probes = (1..=lists as u32).find(enough).unwrap_or(lists as u32);
    Ok(NearestReport {
        lists: lists as u32,
        probes,
        queries: queries.len() as u32,
        recall_at_10: recall(probes, 10),
        recall_at_100: recall(probes, DEPTH),
    })
}

/// All lists by the products of their centroids `[lists, dim]` with a query `[dim]`, the nearest first.
fn by_nearness(centroids: &[f32], query: &[f32]) -> Vec<u32> {
    let products: Vec<f32> = centroids.chunks_exact(query.len()).map(|centroid| dot(query, centroid)).collect();
    let mut order: Vec<u32> = (0..products.len() as u32).collect();
    order.sort_unstable_by(|a, b| products[*b as usize].total_cmp(&products[*a as usize]).then(a.cmp(b)));
    order
}

impl DenseIndex {
    /// Opens what is in a generation's folder.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let vectors = VectorFile::open(&dir.join(VECTORS))?;
        let Some(report) = report(dir)? else { return Ok(DenseIndex { vectors, lists: None }) };
        let lists = u64::from(report.lists);
        let of = Lists {
            report,
            centroids: Array::open(&dir.join(CENTROIDS), lists.saturating_mul(vectors.dim() as u64))?,
            starts: Array::open(&dir.join(STARTS), lists + 1)?,
            members: Array::open(&dir.join(MEMBERS), vectors.len() as u64)?,
        };
        let fits = of.starts.is_sorted() && of.starts.last() == Some(&(vectors.len() as u32));
        if fits { Ok(DenseIndex { vectors, lists: Some(of) }) } else { Err(damaged(&dir.join(STARTS))) }
    }

    /// For each query about the `k` vectors of the largest products, best first; of equal ones the lower number first. As many as there are, up
    /// to `k`.
    pub(super) fn top(&self, queries: &Vectors, k: usize) -> Result<Vec<Vec<Hit>>> {
        let Some(lists) = &self.lists else { return self.vectors.top(queries, k) };
        if k == 0 || queries.is_empty() || queries.dim != self.vectors.dim() {
            return self.vectors.top(queries, k);
        }
        let top = |query: usize| self.vectors.top_among(queries.row(query), &lists.near(queries.row(query), k), k);
        Ok((0..queries.len()).into_par_iter().map(top).collect())
    }
}

impl Lists {
    /// The documents that a query `[dim]` is compared with.
    fn near(&self, query: &[f32], k: usize) -> Vec<u32> {
        let probes = (self.report.probes as usize).saturating_mul(k.div_ceil(DEPTH));
        let mut documents = Vec::new();
        for (place, list) in by_nearness(&self.centroids, query).into_iter().enumerate() {
            if place >= probes && documents.len() >= k {
                break;
            }
            let [start, end] = [0, 1].map(|at| self.starts[list as usize + at] as usize);
            let members = self.members[start..end].iter().copied();
            // a damaged file has no numbers past the end, either
            documents.extend(members.filter(|document| (*document as usize) < self.members.len()));
        }
        documents
    }
}

/// What is said of the lists in a folder; none without lists.
fn report(dir: &Path) -> Result<Option<NearestReport>> {
    let path = dir.join(HEADER);
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(|_| damaged(&path))?;
    if value["version"] != VERSION {
        let what = format!("lists of version {}, not {VERSION}", value["version"]);
        return Err(Error::data(&path, None, what, "build the index again"));
    }
    let header: Header = serde_json::from_value(value).map_err(|_| damaged(&path))?;
    Ok(Some(header.report))
}

/// How each generation of an index that has one vector a document is searched, by the generation's name; empty for an index of another kind.
///
/// # Errors
/// A file that is damaged.
pub fn nearest_reports(dir: &Path, manifest: &IndexManifest) -> Result<Vec<(String, NearestReport)>> {
    if !manifest.settings.methods.contains(&Method::Dense) {
        return Ok(Vec::new());
    }
    let with_documents = manifest.generations.iter().filter(|generation| generation.documents > 0);
    let of = |folder: &String| {
        let report = report(&dir.join(folder).join(Method::Dense.name()))?.unwrap_or(NearestReport::EXACT);
        Ok((folder.clone(), report))
    };
    with_documents.map(|generation| of(&generation.folder)).collect()
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;

    use super::super::manifest::Stored;
    use super::super::vectors::VectorsWriter;
    use super::*;

    /// Vectors around centres, `[n, dim]`.
    fn around(n: usize, dim: usize, seed: u64) -> Vectors {
        let mut centres = ChaCha8Rng::seed_from_u64(1);
        let centres: Vec<f32> = (0..60 * dim).map(|_| centres.random_range(-1.0..1.0)).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut values = Vec::with_capacity(n * dim);
        for _ in 0..n {
            let centre = &centres[rng.random_range(0..60) * dim..][..dim];
            let mut vector: Vec<f32> = centre.iter().map(|x| x + rng.random_range(-0.6f32..0.6)).collect();
            normalize(&mut vector);
            values.extend(vector);
        }
        Vectors { dim, values }
    }

    fn written(dir: &Path, vectors: &Vectors, nearest: Nearest) -> Result<DenseIndex> {
        std::fs::create_dir(dir).unwrap();
        let mut writer = VectorsWriter::create(&dir.join(VECTORS), Stored::F16)?;
        writer.push(vectors)?;
        writer.finish()?;
        let reports = std::cell::RefCell::new(Vec::new());
        write(dir, nearest, &|done, all| reports.borrow_mut().push((done, all)))?;
        let (reports, all) = (reports.into_inner(), vectors.len() as u64);
        assert!(nearest != Nearest::Lists || reports.first() == Some(&(0, all)) && reports.last() == Some(&(all, all)));
        DenseIndex::open(dir)
    }

    #[test]
    fn lists_find_what_the_report_says_and_read_a_part() {
        let dir = tempfile::tempdir().unwrap();
        let (documents, queries) = (around(9000, 24, 2), around(200, 24, 3));
        let index = written(&dir.path().join("a"), &documents, Nearest::Lists).unwrap();
        let report = report(&dir.path().join("a")).unwrap().unwrap();
        assert!(report.recall_at_10 >= WANTED && report.recall_at_100 >= WANTED && report.queries == 200, "{report:?}");
        assert!((300..500).contains(&report.lists) && report.probes < report.lists / 2, "{report:?}");
        for k in [10, 100] {
            let (exact, found) = (index.vectors.top(&queries, k).unwrap(), index.top(&queries, k).unwrap());
            let common: usize =
                exact.iter().zip(&found).map(|(e, f)| e.iter().filter(|hit| f.contains(hit)).count()).sum();
            assert!(common as f64 >= 0.95 * (200 * k) as f64, "recall at {k}: {common} of {}", 200 * k);
            assert!(found.iter().all(|found| found.len() == k));
            let alone = |at: usize| Vectors { dim: 24, values: queries.row(at).to_vec() };
            assert_eq!(index.top(&alone(7), k).unwrap()[0], found[7], "a query alone finds the same");
        }
        let all = index.top(&queries, 9000).unwrap();
        assert_eq!(all, index.vectors.top(&queries, 9000).unwrap(), "all lists are all documents");
        let again = written(&dir.path().join("b"), &documents, Nearest::Lists).unwrap();
        assert_eq!(again.top(&queries, 10).unwrap(), index.top(&queries, 10).unwrap(), "the same each time");
        for name in [HEADER, CENTROIDS, STARTS, MEMBERS] {
            let path = dir.path().join("b").join(name);
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
            assert!(DenseIndex::open(&dir.path().join("b")).is_err(), "{name}");
            std::fs::write(&path, &bytes).unwrap();
        }
        let path = dir.path().join("b").join(HEADER);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\"version\":1", "\"version\":9,\"more\":0")).unwrap();
        let error = DenseIndex::open(&dir.path().join("b")).err().unwrap();
        let said = error.to_string();
        assert!(error.is_user_error() && said.contains(&*path.to_string_lossy()), "{said}");
        assert!(said.contains("lists of version 9, not 1") && said.contains("build the index again"), "{said}");
    }

    #[test]
    fn few_vectors_equal_ones_and_zeros_have_lists_too() {
        let dir = tempfile::tempdir().unwrap();
        let of = |values: &[f32]| Vectors { dim: 2, values: values.to_vec() };
        let cases: [&[f32]; 4] =
            [&[1.0, 0.0], &[0.0, 0.0, 0.0, 0.0], &[1.0, 0.0, 1.0, 0.0, 1.0, 0.0], &[3.0, 0.0, 0.0, 0.5]];
        for (case, values) in cases.iter().enumerate() {
            let index = written(&dir.path().join(case.to_string()), &of(values), Nearest::Lists).unwrap();
            let query = of(&[1.0, 0.5]);
            assert_eq!(index.top(&query, 5).unwrap(), index.vectors.top(&query, 5).unwrap(), "{values:?}");
            assert!(index.top(&query, 0).unwrap()[0].is_empty() && index.top(&of(&[]), 3).unwrap().is_empty());
        }
        assert!(written(&dir.path().join("few"), &of(cases[0]), Nearest::Auto).unwrap().lists.is_none());
        let index = written(&dir.path().join("wide"), &of(cases[3]), Nearest::Lists).unwrap();
        assert!(index.top(&Vectors { dim: 1, values: vec![1.0] }, 3).is_err());
    }
}
