//! `sverka tokenizer train`, `show` and `report`.

use std::path::Path;

use serde_json::Value;

use crate::common::*;

fn run(dir: &Path, arguments: &[&str]) -> Value {
    json(&stdout(&sverka(dir).arg("tokenizer").args(arguments).arg("--json").assert().code(0)))
}

/// A list of products with an article code each, and one with other codes.
fn products(dir: &Path) {
    for (name, start) in [("titles.csv", 1000), ("new.csv", 7000)] {
        let mut table = String::from("id,name,colour\n");
        for i in 0..300 {
            let code = start + i * 7;
            table += &format!("{i},Монитор Samsung S{code}A {}GB USB,{}\n", 8 << (i % 4), ["черный", "белый"][i % 2]);
        }
        write(&dir.join(name), table);
    }
}

#[test]
fn a_vocabulary_is_grown_shown_and_measured() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    products(dir);
    let grown =
        run(dir, &["train", "titles.csv", "--column", "name,colour", "--vocab-size", "300", "--out", "own/shop"]);
    assert_eq!((grown["texts"].as_u64(), grown["vocabulary"].as_u64()), (Some(600), Some(300)));
    assert_eq!(names(&dir.join("own/shop")), ["tokenizer.json", "tokenizer_config.json", "vocab.txt"]);
    one_line(
        &sverka(dir).args(["tokenizer", "train", "titles.csv", "--out", "own/shop"]).assert().code(2),
        &["own/shop: already exists"],
    );

    run(dir, &["train", "titles.csv", "--kind", "ngram-hash", "--vocab-size", "500", "--out", "own/ngrams"]);
    let shown = run(dir, &["show", "Черный <монитор>", "--with", "own/shop,own/ngrams", "--html", "cuts.html"]);
    let cuts = &shown["texts"][0]["cuts"];
    let tokens: Vec<&str> =
        cuts[0]["pieces"].as_array().unwrap().iter().map(|p| p["token"].as_str().unwrap()).collect();
    assert_eq!((tokens[0], tokens.last()), ("черный", Some(&"[UNK]")), "< and > were never seen");
    assert_eq!(cuts[1]["pieces"].as_array().unwrap().len(), 6 + 1 + 7 + 1);
    let page = std::fs::read_to_string(dir.join("cuts.html")).unwrap();
    assert!(page.contains(">черный</span>") && page.contains("&lt;монитор&gt;") && !page.contains("http"));
    let text = stdout(&sverka(dir).args(["tokenizer", "show", "черный", "--with", "own/shop"]).assert().code(0));
    assert!(text.contains("own/shop: 1 piece\n    черный\n"), "{text}");

    let report = run(dir, &["report", "own/shop", "--corpus", "titles.csv", "--held-out", "new.csv"]);
    let shop = &report["tokenizers"][0];
    assert_eq!((&shop["training"]["codes"], &shop["single_token_codes"]), (&300.into(), &0.0.into()));
    assert!(shop["gap"].as_f64() == Some(0.0) && shop["pieces_per_code"].as_f64().unwrap() > 2.0, "{shop}");
}

#[test]
fn a_vocabulary_that_learnt_codes_by_heart_ends_with_3_and_a_smaller_one_is_advised() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    products(dir);
    let large = ["train", "titles.csv", "--vocab-size", "2000", "--min-frequency", "1", "--out", "large"];
    run(dir, &large);
    let gate = ["tokenizer", "report", "large", "--corpus", "titles.csv", "--max-single-token-codes", "0.1"];
    let ended = sverka(dir).args(gate).assert().code(3);
    assert!(stderr(&ended).contains("large: 1.0000 of the corpus' 300 codes are one token"), "{}", stderr(&ended));
    let answer = json(&stdout(&sverka(dir).args(gate).arg("--json").assert().code(3)));
    assert_eq!(answer["passed"], false);
    let sizes = ["report", "--sizes", "200,2000,300", "--min-frequency", "1", "--corpus", "titles.csv", "--held-out"];
    let swept = run(dir, &[&sizes[..], &["new.csv", "--html", "sizes.html", "--max-rare", "1"]].concat());
    let of = |i: usize, key: &str| swept["tokenizers"][i][key].as_f64().unwrap();
    assert_eq!((of(0, "vocabulary"), of(1, "vocabulary")), (200.0, 300.0));
    assert!(of(2, "single_token_codes") > 0.9 && of(2, "gap_fresh") > 0.5 && of(2, "single_token_codes_fresh") < 0.1);
    assert!(of(0, "fertility") > of(2, "fertility"));
    assert_eq!(swept["advised"]["vocabulary"], 300);
    let page = std::fs::read_to_string(dir.join("sizes.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("<polyline") && page.contains("300 pieces"), "no plot");
}

#[test]
fn what_is_wrong_with_a_corpus_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    products(dir);
    write(&dir.join("blank.txt"), "  \n\n");
    write(&dir.join("empty.txt"), "");
    let mut bad = "черный чай\n".repeat(50).into_bytes();
    bad.extend(b"caf\xe9\n");
    write(&dir.join("bad.txt"), bad);
    for (arguments, parts) in [
        (&["blank.txt"][..], &["has no text: nothing to learn"][..]),
        (&["empty.txt"], &["empty.txt: the file is empty"]),
        (&["bad.txt"], &["bad.txt:51: byte 4 of the line is not UTF-8", "--skip-bad-rows"]),
        (&["titles.csv", "--column", "title"], &["no column `title`", "id, name, colour"]),
        (&["titles.csv", "--vocab-size", "20"], &["--vocab-size = 20", "alphabet"]),
        (&["titles.csv", "--ngrams", "6-3", "--kind", "ngram-hash"], &["--ngrams = 6-3"]),
        (&["none.csv"], &["none.csv", "check the name"]),
    ] {
        let ended = sverka(dir).args(["tokenizer", "train", "--out", "out"]).args(arguments).assert().code(2);
        one_line(&ended, parts);
        assert!(!dir.join("out").exists());
    }
    let grown = run(dir, &["train", "bad.txt", "--skip-bad-rows", "--out", "out"]);
    assert_eq!((&grown["skipped"], &grown["texts"]), (&1.into(), &50.into()));
    assert!(grown["notes"].to_string().contains("bad.txt:51") && grown["notes"].to_string().contains("of 8000 pieces"));
    one_line(
        &sverka(dir).args(["tokenizer", "report", "--corpus", "titles.csv"]).assert().code(2),
        &["name folders with a tokenizer"],
    );
}
