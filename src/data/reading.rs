//! How tables are written where that is not found out rightly: the same words as flags of the command line and as keys of a recipe.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ReadOptions, VectorPaths};
use crate::{Error, Result};

/// How tables are written. In a recipe, `[data.sources.read]`; where a list has two values, they are the left table's and the right one's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reading {
    /// What divides cells: one character, or `tab`.
    #[serde(with = "one_or_two", skip_serializing_if = "Vec::is_empty")]
    pub delimiter: Vec<String>,
    /// The encoding by its name on the web.
    #[serde(with = "one_or_two", skip_serializing_if = "Vec::is_empty")]
    pub encoding: Vec<String>,
    /// The id column.
    #[serde(with = "one_or_two", skip_serializing_if = "Vec::is_empty")]
    pub id: Vec<String>,
    /// The first row is data.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_header: bool,
    /// The column of labels in a file of pairs, or `none` for a file of matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_column: Option<String>,
    /// Files of ready vectors by the column that their rows become ([`VectorFile`](super::VectorFile) says which row is whose).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub vectors: BTreeMap<String, VectorPaths>,
}

impl Reading {
    /// Looks for relative paths in a recipe's folder.
    pub fn rebase(&mut self, base: &Path) {
        self.vectors.values_mut().for_each(|paths| paths.rebase(base));
    }

    /// Whether nothing is said, so that all of it is found out.
    pub fn is_default(&self) -> bool {
        *self == Reading::default()
    }

    /// The options of the readers: the left table's or the only file's, and within them the right table's.
    ///
    /// # Errors
    /// More than two values of one key; a delimiter that is not one character of ASCII.
    pub fn options(&self, skip_bad_rows: bool) -> Result<ReadOptions> {
        for (key, values) in [("delimiter", &self.delimiter), ("encoding", &self.encoding), ("id", &self.id)] {
            if values.len() > 2 {
                let what = "give one value, or one for the left list and one for the right one";
                return Err(Error::setting(key, values.join(","), what));
            }
        }
        let side = |side: usize| -> Result<ReadOptions> {
            let of = |values: &Vec<String>| values.get(side).or(values.last()).cloned();
            let vectors = self.vectors.iter();
            let vectors: Vec<(String, PathBuf)> =
                vectors.filter_map(|(column, paths)| Some((column.clone(), paths.side(side)?.to_path_buf()))).collect();
            Ok(ReadOptions {
                vectors,
                id: of(&self.id),
                delimiter: of(&self.delimiter).map(|text| byte(&text)).transpose()?,
                encoding: of(&self.encoding),
                no_header: self.no_header,
                label_column: self.label_column.clone(),
                skip_bad_rows,
                right: None,
            })
        };
        Ok(ReadOptions { right: Some(Box::new(side(1)?)), ..side(0)? })
    }
}

/// The byte of a delimiter.
fn byte(text: &str) -> Result<u8> {
    match text {
        "tab" | "\\t" | "\t" => Ok(b'\t'),
        _ if text.len() == 1 && text != "\"" && text != "\n" && text != "\r" => Ok(text.as_bytes()[0]),
        _ => Err(Error::setting("delimiter", text.escape_debug(), "must be one character of ASCII, or tab")),
    }
}

/// One value as it is, two as a list.
mod one_or_two {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Values {
        One(String),
        Two(Vec<String>),
    }

    #[allow(clippy::ptr_arg)] // serde's signature
    pub fn serialize<S: Serializer>(values: &Vec<String>, to: S) -> Result<S::Ok, S::Error> {
        match values.as_slice() {
            [one] => one.serialize(to),
            values => values.serialize(to),
        }
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<String>, D::Error> {
        Ok(match Values::deserialize(from)? {
            Values::One(value) => vec![value],
            Values::Two(values) => values,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(toml: &str) -> Reading {
        toml::from_str(toml).unwrap()
    }

    #[test]
    fn two_values_are_the_left_and_the_right_table_and_one_is_both() {
        let options = reading("delimiter = [\"tab\", \";\"]\nencoding = \"windows-1251\"").options(false).unwrap();
        let right = options.right.as_ref().unwrap();
        assert_eq!((options.delimiter, right.delimiter), (Some(b'\t'), Some(b';')));
        assert_eq!(options.encoding, right.encoding);
        assert_eq!(options.encoding.as_deref(), Some("windows-1251"));
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        for text in [
            "",
            "delimiter = \";\"\n",
            "id = [\"sku\", \"code\"]\nno_header = true\n",
            "[vectors]\na = \"x.npy\"\nb = [\"l.npy\", \"\"]\n",
        ] {
            assert_eq!(toml::to_string(&reading(text)).unwrap().replace(", ", ","), text.replace(", ", ","));
        }
        assert!(reading("").is_default());
    }

    #[test]
    fn a_delimiter_of_two_characters_and_three_values_are_refused() {
        let refused = |text: &str| reading(text).options(false).unwrap_err().to_string();
        assert!(refused("delimiter = \"||\"").contains("one character"));
        assert!(refused("encoding = [\"a\", \"b\", \"c\"]").contains("one for the left"));
        assert!(toml::from_str::<Reading>("delimeter = \";\"").is_err());
    }
}
