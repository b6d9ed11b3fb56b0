//! Named arrays of a model, in f32, as they stand in a safetensors file.

use std::collections::BTreeMap;

/// A dense row-major array.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Array {
    /// Its axes.
    pub shape: Vec<usize>,
    /// Its values, as many as the product of `shape`.
    pub data: Vec<f32>,
}

/// A model's arrays by name. Linear weights are `[out, in]`, as Hugging Face stores them.
#[derive(Debug, Clone, Default)]
pub struct Weights(pub BTreeMap<String, Array>);
