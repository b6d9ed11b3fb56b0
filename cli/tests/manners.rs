//! What every verb does alike: help, exit codes, JSON.
mod common;
use common::*;

const VERBS: [&str; 15] = [
    "index",
    "search",
    "match",
    "train",
    "eval",
    "rank",
    "score",
    "calibrate",
    "quantize",
    "init",
    "export",
    "tokenizer",
    "info",
    "bench",
    "completions",
];

#[test]
fn help_lists_verbs_and_exit_codes_and_each_verb_shows_an_example() {
    let dir = tempfile::tempdir().unwrap();
    let help = stdout(&sverka(dir.path()).arg("--help").assert().code(0));
    for verb in VERBS {
        assert!(help.lines().any(|l| l.trim_start().starts_with(verb)), "{verb}: {help}");
        for path in [["help", verb], [verb, "--help"]] {
            let help = stdout(&sverka(dir.path()).args(path).assert().code(0));
            assert!(help.contains("Example") && help.contains(&format!("\n  sverka {verb} ")), "{help}");
            assert!(help.contains("--json") && help.contains("--threads"), "{help}");
        }
    }
    for code in ["  0  done", "  1  our mistake", "  2  your data", "  3  a quality gate"] {
        assert!(help.contains(code), "{help}");
    }
}

#[test]
fn wrong_arguments_are_the_users_and_leave_stdout_alone() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [
        &["mtach"][..],
        &["match"],
        &["match", "a.csv"],
        &["info", "m", "--dtype", "f64"],
        &["info", "m", "--device", "tpu"],
        &["info", "m", "--x"],
    ] {
        let assert = sverka(dir.path()).args(arguments).assert().code(2);
        assert_eq!(stdout(&assert), "", "{arguments:?}");
        assert!(stderr(&assert).starts_with("error: "), "{arguments:?}");
    }
}

#[test]
fn threads_must_be_there() {
    let dir = tempfile::tempdir().unwrap();
    for threads in ["0", "100000"] {
        let assert = sverka(dir.path()).args(["info", "model", "--threads", threads]).assert().code(2);
        one_line(&assert, &[&format!("--threads = {threads}: this machine has"), "give 1 to"]);
    }
}

#[test]
fn an_error_is_json_too_where_json_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [&["info", "nowhere", "--json"][..], &["--json", "match", "l.csv"]] {
        let assert = sverka(dir.path()).args(arguments).assert().code(2);
        let answer: serde_json::Value = serde_json::from_str(&stdout(&assert)).unwrap();
        assert_eq!(answer["code"], 2);
        assert!(!answer["error"].as_str().unwrap().contains('\n'));
        assert!(stderr(&assert).starts_with("error: "));
    }
}

#[test]
fn json_is_all_that_stdout_holds() {
    let dir = tempfile::tempdir().unwrap();
    lists(dir.path());
    model(dir.path());
    pairs(dir.path());
    judged(dir.path());
    for arguments in [
        &["match", "left.csv", "right.csv", "--out", "m.csv", "--model", "model"][..],
        &["eval", "model", "pairs"],
        &["score", "model", "pairs/test.csv"],
        &["calibrate", "model", "judged.csv"],
        &["quantize", "model", "pairs", "--max-loss", "1"],
        &["init", "pairs", "--start", "model"],
        &["train", "recipe.toml", "--set", "train.epochs=1"],
        &["export", "model", "plain"],
        &["tokenizer", "prune", "model", "--corpus", "left.csv", "--out", "small"],
        &["info", "model"],
        &["bench", "model", "--seconds", "0.01"],
        &["completions", "bash"],
    ] {
        let said = stdout(&sverka(dir.path()).args(arguments).arg("--json").assert().code(0));
        let lines = if arguments[0] == "score" { 32 } else { 1 };
        assert_eq!(said.lines().count(), lines, "{arguments:?}: {said}");
        for line in said.lines() {
            assert!(
                serde_json::from_str::<serde_json::Value>(line).is_ok_and(|v| v.is_object()),
                "{arguments:?}: {line}"
            );
        }
    }
}

#[test]
fn without_a_model_the_error_says_where_it_was_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    lists(dir.path());
    let assert = sverka(dir.path())
        .args(["match", "left.csv", "right.csv", "--out", "m.csv"])
        .env("SVERKA_MODEL", "no/such/model")
        .assert()
        .code(2);
    one_line(&assert, &["no/such/model"]);
    assert_eq!(names(dir.path()), ["left.csv", "right.csv"]);
}

#[test]
fn the_matcher_is_in_the_binary() {
    let (dir, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    lists(dir.path());
    let run = |cache: &std::path::Path| {
        let mut command = sverka(dir.path());
        command.args(["match", "left.csv", "right.csv", "--out", "m.csv", "--threads", "1"]);
        command.env("XDG_CACHE_HOME", cache).env("HOME", cache).assert()
    };
    run(cache.path()).code(0);
    let first = std::fs::read(dir.path().join("m.csv")).unwrap();
    let unpacked = cache.path().join("sverka").read_dir().unwrap().next().unwrap().unwrap().path();
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/matcher");
    for name in names(&repository) {
        let [a, b] = [&unpacked, &repository].map(|dir| std::fs::read(dir.join(&name)).unwrap());
        assert!(a == b, "{name} is not that of the repository");
    }
    // what somebody changed or cut is unpacked again
    write(&unpacked.join("model.safetensors"), "");
    run(cache.path()).code(0);
    assert_eq!(std::fs::read(dir.path().join("m.csv")).unwrap(), first);
    assert_eq!(cache.path().join("sverka").read_dir().unwrap().count(), 1, "one folder, and nothing unfinished");
    // a cache that is no folder
    let file = write(&dir.path().join("file"), "x");
    one_line(&run(&file).code(2), &["--model", "XDG_CACHE_HOME"]);
    let version = stdout(&sverka(dir.path()).arg("--version").assert().code(0));
    assert!(version.contains("matcher") && version.contains("built in"), "{version}");
}

#[test]
fn completions_know_the_verbs() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&sverka(dir.path()).args(["completions", shell]).assert().code(0));
        assert!(VERBS.iter().all(|verb| script.contains(verb)), "{shell}");
    }
    sverka(dir.path()).args(["completions", "cmd.exe"]).assert().code(2);
}
