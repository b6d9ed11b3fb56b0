//! What a user may do wrong: each is said on one line, with its place and what to do, and leaves no folder.

use sverka::train::Silent;
use sverka::train::pretrain::pretrain;

use super::{Folder, TEXTS, WORDS, texts};

/// The error of a run that must not begin.
fn refused(folder: &Folder, sources: &str, sets: &[&str], parts: &[&str]) {
    let run = folder.path("refused");
    let error = folder.recipe(sources, sets).and_then(|recipe| pretrain(&recipe, &run, false, &Silent)).unwrap_err();
    let text = error.to_string();
    assert!(error.is_user_error() && !text.contains('\n'), "{text}");
    for part in parts {
        assert!(text.contains(part), "`{part}` is missing: {text}");
    }
    assert!(!run.exists(), "{text}: a folder is left");
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("texts.txt", texts());
    folder
}

#[test]
fn a_vocabulary_without_a_mask_is_named() {
    let folder = folder();
    folder.write("tokenizer/vocab.txt", WORDS.replace("[MASK] ", "").replace(' ', "\n"));
    refused(&folder, TEXTS, &[], &["vocab.txt", "[MASK]", "no masking token"]);
}

#[test]
fn sequences_past_the_position_table_are_refused() {
    let folder = folder();
    refused(&folder, TEXTS, &["text.max_tokens=41"], &["text.max_tokens = 41", "position table", "40"]);
    let recipe = folder.recipe(TEXTS, &["train.steps=0"]).unwrap();
    pretrain(&recipe, &folder.path("start"), false, &Silent).unwrap();
    let model = sverka::bundle::LanguageModel::open(&folder.path("start/model"), false, None).unwrap();
    let error = model.fill(&"[MASK] lamp ".repeat(30), 1).unwrap_err().to_string();
    assert!(error.contains("62") && error.contains("has 40 positions"), "{error}");
    let error = model.fill("no gap", 1).unwrap_err().to_string();
    assert!(error.contains("[MASK]"), "{error}");
    let error = sverka::bundle::LanguageModel::open(&folder.path("start/model"), true, None).err().unwrap().to_string();
    assert!(error.contains("cls.seq_relationship.weight") && error.contains("[next]"), "{error}");
}

#[test]
fn an_empty_corpus_is_named() {
    let folder = folder();
    folder.write("texts.txt", "");
    refused(&folder, TEXTS, &[], &["texts.txt", "empty"]);
    folder.write("texts.txt", " \n\n ... \n");
    refused(&folder, TEXTS, &[], &["texts.txt", "no text is left"]);
    folder.write("texts.txt", texts());
    refused(&folder, TEXTS, &["data.held_out=1e-12"], &["data.held_out", "no document"]);
    refused(&folder, "[[data.sources]]\nname = 'x'\nfiles = ['none.txt']\n", &[], &["none.txt"]);
}

#[test]
fn invalid_utf_8_has_its_line_and_is_skipped_on_request() {
    let folder = folder();
    let mut bytes = texts().into_bytes();
    let line = "лампа и чашка\n".as_bytes();
    bytes.extend_from_slice(line);
    bytes.extend_from_slice(b"broken \xff\xfe line\n");
    folder.write("texts.txt", &bytes);
    let number = bytes.iter().filter(|b| **b == b'\n').count();
    refused(&folder, TEXTS, &[], &[&format!("texts.txt:{number}"), "UTF-8", "skip_bad_rows"]);
    let recipe = folder.recipe(TEXTS, &["data.skip_bad_rows=true", "train.steps=0"]).unwrap();
    let outcome = pretrain(&recipe, &folder.path("run"), false, &Silent).unwrap();
    assert_eq!(outcome.data[0].bad_rows, 1);
}

#[test]
fn settings_that_can_not_be_are_named() {
    let folder = folder();
    for (set, parts) in [
        ("mask.share=0", ["mask.share", "above 0"]),
        ("mask.random=0.5", ["mask.masked, mask.random", "1 together"]),
        ("model.fresh.heads=3", ["model.fresh.heads", "divide"]),
        ("model.init=x", ["model", "one of both"]),
        ("train.step=5", ["step", "unknown"]),
        ("train.batch=0", ["train.batch", "at least 1"]),
        ("data.sources.0.weight=0", ["data.sources.0.weight", "above 0"]),
        ("data.sources.0.document=record", ["data.sources.0.document", "paragraph"]),
        ("data.sources.0.fields=['name']", ["data.sources.0.fields", "no fields"]),
    ] {
        refused(&folder, TEXTS, &[set], &parts);
    }
    // a file that is there already is not written over
    folder.write("runs/x/notes.txt", "mine");
    let recipe = folder.recipe(TEXTS, &[]).unwrap();
    assert!(pretrain(&recipe, &folder.path("runs/x"), false, &Silent).is_err());
    assert_eq!(std::fs::read_to_string(folder.path("runs/x/notes.txt")).unwrap(), "mine");
    // a corpus that was changed is found out
    let run = folder.path("run");
    pretrain(&folder.recipe(TEXTS, &["train.steps=0"]).unwrap(), &run, false, &Silent).unwrap();
    std::fs::remove_file(run.join("metrics.json")).unwrap();
    std::fs::write(run.join("corpus/tokens"), b"0000").unwrap();
    let error = pretrain(&folder.recipe(TEXTS, &["train.steps=0"]).unwrap(), &run, true, &Silent).unwrap_err();
    assert!(error.to_string().contains("corpus/tokens"), "{error}");
}
