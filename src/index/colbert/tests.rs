//! The index against exact MaxSim over the same vectors.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::codec::normalize;
use super::*;
use crate::nn::maxsim::Query;
use crate::ranker::{Hit, MultiVectors};

const DIM: usize = 32;

/// Documents of tokens near some topics of their own.
fn documents(n: usize, seed: u64) -> MultiVectors {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = |center: Option<&[f32]>| {
        let mut v: Vec<f32> =
            (0..DIM).map(|k| center.map_or(0.0, |c| 3.0 * c[k]) + rng.random_range(-1.0f32..1.0)).collect();
        normalize(&mut v);
        v
    };
    let topics: Vec<Vec<f32>> = (0..300).map(|_| draw(None)).collect();
    let mut all = MultiVectors::new(DIM);
    for document in 0..n {
        let tokens: Vec<f32> = (0..5 + document % 20)
            .flat_map(|at| draw(Some(&topics[(document * 7 + at / 3 * 31) % topics.len()])))
            .collect();
        all.push(&tokens);
    }
    all
}

fn build(dir: &Path, documents: &MultiVectors, settings: ColbertSettings) -> Result<ColbertIndex> {
    let mut builder = ColbertBuilder::new(dir, DIM, settings)?;
    builder.add(documents)?;
    builder.finish(&|_, _| ())?;
    ColbertIndex::open(dir)
}

fn exact(query: &[f32], documents: &MultiVectors, k: usize) -> Vec<u32> {
    let query = Query::new(query, DIM);
    let mut hits: Vec<(f32, u32)> =
        (0..documents.len()).map(|at| (query.score(documents.text(at)), at as u32)).collect();
    hits.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    hits.into_iter().take(k).map(|(_, at)| at).collect()
}

fn recall(index: &ColbertIndex, all: &MultiVectors, effort: Effort) -> f64 {
    let (mut found, mut wanted) = (0, 0);
    for at in (0..all.len()).step_by(97) {
        // half of a document's tokens ask
        let query = &all.text(at)[..all.text(at).len() / DIM / 2 * DIM];
        let hits: Vec<u32> = index.search(query, 20, effort).unwrap().iter().map(|hit| hit.document).collect();
        let best = exact(query, all, 20);
        (found, wanted) = (found + best.iter().filter(|d| hits.contains(d)).count(), wanted + best.len());
    }
    f64::from(found as u32) / f64::from(wanted as u32)
}

#[test]
fn what_is_found_is_what_exact_scores_find_and_more_bits_and_probes_find_more() {
    let (dir, all) = (tempfile::tempdir().unwrap(), documents(3000, 1));
    let index = |name: &str, bits: usize| {
        let out = dir.path().join(name);
        std::fs::create_dir(&out).unwrap();
        build(&out, &all, ColbertSettings { bits, ..ColbertSettings::default() }).unwrap()
    };
    let (four, two) = (index("4", 4), index("2", 2));
    let wide = Effort { probes: 32, decoded: 1024 };
    let (best, coarse) = (recall(&four, &all, wide), recall(&two, &all, wide));
    assert!(best > 0.85 && coarse <= best, "{best} {coarse}");
    assert!(recall(&four, &all, Effort { probes: 1, decoded: 40 }) < best);
    assert!(two.bytes() < four.bytes() && four.vectors() == all.ends[3000] as u64);
    assert!(four.fidelity(5, all.text(5)) > 0.98);
    // the same build gives the same files
    let again = index("again", 4);
    let hits = |index: &ColbertIndex| index.search(all.text(3), 10, wide).unwrap();
    assert_eq!(hits(&again), hits(&four));
    for file in [names::CENTROIDS, names::CODES, names::RESIDUALS, names::LISTS] {
        let [a, b] = ["4", "again"].map(|name| std::fs::read(dir.path().join(name).join(file)).unwrap());
        assert!(a == b, "{file}");
    }
}

#[test]
fn edges_of_a_search_and_of_a_collection() {
    let dir = tempfile::tempdir().unwrap();
    let empty = build(dir.path(), &MultiVectors::new(DIM), ColbertSettings::default()).unwrap();
    assert!(empty.is_empty() && empty.search(&[1.0; DIM], 5, Effort::default()).unwrap().is_empty());
    let dir = tempfile::tempdir().unwrap();
    let few = documents(3, 2);
    let index = build(dir.path(), &few, ColbertSettings { pool_factor: 2, ..ColbertSettings::default() }).unwrap();
    assert!(index.vectors() < few.ends[3] as u64, "pooled");
    let hits: Vec<Hit> = index.search(few.text(1), 100, Effort { probes: usize::MAX, decoded: 1 }).unwrap();
    assert_eq!((hits.len(), hits[0].document), (3, 1), "k past the collection");
    assert!(index.search(&[], 5, Effort::default()).unwrap().is_empty(), "a query without a token");
    assert!(index.search(few.text(0), 0, Effort::default()).unwrap().is_empty());
    assert!(index.search(&[1.0; 3], 1, Effort::default()).is_err());
    let refused = ColbertBuilder::new(dir.path(), DIM, ColbertSettings { bits: 3, ..ColbertSettings::default() });
    assert!(refused.err().unwrap().to_string().contains("bits = 3"));
}

#[test]
fn files_that_are_cut_short_or_changed_are_refused() {
    let (dir, few) = (tempfile::tempdir().unwrap(), documents(40, 3));
    drop(build(dir.path(), &few, ColbertSettings::default()).unwrap());
    for file in [names::CENTROIDS, names::CODES, names::RESIDUALS, names::ENDS, names::LISTS, names::LIST_ENDS, NAME] {
        let path = dir.path().join(file);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let error = ColbertIndex::open(dir.path()).err().unwrap();
        assert!(error.is_user_error() && error.to_string().contains(file), "{error}");
        if [names::CODES, names::ENDS, names::LISTS, names::LIST_ENDS].contains(&file) {
            std::fs::write(&path, vec![0xff; whole.len()]).unwrap();
            let error = ColbertIndex::open(dir.path()).err().unwrap().to_string();
            assert!(error.contains("past the end"), "{error}");
        }
        std::fs::write(&path, whole).unwrap();
    }
    assert!(ColbertIndex::open(dir.path()).is_ok());
}

#[test]
fn an_index_of_another_version_names_its_file_and_the_remedy() {
    let (dir, few) = (tempfile::tempdir().unwrap(), documents(5, 3));
    drop(build(dir.path(), &few, ColbertSettings::default()).unwrap());
    let path = dir.path().join(NAME);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"version\": 2"), "{text}");
    // a later one may have keys that this one does not know
    for other in ["\"version\": 1", "\"version\": 3, \"more\": []", "\"version\": \"2\""] {
        std::fs::write(&path, text.replace("\"version\": 2", other)).unwrap();
        let error = ColbertIndex::open(dir.path()).err().unwrap();
        let said = error.to_string();
        assert!(error.is_user_error() && said.contains(&*path.to_string_lossy()), "{said}");
        assert!(said.contains("and this Sverka reads 2") && said.contains("build the index again"), "{said}");
    }
}
