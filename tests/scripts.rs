//! `scripts/data` puts the public sets into the folder of `--to`, and nothing that is not byte for byte right.
mod require;

use std::path::Path;
use std::process::{Command, Output};

/// Runs `scripts/data --from FROM --to TO`; `None` without Python.
fn fetch(from: &Path, to: &Path) -> Option<Output> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/data");
    match Command::new("python3").arg(script).arg("--from").arg(from).arg("--to").arg(to).output() {
        Ok(output) => Some(output),
        Err(e) => {
            require::skipped("python", &format!("no python3 ({e})"));
            None
        }
    }
}

fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_sets_are_copied_whole_and_a_damaged_file_is_refused() {
    let Some(sets) = require::data("") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let Some(output) = fetch(&sets, &first) else { return };
    assert!(output.status.success(), "{}", message(&output));
    for file in ["products/abt-buy/tableA.csv", "prosept/split.csv", "wdc/computers/train.txt.medium"] {
        assert_eq!(std::fs::read(first.join(file)).unwrap(), std::fs::read(sets.join(file)).unwrap(), "{file}");
    }
    // every file that a recipe names is there
    let recipes = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes")).unwrap();
    let recipes = recipes.map(|recipe| std::fs::read_to_string(recipe.unwrap().path()).unwrap()).collect::<String>();
    let named: Vec<&str> =
        recipes.split("\"../../shared/data/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(named.len() > 10, "{named:?}");
    for name in named {
        assert!(first.join(name).exists(), "a recipe names {name}, which scripts/data does not fetch");
    }

    let damaged = first.join("products/abt-buy/tableB.csv");
    std::fs::write(&damaged, "id,name\n").unwrap();
    let output = fetch(&first, &second).unwrap();
    assert!(!output.status.success() && message(&output).contains("tableB.csv: SHA-256 is"), "{}", message(&output));
    assert!(!second.join("products/abt-buy/tableB.csv").exists(), "a damaged file got its name");

    // a second run mends the file and leaves the others alone
    let output = fetch(&sets, &first).unwrap();
    assert!(output.status.success() && message(&output).contains(" 1 of them new"), "{}", message(&output));

    let output = fetch(&folder.path().join("nowhere"), &second).unwrap();
    assert!(!output.status.success() && message(&output).contains("--from wants a folder"), "{}", message(&output));
}
