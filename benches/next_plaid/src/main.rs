//! Sverka's ColBERT index and the crate next-plaid, both at 4 bits, on the same vectors in the same run: seconds to build, bytes a vector on the
//! disk, and for several efforts how many of the exact 100 best documents are found and how long a query takes.
//!
//! ```text
//! scripts/repeat-passages ../shared/data/scifact 100000 /tmp/passages
//! cargo run --release --manifest-path benches/next_plaid/Cargo.toml -- --model runs/scifact-colbert/model --data /tmp/passages --documents 25000
//! ```
//!
//! The model is a ColBERT, the data a folder in BEIR's form; its first documents are indexed and its first 100 queries (`--queries`) asked, on 2
//! threads (`--threads`). Vectors of documents are kept in f16.
//!
//! What the efforts mean, since their parameters do not map one to one. Both read the lists of the centroids nearest to each token of a query.
//! Sverka then keeps the `8 * decoded` documents that the lists themselves put first, scores these by their centroids and decodes the best
//! `decoded`. next-plaid scores all documents of the lists by their centroids and decodes the best `n_full_scores / 4`. So `n_full_scores` 4096
//! decodes as many documents as `decoded` 1024, and 1024 a quarter of them. `centroid_score_threshold` is off; on, it drops documents unseen.
//! next-plaid is built without BLAS; `--points` is its `max_points_per_centroid`, the vectors k-means looks at for each centroid.

use std::collections::HashSet;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

use half::f16;
use half::slice::HalfFloatSliceExt;
use ndarray::Array2;
use next_plaid::{IndexConfig, MmapIndex, SearchParameters};
use rayon::prelude::*;
use sverka::bundle::Bundle;
use sverka::data::read_beir;
use sverka::index::colbert::{ColbertBuilder, ColbertIndex, ColbertSettings, Effort};
use sverka::nn::Device;
use sverka::nn::maxsim::{Query, Stored};
use sverka::ranker::{Input, LateEncoder, MultiVectors};
use sverka::records::Record;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Documents that are looked for.
const K: usize = 100;
/// Lists that are read, for each token of a query.
const PROBES: [usize; 4] = [4, 8, 16, 32];
/// Times that each effort has its turn.
const ROUNDS: usize = 2;

struct Documents {
    dim: usize,
    vectors: Vec<u16>,
    ends: Vec<usize>,
}

impl Documents {
    fn encode(encoder: &impl LateEncoder, records: &[Record]) -> Result<Self> {
        let mut documents = Documents { dim: encoder.dim(), vectors: Vec::new(), ends: vec![0] };
        for records in records.chunks(256) {
            let encoded = encoder.encode_documents(&records.iter().map(Input::from).collect::<Vec<_>>())?;
            for at in 0..encoded.len() {
                documents.vectors.extend(encoded.text(at).iter().map(|value| f16::from_f32(*value).to_bits()));
                documents.ends.push(documents.vectors.len() / documents.dim);
            }
        }
        Ok(documents)
    }
    fn len(&self) -> usize {
        self.ends.len() - 1
    }
    fn halves(&self, at: usize) -> &[u16] {
        &self.vectors[self.ends[at] * self.dim..self.ends[at + 1] * self.dim]
    }
    fn values(&self, at: usize) -> Vec<f32> {
        bytemuck::cast_slice::<u16, f16>(self.halves(at)).to_f32_vec()
    }
}

/// The exact `K` best documents of each query.
fn exact(documents: &Documents, queries: &[Vec<f32>]) -> Vec<HashSet<usize>> {
    let packed: Vec<Query> = queries.iter().map(|query| Query::new(query, documents.dim)).collect();
    let of_document = |scratch: &mut Vec<f32>, at: usize| -> Vec<f32> {
        packed.iter().map(|query| query.score_stored(Stored::F16(documents.halves(at)), scratch)).collect()
    };
    let scores: Vec<Vec<f32>> = (0..documents.len()).into_par_iter().map_init(Vec::new, of_document).collect();
    let best = |query: usize| {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*b][query].total_cmp(&scores[*a][query]));
        order.into_iter().take(K).collect()
    };
    (0..queries.len()).map(best).collect()
}

fn build_ours(dir: &Path, documents: &Documents) -> Result<ColbertIndex> {
    let mut builder = ColbertBuilder::new(dir, documents.dim, ColbertSettings { bits: 4, ..Default::default() })?;
    for first in (0..documents.len()).step_by(256) {
        let mut some = MultiVectors::new(documents.dim);
        (first..documents.len().min(first + 256)).for_each(|at| some.push(&documents.values(at)));
        builder.add(&some)?;
    }
    builder.finish(&|_, _| ())?;
    Ok(ColbertIndex::open(dir)?)
}

fn build_peer(dir: &Path, documents: &Documents, points: usize) -> Result<MmapIndex> {
    let matrix = |at| {
        let values = documents.values(at);
        Array2::from_shape_vec((values.len() / documents.dim, documents.dim), values)
    };
    let arrays = (0..documents.len()).map(matrix).collect::<std::result::Result<Vec<_>, _>>()?;
    let config = IndexConfig { nbits: 4, max_points_per_centroid: points, ..Default::default() };
    Ok(MmapIndex::create_with_kmeans(&arrays, dir.to_str().ok_or("a folder whose name is no text")?, &config)?)
}

/// Bytes of the files whose names begin with `prefix`.
fn bytes(dir: &Path, prefix: &str) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            sum += entry.metadata()?.len();
        }
    }
    Ok(sum)
}

/// One effort of one index, and what was measured.
struct Contender<'a> {
    name: String,
    search: Box<dyn Fn(usize) -> Result<Vec<usize>> + 'a>,
    found: usize,
    ms: Vec<f64>,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let given = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let path = |name: &str| given(name).map(Path::new).ok_or(format!("{name} PATH is missing"));
    let number = |name: &str, default: usize| given(name).map_or(Ok(default), |text| text.parse());
    let threads = number("--threads", 2)?;
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;

    let bundle = Bundle::open(path("--model")?, None, Device::Cpu)?;
    let encoder = bundle.late_encoder().ok_or("no ColBERT")?;
    let (mut collection, _) = read_beir(path("--data")?)?;
    collection.documents.truncate(number("--documents", usize::MAX)?);
    collection.queries.truncate(number("--queries", 100)?);
    let documents = Documents::encode(&encoder, &collection.documents)?;
    let asked: Vec<Input> = collection.queries.iter().map(|query| Input::Text(&query.text)).collect();
    let encoded = encoder.encode_queries(&asked)?;
    let queries: Vec<Vec<f32>> = (0..encoded.len()).map(|at| encoded.text(at).to_vec()).collect();
    let (dim, total) = (documents.dim, documents.vectors.len() / documents.dim);
    println!("{} documents, {total} vectors {dim} wide, {threads} threads", documents.len());

    let report = |name: &str, seconds: f64, dir: &Path, centroids: usize| -> Result<()> {
        let each = bytes(dir, "")? as f64 / total as f64;
        println!("{name}: built in {seconds:.1} s, {each:.1} bytes a vector on the disk, {centroids} centroids");
        Ok(())
    };
    let (our_dir, peer_dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let start = Instant::now();
    let peer = build_peer(peer_dir.path(), &documents, number("--points", 256)?)?;
    report("next-plaid", start.elapsed().as_secs_f64(), peer_dir.path(), peer.num_partitions())?;
    let merged = bytes(peer_dir.path(), "merged")? as f64 / total as f64;
    println!("next-plaid: {merged:.1} of these bytes are the merged copies that it searches");
    let start = Instant::now();
    let ours = build_ours(our_dir.path(), &documents)?;
    report("sverka", start.elapsed().as_secs_f64(), our_dir.path(), ours.centroids() as usize)?;

    let start = Instant::now();
    let exact = exact(&documents, &queries);
    let ms = start.elapsed().as_secs_f64() * 1e3 / queries.len() as f64;
    println!("exact: {ms:.1} ms a query, {} queries", queries.len());
    drop(documents);

    let matrix = |query: &Vec<f32>| Array2::from_shape_vec((query.len() / dim, dim), query.clone());
    let matrices = queries.iter().map(matrix).collect::<std::result::Result<Vec<_>, _>>()?;
    let mut contenders = Vec::new();
    let (ours, peer, queries, matrices) = (&ours, &peer, &queries, &matrices);
    for probes in PROBES {
        let search = move |at: usize| -> Result<Vec<usize>> {
            let hits = ours.search(&queries[at], K, Effort { probes, decoded: 1024 })?;
            Ok(hits.iter().map(|hit| hit.document as usize).collect())
        };
        let name = format!("sverka      probes {probes:2}  decoded       1024");
        contenders.push(Contender { name, search: Box::new(search), found: 0, ms: Vec::new() });
    }
    for (scored, probes) in [1024, 4096].into_iter().flat_map(|scored| PROBES.map(|probes| (scored, probes))) {
        let parameters = SearchParameters {
            n_full_scores: scored,
            top_k: K,
            n_ivf_probe: probes,
            centroid_score_threshold: None,
            ..Default::default()
        };
        let search = move |at: usize| -> Result<Vec<usize>> {
            let hits = peer.search(&matrices[at], &parameters, None)?;
            Ok(hits.passage_ids.iter().map(|id| *id as usize).collect())
        };
        let name = format!("next-plaid  probes {probes:2}  n_full_scores {scored}");
        contenders.push(Contender { name, search: Box::new(search), found: 0, ms: Vec::new() });
    }
    // in turns, so that a machine whose speed drifts drifts under all of them; the first round reads the files and is not counted
    for round in 0..=ROUNDS {
        for contender in &mut contenders {
            for (at, exact) in exact.iter().enumerate() {
                let start = Instant::now();
                let hits = (contender.search)(at)?;
                let ms = start.elapsed().as_secs_f64() * 1e3;
                if round > 0 {
                    contender.ms.push(ms);
                    contender.found += hits.iter().filter(|hit| exact.contains(hit)).count();
                }
            }
        }
    }
    println!("\n{:45} recall@{K}   p50 ms   p95 ms", "");
    let wanted: usize = exact.iter().map(HashSet::len).sum::<usize>() * ROUNDS;
    for Contender { name, found, mut ms, .. } in contenders {
        ms.sort_by(f64::total_cmp);
        let at = |share: usize| ms[(ms.len() - 1) * share / 100];
        println!("{name:45} {:10.4} {:8.1} {:8.1}", found as f64 / wanted as f64, at(50), at(95));
    }
    Ok(())
}
