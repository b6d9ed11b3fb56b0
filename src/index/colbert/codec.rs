//! Vectors in few bytes: the number of the nearest centroid, and what is left over in 2 or 4 bits a value (Santhanam et al., "ColBERTv2", NAACL
//! 2022, section 3.3).
//!
//! Centroids are found and vectors assigned on two levels, as in an inverted file of cells: first the nearest cells, then the nearest centroid of
//! these. So a vector is compared with about `8 sqrt(k)` centroids and not with `k`. All draws are of one seed, sums run in a fixed order.

use std::cmp::Ordering;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::nn::Dtype;
use crate::nn::kernels::{self, Left, Out, Panels};

/// Centroids that need no cells.
const FLAT: usize = 512;
/// Cells whose centroids a vector is compared with.
const CELLS: usize = 6;
/// Rounds of k-means.
const ROUNDS: usize = 5;
/// Vectors that a thread assigns at once.
const ROWS: usize = 512;

/// Some vectors of one length, packed for products with others.
pub(super) struct Table {
    dim: usize,
    count: usize,
    panels: Panels,
}

impl Table {
    pub(super) fn new(vectors: &[f32], dim: usize) -> Self {
        let (count, mut panels) = (vectors.len() / dim, Panels::default());
        panels.from_packed_rows(Dtype::F32, bytemuck::cast_slice(vectors), dim, count, dim);
        Table { dim, count, panels }
    }
    /// Products of rows `[m, dim]` with all of them, `[m, count]`.
    fn products(&self, rows: &[f32], out: &mut Vec<f32>) {
        out.resize(rows.len() / self.dim * self.count, 0.0);
        self.products_apart(rows, out, self.count);
    }
    /// The same, rows of the result `stride` apart.
    pub(super) fn products_apart(&self, rows: &[f32], out: &mut [f32], stride: usize) {
        let m = rows.len() / self.dim;
        let left = Left { packed: bytemuck::cast_slice(rows), stride: self.dim, rows: m, scale: &[] };
        kernels::product(left, &self.panels, None, Out::Write(out), stride);
    }
    /// The number of the nearest one to each row, by product, and the product.
    fn nearest(&self, rows: &[f32]) -> Vec<(u32, f32)> {
        let chunks = rows.par_chunks(ROWS * self.dim).map(|rows| {
            let mut products = Vec::new();
            self.products(rows, &mut products);
            products.chunks_exact(self.count).map(best).collect::<Vec<_>>()
        });
        chunks.collect::<Vec<_>>().concat()
    }
}

/// The place of the largest value, the first of equal ones.
fn best(values: &[f32]) -> (u32, f32) {
    let mut top = (0, values[0]);
    for (at, value) in values.iter().enumerate() {
        if *value > top.1 {
            top = (at as u32, *value);
        }
    }
    top
}

/// The places of the `n` largest values, best first.
fn largest(values: &[f32], n: usize) -> Vec<u32> {
    let order = |a: &u32, b: &u32| values[*b as usize].total_cmp(&values[*a as usize]).then(a.cmp(b));
    let mut places: Vec<u32> = (0..values.len() as u32).collect();
    if n < places.len() {
        places.select_nth_unstable_by(n, order);
        places.truncate(n);
    }
    places.sort_unstable_by(order);
    places
}

/// To length 1; a vector of zeros stays.
pub(in crate::index) fn normalize(vector: &mut [f32]) {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x /= length);
    }
}

/// Lloyd's rounds from `k` rows drawn at random: centroids of length 1, `[k, dim]`, and the number of the nearest one to each row.
fn k_means(rows: &[f32], dim: usize, k: usize, rng: &mut ChaCha8Rng) -> (Vec<f32>, Vec<u32>) {
    let n = rows.len() / dim;
    let k = k.clamp(1, n.max(1));
    let row = |at: usize| &rows[at * dim..][..dim];
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(rng);
    let mut centroids: Vec<f32> = order[..k].iter().flat_map(|&at| row(at)).copied().collect();
    let mut nearest = Vec::new();
    for round in 0..=ROUNDS {
        nearest = Table::new(&centroids, dim).nearest(rows).into_iter().map(|(at, _)| at).collect();
        if round == ROUNDS {
            break;
        }
        let (mut sums, mut counts) = (vec![0f32; k * dim], vec![0u32; k]);
        for (at, &own) in nearest.iter().enumerate() {
            counts[own as usize] += 1;
            kernels::add(&mut sums[own as usize * dim..][..dim], row(at));
        }
        for (sum, count) in sums.chunks_exact_mut(dim).zip(counts) {
            if count == 0 {
                sum.copy_from_slice(row(rng.random_range(0..n)));
            }
            normalize(sum);
        }
        centroids = sums;
    }
    (centroids, nearest)
}

/// Centroids, by cell.
pub(in crate::index) struct Clusters {
    dim: usize,
    /// `[k, dim]`.
    pub(in crate::index) centroids: Vec<f32>,
    cells: Option<(Table, Vec<Table>)>,
    /// The first centroid of each cell.
    starts: Vec<u32>,
    flat: Option<Table>,
}

impl Clusters {
    /// About `k` centroids of sampled vectors `[n, dim]`, `n > 0`.
    pub(in crate::index) fn train(sample: &[f32], dim: usize, k: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let n = sample.len() / dim;
        let k = k.min(n);
        if k <= FLAT {
            let (centroids, _) = k_means(sample, dim, k, &mut rng);
            let flat = Some(Table::new(&centroids, dim));
            return Clusters { dim, centroids, cells: None, starts: Vec::new(), flat };
        }
        // the cells are found on a part of the sample
        let part = (256 * (k as f64).sqrt() as usize).min(n);
        let (coarse, _) = k_means(&sample[..part * dim], dim, (k as f64).sqrt() as usize, &mut rng);
        let table = Table::new(&coarse, dim);
        let mut members = vec![Vec::new(); table.count];
        for (at, (cell, _)) in table.nearest(sample).into_iter().enumerate() {
            members[cell as usize].extend_from_slice(&sample[at * dim..][..dim]);
        }
        let cells = members.into_par_iter().zip(coarse.par_chunks_exact(dim)).enumerate().map(|(cell, (rows, own))| {
            let wanted = (k as f64 * (rows.len() / dim) as f64 / n as f64).round() as usize;
            let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(1 + cell as u64));
            if rows.is_empty() { own.to_vec() } else { k_means(&rows, dim, wanted, &mut rng).0 }
        });
        let cells: Vec<Vec<f32>> = cells.collect();
        let starts = cells.iter().scan(0, |start, cell| {
            *start += (cell.len() / dim) as u32;
            Some(*start - (cell.len() / dim) as u32)
        });
        let starts = starts.collect();
        let tables = cells.iter().map(|cell| Table::new(cell, dim)).collect();
        Clusters { dim, centroids: cells.concat(), cells: Some((table, tables)), starts, flat: None }
    }

    /// The number of a near centroid, the nearest one in most cases, for each of some vectors `[m, dim]`.
    pub(in crate::index) fn assign(&self, vectors: &[f32]) -> Vec<u32> {
        let dim = self.dim;
        if let Some(flat) = &self.flat {
            return flat.nearest(vectors).into_iter().map(|(at, _)| at).collect();
        }
        let Some((coarse, tables)) = &self.cells else { return Vec::new() };
        let chunks = vectors.par_chunks(ROWS * dim).map(|rows| {
            let (mut products, mut asked) = (Vec::new(), vec![Vec::new(); tables.len()]);
            coarse.products(rows, &mut products);
            for (row, products) in products.chunks_exact(coarse.count).enumerate() {
                largest(products, CELLS).into_iter().for_each(|cell| asked[cell as usize].push(row));
            }
            let mut found = vec![(u32::MAX, f32::MIN); rows.len() / dim];
            let mut own = Vec::new();
            for (cell, asked) in asked.iter().enumerate().filter(|(_, asked)| !asked.is_empty()) {
                own.clear();
                asked.iter().for_each(|row| own.extend_from_slice(&rows[row * dim..][..dim]));
                tables[cell].products(&own, &mut products);
                for (row, products) in asked.iter().zip(products.chunks_exact(tables[cell].count)) {
                    let (at, value) = best(products);
                    if value > found[*row].1 {
                        found[*row] = (self.starts[cell] + at, value);
                    }
                }
            }
            found.into_iter().map(|(at, _)| at).collect::<Vec<_>>()
        });
        chunks.collect::<Vec<_>>().concat()
    }
}

/// Rounds in which steps are moved.
const MOVES: usize = 100;

/// What a value that is left over becomes: one of `2^bits` steps, placed so that the mean square of what they lose is least (Lloyd, "Least squares
/// quantization in PCM", IEEE Transactions on Information Theory, 1982). Refused: steps that occur equally often, as in ColBERTv2: at 4 bits they
/// lose two and a half times as much of normally distributed values, since the rare large ones share two steps.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Steps {
    pub(super) bits: usize,
    /// Where each step ends but for the last, in ascending order, `[2^bits - 1]`.
    pub(super) cuts: Vec<f32>,
    /// The value of each step, `[2^bits]`.
    pub(super) values: Vec<f32>,
}

impl Steps {
    /// Of values that were left over.
    pub(super) fn of(mut left_over: Vec<f32>, bits: usize) -> Self {
        left_over.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
        let (count, n) = (1usize << bits, left_over.len());
        if n == 0 {
            return Steps { bits, cuts: vec![0.0; count - 1], values: vec![0.0; count] };
        }
        let sums: Vec<f64> = std::iter::once(0.0)
            .chain(left_over.iter().scan(0.0, |sum, x| {
                *sum += f64::from(*x);
                Some(*sum)
            }))
            .collect();
        let at = |share: f64| left_over[((share * n as f64) as usize).min(n - 1)];
        let mut cuts: Vec<f32> = (1..count).map(|i| at(i as f64 / count as f64)).collect();
        let mut values: Vec<f32> = (0..count).map(|i| at((i as f64 + 0.5) / count as f64)).collect();
        for _ in 0..MOVES {
            let mut start = 0;
            for (value, cut) in values.iter_mut().zip(cuts.iter().map(Some).chain([None])) {
                let end = cut.map_or(n, |cut| left_over.partition_point(|x| x <= cut));
                if end > start {
                    *value = ((sums[end] - sums[start]) / (end - start) as f64) as f32;
                }
                start = end;
            }
            let moved: Vec<f32> = values.windows(2).map(|pair| 0.5 * (pair[0] + pair[1])).collect();
            if moved == cuts {
                break;
            }
            cuts = moved;
        }
        Steps { bits, cuts, values }
    }

    /// Bytes of a vector.
    pub(super) fn bytes(&self, dim: usize) -> usize {
        (dim * self.bits).div_ceil(8)
    }

    /// Adds a vector's bytes: what its centroid leaves over.
    pub(super) fn encode(&self, vector: &[f32], centroid: &[f32], to: &mut Vec<u8>) {
        let (each, start) = (8 / self.bits, to.len());
        to.resize(start + self.bytes(vector.len()), 0);
        for (k, (x, c)) in vector.iter().zip(centroid).enumerate() {
            let step = self.cuts.partition_point(|cut| *cut < x - c) as u8;
            to[start + k / each] |= step << (k % each * self.bits);
        }
    }

    /// The values of each byte, `[256, 8 / bits]`.
    pub(super) fn table(&self) -> Vec<f32> {
        let (each, mask) = (8 / self.bits, (1usize << self.bits) - 1);
        (0..256 * each).map(|i| self.values[(i / each) >> (i % each * self.bits) & mask]).collect()
    }
}

/// A vector of its bytes and centroid; what it is to be multiplied by to get length 1 is given back. `table` is [`Steps::table`], `each` values a byte.
pub(super) fn decode(bytes: &[u8], centroid: &[f32], table: &[f32], each: usize, to: &mut [f32]) -> f32 {
    match each {
        2 => spread::<2>(bytes, table, to),
        _ => spread::<4>(bytes, table, to),
    }
    kernels::add(to, centroid);
    let length = kernels::squares(to).sqrt();
    if length > 0.0 { 1.0 / length } else { 1.0 }
}

/// The values of some bytes, `N` a byte; of the last one perhaps fewer.
fn spread<const N: usize>(bytes: &[u8], table: &[f32], to: &mut [f32]) {
    let Some(values) = table.as_chunks::<N>().0.first_chunk::<256>() else { return };
    let (whole, rest) = to.as_chunks_mut::<N>();
    whole.iter_mut().zip(bytes).for_each(|(to, byte)| *to = values[usize::from(*byte)]);
    if let Some(byte) = bytes.get(whole.len()) {
        rest.copy_from_slice(&values[usize::from(*byte)][..rest.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(n: usize, dim: usize, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut all: Vec<f32> = (0..n * dim).map(|_| rng.random_range(-1.0..1.0)).collect();
        all.chunks_exact_mut(dim).for_each(normalize);
        all
    }

    #[test]
    fn vectors_around_centres_are_assigned_to_them_on_one_level_and_on_two() {
        let (dim, mut rng) = (24, ChaCha8Rng::seed_from_u64(3));
        for k in [40, 900] {
            let centres = unit(k, dim, 1);
            let mut all = Vec::new();
            for at in 0..20 * k {
                let centre = &centres[at % k * dim..][..dim];
                let mut v: Vec<f32> = centre.iter().map(|x| x + rng.random_range(-0.02f32..0.02)).collect();
                normalize(&mut v);
                all.extend(v);
            }
            let clusters = Clusters::train(&all, dim, 2 * k, 7);
            let codes = clusters.assign(&all);
            let cosine = |at: usize| {
                let (v, c) = (&all[at * dim..][..dim], &clusters.centroids[codes[at] as usize * dim..][..dim]);
                v.iter().zip(c).map(|(a, b)| a * b).sum::<f32>()
            };
            let near = (0..20 * k).filter(|at| cosine(*at) > 0.9).count();
            assert!(near > 17 * k, "{k}: {near} of {}", 20 * k);
            assert_eq!(Clusters::train(&all, dim, 2 * k, 7).centroids, clusters.centroids, "the same each time");
        }
    }

    #[test]
    fn more_bits_lose_less_and_bytes_come_back() {
        let dim = 21;
        let (vectors, centroids) =
            (unit(200, dim, 4), unit(200, dim, 4).iter().map(|x| x * 0.8 + 0.01).collect::<Vec<_>>());
        let error = |bits: usize| {
            let left: Vec<f32> = vectors.iter().zip(&centroids).map(|(v, c)| v - c).collect();
            let steps = Steps::of(left, bits);
            let (mut bytes, table) = (Vec::new(), steps.table());
            let mut sum = 0.0;
            for (v, c) in vectors.chunks_exact(dim).zip(centroids.chunks_exact(dim)) {
                bytes.clear();
                steps.encode(v, c, &mut bytes);
                assert_eq!(bytes.len(), (dim * bits).div_ceil(8));
                let mut back = vec![0.0; dim];
                let by = decode(&bytes, c, &table, 8 / bits, &mut back);
                sum += back.iter().zip(v).map(|(a, b)| (by * a - b).powi(2)).sum::<f32>();
            }
            sum / 200.0
        };
        let (two, four) = (error(2), error(4));
        assert!(four < two && four < 1e-3, "{two} {four}");
    }

    #[test]
    fn steps_lose_as_little_as_can_be() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut normal = || -> f32 { (0..12).map(|_| rng.random_range(-0.5f32..0.5)).sum() };
        let values: Vec<f32> = (0..50_000).map(|_| normal()).collect();
        for (bits, least) in [(2, 0.1175), (4, 0.0095)] {
            let steps = Steps::of(values.clone(), bits);
            let lost = |x: &f32| (x - steps.values[steps.cuts.partition_point(|cut| cut < x)]).powi(2);
            let lost = values.iter().map(lost).sum::<f32>() / values.len() as f32;
            // Lloyd's and Max's figures for a normal distribution; the sum of twelve has lighter tails
            assert!(lost < 1.03 * least && lost > 0.8 * least, "{bits} bits: {lost}");
        }
        // one value, and none
        assert_eq!(Steps::of(vec![0.5; 9], 2).values, [0.5; 4]);
        assert_eq!(Steps::of(Vec::new(), 4).values, [0.0; 16]);
    }
}
