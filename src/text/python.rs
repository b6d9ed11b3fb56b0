//! What transformers makes of a plain folder's tokenizer files, so that a model from Python sees the same tokens here.
//!
//! `tokenizer.json` is not the last word there: the class that `tokenizer_config.json` (else `config.json`, else the kind of network) names
//! builds the tokenizer again and takes the vocabulary alone from it. Followed is transformers 5.24:
//!
//! | class | rebuilt | token types |
//! | --- | --- | --- |
//! | `BertTokenizer`, `ElectraTokenizer` | normalizer by `do_lower_case` (true if nothing says so), `strip_accents`, `tokenize_chinese_chars`; frame by `cls_token`, `sep_token` | 0 and 1 |
//! | `DistilBertTokenizer` | the same | none |
//! | `MPNetTokenizer` | the same normalizer, `<s> a </s></s> b </s>` | none |
//! | `RobertaTokenizer` | byte-level BPE by `add_prefix_space`, the same frame | none |
//! | `XLMRobertaTokenizer` | the precompiled normalizer alone, pieces by white space, the same frame | none |
//! | `PreTrainedTokenizerFast`, `TokenizersBackend` | nothing | none |
//!
//! `model_input_names` overrules the last column. `special_tokens_map.json` overrules `tokenizer_config.json`, unless that has
//! `added_tokens_decoder`. Version 4 differs in three places: it keeps a normalizer that is a sequence, XLM-RoBERTa's `tokenizer.json` as it
//! is, and gives token types with `PreTrainedTokenizerFast`. Where a class can't be followed, [`Reading::unsure`] says so, and the model
//! does not score.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::{Error, Result};

/// The other files that Python reads; null where there is none.
#[derive(Default)]
pub(super) struct Settings {
    /// `tokenizer_config.json`.
    pub(super) tokenizer: Value,
    /// `special_tokens_map.json`.
    pub(super) special: Value,
    /// `added_tokens.json`.
    pub(super) added: Value,
    /// `config.json`.
    pub(super) network: Value,
    /// `sentence_bert_config.json`, where sentence-transformers reads it.
    pub(super) sentence: Value,
}

/// How Python's tokenizer differs from `tokenizer.json`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Reading {
    /// Whether it gives token types at all.
    pub(super) token_types: bool,
    /// Whether all tokens of a pair have type 0.
    pub(super) one_segment: bool,
    /// Tokens of a pair, if a file says so.
    pub(super) max_length: Option<usize>,
    /// What can't be followed: key, what, remedy.
    pub(super) unsure: Option<(String, String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Class {
    Bert,
    MpNet,
    Roberta,
    XlmRoberta,
    AsWritten,
}

impl Settings {
    fn class(&self) -> (Class, bool, Option<String>) {
        let named = [&self.tokenizer, &self.network].iter().find_map(|from| from.get("tokenizer_class")?.as_str());
        let of_network = match self.network.get("model_type").and_then(Value::as_str) {
            Some("mpnet") => "MPNetTokenizer",
            Some("roberta" | "longformer") => "RobertaTokenizer",
            Some("xlm-roberta") => "XLMRobertaTokenizer",
            Some("modernbert") => "TokenizersBackend",
            _ => "BertTokenizer",
        };
        let name = named.unwrap_or(of_network);
        match name.strip_suffix("Fast").unwrap_or(name) {
            "BertTokenizer" | "ElectraTokenizer" => (Class::Bert, true, None),
            "DistilBertTokenizer" => (Class::Bert, false, None),
            "MPNetTokenizer" => (Class::MpNet, false, None),
            "RobertaTokenizer" | "LongformerTokenizer" => (Class::Roberta, false, None),
            "XLMRobertaTokenizer" => (Class::XlmRoberta, false, None),
            "PreTrainedTokenizer" | "TokenizersBackend" => (Class::AsWritten, false, None),
            other => (Class::AsWritten, false, Some(other.to_string())),
        }
    }

    /// A special token, by its key.
    fn token(&self, key: &str) -> Option<String> {
        let text = |v: &Value| v.as_str().or_else(|| v.get("content")?.as_str()).map(str::to_string);
        let legacy = self.tokenizer.get("added_tokens_decoder").is_none();
        let map = self.special.get(key).filter(|_| legacy).and_then(text);
        map.or_else(|| self.tokenizer.get(key).and_then(text))
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.tokenizer.get(key).and_then(Value::as_bool)
    }

    fn max_length(&self) -> Option<usize> {
        let number = |from: &Value, key: &str| from.get(key).and_then(Value::as_f64).filter(|n| *n >= 1.0 && *n < 1e9);
        let own = || number(&self.tokenizer, "model_max_length").or_else(|| number(&self.tokenizer, "max_len"));
        number(&self.sentence, "max_seq_length").or_else(own).map(|n| n as usize)
    }

    /// Tokens beyond the vocabulary's, by id.
    fn added_tokens(&self, json: &Value, rebuilt: bool) -> BTreeMap<u64, Value> {
        let mut found = BTreeMap::new();
        let written = |found: &mut BTreeMap<u64, Value>| {
            for token in json.get("added_tokens").and_then(Value::as_array).into_iter().flatten() {
                found.insert(token.get("id").and_then(Value::as_u64).unwrap_or_default(), token.clone());
            }
        };
        if let Some(decoder) = self.tokenizer.get("added_tokens_decoder").and_then(Value::as_object) {
            if !rebuilt {
                written(&mut found);
            }
            let numbered = decoder.iter().filter_map(|(id, token)| Some((id.parse().ok()?, token)));
            found.extend(numbered.map(|(id, token): (u64, &Value)| (id, added(id, token))));
            return found;
        }
        for (token, id) in self.added.as_object().into_iter().flatten() {
            let id = id.as_u64().unwrap_or_default();
            found.insert(id, added(id, &json!({"content": token, "normalized": true})));
        }
        written(&mut found);
        found
    }
}

/// A token of `added_tokens`, complete.
fn added(id: u64, token: &Value) -> Value {
    let flag = |key: &str| token.get(key).and_then(Value::as_bool);
    let special = flag("special").unwrap_or(false);
    json!({"id": id, "content": token.get("content").cloned().unwrap_or_default(),
           "single_word": flag("single_word").unwrap_or(false), "lstrip": flag("lstrip").unwrap_or(false),
           "rstrip": flag("rstrip").unwrap_or(false), "normalized": flag("normalized").unwrap_or(!special), "special": special})
}

/// Changes `tokenizer.json` to what Python makes of it. `path` is the file with the vocabulary.
///
/// # Errors
/// A special token that the vocabulary does not have.
pub(super) fn apply(json: &mut Value, settings: &Settings, path: &Path) -> Result<Reading> {
    let (class, gives_types, unknown) = settings.class();
    let names = settings.tokenizer.get("model_input_names").and_then(Value::as_array);
    let mut reading = Reading {
        token_types: names.map_or(gives_types, |names| names.iter().any(|n| n == "token_type_ids")),
        max_length: settings.max_length(),
        one_segment: false,
        unsure: unknown.map(|name| {
            let what = format!(
                "is {name}; known are those of BERT, DistilBERT, Electra, MPNet, RoBERTa, XLM-RoBERTa, \
                                and PreTrainedTokenizerFast"
            );
            let remedy = "save the tokenizer in Python as a PreTrainedTokenizerFast";
            ("tokenizer_class".into(), what, remedy.into())
        }),
    };
    let side = settings.tokenizer.get("truncation_side").or_else(|| json.get("truncation")?.get("direction"));
    if side.and_then(Value::as_str).is_some_and(|side| side.eq_ignore_ascii_case("left")) {
        let what = "is left; texts are cut at their end here".to_string();
        reading.unsure = Some(("truncation_side".into(), what, "set it to right, and measure again".into()));
    }
    let kind = json["model"].get("type").and_then(Value::as_str).map(str::to_string);
    let kind = kind.unwrap_or_else(|| if json["model"]["vocab"].is_object() { "WordPiece" } else { "Unigram" }.into());
    // where the class and the file are of two kinds Python fails, and the file says what it is
    let class = match (class, kind.as_str()) {
        (Class::Bert | Class::MpNet, "WordPiece") | (Class::Roberta, "BPE") | (Class::XlmRoberta, "Unigram") => class,
        _ => Class::AsWritten,
    };
    let mut found = settings.added_tokens(json, class != Class::AsWritten);
    let mut builder = Builder { json, settings, path, class, added: &mut found };
    builder.build()?;
    builder.extra_tokens();
    if !found.is_empty() {
        json["added_tokens"] = found.into_values().collect();
    }
    if settings.sentence.get("do_lower_case").and_then(Value::as_bool) == Some(true) {
        lower_first(json);
    }
    Ok(reading)
}

struct Builder<'a> {
    json: &'a mut Value,
    settings: &'a Settings,
    path: &'a Path,
    class: Class,
    added: &'a mut BTreeMap<u64, Value>,
}

impl Builder<'_> {
    fn build(&mut self) -> Result<()> {
        match self.class {
            Class::AsWritten => {}
            Class::Bert => {
                self.word_piece()?;
                let (cls, sep) = (self.named("cls_token", "[CLS]")?, self.named("sep_token", "[SEP]")?);
                self.json["post_processor"] = json!({"type": "BertProcessing", "sep": sep, "cls": cls});
            }
            Class::MpNet => {
                self.word_piece()?;
                let (cls, sep) = (self.named("cls_token", "<s>")?, self.named("sep_token", "</s>")?);
                self.json["post_processor"] = roberta(&cls, &sep, false);
            }
            Class::Roberta => {
                let prefix = self.settings.flag("add_prefix_space").unwrap_or(false);
                self.json["normalizer"] = Value::Null;
                self.json["pre_tokenizer"] = json!({"type": "ByteLevel", "add_prefix_space": prefix,
                                                    "trim_offsets": true, "use_regex": true});
                let (cls, sep) = (self.named("cls_token", "<s>")?, self.named("sep_token", "</s>")?);
                self.json["post_processor"] = roberta(&cls, &sep, prefix);
            }
            Class::XlmRoberta => {
                let scheme = if self.settings.flag("add_prefix_space").unwrap_or(true) { "always" } else { "never" };
                self.json["normalizer"] = precompiled(&self.json["normalizer"]);
                self.json["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
                    {"type": "WhitespaceSplit"},
                    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": true}]});
                let (bos, eos) = (self.named("bos_token", "<s>")?, self.named("eos_token", "</s>")?);
                let (b, e) = (&bos[0], &eos[0]);
                let piece = |token: &Value| json!({"SpecialToken": {"id": token, "type_id": 0}});
                let text = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
                let special = |token: &Value| json!({"id": token[0], "ids": [token[1]], "tokens": [token[0]]});
                let named: Map<String, Value> = [&bos, &eos]
                    .into_iter()
                    .map(|token| (token[0].as_str().unwrap_or_default().to_string(), special(token)))
                    .collect();
                self.json["post_processor"] = json!({"type": "TemplateProcessing",
                    "single": [piece(b), text("A"), piece(e)],
                    "pair": [piece(b), text("A"), piece(e), piece(e), text("B"), piece(e)],
                    "special_tokens": named});
            }
        }
        Ok(())
    }

    fn word_piece(&mut self) -> Result<()> {
        let unknown = self.named("unk_token", "[UNK]")?;
        let vocab = self.json["model"]["vocab"].take();
        self.json["model"] = json!({"type": "WordPiece", "unk_token": unknown[0], "continuing_subword_prefix": "##",
                                    "max_input_chars_per_word": 100, "vocab": vocab});
        self.json["normalizer"] = json!({"type": "BertNormalizer", "clean_text": true,
            "handle_chinese_chars": self.settings.flag("tokenize_chinese_chars").unwrap_or(true),
            "strip_accents": self.settings.flag("strip_accents"),
            "lowercase": self.settings.flag("do_lower_case").unwrap_or(true)});
        self.json["pre_tokenizer"] = json!({"type": "BertPreTokenizer"});
        Ok(())
    }

    /// `[token, id]` of a special token.
    fn named(&self, key: &str, default: &str) -> Result<Value> {
        let token = self.settings.token(key).unwrap_or_else(|| default.to_string());
        match self.id(&token) {
            Some(id) => Ok(json!([token, id])),
            None => {
                let remedy = "give the tokenizer files that belong to the model";
                Err(Error::model(self.path, key, format!("{token} is not in the vocabulary"), remedy))
            }
        }
    }

    fn id(&self, token: &str) -> Option<u64> {
        let vocab = &self.json["model"]["vocab"];
        let listed = || vocab.as_array()?.iter().position(|piece| piece[0] == token).map(|id| id as u64);
        let of_vocab = vocab.get(token).and_then(Value::as_u64).or_else(listed);
        of_vocab.or_else(|| self.added.values().find(|t| t["content"] == token)?["id"].as_u64())
    }

    /// Named special tokens count as special, and are plain letters in a user's text; all others that a model was given are found there.
    fn extra_tokens(&mut self) {
        const NAMED: [&str; 7] =
            ["cls_token", "sep_token", "pad_token", "unk_token", "mask_token", "bos_token", "eos_token"];
        const FRAME: [&str; 9] = ["[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]", "<s>", "</s>", "<pad>", "<mask>"];
        let named: Vec<String> = NAMED.iter().filter_map(|key| self.settings.token(key)).collect();
        let is_named = |t: &str| named.iter().any(|n| n == t) || FRAME.contains(&t) || t == "<unk>";
        for token in &named {
            if let (Some(id), false) = (self.id(token), self.added.values().any(|t| t["content"] == token.as_str())) {
                self.added.insert(id, added(id, &json!({"content": token, "special": true})));
            }
        }
        let mut next = self.size();
        for key in ["additional_special_tokens", "extra_special_tokens"] {
            let list = self.settings.special.get(key).or_else(|| self.settings.tokenizer.get(key));
            let tokens = list.and_then(Value::as_array).cloned().unwrap_or_default();
            for token in tokens {
                let Some(text) = token.as_str().or_else(|| token.get("content")?.as_str()) else { continue };
                if self.added.values().any(|t| t["content"] == text) {
                    continue;
                }
                let id = self.id(text).unwrap_or_else(|| {
                    next += 1;
                    next - 1
                });
                self.added.insert(id, added(id, &json!({"content": text, "special": true, "normalized": false})));
            }
        }
        for token in self.added.values_mut() {
            let special = is_named(token["content"].as_str().unwrap_or_default());
            token["special"] = special.into();
        }
    }

    /// Ids are below this number.
    fn size(&self) -> u64 {
        let vocab = &self.json["model"]["vocab"];
        let of_map = || vocab.as_object().map(|m| m.values().filter_map(Value::as_u64).max().map_or(0, |id| id + 1));
        let of_vocab = vocab.as_array().map(|list| list.len() as u64).or_else(of_map).unwrap_or(0);
        self.added.keys().last().map_or(0, |id| id + 1).max(of_vocab)
    }
}

fn roberta(cls: &Value, sep: &Value, prefix: bool) -> Value {
    json!({"type": "RobertaProcessing", "sep": sep, "cls": cls, "trim_offsets": true, "add_prefix_space": prefix})
}

/// The precompiled normalizer of a chain, or none.
fn precompiled(normalizer: &Value) -> Value {
    let is = |n: &&Value| n["type"] == "Precompiled";
    let inner = normalizer.get("normalizers").and_then(Value::as_array);
    inner.map_or_else(|| Some(normalizer).filter(is), |list| list.iter().find(is)).cloned().unwrap_or(Value::Null)
}

/// sentence-transformers' `do_lower_case`: before all else, unless the tokenizer lower-cases by itself.
fn lower_first(json: &mut Value) {
    let old = json["normalizer"].take();
    let lowers = |n: &Value| n["type"] == "Lowercase" || n["lowercase"] == true;
    let list = old.get("normalizers").and_then(Value::as_array).cloned();
    let mut list = list.unwrap_or_else(|| if old.is_null() { Vec::new() } else { vec![old.clone()] });
    json["normalizer"] = if list.iter().any(lowers) {
        old
    } else {
        list.insert(0, json!({"type": "Lowercase"}));
        json!({"type": "Sequence", "normalizers": list})
    };
}
