//! Tokenizer files on disk: `tokenizer.json` of any kind that frames a pair with special tokens, else `vocab.txt` of a BERT.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

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
}

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
        let mut files = Vec::new();
        for name in NAMES {
            let path = dir.join(name);
            match std::fs::read(&path) {
                Ok(bytes) => files.push((name.to_string(), bytes)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io("read", &path)(e)),
            }
        }
        Self::from_files(dir, files)
    }

    pub(super) fn from_files(dir: &Path, files: Vec<(String, Vec<u8>)>) -> Result<Self> {
        let get = |name: &str| files.iter().find(|f| f.0 == name).map(|f| f.1.as_slice());
        let (path, mut tokenizer) = if let Some(bytes) = get("tokenizer.json") {
            let path = dir.join("tokenizer.json");
            let tokenizer = read_json(&path, bytes)?;
            (path, tokenizer)
        } else if let Some(bytes) = get("vocab.txt") {
            let path = dir.join("vocab.txt");
            let settings = match get("tokenizer_config.json") {
                Some(bytes) => parse(&dir.join("tokenizer_config.json"), bytes)?,
                None => Value::Null,
            };
            let tokenizer = read_vocab(&path, bytes, &settings)?;
            (path, tokenizer)
        } else {
            let remedy = "give a model folder that holds one of them";
            return Err(Error::model(dir, "tokenizer", "neither tokenizer.json nor vocab.txt is there", remedy));
        };
        let plain = tokenizer.with_truncation(None).map(|t| t.with_padding(None).set_encode_special_tokens(true));
        plain.map_err(|e| broken(&path, "truncation", &*e))?;
        let template = template(&tokenizer, &path)?;
        let unknown = ["[UNK]", "<unk>"].iter().find_map(|token| tokenizer.token_to_id(token));
        Ok(Files { tokenizer, files, path, template, unknown })
    }

    /// Ids are below this number.
    pub(super) fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1)
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

fn broken(path: &Path, key: &str, reason: &dyn std::error::Error) -> Error {
    let what = reason.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    Error::model(path, key, what, "the file is damaged or of a kind that this version can't read; fetch it anew")
}

/// JSON of a tokenizer file.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|e| broken(path, "JSON", &e))
}

fn read_json(path: &Path, bytes: &[u8]) -> Result<Tokenizer> {
    let json = parse(path, bytes)?;
    let remedy = "give the tokenizer.json of a BERT or XLM-RoBERTa model";
    let model = json.get("model").and_then(Value::as_object);
    let Some(model) = model.filter(|m| m.contains_key("vocab")) else {
        return Err(Error::model(path, "model.vocab", "is not there: this is no tokenizer file", remedy));
    };
    let kind = model.get("type").and_then(Value::as_str);
    if let ("WordPiece", Some(vocab)) = (kind.unwrap_or(""), model["vocab"].as_object()) {
        let unknown = model.get("unk_token").and_then(Value::as_str).unwrap_or("[UNK]");
        if !vocab.contains_key(unknown) {
            return Err(Error::model(path, "model.unk_token", format!("{unknown} is not in the vocabulary"), remedy));
        }
    }
    Tokenizer::from_bytes(bytes).map_err(|e| broken(path, kind.unwrap_or("model"), &*e))
}

/// BERT's tokenizer as transformers builds it from `vocab.txt` and `tokenizer_config.json`. Where the settings do not say
/// whether it lower-cases, a vocabulary with upper-case Latin or Cyrillic letters (RuBERT) tells that it does not.
fn read_vocab(path: &Path, bytes: &[u8], settings: &Value) -> Result<Tokenizer> {
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

    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].into_iter().filter_map(|s| id(s).ok());
    let special = special.map(|(content, id)| {
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
    Tokenizer::from_bytes(json.to_string()).map_err(|e| broken(path, "vocabulary", &*e))
}

/// Asks the tokenizer's own post-processor how it frames a pair; where it has none, BERT's or RoBERTa's frame is used if
/// the tokens are there.
fn template(tokenizer: &Tokenizer, path: &Path) -> Result<Template> {
    let probe = tokenizer.encode(("a", "a"), true).map_err(|e| broken(path, "post_processor", &*e))?;
    let special: Vec<bool> = probe.get_special_tokens_mask().iter().map(|&m| m == 1).collect();
    let run = |from: usize, is: bool| from + special[from..].iter().take_while(|&&s| s == is).count();
    let prefix = run(0, true);
    let left = run(prefix, false);
    let middle = run(left, true);
    let right = run(middle, false);
    let ids = probe.get_ids();
    if prefix > 0 && middle > left && right > middle && right < ids.len() && run(right, true) == ids.len() {
        let (prefix, separator) = (ids[..prefix].to_vec(), ids[left..middle].to_vec());
        return Ok(Template { prefix, separator, suffix: ids[right..].to_vec() });
    }
    if let (Some(cls), Some(sep)) = (tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")) {
        return Ok(Template { prefix: vec![cls], separator: vec![sep], suffix: vec![sep] });
    }
    if let (Some(start), Some(end)) = (tokenizer.token_to_id("<s>"), tokenizer.token_to_id("</s>")) {
        return Ok(Template { prefix: vec![start], separator: vec![end, end], suffix: vec![end] });
    }
    let what = "puts no special tokens before, between and after two texts";
    Err(Error::model(path, "post_processor", what, "give the tokenizer.json of a BERT or XLM-RoBERTa model"))
}
