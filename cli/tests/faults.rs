//! What people reported to tools of this kind, through the command line.
mod common;

use common::*;

fn json(assert: &assert_cmd::assert::Assert) -> serde_json::Value {
    serde_json::from_str(&stdout(assert)).unwrap()
}

fn notes(answer: &serde_json::Value) -> String {
    answer["notes"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

/// Labelled pairs of a file that belongs to no split.
fn unsplit(dir: &std::path::Path, label: &str) -> std::path::PathBuf {
    let mut text = format!("left_name,right_name,{label}\n");
    for i in 0..30 {
        text += &format!(
            "lamp white {i},lamp {} {i},{}\n",
            if i % 3 == 0 { "white" } else { "black" },
            u8::from(i % 3 == 0)
        );
    }
    write(&dir.join("my-pairs.csv"), text)
}

#[test]
fn init_learns_a_label_column_by_another_name() {
    let dir = tempfile::tempdir().unwrap();
    lists(dir.path());
    let pairs = "left_id,right_id,is_duplicate\n1,a,1\n1,b,0\n2,b,0\n2,e,1\n3,c,1\n3,d,0\n4,d,1\n4,a,0\n";
    write(&dir.path().join("pairs.csv"), pairs);
    let args = ["init", "left.csv", "right.csv", "pairs.csv", "--out", "r.toml", "--json"];
    let answer = json(&sverka(dir.path()).args(args).arg("--start").arg(model(dir.path())).assert().code(0));
    assert_eq!((&answer["pairs"], &answer["matches"]), (&8.into(), &4.into()), "{answer}");
    assert!(notes(&answer).contains("is_duplicate"), "{answer}");
    let recipe = std::fs::read_to_string(dir.path().join("r.toml")).unwrap();
    assert!(recipe.contains("label_column = \"is_duplicate\""), "{recipe}");
}

#[test]
fn the_first_example_of_calibrate_uses_all_pairs_of_a_file_without_splits() {
    let dir = tempfile::tempdir().unwrap();
    let (model, pairs) = (model(dir.path()), unsplit(dir.path(), "label"));
    let assert = sverka(dir.path()).arg("calibrate").arg(model).arg(pairs).arg("--json").assert();
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(said.contains("has no splits"), "{said}");
}

#[test]
fn eval_takes_a_label_by_another_name_and_the_flag_names_one() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path());
    for (label, flag) in [("gold_label", None), ("truth", None), ("truth", Some("truth"))] {
        let pairs = unsplit(dir.path(), label);
        let mut command = sverka(dir.path());
        command.arg("eval").arg(&model).arg(pairs).arg("--json");
        flag.iter().for_each(|name| _ = command.args(["--label-column", name]));
        let answer = json(&command.assert().code(0));
        assert_eq!(answer["pairs"], 30, "{answer}");
    }
}

#[test]
fn a_row_that_is_left_out_of_score_has_an_answer_of_nulls() {
    let dir = tempfile::tempdir().unwrap();
    let lines = "{\"left\":{\"name\":\"a\"},\"right\":{\"name\":\"a\"}}\n{\"left\":\n{\"left\":{\"name\":\"b\"},\"right\":{\"name\":\"c\"}}\n{\n";
    let pairs = write(&dir.path().join("p.jsonl"), lines);
    let assert =
        sverka(dir.path()).arg("score").arg(model(dir.path())).arg(pairs).arg("--skip-bad-rows").assert().code(0);
    let answers: Vec<serde_json::Value> =
        stdout(&assert).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.iter().map(|a| a["score"].is_null()).collect::<Vec<_>>(), [false, true, false, true]);
}

#[test]
fn match_says_what_was_guessed_and_takes_an_id_for_each_list() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("l.csv"), "Prices;;\nsku;name;price\n1;lamp 40 w white;5,00\n2;sony camera;99,00\n");
    write(&dir.path().join("r.csv"), "name,code,price\nlamp 40w white,a,5\ncamera sony black,b,99\n");
    let mut command = sverka(dir.path());
    command.args(["match", "l.csv", "r.csv", "--all", "--texts", "--out", "m.csv", "--json", "--id", "sku,code", "-q"]);
    let assert = command.arg("--model").arg(model(dir.path())).assert().code(0);
    let answer = json(&assert);
    assert_eq!((&answer["left"], &answer["right"]), (&2.into(), &2.into()), "{answer}");
    assert!(notes(&answer).contains("above the header"), "{answer}");
    assert!(String::from_utf8_lossy(&assert.get_output().stderr).contains("above the header"), "said with -q too");
    let matches = std::fs::read_to_string(dir.path().join("m.csv")).unwrap();
    assert!(matches.lines().any(|l| l.starts_with("1,a,")), "{matches}");
}
