//! The example lists are hard enough to need a model; how far the bundled matcher gets on them.
mod common;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use common::*;
use sverka::Record;
use sverka::data::{ReadOptions, read_table};
use sverka::index::Bm25;

/// What the bundled matcher must reach on the examples: it reached .741 when it first saw them, and they are not changed for it.
const LEAST_F1: f64 = 0.73;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn records(file: &str) -> Vec<Record> {
    read_table(&examples().join(file), &ReadOptions::default()).unwrap().0.records
}

fn text(record: &Record) -> String {
    record.values.join(" ")
}

/// The three-character windows of a text, without case and with single spaces.
fn trigrams(text: &str) -> HashSet<[char; 3]> {
    let text = text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    let letters: Vec<char> = format!(" {text} ").chars().collect();
    letters.array_windows().copied().collect()
}

/// The best F1 over all thresholds, of `matches` true pairs in all.
fn best_f1(mut scored: Vec<(f64, bool)>, matches: usize) -> f64 {
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut right, mut best) = (0, 0.0f64);
    for (i, (score, is_match)) in scored.iter().enumerate() {
        right += usize::from(*is_match);
        if scored.get(i + 1).is_none_or(|next| next.0 < *score) {
            best = best.max(2.0 * right as f64 / (i + 1 + matches) as f64);
        }
    }
    best
}

#[test]
fn the_best_threshold_is_found() {
    let scored = vec![(0.9, true), (0.5, false), (0.5, true), (0.1, true), (0.0, false)];
    assert_eq!(best_f1(scored, 4), 6.0 / 8.0);
}

#[test]
fn trigrams_in_common_do_not_match_the_examples() {
    let (left, right) = (records("left.csv"), records("right.csv"));
    // the truth's first column is an id like any other
    let truth: HashSet<(String, String)> =
        records("truth.csv").into_iter().map(|mut pair| (pair.id, pair.values.remove(0))).collect();
    assert!(left.len() > 300 && truth.len() > 150 && truth.iter().all(|(_, r)| right.iter().any(|of| of.id == *r)));
    let index = Bm25::build(right.iter().map(text)).unwrap();
    let rights: Vec<HashSet<[char; 3]>> = right.iter().map(|r| trigrams(&text(r))).collect();
    let names: Vec<HashSet<[char; 3]>> = right.iter().map(|r| trigrams(&r.values[0])).collect();
    let (mut of_texts, mut of_names, mut proposed) = (Vec::new(), Vec::new(), 0);
    for record in &left {
        let (whole, name) = (trigrams(&text(record)), trigrams(&record.values[0]));
        for (row, _) in index.top(&text(record), 10).unwrap() {
            let row = row as usize;
            let is_match = truth.contains(&(record.id.clone(), right[row].id.clone()));
            let jaccard = |a: &HashSet<_>, b: &HashSet<_>| a.intersection(b).count() as f64 / a.union(b).count() as f64;
            of_texts.push((jaccard(&whole, &rights[row]), is_match));
            of_names.push((jaccard(&name, &names[row]), is_match));
            proposed += usize::from(is_match);
        }
    }
    assert!(proposed as f64 > 0.95 * truth.len() as f64, "{proposed} of {} are candidates", truth.len());
    let (texts, names) = (best_f1(of_texts, truth.len()), best_f1(of_names, truth.len()));
    println!("best F1 of trigram Jaccard: whole records {texts:.3}, names {names:.3}; {proposed} of {}", truth.len());
    assert!(texts <= 0.75 && names <= 0.75, "too easy: {texts:.3} on whole records, {names:.3} on names");
    assert!(texts > 0.3, "{texts:.3}: this measures nothing");
}

#[test]
fn the_bundled_matcher_matches_the_examples() {
    let root = examples().join("..");
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("m.csv");
    let files = ["examples/left.csv", "examples/right.csv", "--labels", "examples/truth.csv"];
    let assert = sverka(&root).arg("match").args(files).args(["--json", "--out"]).arg(&out).assert().code(0);
    let answer: serde_json::Value = serde_json::from_str(&stdout(&assert)).unwrap();
    // truth.csv holds matches only, and every match: whatever else is accepted is wrong, though it has no label
    let f1 = answer["labels"]["assuming_complete"]["f1"].as_f64().unwrap();
    assert!(f1 >= LEAST_F1, "F1 {f1:.3}: {answer}");
}

/// Goods in alphabets that the matcher has not learnt: each left one is like a right one but for its colour.
#[test]
fn no_pair_in_a_script_that_the_matcher_has_not_learnt_is_accepted() {
    let lists: [(&str, [&str; 2], [&str; 2]); 5] = [
        (
            "Greek",
            ["Καρέκλα ξύλινη κόκκινη 45 cm", "Φωτιστικό δαπέδου μαύρο"],
            ["Καρέκλα ξύλινη μπλε 45 cm", "Φωτιστικό οροφής μαύρο"],
        ),
        ("Hebrew", ["כיסא עץ אדום", "מנורת רצפה שחורה"], ["כיסא עץ כחול", "מנורת תקרה שחורה"]),
        ("Thai", ["เก้าอี้ไม้สีแดง", "โคมไฟตั้งพื้นสีดำ"], ["เก้าอี้ไม้สีฟ้า", "โคมไฟเพดานสีดำ"]),
        ("Georgian", ["სკამი ხის წითელი", "იატაკის სანათი შავი"], ["სკამი ხის ლურჯი", "ჭერის სანათი შავი"]),
        ("Tamil", ["சிவப்பு மர நாற்காலி", "கருப்பு தரை விளக்கு"], ["நீல மர நாற்காலி", "கருப்பு கூரை விளக்கு"]),
    ];
    for (script, left, right) in lists {
        let dir = tempfile::tempdir().unwrap();
        let table = |names: [&str; 2]| format!("id,name\n1,{}\n2,{}\n", names[0], names[1]);
        write(&dir.path().join("l.csv"), table(left));
        write(&dir.path().join("r.csv"), table(right));
        let assert = sverka(dir.path()).args(["match", "l.csv", "r.csv", "--out", "m.csv", "--json"]).assert().code(0);
        let answer: serde_json::Value = serde_json::from_str(&stdout(&assert)).unwrap();
        assert!(answer["pairs"].as_u64().unwrap() > 0, "{script}: {answer}");
        assert_eq!(
            (&answer["accepted"], &answer["unreadable_pairs"]),
            (&0.into(), &answer["pairs"]),
            "{script}: {answer}"
        );
        assert!(
            stderr(&assert).contains("can't read") || answer["notes"].to_string().contains("can't read"),
            "{script}"
        );
    }
}
