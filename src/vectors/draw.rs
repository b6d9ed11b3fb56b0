//! Draws that cost little: a generator of 64 bits, and words by a power of their counts in constant time (Walker's alias method).

/// SplitMix64 (Steele et al., OOPSLA 2014).
pub struct Draw(pub u64);

impl Draw {
    /// The next 64 bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// A number from 0 to below 1.
    #[inline]
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 24) as f32
    }
    /// A number from 0 to below `n`.
    #[inline]
    pub fn below(&mut self, n: usize) -> usize {
        (((self.bits() >> 32) * n as u64) >> 32) as usize
    }
}

/// Draws words with the probability of their count to the power of 3/4.
pub struct Noise {
    /// For each place: below which number the place itself is meant, and which word else.
    cells: Vec<(f32, u32)>,
}

impl Noise {
    /// Of counts.
    pub fn new(counts: impl Iterator<Item = u64>) -> Self {
        let weights: Vec<f64> = counts.map(|count| (count as f64).powf(0.75)).collect();
        let mean = weights.iter().sum::<f64>() / weights.len().max(1) as f64;
        let mut rest: Vec<f64> = weights.iter().map(|w| w / mean).collect();
        let mut cells: Vec<(f32, u32)> = (0..rest.len() as u32).map(|i| (1.0, i)).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..rest.len()).partition(|i| rest[*i] < 1.0);
        while let (Some(s), Some(&l)) = (small.pop(), large.last()) {
            cells[s] = (rest[s] as f32, l as u32);
            rest[l] -= 1.0 - rest[s];
            if rest[l] < 1.0 {
                large.pop();
                small.push(l);
            }
        }
        Noise { cells }
    }
    /// A word.
    #[inline]
    pub fn word(&self, draw: &mut Draw) -> u32 {
        let place = draw.below(self.cells.len());
        let (own, other) = self.cells[place];
        if draw.unit() < own { place as u32 } else { other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_as_often_as_their_counts_say() {
        let counts = [1000u64, 100, 10, 1, 1];
        let (noise, mut draw) = (Noise::new(counts.into_iter()), Draw(7));
        let mut seen = [0f64; 5];
        (0..200_000).for_each(|_| seen[noise.word(&mut draw) as usize] += 1.0);
        let all: f64 = counts.iter().map(|c| (*c as f64).powf(0.75)).sum();
        for (seen, count) in seen.iter().zip(counts) {
            let expected = 200_000.0 * (count as f64).powf(0.75) / all;
            assert!((seen - expected).abs() < 5.0 * expected.sqrt() + 5.0, "{seen} {expected}");
        }
    }
}
