//! The XML of ParaPhraser (Pronoza, Yagunova and Pronoza, 2016): pairs of Russian headlines. Class 1 is a strict paraphrase
//! (grade 1), 0 a loose one (0.5), -1 none (0); the shared task's two classes are -1 and the rest, which is what a grade of
//! 0.5 or more means here.

use std::path::Path;
use std::sync::Arc;

use roxmltree::Document;

use super::ReadReport;
use super::source::push;
use super::xml;
use crate::records::{PairSet, Record, Split};
use crate::{Error, Result};

/// Reads the pairs of one part.
pub(super) fn read(path: &Path, part: Option<Split>, set: &mut PairSet) -> Result<ReadReport> {
    const REMEDY: &str = "it should hold <paraphrase> elements of <value name=\"text_1\">, text_2 and class";
    let text = xml::text(path)?;
    let document = Document::parse(&text).map_err(|error| {
        let line = u64::from(error.pos().row);
        Error::data(path, Some(line), format!("not well-formed XML: {error}"), REMEDY)
    })?;
    let columns: Arc<[String]> = Arc::new(["text".into()]);
    let start = set.pairs.len();
    for element in document.descendants().filter(|node| node.has_tag_name("paraphrase")) {
        let bad = |what: String| {
            let line = u64::from(document.text_pos_at(element.range().start).row);
            Error::data(path, Some(line), what, REMEDY)
        };
        let value = |name: &str| -> String {
            let named = element.children().find(|node| node.attribute("name") == Some(name));
            let pieces = named.into_iter().flat_map(|node| node.descendants()).filter(|node| node.is_text());
            pieces.filter_map(|node| node.text()).collect::<String>().trim().to_string()
        };
        let grade = match value("class").as_str() {
            "1" => 1.0,
            "0" => 0.5,
            "-1" => 0.0,
            other => return Err(bad(format!("the class `{}` is none of 1, 0, -1", other.escape_debug()))),
        };
        let record = |text: &str, id: &str| -> Result<Record> {
            let (text, own) = (value(text), value(id));
            if text.is_empty() {
                return Err(bad("a pair with an empty text".into()));
            }
            let id = if own.is_empty() { value("id") } else { own };
            Ok(Record { id, columns: columns.clone(), values: vec![text] })
        };
        push(set, record("text_1", "id_1")?, record("text_2", "id_2")?, Some(true), part)?;
        set.pairs.iter_mut().last().into_iter().for_each(|pair| pair.grade = Some(grade));
    }
    if set.pairs.len() == start {
        return Err(Error::data(path, None, "no <paraphrase> in it", REMEDY));
    }
    Ok(ReadReport::default())
}
