//! Cells as a person reads them: HTML that a scraper left becomes plain text, a word for "missing" becomes an empty cell,
//! the wrappings of spreadsheets and characters without width go. Only whole cells are compared with the words for
//! "missing". Ids keep their characters: only what surrounds them is taken off.
//!
//! Refused: a parser of HTML documents (cells are fragments, and a `<` before a number is a sign of its own).

use super::notes::{Change, Notes};

/// Words for a missing value, as pandas, R, SQL, Excel (English and Russian) and JavaScript write them, in lower case.
const MISSING: [&str; 35] = [
    "nan",
    "-nan",
    "null",
    "none",
    "n/a",
    "#n/a",
    "#n/a n/a",
    "#na",
    "<na>",
    "<n/a>",
    "nat",
    "nil",
    "undefined",
    "\\n",
    "(null)",
    "[null]",
    "<null>",
    "-",
    "–",
    "—",
    "--",
    "#null!",
    "#ref!",
    "#value!",
    "#div/0!",
    "#name?",
    "#num!",
    "1.#ind",
    "-1.#ind",
    "1.#qnan",
    "#н/д",
    "#знач!",
    "#дел/0!",
    "#ссылка!",
    "#имя?",
];

/// Tags whose place is a space, and tags inside a word or sentence. Other words between angle brackets are text.
const BLOCKS: [&str; 33] = [
    "br",
    "p",
    "div",
    "li",
    "ul",
    "ol",
    "table",
    "tbody",
    "thead",
    "tr",
    "td",
    "th",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "dl",
    "dt",
    "dd",
    "section",
    "article",
    "header",
    "footer",
    "center",
    "blockquote",
    "pre",
    "img",
    "iframe",
    "form",
    "option",
];
const INLINES: [&str; 18] = [
    "b", "i", "u", "s", "strong", "em", "span", "a", "font", "sup", "sub", "small", "big", "mark", "label", "abbr",
    "nobr", "wbr",
];

/// Whether a cell says that there is no value.
pub(super) fn is_missing(text: &str) -> bool {
    let text = text.trim();
    if text.len() > 12 || text.is_empty() {
        return text.is_empty();
    }
    // `NA` is R's word; `na` and `Na` are others'.
    text == "NA" || MISSING.contains(&text.to_lowercase().as_str())
}

/// Cleans a cell in place and counts what was changed.
pub(super) fn clean(notes: &Notes, line: u64, text: &mut String) {
    let Some(&first) = text.as_bytes().first() else { return };
    if matches!(first, b'=' | b'\'')
        && let Some(inner) = unwrapped(text)
    {
        *text = inner;
        notes.count(Change::Formula, line);
    }
    if text.bytes().any(|b| SUSPECT[b as usize]) {
        if text.contains(['&', '<'])
            && let Some(plain) = plain(text)
        {
            *text = plain;
            notes.count(Change::Html, line);
        }
        if text.contains(is_invisible) {
            text.retain(|c| !is_invisible(c));
            notes.count(Change::Invisible, line);
        }
    }
    if STARTS[first as usize] && text.len() <= 12 && !text.is_empty() && is_missing(text) {
        text.clear();
        notes.count(Change::Missing, line);
    }
}

/// An id: what surrounds it taken off.
pub(super) fn id(text: &str) -> String {
    let text = text.trim_matches(|c: char| c.is_whitespace() || is_invisible(c));
    match text.as_bytes().first() {
        Some(b'=' | b'\'') => unwrapped(text).unwrap_or_else(|| text.to_string()),
        _ => text.to_string(),
    }
}

/// Bytes that a character to be cleaned may begin with.
const SUSPECT: [bool; 256] = {
    let mut table = [false; 256];
    let mut i = 0;
    while i < 32 {
        table[i] = i != 9 && i != 10 && i != 13;
        i += 1;
    }
    let bytes = [b'&', b'<', 0x7f, 0xc2, 0xe2, 0xef];
    i = 0;
    while i < bytes.len() {
        table[bytes[i] as usize] = true;
        i += 1;
    }
    table
};

/// Bytes that a word for "missing" may begin with.
const STARTS: [bool; 256] = {
    let mut table = [false; 256];
    let bytes = b" \tnNuU#<([\\-1\xe2\xc2";
    let mut i = 0;
    while i < bytes.len() {
        table[bytes[i] as usize] = true;
        i += 1;
    }
    table
};

/// Characters that nobody sees: controls (tabs and line ends stay), soft hyphens, marks of width zero and direction.
fn is_invisible(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => false,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}' => true,
        c => c.is_control(),
    }
}

/// The text of `="text"`, and of a text whose apostrophe keeps a spreadsheet from reading a number or formula.
fn unwrapped(text: &str) -> Option<String> {
    if let Some(inner) = text.strip_prefix("=\"").and_then(|t| t.strip_suffix('"')) {
        return (!inner.replace("\"\"", "").contains('"')).then(|| inner.replace("\"\"", "\""));
    }
    let inner = text.strip_prefix('\'')?;
    let is_kept = inner.starts_with(|c: char| c.is_ascii_digit() || "=+-@".contains(c)) && !inner.ends_with('\'');
    is_kept.then(|| inner.to_string())
}

/// The text without HTML, where there is any.
fn plain(text: &str) -> Option<String> {
    let mut decoded = html_escape::decode_html_entities(text);
    // scrapers escape what is escaped already
    if decoded.contains('&')
        && let std::borrow::Cow::Owned(twice) = html_escape::decode_html_entities(&decoded)
    {
        decoded = std::borrow::Cow::Owned(twice);
    }
    let mut out = String::with_capacity(decoded.len());
    let (mut rest, mut changed) = (&*decoded, matches!(decoded, std::borrow::Cow::Owned(_)));
    while let Some(at) = rest.find('<') {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        match tag_end(tag) {
            Some((length, is_block)) => {
                changed = true;
                if is_block && !out.is_empty() && !out.ends_with(char::is_whitespace) {
                    out.push(' ');
                }
                rest = &tag[length..];
            }
            None => {
                out.push('<');
                rest = &tag[1..];
            }
        }
    }
    out.push_str(rest);
    if !changed {
        return None;
    }
    let out = out.replace('\u{a0}', " ");
    Some(out.trim().to_string())
}

/// How long a tag at the start of a text is, and whether a space takes its place; `None` for other text.
fn tag_end(text: &str) -> Option<(usize, bool)> {
    if text.starts_with("<!--") {
        return text.find("-->").map(|end| (end + 3, true));
    }
    let inner = text[1..].strip_prefix('/').unwrap_or(&text[1..]);
    let end = inner.find(|c: char| !c.is_ascii_alphanumeric())?;
    let name = inner[..end].to_ascii_lowercase();
    if (name == "script" || name == "style") && !text.starts_with("</") {
        let close = format!("</{name}>");
        return text.to_ascii_lowercase().find(&close).map(|at| (at + close.len(), true));
    }
    let is_block = BLOCKS.contains(&name.as_str());
    if !is_block && !INLINES.contains(&name.as_str()) {
        return None;
    }
    let after = inner[end..].chars().next()?;
    if !(after == '>' || after == '/' || after.is_whitespace()) {
        return None;
    }
    let close = text.find('>')?;
    // another tag opens first: this one never closed
    (!text[1..close].contains('<')).then_some((close + 1, is_block))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(text: &str) -> String {
        let mut text = text.to_string();
        clean(&Notes::default(), 1, &mut text);
        text
    }

    #[test]
    fn html_becomes_the_text_that_a_browser_shows() {
        for (html, text) in [
            ("Лампа&nbsp;Orbit&nbsp;K30", "Лампа Orbit K30"),
            ("<b>Чайник</b> Vesna<br/>E14", "Чайник Vesna E14"),
            ("<p class=\"x\">One</p><p>Two</p>", "One Two"),
            ("24&quot; &amp;amp; more &#215; &#x2014;", "24\" & more × —"),
            ("H<sub>2</sub>O", "H2O"),
            ("&lt;li&gt;item", "item"),
            ("<!-- x -->a<style>p { color: red }</style>", "a"),
        ] {
            assert_eq!(cleaned(html), text);
        }
        for text in ["AT&T R&D", "a < b > c", "<5 mm>", "x<y", "<Brand> of goods", "a & b", "<b never closed"] {
            assert_eq!(cleaned(text), text);
        }
    }

    #[test]
    fn words_for_missing_are_empty_and_only_as_whole_cells() {
        for word in ["NaN", "nan", "NULL", "None", "N/A", "n/a", "#N/A", "\\N", "-", "<NA>", "NaT", " - ", "#Н/Д", "NA"]
        {
            assert_eq!(cleaned(word).trim(), "", "{word}");
        }
        for text in ["Nano", "Na", "na", "None of these", "-5", "Null Modem", "0", "нет", "1", "--verbose"] {
            assert_eq!(cleaned(text), text);
        }
    }

    #[test]
    fn spreadsheet_wrappings_and_invisible_characters_go() {
        for (cell, text) in [
            ("=\"00123\"", "00123"),
            ("='00123'", "='00123'"),
            ("'00123", "00123"),
            ("'=SUM(A1)", "=SUM(A1)"),
            ("'quoted'", "'quoted'"),
            ("'tis", "'tis"),
            ("soft\u{ad}hyphen \u{200b}zero\u{feff}", "softhyphen zero"),
            ("a\0b", "ab"),
            ("a\tb\nc", "a\tb\nc"),
            ("d\u{a0}e – ×", "d\u{a0}e – ×"),
        ] {
            assert_eq!(cleaned(cell), text);
        }
        assert_eq!([id(" \u{feff}=\"007\""), id("'-5"), id("N/A"), id("a\u{ad}b")], ["007", "-5", "N/A", "a\u{ad}b"]);
    }
}
