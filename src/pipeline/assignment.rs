//! At most one match per record: among the accepted pairs, those with the largest sum of probabilities in which no record
//! is used twice (maximum-weight bipartite matching; Kuhn, "The Hungarian method for the assignment problem", 1955).
//!
//! Accepted pairs fall into small islands that share no record, and each is solved by itself with `pathfinding`'s
//! Kuhn-Munkres, which takes cubic time and a full matrix. Islands therefore never grow beyond [`LARGEST`] records: pairs join
//! them from the most probable down, and one that would join two islands into a larger one is left out and counted.
//! With lists of shops that does not happen; with a threshold far too low it costs the least probable pairs, not the evening.
//!
//! Refused: taking pairs greedily from the top (`a-x .90, a-y .89, b-x .88` would leave `b` alone).

use std::collections::{BTreeMap, HashMap};

use pathfinding::matrix::Matrix;
use pathfinding::prelude::kuhn_munkres;

use super::Scored;

/// Records of both lists that an island holds at most.
const LARGEST: u32 = 1000;
/// What a probability of one weighs. Weights are whole numbers, as sums of floats would make equal assignments differ.
const ONE: f64 = (1u64 << 40) as f64;

/// Takes `accepted` back from every pair that the best assignment does not hold, and returns how many pairs were left out
/// unseen because their island was full.
pub(crate) fn one_to_one(scored: &mut [Scored]) -> usize {
    let mut edges: Vec<usize> = (0..scored.len()).filter(|&i| scored[i].accepted).collect();
    edges.sort_by(|&a, &b| scored[b].probability.total_cmp(&scored[a].probability));
    let mut islands = Islands::default();
    let mut left_out = 0;
    edges.retain(|&i| {
        let kept = islands.join((false, scored[i].left), (true, scored[i].right));
        left_out += !kept as usize;
        scored[i].accepted = false;
        kept
    });
    let mut by_island: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for i in edges {
        let node = islands.node((false, scored[i].left));
        by_island.entry(islands.root(node)).or_default().push(i);
    }
    for edges in by_island.into_values() {
        for i in solve(scored, &edges) {
            scored[i].accepted = true;
        }
    }
    left_out
}

/// The best assignment within one island: the chosen ones of `edges`.
fn solve(scored: &[Scored], edges: &[usize]) -> Vec<usize> {
    if let [only] = edges {
        return vec![*only];
    }
    let place = |side: fn(&Scored) -> u32| {
        let mut places = HashMap::new();
        for &i in edges {
            let next = places.len();
            places.entry(side(&scored[i])).or_insert(next);
        }
        places
    };
    // Kuhn-Munkres wants at least as many columns as rows.
    let sides: [fn(&Scored) -> u32; 2] = [|s| s.left, |s| s.right];
    let (mut rows, mut columns) = (place(sides[0]), place(sides[1]));
    let mut order = sides;
    if rows.len() > columns.len() {
        std::mem::swap(&mut rows, &mut columns);
        order.reverse();
    }
    // No pair weighs 0, a pair at least 1: a row may stay alone, and does so only where it must.
    let mut weights = Matrix::new(rows.len(), columns.len(), 0i64);
    let at = |i: usize| (rows[&order[0](&scored[i])], columns[&order[1](&scored[i])]);
    for &i in edges {
        weights[at(i)] = (f64::from(scored[i].probability) * ONE) as i64 + 1;
    }
    let (_, chosen) = kuhn_munkres(&weights);
    edges.iter().copied().filter(|&i| chosen[at(i).0] == at(i).1).collect()
}

/// Islands of records that pairs connect: a disjoint-set forest with sizes.
#[derive(Default)]
struct Islands {
    nodes: HashMap<(bool, u32), usize>,
    parent: Vec<usize>,
    size: Vec<u32>,
}

impl Islands {
    fn node(&mut self, record: (bool, u32)) -> usize {
        let next = self.parent.len();
        let node = *self.nodes.entry(record).or_insert(next);
        if node == next {
            self.parent.push(next);
            self.size.push(1);
        }
        node
    }
    fn root(&mut self, mut node: usize) -> usize {
        while self.parent[node] != node {
            self.parent[node] = self.parent[self.parent[node]];
            node = self.parent[node];
        }
        node
    }
    /// False where the joined island would be too large.
    fn join(&mut self, a: (bool, u32), b: (bool, u32)) -> bool {
        let (a, b) = (self.node(a), self.node(b));
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return true;
        }
        if self.size[a] + self.size[b] > LARGEST {
            return false;
        }
        let (small, large) = if self.size[a] < self.size[b] { (a, b) } else { (b, a) };
        self.parent[small] = large;
        self.size[large] += self.size[small];
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(list: &[(u32, u32, f32)]) -> Vec<Scored> {
        list.iter().map(|&(left, right, probability)| Scored { left, right, probability, accepted: true }).collect()
    }
    fn kept(scored: &[Scored]) -> Vec<(u32, u32)> {
        scored.iter().filter(|s| s.accepted).map(|s| (s.left, s.right)).collect()
    }

    #[test]
    fn the_sum_decides_not_the_top() {
        let mut scored = pairs(&[(0, 0, 0.90), (0, 1, 0.89), (1, 0, 0.88)]);
        assert_eq!(one_to_one(&mut scored), 0);
        assert_eq!(kept(&scored), [(0, 1), (1, 0)]);
    }

    #[test]
    fn more_lefts_than_rights_and_the_reverse() {
        let mut scored = pairs(&[(0, 5, 0.6), (1, 5, 0.8), (2, 5, 0.7), (7, 1, 0.5), (7, 2, 0.9), (9, 9, 0.5)]);
        one_to_one(&mut scored);
        assert_eq!(kept(&scored), [(1, 5), (7, 2), (9, 9)]);
    }

    #[test]
    fn refused_pairs_stay_refused() {
        let mut scored = pairs(&[(0, 0, 0.9), (1, 1, 0.2)]);
        scored[1].accepted = false;
        one_to_one(&mut scored);
        assert_eq!(kept(&scored), [(0, 0)]);
    }

    #[test]
    fn a_chain_longer_than_an_island_is_cut_and_counted() {
        // left i knows right i (.9) and right i + 1 (.5): one chain through everything.
        let chain: Vec<_> = (0..3000).flat_map(|i| [(i, i, 0.9), (i, i + 1, 0.5)]).collect();
        let mut scored = pairs(&chain);
        let left_out = one_to_one(&mut scored);
        assert!(left_out > 0 && left_out < 20, "{left_out}");
        assert_eq!(kept(&scored), (0..3000).map(|i| (i, i)).collect::<Vec<_>>());
    }

    /// Every way to match, tried.
    fn best_sum(edges: &[(u32, u32, f32)], used: &mut Vec<(bool, u32)>) -> f64 {
        let Some((&(l, r, p), rest)) = edges.split_first() else { return 0.0 };
        let without = best_sum(rest, used);
        if used.contains(&(false, l)) || used.contains(&(true, r)) {
            return without;
        }
        used.extend([(false, l), (true, r)]);
        let with = f64::from(p) + best_sum(rest, used);
        used.truncate(used.len() - 2);
        with.max(without)
    }

    proptest! {
        #[test]
        fn as_good_as_the_best_of_all(edges in prop::collection::btree_map((0u32..6, 0u32..5), 0f32..=1.0, 0..12)) {
            let edges: Vec<_> = edges.into_iter().map(|((l, r), p)| (l, r, p)).collect();
            let mut scored = pairs(&edges);
            prop_assert_eq!(one_to_one(&mut scored), 0);
            let kept: Vec<_> = scored.iter().filter(|s| s.accepted).collect();
            for (i, a) in kept.iter().enumerate() {
                prop_assert!(kept[i + 1..].iter().all(|b| a.left != b.left && a.right != b.right));
            }
            let sum: f64 = kept.iter().map(|s| f64::from(s.probability)).sum();
            prop_assert!((sum - best_sum(&edges, &mut Vec::new())).abs() < 1e-6);
        }
    }
}
