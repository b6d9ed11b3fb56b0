//! Which pairs stand together in a step.
//!
//! Token sequences are packed, so nothing is lost to padding; pairs of like length still go together, since attention's
//! workspace and the balance of work between threads follow the longest sequence. Pairs are shuffled by `(seed, epoch)`,
//! sorted by length within stretches of some batches, cut into batches, and the batches are shuffled: batches differ in
//! length but not in order of length. A batch whose tokens exceed the bound is cut into pieces whose gradients are added,
//! so the bound limits memory and not the mathematics. Refused: sorting the whole epoch (the same pairs would meet in
//! every epoch), and a batch size counted in tokens (the learning rate would depend on the texts' length).

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::seed::{Purpose, generator};
use crate::models::Example;

/// Batches in a stretch that is sorted by length.
const STRETCH: usize = 16;

/// What is done about matches being rarer than the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassBalance {
    /// Nothing.
    #[default]
    None,
    /// Pairs weigh more or less, so that matches carry the wanted share of the weight.
    Weight,
    /// Matches come several times an epoch, until they make up the wanted share of the pairs.
    Oversample,
}

fn is_match(example: &Example) -> bool {
    example.target > 0.5
}

/// What a match and a non-match weigh so that matches carry `share` of the weight while the mean stays 1.
pub fn class_weights(examples: &[Example], share: f64) -> (f32, f32) {
    let matches = examples.iter().filter(|e| is_match(e)).count();
    let rest = examples.len() - matches;
    if matches == 0 || rest == 0 {
        return (1.0, 1.0);
    }
    let total = examples.len() as f64;
    ((share * total / matches as f64) as f32, ((1.0 - share) * total / rest as f64) as f32)
}

/// Every index once, and matches as often as it takes to be `share` of the list (never less than once). The rest of the
/// division is drawn again each epoch.
pub fn oversampled(is_match: &[bool], share: f64, seed: u64, epoch: u64) -> Vec<u32> {
    let mut all: Vec<u32> = (0..is_match.len() as u32).collect();
    let mut matches: Vec<u32> = all.iter().copied().filter(|&i| is_match[i as usize]).collect();
    let rest = all.len() - matches.len();
    if matches.is_empty() || rest == 0 || share >= 1.0 {
        return all;
    }
    let wanted = (share / (1.0 - share) * rest as f64).round() as usize;
    matches.shuffle(&mut generator(&[seed, epoch, Purpose::Oversample as u64]));
    let more = wanted.saturating_sub(matches.len());
    all.extend(matches.iter().cycle().take(more));
    all
}

/// The steps of an epoch: each a list of pieces, each a list of indices into `lengths` (tokens of each pair). A step
/// holds `accumulate` batches of `batch` pairs; a piece holds at most `tokens` tokens, or one pair.
pub fn plan(
    drawn: &[u32],
    lengths: &[u32],
    batch: usize,
    accumulate: usize,
    tokens: usize,
    seed: u64,
    epoch: u64,
) -> Vec<Vec<Vec<u32>>> {
    let mut rng = generator(&[seed, epoch, Purpose::Order as u64]);
    let mut order = drawn.to_vec();
    order.shuffle(&mut rng);
    let mut batches: Vec<Vec<u32>> = Vec::with_capacity(order.len() / batch + 1);
    for stretch in order.chunks_mut(STRETCH * batch) {
        stretch.sort_by_key(|&i| lengths[i as usize]);
        batches.extend(stretch.chunks(batch).map(<[u32]>::to_vec));
    }
    batches.shuffle(&mut rng);
    let steps = batches.chunks(accumulate);
    steps.map(|step| step.iter().flat_map(|batch| pieces(batch, lengths, tokens)).collect()).collect()
}

fn pieces(batch: &[u32], lengths: &[u32], tokens: usize) -> Vec<Vec<u32>> {
    let mut pieces = vec![Vec::new()];
    let mut held = 0;
    for &i in batch {
        let length = lengths[i as usize] as usize;
        if held > 0 && held + length > tokens {
            pieces.push(Vec::new());
            held = 0;
        }
        held += length;
        if let Some(piece) = pieces.last_mut() {
            piece.push(i);
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(target: f32) -> Example {
        Example { target, ..Example::default() }
    }

    #[test]
    fn an_epoch_holds_every_pair_once_within_the_bound() {
        let lengths: Vec<u32> = (0..103).map(|i| 5 + (i * 37) % 60).collect();
        let drawn: Vec<u32> = (0..103).collect();
        let steps = plan(&drawn, &lengths, 8, 2, 200, 7, 0);
        assert_eq!(steps.len(), 7); // 13 batches in twos
        let mut seen: Vec<u32> = steps.iter().flatten().flatten().copied().collect();
        seen.sort_unstable();
        assert_eq!(seen, drawn);
        for piece in steps.iter().flatten() {
            let tokens: u32 = piece.iter().map(|&i| lengths[i as usize]).sum();
            assert!(tokens <= 200 && !piece.is_empty());
        }
        assert_eq!(steps, plan(&drawn, &lengths, 8, 2, 200, 7, 0));
        assert_ne!(steps, plan(&drawn, &lengths, 8, 2, 200, 7, 1));
        assert_ne!(steps, plan(&drawn, &lengths, 8, 2, 200, 8, 0));
    }

    #[test]
    fn batches_hold_pairs_of_like_length() {
        let lengths: Vec<u32> = (0..512).map(|i| 1 + (i * 211) % 512).collect();
        let drawn: Vec<u32> = (0..512).collect();
        let spread = |steps: &[Vec<Vec<u32>>]| -> f64 {
            let spans = steps.iter().flatten().map(|piece| {
                let l = piece.iter().map(|&i| lengths[i as usize]);
                f64::from(l.clone().max().unwrap_or(0) - l.min().unwrap_or(0))
            });
            spans.sum::<f64>() / steps.len() as f64
        };
        assert!(spread(&plan(&drawn, &lengths, 16, 1, 1 << 20, 3, 0)) < 60.0);
    }

    #[test]
    fn a_pair_longer_than_the_bound_is_a_piece_of_its_own() {
        assert_eq!(pieces(&[0, 2, 1], &[3, 900, 4], 100), vec![vec![0, 2], vec![1]]);
        assert!(pieces(&[], &[], 100).is_empty());
    }

    #[test]
    fn balance_reaches_the_wanted_share() {
        let examples: Vec<Example> = (0..100).map(|i| example(f32::from(u8::from(i < 10)))).collect();
        let labels: Vec<bool> = examples.iter().map(is_match).collect();
        let drawn = oversampled(&labels, 0.3, 1, 0);
        let matches = drawn.iter().filter(|&&i| i < 10).count();
        assert_eq!((matches, drawn.len() - matches), (39, 90));
        let (positive, negative) = class_weights(&examples, 0.5);
        assert!((positive - 5.0).abs() < 1e-6 && (negative - 0.555_555_6).abs() < 1e-6);
        assert_eq!(class_weights(&examples[..10], 0.5), (1.0, 1.0));
        assert_eq!(oversampled(&labels, 0.05, 1, 0).len(), 100);
    }
}
