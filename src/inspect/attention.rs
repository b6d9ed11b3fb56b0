//! Attention maps of one sequence, and numbers that sum a map up (Clark et al., What Does BERT Look At?, BlackboxNLP 2019; Vig and
//! Belinkov, Analyzing the Structure of Attention in a Transformer Language Model, BlackboxNLP 2019).

use serde::Serialize;

/// Attention of one sequence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attention {
    /// Layers, `l`.
    pub layers: usize,
    /// Heads of a layer, `n`.
    pub heads: usize,
    /// Tokens, `s`.
    pub tokens: usize,
    /// Weights `[l, n, s, s]`: layer, head, the token that looks, the token that is looked at. A row adds up to 1.
    #[serde(skip)]
    pub weights: Vec<f32>,
}

impl Attention {
    /// What a token looks at in one head, `[s]`.
    pub fn row(&self, layer: usize, head: usize, token: usize) -> &[f32] {
        let s = self.tokens;
        &self.weights[((layer * self.heads + head) * s + token) * s..][..s]
    }

    /// The map of one head, `[s, s]`.
    pub fn map(&self, layer: usize, head: usize) -> &[f32] {
        let square = self.tokens * self.tokens;
        &self.weights[(layer * self.heads + head) * square..][..square]
    }

    /// The mean of some maps, `[s, s]`: of one layer or all, of one head or all.
    pub fn mean(&self, layer: Option<usize>, head: Option<usize>) -> Vec<f32> {
        let chosen = |at: Option<usize>, all: usize| at.map_or(0..all, |one| one..one + 1);
        let mut sum = vec![0f64; self.tokens * self.tokens];
        let mut count = 0;
        for layer in chosen(layer, self.layers) {
            for head in chosen(head, self.heads) {
                sum.iter_mut().zip(self.map(layer, head)).for_each(|(s, w)| *s += f64::from(*w));
                count += 1;
            }
        }
        sum.into_iter().map(|s| (s / f64::from(count.max(1))) as f32).collect()
    }

    /// How far the tokens of texts look within the texts, on average: tokens between, weighted by attention; attention from and to
    /// `special` tokens is left out. `None` where there is none else.
    pub fn distance(&self, layer: usize, head: usize, special: &[bool]) -> Option<f64> {
        let (mut sum, mut all) = (0f64, 0f64);
        for (query, keys) in self.map(layer, head).chunks_exact(self.tokens).enumerate() {
            for (key, weight) in keys.iter().enumerate().filter(|(key, _)| !special[query] && !special[*key]) {
                sum += f64::from(*weight) * query.abs_diff(key) as f64;
                all += f64::from(*weight);
            }
        }
        (all > 0.0).then(|| sum / all)
    }

    /// How spread out a head's attention is: the mean entropy of its rows, in nats.
    pub fn entropy(&self, layer: usize, head: usize) -> f64 {
        let of = |p: &f32| if *p > 0.0 { -f64::from(*p) * f64::from(*p).ln() } else { 0.0 };
        self.map(layer, head).iter().map(of).sum::<f64>() / self.tokens as f64
    }

    /// What share of their attention the tokens of texts give to `special` tokens.
    pub fn to_special(&self, layer: usize, head: usize, special: &[bool]) -> Option<f64> {
        let rows = self.map(layer, head).chunks_exact(self.tokens).zip(special).filter(|(_, special)| !**special);
        let shares: Vec<f64> = rows
            .map(|(row, _)| row.iter().zip(special).filter(|(_, special)| **special).map(|(w, _)| f64::from(*w)).sum())
            .collect();
        (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_a_map() {
        // two heads of three tokens: one looks at itself, one evenly at all
        let (own, even) = (vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], vec![1.0 / 3.0; 9]);
        let attention = Attention { layers: 1, heads: 2, tokens: 3, weights: [own, even].concat() };
        let special = [true, false, false];
        assert_eq!(attention.distance(0, 0, &special), Some(0.0));
        assert!((attention.distance(0, 1, &special).unwrap() - 0.5).abs() < 1e-6);
        assert_eq!(attention.distance(0, 1, &[true; 3]), None);
        assert!(attention.entropy(0, 0) == 0.0 && (attention.entropy(0, 1) - 3f64.ln()).abs() < 1e-6);
        assert!((attention.to_special(0, 1, &special).unwrap() - 1.0 / 3.0).abs() < 1e-6);
        assert!((attention.mean(Some(0), None)[0] - 2.0 / 3.0).abs() < 1e-6);
        assert_eq!(attention.row(0, 0, 1), [0.0, 1.0, 0.0]);
    }
}
