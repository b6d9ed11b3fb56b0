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
    if [left, right, "models/matcher"].iter().any(|p| !root().join(p).exists()) {
        println!("skipped: {left}, {right} or models/matcher is not there yet");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join(out);
    let assert = sverka(root()).args([verb, left, right, "--out"]).arg(&out).assert().code(0);
    let matches = std::fs::read_to_string(out).unwrap();
    assert!(matches.starts_with("left_id,right_id,probability,decision,rank\n") && matches.lines().count() > 100);
    assert!(stdout(&assert).contains("matches"));
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
