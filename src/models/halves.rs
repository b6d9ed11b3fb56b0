//! Passes through an encoder whose lower layers see query and document apart: what [`super::yati`] is written in.

use candle_core::{D, Device as Cpu, Tensor};
use rayon::prelude::*;

use super::bert::{self, PREFIX};
use super::net::{Mode, Module, Net, Pass, linear};
use crate::nn::encoder::{Request, Rows, Start};
use crate::nn::kernels;
use crate::nn::layer_weights::Norm;
use crate::nn::linear::Linear;
use crate::nn::reference::{RELATIVE, Reference, Tensors};
use crate::text::Batch;
use crate::{Error, Result};

/// [`Module::Restore`], packed.
pub(super) struct Restore {
    dense: Linear,
    norm: Norm,
    eps: f32,
}

impl Restore {
    pub(super) fn new(name: &str, from: &dyn bert::Source, eps: f32) -> Result<Self> {
        let norm = |kind: &str| from.vector(&format!("{name}.LayerNorm.{kind}"));
        Ok(Restore {
            dense: linear(&format!("{name}.dense"), from)?,
            norm: Norm::new(norm("weight")?, norm("bias")?),
            eps,
        })
    }
    /// `[t, inputs]` to `[t, h]`. A row's values do not depend on the others.
    fn rows(&self, x: &[f32]) -> Vec<f32> {
        const ROWS: usize = 64;
        let (mut x, h) = (self.dense.rows(x), self.dense.n);
        let mut out = vec![0.0; x.len()];
        x.par_chunks_mut(ROWS * h).zip(out.par_chunks_mut(ROWS * h)).for_each(|(x, out)| {
            let mut deviations = [0.0; ROWS];
            let Norm { gamma, beta } = &self.norm;
            let rows = x.len() / h;
            kernels::layer_norm(x, None, gamma, beta, self.eps, out, &mut deviations[..rows], false);
        });
        out
    }
}

/// The layers above a split in plain operations, over arrays that stand still: where attention can be looked at and learnt from.
pub struct Above {
    reference: Reference,
    arrays: Tensors,
    from: usize,
}

impl Above {
    /// The layers from `from` on of a net in training, as they are now.
    ///
    /// # Errors
    /// A split above all layers; ModernBERT, whose layers are of another kind.
    pub fn new(net: &Net, from: usize) -> Result<Self> {
        let (config, layers) = (net.config(), net.config().num_hidden_layers);
        if from >= layers {
            let what = "no layer sees both texts, so there is no attention to match: split lower";
            return Err(Error::setting("model.split_at", from, what));
        }
        if config.modern.is_some() {
            return Err(Error::setting("train.match_attention", "ModernBERT", "is for layers as BERT's: leave it out"));
        }
        let prefixes: Vec<String> = (from..layers).map(|layer| format!("{PREFIX}encoder.layer.{layer}.")).collect();
        let is_above = |name: &str| name == RELATIVE || prefixes.iter().any(|prefix| name.starts_with(prefix));
        let parameters = net.parameters().list.iter().filter(|p| is_above(&p.name));
        let arrays = parameters
            .map(|p| Ok((p.name.clone(), Tensor::from_slice(&p.value, p.shape.as_slice(), &Cpu::Cpu)?)))
            .collect::<Result<Tensors>>()?;
        let (heads, epsilon) = (config.num_attention_heads, f64::from(config.layer_norm_eps));
        Ok(Above { reference: Reference { layers, heads, epsilon }, arrays, from })
    }

    /// Attention of one sequence whose states before the first of these layers are `[s, h]`: `[1, n, s, s]` a layer.
    ///
    /// # Errors
    /// States of another width.
    pub fn attention(&self, states: &Tensor) -> Result<Vec<Tensor>> {
        self.reference.attention_above(&self.arrays, states, self.from)
    }
}

impl Pass<'_> {
    /// First tokens' last states, `[b, h]`, of `batch`, whose halves are apart below layer `at`; `between` gets all states `[t, h]` before that
    /// layer and gives what goes on.
    ///
    /// # Errors
    /// Ids, segments, positions or lengths past the tables; a sequence without a token; what `between` refuses.
    pub fn split(&self, batch: &Batch, at: usize, between: &dyn Fn(Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let apart = batch.apart();
        if let (Mode::Train { seed }, Some(trained)) = (self.mode, &self.net.trained) {
            let graph = bert::graph(self.net.config(), PREFIX, &trained.parameters, self.net.dtype)?;
            return graph.split((&apart, &batch.offsets), at, seed, &trained.arena, between);
        }
        let states = between(self.layers(PREFIX, &apart, &[at])?.remove(0))?;
        self.upper(&states.flatten_all()?.to_vec1::<f32>()?, &batch.offsets, at)
    }

    /// First tokens' last states, `[b, h]`, of sequences whose states before layer `from` are there, `[t, h]`. In serving.
    ///
    /// # Errors
    /// A sequence without a token.
    pub fn upper(&self, states: &[f32], offsets: &[u32], from: usize) -> Result<Tensor> {
        let module = Module::Encoder { prefix: PREFIX, copy_of: None };
        let encoder = self.net.packed(&module, |p| p.encoders.get(PREFIX).cloned())?;
        let start = Start::States { states, offsets };
        let first = encoder.run(&Request { start, layers: from..encoder.layers(), rows: Rows::First, keep: &[] })?.rows;
        Ok(Tensor::from_vec(first, (offsets.len() - 1, self.hidden()), &Cpu::Cpu)?)
    }

    /// `[t, inputs]` through a [`Module::Restore`] to `[t, h]`.
    ///
    /// # Errors
    /// Rows of another width.
    pub fn restore(&self, name: &'static str, inputs: usize, x: &Tensor) -> Result<Tensor> {
        if let (Mode::Train { .. }, Some(trained)) = (self.mode, &self.net.trained) {
            let var = |kind: &str| trained.parameters.var(&format!("{name}.{kind}"));
            let x = x.matmul(&var("dense.weight")?.t()?)?.broadcast_add(&var("dense.bias")?)?;
            let x = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
            let eps = f64::from(self.net.config().layer_norm_eps);
            let deviation = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
            let (gamma, beta) = (var("LayerNorm.weight")?, var("LayerNorm.bias")?);
            return Ok(x.broadcast_div(&deviation)?.broadcast_mul(&gamma)?.broadcast_add(&beta)?);
        }
        let rows = self.restored(name, inputs, &x.flatten_all()?.to_vec1::<f32>()?)?;
        let h = self.hidden();
        Ok(Tensor::from_vec(rows, (x.dim(0)?, h), &Cpu::Cpu)?)
    }

    /// The same of plain values, in serving.
    ///
    /// # Errors
    /// Rows of another width.
    pub fn restored(&self, name: &'static str, inputs: usize, x: &[f32]) -> Result<Vec<f32>> {
        if !x.len().is_multiple_of(inputs) {
            let (expected, got) = (format!("rows of {inputs}"), format!("{} values", x.len()));
            return Err(Error::Shape { op: "restore", expected, got });
        }
        let module = Module::Restore { name, inputs };
        Ok(self.net.packed(&module, |p| p.restores.get(name).cloned())?.rows(x))
    }

    /// Adds to states `[t, h]` the row of each token's mark in the table of [`Module::Marks`]; 0 is none.
    ///
    /// # Errors
    /// A mark past the table.
    pub fn mark(&self, name: &'static str, states: Tensor, marks: &[u32]) -> Result<Tensor> {
        if marks.iter().all(|mark| *mark == 0) {
            return Ok(states);
        }
        if let (Mode::Train { .. }, Some(trained)) = (self.mode, &self.net.trained) {
            let table = trained.parameters.var(name)?;
            let rows = table.dim(0)?;
            check_marks(marks, rows)?;
            let mut which = vec![0f32; marks.len() * rows];
            let marked = marks.iter().enumerate().filter(|(_, mark)| **mark > 0);
            marked.for_each(|(token, mark)| which[token * rows + *mark as usize] = 1.0);
            let which = Tensor::from_vec(which, (marks.len(), rows), &Cpu::Cpu)?;
            return Ok((states + which.matmul(&table)?)?);
        }
        let mut values = states.flatten_all()?.to_vec1::<f32>()?;
        self.add_marks(name, &mut values, marks)?;
        Ok(Tensor::from_vec(values, states.shape(), &Cpu::Cpu)?)
    }

    /// The same in plain values, in serving.
    ///
    /// # Errors
    /// A mark past the table.
    pub fn add_marks(&self, name: &'static str, states: &mut [f32], marks: &[u32]) -> Result<()> {
        let h = self.hidden();
        let table = self.net.packed(&Module::Marks { name }, |p| p.values.get(name).cloned())?;
        check_marks(marks, table.len() / h)?;
        let marked = states.chunks_exact_mut(h).zip(marks).filter(|(_, mark)| **mark > 0);
        marked.for_each(|(state, mark)| kernels::add(state, &table[*mark as usize * h..][..h]));
        Ok(())
    }
}

fn check_marks(marks: &[u32], rows: usize) -> Result<()> {
    match marks.iter().find(|mark| **mark as usize >= rows) {
        None => Ok(()),
        Some(mark) => Err(Error::setting("mark", mark, format!("past the table of {rows} rows"))),
    }
}
