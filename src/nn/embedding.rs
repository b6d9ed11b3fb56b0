//! The input of BERT: word + segment + position embeddings, summed, normalised; as rows of a batch and as an operation of
//! candle's graph.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rayon::prelude::*;

use super::grad_buffer::GradBuffer;
use super::kernels;
use super::layer::{Group, Workspace};
use super::layer_weights::EmbeddingWeights;
use super::plan::Plan;
use crate::text::Batch;
use crate::{Error, Result};

/// The three tables `[rows, h]` and the norm of their sum.
#[derive(Clone)]
pub struct Embedding {
    /// Width, `h`.
    pub hidden: usize,
    /// LayerNorm's epsilon.
    pub eps: f32,
    /// Dropout of the result, in training.
    pub dropout: f32,
    /// Longest sequence of a network whose layers know positions themselves: it has no table of them, and no shift in its norm.
    pub rotary: Option<usize>,
    /// The tables and the norm; in training they are the parameters' own.
    pub weights: EmbeddingWeights<Arc<Vec<f32>>>,
}

const SITE: u64 = 0x5bd1_e995_0000_0004;

/// Refuses ids, segments and positions past tables of so many `rows`, sequences without a token, and parts of a batch that do not
/// fit each other.
pub fn check(batch: &Batch, rows: [usize; 3]) -> Result<()> {
    let (ids, segments) = (batch.ids.len(), batch.segments.len());
    let ends = [batch.offsets.first(), batch.offsets.last()].map(|end| end.map(|&t| t as usize));
    if ids != segments || ends != [Some(0), Some(ids)] {
        let expected = format!("{ids} segments, and offsets from 0 to {ids}");
        let got = format!("{segments} segments, and offsets from {:?} to {:?}", ends[0], ends[1]);
        return Err(Error::Shape { op: "batch", expected, got });
    }
    let refuse = |what: &str, value: u32, rows: usize| {
        let what = format!("{what} past the table of {rows}: this text was encoded for another model");
        Err(Error::setting("batch", value, what))
    };
    if let Some(&id) = batch.ids.iter().find(|&&id| id as usize >= rows[0]) {
        return refuse("token id", id, rows[0]);
    }
    if let Some(&segment) = batch.segments.iter().find(|&&s| s as usize >= rows[1]) {
        return refuse("segment", segment, rows[1]);
    }
    if !batch.positions.is_empty() && batch.positions.len() != ids {
        let got = format!("{} positions", batch.positions.len());
        return Err(Error::Shape { op: "batch", expected: format!("{ids} positions, or none"), got });
    }
    if let Some(&position) = batch.positions.iter().find(|&&p| p as usize >= rows[2]) {
        return refuse("position", position, rows[2]);
    }
    let lengths = || batch.offsets.windows(2).map(|w| w[1].saturating_sub(w[0]));
    let fits = |(keys, length): (&u32, u32)| (1..=length).contains(keys);
    let all_fit = batch.keys.len() + 1 == batch.offsets.len() && batch.keys.iter().zip(lengths()).all(fits);
    if !(batch.keys.is_empty() || all_fit) {
        let got = format!("{} numbers, or one past its sequence", batch.keys.len());
        return Err(Error::Shape {
            op: "batch",
            expected: "a number of tokens to look at for each sequence, or none".into(),
            got,
        });
    }
    for w in batch.offsets.windows(2) {
        if w[0] >= w[1] {
            return Err(Error::setting("batch", 0, "a sequence without a token"));
        }
        if batch.positions.is_empty() && (w[1] - w[0]) as usize > rows[2] {
            return refuse("sequence of tokens", w[1] - w[0], rows[2]);
        }
    }
    Ok(())
}

impl Embedding {
    /// What [`check`] refuses.
    pub fn check(&self, batch: &Batch) -> Result<()> {
        let EmbeddingWeights { words, segments, positions, .. } = &self.weights;
        let [words, segments, positions] = [words, segments, positions].map(|table| table.len() / self.hidden);
        if self.rotary.is_some() && !batch.positions.is_empty() {
            return Err(Error::setting("batch", "positions", "are counted by the layers of this network themselves"));
        }
        check(batch, [words, segments, self.rotary.unwrap_or(positions)])
    }

    /// Rows `tokens` of the batch: the sum into `x`, the normalised rows stay there, the result into `out`, `[t, h]` both.
    pub fn rows(
        &self,
        batch: &Batch,
        first_token: usize,
        lengths: &[u32],
        x: &mut [f32],
        out: &mut [f32],
        rstd: &mut [f32],
    ) {
        let h = self.hidden;
        let EmbeddingWeights { words, segments, positions, norm } = &self.weights;
        let mut row = 0;
        for &t in lengths {
            for place in 0..t as usize {
                let token = first_token + row;
                let position = batch.positions.get(token).map_or(place, |&at| at as usize);
                let x = &mut x[row * h..][..h];
                let ids = [batch.ids[token] as usize, batch.segments[token] as usize, position];
                x.copy_from_slice(&words[ids[0] * h..][..h]);
                kernels::add(x, &segments[ids[1] * h..][..h]);
                if self.rotary.is_none() {
                    kernels::add(x, &positions[ids[2] * h..][..h]);
                }
                row += 1;
            }
        }
        kernels::layer_norm(x, None, &norm.gamma, &norm.beta, self.eps, out, &mut rstd[..row], true);
    }
    /// Serving: rows of a whole batch, `[t, h]`.
    ///
    /// # Errors
    /// What [`check`] refuses.
    pub fn states(&self, batch: &Batch) -> Result<Vec<f32>> {
        self.check(batch)?;
        let lengths: Vec<u32> = batch.offsets.windows(2).map(|w| w[1] - w[0]).collect();
        let t = batch.tokens();
        let (mut sum, mut out, mut rstd) = (vec![0.0; t * self.hidden], vec![0.0; t * self.hidden], vec![0.0; t]);
        self.rows(batch, 0, &lengths, &mut sum, &mut out, &mut rstd);
        Ok(out)
    }
    /// Serving: rows of a group straight into `out [t, h]`.
    pub(super) fn group(&self, w: &mut Workspace, batch: &Batch, group: Group, out: &mut [f32]) {
        let t = group.tokens();
        w.y.reserve(t * self.hidden);
        w.rstd.reserve(t);
        self.rows(batch, group.first_token, group.lengths, &mut w.y, out, &mut w.rstd[..t]);
    }
}

/// The gradients.
pub type EmbeddingGrads = EmbeddingWeights<Arc<Mutex<GradBuffer>>>;

/// The sum as an operation. Its argument is a scalar variable that only ties it to the graph, or the words' vectors `[t, h]`, of which the
/// embedding's table of words is a copy.
pub struct EmbeddingOp {
    embedding: Embedding,
    batch: Batch,
    plan: Arc<Plan>,
    seed: u64,
    grads: EmbeddingGrads,
    /// Normalised rows `[t, h]` and reciprocal deviations `[t]`, from the forward pass.
    saved: Mutex<Option<(Vec<f32>, Vec<f32>)>>,
}

impl EmbeddingOp {
    /// Over a batch that was checked, and its groups; `seed` is dropout's.
    pub fn new(embedding: Embedding, batch: Batch, plan: Arc<Plan>, seed: u64, grads: EmbeddingGrads) -> Self {
        EmbeddingOp { embedding, batch, plan, seed, grads, saved: Mutex::default() }
    }
}

impl CustomOp1 for EmbeddingOp {
    fn name(&self) -> &'static str {
        "bert-embedding"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (h, t) = (self.embedding.hidden, self.batch.tokens());
        let (mut normalized, mut out, mut rstd) = (vec![0f32; t * h], vec![0f32; t * h], vec![0f32; t]);
        let (mut normalized_rows, mut outs, mut rstds) = (&mut normalized[..], &mut out[..], &mut rstd[..]);
        let mut tasks = Vec::with_capacity(self.plan.len());
        for group in self.plan.groups() {
            let n = group.tokens();
            let (a, rest) = normalized_rows.split_at_mut(n * h);
            normalized_rows = rest;
            let (b, rest) = outs.split_at_mut(n * h);
            outs = rest;
            let (c, rest) = rstds.split_at_mut(n);
            rstds = rest;
            tasks.push((group, a, b, c));
        }
        tasks.into_par_iter().for_each(|(group, x, out, rstd)| {
            self.embedding.rows(&self.batch, group.first_token, group.lengths, x, out, rstd);
            kernels::dropout(out, self.seed ^ SITE, (group.first_token * h) as u32, self.embedding.dropout);
        });
        *self.saved.lock().expect("no panic holds the state") = Some((normalized, rstd));
        Ok((CpuStorage::F32(out), Shape::from((t, h))))
    }

    fn bwd(&self, words: &Tensor, _: &Tensor, grad_res: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let is_table = words.rank() == 0;
        let Some((normalized, rstd)) = self.saved.lock().expect("no panic holds the state").take() else {
            candle_core::bail!("bert-embedding: backward needs a forward pass before it, once")
        };
        let h = self.embedding.hidden;
        let mut grad = grad_res.flatten_all()?.to_vec1::<f32>()?;
        kernels::dropout(&mut grad, self.seed ^ SITE, 0, self.embedding.dropout);
        let lock = |grad| Mutex::lock(grad).expect("no panic holds a gradient");
        let [mut word, mut segment, mut position, mut gamma, mut beta] = self.grads.each().map(|grad| lock(grad));
        let scale = &self.embedding.weights.norm.gamma;
        let rotary = self.embedding.rotary.is_some();
        let mut no_shift = vec![0.0; if rotary { h } else { 0 }];
        let d_beta = if rotary { &mut no_shift } else { beta.dense_mut() };
        kernels::layer_norm_backward(&mut grad, &normalized, &rstd, scale, gamma.dense_mut(), d_beta);
        let (segment, position) = (segment.dense_mut(), position.dense_mut());
        for w in self.batch.offsets.windows(2) {
            for (place, token) in (w[0] as usize..w[1] as usize).enumerate() {
                let g = &grad[token * h..][..h];
                let id = self.batch.ids[token] as usize;
                match &mut *word {
                    _ if !is_table => {}
                    GradBuffer::SparseRows(word) => kernels::add(word.row_mut(id), g),
                    // a tied decoder touches every row anyway
                    whole => kernels::add(&mut whole.dense_mut()[id * h..][..h], g),
                }
                kernels::add(&mut segment[self.batch.segments[token] as usize * h..][..h], g);
                if rotary {
                    continue;
                }
                let at = self.batch.positions.get(token).map_or(place, |&at| at as usize);
                kernels::add(&mut position[at * h..][..h], g);
            }
        }
        if is_table { Ok(None) } else { Ok(Some(Tensor::from_vec(grad, words.shape(), words.device())?)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::layer_weights::Norm;

    fn embedding() -> Embedding {
        let [words, segments, positions] = [10, 2, 4].map(|rows| Arc::new(vec![0.5; rows * 3]));
        let norm = Norm { gamma: Arc::new(vec![1.0; 3]), beta: Arc::new(vec![0.0; 3]) };
        let weights = EmbeddingWeights { words, segments, positions, norm };
        Embedding { hidden: 3, eps: 1e-12, dropout: 0.0, rotary: None, weights }
    }

    fn batch(ids: &[u32], segments: &[u32], offsets: &[u32]) -> Batch {
        Batch { ids: ids.into(), segments: segments.into(), offsets: offsets.into(), ..Batch::default() }
    }

    #[test]
    fn what_lies_past_a_table_is_refused() {
        let check = |ids: &[u32], segments: &[u32], offsets: &[u32]| embedding().check(&batch(ids, segments, offsets));
        check(&[9, 0, 1, 2, 3], &[1, 0, 0, 0, 0], &[0, 1, 5]).unwrap();
        check(&[], &[], &[0]).unwrap();
        let refused = |ids: &[u32], segments: &[u32], offsets: &[u32], part: &str| {
            let error = check(ids, segments, offsets).unwrap_err();
            assert!(error.is_user_error() && error.to_string().contains(part), "{error}");
        };
        refused(&[10], &[0], &[0, 1], "10: token id past the table of 10");
        refused(&[u32::MAX], &[0], &[0, 1], "token id past");
        refused(&[1], &[2], &[0, 1], "2: segment past the table of 2");
        refused(&[1; 5], &[0; 5], &[0, 5], "5: sequence of tokens past the table of 4");
        refused(&[1, 1], &[0, 0], &[0, 1, 1, 2], "a sequence without a token");
        refused(&[1, 1], &[0, 0], &[0, 2, 1, 2], "a sequence without a token");
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let cases: [(&[u32], &[u32], &[u32]); 5] = [
            (&[1, 2], &[0], &[0, 2]),
            (&[1, 2], &[0, 0], &[0, 3]),
            (&[1, 2], &[0, 0], &[1, 2]),
            (&[1, 2], &[0, 0], &[0]),
            (&[], &[], &[]),
        ];
        for (ids, segments, offsets) in cases {
            let error = embedding().check(&batch(ids, segments, offsets)).unwrap_err();
            assert!(error.to_string().starts_with("batch: expected"), "{error}");
        }
    }
}
