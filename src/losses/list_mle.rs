//! ListMLE: the likelihood of the list's true order under the model of Plackett and Luce (Xia et al., "Listwise Approach to Learning to Rank:
//! Theory and Algorithm", ICML 2008).

use candle_core::{D, Device, Tensor};

use super::list::{FAR, ScoredLists};
use crate::Result;

/// The weighted sum over lists of `sum_i (log sum_{j >= i} exp(s_j) - s_i)`, candidates in the order of falling grades; equal grades stay in the order
/// that they come in.
///
/// # Errors
/// Parts that do not fit each other, and whatever the tensor library refuses.
pub fn list_mle(lists: &ScoredLists) -> Result<Tensor> {
    lists.check("list_mle")?;
    let order = lists.sorted(lists.grades);
    let (l, device): (usize, &Device) = (lists.lengths.len(), lists.scores.device());
    let m = order.len() / l.max(1);
    let scores = lists.padded(&order, 0.0)?;
    // [l, m, m]: row i has what comes at i or later
    let later = |list: usize, i: usize, j: usize| if j >= i && order[list * m + j].is_some() { 0.0 } else { FAR };
    let mask = (0..l * m * m).map(|at| later(at / (m * m), at / m % m, at % m));
    let rest = scores.unsqueeze(1)?.broadcast_add(&Tensor::from_iter(mask, device)?.reshape((l, m, m))?)?;
    let top = rest.max_keepdim(D::Minus1)?.detach();
    let sums = (rest.broadcast_sub(&top)?.exp()?.sum_keepdim(D::Minus1)?.log()? + top)?.squeeze(2)?;
    let weights = (0..l * m).map(|at| if order[at].is_some() { lists.weights[at / m] } else { 0.0 });
    Ok(((sums - scores)? * Tensor::from_iter(weights, device)?.reshape((l, m))?)?.sum_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::list::tests::assert_golden;

    #[test]
    fn equals_pytorch_in_value_and_gradient() {
        assert_golden(include_str!("../../tests/golden/list_mle/expected.json"), list_mle);
    }
}
