//! Splits for sets that have none.

use sha2::{Digest, Sha256};

use super::recipe::SplitRatios;
use crate::ranker::Input;
use crate::records::{PairSet, Split};
use crate::text::normalize::collapsed;
use crate::text::{TextConfig, plain_text};

/// Gives a split to pairs that have none; all pairs of one left text stay together.
pub(super) fn assign(set: &mut PairSet, config: &TextConfig, ratios: SplitRatios) {
    let PairSet { left, pairs, .. } = set;
    for pair in pairs.iter_mut().filter(|p| p.split.is_none()) {
        let text = collapsed(&plain_text(config, Input::Record(&left[pair.left as usize])));
        let hash = Sha256::digest(text.as_bytes());
        let at = f64::from(u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]])) / f64::from(u32::MAX);
        pair.split = Some(match at {
            _ if at < ratios.test => Split::Test,
            _ if at < ratios.test + ratios.valid => Split::Valid,
            _ => Split::Train,
        });
    }
}
