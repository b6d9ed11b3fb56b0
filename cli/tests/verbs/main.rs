//! What each verb does, with a model that was trained on nothing.
#[path = "../common/mod.rs"]
mod common;

mod boosting;
mod indexing;
mod matching;
mod measuring;
mod models;
mod quantizing;
mod recipes;
mod runs;
mod scoring;
mod states;
mod tokenizers;

use std::path::Path;

use common::*;
use serde_json::Value;
use sverka::bundle::Manifest;
use sverka::calibrate::{Threshold, ThresholdObjective};

/// A folder with the model and the pairs.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    pairs(dir.path());
    dir
}

/// Runs `match` and gives its answer and the lines of the file.
fn matched(dir: &Path, arguments: &[&str]) -> (Value, Vec<Value>) {
    let out = dir.join("m.jsonl");
    let assert = sverka(dir)
        .arg("match")
        .args(arguments)
        .args(["--json", "--out"])
        .arg(&out)
        .args(["--model", "model"])
        .assert();
    let answer = json(&stdout(&assert.code(0)));
    (answer, std::fs::read_to_string(out).unwrap().lines().map(json).collect())
}

/// The manifest of the model with another threshold.
fn set_threshold(model: &Path, value: f64) {
    let mut manifest = Manifest::read(model).unwrap().unwrap();
    let value = value as f32;
    manifest.threshold = Some(Threshold { value, goal: ThresholdObjective::F1, low: value, high: value });
    manifest.write(model).unwrap();
}

/// A DeepMatcher folder of the two lists, whose test split knows two matches, and a recipe of it and of the pairs.
fn recipe_of_two(dir: &Path) {
    lists(dir);
    pairs(dir);
    let shop = dir.join("shop");
    std::fs::create_dir(&shop).unwrap();
    std::fs::rename(dir.join("left.csv"), shop.join("tableA.csv")).unwrap();
    std::fs::rename(dir.join("right.csv"), shop.join("tableB.csv")).unwrap();
    write(&shop.join("train.csv"), "ltable_id,rtable_id,label\n3,c,1\n3,d,0\n");
    write(&shop.join("test.csv"), "ltable_id,rtable_id,label\n1,a,1\n2,e,1\n2,b,0\n");
    write(
        &dir.join("two.toml"),
        "name = \"two\"\nmodel.init = \"model\"\n[[data.sources]]\nname = \"shop\"\nfields = [\"name\"]\n\
         from = { format = \"deepmatcher\", dir = \"shop\" }\n[[data.sources]]\nname = \"pairs\"\n\
         from = { format = \"joined\", train = \"pairs/train.csv\", test = \"pairs/test.csv\" }\n",
    );
}
