//! Bricks without opinions on ranking. Precision and device live here and nowhere else.
pub mod attention;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod device;
pub mod embedding;
pub mod encoder;
pub mod encoder_cpu;
pub mod global;
pub mod grad_buffer;
pub mod graph;
pub mod groups;
pub mod hashed;
pub mod histogram;
pub mod int8;
pub mod kernel_pooling;
pub mod kernels;
pub mod layer;
pub mod layer_grad;
pub mod layer_weights;
pub mod linear;
pub mod maxsim;
pub mod modern;
pub mod parameters;
pub mod plan;
pub mod pooling;
pub mod quantized;
pub mod reference;
pub mod relative;
pub mod similarity;
mod slices;
pub mod weights;
pub mod word_rows;

pub use device::Device;
pub use grad_buffer::GradBuffer;
pub use parameters::{Parameter, Parameters};
pub use quantized::Matrix;
pub use weights::{Array, Weights};

/// What the big matrix products are computed in; everything else is f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit floats.
    F32,
    /// bfloat16 products, f32 sums.
    Bf16,
    /// 8-bit integers: weights per output channel, activations per token, exact 32-bit sums.
    Int8,
}
