//! Non-matches for a set of links that knows matches only (a dealer's item and the product it is).
//!
//! The right records of the same part are the catalogue. For each match some non-matches come from the top of BM25, which
//! are what the matcher will meet in use, and some are drawn at random, which keep it honest about the easy rest (both as
//! in Karpukhin et al., "Dense Passage Retrieval", EMNLP 2020). A true link is never made a non-match, nor is a record
//! that reads the same as a true link's.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use rand::seq::SliceRandom;

use super::recipe::Negatives;
use super::seed::generator;
use crate::Result;
use crate::index::Bm25;
use crate::ranker::Input;
use crate::records::{Pair, PairSet, Record, Split};
use crate::text::{TextConfig, plain_text};

/// Adds non-matches to every split of a set, drawn from the split's seed; gives their number.
pub fn make(set: &mut PairSet, how: &Negatives, config: &TextConfig, seed: impl Fn(Split) -> u64) -> Result<u64> {
    let text = |record: &Record| plain_text(config, Input::Record(record));
    let mut known: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for pair in &set.pairs {
        known.entry(pair.left).or_default().insert(pair.right);
    }
    let mut made = Vec::new();
    for part in [Split::Train, Split::Valid, Split::Test] {
        let matches: Vec<&Pair> = set.pairs.iter().filter(|p| p.split == Some(part) && p.is_match()).collect();
        let catalogue: Vec<u32> = matches.iter().map(|p| p.right).collect::<BTreeSet<_>>().into_iter().collect();
        if catalogue.is_empty() {
            continue;
        }
        let texts: Vec<String> = catalogue.iter().map(|&row| text(&set.right[row as usize])).collect();
        let index = Bm25::build(texts.iter().cloned())?;
        let mut of_left: BTreeMap<u32, usize> = BTreeMap::new();
        matches.iter().for_each(|p| *of_left.entry(p.left).or_default() += 1);
        for (&left, &links) in &of_left {
            let known = &known[&left];
            let same: HashSet<String> = known.iter().map(|&row| text(&set.right[row as usize])).collect();
            let free = |&place: &usize| !known.contains(&catalogue[place]) && !same.contains(&texts[place]);
            let (hard, random) = (how.hard * links, how.random * links);
            let depth = hard + known.len() + texts.iter().filter(|t| same.contains(*t)).count();
            let top = if hard > 0 { index.top(&text(&set.left[left as usize]), depth)? } else { Vec::new() };
            let mut chosen: Vec<usize> = top.into_iter().map(|(row, _)| row as usize).filter(free).take(hard).collect();
            let mut rest: Vec<usize> = (0..catalogue.len()).filter(free).filter(|p| !chosen.contains(p)).collect();
            rest.shuffle(&mut generator(&[seed(part), part as u64, left.into()]));
            // Where BM25 finds too few, chance fills up.
            let missing = hard - chosen.len();
            chosen.extend(rest.into_iter().take(random + missing));
            let pair = |place| Pair { left, right: catalogue[place], grade: Some(0.0), split: Some(part) };
            made.extend(chosen.into_iter().map(pair));
        }
    }
    let count = made.len() as u64;
    set.pairs.extend(made);
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_ones_are_near_and_true_links_are_never_made() {
        let columns: std::sync::Arc<[String]> = ["name".to_string()].into();
        let record =
            |i: usize, name: String| Record { id: i.to_string(), columns: columns.clone(), values: vec![name] };
        let names = |i: usize| {
            format!(
                "{} cleaner {}",
                ["floor", "glass", "oven", "wood"][i / 5],
                ["1 l", "5 l", "10 l", "20 l", "50 l"][i % 5]
            )
        };
        let mut right: Vec<Record> = (0..20).map(|i| record(i, names(i))).collect();
        right.push(record(20, names(0))); // reads the same as the true link of left 0
        let left: Vec<Record> = (0..20).map(|i| record(i, format!("{} by Acme", names(i)))).collect();
        let link = |l: u32, r: u32, part| Pair { left: l, right: r, grade: Some(1.0), split: Some(part) };
        let mut pairs: Vec<Pair> =
            (0..20).map(|i| link(i, i, if i < 15 { Split::Train } else { Split::Test })).collect();
        pairs.push(link(1, 20, Split::Train));
        let links = pairs.clone();
        let mut set = PairSet { left, right, pairs };
        let made = make(&mut set, &Negatives { hard: 3, random: 1 }, &TextConfig::default(), |_| 5).unwrap();
        let new = &set.pairs[links.len()..];
        assert_eq!((made as usize, new.len()), (4 * 21, 4 * 21));
        for pair in new {
            assert_eq!(pair.label(), Some(false));
            assert!(!links.iter().any(|l| (l.left, l.right) == (pair.left, pair.right)));
            // wood (15..20) is the test part's catalogue, and stays there
            assert_eq!(pair.right >= 15 && pair.right < 20, pair.split == Some(Split::Test));
        }
        assert!(!new.iter().any(|p| p.left == 0 && p.right == 20), "a copy of the true link became a non-match");
        // Left 6 is "glass cleaner 5 l": what BM25 finds shares the product or the size, which 9 of 15 do not.
        let near = |p: &&Pair| p.left == 6 && ((5..10).contains(&p.right) || p.right % 5 == 1);
        assert!(new.iter().filter(near).count() >= 3);
        let mut twice: Vec<_> = new.iter().map(|p| (p.left, p.right)).collect();
        twice.sort_unstable();
        twice.dedup();
        assert_eq!(twice.len(), new.len());
    }
}
