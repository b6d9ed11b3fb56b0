//! JSON below the rows: an object's fields as cells, the objects of an array found as they come, and what Python writes
//! though it is not JSON.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::MAX_LINE;
use super::lines::Lines;
use crate::{Error, Result};

/// The fields of an object, in order; of a key that is there twice the last value.
pub(super) fn object(text: &[u8]) -> Result<Vec<(String, String)>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let fields = reader.deserialize_map(Fields)?;
    reader.end()?;
    Ok(fields)
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::with_capacity(map.size_hint().unwrap_or(8));
        while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
            fields.push((key, cell(value.get()).map_err(serde::de::Error::custom)?));
        }
        Ok(fields)
    }
}

/// A JSON value as a cell: a string's text, nothing for null, a number as it is written, others as compact JSON.
fn cell(raw: &str) -> Result<String, serde_json::Error> {
    match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw),
        Some(b'n') => Ok(String::new()),
        Some(b'{' | b'[') => compact(raw),
        _ => Ok(raw.to_string()),
    }
}

/// JSON without the space between its values, and with letters in place of their escapes.
fn compact(raw: &str) -> Result<String, serde_json::Error> {
    let (mut out, mut at) = (String::with_capacity(raw.len()), 0);
    let bytes = raw.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let end = at + string_length(&bytes[at..]);
                let text: String = serde_json::from_str(&raw[at..end])?;
                out.push_str(&serde_json::to_string(&text)?);
                at = end;
            }
            byte => {
                if !byte.is_ascii_whitespace() {
                    out.push(byte as char);
                }
                at += 1;
            }
        }
    }
    Ok(out)
}

/// Bytes of the string that begins here, quotes included.
fn string_length(bytes: &[u8]) -> usize {
    let mut i = 1;
    while i < bytes.len() {
        match bytes[i] {
            b'\\' => i += 2,
            b'"' => return i + 1,
            _ => i += 1,
        }
    }
    bytes.len()
}

/// The text with null for NaN, Infinity and -Infinity where a value may be; `None` where there are none.
pub(super) fn without_nan(text: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut at, mut found) = (Vec::with_capacity(text.len()), 0, false);
    while at < text.len() {
        let rest = &text[at..];
        let word = [&b"NaN"[..], b"-NaN", b"-Infinity", b"Infinity"].into_iter().find(|w| rest.starts_with(w));
        let length = match (rest[0], word) {
            (b'"', _) => string_length(rest),
            (_, Some(word)) => {
                out.extend_from_slice(b"null");
                (found, at) = (true, at + word.len());
                continue;
            }
            _ => 1,
        };
        out.extend_from_slice(&rest[..length]);
        at += length;
    }
    found.then_some(out)
}

/// Finds the objects of an array, or of a text of objects over several lines.
#[derive(Default)]
pub(super) struct Elements {
    is_array: bool,
    has_begun: bool,
    has_ended: bool,
    line: u64,
}

impl Elements {
    /// Appends the next object to `out` and gives the line that it begins in; `None` after the last.
    pub(super) fn next(&mut self, lines: &mut Lines, out: &mut Vec<u8>) -> Result<Option<u64>> {
        let path = lines.path().to_path_buf();
        let (mut depth, mut in_string, mut is_escaped, mut begins) = (0usize, false, false, 0);
        loop {
            let chunk = lines.peek()?;
            if chunk.is_empty() {
                self.has_ended = true;
                return match depth {
                    0 => Ok(None),
                    _ => Err(Error::data(&path, Some(begins), "an object that never ends", "the file is cut off")),
                };
            }
            let mut taken = 0;
            for &byte in chunk {
                taken += 1;
                self.line += u64::from(byte == b'\n');
                if depth > 0 {
                    out.push(byte);
                    match byte {
                        _ if is_escaped => is_escaped = false,
                        b'\\' if in_string => is_escaped = true,
                        b'"' => in_string = !in_string,
                        b'{' | b'[' if !in_string => depth += 1,
                        b'}' | b']' if !in_string => depth -= 1,
                        _ => {}
                    }
                    if depth == 0 || out.len() > MAX_LINE {
                        break;
                    }
                    continue;
                }
                match byte {
                    b'{' if !self.has_ended => {
                        (depth, begins) = (1, self.line + 1);
                        out.push(byte);
                    }
                    b'[' if !self.has_begun => self.is_array = true,
                    b']' if self.is_array && !self.has_ended => self.has_ended = true,
                    b',' if self.is_array && !self.has_ended => {}
                    byte if byte.is_ascii_whitespace() => continue,
                    _ => {
                        let what =
                            format!("`{}` where an object should begin (line {})", byte.escape_ascii(), self.line + 1);
                        let remedy = "write an array of objects, or one object a line: {\"name\": \"value\", ...}";
                        return Err(Error::data(&path, None, what, remedy));
                    }
                }
                self.has_begun = true;
            }
            lines.consume(taken);
            if out.len() > MAX_LINE {
                let what = format!("an object of more than {} MiB (line {begins})", MAX_LINE >> 20);
                return Err(Error::data(&path, None, what, "cut its values down"));
            }
            if depth == 0 && !out.is_empty() {
                return Ok(Some(begins));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_as_they_are_written() {
        let text = br#"{"a":1,"b":"1","c":1.0,"d":123456789012345678901234567890,"e":true,"f":null,"g":3.50,
                        "h":{ "x": ["\u0430", 1.10] },"i":"\u0430\"","j":-0}"#;
        let values: Vec<String> = object(text).unwrap().into_iter().map(|f| f.1).collect();
        let wanted = ["1", "1", "1.0", "123456789012345678901234567890", "true", "", "3.50"];
        assert_eq!(values[..7], wanted);
        assert_eq!(values[7..], ["{\"x\":[\"а\",1.10]}", "а\"", "-0"]);
        assert!(object(b"{\"a\":1} x").is_err() && object(b"[1]").is_err() && object(b"{\"a\":01}").is_err());
    }

    #[test]
    fn nan_is_null_outside_of_strings() {
        let text = br#"{"a":NaN,"b":[-Infinity, Infinity],"c":"NaN \" NaN"}"#;
        let wanted = br#"{"a":null,"b":[null, null],"c":"NaN \" NaN"}"#;
        assert_eq!(without_nan(text).as_deref(), Some(&wanted[..]));
        assert_eq!(without_nan(br#"{"a":"NaN"}"#), None);
    }
}
