//! What lies below a model file: its arrays, how they are packed and cached, where and in which precision they compute, seeds.
//!
//! A model file says what it is made of ([`Module`], in `modules.rs`) and how a batch goes through it (a function of a [`Pass`]). A [`Net`] holds the
//! arrays of these modules: in training as parameters with gradients, in serving packed for a device. The same forward function
//! runs in training, validation and serving; what differs is the [`Mode`] of its pass.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use candle_core::{D, Device as Cpu, Tensor};

use super::bert::{self, ClassifierPooling, Config, Family};
use super::halves::Restore;
pub use super::modules::{ENCODER, Inputs, Module, Projection, arrays, check, complete, draw_encoder};
use crate::losses::masked_tokens;
use crate::nn::encoder::{Encoder, Request, Rows, Start};
use crate::nn::kernels::{self, Unit};
use crate::nn::layer_grad::{Arena, ParamRef};
use crate::nn::linear::Linear;
use crate::nn::pooling::Mean;
use crate::nn::similarity::TokenVectors;
use crate::nn::word_rows::{check_ids, word_rows};
use crate::nn::{Device, Dtype, Parameters, Weights};
use crate::text::Batch;
use crate::{Error, Result};

/// How a forward pass runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// No dropout; the result carries no graph.
    Infer,
    /// Dropout drawn from this seed alone (counter based: the same seed gives the same masks).
    Train {
        /// Step's seed.
        seed: u64,
    },
}

/// A model's arrays, ready to compute.
pub struct Net {
    config: Config,
    pub(super) dtype: Dtype,
    /// What training changes; `None` in serving.
    pub(super) trained: Option<Trained>,
    packed: Mutex<Packed>,
}

pub(super) struct Trained {
    pub(super) parameters: Parameters,
    /// Memory of training steps.
    pub(super) arena: Arc<Arena>,
    /// Most tokens whose layers' values are kept for the backward pass; a larger batch is computed twice in parts.
    cached: Option<usize>,
}

/// Modules packed for inference. In training they are made when a pass needs them and dropped when parameters change.
#[derive(Default, Clone)]
pub(super) struct Packed {
    pub(super) encoders: BTreeMap<&'static str, Arc<Encoder>>,
    affines: BTreeMap<&'static str, Arc<Linear>>,
    pub(super) restores: BTreeMap<&'static str, Arc<Restore>>,
    /// Values and tables of words, the latter by their encoder's prefix.
    pub(super) values: BTreeMap<&'static str, Arc<Vec<f32>>>,
}

impl Packed {
    fn add(
        &mut self,
        module: &Module,
        config: &Config,
        from: &dyn bert::Source,
        dtype: Dtype,
        device: Device,
    ) -> Result<()> {
        match module {
            Module::Encoder { prefix, .. } => {
                self.encoders.insert(prefix, Arc::new(bert::encoder(config, prefix, from, dtype, device)?));
            }
            Module::Words { prefix } => {
                self.values.insert(prefix, from.kept(&format!("{prefix}{}", bert::WORDS))?);
            }
            Module::Values { name, .. } | Module::TokenValues { name } | Module::Marks { name } => {
                self.values.insert(name, from.kept(name)?);
            }
            Module::Restore { name, .. } => {
                self.restores.insert(name, Arc::new(Restore::new(name, from, config.layer_norm_eps)?));
            }
            Module::Affine { name, .. } | Module::Projection(Projection { name, bias: true, .. }) => {
                self.affines.insert(name, Arc::new(linear(name, from)?));
            }
            Module::Projection(Projection { name, outputs, bias: false, .. }) => {
                let mut linear = Linear::default();
                let weight = from.matrix(&format!("{name}.weight"))?;
                linear.pack(Dtype::F32, &[weight], &[&vec![0.0; *outputs]]);
                self.affines.insert(name, Arc::new(linear));
            }
            Module::Pooler => {
                self.affines.insert(bert::POOLER, Arc::new(linear(bert::POOLER, from)?));
                if config.modern.is_some() {
                    self.values.insert(bert::POOLER_NORM, from.kept(bert::POOLER_NORM)?);
                }
            }
            Module::MaskedHead => {
                self.affines.insert(bert::TRANSFORM, Arc::new(linear(bert::TRANSFORM, from)?));
                for name in bert::TRANSFORM_NORM {
                    self.values.insert(name, from.kept(name)?);
                }
                let mut decoder = Linear::default();
                let table = from.matrix(&format!("{}{}", bert::PREFIX, bert::WORDS))?;
                decoder.pack(Dtype::F32, &[table], &[from.vector(bert::DECODER_BIAS)?]);
                self.affines.insert(bert::DECODER_BIAS, Arc::new(decoder));
            }
        }
        Ok(())
    }
}

pub(super) fn linear(name: &str, from: &dyn bert::Source) -> Result<Linear> {
    let mut linear = Linear::default();
    let (weight, bias) = (from.matrix(&format!("{name}.weight"))?, from.vector(&format!("{name}.bias"))?);
    linear.pack(Dtype::F32, &[weight], &[bias]);
    Ok(linear)
}

impl Net {
    /// For training in `dtype` (f32 or bf16). Arrays that no module takes are left out; heads that are missing are drawn from `seed`.
    ///
    /// # Errors
    /// An array of the encoder that is missing or has another shape; int8; `SVERKA_CPU` names a unit that this CPU does not have.
    pub fn training(config: Config, modules: &[Module], mut weights: Weights, dtype: Dtype, seed: u64) -> Result<Self> {
        if dtype == Dtype::Int8 {
            return Err(Error::setting("dtype", "int8", "training runs in f32 or bf16; int8 is for scoring"));
        }
        Unit::choose()?;
        complete(modules, &config, &mut weights, seed);
        check(modules, &config, &weights)?;
        let names: BTreeMap<String, Vec<usize>> = arrays(modules, &config, &weights).into_iter().collect();
        weights.0.retain(|name, _| names.contains_key(name));
        let mut parameters = Parameters::new(weights);
        // the gradient of a tied table is a whole one
        let tied = if modules.contains(&Module::MaskedHead) { bert::PREFIX } else { "" };
        for module in modules {
            if let Module::Encoder { prefix, .. } | Module::Words { prefix } = module
                && *prefix != tied
            {
                parameters.mark_sparse(&format!("{prefix}{}", bert::WORDS))?;
            }
        }
        let trained = Some(Trained { parameters, arena: Arc::default(), cached: None });
        Ok(Net { config, dtype, trained, packed: Mutex::default() })
    }

    /// For scoring: everything packed for a device.
    ///
    /// # Errors
    /// An array that is missing or has another shape; a device that is not there, or does not compute in `dtype`.
    pub fn serving(
        config: Config,
        modules: &[Module],
        weights: &Weights,
        dtype: Dtype,
        device: Device,
    ) -> Result<Self> {
        check(modules, &config, weights)?;
        let mut packed = Packed::default();
        for module in modules {
            packed.add(module, &config, weights, dtype, device)?;
        }
        Ok(Net { config, dtype, trained: None, packed: Mutex::new(packed) })
    }

    /// Lets last states of batches past so many tokens be computed in parts, and again in the backward pass: memory does not grow with the batch.
    pub fn cache_gradients(&mut self, tokens: usize) {
        if let Some(trained) = &mut self.trained {
            trained.cached = Some(tokens);
        }
    }
    /// The encoder's settings.
    pub fn config(&self) -> &Config {
        &self.config
    }
    /// The trained arrays.
    ///
    /// # Panics
    /// In serving, where there are none.
    pub fn parameters(&self) -> &Parameters {
        &self.trained.as_ref().expect("a net made for training").parameters
    }
    /// The trained arrays, to be changed: what was packed of them is dropped.
    ///
    /// # Panics
    /// In serving, where there are none.
    pub fn parameters_mut(&mut self) -> &mut Parameters {
        self.packed = Mutex::default();
        &mut self.trained.as_mut().expect("a net made for training").parameters
    }
    /// One forward pass.
    pub fn pass(&self, mode: Mode) -> Pass<'_> {
        Pass { net: self, mode }
    }

    /// A packed module, made of the parameters if it is not there.
    pub(super) fn packed<T: Clone>(&self, module: &Module, get: impl Fn(&Packed) -> Option<T>) -> Result<T> {
        let mut packed = self.packed.lock().expect("no panic holds the packed modules");
        if let Some(found) = get(&packed) {
            return Ok(found);
        }
        let Some(trained) = &self.trained else {
            return Err(Error::Internal {
                op: "forward",
                what: format!("{module:?} was not listed among the modules"),
            });
        };
        if matches!(module, Module::Encoder { .. }) {
            trained.arena.clear(); // steps and scoring take turns, and so do their buffers
        }
        packed.add(module, &self.config, &trained.parameters, self.dtype, Device::Cpu)?;
        get(&packed).ok_or_else(|| Error::Internal { op: "forward", what: format!("{module:?} was not packed") })
    }
}

/// One forward pass through a [`Net`]: what a model's forward function is written in.
pub struct Pass<'a> {
    pub(super) net: &'a Net,
    pub(super) mode: Mode,
}

/// Site of the dropout before a classifier.
const BEFORE_HEAD: u64 = 0x5bd1_e995_0000_0005;

impl Pass<'_> {
    /// Width of a state, `h`.
    pub fn hidden(&self) -> usize {
        self.net.config.hidden_size
    }
    /// Spread of freshly drawn weights.
    pub fn spread(&self) -> f64 {
        f64::from(self.net.config.initializer_range)
    }
    /// Last states of an encoder: `[b, h]` of first tokens, or `[t, h]` of all.
    ///
    /// # Errors
    /// Ids, segments or lengths past the tables; a sequence without a token.
    pub fn states(&self, prefix: &'static str, batch: &Batch, rows: Rows) -> Result<Tensor> {
        if let (Mode::Train { seed }, Some(trained)) = (self.mode, &self.net.trained) {
            let graph = bert::graph(&self.net.config, prefix, &trained.parameters, self.net.dtype)?;
            if let Some(tokens) = trained.cached.filter(|tokens| *tokens < batch.tokens()) {
                return graph.cached(batch, rows == Rows::First, seed, &trained.arena, tokens);
            }
            let mut states = graph.states(batch, rows == Rows::First, seed, &trained.arena)?;
            return states.pop().ok_or(Error::Internal { op: "forward", what: "no states".into() });
        }
        let module = Module::Encoder { prefix, copy_of: None };
        let encoder = self.net.packed(&module, |p| p.encoders.get(prefix).cloned())?;
        let request = Request { start: Start::Tokens(batch), layers: 0..encoder.layers(), rows, keep: &[] };
        let states = encoder.run(&request)?.rows;
        let h = self.hidden();
        Ok(Tensor::from_vec(states, ((if rows == Rows::First { batch.len() } else { batch.tokens() }), h), &Cpu::Cpu)?)
    }
    /// First tokens' last states, `[b, h]`, of words' vectors `[t, h]` in place of rows of the table of words; the batch's ids are their numbers.
    ///
    /// # Errors
    /// Ids, segments or lengths past the tables; a sequence without a token; an encoder on a GPU.
    pub fn states_of_words(&self, prefix: &'static str, words: &Tensor, batch: &Batch) -> Result<Tensor> {
        if let (Mode::Train { seed }, Some(trained)) = (self.mode, &self.net.trained) {
            let graph = bert::graph(&self.net.config, prefix, &trained.parameters, self.net.dtype)?;
            let mut states = graph.states_of(words, batch, true, seed, &trained.arena)?;
            return states.pop().ok_or(Error::Internal { op: "forward", what: "no states".into() });
        }
        let module = Module::Encoder { prefix, copy_of: None };
        let encoder = self.net.packed(&module, |p| p.encoders.get(prefix).cloned())?;
        let Some(on_cpu) = encoder.on_cpu() else {
            let what = "words made of characters are computed on a CPU only: leave --device out";
            return Err(Error::setting("--device", "cuda", what));
        };
        let mut embedding = on_cpu.embedding.clone();
        embedding.weights.words = Arc::new(words.flatten_all()?.to_vec1()?);
        let states = embedding.states(batch)?;
        let start = Start::States { states: &states, offsets: &batch.offsets };
        let request = Request { start, layers: 0..encoder.layers(), rows: Rows::First, keep: &[] };
        Ok(Tensor::from_vec(encoder.run(&request)?.rows, (batch.len(), self.hidden()), &Cpu::Cpu)?)
    }
    /// States of an encoder by number, `[t, h]` each: 0 is the embedding, `i + 1` comes after layer `i`.
    ///
    /// # Errors
    /// Ids, segments or lengths past the tables; a sequence without a token; a state that is not there.
    pub fn layers(&self, prefix: &'static str, batch: &Batch, keep: &[usize]) -> Result<Vec<Tensor>> {
        if let (Mode::Train { seed }, Some(trained)) = (self.mode, &self.net.trained) {
            let graph = bert::graph(&self.net.config, prefix, &trained.parameters, self.net.dtype)?;
            let states = graph.states(batch, false, seed, &trained.arena)?;
            let missing = |at: &usize| Error::Internal { op: "forward", what: format!("there is no state {at}") };
            return keep.iter().map(|at| states.get(*at).cloned().ok_or_else(|| missing(at))).collect();
        }
        let module = Module::Encoder { prefix, copy_of: None };
        let encoder = self.net.packed(&module, |p| p.encoders.get(prefix).cloned())?;
        let last = keep.iter().max().copied().unwrap_or(0);
        // the last state comes out anyway, and no layer after it is computed
        let before: Vec<usize> = keep.iter().copied().filter(|at| *at != last).collect();
        let request = Request { start: Start::Tokens(batch), layers: 0..last, rows: Rows::All, keep: &before };
        let states = encoder.run(&request)?;
        let (mut kept, shape) = (states.kept.into_iter(), (batch.tokens(), self.hidden()));
        let end = Tensor::from_vec(states.rows, shape, &Cpu::Cpu)?;
        let mut state = |at: &usize| match *at == last {
            true => Ok(end.clone()),
            false => Ok(Tensor::from_vec(kept.next().unwrap_or_default(), shape, &Cpu::Cpu)?),
        };
        keep.iter().map(&mut state).collect()
    }
    /// The encoder's last state has this number.
    pub fn last_layer(&self) -> usize {
        self.net.config.num_hidden_layers
    }
    /// Static vectors: each token's row of the table of words.
    ///
    /// # Errors
    /// An id past the table.
    pub fn words(&self, prefix: &'static str, batch: &Batch) -> Result<TokenVectors> {
        let hidden = self.hidden();
        if let (Mode::Train { .. }, Some(trained)) = (self.mode, &self.net.trained) {
            let table = trained.parameters.get(&format!("{prefix}{}", bert::WORDS))?;
            return Ok(TokenVectors::States(word_rows(&table.value, hidden, &batch.ids, &table.grad)?));
        }
        let table = self.net.packed(&Module::Words { prefix }, |p| p.values.get(prefix).cloned())?;
        check_ids(&batch.ids, table.len() / hidden)?;
        Ok(TokenVectors::Table { table, ids: batch.ids.clone(), hidden })
    }
    /// Trained values, `[n]`.
    pub fn values(&self, name: &'static str) -> Result<Tensor> {
        if let (Mode::Train { .. }, Some(trained)) = (self.mode, &self.net.trained) {
            return trained.parameters.var(name);
        }
        let module = Module::Values { name, init: Vec::new() };
        self.constant(&self.net.packed(&module, |p| p.values.get(name).cloned())?)
    }
    /// One value for each token of the vocabulary, `[vocab_size]`.
    ///
    /// # Errors
    /// They are not there.
    pub fn token_values(&self, name: &'static str) -> Result<Arc<Vec<f32>>> {
        match (self.mode, &self.net.trained) {
            (Mode::Train { .. }, Some(trained)) => Ok(trained.parameters.get(name)?.value.clone()),
            _ => self.net.packed(&Module::TokenValues { name }, |p| p.values.get(name).cloned()),
        }
    }
    /// Values that are no array of the model, `[n]`.
    pub fn constant(&self, values: &[f32]) -> Result<Tensor> {
        Ok(Tensor::from_slice(values, values.len(), &Cpu::Cpu)?)
    }
    /// Mean state of each sequence, `[t, h]` to `[b, h]`.
    pub fn mean(&self, states: &Tensor, batch: &Batch) -> Result<Tensor> {
        Ok(states.apply_op1(Mean { offsets: batch.offsets.clone() })?)
    }
    /// BERT's pooler: first tokens' states `[b, h]` through a linear layer and `tanh`. DistilBERT's head has ReLU in its place, ModernBERT's
    /// GELU and a norm; the latter may see the mean of all states.
    pub fn pooled(&self, batch: &Batch) -> Result<Tensor> {
        let config = &self.net.config;
        let seen = match config.modern.map(|modern| modern.classifier_pooling) {
            Some(ClassifierPooling::Mean) => self.mean(&self.states(bert::PREFIX, batch, Rows::All)?, batch)?,
            _ => self.states(bert::PREFIX, batch, Rows::First)?,
        };
        self.pooler(&seen)
    }
    /// The same of states `[b, h]` that are there.
    pub fn pooler(&self, states: &Tensor) -> Result<Tensor> {
        let pooled = self.linear(Module::Pooler, bert::POOLER, states)?;
        Ok(match self.net.config.family {
            Family::Distilbert => pooled.relu()?,
            Family::Modernbert => self.pooler_norm(&pooled.gelu_erf()?)?,
            _ => pooled.tanh()?,
        })
    }
    /// LayerNorm without a shift, `[b, h]`.
    fn pooler_norm(&self, x: &Tensor) -> Result<Tensor> {
        let scale = match (self.mode, &self.net.trained) {
            (Mode::Train { .. }, Some(trained)) => trained.parameters.var(bert::POOLER_NORM)?,
            _ => self.constant(&self.net.packed(&Module::Pooler, |p| p.values.get(bert::POOLER_NORM).cloned())?)?,
        };
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = (centred.sqr()?.mean_keepdim(D::Minus1)? + f64::from(self.net.config.layer_norm_eps))?;
        Ok(centred.broadcast_div(&variance.sqrt()?)?.broadcast_mul(&scale)?)
    }
    /// Rows `[n, inputs]` through a linear layer, `[n, outputs]`.
    pub fn affine(&self, name: &'static str, x: &Tensor) -> Result<Tensor> {
        self.linear(Module::Affine { name, outputs: &[], inputs: Inputs::STATE }, name, x)
    }
    /// What the head of masked tokens makes of states `[m, h]` before the decoder: a linear layer, GELU, a LayerNorm.
    pub fn masked_transform(&self, states: &Tensor) -> Result<Tensor> {
        let x = self.linear(Module::MaskedHead, bert::TRANSFORM, states)?.gelu_erf()?;
        let x = x.broadcast_sub(&x.mean_keepdim(1)?)?;
        let variance = (x.sqr()?.mean_keepdim(1)? + f64::from(self.net.config.layer_norm_eps))?;
        let [gamma, beta] = bert::TRANSFORM_NORM;
        let x = x.broadcast_div(&variance.sqrt()?)?.broadcast_mul(&self.values(gamma)?)?;
        Ok(x.broadcast_add(&self.values(beta)?)?)
    }
    /// Cross-entropy of masked tokens after [`Pass::masked_transform`], `[m, h]`, each with its weight: a scalar with its graph.
    ///
    /// # Errors
    /// Targets past the table; not in training.
    pub fn masked_loss(&self, states: &Tensor, targets: &[u32], weights: &[f32]) -> Result<Tensor> {
        let Some(trained) = &self.net.trained else {
            return Err(Error::Internal { op: "masked_loss", what: "the net is for scoring".into() });
        };
        let param = |name: &str| -> Result<ParamRef> {
            let p = trained.parameters.get(name)?;
            Ok(ParamRef { value: p.value.clone(), grad: p.grad.clone() })
        };
        let table = param(&format!("{}{}", bert::PREFIX, bert::WORDS))?;
        masked_tokens(states, (table, param(bert::DECODER_BIAS)?), self.net.dtype, targets, weights)
    }
    /// Logits of the whole vocabulary after [`Pass::masked_transform`], row by row: `[m, vocab_size]`; without a graph.
    pub fn vocabulary_logits(&self, states: &Tensor) -> Result<Vec<f32>> {
        let decoder = self.net.packed(&Module::MaskedHead, |p| p.affines.get(bert::DECODER_BIAS).cloned())?;
        Ok(decoder.rows(&states.flatten_all()?.to_vec1::<f32>()?))
    }
    /// Rows `[n, inputs]` through a linear layer of any width, `[n, outputs]`.
    pub fn projected(&self, layer: Projection, x: &Tensor) -> Result<Tensor> {
        self.linear(Module::Projection(layer), layer.name, x)
    }
    /// A pass of the same kind with other dropout, for a second run through an encoder in one step.
    pub fn again(&self, run: u64) -> Self {
        let mode = match self.mode {
            Mode::Train { seed } => Mode::Train { seed: seed.wrapping_add(run.wrapping_mul(0xd6e8_feb8_6659_fd93)) },
            Mode::Infer => Mode::Infer,
        };
        Pass { net: self.net, mode }
    }
    fn linear(&self, module: Module, name: &'static str, x: &Tensor) -> Result<Tensor> {
        if let (Mode::Train { .. }, Some(trained)) = (self.mode, &self.net.trained) {
            let var = |kind: &str| trained.parameters.var(&format!("{name}.{kind}"));
            let y = x.matmul(&var("weight")?.t()?)?;
            let is_plain = match module {
                Module::Projection(layer) => !layer.bias,
                // ModernBERT's head has no bias: it stays 0
                _ => name == bert::POOLER && self.net.config.modern.is_some(),
            };
            return if is_plain { Ok(y) } else { Ok(y.broadcast_add(&var("bias")?)?) };
        }
        self.packed_rows(&module, name, x)
    }
    /// Rows through a packed linear layer.
    fn packed_rows(&self, module: &Module, name: &'static str, x: &Tensor) -> Result<Tensor> {
        let linear = self.net.packed(module, |p| p.affines.get(name).cloned())?;
        let x = x.flatten_all()?.to_vec1::<f32>()?;
        let rows = x.len() / linear.k;
        Ok(Tensor::from_vec(linear.rows(&x), (rows, linear.n), &Cpu::Cpu)?)
    }
    /// In training 1 or 0 for each of `n` values, 0 by this chance; `site` tells draws of one pass apart.
    pub fn chances(&self, site: u64, n: usize, chance: f32) -> Option<Vec<f32>> {
        let Mode::Train { seed } = self.mode else { return None };
        let mut mask = vec![1f32; n];
        kernels::dropout(
            &mut mask,
            seed ^ BEFORE_HEAD.rotate_left(17) ^ site.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            0,
            chance,
        );
        Some(mask.into_iter().map(|kept| if kept > 0.0 { 1.0 } else { 0.0 }).collect())
    }
    /// Dropout of the encoder's rate before a head, in training.
    pub fn dropout(&self, x: &Tensor) -> Result<Tensor> {
        let Mode::Train { seed } = self.mode else { return Ok(x.clone()) };
        let mut mask = vec![1f32; x.elem_count()];
        kernels::dropout(&mut mask, seed ^ BEFORE_HEAD, 0, self.net.config.hidden_dropout_prob);
        Ok((x * Tensor::from_vec(mask, x.shape(), x.device())?)?)
    }
}
