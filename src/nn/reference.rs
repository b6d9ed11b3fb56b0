//! The BERT encoder in candle's plain operations (Devlin et al., NAACL 2019; attention: Vaswani et al., NeurIPS 2017).
//!
//! Slow and plainly right: what the fast layer's values and gradients are compared with, and where attention maps come from. It
//! keeps the batch padded and masked inside, because candle's products want whole blocks; nothing outside sees a padded token.
//!
//! Parameters are given by name, as `BertForSequenceClassification` names them. Give leaves of a graph (`Var`) and the results
//! carry gradients.
//!
//! Refused: dropout (a reference must say the same twice), a fused attention (its probabilities could not be looked at).

use std::collections::BTreeMap;

use candle_core::{D, DType, Device, IndexOp, Tensor};

use super::Weights;
use super::relative::{BUCKETS, bucket};
use crate::text::Batch;
use crate::{Error, Result};

/// Named tensors on one device, `[out, in]` for linear weights.
pub type Tensors = BTreeMap<String, Tensor>;

/// Sizes that the tensors' shapes do not tell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reference {
    /// Layers, `l`.
    pub layers: usize,
    /// Heads, `n`.
    pub heads: usize,
    /// LayerNorm's epsilon.
    pub epsilon: f64,
}

/// What a forward pass keeps besides its states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// Attention probabilities.
    pub attention: bool,
    /// What the cells within the feed-forward blocks give.
    pub cells: bool,
}

/// What a forward pass went through.
#[derive(Debug, Clone)]
pub struct States {
    /// The embeddings and the output of each layer, `l + 1` of `[t, h]`, packed as the batch is.
    pub hidden: Vec<Tensor>,
    /// Attention probabilities of each layer, `[b, n, q, k]` with `q = k` the longest sequence; zero for keys that are padding,
    /// meaningless for queries that are. Empty unless asked for.
    pub attention: Vec<Tensor>,
    /// What the cells of each layer's feed-forward block give, `[t, f]`, packed. Empty unless asked for.
    pub cells: Vec<Tensor>,
    /// State of each sequence's first token, `[b, h]`.
    pub first: Tensor,
}

/// Copies weights to a device.
pub fn tensors(weights: &Weights, device: &Device) -> Result<Tensors> {
    let copied = weights
        .0
        .iter()
        .map(|(name, a)| Ok((name.clone(), Tensor::from_slice(&a.values(), a.shape.as_slice(), device)?)));
    copied.collect()
}

impl Reference {
    /// The encoder's states of every token; `attention`: keep the maps.
    ///
    /// # Errors
    /// A sequence without tokens, a parameter that is missing, an id or length beyond the tables.
    pub fn forward(&self, parameters: &Tensors, batch: &Batch, attention: bool) -> Result<States> {
        self.forward_keeping(parameters, batch, Keep { attention, cells: false })
    }

    /// The same with more to look at. A table of biases by distance (MPNet's) is added to the scores where there is one.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_keeping(&self, parameters: &Tensors, batch: &Batch, keep: Keep) -> Result<States> {
        let padded = Padded::new(batch, get(parameters, "bert.embeddings.word_embeddings.weight")?.device())?;
        let mask = match parameters.get(RELATIVE) {
            Some(table) => padded.mask.broadcast_add(&by_distance(table, self.heads, padded.ids.dim(1)?)?)?,
            None => padded.mask.clone(),
        };
        let mut x = self.embed(parameters, &padded)?;
        let (hidden, first) = (vec![padded.pack(&x)?], x.clone());
        let mut states = States { hidden, attention: Vec::new(), cells: Vec::new(), first };
        for layer in 0..self.layers {
            let prefix = format!("bert.encoder.layer.{layer}");
            let (y, probabilities, cells) = self.layer(parameters, &prefix, &x, &mask)?;
            x = y;
            states.hidden.push(padded.pack(&x)?);
            if keep.attention {
                states.attention.push(probabilities);
            }
            if keep.cells {
                states.cells.push(padded.pack(&cells)?);
            }
        }
        states.first = x.i((.., 0))?.contiguous()?;
        Ok(states)
    }

    /// Attention of one sequence in the layers from `from` on, given its states before them.
    ///
    /// # Shapes
    /// `states [s, h]`; gives `[1, n, s, s]` a layer: head, the token that looks, the token that is looked at.
    ///
    /// # Errors
    /// A parameter that is missing.
    pub fn attention_above(&self, parameters: &Tensors, states: &Tensor, from: usize) -> Result<Vec<Tensor>> {
        let mut x = states.unsqueeze(0)?;
        let mask = match parameters.get(RELATIVE) {
            Some(table) => by_distance(table, self.heads, x.dim(1)?)?,
            None => Tensor::zeros((1, 1, 1, 1), DType::F32, x.device())?,
        };
        let mut maps = Vec::new();
        for layer in from..self.layers {
            let (y, probabilities, _) = self.layer(parameters, &format!("bert.encoder.layer.{layer}"), &x, &mask)?;
            x = y;
            maps.push(probabilities);
        }
        Ok(maps)
    }

    /// Pooled states `[b, h]` of first tokens: a linear map and `tanh`.
    pub fn pool(&self, parameters: &Tensors, first: &Tensor) -> Result<Tensor> {
        Ok(linear(parameters, "bert.pooler.dense", first)?.tanh()?)
    }

    /// Logits of pooled states, `[b, labels]`.
    pub fn classify(&self, parameters: &Tensors, pooled: &Tensor) -> Result<Tensor> {
        linear(parameters, "classifier", pooled)
    }

    /// `[b, s, h]` of the padded batch.
    fn embed(&self, parameters: &Tensors, padded: &Padded) -> Result<Tensor> {
        let (b, s) = padded.ids.dims2()?;
        let table = |kind: &str| get(parameters, &format!("bert.embeddings.{kind}_embeddings.weight"));
        let rows = |kind: &str, ids: &Tensor| -> Result<Tensor> {
            let table = table(kind)?;
            Ok(table.index_select(&ids.flatten_all()?, 0)?.reshape((b, s, table.dim(1)?))?)
        };
        let positions = table("position")?.narrow(0, 0, s)?;
        let sum = (rows("word", &padded.ids)? + rows("token_type", &padded.segments)?)?.broadcast_add(&positions)?;
        self.norm(parameters, "bert.embeddings.LayerNorm", &sum)
    }

    /// One layer: `[b, s, h]` to `[b, s, h]`, the probabilities `[b, n, s, s]`, and what the cells give, `[b, s, f]`.
    fn layer(&self, parameters: &Tensors, prefix: &str, x: &Tensor, mask: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
        let (b, s, h) = x.dims3()?;
        let within = |name: &str, x: &Tensor| linear(parameters, &format!("{prefix}.{name}"), x);
        let heads = |name: &str| -> Result<Tensor> {
            let y = within(&format!("attention.self.{name}"), x)?.reshape((b, s, self.heads, h / self.heads))?;
            Ok(y.transpose(1, 2)?.contiguous()?)
        };
        let (y, probabilities) = attention(&heads("query")?, &heads("key")?, &heads("value")?, Some(mask))?;
        let y = y.transpose(1, 2)?.reshape((b, s, h))?;
        let y = (within("attention.output.dense", &y)? + x)?;
        let y = self.norm(parameters, &format!("{prefix}.attention.output.LayerNorm"), &y)?;
        let cells = within("intermediate.dense", &y)?.gelu_erf()?;
        let z = within("output.dense", &cells)?;
        let z = self.norm(parameters, &format!("{prefix}.output.LayerNorm"), &(z + y)?)?;
        Ok((z, probabilities, cells))
    }

    /// LayerNorm over the last axis.
    fn norm(&self, parameters: &Tensors, name: &str, x: &Tensor) -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + self.epsilon)?.sqrt()?;
        let weight = get(parameters, &format!("{name}.weight"))?;
        let bias = get(parameters, &format!("{name}.bias"))?;
        Ok(centred.broadcast_div(&deviation)?.broadcast_mul(weight)?.broadcast_add(bias)?)
    }
}

/// Scaled dot-product attention: `softmax(q k^T / sqrt(d) + mask) v` and the probabilities.
///
/// # Shapes
/// `query [b, n, q, d]`, `key [b, n, k, d]`, `value [b, n, k, d]`, `mask` broadcast to `[b, n, q, k]`; gives `[b, n, q, d]` and
/// `[b, n, q, k]`.
pub fn attention(query: &Tensor, key: &Tensor, value: &Tensor, mask: Option<&Tensor>) -> Result<(Tensor, Tensor)> {
    let scale = (query.dim(D::Minus1)? as f64).powf(-0.5);
    let mut scores = (query.matmul(&key.t()?.contiguous()?)? * scale)?;
    if let Some(mask) = mask {
        scores = scores.broadcast_add(mask)?;
    }
    // The greatest score cancels out and needs no gradient.
    let exp = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
    let probabilities = exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)?;
    Ok((probabilities.matmul(value)?, probabilities))
}

/// The table of biases by distance, where a network has one.
pub const RELATIVE: &str = "bert.encoder.relative_attention_bias.weight";

/// A table `[buckets, n]` laid out for a sequence, `[1, n, s, s]`: query, then key.
fn by_distance(table: &Tensor, heads: usize, s: usize) -> Result<Tensor> {
    let ids: Vec<u32> = (0..s as i64).flat_map(|q| (0..s as i64).map(move |k| bucket(k - q, BUCKETS) as u32)).collect();
    let ids = Tensor::new(ids, table.device())?;
    Ok(table.index_select(&ids, 0)?.reshape((s, s, heads))?.permute((2, 0, 1))?.unsqueeze(0)?.contiguous()?)
}

fn get<'a>(parameters: &'a Tensors, name: &str) -> Result<&'a Tensor> {
    let missing = || Error::Internal { op: "reference", what: format!("no parameter {name}") };
    parameters.get(name).ok_or_else(missing)
}

fn linear(parameters: &Tensors, name: &str, x: &Tensor) -> Result<Tensor> {
    let weight = get(parameters, &format!("{name}.weight"))?;
    let bias = get(parameters, &format!("{name}.bias"))?;
    let (wide, rows) = (x.dim(D::Minus1)?, x.elem_count() / x.dim(D::Minus1)?.max(1));
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = weight.dim(0)?;
    }
    Ok(x.reshape((rows, wide))?.matmul(&weight.t()?)?.broadcast_add(bias)?.reshape(shape)?)
}

/// A batch with every sequence as long as the longest, `s`.
struct Padded {
    /// `[b, s]`.
    ids: Tensor,
    /// `[b, s]`.
    segments: Tensor,
    /// `[b, 1, 1, s]`: 0 for tokens, minus a lot for padding.
    mask: Tensor,
    /// Row of each token in `[b * s, h]`, `[t]`.
    rows: Tensor,
}

impl Padded {
    fn new(batch: &Batch, device: &Device) -> Result<Self> {
        let wrong =
            |got: String| Error::Shape { op: "reference", expected: "sequences of at least one token".into(), got };
        let ranges: Vec<_> = batch.offsets.windows(2).map(|w| w[0] as usize..w[1] as usize).collect();
        if let Some(empty) = ranges.iter().position(|r| r.is_empty()) {
            return Err(wrong(format!("none in sequence {empty}")));
        }
        let (b, s) = (ranges.len(), ranges.iter().map(|r| r.len()).max().unwrap_or(0));
        if b == 0 {
            return Err(wrong("no sequence".into()));
        }
        let (mut ids, mut segments) = (vec![0u32; b * s], vec![0u32; b * s]);
        let (mut mask, mut rows) = (vec![f32::MIN / 2.0; b * s], Vec::with_capacity(batch.tokens()));
        for (i, range) in ranges.into_iter().enumerate() {
            let row = i * s..i * s + range.len();
            ids[row.clone()].copy_from_slice(&batch.ids[range.clone()]);
            segments[row.clone()].copy_from_slice(&batch.segments[range]);
            mask[row.clone()].fill(0.0);
            rows.extend(row.map(|r| r as u32));
        }
        Ok(Padded {
            ids: Tensor::from_vec(ids, (b, s), device)?,
            segments: Tensor::from_vec(segments, (b, s), device)?,
            mask: Tensor::from_vec(mask, (b, 1, 1, s), device)?.to_dtype(DType::F32)?,
            rows: Tensor::new(rows, device)?,
        })
    }

    /// `[b, s, h]` to `[t, h]`.
    fn pack(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.flatten(0, 1)?.index_select(&self.rows, 0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Illustrated Transformer's numbers: scores 112 and 96 over sqrt(64) are 14 and 12, whose softmax is 0.88 and 0.12.
    #[test]
    fn attention_gives_the_textbooks_example() {
        let at = |value: f32| [vec![value], vec![0.0; 63]].concat();
        let row = |rows: Vec<Vec<f32>>| Tensor::from_vec(rows.concat(), (1, 1, rows.len(), 64), &Device::Cpu).unwrap();
        let (query, key) = (row(vec![at(8.0)]), row(vec![at(14.0), at(12.0)]));
        let value = row(vec![at(1.0), at(2.0)]);
        let (out, probabilities) = attention(&query, &key, &value, None).unwrap();
        let probabilities = probabilities.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!((probabilities[0] - 0.880_797).abs() < 1e-6 && (probabilities[1] - 0.119_203).abs() < 1e-6);
        let out = out.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0];
        assert!((out - 1.119_203).abs() < 1e-6, "{out}");
    }

    #[test]
    fn padding_gets_no_attention_and_an_empty_sequence_is_refused() {
        let device = Device::Cpu;
        let key = Tensor::ones((1, 1, 3, 4), DType::F32, &device).unwrap();
        let mask = Tensor::new(&[0f32, 0.0, f32::MIN / 2.0], &device).unwrap();
        let (_, probabilities) = attention(&key, &key, &key, Some(&mask)).unwrap();
        let first = probabilities.i((0, 0, 0)).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(first, [0.5, 0.5, 0.0]);
        let batch = Batch { ids: vec![1], segments: vec![0], offsets: vec![0, 1, 1], ..Batch::default() };
        assert!(Padded::new(&batch, &device).is_err());
    }
}
