//! SHA-256 of a bundle's files: what is scored with is what was saved.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Files that decide what a score is, besides the weights, which have a checksum of their own.
const FILES: [&str; 6] = [
    "config.json",
    "tokenizer.json",
    "vocab.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
];

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Of some files, one after the other.
pub(crate) fn sha256(paths: &[PathBuf]) -> Result<String> {
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
    for path in paths {
        let mut file = crate::files::open(path)?;
        loop {
            match file.read(&mut piece).map_err(Error::io("read", path))? {
                0 => break,
                n => hash.update(&piece[..n]),
            }
        }
    }
    Ok(hex(hash))
}

/// Of those files that a folder has.
pub(super) fn of_files(dir: &Path) -> Result<BTreeMap<String, String>> {
    let there = FILES.iter().filter(|name| dir.join(name).exists());
    there.map(|name| Ok((name.to_string(), sha256(&[dir.join(name)])?))).collect()
}

/// Refuses a folder in which one of those files was changed, or came or went.
pub(super) fn check_files(dir: &Path, known: &BTreeMap<String, String>) -> Result<()> {
    if known.is_empty() {
        return Ok(()); // written by a version that kept none
    }
    let found = of_files(dir)?;
    let names = known.keys().chain(found.keys());
    let Some(name) = names.into_iter().find(|name| known.get(*name) != found.get(*name)) else { return Ok(()) };
    let what = match (known.contains_key(name), found.contains_key(name)) {
        (true, true) => "is another than the one the bundle was saved with",
        (true, false) => "is missing; the bundle was saved with it",
        _ => "is no part of the bundle, and would change how it reads",
    };
    Err(Error::model(&dir.join(name), "SHA-256", what, "copy the bundle again"))
}

/// Of a JSON object, whatever the order of its keys.
pub(crate) fn of_json(value: &Value) -> String {
    let mut hash = Sha256::new();
    feed(value, &mut hash);
    hex(hash)
}

fn feed(value: &Value, hash: &mut Sha256) {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            hash.update(b"{");
            for (key, value) in sorted {
                hash.update(Value::from(key.as_str()).to_string());
                hash.update(b":");
                feed(value, hash);
            }
            hash.update(b"}");
        }
        Value::Array(list) => {
            hash.update(b"[");
            list.iter().for_each(|value| {
                feed(value, hash);
                hash.update(b",");
            });
            hash.update(b"]");
        }
        other => hash.update(other.to_string()),
    }
}
