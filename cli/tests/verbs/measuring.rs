//! `sverka eval`, `calibrate` and `rank`.

use serde_json::Value;

use crate::common::*;
use crate::{folder, recipe_of_two};

/// `eval` of the pairs.
fn eval(dir: &std::path::Path, more: &[&str]) -> Value {
    json(&stdout(&sverka(dir).args(["eval", "model", "pairs", "--json"]).args(more).assert().code(0)))
}

#[test]
fn eval_measures_the_pairs_of_a_split() {
    let dir = folder();
    let report = eval(dir.path(), &["--split", "valid"]);
    assert_eq!((&report["pairs"], &report["positives"]), (&32.into(), &11.into()));
    assert_eq!(eval(dir.path(), &["--split", "all"])["pairs"], 128);
    let [precision, recall, f1] = ["precision", "recall", "f1"].map(|key| report[key].as_f64().unwrap());
    let mean = if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
    assert!((f1 - mean).abs() < 1e-9, "{report}");
    assert!(report["best_f1"].as_f64().unwrap() >= f1);
}

#[test]
fn calibrate_stores_what_is_better_on_pairs_left_out_of_the_fit() {
    let dir = folder();
    judged(dir.path());
    let eval = || json(&stdout(&sverka(dir.path()).args(["eval", "model", "judged.csv", "--json"]).assert().code(0)));
    let calibrate = |more: &[&str]| {
        let assert = sverka(dir.path()).args(["calibrate", "model", "judged.csv", "--json"]).args(more).assert();
        json(&stdout(&assert.code(0)))
    };
    let before = eval();
    let answer = calibrate(&[]);
    let after = eval();
    assert_eq!(answer["stored"]["calibration"], true, "{answer}");
    assert_eq!(answer["before"]["nll"], before["nll"]);
    assert!(after["nll"].as_f64() < before["nll"].as_f64(), "{before} {after}");
    assert!(
        answer["after"]["nll"].as_f64() > after["nll"].as_f64(),
        "measured on the pairs it was fitted to: {answer}"
    );
    for key in ["ece", "ece_mass", "brier", "nll"] {
        assert_eq!(before["uncalibrated"][key], before[key], "without a calibration they are the probabilities");
        assert_eq!(after["uncalibrated"][key], before[key], "{key}");
    }
    // a second time there is nothing to gain
    let manifest = || std::fs::read(dir.path().join("model/sverka.json")).unwrap();
    let stored = manifest();
    let again = calibrate(&[]);
    assert_eq!((&again["stored"]["calibration"], &again["stored"]["threshold"]), (&false.into(), &false.into()));
    assert_eq!(manifest(), stored);
    let forced = calibrate(&["--force", "--goal", "cost=5:1"]);
    assert_eq!(forced["stored"]["threshold"], true);
    assert_eq!(forced["threshold"]["goal"]["cost"]["false_positive"], 5.0);
    assert_ne!(manifest(), stored);
}

#[test]
fn calibrate_refuses_what_means_nothing() {
    let dir = folder();
    judged(dir.path());
    let manifest = || std::fs::read(dir.path().join("model/sverka.json")).unwrap();
    let before = manifest();
    let calibrate = |more: &[&str]| sverka(dir.path()).args(["-q", "calibrate", "model"]).args(more).assert();
    for goal in ["cost=5", "precision=two", "speed", "precision=2"] {
        calibrate(&["judged.csv", "--goal", goal]).code(2);
    }
    for force in [&["turned.csv"][..], &["turned.csv", "--force"]] {
        assert!(stderr(&calibrate(force).code(2)).contains("error: validation pairs: scores do not rise where labels"));
    }
    let text = std::fs::read_to_string(dir.path().join("judged.csv")).unwrap();
    write(&dir.path().join("few.csv"), text.lines().take(24).map(|line| format!("{line}\n")).collect::<String>());
    let said = stderr(&calibrate(&["few.csv"]).code(0));
    assert!(said.contains("fewer than 10 of a label") && said.contains("nothing is stored without --force"), "{said}");
    assert_eq!(manifest(), before);
    sverka(dir.path()).args(["export", "model", "plain"]).assert().code(0);
    let plain = sverka(dir.path()).args(["calibrate", "plain", "judged.csv"]).assert().code(2);
    one_line(&plain, &["plain", "sverka.json", "train with it first"]);
}

#[test]
fn a_model_compared_with_itself_is_not_different() {
    let dir = folder();
    for flag in ["--compare", "--against"] {
        let both = eval(dir.path(), &[flag, "model"]);
        assert_eq!(both["against"]["mcnemar"]["exact_p"], 1.0);
        assert_eq!(both["against"]["f1"], both["f1"]);
    }
}

#[test]
fn a_duo_is_measured_on_the_queries_that_it_can_compare() {
    let dir = folder();
    model_of(dir.path(), "duo", "duo");
    let (columns, alone) = ("left_name,right_name,label\n", "lg tv,tv lg 42 inch,1\n");
    let lists = "lamp 40 w,lamp 40w,1\nlamp 40 w,lamp 60 w,0\n";
    write(&dir.path().join("lists.csv"), format!("{columns}{alone}{lists}"));
    write(&dir.path().join("alone.csv"), format!("{columns}{alone}"));
    for arguments in
        [["eval", "duo", "lists.csv", "--compare", "model"], ["eval", "model", "lists.csv", "--compare", "duo"]]
    {
        let said = sverka(dir.path()).args(arguments).arg("--json").assert().code(0);
        assert!(stderr(&said).contains("2 of 3 pairs are scored"), "{}", stderr(&said));
        let answer = json(&stdout(&said));
        assert_eq!((&answer["pairs"], &answer["against"]["pairs"]), (&2.into(), &2.into()), "{answer}");
    }
    for verb in ["eval", "calibrate"] {
        let none = sverka(dir.path()).args([verb, "duo", "alone.csv"]).assert().code(2);
        one_line(&none, &["no query has two candidates"]);
    }
}

#[test]
fn eval_measures_each_value_of_a_field() {
    let dir = folder();
    let categories = eval(dir.path(), &["--category", "price"])["categories"].as_object().unwrap().clone();
    assert_eq!(categories.len(), 32);
    assert!(categories.values().all(|report| report["pairs"] == 1));
    let none = sverka(dir.path()).args(["eval", "model", "pairs", "--category", "shop"]).assert().code(2);
    one_line(&none, &["--category = shop", "name"]);
}

#[test]
fn the_reliability_table_counts_every_pair_once() {
    let dir = folder();
    let bins = eval(dir.path(), &["--reliability"])["reliability"].as_array().unwrap().clone();
    assert_eq!((bins.len(), bins.iter().map(|b| b["count"].as_u64().unwrap()).sum::<u64>()), (15, 32));
    let text = stdout(&sverka(dir.path()).args(["eval", "model", "pairs", "--reliability"]).assert().code(0));
    let (_, table) = text.split_once("are matches\n").unwrap();
    let counts = table.lines().map(|l| l.split_whitespace().nth(3).unwrap().parse::<u64>().unwrap());
    assert_eq!(counts.sum::<u64>(), 32, "{text}");
}

#[test]
fn eval_reads_the_fields_that_are_named() {
    let dir = folder();
    let [names, all] =
        [&["--fields", "name"][..], &[]].map(|more| eval(dir.path(), more)["uncalibrated"]["nll"].clone());
    assert_ne!(names, all, "the price is read all the same");
    let none = sverka(dir.path()).args(["eval", "model", "pairs", "--fields", "name,shop"]).assert().code(2);
    one_line(&none, &["--fields = shop", "name, price"]);
}

fn rank(dir: &std::path::Path, arguments: &[&str]) -> Value {
    json(&stdout(&sverka(dir).args(["rank", "model", "--json"]).args(arguments).assert().code(0)))
}

#[test]
fn rank_measures_a_catalogue() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    recipe_of_two(dir.path());
    let report = rank(dir.path(), &["two.toml", "--source", "shop", "--top-k", "5"]);
    assert_eq!((&report["queries"], &report["k"]), (&2.into(), &5.into()));
    assert_eq!(report["recall_at_k"], 1.0, "five candidates are the whole right table");
    assert!(report["mrr"].as_f64().unwrap() >= 0.2, "the match is among five: {report}");
    let old =
        sverka(dir.path()).args(["eval", "model", "two.toml", "--source", "shop", "--rank", "5", "--json"]).assert();
    assert_eq!(json(&stdout(&old.code(0))), report, "the old name of the verb");
    let text = sverka(dir.path()).args(["rank", "model", "shop", "--split", "all", "--top-k", "3"]).assert().code(0);
    assert!(stdout(&text).contains("3 left records with a match"), "{}", stdout(&text));
}

#[test]
fn with_one_candidate_nothing_is_left_for_the_model_to_decide() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    recipe_of_two(dir.path());
    let one = rank(dir.path(), &["shop", "--top-k", "1"]);
    assert_eq!(one["accuracy_at_1"], one["first_stage_accuracy_at_1"]);
    assert_eq!(one["recall_at_k"], one["mrr"]);
    let bm25_alone = rank(dir.path(), &["shop", "--top-k", "5", "--bm25-weight", "1000000"]);
    assert_eq!(bm25_alone["accuracy_at_1"], one["first_stage_accuracy_at_1"]);
}

#[test]
fn rank_refuses_what_it_can_not_measure() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    recipe_of_two(dir.path());
    for (arguments, parts) in [
        (&["shop", "--bm25-weight", "-1"][..], ["bm25-weight = -1", "0 or more"]),
        (&["two.toml", "--top-k", "5"], ["--top-k = 5", "--source"]),
        (&["pairs", "--top-k", "5"], ["--top-k = 5", "two tables"]),
        (&["shop", "--top-k", "0"], ["--top-k = 0", "at least 1"]),
        (&["two.toml", "--source", "shops"], ["--source = shops", "shop, pairs"]),
        (&["shop", "--source", "shop"], ["--source = shop", "recipe"]),
        (&["two.toml", "--id", "sku"], ["--id = sku", "recipe"]),
    ] {
        one_line(&sverka(dir.path()).args(["rank", "model"]).args(arguments).assert().code(2), &parts);
    }
}

#[test]
fn eval_reads_each_source_by_its_own_fields() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    recipe_of_two(dir.path());
    let nll = |arguments: &[&str]| {
        let assert = sverka(dir.path()).args(["eval", "model", "--json"]).args(arguments).assert().code(0);
        let report = json(&stdout(&assert));
        (report["pairs"].as_u64().unwrap(), report["nll"].as_f64().unwrap())
    };
    let shop = nll(&["two.toml", "--source", "shop"]);
    let (whole, pairs) = (nll(&["shop"]), nll(&["two.toml", "--source", "pairs"]));
    assert_ne!(shop, whole, "the price is read although the source shows names only");
    for table in ["tableA.csv", "tableB.csv"] {
        let path = dir.path().join("shop").join(table);
        let text = std::fs::read_to_string(&path).unwrap();
        let without: Vec<&str> = text.lines().map(|l| l.rsplit_once(',').unwrap().0).collect();
        write(&path, without.join("\n") + "\n");
    }
    assert_eq!(shop, nll(&["shop"]), "a table of names alone is what the recipe shows of it");
    let (both, mean) = nll(&["two.toml"]);
    assert_eq!(both, shop.0 + pairs.0);
    assert!((mean - (shop.1 * 3.0 + pairs.1 * 32.0) / 35.0).abs() < 1e-5);
}

#[test]
fn a_recipe_gives_the_verbs_what_its_run_validates_on() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    recipe_of_two(dir.path());
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    // a test pair among those to validate on, and a set that is left out of the run
    let with_a_test_pair = read("pairs/valid.csv") + read("pairs/test.csv").lines().nth(3).unwrap() + "\n";
    write(&dir.path().join("valid.csv"), with_a_test_pair);
    write(&dir.path().join("shop/valid.csv"), "ltable_id,rtable_id,label\n1,c,0\n");
    let recipe = read("two.toml").replace("test = \"pairs", "valid = \"valid.csv\", test = \"pairs");
    write(&dir.path().join("all.toml"), &recipe);
    write(&dir.path().join("two.toml"), recipe.replacen("[[data", "data.leave_out = [\"shop\"]\n[[data", 1));
    let eval = |arguments: &[&str], code: i32| {
        sverka(dir.path()).args(["eval", "model", "--json"]).args(arguments).assert().code(code)
    };
    let counted = |arguments: &[&str]| json(&stdout(&eval(arguments, 0)))["pairs"].as_u64().unwrap();
    assert_eq!(counted(&["all.toml", "--split", "valid"]), 1 + 32);
    assert_eq!(counted(&["two.toml", "--split", "valid"]), 32);
    assert_eq!(counted(&["two.toml", "--split", "train"]), 64);
    assert_eq!(counted(&["two.toml"]), 3 + 32, "what is left out is measured");
    one_line(&eval(&["two.toml", "--split", "valid", "--source", "shop"], 2), &["no labelled pairs in split valid"]);
}
