//! `sverka quantize`.

use serde_json::Value;

use crate::common::*;
use crate::{folder, set_threshold};

fn run(dir: &std::path::Path, arguments: &[&str]) -> Value {
    json(&stdout(&sverka(dir).args(arguments).arg("--json").assert().code(0)))
}

#[test]
fn int8_weights_score_nearly_the_same_and_say_what_they_lose() {
    let dir = folder();
    let run = |arguments: &[&str]| run(dir.path(), arguments);
    let report = run(&["quantize", "model", "pairs", "--max-loss", "1", "--samples", "50", "--out", "int8"]);
    let pair = "{\"left\":{\"name\":\"lamp 40 w white\"},\"right\":{\"name\":\"lamp 60 w white\"}}\n";
    let score = |model: &str| {
        let assert = sverka(dir.path()).args(["score", model, "-"]).write_stdin(pair).assert().code(0);
        json(&stdout(&assert))["score"].as_f64().unwrap()
    };
    assert!((score("int8") - score("model")).abs() < 0.3);
    assert_eq!((&report["sample_pairs"], &report["measured_pairs"]), (&50.into(), &32.into()));
    let [before, after] = ["f32", "int8"].map(|dtype| report[dtype]["f1"].as_f64().unwrap());
    assert_eq!(report["loss"].as_f64(), Some(before - after));
    assert!(report["output_error"].as_f64() < report["output_error_unfitted"].as_f64(), "{report}");
    let [was, is] = ["model", "int8"].map(|name| run(&["info", name])["manifest"].clone());
    assert_eq!(is["quantised"]["from_weights_sha256"], was["weights_sha256"]);
    assert_eq!(is["quantised"]["f1_int8"], run(&["eval", "int8", "pairs"])["f1"], "int8 is what it computes in");
    assert_eq!(is["quantised"]["f1_f32"], run(&["eval", "model", "pairs"])["f1"]);
    assert_eq!((&is["dtype"], &is["storage"], &is["threshold"]), (&"int8".into(), &"int8".into(), &was["threshold"]));
}

#[test]
fn the_sample_is_neither_measured_nor_of_the_test_split() {
    let dir = folder();
    let report = run(dir.path(), &["quantize", "model", "pairs", "--split", "valid", "--max-loss", "1", "--out", "a"]);
    assert_eq!((&report["sample_pairs"], &report["measured_pairs"]), (&64.into(), &32.into()));
    // without splits the sample is left out of what is measured
    let row = "lamp,1,lamp,1,1\n";
    write(&dir.path().join("one.csv"), format!("left_name,left_price,right_name,right_price,label\n{}", row.repeat(9)));
    let report = run(dir.path(), &["quantize", "model", "one.csv", "--max-loss", "1", "--samples", "3", "--out", "b"]);
    assert_eq!((&report["sample_pairs"], &report["measured_pairs"]), (&3.into(), &6.into()));
}

#[test]
fn a_model_that_loses_too_much_is_not_written() {
    let dir = folder();
    let quantize = |arguments: &[&str]| sverka(dir.path()).arg("quantize").args(arguments).assert();
    quantize(&["model", "pairs", "--max-loss", "1", "--out", "probe"]).code(0);
    // a match that int8 turns over: the threshold is between its two scores
    let things = ["lamp", "tv", "camera sony", "printer canon", "toner", "black", "42 inch", "red lamp"];
    let pair = |thing: &str| {
        let record = serde_json::json!({"name": thing, "price": "1"});
        serde_json::json!({"left": record, "right": record}).to_string() + "\n"
    };
    let probabilities = |model: &str| -> Vec<f64> {
        let input: String = things.iter().map(|thing| pair(thing)).collect();
        let assert = sverka(dir.path()).args(["score", model, "-"]).write_stdin(input).assert().code(0);
        stdout(&assert).lines().map(|line| json(line)["probability"].as_f64().unwrap()).collect()
    };
    let (was, is) = (probabilities("model"), probabilities("probe"));
    let fallen = (0..things.len()).max_by(|&a, &b| (was[a] - is[a]).total_cmp(&(was[b] - is[b]))).unwrap();
    assert!(was[fallen] - is[fallen] > 1e-5, "{was:?} {is:?}");
    set_threshold(&dir.path().join("model"), (was[fallen] + is[fallen]) / 2.0);
    let row = format!("{0},1,{0},1,1\n", things[fallen]);
    write(&dir.path().join("pairs/test.csv"), format!("left_name,left_price,right_name,right_price,label\n{row}{row}"));
    let before = names(dir.path());
    let gate = quantize(&["model", "pairs", "--out", "int8"]).code(3);
    one_line(&gate, &["int8 loses 1.0000 of F1 (1.0000 to 0.0000)", "--max-loss 0.005", "nothing is written"]);
    assert_eq!(stdout(&gate), "");
    assert_eq!(names(dir.path()), before, "something is left over");
    quantize(&["model", "pairs", "--max-loss", "1", "--out", "int8"]).code(0);
}

#[test]
fn quantize_refuses_what_makes_no_sense() {
    let dir = folder();
    let quantize = |arguments: &[&str]| sverka(dir.path()).arg("quantize").args(arguments).assert();
    one_line(&quantize(&["model", "pairs", "--max-loss", "1.5"]).code(2), &["--max-loss = 1.5"]);
    one_line(&quantize(&["model", "pairs", "--samples", "0"]).code(2), &["--samples = 0"]);
    quantize(&["model", "pairs", "--max-loss", "1", "--out", "small"]).code(0);
    one_line(&quantize(&["small", "pairs"]).code(2), &["sverka.json", "storage: is int8 already", "made from"]);
    one_line(&quantize(&["model", "pairs", "--out", "small"]).code(2), &["small", "already exists"]);
    assert!(!names(dir.path()).iter().any(|name| name.contains("int8") || name.contains(".part")));
}

#[test]
fn int8_weights_of_one_model_with_the_manifest_of_another_are_refused() {
    let dir = folder();
    run(dir.path(), &["quantize", "model", "pairs", "--max-loss", "1", "--out", "small"]);
    std::fs::copy(dir.path().join("model/model.safetensors"), dir.path().join("small/model.safetensors")).unwrap();
    let manifest = json(&std::fs::read_to_string(dir.path().join("model/sverka.json")).unwrap());
    let from = manifest["weights_sha256"].as_str().unwrap();
    let swapped = sverka(dir.path()).args(["eval", "small", "pairs"]).assert().code(2);
    one_line(&swapped, &["model.safetensors: SHA-256: is not the int8 that sverka.json describes, made from", from]);
}
