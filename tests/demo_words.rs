//! The demo lists of `examples/` are about goods that no word list of the library knows, so they show how the matcher does on
//! goods that nobody wrote down for it.
//!
//! The rule. The demo's words are those of every text in `make.py` between its two marker lines: goods, attributes, advertising
//! words, lines. The library's words are those of its lists, in every file under the folders of [`LISTS`]: texts inside square
//! brackets (so the values of a class in a `.toml` file, but not the class's own name), and above the tests of a `.rs` file also texts
//! of a single word. Two words are one if their first five letters are (`лимонный` is `лимонная`). Left out: words of one or two
//! letters, a unit after a number, and [`GRAMMAR`], without which nothing can be said.
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the library keeps lists of words.
const LISTS: [&str; 4] = ["src/text", "src/index", "src/train/augment", "src/train/augment.rs"];
const GRAMMAR: [&str; 9] = ["для", "без", "with", "without", "for", "and", "the", "this", "that"];
const PREFIX: usize = 5;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files under a path.
fn files(path: &Path) -> Vec<PathBuf> {
    match fs::read_dir(path) {
        Ok(entries) => entries.flat_map(|entry| files(&entry.unwrap().path())).collect(),
        Err(_) => vec![path.to_path_buf()],
    }
}

/// Words of three letters or more, in lower case, `ё` as `е`, without units after numbers.
fn words(text: &str) -> Vec<String> {
    let text = text.to_lowercase().replace('ё', "е");
    let mut words = Vec::new();
    let (mut word, mut number) = (String::new(), false);
    for c in text.chars().chain([' ']) {
        if c.is_alphabetic() {
            word.push(c);
        } else {
            if !word.is_empty() {
                let word = std::mem::take(&mut word);
                if !number && word.chars().count() >= 3 && !GRAMMAR.contains(&word.as_str()) {
                    words.push(word);
                }
                number = false;
            }
            if c.is_ascii_digit() {
                number = true;
            } else if !matches!(c, ' ' | '.' | ',') {
                number = false;
            }
        }
    }
    words
}

/// The double-quoted texts of a program, each with whether it is inside square brackets.
fn quoted(program: &str) -> Vec<(String, bool)> {
    let mut texts = Vec::new();
    let (mut depth, mut text, mut escaped) = (0usize, None::<String>, false);
    for c in program.replace("'\"'", "").replace("'['", "").replace("']'", "").chars() {
        match (&mut text, c) {
            (Some(inside), _) if escaped => {
                inside.push(if c == 'n' { ' ' } else { c });
                escaped = false;
            }
            (Some(_), '\\') => escaped = true,
            (Some(_), '"') => texts.extend(text.take().map(|text| (text, depth > 0))),
            (Some(inside), _) => inside.push(c),
            (None, '"') => text = Some(String::new()),
            (None, '[') => depth += 1,
            (None, ']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    texts
}

fn without_comments(program: &str, mark: &str) -> String {
    program
        .lines()
        .filter(|line| !line.trim_start().starts_with(mark))
        .fold(String::new(), |all, line| all + line + "\n")
}

/// The words of a file's lists.
fn listed(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    match path.extension().and_then(|e| e.to_str()) {
        Some("toml") => {
            let texts = quoted(&without_comments(&text, "#")).into_iter();
            texts.filter(|(_, list)| *list).flat_map(|(text, _)| words(&text)).collect()
        }
        Some("rs") => {
            let program = without_comments(text.split("#[cfg(test)]").next().unwrap(), "//");
            let texts = quoted(&program).into_iter();
            texts
                .filter(|(text, list)| *list || !text.trim().contains(' '))
                .flat_map(|(text, _)| words(&text))
                .collect()
        }
        _ => Vec::new(),
    }
}

fn demo_texts() -> Vec<String> {
    let program = fs::read_to_string(root().join("examples/make.py")).unwrap();
    let (_, goods) = program.split_once("# goods begin here").unwrap();
    let (goods, _) = goods.split_once("# goods end here").unwrap();
    let goods = without_comments(goods.split_once('\n').unwrap().1, "#");
    quoted(&goods).into_iter().map(|(text, _)| text.replace("{n}", "1").replace("{n,}", "1")).collect()
}

fn prefix(word: &str) -> String {
    word.chars().take(PREFIX).collect()
}

#[test]
fn words_of_a_text_are_found_and_units_are_not() {
    assert_eq!(words("1кг Белый, ЗЕЛЁНЫЙ|1 литр в мешке 3x"), ["белый", "зеленый", "мешке"]);
    let program = "const A: &[&str] = &[\"one two\"]; error(\"three four\"); is(\"five\");";
    let lists: Vec<_> = quoted(program).into_iter().map(|(text, list)| (list, text)).collect();
    assert_eq!(lists, [(true, "one two".into()), (false, "three four".into()), (false, "five".into())]);
}

#[test]
fn no_word_of_the_demo_goods_is_in_a_list_of_the_library() {
    let mut lists: HashMap<String, (String, PathBuf)> = HashMap::new();
    for path in LISTS.iter().map(|list| root().join(list)).filter(|path| path.exists()).flat_map(|path| files(&path)) {
        // names of settings in a tokenizer's files, and tests
        if ["text/python.rs", "text/files.rs", "tests.rs"].iter().any(|file| path.ends_with(file))
            || path.components().any(|part| part.as_os_str() == "tokenizers")
        {
            continue;
        }
        for word in listed(&path) {
            lists.entry(prefix(&word)).or_insert_with(|| (word, path.clone()));
        }
    }
    // the lists were read: a scent, a surface, a colour, a phrase of shops
    for known in ["лаванда", "glossy", "turquoise", "новинка", "беспроводной"] {
        assert!(
            lists.contains_key(&prefix(known)),
            "{known} is in no list: where are they now? ({} words)",
            lists.len()
        );
    }
    let texts = demo_texts();
    assert!(texts.len() > 300, "{} texts in make.py", texts.len());
    for text in &texts {
        for word in words(text) {
            if let Some((same, path)) = lists.get(&prefix(&word)) {
                panic!("examples/make.py: '{word}' of '{text}' is '{same}' of {}", path.display());
            }
        }
    }
}
