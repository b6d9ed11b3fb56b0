//! An encoder in serving, on a CPU or a GPU: one request says what is wanted of it.
//!
//! A cross-encoder wants the first tokens of the last layer, a tower the mean of all tokens, CEDR the states after every layer, a split
//! encoder the lower layers now and the upper ones later. All of these are one [`Request`]; a device has no other method.

use std::ops::Range;
use std::sync::Arc;

use super::embedding::Embedding;
use super::encoder_cpu::CpuEncoder;
use super::global::Global;
use super::layer::LayerShape;
use super::layer_weights::{LayerArrays, Norm};
use super::relative::RelativeBias;
use super::{Device, Dtype};
use crate::text::Batch;
use crate::{Error, Result};

/// What a run starts from.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    /// Token ids, segments and positions.
    Tokens(&'a Batch),
    /// States from before.
    States {
        /// `[t, h]`, packed as a batch is.
        states: &'a [f32],
        /// Where each sequence starts, and the end: `[b + 1]`.
        offsets: &'a [u32],
    },
}

/// Which rows of the last state are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Every token's, `[t, h]`.
    All,
    /// The first token's of each sequence, `[b, h]`.
    First,
}

/// What is wanted of an encoder.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// What goes in.
    pub start: Start<'a>,
    /// The layers that it goes through. State 0 is the embedding, state `i + 1` comes after layer `i`; states that go in are those before
    /// the first layer of the range.
    pub layers: Range<usize>,
    /// Which rows of the last state are wanted.
    pub rows: Rows,
    /// Numbers of states of which all rows are kept, from the range's start to its end.
    pub keep: &'a [usize],
}

/// What an encoder gives.
#[derive(Debug, Clone, PartialEq)]
pub struct States {
    /// Rows of the last state, as [`Rows`] says.
    pub rows: Vec<f32>,
    /// The kept states, `[t, h]` each, in the order of [`Request::keep`].
    pub kept: Vec<Vec<f32>>,
}

impl<'a> Start<'a> {
    /// How many tokens of each sequence are looked at; empty: all.
    pub fn keys(&self) -> &'a [u32] {
        match self {
            Start::Tokens(batch) => &batch.keys,
            Start::States { .. } => &[],
        }
    }
    /// Where each sequence starts, and the end.
    pub fn offsets(&self) -> &'a [u32] {
        match self {
            Start::Tokens(batch) => &batch.offsets,
            Start::States { offsets, .. } => offsets,
        }
    }
}

/// An encoder, packed for a device.
pub struct Encoder {
    hidden: usize,
    layers: usize,
    on: On,
}

#[allow(clippy::large_enum_variant)] // one an encoder, moved once
enum On {
    Cpu(CpuEncoder),
    #[cfg(feature = "cuda")]
    Cuda(super::cuda::CudaEncoder),
}

impl Encoder {
    /// Brings an encoder's arrays to a device.
    ///
    /// # Errors
    /// A device that is not there, or does not compute in `dtype`; `SVERKA_CPU` names a unit that this CPU does not have.
    pub fn new(
        device: Device,
        dtype: Dtype,
        shape: LayerShape,
        embedding: Embedding,
        layers: &[LayerArrays],
        bias: Option<Arc<RelativeBias>>,
        globals: &[Arc<Global>],
        final_norm: Option<Norm>,
    ) -> Result<Self> {
        if !globals.is_empty() && device != Device::Cpu {
            let what = "Longformer is computed on a CPU only: leave --device out";
            return Err(Error::setting("--device", device, what));
        }
        if shape.modern.is_some() && device != Device::Cpu {
            let what = "ModernBERT is computed on a CPU only: leave --device out";
            return Err(Error::setting("--device", device, what));
        }
        if shape.hashed.is_some() && device != Device::Cpu {
            let what = "hashed attention is computed on a CPU only: leave --device out";
            return Err(Error::setting("--device", device, what));
        }
        if bias.is_some() && device != Device::Cpu {
            let what = "MPNet's relative attention bias is computed on a CPU only: leave --device out";
            return Err(Error::setting("--device", device, what));
        }
        let (hidden, count) = (shape.hidden, layers.len());
        let on = match device {
            Device::Cpu => On::Cpu(CpuEncoder::new(dtype, shape, embedding, layers, bias, globals, final_norm)?),
            #[cfg(feature = "cuda")]
            Device::Cuda(ordinal) => {
                On::Cuda(super::cuda::CudaEncoder::new(ordinal, dtype, shape, &embedding, layers)?)
            }
            #[cfg(not(feature = "cuda"))]
            Device::Cuda(_) => {
                let what = "this sverka computes on a CPU only: build it with --features cuda, or leave --device out";
                return Err(Error::setting("--device", device, what));
            }
        };
        Ok(Encoder { hidden, layers: count, on })
    }
    /// Width of a state, `h`.
    pub fn hidden(&self) -> usize {
        self.hidden
    }
    /// Number of layers, `l`.
    pub fn layers(&self) -> usize {
        self.layers
    }
    /// The packed layers, if they are on a CPU.
    pub fn on_cpu(&self) -> Option<&CpuEncoder> {
        match &self.on {
            On::Cpu(encoder) => Some(encoder),
            #[cfg(feature = "cuda")]
            On::Cuda(_) => None,
        }
    }
    /// Runs some layers. On a CPU no value depends on what else is in the batch, nor on the number of threads.
    ///
    /// # Errors
    /// Ids, segments, positions or lengths past the model's tables; a sequence without a token; layers or states that are not there; what
    /// a device refuses.
    pub fn run(&self, request: &Request) -> Result<States> {
        self.check(request)?;
        match &self.on {
            On::Cpu(encoder) => encoder.run(request),
            #[cfg(feature = "cuda")]
            On::Cuda(encoder) => encoder.run(request),
        }
    }

    fn check(&self, request: &Request) -> Result<()> {
        let Range { start, end } = request.layers;
        let wrong = |expected: String, got: String| Err(Error::Shape { op: "encoder", expected, got });
        if start > end || end > self.layers {
            return wrong(format!("layers within 0..{}", self.layers), format!("{start}..{end}"));
        }
        if let Some(state) = request.keep.iter().find(|state| !(start..=end).contains(*state)) {
            return wrong(format!("states from {start} to {end} to keep"), state.to_string());
        }
        match request.start {
            Start::Tokens(_) if start > 0 => wrong("states before a layer past the first".into(), "tokens".into()),
            Start::Tokens(_) => Ok(()),
            Start::States { states, offsets } => {
                let tokens = offsets.last().map_or(0, |&t| t as usize);
                if offsets.first() != Some(&0) || states.len() != tokens * self.hidden {
                    let expected = format!("offsets from 0 and {} values a token", self.hidden);
                    return wrong(expected, format!("offsets {:?}.., {} values", offsets.first(), states.len()));
                }
                match offsets.windows(2).find(|w| w[0] >= w[1]) {
                    Some(_) => wrong("sequences of at least one token".into(), "one without".into()),
                    None => Ok(()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::nn::GradBuffer;
    use crate::nn::grad_buffer::SparseRows;
    use crate::nn::graph::Graph;
    use crate::nn::layer_grad::ParamRef;
    use crate::nn::layer_weights::{EmbeddingWeights, LayerWeights, Norm};
    use crate::nn::quantized::Matrix;

    const SHAPE: LayerShape = LayerShape {
        hidden: 12,
        heads: 2,
        ff: 20,
        eps: 1e-12,
        hidden_dropout: 0.0,
        attention_dropout: 0.0,
        modern: None,
        hashed: None,
    };
    const LAYERS: usize = 3;
    const POSITIONS: usize = 150;
    /// Several groups on any number of threads, and sequences of one token.
    const LENGTHS: [usize; 7] = [1, 7, 63, 130, 2, 40, 1];

    /// A small random model.
    struct Model {
        embedding: EmbeddingWeights<Arc<Vec<f32>>>,
        layers: Vec<LayerWeights<Arc<Vec<f32>>>>,
    }

    fn model() -> Model {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut draw = |shape: Vec<usize>| {
            let values = (0..shape.iter().product()).map(|_| rng.random_range(-0.5..0.5f32));
            Arc::new(values.collect::<Vec<_>>())
        };
        let h = SHAPE.hidden;
        let norm = Norm { gamma: vec![h], beta: vec![h] };
        let tables = EmbeddingWeights { words: vec![30, h], segments: vec![2, h], positions: vec![POSITIONS, h], norm };
        let embedding = tables.try_map(|shape| Ok::<_, Error>(draw(shape))).unwrap();
        let layers = (0..LAYERS).map(|_| {
            let draw = std::cell::RefCell::new(&mut draw);
            SHAPE.arrays().map(|shape| (draw.borrow_mut())(shape), |shape| (draw.borrow_mut())(shape))
        });
        Model { embedding, layers: layers.collect() }
    }

    impl Model {
        fn embedding(&self) -> Embedding {
            let weights = self.embedding.clone();
            Embedding { hidden: SHAPE.hidden, eps: SHAPE.eps, dropout: 0.0, rotary: None, weights }
        }
        fn encoder(&self, dtype: Dtype) -> Encoder {
            let arrays = self.layers.iter().map(|l| l.as_ref().map(|m| Matrix::F32(m), |v| v.as_slice()));
            let layers: Vec<LayerArrays> = arrays.collect();
            Encoder::new(Device::Cpu, dtype, SHAPE, self.embedding(), &layers, None, &[], None).unwrap()
        }
        /// The states of the training graph, and the gradient of the position table for the sum of the last one.
        fn trained(&self, batch: &Batch) -> (Vec<Vec<f32>>, Vec<f32>) {
            let weights = (0..batch.tokens() * SHAPE.hidden).map(|i| (i % 7) as f32 - 3.0).collect::<Vec<_>>();
            let (states, mut grads) = self.trained_as(SHAPE, batch, false, &weights);
            (states, grads.remove(0))
        }
        /// The states of the training graph with layers of some shape, and the gradients of the position table and of each layer's arrays for
        /// the sum of the last states, weighed.
        fn trained_as(
            &self,
            shape: LayerShape,
            batch: &Batch,
            first_only: bool,
            weights: &[f32],
        ) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
            let zeros = |values: Arc<Vec<f32>>| Ok::<_, Error>(Arc::new(Mutex::new(GradBuffer::Zero(values.len()))));
            let mut grads = self.embedding.clone().try_map(zeros).unwrap();
            grads.words = Arc::new(Mutex::new(GradBuffer::SparseRows(SparseRows::new(30, SHAPE.hidden))));
            let param = |value: Arc<Vec<f32>>| {
                let grad = Arc::new(Mutex::new(GradBuffer::Zero(value.len())));
                ParamRef { value, grad }
            };
            let layers: Vec<_> = self.layers.iter().cloned().map(|layer| layer.map(param, param)).collect();
            let arrays = layers.iter().flat_map(|layer| layer.each().map(|param| param.grad.clone()));
            let wanted: Vec<_> = [grads.positions.clone()].into_iter().chain(arrays).collect();
            let graph = Graph {
                embedding: self.embedding(),
                grads,
                layers,
                bias: None,
                globals: Vec::new(),
                final_norm: None,
                shape,
                dtype: Dtype::F32,
            };
            let states = graph.states(batch, first_only, 1, &Arc::default()).unwrap();
            let last = states.last().unwrap();
            let weights = candle_core::Tensor::from_slice(weights, last.shape(), last.device()).unwrap();
            (last * weights).unwrap().sum_all().unwrap().backward().unwrap();
            let values = states.iter().map(|s| s.flatten_all().unwrap().to_vec1().unwrap()).collect();
            (values, wanted.iter().map(|grad| grad.lock().unwrap().to_vec()).collect())
        }
    }

    fn batch(positions: impl Fn(usize) -> Option<u32>) -> Batch {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut batch = Batch { offsets: vec![0], ..Batch::default() };
        for length in LENGTHS {
            batch.ids.extend((0..length).map(|_| rng.random_range(0..30u32)));
            batch.segments.extend((0..length).map(|i| u32::from(2 * i > length)));
            batch.positions.extend((0..length).filter_map(&positions));
            batch.offsets.push(batch.ids.len() as u32);
        }
        batch
    }

    fn run(encoder: &Encoder, start: Start, layers: Range<usize>, rows: Rows, keep: &[usize]) -> States {
        encoder.run(&Request { start, layers, rows, keep }).unwrap()
    }

    fn assert_near(a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len());
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5 * b.abs().max(1.0)), "{a:?}\n{b:?}");
    }

    #[test]
    fn a_run_in_two_parts_gives_the_bits_of_one() {
        let batch = batch(|_| None);
        let (start, offsets) = (Start::Tokens(&batch), &batch.offsets[..]);
        for dtype in [Dtype::F32, Dtype::Bf16, Dtype::Int8] {
            let encoder = model().encoder(dtype);
            for rows in [Rows::All, Rows::First] {
                let whole = run(&encoder, start, 0..LAYERS, rows, &[]).rows;
                for middle in 0..=LAYERS {
                    let states = run(&encoder, start, 0..middle, Rows::All, &[]).rows;
                    let rest = run(&encoder, Start::States { states: &states, offsets }, middle..LAYERS, rows, &[]);
                    assert_eq!(rest.rows, whole, "{dtype:?} {rows:?} {middle}");
                }
            }
        }
    }

    #[test]
    fn kept_states_are_those_of_the_training_graph_and_change_no_bit_of_the_rows() {
        let (batch, model) = (batch(|_| None), model());
        let (encoder, (trained, _)) = (model.encoder(Dtype::F32), model.trained(&batch));
        for rows in [Rows::All, Rows::First] {
            let all = run(&encoder, Start::Tokens(&batch), 0..LAYERS, rows, &[3, 0, 1, 2]);
            for (state, kept) in [3, 0, 1, 2].into_iter().zip(&all.kept) {
                assert_near(kept, &trained[state]);
            }
            assert_eq!(all.rows, run(&encoder, Start::Tokens(&batch), 0..LAYERS, rows, &[]).rows, "{rows:?}");
            let part = run(&encoder, Start::Tokens(&batch), 0..2, rows, &[1]);
            assert_eq!(part.kept, [all.kept[2].clone()], "{rows:?}");
        }
    }

    const HASHED: LayerShape =
        LayerShape { hashed: Some(crate::nn::hashed::Hashed { chunk: 8, rounds: 2, seed: 1 }), ..SHAPE };

    /// By hashing, keys are queries: first tokens alone must not leave those of the others out.
    #[test]
    fn first_rows_of_hashed_layers_are_those_of_all() {
        let (shape, batch, model) = (HASHED, batch(|_| None), model());
        for dtype in [Dtype::F32, Dtype::Bf16] {
            let arrays = model.layers.iter().map(|l| l.as_ref().map(|m| Matrix::F32(m), |v| v.as_slice()));
            let layers: Vec<LayerArrays> = arrays.collect();
            let encoder = Encoder::new(Device::Cpu, dtype, shape, model.embedding(), &layers, None, &[], None).unwrap();
            let of = |rows: Rows| run(&encoder, Start::Tokens(&batch), 0..LAYERS, rows, &[]).rows;
            let firsts = super::super::encoder_cpu::first_rows(&of(Rows::All), &batch.offsets, SHAPE.hidden);
            assert!(firsts.iter().all(|x| x.is_finite()));
            assert_eq!(of(Rows::First), firsts, "{dtype:?}");
        }
    }

    #[test]
    fn gradients_of_first_rows_are_those_of_all_with_none_elsewhere() {
        let (batch, model, h) = (batch(|_| None), model(), SHAPE.hidden);
        let of_first: Vec<f32> = (0..batch.len() * h).map(|i| (i % 7) as f32 - 3.0).collect();
        let mut of_all = vec![0.0; batch.tokens() * h];
        for (of_first, at) in of_first.chunks_exact(h).zip(&batch.offsets) {
            of_all[*at as usize * h..][..h].copy_from_slice(of_first);
        }
        for shape in [SHAPE, HASHED] {
            let (first, all) =
                (model.trained_as(shape, &batch, true, &of_first), model.trained_as(shape, &batch, false, &of_all));
            let rows = super::super::encoder_cpu::first_rows(&all.0[LAYERS], &batch.offsets, h);
            assert_eq!(first.0[LAYERS], rows);
            first.1.iter().zip(&all.1).for_each(|(first, all)| assert_near(first, all));
        }
    }

    #[test]
    fn positions_choose_the_rows_of_the_table_in_serving_and_training() {
        let model = model();
        let encoder = model.encoder(Dtype::F32);
        let last =
            |encoder: &Encoder, batch: &Batch| run(encoder, Start::Tokens(batch), 0..LAYERS, Rows::All, &[]).rows;
        let (counted, shifted) = (batch(|i| Some(i as u32)), batch(|i| Some(i as u32 + 20)));
        assert_eq!(last(&encoder, &counted), last(&encoder, &batch(|_| None)));
        // the same as a table whose rows are shifted
        let mut rolled = super::tests::model();
        Arc::make_mut(&mut rolled.embedding.positions).rotate_left(20 * SHAPE.hidden);
        let expected = last(&rolled.encoder(Dtype::F32), &counted);
        assert_eq!(last(&encoder, &shifted), expected);
        assert_ne!(last(&encoder, &counted), expected);
        let (states, grad) = model.trained(&shifted);
        assert_near(&states[LAYERS], &expected);
        let is_touched: Vec<bool> = grad.chunks(SHAPE.hidden).map(|row| row.iter().any(|g| *g != 0.0)).collect();
        assert_eq!(is_touched, (0..POSITIONS).map(|at| (20..150).contains(&at)).collect::<Vec<_>>());
    }

    #[test]
    fn an_empty_range_gives_the_rows_of_its_start() {
        let (batch, model) = (batch(|_| None), model());
        let encoder = model.encoder(Dtype::F32);
        let firsts = |states: &[f32]| super::super::encoder_cpu::first_rows(states, &batch.offsets, SHAPE.hidden);
        let embedded = run(&encoder, Start::Tokens(&batch), 0..0, Rows::All, &[0]);
        assert_near(&embedded.rows, &model.trained(&batch).0[0]);
        assert_eq!(embedded.kept[0], embedded.rows);
        assert_eq!(embedded.kept.len(), 1);
        let first = run(&encoder, Start::Tokens(&batch), 0..0, Rows::First, &[]).rows;
        assert_eq!(first, firsts(&embedded.rows));
        let states = run(&encoder, Start::Tokens(&batch), 0..2, Rows::All, &[]).rows;
        let start = Start::States { states: &states, offsets: &batch.offsets };
        assert_eq!(
            run(&encoder, start, 2..2, Rows::All, &[2]),
            States { rows: states.clone(), kept: vec![states.clone()] }
        );
        assert_eq!(run(&encoder, start, 3..3, Rows::First, &[]).rows, firsts(&states));
        let nothing = Batch { offsets: vec![0], ..Batch::default() };
        assert!(run(&encoder, Start::Tokens(&nothing), 0..LAYERS, Rows::First, &[]).rows.is_empty());
    }

    #[test]
    fn a_request_that_an_encoder_cannot_serve_is_refused() {
        let batch = batch(|_| None);
        let encoder = model().encoder(Dtype::F32);
        let refused = |start: Start, layers: Range<usize>, keep: &[usize], part: &str| {
            let error = encoder.run(&Request { start, layers, rows: Rows::All, keep }).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains('\n'), "{error}");
        };
        let tokens = Start::Tokens(&batch);
        refused(tokens, 0..4, &[], "layers within 0..3");
        #[allow(clippy::reversed_empty_ranges)]
        refused(tokens, 2..1, &[], "layers within 0..3");
        refused(tokens, 0..2, &[1, 3], "states from 0 to 2 to keep");
        refused(tokens, 1..2, &[], "states before a layer past the first");
        let states = vec![0.0; 2 * SHAPE.hidden];
        let with = |states, offsets, keep: &[usize], part| refused(Start::States { states, offsets }, 1..3, keep, part);
        with(&states, &[0, 2], &[0], "states from 1 to 3 to keep");
        with(&states[1..], &[0, 2], &[], "12 values a token");
        with(&states, &[0, 1], &[], "12 values a token");
        with(&states, &[1, 2], &[], "offsets from 0");
        with(&[], &[], &[], "offsets from 0");
        with(&states, &[0, 0, 2], &[], "at least one token");
        let positions = |positions: Vec<u32>, part| {
            let batch =
                Batch { ids: vec![1; 2], segments: vec![0; 2], offsets: vec![0, 2], positions, ..Batch::default() };
            refused(Start::Tokens(&batch), 0..3, &[], part);
        };
        positions(vec![0, POSITIONS as u32], "150: position past the table of 150");
        positions(vec![0], "2 positions, or none");
    }
}
