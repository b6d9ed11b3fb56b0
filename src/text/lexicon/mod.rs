//! What words of product texts mean: units, colors, and other values that exclude each other.
//!
//! One lexicon, compiled in from TOML files, for all that compares or changes words: marks, the search index, and pairs made for
//! training. So a made pair never calls two things the same that marks call different.
//! What marks know is part of what a trained model has learned: a new word in it changes what old models see.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use serde::Deserialize;

use super::normalize::stem;

/// All units.
static UNITS: LazyLock<Units> = LazyLock::new(|| Units::new(include_str!("units.toml")));
/// All classes of values, colors first.
static CLASSES: LazyLock<Vec<Class>> = LazyLock::new(|| {
    let [mut colors, exclusive] = [include_str!("colors.toml"), include_str!("exclusive.toml")].map(parse::<ClassFile>);
    colors.class.iter_mut().for_each(|class| class.is_color = true);
    colors.class.into_iter().chain(exclusive.class).collect()
});
/// Class and value of a word's stem; a word may be in more than one class.
static VALUES: LazyLock<HashMap<String, Vec<ValueId>>> = LazyLock::new(|| {
    let mut values: HashMap<String, Vec<ValueId>> = HashMap::new();
    for (class, of_class) in CLASSES.iter().enumerate() {
        for (value, of_value) in of_class.value.iter().enumerate() {
            let unknown_to_marks = of_class.augment_only || of_value.augment_only;
            for word in of_value.words.iter().filter(|_| !unknown_to_marks) {
                let of = values.entry(stem(word)).or_default();
                if !of.contains(&(class as u8, value as u8)) {
                    of.push((class as u8, value as u8));
                }
            }
        }
    }
    values
});

/// Number of a class, and of a value in it.
pub(super) type ValueId = (u8, u8);

/// A unit of measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Unit {
    /// What it measures: units of one kind can be compared.
    pub(crate) kind: usize,
    /// How many of the kind's smallest it is.
    pub(crate) size: f64,
    /// No mark compares amounts in it.
    pub(crate) augment_only: bool,
}

/// Values that exclude each other.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Class {
    /// What it is called in the file and in messages of tests.
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) name: String,
    /// Of its phrases.
    language: Language,
    /// No value of it is known to marks.
    #[serde(default)]
    augment_only: bool,
    pub(crate) value: Vec<Value>,
    #[serde(skip)]
    is_color: bool,
}

/// One value of a class.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Value {
    /// Words that mean it, for marks.
    #[serde(default)]
    words: Vec<String>,
    /// Its grammatical forms.
    #[serde(default)]
    forms: Vec<String>,
    /// How shops write it.
    #[serde(default)]
    pub(crate) phrases: Vec<String>,
    /// Not known to marks.
    #[serde(default)]
    augment_only: bool,
}

/// The language of a text, as far as the lexicon differs by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Language {
    #[serde(rename = "ru")]
    Russian,
    #[serde(rename = "en")]
    English,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassFile {
    class: Vec<Class>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnitFile {
    kind: Vec<KindEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KindEntry {
    /// What it is called in the file and in messages of tests.
    #[cfg_attr(not(test), allow(dead_code))]
    name: String,
    #[serde(default)]
    index: bool,
    unit: Vec<UnitEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnitEntry {
    size: f64,
    words: Vec<String>,
    #[serde(default)]
    augment_only: bool,
}

struct Units {
    kinds: Vec<KindEntry>,
    by_word: HashMap<String, Unit>,
}

impl Units {
    fn new(file: &str) -> Self {
        let kinds = parse::<UnitFile>(file).kind;
        let by_word = kinds.iter().enumerate().flat_map(|(kind, entry)| {
            let of = move |unit: &UnitEntry| Unit { kind, size: unit.size, augment_only: unit.augment_only };
            entry.unit.iter().flat_map(move |unit| unit.words.iter().map(move |word| (word.clone(), of(unit))))
        });
        Units { by_word: by_word.collect(), kinds }
    }
}

/// The files are part of the program: a test reads them.
fn parse<T: for<'de> Deserialize<'de>>(file: &str) -> T {
    toml::from_str(file).unwrap_or_else(|e| panic!("the lexicon that is compiled in is damaged: {e}"))
}

/// The unit that a lower-case word is, made pairs' own included.
pub(crate) fn any_unit(word: &str) -> Option<Unit> {
    UNITS.by_word.get(word).copied()
}

/// The unit that a lower-case word is, if amounts in it can be compared.
pub(crate) fn unit(word: &str) -> Option<Unit> {
    any_unit(word).filter(|unit| !unit.augment_only)
}

/// Words of grammar, which no text is about.
static GRAMMAR: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let file: GrammarFile = parse(include_str!("grammar.toml"));
    file.words.into_iter().collect()
});

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrammarFile {
    words: Vec<String>,
}

/// Whether a lower-case word is one of English grammar.
pub(crate) fn is_grammar(word: &str) -> bool {
    GRAMMAR.contains(word)
}

/// The unit in which the search index writes amounts of a kind.
pub(crate) fn index_unit(kind: usize) -> Option<&'static str> {
    let kind = UNITS.kinds.get(kind).filter(|kind| kind.index)?;
    kind.unit.iter().find(|unit| unit.size == 1.0)?.words.first().map(String::as_str)
}

/// The other units of a unit's kind as they are written in its alphabet.
pub(crate) fn other_units(word: &str) -> Vec<(&'static str, Unit)> {
    let Some(own) = any_unit(word) else { return Vec::new() };
    let others = UNITS.kinds[own.kind].unit.iter().filter(|other| other.size != own.size);
    let named = others.filter_map(|other| {
        let name = other.words.iter().find(|name| name.is_ascii() == word.is_ascii())?;
        Some((name.as_str(), any_unit(name)?))
    });
    named.collect()
}

/// The values that a stem means.
pub(super) fn values_of(stem: &str) -> &'static [ValueId] {
    VALUES.get(stem).map_or(&[], Vec::as_slice)
}

/// Whether words of these values exclude each other: different values of one class, and none in common.
pub(super) fn conflict(a: &[ValueId], b: &[ValueId]) -> bool {
    a.iter().any(|x| b.iter().any(|y| x.0 == y.0 && x.1 != y.1)) && !a.iter().any(|x| b.contains(x))
}

/// The classes whose values are phrases of a language.
pub(crate) fn classes(language: Language) -> impl Iterator<Item = &'static Class> {
    CLASSES.iter().filter(move |class| class.language == language && class.value.iter().any(|v| !v.phrases.is_empty()))
}

/// The same grammatical form of the other colors; empty for a word that is no color.
pub(crate) fn other_colors(word: &str) -> Vec<&'static str> {
    let find = |class: &'static Class| {
        class.value.iter().enumerate().find_map(|(at, value)| {
            let form = value.forms.iter().position(|form| form == word);
            let form = form.or_else(|| value.words.iter().any(|known| known == word).then_some(0))?;
            Some((class, at, form))
        })
    };
    let Some((class, own, form)) = CLASSES.iter().filter(|class| class.is_color).find_map(find) else {
        return Vec::new();
    };
    let others = class.value.iter().enumerate().filter(|(at, _)| *at != own);
    others.filter_map(|(_, value)| value.forms.get(form).map(String::as_str)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::text::normalize::folded;

    #[test]
    fn words_are_folded_and_stand_once() {
        let mut seen = HashSet::new();
        for (kind, entry) in UNITS.kinds.iter().enumerate() {
            assert!(UNITS.kinds[..kind].iter().all(|other| other.name != entry.name), "{}", entry.name);
            for word in entry.unit.iter().flat_map(|unit| &unit.words) {
                assert!(folded(word) == *word && seen.insert(word), "{word}");
            }
        }
        assert_eq!(index_unit(any_unit("кг").unwrap().kind), Some("g"));
        for class in CLASSES.iter() {
            assert!(class.value.len() >= 2 && class.value.len() < 256, "{}", class.name);
            for value in &class.value {
                let of_marks = !class.augment_only && !value.augment_only;
                assert!(!of_marks || !value.words.is_empty(), "{} {value:?}", class.name);
                assert!(value.words.iter().chain(&value.forms).all(|word| folded(word) == *word), "{value:?}");
            }
        }
    }

    #[test]
    fn values_of_a_class_exclude_each_other() {
        for (a, b, is) in [
            ("белая", "черный", true),
            ("белая", "белый", false),
            ("blk", "white", true),
            ("black", "blk", false),
            ("лимон", "яблоко", true),
            ("sata", "nvme", true),
            ("dry", "oily", true),
            ("dry", "black", false),
            ("зернах", "молотый", true),
            ("зерновой", "зернах", false),
            ("гель", "черный", false),
        ] {
            assert_eq!(conflict(values_of(&stem(a)), values_of(&stem(b))), is, "{a} {b}");
        }
    }

    #[test]
    fn colors_keep_their_form() {
        assert!(other_colors("белая").contains(&"черная") && !other_colors("белая").contains(&"белая"));
        assert!(other_colors("grey").contains(&"black") && !other_colors("grey").contains(&"gray"));
        assert!(other_colors("дуб").contains(&"орех") && other_colors("гель").is_empty());
    }

    #[test]
    fn other_units_are_of_the_same_kind_and_alphabet() {
        let names = |word| other_units(word).into_iter().map(|other| other.0).collect::<Vec<_>>();
        assert_eq!(names("литра"), ["мл"]);
        assert_eq!(names("kg"), ["mg", "g"]);
        assert!(names("шт").is_empty() && names("гель").is_empty());
        assert!(unit("oz").is_none() && any_unit("oz").is_some());
    }
}
