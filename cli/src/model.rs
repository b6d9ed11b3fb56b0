//! Which model a verb means: the one that is named, else the product matcher that is part of this program.

use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};

use sverka::files::NewFolder;
use sverka::{Error, Result};

/// Where the matcher is in the repository.
const BUNDLED: &str = "models/matcher";
/// Names a model for those who never want to type it.
const VARIABLE: &str = "SVERKA_MODEL";
/// `--version`.
pub const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (product matcher for English and Russian built in; --model or ",
    "SVERKA_MODEL name another model)"
);

macro_rules! built_in {
    ($($name:literal),*) => {
        [$(($name, include_bytes!(concat!("../../models/matcher/", $name)))),*]
    };
}

/// The matcher's files.
const FILES: [(&str, &[u8]); 6] = built_in!(
    "README.md",
    "config.json",
    "model.safetensors",
    "sverka.json",
    "tokenizer.json",
    "tokenizer_config.json"
);

/// `given`, else `SVERKA_MODEL`, else `models/matcher` in the current folder, else the one that is built in.
///
/// # Errors
/// No folder to unpack it in.
pub fn locate(given: Option<PathBuf>) -> Result<PathBuf> {
    let named = given.or_else(|| std::env::var_os(VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from));
    match named {
        Some(path) => Ok(path),
        None if Path::new(BUNDLED).is_dir() => Ok(BUNDLED.into()),
        None => unpacked(),
    }
}

/// The built-in matcher as a folder of the user's cache, which any verb can read; written once for each matcher, and again where it was
/// changed.
fn unpacked() -> Result<PathBuf> {
    let cache = dirs::cache_dir().ok_or_else(|| {
        let what =
            format!("no cache folder to unpack the built-in model in: give --model DIR, or set {VARIABLE} or HOME");
        Error::setting("--model", "(not given)", what)
    })?;
    let mut hasher = DefaultHasher::new();
    FILES.iter().for_each(|(_, bytes)| hasher.write_usize(bytes.len()));
    FILES.iter().filter(|(name, _)| *name == "sverka.json").for_each(|(_, bytes)| hasher.write(bytes));
    let dir = cache.join("sverka").join(format!("matcher-{:016x}", hasher.finish()));
    if is_whole(&dir) {
        return Ok(dir);
    }
    let unpack = || -> Result<()> {
        let folder = NewFolder::create(&dir)?;
        for (name, bytes) in FILES {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).map_err(Error::io("write", &path))?;
        }
        folder.commit()
    };
    match unpack() {
        Ok(()) => Ok(dir),
        // another process was faster
        Err(_) if is_whole(&dir) => Ok(dir),
        Err(e) => {
            let what =
                format!("can't unpack the built-in model ({e}): give --model DIR, or set {VARIABLE} or XDG_CACHE_HOME");
            Err(Error::setting("--model", "(not given)", what))
        }
    }
}

/// Whether all files are there as they were built in.
fn is_whole(dir: &Path) -> bool {
    FILES.iter().all(|(name, bytes)| std::fs::read(dir.join(name)).is_ok_and(|found| found == *bytes))
}
