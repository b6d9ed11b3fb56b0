//! A vocabulary cut to what a corpus needs.
//!
//! A multilingual vocabulary is most of a small model (250,000 rows of XLM-RoBERTa's table against 21 million weights of
//! twelve layers), and a shop's texts use a few thousand rows. Kept are all special tokens, single characters (so that no
//! word becomes unknown that was not), bytes, and every piece that the corpus's tokenisation uses.
//!
//! A text whose pieces are all kept is tokenised as before. WordPiece takes the longest piece that fits: taking away others cannot
//! make a shorter one win. Unigram takes the best path: it is still there, and no new one came. (The lowest score is kept
//! too, because an unknown character's cost hangs on it.) BPE has no such property, since a merge's parts must stay, and
//! is refused.

use std::path::Path;

use serde_json::{Map, Value};

use super::encoder::chunks;
use super::files::{Files, parse};
use crate::{Error, Result};

/// Which single characters stay whether the corpus has them or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Characters {
    /// All of them: XLM-RoBERTa has 13,828, most of them Chinese.
    #[default]
    All,
    /// Latin, Greek, Cyrillic, digits, punctuation and symbols: 1,355 of those.
    European,
}

/// What stays in the vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// How often the corpus must use a piece.
    pub min_count: u64,
    /// Single characters.
    pub characters: Characters,
}

impl Default for Keep {
    fn default() -> Self {
        Keep { min_count: 1, characters: Characters::All }
    }
}

/// A cut vocabulary's files, and which rows of the old embedding table it keeps.
#[derive(Debug, Clone)]
pub struct Pruned {
    files: Vec<(String, Vec<u8>)>,
    kept: Vec<u32>,
}

impl Pruned {
    /// The old id of each new one, ascending: rows of the word embedding (and of a masked-language head and its bias) to keep.
    pub fn kept(&self) -> &[u32] {
        &self.kept
    }
    /// The new number of an old id (for `pad_token_id` and its kin in `config.json`).
    pub fn new_id(&self, old: u32) -> Option<u32> {
        self.kept.binary_search(&old).ok().map(|id| id as u32)
    }
    /// Writes the tokenizer's files.
    pub fn save(&self, dir: &Path) -> Result<()> {
        Files::save(&self.files, dir)
    }
}

/// Cuts the vocabulary of the tokenizer in `dir` to what `corpus` needs.
pub fn prune<S: AsRef<str>>(dir: &Path, corpus: impl IntoIterator<Item = S>, keep: Keep) -> Result<Pruned> {
    let source = Files::read(dir)?;
    let mut counts = vec![0u64; source.vocab_size()];
    for text in corpus {
        let text = text.as_ref().split_whitespace().collect::<Vec<_>>().join(" ");
        for (_, chunk) in chunks(&text) {
            let failed = |e: tokenizers::Error| Error::Internal { op: "tokenise", what: e.to_string() };
            for &id in source.tokenizer.encode_fast(chunk, false).map_err(failed)?.get_ids() {
                counts[id as usize] += 1;
            }
        }
    }
    let mut stays: Vec<bool> = counts.iter().map(|&count| count >= keep.min_count.max(1)).collect();
    let frame = &source.template;
    let added: Vec<u32> = source.tokenizer.get_added_tokens_decoder().keys().copied().collect();
    for &id in [&frame.prefix, &frame.separator, &frame.suffix, &added].into_iter().flatten() {
        stays[id as usize] = true;
    }
    for (piece, id) in source.tokenizer.get_vocab(true) {
        stays[id as usize] |= is_kept_character(&piece, keep.characters);
    }

    let mut json = match source.files.iter().find(|f| f.0 == "tokenizer.json") {
        Some((_, bytes)) => Some(parse(&source.path, bytes)?),
        None => None,
    };
    if let Some(json) = &json {
        always_kept(&json["model"], &source.path, &mut stays)?;
    } else if let Some(id) = source.tokenizer.token_to_id("[UNK]") {
        stays[id as usize] = true;
    }
    let kept: Vec<u32> = (0..counts.len() as u32).filter(|&id| stays[id as usize]).collect();
    let mut pruned = Pruned { files: Vec::new(), kept };
    for (name, bytes) in &source.files {
        let path = dir.join(name);
        let bytes = match name.as_str() {
            "tokenizer.json" => {
                let mut json = json.take().unwrap_or_default();
                pruned.renumber_tokenizer(&mut json);
                to_bytes(&json)
            }
            "vocab.txt" => pruned.renumber_lines(bytes),
            "tokenizer_config.json" => {
                let mut json = parse(&path, bytes)?;
                if let Some(Value::Object(tokens)) = json.get_mut("added_tokens_decoder") {
                    let renumbered = std::mem::take(tokens).into_iter().filter_map(|(id, token)| {
                        let id = pruned.new_id(id.parse().ok()?)?;
                        Some((id.to_string(), token))
                    });
                    *tokens = renumbered.collect();
                }
                to_bytes(&json)
            }
            "added_tokens.json" => {
                let mut json = parse(&path, bytes)?;
                if let Value::Object(tokens) = &mut json {
                    tokens.values_mut().for_each(|id| pruned.renumber(id));
                }
                to_bytes(&json)
            }
            _ => bytes.clone(),
        };
        pruned.files.push((name.clone(), bytes));
    }
    Files::from_files(dir, pruned.files.clone())?; // what is written can be read
    Ok(pruned)
}

/// A single character (a word's first or a later one), or a byte.
fn is_kept_character(piece: &str, characters: Characters) -> bool {
    let bare = piece.strip_prefix("##").filter(|rest| !rest.is_empty()).unwrap_or(piece);
    let mut rest = bare.chars();
    match (rest.next(), rest.next()) {
        (Some(c), None) => {
            let european = matches!(c, '\0'..='\u{52f}' | '\u{2000}'..='\u{2bff}');
            characters == Characters::All || european
        }
        _ => bare.len() == 6 && bare.starts_with("<0x") && bare.ends_with('>'),
    }
}

/// Marks the unknown token and the lowest score; refuses models for which cutting is not safe.
fn always_kept(model: &Value, path: &Path, stays: &mut [bool]) -> Result<()> {
    let unknown = match &model["vocab"] {
        Value::Object(vocab) if model.get("merges").is_none() && model["type"] != "WordLevel" => {
            vocab.get(model["unk_token"].as_str().unwrap_or("[UNK]")).and_then(Value::as_u64)
        }
        Value::Array(vocab) => {
            let score = |piece: &Value| piece[1].as_f64().unwrap_or(0.0);
            let lowest = (0..vocab.len()).min_by(|&a, &b| score(&vocab[a]).total_cmp(&score(&vocab[b])));
            lowest.into_iter().for_each(|id| stays[id] = true);
            model["unk_id"].as_u64()
        }
        _ => {
            let kind = model["type"].as_str().unwrap_or("this kind of model");
            let what = format!("a vocabulary of {kind} can't be cut without changing how texts are tokenised");
            return Err(Error::model(path, "model.type", what, "give a WordPiece or Unigram tokenizer"));
        }
    };
    if let Some(stay) = unknown.and_then(|id| stays.get_mut(id as usize)) {
        *stay = true;
    }
    Ok(())
}

fn to_bytes(json: &Value) -> Vec<u8> {
    json.to_string().into_bytes()
}

impl Pruned {
    fn renumber(&self, id: &mut Value) {
        if let Some(new) = id.as_u64().and_then(|old| self.new_id(old as u32)) {
            *id = new.into();
        }
    }

    fn renumber_lines(&self, vocab: &[u8]) -> Vec<u8> {
        let lines: Vec<&[u8]> = vocab.split(|&b| b == b'\n').collect();
        let kept = self.kept.iter().filter_map(|&id| lines.get(id as usize));
        kept.flat_map(|line| line.iter().copied().chain([b'\n'])).collect()
    }

    fn renumber_tokenizer(&self, json: &mut Value) {
        match json.pointer_mut("/model/vocab") {
            Some(Value::Object(vocab)) => {
                let old = std::mem::take(vocab);
                let pieces = old.into_iter().filter_map(|(piece, id)| Some((piece, self.new_id(id.as_u64()? as u32)?)));
                let mut pieces: Vec<(String, u32)> = pieces.collect();
                pieces.sort_by_key(|p| p.1);
                *vocab = pieces.into_iter().map(|(piece, id)| (piece, id.into())).collect::<Map<_, _>>();
            }
            Some(Value::Array(vocab)) => {
                let mut old: Vec<Value> = std::mem::take(vocab);
                let kept = self.kept.iter().filter_map(|&id| old.get_mut(id as usize).map(Value::take));
                *vocab = kept.collect();
            }
            _ => {}
        }
        for place in ["/model/unk_id", "/padding/pad_id"] {
            if let Some(id) = json.pointer_mut(place) {
                self.renumber(id);
            }
        }
        for token in items(json.get_mut("added_tokens")) {
            token.get_mut("id").into_iter().for_each(|id| self.renumber(id));
        }
        json.get_mut("post_processor").into_iter().for_each(|p| self.renumber_processor(p));
    }

    fn renumber_processor(&self, processor: &mut Value) {
        let tokens = processor.get_mut("special_tokens").and_then(Value::as_object_mut);
        for token in tokens.into_iter().flat_map(Map::values_mut) {
            items(token.get_mut("ids")).for_each(|id| self.renumber(id));
        }
        for place in ["/sep/1", "/cls/1"] {
            if let Some(id) = processor.pointer_mut(place) {
                self.renumber(id);
            }
        }
        items(processor.get_mut("processors")).for_each(|inner| self.renumber_processor(inner));
    }
}

fn items(array: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    array.and_then(Value::as_array_mut).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Input;
    use crate::text::{TextConfig, TextEncoder};

    fn golden(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/text").join(name)
    }

    #[test]
    fn covered_texts_are_tokenised_as_before() {
        let corpus = ["Концентрат Prosept Multipower, цитрус 1л", "sony dsc-w120 /b camera", "日本 ☃"];
        for name in ["cased", "uncased", "unigram"] {
            let pruned = prune(&golden(name), corpus, Keep::default()).unwrap();
            let dir = tempfile::tempdir().unwrap();
            pruned.save(dir.path()).unwrap();
            let rendering = TextConfig { max_tokens: 4096, ..Default::default() };
            let [old, new] = [&golden(name), dir.path()].map(|d| TextEncoder::open(d, rendering.clone()).unwrap());
            assert_eq!(new.vocab_size(), pruned.kept().len());
            assert!(new.vocab_size() < old.vocab_size() * 4 / 5, "{name}: {}", new.vocab_size());
            let mut all = corpus.to_vec();
            all.extend(["Multipower camera", "", "я q 7"]); // other texts of kept pieces
            for left in &all {
                let [before, after] =
                    [&old, &new].map(|t| t.encode(&[Input::Text(left), Input::Text(corpus[0])]).unwrap());
                let back: Vec<u32> = after.ids.iter().map(|&id| pruned.kept()[id as usize]).collect();
                assert_eq!(back, before.ids, "{name} {left}");
                let forth: Vec<u32> = before.ids.iter().filter_map(|&id| pruned.new_id(id)).collect();
                assert_eq!(forth, after.ids);
            }
            // a text that is not covered falls to smaller pieces, never to nothing
            let [before, after] = [&old, &new].map(|t| t.encode(&[Input::Text("Антисептик для полов")]).unwrap());
            assert!(after.ids.len() > before.ids.len());
        }
    }

    #[test]
    fn rare_pieces_and_foreign_characters_go() {
        let corpus = ["camera", "camera", "digital"];
        let twice = prune(&golden("cased"), corpus, Keep { min_count: 2, ..Default::default() }).unwrap();
        let once = prune(&golden("cased"), corpus, Keep::default()).unwrap();
        assert!(twice.kept().len() < once.kept().len());
        for (piece, characters, kept) in [
            ("日", Characters::All, true),
            ("日", Characters::European, false),
            ("##ж", Characters::European, true),
            ("€", Characters::European, true),
            ("##", Characters::All, false),
            ("#", Characters::European, true),
            ("<0x0A>", Characters::European, true),
            ("ab", Characters::All, false),
        ] {
            assert_eq!(is_kept_character(piece, characters), kept, "{piece}");
        }
    }

    #[test]
    fn settings_beside_the_vocabulary_are_renumbered() {
        let dir = tempfile::tempdir().unwrap();
        let mut json: Value =
            serde_json::from_slice(&std::fs::read(golden("unigram/tokenizer.json")).unwrap()).unwrap();
        let last = json["model"]["vocab"].as_array().unwrap().len();
        json["model"]["vocab"].as_array_mut().unwrap().push(serde_json::json!(["<extra>", 0.0]));
        let extra = serde_json::json!({"id": last, "content": "<extra>", "special": true, "normalized": false,
            "single_word": false, "lstrip": false, "rstrip": false});
        json["added_tokens"].as_array_mut().unwrap().push(extra);
        std::fs::write(dir.path().join("tokenizer.json"), json.to_string()).unwrap();
        let settings = serde_json::json!({"added_tokens_decoder": {last.to_string(): {"content": "<extra>"}}});
        std::fs::write(dir.path().join("tokenizer_config.json"), settings.to_string()).unwrap();
        std::fs::write(dir.path().join("added_tokens.json"), format!("{{\"<extra>\": {last}}}")).unwrap();
        let pruned = prune(dir.path(), ["чай"], Keep::default()).unwrap();
        let new = pruned.new_id(last as u32).unwrap();
        assert_eq!(new as usize, pruned.kept().len() - 1);
        pruned.save(dir.path()).unwrap();
        let read =
            |name: &str| -> Value { serde_json::from_slice(&std::fs::read(dir.path().join(name)).unwrap()).unwrap() };
        assert_eq!(read("tokenizer_config.json")["added_tokens_decoder"][new.to_string()]["content"], "<extra>");
        assert_eq!(read("added_tokens.json")["<extra>"], new);
        let tokens = read("tokenizer.json")["added_tokens"].clone();
        assert_eq!(tokens.as_array().unwrap().last().unwrap()["id"], new);
    }

    #[test]
    fn merges_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let vocab = r#"{"[CLS]": 0, "[SEP]": 1, "a": 2, "b": 3, "ab": 4}"#;
        let model = format!(r#"{{"type": "BPE", "vocab": {vocab}, "merges": [["a", "b"]]}}"#);
        let json = format!(r#"{{"version": "1.0", "added_tokens": [], "model": {model}}}"#);
        std::fs::write(dir.path().join("tokenizer.json"), json).unwrap();
        let error = prune(dir.path(), ["ab"], Keep::default()).unwrap_err().to_string();
        assert!(error.contains("tokenizer.json: model.type") && error.contains("BPE"), "{error}");
    }
}
