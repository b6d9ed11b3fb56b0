//! An NVIDIA GPU: the kernels of `cuda.cu` and cuBLAS's products, for one model's sizes, as safe functions.
//!
//! The driver, the run-time compiler (nvrtc) and cuBLAS are looked for when a model is loaded, so a binary with this feature is built
//! and starts on machines without any of them. Calls are queued on one stream and run in the order given; only copies back wait.

use std::fmt::Debug;
use std::sync::Arc;

use cudarc::cublas::result::CublasError;
use cudarc::cublas::sys::cublasOperation_t::{CUBLAS_OP_N, CUBLAS_OP_T};
use cudarc::cublas::{CudaBlas, Gemm, GemmConfig};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaSlice, CudaStream, CudaView, DeviceRepr, LaunchConfig, PushKernelArg,
    ValidAsZeroBits, sys::CUdevice_attribute as Attribute,
};
use cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use half::bf16;

use crate::nn::layer::LayerShape;
use crate::{Error, Result};

/// What products take and give.
pub trait Real: DeviceRepr + ValidAsZeroBits + Copy + Send + Sync {
    /// 1 for bfloat16.
    const BF16: u8;
    /// Rounded to the nearest.
    fn narrow(x: f32) -> Self;
    /// `weight [n, k]` by `x [rows, k]` in cuBLAS's columns: `out [rows, n]`, row by row.
    ///
    /// # Safety
    /// The arrays are that long.
    unsafe fn product(
        blas: &CudaBlas,
        sizes: [i32; 3],
        weight: &View<Self>,
        x: &View<Self>,
        out: &mut Array<Self>,
    ) -> Result<(), CublasError>;
}

macro_rules! real {
    ($t:ty, $bf16:literal, $narrow:expr) => {
        impl Real for $t {
            const BF16: u8 = $bf16;
            fn narrow(x: f32) -> Self {
                $narrow(x)
            }
            unsafe fn product(
                blas: &CudaBlas,
                [m, n, k]: [i32; 3],
                weight: &View<Self>,
                x: &View<Self>,
                out: &mut Array<Self>,
            ) -> Result<(), CublasError> {
                let (transa, transb) = (CUBLAS_OP_T, CUBLAS_OP_N);
                let (alpha, beta) = ($narrow(1.0), $narrow(0.0));
                let sizes = GemmConfig { transa, transb, m, n, k, alpha, lda: k, ldb: k, beta, ldc: m };
                // SAFETY: the caller's.
                unsafe { blas.gemm(sizes, weight, x, out) }
            }
        }
    };
}

real!(f32, 0, |x: f32| x);
real!(bf16, 1, bf16::from_f32);

/// Values on the device.
pub type Array<T> = CudaSlice<T>;
/// A part of them.
pub type View<'a, T> = CudaView<'a, T>;

/// A batch's numbers on the device.
pub struct Packed {
    /// Words, segments and positions, `[3, t]`.
    pub ids: Array<u32>,
    /// Starts of sequences and the end, `[b + 1]`.
    pub offsets: Array<u32>,
    /// Number of tokens, `t`.
    pub tokens: usize,
    /// Number of sequences, `b`.
    pub sequences: usize,
    /// Tokens of the longest.
    pub longest: usize,
}

struct Functions {
    embed: CudaFunction,
    add_norm: CudaFunction,
    first_rows: CudaFunction,
    gelu: CudaFunction,
    widen: CudaFunction,
    attention: CudaFunction,
}

/// A device, and kernels for layers of one shape whose products are of `T`.
pub struct Gpu<T> {
    stream: Arc<CudaStream>,
    blas: CudaBlas,
    functions: Functions,
    shape: LayerShape,
    /// Queries that a block of attention's kernel takes.
    tile: usize,
    real: std::marker::PhantomData<T>,
}

/// The widest head whose tiles fit into the memory that every device gives a block.
const WIDEST_HEAD: usize = 128;

fn failed(e: impl Debug) -> Error {
    let what = format!("{e:?}").replace('\n', " ");
    if what.contains("OUT_OF_MEMORY") {
        return Error::setting("--device", "cuda", "the device is out of memory: leave it alone or use another");
    }
    Error::Internal { op: "cuda", what }
}

fn unusable(ordinal: usize, what: impl Into<String>) -> Error {
    Error::setting("--device", format!("cuda:{ordinal}"), what)
}

/// Finds the libraries that a device takes; asking for a function of an absent one would panic.
fn libraries(ordinal: usize) -> Result<()> {
    use cudarc::{cublas, driver, nvrtc};
    // SAFETY: opens and closes NVIDIA's own libraries, which have no conditions on being opened.
    let found = unsafe {
        [
            ("libcuda (NVIDIA's driver, of CUDA 13)", driver::sys::is_culib_present()),
            ("libnvrtc", nvrtc::sys::is_culib_present()),
            ("libcublas", cublas::sys::is_culib_present()),
        ]
    };
    match found.iter().find(|(_, present)| !present) {
        Some((library, _)) => {
            let what = format!(
                "no {library} was found; install it, put its folder into LD_LIBRARY_PATH, or leave --device out"
            );
            Err(unusable(ordinal, what))
        }
        None => Ok(()),
    }
}

/// BlockPool of 256 threads, one for each of `n` items, and `n` as kernels count them, the last block's surplus included.
fn a_thread_each(n: usize) -> (LaunchConfig, u32) {
    assert!(n.next_multiple_of(256) <= u32::MAX as usize, "more than a kernel counts");
    (LaunchConfig { grid_dim: (n.div_ceil(256) as u32, 1, 1), block_dim: (256, 1, 1), shared_mem_bytes: 0 }, n as u32)
}

/// Four warps a block, a row each.
fn a_warp_each(rows: usize) -> LaunchConfig {
    LaunchConfig { grid_dim: (rows.div_ceil(4) as u32, 1, 1), block_dim: (128, 1, 1), shared_mem_bytes: 0 }
}

impl<T: Real> Gpu<T> {
    /// Opens device `ordinal` and compiles the kernels.
    ///
    /// # Errors
    /// No driver, no such device, a library that is missing; a device too old for bf16; heads wider than 128.
    pub fn open(ordinal: usize, shape: LayerShape) -> Result<Self> {
        libraries(ordinal)?;
        let context = CudaContext::new(ordinal).map_err(|e| unusable(ordinal, format!("no such device: {e:?}")))?;
        let head = shape.hidden / shape.heads;
        if head > WIDEST_HEAD {
            return Err(unusable(
                ordinal,
                format!("heads are of {head} values, {WIDEST_HEAD} at most; leave --device out"),
            ));
        }
        // SAFETY: every array is used on this one stream only, so there is nothing to wait for.
        unsafe { context.disable_event_tracking() };
        let version = |part| context.attribute(part).map_err(failed);
        let major = version(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = version(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        if T::BF16 == 1 && major < 8 {
            return Err(unusable(ordinal, format!("compute capability {major}.{minor} has no bf16; give --dtype f32")));
        }
        let sizes = [("HIDDEN", shape.hidden), ("HEADS", shape.heads), ("FF", shape.ff), ("BF16", T::BF16.into())];
        let mut source: String = sizes.map(|(name, value)| format!("#define {name} {value}\n")).concat();
        source += &format!("#define EPSILON {:e}f\n#define INFINITY __int_as_float(0x7f800000)\n", shape.eps);
        source += include_str!("cuda.cu");
        let options = [format!("--gpu-architecture=compute_{major}{minor}"), "--std=c++17".into()];
        let options = CompileOptions { options: options.into(), ..CompileOptions::default() };
        let ptx = compile_ptx_with_opts(source, options).map_err(failed)?;
        let module = context.load_module(ptx).map_err(failed)?;
        let function = |name: &str| module.load_function(name).map_err(failed);
        let functions = Functions {
            embed: function("embed")?,
            add_norm: function("add_norm")?,
            first_rows: function("first_rows")?,
            gelu: function("gelu")?,
            widen: function("widen")?,
            attention: function("attention")?,
        };
        let stream = context.new_stream().map_err(failed)?;
        let blas = CudaBlas::new(stream.clone()).map_err(failed)?;
        let tile = if T::BF16 == 1 && head.is_multiple_of(16) { 64 } else { 16 };
        Ok(Gpu { stream, blas, functions, shape, tile, real: std::marker::PhantomData })
    }

    /// Copies values to the first places of an array there, rounded.
    pub fn copy_into(&self, values: &[f32], out: &mut Array<T>) -> Result<()> {
        let values: Vec<T> = values.iter().map(|&v| T::narrow(v)).collect();
        self.stream.memcpy_htod(&values, &mut out.slice_mut(..values.len())).map_err(failed)
    }
    /// Copies values to the device.
    pub fn upload<U: DeviceRepr>(&self, values: &[U]) -> Result<Array<U>> {
        self.stream.clone_htod(values).map_err(failed)
    }
    /// Copies a matrix to the device, rounded.
    pub fn upload_reals(&self, values: &[&[f32]]) -> Result<Array<T>> {
        let reals: Vec<T> = values.iter().flat_map(|part| part.iter().map(|&x| T::narrow(x))).collect();
        self.upload(&reals)
    }
    /// Copies the first values of an array back.
    pub fn download(&self, values: &Array<f32>, out: &mut [f32]) -> Result<()> {
        self.stream.memcpy_dtoh(&values.slice(..out.len()), out).map_err(failed)?;
        self.stream.synchronize().map_err(failed)
    }
    /// Room for `n` values.
    pub fn zeros<U: DeviceRepr + ValidAsZeroBits>(&self, n: usize) -> Result<Array<U>> {
        self.stream.alloc_zeros(n).map_err(failed)
    }

    /// `x [rows, k]` by `weight [n, k]`, transposed, into `out [rows, n]`.
    pub fn product<U: Real>(
        &self,
        x: &View<U>,
        rows: usize,
        weight: &View<U>,
        n: usize,
        out: &mut Array<U>,
    ) -> Result<()> {
        let k = weight.len() / n;
        assert!(x.len() >= rows * k && weight.len() == n * k && out.len() >= rows * n, "product past an array's end");
        let sizes = [n, rows, k].map(|size| size as i32);
        // SAFETY: that the arrays are long enough was just checked.
        unsafe { U::product(&self.blas, sizes, weight, x, out) }.map_err(failed)
    }

    /// LayerNorm of the three tables' rows, `[t, h]`. Ids must have been checked against the tables.
    pub fn embed(
        &self,
        out: &mut Array<T>,
        packed: &Packed,
        tables: &[Array<f32>; 3],
        norm: &[Array<f32>; 2],
    ) -> Result<()> {
        let (t, h) = (packed.tokens, self.shape.hidden);
        assert!(out.len() >= t * h && packed.ids.len() >= 3 * t && norm.iter().all(|n| n.len() == h));
        let rows = t as i32;
        let mut launch = self.stream.launch_builder(&self.functions.embed);
        launch.arg(out).arg(&packed.ids).arg(&tables[0]).arg(&tables[1]).arg(&tables[2]);
        launch.arg(&norm[0]).arg(&norm[1]).arg(&rows);
        // SAFETY: the kernel reads and writes `t` rows of `h` values, which are there; ids were checked by the caller.
        unsafe { launch.launch(a_warp_each(t)) }.map_err(failed).map(drop)
    }

    /// LayerNorm of `y + bias + residual`, `[rows, h]`.
    pub fn add_norm(
        &self,
        out: &mut Array<T>,
        y: &Array<T>,
        bias: &Array<f32>,
        residual: &Array<T>,
        norm: &[Array<f32>; 2],
        rows: usize,
    ) -> Result<()> {
        let h = self.shape.hidden;
        assert!([out.len(), y.len(), residual.len()].iter().all(|&n| n >= rows * h));
        assert!([bias.len(), norm[0].len(), norm[1].len()] == [h; 3]);
        let count = rows as i32;
        let mut launch = self.stream.launch_builder(&self.functions.add_norm);
        launch.arg(out).arg(y).arg(bias).arg(residual).arg(&norm[0]).arg(&norm[1]).arg(&count);
        // SAFETY: the kernel reads and writes `rows` rows of `h` values, which are there.
        unsafe { launch.launch(a_warp_each(rows)) }.map_err(failed).map(drop)
    }

    /// The first token's row of each sequence, `[t, h]` to `[b, h]`.
    pub fn first_rows(&self, out: &mut Array<T>, x: &Array<T>, packed: &Packed) -> Result<()> {
        let (h, b) = (self.shape.hidden, packed.sequences);
        assert!(out.len() >= b * h && x.len() >= packed.tokens * h && packed.offsets.len() > b);
        let count = b as i32;
        let mut launch = self.stream.launch_builder(&self.functions.first_rows);
        launch.arg(out).arg(x).arg(&packed.offsets).arg(&count);
        // SAFETY: `b` rows are written, and offsets are below `t`.
        unsafe { launch.launch(a_warp_each(b)) }.map_err(failed).map(drop)
    }

    /// `gelu(z + bias)` in place, `[rows, f]`.
    pub fn gelu(&self, z: &mut Array<T>, bias: &Array<f32>, rows: usize) -> Result<()> {
        let f = self.shape.ff;
        assert!(z.len() >= rows * f && bias.len() == f);
        let vector = 16 / size_of::<T>();
        let pieces = rows * f / if f.is_multiple_of(vector) { vector } else { 1 };
        let mut launch = self.stream.launch_builder(&self.functions.gelu);
        let (blocks, count) = a_thread_each(pieces);
        launch.arg(z).arg(bias).arg(&count);
        // SAFETY: the pieces are those of `rows` rows, which are there.
        unsafe { launch.launch(blocks) }.map_err(failed).map(drop)
    }

    /// The first `n` values as f32.
    pub fn widen(&self, out: &mut Array<f32>, x: &Array<T>, n: usize) -> Result<()> {
        assert!(out.len() >= n && x.len() >= n);
        let mut launch = self.stream.launch_builder(&self.functions.widen);
        let (blocks, count) = a_thread_each(n);
        launch.arg(out).arg(x).arg(&count);
        // SAFETY: both arrays have `n` values.
        unsafe { launch.launch(blocks) }.map_err(failed).map(drop)
    }

    /// Attention within each sequence into `out`. `query` rows are `stride` values apart: one for each token, or with `first` one
    /// for each sequence; keys and values are next to each other in `key_value`, rows `stride` apart. Biases of queries and values.
    pub fn attention(
        &self,
        out: &mut Array<T>,
        query: (View<T>, usize),
        key_value: (View<T>, usize),
        biases: [&Array<f32>; 2],
        packed: &Packed,
        first: bool,
    ) -> Result<()> {
        let (h, t, b) = (self.shape.hidden, packed.tokens, packed.sequences);
        let (rows, longest) = if first { (b, 1) } else { (t, packed.longest) };
        let reach =
            |(view, stride): &(View<T>, usize), rows: usize, wide: usize| view.len() >= (rows - 1) * stride + wide;
        assert!(out.len() >= rows * h && packed.offsets.len() > b && biases.iter().all(|bias| bias.len() == h));
        assert!(reach(&query, rows, h) && reach(&key_value, t, 2 * h), "attention past an array's end");
        let (keys, values) = (&key_value.0, key_value.0.slice(h..));
        let [query_stride, stride, first] = [query.1, key_value.1, first.into()].map(|x| x as i32);
        let mut launch = self.stream.launch_builder(&self.functions.attention);
        launch.arg(out).arg(&query.0).arg(&query_stride).arg(keys).arg(&values).arg(&stride);
        launch.arg(biases[0]).arg(biases[1]).arg(&packed.offsets).arg(&first);
        let grid_dim = (b as u32, self.shape.heads as u32, longest.div_ceil(self.tile) as u32);
        // SAFETY: offsets end at `t`; the rows that they name are there in every array.
        unsafe { launch.launch(LaunchConfig { grid_dim, block_dim: (128, 1, 1), shared_mem_bytes: 0 }) }
            .map_err(failed)
            .map(drop)
    }
}
