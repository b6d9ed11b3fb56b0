//! The README's first screen is true: its commands run, its verbs exist.
mod common;
use std::path::Path;

use common::*;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

#[test]
fn the_first_command_runs() {
    let readme = readme();
    let first_screen: Vec<&str> = readme.lines().take(20).collect();
    let command = first_screen.iter().find_map(|l| l.strip_prefix("$ cargo run --release -- ")).expect("command 1");
    let words: Vec<&str> = command.split(' ').collect();
    let [verb, left, right, "--out", out] = words[..] else { panic!("{command}") };
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join(out);
    let assert = sverka(root()).args([verb, left, right, "--out"]).arg(&out).assert().code(0);
    let matches = std::fs::read_to_string(out).unwrap();
    assert!(matches.starts_with("left_id,right_id,probability,decision,rank\n") && matches.lines().count() > 100);
    // the page shows what is printed: every line of its summary, numbers aside, is a line of the real one
    let words = |line: &str| line.split(|c: char| !c.is_alphabetic()).collect::<String>();
    let printed: Vec<String> = stdout(&assert).lines().map(words).collect();
    let (_, shown) = readme.split_once("```text\n").expect("the summary");
    for line in shown.lines().take_while(|line| *line != "```") {
        assert!(printed.contains(&words(line)), "the README shows '{line}', which is not in:\n{}", stdout(&assert));
    }
}

#[test]
fn the_second_command_is_what_ci_calls() {
    let command =
        readme().lines().find_map(|l| l.strip_prefix("$ cargo test").map(|c| format!("cargo test{c}"))).unwrap();
    let ci = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    assert!(ci.lines().any(|l| l.split(' ').collect::<Vec<_>>().join(" ").contains("cargo test")), "{ci}");
    for word in command.split(' ').filter(|w| w.starts_with("--")) {
        assert!(ci.lines().any(|l| l.contains("cargo test") && l.contains(word)), "{word}");
    }
}

/// The commands of the table "Your own lists", each written out; `...` is the first one.
fn commands(readme: &str) -> Vec<String> {
    let rows = readme.lines().filter(|l| l.starts_with("| "));
    let quoted = rows.flat_map(|l| l.split('`').skip(1).step_by(2));
    let mut commands: Vec<String> = Vec::new();
    for piece in quoted {
        if let Some(command) = piece.strip_prefix("sverka ") {
            commands.push(command.into());
        } else if let Some(more) = piece.strip_prefix("... ") {
            commands.push(format!("{} {more}", commands[0]));
        }
    }
    commands
}

#[test]
fn the_commands_of_its_table_run_as_written() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path());
    let (mut ours, mut theirs, mut known) =
        (String::from("id,name\n"), String::from("id,title\n"), String::from("left_id,right_id,label\n"));
    for i in 0..48 {
        let thing = ["lamp", "camera", "printer", "tv"][i % 4];
        ours += &format!("{i},{thing} red {i}\n");
        theirs += &format!("t{i},red {thing} {i} w\n");
        known += &format!("{i},t{i},1\n{i},t{},0\n", (i + 4) % 48);
    }
    // a precision of .95 is within reach of any model
    let matches = "left_name,right_name,label\nlamp,tv,0\n".to_string() + &"red lamp,lamp red,1\n".repeat(24);
    for (file, text) in
        [("ours.csv", &ours), ("theirs.csv", &theirs), ("list.csv", &ours), ("new.csv", &ours), ("pairs.csv", &known)]
    {
        write(&dir.path().join(file), text);
    }
    std::fs::create_dir(dir.path().join("data")).unwrap();
    for part in ["train", "valid", "test"] {
        write(&dir.path().join(format!("data/{part}.csv")), &matches);
    }
    pairs(dir.path());
    let ranks = |order: [&str; 2]| {
        let line = |(rank, doc): (usize, &&str), query: usize| format!("q{query} Q0 {doc} {rank} {} x\n", 9 - rank);
        (0..20).flat_map(|query| order.iter().enumerate().map(move |at| line(at, query))).collect::<String>()
    };
    write(&dir.path().join("bm25.run"), ranks(["d2", "d1"]));
    write(&dir.path().join("model.run"), ranks(["d1", "d2"]));
    write(&dir.path().join("qrels.txt"), (0..20).map(|query| format!("q{query} 0 d1 1\n")).collect::<String>());
    split_model(dir.path());
    model_of(dir.path(), "colbert", "late");
    write(&dir.path().join("stages.toml"), "collection = \"theirs.csv\"\n[[stages]]\nkind = \"bm25\"\nk = 5\n");
    write(&dir.path().join("words.vec"), "2 2\nred 1 0\nlamp 0 1\n");
    write(&dir.path().join("links.qrels"), (0..48).map(|i| format!("{i} 0 t{i} 1\n")).collect::<String>());
    std::fs::create_dir_all(dir.path().join("beir/qrels")).unwrap();
    let line = |i: usize, more: &str| format!("{{\"_id\": \"{i}\", {more}\"text\": \"red lamp {i}\"}}\n");
    let beir = [("corpus.jsonl", "\"title\": \"lamp\", "), ("queries.jsonl", "")];
    for (file, more) in beir {
        write(&dir.path().join("beir").join(file), (0..40).map(|i| line(i, more)).collect::<String>());
    }
    let judged = (0..40).map(|i| format!("{i}\t{i}\t1\n")).collect::<String>();
    write(&dir.path().join("beir/qrels/test.tsv"), format!("query-id\tcorpus-id\tscore\n{judged}"));
    let commands = commands(&readme());
    assert!(commands.len() >= 14, "{commands:?}");
    for command in commands {
        let words = command.split(' ').flat_map(|word| match word {
            "MODEL" if command.starts_with("states") => vec!["split"],
            "MODEL" if command.starts_with("tune") => vec!["late"],
            "MODEL" => vec!["runs/shop/model"],
            "DOCS" | "FILE" if !command.contains("--html") => vec!["ours.csv"],
            "STORE" => vec!["store"],
            "PIPELINE.toml" => vec!["stages.toml"],
            "QUERIES" => vec!["ours.csv"],
            "QRELS" if command.starts_with("run") => vec!["links.qrels"],
            "BEIR_FOLDER" => vec!["beir"],
            "DATA" if command.starts_with("index") => vec!["beir"],
            "dense:MODEL" => vec!["dense:words.vec"],
            "TEXT" | "[TEXT]" | "T" | "WORD" => vec!["lamp"],
            "FILE" => vec!["page.html"],
            "DATA" => vec!["data"],
            "RECIPE" => vec!["shop.toml"],
            "NAME" => vec!["shop"],
            "RUN" | "BASELINE.run" => vec!["bm25.run"],
            "OTHER.run" => vec!["model.run"],
            "QRELS" => vec!["qrels.txt"],
            "DIR" => vec!["made"],
            "FILES" => vec!["ours.csv", "theirs.csv"],
            word => vec![word],
        });
        if command.contains(" calibrate ") || command.starts_with("calibrate ") {
            judged_by(dir.path(), "runs/shop/model", 0);
            std::fs::copy(dir.path().join("judged.csv"), dir.path().join("data/valid.csv")).unwrap();
        }
        let pair = "{\"left\":{\"name\":\"lamp\"},\"right\":{\"name\":\"tv\"}}\n";
        let mut binary = sverka(dir.path());
        let assert = binary.args(words).env("SVERKA_MODEL", &model).write_stdin(pair).assert();
        assert!(assert.get_output().status.success(), "{command}: {}", stderr(&assert));
        if command.contains("--texts --explain") || command.contains("--texts --why") {
            let found = std::fs::read_to_string(dir.path().join("matches.csv")).unwrap();
            assert!(
                found.starts_with("left_id,right_id,probability,decision,rank,left_text,right_text,why\n"),
                "{found}"
            );
        }
        let _ = std::fs::remove_dir_all(dir.path().join("made"));
    }
}

#[test]
fn every_verb_it_names_exists() {
    let readme = readme();
    let verbs: Vec<&str> = readme
        .split("`sverka ")
        .skip(1)
        .filter_map(|rest| rest.split(['`', ' ']).next())
        .filter(|verb| *verb != "help")
        .collect();
    assert!(verbs.len() >= 8, "{verbs:?}");
    for verb in verbs {
        sverka(root()).args([verb, "--help"]).assert().code(0);
    }
}
