//! `sverka index` and `sverka search`.

use std::path::Path;

use sverka::bundle::{Architecture, Manifest};
use sverka::models::dssm;
use sverka::testing;

use crate::common::*;

/// Two towers of random weights, in `dir/towers`.
fn towers(dir: &Path) {
    let from = model(dir);
    let architecture = Architecture::Dssm(dssm::Config::default());
    testing::write_bundle(&dir.join("towers"), &from, &Manifest { architecture, ..Manifest::default() }).unwrap();
}

fn ids(dir: &Path, arguments: &[&str]) -> Vec<String> {
    let answer = json(&stdout(&sverka(dir).arg("search").args(arguments).arg("--json").assert().code(0)));
    answer["hits"].as_array().unwrap().iter().map(|hit| hit["id"].as_str().unwrap().to_string()).collect()
}

fn done(dir: &Path, arguments: &[&str]) -> serde_json::Value {
    json(&stdout(&sverka(dir).args(arguments).arg("--json").assert().code(0)))
}

#[test]
fn a_table_is_indexed_searched_updated_and_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    lists(dir);
    towers(dir);
    for (kind, model) in [("bm25", &[][..]), ("dense", &["--model", "towers"]), ("hybrid", &["--model", "towers"])] {
        let index = &*format!("{kind}.index");
        let answer = done(dir, &[&["index", "right.csv", "--kind", kind, "--out", index], model].concat());
        assert_eq!((&answer["documents"], &answer["generations"]), (&5.into(), &1.into()), "{answer}");
        assert!(answer["kind"].as_str().unwrap().starts_with(kind), "{answer}");
        let said = stdout(&sverka(dir).args(["search", index, "camera sony dsc"]).assert().code(0));
        assert!(said.contains("camera sony dsc-w120 (black)"), "{said}");
        if kind == "bm25" {
            assert_eq!(ids(dir, &[index, "camera sony", "-k", "1"]), ["a"]);
            assert_eq!(ids(dir, &[index, ""]), [""; 0]);
        }
        write(&dir.join("new.csv"), "id,name,price\nf,sony camera a7,900\na,fridge,300\n");
        write(&dir.join("gone.txt"), "c\n\nnobody\n");
        let update = ["index", "update", index, "--add", "new.csv", "--delete", "gone.txt", "--json"];
        let assert = sverka(dir).args(update).assert().code(0);
        assert!(stderr(&assert).contains("1 id to be deleted is not in the index"), "{}", stderr(&assert));
        let answer = json(&stdout(&assert));
        assert_eq!([&answer["added"], &answer["changed"], &answer["deleted"], &answer["documents"]], [1, 1, 1, 5]);
        for _ in 0..2 {
            let found = ids(dir, &[index, "camera sony fridge tv lg 42 inch", "-k", "100"]);
            assert!(found.contains(&"f".into()) && found.contains(&"a".into()), "{found:?}");
            assert!(!found.contains(&"c".into()), "{found:?}");
            let answer = done(dir, &["index", "compact", index]);
            assert_eq!((&answer["generations"], &answer["hidden"]), (&1.into(), &0.into()), "{answer}");
        }
        assert_eq!(done(dir, &["index", "check", index])["documents"], 5);
        let said = stdout(&sverka(dir).args(["info", index]).assert().code(0));
        assert!(said.contains(kind) && said.contains("documents"), "{said}");
        // a run, whose queries are records
        let arguments = ["search", index, "--queries", "left.csv", "-k", "3", "--out", "run.trec"];
        assert_eq!(done(dir, &arguments)["queries"], 4);
        let run = std::fs::read_to_string(dir.join("run.trec")).unwrap();
        assert!(run.lines().all(|line| line.split(' ').count() == 6 && line.ends_with(" sverka")), "{run}");
        assert!(run.starts_with("1 Q0 "), "{run}");
        // judgements
        write(&dir.join("qrels.txt"), "1 0 f 1\n4 0 d 1\n");
        let answer = done(dir, &["search", index, "--queries", "left.csv", "--qrels", "qrels.txt", "-m", "R@100"]);
        assert!(answer["R@100"].as_f64().unwrap() >= 0.5 && answer["ms_p95"].as_f64().unwrap() > 0.0, "{answer}");
    }
}

#[test]
fn what_an_index_can_not_be_made_of_is_said_in_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    lists(dir);
    towers(dir);
    let refused = |arguments: &[&str], parts: &[&str]| one_line(&sverka(dir).args(arguments).assert().code(2), parts);
    refused(&["index", "none.csv", "--out", "i"], &["none.csv", "check the name"]);
    refused(&["index", "right.csv", "--out", "i", "--kind", "dense"], &["--model", "vectors need a model"]);
    refused(
        &["index", "right.csv", "--out", "i", "--kind", "dense", "--model", "model"],
        &["reads query and document"],
    );
    refused(&["index", "right.csv", "--out", "i", "--model", "towers"], &["--kind bm25 has no model"]);
    refused(&["index", "right.csv", "--out", "i", "--fields", "title"], &["title", "it has name, price"]);
    refused(&["index", "right.csv", "--out", "i", "--b", "2"], &["b = 2"]);
    refused(&["index", ".", "--out", "i"], &["corpus.jsonl", "BEIR"]);
    assert!(!dir.join("i").exists());
    sverka(dir).args(["index", "right.csv", "--out", "i"]).assert().code(0);
    refused(&["index", "right.csv", "--out", "i"], &["already exists"]);
    sverka(dir).args(["index", "left.csv", "--out", "i", "--force"]).assert().code(0);
    assert_eq!(ids(dir, &["i", "camera", "-k", "1"]), ["1"]);
    refused(&["search", "model", "x"], &["is no index"]);
    refused(&["search", "i", "x", "-k", "0"], &["at least 1"]);
    refused(&["search", "i", "--queries", "left.csv"], &["--out", "--qrels"]);
    write(&dir.join("both.txt"), "a\n");
    refused(&["index", "update", "i", "--add", "right.csv", "--delete", "both.txt"], &["a: is also among"]);
    let lock = std::fs::File::open(dir.join("i/lock")).unwrap();
    lock.try_lock().unwrap();
    refused(&["index", "update", "i", "--add", "right.csv"], &["another process is writing this index"]);
    refused(&["index", "compact", "i"], &["another process is writing this index"]);
    assert_eq!(ids(dir, &["i", "camera", "-k", "1"]), ["1"]);
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_last_commit() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    lists(dir);
    towers(dir);
    model_of(dir, "colbert", "late");
    let rows: String = (0..300).map(|i| format!("n{i},camera lamp tv {i},5\n")).collect();
    write(&dir.join("many.csv"), format!("id,name,price\n{rows}"));
    // room for no documents; for these, but not for what finds them
    for (name, kind, blocks, file) in [
        ("documents", &["--kind", "bm25"][..], 16, "records"),
        ("words", &["--kind", "bm25"], 30, "bm25/"),
        ("vectors", &["--kind", "dense", "--model", "towers", "--vectors", "f32"], 48, "dense/vectors"),
        ("tokens", &["--kind", "colbert", "--model", "late"], 48, "colbert/vectors.part"),
    ] {
        let (index, other) = (&*format!("{name}.index"), &*format!("{name}.other"));
        let refused = |arguments: &[&str], place: &str| {
            let place = format!("write {place}");
            one_line(&with_little_room(dir, blocks, arguments).code(2), &[&place, "free some space"]);
        };
        // documents are first read into a file without a name
        let place = |folder: &str, generation: &str| match name {
            "documents" => format!("{folder}: "),
            _ => format!("{generation}/{file}"),
        };
        let found = || ids(dir, &[index, "camera lamp tv"]);
        done(dir, &[&["index", "right.csv", "--out", index][..], kind].concat());
        let before = found();
        refused(&["index", "update", index, "--add", "many.csv"], &place(index, &format!("{index}/gen-2")));
        refused(&[&["index", "many.csv", "--out", other][..], kind].concat(), &place(".", &format!("{other}/gen-1")));
        assert!(!dir.join(other).exists());
        assert_eq!(names(&dir.join(index)), ["gen-1", "lock", "sverka-index.json"]);
        assert_eq!(found(), before, "{name}: after an update without room");

        done(dir, &["index", "update", index, "--add", "many.csv"]);
        let before = found();
        refused(&["index", "compact", index], &format!("{index}/gen-3/{file}"));
        assert_eq!(names(&dir.join(index)), ["gen-1", "gen-2", "lock", "sverka-index.json"]);
        assert_eq!(found(), before, "{name}: after a compaction without room");
        assert_eq!(done(dir, &["index", "check", index])["documents"], 305);
        let compacted = done(dir, &["index", "compact", index]);
        assert_eq!((&compacted["generations"], &compacted["documents"]), (&1.into(), &305.into()), "{name}");
    }
    assert!(names(dir).iter().all(|name| !name.ends_with(".part")));
}

/// A BEIR folder `dir/data`: texts and queries with their ids, and one document that is right for a query.
fn beir(dir: &Path, documents: &[(&str, &str)], queries: &[(&str, &str)], judged: &[(&str, &str)]) {
    let data = dir.join("data");
    std::fs::create_dir_all(data.join("qrels")).unwrap();
    let line = |(id, text): &(&str, &str)| format!("{{\"_id\":\"{id}\",\"title\":\"\",\"text\":\"{text}\"}}\n");
    let lines = |texts: &[(&str, &str)]| texts.iter().map(line).collect::<String>();
    write(&data.join("corpus.jsonl"), lines(documents));
    write(&data.join("queries.jsonl"), lines(queries));
    let judged: String = judged.iter().map(|(query, document)| format!("{query}\t{document}\t1\n")).collect();
    write(&data.join("qrels/test.tsv"), format!("query-id\tcorpus-id\tscore\n{judged}"));
}

/// Twelve documents of one to twelve words, and two judged queries.
fn beir_of_lengths(dir: &Path) {
    let words: Vec<&str> = "sony camera black lamp white tv canon toner printer red blue inch".split(' ').collect();
    let text = |at: usize| (0..=at).map(|i| words[(at + 5 * i) % 12]).collect::<Vec<_>>().join(" ");
    let documents: Vec<(String, String)> = (0..12).map(|at| (format!("d{at}"), text(at))).collect();
    let documents: Vec<(&str, &str)> = documents.iter().map(|(id, text)| (&**id, &**text)).collect();
    beir(dir, &documents, &[("1", "white lamp"), ("2", "camera"), ("3", "red")], &[("1", "d3"), ("2", "d1")]);
}

#[test]
fn what_a_colbert_loses_is_measured_by_settings_and_length() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    model(dir);
    model_of(dir, "colbert", "late");
    beir_of_lengths(dir);
    let tune = ["tune", "late", "data", "--bits", "2,4", "--pool", "1,2", "--probes", "1,4,1000"];
    let report = done(dir, &tune);
    let number = |value: &serde_json::Value| value.as_f64().unwrap_or_else(|| panic!("{value}: {report}"));
    assert_eq!([&report["documents"], &report["queries"], &report["dim"]], [12, 2, 128]);
    assert!(number(&report["vectors"]) > 12.0 && number(&report["encoded_per_second"]) > 0.0, "{report}");
    assert!(number(&report["lengths"][0]) < number(&report["lengths"][1]), "{report}");
    assert_eq!(report["exact"]["recall_at_100"], 1.0, "all twelve are among the hundred best");
    let tried = report["tried"].as_array().unwrap();
    assert_eq!(tried.len(), 12);
    for of_probes in tried.chunks(3) {
        let recall: Vec<f64> = of_probes.iter().map(|of| number(&of["recall_of_exact"])).collect();
        assert!(recall[0] >= 0.0 && recall.is_sorted(), "more probes find no fewer: {recall:?}");
        assert_eq!(recall[2], 1.0, "all lists are read, and all documents of them decoded");
        for of in of_probes {
            let third = |name: &str| number(&of["recall_by_length"][name]);
            let [short, middle, long] = ["short", "middle", "long"].map(third);
            let mean = (short + middle + long) / 3.0;
            assert!((mean - number(&of["recall_of_exact"])).abs() < 1e-9, "thirds of four documents each: {of}");
            assert!(number(&of["p95_ms"]) >= number(&of["p50_ms"]) && number(&of["built_per_second"]) > 0.0, "{of}");
        }
    }
    let bytes = |at: usize| number(&tried[at]["bytes_per_token"]);
    assert!(
        bytes(0) < bytes(3) && bytes(6) < bytes(0),
        "2 bits take less than 4, and half of the vectors less than all"
    );
    let table = stdout(&sverka(dir).args(tune).assert().code(0));
    assert!(table.contains("of exact by vectors of a document: short (fewer than "), "{table}");
    let refused = |arguments: &[&str], parts: &[&str]| one_line(&sverka(dir).args(arguments).assert().code(2), parts);
    refused(&["tune", "late", "data", "--probes", "8,0"], &["--probes", "at least 1"]);
    refused(&["tune", "model", "data"], &["is no ColBERT"]);
}

#[test]
fn a_colbert_is_indexed_and_searched_with_the_settings_that_tune_tries() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    lists(dir);
    model(dir);
    model_of(dir, "colbert", "late");
    beir_of_lengths(dir);
    let index = |out: &str, more: &[&str]| {
        done(dir, &[&["index", "data", "--kind", "colbert", "--model", "late", "--out", out][..], more].concat())
    };
    let (usual, small) = (index("usual", &[]), index("small", &["--bits", "2", "--centroids", "5", "--pool", "2"]));
    assert!(small["bytes"].as_u64() < usual["bytes"].as_u64(), "{small} {usual}");
    let layout = json(&std::fs::read_to_string(dir.join("small/gen-1/colbert/colbert.json")).unwrap());
    assert_eq!([&layout["bits"], &layout["centroids"], &layout["pool_factor"]], [2, 5, 2]);
    let said = stdout(&sverka(dir).args(["info", "small"]).assert().code(0));
    assert!(said.contains("2 bits a value, 5 centroids, one vector kept of 2"), "{said}");
    for index in ["usual", "small"] {
        let all = ids(dir, &[index, "lamp", "-k", "20", "--probes", "1000"]);
        assert_eq!(all.len(), 12, "all lists are read: {all:?}");
        assert_eq!(ids(dir, &[index, "lamp", "-k", "3", "--probes", "1000", "--decoded", "12"]), all[..3]);
        assert_eq!(ids(dir, &[index, "lamp", "-k", "1", "--probes", "1", "--decoded", "1"]).len(), 1);
    }
    sverka(dir).args(["index", "right.csv", "--out", "words"]).assert().code(0);
    let refused = |arguments: &[&str], parts: &[&str]| one_line(&sverka(dir).args(arguments).assert().code(2), parts);
    refused(&["search", "words", "lamp", "--probes", "8"], &["--probes = 8", "this one is bm25", "leave it out"]);
    refused(&["search", "words", "lamp", "--decoded", "8"], &["--decoded = 8", "this one is bm25"]);
    refused(&["search", "usual", "lamp", "--decoded", "0"], &["--decoded = 0", "at least 1"]);
    for (flag, value, part) in [
        ("--pool", "65", "pool_factor = 65: must be 1 to 64"),
        ("--bits", "3", "bits = 3: must be 2 or 4"),
        ("--centroids", "20000000", "centroids = 20000000: must be at most"),
    ] {
        refused(&["index", "right.csv", "--kind", "colbert", "--model", "late", "--out", "x", flag, value], &[part]);
    }
    assert!(!dir.join("x").exists());
}

#[test]
fn ways_of_finding_are_compared_on_a_collection() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    model_of(dir.path(), "dssm", "towers");
    model_of(dir.path(), "colbert", "late");
    write(&dir.path().join("words.vec"), "3 2\nlamp 1 0\ncamera 0 1\nwhite 1 1\n");
    let texts = [("a", "sony camera black"), ("b", "lamp 60 w white"), ("c", "lg tv 42 inch"), ("d", "canon toner")];
    let queries = [("1", "white lamp"), ("2", "camera"), ("3", "red")];
    beir(dir.path(), &texts, &queries, &[("1", "b"), ("2", "a")]);
    let kinds = ["bm25", "dense:towers", "dense:words.vec", "colbert:late"];
    let arguments: Vec<&str> = kinds.iter().flat_map(|kind| ["--kind", kind]).collect();
    let run = |more: &[&str]| sverka(dir.path()).args(["index", "compare", "data"]).args(more).assert();
    let answer = json(&stdout(&run(&[&arguments[..], &["--json"]].concat()).code(0)));
    assert_eq!((&answer["documents"], &answer["queries"]), (&4.into(), &2.into()));
    for (at, kind) in kinds.iter().enumerate() {
        let way = &answer["ways"][at];
        assert_eq!(way["name"], *kind);
        assert!(way["bytes_per_document"].as_f64() > Some(0.0) && way["p95_ms"].as_f64() >= way["p50_ms"].as_f64());
        // these find the one document that has the query's words
        if ["bm25", "dense:words.vec"].contains(kind) {
            assert_eq!((&way["ndcg_at_10"], &way["recall_at_100"]), (&1.0.into(), &1.0.into()), "{kind}");
        }
    }
    let table = stdout(&run(&arguments).code(0));
    assert!(kinds.iter().all(|kind| table.contains(kind)) && table.contains("nDCG@10"), "{table}");
    let two = json(&stdout(&run(&["data", "--kind", "bm25", "--json"]).code(0)));
    let [first, second] = [0, 1].map(|at| two["collections"][at].clone());
    assert_eq!((&first["data"], &first["ways"][0]["ndcg_at_10"]), (&"data".into(), &second["ways"][0]["ndcg_at_10"]));
    for (kind, part) in [
        ("bm26", "give bm25, dense:MODEL or colbert:MODEL"),
        ("dense", "name the model"),
        ("bm25:towers", "bm25 has no model"),
        ("dense:late", "several vectors"),
        ("colbert:towers", "one vector"),
        ("dense:gone", "gone"),
    ] {
        let said = stderr(&run(&["--kind", kind]).code(2));
        assert!(said.contains(part), "{kind}: {said}");
    }
    assert!(!names(dir.path()).iter().any(|name| name.contains("part")));
}
