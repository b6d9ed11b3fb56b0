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
    sverka(dir).args(["index", "right.csv", "--out", "i"]).assert().code(0);
    let before = ids(dir, &["i", "camera lamp tv"]);
    let rows: String = (0..3000).map(|i| format!("n{i},camera lamp tv {i},5\n")).collect();
    write(&dir.join("many.csv"), format!("id,name,price\n{rows}"));
    // no file may be longer than 16 blocks, which fails a write as a full disk does
    let script = "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\"";
    for arguments in [&["index", "update", "i", "--add", "many.csv"][..], &["index", "many.csv", "--out", "j"]] {
        let mut command = assert_cmd::Command::new("sh");
        command.current_dir(dir).arg("-c").arg(script).arg(assert_cmd::cargo::cargo_bin("sverka")).args(arguments);
        one_line(&command.assert().code(2), &["write ", "free some space"]);
    }
    assert_eq!(names(&dir.join("i")), ["gen-1", "lock", "sverka-index.json"]);
    assert!(names(dir).iter().all(|name| !name.ends_with(".part") && name != "j"));
    assert_eq!(ids(dir, &["i", "camera lamp tv"]), before);
}

#[test]
fn ways_of_finding_are_compared_on_a_collection() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    model_of(dir.path(), "dssm", "towers");
    model_of(dir.path(), "colbert", "late");
    write(&dir.path().join("words.vec"), "3 2\nlamp 1 0\ncamera 0 1\nwhite 1 1\n");
    let data = dir.path().join("data");
    std::fs::create_dir_all(data.join("qrels")).unwrap();
    let line = |(id, text): (&str, &str)| format!("{{\"_id\":\"{id}\",\"title\":\"\",\"text\":\"{text}\"}}\n");
    let texts = [("a", "sony camera black"), ("b", "lamp 60 w white"), ("c", "lg tv 42 inch"), ("d", "canon toner")];
    write(&data.join("corpus.jsonl"), texts.map(line).concat());
    write(&data.join("queries.jsonl"), [("1", "white lamp"), ("2", "camera"), ("3", "red")].map(line).concat());
    write(&data.join("qrels/test.tsv"), "query-id\tcorpus-id\tscore\n1\tb\t1\n2\ta\t1\n");
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
