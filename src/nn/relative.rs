//! What a score gets by how far its key is from its query: one number a head and distance, the distances in buckets, one each for small
//! ones and logarithmic beyond (T5: Raffel et al., JMLR 2020; MPNet: Song et al., NeurIPS 2020). One table serves all layers.

use std::sync::{Arc, Mutex};

use super::GradBuffer;
use super::layer_grad::ParamRef;

/// Rows of the table that are used, whatever it has.
pub const BUCKETS: usize = 32;
/// Distances from here on share a bucket.
const FARTHEST: f32 = 128.0;

/// The table, laid out so that a query's row of keys is a piece of it.
#[derive(Debug, Clone)]
pub struct RelativeBias {
    heads: usize,
    /// Tokens of the longest sequence.
    reach: usize,
    /// What scores are multiplied by after the bias is added.
    scale: f32,
    /// `[heads, 2 * reach - 1]`: by the key's place less the query's, from `1 - reach` on, divided by `scale`.
    values: Vec<f32>,
    /// The bucket of each distance, `[2 * reach - 1]`.
    buckets: Vec<u16>,
}

impl RelativeBias {
    /// From a table `[buckets, heads]`, for sequences of up to `reach` tokens and heads of width `dim`.
    pub fn new(table: &[f32], heads: usize, reach: usize, dim: usize) -> Self {
        let scale = 1.0 / (dim as f32).sqrt();
        let buckets: Vec<u16> =
            (0..2 * reach - 1).map(|i| bucket(i as i64 - (reach as i64 - 1), BUCKETS) as u16).collect();
        let values = (0..heads).flat_map(|head| {
            let table = &table;
            buckets.iter().map(move |&bucket| table[usize::from(bucket) * heads + head] / scale)
        });
        RelativeBias { heads, reach, scale, values: values.collect(), buckets }
    }
    /// What the scores of one query with the first `keys` keys get.
    pub fn row(&self, head: usize, query: usize, keys: usize) -> &[f32] {
        &self.values[head * (2 * self.reach - 1) + self.reach - 1 - query..][..keys]
    }
    /// Adds the gradient of one query's scores (before they are scaled) to that of the table.
    pub fn add_gradient(&self, head: usize, query: usize, grads: &[f32], table: &mut [f32]) {
        let buckets = &self.buckets[self.reach - 1 - query..][..grads.len()];
        for (&bucket, grad) in buckets.iter().zip(grads) {
            table[usize::from(bucket) * self.heads + head] += grad / self.scale;
        }
    }
}

/// The bucket of a distance (key less query), as transformers' MPNet has it.
pub fn bucket(distance: i64, buckets: usize) -> usize {
    let half = buckets / 2;
    let first = if distance > 0 { half } else { 0 };
    let (distance, exact) = (distance.unsigned_abs() as usize, half / 2);
    if distance < exact {
        return first + distance;
    }
    let share = (distance as f32 / exact as f32).ln() / (f64::from(FARTHEST) / exact as f64).ln() as f32;
    let far = exact + (share * (half - exact) as f32) as usize;
    first + far.min(half - 1)
}

/// The table in training.
#[derive(Clone)]
pub struct RelativeParam {
    /// Laid out for a step.
    pub bias: Arc<RelativeBias>,
    /// The array `[buckets, heads]` and its gradient.
    pub param: ParamRef,
}

impl RelativeParam {
    /// Where its gradient goes.
    pub(super) fn grad(&self) -> &Mutex<GradBuffer> {
        &self.param.grad
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_transformers() {
        // MPNetEncoder.relative_position_bucket(torch.tensor([...]), num_buckets=32)
        let distances = [0, 1, -1, 7, -7, 8, -8, 11, 12, 16, -16, 31, 32, 63, 64, -64, 90, 91, 127, 128, 500, -500];
        let expected = [0, 17, 1, 23, 7, 24, 8, 24, 25, 26, 10, 27, 28, 29, 30, 14, 30, 31, 31, 31, 31, 15];
        assert_eq!(distances.map(|d| bucket(d, 32)), expected);
    }

    #[test]
    fn a_row_is_the_tables_values_by_distance() {
        let table: Vec<f32> = (0..64).map(|i| i as f32).collect();
        let bias = RelativeBias::new(&table, 2, 10, 4);
        for (head, query) in [(0, 0), (1, 3), (1, 9)] {
            let expected: Vec<f32> =
                (0..10).map(|key| table[bucket(key - query as i64, 32) * 2 + head] * 2.0).collect();
            assert_eq!(bias.row(head, query, 10), expected);
        }
        let mut grad = vec![0.0; 64];
        bias.add_gradient(1, 3, &[1.0, 2.0, 0.0, 4.0], &mut grad);
        assert_eq!((grad[3 * 2 + 1], grad[2 * 2 + 1], grad[1]), (2.0, 4.0, 8.0));
    }
}
