//! `sverka eval RUN QRELS` and `sverka compare`: ranked lists of any tool.

use std::path::Path;

use assert_cmd::assert::Assert;
use serde_json::Value;

use crate::common::*;
use crate::json;

const QRELS: &str = "q1 0 a 2\nq1 0 b 0\nq1 0 c 1\nq2 0 d 1\nq3 0 e 0\nq4 0 a 1\n";
/// q1 has the ranking b, a, x, c by its scores (its ranks say otherwise), q3 no relevant document; q4 is missing, q9 is strange.
const RUN: &str =
    "q1 Q0 a 1 3 t\nq1 Q0 b 4 9.5 t\nq1 Q0 c 2 1 t\nq1 Q0 x 3 2 t\nq2 Q0 d 1 1 t\nq3 Q0 e 1 1 t\nq9 Q0 a 1 1 t\n";

fn eval(dir: &Path, arguments: &[&str]) -> Assert {
    sverka(dir).arg("eval").args(arguments).assert()
}

fn measured(dir: &Path, arguments: &[&str]) -> Value {
    json(&stdout(&eval(dir, &[arguments, &["--json"]].concat()).code(0)))
}

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("run.trec"), RUN);
    write(&dir.path().join("qrels.txt"), QRELS);
    dir
}

fn is(value: &Value, expected: f64) -> bool {
    (value.as_f64().unwrap() - expected).abs() < 1e-9
}

#[test]
fn a_run_is_measured_by_the_names_that_are_asked_for() {
    let dir = folder();
    let answer = measured(dir.path(), &["run.trec", "qrels.txt", "-m", "nDCG@10", "AP", "P(rel=2)@2", "RR"]);
    let q1 = (2.0 / 3f64.log2() + 1.0 / 5f64.log2()) / (2.0 + 1.0 / 3f64.log2());
    assert!(is(&answer["nDCG@10"], (q1 + 1.0) / 4.0), "{answer}");
    assert!(is(&answer["AP"], ((1.0 / 2.0 + 2.0 / 4.0) / 2.0 + 1.0) / 4.0), "{answer}");
    assert!(is(&answer["P(rel=2)@2"], 0.5 / 4.0) && is(&answer["RR"], 1.5 / 4.0), "{answer}");
    assert_eq!((&answer["queries"], &answer["missing_queries"]), (&4.into(), &1.into()));
    assert_eq!((&answer["queries_without_relevant"], &answer["unjudged_queries"]), (&1.into(), &1.into()));
    assert_eq!(answer["notes"].as_array().unwrap().len(), 3, "each of them is said: {answer}");
    let common = measured(dir.path(), &["run.trec", "qrels.txt", "-m", "RR", "--only-common"]);
    assert!(is(&common["RR"], 0.5) && common["queries"] == 3, "{common}");
    let usual = measured(dir.path(), &["run.trec", "qrels.txt"]);
    assert!(["nDCG@10", "RR@10", "AP", "R@100"].iter().all(|name| usual[name].is_number()), "{usual}");
}

#[test]
fn every_query_is_shown_where_it_is_asked_for() {
    let dir = folder();
    let answer = measured(dir.path(), &["run.trec", "qrels.txt", "-m", "RR", "P@1", "--per-query"]);
    assert_eq!(answer["per_query"].as_object().unwrap().len(), 4);
    assert_eq!((&answer["per_query"]["q1"]["RR"], &answer["per_query"]["q4"]["RR"]), (&0.5.into(), &0.0.into()));
    let text = stdout(&eval(dir.path(), &["run.trec", "qrels.txt", "-m", "RR", "--per-query"]).code(0));
    assert!(text.lines().any(|l| l.split_whitespace().eq(["RR", "0.3750"])), "{text}");
    assert!(text.lines().any(|l| l.split_whitespace().eq(["q1", "0.5000"])), "{text}");
}

#[test]
fn runs_and_judgements_come_in_the_layouts_of_the_field() {
    let dir = folder();
    let expected = measured(dir.path(), &["run.trec", "qrels.txt", "-m", "nDCG", "Bpref"]);
    let (run, _) = sverka::data::read_run(&dir.path().join("run.trec")).unwrap();
    sverka::data::write_run(&dir.path().join("run.gz"), &run, "again").unwrap();
    let ranked = "q1\tb\t1\nq1\ta\t2\nq1\tx\t3\nq1\tc\t4\nq2\td\t1\nq3\te\t1\nq9\ta\t1\n";
    write(&dir.path().join("ms.tsv"), ranked);
    let beir: String = QRELS.lines().map(|l| l.replacen(" 0 ", "\t", 1).replace(' ', "\t") + "\n").collect();
    std::fs::create_dir_all(dir.path().join("set/qrels")).unwrap();
    write(&dir.path().join("set/qrels/test.tsv"), format!("query-id\tcorpus-id\tscore\n{beir}"));
    for (run, qrels) in [("run.gz", "qrels.txt"), ("ms.tsv", "set/qrels/test.tsv"), ("run.trec", "set")] {
        let answer = measured(dir.path(), &[run, qrels, "-m", "nDCG", "Bpref"]);
        assert_eq!((&answer["nDCG"], &answer["Bpref"]), (&expected["nDCG"], &expected["Bpref"]), "{run} {qrels}");
    }
}

#[test]
fn a_run_that_is_broken_is_refused_with_its_line() {
    let dir = folder();
    let refused = |run: &str, parts: &[&str]| {
        write(&dir.path().join("bad.trec"), run);
        one_line(&eval(dir.path(), &["bad.trec", "qrels.txt", "-m", "AP"]).code(2), parts);
    };
    refused(&RUN[..RUN.len() - 5], &["bad.trec:7", "columns, not 6", "cut off"]);
    refused("q1 Q0 a 1 3 t\nq1 Q0 a 2 2 t\n", &["bad.trec:2", "document a", "query q1", "second time"]);
    refused("q1 Q0 a 1 NaN t\n", &["bad.trec:1", "document a for query q1 is NaN"]);
    refused("q7 Q0 a 1 1 t\n", &["bad.trec", "no query in common with qrels.txt", "q7"]);
    refused("", &["bad.trec", "empty"]);
    write(&dir.path().join("torn.txt"), &QRELS[..QRELS.len() - 4]);
    one_line(&eval(dir.path(), &["run.trec", "torn.txt"]).code(2), &["torn.txt:6", "columns, not 4"]);
    let unknown = eval(dir.path(), &["run.trec", "qrels.txt", "-m", "F1@3"]).code(2);
    one_line(&unknown, &["F1@3", "nDCG, RR, AP, P, R", "nDCG@10"]);
    one_line(&eval(dir.path(), &["no.trec", "qrels.txt", "-m", "AP"]).code(2), &["no.trec", "No such file"]);
    let swallowed = eval(dir.path(), &["run.trec", "-m", "AP", "qrels.txt"]);
    assert!(stderr(&swallowed.code(2)).contains("DATA"));
}

#[test]
fn flags_of_models_and_of_runs_are_kept_apart() {
    let dir = folder();
    model(dir.path());
    pairs(dir.path());
    one_line(
        &eval(dir.path(), &["run.trec", "qrels.txt", "--reliability"]).code(2),
        &["--reliability", "model's folder"],
    );
    one_line(&eval(dir.path(), &["model", "pairs", "-m", "AP"]).code(2), &["--measures", "a model"]);
}

/// Three runs over 30 queries: the first has the relevant document second, the second first, the third now so, now so.
fn three(dir: &Path) {
    let (mut qrels, mut texts) = (String::new(), String::new());
    let mut runs = [String::new(), String::new(), String::new()];
    for q in 0..30 {
        qrels += &format!("{q} 0 good 1\n");
        texts += &format!("{{\"_id\": \"{q}\", \"text\": \"what is <b>{q}</b> | so\"}}\n");
        for (i, run) in runs.iter_mut().enumerate() {
            let place = [2, 1 + usize::from(q == 7) * 3, 1 + q % 4][i];
            for rank in 1..=4 {
                let document = if rank == place { "good".to_string() } else { format!("d{rank}") };
                *run += &format!("{q} Q0 {document} {rank} {} t\n", 10 - rank);
            }
        }
    }
    write(&dir.join("qrels.txt"), qrels);
    write(&dir.join("queries.jsonl"), texts);
    for (run, name) in runs.iter().zip(["a.run", "b.run", "c.run"]) {
        write(&dir.join(name), run);
    }
}

fn compare(dir: &Path, arguments: &[&str]) -> Assert {
    sverka(dir).arg("compare").args(arguments).args(["--resamples", "500"]).assert()
}

#[test]
fn a_sure_gain_is_told_from_one_that_may_be_luck() {
    let dir = tempfile::tempdir().unwrap();
    three(dir.path());
    let sure = compare(dir.path(), &["a.run", "b.run", "qrels.txt", "-m", "RR", "--json"]).code(0);
    let answer = json(&stdout(&sure));
    let rr = &answer["measures"]["RR"];
    assert!(is(&rr["gains"]["b.run"]["mean"], (29.0 * 0.5 - 0.25) / 30.0), "{answer}");
    assert_eq!((&rr["gains"]["b.run"]["wins"], &rr["gains"]["b.run"]["losses"]), (&29.into(), &1.into()));
    assert!(rr["gains"]["b.run"]["low"].as_f64().unwrap() > 0.0);
    assert_eq!(rr["better_than"]["b.run"], serde_json::json!(["a.run"]));
    for test in ["t", "fisher", "wilcoxon", "tukey"] {
        assert!(rr["p"][test][0]["p"].as_f64().unwrap() < 0.01, "{test}: {answer}");
    }
    assert_eq!(answer["by_query"]["b.run"]["losses"][0]["query"], "7");
    let luck = compare(dir.path(), &["a.run", "c.run", "qrels.txt", "-m", "RR", "--json"]).code(3);
    one_line(&luck, &["gain of c.run over a.run in RR", "holds 0"]);
    let answer = json(&stdout(&luck));
    assert_eq!((&answer["code"], &answer["queries"]), (&3.into(), &30.into()), "one object, with the comparison in it");
    let worse = compare(dir.path(), &["b.run", "a.run", "qrels.txt", "-m", "RR"]).code(3);
    one_line(&worse, &["gain of a.run over b.run", "is below 0"]);
}

#[test]
fn a_comparison_is_a_table_for_people_in_each_form() {
    let dir = tempfile::tempdir().unwrap();
    three(dir.path());
    let all = ["a.run", "b.run", "c.run", "qrels.txt", "-m", "RR", "P@1", "--queries", "queries.jsonl"];
    let text = stdout(&compare(dir.path(), &all).code(3));
    let row = text.lines().find(|l| l.trim_start().starts_with("b  b.run")).unwrap();
    assert!(row.split_whitespace().take(4).eq(["b", "b.run", "0.9750", "ac"]), "{text}");
    assert!(text.contains("b.run loses most in RR") && text.contains("what is <b>7</b>"), "{text}");
    let written = |name: &str| {
        compare(dir.path(), &[&all[..], &["--out", name]].concat()).code(3);
        std::fs::read_to_string(dir.path().join(name)).unwrap()
    };
    let markdown = written("r.md");
    assert!(
        markdown.contains("| b | b.run | 0.9750<sup>ac</sup> |") && markdown.contains("&lt;b>7&lt;/b> \\| so"),
        "{markdown}"
    );
    let latex = written("r.tex");
    assert!(latex.contains("b & b.run & \\textbf{0.9750}$^{ac}$ &") && latex.contains("\\bottomrule"), "{latex}");
    let html = written("r.html");
    assert!(html.starts_with("<!DOCTYPE html>") && html.matches("<svg").count() == 4, "{html}");
    assert!(html.contains("what is &lt;b&gt;7&lt;/b&gt;") && !html.contains("<b>"), "a text is no markup");
    assert!(!html.contains("http"), "complete in itself");
    let printed = stdout(&compare(dir.path(), &[&all[..], &["--format", "markdown"]].concat()).code(3));
    assert_eq!(printed.trim(), markdown.trim());
    assert!(!names(dir.path()).iter().any(|name| name.contains(".part")));
}

#[test]
fn compare_refuses_what_it_can_not_compare() {
    let dir = tempfile::tempdir().unwrap();
    three(dir.path());
    let refused = |arguments: &[&str], parts: &[&str]| one_line(&compare(dir.path(), arguments).code(2), parts);
    refused(&["a.run", "b.run", "qrels.txt", "--out", "r.doc"], &["--out = r.doc", ".html"]);
    refused(&["a.run", "b.run", "qrels.txt", "-m", "best"], &["measure = best", "nDCG"]);
    refused(&["a.run", "none.run", "qrels.txt"], &["none.run", "No such file"]);
    write(&dir.path().join("other.run"), "x Q0 a 1 1 t\n");
    refused(&["a.run", "other.run", "qrels.txt"], &["other.run", "no query in common"]);
    assert!(stderr(&compare(dir.path(), &["a.run", "qrels.txt"]).code(2)).contains("RUN"));
}
