//! One error for the whole library: what failed, where, and what to do about it, always on one line.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong. The message names the place and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A row, cell or byte of a user's file is not what it should be.
    #[error("{place}: {what}; {remedy}")]
    Data {
        /// File, line and column as far as they are known.
        place: Location,
        /// What is wrong there.
        what: String,
        /// What the user can do.
        remedy: String,
    },
    /// A model directory is broken, incomplete, or newer than this binary.
    #[error("{}: {key}: {what}; {remedy}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// The tensor, or the key of a JSON file.
        key: String,
        /// What is wrong with it.
        what: String,
        /// What the user can do.
        remedy: String,
    },
    /// A setting (flag, recipe key, environment variable) has a value that can't be used.
    #[error("{name} = {value}: {what}")]
    Setting {
        /// Flag, recipe key or variable.
        name: String,
        /// The value given.
        value: String,
        /// What is wrong with it and what would do.
        what: String,
    },
    /// The operating system refused to read or write.
    #[error("{op} {}: {source}{}", path.display(), hint(op, source))]
    Io {
        /// `read`, `write`, `create`, `rename`.
        op: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// An output would overwrite something.
    #[error("{}: already exists; give another name, or move it away", .0.display())]
    Exists(PathBuf),
    /// Shapes of an operation do not fit: a mistake of ours.
    #[error("{op}: expected {expected}, got {got}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// What it takes.
        expected: String,
        /// What it was given.
        got: String,
    },
    /// The tensor library failed.
    #[error("tensor: {0}")]
    Tensor(#[from] candle_core::Error),
    /// A library failed in a way that is not the user's doing.
    #[error("{op}: {what}")]
    Internal {
        /// What was being done.
        op: &'static str,
        /// What the library said.
        what: String,
    },
}

/// A place in a file. Lines and columns count from 1; a column is a name where the file has a header.
#[derive(Debug, Clone, Default)]
pub struct Location {
    /// The file; `-` is standard input.
    pub path: PathBuf,
    /// The line, if known.
    pub line: Option<u64>,
    /// The column's name or number, if known.
    pub column: Option<String>,
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(column) = &self.column {
            write!(f, ": column {column}")?;
        }
        Ok(())
    }
}

/// A message on one line, whatever a file put into it.
pub(crate) fn one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    text.chars().flat_map(|c| if c.is_control() { c.escape_debug().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// What a person can do where the operating system refused; nothing where the source says so itself.
fn hint(op: &str, source: &std::io::Error) -> &'static str {
    if source.get_ref().is_some_and(|own| own.to_string().contains("; ")) {
        return "";
    }
    match source.kind() {
        ErrorKind::NotFound if op == "read" => "; check the name",
        ErrorKind::NotFound => "; make the folder first",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "; name another place, or get the right to this one"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "; free some space, or write to another place"
        }
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput => {
            "; it is cut off or damaged: copy it again"
        }
        ErrorKind::IsADirectory | ErrorKind::NotADirectory => "; a file and a folder are mixed up: check the name",
        _ => "; check the name and the disk",
    }
}

impl Error {
    /// A broken place in a user's file.
    pub fn data(path: &Path, line: Option<u64>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        let place = Location { path: path.into(), line, column: None };
        Error::Data { place, what: one_line(what.into()), remedy: one_line(remedy.into()) }
    }
    /// A broken model file.
    pub fn model(path: &Path, key: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Error::Model { path: path.into(), key: key.into(), what: what.into(), remedy: remedy.into() }
    }
    /// A setting that can't be used.
    pub fn setting(name: impl Into<String>, value: impl ToString, what: impl Into<String>) -> Self {
        Error::Setting { name: name.into(), value: value.to_string(), what: what.into() }
    }
    /// For `map_err` on input and output.
    pub fn io(op: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Error::Io { op, path, source }
    }
    /// The same error under a folder's final name, where it was met in one that is written next to it.
    pub fn with_path(self, temporary: &Path, to: &Path) -> Self {
        match self {
            Error::Io { op, path, source } => {
                let path = path.strip_prefix(temporary).map(|inner| to.join(inner)).unwrap_or(path);
                Error::Io { op, path, source }
            }
            other => other,
        }
    }
    /// True where the user's data, model or settings are at fault (exit code 2), false where we are (exit code 1).
    pub fn is_user_error(&self) -> bool {
        !matches!(self, Error::Shape { .. } | Error::Tensor(_) | Error::Internal { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_refused_has_a_place_and_a_way_out() {
        let message = |op, source: std::io::Error| Error::io(op, Path::new("m.csv"))(source).to_string();
        for (op, kind, hint) in [
            ("read", ErrorKind::NotFound, "; check the name"),
            ("create", ErrorKind::NotFound, "; make the folder first"),
            ("write", ErrorKind::StorageFull, "; free some space, or write to another place"),
            ("read", ErrorKind::UnexpectedEof, "; it is cut off or damaged: copy it again"),
            ("rename", ErrorKind::Other, "; check the name and the disk"),
        ] {
            let said = message(op, kind.into());
            assert!(said.starts_with(&format!("{op} m.csv: ")) && said.ends_with(hint), "{said}");
        }
        let own = std::io::Error::new(ErrorKind::StorageFull, "full; make room and go on");
        assert_eq!(message("write", own), "write m.csv: full; make room and go on");
        let exists = Error::Exists("out".into()).to_string();
        assert_eq!(exists, "out: already exists; give another name, or move it away");
    }
}
