//! What is drawn from a generator, by integer arithmetic.

use rand::Rng;

pub(super) fn below(rng: &mut impl Rng, n: usize) -> usize {
    (rng.next_u64() % n.max(1) as u64) as usize
}

pub(super) fn chance(rng: &mut impl Rng, probability: f64) -> bool {
    ((rng.next_u64() >> 11) as f64) < probability * (1u64 << 53) as f64
}

/// `mean` on average: its whole part, and one more with the chance of the rest.
pub(super) fn times(rng: &mut impl Rng, mean: f64) -> usize {
    let mean = mean.clamp(0.0, 100.0);
    mean as usize + usize::from(chance(rng, mean.fract()))
}

pub(super) fn pick<'a, T>(items: &'a [T], rng: &mut impl Rng) -> Option<&'a T> {
    items.get(below(rng, items.len()))
}
