//! Which model a verb means: the one that is named, else the matcher that comes with the repository.

use std::path::{Path, PathBuf};

use sverka::{Error, Result};

/// Where the bundled matcher lies in the repository.
const BUNDLED: &str = "models/matcher";
/// Names a model for those who never want to type it.
const VARIABLE: &str = "SVERKA_MODEL";

/// `given`, else `SVERKA_MODEL`, else `models/matcher` in the current folder, else in one above the executable.
pub fn locate(given: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path);
    }
    if let Some(path) = std::env::var_os(VARIABLE).filter(|v| !v.is_empty()) {
        return Ok(path.into());
    }
    let executable = std::env::current_exe().ok();
    let above = executable.as_deref().into_iter().flat_map(Path::ancestors).skip(1);
    let folders = std::iter::once(Path::new("")).chain(above);
    folders.map(|folder| folder.join(BUNDLED)).find(|path| path.is_dir()).ok_or_else(|| {
        Error::setting(
            "--model",
            "(not given)",
            format!("no {BUNDLED} here or above the executable: give --model DIR or set {VARIABLE}"),
        )
    })
}
