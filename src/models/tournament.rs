//! From comparisons of two documents at a time to one score each: what [`super::duo`] ranks by.
//!
//! SUM, BINARY, MIN, MAX and SAMPLE are those of Nogueira et al., "Multi-Stage Document Ranking with BERT" (arXiv 1910.14424); strengths are those of
//! Bradley and Terry (Biometrika 1952), found by the steps of Hunter (Annals of Statistics 2004).

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How comparisons become a score. Each is from 0 to 1, so that lists of different lengths are comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// The mean probability of being the better one.
    #[default]
    Sum,
    /// The share of comparisons in which it is the more probable one.
    Binary,
    /// The probability against the strongest rival.
    Min,
    /// The probability against the weakest rival.
    Max,
    /// The mean of log-odds, as a probability: one sure comparison weighs more.
    LogOdds,
    /// The share of rivals that it beats, both orders of a pair taken together; a draw is a half.
    Copeland,
    /// The probability of beating a rival of strength 1, where strengths make the comparisons most probable; each has played one draw against
    /// such a rival besides, so that none is boundless.
    BradleyTerry,
}

/// The comparisons of a list of `n`: ordered pairs, all `n (n - 1)` of them or about `budget`. Under a budget each candidate is the first of two as often
/// as any other and the second as often, at least once: it meets the candidates some places after it, and which places is drawn by a fixed seed.
pub fn comparisons(n: usize, budget: Option<usize>) -> Vec<(usize, usize)> {
    let rivals = n.saturating_sub(1);
    let each = budget.map_or(rivals, |budget| (budget / n.max(1)).clamp(1, rivals.max(1))).min(rivals);
    let mut steps: Vec<usize> = (1..n).collect();
    if each < rivals {
        steps.shuffle(&mut ChaCha8Rng::seed_from_u64(n as u64));
    }
    (0..n)
        .flat_map(|i| {
            let mut others: Vec<usize> = steps[..each].iter().map(|step| (i + step) % n).collect();
            others.sort_unstable();
            others.into_iter().map(move |j| (i, j))
        })
        .collect()
}

impl Aggregation {
    /// One score for each of `n` candidates, from the probability that the first of each pair is the better one.
    pub fn scores(self, n: usize, pairs: &[(usize, usize)], won: &[f32]) -> Vec<f32> {
        let mut of_first = vec![Vec::new(); n];
        pairs.iter().zip(won).for_each(|(pair, p)| of_first[pair.0].push(f64::from(*p)));
        let each = |score: &dyn Fn(&[f64]) -> f64| of_first.iter().map(|won| score(won) as f32).collect();
        match self {
            Aggregation::Sum => each(&|won| mean(won.iter().copied())),
            Aggregation::Binary => each(&|won| mean(won.iter().map(|p| f64::from(u8::from(*p > 0.5))))),
            Aggregation::Min => each(&|won| won.iter().copied().fold(1.0, f64::min)),
            Aggregation::Max => each(&|won| won.iter().copied().fold(0.0, f64::max)),
            Aggregation::LogOdds => each(&|won| {
                let odds = won.iter().map(|p| p.clamp(1e-7, 1.0 - 1e-7)).map(|p| (p / (1.0 - p)).ln());
                1.0 / (1.0 + (-mean(odds)).exp())
            }),
            Aggregation::Copeland => met(n, pairs, won).iter().map(|rivals| beaten(rivals) as f32).collect(),
            Aggregation::BradleyTerry => strengths(&met(n, pairs, won)),
        }
    }
}

/// 0 of nothing.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0.0, 0.0), |(n, sum), value| (n + 1.0, sum + value));
    sum / f64::max(count, 1.0)
}

/// The share of the rivals it met that a candidate beats.
fn beaten(rivals: &[(f64, f64)]) -> f64 {
    let shares = rivals.iter().filter(|(games, _)| *games > 0.0).map(|(games, won)| won / games);
    mean(shares.map(|share| if (share - 0.5).abs() < 1e-9 { 0.5 } else { f64::from(u8::from(share > 0.5)) }))
}

/// For each candidate and each rival: comparisons of the two, in either order, and how many of them it won.
fn met(n: usize, pairs: &[(usize, usize)], won: &[f32]) -> Vec<Vec<(f64, f64)>> {
    let mut met = vec![vec![(0.0, 0.0); n]; n];
    for (&(i, j), p) in pairs.iter().zip(won) {
        met[i][j].0 += 1.0;
        met[i][j].1 += f64::from(*p);
        met[j][i].0 += 1.0;
        met[j][i].1 += 1.0 - f64::from(*p);
    }
    met
}

fn strengths(met: &[Vec<(f64, f64)>]) -> Vec<f32> {
    let mut strengths = vec![1.0f64; met.len()];
    for _ in 0..10_000 {
        let next: Vec<f64> = met
            .iter()
            .enumerate()
            .map(|(i, rivals)| {
                let games = rivals.iter().zip(&strengths).map(|((games, _), s)| games / (strengths[i] + s));
                let won: f64 = rivals.iter().map(|(_, won)| won).sum();
                (won + 0.5) / (games.sum::<f64>() + 1.0 / (strengths[i] + 1.0))
            })
            .collect();
        let moved = next.iter().zip(&strengths).map(|(a, b)| (a / b - 1.0).abs()).fold(0.0, f64::max);
        strengths = next;
        if moved < 1e-9 {
            break;
        }
    }
    strengths.into_iter().map(|s| (s / (1.0 + s)) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Aggregation; 7] = [
        Aggregation::Sum,
        Aggregation::Binary,
        Aggregation::Min,
        Aggregation::Max,
        Aggregation::LogOdds,
        Aggregation::Copeland,
        Aggregation::BradleyTerry,
    ];

    #[test]
    fn under_a_budget_all_candidates_are_compared_equally_often() {
        assert_eq!(comparisons(3, None), [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]);
        assert_eq!(comparisons(20, Some(380)), comparisons(20, None));
        for (n, budget, each) in [(20, 100, 5), (10, 40, 4), (7, 1, 1), (2, 1, 1)] {
            let pairs = comparisons(n, Some(budget));
            assert_eq!(pairs.len(), n * each);
            for i in 0..n {
                let often = |is: &dyn Fn(&(usize, usize)) -> bool| pairs.iter().filter(|pair| is(pair)).count();
                assert_eq!((often(&|pair| pair.0 == i), often(&|pair| pair.1 == i)), (each, each));
            }
            assert!(pairs.iter().all(|(i, j)| i != j));
        }
        assert!(comparisons(0, None).is_empty() && comparisons(1, Some(5)).is_empty());
    }

    #[test]
    fn every_aggregation_finds_an_order_that_no_comparison_contradicts() {
        let strength: Vec<f64> = (0..8).map(|i| f64::from(i * 5 % 8) * 0.7).collect();
        for budget in [None, Some(40)] {
            let pairs = comparisons(8, budget);
            let won: Vec<f32> =
                pairs.iter().map(|(i, j)| (1.0 / (1.0 + (strength[*j] - strength[*i]).exp())) as f32).collect();
            for aggregation in ALL {
                let scores = aggregation.scores(8, &pairs, &won);
                assert!(scores.iter().all(|s| (0.0..=1.0).contains(s)), "{aggregation:?} {scores:?}");
                if budget.is_some() && aggregation != Aggregation::BradleyTerry {
                    continue; // who met strong rivals only has less than is due
                }
                for (i, j) in comparisons(8, None) {
                    let is_right = strength[i] < strength[j] || scores[i] >= scores[j];
                    assert!(is_right, "{aggregation:?}, {budget:?}: {i} and {j} in {scores:?}");
                }
            }
        }
    }

    #[test]
    fn comparisons_that_go_in_a_circle_end_in_a_draw() {
        let pairs = comparisons(3, None);
        let won = [0.9, 0.1, 0.1, 0.9, 0.9, 0.1];
        for aggregation in ALL {
            let scores = aggregation.scores(3, &pairs, &won);
            assert!(scores.iter().all(|s| (s - scores[0]).abs() < 1e-6), "{aggregation:?} {scores:?}");
        }
    }
}
