//! One similarity matrix a pair: the cosines of a query's tokens with a document's, over vectors of any origin (states of an encoder, rows of
//! a table of words).
//!
//! Matrices of a batch are laid end to end, each `[query tokens, document tokens]`; nothing is padded, so a pair's values do not depend on the
//! batch. Kernels ([`super::kernel_pooling`]) and histograms ([`super::histogram`]) read them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::Dtype;
use super::kernels::{self, Left, Out, Panels};
use super::slices::add_scaled;

/// Added to a vector's length, so that a vector of zeros is similar to nothing.
const EPSILON: f32 = 1e-9;

/// Where the two texts of a pair are among the rows of their batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairRows {
    /// Rows of the query's tokens.
    pub query: Range<usize>,
    /// Rows of the document's tokens.
    pub document: Range<usize>,
}

/// The matrices of `b` pairs, laid end to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatrixLayout {
    /// Where the texts are.
    pub pairs: Vec<PairRows>,
    /// Where each matrix starts, and the end: `[b + 1]`.
    cells: Vec<usize>,
    /// Where each pair's query tokens start among all query tokens, and the end: `[b + 1]`.
    queries: Vec<usize>,
}

impl MatrixLayout {
    /// The matrices of some pairs.
    pub fn new(pairs: Vec<PairRows>) -> Self {
        let sums = |of: &dyn Fn(&PairRows) -> usize| {
            let mut sum = 0;
            let ends = pairs.iter().map(|pair| {
                sum += of(pair);
                sum
            });
            std::iter::once(0).chain(ends).collect::<Vec<usize>>()
        };
        let (cells, queries) = (sums(&|p| p.query.len() * p.document.len()), sums(&|p| p.query.len()));
        MatrixLayout { pairs, cells, queries }
    }
    /// Values of all matrices.
    pub fn cells(&self) -> usize {
        self.cells.last().copied().unwrap_or(0)
    }
    /// Where a pair's matrix is.
    pub fn matrix(&self, pair: usize) -> Range<usize> {
        self.cells[pair]..self.cells[pair + 1]
    }
    /// Query tokens of all pairs.
    pub fn query_tokens(&self) -> usize {
        self.queries.last().copied().unwrap_or(0)
    }
    /// Where a pair's query tokens are among all query tokens.
    pub fn query(&self, pair: usize) -> Range<usize> {
        self.queries[pair]..self.queries[pair + 1]
    }
    /// The pair of each query token.
    pub fn pair_of_query(&self) -> Vec<u32> {
        let of = |(number, pair): (usize, &PairRows)| std::iter::repeat_n(number as u32, pair.query.len());
        self.pairs.iter().enumerate().flat_map(of).collect()
    }
    /// The row of each query token.
    pub fn query_rows(&self) -> Vec<u32> {
        self.pairs.iter().flat_map(|pair| pair.query.clone()).map(|row| row as u32).collect()
    }
    /// Divides values that are laid out by pair, `width` for each of `of(pair)`.
    pub(super) fn divide<T>(mut values: &mut [T], lengths: impl Iterator<Item = usize>) -> Vec<&mut [T]> {
        let mut parts = Vec::new();
        for length in lengths {
            let (part, rest) = values.split_at_mut(length);
            values = rest;
            parts.push(part);
        }
        parts
    }
}

/// A vector for each token of a batch.
#[derive(Debug, Clone)]
pub enum TokenVectors {
    /// `[t, h]`.
    States(Tensor),
    /// Rows of a table `[rows, h]`, which are not copied.
    Table {
        /// The table.
        table: Arc<Vec<f32>>,
        /// The row of each token, `[t]`; all of them are in the table.
        ids: Vec<u32>,
        /// `h`.
        hidden: usize,
    },
}

impl TokenVectors {
    /// Cosines of all pairs, `[cells]`, with their graph where the vectors have one.
    ///
    /// # Errors
    /// What the tensor library refuses.
    pub fn cosines(&self, layout: &Arc<MatrixLayout>) -> crate::Result<Tensor> {
        match self {
            TokenVectors::States(states) => Ok(states.contiguous()?.apply_op1(Cosines { layout: layout.clone() })?),
            TokenVectors::Table { table, ids, hidden } => {
                let row = |token: usize| &table[ids[token] as usize * hidden..][..*hidden];
                Ok(Tensor::from_vec(cosines(layout, row), layout.cells(), &Device::Cpu)?)
            }
        }
    }
    /// Vectors of some tokens, `[n, h]`.
    ///
    /// # Errors
    /// What the tensor library refuses.
    pub fn rows(&self, tokens: Vec<u32>) -> crate::Result<Tensor> {
        let n = tokens.len();
        match self {
            TokenVectors::States(states) => Ok(states.index_select(&Tensor::from_vec(tokens, n, &Device::Cpu)?, 0)?),
            TokenVectors::Table { table, ids, hidden } => {
                let row = |token: &u32| &table[ids[*token as usize] as usize * hidden..][..*hidden];
                let values: Vec<f32> = tokens.iter().flat_map(row).copied().collect();
                Ok(Tensor::from_vec(values, (n, *hidden), &Device::Cpu)?)
            }
        }
    }
    /// The first token of each distinct vector among some tokens, and which of them each token has; `None` where all may differ.
    pub fn distinct(&self, tokens: &[u32]) -> Option<(Vec<u32>, Vec<u32>)> {
        let TokenVectors::Table { ids, .. } = self else { return None };
        let (mut found, mut firsts) = (HashMap::new(), Vec::new());
        let place = |token: &u32| {
            *found.entry(ids[*token as usize]).or_insert_with(|| {
                firsts.push(*token);
                firsts.len() as u32 - 1
            })
        };
        let places = tokens.iter().map(place).collect();
        Some((firsts, places))
    }
}

#[derive(Default)]
struct Scratch {
    query: Vec<f32>,
    document: Vec<f32>,
    panels: Panels,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

fn inverse_length(row: &[f32]) -> f32 {
    1.0 / (kernels::squares(row).sqrt() + EPSILON)
}

/// Cosines of all pairs, each pair on one thread.
fn cosines<'a>(layout: &MatrixLayout, row: impl Fn(usize) -> &'a [f32] + Sync) -> Vec<f32> {
    let mut out = vec![0f32; layout.cells()];
    let parts = MatrixLayout::divide(&mut out, layout.pairs.iter().map(|p| p.query.len() * p.document.len()));
    parts.into_par_iter().zip(&layout.pairs).for_each(|(out, pair)| {
        if out.is_empty() {
            return;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let gather = |to: &mut Vec<f32>, rows: &Range<usize>| {
                to.clear();
                rows.clone().for_each(|at| to.extend_from_slice(row(at)));
            };
            gather(&mut scratch.query, &pair.query);
            gather(&mut scratch.document, &pair.document);
            let (m, n) = (pair.query.len(), pair.document.len());
            let h = scratch.query.len() / m;
            scratch.panels.from_packed_rows(Dtype::F32, bytemuck::cast_slice(&scratch.document), h, n, h);
            let left = Left { packed: bytemuck::cast_slice(&scratch.query), stride: h, rows: m, scale: &[] };
            kernels::product(left, &scratch.panels, None, Out::Write(out), n);
            let documents: Vec<f32> = scratch.document.chunks_exact(h).map(inverse_length).collect();
            for (out, query) in out.chunks_exact_mut(n).zip(scratch.query.chunks_exact(h)) {
                let by = inverse_length(query);
                out.iter_mut().zip(&documents).for_each(|(x, d)| *x *= by * d);
            }
        });
    });
    out
}

/// Cosines as an operation of candle's graph: states `[t, h]` to `[cells]`.
struct Cosines {
    layout: Arc<MatrixLayout>,
}

impl Cosines {
    /// Gradients of a pair's query rows and document rows.
    fn backward(&self, states: &[f32], h: usize, pair: usize, cosines: &[f32], grad: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let PairRows { query, document } = &self.layout.pairs[pair];
        let rows = |range: &Range<usize>| &states[range.start * h..range.end * h];
        let (queries, documents) = (rows(query), rows(document));
        let inverse = |rows: &[f32]| rows.chunks_exact(h).map(inverse_length).collect::<Vec<f32>>();
        let (of_query, of_document) = (inverse(queries), inverse(documents));
        let (mut d_query, mut d_document) = (vec![0f32; queries.len()], vec![0f32; documents.len()]);
        let n = document.len();
        let mut along = vec![0f32; n];
        for (i, q) in queries.chunks_exact(h).enumerate() {
            let (d_q, mut own) = (&mut d_query[i * h..][..h], 0f32);
            for (j, d) in documents.chunks_exact(h).enumerate() {
                let (g, cosine) = (grad[i * n + j], cosines[i * n + j]);
                let by = g * of_query[i] * of_document[j];
                add_scaled(d_q, by, d);
                add_scaled(&mut d_document[j * h..][..h], by, q);
                own += g * cosine;
                along[j] += g * cosine;
            }
            add_scaled(d_q, -own * of_query[i] * of_query[i], q);
        }
        for (j, d) in documents.chunks_exact(h).enumerate() {
            add_scaled(&mut d_document[j * h..][..h], -along[j] * of_document[j] * of_document[j], d);
        }
        (d_query, d_document)
    }
}

impl CustomOp1 for Cosines {
    fn name(&self) -> &'static str {
        "cosines"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("cosines: input is not contiguous")
        };
        let (states, (t, h)) = (&storage.as_slice::<f32>()?[start..end], layout.shape().dims2()?);
        if self.layout.pairs.iter().any(|pair| pair.query.end > t || pair.document.end > t) {
            candle_core::bail!("cosines: {t} rows, and texts past them");
        }
        let out = cosines(&self.layout, |row| &states[row * h..][..h]);
        let shape = Shape::from(out.len());
        Ok((CpuStorage::F32(out), shape))
    }

    fn bwd(&self, arg: &Tensor, res: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let (t, h) = arg.dims2()?;
        let values = |x: &Tensor| x.flatten_all()?.to_vec1::<f32>();
        let (states, cosines, grad) = (values(arg)?, values(res)?, values(grad)?);
        let pairs = (0..self.layout.pairs.len()).into_par_iter().map(|pair| {
            let cells = self.layout.matrix(pair);
            self.backward(&states, h, pair, &cosines[cells.clone()], &grad[cells])
        });
        let pairs: Vec<(Vec<f32>, Vec<f32>)> = pairs.collect();
        let mut out = vec![0f32; t * h];
        // one after the other: texts of several pairs may be one
        for ((d_query, d_document), rows) in pairs.iter().zip(&self.layout.pairs) {
            kernels::add(&mut out[rows.query.start * h..rows.query.end * h], d_query);
            kernels::add(&mut out[rows.document.start * h..rows.document.end * h], d_document);
        }
        Ok(Some(Tensor::from_vec(out, (t, h), arg.device())?))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use candle_core::Var;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Random values between -1 and 1.
    pub fn random(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    /// Pairs of 11 rows: of several tokens, without a query token, without a document token, and two that share their query.
    pub fn layout() -> Arc<MatrixLayout> {
        let pairs = [(0..2, 2..5), (5..5, 5..7), (7..8, 8..8), (8..10, 10..11), (8..10, 5..7)];
        Arc::new(MatrixLayout::new(pairs.map(|(query, document)| PairRows { query, document }).to_vec()))
    }

    /// The gradient of `sum(w * f(x))` against finite differences, for every value of `x`.
    pub fn assert_gradient(x: &[f32], shape: impl Into<Shape> + Clone, f: impl Fn(&Tensor) -> Tensor) {
        let weighted = |out: &Tensor| {
            let w = Tensor::from_vec(random(out.elem_count(), 77), out.shape(), &Device::Cpu).unwrap();
            (out * w).unwrap().sum_all().unwrap()
        };
        let var = Var::from_slice(x, shape.clone(), &Device::Cpu).unwrap();
        let grads = weighted(&f(var.as_tensor())).backward().unwrap();
        let grads = grads.get(var.as_tensor()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (i, grad) in grads.iter().enumerate() {
            let at = |by: f32| {
                let mut x = x.to_vec();
                x[i] += by;
                let x = Tensor::from_slice(&x, shape.clone(), &Device::Cpu).unwrap();
                f64::from(weighted(&f(&x)).to_scalar::<f32>().unwrap())
            };
            let numeric = (at(1e-3) - at(-1e-3)) / 2e-3;
            let near = (numeric - f64::from(*grad)).abs() <= 1e-2 * f64::from(grad.abs()) + 1e-2;
            assert!(near, "value {i}: {numeric} against {grad}");
        }
    }

    #[test]
    fn cosines_are_those_of_the_definition_from_states_and_from_a_table() {
        let (layout, h) = (layout(), 21);
        let states = random(11 * h, 1);
        let tensor = TokenVectors::States(Tensor::from_slice(&states, (11, h), &Device::Cpu).unwrap());
        let got = tensor.cosines(&layout).unwrap().to_vec1::<f32>().unwrap();
        let row = |at: usize| &states[at * h..][..h];
        let dot = |a: usize, b: usize| row(a).iter().zip(row(b)).map(|(x, y)| f64::from(x * y)).sum::<f64>();
        let wanted = layout.pairs.iter().flat_map(|p| {
            p.query
                .clone()
                .flat_map(|i| p.document.clone().map(move |j| (i, j)))
                .map(|(i, j)| dot(i, j) / (dot(i, i) * dot(j, j)).sqrt())
        });
        let wanted: Vec<f64> = wanted.collect();
        assert_eq!(got.len(), wanted.len());
        assert!(got.iter().zip(&wanted).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6), "{got:?} {wanted:?}");
        // tokens in another order in the table
        let table: Vec<f32> = (0..11).rev().flat_map(|at| row(at).to_vec()).collect();
        let from = TokenVectors::Table { table: Arc::new(table), ids: (0..11).rev().collect(), hidden: h };
        assert_eq!(from.cosines(&layout).unwrap().to_vec1::<f32>().unwrap(), got, "the same bits");
        let rows = [&tensor, &from].map(|v| v.rows(layout.query_rows()).unwrap().to_vec2::<f32>().unwrap());
        assert_eq!(rows[0], rows[1]);
        assert_eq!(rows[0].len(), layout.query_tokens());
    }

    #[test]
    fn a_vector_of_zeros_is_similar_to_nothing() {
        let pair = PairRows { query: 0..1, document: 0..2 };
        let states = Tensor::from_slice(&[0f32, 0.0, 1.0, 2.0], (2, 2), &Device::Cpu).unwrap();
        let cosines = TokenVectors::States(states).cosines(&Arc::new(MatrixLayout::new(vec![pair]))).unwrap();
        assert_eq!(cosines.to_vec1::<f32>().unwrap(), [0.0, 0.0]);
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let layout = layout();
        assert_gradient(&random(11 * 5, 2), (11, 5), |x| TokenVectors::States(x.clone()).cosines(&layout).unwrap());
    }
}
