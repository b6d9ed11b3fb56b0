//! Fisher's randomisation test (1935): if the two rankers were the same, each query's difference could as well have the other
//! sign. How often do signs drawn at random give a mean at least as far from 0? No distribution is assumed.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Resampling;

/// The two-sided p. All signs are tried where that is no more than `rounds`; else `rounds` draws, which count themselves too,
/// so that p is never 0.
pub fn fisher(differences: &[f64], resampling: Resampling) -> f64 {
    let moved: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    let total: f64 = moved.iter().map(|d| d.abs()).sum();
    // sums that differ by rounding alone are equal
    let bound = moved.iter().sum::<f64>().abs() - 1e-12 * total;
    if let Some(all) = 1usize.checked_shl(moved.len() as u32).filter(|all| *all <= resampling.rounds) {
        let signed = |signs: usize| -> f64 {
            moved.iter().enumerate().map(|(i, d)| if signs >> i & 1 == 1 { -d } else { *d }).sum()
        };
        return (0..all).filter(|signs| signed(*signs).abs() >= bound).count() as f64 / all as f64;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(resampling.seed);
    let mut count = 0u64;
    for _ in 0..resampling.rounds {
        let mut sum = 0.0;
        for word in moved.chunks(64) {
            let signs: u64 = rng.random();
            for (i, d) in word.iter().enumerate() {
                sum += if signs >> i & 1 == 1 { -d } else { *d };
            }
        }
        count += u64::from(sum.abs() >= bound);
    }
    (count + 1) as f64 / (resampling.rounds + 1) as f64
}
