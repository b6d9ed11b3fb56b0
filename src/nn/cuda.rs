//! An encoder on an NVIDIA GPU: embedding and layers over packed sequences, in f32 or bf16 (sums, norms, softmax and GELU f32; states
//! between layers in the products' type). As on the CPU no padding is computed, and a last layer of which first tokens are wanted
//! computes those rows alone.
//!
//! cuBLAS chooses its kernels by the number of rows, so a score's last bits depend on what else is in the batch.

use std::ops::Range;
use std::sync::Mutex;

use half::bf16;

use super::Dtype;
use super::embedding::{Embedding, check};
use super::encoder::{Request, Rows, Start, States};
use super::kernels::cuda::{Array, Gpu, Packed, Real};
use super::layer::LayerShape;
use super::layer_weights::{Affine, EmbeddingWeights, LayerArrays, Norm};
use super::quantized::Matrix;
use crate::{Error, Result};

/// Tokens that go through at once: enough to fill the device, little memory.
const TOKENS: usize = 64 << 10;

/// An encoder on a device.
pub struct CudaEncoder(Either);

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
    work: Mutex<Work<T>>,
}

struct Layer<T> {
    /// Queries', keys' and values' weights, one below the other.
    qkv: Array<T>,
    /// Of queries and of values.
    biases: [Array<f32>; 2],
    attention_output: (Array<T>, Array<f32>),
    attention_norm: [Array<f32>; 2],
    up: (Array<T>, Array<f32>),
    down: (Array<T>, Array<f32>),
    output_norm: [Array<f32>; 2],
}

/// Buffers for so many tokens and sequences, reused from batch to batch.
struct Work<T> {
    tokens: usize,
    sequences: usize,
    /// States between layers, `[t, h]`.
    x: Array<T>,
    /// States after a layer's attention, `[t, h]`.
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
    /// States on their way back, `[t, h]`.
    wide: Array<f32>,
}

impl CudaEncoder {
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
    ) -> Result<Self> {
        Ok(CudaEncoder(match dtype {
            Dtype::F32 => Either::F32(Model::new(ordinal, shape, embedding, layers)?),
            Dtype::Bf16 => Either::Bf16(Model::new(ordinal, shape, embedding, layers)?),
            Dtype::Int8 => {
                let what = "a GPU computes in f32 or bf16: give one of them, or leave --dtype out";
                return Err(Error::setting("--dtype", "int8", what));
            }
        }))
    }
    /// A checked request.
    pub fn run(&self, request: &Request) -> Result<States> {
        match &self.0 {
            Either::F32(model) => model.run(request),
            Either::Bf16(model) => model.run(request),
        }
    }
}

impl<T: Real> Model<T> {
    fn new(ordinal: usize, shape: LayerShape, embedding: &Embedding, layers: &[LayerArrays]) -> Result<Self> {
        let gpu = Gpu::<T>::open(ordinal, shape)?;
        let floats = |values: &[f32]| gpu.upload(values);
        let norm = |n: &Norm<&[f32]>| Ok::<_, Error>([floats(n.gamma)?, floats(n.beta)?]);
        let linear =
            |a: &Affine<Matrix, &[f32]>| Ok::<_, Error>((gpu.upload_reals(&[&a.weight.values()])?, floats(a.bias)?));
        let layer = |a: &LayerArrays| {
            let [query, key, value] = [&a.query, &a.key, &a.value].map(|a| a.weight.values());
            Ok(Layer {
                qkv: gpu.upload_reals(&[&query, &key, &value])?,
                biases: [floats(a.query.bias)?, floats(a.value.bias)?],
                attention_output: linear(&a.attention_output)?,
                attention_norm: norm(&a.attention_norm)?,
                up: linear(&a.up)?,
                down: linear(&a.down)?,
                output_norm: norm(&a.output_norm)?,
            })
        };
        let EmbeddingWeights { words, segments, positions, norm: sum } = &embedding.weights;
        Ok(Model {
            tables: [floats(words)?, floats(segments)?, floats(positions)?],
            norm: norm(&Norm { gamma: &sum.gamma, beta: &sum.beta })?,
            layers: layers.iter().map(layer).collect::<Result<_>>()?,
            work: Mutex::new(Work::new(&gpu, shape, 1, 1)?),
            gpu,
            shape,
        })
    }

    fn run(&self, request: &Request) -> Result<States> {
        if let Start::Tokens(batch) = request.start {
            if !batch.keys.is_empty() {
                let what = "tokens that are not looked at are computed on a CPU only: leave --device out, or train with attend_to_expansion = true";
                return Err(Error::setting("--device", "cuda", what));
            }
            check(batch, [0, 1, 2].map(|table| self.tables[table].len() / self.shape.hidden))?;
        }
        let (h, offsets) = (self.shape.hidden, request.start.offsets());
        let (b, t) = (offsets.len() - 1, offsets[offsets.len() - 1] as usize);
        let first = request.rows == Rows::First;
        let mut rows = vec![0.0; if first { b } else { t } * h];
        let mut kept = vec![vec![0.0; t * h]; request.keep.len()];
        let mut work = self.work.lock().map_err(|_| Error::Internal { op: "cuda", what: "a batch failed".into() })?;
        let mut from = 0;
        while from < b {
            let start = offsets[from];
            let fits = |&end: &u32| (end - start) as usize <= TOKENS;
            let count = offsets[from + 1..].iter().take_while(|end| fits(end)).count().max(1);
            let packed = self.packed(&request.start, from, from + count)?;
            if work.tokens < packed.tokens || work.sequences < packed.sequences {
                let [t, b] = [packed.tokens.max(work.tokens), packed.sequences.max(work.sequences)];
                *work = Work::new(&self.gpu, self.shape, t.next_power_of_two(), b.next_power_of_two())?;
            }
            let all = start as usize * h..(start as usize + packed.tokens) * h;
            let mut kept: Vec<&mut [f32]> = kept.iter_mut().map(|state| &mut state[all.clone()]).collect();
            self.states(&mut work, &packed, request, start as usize, &mut kept)?;
            let part = if first { from * h..(from + count) * h } else { all };
            self.download(&mut work, &mut rows[part])?;
            from += count;
        }
        Ok(States { rows, kept })
    }

    /// The first rows of `work.x`, as f32.
    fn download(&self, work: &mut Work<T>, out: &mut [f32]) -> Result<()> {
        self.gpu.widen(&mut work.wide, &work.x, out.len())?;
        self.gpu.download(&work.wide, out)
    }

    /// Sequences `from..to`, on the device.
    fn packed(&self, start: &Start, from: usize, to: usize) -> Result<Packed> {
        let offsets = &start.offsets()[from..=to];
        let tokens = offsets[0] as usize..offsets[to - from] as usize;
        let mut ids = Vec::with_capacity(3 * tokens.len());
        if let Start::Tokens(batch) = start {
            ids.extend_from_slice(&batch.ids[tokens.clone()]);
            ids.extend_from_slice(&batch.segments[tokens.clone()]);
            match batch.positions.is_empty() {
                true => offsets.windows(2).for_each(|w| ids.extend(0..w[1] - w[0])),
                false => ids.extend_from_slice(&batch.positions[tokens.clone()]),
            }
        } else {
            ids.push(0); // not looked at, and no array of the device is empty
        }
        let longest = offsets.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0) as usize;
        let offsets: Vec<u32> = offsets.iter().map(|&at| at - offsets[0]).collect();
        let (ids, offsets) = (self.gpu.upload(&ids)?, self.gpu.upload(&offsets)?);
        Ok(Packed { ids, offsets, tokens: tokens.len(), sequences: to - from, longest })
    }

    /// The wanted rows of the last state into `work.x`, `[t, h]` or of first tokens `[b, h]`; `kept` gets states on the way. `first_token`: the
    /// number of the first token in the request.
    fn states(
        &self,
        work: &mut Work<T>,
        packed: &Packed,
        request: &Request,
        first_token: usize,
        kept: &mut [&mut [f32]],
    ) -> Result<()> {
        let (h, Range { start, end }) = (self.shape.hidden, request.layers.clone());
        match request.start {
            Start::Tokens(_) => self.gpu.embed(&mut work.x, packed, &self.tables, &self.norm)?,
            Start::States { states, .. } => {
                let states = &states[first_token * h..][..packed.tokens * h];
                self.gpu.copy_into(states, &mut work.x)?;
            }
        }
        let mut keep = |work: &mut Work<T>, state: usize| {
            let mut asked = request.keep.iter().zip(kept.iter_mut()).filter(|(asked, _)| **asked == state);
            asked.try_for_each(|(_, place)| self.download(work, place))
        };
        keep(work, start)?;
        let first = request.rows == Rows::First;
        let first_only = first && !request.keep.contains(&end) && start < end;
        for (i, layer) in self.layers.iter().enumerate().take(end).skip(start) {
            self.layer(layer, work, packed, first_only && i + 1 == end)?;
            if !(first_only && i + 1 == end) {
                keep(work, i + 1)?;
            }
        }
        if first && !first_only {
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
        gpu.product(&context.as_view(), rows, &layer.attention_output.0.as_view(), h, y)?;
        gpu.add_norm(
            middle,
            y,
            &layer.attention_output.1,
            if first { first_rows } else { x },
            &layer.attention_norm,
            rows,
        )?;
        gpu.product(&middle.as_view(), rows, &layer.up.0.as_view(), f, z)?;
        gpu.gelu(z, &layer.up.1, rows)?;
        gpu.product(&z.as_view(), rows, &layer.down.0.as_view(), h, y)?;
        gpu.add_norm(x, y, &layer.down.1, middle, &layer.output_norm, rows)
    }
}

impl<T: Real> Work<T> {
    fn new(gpu: &Gpu<T>, shape: LayerShape, tokens: usize, sequences: usize) -> Result<Self> {
        let (t, b, h) = (tokens, sequences, shape.hidden);
        Ok(Work {
            tokens,
            sequences,
            x: gpu.zeros(t.max(b) * h)?,
            middle: gpu.zeros(t * h)?,
            first: gpu.zeros(t.max(b) * h)?,
            qkv: gpu.zeros(t * 3 * h)?,
            context: gpu.zeros(t * h)?,
            y: gpu.zeros(t * h)?,
            z: gpu.zeros(t * shape.ff)?,
            wide: gpu.zeros(t.max(b) * h)?,
        })
    }
}
