//! What an index promises: updates and compaction find what a fresh index finds, readers and commits do not disturb one another, and
//! what is damaged is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::RngExt as _;
use rand::SeedableRng as _;

use super::colbert::Effort;
use super::*;
use crate::bundle::{Architecture, Manifest};
use crate::models::dssm;
use crate::text::TextConfig;
use crate::{Input, Record, Result, testing};

const WORDS: &str = "lamp red sony camera dsc w120 500ml a b c d e f g h i j k 4 6 7";
const LATE: [&[Method]; 2] = [&[Method::Colbert], &[Method::Bm25, Method::Colbert]];
const METHODS: [&[Method]; 3] = [&[Method::Bm25], &[Method::Dense], &[Method::Bm25, Method::Dense]];

/// Records of some random words; few enough words that there are ties.
fn records(ids: std::ops::Range<u32>, seed: u64) -> Vec<Record> {
    let columns: Arc<[String]> = Arc::new(["name".into(), "note".into()]);
    let words: Vec<&str> = WORDS.split(' ').collect();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut text = |most: usize| {
        let count = random.random_range(1..=most);
        (0..count).map(|_| words[random.random_range(0..words.len())]).collect::<Vec<_>>().join(" ")
    };
    let record = |id: u32| Record { id: format!("d{id}"), columns: columns.clone(), values: vec![text(6), text(2)] };
    ids.map(record).collect()
}

/// Two towers of random weights.
fn model(dir: &Path, name: &str, max_tokens: usize) -> ModelOptions {
    let path = dir.join(name);
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bert/three-segments");
    let rendering = TextConfig { max_tokens, ..TextConfig::default() };
    let architecture = Architecture::Dssm(dssm::Config::default());
    testing::write_bundle(&path, &from, &Manifest { rendering, architecture, ..Manifest::default() }).unwrap();
    ModelOptions { path: Some(path), ..ModelOptions::default() }
}

struct Folder {
    dir: tempfile::TempDir,
    model: ModelOptions,
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let model = model(dir.path(), "model", 64);
        Folder { dir, model }
    }
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    /// One whose model has several vectors a text.
    fn late() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/colbert/pylate");
        let model = ModelOptions { path: Some(path), ..ModelOptions::default() };
        Folder { dir: tempfile::tempdir().unwrap(), model }
    }
    fn build(&self, name: &str, documents: Vec<Record>, methods: &[Method]) -> PathBuf {
        let path = self.path(name);
        build_index(&path, &documents, &Settings::new(methods), &self.model, false, &|_, _| {}).unwrap();
        path
    }
    /// The same 150 documents in one generation and in three.
    fn whole_and_parts(&self, methods: &[Method]) -> [PathBuf; 2] {
        let whole = self.build(&format!("whole{methods:?}"), records(0..150, 1), methods);
        let (mut first, mut second) = (records(0..150, 1), Vec::new());
        // neighbours in order of id are in different generations
        for place in (0..150).rev().filter(|place| place % 3 == 0) {
            second.push(first.remove(place));
        }
        let third = second.split_off(20);
        let parts = self.build(&format!("parts{methods:?}"), first, methods);
        for more in [second, third] {
            let count = more.len() as u64;
            assert_eq!(self.update(&parts, more, &[]).unwrap(), Changes { added: count, ..Changes::default() });
        }
        [whole, parts]
    }
    fn update(&self, index: &Path, add: Vec<Record>, delete: &[&str]) -> Result<Changes> {
        let delete: Vec<String> = delete.iter().map(|id| id.to_string()).collect();
        Ok(update_index(index, &add, &delete, &self.model, &|_, _| {})?.1)
    }
    fn compact(&self, index: &Path) -> IndexManifest {
        compact_index(index, &self.model, &|_, _| {}).unwrap()
    }
    fn open(&self, index: &Path) -> Result<Index> {
        Index::open(index, &self.model)
    }
    /// Ids and scores of some queries.
    fn found(&self, index: &Path, k: usize) -> Vec<Vec<(String, f32)>> {
        found(&self.open(index).unwrap(), k)
    }
}

fn found(index: &Index, k: usize) -> Vec<Vec<(String, f32)>> {
    let queries = records(0..25, 99);
    let inputs: Vec<Input> = queries.iter().map(Input::from).collect();
    let named = |hits: Vec<crate::Hit>| {
        hits.into_iter().map(|hit| (index.id(hit.document).unwrap().to_string(), hit.score)).collect()
    };
    index.search(&inputs, k).unwrap().into_iter().map(named).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_update_that_only_adds_finds_what_one_index_of_all_finds() {
    let folder = Folder::new();
    for methods in METHODS {
        let [whole, parts] = folder.whole_and_parts(methods);
        for k in [1, 10, 1000] {
            assert_eq!(folder.found(&parts, k), folder.found(&whole, k), "{methods:?}, k = {k}");
        }
    }
}

/// Each generation of a ColBERT has centroids of its own, so the same vector is off by another error in each.
#[test]
fn generations_of_a_colbert_find_what_one_finds_but_for_the_error_of_their_codes() {
    // of the 16 that a query of 16 tokens gets at most
    const ERROR: f32 = 0.2;
    let folder = Folder::late();
    let thorough = Effort { probes: usize::MAX, decoded: usize::MAX };
    for methods in LATE {
        let indexes = folder.whole_and_parts(methods);
        let [whole, parts] = indexes.each_ref().map(|index| folder.open(index).unwrap().with_effort(thorough));
        for (one, several) in found(&whole, 1000).into_iter().zip(found(&parts, 1000)) {
            let several_of: BTreeMap<&str, f32> = several.iter().map(|(id, score)| (id.as_str(), *score)).collect();
            assert_eq!((one.len(), several_of.len()), (150, 150), "{methods:?}: every document is found once");
            assert!(several.array_windows().all(|[a, b]| a.1 > b.1 || (a.1 == b.1 && a.0 < b.0)), "{methods:?}: order");
            if methods == [Method::Colbert] {
                assert!(one.iter().all(|(id, score)| (several_of[id.as_str()] - score).abs() < ERROR), "scores");
                assert!((several[0].1 - one[0].1).abs() < ERROR, "the best score");
            }
        }
        // the best ten are the first ten of all
        let first = |mut lists: Vec<Vec<(String, f32)>>| {
            lists.iter_mut().for_each(|list| list.truncate(10));
            lists
        };
        assert!(methods != [Method::Colbert] || found(&parts, 10) == first(found(&parts, 1000)));
        // less effort finds some of them, with the same scores
        let [quick, usual] = [Effort { probes: 1, decoded: 1 }, thorough]
            .map(|effort| found(&folder.open(&indexes[1]).unwrap().with_effort(effort), 1000));
        let counts = |lists: &[Vec<(String, f32)>]| lists.iter().map(Vec::len).sum::<usize>();
        assert!(methods != [Method::Colbert] || counts(&quick) < counts(&usual), "{}", counts(&quick));
        assert!(methods != [Method::Colbert] || quick.iter().zip(&usual).all(|(a, b)| a.iter().all(|x| b.contains(x))));
        folder.update(&indexes[1], Vec::new(), &["d0", "d1", "d3"]).unwrap();
        let left = found(&folder.open(&indexes[1]).unwrap().with_effort(thorough), 1000);
        let gone = |list: &[(String, f32)]| list.iter().any(|(id, _)| ["d0", "d1", "d3"].contains(&id.as_str()));
        assert!(left.iter().all(|list| list.len() == 147 && !gone(list)), "{methods:?}: a deleted document is found");
    }
}

#[test]
fn update_delete_and_compact_give_the_files_of_a_fresh_index() {
    let (one, several) = (Folder::new(), Folder::late());
    for (at, methods) in METHODS.into_iter().chain(LATE).enumerate() {
        let folder = if at < METHODS.len() { &one } else { &several };
        let index = folder.build(&format!("index{at}"), records(0..60, 1), methods);
        let changes = folder.update(&index, records(50..70, 2), &["d1", "d2", "none"]).unwrap();
        assert_eq!(changes, Changes { added: 10, changed: 10, deleted: 2, unknown: 1 });
        // one that was deleted comes back, one that was changed goes
        let changes = folder.update(&index, records(1..2, 3), &["d55"]).unwrap();
        assert_eq!(changes, Changes { added: 1, changed: 0, deleted: 1, unknown: 0 });
        let mut expected: Vec<Record> =
            records(0..50, 1).into_iter().filter(|r| r.id != "d1" && r.id != "d2").collect();
        expected.extend(records(50..70, 2).into_iter().filter(|r| r.id != "d55"));
        expected.extend(records(1..2, 3));
        let opened = folder.open(&index).unwrap();
        assert_eq!(opened.len(), expected.len());
        for record in &expected {
            let document = opened.find(&record.id).unwrap().unwrap();
            assert_eq!(opened.record(document).unwrap(), *record);
        }
        assert_eq!((opened.find("d2").unwrap(), opened.find("d55").unwrap()), (None, None));
        let gone = |lists: &[Vec<(String, f32)>]| lists.iter().flatten().any(|(id, _)| id == "d2" || id == "d55");
        assert!(!gone(&found(&opened, 1000)), "a deleted document is found");
        let by_vectors = found(&opened, 10);
        drop(opened);

        let fresh = folder.build(&format!("fresh{at}"), expected, methods);
        if methods == [Method::Dense] {
            assert_eq!(by_vectors, folder.found(&fresh, 10), "before compaction");
        }
        let manifest = folder.compact(&index);
        assert_eq!((manifest.generations.len(), manifest.hidden), (1, 0));
        let fresh_manifest = IndexManifest::read(&fresh).unwrap();
        assert_eq!(manifest.generations[0].files, fresh_manifest.generations[0].files, "{methods:?}");
        for k in [1, 10, 1000] {
            assert_eq!(folder.found(&index, k), folder.found(&fresh, k), "{methods:?}, k = {k}");
        }
        assert_eq!(names(&index), [&manifest.generations[0].folder, "lock", "sverka-index.json"]);
        check_index(&index).unwrap();
    }
}

#[test]
fn a_model_that_does_not_fit_the_method_is_refused_and_chooses_the_vectors_of_a_hybrid() {
    let (one, several) = (Folder::new(), Folder::late());
    let build = |folder: &Folder, methods: &[Method]| {
        build_index(&folder.path("i"), &records(0..5, 1), &Settings::new(methods), &folder.model, false, &|_, _| {})
    };
    let refused = |folder: &Folder, method| build(folder, &[method]).unwrap_err().to_string();
    assert!(refused(&one, Method::Colbert).contains("has one vector a text"));
    assert!(refused(&several, Method::Dense).contains("give --kind colbert"));
    let manifest = build(&several, &[Method::Bm25, Method::Dense]).unwrap();
    assert_eq!(manifest.settings.kind(), "hybrid (bm25 + colbert)");
}

#[test]
fn readers_keep_what_they_opened_and_what_nobody_reads_is_removed() {
    let folder = Folder::new();
    let index = folder.build("index", records(0..40, 1), &[Method::Bm25, Method::Dense]);
    let reader = folder.open(&index).unwrap();
    let before = found(&reader, 10);
    folder.update(&index, records(0..20, 2), &["d30"]).unwrap();
    folder.compact(&index);
    assert!(names(&index).contains(&"gen-1".to_string()), "a reader has it");
    assert_eq!(found(&reader, 10), before);
    assert_ne!(folder.found(&index, 10), before);
    drop(reader);
    folder.update(&index, Vec::new(), &["d31"]).unwrap();
    assert_eq!(names(&index), ["gen-3", "gen-4", "lock", "sverka-index.json"]);
}

#[test]
fn a_second_writer_is_refused_and_what_a_dead_one_left_is_removed() {
    let folder = Folder::new();
    let index = folder.build("index", records(0..20, 1), &[Method::Bm25]);
    let lock = std::fs::File::open(index.join("lock")).unwrap();
    lock.try_lock().unwrap();
    let error = folder.update(&index, records(20..30, 1), &[]).unwrap_err();
    assert!(error.is_user_error() && error.to_string().contains("another process is writing this index"), "{error}");
    assert!(compact_index(&index, &folder.model, &|_, _| {}).is_err());
    assert_eq!(folder.open(&index).unwrap().len(), 20, "reading goes on");
    drop(lock);
    // a generation that was never committed, and one that was not even complete
    std::fs::create_dir(index.join("gen-7")).unwrap();
    std::fs::create_dir(index.join(".gen-2.aB3.part")).unwrap();
    folder.update(&index, records(20..30, 1), &[]).unwrap();
    assert_eq!(names(&index), ["gen-1", "gen-2", "lock", "sverka-index.json"]);
    let exists =
        build_index(&index, &records(0..5, 1), &Settings::new(&[Method::Bm25]), &folder.model, false, &|_, _| {});
    assert!(matches!(exists, Err(crate::Error::Exists(_))));
    build_index(&index, &records(0..5, 1), &Settings::new(&[Method::Bm25]), &folder.model, true, &|_, _| {}).unwrap();
    assert_eq!((folder.open(&index).unwrap().len(), names(&index).len()), (5, 3));
}

#[test]
fn nothing_to_go_by_finds_nothing_and_k_may_be_larger_than_the_collection() {
    let (one, several) = (Folder::new(), Folder::late());
    for (at, methods) in METHODS.into_iter().chain(LATE).enumerate() {
        let folder = if at < METHODS.len() { &one } else { &several };
        let index = folder.build(&format!("index{at}"), records(0..7, 1), methods);
        let opened = folder.open(&index).unwrap();
        let hits = opened.search(&[Input::Text(""), Input::Text("lamp red sony a b c d e f")], usize::MAX).unwrap();
        assert!(methods != [Method::Bm25] || hits[0].is_empty());
        assert!(hits.iter().all(|hits| hits.len() <= 7) && !hits[1].is_empty());
        assert!(opened.search(&[], 5).unwrap().is_empty());
        let all: Vec<String> = (0..7).map(|id| format!("d{id}")).collect();
        folder.update(&index, Vec::new(), &all.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        for compacted in [false, true] {
            if compacted {
                folder.compact(&index);
            }
            let opened = folder.open(&index).unwrap();
            assert!(opened.is_empty() && opened.search(&[Input::Text("lamp")], 5).unwrap()[0].is_empty());
        }
        folder.update(&index, records(0..3, 1), &[]).unwrap();
        assert_eq!(folder.open(&index).unwrap().len(), 3);
    }
}

#[test]
fn files_that_are_cut_short_and_foreign_versions_and_models_are_refused() {
    let folder = Folder::new();
    let index = folder.build("index", records(0..30, 1), &[Method::Bm25, Method::Dense]);
    folder.update(&index, records(0..10, 2), &[]).unwrap();
    let refused = |model: &ModelOptions| Index::open(&index, model).err().map(|e| (e.is_user_error(), e.to_string()));
    let mut files = vec![index.join("sverka-index.json")];
    for generation in IndexManifest::read(&index).unwrap().generations {
        files.extend(generation.files.keys().map(|name| index.join(&generation.folder).join(name)));
    }
    assert!(files.len() > 20, "{files:?}");
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        // a line end less in a text would be no harm
        std::fs::write(&file, &bytes[..bytes.len() - 2]).unwrap();
        let (users, error) = refused(&folder.model).unwrap_or_else(|| panic!("{}", file.display()));
        assert!(users && error.contains(&*file.to_string_lossy()) && error.contains("; "), "{error}");
        let mut changed = bytes.clone();
        changed[bytes.len() / 2] ^= 1;
        std::fs::write(&file, &changed).unwrap();
        assert!(check_index(&index).is_err(), "{}", file.display());
        std::fs::write(&file, &bytes).unwrap();
    }
    check_index(&index).unwrap();
    let other = model(folder.dir.path(), "other", 32);
    let (users, error) = refused(&other).unwrap();
    assert!(users && error.contains("is another model than") && error.contains("--model"), "{error}");
    std::fs::rename(folder.path("model"), folder.path("moved")).unwrap();
    let (_, error) = refused(&ModelOptions::default()).unwrap();
    assert!(error.contains("name the model's folder or file with --model"), "{error}");
    let moved = ModelOptions { path: Some(folder.path("moved")), ..ModelOptions::default() };
    assert!(refused(&moved).is_none());
    let path = index.join("sverka-index.json");
    let text = std::fs::read_to_string(&path).unwrap().replace("\"version\": 1", "\"version\": 9");
    std::fs::write(&path, text).unwrap();
    let (_, error) = refused(&moved).unwrap();
    assert!(error.contains("version is 9"), "{error}");
    let (_, error) = Index::open(&folder.path("none"), &moved).err().map(|e| (0, e.to_string())).unwrap();
    assert!(error.contains("is no index"), "{error}");
}

#[test]
fn a_plain_folder_of_a_sentence_encoder_gives_the_vectors_of_two_towers() {
    use crate::bundle::Bundle;
    use crate::nn::Device;
    use crate::ranker::DualEncoder as _;
    let dir = tempfile::tempdir().unwrap();
    let towers = model(dir.path(), "towers", 64).path.unwrap();
    let plain = dir.path().join("plain");
    std::fs::create_dir(&plain).unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bert/three-segments");
    for name in ["config.json", "model.safetensors", "vocab.txt"] {
        std::fs::copy(from.join(name), plain.join(name)).unwrap();
    }
    let texts = ["a b c", "lamp 4 k", ""].map(Input::Text);
    let vectors = |path: &Path| {
        let bundle = Bundle::open_encoder(path, None, Device::Cpu).unwrap();
        bundle.dual_encoder().unwrap().encode_documents(&texts).unwrap()
    };
    assert_eq!(vectors(&plain), vectors(&towers));
    // pooling as sentence-transformers' files say it
    std::fs::create_dir(plain.join("1_Pooling")).unwrap();
    let modules = r#"[{"path": "", "type": "sentence_transformers.models.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]"#;
    std::fs::write(plain.join("modules.json"), modules).unwrap();
    let pooling = plain.join("1_Pooling/config.json");
    std::fs::write(&pooling, r#"{"pooling_mode_mean_tokens": false, "pooling_mode_cls_token": true}"#).unwrap();
    assert_ne!(vectors(&plain), vectors(&towers));
    std::fs::write(&pooling, r#"{"pooling_mode_max_tokens": true}"#).unwrap();
    let error = Bundle::open_encoder(&plain, None, Device::Cpu).err().unwrap().to_string();
    assert!(error.contains("1_Pooling") && error.contains("pooling_mode_max_tokens"), "{error}");
}

/// Of lists and of word vectors alike: updates, deletions and compaction are those of any other index.
#[test]
fn lists_and_word_vectors_are_updated_and_compacted_as_all_else_is() {
    let mut folder = Folder::new();
    let of_words = folder.path("words.vec");
    let lines: String =
        WORDS.split(' ').enumerate().map(|(at, word)| format!("{word} {at} {} 0.5\n", at * at % 7)).collect();
    std::fs::write(&of_words, format!("{} 3\n{lines}", WORDS.split(' ').count())).unwrap();
    let of_towers = folder.model.clone();
    for (at, model) in
        [of_towers, ModelOptions { path: Some(of_words), ..ModelOptions::default() }].into_iter().enumerate()
    {
        folder.model = model;
        let build = |name: String, documents: Vec<Record>, nearest: Nearest| {
            let (path, settings) = (folder.path(&name), Settings { nearest, ..Settings::new(&[Method::Dense]) });
            build_index(&path, &documents, &settings, &folder.model, false, &|_, _| {}).unwrap();
            path
        };
        let index = build(format!("lists{at}"), records(0..300, 1), Nearest::Lists);
        let exact = build(format!("exact{at}"), records(0..300, 1), Nearest::Auto);
        let reports = |index: &Path| nearest_reports(index, &IndexManifest::read(index).unwrap()).unwrap();
        let (report, all) = (reports(&index)[0].1, reports(&exact)[0].1);
        assert!(report.lists > 1 && report.probes >= 1 && report.recall_at_100 >= 0.98, "{report:?}");
        assert_eq!((all.lists, all.recall_at_10), (0, 1.0));
        for path in [&index, &exact] {
            folder.update(path, records(290..310, 2), &["d1", "d2"]).unwrap();
        }
        assert_eq!(reports(&index).len(), 2, "a report a generation");
        let gone = |lists: &[Vec<(String, f32)>]| lists.iter().flatten().any(|(id, _)| id == "d2");
        assert!(!gone(&folder.found(&index, 1000)), "a deleted document is found");
        assert_eq!(folder.found(&index, 1000), folder.found(&exact, 1000), "all that there is");
        let mut documents: Vec<Record> =
            records(0..290, 1).into_iter().filter(|r| r.id != "d1" && r.id != "d2").collect();
        documents.extend(records(290..310, 2));
        let fresh = build(format!("fresh{at}"), documents, Nearest::Lists);
        let manifest = folder.compact(&index);
        assert_eq!(manifest.generations[0].files, IndexManifest::read(&fresh).unwrap().generations[0].files);
        check_index(&index).unwrap();
    }
    let path = folder.model.path.clone().unwrap();
    let refused = build_index(
        &folder.path("late"),
        &records(0..5, 1),
        &Settings::new(&[Method::Colbert]),
        &folder.model,
        false,
        &|_, _| {},
    );
    assert!(refused.unwrap_err().to_string().contains("has one vector a text"));
    std::fs::write(&path, "1 3\nlamp 1 2 3\n").unwrap();
    let error = folder.open(&folder.path("fresh1")).err().unwrap().to_string();
    assert!(error.contains("another model"), "{error}");
    std::fs::remove_file(&path).unwrap();
    let error = folder.open(&folder.path("fresh1")).err().unwrap().to_string();
    assert!(error.contains("is not there"), "{error}");
}
