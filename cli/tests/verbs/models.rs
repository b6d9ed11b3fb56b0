//! `sverka info`, `bench`, `export` and `tokenizer prune`.

use serde_json::Value;

use crate::common::*;

fn run(dir: &std::path::Path, arguments: &[&str]) -> Value {
    json(&stdout(&sverka(dir).args(arguments).arg("--json").assert().code(0)))
}

#[test]
fn info_says_what_a_model_is() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    let info = run(dir.path(), &["info", "model"]);
    assert_eq!(info["config"]["hidden_size"], 32);
    assert!(info["parameters"].as_u64().unwrap() > 10_000);
    run(dir.path(), &["export", "model", "plain"]);
    assert_eq!(run(dir.path(), &["info", "plain"])["manifest"], Value::Null);
}

#[test]
fn bench_measures_three_shapes() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    let bench = run(dir.path(), &["bench", "model", "--seconds", "0.05", "--threads", "1"]);
    let shapes: Vec<(u64, u64)> = bench["shapes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (s["pairs"].as_u64().unwrap(), s["tokens"].as_u64().unwrap()))
        .collect();
    assert_eq!(shapes, [(32, 64), (8, 128), (1, 32)]);
    assert!(bench["shapes"].as_array().unwrap().iter().all(|s| s["pairs_per_second"].as_f64().unwrap() > 0.0));
}

#[test]
fn bench_gives_peers_to_the_script_of_a_checkout() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    // the program under test is in a checkout's target folder; the script that is found first is this one
    let script = dir.path().join("benches/peers");
    std::fs::create_dir_all(script.parent().unwrap()).unwrap();
    let shell = "#!/bin/sh\nprintf '{\"rows\":[\"%s\"]}' \"$5 $6 $7 $8 $9 ${10}\" > \"$4\"\ntest -f \"$2/model.safetensors\" && echo table\n";
    std::fs::write(&script, shell).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for flag in ["--peers", "--against"] {
        let peers = ["bench", "model", flag, "torch,openvino", "--threads", "1", "--seconds", "1.5"];
        assert_eq!(run(dir.path(), &peers)["rows"][0], "--against torch,openvino --threads 1 --seconds 0.5");
        assert_eq!(stdout(&sverka(dir.path()).args(peers).assert().code(0)), "table\n");
    }
    std::fs::write(&script, "#!/bin/sh\nexit 3\n").unwrap();
    let broken = sverka(dir.path()).args(["bench", "model", "--peers", "torch"]).assert().code(1);
    assert!(stderr(&broken).contains("benches/peers ended with exit status: 3"), "{}", stderr(&broken));
}

#[test]
fn a_pruned_model_scores_covered_texts_as_before() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    lists(dir.path());
    let pair = "{\"left\":{\"name\":\"lamp 40 w white\"},\"right\":{\"name\":\"lamp 60 w white\"}}\n";
    let score = |model: &str| {
        let assert = sverka(dir.path()).args(["score", model, "-"]).write_stdin(pair).assert().code(0);
        json(&stdout(&assert))["score"].as_f64().unwrap()
    };
    let prune = ["tokenizer", "prune", "model", "--corpus", "left.csv", "right.csv", "--out", "small"];
    let pruned = run(dir.path(), &prune);
    assert!(pruned["after"].as_u64() < pruned["before"].as_u64());
    assert_eq!(score("small"), score("model"));
}
