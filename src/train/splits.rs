//! Splits for sets that have none, and validation for sets that have a train part and no validation part.

use sha2::{Digest, Sha256};

use super::recipe::SplitRatios;
use crate::ranker::Input;
use crate::records::{Pair, PairSet, Record, Split};
use crate::text::normalize::collapsed;
use crate::text::{TextConfig, plain_text};

/// Gives a split to pairs that have none; all pairs of one left text stay together.
pub(super) fn assign(set: &mut PairSet, config: &TextConfig, ratios: SplitRatios) {
    let PairSet { left, pairs, .. } = set;
    for pair in pairs.iter_mut().filter(|p| p.split.is_none()) {
        let at = place(config, &left[pair.left as usize]);
        pair.split = Some(match at {
            _ if at < ratios.test => Split::Test,
            _ if at < ratios.test + ratios.valid => Split::Valid,
            _ => Split::Train,
        });
    }
}

/// Makes a share of the train pairs the validation of a set that has none; all pairs of one left text stay together.
pub(super) fn divide_train(set: &mut PairSet, config: &TextConfig, ratios: SplitRatios) {
    let PairSet { left, pairs, .. } = set;
    let has = |pairs: &[Pair], split| pairs.iter().any(|pair| pair.split == Some(split));
    if has(pairs, Split::Valid) || !has(pairs, Split::Train) {
        return;
    }
    for pair in pairs.iter_mut().filter(|p| p.split == Some(Split::Train)) {
        if place(config, &left[pair.left as usize]) < ratios.valid {
            pair.split = Some(Split::Valid);
        }
    }
}

/// A number from 0 to 1 that a record's text alone decides.
fn place(config: &TextConfig, record: &Record) -> f64 {
    let text = collapsed(&plain_text(config, Input::Record(record)));
    let hash = Sha256::digest(text.as_bytes());
    f64::from(u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]])) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_without_validation_gets_a_share_of_its_train_pairs() {
        let record = |i: usize| Record {
            id: i.to_string(),
            columns: ["t".to_string()].into(),
            values: vec![format!("text {}", i / 2)],
        };
        let left: Vec<Record> = (0..400).map(record).collect();
        let pair = |i: u32| Pair {
            left: i,
            right: 0,
            grade: Some(1.0),
            split: Some(if i < 300 { Split::Train } else { Split::Test }),
        };
        let mut set = PairSet { right: vec![record(0)], pairs: (0..400).map(pair).collect(), left };
        divide_train(&mut set, &TextConfig::default(), SplitRatios::default());
        let count = |split| set.pairs.iter().filter(|p| p.split == Some(split)).count();
        assert!((40..80).contains(&count(Split::Valid)) && count(Split::Test) == 100, "{}", count(Split::Valid));
        assert!(set.pairs[..300].chunks(2).all(|same| same[0].split == same[1].split), "one text, one part");
        let before = set.pairs.clone();
        divide_train(&mut set, &TextConfig::default(), SplitRatios::default());
        assert_eq!(set.pairs, before, "a set with validation stays as it is");
    }
}
