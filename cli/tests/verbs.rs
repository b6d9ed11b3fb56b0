//! What each verb does, with a model that was trained on nothing.
mod common;
use std::collections::HashSet;
use std::path::Path;

use common::*;
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Runs `match` and gives its answer and the lines of the file.
fn matched(dir: &Path, arguments: &[&str]) -> (Value, Vec<Value>) {
    let out = dir.join("m.jsonl");
    let assert = sverka(dir)
        .arg("match")
        .args(arguments)
        .args(["--json", "--out"])
        .arg(&out)
        .args(["--model", "model"])
        .assert();
    let answer = json(&stdout(&assert.code(0)));
    (answer, std::fs::read_to_string(out).unwrap().lines().map(json).collect())
}

#[test]
fn match_writes_accepted_pairs_or_all() {
    let dir = tempfile::tempdir().unwrap();
    lists(dir.path());
    model(dir.path());
    let (answer, all) = matched(dir.path(), &["left.csv", "right.csv", "--all", "--k", "3"]);
    let (_, accepted) = matched(dir.path(), &["left.csv", "right.csv", "--k", "3"]);
    assert_eq!(answer["pairs"], all.len());
    assert!(!all.is_empty() && all.len() <= 12);
    let chosen: Vec<&Value> = all.iter().filter(|m| m["decision"] == true).collect();
    assert_eq!(accepted.iter().collect::<Vec<_>>(), chosen);
    assert_eq!(answer["accepted"], accepted.len());
    for m in &all {
        let keys: Vec<&str> = m.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["left_id", "right_id", "probability", "decision", "rank"]);
        assert!((0.0..=1.0).contains(&m["probability"].as_f64().unwrap()));
        assert!((1..=3).contains(&m["rank"].as_u64().unwrap()));
    }
}

#[test]
fn match_once_at_most() {
    let dir = tempfile::tempdir().unwrap();
    lists(dir.path());
    model(dir.path());
    let (_, found) = matched(dir.path(), &["left.csv", "right.csv", "--one-to-one"]);
    let ids = |side: &str| found.iter().map(|m| m[side].as_str().unwrap()).collect::<Vec<_>>();
    for side in ["left_id", "right_id"] {
        assert_eq!(ids(side).iter().collect::<HashSet<_>>().len(), ids(side).len());
    }
}

#[test]
fn match_tells_texts_and_differences() {
    let dir = tempfile::tempdir().unwrap();
    lists(dir.path());
    model(dir.path());
    let arguments = ["left.csv", "right.csv", "--all", "--texts", "--why", "--fields", "name"];
    let (_, found) = matched(dir.path(), &arguments);
    let lamp = found.iter().find(|m| m["left_id"] == "2" && m["right_id"] == "b").unwrap();
    assert_eq!((&lamp["left_text"], &lamp["right_text"]), (&"lamp 40 w white".into(), &"lamp 60 w white".into()));
    assert!(lamp["why"].as_str().unwrap().contains("40") && lamp["why"].as_str().unwrap().contains("60"));
    assert!(!lamp["why"].as_str().unwrap().contains("white"));
}

#[test]
fn match_finds_duplicates_of_one_list() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    write(&dir.path().join("list.csv"), "id,name\n1,lamp 40 w\n2,lamp 40w\n3,lg tv\n4,tv lg\n");
    let (_, found) = matched(dir.path(), &["list.csv", "--all"]);
    let pairs: HashSet<(String, String)> = found
        .iter()
        .map(|m| (m["left_id"].as_str().unwrap().to_string(), m["right_id"].as_str().unwrap().to_string()))
        .collect();
    assert!(pairs.iter().all(|(l, r)| l != r && !pairs.contains(&(r.clone(), l.clone()))), "{pairs:?}");
    assert_eq!(pairs.len(), found.len());
}

#[test]
fn match_reads_tables_with_other_columns_and_ids() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    lists(dir.path());
    write(&dir.path().join("other.tsv"), "title\tsku\nlamp 40 w white\tx1\ncamera sony\tx2\n");
    let (_, found) = matched(dir.path(), &["other.tsv", "other.tsv", "--id", "sku", "--all"]);
    assert!(found.iter().any(|m| m["left_id"] == "x1" && m["right_id"] == "x1"));
    let assert = sverka(dir.path())
        .args(["match", "left.csv", "right.csv", "--id", "sku", "--out", "m.csv", "--model", "model"])
        .assert()
        .code(2);
    one_line(&assert, &["left.csv", "no column `sku`", "name"]);
}

#[test]
fn match_measures_against_known_pairs() {
    let dir = tempfile::tempdir().unwrap();
    lists(dir.path());
    model(dir.path());
    write(&dir.path().join("labels.csv"), "left_id,right_id,label\n1,a,1\n2,e,1\n2,b,0\n3,c,\n");
    let (answer, _) = matched(dir.path(), &["left.csv", "right.csv", "--labels", "labels.csv"]);
    let labels = &answer["labels"];
    assert_eq!((&labels["positives"], &labels["negatives"]), (&2.into(), &1.into()));
    assert_eq!(labels["candidate_recall"], 1.0);
    assert!(labels["precision"].is_f64() && labels["f1"].is_f64(), "{labels}");
}

#[test]
fn match_tells_no_precision_where_only_matches_are_known() {
    let dir = tempfile::tempdir().unwrap();
    lists(dir.path());
    let path = model(dir.path()).join("sverka.json");
    let mut manifest = json(&std::fs::read_to_string(&path).unwrap());
    manifest["threshold"] = serde_json::json!({"value": 0.0, "goal": "f1", "low": 0.0, "high": 0.0});
    write(&path, manifest.to_string());
    write(&dir.path().join("truth.csv"), "left_id,right_id\n1,a\n2,e\n");
    let arguments = ["left.csv", "right.csv", "--labels", "truth.csv"];
    let (answer, found) = matched(dir.path(), &arguments);
    let labels = &answer["labels"];
    assert_eq!((&labels["precision"], &labels["f1"], &labels["negatives"]), (&Value::Null, &Value::Null, &0.into()));
    assert_eq!((&labels["recall"], &labels["unlabelled"]), (&1.0.into(), &(found.len() - 2).into()));
    let complete = labels["if_complete"]["precision"].as_f64().unwrap();
    assert!((complete - 2.0 / found.len() as f64).abs() < 1e-12, "{labels}");
    let told = sverka(dir.path()).arg("match").args(arguments).args(["--out", "m.csv", "--model", "model"]).assert();
    let told = stdout(&told.code(0));
    let line = told.lines().find(|l| l.contains("precision")).unwrap();
    assert!(line.contains("precision unknown: no non-match is labelled, and ") && !line.contains('%'), "{told}");
    assert!(told.contains(&format!("if these are all the matches there are: precision {:.1}%", 100.0 * complete)));
}

#[test]
fn match_tells_a_shopkeeper() {
    let dir = tempfile::tempdir().unwrap();
    lists(dir.path());
    model(dir.path());
    let run = |more: &[&str]| {
        let arguments = ["match", "left.csv", "right.csv", "--out", "m.csv", "--model", "model"];
        let assert = sverka(dir.path()).args(arguments).args(more).assert().code(0);
        (stdout(&assert), stderr(&assert))
    };
    let (told, talk) = run(&[]);
    for part in ["left.csv (4 records) against right.csv (5 records)", "looked at", "found", "written to   m.csv"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains('\x1b'), "colours without a terminal");
    assert_eq!(talk, "", "bars without a terminal");
    assert_eq!(run(&["-q"]), (String::new(), String::new()));
}

#[test]
fn score_gives_a_line_a_pair() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path());
    let pair = "{\"left\":{\"name\":\"lamp\"},\"right\":{\"name\":\"tv\"}}\n";
    let score = |input: String| sverka(dir.path()).arg("score").arg(&model).arg("-").write_stdin(input).assert();
    let lines: Vec<Value> = stdout(&score(pair.repeat(600)).code(0)).lines().map(json).collect();
    assert_eq!(lines.len(), 600);
    assert!(lines.iter().all(|l| *l == lines[0]), "one pair, several answers");
    let keys: Vec<&str> = lines[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["score", "probability", "decision"]);
    let of_names = |record: &str| {
        let pair = format!("{{\"left\":{record},\"right\":{record}}}\n");
        let assert = sverka(dir.path()).args(["score", "model", "-", "--fields", "name"]).write_stdin(pair).assert();
        json(&stdout(&assert.code(0)))["score"].as_f64().unwrap()
    };
    assert_eq!(of_names("{\"name\":\"tv\",\"price\":\"5\"}"), of_names("{\"name\":\"tv\"}"), "--fields");
    // what came before a broken line is answered
    let assert = score(format!("{pair}{pair}oops\n{pair}")).code(2);
    assert_eq!(stdout(&assert).lines().count(), 2);
    one_line(&assert, &["-:3"]);
    let skipped = sverka(dir.path())
        .args(["score", "model", "-", "--skip-bad-rows"])
        .write_stdin(format!("{pair}oops\n{pair}"))
        .assert()
        .code(0);
    assert_eq!(stdout(&skipped).lines().count(), 2);
    assert!(stderr(&skipped).contains("1 bad row left out"));
}

#[test]
fn eval_and_calibrate() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    pairs(dir.path());
    let eval = |more: &[&str]| {
        json(&stdout(&sverka(dir.path()).args(["eval", "model", "pairs", "--json"]).args(more).assert().code(0)))
    };
    let before = eval(&["--split", "valid"]);
    for key in ["f1", "precision", "recall", "threshold", "ece"] {
        assert!((0.0..=1.0).contains(&before[key].as_f64().unwrap()), "{key}: {before}");
    }
    assert_eq!((&before["pairs"], &before["positives"]), (&32.into(), &11.into()));
    assert_eq!(eval(&["--split", "all"])["pairs"], 128);
    let calibrate =
        |more: &[&str]| sverka(dir.path()).args(["calibrate", "model", "pairs", "--json"]).args(more).assert();
    let answer = json(&stdout(&calibrate(&[]).code(0)));
    let after = eval(&["--split", "valid"]);
    assert!(after["nll"].as_f64() < before["nll"].as_f64(), "{before} {after}");
    assert_eq!(after["f1"], answer["after"]["f1"]);
    assert_eq!(after["f1"], after["best_f1"], "the threshold was chosen for the best F1 here");
    calibrate(&["--goal", "cost=5:1", "--method", "beta"]).code(0);
    for goal in ["cost=5", "precision=two", "speed"] {
        calibrate(&["--goal", goal]).code(2);
    }
    calibrate(&["--goal", "precision=2"]).code(2);
    let both = eval(&["--against", "model"]);
    assert_eq!(both["against"]["mcnemar"]["exact_p"], 1.0);
    // the bare scores stay what they were, and stood for themselves before there was a calibration
    for key in ["ece", "ece_mass", "brier", "nll"] {
        assert_eq!(before["uncalibrated"][key], before[key]);
        assert_eq!(after["uncalibrated"][key], before[key], "{key}");
    }
    assert!(after["brier"].as_f64() < after["uncalibrated"]["brier"].as_f64(), "{after}");
    let told = stdout(&sverka(dir.path()).args(["eval", "model", "pairs", "--split", "valid"]).assert().code(0));
    let row = told.lines().find(|l| l.trim_start().starts_with("NLL")).unwrap();
    let [with, without] =
        [&eval(&["--split", "valid"])["nll"], &before["nll"]].map(|v| format!("{:.4}", v.as_f64().unwrap()));
    assert!(row.contains(&with) && row.ends_with(&without) && told.contains("uncalibrated"), "{told}");
    let none = sverka(dir.path()).args(["eval", "model", "pairs", "--category", "shop"]).assert().code(2);
    one_line(&none, &["--category = shop", "name"]);
    assert_eq!(eval(&["--category", "price"])["categories"].as_object().unwrap().len(), 32);
    let bins = eval(&["--reliability"])["reliability"].as_array().unwrap().clone();
    assert_eq!((bins.len(), bins.iter().map(|b| b["count"].as_u64().unwrap()).sum::<u64>()), (15, 32));
    let told = sverka(dir.path()).args(["eval", "model", "pairs", "--reliability"]).assert().code(0);
    let told = stdout(&told);
    let (_, table) = told.split_once("are matches\n").unwrap();
    let counts = table.lines().map(|l| l.split_whitespace().nth(3).unwrap().parse::<u64>().unwrap());
    assert_eq!(counts.sum::<u64>(), 32, "{told}");
    let [names, all] = [&["--fields", "name"][..], &[]].map(|more| eval(more)["uncalibrated"]["nll"].clone());
    assert_ne!(names, all, "the price is read all the same");
    let none = sverka(dir.path()).args(["eval", "model", "pairs", "--fields", "name,shop"]).assert().code(2);
    one_line(&none, &["--fields = shop", "name, price"]);
    sverka(dir.path()).args(["export", "model", "plain"]).assert().code(0);
    let plain = sverka(dir.path()).args(["calibrate", "plain", "pairs"]).assert().code(2);
    one_line(&plain, &["plain", "sverka.json", "train with it first"]);
}

#[test]
fn pairs_that_are_longer_than_the_model_reads_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    let long = "lamp ".repeat(200);
    write(&dir.path().join("left.csv"), format!("id,name\n1,{long}\n2,red lamp\n"));
    write(&dir.path().join("right.csv"), "id,name\na,red lamp\n");
    let (answer, found) = matched(dir.path(), &["left.csv", "right.csv", "--all"]);
    assert_eq!((found.len(), &answer["cut_pairs"]), (2, &1.into()));
    write(&dir.path().join("test.csv"), format!("left_name,right_name,label\n{long},lamp,1\nlamp,tv,0\n"));
    let eval =
        |more: &[&str]| stdout(&sverka(dir.path()).args(["eval", "model", "test.csv"]).args(more).assert().code(0));
    assert_eq!(json(&eval(&["--json"]))["cut_pairs"], 1);
    assert!(eval(&[]).contains("1 pair is longer than the model reads"));
}

/// A DeepMatcher folder of the two lists, whose test part knows two matches, and a recipe of it and of the pairs.
fn recipe_of_two(dir: &Path) {
    lists(dir);
    pairs(dir);
    let shop = dir.join("shop");
    std::fs::create_dir(&shop).unwrap();
    std::fs::rename(dir.join("left.csv"), shop.join("tableA.csv")).unwrap();
    std::fs::rename(dir.join("right.csv"), shop.join("tableB.csv")).unwrap();
    write(&shop.join("train.csv"), "ltable_id,rtable_id,label\n3,c,1\n3,d,0\n");
    write(&shop.join("test.csv"), "ltable_id,rtable_id,label\n1,a,1\n2,e,1\n2,b,0\n");
    write(
        &dir.join("two.toml"),
        "name = \"two\"\nstart.dir = \"model\"\n[[data.sources]]\nname = \"shop\"\nfields = [\"name\"]\n\
         from = { format = \"deepmatcher\", dir = \"shop\" }\n[[data.sources]]\nname = \"pairs\"\n\
         from = { format = \"joined\", train = \"pairs/train.csv\", test = \"pairs/test.csv\" }\n",
    );
}

#[test]
fn eval_ranks_a_catalogue() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    recipe_of_two(dir.path());
    let eval = |arguments: &[&str], code: i32| {
        sverka(dir.path()).args(["eval", "model"]).args(arguments).arg("--json").assert().code(code)
    };
    let report = json(&stdout(&eval(&["two.toml", "--source", "shop", "--rank", "5"], 0)));
    assert_eq!((&report["queries"], &report["k"]), (&2.into(), &5.into()));
    for key in ["recall_at_k", "accuracy_at_1", "index_accuracy_at_1", "mrr"] {
        assert!((0.0..=1.0).contains(&report[key].as_f64().unwrap()), "{key}: {report}");
    }
    assert_eq!(report["recall_at_k"], 1.0, "five candidates are the whole right table");
    // with one candidate nothing is left for the model to decide
    let one = json(&stdout(&eval(&["shop", "--rank", "1"], 0)));
    assert_eq!(one["accuracy_at_1"], one["index_accuracy_at_1"]);
    assert_eq!(one["recall_at_k"], one["mrr"]);
    let told = sverka(dir.path()).args(["eval", "model", "shop", "--split", "all", "--rank", "3"]).assert().code(0);
    assert!(stdout(&told).contains("3 left records with a match"), "{}", stdout(&told));
    let all_bm25 = json(&stdout(&eval(&["shop", "--rank", "5", "--bm25", "1000000"], 0)));
    assert_eq!(all_bm25["accuracy_at_1"], one["index_accuracy_at_1"]);
    for (arguments, parts) in [
        (&["shop", "--rank", "5", "--bm25", "-1"][..], ["bm25 = -1", "0 or more"]),
        (&["two.toml", "--rank", "5"], ["--rank = 5", "--source"]),
        (&["pairs", "--rank", "5"], ["--rank = 5", "two tables"]),
        (&["shop", "--rank", "0"], ["--rank = 0", "at least 1"]),
        (&["two.toml", "--source", "shops"], ["--source = shops", "shop, pairs"]),
        (&["shop", "--source", "shop"], ["--source = shop", "recipe"]),
        (&["two.toml", "--id", "sku"], ["--id = sku", "recipe"]),
    ] {
        one_line(&eval(arguments, 2), &parts);
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

#[test]
fn match_measures_a_split_of_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    recipe_of_two(dir.path());
    let lists = ["shop/tableA.csv", "shop/tableB.csv", "--labels", "shop"];
    let (all, _) = matched(dir.path(), &lists);
    let (test, _) = matched(dir.path(), &[&lists[..], &["--split", "test"]].concat());
    assert_eq!((&all["labels"]["positives"], &test["labels"]["positives"]), (&3.into(), &2.into()));
    assert_eq!(all["accepted"], test["accepted"], "labels change nothing");
    let failing = |arguments: &[&str], parts: &[&str]| {
        let command =
            sverka(dir.path()).arg("match").args(arguments).args(["--out", "x.csv", "--model", "model"]).assert();
        one_line(&command.code(2), parts);
        assert!(!dir.path().join("x.csv").exists());
    };
    failing(&[&lists[..], &["--split", "valid"]].concat(), &["shop", "split valid"]);
    failing(
        &["shop/tableB.csv", "shop/tableA.csv", "--labels", "shop"],
        &["shop/train.csv:2: column ltable_id", "tableB.csv", "`3`"],
    );
    failing(
        &["shop/tableA.csv", "shop/tableB.csv", "--labels", "pairs"],
        &["pairs/train.csv", "no column `ltable_id`"],
    );
}

#[test]
fn info_bench_export_prune_and_quantize() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    lists(dir.path());
    pairs(dir.path());
    let run = |arguments: &[&str]| stdout(&sverka(dir.path()).args(arguments).arg("--json").assert().code(0));
    let info = json(&run(&["info", "model"]));
    assert_eq!(info["config"]["hidden_size"], 32);
    assert!(info["parameters"].as_u64().unwrap() > 10_000);
    let bench = json(&run(&["bench", "model", "--seconds", "0.05", "--threads", "1"]));
    let shapes: Vec<(u64, u64)> = bench["shapes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (s["pairs"].as_u64().unwrap(), s["tokens"].as_u64().unwrap()))
        .collect();
    assert_eq!(shapes, [(32, 64), (8, 128), (1, 32)]);
    // the program under test lies in a checkout's target folder; what it is told there is another script
    let script = dir.path().join("benches/peers");
    std::fs::create_dir_all(script.parent().unwrap()).unwrap();
    let peers = ["bench", "model", "--against", "torch,openvino", "--threads", "1", "--seconds", "1.5"];
    let shell = "#!/bin/sh\nprintf '{\"rows\":[\"%s\"]}' \"$5 $6 $7 $8 $9 ${10}\" > \"$4\"\ntest -f \"$2/model.safetensors\" && echo table\n";
    std::fs::write(&script, shell).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(json(&run(&peers))["rows"][0], "--against torch,openvino --threads 1 --seconds 0.5");
    assert_eq!(stdout(&sverka(dir.path()).args(peers).assert().code(0)), "table\n");
    std::fs::write(&script, "#!/bin/sh\nexit 3\n").unwrap();
    let broken = sverka(dir.path()).args(peers).assert().code(1);
    let told = String::from_utf8_lossy(&broken.get_output().stderr).into_owned();
    assert!(told.contains("benches/peers ended with exit status: 3"), "{told}");
    run(&["export", "model", "plain"]);
    assert_eq!(json(&run(&["info", "plain"]))["manifest"], Value::Null);
    // scores stay the same on texts that the corpus covers, and after quantisation nearly so
    let pair = "{\"left\":{\"name\":\"lamp 40 w white\"},\"right\":{\"name\":\"lamp 60 w white\"}}\n";
    let score = |model: &str| {
        let assert = sverka(dir.path()).args(["score", model, "-"]).write_stdin(pair).assert().code(0);
        json(&stdout(&assert))["score"].as_f64().unwrap()
    };
    let pruned = json(&run(&["tokenizer", "prune", "model", "--corpus", "left.csv", "right.csv", "--out", "small"]));
    assert!(pruned["after"].as_u64() < pruned["before"].as_u64());
    assert_eq!(score("small"), score("model"));
    let told = json(&run(&["quantize", "model", "pairs", "--max-loss", "1", "--calibrate", "50", "--out", "int8"]));
    assert!((score("int8") - score("model")).abs() < 0.3);
    assert_eq!((&told["sample_pairs"], &told["measured_pairs"]), (&50.into(), &32.into()));
    assert_eq!(told["loss"].as_f64(), Some(told["f32"]["f1"].as_f64().unwrap() - told["int8"]["f1"].as_f64().unwrap()));
    assert!(told["output_error"].as_f64() < told["output_error_unfitted"].as_f64(), "{told}");
    let [was, is] = ["model", "int8"].map(|name| json(&run(&["info", name]))["manifest"].clone());
    assert_eq!(is["quantised"]["from_weights_sha256"], was["weights_sha256"]);
    assert_eq!(is["quantised"]["f1_int8"], json(&run(&["eval", "int8", "pairs"]))["f1"], "int8 is what it computes in");
    assert_eq!(is["quantised"]["f1_f32"], json(&run(&["eval", "model", "pairs"]))["f1"]);
    assert_eq!((&is["dtype"], &is["storage"], &is["threshold"]), (&"int8".into(), &"int8".into(), &was["threshold"]));
    // neither what is measured nor what will be is looked at
    let told =
        json(&run(&["quantize", "model", "pairs", "--split", "valid", "--max-loss", "1", "--out", "int8-valid"]));
    assert_eq!((&told["sample_pairs"], &told["measured_pairs"]), (&64.into(), &32.into()));
    let exists = sverka(dir.path()).args(["quantize", "model", "pairs", "--out", "int8"]).assert().code(2);
    one_line(&exists, &["int8", "already exists"]);
}

#[test]
fn quantize_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path());
    pairs(dir.path());
    let quantize = |arguments: &[&str]| sverka(dir.path()).arg("quantize").args(arguments).assert();
    quantize(&["model", "pairs", "--max-loss", "1", "--out", "probe"]).code(0);
    // a match that int8 turns over: the threshold stands between its two scores
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
    let (path, middle, thing) = (model.join("sverka.json"), (was[fallen] + is[fallen]) / 2.0, things[fallen]);
    let mut manifest = json(&std::fs::read_to_string(&path).unwrap());
    manifest["threshold"] = serde_json::json!({"value": middle, "goal": "f1", "low": middle, "high": middle});
    write(&path, manifest.to_string());
    let row = format!("{thing},1,{thing},1,1\n");
    write(&dir.path().join("pairs/test.csv"), format!("left_name,left_price,right_name,right_price,label\n{row}{row}"));
    let before = names(dir.path());
    let gate = quantize(&["model", "pairs", "--out", "int8"]).code(3);
    one_line(&gate, &["int8 loses 1.0000 of F1 (1.0000 to 0.0000)", "--max-loss 0.005", "nothing is written"]);
    assert_eq!(stdout(&gate), "");
    assert_eq!(names(dir.path()), before, "nothing is left beside");
    quantize(&["model", "pairs", "--max-loss", "1", "--out", "int8"]).code(0);
    std::fs::remove_dir_all(dir.path().join("int8")).unwrap();
    // without splits the sample is left out of what is measured
    write(&dir.path().join("one.csv"), format!("left_name,left_price,right_name,right_price,label\n{}", row.repeat(9)));
    let told =
        quantize(&["model", "one.csv", "--max-loss", "1", "--calibrate", "3", "--out", "int8", "--json"]).code(0);
    let told = json(&stdout(&told));
    assert_eq!((&told["sample_pairs"], &told["measured_pairs"]), (&3.into(), &6.into()));
    std::fs::remove_dir_all(dir.path().join("int8")).unwrap();
    // what makes no sense
    one_line(&quantize(&["model", "pairs", "--max-loss", "1.5"]).code(2), &["--max-loss = 1.5"]);
    one_line(&quantize(&["model", "pairs", "--calibrate", "0"]).code(2), &["--calibrate = 0"]);
    one_line(&quantize(&["probe", "pairs"]).code(2), &["sverka.json", "storage: is int8 already", "made from"]);
    assert!(!names(dir.path()).iter().any(|name| name.contains("int8")), "nothing is left beside");
    // int8 weights of one model beside what was found out about another's
    std::fs::copy(model.join("model.safetensors"), dir.path().join("probe/model.safetensors")).unwrap();
    let from = manifest["weights_sha256"].as_str().unwrap();
    let swapped = sverka(dir.path()).args(["eval", "probe", "pairs"]).assert().code(2);
    one_line(&swapped, &["model.safetensors: SHA-256: is not the int8 that sverka.json describes, made from", from]);
}

#[test]
fn init_then_train_then_use() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    pairs(dir.path());
    let run = |arguments: &[&str], code: i32| sverka(dir.path()).args(arguments).assert().code(code);
    let answer = json(&stdout(&run(&["init", "pairs", "--start", "model", "--out", "shop.toml", "--json"], 0)));
    assert_eq!(answer["fields"], serde_json::json!(["name", "price"]));
    one_line(&run(&["init", "pairs", "--out", "shop.toml"], 2), &["shop.toml", "already exists"]);
    let train = ["train", "shop.toml", "--set", "train.epochs=2", "--set", "train.lr=1e-3", "--run", "run"];
    let told = stdout(&run(&[&train[..], &["--json"]].concat(), 0));
    assert!(json(&told)["steps"].as_u64().unwrap() > 0);
    one_line(&run(&train, 2), &["run"]);
    run(&[&train[..], &["--resume"]].concat(), 0);
    run(&["eval", "run/model", "pairs"], 0);
    let told = stderr(&run(&[&train[..4], &["--run", "told"]].concat(), 0));
    assert!(told.contains("validation F1") && !told.contains(['\r', '\x1b']), "a bar without a terminal: {told:?}");
    one_line(&run(&["train", "shop.toml", "--set", "train.epoch=2"], 2), &["epoch"]);
    one_line(&run(&["train", "shop.toml", "--dtype", "int8", "--run", "r2"], 2), &["int8"]);
    one_line(
        &run(&["train", "shop.toml", "--device", "cuda", "--run", "r2"], 2),
        &["--device", "training is a CPU's work"],
    );
    // no machine has a hundred GPUs, and most binaries are built for none
    one_line(&run(&["eval", "model", "pairs", "--device", "cuda:99"], 2), &["--device = cuda:99: ", "--device"]);
    // below what the recipe expects: a quality gate
    let expecting = [&train[..6], &["--run", "r3", "--set", "expect.f1.shop=1.1"]].concat();
    one_line(&run(&[&expecting[..], &["-q"]].concat(), 3), &["shop", "expected"]);
    // links
    lists(dir.path());
    let mut links = String::from("left_id,right_id,label\n");
    for (l, r, label) in [("1", "a", 1), ("2", "e", 1), ("3", "c", 1), ("4", "d", 1), ("2", "b", 0), ("1", "d", 0)] {
        links += &format!("{l},{r},{label}\n");
    }
    write(&dir.path().join("links.csv"), links);
    let answer = run(&["init", "left.csv", "right.csv", "links.csv", "--start", "model", "--json"], 0);
    assert_eq!(json(&stdout(&answer))["matches"], 4);
    assert!(std::fs::read_to_string(dir.path().join("recipe.toml")).unwrap().contains("[data.split]"));
}

#[test]
fn init_begins_with_what_is_there_and_counts_tokens_as_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path());
    // letters are the only pieces that the random model has for these: three times as many as letters would let expect
    let text = "ы".repeat(40);
    write(&dir.path().join("train.csv"), format!("left_name,right_name,label\n{text},{text},1\nя,{text},0\n"));
    let init = |out: &str| {
        let assert =
            sverka(dir.path()).args(["init", "train.csv", "--json", "--out", out]).env("SVERKA_MODEL", &model).assert();
        let answer = json(&stdout(&assert.code(0)));
        (answer, std::fs::read_to_string(dir.path().join(out)).unwrap().parse::<toml::Table>().unwrap())
    };
    let (answer, recipe) = init("a.toml");
    assert_eq!(answer["max_tokens"], 96, "80 letters are 83 tokens");
    assert_eq!(recipe["start"]["dir"].as_str(), model.to_str());
    assert_eq!(recipe["text"]["mark_shared"].as_bool(), Some(true));
    // MiniLM for texts that are not Cyrillic, where it has been brought
    std::fs::create_dir_all(dir.path().join("weights/minilm")).unwrap();
    assert_eq!(init("b.toml").1["start"]["dir"].as_str(), model.to_str());
    write(&dir.path().join("train.csv"), "left_name,right_name,label\nlamp,red lamp,1\nlamp,tv,0\n");
    assert_eq!(init("c.toml").1["start"]["dir"].as_str(), Some("weights/minilm"));
}
