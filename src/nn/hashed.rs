//! Reformer's hashed attention (Kitaev et al., "Reformer: The Efficient Transformer", ICLR 2020): a token attends to those whose queries point the same
//! way, so that the cost of a sequence grows with its length and not with the square of it.
//!
//! Queries are keys too (a key is its query of length 1). A round draws a random rotation, and a token's bucket is the axis that its query turns out to
//! be nearest to. Tokens sorted by bucket (then by place) are cut into chunks; each attends to its chunk and to the one before (the first to the last).
//! A token attends to itself only where nothing else is there. The rounds are one softmax over all that they saw: each is weighed by the
//! exponential of the log of its sum, and what is seen twice counts twice. There is no scale beyond the keys' length, as in the reference.
//!
//! A sequence of at most a chunk is one chunk, and so dense. The rotations come from a seed, a layer, a head and a round, so the same model
//! gives the same bits. Refused: reversible layers (a layer here keeps packed words of few arrays), dropout of the probabilities.

use serde::{Deserialize, Serialize};

use super::slices::{add_scaled, dot};

/// How tokens are hashed. In `config.json`, `hashed_attention`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hashed {
    /// Tokens of a chunk; there are about as many buckets as chunks.
    #[serde(default = "chunk")]
    pub chunk: usize,
    /// Rounds of hashing.
    #[serde(default = "rounds")]
    pub rounds: usize,
    /// What the rotations are drawn from.
    #[serde(default)]
    pub seed: u64,
}

fn chunk() -> usize {
    64
}
fn rounds() -> usize {
    2
}

/// The score of a token with itself.
const ITSELF: f32 = -1e5;

/// Uniform numbers from a seed (SplitMix64), as pairs of normal ones (Box and Muller).
struct Normal {
    state: u64,
    other: Option<f64>,
}

impl Normal {
    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
    fn next(&mut self) -> f64 {
        if let Some(other) = self.other.take() {
            return other;
        }
        let (size, angle) = ((-2.0 * (1.0 - self.uniform()).ln()).sqrt(), std::f64::consts::TAU * self.uniform());
        self.other = Some(size * angle.sin());
        size * angle.cos()
    }
}

/// Tokens of a round, chunk after chunk.
type Order = Vec<usize>;

/// What the forward pass of one head knows of each query: the largest score, the sum of exponentials, and the result `[t, d]`.
struct Head {
    most: Vec<f32>,
    sum: Vec<f32>,
    out: Vec<f32>,
}

impl Hashed {
    /// That of another layer.
    pub(super) fn at(self, layer: usize) -> Self {
        Hashed { seed: self.seed.wrapping_add((layer as u64) << 32), ..self }
    }

    /// The rotations of a head, `[rounds]` of `[buckets / 2, d]`, for a sequence of `t` tokens.
    fn rotations(&self, head: usize, t: usize, d: usize) -> Vec<Vec<f32>> {
        let axes = t.div_ceil(2 * self.chunk);
        let of = |round: usize| {
            let state = self.seed ^ ((head as u64) << 16 | round as u64).wrapping_mul(0xD134_2543_DE82_EF95);
            let mut normal = Normal { state, other: None };
            (0..axes * d).map(|_| normal.next() as f32).collect()
        };
        (0..self.rounds).map(of).collect()
    }

    /// The tokens by bucket and place.
    fn order(rotation: &[f32], q: &[f32], d: usize) -> Order {
        let bucket = |q: &[f32]| {
            let (mut best, mut most) = (0, f32::NEG_INFINITY);
            let axes = rotation.len() / d;
            for (axis, turned) in rotation.chunks_exact(d).map(|row| dot(row, q)).enumerate() {
                for (bucket, value) in [(axis, turned), (axes + axis, -turned)] {
                    // of equal ones the first
                    if value > most || (value == most && bucket < best) {
                        (best, most) = (bucket, value);
                    }
                }
            }
            best
        };
        let buckets: Vec<usize> = q.chunks_exact(d).map(bucket).collect();
        let mut order: Order = (0..buckets.len()).collect();
        order.sort_by_key(|&token| (buckets[token], token));
        order
    }

    /// Each query of a round with the tokens that it sees.
    fn each(&self, order: &[usize], queries: usize, mut see: impl FnMut(usize, [&[usize]; 2])) {
        let chunks: Vec<&[usize]> = order.chunks(self.chunk).collect();
        for (i, own) in chunks.iter().enumerate() {
            let before = if chunks.len() > 1 { chunks[i.checked_sub(1).unwrap_or(chunks.len() - 1)] } else { &[] };
            own.iter().filter(|query| **query < queries).for_each(|query| see(*query, [before, own]));
        }
    }

    /// Queries of length 1.
    fn keys(q: &[f32], d: usize) -> (Vec<f32>, Vec<f32>) {
        let lengths: Vec<f32> = q.chunks_exact(d).map(|q| dot(q, q).sqrt().max(1e-6)).collect();
        let keys = q.chunks_exact(d).zip(&lengths).flat_map(|(q, length)| q.iter().map(move |x| x / length));
        (keys.collect(), lengths)
    }

    fn head(&self, orders: &[Order], q: &[f32], keys: &[f32], v: &[f32], queries: usize, d: usize) -> Head {
        let (mut most, mut sum, mut out) =
            (vec![f32::NEG_INFINITY; queries], vec![0f32; queries], vec![0f32; queries * d]);
        let mut scores = Vec::new();
        for order in orders {
            self.each(order, queries, |query, seen| {
                let seen = || seen.iter().flat_map(|part| part.iter().copied());
                let asks = &q[query * d..][..d];
                scores.clear();
                scores.extend(seen().map(|key| match key == query {
                    true => ITSELF,
                    false => dot(asks, &keys[key * d..][..d]),
                }));
                let (before, out) = (most[query], &mut out[query * d..][..d]);
                most[query] = scores.iter().copied().fold(before, f32::max);
                let by = (before - most[query]).exp();
                sum[query] *= by;
                out.iter_mut().for_each(|x| *x *= by);
                for (key, score) in seen().zip(&scores) {
                    let share = (score - most[query]).exp();
                    sum[query] += share;
                    add_scaled(out, share, &v[key * d..][..d]);
                }
            });
        }
        for (out, sum) in out.chunks_exact_mut(d).zip(&sum) {
            // a token past those that are looked at has none
            out.iter_mut().for_each(|x| *x /= sum.max(f32::MIN_POSITIVE));
        }
        Head { most, sum, out }
    }

    fn orders(rotations: &[Vec<f32>], q: &[f32], d: usize) -> Vec<Order> {
        rotations.iter().map(|rotation| Self::order(rotation, q, d)).collect()
    }

    /// One head of a sequence: queries and values `[t, d]` to the results of the first `queries` tokens, `[queries, d]`.
    pub(super) fn forward(&self, head: usize, q: &[f32], v: &[f32], queries: usize, d: usize) -> Vec<f32> {
        let rotations = self.rotations(head, q.len() / d, d);
        self.head(&Self::orders(&rotations, q, d), q, &Self::keys(q, d).0, v, queries, d).out
    }

    /// The gradients of queries and values, `[t, d]` each, from that of the results `d_out [queries, d]`. The order has none.
    pub(super) fn backward(&self, head: usize, q: &[f32], v: &[f32], d_out: &[f32], d: usize) -> [Vec<f32>; 2] {
        let rotations = self.rotations(head, q.len() / d, d);
        self.backward_with(&Self::orders(&rotations, q, d), q, v, d_out, d)
    }

    fn backward_with(&self, orders: &[Order], q: &[f32], v: &[f32], d_out: &[f32], d: usize) -> [Vec<f32>; 2] {
        let queries = d_out.len() / d;
        let (keys, lengths) = Self::keys(q, d);
        let Head { most, sum, out } = self.head(orders, q, &keys, v, queries, d);
        let (mut d_q, mut d_keys, mut d_v) = (vec![0f32; q.len()], vec![0f32; q.len()], vec![0f32; q.len()]);
        for order in orders {
            self.each(order, queries, |query, seen| {
                let (asks, grad) = (&q[query * d..][..d], &d_out[query * d..][..d]);
                let mean = dot(grad, &out[query * d..][..d]);
                for key in seen.iter().flat_map(|part| part.iter().copied()) {
                    let place = key * d..(key + 1) * d;
                    let score = if key == query { ITSELF } else { dot(asks, &keys[place.clone()]) };
                    let share = (score - most[query]).exp() / sum[query];
                    add_scaled(&mut d_v[place.clone()], share, grad);
                    if key != query {
                        let d_score = share * (dot(grad, &v[place.clone()]) - mean);
                        add_scaled(&mut d_q[query * d..][..d], d_score, &keys[place.clone()]);
                        add_scaled(&mut d_keys[place], d_score, asks);
                    }
                }
            });
        }
        // through the keys' length
        for (token, length) in lengths.iter().enumerate() {
            let place = token * d..(token + 1) * d;
            let (key, d_key) = (&keys[place.clone()], &d_keys[place.clone()]);
            let along = dot(key, d_key);
            for ((to, d_key), key) in d_q[place].iter_mut().zip(d_key).zip(key) {
                *to += (d_key - along * key) / length;
            }
        }
        [d_q, d_v]
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn draw(seed: u64, n: usize) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n).map(|_| rng.random_range(-1.0..1.0f32)).collect()
    }

    fn assert_near(what: &str, got: &[f32], wanted: &[f32]) {
        assert_eq!(got.len(), wanted.len(), "{what}");
        for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
            assert!((got - wanted).abs() < 1e-4, "{what}, value {i}: {got}, wanted {wanted}");
        }
    }

    #[derive(Deserialize)]
    struct Case {
        chunk: usize,
        d: usize,
        q: Vec<f32>,
        v: Vec<f32>,
        d_out: Vec<f32>,
        /// `[rounds]` of `[axes, d]`.
        rotations: Vec<Vec<f32>>,
        orders: Vec<Vec<usize>>,
        out: Vec<f32>,
        d_q: Vec<f32>,
        d_v: Vec<f32>,
    }

    #[test]
    fn orders_results_and_gradients_are_those_of_the_reference() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/golden/hashed/expected.json")).unwrap();
        assert!(cases.len() > 4);
        for (i, case) in cases.iter().enumerate() {
            let hashed = Hashed { chunk: case.chunk, rounds: case.rotations.len(), seed: 0 };
            let orders = Hashed::orders(&case.rotations, &case.q, case.d);
            assert_eq!(orders, case.orders, "case {i}");
            let queries = case.d_out.len() / case.d;
            let keys = Hashed::keys(&case.q, case.d).0;
            let out = hashed.head(&orders, &case.q, &keys, &case.v, queries, case.d).out;
            assert_near("out", &out, &case.out);
            let [d_q, d_v] = hashed.backward_with(&orders, &case.q, &case.v, &case.d_out, case.d);
            assert_near("d_q", &d_q, &case.d_q);
            assert_near("d_v", &d_v, &case.d_v);
        }
    }

    #[test]
    fn one_chunk_is_dense_attention_of_shared_queries_and_keys() {
        let (t, d) = (40, 8);
        let (q, v) = (draw(1, t * d), draw(2, t * d));
        let keys = Hashed::keys(&q, d).0;
        let mut wanted = Vec::new();
        for i in 0..t {
            let share = |j: usize| if i == j { 0.0 } else { dot(&q[i * d..][..d], &keys[j * d..][..d]).exp() };
            let sum: f32 = (0..t).map(share).sum();
            wanted.extend((0..d).map(|c| (0..t).map(|j| share(j) * v[j * d + c]).sum::<f32>() / sum));
        }
        for rounds in [1, 3] {
            // rounds that see the same count the same
            let hashed = Hashed { chunk: t, rounds, seed: 5 };
            assert_near("dense", &hashed.forward(0, &q, &v, t, d), &wanted);
        }
        let hashed = Hashed { chunk: 8, rounds: 2, seed: 5 };
        assert!(hashed.forward(0, &q, &v, t, d) != wanted, "chunks of 8 leave something out");
    }

    #[test]
    fn a_token_alone_takes_its_own_value_and_a_seed_gives_the_same_bits() {
        let (q, v) = (draw(1, 8), draw(2, 8));
        let alone = Hashed { chunk: 4, rounds: 2, seed: 1 };
        assert_near("alone", &alone.forward(0, &q, &v, 1, 8), &v);
        let (t, d) = (300, 16);
        let (q, v) = (draw(3, t * d), draw(4, t * d));
        let of = |seed: u64, head: usize| Hashed { chunk: 16, rounds: 2, seed }.forward(head, &q, &v, t, d);
        assert_eq!(of(1, 0), of(1, 0));
        assert!(of(1, 0) != of(2, 0) && of(1, 0) != of(1, 1), "seed and head draw other rotations");
        // the first token alone is the first row of all
        let first = Hashed { chunk: 16, rounds: 2, seed: 1 }.forward(0, &q, &v, 1, d);
        assert_eq!(first, of(1, 0)[..d]);
    }

    #[test]
    fn tokens_that_point_the_same_way_find_each_other() {
        // pairs of near copies, far apart in the sequence: a round of few buckets finds most of them
        let (half, d) = (128, 32);
        let ways = draw(7, half * d);
        let near: Vec<f32> = ways.iter().zip(draw(8, half * d)).map(|(x, noise)| x + 0.02 * noise).collect();
        let q = [&ways[..], &near].concat();
        let hashed = Hashed { chunk: 16, rounds: 4, seed: 3 };
        let mut found = vec![false; half];
        for rotation in hashed.rotations(0, 2 * half, d) {
            // the chunk before is seen, the one after is not: either of the two may find the other
            hashed.each(&Hashed::order(&rotation, &q, d), 2 * half, |query, seen| {
                let other = (query + half) % (2 * half);
                found[query % half] |= seen.iter().any(|part| part.contains(&other));
            });
        }
        let share = found.iter().filter(|f| **f).count();
        assert!(share > half * 9 / 10, "{share} of {half}");
    }
}
