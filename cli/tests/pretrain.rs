//! `sverka pretrain`, `fill-mask` and `nsp`: what a person types, and a run that is killed.
#![cfg(unix)]
mod common;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::*;

/// Texts, a tokenizer and the recipe `lm.toml`.
fn prepare(dir: &Path) {
    model(dir); // for its tokenizer
    let mut texts = String::new();
    for i in 0..300 {
        texts += &format!("sony camera dsc {i} black . lamp {} w white .\n", i * 7 % 60);
        texts += if i % 3 == 2 { "\n" } else { "" };
    }
    write(&dir.join("texts.txt"), texts);
    let recipe = "name = \"lm\"\n[model.fresh]\ntokenizer = \"tokenizer\"\nlayers = 2\nhidden = 32\nheads = 2\npositions = 64\n\
        [text]\nmax_tokens = 48\n[next]\n[data]\nheld_out = 0.1\n[[data.sources]]\nname = \"texts\"\nfiles = [\"texts.txt\"]\n\
        [train]\nsteps = 60\nbatch = 8\nlr = 1e-3\nvalidate_every = 20\ncheckpoint_every = 3\n[expect]\naccuracy = 0.01\n";
    write(&dir.join("lm.toml"), recipe);
}

const RUN: [&str; 6] = ["pretrain", "lm.toml", "-q", "--threads", "1", "--run"];

#[test]
fn a_killed_run_goes_on_with_the_same_bits_and_answers() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    prepare(dir);
    let run = |arguments: &[&str], code: i32| sverka(dir).args(arguments).assert().code(code);
    run(&[&RUN[..], &["whole"]].concat(), 0);
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("sverka"))
        .args([&RUN[..], &["parts"]].concat())
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (start, log) = (Instant::now(), dir.join("parts/log.jsonl"));
    while std::fs::read_to_string(&log).unwrap_or_default().lines().count() < 25 {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it could be killed");
        assert!(start.elapsed() < Duration::from_secs(120), "the run does not get on");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    assert!(!dir.join("parts/metrics.json").exists());
    one_line(&run(&[&RUN[..], &["parts", "--resume", "--set", "train.lr=1"]].concat(), 2), &["train.lr", "began with"]);
    run(&[&RUN[..], &["parts", "--resume"]].concat(), 0);
    let of = |run: &str| std::fs::read(dir.join(run).join("model/model.safetensors")).unwrap();
    assert!(of("parts") == of("whole"), "the resumed run's weights differ");

    let answer = run(&["fill-mask", "whole/model", "sony [MASK] black", "lamp", "--json"], 2);
    one_line(&answer, &["lamp", "has no [MASK]"]);
    let answer = json(&stdout(&run(&["fill-mask", "whole/model", "sony [MASK] [MASK]", "--top", "2", "--json"], 0)));
    let masks = answer["texts"][0]["masks"].as_array().unwrap();
    assert!(masks.len() == 2 && masks.iter().all(|mask| mask.as_array().unwrap().len() == 2), "{answer}");
    assert!(masks[0][0]["probability"].as_f64() >= masks[0][1]["probability"].as_f64(), "{answer}");
    let answer = json(&stdout(&run(&["nsp", "whole/model", "sony camera", "lamp 40 w", "--json"], 0)));
    assert!((0.0..=1.0).contains(&answer["next"].as_f64().unwrap()), "{answer}");
    one_line(&run(&["nsp", "model", "a", "b"], 2), &["cls.seq_relationship.weight", "[next]"]);
}

#[test]
fn a_plan_texts_and_a_gate() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    prepare(dir);
    let run = |arguments: &[&str], code: i32| sverka(dir).args(arguments).assert().code(code);
    let plan = ["pretrain", "lm.toml", "--plan", "--measure", "0.1", "--price-per-hour", "0.5", "--watts", "65"];
    let said = stdout(&run(&plan, 0));
    for part in ["tokens/s", "kWh at 65 W", "price: ", "4 x V100", "1,152 to 1,440 USD", "BERT-base"] {
        assert!(said.contains(part), "`{part}` is missing: {said}");
    }
    let answer = json(&stdout(&run(&[&plan[..], &["--json"]].concat(), 0)));
    assert!(answer["tokens_per_second"].as_f64().unwrap() > 0.0, "{answer}");
    assert!(!dir.join("runs").exists(), "a plan leaves nothing");
    run(&["pretrain", "lm.toml", "--texts", "out.txt"], 0);
    assert!(std::fs::read_to_string(dir.join("out.txt")).unwrap().contains("sony camera dsc 1 black"));
    let few = ["pretrain", "lm.toml", "--steps", "2", "--run", "few", "--set", "expect.accuracy=0.99"];
    one_line(&run(&[&few[..], &["-q"]].concat(), 3), &["accuracy", "expected 0.99"]);
    one_line(&run(&few, 2), &["few", "already exists"]);
    run(&["pretrain", "lm.toml", "--steps", "0", "--run", "fresh"], 0);
    run(&["train", "lm.toml"], 2);
}
