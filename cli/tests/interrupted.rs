//! A run that is killed goes on with the same bits, whatever the kill left: of `train` and of `match`.
#![cfg(unix)]
mod common;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use common::*;

/// Long enough to be killed in the middle; a checkpoint every third step makes it likely that one is being written then;
/// and everything that has state: dropout, swaps, an average, validations in the middle of epochs.
const TRAIN: &str = "[train]\nepochs = 20\nbatch = 4\nlr = 1e-3\ncheckpoint_every = 3\nvalidate_every = 10\ndropout = 0.1\n\
    swap_probability = 0.5\nema_decay = 0.9\n";

/// Writes the recipe `shop.toml` and what it names.
fn recipe(dir: &Path) {
    model(dir);
    pairs(dir);
    sverka(dir).args(["init", "pairs", "--start", "model", "--out", "shop.toml"]).assert().code(0);
    let path = dir.join("shop.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, _) = text.split_once("[train]").unwrap();
    write(&path, before.to_string() + TRAIN);
}

fn arguments<'a>(run: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "shop.toml", "--run", run, "-q", "--threads", "1"], more].concat()
}

/// Steps in the log.
fn steps(run: &Path) -> usize {
    std::fs::read_to_string(run.join("log.jsonl")).unwrap_or_default().matches("\"step\":").count()
}

/// Starts the run, or goes on with it, and sends it a signal once its log has so many entries. Gives how it ended, and its last words.
fn signal_at(dir: &Path, run: &str, entries: usize, more: &[&str], signal: &str) -> Output {
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("sverka"))
        .args(arguments(run, more))
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while steps(&dir.join(run)) < entries {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it could be killed");
        assert!(start.elapsed() < Duration::from_secs(120), "the run does not get on");
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert!(!dir.join(run).join("metrics.json").exists());
    output
}

fn kill_at(dir: &Path, run: &str, entries: usize, more: &[&str]) {
    let status = signal_at(dir, run, entries, more, "-KILL").status;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status}");
}

fn finish(dir: &Path, run: &str, more: &[&str]) {
    sverka(dir).args(arguments(run, more)).assert().code(0);
}

fn assert_same_model(dir: &Path, run: &str) {
    for file in ["model.safetensors", "sverka.json"] {
        let of = |run: &str| std::fs::read(dir.join(run).join("model").join(file)).unwrap();
        assert!(of(run) == of("whole"), "{file} of {run} differs from the uninterrupted run's");
    }
}

#[test]
fn kill_9_and_resume_give_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    recipe(dir);
    finish(dir, "whole", &[]);
    let all = steps(&dir.join("whole"));
    assert!(all > 300, "{all} entries");
    kill_at(dir, "killed", 8, &[]);
    kill_at(dir, "killed", 50, &["--resume"]);
    kill_at(dir, "killed", 83, &["--resume"]);
    finish(dir, "killed", &["--resume"]);
    assert_same_model(dir, "killed");
    assert_eq!(steps(&dir.join("killed")), all, "a step is logged twice, or not at all");
}

#[test]
fn what_a_killed_write_leaves_behind_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    recipe(dir);
    finish(dir, "whole", &[]);
    kill_at(dir, "killed", 20, &[]);
    // as a kill in the middle of the next checkpoint, of its best weights and of the state would leave them; and a line
    // of the log that was not written to its end
    let checkpoint = dir.join("killed/checkpoint");
    let arrays = names(&checkpoint).into_iter().find(|n| n.ends_with(".safetensors")).unwrap();
    let whole = std::fs::read(checkpoint.join(arrays)).unwrap();
    for name in ["step-999.safetensors.part", "step-999.safetensors", "best-999.safetensors.part"] {
        write(&checkpoint.join(name), &whole[..whole.len() / 2]);
    }
    write(&checkpoint.join("state.json.part"), "{\"version\": 1, \"se");
    let log = dir.join("killed/log.jsonl");
    let text = std::fs::read(&log).unwrap();
    write(&log, [&text[..], b"{\"kind\":\"st"].concat());
    finish(dir, "killed", &["--resume"]);
    assert_same_model(dir, "killed");
    assert!(names(&checkpoint).iter().all(|n| !n.contains("999") && !n.ends_with(".part")), "{:?}", names(&checkpoint));
}

#[test]
fn ctrl_c_and_sigterm_end_with_a_checkpoint_of_the_last_step_and_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    recipe(dir);
    finish(dir, "whole", &[]);
    for (signal, code, more) in [("-INT", 130, &[][..]), ("-TERM", 143, &["--resume"])] {
        let entries = if more.is_empty() { 20 } else { 60 };
        let Output { status, stderr, .. } = signal_at(dir, "stopped", entries, more, signal);
        let said = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(code), "{said}");
        assert!(said.lines().count() == 1 && said.contains("--resume"), "{said}");
        let text = std::fs::read(dir.join("stopped/checkpoint/state.json")).unwrap();
        let step = serde_json::from_slice::<serde_json::Value>(&text).unwrap()["step"].as_u64().unwrap();
        let log = std::fs::read_to_string(dir.join("stopped/log.jsonl")).unwrap();
        let last = log.lines().rfind(|line| line.contains("\"kind\":\"step\"")).unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(last).unwrap()["step"],
            step,
            "steps after the checkpoint"
        );
        assert!(said.contains(&format!("step {step}")), "{said}");
    }
    finish(dir, "stopped", &["--resume"]);
    assert_same_model(dir, "stopped");
}

/// Two lists that take a while, one record at a time.
fn long_lists(dir: &Path) {
    model(dir);
    let words =
        ["sony", "camera", "black", "white", "lamp", "lg", "tv", "inch", "canon", "printer", "toner", "red", "blue"];
    for (name, step) in [("left", 5), ("right", 7)] {
        let line = |i: usize| {
            let text: Vec<&str> = (0..6).map(|j| words[(i * step + j * j * (i % 5 + 1)) % words.len()]).collect();
            format!("{name}{i},{} {}\n", text.join(" "), i % 90)
        };
        write(&dir.join(name).with_extension("csv"), "id,name\n".to_string() + &(0..300).map(line).collect::<String>());
    }
}

fn matching(out: &str) -> Vec<&str> {
    [
        "match",
        "left.csv",
        "right.csv",
        "--model",
        "model",
        "--part",
        "10",
        "--one-to-one",
        "--threads",
        "1",
        "--out",
        out,
    ]
    .to_vec()
}

/// Starts `match` and sends it a signal once so many parts are done.
fn signal_match_at(dir: &Path, out: &str, parts: usize, signal: &str) -> Output {
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("sverka"))
        .args(matching(out))
        .current_dir(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let folder = dir.join(format!("{out}.work/parts"));
    let done = || {
        std::fs::read_dir(&folder).map_or(0, |all| {
            all.flatten().filter(|part| part.file_name().to_string_lossy().starts_with("part-")).count()
        })
    };
    let start = Instant::now();
    while done() < parts {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it could be killed");
        assert!(start.elapsed() < Duration::from_secs(120), "the run does not get on");
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert!(!dir.join(out).exists(), "half an output");
    output
}

#[test]
fn a_match_that_is_stopped_or_killed_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    long_lists(dir);
    sverka(dir).args(matching("whole.csv")).assert().code(0);
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let Output { status, stderr, stdout } = signal_match_at(dir, "m.csv", 3, signal);
        let said = String::from_utf8(stderr).unwrap();
        assert_eq!((status.code(), stdout.len()), (Some(code), 0), "{said}");
        let last = said.lines().last().unwrap();
        assert!(last.contains("the same command goes on") && last.contains("m.csv.work"), "{said}");
        // of another option nothing can be used
        let other = [&matching("m.csv")[..], &["--top-k", "3"]].concat();
        let said = stderr_of(dir, &other);
        assert!(said.contains("started over") && !dir.join("m.csv.work").exists(), "{said}");
        std::fs::remove_file(dir.join("m.csv")).unwrap();
    }
    signal_match_at(dir, "m.csv", 2, "-KILL");
    signal_match_at(dir, "m.csv", 9, "-KILL");
    let said = stderr_of(dir, &matching("m.csv"));
    assert!(said.starts_with("going on: ") && said.contains("of 30 parts are done"), "{said}");
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    assert!(read("m.csv") == read("whole.csv"), "the output of a run that went on is another");
    assert!(names(dir).iter().all(|name| !name.contains("work") && !name.ends_with(".part")), "{:?}", names(dir));
}

fn stderr_of(dir: &Path, arguments: &[&str]) -> String {
    stderr(&sverka(dir).args(arguments).assert().code(0))
}

#[test]
fn a_match_is_written_by_one_run_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    long_lists(dir);
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("sverka"))
        .args(matching("m.csv"))
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !dir.join("m.csv.work/plan.json").exists() {
        assert!(start.elapsed() < Duration::from_secs(120) && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    let second = sverka(dir).args(matching("m.csv")).assert().code(2);
    one_line(&second, &["--out = m.csv", "another run is writing it"]);
    child.kill().unwrap();
    child.wait().unwrap();
}
