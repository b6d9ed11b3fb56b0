// for `tests/demo_words.rs`: no words of the library below this line
#[cfg(test)]
use std::sync::Arc;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;

fn index(texts: &[&str]) -> Bm25 {
    Bm25::build(texts.iter().map(|t| t.to_string())).unwrap()
}
fn rows(index: &Bm25, text: &str, k: usize) -> Vec<u32> {
    index.top(text, k).unwrap().into_iter().map(|(row, _)| row).collect()
}

#[test]
fn the_row_with_the_code_comes_first() {
    let index = index(&["sony camera black", "sony dsc-w120/b camera", "sony dscw130 camera"]);
    assert_eq!(rows(&index, "camera DSCW120B", 2)[0], 1);
    assert_eq!(rows(&index, "DSC W120", 3)[0], 1);
}

#[test]
fn inflections_and_glued_words_are_bridged() {
    let index = index(&["чистка ковров", "Огнебиозащита для древесины, 0,5 л", "кондиционер для белья"]);
    assert_eq!(rows(&index, "ОгнебиозащитадлядревесиныProsept", 1), [1]);
    assert_eq!(rows(&index, "чистки ковра", 1), [0]);
    assert_eq!(rows(&index, "500мл", 1), [1]);
}

#[test]
fn syntax_is_text() {
    let index = index(&["a AND b", "cat\" OR (dog", "-x:* ~ ^2 [1 TO 3]"]);
    assert_eq!(rows(&index, "OR (dog\"", 1), [1]);
    assert_eq!(rows(&index, "[1 TO 3] ^2 -x:*", 1), [2]);
    assert!(rows(&index, "words:*", 3).is_empty());
}

#[test]
fn equal_rows_get_equal_scores_in_row_order() {
    let index = index(&["red lamp 40w", "blue lamp 60w", "red lamp 40w", "red lamp 40w"]);
    let top = index.top("lamp red 40 w", 3).unwrap();
    assert_eq!(top.iter().map(|t| t.0).collect::<Vec<_>>(), [0, 2, 3]);
    assert!(top.iter().all(|t| t.1.to_bits() == top[0].1.to_bits()));
}

fn records(rows: &[(&str, &str)]) -> Vec<Record> {
    let columns: Arc<[String]> = ["name".to_string()].into();
    let record = |(id, name): &(&str, &str)| Record {
        id: id.to_string(),
        columns: columns.clone(),
        values: vec![name.to_string()],
    };
    rows.iter().map(record).collect()
}

#[test]
fn a_tie_at_place_k_goes_by_id_whatever_the_order_of_the_list() {
    let mut list = records(&[("d", "red lamp"), ("b", "red lamp"), ("c", "blue lamp"), ("a", "red lamp")]);
    let ids = |list: &[Record], k: usize| -> Vec<(String, u32)> {
        let index = Bm25::of_records(list, &Bm25Settings::default(), &TextConfig::default()).unwrap();
        let hits = index.retrieve(&[Input::Text("red lamp")], k).unwrap().remove(0);
        hits.iter().map(|hit| (list[hit.document as usize].id.clone(), hit.score.to_bits())).collect()
    };
    let expected = ids(&list, 2);
    assert_eq!(expected.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    for _ in 0..list.len() {
        list.rotate_left(1);
        assert_eq!(ids(&list, 2), expected);
    }
}

#[test]
fn what_is_cut_off_keeps_no_memory() {
    let index = index(&vec!["red lamp"; 5000]);
    assert!(index.top("red lamp", 3).unwrap().capacity() < 100);
}

#[test]
fn nothing_in_nothing_out() {
    let none = index(&[]);
    assert!(none.is_empty() && rows(&none, "lamp", 5).is_empty());
    let blank = index(&["", " ", "?!"]);
    assert_eq!(blank.len(), 3);
    assert!(rows(&blank, "lamp", 5).is_empty());
    let index = index(&["", "lamp"]);
    assert_eq!(rows(&index, "lamp", 5), [1]);
    assert!(rows(&index, "", 5).is_empty() && rows(&index, " -- ", 5).is_empty());
    assert!(rows(&index, "lamp", 0).is_empty());
}

#[test]
fn many_texts_at_once_give_what_each_gives() {
    let index = index(&["red lamp", "blue lamp", "green chair"]);
    let texts = ["lamp", "", "chair green"].map(String::from);
    let all = index.top_all(&texts, 2).unwrap();
    for (text, top) in texts.iter().zip(all) {
        assert_eq!(top, index.top(text, 2).unwrap());
    }
}

#[test]
fn lengths_are_those_of_lucene() {
    assert_eq!([0, 23, 24, 40, 41, 255].map(length), [0, 23, 24, 40, 42, 2_013_265_944]);
    for byte in 0..=255u8 {
        assert_eq!(byte_of(length(byte) as usize), byte);
    }
    assert_eq!([41, 43, 1 << 40].map(byte_of), [40, 41, 255]);
}

/// Scores by the formula alone.
fn scores(texts: &[String], query: &str, settings: &Bm25Settings) -> Vec<f64> {
    let fields = |text: &String| {
        let (terms, _) = settings.analysis.of_document(text);
        let (words, trigrams): (Vec<u64>, Vec<u64>) = terms.into_iter().partition(|hash| hash & 1 == 0);
        [words, trigrams]
    };
    let documents: Vec<[Vec<u64>; 2]> = texts.iter().map(fields).collect();
    let rows = texts.len() as f64;
    let (k1, b) = (f64::from(settings.k1), f64::from(settings.b));
    let mut sums = vec![0.0; texts.len()];
    for (hash, count) in settings.analysis.of_query(query) {
        let field = (hash & 1) as usize;
        let tokens: usize = documents.iter().map(|d| d[field].len()).sum();
        let having = documents.iter().filter(|d| d[field].contains(&hash)).count() as f64;
        let weight = [1.0, 0.1][field] * f64::from(count) * (1.0 + (rows - having + 0.5) / (having + 0.5)).ln();
        for (sum, document) in sums.iter_mut().zip(&documents) {
            let tf = document[field].iter().filter(|h| **h == hash).count() as f64;
            let length = f64::from(length(byte_of(document[field].len())));
            let norm = k1 * (1.0 - b + b * length * rows / tokens as f64);
            *sum += weight * (k1 + 1.0) * if tf > 0.0 { tf / (tf + norm) } else { 0.0 };
        }
    }
    sums
}

/// A list of some words again and again, and codes.
fn made(rows: usize) -> Vec<String> {
    let kinds = ["лак краска", "sony camera", "краска", "usb cable usb", "порошок", "led lamp"];
    let text = |i: usize| format!("{} {} kx-{} {} мл", kinds[i % 6], kinds[i * 7 % 5], i / 3, i % 7 * 50);
    (0..rows).map(text).collect()
}

#[test]
fn scores_are_those_of_the_formula_in_memory_and_in_files() {
    let texts = made(700);
    for settings in
        [Bm25Settings::default(), Bm25Settings::text(), Bm25Settings { k1: 0.0, b: 0.0, ..Default::default() }]
    {
        let dir = tempfile::tempdir().unwrap();
        Bm25::write(dir.path(), texts.iter().cloned(), &settings).unwrap();
        let index = Bm25::open(dir.path()).unwrap();
        assert_eq!((index.len(), index.settings()), (700, &settings));
        for query in ["краска kx-77 50мл usb", "lamp", "camera sony kx-1 kx-2", "порошк"] {
            let expected = scores(&texts, query, &settings);
            let mut best: Vec<f64> = expected.iter().copied().filter(|s| *s > 0.0).collect();
            best.sort_by(|a, b| b.total_cmp(a));
            let found = index.top(query, 12).unwrap();
            assert_eq!(found.len(), best.len().min(12), "{query}");
            for ((row, score), best) in found.into_iter().zip(best) {
                assert!((f64::from(score) - best).abs() < 1e-4, "{query}: {score} {best}");
                assert!((f64::from(score) - expected[row as usize]).abs() < 1e-4, "{query}: row {row}");
            }
        }
    }
}

#[test]
fn the_best_rows_are_those_of_reading_every_row_whatever_the_blocks() {
    // three blocks, with words that all rows have and rows that are equal
    let texts = made(40_000);
    let mut builder = Bm25Builder::new(None, Bm25Settings::default()).unwrap();
    builder.extend(texts.iter().cloned().map(Ok), |_| ()).unwrap();
    let order: Vec<u32> = (0..40_000u32).map(|row| row * 7 % 40_000).collect();
    let index = builder.finish(Some(&order)).unwrap();
    let long = texts[..300].join(" ");
    let asked = texts.iter().step_by(9001).map(String::as_str).chain(["usb", "kx-4001 usb usb", "порошк", &long]);
    for text in asked {
        for k in [1, 300] {
            assert_eq!(index.top(text, k).unwrap(), search::of_all_rows(&index, text, k), "{text}");
        }
    }
    assert_eq!(index.top("sony kx-1", 100_000).unwrap().len(), search::of_all_rows(&index, "sony kx-1", 100_000).len());
}

#[test]
fn rows_that_are_looked_up_get_what_reading_every_list_gives() {
    // words of every frequency, some many times in a row: few rows of a block can be among the best, and common words are looked up for these
    let mut draw = ChaCha8Rng::seed_from_u64(5);
    let mut row = |_| {
        let mut word = || format!("w{}", (400.0 * draw.random::<f64>().powi(3)) as u32);
        let mut words: Vec<String> = (0..9).map(|_| word()).collect();
        words.extend(vec![words[0].clone(); draw.random_range(0..7)]);
        words.join(" ")
    };
    let texts: Vec<String> = (0..50_000).map(&mut row).collect();
    let index = Bm25::build(texts.iter().cloned()).unwrap();
    for text in texts.iter().step_by(2503) {
        for k in [1, 10] {
            assert_eq!(index.top(text, k).unwrap(), search::of_all_rows(&index, text, k), "{text}");
        }
    }
}

#[test]
fn damaged_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    Bm25::write(dir.path(), made(50).into_iter(), &Bm25Settings::default()).unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let error = Bm25::open(dir.path()).err().unwrap().to_string();
        assert!(error.contains("build the index again"), "{}: {error}", path.display());
        std::fs::write(&path, whole).unwrap();
    }
    Bm25::open(dir.path()).unwrap();
    let header = dir.path().join(HEADER);
    let text = std::fs::read_to_string(&header).unwrap().replace("\"version\": 1", "\"version\": 7");
    std::fs::write(&header, text).unwrap();
    assert!(Bm25::open(dir.path()).err().unwrap().to_string().contains("version 7"));
}

#[test]
fn settings_that_mean_nothing_are_refused() {
    for (k1, b, part) in [(-1.0, 0.5, "k1"), (f32::NAN, 0.5, "k1"), (1.0, 1.1, "b = 1.1")] {
        let settings = Bm25Settings { k1, b, ..Default::default() };
        assert!(settings.check().unwrap_err().to_string().contains(part));
    }
}
