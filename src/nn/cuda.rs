//! An encoder on an NVIDIA GPU: embedding, layers and pooler over packed sequences, in f32 or bf16 (sums, norms, softmax and
//! GELU f32; states between bricks in the products' type). As on the CPU no padding is computed, and a last layer of which first
//! tokens are wanted computes those rows alone.
//!
//! cuBLAS chooses its kernels by the number of rows, so a score's last bits depend on what else is in the batch.

use std::sync::Mutex;

use half::bf16;

use super::Dtype;
use super::embedding::{Embedding, check};
use super::kernels::cuda::{Array, Gpu, Packed, Real};
use super::layer::{LayerArrays, LayerShape};
use crate::text::Batch;
use crate::{Error, Result};

/// Tokens that go through at once: enough to fill the device, little memory.
const TOKENS: usize = 64 << 10;

/// A model on a device.
pub struct Encoder(Either);

enum Either {
    F32(Model<f32>),
    Bf16(Model<bf16>),
}

struct Model<T> {
    gpu: Gpu<T>,
    shape: LayerShape,
    tables: [Array<f32>; 3],
    norm: [Array<f32>; 2],
    layers: Vec<Layer<T>>,
    pooler: [Array<f32>; 2],
    work: Mutex<Work<T>>,
}

struct Layer<T> {
    /// Queries', keys' and values' weights, one below the other.
    qkv: Array<T>,
    /// Of queries and of values.
    biases: [Array<f32>; 2],
    out: (Array<T>, Array<f32>),
    norm1: [Array<f32>; 2],
    up: (Array<T>, Array<f32>),
    down: (Array<T>, Array<f32>),
    norm2: [Array<f32>; 2],
}

/// Buffers for so many tokens and sequences, reused from batch to batch.
struct Work<T> {
    tokens: usize,
    sequences: usize,
    /// States between layers, `[t, h]`.
    x: Array<T>,
    /// States behind a layer's attention, `[t, h]`.
    middle: Array<T>,
    /// First tokens' rows, `[b, h]`.
    first: Array<T>,
    /// `[t, 3h]`.
    qkv: Array<T>,
    /// What attention gives, `[t, h]`.
    context: Array<T>,
    /// What is still to be normalised, `[t, h]`.
    y: Array<T>,
    /// Inner rows of the feed-forward block, `[t, f]`.
    z: Array<T>,
    /// The pooler's input and output, `[b, h]`.
    pooled: [Array<f32>; 2],
}

impl Encoder {
    /// Copies an encoder to device `ordinal`, for products in f32 or bf16.
    ///
    /// # Errors
    /// What [`Gpu::open`] refuses; int8; too little memory there.
    pub fn new(
        ordinal: usize,
        dtype: Dtype,
        shape: LayerShape,
        embedding: &Embedding,
        layers: &[LayerArrays],
        pooler: [&[f32]; 2],
    ) -> Result<Self> {
        Ok(Encoder(match dtype {
            Dtype::F32 => Either::F32(Model::new(ordinal, shape, embedding, layers, pooler)?),
            Dtype::Bf16 => Either::Bf16(Model::new(ordinal, shape, embedding, layers, pooler)?),
            Dtype::Int8 => {
                let what = "a GPU computes in f32 or bf16: give one of them, or leave --dtype out";
                return Err(Error::setting("--dtype", "int8", what));
            }
        }))
    }
    /// Last states of all tokens, `[t, h]`.
    pub fn encode(&self, batch: &Batch) -> Result<Vec<f32>> {
        match &self.0 {
            Either::F32(model) => model.run(batch, false),
            Either::Bf16(model) => model.run(batch, false),
        }
    }
    /// Pooled states of first tokens, `[b, h]`.
    pub fn pooled(&self, batch: &Batch) -> Result<Vec<f32>> {
        match &self.0 {
            Either::F32(model) => model.run(batch, true),
            Either::Bf16(model) => model.run(batch, true),
        }
    }
}

impl<T: Real> Model<T> {
    fn new(
        ordinal: usize,
        shape: LayerShape,
        embedding: &Embedding,
        layers: &[LayerArrays],
        pooler: [&[f32]; 2],
    ) -> Result<Self> {
        let gpu = Gpu::<T>::open(ordinal, shape)?;
        let floats = |values: &[f32]| gpu.upload(values);
        let two = |[a, b]: [&[f32]; 2]| Ok::<_, Error>([floats(a)?, floats(b)?]);
        let linear = |weight: &[f32], bias: &[f32]| Ok::<_, Error>((gpu.upload_reals(&[weight])?, floats(bias)?));
        let layer = |a: &LayerArrays| {
            Ok(Layer {
                qkv: gpu.upload_reals(&[a[0], a[2], a[4]])?,
                biases: two([a[1], a[5]])?,
                out: linear(a[6], a[7])?,
                norm1: two([a[8], a[9]])?,
                up: linear(a[10], a[11])?,
                down: linear(a[12], a[13])?,
                norm2: two([a[14], a[15]])?,
            })
        };
        let [words, segments, positions] = &embedding.tables;
        Ok(Model {
            tables: [floats(words)?, floats(segments)?, floats(positions)?],
            norm: two([&embedding.norm.gamma, &embedding.norm.beta])?,
            layers: layers.iter().map(layer).collect::<Result<_>>()?,
            pooler: two(pooler)?,
            work: Mutex::new(Work::new(&gpu, shape, 1, 1)?),
            gpu,
            shape,
        })
    }

    /// Pooled states, or the last ones of all tokens.
    fn run(&self, batch: &Batch, pooled: bool) -> Result<Vec<f32>> {
        check(batch, [0, 1, 2].map(|table| self.tables[table].len() / self.shape.hidden))?;
        let h = self.shape.hidden;
        let mut out = vec![0.0; if pooled { batch.len() } else { batch.tokens() } * h];
        let mut work = self.work.lock().map_err(|_| Error::Internal { op: "cuda", what: "a batch failed".into() })?;
        let mut from = 0;
        while from < batch.len() {
            let start = batch.offsets[from];
            let fits = |&end: &u32| (end - start) as usize <= TOKENS;
            let count = batch.offsets[from + 1..].iter().take_while(|end| fits(end)).count().max(1);
            let packed = self.packed(batch, from, from + count)?;
            if work.tokens < packed.tokens || work.sequences < packed.sequences {
                let [t, b] = [packed.tokens.max(work.tokens), packed.sequences.max(work.sequences)];
                *work = Work::new(&self.gpu, self.shape, t.next_power_of_two(), b.next_power_of_two())?;
            }
            self.states(&mut work, &packed, pooled)?;
            if pooled {
                let rows = &mut out[from * h..][..count * h];
                self.pool(&mut work, packed.sequences)?;
                self.gpu.download(&work.pooled[1], rows)?;
            } else {
                let rows = &mut out[start as usize * h..][..packed.tokens * h];
                let mut states = self.gpu.zeros(rows.len())?;
                self.gpu.widen(&mut states, &work.x, rows.len())?;
                self.gpu.download(&states, rows)?;
            }
            from += count;
        }
        Ok(out)
    }

    /// Sequences `from..to` of a batch, on the device.
    fn packed(&self, batch: &Batch, from: usize, to: usize) -> Result<Packed> {
        let offsets = &batch.offsets[from..=to];
        let tokens = offsets[0] as usize..offsets[to - from] as usize;
        let mut ids = Vec::with_capacity(3 * tokens.len());
        ids.extend_from_slice(&batch.ids[tokens.clone()]);
        ids.extend_from_slice(&batch.segments[tokens.clone()]);
        offsets.windows(2).for_each(|w| ids.extend(0..w[1] - w[0]));
        let longest = offsets.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0) as usize;
        let offsets: Vec<u32> = offsets.iter().map(|&at| at - offsets[0]).collect();
        let (ids, offsets) = (self.gpu.upload(&ids)?, self.gpu.upload(&offsets)?);
        Ok(Packed { ids, offsets, tokens: tokens.len(), sequences: to - from, longest })
    }

    /// The last layer's states into `work.x`, `[t, h]`, or of first tokens, `[b, h]`.
    fn states(&self, work: &mut Work<T>, packed: &Packed, first_only: bool) -> Result<()> {
        self.gpu.embed(&mut work.x, packed, &self.tables, &self.norm)?;
        let last = self.layers.len().saturating_sub(1);
        for (i, layer) in self.layers.iter().enumerate() {
            self.layer(layer, work, packed, first_only && i == last)?;
        }
        if self.layers.is_empty() && first_only {
            self.gpu.first_rows(&mut work.first, &work.x, packed)?;
            std::mem::swap(&mut work.first, &mut work.x);
        }
        Ok(())
    }

    /// One layer: `x` to `x`.
    fn layer(&self, layer: &Layer<T>, work: &mut Work<T>, packed: &Packed, first: bool) -> Result<()> {
        let (gpu, h, f, t) = (&self.gpu, self.shape.hidden, self.shape.ff, packed.tokens);
        let Work { x, middle, first: first_rows, qkv, context, y, z, .. } = work;
        let rows = if first { packed.sequences } else { t };
        let biases = layer.biases.each_ref();
        if first {
            gpu.product(&x.as_view(), t, &layer.qkv.slice(h * h..), 2 * h, qkv)?;
            gpu.first_rows(first_rows, x, packed)?;
            gpu.product(&first_rows.as_view(), rows, &layer.qkv.slice(..h * h), h, y)?;
            gpu.attention(context, (y.as_view(), h), (qkv.as_view(), 2 * h), biases, packed, true)?;
        } else {
            gpu.product(&x.as_view(), t, &layer.qkv.as_view(), 3 * h, qkv)?;
            gpu.attention(context, (qkv.as_view(), 3 * h), (qkv.slice(h..), 3 * h), biases, packed, false)?;
        }
        gpu.product(&context.as_view(), rows, &layer.out.0.as_view(), h, y)?;
        gpu.add_norm(middle, y, &layer.out.1, if first { first_rows } else { x }, &layer.norm1, rows)?;
        gpu.product(&middle.as_view(), rows, &layer.up.0.as_view(), f, z)?;
        gpu.gelu(z, &layer.up.1, rows)?;
        gpu.product(&z.as_view(), rows, &layer.down.0.as_view(), h, y)?;
        gpu.add_norm(x, y, &layer.down.1, middle, &layer.norm2, rows)
    }

    /// The pooler over `work.x [b, h]`, in f32, into `work.pooled[1]`.
    fn pool(&self, work: &mut Work<T>, rows: usize) -> Result<()> {
        let h = self.shape.hidden;
        let [states, pooled] = &mut work.pooled;
        self.gpu.widen(states, &work.x, rows * h)?;
        self.gpu.product(&states.as_view(), rows, &self.pooler[0].as_view(), h, pooled)?;
        self.gpu.tanh_bias(pooled, &self.pooler[1], rows)
    }
}

impl<T: Real> Work<T> {
    fn new(gpu: &Gpu<T>, shape: LayerShape, tokens: usize, sequences: usize) -> Result<Self> {
        let (t, b, h) = (tokens, sequences, shape.hidden);
        Ok(Work {
            tokens,
            sequences,
            x: gpu.zeros(t * h)?,
            middle: gpu.zeros(t * h)?,
            first: gpu.zeros(t.max(b) * h)?,
            qkv: gpu.zeros(t * 3 * h)?,
            context: gpu.zeros(t * h)?,
            y: gpu.zeros(t * h)?,
            z: gpu.zeros(t * shape.ff)?,
            pooled: [gpu.zeros(b * h)?, gpu.zeros(b * h)?],
        })
    }
}
