//! A matrix that several threads read and change without locks (Recht et al., Hogwild!, NeurIPS 2011).
//!
//! Two values are one 64-bit atomic, read and written with relaxed order: on x86 and ARM plain loads and stores, so nothing is undefined
//! when two threads meet in a row; one of the two changes may be lost, which such training bears. Compilers don't join atomics to vector
//! instructions: pairs halve the number of instructions.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A matrix `[rows, dim]`.
pub struct Shared {
    dim: usize,
    /// Pairs of values; a row of an odd width ends in one that is not used.
    values: Vec<AtomicU64>,
}

#[inline]
fn joined([a, b]: [f32; 2]) -> u64 {
    u64::from(a.to_bits()) | u64::from(b.to_bits()) << 32
}

#[inline]
fn parted(pair: &AtomicU64) -> [f32; 2] {
    let bits = pair.load(Relaxed);
    [f32::from_bits(bits as u32), f32::from_bits((bits >> 32) as u32)]
}

impl Shared {
    /// A matrix of these values, row by row.
    pub fn new(dim: usize, mut values: impl Iterator<Item = f32>) -> Self {
        let mut pairs = Vec::new();
        while let Some(first) = values.next() {
            let mut row = std::iter::once(first).chain(values.by_ref().take(dim - 1));
            while let Some(a) = row.next() {
                pairs.push(AtomicU64::new(joined([a, row.next().unwrap_or(0.0)])));
            }
        }
        Shared { dim, values: pairs }
    }
    #[inline]
    fn row(&self, row: usize) -> &[AtomicU64] {
        let width = self.dim.div_ceil(2);
        &self.values[row * width..][..width]
    }
    /// Reads one value of every cache line of some rows, so that all of them are fetched from memory at once.
    #[inline]
    pub fn touch(&self, rows: &[u32]) {
        const LINE: usize = 8;
        let lines = rows.iter().flat_map(|row| self.row(*row as usize).iter().step_by(LINE));
        std::hint::black_box(lines.fold(0, |sum, pair| sum ^ pair.load(Relaxed)));
    }
    /// Copies a row, `[dim]`.
    #[inline]
    pub fn load(&self, row: usize, to: &mut [f32]) {
        let from = self.row(row);
        let (pairs, rest) = to.as_chunks_mut::<2>();
        pairs.iter_mut().zip(from).for_each(|(to, from)| *to = parted(from));
        rest.iter_mut().for_each(|to| *to = parted(&from[from.len() - 1])[0]);
    }
    /// Adds a row to `to`.
    #[inline]
    pub fn add_to(&self, row: usize, to: &mut [f32]) {
        let from = self.row(row);
        let (pairs, rest) = to.as_chunks_mut::<2>();
        for (to, from) in pairs.iter_mut().zip(from) {
            let [a, b] = parted(from);
            *to = [to[0] + a, to[1] + b];
        }
        rest.iter_mut().for_each(|to| *to += parted(&from[from.len() - 1])[0]);
    }
    /// The product of a row and a vector `[dim]`, without a copy of the row: a vector load right after two narrow stores waits for both.
    #[inline]
    pub fn dot(&self, row: usize, x: &[f32]) -> f32 {
        let from = self.row(row);
        let ((pairs, rest), mut sums) = (x.as_chunks::<2>(), [0f32; 8]);
        let ((from4, from_rest), (x4, x_rest)) = (from[..pairs.len()].as_chunks::<4>(), pairs.as_chunks::<4>());
        for (from, x) in from4.iter().zip(x4) {
            for i in 0..4 {
                let [a, b] = parted(&from[i]);
                sums[2 * i] += a * x[i][0];
                sums[2 * i + 1] += b * x[i][1];
            }
        }
        for (from, x) in from_rest.iter().zip(x_rest) {
            let [a, b] = parted(from);
            sums[0] += a * x[0];
            sums[1] += b * x[1];
        }
        rest.iter().for_each(|x| sums[2] += parted(&from[from.len() - 1])[0] * x);
        sums.iter().sum()
    }
    /// One step of a row that was scored against `x`: adds the row times `error` to `step`, and then `x` times `error` to the row.
    #[inline]
    pub fn learn(&self, row: usize, x: &[f32], error: f32, step: &mut [f32]) {
        let to = self.row(row);
        let ((pairs, rest), (steps, step_rest)) = (x.as_chunks::<2>(), step.as_chunks_mut::<2>());
        for ((to, x), step) in to.iter().zip(pairs).zip(steps) {
            let [a, b] = parted(to);
            *step = [step[0] + a * error, step[1] + b * error];
            to.store(joined([a + x[0] * error, b + x[1] * error]), Relaxed);
        }
        for (x, step) in rest.iter().zip(step_rest) {
            let to = &to[to.len() - 1];
            let a = parted(to)[0];
            *step += a * error;
            to.store(joined([a + x * error, 0.0]), Relaxed);
        }
    }
    /// Adds values to a row.
    #[inline]
    pub fn add(&self, row: usize, values: &[f32]) {
        let to = self.row(row);
        let (pairs, rest) = values.as_chunks::<2>();
        for (to, values) in to.iter().zip(pairs) {
            let [a, b] = parted(to);
            to.store(joined([a + values[0], b + values[1]]), Relaxed);
        }
        for value in rest {
            let to = &to[to.len() - 1];
            to.store(joined([parted(to)[0] + value, 0.0]), Relaxed);
        }
    }
    /// All values, `[rows, dim]`.
    pub fn into_values(self) -> Vec<f32> {
        let dim = self.dim;
        let rows = self.values.chunks_exact(dim.div_ceil(2));
        rows.flat_map(|row| row.iter().flat_map(parted).take(dim).collect::<Vec<_>>()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_even_and_odd_width_are_read_and_changed_alone() {
        for dim in [1, 2, 5, 8] {
            let values: Vec<f32> = (0..3 * dim).map(|i| i as f32).collect();
            let matrix = Shared::new(dim, values.iter().copied());
            let mut row = vec![0.0; dim];
            matrix.load(1, &mut row);
            assert_eq!(row, values[dim..2 * dim]);
            matrix.add_to(2, &mut row);
            matrix.add(0, &row);
            let both = |i: usize| values[dim + i] + values[2 * dim + i];
            let mut expected: Vec<f32> = (0..dim).map(|i| values[i] + both(i)).collect();
            expected.extend(&values[dim..]);
            let product: f32 = (0..dim).map(|i| values[dim + i] * both(i)).sum();
            assert_eq!(matrix.dot(1, &row), product, "{dim}");
            let mut step = vec![1.0; dim];
            matrix.learn(1, &row, 0.5, &mut step);
            assert_eq!(step, (0..dim).map(|i| 1.0 + 0.5 * values[dim + i]).collect::<Vec<_>>(), "{dim}");
            (0..dim).for_each(|i| expected[dim + i] += 0.5 * both(i));
            assert_eq!(matrix.into_values(), expected, "{dim}");
        }
    }
}
