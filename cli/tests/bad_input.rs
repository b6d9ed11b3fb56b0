//! The list of issue 4, "Bad input", end to end: one line with the place and the remedy, exit code 2, and nothing under the
//! final name or beside it.
mod common;
use std::path::Path;

use assert_cmd::assert::Assert;
use common::*;
use sverka::nn::kernels::Unit;
use sverka::nn::weights::{Storage, read_safetensors, write_safetensors};

/// Runs `match` on a left list of these bytes; nothing may be left behind where it fails.
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
    refused("", &["left.csv", "empty"]);
}

#[test]
fn one_column() {
    refused("name\nlamp\n", &["left.csv", "only one column, `name`"]);
}

#[test]
fn a_header_without_rows() {
    refused("id,name\n", &["left.csv", "no rows"]);
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
    for bytes in [windows, utf16] {
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
    }
}

#[test]
fn broken_quotes() {
    refused("id,name\n1,\"lamp\n2,tv\n", &["left.csv:2", "name", "quote", "close the quote"]);
}

#[test]
fn too_many_cells() {
    refused("id,name\n1,lamp\n2,tv,42\n", &["left.csv:3", "3 cells"]);
}

#[test]
fn duplicate_ids() {
    refused("id,name\n1,lamp\n1,tv\n", &["left.csv:3", "the id `1`", "line 2"]);
}

#[test]
fn a_cell_of_ten_megabytes() {
    refused(format!("id,name\n1,{}\n", "a".repeat(10 << 20)), &["left.csv:2", "name", "1048576"]);
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
    one_line(&assert, &["labels.csv:3", "left_id", "`9`"]);
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
    for label in ["2", "NaN", "yes", ""] {
        one_line(&eval(label).code(2), &["test.csv:4", "label"]);
    }
    eval("0").code(0);
}

/// Breaks a model and asks for it.
fn info(breaking: impl FnOnce(&Path)) -> Assert {
    let dir = tempfile::tempdir().unwrap();
    let model = model(dir.path());
    breaking(&model);
    let score = sverka(dir.path())
        .arg("score")
        .arg(&model)
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
    one_line(&cut, &["model.safetensors"]);
    let greedy = info(|model| {
        let path = model.join("model.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[..8].copy_from_slice(&(1u64 << 60).to_le_bytes());
        write(&path, bytes);
    });
    one_line(&greedy, &["model.safetensors"]);
    for (value, said) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
        let broken = info(|model| {
            let path = model.join("model.safetensors");
            let mut weights = read_safetensors(&path).unwrap();
            weights.0.get_mut("bert.encoder.layer.1.output.dense.weight").unwrap().data[70] = value;
            write_safetensors(&path, &weights, Storage::F32).unwrap();
        });
        let key = format!("bert.encoder.layer.1.output.dense.weight: value 70 is {said}");
        one_line(&broken, &["model.safetensors", &key]);
    }
    let gone = info(|model| std::fs::remove_file(model.join("model.safetensors")).unwrap());
    one_line(&gone, &["model.safetensors"]);
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
}

#[test]
fn a_newer_bundle() {
    let newer = info(|model| {
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
    std::fs::create_dir(dir.path().join("there")).unwrap();
    let export = sverka(dir.path()).arg("export").arg(&model).arg("there").assert().code(2);
    one_line(&export, &["there"]);
    for (out, part) in [("there", "there"), ("m.xlsx", "m.xlsx"), ("no/such/m.csv", "m.csv")] {
        let assert = sverka(dir.path())
            .args(["match", "left.csv", "right.csv", "--out", out, "--model"])
            .arg(&model)
            .assert()
            .code(2);
        one_line(&assert, &[part]);
    }
    assert!(names(&dir.path().join("there")).is_empty());
}

#[test]
#[cfg(target_os = "linux")]
fn no_disk_space() {
    let dir = tempfile::tempdir().unwrap();
    lists(dir.path());
    let model = model(dir.path());
    // a limit on the size of files fails a write as a full disk does
    let sverka_path = assert_cmd::cargo::cargo_bin("sverka");
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"";
    let assert = assert_cmd::Command::new("sh")
        .current_dir(dir.path())
        .args(["-c", script])
        .arg(&sverka_path)
        .args(["match", "left.csv", "right.csv", "--all", "--out", "m.csv", "--model"])
        .arg(&model)
        .assert()
        .code(2);
    one_line(&assert, &["write m.csv"]);
    assert_eq!(names(dir.path()), ["left.csv", "model", "right.csv", "tokenizer"]);
    let assert = assert_cmd::Command::new("sh")
        .current_dir(dir.path())
        .args(["-c", "exec \"$0\" \"$@\" > /dev/full"])
        .arg(&sverka_path)
        .arg("info")
        .arg(&model)
        .assert()
        .code(2);
    one_line(&assert, &["write -"]);
}
