//! Attention as a page that is complete in itself. Weights travel as 16-bit shares of 1 in base64, so that 64 tokens, 12 layers and 12
//! heads are 1.6 MB; that is right to 0.000008.

use super::Seen;

/// The page with everything but its data.
const PAGE: &str = include_str!("page.html");

/// The page.
pub(super) fn page(model: &str, kind: &str, seen: &Seen) -> String {
    let attention = &seen.attention;
    let mut bytes = Vec::with_capacity(2 * attention.weights.len());
    for weight in &attention.weights {
        bytes.extend(((weight * 65535.0).round() as u16).to_le_bytes());
    }
    let heads = seen.head.map_or_else(
        || (1..=attention.heads).map(|h| h.to_string()).collect::<Vec<_>>().join(","),
        |head| (head + 1).to_string(),
    );
    let tokens: Vec<String> = seen.pieces.iter().map(|p| crate::output::visible(p)).collect();
    let data = serde_json::json!({
        "tokens": tokens, "special": seen.special, "layers": attention.layers, "heads": attention.heads,
        "show": { "layer": seen.layer.map_or(1, |l| l + 1), "heads": heads }, "weights": base64(&bytes),
    });
    // a text must not end the script
    let data = data.to_string().replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    let texts = seen.texts.iter().map(|text| safe(text)).collect::<Vec<_>>().join("<br>");
    let heading =
        safe(&format!("Attention of {model} ({kind}, {} layers, {} heads)", attention.layers, attention.heads));
    // the data come last, so that nothing within them is taken for a mark
    let page = PAGE.replacen("TITLE", &safe(&format!("attention: {model}")), 1).replacen("HEADING", &heading, 1);
    let (before, rest) = page.split_once("TEXTS").unwrap_or((&page, ""));
    let (between, after) = rest.split_once("DATA").unwrap_or((rest, ""));
    [before, &texts, between, &data, after].concat()
}

/// A text that HTML takes for nothing else.
fn safe(text: &str) -> String {
    let text = crate::output::visible(text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Bytes in base64, as `atob` reads it.
fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let group = three.iter().fold(0u32, |g, b| g << 8 | u32::from(*b)) << (8 * (3 - three.len()));
        for i in 0..4 {
            let sign = SIGNS[(group >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= three.len() { sign as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use sverka::inspect::Attention;

    #[test]
    fn bytes_as_a_browser_reads_them() {
        let all = [&b""[..], b"f", b"fo", b"foo", b"foob"].map(base64);
        assert_eq!(all, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }

    #[test]
    fn a_page_of_64_tokens_and_144_heads_is_below_two_megabytes_and_names_no_network() {
        let (layers, heads, tokens) = (12, 12, 64);
        let weights = vec![1.0 / 64.0; layers * heads * tokens * tokens];
        let seen = Seen {
            texts: vec!["</script><b>DATA", "TEXTS"],
            pieces: vec!["</script>".into(); tokens],
            special: vec![false; tokens],
            attention: Attention { layers, heads, tokens, weights },
            layer: None,
            head: Some(3),
        };
        let page = page("m", "encoder", &seen);
        assert!(page.len() < 2_000_000, "{}", page.len());
        assert_eq!(page.matches("</script>").count(), 1, "a token ends the script");
        assert!(page.contains("&lt;/script&gt;&lt;b&gt;DATA<br>TEXTS") && page.contains("\"heads\":\"4\""));
        let links = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!links.contains("http") && !links.contains("src=") && !links.contains("@import"));
    }
}
