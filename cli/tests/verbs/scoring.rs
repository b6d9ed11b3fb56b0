//! `sverka score`, and what the model did not see.

use serde_json::Value;

use crate::common::*;
use crate::matched;

const PAIR: &str = "{\"left\":{\"name\":\"lamp\"},\"right\":{\"name\":\"tv\"}}\n";

#[test]
fn score_gives_a_line_a_pair() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    let assert = sverka(dir.path()).args(["score", "model", "-"]).write_stdin(PAIR.repeat(600)).assert().code(0);
    let lines: Vec<Value> = stdout(&assert).lines().map(json).collect();
    assert_eq!(lines.len(), 600);
    assert!(lines.iter().all(|l| *l == lines[0]), "one pair, several answers");
    let keys: Vec<&str> = lines[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["score", "probability", "decision"]);
}

#[test]
fn score_reads_the_fields_that_are_named() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    let of_names = |record: &str| {
        let pair = format!("{{\"left\":{record},\"right\":{record}}}\n");
        let assert = sverka(dir.path()).args(["score", "model", "-", "--fields", "name"]).write_stdin(pair).assert();
        json(&stdout(&assert.code(0)))["score"].as_f64().unwrap()
    };
    assert_eq!(of_names("{\"name\":\"tv\",\"price\":\"5\"}"), of_names("{\"name\":\"tv\"}"));
}

#[test]
fn what_came_before_a_broken_line_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    let input = format!("{PAIR}{PAIR}oops\n{PAIR}");
    let assert = sverka(dir.path()).args(["score", "model", "-"]).write_stdin(input).assert().code(2);
    assert_eq!(stdout(&assert).lines().count(), 2);
    one_line(&assert, &["-:3"]);
}

#[test]
fn bad_rows_are_left_out_on_request_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    let arguments = ["score", "model", "-", "--skip-bad-rows"];
    let assert = sverka(dir.path()).args(arguments).write_stdin(format!("{PAIR}oops\n{PAIR}")).assert().code(0);
    // an answer a line, so that answers and lines stay together
    let answers: Vec<serde_json::Value> = stdout(&assert).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(answers.iter().map(|a| a["score"].is_null()).collect::<Vec<_>>(), [false, true, false]);
    assert!(stderr(&assert).contains("1 bad row left out"));
}

#[test]
fn score_marks_what_the_model_did_not_see_and_says_how_many() {
    let dir = tempfile::tempdir().unwrap();
    crate::set_threshold(&model(dir.path()), 0.0);
    let pair = |left: &str| format!("{{\"left\":{{\"name\":\"{left}\"}},\"right\":{{\"name\":\"lamp\"}}}}\n");
    let input = pair("lamp") + &pair(&"lamp ".repeat(200)) + &pair("") + &pair("真空吸尘器 真空");
    let assert = sverka(dir.path()).args(["score", "model", "-"]).write_stdin(input).assert().code(0);
    let lines: Vec<Value> = stdout(&assert).lines().map(json).collect();
    let of = |key: &str| lines.iter().map(|line| line[key] == true).collect::<Vec<_>>();
    assert_eq!(of("truncated"), [false, true, false, false]);
    assert_eq!(of("unreadable"), [false, false, true, true]);
    assert_eq!(of("decision"), [true, true, false, false], "no evidence is a no, whatever the threshold");
    let notes = stderr(&assert);
    assert!(notes.contains("1 pair is longer than the model reads"), "{notes}");
    assert!(notes.contains("2 pairs have a text that the model can't read"), "{notes}");
}

#[test]
fn pairs_that_are_longer_than_the_model_reads_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    let long = "lamp ".repeat(200);
    write(&dir.path().join("left.csv"), format!("id,name\n1,{long}\n2,red lamp\n"));
    write(&dir.path().join("right.csv"), "id,name\na,red lamp\n");
    let (answer, found) = matched(dir.path(), &["left.csv", "right.csv", "--all"]);
    assert_eq!((found.len(), &answer["truncated_pairs"]), (2, &1.into()));
    write(&dir.path().join("test.csv"), format!("left_name,right_name,label\n{long},lamp,1\nlamp,tv,0\n"));
    let eval =
        |more: &[&str]| stdout(&sverka(dir.path()).args(["eval", "model", "test.csv"]).args(more).assert().code(0));
    assert_eq!(json(&eval(&["--json"]))["truncated_pairs"], 1);
    assert!(eval(&[]).contains("1 pair is longer than the model reads"));
}
