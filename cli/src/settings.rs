//! A TOML file below the flags. Each key is a long flag without its dashes; its value becomes that flag's default, so the
//! command line stands above it, `--help` shows it, and the parser checks it. Keys at the top hold for every verb that has
//! the flag, keys of a table for that verb alone.
//!
//! Refused: a second set of option structs, merged by hand; environment variables for every flag.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};
use sverka::{Error, Result};
use toml::{Table, Value};

const DEFAULT: &str = "sverka.toml";

/// The command with the settings file's values as defaults.
pub fn under_flags(command: Command, arguments: &[OsString]) -> Result<Command> {
    let Some(path) = file(arguments) else { return Ok(command) };
    let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let table: Table = text.parse().map_err(|e: toml::de::Error| {
        let line = e.span().map(|s| text[..s.start.min(text.len())].matches('\n').count() as u64 + 1);
        Error::data(&path, line, format!("not TOML: {}", e.message()), "mend the line")
    })?;
    let shared: Vec<Arg> = command.get_arguments().filter(|a| a.is_global_set()).cloned().collect();
    apply(command, &table, &path, "", &shared)
}

/// `--settings FILE` or `--settings=FILE`, else `./sverka.toml` where it is.
fn file(arguments: &[OsString]) -> Option<PathBuf> {
    for (i, argument) in arguments.iter().enumerate() {
        if argument == "--" {
            break;
        }
        if argument == "--settings" {
            return arguments.get(i + 1).map(PathBuf::from);
        }
        if let Some(path) = argument.to_str().and_then(|a| a.strip_prefix("--settings=")) {
            return Some(path.into());
        }
    }
    let default = Path::new(DEFAULT);
    default.is_file().then(|| default.into())
}

/// Applies the keys of a table to a command; `shared` are the flags of every verb.
fn apply(mut command: Command, table: &Table, path: &Path, within: &str, shared: &[Arg]) -> Result<Command> {
    for (key, value) in table {
        let name = if within.is_empty() { key.clone() } else { format!("{within}.{key}") };
        if let Value::Table(inner) = value {
            if command.find_subcommand(key).is_none() {
                return Err(Error::setting(
                    name,
                    path.display(),
                    format!("no such verb; there are {}", verbs(&command)),
                ));
            }
            let mut failed = None;
            command = command.mut_subcommand(key, |verb| match apply(verb.clone(), inner, path, &name, shared) {
                Ok(verb) => verb,
                Err(e) => {
                    failed = Some(e);
                    verb
                }
            });
            if let Some(e) = failed {
                return Err(e);
            }
            continue;
        }
        let values = written(value).ok_or_else(|| {
            Error::setting(&name, path.display(), "a setting is a string, a number, true, false, or a list of them")
        })?;
        if !within.is_empty()
            && let Some(flag) = shared.iter().find(|a| a.get_long() == Some(key))
            && !command.get_arguments().any(|a| a.get_id() == flag.get_id())
        {
            // a flag of every verb, set for this one alone
            command = command.arg(flag.clone());
        }
        let mut known = false;
        command = set(command, key, &values, &mut known);
        if !known {
            let flags = flags(&command);
            return Err(Error::setting(name, path.display(), format!("no such setting; there are {flags}")));
        }
    }
    Ok(command)
}

/// Sets a flag's default here and, for a key at the top, in every verb below.
fn set(mut command: Command, key: &str, values: &[String], known: &mut bool) -> Command {
    let found = command.get_arguments().find(|a| a.get_long() == Some(key)).cloned();
    if let Some(argument) = found.filter(|_| key != "settings") {
        *known = true;
        // defaults live as long as the program: a few leaked words
        let defaults: Vec<&'static str> = match argument.get_value_delimiter() {
            Some(comma) => vec![values.join(&comma.to_string()).leak() as &str],
            None => values.iter().map(|v| v.clone().leak() as &str).collect(),
        };
        let counts = matches!(argument.get_action(), ArgAction::Count);
        command = command.mut_arg(argument.get_id().clone(), |a| {
            let a = a.required(false);
            if counts { a.default_value(defaults[0]) } else { a.default_values(defaults) }
        });
    }
    let verbs: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_string()).collect();
    for verb in verbs {
        command = command.mut_subcommand(verb, |c| set(c, key, values, known));
    }
    command
}

/// A value as it would be typed.
fn written(value: &Value) -> Option<Vec<String>> {
    Some(match value {
        Value::String(s) => vec![s.clone()],
        Value::Integer(i) => vec![i.to_string()],
        Value::Float(f) => vec![f.to_string()],
        Value::Boolean(b) => vec![b.to_string()],
        Value::Array(all) => all.iter().map(written).collect::<Option<Vec<_>>>()?.concat(),
        Value::Table(_) | Value::Datetime(_) => return None,
    })
}

fn verbs(command: &Command) -> String {
    command.get_subcommands().map(Command::get_name).collect::<Vec<_>>().join(", ")
}

fn flags(command: &Command) -> String {
    let flags = command.get_arguments().filter_map(|a| a.get_long());
    flags.filter(|f| !["settings", "help", "version"].contains(f)).collect::<Vec<_>>().join(", ")
}
