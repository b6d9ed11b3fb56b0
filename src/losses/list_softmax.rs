//! Softmax cross-entropy over a list: the candidates' scores as a distribution against their grades as one (ListNet's top-one form: Cao et al.,
//! "Learning to Rank: From Pairwise Approach to Listwise Approach", ICML 2007; with one match, the localized contrastive loss of rerankers).

use candle_core::{D, Device, Tensor};

use super::list::{FAR, ScoredLists};
use crate::Result;

/// The weighted sum over lists of `-sum_i p_i log softmax(s)_i`, `p` the list's grades divided by their sum. A list without a grade above 0 adds
/// nothing.
///
/// # Errors
/// Parts that do not fit each other, and whatever the tensor library refuses.
pub fn list_softmax(lists: &ScoredLists) -> Result<Tensor> {
    lists.check("list_softmax")?;
    let order = lists.sorted(&vec![0.0; lists.grades.len()]);
    let (l, device): (usize, &Device) = (lists.lengths.len(), lists.scores.device());
    let m = order.len() / l.max(1);
    let scores = lists.padded(&order, FAR)?;
    // the largest score cancels out and needs no gradient
    let scores = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?;
    let logs = scores.broadcast_sub(&scores.exp()?.sum_keepdim(D::Minus1)?.log()?)?;
    let mut shares = vec![0f32; l * m];
    for (list, start) in lists.starts() {
        let grades = &lists.grades[start..start + lists.lengths[list]];
        let sum: f32 = grades.iter().sum();
        if sum > 0.0 {
            shares[list * m..].iter_mut().zip(grades).for_each(|(p, grade)| *p = lists.weights[list] * grade / sum);
        }
    }
    Ok((logs * Tensor::from_vec(shares, (l, m), device)?)?.sum_all()?.neg()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::list::tests::assert_golden;

    #[test]
    fn equals_pytorch_in_value_and_gradient() {
        assert_golden(include_str!("../../tests/golden/list_softmax/expected.json"), list_softmax);
    }
}
