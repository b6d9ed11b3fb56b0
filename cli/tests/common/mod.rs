//! The real binary, a random model small enough for a test, and two small lists.
#![allow(dead_code)] // each test file uses a part of it

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use sverka::bundle::{self, Architecture, Contents, Manifest, Storage};
use sverka::testing;

/// `sverka` in a folder.
pub fn sverka(dir: &Path) -> Command {
    let mut command = Command::cargo_bin("sverka").unwrap();
    command.current_dir(dir).env_remove("SVERKA_MODEL").env_remove("SVERKA_CPU").env_remove("RUST_LOG");
    command
}

/// Runs `sverka` where no file may grow beyond `blocks` of 512 bytes, which fails a write as a full disk does.
#[cfg(unix)]
pub fn with_little_room(dir: &Path, blocks: u32, arguments: &[&str]) -> Assert {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.current_dir(dir).args(["-c", &script]).arg(assert_cmd::cargo::cargo_bin("sverka"));
    command.args(arguments).env("SVERKA_MODEL", "model").assert()
}

pub fn stdout(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}
pub fn stderr(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

/// The one line of an error: `parts` are in it, and nothing else is said but warnings.
pub fn one_line(assert: &Assert, parts: &[&str]) {
    let said = stderr(assert);
    let lines: Vec<&str> =
        said.lines().filter(|l| !l.starts_with("warn: ") && !l.ends_with("all of its pairs are used")).collect();
    assert_eq!(lines.len(), 1, "more than a line: {said}");
    assert!(lines[0].starts_with("error: "), "{said}");
    for part in parts {
        assert!(lines[0].contains(part), "`{part}` is missing: {said}");
    }
}

/// Names in a folder, sorted, hidden ones too.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

pub fn write(path: &Path, text: impl AsRef<[u8]>) -> PathBuf {
    std::fs::write(path, text).unwrap();
    path.to_path_buf()
}

const WORDS: &str = "sony camera dsc w120 black white lamp 40 60 w lg tv 32 42 inch canon printer toner red blue";

/// Characters, and words of the lists.
fn vocabulary() -> Vec<String> {
    let mut words: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from).into();
    let letters = ('a'..='z').chain('а'..='я').chain('0'..='9');
    for letter in letters {
        words.extend([letter.to_string(), format!("##{letter}")]);
    }
    words.extend(",.-/()".chars().map(String::from));
    words.extend(WORDS.split(' ').map(String::from).filter(|w| w.chars().count() > 1));
    words
}

/// A random model in `dir/model`: 2 layers of 32, trained on nothing, so its decisions are arbitrary and always the same.
pub fn model(dir: &Path) -> PathBuf {
    let tokenizer = dir.join("tokenizer");
    std::fs::create_dir_all(&tokenizer).unwrap();
    let words = vocabulary();
    write(&tokenizer.join("vocab.txt"), words.join("\n") + "\n");
    let config = testing::config(words.len());
    let weights = testing::weights(&config, &*Architecture::CrossEncoder.model(), 0.3, 7);
    let out = dir.join("model");
    let (manifest, config, weights, tokenizer_from) = (&Manifest::default(), &config, &weights, &*tokenizer);
    bundle::save(&out, &Contents { manifest, config, weights, tokenizer_from, storage: Storage::F32 }, false).unwrap();
    out
}

pub const LEFT: &str = "id,name,price\n\
    1,sony camera dsc w120 black,100\n2,lamp 40 w white,5\n3,\"lg tv, 42 inch\",300\n4,canon printer toner,20\n";
pub const RIGHT: &str = "id,name,price\n\
    a,camera sony dsc-w120 (black),99\nb,lamp 60 w white,6\nc,tv lg 42 inch,310\nd,toner canon black,25\ne,lamp 40w,4\n";

/// Writes the two lists.
pub fn lists(dir: &Path) {
    write(&dir.join("left.csv"), LEFT);
    write(&dir.join("right.csv"), RIGHT);
}

/// Labelled pairs of both kinds, `left_*` and `right_*` columns, in a folder of three parts.
pub fn pairs(dir: &Path) -> PathBuf {
    let colours = ["black", "white", "red", "blue"];
    let things = ["camera", "lamp", "printer", "tv"];
    let data = dir.join("pairs");
    std::fs::create_dir_all(&data).unwrap();
    for (part, count) in [("train", 64), ("valid", 32), ("test", 32)] {
        let mut text = String::from("left_name,left_price,right_name,right_price,label\n");
        for i in 0..count {
            let (colour, thing) = (colours[i % 4], things[i / 4 % 4]);
            let other = colours[(i + usize::from(i % 3 > 0)) % 4];
            // no pair is in two parts: training would leave it out
            let (code, label) = (format!("{}{i}", &part[..2]), u8::from(i % 3 == 0));
            text += &format!("{thing} {colour} {code},{i},{other} {thing} {code},{i},{label}\n");
        }
        write(&data.join(format!("{part}.csv")), text);
    }
    data
}

pub fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// `judged.csv`: pairs whose labels follow the scores of the random model, but for every eighth; `turned` has them the other way round.
pub fn judged(dir: &Path) {
    judged_by(dir, "model", 8);
}

/// The same by another model; no label is wrong with `wrong` 0.
pub fn judged_by(dir: &Path, model: &str, wrong: usize) {
    let texts: Vec<String> = ["train", "valid", "test"]
        .iter()
        .flat_map(|part| {
            let text = std::fs::read_to_string(dir.join("pairs").join(format!("{part}.csv"))).unwrap();
            text.lines().skip(1).map(|line| line.rsplit_once(',').unwrap().0.to_string()).collect::<Vec<_>>()
        })
        .collect();
    let header = "left_name,left_price,right_name,right_price,label\n";
    let rows = |label: &dyn Fn(usize) -> bool| {
        let line = |(i, text): (usize, &String)| format!("{text},{}\n", u8::from(label(i)));
        header.to_string() + &texts.iter().enumerate().map(line).collect::<String>()
    };
    write(&dir.join("all.csv"), rows(&|i| i.is_multiple_of(2)));
    let said = stdout(&sverka(dir).args(["score", model, "all.csv"]).assert().code(0));
    let scores: Vec<f64> = said.lines().map(|line| json(line)["score"].as_f64().unwrap()).collect();
    let mut sorted = scores.clone();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted[sorted.len() * 2 / 3];
    let label = |i: usize| (scores[i] >= middle) != (wrong > 0 && i.is_multiple_of(wrong.max(1)));
    write(&dir.join("judged.csv"), rows(&label));
    write(&dir.join("turned.csv"), rows(&|i| !label(i)));
}

/// A split encoder in `dir/split`, over the model's tokenizer and as random.
pub fn split_model(dir: &Path) -> PathBuf {
    model_of(dir, "yati", "split")
}

/// A random model of an architecture, next to [`model`].
pub fn model_of(dir: &Path, architecture: &str, name: &str) -> PathBuf {
    let mut config = testing::config(vocabulary().len());
    config.type_vocab_size = if architecture == "duo" { 3 } else { 2 };
    let architecture = Architecture::named(architecture, &toml::Table::new()).unwrap();
    let weights = testing::weights(&config, &*architecture.model(), 0.3, 7);
    let out = dir.join(name);
    let manifest = Manifest { architecture, ..Manifest::default() };
    let (manifest, config, weights, tokenizer_from) = (&manifest, &config, &weights, &*dir.join("tokenizer"));
    bundle::save(&out, &Contents { manifest, config, weights, tokenizer_from, storage: Storage::F32 }, false).unwrap();
    out
}
