use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::models::Reads;
use crate::models::bert::WORDS;
use crate::nn::weights::{Array, read_safetensors};
use crate::ranker::List;
use crate::{Input, Score};

const NAMES: [&str; 3] = ["one-segment", "three-segments", "five-segments"];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bert").join(name)
}

/// A copy that may be broken.
fn copy(name: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join(name);
    fs::create_dir(&to).unwrap();
    for entry in fs::read_dir(golden(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    (dir, to)
}

fn manifest() -> Manifest {
    let rendering = TextConfig { max_tokens: 64, ..TextConfig::default() };
    Manifest { rendering, trained_on: Some("abc".into()), ..Manifest::default() }
}

/// A cross-encoder's configuration and weights, to begin training with.
fn read_directory(dir: &Path) -> Result<(Config, Weights)> {
    let mut checkpoint = Checkpoint::read(dir)?;
    checkpoint.select(&*Architecture::CrossEncoder.model(), Purpose::Start)?;
    Ok((checkpoint.config, checkpoint.weights))
}

fn save_as(
    out: &Path,
    manifest: &Manifest,
    config: &Config,
    weights: &Weights,
    from: &Path,
    storage: Storage,
) -> Result<()> {
    save(out, &Contents { manifest, config, weights, tokenizer_from: from, storage }, false)
}

fn score(bundle: &Bundle, query: Input, candidates: &[Input]) -> Vec<Score> {
    bundle.score(&[List { query, candidates: candidates.to_vec() }]).unwrap().remove(0)
}

/// A bundle of the RuBERT-style checkpoint.
fn saved(storage: Storage) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("model");
    let (config, weights) = read_directory(&golden("rubert")).unwrap();
    save_as(&out, &manifest(), &config, &weights, &golden("rubert"), storage).unwrap();
    (dir, out)
}

/// One line that names the file and the key, and is the user's business.
fn assert_refused<T>(result: Result<T>, file: &str, key: &str) {
    let Err(error) = result else { panic!("{file}: {key} was accepted") };
    let text = error.to_string();
    assert!(text.contains(file) && text.contains(key) && !text.contains('\n') && error.is_user_error(), "{text}");
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    // a person who edits a manifest takes the checksum out
    if path.ends_with("sverka.json") && value["version"] == VERSION {
        value.as_object_mut().unwrap().remove("sha256");
        value["version"] = 1.into();
    }
    fs::write(path, value.to_string()).unwrap();
}

fn change_weights(dir: &Path, change: impl FnOnce(&mut Weights)) {
    let path = dir.join(arrays::WEIGHTS);
    let mut weights = read_safetensors(&path).unwrap();
    change(&mut weights);
    write_safetensors(&path, &weights, Storage::F32).unwrap();
}

#[test]
fn every_spelling_has_the_same_names() {
    for (name, head) in NAMES.into_iter().zip([true, true, false]) {
        let (config, weights) = read_directory(&golden(name)).unwrap();
        assert_eq!(weights.0.len(), 5 + 16 * config.num_hidden_layers + 2 + if head { 2 } else { 0 }, "{name}");
        assert!(weights.0.contains_key("bert.encoder.layer.1.output.LayerNorm.weight"), "{name}");
        assert_eq!(weights.0.contains_key("classifier.weight"), head, "{name}");
    }
}

#[test]
fn a_masked_language_head_is_left_out() {
    let (_dir, to) = copy("five-segments");
    change_weights(&to, |w| {
        w.0.retain(|name, _| !name.starts_with("pooler"));
        w.0.insert("cls.predictions.bias".into(), Array::new(vec![48], vec![0.0; 48]));
    });
    let (_, weights) = read_directory(&to).unwrap();
    assert!(weights.0.keys().all(|name| name.starts_with("bert.") && !name.contains("pooler")));
}

#[test]
fn export_gives_back_every_value() {
    let dir = tempfile::tempdir().unwrap();
    for name in NAMES {
        let out = dir.path().join(name);
        export(&golden(name), &out, Export::default()).unwrap();
        assert_eq!(read_directory(&out).unwrap().1.0, read_directory(&golden(name)).unwrap().1.0, "{name}");
        assert_eq!(read_directory(&out).unwrap().0, read_directory(&golden(name)).unwrap().0, "{name}");
        assert!(!out.join("sverka.json").exists());
    }
    let stored = read_safetensors(&dir.path().join("three-segments/model.safetensors")).unwrap();
    assert_eq!(stored.0["classifier.weight"].shape, [2, 30], "both labels stay");
    let config: Value =
        serde_json::from_slice(&fs::read(dir.path().join("three-segments/config.json")).unwrap()).unwrap();
    assert_eq!(config["id2label"], json!({"0": "LABEL_0", "1": "LABEL_1"}));
    assert_eq!(config["hidden_dropout_prob"].to_string(), "0.1");
}

#[test]
fn a_bundle_comes_back_as_it_was_saved() {
    let (config, weights) = read_directory(&golden("rubert")).unwrap();
    for storage in [Storage::F32, Storage::Bf16, Storage::Int8] {
        let (_dir, out) = saved(storage);
        let read = Manifest::read(&out).unwrap().unwrap();
        let (weights_sha256, files) = (read.weights_sha256.clone(), read.files.clone());
        assert!(["config.json", "vocab.txt", "tokenizer_config.json"].iter().all(|name| files.contains_key(*name)));
        let expected = Manifest { storage, weights_sha256, files, ..manifest() };
        assert_eq!((&read, read.weights_sha256.len()), (&expected, 64));
        let (config_read, weights_read) = read_directory(&out).unwrap();
        assert_eq!(config_read, config);
        assert_eq!(weights_read.0 == weights.0, storage == Storage::F32);
        assert_eq!(fs::read(out.join("vocab.txt")).unwrap(), fs::read(golden("rubert/vocab.txt")).unwrap());
        assert!(fs::read_to_string(out.join("README.md")).unwrap().contains("2 layers, 16 wide"));
        // int8 and bf16 come out as the values that serving computes with
        let plain = out.with_file_name("plain");
        export(&out, &plain, Export::default()).unwrap();
        let values = |w: &Weights| w.0.iter().map(|(n, a)| (n.clone(), a.values().into_owned())).collect::<Vec<_>>();
        assert!(values(&read_directory(&plain).unwrap().1) == values(&weights_read), "{storage:?}");
    }
}

#[test]
#[cfg(unix)]
fn whoever_may_read_the_folder_may_read_the_weights() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, out) = saved(Storage::Int8);
    let mode = |name: &str| fs::metadata(out.join(name)).unwrap().permissions().mode();
    assert_eq!(mode("model.safetensors"), mode("config.json"));
}

#[test]
fn an_output_that_exists_is_kept_unless_forced() {
    let (_dir, out) = saved(Storage::F32);
    let before = fs::read(out.join("sverka.json")).unwrap();
    assert!(matches!(export(&golden("one-segment"), &out, Export::default()), Err(Error::Exists(path)) if path == out));
    assert_eq!(fs::read(out.join("sverka.json")).unwrap(), before);
    export(&golden("one-segment"), &out, Export { force: true, anyway: false }).unwrap();
    assert!(!out.join("sverka.json").exists());
    assert_eq!(read_directory(&out).unwrap().0.vocab_size, 50);
    // what is no model is never replaced
    let mine = out.with_file_name("mine");
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("letters.txt"), "dear").unwrap();
    assert_refused(
        export(&golden("one-segment"), &mine, Export { force: true, anyway: false }),
        "mine",
        "another name",
    );
    assert_eq!(fs::read_dir(out.parent().unwrap()).unwrap().count(), 2, "nothing is left over");
}

#[test]
fn a_failure_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("model");
    let full = || Err(Error::io("write", &out)(std::io::ErrorKind::StorageFull.into()));
    let result = folder::write(&out, false, |to| {
        fs::write(to.join("a"), "b").map_err(Error::io("write", to)).and_then(|()| full())
    });
    assert_refused(result, "model", "write");
    let inner = folder::write(&out, false, |to| {
        std::fs::write(to.join("no/a"), "b").map_err(Error::io("write", &to.join("no/a")))
    });
    assert_refused(inner, &out.join("no/a").to_string_lossy(), "write");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_missing_or_misshapen_tensor_is_named() {
    const NAME: &str = "bert.encoder.layer.1.intermediate.dense.bias";
    let file = "model.safetensors";
    let (_dir, to) = copy("one-segment");
    change_weights(&to, |w| drop(w.0.remove(NAME)));
    assert_refused(read_directory(&to), file, &format!("{NAME}: is missing"));
    change_weights(&to, |w| drop(w.0.insert(NAME.into(), Array::new(vec![2], vec![0.0; 2]))));
    assert_refused(read_directory(&to), file, &format!("{NAME}: has shape [2]"));
    change_weights(&to, |w| drop(w.0.insert(NAME.into(), Array::new(vec![37], vec![0.0; 37]))));
    read_directory(&to).unwrap();
    let strange = "bert.encoder.layer.2.output.dense.bias";
    change_weights(&to, |w| drop(w.0.insert(strange.into(), Array::new(vec![16], vec![0.0; 16]))));
    assert_refused(read_directory(&to), file, strange);
    change_weights(&to, |w| {
        w.0.remove(strange);
        w.0.insert("classifier.weight".into(), Array::new(vec![3, 16], vec![0.0; 48]));
        w.0.insert("classifier.bias".into(), Array::new(vec![3], vec![0.0; 3]));
    });
    let mut checkpoint = Checkpoint::read(&to).unwrap();
    let model = Architecture::CrossEncoder.model();
    assert_refused(checkpoint.clone().select(&*model, Purpose::Score), file, "classifier.weight: has 3 labels");
    let notes = checkpoint.select(&*model, Purpose::Start).unwrap();
    assert!(notes.len() == 1 && notes[0].contains("classifier has 3 outputs"), "{notes:?}");
    assert!(!checkpoint.weights.0.contains_key("classifier.weight"));
    fs::remove_file(to.join(file)).unwrap();
    assert_refused(read_directory(&to), file, "read");
}

#[test]
fn a_configuration_of_another_network_is_named() {
    let (_dir, to) = copy("one-segment");
    let path = to.join("config.json");
    let good = fs::read(&path).unwrap();
    let cases = [
        ("model_type", json!("t5")),
        ("hidden_act", json!("relu")),
        ("is_decoder", json!(true)),
        ("hidden_size", json!("16")),
        ("num_hidden_layers", json!(1_000_000_000_000u64)),
        ("num_attention_heads", json!(3)),
        ("num_attention_heads", json!(0)),
        ("layer_norm_eps", json!(-1)),
        ("hidden_dropout_prob", json!(1.0)),
        ("vocab_size", json!(null)),
    ];
    for (key, value) in cases {
        fs::write(&path, &good).unwrap();
        let named = if key == "num_hidden_layers" { "bert.encoder.layer.2" } else { key };
        let file = if key == "num_hidden_layers" { "model.safetensors" } else { "config.json" };
        edit(&path, |config| config[key] = value);
        assert_refused(read_directory(&to), file, named);
    }
    fs::write(&path, &good[..50]).unwrap();
    assert_refused(read_directory(&to), "config.json", "JSON");
}

#[test]
fn a_manifest_that_can_not_be_used_is_named() {
    let (_dir, out) = saved(Storage::F32);
    let path = out.join("sverka.json");
    let good = fs::read(&path).unwrap();
    let cases: [(&str, Value, &str); 7] = [
        ("version", json!(VERSION + 1), "version: the bundle's version is 3"),
        ("version", json!("one"), "version"),
        ("architecture", json!("colbart"), "architecture: is colbart, this Sverka knows cross_encoder, dssm, duo"),
        ("architecture", json!({"dssm": {"poling": "cls"}}), "poling"),
        ("rendering", json!({"max_tokens": 64, "colour": 1}), "colour"),
        ("storage", json!("int4"), "int4"),
        ("news", json!(1), "news"),
    ];
    for (key, value, named) in cases {
        fs::write(&path, &good).unwrap();
        edit(&path, |manifest| manifest[key] = value);
        assert_refused(Manifest::read(&out), "sverka.json", named);
        assert_refused(export(&out, &out.with_file_name("x"), Export::default()), "sverka.json", named);
    }
    fs::write(&path, &good[..20]).unwrap();
    assert_refused(Manifest::read(&out), "sverka.json", "JSON");
    assert_eq!(Manifest::read(&golden("rubert")).unwrap(), None);
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let (config, weights) = read_directory(&golden("rubert")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let save = |rendering: TextConfig, config: &Config, from: &str| {
        let manifest = Manifest { rendering, ..Manifest::default() };
        save_as(&dir.path().join("x"), &manifest, config, &weights, &golden(from), Storage::F32)
    };
    let short = TextConfig { max_tokens: 513, ..TextConfig::default() };
    assert_refused(save(short, &config, "rubert"), "config.json", "rendering.max_tokens");
    let marked = TextConfig { overlap_segments: true, ..TextConfig::default() };
    assert_refused(save(marked.clone(), &config, "rubert"), "config.json", "type_vocab_size");
    let small = Config { vocab_size: 40, ..config.clone() };
    assert_refused(save(TextConfig::default(), &small, "rubert"), "config.json", "vocab_size");
    // the file that has the key is the one that is named, next to a manifest too
    let (_dir, out) = saved(Storage::F32);
    let open = |rendering: TextConfig| {
        edit(&out.join("sverka.json"), |v| v["rendering"] = serde_json::to_value(rendering).unwrap());
        Bundle::open(&out, None, Device::Cpu)
    };
    assert_refused(open(marked), "config.json", "type_vocab_size");
    assert_refused(
        open(TextConfig { max_tokens: 513, ..TextConfig::default() }),
        "sverka.json",
        "rendering.max_tokens",
    );
    // changed weights are found before they score
    let (_dir, out) = saved(Storage::F32);
    change_weights(&out, |w| w.0.get_mut("classifier.bias").unwrap().values_mut()[0] += 1.0);
    assert_refused(Bundle::open(&out, None, Device::Cpu), "model.safetensors", "SHA-256");
    assert_refused(Bundle::open(&golden("five-segments"), None, Device::Cpu), "model.safetensors", "classifier.weight");
    // Python would fail for want of a row: all tokens have segment 0
    assert!(Bundle::open(&golden("one-segment"), None, Device::Cpu).unwrap().manifest.rendering.one_segment);
}

#[test]
fn arrays_of_another_architecture_are_named_and_never_dropped_in_silence() {
    let (_dir, to) = copy("three-segments");
    change_weights(&to, |w| drop(w.0.insert("linear.weight".into(), Array::new(vec![2, 30], vec![0.0; 60]))));
    let model = Architecture::CrossEncoder.model();
    assert_refused(
        Checkpoint::read(&to).unwrap().select(&*model, Purpose::Score),
        "model.safetensors",
        "linear.weight",
    );
    let notes = Checkpoint::read(&to).unwrap().select(&*model, Purpose::Start).unwrap();
    assert!(notes.len() == 1 && notes[0].contains("linear is left out"), "{notes:?}");
    // a tower has no pooler and no classifier
    let dssm = Architecture::Dssm(Default::default()).model();
    let notes = Checkpoint::read(&golden("rubert")).unwrap().select(&*dssm, Purpose::Start).unwrap();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert_refused(
        Checkpoint::read(&golden("rubert")).unwrap().select(&*dssm, Purpose::Score),
        "model.safetensors",
        "pooler",
    );
    // half a head is no head
    change_weights(&to, |w| drop(w.0.remove("classifier.bias")));
    let mut half = Checkpoint::read(&to).unwrap();
    assert_refused(half.select(&*model, Purpose::Start), "model.safetensors", "classifier.bias: is missing");
}

#[test]
fn a_second_documents_segments_begin_as_the_firsts() {
    let (mut config, mut weights) = read_directory(&golden("rubert")).unwrap();
    let rows = |w: &Weights| w.0["bert.embeddings.token_type_embeddings.weight"].values().to_vec();
    let before = rows(&weights);
    grow_segments(&mut config, &mut weights, 3, Reads::Triple).unwrap();
    assert_eq!(rows(&weights), [&before[..], &before[16..]].concat());
}

#[test]
fn a_bundle_scores_and_decides() {
    let (_dir, out) = saved(Storage::F32);
    let mut bundle = Bundle::open(&out, None, Device::Cpu).unwrap();
    let [left, right, other] = ["Монитор 27", "монитор LG 27", "Чай чёрный"].map(Input::Text);
    let scores = score(&bundle, left, &[right, other]);
    assert_ne!(scores[0].value, scores[1].value);
    assert!(scores.iter().all(|s| s.readable && !s.truncated));
    assert!(score(&bundle, left, &[]).is_empty());
    let of = |value: f32| Score { value, truncated: false, readable: true };
    assert_eq!(bundle.decide(&of(0.0)), (0.5, true));
    assert!(!bundle.decide(&Score { readable: false, ..of(5.0) }).1, "nothing to go by is never a match");
    let long = "монитор ".repeat(100);
    let noted = score(&bundle, left, &[Input::Text(&long), right, Input::Text("")]);
    assert_eq!(noted.iter().map(|s| s.truncated).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(noted.iter().map(|s| s.readable).collect::<Vec<_>>(), [true, true, false]);
    // a calibration and a threshold are kept
    bundle.manifest.calibration = Some(crate::calibrate::Calibration::Platt { slope: 1.0, intercept: -1.0 });
    let goal = crate::calibrate::ThresholdObjective::F1;
    bundle.manifest.threshold = Some(crate::calibrate::Threshold { value: 0.5, goal, low: 0.4, high: 0.6 });
    bundle.write_manifest().unwrap();
    let again = Bundle::open(&out, None, Device::Cpu).unwrap();
    assert_eq!(again.manifest, bundle.manifest);
    assert!(!again.decide(&of(0.9)).1 && again.decide(&of(1.1)).1);
    // the plain directory scores the same, and becomes a bundle when a manifest is written
    let plain = out.with_file_name("plain");
    export(&out, &plain, Export::default()).unwrap();
    let plain_bundle = Bundle::open(&plain, None, Device::Cpu).unwrap();
    assert!(plain_bundle.is_plain() && !bundle.is_plain());
    assert_eq!(score(&plain_bundle, left, &[right, other]), scores);
    plain_bundle.write_manifest().unwrap();
    assert!(!Bundle::open(&plain, None, Device::Cpu).unwrap().is_plain());
}

#[test]
fn a_pruned_model_has_the_rows_of_its_words() {
    let (_dir, out) = saved(Storage::F32);
    let keep = crate::text::prune::Keep::default();
    let pruned = crate::text::prune(&out, ["Монитор 27"], keep).unwrap();
    let small = out.with_file_name("small");
    let (before, after) = prune(&out, &pruned, &small).unwrap();
    assert!(before > after && after == pruned.kept().len(), "{before} {after}");
    let (was, is) = (read_directory(&out).unwrap().1, read_directory(&small).unwrap().1);
    let row = |w: &Weights, id: usize| w.0[&format!("bert.{WORDS}")].values()[id * 16..][..16].to_vec();
    let rendering = manifest().rendering;
    let ids = |dir: &Path| {
        TextEncoder::open(dir, rendering.clone()).unwrap().encode(&[Input::Text("Монитор 27")]).unwrap().ids
    };
    for (old, new) in ids(&out).into_iter().zip(ids(&small)) {
        assert_eq!(row(&was, old as usize), row(&is, new as usize));
    }
    assert_eq!(Manifest::read(&small).unwrap().unwrap().rendering, rendering);
}

/// A changed byte in any file is named before anything is scored.
#[test]
fn a_bundle_is_whole_or_refused() {
    for name in ["config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors", "sverka.json"] {
        let (_dir, out) = saved(Storage::F32);
        let path = out.join(name);
        let mut bytes = fs::read(&path).unwrap();
        // in a value that still can be read
        let at = match name {
            "model.safetensors" => bytes.len() - 2,
            "sverka.json" => String::from_utf8_lossy(&bytes).find("64").unwrap(),
            _ => bytes.len() - 1,
        };
        bytes[at] = if name == "sverka.json" { b'5' } else { bytes[at] ^ 1 };
        if bytes[at] == 11 {
            bytes[at] = b' ';
        }
        fs::write(&path, bytes).unwrap();
        let key = if name == "sverka.json" { "sha256" } else { "SHA-256" };
        assert_refused(Bundle::open(&out, None, Device::Cpu), name, key);
        assert_refused(Checkpoint::read(&out), name, key);
    }
    let (_dir, out) = saved(Storage::F32);
    fs::write(out.join("added_tokens.json"), "{}").unwrap();
    assert_refused(Bundle::open(&out, None, Device::Cpu), "added_tokens.json", "no part of the bundle");
    let (_dir, out) = saved(Storage::F32);
    fs::remove_file(out.join("tokenizer_config.json")).unwrap();
    assert_refused(Bundle::open(&out, None, Device::Cpu), "tokenizer_config.json", "is missing");
}

#[test]
fn a_bundle_without_its_manifest_is_no_plain_folder() {
    let (_dir, out) = saved(Storage::Int8);
    fs::remove_file(out.join("sverka.json")).unwrap();
    assert_refused(Bundle::open(&out, None, Device::Cpu), "sverka.json", "is missing");
    // the card of an older version says it too
    edit(&out.join("config.json"), |config| drop(config.as_object_mut().unwrap().remove("sverka")));
    assert_refused(Checkpoint::read(&out), "sverka.json", "is missing");
    fs::remove_file(out.join("README.md")).unwrap();
    Checkpoint::read(&out).unwrap();
}

#[test]
fn a_bundle_of_before_checksums_opens() {
    let (_dir, out) = saved(Storage::F32);
    edit(&out.join("sverka.json"), |manifest| drop(manifest.as_object_mut().unwrap().remove("files")));
    let bundle = Bundle::open(&out, None, Device::Cpu).unwrap();
    assert!(bundle.manifest.files.is_empty());
    bundle.write_manifest().unwrap();
    assert!(!Manifest::read(&out).unwrap().unwrap().files.is_empty());
}

#[test]
fn maps_and_thresholds_that_mean_nothing_are_refused() {
    let (_dir, out) = saved(Storage::F32);
    let path = out.join("sverka.json");
    let good = fs::read(&path).unwrap();
    let threshold = |value: f64| json!({"value": value, "goal": "f1", "low": 0.4, "high": 0.6});
    for (key, value, named) in [
        ("calibration", json!({"method": "platt", "slope": -1.0, "intercept": 0.0}), "calibration.slope"),
        ("calibration", json!({"method": "isotonic", "scores": [], "probabilities": []}), "calibration.scores"),
        (
            "calibration",
            json!({"method": "isotonic", "scores": [2.0, 1.0], "probabilities": [0.1, 0.2]}),
            "calibration.scores",
        ),
        ("threshold", threshold(1.5), "threshold: 1.5"),
        ("threshold", threshold(-0.1), "threshold: -0.1"),
    ] {
        fs::write(&path, &good).unwrap();
        edit(&path, |manifest| manifest[key] = value);
        assert_refused(Bundle::open(&out, None, Device::Cpu), "sverka.json", named);
    }
}

#[test]
fn weights_whose_scores_are_no_numbers_are_refused() {
    let (_dir, to) = copy("rubert");
    change_weights(&to, |w| {
        w.0.get_mut("bert.encoder.layer.1.output.LayerNorm.weight").unwrap().values_mut()[0] = 3e38
    });
    assert_refused(Checkpoint::read(&to), "model.safetensors", "LayerNorm.weight: value 0 is 3");
    let (_dir, to) = copy("rubert");
    change_weights(&to, |w| {
        for (name, array) in &mut w.0 {
            if name.starts_with("bert.encoder") {
                array.values_mut().fill(9e17);
            }
        }
    });
    assert_refused(Bundle::open(&to, None, Device::Cpu), "model.safetensors", "scores: are not finite");
}

#[test]
#[cfg(unix)]
fn what_is_no_file_is_refused() {
    for name in ["config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json", "sverka.json"] {
        let (_dir, out) = saved(Storage::F32);
        fs::remove_file(out.join(name)).unwrap();
        std::os::unix::fs::symlink("/dev/zero", out.join(name)).unwrap();
        let Err(error) = Bundle::open(&out, None, Device::Cpu) else { panic!("{name}") };
        assert!(error.to_string().contains("is a device or a pipe") && error.is_user_error(), "{name}: {error}");
    }
}
