//! Texts of queries, in whichever of the field's layouts they are.

use std::path::Path;

use super::beir::read_texts;
use super::rows::extension;
use super::topics::read_topics;
use super::{ReadReport, Result};
use crate::records::Query;

/// Reads queries: JSON lines with `_id` and `text` (BEIR), TREC's topics by their titles, or lines of an id, a tab and a text.
///
/// # Errors
/// A file that can't be read; a line or topic without an id or a text; an id that is there twice.
pub fn read_query_texts(path: &Path) -> Result<(Vec<Query>, ReadReport)> {
    if !matches!(extension(path).as_str(), "jsonl" | "json" | "ndjson") {
        return read_topics(path, "title");
    }
    let mut report = ReadReport::default();
    Ok((read_texts(path, &["text"], &mut report)?.queries(), report))
}
