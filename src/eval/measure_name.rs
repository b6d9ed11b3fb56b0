//! Names of measures to measures and back, in ir-measures' syntax: `Name(parameter=value, ...)@cutoff`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::Gain;
use super::measure::{Kind, Measure};
use crate::{Error, Result};

/// A name, its other spelling, what it names, whether it has a cutoff, and its parameters.
type Known = (&'static str, &'static str, Kind, Cutoff, &'static [&'static str]);

#[derive(Clone, Copy, PartialEq)]
enum Cutoff {
    None,
    Optional,
    Needed,
}

const KNOWN: [Known; 11] = [
    ("nDCG", "NDCG", Kind::Ndcg, Cutoff::Optional, &["dcg", "gains", "judged_only"]),
    ("RR", "MRR", Kind::ReciprocalRank, Cutoff::Optional, &["rel", "judged_only"]),
    ("AP", "MAP", Kind::AveragePrecision, Cutoff::Optional, &["rel", "judged_only"]),
    ("P", "Precision", Kind::Precision, Cutoff::Needed, &["rel", "judged_only"]),
    ("R", "Recall", Kind::Recall, Cutoff::Needed, &["rel", "judged_only"]),
    ("Success", "Success", Kind::Success, Cutoff::Needed, &["rel", "judged_only"]),
    ("ERR", "ERR", Kind::ExpectedReciprocalRank, Cutoff::Optional, &[]),
    ("Judged", "Judged", Kind::Judged, Cutoff::Optional, &[]),
    ("Rprec", "RPrec", Kind::RPrecision, Cutoff::None, &["rel", "judged_only"]),
    ("Bpref", "BPref", Kind::Bpref, Cutoff::None, &["rel"]),
    ("RBP", "RBP", Kind::RankBiasedPrecision, Cutoff::Optional, &["rel", "p"]),
];
const EXAMPLES: &str = "for example nDCG@10, nDCG(dcg='exp-log2')@10, AP(rel=2), RR@10, R@1000, RBP(p=0.5)";
/// RBP's persistence in ir-measures.
const PERSISTENCE: f64 = 0.8;

impl Measure {
    /// The measures of a text: names divided by spaces or commas.
    ///
    /// # Errors
    /// As of one name; no name at all.
    pub fn list(text: &str) -> Result<Vec<Measure>> {
        let names: Vec<&str> = pieces(text, |c| c == ',' || c.is_whitespace()).into_iter().collect();
        if names.is_empty() {
            return Err(Error::setting("measure", text, format!("is empty; {EXAMPLES}")));
        }
        names.into_iter().map(str::parse).collect()
    }
}

/// The trimmed pieces between separators that are in no bracket or quote; empty ones are left out.
fn pieces(text: &str, is_separator: impl Fn(char) -> bool) -> Vec<&str> {
    let (mut depth, mut quote, mut start, mut pieces) = (0i32, None, 0, Vec::new());
    for (i, c) in text.char_indices() {
        match c {
            '\'' | '"' if quote.is_none() => quote = Some(c),
            _ if quote == Some(c) => quote = None,
            _ if quote.is_some() => {}
            '(' | '{' => depth += 1,
            ')' | '}' => depth -= 1,
            _ if depth == 0 && is_separator(c) => {
                pieces.push(&text[start..i]);
                start = i + c.len_utf8();
            }
            _ => {}
        }
    }
    pieces.push(&text[start..]);
    pieces.into_iter().map(str::trim).filter(|piece| !piece.is_empty()).collect()
}

impl FromStr for Measure {
    type Err = Error;

    /// # Errors
    /// A name that is not known; a parameter that the measure does not have; a value that is none; a cutoff that is missing.
    fn from_str(text: &str) -> Result<Measure> {
        let bad = |what: String| Error::setting("measure", text, what);
        let (rest, cutoff) = match text.trim().rsplit_once('@') {
            Some((rest, cutoff)) => (rest, Some(cutoff)),
            None => (text.trim(), None),
        };
        let (name, parameters) = match rest.split_once('(') {
            Some((name, inner)) => {
                let inner =
                    inner.strip_suffix(')').ok_or_else(|| bad(format!("a bracket is not closed; {EXAMPLES}")))?;
                (name, inner)
            }
            None => (rest, ""),
        };
        let known = KNOWN.iter().find(|known| name == known.0 || name == known.1);
        let Some((name, _, kind, takes_cutoff, has)) = known else {
            let names: Vec<&str> = KNOWN.iter().map(|known| known.0).collect();
            return Err(bad(format!("no measure that is known; there are {}; {EXAMPLES}", names.join(", "))));
        };
        let cutoff = match (cutoff, takes_cutoff) {
            (Some(_), Cutoff::None) => return Err(bad(format!("{name} has no cutoff; write {name}"))),
            (None, Cutoff::Needed) => return Err(bad(format!("{name} needs a cutoff; write {name}@10"))),
            (None, _) => None,
            (Some(k), _) => match k.trim().parse() {
                Ok(k) if k > 0 => Some(k),
                _ => return Err(bad(format!("the cutoff {k} is no whole number above 0; {EXAMPLES}"))),
            },
        };
        let mut measure = Measure {
            kind: *kind,
            cutoff,
            rel: None,
            judged_only: false,
            gain: Gain::Linear,
            gains: BTreeMap::new(),
            persistence: PERSISTENCE,
        };
        for parameter in pieces(parameters, |c| c == ',') {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let (key, value) = (key.trim(), value.trim());
            if !has.contains(&key) {
                let has = if has.is_empty() { "none".into() } else { has.join(", ") };
                return Err(bad(format!("{name} has no parameter {key}; it has {has}")));
            }
            measure.set(key, value).ok_or_else(|| bad(format!("{key} can't be {value:?}; {EXAMPLES}")))?;
        }
        Ok(measure)
    }
}

impl Measure {
    /// Sets a parameter; `None` where the value is none of its values.
    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "rel" => self.rel = Some(value.parse().ok()?),
            "judged_only" => self.judged_only = value.to_lowercase().parse().ok()?,
            "dcg" => {
                self.gain = match value.trim_matches(['\'', '"']) {
                    "log2" => Gain::Linear,
                    "exp-log2" => Gain::Exponential,
                    _ => return None,
                }
            }
            "gains" => {
                for piece in pieces(value.strip_prefix('{')?.strip_suffix('}')?, |c| c == ',') {
                    let (from, to) = piece.split_once(':')?;
                    self.gains.insert(from.trim().parse().ok()?, to.trim().parse().ok()?);
                }
            }
            _ => self.persistence = value.parse().ok().filter(|p| (0.0..1.0).contains(p))?,
        }
        Some(())
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parameters = Vec::new();
        if self.gain == Gain::Exponential {
            parameters.push("dcg='exp-log2'".to_string());
        }
        // as in ir-measures a grade that stays itself is not named
        let gains: Vec<String> =
            self.gains.iter().filter(|(from, to)| from != to).map(|(from, to)| format!("{from}:{to}")).collect();
        if !gains.is_empty() {
            parameters.push(format!("gains={{{}}}", gains.join(",")));
        }
        if let Some(rel) = self.rel.filter(|rel| *rel != 1 || self.kind == Kind::RankBiasedPrecision) {
            parameters.push(format!("rel={rel}"));
        }
        if self.persistence != PERSISTENCE {
            parameters.push(format!("p={}", self.persistence));
        }
        if self.judged_only {
            parameters.push("judged_only=True".into());
        }
        let name = KNOWN.iter().find(|known| known.2 == self.kind).map_or("", |known| known.0);
        f.write_str(name)?;
        if !parameters.is_empty() {
            write!(f, "({})", parameters.join(","))?;
        }
        self.cutoff.map_or(Ok(()), |k| write!(f, "@{k}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_printed_as_in_ir_measures() {
        for (typed, printed) in [
            ("nDCG@10", "nDCG@10"),
            ("NDCG", "nDCG"),
            ("nDCG(dcg='exp-log2')@20", "nDCG(dcg='exp-log2')@20"),
            ("nDCG(dcg=exp-log2)@20", "nDCG(dcg='exp-log2')@20"),
            ("nDCG(dcg=\"log2\")", "nDCG"),
            ("nDCG(gains={0: 0, 1: 1, 2: 3}, judged_only=True)@10", "nDCG(gains={2:3},judged_only=True)@10"),
            ("MRR@10", "RR@10"),
            ("MAP(rel=2)@100", "AP(rel=2)@100"),
            ("AP(rel=1)", "AP"),
            ("RBP(rel=1,p=0.5)", "RBP(rel=1,p=0.5)"),
            ("Recall@1000", "R@1000"),
            ("BPref", "Bpref"),
        ] {
            let measure: Measure = typed.parse().unwrap();
            assert_eq!(measure.to_string(), printed, "{typed}");
            assert_eq!(printed.parse::<Measure>().unwrap().to_string(), printed);
        }
        let listed = Measure::list("nDCG(gains={1:2}, judged_only=True)@10 AP,P@5").unwrap();
        let names: Vec<String> = listed.iter().map(Measure::to_string).collect();
        assert_eq!(names, ["nDCG(gains={1:2},judged_only=True)@10", "AP", "P@5"]);
    }

    #[test]
    fn what_is_no_measure_is_refused_with_a_way_out() {
        for (typed, parts) in [
            ("F1", &["no measure that is known", "nDCG, RR, AP"][..]),
            ("P", &["P needs a cutoff", "P@10"]),
            ("Rprec@5", &["Rprec has no cutoff"]),
            ("nDCG@ten", &["cutoff ten"]),
            ("nDCG@0", &["cutoff 0"]),
            ("nDCG(rel=2)@10", &["no parameter rel", "dcg, gains, judged_only"]),
            ("nDCG(dcg=ln)@10", &["dcg can't be \"ln\""]),
            ("AP(rel=high)", &["rel can't be"]),
            ("AP(rel=2", &["bracket is not closed"]),
            ("RBP(p=1.5)", &["p can't be"]),
            ("ERR(rel=1)", &["it has none"]),
        ] {
            let said = typed.parse::<Measure>().unwrap_err().to_string();
            assert!(parts.iter().all(|part| said.contains(part)) && said.contains(typed), "{said}");
        }
        assert!(Measure::list(" , ").is_err());
    }
}
