//! `states` and `run`.

use super::*;

fn ran(dir: &Path, arguments: &[&str]) -> Value {
    json(&stdout(&sverka(dir).args(arguments).arg("--json").assert().code(0)))
}

fn folder_of_states() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    split_model(dir.path());
    lists(dir.path());
    dir
}

#[test]
fn states_are_built_changed_compacted_and_checked() {
    let dir = folder_of_states();
    let dir = dir.path();
    let built = ran(dir, &["states", "build", "split", "right.csv", "--out", "store", "--storage", "int8"]);
    assert_eq!((&built["documents"], &built["added"]), (&5.into(), &5.into()));
    let bytes = built["estimate"]["bytes_a_document"].as_f64().unwrap();
    let said = stderr(&sverka(dir).args(["states", "build", "split", "left.csv", "--out", "other"]).assert().code(0));
    assert!(said.contains("bytes a document (f16, 32 values a token)"), "{said}");
    write(&dir.join("more.csv"), "id,name,price\na,lamp,1\nf,tv,2\n");
    let more = ran(dir, &["states", "append", "split", "more.csv", "--out", "store"]);
    assert_eq!([&more["documents"], &more["added"], &more["replaced"]], [6, 2, 1].map(Value::from).each_ref());
    write(&dir.join("gone.txt"), "b\nnone\n");
    let less = ran(dir, &["states", "delete", "store", "--id", "c", "--ids", "gone.txt"]);
    assert_eq!((&less["deleted"], &less["documents"]), (&2.into(), &4.into()));
    assert!(less["notes"][0].as_str().unwrap().contains("1 id is not in the store"), "{less}");
    assert!(ran(dir, &["states", "compact", "store"])["freed_bytes"].as_u64().unwrap() > 0);
    let checked = ran(dir, &["states", "check", "store"]);
    assert_eq!(
        (&checked["documents"], &checked["segments"], &checked["storage"]),
        (&4.into(), &1.into(), &"int8".into())
    );
    assert!(checked["bytes"].as_f64().unwrap() < 6.0 * bytes);

    let refused = |arguments: &[&str], parts: &[&str]| one_line(&sverka(dir).args(arguments).assert().code(2), parts);
    refused(
        &["states", "build", "model", "left.csv", "--out", "x"],
        &["is no split encoder", "architecture = \"yati\""],
    );
    refused(&["states", "build", "split", "left.csv", "--out", "model"], &["already exists"]);
    refused(&["states", "build", "split", "left.csv", "--out", "store"], &["begun in int8"]);
    refused(&["states", "append", "split", "left.csv", "--out", "model"], &["no store of states"]);
    refused(&["states", "delete", "nowhere", "--id", "1"], &["nowhere"]);
    let rows = dir.join("store").join(&names(&dir.join("store"))[1]).join("rows");
    assert!(rows.is_file(), "{rows:?}");
    std::fs::write(&rows, b"cut").unwrap();
    refused(&["states", "check", "store"], &["cut short"]);
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_documents_that_were_stored() {
    let dir = folder_of_states();
    let dir = dir.path();
    let rows: String = (0..300).map(|i| format!("n{i},camera lamp tv {i},5\n")).collect();
    write(&dir.join("many.csv"), format!("id,name,price\n{rows}"));
    let refused = |arguments: &[&str], place: &str| {
        let assert = with_little_room(dir, 48, &[arguments, &["-q"]].concat()).code(2);
        one_line(&assert, &[place, "free some space"]);
    };
    let documents = || ran(dir, &["states", "check", "store"])["documents"].clone();
    let there = |store: &str| names(&dir.join(store));
    let append = ["states", "append", "split", "many.csv", "--out", "store"];
    let build = ["states", "build", "split", "many.csv", "--out", "other"];
    ran(dir, &["states", "build", "split", "right.csv", "--out", "store"]);
    refused(&append, "write store/seg-2/rows");
    assert_eq!(there("store"), ["lock", "seg-1", "sverka-states.json"]);
    assert_eq!(documents(), 5);
    refused(&build, "write other/seg-1/rows");
    assert_eq!(there("other"), ["lock", "sverka-states.json"]);
    // with room the same commands do what they should have done
    assert_eq!(ran(dir, &append)["documents"], 305);
    assert_eq!(ran(dir, &build)["documents"], 300);
    refused(&["states", "compact", "store"], "write store/seg-3/rows");
    assert_eq!(there("store"), ["lock", "seg-1", "seg-2", "sverka-states.json"]);
    assert_eq!(documents(), 305);
    ran(dir, &["states", "compact", "store"]);
    assert_eq!(there("store"), ["lock", "seg-3", "sverka-states.json"]);
    assert_eq!(documents(), 305);
}

#[test]
fn a_pipeline_writes_a_run_and_says_what_each_stage_took_and_lost() {
    let dir = folder_of_states();
    let dir = dir.path();
    ran(dir, &["states", "build", "split", "right.csv", "--out", "store", "--storage", "f32"]);
    let stages = "collection = \"right.csv\"\n[[stages]]\nkind = \"bm25\"\nk = 4\n[[stages]]\nkind = \"yati\"\n\
                  model = \"split\"\nstore = \"store\"\nk = 3\n[[stages]]\nkind = \"cross_encoder\"\nmodel = \"model\"\nk = 1\n";
    write(&dir.join("p.toml"), stages);
    write(&dir.join("queries.tsv"), "1\tsony camera black\n2\tlamp white\n3\t...\n");
    write(&dir.join("qrels.txt"), "1 0 a 1\n2 0 b 1\n2 0 e 1\n3 0 c 0\n");
    let report = ran(dir, &["run", "p.toml", "queries.tsv", "--out", "run.trec", "--qrels", "qrels.txt"]);
    let stages = report["stages"].as_array().unwrap();
    assert_eq!(
        stages.iter().map(|s| s["kind"].as_str().unwrap()).collect::<Vec<_>>(),
        ["bm25", "yati", "cross_encoder"]
    );
    assert_eq!(
        (&report["queries"], &report["without_documents"], &report["over_budget"]),
        (&3.into(), &1.into(), &0.into())
    );
    assert_eq!(stages[0]["recall"], 1.0, "{report}");
    assert!(stages[2]["recall"].as_f64().unwrap() <= 0.75 && report["measures"]["nDCG@10"].is_f64(), "{report}");
    let run = std::fs::read_to_string(dir.join("run.trec")).unwrap();
    assert_eq!(run.lines().count(), 2, "one document a query that found any: {run}");
    // found in an index on disk, one of whose documents the collection does not have
    let more = format!("{RIGHT}z,black sony camera film,1\n");
    write(&dir.join("more.csv"), more);
    sverka(dir).args(["index", "more.csv", "--kind", "bm25", "--out", "more.index"]).assert().code(0);
    let text = std::fs::read_to_string(dir.join("p.toml")).unwrap();
    write(&dir.join("i.toml"), text.replace("k = 4", "k = 5\nindex = \"more.index\""));
    let indexed = ran(dir, &["run", "i.toml", "queries.tsv", "--out", "i.trec", "--qrels", "qrels.txt"]);
    assert_eq!(indexed["stages"][0]["recall"], 1.0, "{indexed}");
    assert!(indexed["stages"][0]["gone"].as_u64().unwrap() >= 1, "{indexed}");
    let slow = ran(dir, &["run", "p.toml", "queries.tsv", "--out", "run.trec", "--budget-ms", "0.0001"]);
    assert_eq!((&slow["over_budget"], &slow["stages"][1]["queries"]), (&2.into(), &1.into()), "{slow}");
    let late = sverka(dir).args(["run", "p.toml", "queries.tsv", "--out", "r.trec", "--budget-ms", "0.0001"]).assert();
    let late = stdout(&late.code(0));
    assert!(late.contains("2 queries went past the budget: they have the order of their last full stage"), "{late}");

    let refused = |arguments: &[&str], parts: &[&str]| {
        let said = stderr(&sverka(dir).args(arguments).assert().code(2));
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    };
    refused(&["run", "p.toml", "queries.tsv"], &["give a run to write"]);
    write(&dir.join("bad.toml"), "collection = \"right.csv\"\n[[stages]]\nkind = \"boosted\"\n");
    refused(&["run", "bad.toml", "queries.tsv", "--out", "r"], &["bad.toml", "line = 3", "boosted"]);
    write(&dir.join("duo.toml"), "collection = \"right.csv\"\n[[stages]]\nkind = \"duo\"\nmodel = \"model\"\n");
    refused(&["run", "duo.toml", "queries.tsv", "--out", "r"], &["the first stage must find documents"]);
}
