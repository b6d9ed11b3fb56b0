//! The arrays of a layer and of an embedding by name, whatever represents an array: values, a tensor, a name, a shape.

use super::quantized::Matrix;

/// A linear map `y = x W^T + b`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Affine<M, V = M> {
    /// `[outputs, inputs]`.
    pub weight: M,
    /// `[outputs]`.
    pub bias: V,
}

/// LayerNorm's scale and shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Norm<V = Vec<f32>> {
    /// The scale, `[h]`.
    pub gamma: V,
    /// The shift, `[h]`.
    pub beta: V,
}

impl Norm {
    /// Copies its arrays.
    pub fn new(gamma: &[f32], beta: &[f32]) -> Self {
        Norm { gamma: gamma.to_vec(), beta: beta.to_vec() }
    }
}

impl Norm<&[f32]> {
    /// Copies its arrays.
    pub fn to_owned(self) -> Norm {
        Norm::new(self.gamma, self.beta)
    }
}

/// An encoder layer's six matrices (`M`), their biases and two norms (`V`). `h` is the width of a state, `f` that within the
/// feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LayerWeights<M, V = M> {
    /// Queries, `[h, h]`.
    pub query: Affine<M, V>,
    /// Keys, `[h, h]`.
    pub key: Affine<M, V>,
    /// Values, `[h, h]`.
    pub value: Affine<M, V>,
    /// What attention gives to the residual, `[h, h]`.
    pub attention_output: Affine<M, V>,
    /// The norm after attention.
    pub attention_norm: Norm<V>,
    /// The first half of the feed-forward block, `[f, h]`.
    pub up: Affine<M, V>,
    /// Its second half, `[h, f]`.
    pub down: Affine<M, V>,
    /// The norm after the feed-forward block.
    pub output_norm: Norm<V>,
}

/// A layer's arrays in serving: matrices f32 or int8.
pub type LayerArrays<'a> = LayerWeights<Matrix<'a>, &'a [f32]>;

impl<M, V> LayerWeights<M, V> {
    /// Another thing for each array; stops at an error.
    ///
    /// # Errors
    /// The first error of `matrix` or `vector`.
    pub fn try_map<N, U, E>(
        self,
        mut matrix: impl FnMut(M) -> Result<N, E>,
        mut vector: impl FnMut(V) -> Result<U, E>,
    ) -> Result<LayerWeights<N, U>, E> {
        let mut affine = |a: Affine<M, V>| Ok::<_, E>(Affine { weight: matrix(a.weight)?, bias: vector(a.bias)? });
        let (query, key, value) = (affine(self.query)?, affine(self.key)?, affine(self.value)?);
        let attention_output = affine(self.attention_output)?;
        let (up, down) = (affine(self.up)?, affine(self.down)?);
        let mut norm = |n: Norm<V>| Ok::<_, E>(Norm { gamma: vector(n.gamma)?, beta: vector(n.beta)? });
        let (attention_norm, output_norm) = (norm(self.attention_norm)?, norm(self.output_norm)?);
        Ok(LayerWeights { query, key, value, attention_output, attention_norm, up, down, output_norm })
    }
    /// Another thing for each array.
    pub fn map<N, U>(self, mut matrix: impl FnMut(M) -> N, mut vector: impl FnMut(V) -> U) -> LayerWeights<N, U> {
        let Ok(mapped) = self.try_map(|m| Ok::<_, std::convert::Infallible>(matrix(m)), |v| Ok(vector(v)));
        mapped
    }
    /// References to the arrays.
    pub fn as_ref(&self) -> LayerWeights<&M, &V> {
        let Self { query, key, value, attention_output, attention_norm, up, down, output_norm } = self;
        LayerWeights {
            query: query.as_ref(),
            key: key.as_ref(),
            value: value.as_ref(),
            attention_output: attention_output.as_ref(),
            attention_norm: attention_norm.as_ref(),
            up: up.as_ref(),
            down: down.as_ref(),
            output_norm: output_norm.as_ref(),
        }
    }
}

impl<T> LayerWeights<T> {
    /// All arrays, in the order of the layer's computation.
    pub fn into_array(self) -> [T; 16] {
        let Self { query, key, value, attention_output, attention_norm, up, down, output_norm } = self;
        [
            query.weight,
            query.bias,
            key.weight,
            key.bias,
            value.weight,
            value.bias,
            attention_output.weight,
            attention_output.bias,
            attention_norm.gamma,
            attention_norm.beta,
            up.weight,
            up.bias,
            down.weight,
            down.bias,
            output_norm.gamma,
            output_norm.beta,
        ]
    }
    /// References to all arrays, in the same order.
    pub fn each(&self) -> [&T; 16] {
        self.as_ref().into_array()
    }
}

impl<M, V> Affine<M, V> {
    /// References to the arrays.
    pub fn as_ref(&self) -> Affine<&M, &V> {
        Affine { weight: &self.weight, bias: &self.bias }
    }
}

impl<V> Norm<V> {
    /// References to the arrays.
    pub fn as_ref(&self) -> Norm<&V> {
        Norm { gamma: &self.gamma, beta: &self.beta }
    }
}

/// The arrays of BERT's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EmbeddingWeights<T> {
    /// Word embeddings, `[words, h]`.
    pub words: T,
    /// Segment embeddings, `[segments, h]`.
    pub segments: T,
    /// Position embeddings, `[positions, h]`.
    pub positions: T,
    /// The norm of their sum.
    pub norm: Norm<T>,
}

impl<T> EmbeddingWeights<T> {
    /// Another thing for each array; stops at an error.
    ///
    /// # Errors
    /// The first error of `of`.
    pub fn try_map<U, E>(self, mut of: impl FnMut(T) -> Result<U, E>) -> Result<EmbeddingWeights<U>, E> {
        Ok(EmbeddingWeights {
            words: of(self.words)?,
            segments: of(self.segments)?,
            positions: of(self.positions)?,
            norm: Norm { gamma: of(self.norm.gamma)?, beta: of(self.norm.beta)? },
        })
    }
    /// References to all arrays.
    pub fn each(&self) -> [&T; 5] {
        [&self.words, &self.segments, &self.positions, &self.norm.gamma, &self.norm.beta]
    }
    /// All arrays: words, segments, positions, the norm's scale and shift.
    pub fn into_array(self) -> [T; 5] {
        [self.words, self.segments, self.positions, self.norm.gamma, self.norm.beta]
    }
}
