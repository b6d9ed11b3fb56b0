//! A sentence encoder with linear layers after its pooling: sentence-transformers' vectors, or a refusal by name.

mod require;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use sverka::bundle::{Architecture, Bundle, Checkpoint, Contents, Export, Manifest, Purpose, Storage, export, save};
use sverka::index::{Index, Method, ModelOptions, Settings, build_index};
use sverka::nn::weights::{read_safetensors, write_safetensors};
use sverka::nn::{Array, Device, Dtype};
use sverka::ranker::{DualEncoder, Vectors};
use sverka::{Input, List, Ranker, Record};

#[derive(Deserialize)]
struct Expected {
    vectors: Vec<Vec<f32>>,
    /// By the activation of the first layer.
    scores: BTreeMap<String, Vec<f32>>,
}

/// The activation of the first layer as it is saved.
const SAVED: &str = "tanh";
const TORCH: [(&str, &str); 5] = [
    ("tanh", "torch.nn.modules.activation.Tanh"),
    ("identity", "torch.nn.modules.linear.Identity"),
    ("relu", "torch.nn.ReLU"),
    ("gelu", "torch.nn.modules.activation.GELU"),
    ("sigmoid", "torch.nn.modules.activation.Sigmoid"),
];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn expected() -> Expected {
    serde_json::from_slice(&std::fs::read(golden("sentence/expected.json")).unwrap()).unwrap()
}

fn pairs() -> Vec<[String; 2]> {
    let file: Value = serde_json::from_slice(&std::fs::read(golden("checkpoints/expected.json")).unwrap()).unwrap();
    serde_json::from_value(file["pairs"].clone()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// The golden folder, copied.
fn folder(dir: &Path) -> PathBuf {
    let to = dir.join("model");
    copy(&golden("sentence/model"), &to);
    to
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

fn open(dir: &Path, dtype: Option<Dtype>) -> Bundle {
    Bundle::open_encoder(dir, dtype, Device::Cpu).unwrap_or_else(|e| panic!("{e}"))
}

fn encoded(bundle: &Bundle, texts: &[Input]) -> Vectors {
    bundle.dual_encoder().unwrap().encode_documents(texts).unwrap()
}

fn scores(bundle: &Bundle, pairs: &[[String; 2]]) -> Vec<f32> {
    let lists: Vec<List> = pairs.iter().map(|[a, b]| List::pair(Input::Text(a), Input::Text(b))).collect();
    bundle.score(&lists).unwrap().iter().map(|list| list[0].value).collect()
}

/// The largest difference.
fn apart(got: &[f32], wanted: &[f32]) -> f32 {
    assert_eq!(got.len(), wanted.len());
    got.iter().zip(wanted).fold(0f32, |most, (a, b)| most.max((a - b).abs()))
}

#[test]
fn vectors_and_scores_are_those_of_sentence_transformers_together_and_alone() {
    let (expected, pairs, dir) = (expected(), pairs(), tempfile::tempdir().unwrap());
    let folder = folder(dir.path());
    let bundle = open(&folder, None);
    let texts: Vec<Input> = pairs.iter().map(|[text, _]| Input::Text(text)).collect();
    let vectors = encoded(&bundle, &texts);
    assert_eq!((vectors.len(), vectors.dim, bundle.vector_width()), (50, 20, 20));
    let most = apart(&vectors.values, &expected.vectors.concat());
    println!("largest difference of a vector: {most:e}");
    assert!(most < 1e-5, "{most}");
    for (at, text) in texts.iter().enumerate() {
        assert_eq!(encoded(&bundle, &[*text]).values, vectors.row(at), "text {at}: the same bits alone");
    }
    for (name, torch) in TORCH {
        edit(&folder.join("2_Dense/config.json"), |config| config["activation_function"] = json!(torch));
        let most = apart(&scores(&open(&folder, None), &pairs), &expected.scores[name]);
        println!("largest difference of a score, {name}: {most:e}");
        assert!(most < 1e-5, "{name}: {most}");
    }
    // no two activations score the same
    let different: std::collections::BTreeSet<String> = expected.scores.values().map(|s| format!("{s:?}")).collect();
    assert_eq!(different.len(), TORCH.len());
}

#[test]
fn smaller_precisions_stay_near() {
    let (expected, pairs) = (expected(), pairs());
    for (dtype, most) in [(Dtype::Bf16, 0.05), (Dtype::Int8, 0.1)] {
        let scores = scores(&open(&golden("sentence/model"), Some(dtype)), &pairs);
        let apart = apart(&scores, &expected.scores[SAVED]);
        assert!(apart > 0.0 && apart < most, "{dtype:?}: {apart}");
    }
}

/// The folder as a start of two towers.
fn started(folder: &Path) -> (Architecture, Checkpoint) {
    let mut checkpoint = Checkpoint::read(folder).unwrap();
    let towers = Architecture::named("dssm", &toml::Table::new()).unwrap();
    let architecture = towers.begun_with(folder, &mut checkpoint).unwrap();
    checkpoint.select(&*architecture.model(), Purpose::Start).unwrap();
    (architecture, checkpoint)
}

fn modules(dir: &Path) -> Vec<String> {
    let list: Vec<Value> = serde_json::from_slice(&std::fs::read(dir.join("modules.json")).unwrap()).unwrap();
    list.iter().map(|m| m["type"].as_str().unwrap().rsplit('.').next().unwrap().to_string()).collect()
}

#[test]
fn a_bundle_and_an_export_have_the_same_bits() {
    let (pairs, dir) = (pairs(), tempfile::tempdir().unwrap());
    let from = folder(dir.path());
    let plain = open(&from, None);
    let wanted = scores(&plain, &pairs);
    let (architecture, checkpoint) = started(&from);
    let rendering = plain.manifest.rendering.clone();
    let manifest = Manifest { architecture, rendering, ..Manifest::default() };
    let bundle = |name: &str, storage: Storage| {
        let (config, weights) = (&checkpoint.config, &checkpoint.weights);
        let contents = Contents { manifest: &manifest, config, weights, tokenizer_from: &from, storage };
        let out = dir.path().join(name);
        save(&out, &contents, false).unwrap();
        out
    };
    let out = bundle("bundle", Storage::F32);
    let saved = Bundle::open(&out, None, Device::Cpu).unwrap();
    assert!(!saved.is_plain() && saved.vector_width() == 20);
    assert_eq!(scores(&saved, &pairs), wanted);
    for (name, storage, most) in [("bf16", Storage::Bf16, 0.05), ("int8", Storage::Int8, 0.1)] {
        let apart = apart(&scores(&open(&bundle(name, storage), None), &pairs), &wanted);
        assert!(apart > 0.0 && apart < most, "{name}: {apart}");
    }
    let listed = ["Transformer", "Pooling", "Dense", "Dense", "Normalize"];
    for (name, of) in [("exported", &out), ("exported-plain", &from)] {
        let exported = dir.path().join(name);
        assert_eq!(export(of, &exported, Export::default()).unwrap(), Vec::<String>::new());
        assert_eq!(scores(&open(&exported, None), &pairs), wanted);
        assert_eq!(
            (modules(&exported), modules(&from)),
            (listed.map(Into::into).into(), listed.map(Into::into).into())
        );
        for part in ["2_Dense", "3_Dense"] {
            let [ours, theirs] = [&exported, &from].map(|dir| dir.join(part).join("model.safetensors"));
            assert_eq!(read_safetensors(&ours).unwrap().0, read_safetensors(&theirs).unwrap().0);
            let config = |dir: &Path| -> Value {
                serde_json::from_slice(&std::fs::read(dir.join(part).join("config.json")).unwrap()).unwrap()
            };
            for key in ["in_features", "out_features", "bias", "activation_function"] {
                assert_eq!(config(&exported)[key], config(&from)[key], "{part} {key}");
            }
        }
        let network = read_safetensors(&exported.join("model.safetensors")).unwrap();
        assert!(network.0.keys().all(|name| !name.contains("dense.0")), "each module has its own arrays");
    }
    assert_eq!(started(&out).0, saved.manifest.architecture, "a start that is a bundle has its layers too");
}

#[test]
fn vectors_are_told_apart_by_their_layers() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(dir.path());
    let fingerprint = || open(&folder, None).fingerprint().unwrap();
    let before = fingerprint();
    edit(&folder.join("2_Dense/config.json"), |config| config["activation_function"] = json!("torch.nn.Identity"));
    let activation = fingerprint();
    let path = folder.join("3_Dense/model.safetensors");
    let mut arrays = read_safetensors(&path).unwrap();
    arrays.0.get_mut("linear.weight").unwrap().values_mut()[0] += 1.0;
    write_safetensors(&path, &arrays, Storage::F32).unwrap();
    assert!(before != activation && activation != fingerprint());
}

/// As sentence-transformers before 3.0 wrote them: the network in a folder of its own, settings under older names.
#[test]
fn older_folders_are_read_too() {
    let (expected, pairs, dir) = (expected(), pairs(), tempfile::tempdir().unwrap());
    let folder = folder(dir.path());
    let inner = folder.join("0_Transformer");
    std::fs::create_dir(&inner).unwrap();
    for file in
        ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "sentence_bert_config.json"]
    {
        std::fs::rename(folder.join(file), inner.join(file)).unwrap();
    }
    std::fs::remove_file(folder.join("config_sentence_transformers.json")).unwrap();
    std::fs::remove_dir_all(folder.join("4_Normalize")).unwrap(); // an empty folder, which git does not keep
    edit(&folder.join("modules.json"), |list| list[0]["path"] = json!("0_Transformer"));
    edit(&folder.join("1_Pooling/config.json"), |config| {
        *config =
            json!({"word_embedding_dimension": 16, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true});
    });
    // without a key the activation is tanh in Python, as it is here
    edit(&folder.join("2_Dense/config.json"), |config| *config = json!({"in_features": 16, "out_features": 12}));
    assert!(apart(&scores(&open(&folder, None), &pairs), &expected.scores[SAVED]) < 1e-5);
}

#[test]
fn after_normalize_a_dot_product_is_the_cosine_and_without_it_is_not() {
    let (expected, pairs, dir) = (expected(), pairs(), tempfile::tempdir().unwrap());
    let folder = folder(dir.path());
    edit(&folder.join("config_sentence_transformers.json"), |all| all["similarity_fn_name"] = json!("dot"));
    assert!(apart(&scores(&open(&folder, None), &pairs), &expected.scores[SAVED]) < 1e-5);
    edit(&folder.join("modules.json"), |list| drop(list.as_array_mut().unwrap().pop()));
    assert!(scores(&open(&folder, None), &pairs)[0] > 2.0);
}

#[test]
fn an_index_is_as_wide_as_the_last_layer() {
    let dir = tempfile::tempdir().unwrap();
    let columns: Arc<[String]> = Arc::new(["text".into()]);
    let record = |(at, [_, text]): (usize, &[String; 2])| Record {
        id: at.to_string(),
        columns: columns.clone(),
        values: vec![text.clone()],
    };
    let (pairs, index) = (pairs(), dir.path().join("index"));
    let documents: Vec<Record> = pairs.iter().enumerate().map(record).collect();
    let options = ModelOptions { path: Some(golden("sentence/model")), ..ModelOptions::default() };
    build_index(&index, &documents, &Settings::new(&[Method::Dense]), &options, false, &|_, _| {}).unwrap();
    let hits = Index::open(&index, &options).unwrap().search(&[Input::Text(&pairs[2][0])], 5).unwrap().remove(0);
    let list = List {
        query: Input::Text(&pairs[2][0]),
        candidates: documents.iter().map(|document| Input::Text(&document.values[0])).collect(),
    };
    let exact = open(&golden("sentence/model"), None).score(&[list]).unwrap().remove(0);
    let best = exact.iter().map(|score| score.value).fold(f32::MIN, f32::max);
    assert!(hits.len() == 5 && (hits[0].score - best).abs() < 1e-3, "{hits:?}, best {best}");
}

#[test]
fn layers_that_are_not_known_or_do_not_fit_are_named() {
    type Change = Box<dyn Fn(&Path)>;
    let set = |file: &'static str, key: &'static str, value: Value| -> Change {
        Box::new(move |dir: &Path| edit(&dir.join(file), |config| config[key] = value.clone()))
    };
    let listed = |change: fn(&mut Vec<Value>)| -> Change {
        Box::new(move |dir: &Path| edit(&dir.join("modules.json"), |list| change(list.as_array_mut().unwrap())))
    };
    let arrays = |change: fn(&mut BTreeMap<String, Array>)| -> Change {
        Box::new(move |dir: &Path| {
            let path = dir.join("2_Dense/model.safetensors");
            let mut arrays = read_safetensors(&path).unwrap();
            change(&mut arrays.0);
            write_safetensors(&path, &arrays, Storage::F32).unwrap();
        })
    };
    let pickled: Change = Box::new(|dir: &Path| {
        std::fs::rename(dir.join("2_Dense/model.safetensors"), dir.join("2_Dense/pytorch_model.bin")).unwrap();
    });
    let config = "2_Dense/config.json";
    let cases = [
        (
            set(config, "activation_function", json!("torch.nn.modules.activation.ReLU6")),
            "2_Dense/config.json: Dense: has the activation torch.nn.modules.activation.ReLU6; known there: Tanh, Identity, ReLU",
        ),
        (set(config, "activation_function", json!("mine.Tanh")), "has the activation mine.Tanh"),
        (set(config, "use_residual", json!(true)), "2_Dense/config.json: Dense: adds its input"),
        (set(config, "module_input_name", json!("token_embeddings")), "goes from token_embeddings"),
        (
            set(config, "in_features", json!(24)),
            "2_Dense/config.json: Dense: has 24 inputs, and Pooling before it gives 16",
        ),
        (
            set("3_Dense/config.json", "in_features", json!(16)),
            "3_Dense/config.json: Dense: has 16 inputs, and Dense before",
        ),
        (set(config, "out_features", json!(0)), "says no in_features and out_features"),
        (
            set("3_Dense/config.json", "out_features", json!(24)),
            "3_Dense/model.safetensors: linear.weight: has shape [20, 12], and the network asks for [24, 12]",
        ),
        (
            set(config, "bias", json!(false)),
            "2_Dense/model.safetensors: linear.bias: is there, and config.json says bias",
        ),
        (arrays(|all| drop(all.remove("linear.bias"))), "2_Dense/model.safetensors: linear.bias: is missing"),
        (arrays(|all| drop(all.remove("linear.weight"))), "2_Dense/model.safetensors: linear.weight: is missing"),
        (
            arrays(|all| drop(all.insert("more".into(), Array::new(vec![1], vec![0.0])))),
            "more: is no part of this module",
        ),
        (pickled, "2_Dense/pytorch_model.bin: model.safetensors: is a pickle, which can run code"),
        (listed(|list| list.swap(1, 2)), "modules.json: Dense: 2_Dense comes after Transformer"),
        (listed(|list| list.swap(3, 4)), "modules.json: Dense: 3_Dense comes after Normalize"),
        (listed(|list| list[4]["type"] = json!("models.LSTM")), "modules.json: type: LSTM is not known"),
    ];
    for (change, words) in cases {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(dir.path());
        change(&folder);
        let Err(error) = Bundle::open_encoder(&folder, None, Device::Cpu) else { panic!("{words}: it was opened") };
        assert!(error.is_user_error() && !error.to_string().contains('\n'), "{error}");
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
    // as many as there are names
    let (dir, square) = (tempfile::tempdir().unwrap(), Array::new(vec![20, 20], vec![0.1; 400]));
    let folder = folder(dir.path());
    for at in 0..3 {
        let part = folder.join(format!("more{at}"));
        copy(&folder.join("3_Dense"), &part);
        edit(&part.join("config.json"), |config| config["in_features"] = json!(20));
        let arrays = [("linear.weight".to_string(), square.clone())].into();
        write_safetensors(&part.join("model.safetensors"), &sverka::nn::Weights(arrays), Storage::F32).unwrap();
        edit(&folder.join("modules.json"), |list| {
            let module = json!({"path": format!("more{at}"), "type": "sentence_transformers.models.Dense"});
            list.as_array_mut().unwrap().insert(4, module);
        });
        let opened = Bundle::open_encoder(&folder, None, Device::Cpu).map(|bundle| bundle.vector_width());
        match at {
            2 => assert!(
                opened.unwrap_err().to_string().contains("has 5 linear layers after pooling; known are up to 4")
            ),
            _ => assert_eq!(opened.unwrap(), 20),
        }
    }
}

/// Needs a Python with sentence-transformers 6: `python3`, or the one that `SVERKA_PYTHON` names.
#[test]
fn python_gives_the_scores_of_what_is_exported() {
    let (expected, dir) = (expected(), tempfile::tempdir().unwrap());
    let out = dir.path().join("exported");
    export(&golden("sentence/model"), &out, Export::default()).unwrap();
    let python = std::env::var_os("SVERKA_PYTHON").unwrap_or("python3".into());
    let check = std::process::Command::new(python).arg(golden("sentence/make.py")).arg("check").arg(&out).output();
    let check = match check {
        Ok(check) if check.status.code() == Some(77) => {
            return require::skipped("python", "Python has no sentence-transformers 6; set SVERKA_PYTHON");
        }
        Ok(check) => check,
        Err(e) => return require::skipped("python", &format!("no Python ({e}); set SVERKA_PYTHON")),
    };
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    #[derive(Deserialize)]
    struct Checked {
        scores: Vec<f32>,
        modules: Vec<String>,
    }
    let found: Checked = serde_json::from_slice(&check.stdout).unwrap();
    assert!(apart(&found.scores, &expected.scores[SAVED]) < 1e-5);
    assert_eq!(found.modules, ["Transformer", "Pooling", "Dense", "Dense", "Normalize"]);
}
