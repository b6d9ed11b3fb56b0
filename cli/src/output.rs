//! stdout for results, stderr for talk. Colours and bars only where a person looks.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use sverka::Error;

use crate::args::Global;

/// Where results and talk go.
pub struct Output {
    json: bool,
    quiet: bool,
    verbose: u8,
    colours: bool,
    /// What was said that a program should know too.
    warnings: Mutex<Vec<String>>,
}

impl Output {
    /// From the flags, the terminal, and `NO_COLOR`.
    pub fn new(global: &Global) -> Self {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Output { json: global.json, quiet: global.quiet, verbose: global.verbose, colours, warnings: Mutex::default() }
    }

    /// The libraries' log lines, on stderr.
    pub fn start_log(&self) {
        let level = match (self.quiet, self.verbose) {
            (true, _) => log::LevelFilter::Error,
            (_, 0) => log::LevelFilter::Warn,
            (_, 1) => log::LevelFilter::Info,
            _ => log::LevelFilter::Debug,
        };
        let others = level.min(if self.verbose > 1 { level } else { log::LevelFilter::Warn });
        env_logger::Builder::new()
            .filter_level(others)
            .filter_module("sverka", level)
            .format(|f, r| writeln!(f, "{}: {}", r.level().as_str().to_lowercase(), r.args()))
            .init();
    }

    /// Whether stdout is JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// A verb's result: `value` with `--json`, else `text`, on stdout.
    pub fn result(&self, value: &impl Serialize, text: &str) -> sverka::Result<()> {
        if self.json { self.json_line(value) } else { self.print(text) }
    }

    /// Like [`Output::result`], but `-q` leaves the text out: the verb's real result is a file.
    pub fn summary(&self, value: &impl Serialize, text: &str) -> sverka::Result<()> {
        if self.json {
            self.json_line(value)
        } else if self.quiet {
            Ok(())
        } else {
            self.print(text)
        }
    }

    fn json_line(&self, value: &impl Serialize) -> sverka::Result<()> {
        let failed = |e: serde_json::Error| Error::Internal { op: "json", what: e.to_string() };
        let mut value = serde_json::to_value(value).map_err(failed)?;
        if let serde_json::Value::Object(fields) = &mut value {
            let notes = fields.entry("notes").or_insert_with(|| serde_json::json!([]));
            if let serde_json::Value::Array(notes) = notes {
                notes.extend(std::mem::take(&mut *self.warnings()).into_iter().map(serde_json::Value::from));
            }
        }
        self.write(&value.to_string())
    }

    fn print(&self, text: &str) -> sverka::Result<()> {
        self.write(&visible(text))
    }

    fn write(&self, text: &str) -> sverka::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()).map_err(Error::io("write", Path::new("-")))
    }

    /// A line of talk on stderr.
    pub fn note(&self, text: impl Display) {
        if !self.quiet {
            // whoever closed stderr does not want to hear it
            let _ = writeln!(std::io::stderr(), "{}", visible(&text.to_string()));
        }
    }

    fn warnings(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a file's reader changed, left out or guessed: on stderr, with `-q` too, and in the `notes` of `--json`.
    pub fn warn(&self, text: impl Display) {
        let text = text.to_string();
        let _ = writeln!(std::io::stderr(), "{}", visible(&self.yellow(format_args!("note: {text}"))));
        self.warnings().push(text);
    }

    /// A bar on stderr; nothing where stderr is not a terminal, or with `-q`.
    pub fn bar(&self, total: u64, template: &str) -> ProgressBar {
        if self.quiet || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(total).with_style(style.progress_chars("=> "))
    }

    /// Emphasis.
    pub fn strong(&self, text: impl Display) -> String {
        self.painted("1", text)
    }
    /// Good.
    pub fn green(&self, text: impl Display) -> String {
        self.painted("32", text)
    }
    /// Not so good.
    pub fn yellow(&self, text: impl Display) -> String {
        self.painted("33", text)
    }
    /// Beside the point.
    pub fn dim(&self, text: impl Display) -> String {
        self.painted("2", text)
    }

    fn painted(&self, code: &str, text: impl Display) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}

/// A text whose control characters are escaped, but for line ends and our own colours: a product's name shall not move
/// the cursor or colour the screen.
pub fn visible(text: &str) -> String {
    const OURS: [&str; 5] = ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[33m"];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(code) = OURS.iter().find(|code| rest.starts_with(**code)) {
            out.push_str(code);
            rest = &rest[code.len()..];
            continue;
        }
        let is_direction = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        match c {
            '\n' | '\t' => out.push(c),
            c if c.is_control() || is_direction => out.extend(c.escape_default()),
            c => out.push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// `12345` as `12,345`.
pub fn grouped(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `one` with a count, in the plural where the count asks for it: `1 match`, `2 matches`.
pub fn counted(number: impl Into<u64>, one: &str, many: &str) -> String {
    let number = number.into();
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// `text` cut to `width` characters.
pub fn cut(text: &str, width: usize) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(width) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_a_product_are_shown_and_do_nothing() {
        let name = "Lamp\x1b]0;title\x07\r\u{202e}x";
        assert_eq!(visible(name), "Lamp\\u{1b}]0;title\\u{7}\\r\\u{202e}x");
        assert_eq!(visible("\x1b[1mstrong\x1b[0m\n\tплюс"), "\x1b[1mstrong\x1b[0m\n\tплюс");
    }

    #[test]
    fn numbers_and_texts_as_people_write_them() {
        assert_eq!([0u64, 999, 1000, 1234567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([counted(1u64, "match", "matches"), counted(0u64, "match", "matches")], ["1 match", "0 matches"]);
        assert_eq!([cut("краска  белая", 20), cut("краска белая", 7)], ["краска белая", "краска…"]);
    }
}
