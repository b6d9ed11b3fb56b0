//! Tokenizer files on disk: `tokenizer.json` of any kind that frames a pair with special tokens, else `vocab.txt` of a BERT.
//!
//! In a bundle `tokenizer.json` says all. A plain folder's is read as Python reads it ([`python`](super::python)): the other files
//! may overrule it, and what comes out is what a bundle made from it gets.

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

use super::TextConfig;
use super::python::{self, Reading, Settings};
use super::scripts::Unlearnt;
use super::tokenizers::Ngrams;
use crate::{Error, Result};

/// Files that make up a tokenizer; those that exist are kept and written back byte for byte.
const NAMES: [&str; 5] =
    ["tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];

/// A tokenizer as read: the library's object, the files it came from, and how it frames texts.
pub(super) struct Files {
    /// Never truncates or pads, and takes special tokens in a user's text for plain text.
    pub(super) tokenizer: Tokenizer,
    /// Name and content.
    pub(super) files: Vec<(String, Vec<u8>)>,
    /// The file that was read for the vocabulary.
    pub(super) path: PathBuf,
    pub(super) template: Template,
    /// The token of what the vocabulary does not have.
    pub(super) unknown: Option<u32>,
    /// Scripts that it has nothing but letters of.
    pub(super) unlearnt: Unlearnt,
    /// Hashed n-grams, cut from the words that `tokenizer` finds.
    pub(super) ngrams: Option<Ngrams>,
    /// Tokens are written in signs for bytes, which nobody can read.
    pub(super) byte_level: bool,
    /// How Python reads a plain folder's; none for a bundle.
    pub(super) reading: Option<Reading>,
}

/// The file that makes a folder a bundle.
const BUNDLE: &str = "sverka.json";
/// What to do about a file of another kind.
const KNOWN: &str = "give the tokenizer.json of a BERT or XLM-RoBERTa model";
/// sentence-transformers' settings of its first module, by the names they have had.
const SENTENCE: [&str; 4] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_xlm-roberta_config.json",
];

/// The special tokens around texts: `prefix A suffix`, `prefix A separator B suffix`, `prefix A separator B separator C suffix`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) prefix: Vec<u32>,
    pub(super) separator: Vec<u32>,
    pub(super) suffix: Vec<u32>,
}

impl Template {
    /// Special tokens around so many texts.
    pub(super) fn special(&self, texts: usize) -> usize {
        self.prefix.len() + texts.saturating_sub(1) * self.separator.len() + self.suffix.len()
    }
}

impl Files {
    pub(super) fn read(dir: &Path) -> Result<Self> {
        let dir = &folder_of_network(dir);
        let mut files = Vec::new();
        for name in NAMES {
            if let Some(bytes) = read_if_there(&dir.join(name))? {
                files.push((name.to_string(), bytes));
            }
        }
        Self::from_files(dir, files)
    }

    pub(super) fn from_files(dir: &Path, mut files: Vec<(String, Vec<u8>)>) -> Result<Self> {
        let get = |name: &str| files.iter().find(|f| f.0 == name).map(|f| f.1.as_slice());
        let json_of = |name: &str| get(name).map_or(Ok(Value::Null), |bytes| parse(&dir.join(name), bytes));
        let is_bundle = dir.join(BUNDLE).exists();
        let mut settings = Settings { tokenizer: json_of("tokenizer_config.json")?, ..Settings::default() };
        let mut guessed = false;
        let (path, mut json) = if let Some(bytes) = get("tokenizer.json") {
            let path = dir.join("tokenizer.json");
            let json = read_json(&path, bytes)?;
            (path, json)
        } else if let Some(bytes) = get("vocab.txt") {
            let path = dir.join("vocab.txt");
            let (json, lower) = read_vocab(&path, bytes, &settings.tokenizer)?;
            guessed = !lower && settings.tokenizer.get("do_lower_case").is_none_or(|v| !v.is_boolean());
            if guessed && settings.tokenizer.is_null() {
                settings.tokenizer = json!({});
            }
            if guessed {
                settings.tokenizer["do_lower_case"] = lower.into();
            }
            (path, json)
        } else {
            return Err(no_vocabulary(dir));
        };
        let mut reading = None;
        if !is_bundle {
            settings.special = json_of("special_tokens_map.json")?;
            settings.added = json_of("added_tokens.json")?;
            read_others(dir, &mut settings)?;
            let before = without_vocabulary(&json);
            let mut found = python::apply(&mut json, &settings, &path)?;
            if guessed && found.unsure.is_none() {
                let what = "is said nowhere; the vocabulary has capital letters, and transformers would lower-case";
                let remedy = "write it into tokenizer_config.json";
                found.unsure = Some(("do_lower_case".into(), what.into(), remedy.into()));
            }
            if let Some(same) = only_framed_anew(&before, &json) {
                json["post_processor"] = same;
            }
            if without_vocabulary(&json) != before {
                files.retain(|file| file.0 != "tokenizer.json");
                files.push(("tokenizer.json".into(), json.to_string().into_bytes()));
            }
            reading = Some(found);
        }
        let ngrams = Ngrams::take(&mut json, &path)?;
        let mut tokenizer = build(&path, &json)?;
        let plain = tokenizer.with_truncation(None).map(|t| t.with_padding(None).set_encode_special_tokens(true));
        plain.map_err(|e| broken(&path, "truncation", &*e))?;
        let (template, types) = unless_it_panics(&path, || template(&tokenizer, &path))??;
        if let Some(reading) = &mut reading {
            let types = if reading.token_types { types } else { [0; 5] };
            reading.one_segment = types == [0; 5];
            if !reading.one_segment && types != [0, 0, 0, 1, 1] {
                let what = format!(
                    "gives the token types {types:?} to [CLS], a text, [SEP], a text, [SEP]; known is 0 0 0 1 1"
                );
                reading.unsure = Some(("post_processor".into(), what, "write the usual types into it".into()));
            }
        }
        let unknown = ["[UNK]", "<unk>"].iter().find_map(|token| tokenizer.token_to_id(token));
        let byte_level = json["pre_tokenizer"].to_string().contains("\"ByteLevel\"");
        let vocabulary = tokenizer.get_vocab(false);
        // signs for bytes are no letters
        let pieces = vocabulary.keys().map(String::as_str).filter(|_| !byte_level);
        let unlearnt = Unlearnt::of(pieces);
        Ok(Files { tokenizer, files, path, template, unknown, unlearnt, ngrams, byte_level, reading })
    }

    /// Ids are below this number.
    pub(super) fn vocab_size(&self) -> usize {
        let listed = self.tokenizer.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1);
        listed + self.ngrams.map_or(0, |ngrams| ngrams.buckets())
    }

    /// `tokenizer.json` and `tokenizer_config.json` that make Python read pairs in this way.
    pub(super) fn for_python(&self, rendering: &TextConfig, padding: u32) -> Result<Vec<(String, Vec<u8>)>> {
        let failed = |what: String| Error::Internal { op: "write tokenizer.json", what };
        if self.ngrams.is_some() {
            let what = "is hashed n-grams, which transformers has no tokenizer for";
            return Err(Error::model(&self.path, "model.type", what, "use a vocabulary of another kind"));
        }
        let text = self.tokenizer.to_string(false).map_err(|e| failed(e.to_string()))?;
        let mut json: Value = serde_json::from_str(&text).map_err(|e| failed(e.to_string()))?;
        let token = |id: u32| self.tokenizer.id_to_token(id).unwrap_or_default();
        let second = u32::from(!rendering.one_segment);
        let special = |ids: &[u32], kind: u32| -> Vec<Value> {
            ids.iter().map(|&id| json!({"SpecialToken": {"id": token(id), "type_id": kind}})).collect()
        };
        let text = |name: &str, kind: u32| vec![json!({"Sequence": {"id": name, "type_id": kind}})];
        let Template { prefix, separator, suffix } = &self.template;
        let single = [special(prefix, 0), text("A", 0), special(suffix, 0)].concat();
        let first = [special(prefix, 0), text("A", 0), special(separator, 0)];
        let pair = first.into_iter().chain([text("B", second), special(suffix, second)]).flatten();
        let all = prefix.iter().chain(separator).chain(suffix);
        let tokens: Map<String, Value> =
            all.map(|&id| (token(id), json!({"id": token(id), "ids": [id], "tokens": [token(id)]}))).collect();
        json["post_processor"] = json!({"type": "TemplateProcessing", "single": single, "pair": pair.collect::<Vec<_>>(),
                                        "special_tokens": tokens});
        let mut names = vec!["input_ids", "attention_mask"];
        if !rendering.one_segment {
            names.insert(1, "token_type_ids");
        }
        let known =
            |names: &[&str]| names.iter().find(|t| self.tokenizer.token_to_id(t).is_some()).map(|t| t.to_string());
        let pad = known(&["[PAD]", "<pad>"]).unwrap_or_else(|| token(padding));
        let settings = json!({
            "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": rendering.max_tokens,
            "model_input_names": names, "split_special_tokens": true, "clean_up_tokenization_spaces": false,
            "cls_token": token(prefix[0]), "sep_token": token(suffix[0]), "pad_token": pad,
            "unk_token": self.unknown.map(token), "mask_token": known(&["[MASK]", "<mask>"]),
        });
        let bytes = |name: &str, value: &Value| (name.to_string(), (value.to_string() + "\n").into_bytes());
        Ok(vec![bytes("tokenizer.json", &json), bytes("tokenizer_config.json", &settings)])
    }

    pub(super) fn save(files: &[(String, Vec<u8>)], dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        for (name, bytes) in files {
            let path = dir.join(name);
            std::fs::write(&path, bytes).map_err(Error::io("write", &path))?;
        }
        Ok(())
    }
}

/// Where a model's network and tokenizer are: the folder itself, or that of the first module of sentence-transformers' older
/// folders (`0_Transformer`, `0_BERT`).
pub fn folder_of_network(dir: &Path) -> PathBuf {
    let modules = || -> Option<PathBuf> {
        let bytes = read_if_there(&dir.join("modules.json")).ok()??;
        let modules: Value = serde_json::from_slice(&bytes).ok()?;
        let path = modules.get(0)?.get("path")?.as_str()?;
        let plain = !path.is_empty() && !path.starts_with('.') && !path.contains(['/', '\\']);
        Some(dir.join(path)).filter(|inner| plain && inner.join("config.json").exists())
    };
    let own = dir.join("config.json").exists();
    Some(dir).filter(|_| own).map(Path::to_path_buf).or_else(modules).unwrap_or_else(|| dir.into())
}

/// A file's bytes; none if there is no such file.
fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    if std::fs::symlink_metadata(path).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    crate::files::open(path)?.read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    Ok(Some(bytes))
}

/// What belongs to the network and to sentence-transformers, as far as it changes how a text is read.
fn read_others(dir: &Path, settings: &mut Settings) -> Result<()> {
    let json_at = |name: &str| match read_if_there(&dir.join(name))? {
        Some(bytes) => parse(&dir.join(name), &bytes),
        None => Ok(Value::Null),
    };
    settings.network = json_at("config.json")?;
    if json_at("modules.json")?.is_null() {
        return Ok(());
    }
    // a cross-encoder is loaded by way of its modules only if it was saved so
    let kind = json_at("config_sentence_transformers.json")?;
    let classifier =
        settings.network["architectures"][0].as_str().is_some_and(|n| n.ends_with("SequenceClassification"));
    if classifier && kind["model_type"] != "CrossEncoder" {
        return Ok(());
    }
    for name in SENTENCE {
        settings.sentence = json_at(name)?;
        if !settings.sentence.is_null() {
            break;
        }
    }
    Ok(())
}

fn no_vocabulary(dir: &Path) -> Error {
    let there = |name: &str| dir.join(name).exists();
    let other =
        ["sentencepiece.bpe.model", "spiece.model", "vocab.json", "tokenizer.model"].into_iter().find(|n| there(n));
    match other {
        Some(name) => {
            let what = "is of another form; only tokenizer.json and vocab.txt can be read";
            let remedy = "write it in Python: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)";
            Error::model(&dir.join(name), "tokenizer", what, remedy)
        }
        None => {
            let remedy = "give a model folder that has one of them";
            Error::model(dir, "tokenizer", "neither tokenizer.json nor vocab.txt is there", remedy)
        }
    }
}

/// All but the pieces, which nothing changes.
fn without_vocabulary(json: &Value) -> Value {
    let shallow = |map: &Map<String, Value>, left_out: &[&str]| -> Map<String, Value> {
        map.iter().filter(|(k, _)| !left_out.contains(&k.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    let Some(map) = json.as_object() else { return Value::Null };
    let mut all = shallow(map, &["model"]);
    let model = map.get("model").and_then(Value::as_object);
    all.insert("model".into(), Value::Object(model.map(|m| shallow(m, &["vocab", "merges"])).unwrap_or_default()));
    Value::Object(all)
}

/// The old frame, if the new one has the same tokens in another spelling and nothing else changed.
fn only_framed_anew(before: &Value, after: &Value) -> Option<Value> {
    let old = &before["post_processor"];
    let same = |processor: &Value| -> Option<(Vec<Value>, usize)> {
        match processor["type"].as_str()? {
            "BertProcessing" => Some((vec![processor["cls"][1].clone(), processor["sep"][1].clone()], 1)),
            "RobertaProcessing" => Some((vec![processor["cls"][1].clone(), processor["sep"][1].clone()], 2)),
            "TemplateProcessing" => {
                let pair = processor["pair"].as_array()?;
                let special: Vec<&Value> = pair.iter().filter_map(|p| p.pointer("/SpecialToken/id")).collect();
                let id =
                    |token: &Value| processor["special_tokens"][token.as_str()?]["ids"][0].as_u64().map(Value::from);
                let (first, rest) = special.split_first()?;
                let text = |p: &Value, name: &str| p.pointer("/Sequence/id").is_some_and(|id| id == name);
                let shape = pair.len() == special.len() + 2 && text(&pair[1], "A") && text(&pair[pair.len() - 2], "B");
                (shape && rest.len() > 1 && rest.iter().all(|t| *t == rest[0]))
                    .then(|| Some((vec![id(first)?, id(rest[0])?], rest.len() - 1)))?
            }
            _ => None,
        }
    };
    let frame = same(old)?;
    (frame == same(&after["post_processor"])?).then(|| old.clone())
}

/// A panic inside the tokenizers library is a damaged file.
pub(super) fn unless_it_panics<T>(path: &Path, call: impl FnOnce() -> T) -> Result<T> {
    let remedy = "the file is damaged; fetch or copy it again";
    catch_unwind(AssertUnwindSafe(call))
        .map_err(|_| Error::model(path, "normalizer", "makes the tokenizers library fail", remedy))
}

fn broken(path: &Path, key: &str, reason: &dyn std::error::Error) -> Error {
    let what = reason.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    Error::model(path, key, what, "the file is damaged or of a kind that this version can't read; fetch it again")
}

/// JSON of a tokenizer file.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|e| broken(path, "JSON", &e))
}

fn read_json(path: &Path, bytes: &[u8]) -> Result<Value> {
    let json = parse(path, bytes)?;
    let vocabulary = json.get("model").and_then(|model| model.get("vocab"));
    if vocabulary.is_none_or(|v| !v.is_object() && !v.is_array()) {
        let what = "is not there: this is no tokenizer file";
        return Err(Error::model(path, "model.vocab", what, KNOWN));
    }
    Ok(json)
}

/// The library's tokenizer.
fn build(path: &Path, json: &Value) -> Result<Tokenizer> {
    let model = &json["model"];
    let kind = model.get("type").and_then(Value::as_str);
    if let ("WordPiece", Some(vocab)) = (kind.unwrap_or(""), model["vocab"].as_object()) {
        let unknown = model.get("unk_token").and_then(Value::as_str).unwrap_or("[UNK]");
        if !vocab.contains_key(unknown) {
            return Err(Error::model(path, "model.unk_token", format!("{unknown} is not in the vocabulary"), KNOWN));
        }
    }
    let built = unless_it_panics(path, || Tokenizer::from_bytes(json.to_string()))?;
    built.map_err(|e| broken(path, kind.unwrap_or("model"), &*e))
}

/// BERT's tokenizer as transformers builds it from `vocab.txt` and `tokenizer_config.json`. Where the settings do not say
/// whether it lower-cases, a vocabulary with upper-case Latin or Cyrillic letters (RuBERT) says that it does not.
fn read_vocab(path: &Path, bytes: &[u8], settings: &Value) -> Result<(Value, bool)> {
    let remedy = "give the vocab.txt of a BERT model, one piece a line in UTF-8";
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let line = bytes[..e.valid_up_to()].iter().filter(|&&b| b == b'\n').count() + 1;
        Error::model(path, format!("line {line}"), "is not UTF-8", remedy)
    })?;
    let pieces: Vec<&str> = text.lines().map(|l| l.trim_end_matches('\r')).collect();
    let id = |piece: &str| match pieces.iter().position(|p| *p == piece) {
        Some(id) => Ok((piece.to_string(), id as u32)),
        None => Err(Error::model(path, piece, "is not in the vocabulary", remedy)),
    };
    id("[UNK]")?;
    let (cls, sep) = (id("[CLS]")?, id("[SEP]")?);
    let cased = || {
        let upper = |c: char| c.is_ascii_uppercase() || matches!(c, 'А'..='Я' | 'Ё');
        pieces.iter().any(|p| !p.starts_with('[') && p.chars().any(upper))
    };
    let setting = |key: &str| settings.get(key).and_then(Value::as_bool);
    let lower = setting("do_lower_case").unwrap_or_else(|| !cased());
    let chinese = setting("tokenize_chinese_chars").unwrap_or(true);

    let mut special: Vec<_> =
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].into_iter().filter_map(|s| id(s).ok()).collect();
    special.sort_by_key(|token| token.1);
    let special = special.into_iter().map(|(content, id)| {
        json!({"id": id, "content": content, "special": true, "normalized": false,
               "single_word": false, "lstrip": false, "rstrip": false})
    });
    let vocab: Map<String, Value> = pieces.iter().zip(0..).map(|(p, id)| (p.to_string(), Value::from(id))).collect();
    let json = json!({
        "version": "1.0",
        "added_tokens": special.collect::<Vec<_>>(),
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": chinese,
                       "strip_accents": setting("strip_accents"), "lowercase": lower},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": sep, "cls": cls},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocab},
    });
    Ok((json, lower))
}

/// Asks the tokenizer's own post-processor how it frames a pair, and which token types it gives to what is before, in and after the
/// texts; where it has none, BERT's or RoBERTa's frame is used if the tokens are there.
fn template(tokenizer: &Tokenizer, path: &Path) -> Result<(Template, [u32; 5])> {
    let probe = tokenizer.encode(("a", "a"), true).map_err(|e| broken(path, "post_processor", &*e))?;
    let special: Vec<bool> = probe.get_special_tokens_mask().iter().map(|&m| m == 1).collect();
    let run = |from: usize, is: bool| from + special[from..].iter().take_while(|&&s| s == is).count();
    let prefix = run(0, true);
    let left = run(prefix, false);
    let middle = run(left, true);
    let right = run(middle, false);
    let (ids, types) = (probe.get_ids(), probe.get_type_ids());
    if prefix > 0 && middle > left && right > middle && right < ids.len() && run(right, true) == ids.len() {
        let types = [0, prefix, left, middle, right].map(|at| types[at]);
        let (prefix, separator) = (ids[..prefix].to_vec(), ids[left..middle].to_vec());
        return Ok((Template { prefix, separator, suffix: ids[right..].to_vec() }, types));
    }
    let token = |text: &str| tokenizer.token_to_id(text);
    if let (Some(cls), Some(sep)) = (token("[CLS]"), token("[SEP]")) {
        return Ok((Template { prefix: vec![cls], separator: vec![sep], suffix: vec![sep] }, [0, 0, 0, 1, 1]));
    }
    if let (Some(start), Some(end)) = (token("<s>"), token("</s>")) {
        return Ok((Template { prefix: vec![start], separator: vec![end, end], suffix: vec![end] }, [0; 5]));
    }
    let what = "puts no special tokens before, between and after two texts";
    Err(Error::model(path, "post_processor", what, KNOWN))
}
