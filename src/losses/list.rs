//! What losses over lists share: scores of lists laid end to end, their grades, and pairs of candidates of which one is better.

use candle_core::{Device, Tensor};

use crate::{Error, Result};

/// Scores of some lists of candidates, laid end to end.
#[derive(Debug, Clone, Copy)]
pub struct ScoredLists<'a> {
    /// `[n]`, with their graph.
    pub scores: &'a Tensor,
    /// How many candidates each list has, `[l]`; their sum is `n`.
    pub lengths: &'a [usize],
    /// Relevance of each candidate, 0 or more, `[n]`.
    pub grades: &'a [f32],
    /// What each list weighs, `[l]`: divide by the number of lists there.
    pub weights: &'a [f32],
}

/// Two candidates of one list, the first with the higher grade.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Preference {
    pub better: u32,
    pub worse: u32,
    pub weight: f32,
}

impl ScoredLists<'_> {
    /// Refuses parts that do not fit each other.
    pub(super) fn check(&self, op: &'static str) -> Result<()> {
        let (n, l) = (self.scores.elem_count(), self.lengths.len());
        let fits = self.scores.rank() == 1 && self.lengths.iter().sum::<usize>() == n && self.grades.len() == n;
        if fits && self.weights.len() == l {
            return Ok(());
        }
        let (grades, weights) = (self.grades.len(), self.weights.len());
        let got = format!("{:?}, {l} lengths, {grades} grades, {weights} weights", self.scores.dims());
        Err(Error::Shape { op, expected: "[n], l lengths of sum n, n grades, l weights".into(), got })
    }
    /// Each list's number and its first candidate.
    pub(super) fn starts(&self) -> impl Iterator<Item = (usize, usize)> {
        self.lengths.iter().enumerate().scan(0, |sum, (list, length)| {
            let start = *sum;
            *sum += length;
            Some((list, start))
        })
    }
    /// Pairs of different grades; `weight` says what a pair of a list weighs, given the list's pairs, before the list's own weight.
    pub(super) fn preferences(&self, weight: impl Fn(usize, &[(usize, usize)]) -> Vec<f32>) -> Vec<Preference> {
        let mut all = Vec::new();
        for (list, start) in self.starts() {
            let places = start..start + self.lengths[list];
            let both = places.clone().flat_map(|i| places.clone().map(move |j| (i, j)));
            let pairs: Vec<(usize, usize)> = both.filter(|(i, j)| self.grades[*i] > self.grades[*j]).collect();
            let weights = weight(list, &pairs);
            all.extend(pairs.iter().zip(weights).map(|(&(better, worse), weight)| Preference {
                better: better as u32,
                worse: worse as u32,
                weight: weight * self.weights[list],
            }));
        }
        all
    }
    /// A list's pairs weigh one together.
    pub(super) fn even(_: usize, pairs: &[(usize, usize)]) -> Vec<f32> {
        vec![1.0 / pairs.len().max(1) as f32; pairs.len()]
    }
    /// The weighted sum over pairs of `f(score of the better - score of the worse)`.
    pub(super) fn sum_of(&self, pairs: &[Preference], f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        if pairs.is_empty() {
            return Ok(self.scores.affine(0.0, 0.0)?.sum_all()?);
        }
        let device: &Device = self.scores.device();
        let select = |of: &dyn Fn(&Preference) -> u32| {
            let places: Vec<u32> = pairs.iter().map(of).collect();
            self.scores.index_select(&Tensor::from_vec(places, pairs.len(), device)?, 0)
        };
        let difference = (select(&|p| p.better)? - select(&|p| p.worse)?)?;
        let weights: Vec<f32> = pairs.iter().map(|p| p.weight).collect();
        Ok((f(&difference)? * Tensor::from_vec(weights, pairs.len(), device)?)?.sum_all()?)
    }
    /// Scores `[l, m]` of the longest list's length with `filling` after the shorter ones' ends; `order` says which candidate of a list comes at
    /// which place, and whether it is there, `[l, m]`.
    pub(super) fn padded(&self, order: &[Option<usize>], filling: f32) -> Result<Tensor> {
        let (l, device) = (self.lengths.len(), self.scores.device());
        let m = order.len() / l.max(1);
        let places: Vec<u32> = order.iter().map(|at| at.unwrap_or(0) as u32).collect();
        let there = |yes: f32, no: f32| -> Result<Tensor> {
            let values: Vec<f32> = order.iter().map(|at| if at.is_some() { yes } else { no }).collect();
            Ok(Tensor::from_vec(values, (l, m), device)?)
        };
        let scores = self.scores.index_select(&Tensor::from_vec(places, l * m, device)?, 0)?.reshape((l, m))?;
        Ok(((scores * there(1.0, 0.0)?)? + there(0.0, filling)?)?)
    }
    /// The candidates of each list in the order of falling `key`, equal ones in their own order, for [`ScoredLists::padded`].
    pub(super) fn sorted(&self, key: &[f32]) -> Vec<Option<usize>> {
        let m = self.lengths.iter().max().copied().unwrap_or(0);
        let mut order = Vec::with_capacity(self.lengths.len() * m);
        for (list, start) in self.starts() {
            let mut own: Vec<usize> = (start..start + self.lengths[list]).collect();
            own.sort_by(|a, b| key[*b].total_cmp(&key[*a]));
            order.extend(own.into_iter().map(Some).chain(std::iter::repeat(None)).take(m));
        }
        order
    }
}

/// A teacher's scores `[n]` of the candidates, as a tensor without a graph.
pub(super) fn taught(op: &'static str, lists: &ScoredLists, teacher: &[f32]) -> Result<Tensor> {
    lists.check(op)?;
    if teacher.len() != lists.grades.len() {
        let (expected, got) = (format!("{} teacher's scores", lists.grades.len()), teacher.len().to_string());
        return Err(Error::Shape { op, expected, got });
    }
    Ok(Tensor::from_slice(teacher, teacher.len(), lists.scores.device())?)
}

/// Padding that no exponential sees.
pub(super) const FAR: f32 = -1e30;

#[cfg(test)]
pub(super) mod tests {
    use candle_core::Var;

    use super::*;

    #[derive(serde::Deserialize)]
    struct Golden {
        scores: Vec<f32>,
        lengths: Vec<usize>,
        grades: Vec<f32>,
        weights: Vec<f32>,
        #[serde(default)]
        teacher: Vec<f32>,
        loss: f32,
        grad: Vec<f32>,
    }

    /// The value and the gradient of a loss over lists against PyTorch's, whose numbers are `text`.
    pub fn assert_golden(text: &str, loss: impl Fn(&ScoredLists) -> Result<Tensor>) {
        assert_taught_golden(text, |lists, _| loss(lists));
    }

    /// The same of a loss that also sees a teacher's scores.
    pub fn assert_taught_golden(text: &str, loss: impl Fn(&ScoredLists, &[f32]) -> Result<Tensor>) {
        let cases: Vec<Golden> = serde_json::from_str(text).unwrap();
        assert!(cases.len() >= 3);
        for case in cases {
            let z = Var::from_slice(&case.scores, case.scores.len(), &Device::Cpu).unwrap();
            let lists = ScoredLists {
                scores: z.as_tensor(),
                lengths: &case.lengths,
                grades: &case.grades,
                weights: &case.weights,
            };
            let out = loss(&lists, &case.teacher).unwrap();
            let value = out.to_scalar::<f32>().unwrap();
            assert!((value - case.loss).abs() <= 2e-6 * case.loss.abs().max(1.0), "{value} {}", case.loss);
            let grad = out.backward().unwrap().get(z.as_tensor()).unwrap().to_vec1::<f32>().unwrap();
            for (got, want) in grad.iter().zip(&case.grad) {
                assert!((got - want).abs() <= 2e-6 * want.abs().max(1.0), "{got} {want}");
            }
            let short = ScoredLists { weights: &[], ..lists };
            assert!(
                matches!(loss(&short, &case.teacher), Err(Error::Shape { .. })),
                "parts that do not fit are refused"
            );
        }
    }
}
