//! ColBERT's folders of Stanford, PyLate and sentence-transformers: their scores, and what is written for Python.

mod require;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sverka::bundle::{self, Bundle, Export};
use sverka::index::colbert::{ColbertIndex, ColbertSearch, ColbertSettings, Effort, write_colbert};
use sverka::nn::{Device, Dtype};
use sverka::ranker::{LateEncoder, Retriever};
use sverka::{Input, List, Ranker};

#[derive(Deserialize)]
struct Expected {
    queries: Vec<String>,
    documents: Vec<String>,
    scores: Vec<Vec<f32>>,
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/colbert").join(name)
}

fn scores(dir: &Path, expected: &Expected) -> Vec<Vec<f32>> {
    let bundle = Bundle::open(dir, Some(Dtype::F32), Device::Cpu).unwrap();
    let candidates: Vec<Input> = expected.documents.iter().map(|d| Input::Text(d)).collect();
    let queries = expected.queries.iter().map(|query| Input::Text(query));
    let lists: Vec<List> = queries.map(|query| List { query, candidates: candidates.clone() }).collect();
    bundle.score(&lists).unwrap().into_iter().map(|list| list.into_iter().map(|s| s.value).collect()).collect()
}

#[test]
fn folders_of_three_programs_score_as_there_and_after_export_with_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["stanford", "pylate", "st"] {
        let text = std::fs::read_to_string(golden(name).join("scores.json")).unwrap();
        let expected: Expected = serde_json::from_str(&text).unwrap();
        let got = scores(&golden(name), &expected);
        for (got, wanted) in got.iter().flatten().zip(expected.scores.iter().flatten()) {
            assert!((got - wanted).abs() < 1e-4 * wanted.abs(), "{name}: {got}, Python {wanted}");
        }
        let out = dir.path().join(name);
        assert!(bundle::export(&golden(name), &out, Export::default()).unwrap().is_empty(), "nothing is lacking");
        assert_eq!(scores(&out, &expected), got, "{name}: written and read again");
    }
}

/// Needs a Python with sentence-transformers 6 or PyLate: `python3`, or the one that `SVERKA_PYTHON` names.
#[test]
fn python_gives_the_scores_of_what_is_exported() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["stanford", "pylate", "st"] {
        let out = dir.path().join(name);
        bundle::export(&golden(name), &out, Export::default()).unwrap();
        let python = std::env::var_os("SVERKA_PYTHON").unwrap_or("python3".into());
        let check = std::process::Command::new(python).arg(golden("make.py")).arg("check").arg(&out).output();
        let check = match check {
            Ok(check) if check.status.code() == Some(77) => {
                return require::skipped(
                    "python",
                    "Python has neither sentence-transformers 6 nor PyLate; set SVERKA_PYTHON",
                );
            }
            Ok(check) => check,
            Err(e) => return require::skipped("python", &format!("no Python ({e}); set SVERKA_PYTHON")),
        };
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
        let theirs: Vec<Vec<f32>> = serde_json::from_slice(&check.stdout).unwrap();
        let text = std::fs::read_to_string(golden(name).join("scores.json")).unwrap();
        let ours = scores(&out, &serde_json::from_str(&text).unwrap());
        assert_eq!(theirs.iter().flatten().count(), ours.iter().flatten().count());
        for (ours, theirs) in ours.iter().flatten().zip(theirs.iter().flatten()) {
            assert!((ours - theirs).abs() < 1e-4 * theirs.abs(), "{name}: {ours}, Python {theirs}");
        }
    }
}

#[test]
fn documents_are_encoded_ahead_without_their_signs() {
    let bundle = Bundle::open(&golden("stanford"), Some(Dtype::F32), Device::Cpu).unwrap();
    assert!(bundle.dual_encoder().is_none());
    let late = bundle.late_encoder().unwrap();
    let documents = late.encode_documents(&[Input::Text("чай, чай."), Input::Text("чай чай")]).unwrap();
    assert_eq!((late.dim(), documents.ends.clone()), (12, vec![0, 5, 10]));
    let queries = late.encode_queries(&[Input::Text("чай"), Input::Text("")]).unwrap();
    assert_eq!(queries.ends, [0, 16, 32], "filled up");
    let length = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
    assert!(documents.values.chunks(12).all(|v| (length(v) - 1.0).abs() < 1e-5));
}

#[test]
fn layers_that_are_not_known_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let copy = |out: &Path| {
        std::fs::create_dir_all(out.join("1_Dense")).unwrap();
        for from in [golden("pylate"), golden("pylate/1_Dense")] {
            for file in std::fs::read_dir(&from).unwrap().flatten().filter(|f| f.path().is_file()) {
                let to = out.join(file.path().strip_prefix(golden("pylate")).unwrap());
                std::fs::copy(file.path(), to).unwrap();
            }
        }
    };
    for (number, (file, from, to, part)) in [
        ("1_Dense/config.json", "\"bias\": false", "\"bias\": true", "config.json: bias"),
        ("1_Dense/config.json", "linear.Identity", "activation.Tanh", "activation_function"),
        ("modules.json", "pylate.models.Dense.Dense", "models.LSTM", "0 linear layers"),
        ("config_sentence_transformers.json", "[Q] ", "[QUERY]", "model.query_marker = [QUERY]"),
    ]
    .into_iter()
    .enumerate()
    {
        let out = dir.path().join(number.to_string());
        copy(&out);
        let text = std::fs::read_to_string(out.join(file)).unwrap();
        assert!(text.contains(from));
        std::fs::write(out.join(file), text.replace(from, to)).unwrap();
        let error = Bundle::open(&out, None, Device::Cpu).err().unwrap();
        assert!(error.is_user_error() && error.to_string().contains(part), "{error}");
    }
}

#[test]
fn an_index_of_texts_finds_what_the_model_scores_best() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = Bundle::open(&golden("pylate"), Some(Dtype::F32), Device::Cpu).unwrap();
    let words = ["чай", "монитор", "Acer", "100", "мл", "зелёный", "игровой", "25", "дюйм", "пакет"];
    let text =
        |at: usize| (0..3 + at % 5).map(|i| words[(at * (i + 3) + i) % words.len()]).collect::<Vec<_>>().join(" ");
    let texts: Vec<String> = (0..200).map(text).collect();
    let late = bundle.late_encoder().unwrap();
    write_colbert(dir.path(), &late, texts.iter().cloned().map(Ok), ColbertSettings::default(), &|_| ()).unwrap();
    let index = ColbertIndex::open(dir.path()).unwrap();
    assert_eq!(index.len(), 200);
    let search = ColbertSearch::new(index, bundle.clone(), Effort { probes: usize::MAX, decoded: 1024 }).unwrap();
    let queries = [Input::Text("чай зелёный"), Input::Text("")];
    let found = search.retrieve(&queries, 10).unwrap();
    for (query, hits) in queries.iter().zip(&found) {
        let list = List { query: *query, candidates: texts.iter().map(|t| Input::Text(t)).collect() };
        let mut exact: Vec<f32> = bundle.score(&[list]).unwrap().remove(0).iter().map(|s| s.value).collect();
        let near = |hit: &sverka::ranker::Hit| (hit.score - exact[hit.document as usize]).abs() < 0.1;
        assert!(hits.len() == 10 && hits.iter().all(near), "scores of 4 bits are near the exact ones");
        exact.sort_by(|a, b| b.total_cmp(a));
        assert!(
            hits[9].score > exact[9] - 0.2,
            "all lists were read, so only the bits lose: {} {}",
            hits[9].score,
            exact[9]
        );
    }
    let other =
        Bundle::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bert/rubert"), None, Device::Cpu)
            .unwrap();
    let error = ColbertSearch::new(ColbertIndex::open(dir.path()).unwrap(), other, Effort::default()).err().unwrap();
    assert!(error.is_user_error() && error.to_string().contains("no ColBERT"), "{error}");
}
