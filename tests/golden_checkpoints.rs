//! Checkpoints in every form that people have them: the scores of transformers and sentence-transformers, or a refusal by name.

mod require;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use sverka::bundle::{Architecture, Bundle, Checkpoint, Contents, Export, Manifest, Purpose, Storage, export, save};
use sverka::index::states::{Place, RowStorage, StateStore, StateWriter};
use sverka::models::bert;
use sverka::models::cross_encoder::{CrossEncoder, logits};
use sverka::models::{Mode, Model, Net};
use sverka::nn::encoder::{Request, Rows, Start};
use sverka::nn::{Device, Dtype};
use sverka::text::{Batch, TextConfig, TextEncoder};
use sverka::{Input, List, Ranker, Record, testing};

#[derive(Deserialize)]
struct Expected {
    pairs: Vec<[String; 2]>,
    cases: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
struct Case {
    files: BTreeMap<String, String>,
    scores: Vec<f32>,
    /// Of the sum of the logits, by MPNet's relative attention bias `[buckets, n]`.
    bias_gradient: Option<Vec<f32>>,
    /// Of the same sum, by each array: its sum, and its sum with the weights -3 to 3 in turn.
    gradients: Option<BTreeMap<String, [f64; 2]>>,
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/checkpoints")
}

fn expected() -> Expected {
    serde_json::from_slice(&std::fs::read(golden().join("expected.json")).unwrap()).unwrap()
}

/// A case's folder, put together.
fn folder(to: &Path, name: &str, case: &Case) -> PathBuf {
    let dir = to.join(name);
    std::fs::create_dir_all(&dir).unwrap();
    for entry in std::fs::read_dir(golden().join("cases").join(name)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.join(entry.file_name())).unwrap();
    }
    for (file, at) in &case.files {
        std::fs::copy(golden().join("shared").join(at), dir.join(file)).unwrap();
    }
    dir
}

fn scores(dir: &Path, pairs: &[[String; 2]]) -> Vec<f32> {
    let bundle = Bundle::open(dir, None, Device::Cpu).unwrap_or_else(|e| panic!("{e}"));
    let lists: Vec<List> = pairs.iter().map(|[a, b]| List::pair(Input::Text(a), Input::Text(b))).collect();
    bundle.score(&lists).unwrap().iter().map(|list| list[0].value).collect()
}

fn assert_close(name: &str, got: &[f32], wanted: &[f32]) {
    for (pair, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        assert!((got - wanted).abs() < 1e-4, "{name}, pair {pair}: {got}, and Python gives {wanted}");
    }
    assert_eq!(got.len(), wanted.len());
}

#[test]
fn every_form_scores_as_in_python() {
    let (expected, dir) = (expected(), tempfile::tempdir().unwrap());
    for (name, case) in &expected.cases {
        assert_close(name, &scores(&folder(dir.path(), name, case), &expected.pairs), &case.scores);
    }
    assert!(expected.cases.len() > 30);
}

#[test]
fn a_bundle_made_of_a_form_reads_as_it_did() {
    let (expected, dir) = (expected(), tempfile::tempdir().unwrap());
    for (name, case) in &expected.cases {
        assert_kept(name, &folder(dir.path(), name, case), &expected.pairs, &case.scores);
    }
}

/// A plain folder's scores are those of the bundle made of it, of that one's export, and of the folder as a bundle.
fn assert_kept(name: &str, from: &Path, pairs: &[[String; 2]], wanted: &[f32]) {
    let next_to = |what: &str| from.with_file_name(format!("{name}-{what}"));
    let plain = Bundle::open(from, None, Device::Cpu).unwrap();
    let mut checkpoint = Checkpoint::read(from).unwrap();
    checkpoint.select(&*checkpoint.architecture().model(), Purpose::Score).unwrap();
    let manifest = Manifest { rendering: plain.manifest.rendering.clone(), ..Manifest::default() };
    let (config, weights) = (&checkpoint.config, &checkpoint.weights);
    let contents = Contents { manifest: &manifest, config, weights, tokenizer_from: from, storage: Storage::F32 };
    let out = next_to("bundle");
    save(&out, &contents, false).unwrap();
    assert_close(name, &scores(&out, pairs), wanted);
    // and its export is a plain folder that reads so again
    let exported = next_to("exported");
    assert_eq!(export(&out, &exported, Export::default()).unwrap(), Vec::<String>::new());
    assert_close(name, &scores(&exported, pairs), wanted);
    plain.write_manifest().unwrap();
    assert!(!Bundle::open(from, None, Device::Cpu).unwrap().is_plain());
    assert_close(name, &scores(from, pairs), wanted);
}

/// A case's network after the backward pass of the sum of all logits.
fn trained(expected: &Expected, name: &str, dir: &Path) -> Net {
    let from = folder(dir, name, &expected.cases[name]);
    let Checkpoint { mut config, weights, .. } = Checkpoint::read(&from).unwrap();
    (config.hidden_dropout_prob, config.attention_probs_dropout_prob) = (0.0, 0.0);
    let one_segment = config.type_vocab_size == 1;
    let net = Net::training(config, &CrossEncoder.modules(), weights, Dtype::F32, 1).unwrap();
    let text = TextEncoder::open(&from, TextConfig { max_tokens: 48, one_segment, ..TextConfig::default() }).unwrap();
    let encode = |[a, b]: &[String; 2]| text.encode(&[Input::Text(a), Input::Text(b)]).unwrap();
    let batch: Batch = expected.pairs.iter().map(encode).collect::<Vec<_>>().iter().collect();
    let loss = logits(&net.pass(Mode::Train { seed: 1 }), &batch).unwrap().sum_all().unwrap();
    loss.backward().unwrap();
    net
}

#[test]
fn every_array_of_modernbert_has_the_gradient_of_torch() {
    let (expected, dir) = (expected(), tempfile::tempdir().unwrap());
    let net = trained(&expected, "modernbert", dir.path());
    let gradient = |name: &str| net.parameters().get(name).unwrap().grad.lock().unwrap().to_vec();
    let wanted = expected.cases["modernbert"].gradients.as_ref().unwrap();
    let layers = ["attention.self.query", "attention.self.key", "attention.self.value"];
    let mut compared = 0;
    for (theirs, wanted) in wanted {
        let inner = theirs.strip_prefix("model.").unwrap_or(theirs);
        let layer = inner.strip_prefix("layers.").and_then(|rest| rest.split_once('.'));
        let ours = |name: &str, layer: &str| format!("bert.encoder.layer.{layer}.{name}.weight");
        let got = match (layer, inner) {
            (Some((layer, "attn.Wqkv.weight")), _) => {
                layers.iter().flat_map(|name| gradient(&ours(name, layer))).collect()
            }
            (Some((layer, "attn.Wo.weight")), _) => gradient(&ours("attention.output.dense", layer)),
            (Some((layer, "attn_norm.weight")), _) => gradient(&ours("attention.output.LayerNorm", layer)),
            (Some((layer, "mlp.Wi.weight")), _) => gradient(&ours("intermediate.dense", layer)),
            (Some((layer, "mlp.Wo.weight")), _) => gradient(&ours("output.dense", layer)),
            (Some((layer, "mlp_norm.weight")), _) => gradient(&ours("output.LayerNorm", layer)),
            (_, "embeddings.tok_embeddings.weight") => gradient("bert.embeddings.word_embeddings.weight"),
            (_, "embeddings.norm.weight") => gradient("bert.embeddings.LayerNorm.weight"),
            (_, "final_norm.weight") => gradient("bert.encoder.final_norm.weight"),
            // the head is candle's own
            _ => continue,
        };
        let got = [
            got.iter().map(|&g| f64::from(g)).sum(),
            got.iter().enumerate().map(|(i, &g)| f64::from(g) * (i as f64 % 7.0 - 3.0)).sum::<f64>(),
        ];
        for (got, wanted) in got.iter().zip(wanted) {
            assert!((got - wanted).abs() < 2e-3 * wanted.abs().max(1.0), "{theirs}: {got}, torch {wanted}");
        }
        compared += 1;
    }
    assert_eq!(compared, 4 * 6 - 1 + 3);
    let biases = gradient("bert.encoder.layer.1.output.dense.bias");
    assert!(biases.iter().all(|g| *g == 0.0), "a bias that the family does not have is not trained");
}

#[test]
fn every_array_of_longformer_has_the_gradient_of_torch() {
    let (expected, dir) = (expected(), tempfile::tempdir().unwrap());
    let net = trained(&expected, "longformer", dir.path());
    let mut compared = 0;
    for (theirs, wanted) in expected.cases["longformer"].gradients.as_ref().unwrap() {
        // the head is candle's own, and the tables have rows in Python that are left out here
        let Some(ours) = theirs.strip_prefix("longformer.").filter(|name| !name.contains("position")) else { continue };
        let got = net.parameters().get(&format!("bert.{ours}")).unwrap().grad.lock().unwrap().to_vec();
        let got = [
            got.iter().map(|&g| f64::from(g)).sum(),
            got.iter().enumerate().map(|(i, &g)| f64::from(g) * (i as f64 % 7.0 - 3.0)).sum::<f64>(),
        ];
        for (got, wanted) in got.iter().zip(wanted) {
            assert!((got - wanted).abs() < 2e-3 * wanted.abs().max(1.0), "{theirs}: {got}, torch {wanted}");
        }
        compared += 1;
    }
    assert_eq!(compared, 3 * (16 + 6) + 4);
}

/// Python's LongformerModel has a global token only where a call asks for it, and sentence-transformers does not.
#[test]
fn a_longformer_without_a_head_is_no_sentence_encoder() {
    let (expected, dir) = (expected(), tempfile::tempdir().unwrap());
    let folder = folder(dir.path(), "longformer", &expected.cases["longformer"]);
    let error = Bundle::open_encoder(&folder, None, Device::Cpu).err().unwrap();
    assert!(error.is_user_error() && error.to_string().contains("no global token in Python"), "{error}");
}

#[test]
fn a_split_encoder_of_any_family_scores_stored_states_as_the_joint_model_does() {
    let (expected, dir) = (expected(), tempfile::tempdir().unwrap());
    let split = |name: &str| {
        let from = folder(dir.path(), name, &expected.cases[name]);
        let settings = "split_at = 1\nquery_tokens = 20".parse().unwrap();
        let architecture = Architecture::named("yati", &settings).unwrap();
        let rendering = TextConfig { max_tokens: 48, ..TextConfig::default() };
        let out = dir.path().join(format!("{name}-split"));
        let manifest = Manifest { architecture, rendering, ..Manifest::default() };
        testing::write_bundle(&out, &from, &manifest).map(|()| out)
    };
    let error = split("modernbert").unwrap_err();
    assert!(error.is_user_error() && error.to_string().contains("its layers count positions themselves"), "{error}");
    for name in ["mpnet", "roberta", "xlm-roberta", "distilbert"] {
        let out = split(name).unwrap();
        let bundle = Bundle::open(&out, Some(Dtype::F32), Device::Cpu).unwrap();
        let columns: Arc<[String]> = Arc::new(["text".into()]);
        let record = |(at, [_, text]): (usize, &[String; 2])| Record {
            id: at.to_string(),
            columns: columns.clone(),
            values: vec![text.clone()],
        };
        let documents: Vec<Record> = expected.pairs.iter().enumerate().map(record).collect();
        let encoder = bundle.split_encoder().unwrap();
        let store = dir.path().join(format!("{name}-store"));
        let mut writer = StateWriter::build(&store, &encoder, RowStorage::F32).unwrap();
        writer.add(&encoder, bundle.tokenizer().rendering(), &documents, &|_, _| {}).unwrap();
        writer.complete().unwrap();
        let store = StateStore::open(&store, &encoder).unwrap();
        let places: Vec<Place> = documents.iter().map(|document| store.find(&document.id).unwrap()).collect();
        let lengths: Vec<u32> = places.iter().map(|place| store.length(*place)).collect();
        for [query, _] in expected.pairs.iter().take(5) {
            let list = List { query: Input::Text(query), candidates: documents.iter().map(Input::Record).collect() };
            let joint = bundle.score(&[list]).unwrap().remove(0);
            let query = encoder.encode_query(Input::Text(query)).unwrap();
            let stored = encoder.score(&query, &lengths, &|i, rows| store.fill(places[i], rows), None).unwrap();
            for (stored, joint) in stored.iter().zip(&joint) {
                assert_eq!(stored.to_bits(), joint.value.to_bits(), "{name}: {stored}, joint {}", joint.value);
            }
        }
    }
}

#[test]
fn the_relative_bias_has_the_gradient_of_torch() {
    let (expected, dir) = (expected(), tempfile::tempdir().unwrap());
    let (net, case) = (trained(&expected, "mpnet", dir.path()), &expected.cases["mpnet"]);
    let parameter = net.parameters().get("bert.encoder.relative_attention_bias.weight").unwrap();
    let got = parameter.grad.lock().unwrap().to_vec();
    let wanted = case.bias_gradient.as_ref().unwrap();
    assert!(wanted.iter().filter(|g| g.abs() > 1e-3).count() > 30);
    for (at, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        assert!((got - wanted).abs() < 1e-4 * wanted.abs().max(1.0), "value {at}: {got}, torch {wanted}");
    }
    assert_eq!(got.len(), wanted.len());
}

/// all-mpnet-base-v2, where `scripts/weights --mpnet` brought it; nothing else needs it.
#[test]
fn the_real_mpnet_has_the_states_of_transformers() {
    #[derive(Deserialize)]
    struct States {
        ids: Vec<u32>,
        first: Vec<f32>,
        mean: Vec<f32>,
    }
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/mpnet");
    if !dir.is_dir() {
        eprintln!("skipped: weights/mpnet is not there; run scripts/weights --mpnet");
        return;
    }
    let cases: Vec<States> = serde_json::from_slice(&std::fs::read(golden().join("mpnet.json")).unwrap()).unwrap();
    let Checkpoint { config, weights, .. } = Checkpoint::read(&dir).unwrap();
    let text = TextEncoder::open(&dir, TextConfig { one_segment: true, ..TextConfig::default() }).unwrap();
    let encoder = bert::encoder(&config, bert::PREFIX, &weights, Dtype::F32, Device::Cpu).unwrap();
    let (h, layers) = (config.hidden_size, 0..config.num_hidden_layers);
    let mut farthest = 0f32;
    for ([left, right], case) in expected().pairs.iter().zip(&cases) {
        let encoding = text.encode(&[Input::Text(left), Input::Text(right)]).unwrap();
        assert_eq!(encoding.ids, case.ids, "{left} | {right}");
        let batch: Batch = [&encoding].into_iter().collect();
        let request = Request { start: Start::Tokens(&batch), layers: layers.clone(), rows: Rows::All, keep: &[] };
        let rows = encoder.run(&request).unwrap().rows;
        let mean = |i: usize| rows.iter().skip(i).step_by(h).sum::<f32>() / encoding.ids.len() as f32;
        for (place, (first, average)) in case.first.iter().zip(&case.mean).enumerate() {
            let i = place * (h / 8);
            farthest = farthest.max((rows[i] - first).abs()).max((mean(i) - average).abs());
        }
    }
    println!("largest difference: {farthest:e}");
    assert!(farthest < 1e-4 && cases.len() == 50, "{farthest}");
}

#[test]
fn smaller_precisions_stay_near() {
    let (expected, dir) = (expected(), tempfile::tempdir().unwrap());
    for name in ["mpnet", "roberta", "xlm-roberta", "distilbert", "modernbert", "longformer"] {
        let from = folder(dir.path(), name, &expected.cases[name]);
        for (dtype, most) in [(Dtype::Bf16, 0.05), (Dtype::Int8, 0.3)] {
            let bundle = Bundle::open(&from, Some(dtype), Device::Cpu).unwrap();
            for ([a, b], wanted) in expected.pairs.iter().zip(&expected.cases[name].scores) {
                let got = bundle.score(&[List::pair(Input::Text(a), Input::Text(b))]).unwrap()[0][0].value;
                assert!((got - wanted).abs() < most, "{name} {dtype:?}: {got}, f32 {wanted}");
            }
        }
    }
}

/// Needs a Python with sentence-transformers: `python3`, or the one that `SVERKA_PYTHON` names.
#[test]
fn python_gives_the_scores_of_what_is_exported() {
    let (expected, dir) = (expected(), tempfile::tempdir().unwrap());
    let python = std::env::var_os("SVERKA_PYTHON").unwrap_or("python3".into());
    let mut check = std::process::Command::new(python);
    check.arg(golden().join("check.py"));
    for name in [
        "cased-by-settings",
        "xlmr-tokenizer",
        "one-segment",
        "vocab-cased",
        "added-by-file",
        "two-labels-turned",
        "mpnet",
        "roberta",
        "distilbert",
    ] {
        let case = &expected.cases[name];
        let to = dir.path().join(format!("{name}-exported"));
        export(&folder(dir.path(), name, case), &to, Export::default()).unwrap();
        check.arg(format!("{name}={}", to.display()));
    }
    match check.output() {
        Ok(out) if out.status.code() == Some(77) => {
            require::skipped("python", "Python has no sentence-transformers; set SVERKA_PYTHON")
        }
        Ok(out) => assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr)),
        Err(e) => require::skipped("python", &format!("no Python ({e}); set SVERKA_PYTHON")),
    }
}

/// Changes a copy of the usual case; gives the error, which is on one line and the user's business.
fn refusal(change: impl FnOnce(&Path)) -> String {
    let (expected, dir) = (expected(), tempfile::tempdir().unwrap());
    let folder = folder(dir.path(), "usual", &expected.cases["usual"]);
    change(&folder);
    let Err(error) = Bundle::open(&folder, None, Device::Cpu) else { panic!("it was opened") };
    assert!(error.is_user_error() && !error.to_string().contains('\n'), "{error}");
    error.to_string()
}

fn edit(path: &Path, key: &str, value: serde_json::Value) {
    let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    json[key] = value;
    std::fs::write(path, json.to_string()).unwrap();
}

#[test]
fn what_can_not_be_followed_is_named() {
    use serde_json::json;
    let tokenizer = |key: &'static str, value| move |dir: &Path| edit(&dir.join("tokenizer_config.json"), key, value);
    let config = |key: &'static str, value| move |dir: &Path| edit(&dir.join("config.json"), key, value);
    let said = refusal(tokenizer("tokenizer_class", json!("BertJapaneseTokenizer")));
    assert!(said.contains("tokenizer_class: is BertJapaneseTokenizer"), "{said}");
    let said = refusal(tokenizer("truncation_side", json!("left")));
    assert!(said.contains("truncation_side"), "{said}");
    let said = refusal(tokenizer("sep_token", json!("<end>")));
    assert!(said.contains("sep_token: <end> is not in the vocabulary"), "{said}");
    let said = refusal(config("sentence_transformers", json!({"activation_fn": "torch.nn.modules.activation.Tanh"})));
    assert!(said.contains("activation_fn: is torch.nn.modules.activation.Tanh"), "{said}");
    let said = refusal(config("id2label", json!({"0": "a", "1": "b"})));
    assert!(said.contains("id2label: has 2 names (a, b)"), "{said}");
    let said = refusal(|dir| {
        std::fs::remove_file(dir.join("tokenizer_config.json")).unwrap();
        std::fs::remove_file(dir.join("tokenizer.json")).unwrap();
        let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "Monitor"];
        std::fs::write(dir.join("vocab.txt"), words.join("\n")).unwrap();
    });
    assert!(said.contains("vocab.txt: do_lower_case") && said.contains("tokenizer_config.json"), "{said}");
}

#[test]
fn weights_in_another_form_are_named_with_what_to_do() {
    for (name, word) in [
        ("pytorch_model.bin", "save_pretrained"),
        ("pytorch_model.bin.index.json", "save_pretrained"),
        ("tf_model.h5", "transformers"),
        ("model.onnx", "fetch model.safetensors"),
        ("adapter_model.safetensors", "merge_and_unload"),
    ] {
        let said = refusal(|dir| std::fs::rename(dir.join("model.safetensors"), dir.join(name)).unwrap());
        assert!(said.contains(name) && said.contains(word), "{said}");
    }
}

#[test]
fn a_shard_that_is_missing_torn_or_of_another_model_is_named() {
    let (expected, dir) = (expected(), tempfile::tempdir().unwrap());
    let whole = folder(dir.path(), "shards", &expected.cases["shards"]);
    let error = || Bundle::open(&whole, None, Device::Cpu).map(|_| ()).unwrap_err().to_string();
    let shard = whole.join("model-00002-of-00002.safetensors");
    let bytes = std::fs::read(&shard).unwrap();
    std::fs::remove_file(&shard).unwrap();
    assert!(error().contains("model-00002-of-00002.safetensors: shard: is missing: shard 2 of 2"), "{}", error());
    std::fs::write(&shard, &bytes[..bytes.len() / 2]).unwrap();
    assert!(error().contains("model-00002-of-00002.safetensors: header"), "{}", error());
    std::fs::copy(whole.join("model-00001-of-00002.safetensors"), &shard).unwrap();
    assert!(error().contains("is not in this shard"), "{}", error());
    edit(&whole.join("model.safetensors.index.json"), "weight_map", serde_json::json!({"a": "../a.safetensors"}));
    assert!(error().contains("weight_map"), "{}", error());
}

#[test]
fn what_python_can_not_score_is_exported_with_a_note_or_not_at_all() {
    let (expected, dir) = (expected(), tempfile::tempdir().unwrap());
    let from = folder(dir.path(), "usual", &expected.cases["usual"]);
    let mut bundle = Bundle::open(&from, None, Device::Cpu).unwrap();
    bundle.manifest.rendering.ditto_markers = true;
    bundle.write_manifest().unwrap();
    let out = dir.path().join("out");
    let error = export(&from, &out, Export::default()).unwrap_err().to_string();
    assert!(error.contains("text.ditto_markers = true") && error.contains("--anyway") && !out.exists(), "{error}");
    let lacking = export(&from, &out, Export { anyway: true, ..Export::default() }).unwrap();
    let card = std::fs::read_to_string(out.join("README.md")).unwrap();
    assert!(
        lacking.len() == 1 && card.contains("not those it has in Sverka") && card.contains("text.ditto_markers"),
        "{card}"
    );
}

/// `tests/golden/modular`, copied.
fn modular(dir: &Path) -> PathBuf {
    let (from, to) = (golden().with_file_name("modular").join("model"), dir.join("modular"));
    for folder in ["", "1_Pooling", "2_Dense", "3_LayerNorm", "4_Dense"] {
        std::fs::create_dir_all(to.join(folder)).unwrap();
        for entry in std::fs::read_dir(from.join(folder)).unwrap().map(Result::unwrap).filter(|e| e.path().is_file()) {
            std::fs::copy(entry.path(), to.join(folder).join(entry.file_name())).unwrap();
        }
    }
    to
}

#[test]
fn a_head_in_modules_scores_as_in_torch() {
    #[derive(Deserialize)]
    struct Scores {
        cls: Vec<f32>,
        mean: Vec<f32>,
    }
    let (pairs, path) = (expected().pairs, golden().with_file_name("modular").join("expected.json"));
    let wanted: Scores = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    // the mean as older versions write it; by both keys the new one counts
    let older =
        r#"{"word_embedding_dimension": 16, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}"#;
    let both = r#"{"pooling_mode": ["mean"], "pooling_mode_cls_token": true}"#;
    for (name, pooling, wanted) in
        [("cls", None, &wanted.cls), ("mean", Some(older), &wanted.mean), ("mean of both", Some(both), &wanted.mean)]
    {
        let dir = tempfile::tempdir().unwrap();
        let folder = modular(dir.path());
        if let Some(pooling) = pooling {
            std::fs::write(folder.join("1_Pooling/config.json"), pooling).unwrap();
        }
        assert_close(name, &scores(&folder, &pairs), wanted);
        assert_kept(name, &folder, &pairs, wanted);
        // now a bundle, which knows its head's files
        std::fs::copy(folder.join("3_LayerNorm/model.safetensors"), folder.join("4_Dense/model.safetensors")).unwrap();
        let error = Bundle::open(&folder, None, Device::Cpu).err().unwrap().to_string();
        assert!(error.contains("SHA-256"), "{error}");
    }
}

#[test]
fn modules_that_are_no_head_of_the_network_are_named_and_training_may_begin() {
    use serde_json::json;
    type Change = Box<dyn Fn(&Path)>;
    let change = |file: &'static str, key: &'static str, value: serde_json::Value| -> Change {
        Box::new(move |dir: &Path| edit(&dir.join(file), key, value.clone()))
    };
    let listed = |change: fn(&mut Vec<serde_json::Value>)| -> Change {
        Box::new(move |dir: &Path| {
            let path = dir.join("modules.json");
            let mut list = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            change(&mut list);
            std::fs::write(path, json!(list).to_string()).unwrap();
        })
    };
    let activation = "activation_function";
    let with_bias: Change = Box::new(|dir: &Path| {
        let path = dir.join("2_Dense/model.safetensors");
        let mut arrays = sverka::nn::weights::read_safetensors(&path).unwrap();
        arrays.0.insert("linear.bias".into(), sverka::nn::Array::new(vec![16], vec![0.5; 16]));
        sverka::nn::weights::write_safetensors(&path, &arrays, Storage::F32).unwrap();
    });
    for (change, words) in [
        (change("1_Pooling/config.json", "pooling_mode", json!("max")), "1_Pooling is max"),
        (change("1_Pooling/config.json", "pooling_mode", json!(["cls", "mean"])), "1_Pooling is cls, mean"),
        (
            change("2_Dense/config.json", activation, json!("torch.nn.modules.activation.Tanh")),
            "2_Dense has the activation",
        ),
        (change("2_Dense/config.json", "use_residual", json!(true)), "2_Dense adds its input"),
        (
            change("4_Dense/config.json", activation, json!("torch.nn.modules.activation.Sigmoid")),
            "4_Dense has the activation",
        ),
        (change("2_Dense/config.json", "out_features", json!(8)), "2_Dense has 8 outputs"),
        (change("4_Dense/config.json", "out_features", json!(2)), "4_Dense has 2 outputs"),
        (with_bias, "2_Dense has a bias"),
        (change("config.json", "norm_eps", json!(1e-6)), "3_LayerNorm adds 1e-5"),
        (
            listed(|list| list.swap(2, 3)),
            "module 2 is a sentence_transformers.sentence_transformer.modules.layer_norm.LayerNorm",
        ),
        (
            listed(|list| list.insert(2, list[2].clone())),
            "module 3 is a sentence_transformers.base.modules.dense.Dense",
        ),
        (listed(|list| list.truncate(3)), "ends without a LayerNorm"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let folder = modular(dir.path());
        change(&folder);
        let Err(error) = Bundle::open(&folder, None, Device::Cpu) else { panic!("{words}: it was opened") };
        assert!(error.is_user_error() && !error.to_string().contains('\n'), "{error}");
        assert!(error.to_string().contains(&format!("modules.json: type: {words}")), "{words}: {error}");
        Checkpoint::read(&folder).unwrap().select(&CrossEncoder, Purpose::Start).unwrap();
    }
}
