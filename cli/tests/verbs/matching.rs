//! `sverka match`.

use std::collections::HashSet;

use serde_json::Value;

use crate::common::*;
use crate::{matched, recipe_of_two, set_threshold};

#[test]
fn match_writes_accepted_pairs_or_all() {
    let dir = tempfile::tempdir().unwrap();
    lists(dir.path());
    model(dir.path());
    let (answer, all) = matched(dir.path(), &["left.csv", "right.csv", "--all", "--top-k", "3"]);
    let (_, accepted) = matched(dir.path(), &["left.csv", "right.csv", "--top-k", "3"]);
    assert_eq!(answer["pairs"], all.len());
    assert!(!all.is_empty() && all.len() <= 12);
    let chosen: Vec<&Value> = all.iter().filter(|m| m["decision"] == true).collect();
    assert_eq!(accepted.iter().collect::<Vec<_>>(), chosen);
    assert_eq!(answer["accepted"], accepted.len());
    let ranks = |left: &str| -> Vec<u64> {
        all.iter().filter(|m| m["left_id"] == left).map(|m| m["rank"].as_u64().unwrap()).collect()
    };
    let of_lamp = ranks("2");
    assert!(of_lamp.len() >= 2, "two lamps share a word with this one");
    assert_eq!(of_lamp, (1..=of_lamp.len() as u64).collect::<Vec<_>>());
    for m in &all {
        let keys: Vec<&str> = m.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["left_id", "right_id", "probability", "decision", "rank"]);
    }
}

#[test]
fn match_once_at_most_matches_what_it_can() {
    let dir = tempfile::tempdir().unwrap();
    lists(dir.path());
    set_threshold(&model(dir.path()), 0.0);
    let (_, many) = matched(dir.path(), &["left.csv", "right.csv"]);
    let (answer, found) = matched(dir.path(), &["left.csv", "right.csv", "--one-to-one"]);
    let ids = |found: &[Value], side: &str| -> HashSet<String> {
        found.iter().map(|m| m[side].as_str().unwrap().to_string()).collect()
    };
    assert!(many.len() > found.len(), "there was something to choose from");
    assert_eq!(found.len(), ids(&many, "left_id").len(), "every record that can be matched is");
    for side in ["left_id", "right_id"] {
        assert_eq!(ids(&found, side).len(), found.len(), "{side} comes twice");
    }
    assert_eq!(answer["accepted"], found.len());
}

#[test]
fn match_writes_texts_and_differences() {
    let dir = tempfile::tempdir().unwrap();
    lists(dir.path());
    model(dir.path());
    let arguments = ["left.csv", "right.csv", "--all", "--texts", "--explain", "--fields", "name"];
    let (_, found) = matched(dir.path(), &arguments);
    let lamp = found.iter().find(|m| m["left_id"] == "2" && m["right_id"] == "b").unwrap();
    assert_eq!((&lamp["left_text"], &lamp["right_text"]), (&"lamp 40 w white".into(), &"lamp 60 w white".into()));
    assert!(lamp["why"].as_str().unwrap().contains("40") && lamp["why"].as_str().unwrap().contains("60"));
    assert!(!lamp["why"].as_str().unwrap().contains("white"));
}

#[test]
fn match_finds_duplicates_of_one_list_each_pair_once() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    write(&dir.path().join("list.csv"), "id,name\n1,lamp 40 w\n2,lamp 40w\n3,lg tv\n4,tv lg\n");
    let (answer, found) = matched(dir.path(), &["list.csv", "--all"]);
    let pairs: Vec<(&str, &str)> =
        found.iter().map(|m| (m["left_id"].as_str().unwrap(), m["right_id"].as_str().unwrap())).collect();
    assert_eq!(pairs, [("1", "2"), ("3", "4")]);
    assert_eq!(answer["pairs"], 2);
}

/// The pairs of a list with their probabilities, as written.
fn duplicates(dir: &std::path::Path, rows: &[String]) -> Vec<String> {
    write(&dir.join("list.csv"), format!("id,name\n{}\n", rows.join("\n")));
    let mut found: Vec<String> = matched(dir, &["list.csv", "--all"]).1.iter().map(Value::to_string).collect();
    found.sort();
    found
}

#[test]
fn the_order_of_one_list_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    let names = ["lamp 40 w", "lamp 40w red", "red lamp", "lg tv", "tv lg 42 inch", "sony tv red", "lamp red 60 w"];
    let mut rows: Vec<String> = (9..).zip(names).map(|(id, name)| format!("{id},{name}")).collect();
    let expected = duplicates(dir.path(), &rows);
    assert!(expected.len() > 5, "{expected:?}");
    for _ in 0..4 {
        rows.rotate_left(2);
        rows.swap(1, 4);
        assert_eq!(duplicates(dir.path(), &rows), expected);
    }
}

#[test]
fn both_orders_make_the_sides_of_two_lists_alike() {
    let dir = tempfile::tempdir().unwrap();
    lists(dir.path());
    model(dir.path());
    let probabilities = |arguments: &[&str], sides: [&str; 2]| {
        let (_, found) = matched(dir.path(), &[arguments, &["--all", "--top-k", "5"]].concat());
        let row = |m: &Value| format!("{} {} {}", m[sides[0]], m[sides[1]], m["probability"]);
        found.iter().map(row).collect::<HashSet<_>>()
    };
    let there = |more: &[&str]| probabilities(&[&["left.csv", "right.csv"], more].concat(), ["left_id", "right_id"]);
    let back = |more: &[&str]| probabilities(&[&["right.csv", "left.csv"], more].concat(), ["right_id", "left_id"]);
    assert_ne!(there(&[]), back(&[]), "the model's answer is a matter of sides");
    assert_eq!(there(&["--both-orders"]), back(&["--both-orders"]));
}

#[test]
fn a_list_of_which_nothing_found_a_candidate_is_a_note() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    write(&dir.path().join("left.csv"), "id,name\n1,lamp\n");
    write(&dir.path().join("right.csv"), "id,name\na,zzz\n");
    let (answer, found) = matched(dir.path(), &["left.csv", "right.csv"]);
    assert!(found.is_empty());
    assert_eq!(answer["without_candidates"], 1);
    assert!(answer["notes"][0].as_str().unwrap().contains("no record has a word in common"), "{answer}");
    let run =
        sverka(dir.path()).args(["match", "left.csv", "right.csv", "--out", "m.csv", "--model", "model"]).assert();
    assert!(stderr(&run.code(0)).starts_with("note: no record has a word in common"));
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
fn match_gives_no_precision_if_only_matches_are_known() {
    let dir = tempfile::tempdir().unwrap();
    lists(dir.path());
    set_threshold(&model(dir.path()), 0.0);
    write(&dir.path().join("truth.csv"), "left_id,right_id\n1,a\n2,e\n");
    let arguments = ["left.csv", "right.csv", "--labels", "truth.csv"];
    let (answer, found) = matched(dir.path(), &arguments);
    let labels = &answer["labels"];
    assert_eq!((&labels["precision"], &labels["f1"], &labels["negatives"]), (&Value::Null, &Value::Null, &0.into()));
    assert_eq!((&labels["recall"], &labels["unlabelled"]), (&1.0.into(), &(found.len() - 2).into()));
    let complete = labels["assuming_complete"]["precision"].as_f64().unwrap();
    assert!((complete - 2.0 / found.len() as f64).abs() < 1e-12, "{labels}");
    let report = sverka(dir.path()).arg("match").args(arguments).args(["--out", "m.csv", "--model", "model"]).assert();
    let report = stdout(&report.code(0));
    let line = report.lines().find(|l| l.contains("precision")).unwrap();
    assert!(line.contains("precision unknown: no non-match is labelled, and ") && !line.contains('%'), "{report}");
    assert!(report.contains(&format!("if these are all the matches there are: precision {:.1}%", 100.0 * complete)));
}

#[test]
fn match_reports_for_people_without_colours_or_bars() {
    let dir = tempfile::tempdir().unwrap();
    lists(dir.path());
    model(dir.path());
    let run = |more: &[&str]| {
        let arguments = ["match", "left.csv", "right.csv", "--out", "m.csv", "--model", "model"];
        let assert = sverka(dir.path()).args(arguments).args(more).assert().code(0);
        (stdout(&assert), stderr(&assert))
    };
    let (report, talk) = run(&[]);
    for part in ["left.csv (4 records) against right.csv (5 records)", "looked at", "found", "written to   m.csv"] {
        assert!(report.contains(part), "{part}: {report}");
    }
    assert!(!report.contains('\x1b'), "colours without a terminal");
    assert_eq!(talk, "", "bars without a terminal");
    assert_eq!(run(&["-q"]), (String::new(), String::new()));
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
fn match_against_an_index_is_match_of_the_two_lists() {
    let dir = tempfile::tempdir().unwrap();
    lists(dir.path());
    model(dir.path());
    let indexed = ["index", "right.csv", "--fields", "name", "--out", "shop.index"];
    sverka(dir.path()).args(indexed).assert().code(0);
    let fields = ["--fields", "name", "--all", "--top-k", "3", "--one-to-one"];
    let (_, lists) = matched(dir.path(), &[&["left.csv", "right.csv"], &fields[..]].concat());
    let (answer, found) = matched(dir.path(), &[&["left.csv", "--against", "shop.index"], &fields[..]].concat());
    assert!(!found.is_empty() && found == lists);
    assert_eq!((&answer["left"], &answer["right"]), (&4.into(), &5.into()));
    // what is deleted is no candidate, what is new is one
    write(&dir.path().join("gone.txt"), "b\n");
    write(&dir.path().join("more.csv"), "id,name,price\nz,lamp 40 w white,5\n");
    let update = ["index", "update", "shop.index", "--add", "more.csv", "--delete", "gone.txt"];
    sverka(dir.path()).args(update).assert().code(0);
    let (answer, found) = matched(dir.path(), &["left.csv", "--against", "shop.index", "--all", "--fields", "name"]);
    assert_eq!(answer["right"], 5);
    assert!(found.iter().any(|m| m["right_id"] == "z") && found.iter().all(|m| m["right_id"] != "b"));

    let refused = |arguments: &[&str], parts: &[&str]| {
        let assert = sverka(dir.path()).arg("match").args(arguments).args(["--out", "m.csv"]).assert().code(2);
        parts.iter().for_each(|part| assert!(stderr(&assert).contains(part), "{}", stderr(&assert)));
        assert!(!dir.path().join("m.csv").exists() && !dir.path().join("m.csv.work").exists());
    };
    refused(&["left.csv", "--against", "model"], &["is no index", "sverka index"]);
    refused(&["left.csv", "right.csv", "--against", "shop.index"], &["cannot be used with"]);
    write(&dir.path().join("all.txt"), "a\nc\nd\ne\nz\n");
    sverka(dir.path()).args(["index", "update", "shop.index", "--delete", "all.txt"]).assert().code(0);
    refused(&["left.csv", "--against", "shop.index", "--model", "model"], &["has no document"]);
}

#[test]
fn match_by_a_pipeline() {
    let dir = tempfile::tempdir().unwrap();
    lists(dir.path());
    model(dir.path());
    model_of(dir.path(), "dssm", "towers");
    let by = |stages: &str, arguments: &[&str]| {
        write(&dir.path().join("p.toml"), stages);
        let out = ["--all", "--json", "--out", "p.jsonl", "--pipeline", "p.toml"];
        sverka(dir.path()).arg("match").args(arguments).args(out).assert()
    };
    let found =
        || -> Vec<Value> { std::fs::read_to_string(dir.path().join("p.jsonl")).unwrap().lines().map(json).collect() };
    let bm25 = "[[stages]]\nkind = 'bm25'\nk = 3\n";
    let scored = "[[stages]]\nkind = 'cross_encoder'\nmodel = 'model'\nk = 2\n";
    by(&format!("{bm25}{scored}"), &["left.csv", "right.csv"]).code(0);
    let (_, usual) = matched(dir.path(), &["left.csv", "right.csv", "--all", "--top-k", "3"]);
    let first_two: Vec<Value> = usual.into_iter().filter(|m| m["rank"].as_u64() <= Some(2)).collect();
    assert_eq!(found(), first_two);
    // vectors find candidates too, of each record as many as are asked for
    let dense = "[[stages]]\nkind = 'dense'\nmodel = 'towers'\nk = 4\n";
    let answer = json(&stdout(&by(&format!("{dense}{scored}"), &["left.csv", "right.csv"]).code(0)));
    assert_eq!((&answer["candidates"]["min"], &answer["pairs"]), (&4.into(), &8.into()));
    let hybrid = "[[stages]]\nkind = 'hybrid'\nk = 4\n\
                  parts = [{ kind = 'bm25' }, { kind = 'dense', model = 'towers', weight = 2.0 }]\n";
    by(&format!("{hybrid}{scored}"), &["left.csv", "right.csv"]).code(0);
    // an index in the first stage is the right list
    sverka(dir.path()).args(["index", "right.csv", "--out", "i"]).assert().code(0);
    let indexed = format!("[[stages]]\nkind = 'bm25'\nindex = 'i'\nk = 3\n{scored}");
    by(&indexed, &["left.csv"]).code(0);
    assert!(!found().is_empty());

    let refused = |stages: &str, arguments: &[&str], parts: &[&str]| {
        let said = stderr(&by(stages, arguments).code(2));
        parts.iter().for_each(|part| assert!(said.contains(part), "{said}"));
    };
    let both = ["left.csv", "right.csv"];
    // the file that `run` takes, too
    let same = by(&format!("collection = 'right.csv'\nbudget_ms = 9\n{bm25}{scored}"), &both).code(0);
    assert!(stderr(&same).contains("p.toml: match makes no use of collection, budget_ms"), "{}", stderr(&same));
    assert_eq!(found(), first_two);
    refused(bm25, &both, &["pairs are decided by the last stage"]);
    refused(&indexed, &both, &["leave RIGHT and --against out"]);
    refused(&format!("{bm25}{scored}"), &["left.csv"], &["--pipeline", "needs two lists"]);
    let other = format!("[[stages]]\nkind = 'hybrid'\nindex = 'i'\n{scored}");
    refused(&other, &["left.csv"], &["index of kind bm25"]);
    refused(&format!("{bm25}[[stages]]\nkind = 'duo'\nmodel = 'model'\n"), &both, &["stages[1].model", "wants a duo"]);
}
