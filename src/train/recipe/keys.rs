//! Keys of a recipe: names of before, and `--set key=value` applied above the file.

use crate::{Error, Result};

/// Keys that had another name: the table, the name before, the name now. Each is also a serde alias of its field.
pub(super) const RENAMED: [(&str, &str, &str); 15] = [
    ("", "start", "model"),
    ("model", "dir", "init"),
    ("data", "leave_out", "eval_only"),
    ("data.sources", "unique", "deduplicated"),
    ("train", "accumulate", "gradient_accumulation"),
    ("train", "tokens", "max_tokens_per_pass"),
    ("train", "final_lr", "min_lr_ratio"),
    ("train", "clip", "max_grad_norm"),
    ("train", "swap", "swap_probability"),
    ("train", "average", "ema_decay"),
    ("train", "measure", "metric"),
    ("text", "marks", "ditto_markers"),
    ("text", "mark_shared", "overlap_segments"),
    ("augment", "thin", "word_dropout"),
    ("augment", "words", "max_words"),
];

/// The name that a key has now.
fn renamed<'a>(table: &str, key: &'a str) -> &'a str {
    RENAMED.iter().find(|(of, before, _)| *of == table && *before == key).map_or(key, |(_, _, now)| now)
}

/// A table of a recipe under the names that keys have now.
pub(super) fn with_new_names(path: &str, table: toml::Table) -> toml::Table {
    let entry = |(key, value): (String, toml::Value)| {
        let key = renamed(path, &key).to_string();
        let inside = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let value = match value {
            toml::Value::Table(table) => toml::Value::Table(with_new_names(&inside, table)),
            toml::Value::Array(list) => toml::Value::Array(
                list.into_iter()
                    .map(|value| match value {
                        toml::Value::Table(table) => toml::Value::Table(with_new_names(&inside, table)),
                        value => value,
                    })
                    .collect(),
            ),
            value => value,
        };
        (key, value)
    };
    table.into_iter().map(entry).collect()
}

/// A dotted key under the names that its parts have now.
fn with_new_name(key: &str) -> String {
    let (mut table, mut parts) = (String::new(), Vec::new());
    for part in key.split('.') {
        let part = renamed(&table, part);
        parts.push(part);
        if part.parse::<usize>().is_err() {
            table = if table.is_empty() { part.to_string() } else { format!("{table}.{part}") };
        }
    }
    parts.join(".")
}

/// Applies one `key=value`.
pub(in crate::train) fn apply(table: &mut toml::Table, set: &str) -> Result<()> {
    let Some((key, text)) = set.split_once('=') else {
        return Err(Error::setting("--set", set, "must be key=value, as in train.lr=1e-4"));
    };
    let (key, text) = (with_new_name(key.trim()), text.trim());
    let typed = toml::from_str::<toml::Table>(&format!("x = {text}")).ok().and_then(|mut t| t.remove("x"));
    let value = typed.unwrap_or_else(|| toml::Value::String(text.to_string()));
    let steps: Vec<&str> = key.split('.').collect();
    let (last, way) = steps.split_last().expect("split gives at least one piece");
    let first = way.first().copied().unwrap_or(last);
    if steps.iter().any(|step| step.is_empty()) {
        return Err(Error::setting("--set", set, format!("{key} is not a dotted key")));
    }
    if way.is_empty() {
        table.insert(first.to_string(), value);
        return Ok(());
    }
    let mut at = table.entry(first).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    for step in &way[1..] {
        at = enter(at, step)
            .ok_or_else(|| Error::setting("--set", set, format!("{step} leads nowhere in the recipe")))?;
    }
    let slot =
        enter(at, last).ok_or_else(|| Error::setting("--set", set, format!("{last} leads nowhere in the recipe")))?;
    *slot = value;
    Ok(())
}

/// The value under a key or an index; a missing key is made.
fn enter<'a>(at: &'a mut toml::Value, step: &str) -> Option<&'a mut toml::Value> {
    match at {
        toml::Value::Table(table) => Some(table.entry(step).or_insert_with(|| toml::Value::Table(toml::Table::new()))),
        toml::Value::Array(list) => list.get_mut(step.parse::<usize>().ok()?),
        _ => None,
    }
}
