//! TREC's topics: `<top>` with `<num>`, `<title>`, `<desc>` and `<narr>`, whose ends are rarely written (so it is no XML); the Web
//! track's XML, `<topic number="1">` with `<query>`; or lines of an id, a tab and a text. Gzipped or not.

use std::path::Path;

use roxmltree::Document;

use super::collection::Gathered;
use super::ms_marco::read_queries;
use super::plain::write_text;
use super::{ReadReport, xml};
use crate::records::Query;
use crate::{Error, Result};

/// Reads topics; `part` is what is asked with: `title` (in the Web track's: `query`), `desc` or `narr`.
///
/// # Errors
/// A file that can't be read; a topic without a number or without that part, with its line; a number that is there twice.
pub fn read_topics(path: &Path, part: &str) -> Result<(Vec<Query>, ReadReport)> {
    let text = xml::text(path)?;
    // letters of other alphabets may change their length in lower case, and places must stay
    let lower = text.to_ascii_lowercase();
    let queries = if lower.contains("<top>") {
        sgml(path, &text, &lower, part)?
    } else if lower.contains("<topic") {
        web(path, &text, part)?
    } else {
        return read_queries(path);
    };
    Ok((queries, ReadReport::default()))
}

fn sgml(path: &Path, text: &str, lower: &str, part: &str) -> Result<Vec<Query>> {
    let mut gathered = Gathered::new(&["text"]);
    let starts: Vec<usize> = lower.match_indices("<top>").map(|(at, _)| at).collect();
    for (i, start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(text.len());
        let line = text[..*start].matches('\n').count() as u64 + 1;
        let value = |tag: &str, label: &str| -> Option<String> {
            let from = start + lower[*start..end].find(&format!("<{tag}>"))? + tag.len() + 2;
            let to = from + text[from..end].find('<').unwrap_or(end - from);
            let words = text[from..to].split_whitespace().collect::<Vec<_>>().join(" ");
            let bare = words.get(..label.len()).filter(|start| start.eq_ignore_ascii_case(label));
            Some(bare.map_or(&*words, |_| words[label.len()..].trim()).to_string())
        };
        let label = match part {
            "title" => "Topic:",
            "desc" => "Description:",
            _ => "Narrative:",
        };
        let missing = |tag: &str| {
            let what = format!("a topic without <{tag}>");
            Error::data(path, Some(line), what, "write it, or name another part: title, desc, narr")
        };
        let number = value("num", "Number:").ok_or_else(|| missing("num"))?;
        gathered.push(path, line, number, vec![value(part, label).ok_or_else(|| missing(part))?])?;
    }
    Ok(gathered.queries())
}

fn web(path: &Path, text: &str, part: &str) -> Result<Vec<Query>> {
    let mut gathered = Gathered::new(&["text"]);
    let document = Document::parse(text).map_err(|error| {
        let line = u64::from(error.pos().row);
        Error::data(path, Some(line), format!("not well-formed XML: {error}"), "give TREC's topics")
    })?;
    let names: &[&str] = match part {
        "title" => &["query", "title"],
        "desc" => &["description", "desc"],
        _ => &["narrative", "narr"],
    };
    for topic in document.descendants().filter(|node| node.has_tag_name("topic")) {
        let line = u64::from(document.text_pos_at(topic.range().start).row);
        let child = topic.children().find(|node| names.contains(&node.tag_name().name()));
        let asked = child.and_then(|node| node.text());
        let Some(asked) = asked else {
            let what = format!("a topic without <{}>", names[0]);
            return Err(Error::data(path, Some(line), what, "write it, or name another part: title, desc, narr"));
        };
        let asked = asked.split_whitespace().collect::<Vec<_>>().join(" ");
        gathered.push(path, line, topic.attribute("number").unwrap_or_default().to_string(), vec![asked])?;
    }
    Ok(gathered.queries())
}

/// Writes topics with numbers and titles, gzipped where the name ends in `.gz`. A `<` of a text becomes a space: this layout
/// has no way to write it.
///
/// # Errors
/// A name that is a folder's; the system's.
pub fn write_topics(path: &Path, queries: &[Query]) -> Result<()> {
    write_text(path, |out| {
        for Query { id, text } in queries {
            let text = text.replace('<', " ").split_whitespace().collect::<Vec<_>>().join(" ");
            writeln!(out, "<top>\n<num> Number: {id}\n<title> {text}\n</top>\n")?;
        }
        Ok(())
    })
}
