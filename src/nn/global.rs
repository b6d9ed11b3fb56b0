//! Longformer's global token (Beltagy et al., arXiv 2004.05150): the first token of a sequence is seen by every other one, whatever their windows,
//! and sees all of them, by queries, keys and values of its own. The others' windows are those of `attention.rs`.
//!
//! One token asks, so keys and values of all tokens need not be computed. With `q` its query in a head, a score is
//! `q (W_k x_j + b_k) = (W_k^T q) x_j + q b_k`, of which the second term is the same for all `j` and falls out of the softmax; and what the head gives
//! is `W_v (sum of p_j x_j) + b_v`, the probabilities' sum being one. So its cost is that of `2 n` products of `h` values with each token, in
//! place of the `2 h` of two projections, and its memory a row of scores a head. All of it is f32, in layers of any precision.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard};

use super::kernels::{self, Left, Out, Panels};
use super::layer_weights::Affine;
use super::slices::{add_scaled, dot};
use super::{Dtype, GradBuffer};

/// Tokens that are looked at together.
const BLOCK: usize = 128;

/// The arrays of a layer's global token, `[h, h]` and `[h]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GlobalWeights<T> {
    /// Its query.
    pub query: Affine<T>,
    /// What it sees of the others.
    pub key: Affine<T>,
    /// What it takes from them.
    pub value: Affine<T>,
}

impl<T> GlobalWeights<T> {
    /// Another thing for each array; stops at an error.
    ///
    /// # Errors
    /// The first error of `of`.
    pub fn try_map<U, E>(self, mut of: impl FnMut(T) -> Result<U, E>) -> Result<GlobalWeights<U>, E> {
        let mut affine = |a: Affine<T>| Ok::<_, E>(Affine { weight: of(a.weight)?, bias: of(a.bias)? });
        Ok(GlobalWeights { query: affine(self.query)?, key: affine(self.key)?, value: affine(self.value)? })
    }
}

/// A layer's window and the arrays of its global token.
#[derive(Debug, Clone)]
pub struct Global {
    /// Tokens on each side that a token sees besides the first one.
    pub window: usize,
    /// Heads, `n`.
    pub heads: usize,
    /// Its arrays.
    pub weights: GlobalWeights<Arc<Vec<f32>>>,
}

/// The same in training.
#[derive(Clone)]
pub struct GlobalParam {
    /// Window and values.
    pub global: Arc<Global>,
    /// Where the gradients go.
    pub grads: GlobalWeights<Arc<Mutex<GradBuffer>>>,
}

/// What one sequence gives to the gradients of [`GlobalWeights`]: the factors of their outer products.
pub(super) struct GlobalGrads {
    /// The token's state and its query, `[h]`.
    x: Vec<f32>,
    q: Vec<f32>,
    d_q: Vec<f32>,
    /// By head, `[n, h]`: the gradient of `W_k^T q`, and the sum of states by probability.
    d_asked: Vec<f32>,
    taken: Vec<f32>,
    /// The sum of each head's probabilities, which dropout changes.
    sums: Vec<f32>,
    d_out: Vec<f32>,
}

/// What the forward pass of one sequence goes through.
struct Pass {
    q: Vec<f32>,
    /// `W_k^T q` by head, `[n, h]`.
    asked: Vec<f32>,
    /// `[n, t]` with `stride`, before dropout and after it.
    probabilities: Vec<f32>,
    dropped: Vec<f32>,
    stride: usize,
    taken: Vec<f32>,
    sums: Vec<f32>,
}

thread_local! {
    static PANELS: RefCell<Panels> = RefCell::default();
}

impl Global {
    fn scale(&self, h: usize) -> f32 {
        1.0 / ((h / self.heads) as f32).sqrt()
    }
    /// `W v` of head by head, `v [n, h]` to `[h]`.
    fn by_rows(&self, weight: &[f32], v: &[f32], h: usize) -> Vec<f32> {
        let d = h / self.heads;
        weight.chunks_exact(h).enumerate().map(|(row, w)| dot(w, &v[row / d * h..][..h])).collect()
    }
    /// `W^T v` of head by head, `v [h]` to `[n, h]`.
    fn by_columns(&self, weight: &[f32], v: &[f32], h: usize) -> Vec<f32> {
        let (d, mut out) = (h / self.heads, vec![0f32; self.heads * h]);
        for (row, w) in weight.chunks_exact(h).enumerate() {
            add_scaled(&mut out[row / d * h..][..h], v[row], w);
        }
        out
    }
    /// `v [n, h]` times the states: `[n, t]` with `stride`.
    fn scores(&self, v: &[f32], x: &[f32], h: usize, stride: usize) -> Vec<f32> {
        let mut out = vec![0f32; self.heads * stride];
        let left = Left { packed: bytemuck::cast_slice(v), stride: h, rows: self.heads, scale: &[] };
        PANELS.with_borrow_mut(|panels| {
            for (block, x) in x.chunks(BLOCK * h).enumerate() {
                panels.from_packed_rows(Dtype::F32, bytemuck::cast_slice(x), h, x.len() / h, h);
                kernels::product(left, panels, None, Out::Write(&mut out[block * BLOCK..]), stride);
            }
        });
        out
    }
    /// Sums of the states by weights `[n, t]` with `stride`: `[n, h]`.
    fn sums(&self, weights: &[f32], stride: usize, x: &[f32], h: usize) -> Vec<f32> {
        let mut out = vec![0f32; self.heads * h];
        PANELS.with_borrow_mut(|panels| {
            for (block, x) in x.chunks(BLOCK * h).enumerate() {
                panels.from_columns(Dtype::F32, x, h, x.len() / h, h);
                let packed = bytemuck::cast_slice(&weights[block * BLOCK..]);
                let left = Left { packed, stride, rows: self.heads, scale: &[] };
                kernels::product(left, panels, None, Out::Add(&mut out), h);
            }
        });
        out
    }
    fn pass(&self, x: &[f32], h: usize, drop: &dyn Fn(&mut [f32], usize)) -> Pass {
        let (t, w) = (x.len() / h, &self.weights);
        let stride = t.next_multiple_of(16);
        let rows = w.query.weight.chunks_exact(h).zip(&*w.query.bias);
        let q: Vec<f32> = rows.map(|(w, b)| dot(w, &x[..h]) + b).collect();
        let asked = self.by_columns(&w.key.weight, &q, h);
        let mut probabilities = self.scores(&asked, x, h, stride);
        kernels::softmax(&mut probabilities, stride, self.heads, t, self.scale(h));
        let mut dropped = probabilities.clone();
        drop(&mut dropped, stride);
        let taken = self.sums(&dropped, stride, x, h);
        let sums = dropped.chunks_exact(stride).map(|row| row[..t].iter().sum()).collect();
        Pass { q, asked, probabilities, dropped, stride, taken, sums }
    }

    /// What the first token of a sequence `x [t, h]` takes from all of it, to `out [h]`. `drop` is given probabilities `[n, t]` and their stride.
    pub(super) fn forward(&self, x: &[f32], out: &mut [f32], drop: &dyn Fn(&mut [f32], usize)) {
        let h = out.len();
        let pass = self.pass(x, h, drop);
        let values = self.by_rows(&self.weights.value.weight, &pass.taken, h);
        let d = h / self.heads;
        for (i, ((out, value), bias)) in out.iter_mut().zip(values).zip(&*self.weights.value.bias).enumerate() {
            *out = value + bias * pass.sums[i / d];
        }
    }

    /// The gradients of `x [t, h]`, added to `d_x`, and those of the arrays, from that of the output `d_out [h]`.
    pub(super) fn backward(
        &self,
        x: &[f32],
        d_out: &[f32],
        d_x: &mut [f32],
        drop: &dyn Fn(&mut [f32], usize),
    ) -> GlobalGrads {
        let (h, n) = (d_out.len(), self.heads);
        let (t, d, w) = (x.len() / h, h / n, &self.weights);
        let Pass { q, asked, probabilities, dropped, stride, taken, sums } = self.pass(x, h, drop);
        let d_taken = self.by_columns(&w.value.weight, d_out, h);
        let mut d_scores = self.scores(&d_taken, x, h, stride);
        for (head, row) in d_scores.chunks_exact_mut(stride).enumerate() {
            let of_bias = dot(&w.value.bias[head * d..][..d], &d_out[head * d..][..d]);
            row[..t].iter_mut().for_each(|value| *value += of_bias);
        }
        drop(&mut d_scores, stride);
        kernels::softmax_backward(&mut d_scores, &probabilities, stride, n, t, self.scale(h));
        let d_asked = self.sums(&d_scores, stride, x, h);
        let d_q = self.by_rows(&w.key.weight, &d_asked, h);
        // each token's share: by what was taken of it, and by what was asked of it
        let both = [&d_taken[..], &asked].concat();
        let mut left = vec![0f32; BLOCK * 2 * n];
        PANELS.with_borrow_mut(|panels| {
            panels.from_columns(Dtype::F32, &both, h, 2 * n, h);
            for (block, d_x) in d_x[..t * h].chunks_mut(BLOCK * h).enumerate() {
                let rows = d_x.len() / h;
                for (row, left) in left.chunks_exact_mut(2 * n).take(rows).enumerate() {
                    let token = block * BLOCK + row;
                    for head in 0..n {
                        left[head] = dropped[head * stride + token];
                        left[n + head] = d_scores[head * stride + token];
                    }
                }
                let left = Left { packed: bytemuck::cast_slice(&left), stride: 2 * n, rows, scale: &[] };
                kernels::product(left, panels, None, Out::Add(d_x), h);
            }
        });
        for (row, w) in w.query.weight.chunks_exact(h).enumerate() {
            add_scaled(&mut d_x[..h], d_q[row], w);
        }
        GlobalGrads { x: x[..h].to_vec(), q, d_q, d_asked, taken, sums, d_out: d_out.to_vec() }
    }
}

fn lock(grad: &Mutex<GradBuffer>) -> MutexGuard<'_, GradBuffer> {
    grad.lock().expect("no panic holds a gradient")
}

impl GlobalGrads {
    /// Adds them to the parameters'. The bias of keys has none.
    pub(super) fn add_to(&self, grads: &GlobalWeights<Arc<Mutex<GradBuffer>>>) {
        let (h, n) = (self.x.len(), self.sums.len());
        let d = h / n;
        let outer = |grad: &Arc<Mutex<GradBuffer>>, by: &[f32], row_of: &dyn Fn(usize) -> usize, of: &[f32]| {
            let mut grad = lock(grad);
            for (row, to) in grad.dense_mut().chunks_exact_mut(h).enumerate() {
                add_scaled(to, by[row], &of[row_of(row) * h..][..h]);
            }
        };
        outer(&grads.query.weight, &self.d_q, &|_| 0, &self.x);
        outer(&grads.key.weight, &self.q, &|row| row / d, &self.d_asked);
        outer(&grads.value.weight, &self.d_out, &|row| row / d, &self.taken);
        kernels::add(lock(&grads.query.bias).dense_mut(), &self.d_q);
        let mut bias = lock(&grads.value.bias);
        for (i, to) in bias.dense_mut().iter_mut().enumerate() {
            *to += self.d_out[i] * self.sums[i / d];
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::attention::Attention;
    use super::*;

    const H: usize = 16;
    const HEADS: usize = 2;

    fn draw(rng: &mut ChaCha8Rng, n: usize) -> Vec<f32> {
        (0..n).map(|_| rng.random_range(-1.0..1.0f32)).collect()
    }

    fn global(window: usize, seed: u64) -> Global {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut affine = || Affine { weight: Arc::new(draw(&mut rng, H * H)), bias: Arc::new(draw(&mut rng, H)) };
        Global { window, heads: HEADS, weights: GlobalWeights { query: affine(), key: affine(), value: affine() } }
    }

    /// Softmax attention of one query over some keys in f64: the result and the probabilities.
    fn dense(q: &[f64], keys: &[&[f64]], values: &[&[f64]]) -> (Vec<f64>, Vec<f64>) {
        let scale = 1.0 / (q.len() as f64).sqrt();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let exp: Vec<f64> = keys.iter().map(|k| (dot(q, k) * scale).exp()).collect();
        let sum: f64 = exp.iter().sum();
        let p: Vec<f64> = exp.iter().map(|e| e / sum).collect();
        let out = (0..q.len()).map(|i| p.iter().zip(values).map(|(p, v)| p * v[i]).sum()).collect();
        (out, p)
    }

    /// What every token but the first gives by the mask written out, and the gradients of `qkv [t, 3h]`, for `d_out [t, h]`.
    fn masked(qkv: &[f32], d_out: &[f32], t: usize, window: usize) -> (Vec<f64>, Vec<f64>) {
        let d = H / HEADS;
        let wide: Vec<f64> = qkv.iter().map(|&x| f64::from(x)).collect();
        let part = |token: usize, part: usize, head: usize| token * 3 * H + part * H + head * d;
        let (mut out, mut grad) = (vec![0.0; t * H], vec![0.0; t * 3 * H]);
        let scale = 1.0 / (d as f64).sqrt();
        for head in 0..HEADS {
            for i in 1..t {
                let seen: Vec<usize> = (0..t).filter(|j| *j == 0 || i.abs_diff(*j) <= window).collect();
                let rows = |of: usize| seen.iter().map(|j| &wide[part(*j, of, head)..][..d]).collect::<Vec<_>>();
                let (keys, values) = (rows(1), rows(2));
                let q = &wide[part(i, 0, head)..][..d];
                let (own, p) = dense(q, &keys, &values);
                out[i * H + head * d..][..d].copy_from_slice(&own);
                let d_own: Vec<f64> = d_out[i * H + head * d..][..d].iter().map(|&x| f64::from(x)).collect();
                let d_p: Vec<f64> = values.iter().map(|v| v.iter().zip(&d_own).map(|(v, g)| v * g).sum()).collect();
                let mean: f64 = p.iter().zip(&d_p).map(|(p, d)| p * d).sum();
                for (at, j) in seen.iter().enumerate() {
                    let d_score = p[at] * (d_p[at] - mean) * scale;
                    for c in 0..d {
                        grad[part(i, 0, head) + c] += d_score * keys[at][c];
                        grad[part(*j, 1, head) + c] += d_score * q[c];
                        grad[part(*j, 2, head) + c] += p[at] * d_own[c];
                    }
                }
            }
        }
        (out, grad)
    }

    fn assert_near(what: &str, got: &[f32], wanted: &[f64], by: f64) {
        assert_eq!(got.len(), wanted.len());
        for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
            assert!((f64::from(*got) - wanted).abs() < by, "{what}, value {i}: {got}, wanted {wanted}");
        }
    }

    fn attention(window: usize, dtype: Dtype) -> Attention<'static> {
        let (dropout, bias, hashed) = (None, None, None);
        Attention { hidden: H, heads: HEADS, dtype, dropout, bias, window: Some(window), global: true, hashed }
    }

    #[test]
    fn windows_and_the_first_token_are_a_dense_attention_with_the_same_mask() {
        // a block alone, windows within one and over several, 4,096 tokens
        for (t, window) in [(5, 1), (70, 100), (200, 3), (300, 70), (4096, 32)] {
            let mut rng = ChaCha8Rng::seed_from_u64(t as u64);
            let (qkv, d_out) = (draw(&mut rng, t * 3 * H), draw(&mut rng, t * H));
            let (wanted, wanted_grad) = masked(&qkv, &d_out, t, window);
            let packed: &[u32] = bytemuck::cast_slice(&qkv);
            let mut out = vec![f32::NAN; t * H];
            attention(window, Dtype::F32).forward(packed, t, t, 0, &mut out, None);
            assert_near("out", &out[H..], &wanted[H..], 1e-5);
            let mut grad = vec![0f32; t * 3 * H];
            attention(window, Dtype::F32).backward(packed, &d_out, t, t, 0, &mut grad, &mut []);
            // the first token's key and value are summed over all
            assert_near("gradient", &grad, &wanted_grad, 2e-4);
            let mut half = vec![0u32; t * kernels::packed_len(Dtype::Bf16, 3 * H)];
            kernels::pack_rows(Dtype::Bf16, &qkv, 3 * H, t, 3 * H, &mut half, &mut []);
            attention(window, Dtype::Bf16).forward(&half, t, t, 0, &mut out, None);
            assert_near("out in bf16", &out[H..], &wanted[H..], 3e-2);
        }
    }

    /// The first token with keys and values of all others written out.
    fn projected(global: &GlobalWeights<Vec<f64>>, x: &[f64]) -> Vec<f64> {
        let project = |affine: &Affine<Vec<f64>>, x: &[f64]| -> Vec<f64> {
            let rows = affine.weight.chunks_exact(H).zip(&affine.bias);
            rows.map(|(w, b)| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + b).collect()
        };
        let q = project(&global.query, &x[..H]);
        let [keys, values] =
            [&global.key, &global.value].map(|a| x.chunks_exact(H).map(|x| project(a, x)).collect::<Vec<_>>());
        let head = |range: Range<usize>| {
            let of = |rows: &'_ [Vec<f64>]| rows.iter().map(|row| row[range.clone()].to_vec()).collect::<Vec<_>>();
            let (keys, values) = (of(&keys), of(&values));
            let slices = |rows: &'_ [Vec<f64>]| rows.to_vec();
            let (keys, values) = (slices(&keys), slices(&values));
            let keys: Vec<&[f64]> = keys.iter().map(Vec::as_slice).collect();
            let values: Vec<&[f64]> = values.iter().map(Vec::as_slice).collect();
            dense(&q[range.clone()], &keys, &values).0
        };
        (0..HEADS).flat_map(|n| head(n * H / HEADS..(n + 1) * H / HEADS)).collect()
    }

    #[test]
    fn the_global_token_is_a_dense_attention_by_its_own_projections_forward_and_backward() {
        let none = |_: &mut [f32], _: usize| {};
        for t in [1, 7, 129, 300] {
            let global = global(4, t as u64);
            let mut rng = ChaCha8Rng::seed_from_u64(100 + t as u64);
            let (x, d_out) = (draw(&mut rng, t * H), draw(&mut rng, H));
            let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
            let weights = global.weights.clone().try_map(|w| Ok::<_, ()>(wide(&w))).unwrap();
            let mut out = vec![f32::NAN; H];
            global.forward(&x, &mut out, &none);
            assert_near("out", &out, &projected(&weights, &wide(&x)), 1e-5);

            let mut d_x = vec![0f32; t * H];
            let grads = global.backward(&x, &d_out, &mut d_x, &none);
            let buffers = global
                .weights
                .clone()
                .try_map(|w| Ok::<_, ()>(Arc::new(Mutex::new(GradBuffer::Zero(w.len())))))
                .unwrap();
            grads.add_to(&buffers);
            // along some directions: of the states, then of each array
            let loss = |weights: &GlobalWeights<Vec<f64>>, x: &[f64]| -> f64 {
                projected(weights, x).iter().zip(&d_out).map(|(y, g)| y * f64::from(*g)).sum()
            };
            let moved = |values: &[f64], way: &[f32], by: f64| {
                values.iter().zip(way).map(|(v, w)| v + by * f64::from(*w)).collect::<Vec<f64>>()
            };
            let slope = |up: f64, down: f64| (up - down) / 2e-4;
            let along = |grad: &[f32], way: &[f32]| {
                grad.iter().zip(way).map(|(g, w)| f64::from(*g) * f64::from(*w)).sum::<f64>()
            };
            for _ in 0..4 {
                let way = draw(&mut rng, t * H);
                let at = |by: f64| loss(&weights, &moved(&wide(&x), &way, by));
                let wanted = slope(at(1e-4), at(-1e-4));
                let got = along(&d_x, &way);
                assert!((got - wanted).abs() < 1e-3 * wanted.abs().max(1.0), "{t}, states: {got}, wanted {wanted}");
            }
            for array in 0..6 {
                let mut seen = 0;
                let mut size = 0;
                let mut got_by = Vec::new();
                let _ = buffers.clone().try_map(|grad| {
                    if seen == array {
                        got_by = grad.lock().unwrap().to_vec();
                        size = got_by.len();
                    }
                    seen += 1;
                    Ok::<_, ()>(())
                });
                let way = draw(&mut rng, size);
                let at = |by: f64| {
                    let mut seen = 0;
                    let moved = weights.clone().try_map(|w| {
                        seen += 1;
                        Ok::<_, ()>(if seen - 1 == array { moved(&w, &way, by) } else { w })
                    });
                    loss(&moved.unwrap(), &wide(&x))
                };
                let (wanted, got) = (slope(at(1e-4), at(-1e-4)), along(&got_by, &way));
                assert!(
                    (got - wanted).abs() < 1e-3 * wanted.abs().max(1.0),
                    "{t}, array {array}: {got}, wanted {wanted}"
                );
            }
        }
    }
}
