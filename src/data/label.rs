//! The two words of a labelled file: is it a match, and which part of the set is it.

use std::path::Path;

use super::clean;
use super::rows::bad_cell;
use crate::records::Split;
use crate::{Error, Result};

/// The label that a word is: 0 or 1 (also `0.0`, `1.0`, which pandas writes), false or true, no or yes, in English or
/// Russian, in full or by the first letter, as databases and spreadsheets write them.
pub(super) fn word(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "1" | "1.0" | "true" | "t" | "yes" | "y" | "да" | "истина" => Some(true),
        "0" | "0.0" | "false" | "f" | "no" | "n" | "нет" | "ложь" => Some(false),
        _ => None,
    }
}

/// Whether there is no label or split here.
fn is_missing(text: &str) -> bool {
    clean::is_missing(text) || text.trim() == "na"
}

/// Reads a label; a missing one is `None`.
pub(super) fn label(path: &Path, line: u64, column: &str, text: &str) -> Result<Option<bool>> {
    match word(text) {
        Some(label) => Ok(Some(label)),
        None if is_missing(text) => Ok(None),
        None => {
            let shown: String = text.chars().take(40).collect();
            let what = format!("the label `{}` is not 0 or 1", shown.escape_debug());
            Err(bad_cell(path, line, column, what, "write 1 for a match and 0 for none"))
        }
    }
}

/// Reads a label that must be there.
pub(super) fn required(path: &Path, line: u64, column: &str, text: &str) -> Result<bool> {
    let missing = || -> Error {
        bad_cell(path, line, column, "no label", "write 1 for a match and 0 for none, or take the row out")
    };
    label(path, line, column, text)?.ok_or_else(missing)
}

/// Reads the part of a set; a missing one is `None`.
pub(super) fn part(path: &Path, line: u64, column: &str, text: &str) -> Result<Option<Split>> {
    match text.trim().to_lowercase().as_str() {
        "train" => Ok(Some(Split::Train)),
        "valid" | "val" | "validation" | "dev" => Ok(Some(Split::Valid)),
        "test" => Ok(Some(Split::Test)),
        missing if is_missing(missing) => Ok(None),
        _ => {
            let shown: String = text.chars().take(40).collect();
            let what = format!("`{}` is no part of a set", shown.escape_debug());
            Err(bad_cell(path, line, column, what, "write train, valid or test"))
        }
    }
}
