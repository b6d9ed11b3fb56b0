use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::bundle::{Architecture, Bundle, Manifest};
use crate::data::store_records;
use crate::nn::{Device, Dtype};
use crate::ranker::Rows;
use crate::records::{Record, Table};
use crate::text::TextConfig;
use crate::{Input, List, Ranker, testing};

fn model(dir: &Path, settings: &str, overlap_segments: bool) -> Bundle {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bert/rubert");
    let architecture = Architecture::named("yati", &toml::from_str(settings).unwrap()).unwrap();
    let rendering = TextConfig { max_tokens: 48, overlap_segments, ..TextConfig::default() };
    testing::write_bundle(dir, &from, &Manifest { architecture, rendering, ..Manifest::default() }).unwrap();
    Bundle::open(dir, Some(Dtype::F32), Device::Cpu).unwrap()
}

fn records(texts: &[(&str, &str)]) -> Vec<Record> {
    let columns: Arc<[String]> = Arc::new(["text".into()]);
    let record = |(id, text): &(&str, &str)| Record {
        id: id.to_string(),
        columns: columns.clone(),
        values: vec![text.to_string()],
    };
    texts.iter().map(record).collect()
}

fn documents() -> Vec<Record> {
    records(&[
        ("a", "Монитор LG 27"),
        ("b", "чай чёрный 100 г"),
        ("c", ""),
        ("d", "монитор чай монитор чай монитор чай монитор чай монитор чай монитор чай"),
        ("e", "LG"),
    ])
}

fn built(dir: &Path, bundle: &Bundle, storage: RowStorage, documents: &dyn Rows) -> StateStore {
    let encoder = bundle.split_encoder().unwrap();
    let mut writer = StateWriter::build(dir, &encoder, storage).unwrap();
    writer.commit_bytes = 1;
    writer.add(&encoder, bundle.tokenizer().rendering(), documents, &|_, _| {}).unwrap();
    writer.complete().unwrap();
    drop(writer);
    StateStore::open(dir, &encoder).unwrap()
}

fn scores(bundle: &Bundle, store: &StateStore, query: &str, documents: &[Record]) -> Vec<f32> {
    let encoder = bundle.split_encoder().unwrap();
    let places: Vec<Place> = documents.iter().map(|d| store.find(&d.id).unwrap()).collect();
    let lengths: Vec<u32> = places.iter().map(|place| store.length(*place)).collect();
    let query = encoder.encode_query(Input::Text(query)).unwrap();
    let texts: Vec<Input> = documents.iter().map(Input::Record).collect();
    encoder.score(&query, &lengths, &|i, rows| store.fill(places[i], rows), Some(&texts)).unwrap()
}

fn joint(bundle: &Bundle, query: &str, documents: &[Record]) -> Vec<f32> {
    let list = List { query: Input::Text(query), candidates: documents.iter().map(Input::Record).collect() };
    bundle.score(&[list]).unwrap()[0].iter().map(|score| score.value).collect()
}

#[test]
fn stored_states_score_as_the_masked_joint_model_does() {
    let dir = tempfile::tempdir().unwrap();
    let cases = ["split_at = 0", "split_at = 1", "split_at = 2", "compress = 8", "split_at = 1\nquery_tokens = 5"];
    for (number, settings) in cases.into_iter().enumerate() {
        for overlap in [false, true] {
            let bundle = model(&dir.path().join(format!("model-{number}-{overlap}")), settings, overlap);
            for (name, storage) in RowStorage::NAMES {
                let store = dir.path().join(format!("store-{number}-{overlap}-{name}"));
                let store = built(&store, &bundle, storage, &documents());
                for query in ["монитор LG", "чай", "", "чай монитор LG 27 чай монитор LG 27 чай монитор LG 27"]
                {
                    let (stored, joint) =
                        (scores(&bundle, &store, query, &documents()), joint(&bundle, query, &documents()));
                    for (a, b) in stored.iter().zip(&joint) {
                        let what = format!("{settings}, marks {overlap}, {name}, {query}: {a} {b}");
                        match storage {
                            RowStorage::F32 => assert_eq!(a.to_bits(), b.to_bits(), "{what}"),
                            RowStorage::F16 => assert!((a - b).abs() < 2e-3, "{what}"),
                            RowStorage::Int8 => assert!((a - b).abs() < 2e-2, "{what}"),
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn texts_are_asked_for_where_words_are_marked() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = model(&dir.path().join("model"), "split_at = 1", true);
    let encoder = bundle.split_encoder().unwrap();
    let query = encoder.encode_query(Input::Text("чай")).unwrap();
    let error = encoder.score(&query, &[1], &|_, _| {}, None).unwrap_err();
    assert!(error.is_user_error() && error.to_string().contains("needs the documents' texts"), "{error}");
}

#[test]
fn added_changed_deleted_and_compacted_equals_built_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = model(&dir.path().join("model"), "split_at = 1", false);
    let (encoder, rendering) = (bundle.split_encoder().unwrap(), bundle.tokenizer().rendering());
    let path = dir.path().join("store");
    built(&path, &bundle, RowStorage::F32, &documents());
    let reader = StateStore::open(&path, &encoder).unwrap();
    let mut writer = StateWriter::open(&path).unwrap();
    let error = StateWriter::open(&path).err().unwrap();
    assert!(error.is_user_error() && error.to_string().contains("another process"), "{error}");
    let more = records(&[("b", "чай зелёный"), ("f", "монитор"), ("a", "Монитор LG 27")]);
    let added = writer.add(&encoder, rendering, &more, &|_, _| {}).unwrap();
    assert_eq!(added, Added { added: 2, replaced: 1, unchanged: 1 });
    assert_eq!(writer.delete(&["c".into(), "none".into(), "c".into()]).unwrap(), 1);
    let wanted = records(&[
        ("a", "Монитор LG 27"),
        ("b", "чай зелёный"),
        ("d", &documents()[3].values[0]),
        ("e", "LG"),
        ("f", "монитор"),
    ]);
    let fresh = built(&dir.path().join("fresh"), &bundle, RowStorage::F32, &wanted);
    for compacted in [false, true] {
        if compacted {
            assert!(writer.compact(&|_, _| {}).unwrap() > 0);
        }
        let store = StateStore::open(&path, &encoder).unwrap();
        store.check(&|_, _| {}).unwrap();
        assert_eq!((store.len(), store.find("c"), store.tokens()), (5, None, fresh.tokens()));
        assert_eq!(scores(&bundle, &store, "чай", &wanted), scores(&bundle, &fresh, "чай", &wanted));
    }
    assert_eq!(StateStore::open(&path, &encoder).unwrap().bytes(), fresh.bytes());
    assert_eq!(scores(&bundle, &reader, "чай", &documents()), joint(&bundle, "чай", &documents()), "what it opened");
}

#[test]
fn building_goes_on_where_it_was_and_a_torn_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = model(&dir.path().join("model"), "split_at = 1", false);
    let (encoder, rendering) = (bundle.split_encoder().unwrap(), bundle.tokenizer().rendering());
    let path = dir.path().join("store");
    let mut writer = StateWriter::build(&path, &encoder, RowStorage::F16).unwrap();
    writer.add(&encoder, rendering, &documents()[..2].to_vec(), &|_, _| {}).unwrap();
    drop(writer);
    // what a killed writer leaves: a segment that no manifest names, and one that never got its name
    std::fs::create_dir(path.join("seg-2")).unwrap();
    std::fs::create_dir(path.join(".seg-2.a1b2c3.part")).unwrap();
    let refused = |what: Result<StateStore>, part: &str| {
        let error = what.err().unwrap();
        assert!(error.is_user_error() && error.to_string().contains(part), "{error}");
    };
    refused(StateStore::open(&path, &encoder), "interrupted while it was built: it has 2 documents");
    let other = StateWriter::build(&path, &encoder, RowStorage::Int8).err().unwrap();
    assert!(other.to_string().contains("begun in f16"), "{other}");
    let mut writer = StateWriter::build(&path, &encoder, RowStorage::F16).unwrap();
    let added = writer.add(&encoder, rendering, &documents(), &|_, _| {}).unwrap();
    assert_eq!(added, Added { added: 3, replaced: 0, unchanged: 2 });
    writer.complete().unwrap();
    drop(writer);
    let store = StateStore::open(&path, &encoder).unwrap();
    let whole = built(&dir.path().join("whole"), &bundle, RowStorage::F16, &documents());
    assert_eq!(scores(&bundle, &store, "LG", &documents()), scores(&bundle, &whole, "LG", &documents()));
    let mut again = StateWriter::build(&path, &encoder, RowStorage::F16).unwrap();
    let unchanged = again.add(&encoder, rendering, &documents(), &|_, _| {}).unwrap();
    assert_eq!(unchanged, Added { added: 0, replaced: 0, unchanged: 5 }, "built once more");
    drop(again);

    let another = model(&dir.path().join("another"), "split_at = 0", false);
    refused(StateStore::open(&path, &another.split_encoder().unwrap()), "another model");
    let rows = path.join("seg-1/rows");
    let bytes = std::fs::read(&rows).unwrap();
    drop(store);
    let mut changed = bytes.clone();
    changed[3] ^= 1;
    std::fs::write(&rows, &changed).unwrap();
    let damaged = StateStore::open(&path, &encoder).unwrap().check(&|_, _| {}).unwrap_err();
    assert!(damaged.is_user_error() && damaged.to_string().contains("damaged"), "{damaged}");
    std::fs::write(&rows, &bytes[..bytes.len() - 1]).unwrap();
    refused(StateStore::open(&path, &encoder), "cut short");
    std::fs::write(&rows, &bytes).unwrap();
    let manifest = path.join("sverka-states.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"width\": 16", "\"width\": 8")).unwrap();
    refused(StateStore::open_any(&path), "it was changed");
    std::fs::write(&manifest, text.replace("\"version\": 1", "\"version\": 9")).unwrap();
    refused(StateStore::open_any(&path), "is 9, this Sverka reads version 1");
    refused(StateStore::open_any(dir.path()), "no store of states");
}

#[test]
fn documents_on_disk_and_a_build_that_goes_on_give_what_documents_in_memory_give() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = model(&dir.path().join("model"), "split_at = 1", false);
    let (encoder, rendering) = (bundle.split_encoder().unwrap(), bundle.tokenizer().rendering());
    let words = ["чай", "LG", "монитор", "100 г", "чёрный"];
    let text = |at: usize| format!("{} {}", words[at % 5], words[at / 7 % 5]);
    let mut texts: Vec<(String, String)> = (0..5000).map(|at| (at.to_string(), text(at))).collect();
    // far from the first one of its id
    texts.push(("3".into(), "LG LG LG".into()));
    let all = records(&texts.iter().map(|(id, text)| (&**id, &**text)).collect::<Vec<_>>());
    let table = Table { path: "t".into(), columns: all[0].columns.clone(), records: all.clone() };
    let stored = store_records(&table, dir.path(), "stored").unwrap();
    let in_memory = built(&dir.path().join("memory"), &bundle, RowStorage::F32, &all);
    built(&dir.path().join("disk"), &bundle, RowStorage::F32, &stored);
    assert_eq!((in_memory.len(), in_memory.manifest().segments.len()), (5000, 20));
    for segment in &in_memory.manifest().segments {
        for file in ["rows", "documents"] {
            let [a, b] =
                ["memory", "disk"].map(|store| std::fs::read(dir.path().join(store).join(&segment.name).join(file)));
            assert!(a.unwrap() == b.unwrap(), "{} {file}", segment.name);
        }
    }

    let path = dir.path().join("resumed");
    let mut writer = StateWriter::build(&path, &encoder, RowStorage::F32).unwrap();
    writer.commit_bytes = 1;
    let half: Vec<Record> = all[..5000].iter().step_by(2).cloned().collect();
    writer.add(&encoder, rendering, &half, &|_, _| {}).unwrap();
    drop(writer);
    let mut writer = StateWriter::build(&path, &encoder, RowStorage::F32).unwrap();
    writer.commit_bytes = 1;
    let steps = std::cell::RefCell::new(Vec::new());
    let added = writer.add(&encoder, rendering, &stored, &|done, all| steps.borrow_mut().push((done, all))).unwrap();
    assert_eq!(added, Added { added: 2501, replaced: 1, unchanged: 2500 });
    let full = (0..10).map(|batch| (2500 + 256 * batch, 5001)).chain([(5001, 5001)]);
    assert_eq!(*steps.borrow(), full.collect::<Vec<_>>(), "whole batches of what is new");
    writer.complete().unwrap();
    drop(writer);
    let resumed = StateStore::open(&path, &encoder).unwrap();
    let rows = |store: &StateStore, id: &str| {
        let place = store.find(id).unwrap();
        let mut rows = vec![0f32; store.length(place) as usize * store.manifest().width];
        store.fill(place, &mut rows);
        rows
    };
    for (id, _) in &texts {
        assert_eq!(rows(&resumed, id), rows(&in_memory, id), "{id}");
    }
    assert_eq!(
        scores(&bundle, &resumed, "LG", &all[5000..]),
        joint(&bundle, "LG", &all[5000..]),
        "the later one counts"
    );
}

#[test]
fn the_estimate_is_what_it_takes() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = model(&dir.path().join("model"), "split_at = 1", false);
    for (_, storage) in RowStorage::NAMES {
        let estimate = estimate(&bundle.split_encoder().unwrap(), &documents(), storage).unwrap();
        let store = built(&dir.path().join(storage.to_string()), &bundle, storage, &documents());
        assert_eq!(estimate.documents, 5);
        let taken = store.bytes() as f64 / 5.0;
        assert!(estimate.bytes_a_document > taken && estimate.bytes_a_document < taken + 40.0, "{estimate:?} {taken}");
    }
}
