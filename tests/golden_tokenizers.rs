//! Grown vocabularies cut as Python's transformers cuts with them (`tests/golden/tokenizers/make.py`), word for word, and the reader of
//! bundles takes them.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::Value;
use sverka::Input;
use sverka::text::tokenizers::{Accents, Codes, Digits, Kind, TokenizerSettings, WordCounts, grow};
use sverka::text::{TextConfig, TextEncoder};

mod require;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tokenizers").join(name)
}

fn lines(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(golden(name)).unwrap();
    text.lines().filter(|l| !l.trim().is_empty()).map(str::to_owned).collect()
}

/// The settings of a variant's arguments on the command line.
fn settings(arguments: &Value) -> TokenizerSettings {
    let arguments: Vec<&str> = arguments.as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    let mut settings = TokenizerSettings::default();
    let mut rest = arguments.iter();
    while let Some(flag) = rest.next() {
        let mut value = || *rest.next().unwrap();
        fn named<T: serde::de::DeserializeOwned>(name: &str) -> T {
            serde_json::from_value(name.into()).unwrap()
        }
        match *flag {
            "--kind" => settings.kind = named::<Kind>(value()),
            "--vocab-size" => settings.vocab_size = value().parse().unwrap(),
            "--codes" => settings.codes = named::<Codes>(value()),
            "--digits" => settings.digits = named::<Digits>(value()),
            "--cased" => settings.lowercase = false,
            "--strip-accents" => settings.accents = Accents::Latin,
            "--strip-accents=all" => settings.accents = Accents::All,
            "--min-frequency" => settings.min_frequency = value().parse().unwrap(),
            "--special" => settings.special = vec![value().to_string()],
            "--ngrams" => settings.ngrams = (3, value()[2..].parse().unwrap()),
            other => panic!("{other}"),
        }
    }
    settings
}

#[test]
fn every_kind_cuts_as_python_does() {
    let (corpus, texts) = (lines("corpus.txt"), lines("texts.txt"));
    let expected: Value = serde_json::from_slice(&std::fs::read(golden("ids.json")).unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut kinds = std::collections::HashSet::new();
    for (name, variant) in expected.as_object().unwrap() {
        let settings = settings(&variant["arguments"]);
        kinds.insert(format!("{:?}", settings.kind));
        let mut counts = WordCounts::new(&settings).unwrap();
        counts.add(&corpus).unwrap();
        let folder = dir.path().join(name);
        grow(&counts, &mut |_| ()).unwrap().save(&folder).unwrap();
        let encoder = TextEncoder::open(&folder, TextConfig { max_tokens: 512, ..Default::default() }).unwrap();
        assert_eq!(encoder.vocab_size() as u64, variant["size"].as_u64().unwrap(), "{name}");
        for (text, ids) in texts.iter().zip(variant["ids"].as_array().unwrap()) {
            let ids: Vec<u32> = serde_json::from_value(ids.clone()).unwrap();
            assert_eq!(encoder.token_ids(text).unwrap(), ids, "{name}: {text}");
        }
        if let Some(pair) = variant["pair"].as_object() {
            let encoding = encoder.encode(&[Input::Text(&texts[0]), Input::Text(&texts[1])]).unwrap();
            assert_eq!(serde_json::json!(encoding.ids), pair["ids"], "{name}");
            assert_eq!(serde_json::json!(encoding.segments), pair["types"], "{name}");
        }
    }
    assert_eq!(kinds.len(), 7, "a kind has no variant");
}

/// Texts of the public sets, read as tests/golden/tokenizers/at_size.py reads them: learnt from, and held out.
mod public {
    use std::collections::HashSet;
    use std::io::Read;
    use std::path::Path;

    const TABLES: [(&str, &str, u8); 6] = [
        ("products/amazon-google/tableA.csv", "title", b','),
        ("products/amazon-google/tableB.csv", "title", b','),
        ("products/abt-buy/tableA.csv", "name", b','),
        ("products/abt-buy/tableB.csv", "name", b','),
        ("prosept/marketing_product.csv", "name", b';'),
        ("prosept/Dealer_product.csv", "product_name", b','),
    ];

    fn column(path: &Path, column: &str, delimiter: u8) -> Vec<String> {
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_path(path).unwrap();
        let at = reader.headers().unwrap().iter().position(|name| name == column).unwrap();
        reader.records().map(|row| row.unwrap()[at].to_string()).collect()
    }

    /// Titles of one shop, in Russian.
    pub fn prosept(data: &Path) -> Vec<String> {
        TABLES[4..].iter().flat_map(|(name, of, delimiter)| column(&data.join(name), of, *delimiter)).collect()
    }

    pub fn divided(data: &Path) -> (Vec<String>, Vec<String>) {
        let mut titles: Vec<String> =
            TABLES.iter().flat_map(|(name, of, delimiter)| column(&data.join(name), of, *delimiter)).collect();
        for name in ["wdc/computers/train.txt.medium", "wdc/cameras/train.txt.medium"] {
            for line in std::fs::read_to_string(data.join(name)).unwrap().split('\n').filter(|l| !l.is_empty()) {
                titles.extend(line.split('\t').take(2).map(|t| t.trim_start_matches("COL title VAL ").to_string()));
            }
        }
        let mut seen = HashSet::new();
        titles.retain(|title| !title.trim_matches(' ').is_empty() && seen.insert(title.clone()));
        let (mut plays, path) = (String::new(), data.join("russian-text/plays.txt.gz"));
        flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut plays).unwrap();
        let plays: Vec<&str> = plays.strip_suffix('\n').unwrap_or(&plays).split('\n').collect();
        let every = |from: usize, step: usize| plays.iter().skip(from).step_by(step).map(|l| l.to_string());
        let (held_out, learnt): (Vec<_>, Vec<_>) = titles.into_iter().enumerate().partition(|(i, _)| i % 4 == 3);
        let title = |(_, title)| title;
        (
            learnt.into_iter().map(title).chain(every(0, 16)).collect(),
            held_out.into_iter().map(title).take(3000).chain(every(5, 16).take(7000)).collect(),
        )
    }
}

/// The first letters of a hash of some byte strings.
fn digest(parts: impl IntoIterator<Item = Vec<u8>>) -> String {
    use sha2::Digest;
    let mut hash = sha2::Sha256::new();
    parts.into_iter().for_each(|part| hash.update(part));
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// A hash of every 100 items.
fn blocks<T>(items: &[T], bytes: impl Fn(&T) -> Vec<u8>) -> Vec<String> {
    let ended = |item: &T| [bytes(item), vec![0xff; 4]].concat();
    items.chunks(100).map(|block| digest(block.iter().map(ended))).collect()
}

#[test]
fn ten_thousand_held_out_texts_are_cut_as_python_does() {
    let Some(data) = require::data("") else { return };
    if !data.join("russian-text").is_dir() || !data.join("prosept").is_dir() {
        require::skipped("data", "not all public sets are here");
        return;
    }
    let (corpus, texts) = public::divided(&data);
    let expected: Value = serde_json::from_slice(&std::fs::read(golden("at_size.json")).unwrap()).unwrap();
    let line = |text: &String| [text.as_bytes(), b"\n"].concat();
    assert_eq!(serde_json::json!(digest(corpus.iter().map(line))), expected["corpus"], "other texts are learnt from");
    assert_eq!(serde_json::json!(blocks(&texts, |t| t.clone().into_bytes())), expected["texts"], "other texts are cut");
    let mut kinds = std::collections::HashSet::new();
    for (name, variant) in expected["variants"].as_object().unwrap() {
        let settings = settings(&variant["arguments"]);
        kinds.insert(format!("{:?}", settings.kind));
        let mut counts = WordCounts::new(&settings).unwrap();
        counts.add(&corpus).unwrap();
        let encoder = grow(&counts, &mut |_| ()).unwrap().encoder(TextConfig::default()).unwrap();
        if settings.kind != Kind::NgramHash {
            let pieces = (0..encoder.vocab_size() as u32).map(|id| (encoder.piece(id) + "\n").into_bytes());
            assert_eq!(serde_json::json!(digest(pieces)), variant["pieces"], "{name}: other pieces were grown");
        }
        let ids: Vec<Vec<u32>> = texts.par_iter().map(|text| encoder.token_ids(text).unwrap()).collect();
        let hashes = blocks(&ids, |ids| ids.iter().flat_map(|id| id.to_le_bytes()).collect());
        for (block, (ours, theirs)) in hashes.iter().zip(variant["ids"].as_array().unwrap()).enumerate() {
            assert_eq!(ours, theirs, "{name}: one of texts {} to {}", 100 * block, 100 * block + 99);
        }
        assert_eq!(ids.iter().map(Vec::len).sum::<usize>() as u64, variant["tokens"].as_u64().unwrap(), "{name}");
    }
    assert_eq!(kinds.len(), 7, "a kind has no variant");
}

#[test]
fn growing_again_gives_the_same_bytes() {
    let corpus = lines("corpus.txt");
    let dir = tempfile::tempdir().unwrap();
    for kind in [Kind::Wordpiece, Kind::Bpe, Kind::Unigram, Kind::Char, Kind::Word] {
        let settings = TokenizerSettings { kind, vocab_size: 300, ..Default::default() };
        let written: Vec<String> = (0..2)
            .map(|_| {
                let mut counts = WordCounts::new(&settings).unwrap();
                corpus.chunks(7).for_each(|part| counts.add(part).unwrap());
                let folder = dir.path().join(format!("{kind:?}"));
                grow(&counts, &mut |_| ()).unwrap().save(&folder).unwrap();
                std::fs::read_to_string(folder.join("tokenizer.json")).unwrap()
            })
            .collect();
        assert_eq!(written[0], written[1], "{kind:?}");
    }
}

#[test]
fn pieces_have_their_places_in_the_text() {
    let corpus = lines("corpus.txt");
    for kind in [Kind::Wordpiece, Kind::Bpe, Kind::ByteBpe, Kind::Unigram, Kind::Char, Kind::Word, Kind::NgramHash] {
        let settings = TokenizerSettings { kind, vocab_size: 500, ..Default::default() };
        let mut counts = WordCounts::new(&settings).unwrap();
        counts.add(&corpus).unwrap();
        let encoder = grow(&counts, &mut |_| ()).unwrap().encoder(TextConfig::default()).unwrap();
        for text in &corpus {
            let pieces = encoder.pieces(text).unwrap();
            assert!(pieces.windows(2).all(|p| p[0].start <= p[1].start), "{kind:?}: {text}");
            let covered = |at: usize| pieces.iter().any(|p| (p.start..p.end).contains(&at));
            let bare = text.char_indices().find(|&(at, c)| c.is_alphanumeric() && !covered(at));
            assert_eq!(bare, None, "{kind:?}: {text}");
        }
        // words of both sides are found by these places
        let marked = TextConfig { overlap_segments: true, ..Default::default() };
        let encoder = grow(&counts, &mut |_| ()).unwrap().encoder(marked).unwrap();
        let encoding = encoder.encode(&[Input::Text("черный монитор"), Input::Text("монитор белый")]).unwrap();
        assert!(encoding.segments.contains(&2) && encoding.segments.contains(&3), "{kind:?}: {:?}", encoding.segments);
    }
}

#[test]
fn black_is_one_piece_in_a_shops_vocabulary_and_several_in_a_general_one() {
    let corpus = lines("corpus.txt");
    let settings = TokenizerSettings { vocab_size: 400, ..Default::default() };
    let mut counts = WordCounts::new(&settings).unwrap();
    counts.add(&corpus).unwrap();
    let own = grow(&counts, &mut |_| ()).unwrap().encoder(TextConfig::default()).unwrap();
    let tokens = |encoder: &TextEncoder, text: &str| -> Vec<String> {
        encoder.pieces(text).unwrap().into_iter().map(|p| p.token).collect()
    };
    assert_eq!(tokens(&own, "Черный"), ["черный"]);
    assert!(tokens(&own, "E2282HS").len() > 2, "{:?}", tokens(&own, "E2282HS"));
    if let Some(data) = require::data("prosept") {
        let mut counts = WordCounts::new(&TokenizerSettings { vocab_size: 4000, ..Default::default() }).unwrap();
        counts.add(&public::prosept(data.parent().unwrap())).unwrap();
        let shop = grow(&counts, &mut |_| ()).unwrap().encoder(TextConfig::default()).unwrap();
        assert_eq!(tokens(&shop, "Герметик черный"), ["герметик", "черный"]);
        assert!(tokens(&shop, "чернозем").len() > 1, "{:?}", tokens(&shop, "чернозем"));
    }
    let general = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/bert-tiny");
    if !general.exists() {
        require::skipped("weights", "no weights/bert-tiny");
        return;
    }
    let general = TextEncoder::open(&general, TextConfig::default()).unwrap();
    assert!(tokens(&general, "черный").len() > 1, "{:?}", tokens(&general, "черный"));
}

#[test]
fn what_can_not_be_grown_is_said() {
    let grown = |settings: TokenizerSettings, texts: &[&str]| {
        let mut counts = WordCounts::new(&settings).map_err(|e| e.to_string())?;
        counts.add(texts).unwrap();
        grow(&counts, &mut |_| ()).map_err(|e| {
            assert!(e.is_user_error());
            e.to_string()
        })
    };
    let settings = |kind, vocab_size| TokenizerSettings { kind, vocab_size, ..Default::default() };
    let error = |settings, texts: &[&str]| grown(settings, texts).err().unwrap();
    for kind in [Kind::Word, Kind::Char, Kind::Bpe, Kind::ByteBpe, Kind::Wordpiece, Kind::Unigram] {
        assert!(error(settings(kind, 1000), &[]).contains("has no text"), "{kind:?}");
        assert!(error(settings(kind, 1000), &["  "]).contains("1 texts and no word"), "{kind:?}");
        assert!(error(settings(kind, 5), &["a"]).contains("--vocab-size = 5"), "{kind:?}");
    }
    let small = error(settings(Kind::Wordpiece, 60), &["черный чай", "черный"]);
    assert!(
        small.contains("--vocab-size = 60") && small.contains("the alphabet (each as itself and with ##)"),
        "{small}"
    );
    let twice = TokenizerSettings { special: vec!["[MASK]".into()], ..Default::default() };
    assert!(error(twice, &["a"]).contains("is a special token already"));
    // more than the corpus can fill is no error, and said
    let filled = grown(settings(Kind::Wordpiece, 30_000), &["черный чай", "черный чай"]).unwrap();
    assert!(filled.size < 300 && filled.notes[0].contains("of 30000 pieces"), "{:?}", filled.notes);
    // a title of a megabyte, glued or not
    let (glued, long) = ("x1".repeat(1 << 19), "черный чай ".repeat(50_000));
    let grown = grown(settings(Kind::Wordpiece, 1000), &[&glued, &long]).unwrap();
    assert!(grown.notes.iter().any(|n| n.contains("more than 100 characters")), "{:?}", grown.notes);
    let encoder = grown.encoder(TextConfig::default()).unwrap();
    assert_eq!(encoder.token_ids(&long).unwrap().len(), 100_000);
    assert!(!encoder.token_ids(&glued).unwrap().is_empty());
}
