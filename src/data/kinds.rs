//! Files that are no list at all, known by their first bytes: what they are, and what would do.

/// What a file that starts so is, and the remedy; `None` for what may be a table.
pub(super) fn foreign(start: &[u8]) -> Option<(&'static str, &'static str)> {
    const EXPORT: &str = "export it as CSV in UTF-8";
    const UNPACK: &str = "unpack it, or pack it with gzip";
    let known: [(&[u8], &str, &str); 14] = [
        (b"PK\x03\x04", "a zip archive (an Excel workbook, perhaps), not a text file", EXPORT),
        (b"\xd0\xcf\x11\xe0", "an old Excel workbook, not a text file", EXPORT),
        (b"%PDF", "a PDF document, not a text file", EXPORT),
        (b"SQLite format 3", "an SQLite database, not a text file", EXPORT),
        (b"BZh", "packed with bzip2", UNPACK),
        (b"\xfd7zXZ", "packed with xz", UNPACK),
        (b"\x28\xb5\x2f\xfd", "packed with zstd", UNPACK),
        (b"7z\xbc\xaf", "a 7z archive", UNPACK),
        (b"Rar!", "a RAR archive", UNPACK),
        (b"ARROW1", "an Arrow (Feather) file", "write it as Parquet"),
        (b"ORC", "an ORC file", "write it as Parquet"),
        (b"\x80\x04\x95", "a Python pickle", "write it as Parquet or CSV"),
        (b"\xff\xfe\0\0", "a text in UTF-32", "save it as UTF-8"),
        (b"\0\0\xfe\xff", "a text in UTF-32", "save it as UTF-8"),
    ];
    if let Some((_, what, remedy)) = known.into_iter().find(|(magic, ..)| start.starts_with(magic)) {
        // `ORC` may begin the name of a column
        let is_text = start.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace());
        if !is_text || !start.starts_with(b"ORC") {
            return Some((what, remedy));
        }
    }
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start().to_ascii_lowercase();
    let begins = |words: &[&str]| words.iter().any(|w| text.starts_with(w.as_bytes()));
    if begins(&["<!doctype html", "<html", "<table", "<head", "<body"]) {
        return Some(("an HTML page, not a table of text", "open it in a spreadsheet and export it as CSV in UTF-8"));
    }
    begins(&["<?xml"]).then_some(("an XML document, not a table", "export the list as CSV, JSON lines or Parquet"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_list_is_called_by_its_name() {
        for (start, word) in [
            (&b"PK\x03\x04.."[..], "zip"),
            (b"\xd0\xcf\x11\xe0\xa1", "old Excel"),
            (b"\n<!DOCTYPE HTML><html>", "HTML"),
            (b"\xef\xbb\xbf<?xml version", "XML"),
            (b"\x28\xb5\x2f\xfd\0", "zstd"),
        ] {
            assert!(foreign(start).is_some_and(|(what, _)| what.contains(word)), "{word}");
        }
        for text in [&b"id,name"[..], b"ORC,name", b"<b>id</b>,name", b"{\"id\":1}", b""] {
            assert_eq!(foreign(text), None);
        }
    }
}
