//! The house rules that a compiler doesn't know: which room may name which, how long a file may be, what must not stand in
//! any tracked file, and documents that keep pace with the code. Everything is read as text; nothing is built.

mod require;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The layers, from the bottom up. A module may use any lower layer and itself.
const FLOORS: [&[&str]; 13] = [
    &["records", "error"],
    &["ranker", "files"],
    &["text", "data"],
    &["calibrate", "eval", "vectors"],
    &["nn"],
    &["losses"],
    &["models"],
    &["bundle"],
    &["inspect"],
    &["index"],
    &["boost"],
    &["train", "pipeline"],
    &["testing"],
];
const LONGEST: usize = 800;
/// Characters of a line of prose in a document.
const LONGEST_LINE: usize = 165;
/// The only folder with `unsafe`.
const KERNELS: &str = "src/nn/kernels/";
/// Where Rust lives.
const CODE: [&str; 7] = ["src", "cli", "serve", "tests", "benches", "examples", "build.rs"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// All `.rs` files under [`CODE`], relative to the root, with `/`.
fn rust_files() -> Vec<String> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = CODE.iter().map(|c| root().join(c)).collect();
    while let Some(path) = folders.pop() {
        if path.is_dir() && path.file_name().is_some_and(|n| n != "target") {
            folders.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == "rs") && path.is_file() {
            let short = path.strip_prefix(root()).unwrap();
            files.push(short.components().map(|c| c.as_os_str().to_str().unwrap()).collect::<Vec<_>>().join("/"));
        }
    }
    files.sort();
    assert!(files.len() > 20, "the library's files were not found");
    files
}

/// What git tracks or would track; `None` where this is no git checkout.
fn tracked() -> Option<Vec<String>> {
    let listing = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let out = Command::new("git").args(listing).current_dir(root()).output().ok().filter(|o| o.status.success())?;
    let names = String::from_utf8(out.stdout).ok()?;
    Some(names.split('\0').filter(|n| root().join(n).is_file()).map(str::to_owned).collect())
}

/// The file without its `//` comments, where the slashes open the line or follow a space.
fn without_comments(text: &str) -> String {
    let line = |line: &str| {
        let cut = line.match_indices("//").map(|m| m.0).find(|&i| i == 0 || line[..i].ends_with([' ', '\t']));
        line[..cut.unwrap_or(line.len())].to_owned() + "\n"
    };
    text.lines().map(line).collect()
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The first names of a path's tail: `a::b` gives `a`, `{a, b::{c, d}}` gives `a` and `b`.
fn heads(tail: &str) -> Vec<String> {
    let name = |text: &str| text.trim_start().chars().take_while(|&c| is_name(c)).collect::<String>();
    let Some(group) = tail.trim_start().strip_prefix('{') else { return vec![name(tail)] };
    let (mut names, mut depth, mut start) = (Vec::new(), 0, 0);
    for (i, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(name(&group[start..i]));
                start = i + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names.retain(|n| !n.is_empty());
    names
}

/// The names that follow each `crate::` of some code.
fn crate_names(code: &str) -> Vec<String> {
    let ours = |&(i, _): &(usize, &str)| !code[..i].ends_with(is_name);
    code.match_indices("crate::").filter(ours).flat_map(|(i, m)| heads(&code[i + m.len()..])).collect()
}

/// What `lib.rs` lifts to the top: name to room.
fn lifted(lib: &str) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for statement in lib.split("pub use ").skip(1) {
        let path = statement.split(';').next().unwrap_or_default();
        if let Some((room, tail)) = path.split_once("::") {
            names.extend(heads(tail).into_iter().map(|name| (name, room.to_owned())));
        }
    }
    names
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// Every arrow of one file that its room may not draw.
fn wrong_arrows(file: &str, code: &str, lifted: &BTreeMap<String, String>) -> Vec<String> {
    let room = file.strip_prefix("src/").unwrap_or(file).split(['/', '.']).next().unwrap_or_default();
    let Some(own) = floor(room) else { return vec![format!("{file}: room {room} is on no floor")] };
    let mut wrong = Vec::new();
    for name in crate_names(code) {
        let target = lifted.get(&name).unwrap_or(&name);
        match floor(target) {
            Some(other) if target == room || other < own => {}
            Some(_) if target == "testing" && file.contains("/tests") => {} // what it is for
            Some(_) => wrong.push(format!("{file}: {room} may not use {target}")),
            None => wrong.push(format!("{file}: crate::{name} is no room")),
        }
    }
    wrong
}

fn none(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn arrows_point_downwards() {
    let lifted = lifted(&without_comments(&read("src/lib.rs")));
    assert_eq!(lifted.get("Record").map(String::as_str), Some("records"), "lib.rs was not understood");
    let rooms = rust_files().into_iter().filter(|f| f.starts_with("src/") && f != "src/lib.rs");
    none(rooms.flat_map(|f| wrong_arrows(&f, &without_comments(&read(&f)), &lifted)).collect());
}

#[test]
fn the_arrow_reader_sees_upward_arrows() {
    let lifted = lifted("pub use error::{Error, Result};\npub use bundle::Bundle;");
    let wrong = |file: &str, code: &str| wrong_arrows(file, &without_comments(code), &lifted);
    let fine = "use crate::{Error, Result, text::{batch, pair::{A, B}}, records::Record}; // crate::train\nlet x = crate::eval::f(\"a//b\");";
    assert_eq!(wrong("src/eval/curve.rs", fine), Vec::<String>::new());
    assert_eq!(
        wrong("src/eval/curve.rs", "use crate::calibrate::Method;"),
        ["src/eval/curve.rs: eval may not use calibrate"]
    );
    assert_eq!(
        wrong("src/eval/mod.rs", "use crate::{Result, records::{Pair, Split}, nn};"),
        ["src/eval/mod.rs: eval may not use nn"]
    );
    assert_eq!(wrong("src/text/mod.rs", "fn f() -> crate::Bundle {}"), ["src/text/mod.rs: text may not use bundle"]);
    assert_eq!(wrong("src/error.rs", "use crate::records::Record;"), ["src/error.rs: error may not use records"]);
    assert_eq!(
        wrong("src/bundle.rs", "use crate::{\n    models::{self, bert},\n    train,\n};"),
        ["src/bundle.rs: bundle may not use train"]
    );
    assert_eq!(wrong("src/shed/mod.rs", ""), ["src/shed/mod.rs: room shed is on no floor"]);
}

#[test]
fn no_file_is_too_long() {
    let length = |f: &String| read(f).lines().count();
    let long = rust_files().into_iter().filter(|f| length(f) > LONGEST);
    none(long.map(|f| format!("{f}: {} lines, at most {LONGEST}; split it by what it does", length(&f))).collect());
}

#[test]
fn unsafe_lives_among_the_kernels() {
    let word = |line: &str| line.split(|c| !is_name(c)).any(|w| w == concat!("un", "safe"));
    let elsewhere = rust_files().into_iter().filter(|f| !f.starts_with(KERNELS));
    let mut faults = Vec::new();
    for file in elsewhere {
        let code = without_comments(&read(&file));
        let lines = code.lines().enumerate().filter(|(_, line)| word(line));
        faults.extend(lines.map(|(i, _)| format!("{file}:{}: belongs to {KERNELS}", i + 1)));
    }
    none(faults);
}

#[test]
fn tracked_files_name_no_machine_and_no_registry() {
    let Some(files) = tracked() else {
        require::skipped("git", "no git checkout");
        return;
    };
    // Spelled in pieces: this file is tracked too.
    let forbidden = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/tmp/", "bash"),
        concat!("py", "pi.org"),
        concat!("python", "hosted.org"),
        concat!("index.", "crates.io"),
        concat!("static.", "crates.io"),
        concat!("index", "-url"),
        concat!("PIP_", "INDEX"),
    ];
    let mut faults = Vec::new();
    for file in files {
        let Ok(text) = std::fs::read_to_string(root().join(&file)) else { continue };
        for (i, line) in text.lines().enumerate() {
            for needle in forbidden.iter().filter(|n| line.contains(**n)) {
                faults.push(format!("{file}:{}: {needle}", i + 1));
            }
        }
    }
    let lock = read("Cargo.lock");
    let sources = lock.lines().filter(|l| {
        l.starts_with("source = ") && !l.contains("\"registry+https://github.com/rust-lang/crates.io-index\"")
    });
    faults.extend(sources.map(|l| format!("Cargo.lock: {l}")));
    none(faults);
}

/// The architectures that `bundle` knows, read off their one list.
fn architectures() -> Vec<String> {
    let code = read("src/bundle/architecture.rs");
    let list = code.split("NAMES").nth(1).and_then(|rest| rest.split(']').nth(1)).unwrap_or_default();
    let names: Vec<String> = list.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(names.contains(&"cross_encoder".into()), "the list of architectures was not understood: {names:?}");
    names
}

#[test]
fn an_architecture_has_five_places() {
    let recipes = std::fs::read_dir(root().join("recipes")).unwrap().map(|e| e.unwrap().path());
    let recipes: Vec<String> = recipes.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let (papers, arms) = (read("docs/papers.md"), read("src/bundle/architecture.rs"));
    let mut faults = Vec::new();
    for name in architectures() {
        let file = format!("src/models/{name}.rs");
        let golden = if name == "cross_encoder" { "bert" } else { &name };
        let named = |recipe: &String| recipe.contains(&format!("architecture = \"{name}\""));
        for (is_there, place) in [
            (root().join(&file).is_file(), file.clone()),
            (arms.contains(&format!("{name}::")), format!("an arm for {name} in src/bundle/architecture.rs")),
            (root().join(format!("tests/golden/{golden}/make.py")).is_file(), format!("tests/golden/{golden}/make.py")),
            (recipes.iter().any(named), format!("a recipe in recipes/ with architecture = \"{name}\"")),
            (papers.contains(&format!("`{file}`")), format!("a row with {file} in docs/papers.md")),
        ] {
            if !is_there {
                faults.push(format!("{name}: {place} is missing"));
            }
        }
    }
    none(faults);
}

#[test]
fn a_model_file_is_its_idea() {
    let mut faults = Vec::new();
    for name in architectures() {
        let file = format!("src/models/{name}.rs");
        let code = without_comments(&read(&file));
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        let words: Vec<&str> = code.split(|c| !is_name(c)).collect();
        for word in ["Dtype", "Device", "Path", "PathBuf", "Mutex", "Weights", "Parameters"] {
            if words.contains(&word) {
                faults.push(format!("{file}: names {word}, which belongs below it"));
            }
        }
        let lines = code.lines().count();
        if name == "cross_encoder" && lines > 100 {
            faults.push(format!("{file}: {lines} lines, at most 100"));
        }
    }
    none(faults);
}

#[test]
fn one_match_knows_the_architectures() {
    let variant = |line: &str| line.contains(concat!("Architecture", "::")) && line.contains("=>");
    let mut faults = Vec::new();
    for file in rust_files().into_iter().filter(|f| f != "src/bundle/architecture.rs") {
        let code = without_comments(&read(&file));
        let lines = code.lines().enumerate().filter(|(_, line)| variant(line));
        faults.extend(lines.map(|(i, _)| format!("{file}:{}: matches on an architecture", i + 1)));
    }
    none(faults);
}

#[test]
fn golden_numbers_stand_beside_their_program() {
    let folders = std::fs::read_dir(root().join("tests/golden")).unwrap().map(|e| e.unwrap().path());
    let bare = folders.filter(|f| f.is_dir() && !f.join("make.py").is_file());
    none(bare.map(|f| format!("{}: no make.py", f.display())).collect());
}

#[test]
fn documents_lead_somewhere() {
    let Some(files) = tracked() else {
        require::skipped("git", "no git checkout");
        return;
    };
    let mut faults = Vec::new();
    for file in files.iter().filter(|f| f.ends_with(".md")) {
        let folder = root().join(file).parent().unwrap().to_path_buf();
        let text = read(file);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next()) {
            if !link.is_empty() && !link.contains("://") && !link.starts_with("mailto:") && !folder.join(link).exists()
            {
                faults.push(format!("{file}: {link} does not exist"));
            }
        }
    }
    none(faults);
}

#[test]
fn rows_of_the_papers_lead_to_a_file_that_names_the_idea() {
    let (mut faults, mut rows) = (Vec::new(), 0);
    for row in
        read("docs/papers.md").lines().filter(|l| l.starts_with("| ") && l.contains(".rs`") || l.contains(".toml`"))
    {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [concept, _, file, word] = cells[..] else { panic!("docs/papers.md: not four columns: {row}") };
        rows += 1;
        let file = file.trim_matches('`');
        let text = std::fs::read_to_string(root().join(file)).unwrap_or_default().to_lowercase();
        if word.is_empty() || !text.contains(&word.to_lowercase()) {
            faults.push(format!("docs/papers.md: {concept}: {file} is not there or does not contain '{word}'"));
        }
    }
    assert!(rows > 30, "only {rows} rows were understood");
    none(faults);
}

#[test]
fn prose_of_documents_has_short_lines() {
    let documents = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "docs/results.md",
        "docs/speed.md",
        "docs/compute.md",
        "docs/gpu.md",
        "docs/recipes.md",
    ];
    let mut faults = Vec::new();
    for document in documents {
        let text = read(document);
        let long = text.lines().enumerate().filter(|(_, l)| !l.starts_with('|') && l.chars().count() > LONGEST_LINE);
        faults.extend(long.map(|(i, _)| format!("{document}:{}: over {LONGEST_LINE} characters", i + 1)));
    }
    let lines = read("docs/results.md").lines().count();
    faults.extend(
        (lines > 150).then(|| format!("docs/results.md: {lines} lines, at most 150: a table a claim, no diary")),
    );
    none(faults);
}

/// Whether a recipe says what a run of it should reach.
fn expects_something(recipe: &str) -> bool {
    let (_, expect) = recipe.split_once("\n[expect").unwrap_or_default();
    expect.lines().any(|line| line.contains('=') && line.contains("0.") && !line.trim_start().starts_with('#'))
}

#[test]
fn every_recipe_says_what_it_should_reach() {
    assert!(expects_something("a = 1\n[expect]\nf1 = { shop = 0.8 }\n") && !expects_something("a = 0.1\n"));
    assert!(!expects_something("[a]\n[expect]\nhardware = \"any\"\n"));
    let recipes = std::fs::read_dir(root().join("recipes")).unwrap().map(|e| e.unwrap().path());
    let recipes: Vec<_> = recipes.filter(|p| p.extension().is_some_and(|e| e == "toml")).collect();
    assert!(recipes.len() >= 4);
    let silent = recipes.iter().filter(|p| !expects_something(&std::fs::read_to_string(p).unwrap()));
    none(silent.map(|p| format!("{}: no figure in [expect]", p.display())).collect());
}

#[test]
fn the_readme_names_what_there_is() {
    let readme = read("README.md");
    let commands = [
        "cargo run --release -- match examples/left.csv examples/right.csv --out matches.csv",
        "cargo test --release --workspace",
    ];
    let verbs = [
        "match",
        "train",
        "eval",
        "compare",
        "rank",
        "score",
        "calibrate",
        "init",
        "export",
        "tokenizer prune",
        "info",
        "bench",
    ];
    let verbs = verbs.map(|verb| format!("sverka {verb}"));
    let documents = [
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/papers.md",
        "docs/results.md",
        "docs/speed.md",
        "docs/compute.md",
        "docs/gpu.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
    ];
    let needed = commands.into_iter().chain(verbs.iter().map(String::as_str)).chain(documents);
    none(needed.filter(|n| !readme.contains(n)).map(|n| format!("README.md: does not mention {n}")).collect());
}
