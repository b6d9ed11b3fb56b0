//! XML files to text: unlike a table they say themselves which encoding they have.

use std::io::Read;
use std::path::Path;

use encoding_rs::{Encoding, UTF_8};
use flate2::read::MultiGzDecoder;

use crate::{Error, Result};

/// Whether a file begins as XML does.
pub(super) fn is_xml(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    start.trim_ascii_start().starts_with(b"<?xml") || start.trim_ascii_start().starts_with(b"<data")
}

/// The text of an XML file, unpacked, in the encoding that it names (`UTF8` too, which is none by the standard).
pub(super) fn text(path: &Path) -> Result<String> {
    let mut bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let packed = std::mem::take(&mut bytes);
        MultiGzDecoder::new(&packed[..]).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    }
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    let named = head.split("encoding=").nth(1).and_then(|rest| {
        let quote = rest.chars().next()?;
        rest[quote.len_utf8()..].split(quote).next()
    });
    let encoding = named.and_then(|name| Encoding::for_label(name.as_bytes())).unwrap_or(UTF_8);
    let (text, _, is_damaged) = encoding.decode(&bytes);
    if is_damaged {
        let what = format!("bytes that are not {}", encoding.name());
        return Err(Error::data(path, None, what, "save it in the encoding that its first line names"));
    }
    Ok(text.into_owned())
}
