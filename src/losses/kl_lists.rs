//! Kullback-Leibler divergence over lists: a student's softmax over a query's candidates against its teacher's (Hinton et al., arXiv 1503.02531, over a
//! list of documents as in RocketQAv2, Ren et al., EMNLP 2021).

use candle_core::{D, Tensor};

use super::list::{FAR, ScoredLists, taught};
use crate::Result;

/// The weighted sum over lists of `sum_i p_i (log p_i - log softmax(s)_i)`, `p` the softmax of the teacher's scores `[n]` of the list.
///
/// # Errors
/// Parts that do not fit each other, and whatever the tensor library refuses.
pub fn kl_lists(lists: &ScoredLists, teacher: &[f32]) -> Result<Tensor> {
    let teacher = taught("kl_lists", lists, teacher)?;
    if lists.lengths.is_empty() {
        return Ok(lists.scores.affine(0.0, 0.0)?.sum_all()?);
    }
    let order = lists.sorted(&vec![0.0; lists.grades.len()]);
    let (l, device) = (lists.lengths.len(), lists.scores.device());
    let logs = |scores: &Tensor| -> Result<Tensor> {
        let scores = ScoredLists { scores, ..*lists }.padded(&order, FAR)?;
        // the largest score cancels out and needs no gradient
        let scores = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?;
        Ok(scores.broadcast_sub(&scores.exp()?.sum_keepdim(D::Minus1)?.log()?)?)
    };
    let (student, teacher) = (logs(lists.scores)?, logs(&teacher)?);
    let each = (teacher.exp()? * (&teacher - student)?)?.sum(D::Minus1)?;
    Ok((each * Tensor::from_slice(lists.weights, l, device)?)?.sum_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::list::tests::assert_taught_golden;

    #[test]
    fn equals_pytorch_in_value_and_gradient() {
        assert_taught_golden(include_str!("../../tests/golden/kl_lists/expected.json"), kl_lists);
    }
}
