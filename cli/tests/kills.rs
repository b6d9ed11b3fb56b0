//! A crash just before every call that changes the file system, verb by verb: what was there is there, or what should come is there
//! whole; and the next run of the same command leaves nothing but its result.
#![cfg(all(target_os = "linux", target_env = "gnu"))]
mod common;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::*;
use sverka::Input;
use sverka::bundle::{Architecture, Manifest};
use sverka::index::{Index, ModelOptions};

/// The shim as a library, built with the linker's own driver, which Rust needs as well.
fn shim(dir: &Path) -> PathBuf {
    let out = dir.join("shim.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kill/shim.c");
    let done = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&out).arg(source).arg("-ldl").status();
    assert!(done.is_ok_and(|status| status.success()), "cc is needed to build the shim");
    out
}

/// Every file below a folder with its bytes; folders have none.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut out = BTreeMap::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_path_buf();
            if path.is_dir() {
                open.push(path);
                out.insert(name, Vec::new());
            } else {
                out.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    out
}

fn copy(from: &Path, to: &Path) {
    for (name, bytes) in tree(from) {
        let (old, new) = (from.join(&name), to.join(&name));
        if old.is_dir() {
            std::fs::create_dir_all(new).unwrap();
        } else {
            std::fs::create_dir_all(new.parent().unwrap()).unwrap();
            std::fs::write(new, bytes).unwrap();
        }
    }
}

/// What names the time or the folder of a run differs between two runs.
fn is_of_the_run(name: &Path) -> bool {
    ["log.jsonl", "metrics.json", "environment.json", "state.json", "previous.json", "recipe.toml", "lock"]
        .iter()
        .any(|end| name.to_string_lossy().ends_with(end))
}

/// Runs a command whose output is `out` (a file or a folder of the working directory) until no call is left to be killed at; every
/// `stride`-th call is tried. `again` are arguments for the run after the crash where `out` is there.
fn crash(template: &Path, arguments: &[&str], out: &str, again: Option<&[&str]>, stride: usize) -> usize {
    let tools = tempfile::tempdir().unwrap();
    let shim = shim(tools.path());
    let run = |dir: &Path, arguments: &[&str], at: Option<usize>| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("sverka"));
        command
            .args(arguments)
            .args(["-q", "--threads", "1"])
            .current_dir(dir)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if let Some(at) = at {
            command.env("LD_PRELOAD", &shim).env("KILL_AT", at.to_string());
        }
        command.output().unwrap()
    };
    let fresh = || {
        let dir = tempfile::tempdir().unwrap();
        copy(template, dir.path());
        dir
    };
    let whole = fresh();
    let done = run(whole.path(), arguments, None);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let (before, after) = (tree(template), tree(whole.path()));
    let of_output = |name: &Path| name.starts_with(out);
    let mut at = 1;
    loop {
        let dir = fresh();
        let status = run(dir.path(), arguments, Some(at)).status;
        if status.signal() != Some(9) {
            assert!(status.success(), "{status}");
            println!("{arguments:?}: killed at every call, {stride} apart, of {at}");
            return at;
        }
        let left = tree(dir.path());
        for (name, bytes) in &before {
            let found = left.get(name);
            let is_new = || of_output(name) && found == after.get(name);
            assert!(found == Some(bytes) || is_new(), "{arguments:?}, call {at}: {} is lost or torn", name.display());
        }
        // a folder that is written at once has all of its files or is not there
        let is_there = left.contains_key(Path::new(out));
        let is_run_folder = ["train", "states"].contains(&arguments[0]);
        if is_there && !is_run_folder {
            for (name, bytes) in after.iter().filter(|(name, _)| of_output(name)) {
                let found = left.get(name);
                let is_old = before.contains_key(name) && found == before.get(name);
                assert!(found == Some(bytes) || is_old, "{arguments:?}, call {at}: {} is torn", name.display());
            }
        }
        let next = match again {
            Some(again) if is_there => [arguments, again].concat(),
            None if is_there && !before.contains_key(Path::new(out)) => Vec::new(),
            _ => arguments.to_vec(),
        };
        if !next.is_empty() {
            let done = run(dir.path(), &next, None);
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(done.status.success(), "{next:?} after a crash at call {at}: {said}");
            let last = tree(dir.path());
            let names = |tree: &BTreeMap<PathBuf, Vec<u8>>| tree.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(&last), names(&after), "{arguments:?}, call {at}");
            for (name, bytes) in after.iter().filter(|(name, _)| !is_of_the_run(name)) {
                assert!(
                    &last[name] == bytes,
                    "{arguments:?}, call {at}: {} differs after the next run",
                    name.display()
                );
            }
        }
        at += stride;
    }
}

fn template() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    pairs(dir.path());
    lists(dir.path());
    dir
}

#[test]
fn of_match_score_files_and_recipes() {
    let dir = template();
    let arguments = ["match", "left.csv", "right.csv", "--model", "model", "--out", "m.csv"];
    // parts of two left records: some kills come between them
    let in_parts = [&arguments[..], &["--part", "2"]].concat();
    assert!(crash(dir.path(), &in_parts, "m.csv", Some(&[]), 1) > 20);
    let once = [&arguments[..], &["--one-to-one", "--all", "--texts"]].concat();
    assert!(crash(dir.path(), &once, "m.csv", Some(&[]), 3) > 20);
    // over a file that is there already
    write(&dir.path().join("m.csv"), "old\n");
    crash(dir.path(), &arguments, "m.csv", Some(&[]), 3);
    assert!(crash(dir.path(), &["init", "pairs", "--start", "model", "--out", "shop.toml"], "shop.toml", None, 1) > 4);
}

#[test]
fn of_calibrate_quantize_export_and_prune() {
    let dir = template();
    let dir = dir.path();
    judged(dir);
    assert!(crash(dir, &["calibrate", "model", "judged.csv", "--force"], "model", Some(&[]), 1) > 4);
    assert!(crash(dir, &["quantize", "model", "pairs", "--out", "small", "--max-loss", "1"], "small", None, 1) > 8);
    assert!(crash(dir, &["export", "model", "plain"], "plain", None, 1) > 8);
    let prune = ["tokenizer", "prune", "model", "--corpus", "left.csv", "right.csv", "--out", "pruned"];
    assert!(crash(dir, &prune, "pruned", None, 1) > 8);
}

#[test]
fn of_train() {
    let dir = template();
    sverka(dir.path()).args(["init", "pairs", "--start", "model", "--out", "shop.toml"]).assert().code(0);
    let path = dir.path().join("shop.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let train = "[train]\nepochs = 1\nbatch = 16\nlr = 1e-3\ncheckpoint_every = 2\nema_decay = 0.9\n";
    write(&path, text.split_once("[train]").unwrap().0.to_string() + train);
    let arguments = ["train", "shop.toml", "--run", "run"];
    assert!(crash(dir.path(), &arguments, "run", Some(&["--resume"]), 1) > 40);
}

/// Ids and scores of an index in a folder, by every query that the lists have.
fn hits(dir: &Path) -> Vec<Vec<(String, f32)>> {
    let index =
        Index::open(&dir.join("i"), &ModelOptions { path: Some(dir.join("vectors")), ..ModelOptions::default() });
    let index = index.unwrap();
    let queries = ["sony camera", "lamp 40 w", "lg tv 42 inch", "canon printer toner black"].map(Input::Text);
    let named = |hits: Vec<sverka::Hit>| hits.into_iter().map(|h| (index.id(h.document).unwrap().to_string(), h.score));
    index.search(&queries, 100).unwrap().into_iter().map(|hits| named(hits).collect()).collect()
}

/// Kills a change of an index at every `stride`-th call: it finds what it found before or what it should find after, and the same
/// command again gives the latter.
fn crash_index(template: &Path, arguments: &[&str], stride: usize) -> usize {
    let tools = tempfile::tempdir().unwrap();
    let shim = shim(tools.path());
    let run = |dir: &Path, at: usize| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("sverka"));
        command.args(arguments).args(["-q", "--threads", "1"]).current_dir(dir).stderr(Stdio::piped());
        command.env("LD_PRELOAD", &shim).env("KILL_AT", at.to_string()).output().unwrap()
    };
    let before = template.join("i").exists().then(|| hits(template));
    let (mut after, mut at) = (None, usize::MAX / 2);
    loop {
        let dir = tempfile::tempdir().unwrap();
        copy(template, dir.path());
        let done = run(dir.path(), at);
        let Some(expected) = &after else {
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            after = Some(hits(dir.path()));
            at = 1;
            continue;
        };
        if done.status.signal() != Some(9) {
            assert!(done.status.success());
            println!("{arguments:?}: killed at every call, {stride} apart, of {at}");
            return at;
        }
        let is_there = dir.path().join("i").exists();
        assert!(is_there || before.is_none(), "{arguments:?}, call {at}: the index is gone");
        let is_new = is_there && {
            let now = hits(dir.path());
            assert!(before.as_ref() == Some(&now) || *expected == now, "{arguments:?}, call {at}: half a commit");
            *expected == now
        };
        if !(is_new && before.is_none()) {
            let done = run(dir.path(), usize::MAX / 2);
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(done.status.success(), "{arguments:?} after a crash at call {at}: {said}");
        }
        assert_eq!(hits(dir.path()), *expected, "{arguments:?}, call {at}");
        let names = names(dir.path());
        assert!(names.iter().all(|name| !name.ends_with(".part")), "{arguments:?}, call {at}: {names:?}");
        let names = self::names(&dir.path().join("i"));
        assert!(names.iter().all(|name| !name.ends_with(".part")), "{arguments:?}, call {at}: {names:?}");
        at += stride;
    }
}

#[test]
fn of_an_index_its_update_and_its_compaction() {
    let dir = template();
    let dir = dir.path();
    write(&dir.join("gone.txt"), "c\nb\n");
    write(&dir.join("new.csv"), "id,name,price\nf,sony camera a7 black,900\na,lamp 40 w red,3\n");
    // one vector a document, in lists; and one a token
    let kinds = [Architecture::Dssm(Default::default()), Architecture::Colbert(Default::default())];
    let mut calls = [0; 3];
    for architecture in kinds {
        let lists: &[&str] = if matches!(architecture, Architecture::Dssm(_)) { &["--nearest", "lists"] } else { &[] };
        let manifest = Manifest { architecture, ..Manifest::default() };
        sverka::testing::write_bundle(&dir.join("vectors"), &dir.join("model"), &manifest).unwrap();
        let build = [&["index", "right.csv", "--kind", "hybrid", "--model", "vectors", "--out", "i"], lists].concat();
        // what one test changes the next one begins with
        let changes: [&[&str]; 3] =
            [&build, &["index", "update", "i", "--add", "new.csv", "--delete", "gone.txt"], &["index", "compact", "i"]];
        for (arguments, calls) in changes.into_iter().zip(&mut calls) {
            *calls += crash_index(dir, arguments, 1);
            sverka(dir).args(arguments).assert().code(0);
        }
        ["vectors", "i"].iter().for_each(|folder| std::fs::remove_dir_all(dir.join(folder)).unwrap());
    }
    assert!(calls.iter().all(|calls| *calls > 100), "killed at {calls:?} calls");
}

#[test]
fn of_states() {
    let dir = template();
    let dir = dir.path();
    split_model(dir);
    let build = ["states", "build", "split", "left.csv", "--out", "store"];
    assert!(crash(dir, &build, "store", Some(&[]), 1) > 8);
    sverka(dir).args(build).assert().code(0);
    write(&dir.join("more.csv"), "id,name,price\n5,red lamp,7\n1,sony camera,1\n");
    assert!(crash(dir, &["states", "append", "split", "more.csv", "--out", "store"], "store", Some(&[]), 1) > 6);
    assert!(crash(dir, &["states", "delete", "store", "--id", "3"], "store", Some(&[]), 1) > 2);
    sverka(dir).args(["states", "delete", "store", "--id", "3"]).assert().code(0);
    assert!(crash(dir, &["states", "compact", "store"], "store", Some(&[]), 1) > 6);
}
