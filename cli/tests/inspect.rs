//! `sverka attention`, `layers`, `neurons` and `vectors`: what they print, and what a browser draws of the attention page.
mod common;
#[path = "../../tests/require/mod.rs"]
mod require;

use std::path::Path;
use std::process::Command;

use common::*;
use serde_json::Value;

const LEFT: &str = "sony camera w120 black";
const RIGHT: &str = "camera </script> sony";

fn answer(dir: &Path, arguments: &[&str]) -> Value {
    json(&stdout(&sverka(dir).args(arguments).arg("--json").assert().code(0)))
}

#[test]
fn attention_prints_a_map_a_row_and_numbers() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    let all = answer(dir.path(), &["attention", "model", LEFT, RIGHT]);
    let tokens = all["tokens"].as_array().unwrap().len();
    assert_eq!((all["layers"].as_u64(), all["heads"].as_u64()), (Some(2), Some(2)));
    let weights: Vec<Vec<Vec<Vec<f64>>>> = serde_json::from_value(all["weights"].clone()).unwrap();
    for row in weights.iter().flatten().flatten() {
        assert_eq!(row.len(), tokens);
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-5);
    }
    let one = answer(dir.path(), &["attention", "model", LEFT, RIGHT, "--layer", "2", "--head", "1"]);
    assert_eq!(one["weights"][0][0], all["weights"][1][0]);
    let text = stdout(&sverka(dir.path()).args(["attention", "model", LEFT]).assert().code(0));
    assert!(text.contains("mean of 2 layers and 2 heads") && text.contains("camera│"), "{text}");
    let row = stdout(&sverka(dir.path()).args(["attention", "model", LEFT, "--token", "camera"]).assert().code(0));
    assert!(row.starts_with("camera (token 2) looks at, mean"), "{row}");
    for (arguments, part) in [
        (&["attention", "model", LEFT, "--layer", "3"][..], "--layer = 3: the model has 1 to 2"),
        (&["attention", "model", LEFT, "--head", "0"], "--head = 0: the model has 1 to 2"),
        (&["attention", "model", LEFT, "--token", "tv"], "is no token of the text; its tokens are [CLS] sony"),
        (&["attention", "nowhere", LEFT], "nowhere"),
    ] {
        one_line(&sverka(dir.path()).args(arguments).assert().code(2), &[part]);
    }
}

/// A browser, if there is one.
fn browser() -> Option<String> {
    let named = std::env::var("CHROMIUM").ok();
    let names = named.into_iter().chain(["chromium", "chromium-browser", "google-chrome"].map(String::from));
    let found =
        names.into_iter().find(|name| Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success()));
    if found.is_none() {
        require::skipped("browser", "no Chromium on this machine; run scripts/browser");
    }
    found
}

/// The value of an attribute of a drawn line.
fn attribute<'a>(line: &'a str, name: &str) -> &'a str {
    let (_, rest) = line.split_once(&format!(" {name}=\"")).unwrap_or_else(|| panic!("{name}: {line}"));
    rest.split('"').next().unwrap()
}

#[test]
fn a_browser_draws_every_weight_as_it_is() {
    let Some(browser) = browser() else { return };
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    let all = answer(dir.path(), &["attention", "model", LEFT, RIGHT, "--html", "page.html"]);
    let weights: Vec<Vec<Vec<Vec<f64>>>> = serde_json::from_value(all["weights"].clone()).unwrap();
    let (page, tokens) = (dir.path().join("page.html"), all["tokens"].as_array().unwrap());
    for layer in 1..=2 {
        let run = Command::new(&browser)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom", "--virtual-time-budget=2000"])
            .arg(format!("--user-data-dir={}", dir.path().join("profile").display()))
            .arg(format!("file://{}#layer={layer}&min=0", page.display()))
            .output()
            .unwrap();
        let dom = String::from_utf8_lossy(&run.stdout);
        let lines: Vec<&str> = dom.split("<line ").skip(1).map(|line| line.split('>').next().unwrap()).collect();
        assert_eq!(
            lines.len(),
            2 * tokens.len() * tokens.len(),
            "layer {layer}: {}",
            String::from_utf8_lossy(&run.stderr)
        );
        for line in lines {
            let line = format!(" {line}");
            let at = |name: &str| attribute(&line, name).parse::<usize>().unwrap();
            assert_eq!(at("data-layer"), layer);
            let expected = weights[layer - 1][at("data-head") - 1][at("data-from")][at("data-to")];
            let drawn: f64 = attribute(&line, "stroke-opacity").parse().unwrap();
            assert!((drawn - expected).abs() < 1e-5, "{line}: {expected}");
        }
        let shown = dom.matches("<canvas").count();
        assert_eq!(shown, 4, "a map for each layer and head");
    }
}

#[test]
fn layers_and_neurons_report() {
    let dir = tempfile::tempdir().unwrap();
    model(dir.path());
    lists(dir.path());
    pairs(dir.path());
    let report = answer(dir.path(), &["layers", "model", "--texts", "left.csv", "--pairs", "pairs"]);
    assert_eq!(report["layers"].as_array().unwrap().len(), 3);
    assert_eq!((report["texts"].as_u64(), report["layers"][0]["similarity_to_input"].as_f64()), (Some(4), Some(1.0)));
    assert_eq!(report["early_exit"]["auc"][0], 0.5, "the first token's embedding is the same in every pair");
    let text = stdout(&sverka(dir.path()).args(["layers", "model", "--texts", "left.csv"]).assert().code(0));
    assert!(text.starts_with("4 texts, ") && text.contains("distance"), "{text}");
    let asked = ["neurons", "model", LEFT, "--token", "camera", "--corpus", "right.csv", "--cells", "2", "--top", "3"];
    let found = answer(dir.path(), &asked);
    assert_eq!((found["token"].as_str(), found["cells"].as_array().unwrap().len()), (Some("camera"), 2));
    assert_eq!(found["cells"][0]["excited"].as_array().unwrap().len(), 3);
    write(&dir.path().join("empty.txt"), "\n");
    let empty = ["layers", "model", "--texts", "empty.txt"];
    one_line(&sverka(dir.path()).args(empty).assert().code(2), &["empty.txt"]);
}

#[test]
fn vectors_are_trained_written_and_looked_up() {
    let dir = tempfile::tempdir().unwrap();
    let text: String = (0..400).map(|i| ["кран вода труба вода\n", "экран монитор кабель экран\n"][i % 2]).collect();
    write(&dir.path().join("texts.txt"), text);
    for (kind, out) in [("skipgram", "a.vec"), ("cbow", "b.bin"), ("fasttext", "c.bin")] {
        let train = ["vectors", "train", "texts.txt", "--model", kind, "--out", out, "--dim", "8", "--buckets", "100"];
        let more = ["--sample", "0", "--threads", "1", "--epochs", "20"];
        let trained = answer(dir.path(), &[&train[..], &more].concat());
        assert_eq!((trained["words"].as_u64(), trained["tokens"].as_u64()), (Some(6), Some(1600)), "{kind}");
        let near = answer(dir.path(), &["vectors", "near", out, "вода", "--top", "2"]);
        let words: Vec<&str> = near["near"].as_array().unwrap().iter().map(|n| n["word"].as_str().unwrap()).collect();
        assert!(words.contains(&"кран") && words.contains(&"труба"), "{kind}: {near}");
    }
    assert!(answer(dir.path(), &["vectors", "near", "c.bin", "краны"])["near"].is_array(), "a word of pieces");
    for (arguments, part) in [
        (&["vectors", "near", "a.vec", "краны"][..], "has no vector"),
        (&["vectors", "near", "texts.txt", "кран"], "texts.txt:1"),
        (&["vectors", "train", "texts.txt", "--out", "x.txt"], "ends in .vec or .bin"),
        (&["vectors", "train", "texts.txt", "--out", "x.vec", "--min-count", "1000"], "--min-count = 1000"),
        (&["vectors", "train", "texts.txt", "--out", "x.vec", "--dim", "0"], "--dim = 0"),
    ] {
        one_line(&sverka(dir.path()).args(arguments).assert().code(2), &[part]);
    }
    assert!(!dir.path().join("x.vec").exists());
}
