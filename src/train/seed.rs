//! Randomness without state: every draw comes from a generator seeded by what it is for (`seed, epoch`, or
//! `seed, step, piece`). A resumed run has nothing to restore, and a draw does not depend on how many came before it.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// One number from several (SplitMix64's finaliser over each: Steele et al., "Fast splittable pseudorandom number
/// generators", OOPSLA 2014).
pub fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0x243F_6A88_85A3_08D3, |state, part| {
        let mut z = (state ^ part).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    })
}

/// What a draw is for; its number is part of the generator's seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The order of an epoch's items and batches.
    Order = 0,
    /// Which matches come again.
    Oversample = 1,
    /// Non-matches made for a source of matches only.
    Negatives = 3,
    /// Which of a source's pairs come in an epoch.
    Draw = 4,
    /// Whether a labelled pair's sides are swapped.
    Swap = 5,
    /// Augmented pairs of a record.
    Augment = 6,
    /// Whether an augmented pair's sides are swapped.
    SwapAugmented = 7,
    /// Words that a labelled pair loses.
    WordDropout = 8,
    /// Non-matches that a triple or a tower is trained against.
    Contrast = 9,
    /// Which labels are learnt, where only a share of them is.
    Labels = 10,
    /// Fields that a labelled pair loses.
    FieldDropout = 11,
    /// Spans of a labelled pair that are exchanged.
    SpanSwap = 12,
    /// Texts that pre-training draws in a pass over its sources.
    Texts = 20,
    /// The second text of a pair in pre-training, and whether it is the next one.
    Next = 21,
    /// Which tokens are masked, and by what.
    Mask = 22,
    /// Which held-out texts language models are measured on.
    HeldOutTexts = 23,
}

/// A generator for one purpose.
pub fn generator(parts: &[u64]) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(mix(parts))
}

#[cfg(test)]
mod tests {
    use super::mix;

    #[test]
    fn order_and_length_matter() {
        let all = [mix(&[1, 2]), mix(&[2, 1]), mix(&[1, 2, 0]), mix(&[1]), mix(&[])];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }
}
