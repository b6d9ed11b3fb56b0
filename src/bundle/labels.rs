//! What a plain folder's classifier says, from the words of its `config.json` and of sentence-transformers' files.
//!
//! A score is high for a match. With two labels that is the logit of the one that means a match less that of the other, so `id2label` decides:
//! `{"0": "match", "1": "no match"}` is turned round, words that say neither are refused. Without words (`LABEL_0`) label 1 is the match,
//! as everybody trains it.

use std::path::Path;

use serde_json::Value;

use super::directory::{CONFIG, read_json};
use crate::nn::Weights;
use crate::nn::weights::Array;
use crate::{Error, Result};

/// Starts of words that deny. They are looked for first: `not_duplicate` has both.
const NO: [&str; 24] = [
    "not", "non", "no", "diff", "distinct", "mismatch", "unmatch", "unrelat", "irrelev", "neg", "contra", "false",
    "dissim", "unequal", "neutral", "other", "unlike", "random", "inequal", "нет", "не", "разн", "друг", "ложь",
];
/// Starts of words that affirm.
const YES: [&str; 20] = [
    "match",
    "same",
    "dup",
    "equal",
    "equiv",
    "similar",
    "relev",
    "relat",
    "pos",
    "true",
    "yes",
    "entail",
    "para",
    "identical",
    "да",
    "совпад",
    "дубл",
    "одинак",
    "тот",
    "истин",
];

/// A classifier that can't score as it is.
pub(super) type Refusal = Option<(&'static str, &'static str, String, &'static str)>;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Meaning {
    Match,
    None,
    Unsaid,
}

fn meaning(label: &str) -> Meaning {
    let lower = label.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).collect();
    let any = |starts: &[&str]| words.iter().any(|word| starts.iter().any(|start| word.starts_with(start)));
    match lower.trim() {
        "1" => Meaning::Match,
        "0" => Meaning::None,
        _ if any(&NO) => Meaning::None,
        _ if any(&YES) => Meaning::Match,
        _ => Meaning::Unsaid,
    }
}

/// The names of labels, in order; none where `config.json` has none or they are `LABEL_0` and so on.
fn names(config: &Value) -> Vec<String> {
    let Some(map) = config.get("id2label").and_then(Value::as_object) else { return Vec::new() };
    let name = |id: usize| map.get(&id.to_string()).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_string));
    let names: Vec<String> = (0..map.len()).map_while(name).collect();
    let unnamed = names.iter().enumerate().all(|(id, name)| *name == format!("LABEL_{id}"));
    if unnamed { Vec::new() } else { names }
}

/// Puts the label that means a match last, or says why the classifier can't score.
pub(super) fn order(config: &Value, weights: &mut Weights) -> Refusal {
    let rows = weights.0.get("classifier.weight").and_then(|head| head.shape.first()).copied()?;
    let names = names(config);
    let said = names.iter().map(|name| meaning(name)).collect::<Vec<_>>();
    let remedy = "say in id2label which label means a match: {\"0\": \"no match\", \"1\": \"match\"}";
    if !names.is_empty() && names.len() != rows {
        let what = format!("has {} names ({}), and the classifier {rows} rows", names.len(), names.join(", "));
        return Some((CONFIG, "id2label", what, "give a config.json and weights that belong together"));
    }
    match (rows, said.as_slice()) {
        (1, [Meaning::None]) => {
            let what = format!("calls the one label {}: a high score would mean no match", names[0]);
            Some((CONFIG, "id2label", what, "train a model whose label means a match"))
        }
        (2, [Meaning::Match, Meaning::None | Meaning::Unsaid] | [Meaning::Unsaid, Meaning::None]) => {
            for name in ["classifier.weight", "classifier.bias"] {
                weights.0.entry(name.into()).and_modify(reverse);
            }
            None
        }
        (2, [Meaning::None, _] | [Meaning::Unsaid, Meaning::Match] | []) => match said.as_slice() {
            [Meaning::None, Meaning::None] => {
                Some((CONFIG, "id2label", format!("calls both labels a non-match: {}", names.join(", ")), remedy))
            }
            _ => None,
        },
        (2, _) => {
            let what = format!("does not say which label means a match: {}", names.join(", "));
            Some((CONFIG, "id2label", what, remedy))
        }
        (3.., _) => {
            let list = if names.is_empty() { "unnamed".into() } else { names.join(", ") };
            let what = format!("has {rows} labels ({list}); a matcher has one, or two (no match, match)");
            let remedy = "give a model of one or two labels, or let training start from this one";
            Some((super::arrays::WEIGHTS, "classifier.weight", what, remedy))
        }
        _ => None,
    }
}

/// Two rows in the other order.
fn reverse(array: &mut Array) {
    let half = array.len() / 2;
    if array.shape.first() == Some(&2) {
        array.values_mut().rotate_left(half);
    }
}

/// What sentence-transformers' CrossEncoder does besides its modules ([`super::modular`]), where that can't be done here.
pub(super) fn cross_encoder(dir: &Path, config: &Value) -> Result<Refusal> {
    let modules = read_json(&dir.join("modules.json"))?.unwrap_or_default();
    let own = read_json(&dir.join("config_sentence_transformers.json"))?.unwrap_or_default();
    let own = if modules.is_null() || own["model_type"] != "CrossEncoder" { Value::Null } else { own };
    let of_config = config.pointer("/sentence_transformers/activation_fn");
    let activation = own.get("activation_fn").or(of_config).or(config.get("sbert_ce_default_activation_function"));
    if let Some(name) = activation.and_then(Value::as_str)
        && name.starts_with("torch.")
        && !name.ends_with(".Sigmoid")
        && !name.ends_with(".Identity")
    {
        let what = format!("is {name}: scores would not be logits; known are Sigmoid and Identity");
        return Ok(Some((CONFIG, "activation_fn", what, "set it to torch.nn.modules.activation.Sigmoid")));
    }
    if let Some(name) = own.get("default_prompt_name").and_then(Value::as_str) {
        let what = format!("is {name}: a text would be put before each query");
        let remedy = "set it to null and write the prompt into the texts";
        return Ok(Some(("config_sentence_transformers.json", "default_prompt_name", what, remedy)));
    }
    Ok(None)
}

/// An error out of a refusal.
pub(super) fn refused(dir: &Path, refusal: &Refusal) -> Result<()> {
    match refusal {
        Some((file, key, what, remedy)) => Err(Error::model(&dir.join(file), *key, what.clone(), *remedy)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What becomes of a head with these names: its rows' first values, or the refusal.
    fn ordered(names: &[&str]) -> Result<Vec<f32>, String> {
        let rows = names.len();
        let mut weights = Weights::default();
        let values = (0..rows).map(|row| row as f32).collect();
        weights.0.insert("classifier.weight".into(), Array::new(vec![rows, 1], values));
        let map: serde_json::Map<_, _> = names.iter().enumerate().map(|(i, n)| (i.to_string(), json!(n))).collect();
        match order(&json!({"id2label": map}), &mut weights) {
            Some((_, key, what, _)) => Err(format!("{key}: {what}")),
            None => Ok(weights.0["classifier.weight"].values().to_vec()),
        }
    }

    #[test]
    fn the_label_that_means_a_match_is_last() {
        for names in [
            ["LABEL_0", "LABEL_1"],
            ["no match", "match"],
            ["not_duplicate", "duplicate"],
            ["0", "1"],
            ["different", "A"],
        ] {
            assert_eq!(ordered(&names), Ok(vec![0.0, 1.0]), "{names:?}");
        }
        for names in [
            ["match", "no_match"],
            ["entailment", "not_entailment"],
            ["duplicate", "B"],
            ["A", "mismatch"],
            ["1", "0"],
            ["ДУБЛЬ", "разные"],
        ] {
            assert_eq!(ordered(&names), Ok(vec![1.0, 0.0]), "{names:?}");
        }
        for names in [["A", "B"], ["same", "equal"], ["different", "not the same"]] {
            assert!(ordered(&names).is_err_and(|e| e.starts_with("id2label: ") && e.contains(names[0])), "{names:?}");
        }
    }

    #[test]
    fn one_label_and_three_are_named() {
        assert_eq!(ordered(&["similarity"]), Ok(vec![0.0]));
        assert!(ordered(&["different"]).is_err_and(|e| e.contains("no match")));
        let three = ordered(&["contradiction", "entailment", "neutral"]).unwrap_err();
        assert_eq!(
            three,
            "classifier.weight: has 3 labels (contradiction, entailment, neutral); a matcher has one, or two (no match, match)"
        );
    }
}
