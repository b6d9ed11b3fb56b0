//! What a look inside shows is what transformers computes: `tests/golden/attention/expected.json`, made by the `make.py` in its folder.

mod require;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sverka::Input;
use sverka::inspect::{LayerTexts, Network, Query, early_exit, layers, neurons};

/// How far a weight may be from transformers'.
const TOLERANCE: f32 = 1e-5;

#[derive(Deserialize)]
struct Case {
    folder: PathBuf,
    texts: Vec<String>,
    ids: Vec<u32>,
    /// Tokens whose attention is given.
    rows: Vec<usize>,
    /// By layer, head and row.
    attention: Vec<Vec<Vec<Vec<f32>>>>,
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    distance: f64,
    entropy: f64,
    to_special: f64,
    similarity_to_input: f64,
    cells: Vec<f32>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn cases() -> BTreeMap<String, Case> {
    let text = std::fs::read_to_string(root().join("tests/golden/attention/expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The case's network; files of `tests/golden/checkpoints` that several cases share are copied to it.
fn network(case: &Case) -> Option<(Network, Option<tempfile::TempDir>)> {
    let folder = root().join(&case.folder);
    if !folder.is_dir() {
        require::skipped("weights", &format!("{} is not there; run scripts/weights", case.folder.display()));
        return None;
    }
    let shared = root().join("tests/golden/checkpoints");
    if !folder.starts_with(&shared) {
        return Some((Network::open(&folder).unwrap(), None));
    }
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap()) {
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let all: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(shared.join("expected.json")).unwrap()).unwrap();
    let name = folder.file_name().unwrap().to_str().unwrap();
    for (file, of) in all["cases"][name]["files"].as_object().unwrap() {
        std::fs::copy(shared.join("shared").join(of.as_str().unwrap()), copy.path().join(file)).unwrap();
    }
    Some((Network::open(copy.path()).unwrap(), Some(copy)))
}

#[test]
fn every_weight_is_transformers() {
    let mut compared = 0;
    for (name, case) in cases() {
        let Some((network, _folder)) = network(&case) else { continue };
        let inputs: Vec<Input> = case.texts.iter().map(|text| Input::Text(text)).collect();
        let encoding = network.encode(&inputs).unwrap();
        assert_eq!(encoding.ids, case.ids, "{name}");
        let attention = network.attention(&encoding).unwrap();
        assert_eq!((attention.layers, attention.tokens), (case.attention.len(), case.ids.len()), "{name}");
        for (layer, heads) in case.attention.iter().enumerate() {
            assert_eq!(attention.heads, heads.len(), "{name}");
            for (head, rows) in heads.iter().enumerate() {
                for (expected, row) in rows.iter().zip(&case.rows) {
                    for (got, expected) in attention.row(layer, head, *row).iter().zip(expected) {
                        let place = format!("{name}, layer {layer}, head {head}, token {row}");
                        assert!((got - expected).abs() < TOLERANCE, "{place}: {got}, transformers {expected}");
                        compared += 1;
                    }
                }
            }
        }
        let special = network.special(&encoding);
        for (layer, expected) in case.layers.iter().enumerate() {
            let mean = |of: &dyn Fn(usize) -> f64| (0..attention.heads).map(of).sum::<f64>() / attention.heads as f64;
            let distance = mean(&|head| attention.distance(layer, head, &special).unwrap());
            let entropy = mean(&|head| attention.entropy(layer, head));
            let to_special = mean(&|head| attention.to_special(layer, head, &special).unwrap());
            for (what, got, expected) in [
                ("distance", distance, expected.distance),
                ("entropy", entropy, expected.entropy),
                ("special", to_special, expected.to_special),
            ] {
                assert!((got - expected).abs() < 1e-4, "{name}, layer {layer}, {what}: {got}, torch {expected}");
            }
        }
    }
    assert!(compared > 500, "only {compared} weights were compared");
}

#[test]
fn the_report_of_layers_and_cells_has_torchs_numbers() {
    for (name, case) in cases().into_iter().filter(|(_, case)| case.texts.len() == 1 || case.folder.ends_with("rubert"))
    {
        let Some((network, _folder)) = network(&case) else { continue };
        let inputs: Vec<Input> = case.texts.iter().map(|text| Input::Text(text)).collect();
        let encoding = network.encode(&inputs).unwrap();
        let first = network.special(&encoding).iter().position(|special| !special).unwrap();
        for (layer, expected) in case.layers.iter().enumerate() {
            let query = Query { token: first, layer: Some(layer), cells: usize::MAX, texts: 1 };
            let found = neurons(&network, &encoding, query, &[], &|_| ()).unwrap();
            for (number, expected) in expected.cells.iter().enumerate() {
                let got = found.cells.iter().find(|cell| cell.cell == number).unwrap().activation;
                assert!(
                    (got - expected).abs() < 1e-4 * expected.abs().max(1.0),
                    "{name}, cell {number}: {got} {expected}"
                );
            }
            assert!(found.cells.is_sorted_by(|a, b| a.strength >= b.strength), "{name}: the strongest first");
        }
        if case.texts.len() > 1 {
            continue;
        }
        let texts = [LayerTexts { text: case.texts[0].clone(), brand: None }];
        let report = layers(&network, &texts, &|_| ()).unwrap();
        assert_eq!(report.layers.len(), case.layers.len() + 1, "{name}");
        for (got, expected) in report.layers[1..].iter().zip(&case.layers) {
            for (got, expected) in [
                (got.distance.unwrap(), expected.distance),
                (got.entropy.unwrap(), expected.entropy),
                (got.to_special.unwrap(), expected.to_special),
                (got.similarity_to_input, expected.similarity_to_input),
            ] {
                assert!((got - expected).abs() < 1e-4, "{name}, state {}: {got}, torch {expected}", got);
            }
        }
    }
}

#[test]
fn cells_find_the_texts_that_excite_them_and_probes_read_what_is_there() {
    let all = cases();
    let (network, _folder) = network(&all["rubert"]).unwrap();
    let encoding = network.encode(&[Input::Text("monitor")]).unwrap();
    let corpus: Vec<String> = ["chair", "monitor", "table lamp 24"].map(String::from).into();
    let query = Query { token: 1, layer: None, cells: 4, texts: 3 };
    let found = neurons(&network, &encoding, query, &corpus, &|_| ()).unwrap();
    assert_eq!((found.cells.len(), found.texts), (4, 3));
    for cell in &found.cells {
        assert!(cell.excited.is_sorted_by(|a, b| a.activation >= b.activation));
        let own = cell.excited.iter().find(|place| place.text == "monitor").unwrap();
        assert!(own.activation >= cell.activation - 1e-4, "the text itself excites its cell as much");
    }
    let missing = Query { layer: Some(99), ..query };
    assert!(neurons(&network, &encoding, missing, &corpus, &|_| ()).unwrap_err().is_user_error());
    // pairs of equal texts against pairs of others: nothing is there at the embedding of [CLS], which never changes
    let words = ["monitor", "chair", "lamp", "24", "black", "inch"];
    let pairs: Vec<[Input; 2]> = (0..72)
        .map(|i| [Input::Text(words[i % 6]), Input::Text(words[if i % 4 < 2 { i % 6 } else { (i / 4) % 6 }])])
        .collect();
    let labels: Vec<bool> = (0..72).map(|i| i % 4 < 2).collect();
    let exits = early_exit(&network, &pairs, &labels, &|_| ()).unwrap();
    assert_eq!((exits.auc[0], exits.pairs), (Some(0.5), 72));
    assert_eq!(exits.auc.len(), network.config().num_hidden_layers + 1);
}

/// The claim of the textbooks on a real model: high layers change a token more than low ones, and a token's spelling is read best low.
#[test]
fn high_layers_are_farther_from_the_input_than_low_ones() {
    let folder = root().join("weights/minilm");
    if !folder.is_dir() {
        require::skipped("weights", "weights/minilm is not there; run scripts/weights");
        return;
    }
    let network = Network::open(&folder).unwrap();
    let texts: Vec<LayerTexts> =
        ["sony camera dsc-w120 black 7.2 mp", "lg 42 inch lcd tv 42lg50", "clay paint 500 ml white"]
            .map(|text| LayerTexts { text: text.into(), brand: None })
            .into();
    let report = layers(&network, &texts, &|_| ()).unwrap();
    let similar: Vec<f64> = report.layers.iter().map(|layer| layer.similarity_to_input).collect();
    assert!(similar.is_sorted_by(|a, b| a > b), "{similar:?}");
    let distance = |layer: usize| report.layers[layer].distance.unwrap();
    assert!(distance(2) < distance(6), "{} {}", distance(2), distance(6));
}
