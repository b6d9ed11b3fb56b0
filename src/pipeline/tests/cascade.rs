use std::path::Path;

use super::super::*;
use crate::bundle::{Architecture, Bundle, Manifest};
use crate::data::{ReadOptions, store_documents};
use crate::index::states::{RowStorage, StateWriter};
use crate::index::{Bm25Settings, Index, Method, ModelOptions, Settings, build_index};
use crate::nn::{Device, Dtype};
use crate::ranker::Rows;
use crate::text::TextConfig;
use crate::{Input, List, Ranker, testing};

const DOCUMENTS: &str =
    "id,text\na,Монитор LG 27\nb,чай чёрный 100 г\nc,монитор Acer 24\nd,чай зелёный\ne,чай монитор\n";

fn model(dir: &Path, name: &str, settings: &str) -> Bundle {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bert/rubert");
    let architecture = Architecture::named(name, &toml::from_str(settings).unwrap()).unwrap();
    let rendering = TextConfig { max_tokens: 48, ..TextConfig::default() };
    let out = dir.join(name);
    testing::write_bundle(&out, &from, &Manifest { architecture, rendering, ..Manifest::default() }).unwrap();
    Bundle::open(&out, Some(Dtype::F32), Device::Cpu).unwrap()
}

fn opened(dir: &Path, text: &str) -> crate::Result<Pipeline> {
    let path = dir.join("p.toml");
    std::fs::write(dir.join("docs.csv"), DOCUMENTS).unwrap();
    std::fs::write(&path, format!("collection = \"docs.csv\"\n{text}")).unwrap();
    Pipeline::open(Plan::read(&path)?, Some(Dtype::F32), Device::Cpu, &|_| {}).map(|(pipeline, _)| pipeline)
}

fn ids(pipeline: &Pipeline, hits: impl IntoIterator<Item = u32>) -> String {
    hits.into_iter().map(|hit| pipeline.id(hit)).collect::<Vec<_>>().join(" ")
}

fn run(pipeline: &Pipeline, query: &str) -> QueryRun {
    pipeline.run(Input::Text(query)).unwrap()
}

/// Stages after bm25.
fn with(stages: &[&str]) -> String {
    let all = std::iter::once(&"kind = 'bm25'\nk = 1000").chain(stages);
    all.map(|stage| format!("[[stages]]\n{stage}\n")).collect()
}

#[test]
fn each_stage_orders_what_the_one_before_left_and_keeps_its_k() {
    let dir = tempfile::tempdir().unwrap();
    let mono = model(dir.path(), "cross_encoder", "");
    model(dir.path(), "duo", "");
    let stages =
        with(&["kind = 'cross_encoder'\nmodel = 'cross_encoder'\nk = 2", "kind = 'duo'\nmodel = 'duo'\nk = 9"]);
    let pipeline = opened(dir.path(), &stages).unwrap();
    let ran = run(&pipeline, "чай");
    assert!(!ran.over_budget);
    let [found, scored, compared] = &ran.stages[..] else { panic!("three stages: {ran:?}") };
    let mut three = found.kept.clone();
    three.sort_unstable();
    assert_eq!(ids(&pipeline, three), "b d e", "k larger than the collection");
    assert_eq!((scored.given, scored.gone, scored.kept.len()), (3, 0, 2));
    let records = pipeline.documents().records(&found.kept).unwrap();
    let candidates = records.iter().map(Input::Record).collect();
    let scores = mono.score(&[List { query: Input::Text("чай"), candidates }]).unwrap().remove(0);
    let mut best: Vec<(u32, f32)> = found.kept.iter().copied().zip(scores.iter().map(|s| s.value)).collect();
    best.sort_by(|a, b| b.1.total_cmp(&a.1));
    assert_eq!(scored.kept, best[..2].iter().map(|(at, _)| *at).collect::<Vec<_>>());
    let mut both = [scored.kept.clone(), compared.kept.clone()];
    both.iter_mut().for_each(|kept| kept.sort_unstable());
    assert_eq!(both[0], both[1], "duo changes the order alone");
    assert_eq!(ran.hits.iter().map(|hit| hit.document).collect::<Vec<_>>(), compared.kept);
    let nothing = run(&pipeline, "");
    assert_eq!((nothing.hits.len(), nothing.stages.len()), (0, 3), "a query without a word finds nothing");
    assert_eq!(run(&pipeline, "Acer").hits.len(), 1, "one document has no other to be compared with");
}

#[test]
fn a_stage_that_fuses_orders_by_both_ranks() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path(), "cross_encoder", "");
    let stage = "kind = 'cross_encoder'\nmodel = 'cross_encoder'";
    let [alone, fused] = [stage.to_string(), format!("{stage}\nfuse = true\nk = 2")]
        .map(|stage| run(&opened(dir.path(), &with(&[&stage])).unwrap(), "чай 100"));
    let [found, scored] = &alone.stages[..] else { panic!("two stages: {alone:?}") };
    assert_eq!(found.kept.len(), 3);
    let rank = |order: &[u32], document: u32| order.iter().position(|at| *at == document).unwrap() as f32;
    let score = |at: u32| [&found.kept, &scored.kept].map(|order| 1.0 / (61.0 + rank(order, at))).iter().sum::<f32>();
    let mut order = found.kept.clone();
    order.sort_by(|a, b| score(*b).total_cmp(&score(*a)).then(a.cmp(b)));
    assert_eq!(fused.stages[1].kept, order[..2]);
    assert!((fused.hits[0].score - score(order[0])).abs() < 1e-6);
}

#[test]
fn stored_states_give_the_order_of_computed_ones_and_deleted_documents_are_dropped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let yati = model(dir.path(), "yati", "split_at = 1");
    let computed = opened(dir.path(), &with(&["kind = 'yati'\nmodel = 'yati'"])).unwrap();
    let encoder = yati.split_encoder().unwrap();
    let mut writer = StateWriter::build(&dir.path().join("store"), &encoder, RowStorage::F32).unwrap();
    writer.add(&encoder, yati.tokenizer().rendering(), computed.documents(), &|_, _| {}).unwrap();
    writer.complete().unwrap();
    let stages = with(&["kind = 'yati'\nmodel = 'yati'\nstore = 'store'"]);
    let stored = opened(dir.path(), &stages).unwrap();
    for query in ["чай монитор", "LG", ""] {
        assert_eq!(run(&stored, query).hits, run(&computed, query).hits, "{query}: the same bits");
    }
    writer.delete(&["e".into()]).unwrap();
    let without = opened(dir.path(), &stages).unwrap();
    let ran = run(&without, "чай монитор");
    assert_eq!((ran.stages[1].given, ran.stages[1].gone, ran.hits.len()), (5, 1, 4));
    assert!(!ids(&without, ran.stages[1].kept.clone()).contains('e'));
    assert_eq!(run(&stored, "чай монитор").hits.len(), 5, "what was open before");
}

#[test]
fn stored_vectors_order_documents_as_computed_ones_do_and_those_without_are_dropped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    for (kind, name) in [(Method::Dense, "dssm"), (Method::Colbert, "colbert")] {
        model(dir.path(), name, "");
        let stage = format!("kind = '{}'", kind.name());
        let computed = opened(dir.path(), &with(&[&format!("{stage}\nmodel = '{name}'")])).unwrap();
        let (out, options) = (dir.path().join(format!("{name}.index")), ModelOptions::default());
        let options = ModelOptions { path: Some(dir.path().join(name)), dtype: Some(Dtype::F32), ..options };
        let all: Vec<Record> = computed.documents().iter().collect::<crate::Result<_>>().unwrap();
        let but_one = all.iter().filter(|document| document.id != "e").cloned().collect();
        let index = |documents: Vec<Record>| {
            build_index(&out, &documents, &Settings::new(&[kind]), &options, true, &|_, _| {}).unwrap();
            opened(dir.path(), &with(&[&format!("{stage}\nindex = '{name}.index'")])).unwrap()
        };
        let stored = index(all);
        let [wanted, got] = [&computed, &stored].map(|pipeline| run(pipeline, "чай монитор"));
        assert_eq!((got.hits.len(), got.stages[1].gone), (5, 0));
        for hit in &wanted.hits {
            let same = got.hits.iter().find(|other| other.document == hit.document).unwrap();
            // values in f16, or codes of 4 bits
            let off = (hit.score - same.score).abs() / hit.score.abs().max(1.0);
            assert!(off < if kind == Method::Dense { 1e-3 } else { 0.15 }, "{name}: {hit:?}, {same:?}");
        }
        drop(stored);
        let without = index(but_one);
        let ran = run(&without, "чай монитор");
        assert_eq!((ran.stages[1].given, ran.stages[1].gone, ran.hits.len()), (5, 1, 4));
        let other = if kind == Method::Dense { "colbert" } else { "dense" };
        let wrong = opened(dir.path(), &with(&[&format!("kind = '{other}'\nindex = '{name}.index'")]));
        let said = wrong.err().unwrap().to_string();
        assert!(said.contains(&format!("is an index of kind {}, and the stage is {other}", kind.name())), "{said}");
    }
}

#[test]
fn a_collection_and_a_table_are_found_by_the_settings_of_their_kind_as_in_an_index_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let prose = "{\"_id\": \"a\", \"text\": \"Walking dogs\"}\n{\"_id\": \"b\", \"text\": \"walks of a dog, dogs, dogs\"}\n\
                 {\"_id\": \"c\", \"text\": \"a cat\"}\n";
    let mut scores = Vec::new();
    for (name, text) in [("docs.jsonl", prose), ("docs.csv", "id,text\na,walking dogs\nb,dogs dogs walk\nc,a cat\n")] {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let documents = store_documents(&path, &ReadOptions::default(), dir.path()).unwrap().0;
        let bm25 = Bm25Settings::of(&documents);
        assert_eq!(bm25, if name == "docs.csv" { Bm25Settings::default() } else { Bm25Settings::text() });
        let (out, settings) = (dir.path().join("index"), Settings { bm25, ..Settings::new(&[Method::Bm25]) });
        build_index(&out, &documents.records, &settings, &ModelOptions::default(), false, &|_, _| {}).unwrap();
        let index = Index::open(&out, &ModelOptions::default()).unwrap();
        let plan = dir.path().join("p.toml");
        std::fs::write(&plan, format!("collection = \"{name}\"\n{}", with(&[]))).unwrap();
        let plan = Plan::read(&plan).unwrap();
        let pipeline = Pipeline::open(plan, Some(Dtype::F32), Device::Cpu, &|_| {}).unwrap().0;
        let found = run(&pipeline, "walked the dog").hits;
        assert_eq!(found, index.search(&[Input::Text("walked the dog")], 1000).unwrap()[0], "{name}");
        scores.push(found);
        std::fs::remove_dir_all(&out).unwrap();
    }
    assert_eq!(scores[0].len(), 2, "stems find both");
}

#[test]
fn past_the_budget_the_last_full_stage_counts() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path(), "cross_encoder", "");
    let stages = with(&["kind = 'cross_encoder'\nmodel = 'cross_encoder'"]);
    let pipeline = opened(dir.path(), &format!("budget_ms = 0.000001\n{stages}")).unwrap();
    let ran = run(&pipeline, "чай");
    assert!(ran.over_budget && ran.stages.len() == 1);
    let plain = run(&opened(dir.path(), &with(&[])).unwrap(), "чай");
    assert_eq!(ran.hits, plain.hits, "the order of bm25");
    let enough = opened(dir.path(), &format!("budget_ms = 600000\n{stages}")).unwrap();
    assert_eq!(run(&enough, "чай").stages.len(), 2);
}

#[test]
fn fused_ranks_and_vectors_find_documents() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path(), "dssm", "");
    let dense = opened(dir.path(), "[[stages]]\nkind = 'dense'\nmodel = 'dssm'\nk = 3").unwrap();
    assert_eq!(run(&dense, "чай зелёный").hits.len(), 3);
    assert_eq!(ids(&dense, [run(&dense, "чай зелёный").hits[0].document]), "d", "its own text is nearest");
    let hybrid = "[[stages]]\nkind = 'hybrid'\nk = 5\nparts = [{ kind = 'bm25', weight = 2.0 }, { kind = 'dense', model = 'dssm' }]";
    let hybrid = opened(dir.path(), hybrid).unwrap();
    let ran = run(&hybrid, "чай зелёный");
    assert_eq!((ran.hits.len(), ids(&hybrid, [ran.hits[0].document]).as_str()), (5, "d"), "first in both");
    assert!((ran.hits[0].score - 3.0 / 61.0).abs() < 1e-6);
}

#[test]
fn a_model_of_another_kind_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path(), "cross_encoder", "");
    let refused = |stage: &str, part: &str| {
        let error = opened(dir.path(), &with(&[stage])).err().unwrap();
        assert!(error.is_user_error() && error.to_string().contains(part), "{error}");
    };
    refused("kind = 'duo'\nmodel = 'cross_encoder'", "is a cross_encoder, and duo wants a duo");
    refused("kind = 'yati'\nmodel = 'nowhere'", "nowhere");
    assert!(opened(dir.path(), &with(&["kind = 'model'\nmodel = 'cross_encoder'"])).is_ok());
}
