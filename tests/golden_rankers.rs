//! Rankers against independent implementations in Python (transformers and PyTorch): `tests/golden/NAME/make.py` made the numbers.
//!
//! A ranker of pairs needs no code here: its `expected.json` has queries, documents and, for each of some settings, the score of every query with every
//! document. Arrays of its head that the checkpoint lacks have the values of [`head`], there as here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sverka::bundle::{self, Architecture, Bundle, Checkpoint, Contents, Manifest, Purpose, Storage, WordStart};
use sverka::models::{Module, Projection, Reads, detext, dssm, duo, net};
use sverka::nn::{Array, Device, Dtype};
use sverka::ranker::DualEncoder;
use sverka::text::TextConfig;
use sverka::{Input, List, Ranker, Record};

/// How far a score may be from Python's, and from a large one in relation to it.
const TOLERANCE: f32 = 1e-4;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn read<T: for<'a> Deserialize<'a>>(name: &str) -> T {
    serde_json::from_str(&std::fs::read_to_string(golden(name).join("expected.json")).unwrap()).unwrap()
}

/// A bundle of an architecture over the RuBERT-style checkpoint, as training would begin with it; arrays of a second encoder are `0.9` times the first's.
fn bundle(dir: &Path, architecture: Architecture) -> Bundle {
    let from = golden("bert/rubert");
    bundle_from(dir, architecture, Checkpoint::read(&from).unwrap(), (&from, rendering(MAX_TOKENS)))
}

/// More tokens than any pair here has.
const MAX_TOKENS: usize = 128;

fn rendering(max_tokens: usize) -> TextConfig {
    TextConfig { max_tokens, ..TextConfig::default() }
}

/// The same from another start, and the tokenizer in a folder, with how texts are read.
fn bundle_from(
    dir: &Path,
    architecture: Architecture,
    mut checkpoint: Checkpoint,
    (from, rendering): (&Path, TextConfig),
) -> Bundle {
    let model = architecture.model();
    checkpoint.select(&*model, Purpose::Start).unwrap();
    let Checkpoint { mut config, mut weights, .. } = checkpoint;
    if model.reads() == Reads::Triple {
        bundle::grow_segments(&mut config, &mut weights, 3, Reads::Triple).unwrap();
    }
    for module in model.modules() {
        let (Module::Affine { name, .. }
        | Module::Projection(Projection { name, .. })
        | Module::Restore { name, .. }
        | Module::TokenValues { name }) = module
        else {
            continue;
        };
        let there = |kind: &str| weights.0.contains_key(&format!("{name}{kind}.weight"));
        if !there("") && !there(".dense") && !weights.0.contains_key(name) {
            for (name, shape) in net::arrays(&[module], &config, &weights) {
                let values = (0..shape.iter().product()).map(head).collect();
                weights.0.insert(name, Array::new(shape, values));
            }
        }
    }
    net::complete(&model.modules(), &config, &mut weights, 1);
    for (name, array) in &mut weights.0 {
        if name.starts_with("document.") {
            array.values_mut().iter_mut().for_each(|x| *x *= 0.9);
        }
    }
    let manifest = Manifest { architecture, rendering, ..Manifest::default() };
    let contents = Contents {
        manifest: &manifest,
        config: &config,
        weights: &weights,
        tokenizer_from: from,
        storage: Storage::F32,
    };
    bundle::save(dir, &contents, true).unwrap();
    Bundle::open(dir, Some(Dtype::F32), Device::Cpu).unwrap()
}

/// What value `i` of a head's array is, which training would draw.
fn head(i: usize) -> f32 {
    (0.3 * (1.7 * i as f64 + 1.0).sin()) as f32
}

fn list<'a>(query: &'a str, documents: &'a [String]) -> List<'a> {
    List { query: Input::Text(query), candidates: documents.iter().map(|d| Input::Text(d)).collect() }
}

fn assert_near(what: &str, got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, want) in got.iter().zip(expected) {
        assert!((got - want).abs() <= TOLERANCE * want.abs().max(1.0), "{what}: {got}, Python {want}");
    }
}

#[derive(Deserialize)]
struct Towers {
    queries: Vec<String>,
    documents: Vec<String>,
    cases: Vec<TowersCase>,
}

#[derive(Deserialize)]
struct TowersCase {
    pooling: dssm::Pooling,
    similarity: dssm::Similarity,
    shared: bool,
    scores: Vec<Vec<f32>>,
}

#[test]
fn dssm_scores_as_python_does_and_its_documents_can_be_encoded_ahead() {
    let expected: Towers = read("dssm");
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(expected.cases.len(), 8);
    for TowersCase { pooling, similarity, shared, scores: wanted } in expected.cases {
        let what = format!("{pooling:?}, {similarity:?}, shared: {shared}");
        let config = dssm::Config { pooling, similarity, shared, ..dssm::Config::default() };
        let bundle = bundle(&dir.path().join("model"), Architecture::Dssm(config));
        let lists: Vec<List> = expected.queries.iter().map(|query| list(query, &expected.documents)).collect();
        let scores = bundle.score(&lists).unwrap();
        for (scores, wanted) in scores.iter().zip(&wanted) {
            assert_near(&what, &scores.iter().map(|s| s.value).collect::<Vec<_>>(), wanted);
        }
        let towers = bundle.dual_encoder().expect("query and document are encoded apart");
        let documents = towers.encode_documents(&lists[0].candidates).unwrap();
        let queries = towers.encode_queries(&lists.iter().map(|l| l.query).collect::<Vec<_>>()).unwrap();
        for (i, scores) in scores.iter().enumerate() {
            let ahead = towers.interact(&queries, i, &documents);
            assert_eq!(ahead, scores.iter().map(|s| s.value).collect::<Vec<_>>(), "{what}: the same bits");
        }
    }
}

#[derive(Deserialize)]
struct Triples {
    documents: Vec<String>,
    cases: Vec<TriplesCase>,
}

#[derive(Deserialize)]
struct TriplesCase {
    query: String,
    /// By aggregation.
    scores: BTreeMap<String, Vec<f32>>,
}

#[test]
fn duo_scores_as_python_does() {
    let expected: Triples = read("duo");
    let dir = tempfile::tempdir().unwrap();
    let bundle = bundle(&dir.path().join("model"), Architecture::Duo(Default::default()));
    assert!(bundle.is_listwise() && bundle.dual_encoder().is_none());
    let scored = |bundle: &Bundle, query: &str| -> Vec<f32> {
        bundle.score(&[list(query, &expected.documents)]).unwrap().remove(0).iter().map(|s| s.value).collect()
    };
    for TriplesCase { query, scores } in &expected.cases {
        assert_eq!(scores.len(), 7);
        assert_near(query, &scored(&bundle, query), &scores["sum"]);
        for (aggregation, wanted) in scores {
            let config = toml::from_str(&format!("aggregation = '{aggregation}'")).unwrap();
            assert_near(&format!("{query}, {aggregation}"), &scored(&bundle.clone().with_duo(config), query), wanted);
        }
    }
    // a budget of as many comparisons as there are is none, a smaller one changes scores
    let under = |pairs: usize| bundle.clone().with_duo(duo::Config { pairs: Some(pairs), ..Default::default() });
    let query = &expected.cases[0].query;
    assert_eq!(scored(&under(12), query), scored(&bundle, query));
    assert_ne!(scored(&under(4), query), scored(&bundle, query));
    // manifests from before there were settings have the name alone
    let path = bundle.dir().join("sverka.json");
    let mut manifest: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    manifest["architecture"] = "duo".into();
    manifest["version"] = 1.into();
    manifest.as_object_mut().unwrap().remove("sha256");
    std::fs::write(&path, manifest.to_string()).unwrap();
    assert_eq!(
        Bundle::open(bundle.dir(), None, Device::Cpu).unwrap().manifest.architecture,
        bundle.manifest.architecture
    );
    let error = bundle.score(&[list("чай", &expected.documents[..1])]).unwrap_err();
    assert!(error.is_user_error() && error.to_string().contains("give at least 2"), "{error}");
    assert_eq!(bundle.score(&[list("чай", &[])]).unwrap(), [[]]);
}

#[derive(Deserialize)]
struct Pairs {
    queries: Vec<String>,
    documents: Vec<String>,
    cases: Vec<PairsCase>,
}

#[derive(Deserialize)]
struct PairsCase {
    settings: toml::Table,
    /// Of a joint sequence; none: more than any pair has.
    max_tokens: Option<usize>,
    scores: Vec<Vec<f32>>,
}

/// Every ranker of pairs in every setting that its program has numbers for.
#[test]
fn rankers_of_pairs_score_as_python_does_together_and_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let own_tests = ["cross_encoder", "dssm", "duo"];
    for name in Architecture::NAMES.into_iter().filter(|name| !own_tests.contains(name)) {
        let expected: Pairs = read(name);
        assert!(expected.cases.len() > 1, "{name}: numbers of one setting");
        for PairsCase { settings, max_tokens, scores: wanted } in expected.cases {
            let what = format!("{name} {}", settings.to_string().replace('\n', " "));
            let architecture = Architecture::named(name, &settings).unwrap();
            let (model, from) = (dir.path().join("model"), golden("bert/rubert"));
            let start = Checkpoint::read(&from).unwrap();
            let bundle = bundle_from(&model, architecture, start, (&from, rendering(max_tokens.unwrap_or(MAX_TOKENS))));
            let lists: Vec<List> = expected.queries.iter().map(|query| list(query, &expected.documents)).collect();
            let scores = bundle.score(&lists).unwrap();
            for ((scores, wanted), query) in scores.iter().zip(&wanted).zip(&expected.queries) {
                let values: Vec<f32> = scores.iter().map(|s| s.value).collect();
                assert_near(&format!("{what}, {query}"), &values, wanted);
                for (document, value) in expected.documents.iter().zip(values) {
                    let alone = bundle.score(&[list(query, std::slice::from_ref(document))]).unwrap().remove(0);
                    assert_eq!(alone[0].value.to_bits(), value.to_bits(), "{what}: the same bits alone");
                }
            }
        }
    }
}

#[derive(Deserialize)]
struct Records {
    columns: Vec<String>,
    train: Vec<Vec<String>>,
    queries: Vec<Vec<String>>,
    documents: Vec<Vec<String>>,
    cases: Vec<RecordsCase>,
}

#[derive(Deserialize)]
struct RecordsCase {
    settings: toml::Table,
    /// What training finds in the columns.
    known: Vec<detext::Known>,
    scores: Vec<Vec<f32>>,
}

#[test]
fn detext_scores_numbers_categories_and_vectors_of_records_as_python_does() {
    let text = std::fs::read_to_string(golden("detext").join("records.json")).unwrap();
    let expected: Records = serde_json::from_str(&text).unwrap();
    let records = |rows: &[Vec<String>]| -> Vec<Record> {
        let record = |values: &Vec<String>| Record {
            id: "1".into(),
            columns: expected.columns.clone().into(),
            values: values.clone(),
        };
        rows.iter().map(record).collect()
    };
    let [train, queries, documents] =
        [&expected.train, &expected.queries, &expected.documents].map(|rows| records(rows));
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(expected.cases.len(), 2);
    for RecordsCase { settings, known, scores: wanted } in &expected.cases {
        let named = Architecture::named("detext", settings).unwrap();
        let Architecture::Detext(config) = named else { panic!("{named:?}") };
        let config = config.fitted(&train.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(config.known.len(), known.len());
        for (found, wanted) in config.known.iter().zip(known) {
            match (found, wanted) {
                (
                    detext::Known::Number { mean, deviation },
                    detext::Known::Number { mean: other, deviation: wanted },
                ) => assert!(
                    (mean - other).abs() < 1e-9 && (deviation - wanted).abs() < 1e-9,
                    "{found:?}, Python {other} {wanted}"
                ),
                _ => assert_eq!(found, wanted),
            }
        }
        let reading = TextConfig { fields: vec!["name".into()], inputs: config.inputs(), ..rendering(MAX_TOKENS) };
        let from = golden("bert/rubert");
        let start = Checkpoint::read(&from).unwrap();
        let bundle = bundle_from(&dir.path().join("model"), Architecture::Detext(config), start, (&from, reading));
        let list =
            |query| List { query: Input::Record(query), candidates: documents.iter().map(Input::Record).collect() };
        let scores = bundle.score(&queries.iter().map(list).collect::<Vec<_>>()).unwrap();
        assert_eq!((scores.len(), wanted.len()), (queries.len(), queries.len()));
        for ((scores, wanted), query) in scores.iter().zip(wanted).zip(&queries) {
            assert_near(&format!("{settings} {query:?}"), &scores.iter().map(|s| s.value).collect::<Vec<_>>(), wanted);
        }
    }
}

#[derive(Deserialize)]
struct Words {
    queries: Vec<String>,
    documents: Vec<String>,
    cases: Vec<WordsCase>,
}

#[derive(Deserialize)]
struct WordsCase {
    model: String,
    settings: toml::Table,
    scores: Vec<Vec<f32>>,
}

#[test]
fn rankers_over_a_file_of_word_vectors_and_over_letter_trigrams_score_as_python_does() {
    let expected: Words = read("words");
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(expected.cases.len(), 7);
    for WordsCase { model, settings, scores: wanted } in expected.cases {
        let of_trigrams = settings.get("vectors").and_then(|v| v.as_str()) == Some("trigrams");
        let mut start = match of_trigrams {
            true => WordStart::of_trigrams(1),
            false => WordStart::of_vectors(&golden("words").join("words.vec")).unwrap(),
        };
        if of_trigrams {
            let table = start.checkpoint.weights.0.values_mut().next().unwrap();
            table.values_mut().iter_mut().enumerate().for_each(|(i, x)| *x = head(i));
        }
        let from = dir.path().join("tokenizer");
        start.tokenizer.save(&from).unwrap();
        let architecture = Architecture::named(&model, &settings).unwrap();
        let bundle =
            bundle_from(&dir.path().join("model"), architecture, start.checkpoint, (&from, rendering(MAX_TOKENS)));
        let lists: Vec<List> = expected.queries.iter().map(|query| list(query, &expected.documents)).collect();
        for (scores, wanted) in bundle.score(&lists).unwrap().iter().zip(&wanted) {
            let scores = scores.iter().map(|s| s.value).collect::<Vec<_>>();
            assert_near(&format!("{model} {settings}"), &scores, wanted);
        }
        std::fs::remove_dir_all(&from).unwrap();
    }
}
