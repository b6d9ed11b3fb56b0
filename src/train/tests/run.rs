//! A whole run of a real cross-encoder, two layers small: folder, bundle, metrics, resumption.

use std::ops::ControlFlow;
use std::path::Path;

use super::corpus::{Folder, WORDS, lines};
use crate::bundle::{Architecture, Bundle};
use crate::models::bert::Config;
use crate::nn::weights::{Storage, read_safetensors, write_safetensors};
use crate::nn::{Array, Device, Dtype, Weights};
use crate::testing;
use crate::train::objective::higher_is_better;
use crate::train::{Int8Options, Labelled, LabelledOptions, quantize_bundle};
use crate::train::{Outcome, Progress, Recipe, Silent, StepReport, train};

/// A start of random weights, and a set where the same number on both sides makes a match.
pub(super) fn folder() -> Folder {
    let folder = Folder::new();
    let config = Config { max_position_embeddings: 32, ..testing::config(WORDS.len()) };
    let weights = testing::weights(&config, &*Architecture::default().model(), 0.1, 5);
    testing::write_checkpoint(&folder.path("start"), &config, &weights).unwrap();
    let mut pairs = Vec::new();
    for colour in ["red", "blue", "green"] {
        for thing in ["floor", "glass", "cleaner"] {
            for (a, b) in [("1", "1"), ("2", "2"), ("5", "5"), ("1", "2"), ("2", "5"), ("5", "1")] {
                pairs.push((
                    format!("{colour} {thing} {a} l"),
                    format!("{thing} {colour} {b} by acme"),
                    u8::from(a == b),
                ));
            }
        }
    }
    let part = |skip: usize| -> String {
        let of: Vec<(&str, &str, u8)> = pairs
            .iter()
            .enumerate()
            .filter(|(i, _)| i % 9 % 4 == skip || (skip == 0 && i % 9 % 4 == 3))
            .map(|(_, (l, r, y))| (l.as_str(), r.as_str(), *y))
            .collect();
        lines(&of)
    };
    folder.write("train.txt", &part(0));
    folder.write("valid.txt", &part(1));
    folder.write("test.txt", &part(2));
    folder.write(
        "recipe.toml",
        r#"
name = "tiny"
model = { init = "start", layers = [1, 0] }
text = { overlap_segments = true, max_tokens = 24 }
[[data.sources]]
name = "toy"
from = { format = "ditto", train = "train.txt", valid = "valid.txt", test = "test.txt" }
repeat = 2
[train]
epochs = 3
batch = 4
lr = 1e-3
dropout = 0.1
swap_probability = 0.5
checkpoint_every = 5
[expect]
f1 = { toy = 0.0, other = 0.5 }
"#,
    );
    folder
}

struct StopAt(u64);

impl Progress for StopAt {
    fn step(&self, report: &StepReport) -> ControlFlow<()> {
        if report.step == self.0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// What must not depend on the clock.
fn timeless(outcome: &Outcome) -> Outcome {
    Outcome { seconds: 0.0, ..outcome.clone() }
}

fn model(run: &Path) -> Vec<u8> {
    std::fs::read(run.join("model/model.safetensors")).unwrap()
}

#[test]
fn a_recipe_becomes_a_bundle_and_a_stopped_run_the_same_bundle() {
    let folder = folder();
    let recipe = Recipe::read(&folder.path("recipe.toml"), &[]).unwrap();
    let (whole, parts) = (folder.path("whole"), folder.path("parts"));
    let outcome = train(&recipe, &whole, false, &Silent).unwrap();
    assert_eq!((outcome.test["toy"].pairs, outcome.data[0].train), (12, 30));
    assert_eq!(outcome.missed().unwrap(), "other: test F1 was not measured, expected 0.5");
    for file in ["recipe.toml", "environment.json", "log.jsonl", "metrics.json", "model/sverka.json", "model/vocab.txt"]
    {
        assert!(whole.join(file).is_file(), "{file}");
    }
    assert_eq!(Recipe::read(&whole.join("recipe.toml"), &[]).unwrap(), recipe);
    let bundle = Bundle::open(&whole.join("model"), None, Device::Cpu).unwrap();
    assert_eq!(bundle.config().type_vocab_size, 10, "marked words have segments");
    assert_eq!(
        (bundle.threshold(), bundle.manifest.calibration.clone()),
        (outcome.threshold.map_or(0.5, |t| t.value), outcome.calibration.clone())
    );

    for step in [3, 17] {
        let resume = parts.exists();
        let error = train(&recipe, &parts, resume, &StopAt(step)).unwrap_err();
        assert!(error.to_string().contains("--resume"), "{error}");
    }
    let changed = Recipe::read(&folder.path("recipe.toml"), &["train.lr=0.1".into()]).unwrap();
    let error = train(&changed, &parts, true, &Silent).unwrap_err();
    assert!(error.is_user_error() && error.to_string().starts_with("train.lr = 0.1"), "{error}");
    let resumed = train(&recipe, &parts, true, &Silent).unwrap();
    assert!(model(&parts) == model(&whole), "the resumed run's weights differ");
    assert_eq!(timeless(&resumed), timeless(&outcome));
    // Finished: nothing is done again; and a run folder in use is not overwritten.
    let again = train(&recipe, &parts, true, &StopAt(0)).unwrap();
    assert_eq!((again.to_string(), again.threshold), (resumed.to_string(), resumed.threshold));
    let error = train(&recipe, &parts, false, &Silent).unwrap_err();
    assert!(matches!(error, crate::Error::Exists(_)), "{error}");
}

#[test]
fn settings_that_do_not_fit_the_start_are_named() {
    let folder = folder();
    let error = |set: &str| {
        let recipe = Recipe::read(&folder.path("recipe.toml"), &[set.to_string()]).unwrap();
        let run = folder.path("run");
        let error = train(&recipe, &run, false, &Silent).unwrap_err();
        assert!(error.is_user_error() && !run.exists(), "{error}");
        error.to_string()
    };
    assert!(error("text.max_tokens=33").contains("32 positions"));
    assert!(error("model.layers=[2]").contains("no layer 2"));
    assert!(error("model.segments=3").contains("model.segments = 3"));
}

#[test]
fn the_best_weights_are_kept_by_the_measure_that_is_asked_for() {
    let folder = folder();
    let mut steps = Vec::new();
    for metric in ["f1", "ap", "loss"] {
        // so fast that it soon falls apart
        let set = ["train.lr=0.03".into(), "train.epochs=6".into(), format!("train.metric=\"{metric}\"")];
        let recipe = Recipe::read(&folder.path("recipe.toml"), &set).unwrap();
        let outcome = train(&recipe, &folder.path(metric), false, &Silent).unwrap();
        let value =
            |v: &&crate::train::Validation| v.measures[metric] * if higher_is_better(metric) { 1.0 } else { -1.0 };
        let best = outcome.validations.iter().rev().max_by(|a, b| value(a).total_cmp(&value(b))).unwrap();
        assert_eq!(outcome.best_step, best.step, "{metric}: {:?}", outcome.validations);
        steps.push(best.step);
    }
    steps.dedup();
    assert!(steps.len() > 1, "one step is the best by all three: the test shows nothing");
}

#[test]
fn a_stopped_run_of_two_towers_or_of_a_duo_gives_the_same_model() {
    let folder = folder();
    // each query has a match and a non-match
    let queries = |color: &str| {
        let cases = [("1", "1", 1), ("1", "2", 0), ("2", "2", 1), ("2", "5", 0), ("5", "5", 1), ("5", "1", 0)];
        let pairs = ["floor", "glass", "cleaner"].iter().flat_map(|thing| {
            cases.map(|(a, b, label)| (format!("{color} {thing} {a} l"), format!("{thing} {color} {b} by acme"), label))
        });
        let pairs: Vec<(String, String, u8)> = pairs.collect();
        lines(&pairs.iter().map(|(l, r, y)| (l.as_str(), r.as_str(), *y)).collect::<Vec<_>>())
    };
    for (name, color) in [("train.txt", "red"), ("valid.txt", "green"), ("test.txt", "blue")] {
        folder.write(name, &queries(color));
    }
    for (architecture, cached) in [("dssm", false), ("dssm", true), ("duo", false)] {
        let sets = [
            format!("model.architecture={architecture}"),
            "text.overlap_segments=false".into(),
            "train.epochs=2".into(),
            format!("train.cached_gradients={cached}"),
            "train.max_tokens_per_pass=24".into(),
        ];
        let recipe = Recipe::read(&folder.path("recipe.toml"), &sets).unwrap();
        let [whole, parts] = ["whole", "parts"].map(|name| folder.path(&format!("{architecture}-{cached}-{name}")));
        let outcome = train(&recipe, &whole, false, &Silent).unwrap();
        assert!(outcome.steps > 4, "{architecture}: {} steps", outcome.steps);
        train(&recipe, &parts, false, &StopAt(3)).unwrap_err();
        let resumed = train(&recipe, &parts, true, &Silent).unwrap();
        assert!(model(&parts) == model(&whole), "{architecture}: the resumed run's weights differ");
        assert_eq!(timeless(&resumed), timeless(&outcome));
        let bundle = Bundle::open(&whole.join("model"), None, Device::Cpu).unwrap();
        assert_eq!(bundle.manifest.architecture.name(), architecture);
        drop(bundle);
        let (small, model) = (folder.path(&format!("{architecture}-{cached}-int8")), whole.join("model"));
        let report = quantized(&folder, &model, &small).unwrap();
        assert!(report.quantized.sample_pairs > 0 && report.output_error <= report.output_error_unfitted);
        // near to what is packed at load, in shares of how far scores are apart
        let [exact, loaded, stored] = [(&model, Dtype::F32), (&model, Dtype::Int8), (&small, Dtype::Int8)]
            .map(|(dir, dtype)| scores_of(dir, dtype));
        let spread = exact.iter().fold(0f32, |most, x| most.max(x.abs()));
        let apart = |a: &[f32]| a.iter().zip(&exact).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(apart(&stored) <= 0.1 * spread && apart(&loaded) <= 0.1 * spread, "{exact:?} {loaded:?} {stored:?}");
    }
}

#[test]
fn towers_keep_and_train_the_linear_layers_that_their_start_has_after_pooling() {
    let folder = folder();
    let module =
        |path: &str, kind: &str| format!(r#"{{"path": "{path}", "type": "sentence_transformers.models.{kind}"}}"#);
    let list =
        [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense")].map(|(path, kind)| module(path, kind));
    folder.write("start/modules.json", &format!("[{}]", list.join(",")));
    folder.write("start/1_Pooling/config.json", r#"{"pooling_mode": "mean"}"#);
    folder.write("start/2_Dense/config.json", r#"{"in_features": 32, "out_features": 16}"#);
    let values = |n: usize| (0..n).map(|i| (i as f32 * 1.3).sin() * 0.3).collect::<Vec<f32>>();
    let (weight, bias) = (Array::new(vec![16, 32], values(512)), Array::new(vec![16], values(16)));
    let arrays = [("linear.weight".to_string(), weight.clone()), ("linear.bias".into(), bias.clone())].into();
    write_safetensors(&folder.path("start/2_Dense/model.safetensors"), &Weights(arrays), Storage::F32).unwrap();
    let run = |name: &str, model: &str| {
        let text = std::fs::read_to_string(folder.path("recipe.toml")).unwrap();
        let text = text.replace("init = \"start\", layers = [1, 0]", &format!("architecture = \"dssm\", {model}"));
        folder.write("dense.toml", &text.replace("overlap_segments = true, ", ""));
        let recipe = Recipe::read(&folder.path("dense.toml"), &["train.epochs=1".into()]).unwrap();
        let run = folder.path(name);
        train(&recipe, &run, false, &Silent).unwrap();
        let arrays = read_safetensors(&run.join("model/model.safetensors")).unwrap().0;
        let of = |kind: &str| arrays.get(&format!("dssm.dense.0.{kind}")).cloned();
        let width = Bundle::open(&run.join("model"), None, Device::Cpu).unwrap().vector_width();
        (width, of("weight"), of("bias"))
    };
    let far = |array: &Array, from: &Array| {
        let apart = array.values().iter().zip(&*from.values()).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(array.shape == from.shape && apart > 1e-4 && apart < 0.1, "{:?} {apart}", array.shape);
    };
    let (width, first, shift) = run("first", "init = \"start\"");
    let (first, shift) = (first.unwrap(), shift.unwrap());
    assert_eq!(width, 16);
    far(&first, &weight);
    far(&shift, &bias);
    // a bundle is a start, too
    let (width, second, _) = run("second", "init = \"first/model\"");
    assert_eq!(width, 16);
    far(&second.unwrap(), &first);
    // a recipe's own layers go above those of the start
    let own = "dense = [{ outputs = 8, bias = false, activation = \"identity\" }]";
    let (width, third, shift) = run("third", &format!("init = \"start\", {own}"));
    assert_eq!((width, third.unwrap().shape, shift), (8, vec![8, 32], None));
    let int8 = folder.path("int8");
    quantized(&folder, &folder.path("first/model"), &int8).unwrap();
    assert_eq!(Bundle::open(&int8, None, Device::Cpu).unwrap().vector_width(), 16);
    // what is not known is no silent loss
    folder.write("start/2_Dense/config.json", r#"{"in_features": 32, "out_features": 16, "use_residual": true}"#);
    let recipe = Recipe::read(&folder.path("dense.toml"), &[]).unwrap();
    let error = train(&recipe, &folder.path("fourth"), false, &Silent).unwrap_err();
    assert!(
        error.is_user_error() && error.to_string().contains("2_Dense/config.json: Dense: adds its input"),
        "{error}"
    );
}

#[test]
fn cached_gradients_are_refused_where_a_batch_is_divided_anyway() {
    let folder = folder();
    let error = Recipe::read(&folder.path("recipe.toml"), &["train.cached_gradients=true".into()]).unwrap_err();
    assert!(error.is_user_error() && error.to_string().contains("train.cached_gradients"), "{error}");
}

fn scores_of(model: &Path, dtype: Dtype) -> Vec<f32> {
    let bundle = Bundle::open(model, Some(dtype), Device::Cpu).unwrap();
    let candidates = ["glass red 1 by acme", "floor red 1 by acme", "cleaner red 5"].map(crate::Input::Text);
    let list = crate::List { query: crate::Input::Text("red floor 1 l"), candidates: candidates.into() };
    crate::Ranker::score(&bundle, &[list]).unwrap().remove(0).iter().map(|score| score.value).collect()
}

fn quantized(folder: &Folder, model: &Path, out: &Path) -> crate::Result<crate::train::Int8Report> {
    let options = LabelledOptions {
        data: folder.path("recipe.toml"),
        split: Some(crate::records::Split::Test),
        source: None,
        fields: Vec::new(),
        read: crate::data::ReadOptions::default(),
    };
    let mut labelled = Labelled::read(&options)?;
    quantize_bundle(model, out, &mut labelled, &Int8Options { samples: 20, max_loss: 1.0 }, &|_| ())
}

#[test]
fn rankers_begin_with_a_file_of_word_vectors_or_with_letter_trigrams_and_become_bundles() {
    let folder = folder();
    let words = ["red", "blue", "green", "floor", "glass", "cleaner", "l", "by", "acme", "1", "2", "5"];
    let vector = |(i, word): (usize, &&str)| {
        let values: Vec<String> = (0..8).map(|j| format!("{:.4}", ((i * 8 + j) as f32 * 1.3).sin())).collect();
        format!("{word} {}\n", values.join(" "))
    };
    folder.write("words.vec", &words.iter().enumerate().map(vector).collect::<String>());
    let recipe = |model: &str| {
        let text = std::fs::read_to_string(folder.path("recipe.toml")).unwrap();
        let text = text.replace("init = \"start\", layers = [1, 0]", model).replace("overlap_segments = true, ", "");
        folder.write("words.toml", &text);
        Recipe::read(&folder.path("words.toml"), &["train.epochs=1".into()])
    };
    for (number, (architecture, settings)) in [
        ("knrm", "vectors = \"words.vec\""),
        ("drmm", "vectors = \"words.vec\", gating = \"idf\""),
        ("conv_knrm", "vectors = \"words.vec\""),
        ("pacrr", "vectors = \"words.vec\""),
        ("dssm", "vectors = \"words.vec\""),
        ("dssm", "vectors = \"trigrams\", shared = false"),
    ]
    .into_iter()
    .enumerate()
    {
        let what = format!("architecture = \"{architecture}\", {settings}");
        let run = folder.path(&format!("words-{number}"));
        let recipe = recipe(&what).unwrap();
        train(&recipe, &run, false, &Silent).unwrap();
        // what the run began with is not needed any more
        std::fs::remove_dir_all(run.join("tokenizer")).unwrap();
        let bundle = Bundle::open(&run.join("model"), None, Device::Cpu).unwrap();
        let list = crate::List {
            query: crate::Input::Text("red floor"),
            candidates: ["red floor", "unheard of", ""].map(crate::Input::Text).into(),
        };
        let scores = crate::Ranker::score(&bundle, &[list]).unwrap().remove(0);
        assert!(scores[0].value.is_finite() && scores[0].value != scores[1].value, "{what}: {scores:?}");
        if let Some(towers) = bundle.dual_encoder() {
            let vectors = crate::ranker::DualEncoder::encode_documents(&towers, &[crate::Input::Text("red floor")]);
            assert_eq!(vectors.unwrap().dim, bundle.vector_width(), "{what}: an index is as wide");
        }
        if settings.contains("idf") {
            let weights = crate::nn::weights::read_safetensors(&run.join("model/model.safetensors")).unwrap();
            let idf = weights.0["drmm.idf"].values().into_owned();
            let of = |word: &str| idf[5 + words.iter().position(|w| *w == word).unwrap()];
            // `l` is in every query and `acme` in every document, a colour in a third of them
            assert!(of("red") > of("l") && of("l") > 0.0, "{idf:?}");
        }
    }
    let refused = |model: &str, part: &str| {
        let error = recipe(model).unwrap_err();
        assert!(error.is_user_error() && error.to_string().contains(part), "{error}");
    };
    refused("architecture = \"knrm\", vectors = \"words.vec\", init = \"start\"", "leave init out");
    refused("architecture = \"knrm\", vectors = \"joint\", init = \"words.vec\"", "is a file of word vectors");
    refused("architecture = \"cross_encoder\"", "model.init");
    refused("architecture = \"cross_encoder\", vectors = \"words.vec\"", "no settings of its own");
}

/// Begins a second run in the folder while the first one is at work.
struct Intruder<'a> {
    recipe: &'a Recipe,
    run: &'a Path,
    refused: std::sync::Mutex<Option<String>>,
}

impl Progress for Intruder<'_> {
    fn step(&self, report: &StepReport) -> ControlFlow<()> {
        if report.step == 2 {
            let error = train(self.recipe, self.run, true, &Silent).unwrap_err();
            *self.refused.lock().unwrap() = Some(error.to_string());
        }
        ControlFlow::Continue(())
    }
}

#[test]
fn a_run_folder_has_one_owner() {
    let folder = folder();
    let recipe = Recipe::read(&folder.path("recipe.toml"), &["train.epochs=1".into()]).unwrap();
    let (alone, shared) = (folder.path("alone"), folder.path("shared"));
    let intruder = Intruder { recipe: &recipe, run: &shared, refused: Default::default() };
    let outcome = train(&recipe, &shared, false, &intruder).unwrap();
    let refused = intruder.refused.into_inner().unwrap().unwrap();
    assert!(refused.contains(&format!("process {}", std::process::id())) && refused.contains("--run"), "{refused}");
    // and nothing of the first run is lost by the attempt
    assert_eq!(timeless(&outcome), timeless(&train(&recipe, &alone, false, &Silent).unwrap()));
    assert!(model(&shared) == model(&alone));
}

#[test]
fn a_folder_left_before_its_recipe_had_a_name_can_be_begun_and_resumed() {
    let folder = folder();
    let recipe = Recipe::read(&folder.path("recipe.toml"), &["train.epochs=1".into()]).unwrap();
    for resume in [false, true] {
        let name = format!("left-{resume}");
        folder.write(&format!("{name}/.lock"), "process 1\n");
        folder.write(&format!("{name}/.recipe.toml.77.part"), "name = ");
        let run = folder.path(&name);
        train(&recipe, &run, resume, &Silent).unwrap();
        assert!(run.join("recipe.toml").is_file() && !run.join(".recipe.toml.77.part").exists());
    }
    folder.write("used/notes.txt", "mine");
    let error = train(&recipe, &folder.path("used"), true, &Silent).unwrap_err();
    assert!(matches!(error, crate::Error::Exists(_)), "{error}");
}

/// Notes of a run.
#[derive(Default)]
struct Notes(std::sync::Mutex<Vec<String>>);

impl Progress for Notes {
    fn step(&self, _: &StepReport) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_string());
    }
}

#[test]
fn compression_learns_to_leave_attention_as_it_is_before_all_else_learns() {
    let folder = folder();
    let mut sets: Vec<String> = [
        "model.architecture=\"yati\"",
        "model.split_at=1",
        "model.compress=16",
        "train.match_attention={ epochs = 8, lr = 1e-2 }",
        "train.epochs=1",
    ]
    .map(String::from)
    .to_vec();
    let recipe = Recipe::read(&folder.path("recipe.toml"), &sets).unwrap();
    let (whole, parts) = (folder.path("whole"), folder.path("parts"));
    let notes = Notes::default();
    let outcome = train(&recipe, &whole, false, &notes).unwrap();
    let notes = notes.0.into_inner().unwrap();
    let line = notes.iter().find(|line| line.starts_with("compression:")).unwrap();
    let errors: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(errors.len() == 2 && errors[1] < 0.5 * errors[0], "{line}");
    assert!(whole.join("compression/log.jsonl").is_file());
    assert_eq!(outcome.steps, 15, "fine-tuning counts its own steps");

    // killed in the compression's part, then in fine-tuning
    for step in [11, 3] {
        let resume = parts.exists();
        train(&recipe, &parts, resume, &StopAt(step)).unwrap_err();
    }
    train(&recipe, &parts, true, &Silent).unwrap();
    assert!(model(&parts) == model(&whole), "the resumed run's weights differ");

    sets[2] = "model.compress=0".into();
    let error = Recipe::read(&folder.path("recipe.toml"), &sets).unwrap_err();
    assert!(error.is_user_error() && error.to_string().contains("train.match_attention"), "{error}");
}

/// Records whose texts say nothing: only the vectors of their pictures tell which are the same.
#[test]
fn a_detext_learns_from_vector_files_beside_the_tables() {
    let folder = folder();
    let (mut left, mut right) = ("id,name\n".to_string(), "id,name\n".to_string());
    let mut links = "left,right,label,part\n".to_string();
    let (mut of_left, mut of_right, mut ids) = (Vec::new(), Vec::new(), String::new());
    for i in 0..40usize {
        // no two pairs have the same texts, and none says anything
        let things = ["floor", "glass", "cleaner", "red", "blue", "green", "acme"];
        left += &format!("a{i},{} {}\n", things[i % 7], things[i / 7]);
        right += &format!("b{i},{}\n", things[i / 4 % 7]);
        let picture: Vec<f32> = (0..6).map(|k| ((i * 7 + k * 5) as f32 * 1.3).sin()).collect();
        of_left.extend(picture.iter().flat_map(|x| x.to_le_bytes()));
        // the right pictures lie in another order, and one is missing
        let other = 39 - i;
        if other != 3 {
            let picture = (0..6).map(|k| ((other * 7 + k * 5) as f32 * 1.3).sin());
            of_right.extend(picture.flat_map(|x| x.to_le_bytes()));
            ids += &format!("b{other}\n");
        }
        let part = ["train", "train", "valid", "test"][i % 4];
        links += &format!("a{i},b{i},1,{part}\na{i},b{},0,{part}\n", (i + 4) % 40);
    }
    let file = |rows: usize, values: &[u8]| {
        let shape = vec![rows, 6];
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, values).unwrap();
        safetensors::serialize([("pictures", view)], None).unwrap()
    };
    std::fs::write(folder.path("left.safetensors"), file(40, &of_left)).unwrap();
    std::fs::write(folder.path("right.safetensors"), file(39, &of_right)).unwrap();
    for (name, text) in [("left.csv", &left), ("right.csv", &right), ("links.csv", &links), ("right.ids", &ids)] {
        folder.write(name, text);
    }
    folder.write(
        "recipe.toml",
        r#"
name = "pictures"
model = { init = "start", architecture = "detext", vectors = ["picture"] }
text = { fields = ["name"], max_tokens = 24 }
[[data.sources]]
name = "toy"
from = { format = "links", left = "left.csv", right = "right.csv", links = "links.csv", left_column = "left", right_column = "right", label_column = "label", part_column = "part" }
read.vectors = { picture = ["left.safetensors", "right.safetensors"] }
[train]
epochs = 20
batch = 8
lr = 1e-4
learning_rates = { detext = 100.0 }
metric = "ap"
[expect]
f1 = { toy = 0.7 }
"#,
    );
    let recipe = Recipe::read(&folder.path("recipe.toml"), &[]).unwrap();
    let outcome = train(&recipe, &folder.path("run"), false, &Silent).unwrap();
    // half of the pairs are matches: 0.67 and 0.5 by chance
    assert!(outcome.missed().is_none() && outcome.test["toy"].pr_auc > 0.9, "{:?}", outcome.test["toy"]);
    assert_eq!(Recipe::read(&folder.path("run/recipe.toml"), &[]).unwrap(), recipe);
    // a recipe that says nothing of the files has no such column
    let text = std::fs::read_to_string(folder.path("recipe.toml")).unwrap();
    let without: Vec<&str> = text.lines().filter(|line| !line.starts_with("read.")).collect();
    folder.write("without.toml", &without.join("\n"));
    let recipe = Recipe::read(&folder.path("without.toml"), &[]).unwrap();
    let error = train(&recipe, &folder.path("other"), false, &Silent).unwrap_err();
    assert!(error.to_string().contains("no training record has a vector there"), "{error}");
}

#[test]
fn hashed_attention_is_a_setting_of_a_fresh_encoder_and_serves_as_it_was_trained() {
    let folder = folder();
    let text = std::fs::read_to_string(folder.path("recipe.toml")).unwrap();
    let fresh = r#"model = { fresh = { tokenizer = "start", layers = 2, hidden = 32, heads = 2, positions = 32, hashed_attention = { chunk = 4, rounds = 2, seed = 3 } } }"#;
    let text =
        text.replace(r#"model = { init = "start", layers = [1, 0] }"#, fresh).replace("repeat = 2", "repeat = 1");
    folder.write("hashed.toml", &text);
    let recipe = Recipe::read(&folder.path("hashed.toml"), &["train.epochs=1".into()]).unwrap();
    let outcome = train(&recipe, &folder.path("hashed"), false, &Silent).unwrap();
    let bundle = Bundle::open(&folder.path("hashed/model"), None, Device::Cpu).unwrap();
    let hashed = bundle.config().hashed_attention.unwrap();
    assert_eq!((hashed.chunk, hashed.rounds, hashed.seed), (4, 2, 3));
    let bf16 =
        Recipe::read(&folder.path("hashed.toml"), &["train.epochs=1".into(), "train.dtype=bf16".into()]).unwrap();
    train(&bf16, &folder.path("bf16"), false, &Silent).unwrap();
    let again = train(&recipe, &folder.path("again"), false, &Silent).unwrap();
    assert_eq!(timeless(&again), timeless(&outcome));
    assert!(model(&folder.path("again")) == model(&folder.path("hashed")), "the same seed gives the same weights");
    let options = crate::bundle::Export::default();
    let error = crate::bundle::export(&folder.path("hashed/model"), &folder.path("out"), options).unwrap_err();
    assert!(error.to_string().contains("Python") || error.to_string().contains("transformers"), "{error}");
    for (chunk, part) in [("1", "chunks of 2"), ("5000", "chunks of 2")] {
        folder.write("bad.toml", &text.replace("chunk = 4", &format!("chunk = {chunk}")));
        let error = Recipe::read(&folder.path("bad.toml"), &[]).unwrap_err();
        assert!(error.is_user_error() && error.to_string().contains(part), "{error}");
    }
}
