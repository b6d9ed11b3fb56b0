//! MaxSim, the score of late interaction: each token of a query takes the document's token that is most like it, and these products are summed
//! (Khattab and Zaharia, "ColBERT", SIGIR 2020).
//!
//! [`Query`] scores documents one by one, exactly, from f32, bfloat16 or half precision, by a kernel of its own. [`MaxSim`] is the same as an
//! operation of candle's graph, for many queries and documents at once: it keeps which token was taken, and the gradient goes there alone.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::Dtype;
use super::kernels::{self, Left, Out, Panels, QUERY_TOKENS};

/// A query's vectors, laid out for the kernel.
pub struct Query {
    dim: usize,
    tokens: usize,
    /// `[groups, dim, QUERY_TOKENS]`; lanes past the last token repeat zeros and are not summed.
    packed: Vec<f32>,
}

/// A document's vectors, `[n, dim]`, as they are stored.
#[derive(Debug, Clone, Copy)]
pub enum Stored<'a> {
    /// f32.
    F32(&'a [f32]),
    /// bfloat16.
    Bf16(&'a [u16]),
    /// IEEE's half precision; no infinite value.
    F16(&'a [u16]),
}

impl Query {
    /// A query of vectors `[m, dim]`.
    ///
    /// # Panics
    /// If the values are no whole number of vectors.
    pub fn new(vectors: &[f32], dim: usize) -> Self {
        assert!(dim > 0 && vectors.len().is_multiple_of(dim), "{} values of vectors {dim} wide", vectors.len());
        let tokens = vectors.len() / dim;
        let mut packed = vec![0f32; tokens.div_ceil(QUERY_TOKENS) * dim * QUERY_TOKENS];
        for (token, vector) in vectors.chunks_exact(dim).enumerate() {
            let group = &mut packed[token / QUERY_TOKENS * dim * QUERY_TOKENS..];
            vector.iter().enumerate().for_each(|(k, x)| group[k * QUERY_TOKENS + token % QUERY_TOKENS] = *x);
        }
        Query { dim, tokens, packed }
    }

    /// The score of a document, `[n, dim]`; 0 where one of the two has no token.
    pub fn score(&self, document: &[f32]) -> f32 {
        if document.is_empty() {
            return 0.0;
        }
        let mut sum = 0f32;
        let mut top = [0f32; QUERY_TOKENS];
        for (group, query) in self.packed.chunks_exact(self.dim * QUERY_TOKENS).enumerate() {
            kernels::maxima(query, document, self.dim, &mut top);
            let here = (self.tokens - group * QUERY_TOKENS).min(QUERY_TOKENS);
            top[..here].iter().for_each(|x| sum += x);
        }
        sum
    }

    /// [`Query::score`] of a document as it is stored; `scratch` is used again from call to call.
    pub fn score_stored(&self, document: Stored, scratch: &mut Vec<f32>) -> f32 {
        let (half, values) = match document {
            Stored::F32(values) => return self.score(values),
            Stored::Bf16(values) => (false, values),
            Stored::F16(values) => (true, values),
        };
        scratch.resize(values.len(), 0.0);
        kernels::widen(half, values, scratch);
        self.score(scratch)
    }
}

/// Which documents a query is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compared {
    /// Each with all: `[queries, documents]`.
    All,
    /// Each with documents of its own, so many, one query's after the other's.
    Own(Vec<usize>),
}

/// Scores of queries and documents, laid out end to end: `[query tokens, dim]` and `[document tokens, dim]` to `[pairs]`.
pub struct MaxSim {
    /// Where each query starts, and the end.
    queries: Vec<usize>,
    /// Where each document starts, and the end.
    documents: Vec<usize>,
    /// The query and the document of each pair.
    pairs: Vec<(usize, usize)>,
    /// The document token that each query token of each pair took, pair by pair.
    taken: Mutex<Arc<Vec<u32>>>,
}

impl MaxSim {
    /// The pairs of some queries and documents, each with a token at least.
    pub fn new(queries: Vec<usize>, documents: Vec<usize>, compared: &Compared) -> Self {
        let (b, n) = (queries.len().saturating_sub(1), documents.len().saturating_sub(1));
        let pairs = match compared {
            Compared::All => (0..b).flat_map(|q| (0..n).map(move |d| (q, d))).collect(),
            Compared::Own(counts) => {
                let of = counts.iter().enumerate().flat_map(|(q, &count)| std::iter::repeat_n(q, count));
                of.enumerate().map(|(d, q)| (q, d)).collect()
            }
        };
        MaxSim { queries, documents, pairs, taken: Mutex::default() }
    }

    /// Values and taken tokens of the pairs of one query, which are `pairs`.
    fn of_query(
        &self,
        queries: &[f32],
        documents: &[f32],
        dim: usize,
        pairs: &[(usize, usize)],
    ) -> (Vec<f32>, Vec<u32>) {
        let (first, last) = (pairs[0].1, pairs[pairs.len() - 1].1);
        let (start, end) = (self.documents[first], self.documents[last + 1]);
        let rows = self.queries[pairs[0].0]..self.queries[pairs[0].0 + 1];
        let (m, n) = (rows.len(), end - start);
        let (mut scores, mut taken) = (vec![0f32; pairs.len()], vec![0u32; pairs.len() * m]);
        let mut products = vec![0f32; m * n];
        let mut panels = Panels::default();
        panels.from_packed_rows(Dtype::F32, bytemuck::cast_slice(&documents[start * dim..end * dim]), dim, n, dim);
        let left = bytemuck::cast_slice(&queries[rows.start * dim..rows.end * dim]);
        kernels::product(
            Left { packed: left, stride: dim, rows: m, scale: &[] },
            &panels,
            None,
            Out::Write(&mut products),
            n,
        );
        for (pair, ((_, document), score)) in pairs.iter().zip(&mut scores).enumerate() {
            let columns = self.documents[*document] - start..self.documents[document + 1] - start;
            for (row, products) in products.chunks_exact(n).enumerate() {
                let mut best = columns.start;
                columns.clone().for_each(|at| best = if products[at] > products[best] { at } else { best });
                *score += products[best];
                taken[pair * m + row] = (start + best) as u32;
            }
        }
        (scores, taken)
    }

    /// Query and document token of every product that was summed, with its pair.
    fn products<'a>(&'a self, taken: &'a [u32]) -> impl Iterator<Item = (usize, usize, usize)> + 'a {
        let rows =
            self.pairs.iter().enumerate().flat_map(|(pair, (query, _))| {
                (self.queries[*query]..self.queries[query + 1]).map(move |row| (pair, row))
            });
        rows.zip(taken).map(|((pair, row), token)| (pair, row, *token as usize))
    }
}

fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else { candle_core::bail!("maxsim: input is not contiguous") };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

impl CustomOp2 for MaxSim {
    fn name(&self) -> &'static str {
        "maxsim"
    }

    fn cpu_fwd(
        &self,
        queries: &CpuStorage,
        query_layout: &Layout,
        documents: &CpuStorage,
        document_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let ((rows, dim), (tokens, width)) = (query_layout.shape().dims2()?, document_layout.shape().dims2()?);
        let is_whole = |ends: &[usize], rows: usize| ends.last() == Some(&rows) && ends.windows(2).all(|w| w[0] < w[1]);
        if dim != width || !is_whole(&self.queries, rows) || !is_whole(&self.documents, tokens) {
            candle_core::bail!("maxsim: [{rows}, {dim}] and [{tokens}, {width}] are not the texts' vectors");
        }
        let (queries, documents) = (values(queries, query_layout)?, values(documents, document_layout)?);
        let of_queries: Vec<&[(usize, usize)]> = self.pairs.chunk_by(|a, b| a.0 == b.0).collect();
        let all: Vec<_> =
            of_queries.into_par_iter().map(|pairs| self.of_query(queries, documents, dim, pairs)).collect();
        let taken: Vec<u32> = all.iter().flat_map(|(_, taken)| taken).copied().collect();
        *self.taken.lock().expect("no panic holds it") = Arc::new(taken);
        let scores: Vec<f32> = all.into_iter().flat_map(|(scores, _)| scores).collect();
        let shape = Shape::from(scores.len());
        Ok((CpuStorage::F32(scores), shape))
    }

    fn bwd(
        &self,
        queries: &Tensor,
        documents: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let dim = queries.dim(1)?;
        let flat = |x: &Tensor| x.flatten_all()?.to_vec1::<f32>();
        let (q, d, grad) = (flat(queries)?, flat(documents)?, flat(grad)?);
        let (mut d_q, mut d_d) = (vec![0f32; q.len()], vec![0f32; d.len()]);
        let taken = self.taken.lock().expect("no panic holds it").clone();
        for (pair, row, token) in self.products(&taken) {
            let (row, token) = (row * dim..(row + 1) * dim, token * dim..(token + 1) * dim);
            let by = grad[pair];
            d_q[row.clone()].iter_mut().zip(&d[token.clone()]).for_each(|(to, x)| *to += by * x);
            d_d[token].iter_mut().zip(&q[row]).for_each(|(to, x)| *to += by * x);
        }
        let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device()).map(Some);
        Ok((tensor(d_q, queries)?, tensor(d_d, documents)?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};
    use half::{bf16, f16};

    use super::super::kernels::{Unit, force, units_to_test};
    use super::super::similarity::tests::random;
    use super::*;

    /// By the definition, in f64.
    fn naive(query: &[f32], document: &[f32], dim: usize) -> f64 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        let best = |q: &[f32]| document.chunks_exact(dim).map(|d| dot(q, d)).fold(f64::MIN, f64::max);
        query.chunks_exact(dim).map(best).sum()
    }

    #[test]
    fn a_score_is_that_of_the_definition_and_the_same_bits_on_every_unit() {
        for (m, n, dim) in [(1, 1, 1), (32, 1, 96), (7, 9, 33), (33, 40, 128), (70, 8, 48), (31, 130, 17)] {
            let (query, document) = (random(m * dim, 1), random(n * dim, 2));
            let wanted = naive(&query, &document, dim);
            let mut bits = Vec::new();
            for unit in units_to_test() {
                force(Some(unit));
                let packed = Query::new(&query, dim);
                let score = packed.score(&document);
                assert!((f64::from(score) - wanted).abs() <= 1e-4 * wanted.abs().max(1.0), "{unit:?} {score} {wanted}");
                let mut scratch = Vec::new();
                let halves = [false, true].map(|half| {
                    let round = |x: &f32| if half { f16::from_f32(*x).to_bits() } else { bf16::from_f32(*x).to_bits() };
                    let back = |x: &u16| if half { f16::from_bits(*x).to_f32() } else { bf16::from_bits(*x).to_f32() };
                    let stored: Vec<u16> = document.iter().map(round).collect();
                    let plain: Vec<f32> = stored.iter().map(back).collect();
                    let stored = if half { Stored::F16(&stored) } else { Stored::Bf16(&stored) };
                    let score = packed.score_stored(stored, &mut scratch);
                    assert_eq!(score.to_bits(), packed.score(&plain).to_bits(), "{unit:?}: widened exactly");
                    score.to_bits()
                });
                bits.push((score.to_bits(), halves));
            }
            force(None::<Unit>);
            assert!(bits.windows(2).all(|w| w[0] == w[1]), "{m} {n} {dim}: {bits:?}");
        }
        assert_eq!(Query::new(&[], 4).score(&[1.0; 8]), 0.0);
        assert_eq!(Query::new(&[1.0; 4], 4).score(&[]), 0.0);
    }

    #[test]
    fn every_half_is_widened_exactly() {
        let all: Vec<u16> = (0..=u16::MAX).filter(|bits| f16::from_bits(*bits).is_finite()).collect();
        let mut out = vec![0f32; all.len()];
        kernels::widen(true, &all, &mut out);
        assert!(all.iter().zip(&out).all(|(bits, x)| f16::from_bits(*bits).to_f32().to_bits() == x.to_bits()));
    }

    #[test]
    fn the_operation_gives_the_kernels_scores_and_their_gradients() {
        let (dim, queries, documents) = (5, vec![0, 3, 4], vec![0, 2, 3, 7]);
        let (q, d) = (random(4 * dim, 3), random(7 * dim, 4));
        for compared in [Compared::All, Compared::Own(vec![1, 2])] {
            let op = || MaxSim::new(queries.clone(), documents.clone(), &compared);
            let scores = |q: &Tensor, d: &Tensor| q.apply_op2(d, op()).unwrap();
            let [vq, vd] = [(&q, 4), (&d, 7)].map(|(x, n)| Var::from_slice(x, (n, dim), &Device::Cpu).unwrap());
            let got = scores(vq.as_tensor(), vd.as_tensor());
            let values = got.to_vec1::<f32>().unwrap();
            for ((query, document), value) in op().pairs.iter().zip(&values) {
                let query = Query::new(&q[queries[*query] * dim..queries[query + 1] * dim], dim);
                let exact = query.score(&d[documents[*document] * dim..documents[document + 1] * dim]);
                assert!((value - exact).abs() < 1e-5, "{value} {exact}");
            }
            let weights = Tensor::from_vec(random(values.len(), 5), values.len(), &Device::Cpu).unwrap();
            let total = |q: &Tensor, d: &Tensor| (scores(q, d) * &weights).unwrap().sum_all().unwrap();
            let grads = total(vq.as_tensor(), vd.as_tensor()).backward().unwrap();
            for (var, of_query) in [(&vq, true), (&vd, false)] {
                let grad = grads.get(var.as_tensor()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let plain = if of_query { &q } else { &d };
                for (i, grad) in grad.iter().enumerate() {
                    let at = |by: f32| {
                        let mut x = plain.clone();
                        x[i] += by;
                        let x = Tensor::from_slice(&x, var.shape(), &Device::Cpu).unwrap();
                        let out = if of_query { total(&x, vd.as_tensor()) } else { total(vq.as_tensor(), &x) };
                        out.to_scalar::<f32>().unwrap()
                    };
                    let numeric = (at(1e-3) - at(-1e-3)) / 2e-3;
                    assert!((numeric - grad).abs() < 5e-3, "{of_query} {i}: {numeric} {grad}");
                }
            }
        }
    }
}
