//! What a test does about something that is not on this machine: it is skipped and says so, unless `SVERKA_REQUIRE` names what it
//! lacks (`data`, `weights`, `gpu`, `python`, `git`, `browser`; commas between). Then it fails, so that a green run in CI has run everything.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

/// Whether `SVERKA_REQUIRE` with this value names `what`.
fn names(required: &str, what: &str) -> bool {
    required.split(',').any(|name| name.trim() == what)
}

/// Says that a test is skipped since `what` is not here.
///
/// # Panics
/// If `SVERKA_REQUIRE` names it.
pub fn skipped(what: &str, why: &str) {
    let required = std::env::var("SVERKA_REQUIRE").unwrap_or_default();
    assert!(!names(&required, what), "SVERKA_REQUIRE={required} wants {what}: {why}");
    eprintln!("skipped: {why}");
}

/// A folder of the public sets: in `../shared/data`, else in `data` (`scripts/data`).
pub fn data(folder: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found =
        ["../shared/data", "data"].map(|data| root.join(data).join(folder)).into_iter().find(|path| path.is_dir());
    if found.is_none() {
        skipped("data", &format!("{folder} is neither in ../shared/data nor in data; run scripts/data"));
    }
    found
}

#[test]
fn a_thing_is_required_by_its_whole_name() {
    assert!(names("data,weights", "weights") && names("data, gpu", "gpu"));
    assert!(!names("data", "dat") && !names("", "data"));
}
