//! `sverka boost` and `sverka table`.
#![cfg(feature = "boosting")]

use serde_json::Value;

use crate::common::*;
use crate::folder;

#[test]
fn trees_over_a_models_scores_are_trained_measured_and_scored() {
    let dir = folder();
    // a ranker is called as its folder, or as the one above a folder `model`
    std::fs::rename(dir.path().join("model"), dir.path().join("tiny")).unwrap();
    let run = |arguments: &[&str]| -> Value {
        json(&stdout(&sverka(dir.path()).args(arguments).arg("--json").assert().code(0)))
    };
    let trained = run(&["boost", "train", "pairs", "--model", "tiny", "--out", "booster", "--rounds", "60"]);
    assert_eq!(
        (&trained["split"], &trained["pairs"], &trained["rankers"][0]),
        (&"valid".into(), &32.into(), &"tiny".into())
    );
    assert_eq!(names(&dir.path().join("booster")), ["boost.json", "features.json", "model.json", "rankers"]);
    let report = run(&["boost", "eval", "booster", "pairs"]);
    assert_eq!(report["pairs"], 32);
    // the colour is what makes a match, and it is among the words that both have
    assert!(report["pr_auc"].as_f64().unwrap() > 0.8, "{report}");
    let lines = "{\"left\":{\"name\":\"lamp red ab1\",\"price\":\"1\"},\"right\":{\"name\":\"red lamp ab1\",\"price\":\"1\"}}\n\
                 {\"left\":{\"name\":\"lamp red ab1\",\"price\":\"1\"},\"right\":{\"name\":\"blue lamp ab1\",\"price\":\"1\"}}\n\
                 {\"left\":{\"name\":\"\"},\"right\":{\"name\":\"blue lamp ab1\"}}\n";
    let said = stdout(&sverka(dir.path()).args(["boost", "score", "booster", "-"]).write_stdin(lines).assert().code(0));
    let scores: Vec<Value> = said.lines().map(json).collect();
    assert!(scores[0]["score"].as_f64() > scores[1]["score"].as_f64(), "{said}");
    assert_eq!((&scores[2]["unreadable"], &scores[2]["decision"]), (&true.into(), &false.into()));
    for file in ["features.csv", "features.parquet"] {
        let written = run(&["boost", "features", "pairs", "--booster", "booster", "--split", "all", "--out", file]);
        assert_eq!((&written["pairs"], &written["features"][0]), (&128.into(), &"score.tiny".into()));
    }
    let text = std::fs::read_to_string(dir.path().join("features.csv")).unwrap();
    assert!(text.starts_with("left_id,right_id,label,score.tiny,bm25,") && text.lines().count() == 129);
    one_line(
        &sverka(dir.path()).args(["boost", "train", "pairs", "--out", "booster"]).assert().code(2),
        &["booster: already exists"],
    );
    one_line(
        &sverka(dir.path()).args(["boost", "train", "pairs", "--fields", "colour", "--out", "x"]).assert().code(2),
        &["--fields = colour: no such column"],
    );
}

#[test]
fn a_booster_decides_in_match_and_is_a_stage_of_a_pipeline() {
    let dir = folder();
    lists(dir.path());
    let run = |arguments: &[&str]| sverka(dir.path()).args(arguments).args(["--json"]).assert();
    run(&["boost", "train", "pairs", "--model", "model", "--out", "booster", "--rounds", "20"]).code(0);
    let found = |arguments: &[&str]| -> Vec<Value> {
        run(&[&["match", "left.csv", "right.csv", "--all", "--out", "m.jsonl"], arguments].concat()).code(0);
        std::fs::read_to_string(dir.path().join("m.jsonl")).unwrap().lines().map(json).collect()
    };
    let alone = found(&["--model", "booster", "--top-k", "3"]);
    let stages = "[[stages]]\nkind = 'bm25'\nk = 3\n[[stages]]\nkind = 'boosting'\nmodel = 'booster'\n";
    write(&dir.path().join("p.toml"), format!("collection = 'right.csv'\n{stages}"));
    assert_eq!(found(&["--pipeline", "p.toml"]), alone);
    // of a pair as of lists
    let pair = "{\"left\":{\"name\":\"a\"},\"right\":{\"name\":\"a\"}}\n";
    let score = sverka(dir.path()).args(["boost", "score", "booster", "-"]).write_stdin(pair).assert().code(0);
    assert!(json(stdout(&score).trim())["probability"].is_f64() && alone.iter().all(|m| m["probability"].is_f64()));
    write(&dir.path().join("queries.tsv"), "1\tsony camera black\n");
    let report = json(&stdout(&run(&["run", "p.toml", "queries.tsv", "--out", "run.trec"]).code(0)));
    assert_eq!(report["stages"][1]["kind"], "boosting");
    sverka(dir.path()).args(["match", "left.csv", "--model", "booster", "--out", "d.csv"]).assert().code(0);

    let refused = |arguments: &[&str], part: &str| {
        let said = stderr(&sverka(dir.path()).args(arguments).assert().code(2));
        assert!(said.contains(part), "{said}");
    };
    let two = ["match", "left.csv", "right.csv", "--out", "n.csv"];
    refused(&[&two[..], &["--model", "booster", "--fields", "name"]].concat(), "trained on: leave it out");
    write(&dir.path().join("p.toml"), stages.replace("booster", "model"));
    refused(&[&two[..], &["--pipeline", "p.toml"]].concat(), "wants a folder of `sverka boost train`");
}

#[test]
fn a_table_trains_what_is_missing_and_keeps_what_is_there() {
    let dir = folder();
    let recipe = "name = \"t\"\nmodel.init = \"model\"\n[[data.sources]]\nname = \"pairs\"\n\
                  from = { format = \"joined\", train = \"pairs/train.csv\", valid = \"pairs/valid.csv\", test = \"pairs/test.csv\" }\n\
                  [train]\nepochs = 1\n";
    write(&dir.path().join("t.toml"), recipe);
    let table = || -> Value {
        let arguments =
            ["table", "t.toml", "--families", "dssm,colbert,yati,pacrr,boosting", "--out", "runs", "--json"];
        json(&stdout(&sverka(dir.path()).args(arguments).assert().code(0)))
    };
    let first = table();
    let rows = first["rows"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["dssm", "colbert", "yati", "pacrr", "boosting"]);
    let bytes: Vec<u64> = rows.iter().map(|row| row["document_bytes"].as_u64().unwrap()).collect();
    // a vector of 32 values; some of 128 in two bytes; some states of 32 in two bytes
    assert_eq!((bytes[0], bytes[3], bytes[4]), (128, 0, 0));
    assert!(bytes[1] >= 2 * 128 && bytes[2] >= 2 * 32, "{bytes:?}");
    for row in rows {
        let [f1, low, high] = ["f1", "f1_low", "f1_high"].map(|key| row[key].as_f64().unwrap());
        assert!(low <= f1 && f1 <= high, "{row}");
        assert!(row["ms"].as_array().unwrap().iter().all(|ms| ms.as_f64().unwrap() > 0.0), "{row}");
    }
    let metrics = dir.path().join("runs/dssm/metrics.json");
    let before = std::fs::metadata(&metrics).unwrap().modified().unwrap();
    assert_eq!(table()["rows"][3]["f1"], rows[3]["f1"]);
    assert_eq!(std::fs::metadata(&metrics).unwrap().modified().unwrap(), before, "trained again");
    let unknown = ["table", "t.toml", "--families", "bm42", "--out", "runs"];
    one_line(&sverka(dir.path()).args(unknown).assert().code(2), &["--families = bm42: is not known"]);
}
