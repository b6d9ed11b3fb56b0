//! A key that holds one path, or a list of paths: one is written as it is, so that the recipe reads as it was written.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Deserialize)]
#[serde(untagged, expecting = "a path, or a list of paths")]
enum Paths {
    One(PathBuf),
    Several(Vec<PathBuf>),
}

pub(super) fn serialize<S: Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
    match paths {
        [one] => one.serialize(to),
        paths => paths.serialize(to),
    }
}

pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
    Ok(match Paths::deserialize(from)? {
        Paths::One(path) => vec![path],
        Paths::Several(paths) => paths,
    })
}
