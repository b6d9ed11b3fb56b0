//! The list of issue 4, "Bad input", end to end: one line with the place and the remedy, exit code 2, and nothing under the
//! final name or next to it.
mod common;
use std::path::Path;

use assert_cmd::assert::Assert;
use common::*;
use sverka::nn::kernels::Unit;
use sverka::nn::weights::{Storage, read_safetensors, write_safetensors};

/// Runs `match` on a left list of these bytes; nothing may be left where it fails.
fn match_with(left: impl AsRef<[u8]>, more: &[&str]) -> (Assert, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    lists(dir.path());
    let model = model(dir.path());
    write(&dir.path().join("left.csv"), left);
    let before = names(dir.path());
    let assert = sverka(dir.path())
        .args(["match", "left.csv", "right.csv", "--out", "m.csv", "--all", "--texts", "--model"])
        .arg(model)
        .args(more)
        .assert();
    if !assert.get_output().status.success() {
        assert_eq!(names(dir.path()), before);
        assert_eq!(stdout(&assert), "");
    }
    (assert, dir)
}

fn refused(left: impl AsRef<[u8]>, parts: &[&str]) {
    let (assert, _dir) = match_with(left, &[]);
    one_line(&assert.code(2), parts);
}

#[test]
fn an_empty_file() {
    refused("", &["left.csv", "empty", "give a file with"]);
}

#[test]
fn one_column() {
    refused("name\nlamp\n", &["left.csv", "only one column, `name`", "give a table with an id and texts"]);
}

#[test]
fn a_header_without_rows() {
    refused("id,name\n", &["left.csv", "no rows", "give a table with rows"]);
}

#[test]
fn a_damaged_parquet_file_is_nobody_elses_mistake() {
    // bytes at which the Parquet crate of today panics: the column's places, and its dictionary
    let good = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/products.parquet")).unwrap();
    for at in [724, 824, 930, 1036] {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = good.clone();
        bytes[at] ^= 0xff;
        write(&dir.path().join("left.parquet"), bytes);
        lists(dir.path());
        write(&dir.path().join("pairs.csv"), "left_id,right_id\n11,a\n");
        let assert = sverka(dir.path()).args(["init", "left.parquet", "right.csv", "pairs.csv"]).assert().code(2);
        one_line(&assert, &["left.parquet: not a readable Parquet file", "write or copy it again"]);
    }
}

#[test]
fn other_encodings_are_converted() {
    let text = "id,name\n1,Лампа белая настольная сорок ватт для дома и дачи\n2,Краска фасадная матовая\n";
    let windows: Vec<u8> = text
        .chars()
        .map(|c| match c {
            'А'..='я' => (c as u32 - 'А' as u32) as u8 + 0xC0,
            c => c as u8,
        })
        .collect();
    let utf16: Vec<u8> = std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    for (bytes, name) in [(windows, "windows-1251"), (utf16, "UTF-16LE")] {
        let dir = tempfile::tempdir().unwrap();
        let model = model(dir.path());
        write(&dir.path().join("left.csv"), &bytes);
        write(&dir.path().join("right.csv"), text);
        let assert = sverka(dir.path())
            .args(["match", "left.csv", "right.csv", "--out", "m.csv", "--all", "--texts", "--model"])
            .arg(model)
            .assert()
            .code(0);
        let written = std::fs::read_to_string(dir.path().join("m.csv")).unwrap();
        assert!(written.contains("Лампа белая") && written.contains("Краска"), "{written}{}", stderr(&assert));
        assert!(stderr(&assert).contains(&format!("left.csv: not UTF-8; read as {name}")), "{}", stderr(&assert));
    }
}

#[test]
fn broken_quotes() {
    refused("id,name\n1,\"lamp\n2,tv\n", &["left.csv:2", "name", "quote", "close the quote"]);
}

#[test]
fn too_many_cells() {
    refused("id,name\n1,lamp\n2,tv,42\n", &["left.csv:3", "3 cells", "quote the cell"]);
}

#[test]
fn duplicate_ids() {
    refused("id,name\n1,lamp\n1,tv\n", &["left.csv:3", "the id `1`", "line 2", "an id of its own"]);
}

#[test]
fn a_cell_of_ten_megabytes() {
    refused(format!("id,name\n1,{}\n", "a".repeat(10 << 20)), &["left.csv:2", "name", "1048576", "cut it down"]);
}

#[test]
fn bad_rows_can_be_skipped_and_are_counted() {
    let (assert, dir) = match_with("id,name\n1,lamp\n1,tv\n2,camera,3\n", &["--skip-bad-rows", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&stdout(&assert.code(0))).unwrap();
    assert_eq!(answer["skipped_rows"], 2);
    assert!(dir.path().join("m.csv").exists());
}

#[test]
fn labels_that_name_no_row() {
    let dir = tempfile::tempdir().unwrap();
    lists(dir.path());
    let model = model(dir.path());
    write(&dir.path().join("labels.csv"), "left_id,right_id\n1,a\n9,b\n");
    let assert = sverka(dir.path())
        .args(["match", "left.csv", "right.csv", "--out", "m.csv", "--labels", "labels.csv", "--model"])
        .arg(model)
        .assert()
        .code(2);
    one_line(&assert, &["labels.csv:3", "left_id", "`9`", "correct the id"]);
    assert!(!dir.path().join("m.csv").exists());
}

fn eval(label: &str) -> Assert {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path());
    let head = "left_name,right_name,label\nlamp,lamp,1\ntv,lamp,0\n";
    write(&dir.path().join("test.csv"), format!("{head}lamp,tv,{label}\n"));
    sverka(dir.path()).arg("eval").arg(model).arg("test.csv").assert()
}

#[test]
fn labels_that_are_none() {
    for label in ["2", "NaN", "maybe", ""] {
        one_line(&eval(label).code(2), &["test.csv:4", "label", "write 1 for a match"]);
    }
    eval("0").code(0);
    eval("yes").code(0);
}

/// Breaks a model and asks for it.
fn info(breaking: impl FnOnce(&Path)) -> Assert {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    // a plain folder: a bundle is refused by its checksums before anything of it is read
    let plain = dir.path().join("plain");
    sverka(dir.path()).args(["export", "model", "plain"]).assert().code(0);
    breaking(&plain);
    broken(dir.path(), &plain)
}

/// The same of a bundle.
fn info_of_bundle(breaking: impl FnOnce(&Path)) -> Assert {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path());
    breaking(&model);
    broken(dir.path(), &model)
}

/// `score` and `info` of a broken model.
fn broken(dir: &Path, model: &Path) -> Assert {
    let score = sverka(dir)
        .arg("score")
        .arg(model)
        .arg("-")
        .write_stdin("{\"left\":{\"name\":\"tv\"},\"right\":{\"name\":\"tv\"}}\n")
        .assert()
        .code(2);
    assert_eq!(stdout(&score), "");
    score
}

#[test]
fn broken_weights() {
    let cut = info(|model| {
        let path = model.join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        write(&path, &bytes[..bytes.len() / 2]);
    });
    one_line(&cut, &["model.safetensors", "cut short", "copy the file again"]);
    let greedy = info(|model| {
        let path = model.join("model.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[..8].copy_from_slice(&(1u64 << 60).to_le_bytes());
        write(&path, bytes);
    });
    one_line(&greedy, &["model.safetensors", "claims more bytes", "copy the file again"]);
    for (value, said) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
        let broken = info(|model| {
            let path = model.join("model.safetensors");
            let mut weights = read_safetensors(&path).unwrap();
            weights.0.get_mut("bert.encoder.layer.1.output.dense.weight").unwrap().values_mut()[70] = value;
            write_safetensors(&path, &weights, Storage::F32).unwrap();
        });
        let key = format!("bert.encoder.layer.1.output.dense.weight: value 70 is {said}");
        one_line(&broken, &["model.safetensors", &key]);
    }
    let gone = info(|model| std::fs::remove_file(model.join("model.safetensors")).unwrap());
    one_line(&gone, &["model.safetensors", "check the name"]);
}

#[test]
fn a_record_without_a_word_is_scored() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path());
    for dtype in ["f32", "bf16", "int8"] {
        let assert = sverka(dir.path())
            .arg("score")
            .arg(&model)
            .args(["-", "--dtype", dtype])
            .write_stdin("{\"left\":{\"name\":\"\"},\"right\":{\"name\":\" \"}}\n")
            .assert()
            .code(0);
        let answer: serde_json::Value = serde_json::from_str(&stdout(&assert)).unwrap();
        assert!(answer["score"].as_f64().unwrap().is_finite(), "{answer}");
    }
}

#[test]
fn a_unit_that_this_cpu_has_not() {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path());
    let info = |unit: &str| sverka(dir.path()).arg("info").arg(&model).env("SVERKA_CPU", unit).assert();
    let has = |unit: &&str| Unit::available().iter().any(|u| u.name() == *unit);
    for unit in ["amx", "avx512", "avx2", "AVX2", "quantum"].into_iter().filter(|unit| !has(unit)) {
        let parts = [format!("SVERKA_CPU = {unit}: this CPU has no such unit; it has portable")];
        one_line(&info(unit).code(2), &[&parts[0]]);
    }
    info("portable").code(0);
    info("").code(0);
}

#[test]
fn a_tokenizer_of_another_kind() {
    let other = info(|model| {
        write(&model.join("tokenizer.json"), r#"{"version":"9.0","model":{"type":"Telepathy"}}"#);
    });
    one_line(&other, &["tokenizer.json"]);
    // one that works, of a model that reads texts in another way
    let bytes = info(|model| {
        let model_of_bytes = r#"{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}"#;
        write(&model.join("tokenizer.json"), format!(r#"{{"version":"1.0","model":{model_of_bytes}}}"#));
    });
    one_line(&bytes, &["tokenizer.json", "special tokens", "give the tokenizer.json of a BERT"]);
}

#[test]
fn a_newer_bundle() {
    let newer = info_of_bundle(|model| {
        let path = model.join("sverka.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        manifest["version"] = 999.into();
        write(&path, manifest.to_string());
    });
    one_line(&newer, &["sverka.json", "version", "999"]);
}

#[test]
fn outputs_that_exist_or_cannot_be() {
    let dir = tempfile::tempdir().unwrap();
    lists(dir.path());
    let model = model(dir.path());
    pairs(dir.path());
    std::fs::create_dir(dir.path().join("there")).unwrap();
    write(&dir.path().join("there/letter.txt"), "dear");
    write(&dir.path().join("there.toml"), "");
    let refused = |arguments: &[&str], parts: &[&str]| {
        one_line(&sverka(dir.path()).args(arguments).env("SVERKA_MODEL", &model).assert().code(2), parts);
    };
    sverka(dir.path()).args(["init", "pairs", "--start", "model", "--out", "shop.toml"]).assert().code(0);
    for folder in [
        &["export", "model", "there"][..],
        &["train", "shop.toml", "--run", "there"],
        &["quantize", "model", "pairs", "--out", "there"],
        &["tokenizer", "prune", "model", "--corpus", "left.csv", "--out", "there"],
    ] {
        refused(folder, &["there: already exists; give another name"]);
    }
    refused(&["init", "pairs", "--out", "there.toml"], &["there.toml: already exists; give another name"]);
    let matching = |out: &str, parts: &[&str]| refused(&["match", "left.csv", "right.csv", "--out", out], parts);
    matching("there", &["there"]);
    matching("m.xlsx", &["m.xlsx", ".csv, .jsonl or .parquet"]);
    matching("no/such/m.csv", &["m.csv", "make the folder first"]);
    matching("left.csv", &["--out = left.csv", "would be lost"]);
    assert_eq!(std::fs::read_to_string(dir.path().join("left.csv")).unwrap(), LEFT);
    assert_eq!(names(&dir.path().join("there")), ["letter.txt"]);
}

#[test]
#[cfg(target_os = "linux")]
fn no_disk_space() {
    let dir = tempfile::tempdir().unwrap();
    lists(dir.path());
    model(dir.path());
    pairs(dir.path());
    sverka(dir.path()).args(["init", "pairs", "--start", "model", "--out", "shop.toml"]).assert().code(0);
    judged(dir.path());
    let manifest = || std::fs::read(dir.path().join("model/sverka.json")).unwrap();
    let (before, calibrated) = (names(dir.path()), manifest());
    for (place, arguments) in [
        ("write m.csv", &["match", "left.csv", "right.csv", "--all", "--out", "m.csv"][..]),
        ("write m.parquet", &["match", "left.csv", "right.csv", "--all", "--out", "m.parquet"]),
        ("write hf/", &["export", "model", "hf"]),
        ("write int8/", &["quantize", "model", "pairs", "--max-loss", "1", "--out", "int8"]),
        ("write small/", &["tokenizer", "prune", "model", "--corpus", "left.csv", "--out", "small"]),
        ("write new.toml", &["init", "pairs", "--out", "new.toml"]),
        ("write model/sverka.json", &["calibrate", "model", "judged.csv", "--force"]),
    ] {
        let assert = with_little_room(dir.path(), 0, arguments).code(2);
        one_line(&assert, &[place, "free some space"]);
        assert_eq!(names(dir.path()), before, "{place}: something is left");
    }
    assert_eq!(manifest(), calibrated, "the old one stays");
    let assert = assert_cmd::Command::new("sh")
        .current_dir(dir.path())
        .args(["-c", "exec \"$0\" \"$@\" > /dev/full"])
        .arg(assert_cmd::cargo::cargo_bin("sverka"))
        .args(["info", "model"])
        .assert()
        .code(2);
    one_line(&assert, &["write -", "free some space"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_training_that_runs_out_of_space_goes_on_with_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    model(dir);
    pairs(dir);
    sverka(dir).args(["init", "pairs", "--start", "model", "--out", "shop.toml"]).assert().code(0);
    let short =
        ["train", "shop.toml", "-q", "--threads", "1", "--set", "train.epochs=3", "--set", "train.checkpoint_every=2"];
    let run = |name: &'static str, more: &[&'static str]| [&short[..], &["--run", name], more].concat();
    sverka(dir).args(run("whole", &[])).assert().code(0);
    // room for the log, none for a checkpoint
    let full = with_little_room(dir, 40, &run("full", &[])).code(2);
    one_line(&full, &["full/checkpoint", "--resume"]);
    assert!(!dir.join("full/model").exists() && !dir.join("full/metrics.json").exists());
    sverka(dir).args(run("full", &["--resume"])).assert().code(0);
    let weights = |run: &str| std::fs::read(dir.join(run).join("model/model.safetensors")).unwrap();
    assert!(weights("full") == weights("whole"), "other bits than those of a run with room enough");
}
