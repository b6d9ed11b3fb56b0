//! Values that separate siblings on a shop's shelf apart from numbers and codes: a scent, a surface, an interface, who it is for.
//!
//! Real lists of matches have few of these, so made pairs are given one of the [`lexicon`].

use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

use crate::text::lexicon::{self, Class, Language};
use crate::text::normalize::folded;

/// The same value for both sides in phrases of their own, or two values of one class; none if the text has one already.
pub(super) fn draw(language: Language, text: &str, same: bool, rng: &mut impl Rng) -> Option<[&'static str; 2]> {
    let classes: Vec<&Class> = lexicon::classes(language).collect();
    let class = *classes.choose(rng)?;
    let text = format!(" {} ", folded(text));
    let is_in_text = |phrase: &String| text.contains(&format!(" {}", folded(phrase.trim_end_matches('.'))));
    if class.value.iter().flat_map(|value| &value.phrases).any(is_in_text) {
        return None;
    }
    let values: Vec<&[String]> = class.value.iter().map(|v| v.phrases.as_slice()).filter(|v| !v.is_empty()).collect();
    let one = rng.random_range(0..values.len());
    let other = if same { one } else { (one + rng.random_range(1..values.len())) % values.len() };
    Some([values[one].choose(rng)?, values[other].choose(rng)?])
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::tests::rng;
    use super::*;
    use crate::text::overlap::{differing_tokens, excludes};

    fn all_classes() -> impl Iterator<Item = &'static Class> {
        lexicon::classes(Language::Russian).chain(lexicon::classes(Language::English))
    }

    fn values(class: &Class) -> Vec<&[String]> {
        class.value.iter().map(|v| v.phrases.as_slice()).filter(|v| !v.is_empty()).collect()
    }

    #[test]
    fn values_of_a_class_exclude_each_other() {
        for class in all_classes() {
            let values = values(class);
            let of = |value: &[String]| value.iter().map(|phrase| folded(phrase)).collect::<HashSet<_>>();
            assert!(values.len() >= 2, "{}", class.name);
            for (i, a) in values.iter().enumerate() {
                assert!(values[..i].iter().all(|b| of(a).is_disjoint(&of(b))), "{values:?}");
            }
        }
    }

    #[test]
    fn phrases_of_one_value_do_not_differ_for_marks_and_two_values_are_not_the_same() {
        let mut faults = Vec::new();
        for class in all_classes() {
            let values = values(class);
            for (i, one) in values.iter().enumerate() {
                for (j, other) in values.iter().enumerate() {
                    for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (a, b))) {
                        if i == j {
                            if excludes(a, b) {
                                faults.push(format!("{}: `{a}` and `{b}` mean the same", class.name));
                            }
                        } else {
                            let (of_a, of_b) = differing_tokens(a, b);
                            if of_a.is_empty() && of_b.is_empty() {
                                faults.push(format!("{}: `{a}` and `{b}` do not differ", class.name));
                            }
                        }
                    }
                }
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn a_value_for_both_or_two_of_one_class() {
        let of = |phrase: &str| {
            let of_class = |class: &'static Class| class.value.iter().filter(|v| v.phrases.iter().any(|p| p == phrase));
            all_classes().flat_map(of_class).map(|value| format!("{value:?}")).collect::<HashSet<_>>()
        };
        let mut seen = HashSet::new();
        for seed in 0..400 {
            let language = if seed % 2 == 0 { Language::Russian } else { Language::English };
            let [a, b] = draw(language, "гель 5 л", true, &mut rng(seed)).unwrap();
            assert!(!of(a).is_disjoint(&of(b)), "{a} {b}");
            seen.insert(a);
            let [a, b] = draw(language, "гель 5 л", false, &mut rng(seed)).unwrap();
            assert!(a != b, "{a}");
        }
        assert!(seen.len() > 100);
        let color = |[a, _]: [&'static str; 2]| a.contains("красн") || a.contains("коричн");
        let drawn = |seed| draw(Language::Russian, "Эмаль Белая", true, &mut rng(seed));
        assert!((0..400).filter_map(drawn).all(|two| !color(two)));
    }
}
