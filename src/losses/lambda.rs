//! LambdaLoss: RankNet's pairs, each weighed by what it could change of nDCG (Wang et al., "The LambdaLoss Framework for Ranking Metric
//! Optimization", CIKM 2018, NDCG-Loss2).

use candle_core::Tensor;

use super::list::ScoredLists;
use super::softplus;
use crate::Result;

/// `log2(1 + rank)`, rank from 1.
fn discount(rank: usize) -> f32 {
    (1.0 + rank as f32).log2()
}

fn gain(grade: f32) -> f32 {
    grade.exp2() - 1.0
}

/// The weighted sum over lists and their pairs with grades `y_i > y_j` of `delta |G_i - G_j| log(1 + exp(s_j - s_i))`, where `G` is the gain `2^y - 1`
/// over the list's best DCG and, with `d` places between the two in the present order, `delta = |1 / log2(1 + d) - 1 / log2(2 + d)|`. Weights have no
/// gradient; of equal scores the earlier is first.
///
/// # Errors
/// Parts that do not fit each other, and whatever the tensor library refuses.
pub fn lambda(lists: &ScoredLists) -> Result<Tensor> {
    lists.check("lambda")?;
    let scores = lists.scores.to_vec1::<f32>()?;
    let mut rank = vec![0; scores.len()];
    let m = lists.lengths.iter().max().copied().unwrap_or(0);
    for (at, candidate) in lists.sorted(&scores).iter().enumerate() {
        candidate.iter().for_each(|candidate| rank[*candidate] = at % m);
    }
    let ideal: Vec<f32> = lists
        .sorted(lists.grades)
        .chunks(m.max(1))
        .map(|list| {
            let gains = list
                .iter()
                .enumerate()
                .map(|(at, candidate)| candidate.map_or(0.0, |c| gain(lists.grades[c]) / discount(at + 1)));
            gains.sum()
        })
        .collect();
    let weights = |list: usize, pairs: &[(usize, usize)]| {
        let weight = |&(i, j): &(usize, usize)| {
            let apart = rank[i].abs_diff(rank[j]);
            let delta = (1.0 / discount(apart) - 1.0 / discount(apart + 1)).abs();
            delta * (gain(lists.grades[i]) - gain(lists.grades[j])).abs() / ideal[list]
        };
        pairs.iter().map(weight).collect()
    };
    lists.sum_of(&lists.preferences(weights), |difference| softplus(&difference.neg()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::losses::list::tests::assert_golden;

    #[test]
    fn equals_pytorch_in_value_and_gradient() {
        assert_golden(include_str!("../../tests/golden/lambda/expected.json"), lambda);
    }
}
