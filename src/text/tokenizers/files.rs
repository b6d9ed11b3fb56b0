//! A vocabulary as the files of Hugging Face: `tokenizer.json`, `tokenizer_config.json`, and `vocab.txt` of a WordPiece.
//!
//! A WordPiece that cuts as BERT does says that it is a `BertTokenizer`, so that its `vocab.txt` alone is enough anywhere. All others
//! say `PreTrainedTokenizerFast`, with which transformers takes `tokenizer.json` as it is written.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::merges::{Limits, Marks, Merged, merge, pieces_of};
use super::{Accents, Codes, Digits, Kind, SPECIAL, TokenizerSettings, WordCounts, alphabet, unigram, words};
use crate::files::NewFolder;
use crate::text::{TextConfig, TextEncoder};
use crate::{Error, Result};

/// What transformers cuts a text to.
const MAX_LENGTH: usize = 512;

/// A grown vocabulary.
#[derive(Debug, Clone)]
pub struct Grown {
    /// Name and content.
    pub(super) files: Vec<(String, Vec<u8>)>,
    /// Pieces, special tokens included.
    pub size: usize,
    /// What the user should know of it.
    pub notes: Vec<String>,
}

impl Grown {
    /// Writes the folder; one of that name is replaced when the new one is complete.
    ///
    /// # Errors
    /// The system's.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let folder = NewFolder::create(dir)?;
        for (name, bytes) in &self.files {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).map_err(Error::io("write", &dir.join(name)))?;
        }
        folder.commit()
    }

    /// The tokenizer, without a file.
    ///
    /// # Errors
    /// A text setting that leaves no room.
    pub fn encoder(&self, text: TextConfig) -> Result<TextEncoder> {
        TextEncoder::from_files(self.files.clone(), text)
    }
}

/// Grows a vocabulary from the counted words; `step` hears how many pieces there are.
///
/// # Errors
/// A corpus without words; a size below the alphabet's.
pub fn grow(counts: &WordCounts, step: &mut dyn FnMut(usize)) -> Result<Grown> {
    grow_to(counts, counts.settings(), step)
}

/// The same in another size than the words were counted for.
///
/// # Errors
/// As of [`grow`].
pub fn grow_sizes(counts: &WordCounts, vocab_size: usize) -> Result<Grown> {
    let settings = TokenizerSettings { vocab_size, ..counts.settings().clone() };
    grow_to(counts, &settings, &mut |_| ())
}

fn grow_to(counts: &WordCounts, settings: &TokenizerSettings, step: &mut dyn FnMut(usize)) -> Result<Grown> {
    settings.check()?;
    counts.refuse_nothing()?;
    let special = settings.special_tokens();
    let (model, size) = match settings.kind {
        Kind::Word => word(settings, counts),
        Kind::Char => character(settings, counts)?,
        Kind::Bpe | Kind::ByteBpe | Kind::Wordpiece => merged(settings, counts, step)?,
        Kind::Unigram => {
            let letters = with_mark(alphabet::alphabet(settings, &counts.characters()));
            alphabet::refuse_small(settings, letters.len())?;
            let model = unigram::train(settings, &counts.sorted(), &letters)?;
            let size = model["vocab"].as_array().map_or(0, Vec::len);
            (model, size)
        }
        Kind::NgramHash => (words::ngram_model(settings, &special), settings.vocab_size),
    };
    let mut notes = Vec::new();
    if size < settings.vocab_size {
        notes.push(format!(
            "the corpus fills {size} of {} pieces (with --min-frequency {}); the vocabulary has {size}",
            settings.vocab_size, settings.min_frequency
        ));
    }
    if counts.too_long > 0 {
        let most = super::LONGEST_WORD;
        notes.push(format!("{} words of more than {most} characters were not learnt from", counts.too_long));
    }
    let parts = (normalizer(settings), pre_tokenizer(settings));
    Ok(Grown { files: written(settings, parts, model, &special), size, notes })
}

/// `▁` is a character too.
fn with_mark(mut letters: Vec<char>) -> Vec<char> {
    if let Err(at) = letters.binary_search(&'▁') {
        letters.insert(at, '▁');
    }
    letters
}

/// Special tokens and then pieces, numbered.
pub(super) fn numbered(pieces: impl IntoIterator<Item = String>) -> Map<String, Value> {
    pieces.into_iter().zip((0u32..).map(Value::from)).collect()
}

fn word(settings: &TokenizerSettings, counts: &WordCounts) -> (Value, usize) {
    let special = settings.special_tokens();
    let mut words = counts.sorted();
    words.retain(|(word, count)| *count >= settings.min_frequency && !special.iter().any(|s| s == word));
    words.sort_by_key(|&(_, count)| std::cmp::Reverse(count)); // stable: equal ones by their letters
    words.truncate(settings.vocab_size - special.len());
    let vocab = numbered(special.into_iter().chain(words.into_iter().map(|(word, _)| word.to_string())));
    let size = vocab.len();
    (json!({"type": "WordLevel", "vocab": vocab, "unk_token": SPECIAL[1]}), size)
}

fn character(settings: &TokenizerSettings, counts: &WordCounts) -> Result<(Value, usize)> {
    let special = settings.special_tokens();
    let seen = counts.characters();
    let base = with_mark(alphabet::base(settings));
    alphabet::refuse_small(settings, base.len() - 1)?;
    let mut letters = with_mark(alphabet::alphabet(settings, &seen));
    let often = |c: &char| seen.get(c).copied().unwrap_or(0);
    letters.sort_by_key(|c| (base.binary_search(c).is_err(), std::cmp::Reverse(often(c)), *c));
    letters.truncate(settings.vocab_size - special.len());
    letters.sort_by_key(|c| (std::cmp::Reverse(often(c)), *c));
    let vocab = numbered(special.into_iter().chain(letters.iter().map(char::to_string)));
    let size = vocab.len();
    Ok((json!({"type": "WordLevel", "vocab": vocab, "unk_token": SPECIAL[1]}), size))
}

fn merged(settings: &TokenizerSettings, counts: &WordCounts, step: &mut dyn FnMut(usize)) -> Result<(Value, usize)> {
    let marks = match settings.kind {
        Kind::Wordpiece => Marks::Inside,
        Kind::Bpe => Marks::End,
        _ => Marks::None,
    };
    let letters = match settings.kind {
        Kind::ByteBpe => {
            let mut bytes: Vec<char> =
                tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect();
            bytes.sort_unstable();
            bytes
        }
        _ => alphabet::alphabet(settings, &counts.characters()),
    };
    alphabet::refuse_small(settings, pieces_of(letters.len(), marks))?;
    let limits = Limits { pieces: settings.vocab_size, min_frequency: settings.min_frequency };
    let Merged { pieces, pairs } = merge(&counts.sorted(), &settings.special_tokens(), &letters, marks, limits, step);
    let size = pieces.len();
    let model = if settings.kind == Kind::Wordpiece {
        json!({"type": "WordPiece", "unk_token": SPECIAL[1], "continuing_subword_prefix": super::merges::INSIDE,
               "max_input_chars_per_word": super::LONGEST_WORD, "vocab": numbered(pieces)})
    } else {
        let end = (marks == Marks::End).then_some(super::merges::END);
        let pairs: Vec<[&String; 2]> = pairs.iter().map(|&(a, b)| [&pieces[a as usize], &pieces[b as usize]]).collect();
        json!({"type": "BPE", "dropout": null, "unk_token": SPECIAL[1], "continuing_subword_prefix": null,
               "end_of_word_suffix": end, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
               "merges": pairs, "vocab": numbered(pieces.iter().cloned())})
    };
    Ok((model, size))
}

/// What is done to a text before it is cut.
pub(super) fn normalizer(settings: &TokenizerSettings) -> Value {
    let all = settings.accents == Accents::All;
    let mut steps = Vec::new();
    if settings.accents == Accents::Latin {
        let marks = json!({"type": "Replace", "pattern": {"Regex": "(?<=[A-Za-z])\\p{Mn}+"}, "content": ""});
        steps.extend([json!({"type": "NFD"}), marks, json!({"type": "NFC"})]);
    }
    if settings.kind == Kind::ByteBpe {
        if all {
            steps.extend([json!({"type": "NFD"}), json!({"type": "StripAccents"})]);
        }
        steps.extend(settings.lowercase.then(|| json!({"type": "Lowercase"})));
        // the first word is cut as any other
        steps.push(json!({"type": "Strip", "strip_left": true, "strip_right": true}));
        steps.push(json!({"type": "Prepend", "prepend": " "}));
    } else {
        steps.push(
            json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": all,
                          "lowercase": settings.lowercase}),
        );
    }
    chain("normalizers", steps)
}

/// How a text is cut into words.
pub(super) fn pre_tokenizer(settings: &TokenizerSettings) -> Value {
    let isolated =
        |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
    let digits = |single: bool| json!({"type": "Digits", "individual_digits": single});
    let mut steps = match (settings.kind, settings.codes) {
        (Kind::ByteBpe, Codes::Space) => vec![isolated(" ?\\S+|\\s+")],
        (Kind::ByteBpe, Codes::Punctuation) => {
            vec![isolated(" ?[\\p{L}\\p{M}\\p{N}]+| ?[^\\s\\p{L}\\p{M}\\p{N}]|\\s+")]
        }
        (Kind::ByteBpe, Codes::Borders) => {
            vec![isolated(" ?[\\p{L}\\p{M}]+| ?\\p{N}+| ?[^\\s\\p{L}\\p{M}\\p{N}]|\\s+")]
        }
        (Kind::Unigram | Kind::Char, codes) => {
            let mut steps = vec![
                json!({"type": "WhitespaceSplit"}),
                json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}),
            ];
            if codes != Codes::Space {
                steps.push(json!({"type": "Punctuation", "behavior": "Isolated"}));
            }
            steps
        }
        (_, Codes::Space) => vec![json!({"type": "WhitespaceSplit"})],
        _ => vec![json!({"type": "BertPreTokenizer"})],
    };
    if settings.codes == Codes::Borders && settings.digits == Digits::Plain && settings.kind != Kind::ByteBpe {
        steps.push(digits(false));
    }
    match settings.digits {
        Digits::Plain => {}
        Digits::Single => steps.push(digits(true)),
        Digits::Group => steps.push(isolated("\\p{N}{1,3}")),
    }
    match settings.kind {
        Kind::Char => steps.push(isolated("[\\s\\S]")),
        Kind::ByteBpe => {
            let plain =
                json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
            steps.push(plain);
        }
        _ => {}
    }
    chain("pretokenizers", steps)
}

fn chain(key: &str, mut steps: Vec<Value>) -> Value {
    if steps.len() == 1 { steps.remove(0) } else { json!({"type": "Sequence", key: steps}) }
}

/// Whether BERT's own tokenizer class cuts the same way.
fn is_berts(settings: &TokenizerSettings) -> bool {
    settings.kind == Kind::Wordpiece
        && settings.accents != Accents::Latin
        && settings.codes == Codes::Punctuation
        && settings.digits == Digits::Plain
}

/// The files of a vocabulary, with how a text is normalized and cut.
pub(super) fn written(
    settings: &TokenizerSettings,
    (normalizer, pre_tokenizer): (Value, Value),
    model: Value,
    special: &[String],
) -> Vec<(String, Vec<u8>)> {
    let token = |text: &String, id: usize| {
        json!({"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
               "special": true})
    };
    let tokens: Vec<Value> = special.iter().enumerate().map(|(id, text)| token(text, id)).collect();
    let (cls, sep) = (SPECIAL[2], SPECIAL[3]);
    let at = |name: &str, kind: u32| json!({"SpecialToken": {"id": name, "type_id": kind}});
    let text = |name: &str, kind: u32| json!({"Sequence": {"id": name, "type_id": kind}});
    let frame = if is_berts(settings) {
        json!({"type": "BertProcessing", "sep": [sep, 3], "cls": [cls, 2]})
    } else {
        json!({"type": "TemplateProcessing", "single": [at(cls, 0), text("A", 0), at(sep, 0)],
               "pair": [at(cls, 0), text("A", 0), at(sep, 0), text("B", 1), at(sep, 1)],
               "special_tokens": {cls: {"id": cls, "ids": [2], "tokens": [cls]}, sep: {"id": sep, "ids": [3], "tokens": [sep]}}})
    };
    let decoder = match settings.kind {
        Kind::Wordpiece => json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
        Kind::Bpe => json!({"type": "BPEDecoder", "suffix": "</w>"}),
        Kind::ByteBpe => {
            json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true})
        }
        Kind::Unigram | Kind::Char => {
            json!({"type": "Sequence", "decoders": [{"type": "Fuse"},
                   {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}]})
        }
        Kind::Word | Kind::NgramHash => Value::Null,
    };
    let vocab_txt = (settings.kind == Kind::Wordpiece).then(|| {
        let mut pieces: Vec<(&String, u64)> =
            model["vocab"].as_object().into_iter().flatten().map(|(p, id)| (p, id.as_u64().unwrap_or(0))).collect();
        pieces.sort_by_key(|p| p.1);
        pieces.iter().map(|(piece, _)| format!("{piece}\n")).collect::<String>().into_bytes()
    });
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": tokens,
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": frame,
        "decoder": decoder, "model": model,
    });
    let class = if is_berts(settings) { "BertTokenizer" } else { "PreTrainedTokenizerFast" };
    let mut config = json!({
        "tokenizer_class": class, "model_max_length": MAX_LENGTH,
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"], "clean_up_tokenization_spaces": false,
        "pad_token": SPECIAL[0], "unk_token": SPECIAL[1], "cls_token": cls, "sep_token": sep, "mask_token": SPECIAL[4],
        "additional_special_tokens": special[SPECIAL.len()..],
    });
    if is_berts(settings) {
        config["do_lower_case"] = settings.lowercase.into();
        config["strip_accents"] = (settings.accents == Accents::All).into();
        config["tokenize_chinese_chars"] = true.into();
    }
    config["sverka"] = serde_json::to_value(settings).unwrap_or_default();
    let pretty = |value: &Value| (format!("{value:#}") + "\n").into_bytes();
    let mut files =
        vec![("tokenizer.json".to_string(), pretty(&json)), ("tokenizer_config.json".into(), pretty(&config))];
    files.extend(vocab_txt.map(|bytes| ("vocab.txt".to_string(), bytes)));
    files
}
